package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/examples/internal/controlmap"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// controlSite is a host with routes and rules about relaying.
func controlSite(t *testing.T) *site {
	s := ownSite(t, "ann")
	s.write("old/etc/mail/mailertable", "in.example\tsmtp:[gate.example]\n.\tsmtp:[smart.example]\n")
	s.write("old/etc/mail/relay-domains", "in.example\n192.0.2\n")
	s.write("old/etc/mail/access", "Connect:198.51.100.9\tREJECT\nFrom:bad@spam.example\tREJECT\nTo:more.example\tRELAY\n")
	s.write("old/etc/mail/domaintable", "old.example\texample.org\n")
	s.write("new/tcp.smtp", "127.:allow,RELAYCLIENT=\"\"\n:allow")
	return s
}

func (s *site) tcp() []string { return []string{"-tcp-smtp", s.path("new/tcp.smtp")} }

// control are the files that routes and relaying are written to.
func (s *site) control() map[string]string {
	s.t.Helper()
	out := map[string]string{}
	for _, name := range []string{"qmail/control/smtproutes", "qmail/control/badmailfrom", "qmail/control/rcpthosts", "tcp.smtp"} {
		if b, err := os.ReadFile(s.path("new/" + name)); err == nil {
			text := string(b)
			if strings.HasSuffix(name, "rcpthosts") { // where vpopmail's order is its own
				lines := slices.Sorted(strings.Lines(text))
				text = strings.Join(lines, "")
			}
			out[name[strings.LastIndexByte(name, '/')+1:]] = text
		}
	}
	return out
}

var carriedControl = map[string]string{
	"smtproutes":  "in.example:gate.example\n:smart.example\n",
	"badmailfrom": "bad@spam.example\n",
	"rcpthosts":   ".in.example\n.more.example\nexample.org\nin.example\nlocalhost\nmail.example.com\nmore.example\nold.example\n",
	"tcp.smtp":    "127.:allow,RELAYCLIENT=\"\"\n:allow\n192.0.2.:allow,RELAYCLIENT=\"\"\n198.51.100.9:deny",
}

func TestControl(t *testing.T) {
	s := controlSite(t)
	before := s.control()
	_, words := s.move(0, "plan", s.tcp()...)
	for _, want := range []string{"badmailfrom: made\n  +1 bad@spam.example\n", "smtproutes: made\n  +1 in.example:gate.example\n", "rcpthosts: changed\n", "  +3 192.0.2.:allow,RELAYCLIENT=\"\"\n"} {
		if !strings.Contains(words, want) {
			t.Errorf("plan does not show %q:\n%s", want, words)
		}
	}
	diff(t, before, s.control())
	s.move(0, "run", s.tcp()...)
	diff(t, carriedControl, s.control())
	if _, words := s.move(0, "verify", s.tcp()...); !strings.Contains(words, " decisions about routes and relaying compared") {
		t.Errorf("%s", words)
	}
	all := s.list("new")
	s.move(0, "run", s.tcp()...)
	diff(t, all, s.list("new"))
	if _, words := s.move(0, "undo", "-n"); !strings.Contains(words, "Would be taken back too: 9 lines about routes and relaying.") {
		t.Errorf("%s", words)
	}
	diff(t, all, s.list("new"))
	s.move(0, "undo")
	diff(t, append(slices.Clone(emptyHost), "tcp.smtp"), append(slices.DeleteFunc(s.remains(), func(name string) bool { return name == "tcp.smtp" }), "tcp.smtp"))
	before["tcp.smtp"] += "\n"
	diff(t, before, s.control())
}

// What an administrator of the new host changes stays, and what changes at the
// source follows.
func TestChangedControl(t *testing.T) {
	s := controlSite(t)
	s.write("new/qmail/control/smtproutes", "# ours\nin.example:ours.example\n")
	r := s.report(0, "run", s.tcp()...)
	diff(t, []string{"control.kept etc/mail/mailertable:1"}, about(r.Oddities, "control.kept"))
	diff(t, "# ours\nin.example:ours.example\n:smart.example\n", s.read("new/qmail/control/smtproutes"))

	edit := func(name, old, new string) {
		t.Helper()
		text := s.read(name)
		if !strings.Contains(text, old) {
			t.Fatalf("%s has no %q:\n%s", name, old, text)
		}
		s.write(name, strings.Replace(text, old, new, 1))
	}
	edit("new/qmail/control/rcpthosts", "\n.more.example\n", "\n")               // taken away
	edit("new/qmail/control/badmailfrom", "bad@spam", "# why not\nbad@spam")     // a comment
	edit("new/tcp.smtp", "198.51.100.9:deny", "198.51.100.9:allow,X=\"y\"")      // changed
	edit("old/etc/mail/mailertable", "smtp:[smart.example]", "smtp:[x.example]") // changed at the source
	edit("old/etc/mail/relay-domains", "192.0.2\n", "")                          // gone at the source
	edit("old/etc/mail/access", "To:more", "From:new.example\tREJECT\nTo:more")  // new at the source
	r = s.report(0, "run", s.tcp()...)
	diff(t, []string{"control.kept etc/mail/access:1", "control.kept etc/mail/access:4", "control.kept etc/mail/mailertable:1"}, about(r.Oddities, "control.kept"))
	want := map[string]string{
		"smtproutes":  "# ours\nin.example:ours.example\n:x.example\n",
		"badmailfrom": "# why not\nbad@spam.example\n@new.example\n",
		"rcpthosts":   ".in.example\nexample.org\nin.example\nlocalhost\nmail.example.com\nmore.example\nold.example\n",
		"tcp.smtp":    "127.:allow,RELAYCLIENT=\"\"\n:allow\n198.51.100.9:allow,X=\"y\"",
	}
	diff(t, want, s.control())
	all := s.list("new")
	s.report(0, "run", s.tcp()...)
	diff(t, all, s.list("new"))

	// What differs now is the administrators' doing, and verify says so.
	v := s.report(3, "verify", s.tcp()...).Verification
	if got := about(v.Failures, "verify.control"); len(got) < 3 {
		t.Errorf("verify: %q", got)
	}
	_, words := s.move(3, "undo")
	if strings.Count(words, "undo.control-stays") != 1 || !strings.Contains(words, "198.51.100.9") {
		t.Errorf("%s", words)
	}
	want["smtproutes"], want["badmailfrom"], want["rcpthosts"] = "# ours\nin.example:ours.example\n", "# why not\n", "localhost\nmail.example.com\n"
	diff(t, want, s.control())
}

func TestNoControl(t *testing.T) {
	s := controlSite(t)
	before := s.control()
	r := s.report(3, "run", append(s.tcp(), "-no-control")...)
	diff(t, []string{
		"sendmail.access-not-carried etc/mail/access", "sendmail.domaintable-not-carried etc/mail/domaintable",
		"sendmail.mailertable-not-carried etc/mail/mailertable", "sendmail.relay-domains-not-carried etc/mail/relay-domains",
	}, about(r.NotCarried, ""))
	before["rcpthosts"] = "example.org\nlocalhost\nmail.example.com\n"
	diff(t, before, s.control())
	s.move(3, "verify", "-no-control")
	s.move(0, "undo")

	// Neither does a run of some accounts.
	s.move(3, "run", "-user", "ann")
	diff(t, before, s.control())
}

// The script that commands prints leaves the files as run does.
func TestControlCommands(t *testing.T) {
	s := controlSite(t)
	s.write("old/etc/mail/access", s.read("old/etc/mail/access")+"From:o'hara@x.example\tREJECT\nFrom:$HOME@x.example\tREJECT\nFrom:`id`@x.example\tREJECT\n")
	script, _ := s.move(0, "commands", s.tcp()...)
	begin := strings.Index(script, "\nput() {")
	if begin < 0 {
		t.Fatal(script)
	}
	s.write("new/qmail/control/rcpthosts", "example.org\nmail.example.com\nlocalhost\nold.example\n")
	for range 2 { // the second time changes nothing
		if out, err := exec.Command("sh", "-ec", script[begin:]).CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%v %s\n%s", err, out, script)
		}
	}
	made := s.control()
	made["tcp.smtp"] = strings.TrimSuffix(made["tcp.smtp"], "\n")
	for _, name := range []string{"smtproutes", "badmailfrom"} {
		s.check(os.Remove(s.path("new/qmail/control/" + name)))
	}
	s.write("new/qmail/control/rcpthosts", "mail.example.com\nlocalhost\n")
	s.write("new/tcp.smtp", "127.:allow,RELAYCLIENT=\"\"\n:allow")
	s.move(0, "run", s.tcp()...)
	diff(t, s.control(), made)
	if !strings.Contains(made["badmailfrom"], "$home@x.example\n") {
		t.Errorf("%q", made["badmailfrom"])
	}
}

// A host that relays for everybody is told of, and none is made.
func TestOpenRelay(t *testing.T) {
	s := controlSite(t)
	s.write("new/tcp.smtp", ":allow,RELAYCLIENT=\"\"\n")
	r := s.report(3, "run", s.tcp()...)
	diff(t, []string{"control.open-relay control/rcpthosts"}, about(r.NotCarried, "control."))
	s.move(0, "undo")

	s.check(os.Remove(s.path("new/qmail/control/rcpthosts")))
	s.write("new/tcp.smtp", "")
	s.move(0, "run", s.tcp()...)
	if h := s.read("new/qmail/control/rcpthosts"); !strings.Contains(h, "example.org\n") || !strings.Contains(h, ".in.example\n") {
		t.Errorf("rcpthosts %q", h)
	}
	s.move(0, "undo")
	if _, err := os.Stat(s.path("new/qmail/control/rcpthosts")); err != nil {
		t.Errorf("without rcpthosts everybody may relay: %v", err)
	}

	// The last guard, which no map that controlmap makes should need.
	c := qmailcontrol.NewConfig()
	for name, text := range map[string]string{"me": "a\n", "rcpthosts": "a\n"} {
		s.check(c.SetText(name, text))
	}
	open := c.Clone()
	if _, err := open.Remove("rcpthosts"); err != nil {
		t.Fatal(err)
	}
	rules, _ := controlmap.ParseRules("", "")
	all, _ := controlmap.ParseRules("", ":allow,RELAYCLIENT=\"\"\n")
	if _, err := guard(c, open, rules, rules); err != errOpenRelay {
		t.Errorf("without rcpthosts: %v", err)
	}
	if _, err := guard(c, c, rules, all); err != errOpenRelay {
		t.Errorf("with a rule for all: %v", err)
	}
	if open, err := guard(c, c, nil, rules); err != nil || open {
		t.Errorf("%v %v", open, err)
	}
}

// Trouble in one line costs that line.
func TestBadControl(t *testing.T) {
	s := controlSite(t)
	s.write("old/etc/mail/access", "J\xf6rg@spam.example\tREJECT\nConnect:192.0.2.7\tREJ\xc9CT\n\tstray REJECT\nlonely\nTo:"+strings.Repeat("x", 3000)+"\tRELAY\n"+
		"To:"+strings.Repeat("y.", 400)+"example\tRELAY\nOdd:thing\tYES\nTo:nul\x00.example\tRELAY\nTo:good.example\tRELAY\nFrom:#@x.example\tREJECT\n"+strings.Repeat("z", 10<<20)+"\n")
	s.write("old/etc/mail/mailertable", "a.example\tsmtp:[b;c]\nb.example\tsmtp:[$(id)]\nc.example\tsmtp:\nd:e\tsmtp:[f.example]\n#\n.\tsmtp:[smart.example]\n")
	s.write("old/etc/mail/relay-domains", "in.example\n.\n*\n\xe4.example\n"+strings.Repeat("q", 100000)+"\n0.0.0.0\n0/0\n[10.0.0.1]\n")
	s.move(3, "run", s.tcp()...)
	got := s.control()
	want := map[string]string{
		"smtproutes": ":smart.example\n",
		"rcpthosts":  ".good.example\n.in.example\nexample.org\ngood.example\nin.example\nlocalhost\nmail.example.com\nold.example\n",
	}
	if !strings.HasPrefix(got["tcp.smtp"], "127.:allow,RELAYCLIENT=\"\"\n:allow") || strings.Count(got["tcp.smtp"], "RELAYCLIENT") != 1 {
		t.Errorf("tcp.smtp %q", got["tcp.smtp"])
	}
	delete(got, "tcp.smtp")
	diff(t, want, got)

	// An unreadable file of qmail's stays, and the others are written.
	s.move(0, "undo")
	s.check(os.RemoveAll(s.path("new/qmail/control/smtproutes")))
	s.mkdir("new/qmail/control/smtproutes")
	r := s.report(3, "run", s.tcp()...)
	diff(t, []string{"control.unreadable control/smtproutes"}, about(r.NotCarried, "control.unreadable"))
	diff(t, want["rcpthosts"], s.control()["rcpthosts"])
}

// TestMerge cuts runs off between what they note and what they write.
func TestMerge(t *testing.T) {
	line := func(text string) []controlmap.Line {
		return []controlmap.Line{{File: controlmap.Routes, Text: text}}
	}
	for _, test := range []struct {
		name   string
		record controlRecord
		now    string
		want   []controlmap.Line
		after  string
		ours   []string
		told   int
	}{
		{"new", controlRecord{}, "a:1\n", line("b:2"), "a:1\nb:2\n", []string{"b:2"}, 0},
		{"there already", controlRecord{}, "b:2\n", line("b:2"), "b:2\n", nil, 0},
		{"other case", controlRecord{}, "B:3\n", line("b:2"), "B:3\n", nil, 1},
		{"cut off before writing", controlRecord{Pending: rawLines([]string{"b:2"}), Intent: true}, "", line("b:2"), "b:2\n", []string{"b:2"}, 0},
		{"cut off after writing", controlRecord{Pending: rawLines([]string{"b:2"}), Intent: true}, "b:2\n", line("b:2"), "b:2\n", []string{"b:2"}, 0},
		{"cut off, then changed at the source", controlRecord{Pending: rawLines([]string{"b:2"}), Intent: true}, "b:2\n", line("b:4"), "b:4\n", []string{"b:4"}, 0},
		{"cut off while changing", controlRecord{Lines: rawLines([]string{"b:1"}), Pending: rawLines([]string{"b:2"}), Intent: true}, "x:\nb:1\ny:\n", line("b:2"), "x:\nb:2\ny:\n", []string{"b:2"}, 0},
		{"cut off while taking away", controlRecord{Lines: rawLines([]string{"b:1"}), Intent: true}, "b:1\n", nil, "", nil, 0},
		{"taken away", controlRecord{Lines: rawLines([]string{"b:2"})}, "", line("b:2"), "", []string{"b:2"}, 1},
		{"taken away, and changed", controlRecord{Lines: rawLines([]string{"b:1"})}, "", line("b:2"), "", []string{"b:1"}, 1},
		{"changed here", controlRecord{Lines: rawLines([]string{"b:2"})}, "b:9\n", line("b:2"), "b:9\n", []string{"b:2"}, 1},
		{"changed here, gone there", controlRecord{Lines: rawLines([]string{"b:2"})}, "b:9\n", nil, "b:9\n", nil, 0},
		{"a second line", controlRecord{Lines: rawLines([]string{"b:2"})}, "b:2\nb:9\n", line("b:2"), "b:2\nb:9\n", []string{"b:2"}, 1},
		{"no newline", controlRecord{}, "# c\na:1", line("b:2"), "# c\na:1\nb:2", []string{"b:2"}, 0},
	} {
		d := &controlDir{now: qmailcontrol.NewConfig(), kind: map[string]string{controlmap.Routes: controlmap.Routes}}
		if err := d.now.SetText(controlmap.Routes, test.now); err != nil {
			t.Fatal(err)
		}
		c := d.now.Clone()
		ours, problems, err := mergeFile(d, c, controlmap.Routes, &test.record, test.want)
		if err != nil {
			t.Fatal(err)
		}
		e, _ := c.Entry(controlmap.Routes)
		if e.Text != test.after || !slices.Equal(texts(ours), test.ours) || len(problems) != test.told {
			t.Errorf("%s: %q, ours %q, told %v; want %q, %q, %d", test.name, e.Text, texts(ours), problems, test.after, test.ours, test.told)
		}
	}
}
