package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/qmailkit/qmailkit/examples/internal/report"
)

// dots are the .qmail files of the new host's addresses and users, without
// those that every domain has. The place of domains is written as "~".
func (s *site) dots() map[string]string {
	s.t.Helper()
	out := map[string]string{}
	top := s.path("new/vpopmail/domains")
	for name := range s.list("new/vpopmail/domains") {
		base := filepath.Base(name)
		if base == ".qmail" || strings.HasPrefix(base, ".qmail-") && base != ".qmail-default" {
			out[name] = strings.ReplaceAll(s.read("new/vpopmail/domains/"+name), top, "~")
		}
	}
	return out
}

// needOwners skips a test whose .forward files must be their users'.
func needOwners(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give .forward files to their users, without which Sendmail does not read them")
	}
}

// anyway runs a command that may leave something behind.
func (s *site) anyway(command string, args ...string) *report.Report {
	s.t.Helper()
	var out, words bytes.Buffer
	argv := append(append([]string{command, "-json"}, places(s.dir)...), args...)
	if got := run(context.Background(), argv, strings.NewReader(""), &out, &words); got != 0 && got != 3 {
		s.t.Fatalf("%s: exit code %d:\n%s", command, got, words.String())
	}
	r := &report.Report{}
	s.check(json.Unmarshal(out.Bytes(), r))
	return r
}

// about are the items whose code begins with a word, as "CODE PLACE", sorted.
func about(items []report.Item, prefix string) []string {
	var list []string
	for _, p := range itemPlaces(items) {
		if strings.HasPrefix(p, prefix) {
			list = append(list, p)
		}
	}
	return list
}

// daveAway sends the vacation text of the sample's dave.
const daveAway = "|autorespond 604800 1 '~/wonderland.example/dave/vacation/message' '~/wonderland.example/dave/vacation' 0 + || exit 0\n"

// TestAliases moves the sample's addresses. The verification follows each of
// them through both hosts.
func TestAliases(t *testing.T) {
	needOwners(t)
	s := newSite(t)
	r := s.report(3, "run")
	const w, c = "wonderland.example/", "croquet.example/"
	team := "&erin@wonderland.example\n&frank@wonderland.example\n&heidi@wonderland.example\n&Flamingo@zoo.example\n"
	want := map[string]string{
		w + ".qmail-about":              "|bouncesaying 'aliasing/forwarding loop broken'\n",
		w + ".qmail-round":              "|bouncesaying 'aliasing/forwarding loop broken'\n",
		w + ".qmail-archive":            "# |/usr/local/bin/archive -q\n|exit 111\n",
		w + ".qmail-log":                "# /var/log/mail-archive\n|exit 111\n",
		w + ".qmail-nobody":             "#\n",
		w + ".qmail-bob":                "~/wonderland.example/bob/Maildir/\n&erin@wonderland.example\n",
		w + ".qmail-croquet-team":       team,
		w + ".qmail-owner-croquet-team": "&carol@wonderland.example\n",
		// erin comes by mike's .forward and by the team, and gets one copy.
		w + ".qmail-everyone": "&ivan@wonderland.example\n&mike@wonderland.example\n&alice@wonderland.example\n&frank@wonderland.example\n" +
			"&heidi@wonderland.example\n&Flamingo@zoo.example\n&dormouse@tea.example\n&hatter@tea.example\n",
		// What comes back from the list, as qmail-local names its sender.
		w + ".qmail-croquet-team-owner":                       "&carol@wonderland.example\n",
		w + ".qmail-wonderland:example-croquet-team-owner":    "&carol@wonderland.example\n",
		w + ".qmail-looking-glass:example-croquet-team-owner": "&carol@wonderland.example\n",
		w + ".qmail-wonder-land:example-croquet-team-owner":   "&carol@wonderland.example\n",
		c + ".qmail-team-owner":                               "&carol@wonderland.example\n",
		c + ".qmail-croquet:example-team-owner":               "&carol@wonderland.example\n",

		w + ".qmail-info":          "&carol@wonderland.example\n",
		w + ".qmail-mailer-daemon": "&alice@wonderland.example\n",
		w + ".qmail-postmaster":    "&alice@wonderland.example\n",
		w + ".qmail-root":          "&alice@wonderland.example\n",
		w + ".qmail-tea-party":     "&alice@wonderland.example\n&dormouse@tea.example\n&hatter@tea.example\n",
		w + "carol/.qmail":         "&carol@bells.example\n",
		w + "dave/.qmail":          "# " + daveAway + "./Maildir/\n",
		w + "ivan/.qmail":          "./Maildir/\n&ivan@moscow.example\n",
		w + "mike/.qmail":          "&erin@wonderland.example\n",
		c + ".qmail-old":           "|bouncesaying 'Ask the sales department'\n",
		c + ".qmail-postmaster":    "&postmaster@wonderland.example\n",
		c + ".qmail-sales":         "&erin@wonderland.example\n",
		c + ".qmail-team":          team,
	}
	diff(t, want, s.dots())
	// What the new host has no equal for, and nothing else.
	diff(t, []string{
		"alias.account-not-carried etc/mail/aliases:15",
		"alias.file-disabled etc/mail/aliases:12",
		"alias.loop etc/mail/aliases:16",
		"alias.loop etc/mail/aliases:17",
		"alias.name-not-carried etc/mail/aliases:14",
		"alias.program-disabled etc/mail/aliases:7",
		"alias.vacation-disabled home/dave/.forward:1",
	}, about(r.NotCarried, "alias."))
	v := s.report(3, "verify")
	if !v.Verification.Proven() || len(v.Verification.Failures) > 0 {
		t.Errorf("%+v", v.Verification.Failures)
	}
	if !slices.ContainsFunc(v.Notices, func(n report.Notice) bool {
		return n.Code == "notice.addresses" && strings.HasPrefix(n.Title, "121 addresses")
	}) {
		t.Errorf("%+v", v.Notices)
	}
	s.move(0, "undo")
	if left := s.dots(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestAllowPrograms enables programs and files.
func TestAllowPrograms(t *testing.T) {
	needOwners(t)
	s := newSite(t)
	s.write("old/home/erin/.forward", "\\erin, \"|/usr/local/bin/filter -x\"\n")
	s.chown("old/home/erin/.forward", 1005)
	enabled := []string{"alias.file-enabled etc/mail/aliases:12", "alias.program-enabled etc/mail/aliases:7"}
	for _, c := range []struct {
		flags             []string
		erin              string
		disabled, enabled []string
	}{
		{[]string{"-allow-programs"}, "# |/usr/local/bin/filter -x\n./Maildir/\n", []string{"alias.program-disabled home/erin/.forward:1"}, enabled},
		{[]string{"-allow-programs", "-allow-user-programs"}, "./Maildir/\n|preline /usr/local/bin/filter -x\n", nil, append(enabled, "alias.program-enabled home/erin/.forward:1")},
	} {
		r := s.report(3, "run", c.flags...)
		dots := s.dots()
		diff(t, "|preline /usr/local/bin/archive -q\n", dots["wonderland.example/.qmail-archive"])
		diff(t, "/var/log/mail-archive\n", dots["wonderland.example/.qmail-log"])
		diff(t, "./Maildir/\n"+daveAway, dots["wonderland.example/dave/.qmail"])
		diff(t, c.erin, dots["wonderland.example/erin/.qmail"])
		diff(t, c.disabled, append(about(r.NotCarried, "alias.program"), about(r.NotCarried, "alias.file")...))
		diff(t, c.enabled, append(about(r.Oddities, "alias.file"), about(r.Oddities, "alias.program")...))
		if v := s.report(3, "verify", c.flags...).Verification; !v.Proven() {
			t.Errorf("%+v", v.Failures)
		}
	}
}

// TestChangedAliases: what changed at the source follows, what changed at the
// target stays and is told, and the proof finds it.
func TestChangedAliases(t *testing.T) {
	needOwners(t)
	s := newSite(t)
	s.move(3, "run")
	const dir = "new/vpopmail/domains/wonderland.example/"
	s.write(dir+".qmail-tea-party", "&bob@wonderland.example\n")
	s.write(dir+"ivan/.qmail", "./Maildir/\n")
	s.check(os.Remove(s.path(dir + ".qmail-info")))
	s.write(dir+".qmail-own", "&bob@wonderland.example\n")
	text := s.read("old/etc/mail/aliases")
	text = strings.Replace(text, "root: alice", "root: heidi", 1)
	text = strings.Replace(text, "nobody: /dev/null\n", "", 1)
	s.write("old/etc/mail/aliases", text+"own: alice\nfresh: alice\n")
	s.write("old/home/carol/.forward", "\\carol, carol@bells.example\n")
	r := s.report(3, "run")
	dots := s.dots()
	for name, want := range map[string]string{
		".qmail-tea-party": "&bob@wonderland.example\n", "ivan/.qmail": "./Maildir/\n", ".qmail-info": "", ".qmail-own": "&bob@wonderland.example\n",
		".qmail-root": "&heidi@wonderland.example\n", ".qmail-postmaster": "&heidi@wonderland.example\n", ".qmail-nobody": "",
		".qmail-fresh": "&alice@wonderland.example\n", "carol/.qmail": "./Maildir/\n&carol@bells.example\n",
	} {
		if got := dots["wonderland.example/"+name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	diff(t, []string{"alias.kept etc/mail/aliases:17", "alias.kept etc/mail/aliases:5", "alias.kept etc/mail/virtusertable:1", "alias.kept home/ivan/.forward:1"},
		about(r.Oddities, "alias.kept"))
	before := s.list("new")
	s.move(3, "run")
	diff(t, before, s.list("new"))
	failures := s.report(3, "verify").Verification.Failures
	for _, name := range []string{"tea-party@wonderland.example goes to", "info@wonderland.example is not delivered", "own@looking-glass.example goes to", "ivan@wonderland.example goes to"} {
		if !slices.ContainsFunc(failures, func(it report.Item) bool {
			return it.Code == "verify.address" && strings.Contains(it.Words, name)
		}) {
			t.Errorf("no word of %s: %+v", name, failures)
		}
	}
	// What is not run's own is left, and holds the domain.
	if _, words := s.move(3, "undo"); !strings.Contains(words, "undo.alias-stays") || !strings.Contains(words, "undo.domain-stays") {
		t.Errorf("%s", words)
	}
	diff(t, "&bob@wonderland.example\n", s.dots()["wonderland.example/.qmail-own"])
}

// TestForeignForwards: a copy of the old host of which all belongs to one plain
// user has .forward files that Sendmail would not read. They are told of as not
// carried.
func TestForeignForwards(t *testing.T) {
	s := ownSite(t, "ann", "bob")
	s.write("old/home/ann/.forward", "far@else.example\n")
	s.chown("old/home/ann/.forward", 4711)
	s.check(os.Chmod(s.path("old/home/ann/.forward"), 0o600))
	r := s.report(3, "run")
	diff(t, []string{"sendmail.forward-not-carried home/ann/.forward"}, itemPlaces(r.NotCarried))
	diff(t, []string{"sendmail.forward-refused home/ann/.forward"}, about(r.Oddities, "sendmail.forward"))
	diff(t, map[string]string{}, s.dots())
}

// TestCutOffAliases runs again after some lines of an address were written and
// the rest was not.
func TestCutOffAliases(t *testing.T) {
	s := newSite(t)
	s.move(3, "run")
	want, all := s.dots(), s.list("new")
	target, err := func() (*target, error) {
		c := (&demonstration{dir: s.dir}).config()
		return c.openTarget(t.Context(), true)
	}()
	s.check(err)
	const addr = "tea-party@wonderland.example"
	s.check(target.records.Put(aliasKey("wonderland.example", addr), dotRecord{
		Lines: rawLines([]string{"&alice@wonderland.example", "&dormouse@tea.example", "&hatter@tea.example"}), Intent: true,
	}))
	target.close()
	for _, half := range []string{"", "&alice@wonderland.example\n", "&alice@wonderland.example\n&dormouse@tea.example\n"} {
		file := s.path("new/vpopmail/domains/wonderland.example/.qmail-tea-party")
		s.check(os.WriteFile(file, []byte(half), 0o600))
		if half == "" {
			s.check(os.Remove(file))
		}
		s.move(3, "run")
		diff(t, want, s.dots())
		target, err := (&demonstration{dir: s.dir}).config().openTarget(t.Context(), true)
		s.check(err)
		s.check(target.records.Put(aliasKey("wonderland.example", addr), dotRecord{
			Lines: rawLines([]string{"&alice@wonderland.example", "&dormouse@tea.example", "&hatter@tea.example"}), Intent: true,
		}))
		target.close()
	}
	if len(s.list("new")) != len(all) {
		t.Error("other files than before")
	}
	s.move(0, "undo")
	if left := s.dots(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestBadAliases: hostile settings cost themselves only.
func TestBadAliases(t *testing.T) {
	t.Cleanup(debug.FreeOSMemory) // other tests measure what their programs take, which begins with this process's
	s := ownSite(t, "ann", "bob", "cyd", "dan", "eve", "fay")
	s.write("old/etc/mail/lists/loop", ":include:/etc/mail/lists/loop, ann\n")
	for i := range 30 {
		s.write(fmt.Sprintf("old/etc/mail/lists/deep%d", i), fmt.Sprintf(":include:/etc/mail/lists/deep%d, x%[1]d@else.example\n", i+1))
	}
	for i, text := range map[int]string{2: "dan\n", 3: "cyd\n", 5: strings.Repeat("far@else.example\n", 1<<12)} {
		name := "old/home/" + []string{"ann", "bob", "cyd", "dan", "eve", "fay"}[i] + "/.forward"
		s.write(name, text)
		s.chown(name, 1000+i)
	}
	s.check(syscall.Mkfifo(s.path("old/home/eve/.forward"), 0o644))
	s.write("old/etc/mail/aliases", "long: "+strings.Repeat("ann, ", 2<<20)+"\na: b\nb: c\nc: a\nlist: :include:/etc/mail/lists/loop\n"+
		"j\xfcrgen: ann\nmissing: :include:/no/such/file\nfine: bob\ndeep: :include:/etc/mail/lists/deep0\n")
	s.check(os.Symlink("/etc/shadow", s.path("old/home/bob/.forward")))
	r := s.report(3, "run")
	text, err := json.Marshal(r)
	s.check(err)
	if bytes.Contains(text, []byte("PeggySue")) {
		t.Error("the report has a hash")
	}
	dots := s.dots()
	diff(t, "&bob@example.org\n", dots["example.org/.qmail-fine"])
	diff(t, "&ann@example.org\n", dots["example.org/.qmail-list"])
	if text, ok := dots["example.org/bob/.qmail"]; ok {
		t.Errorf("of /etc/shadow: %q", text)
	}
	if items := about(r.NotCarried, ""); len(about(r.NotCarried, "alias.loop")) != 3 || len(about(r.NotCarried, "sendmail.alias-long-line")) != 1 ||
		len(about(r.NotCarried, "alias.name-not-carried")) != 1 {
		t.Errorf("%q", items)
	}
	if v := s.anyway("verify").Verification; !v.Proven() {
		t.Errorf("%+v", v.Failures)
	}
}

// randomHost writes settings that a host could have, by chance.
func randomHost(s *site, rng *rand.Rand, users []string) (settings string) {
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	names := []string{"red", "blue", "green", "red.blue", "team-x", "postmaster", "Grey"}
	target := func(self string) string {
		switch rng.IntN(10) {
		case 0:
			return "far" + pick("1", "2", "3") + "@else.example"
		case 1:
			return "\\" + pick(users...)
		case 2:
			return pick(users...) + "@" + pick("example.org", "two.example", "three.example")
		case 3:
			return pick("/dev/null", "\"|/bin/prog -x\"", "/var/box", "nobody-here")
		case 4:
			return ":include:/etc/mail/list" + pick("1", "2")
		case 5, 6:
			return pick(names...)
		}
		return pick(append(users, self)...)
	}
	list := func(self string) string {
		var all []string
		for range 1 + rng.IntN(4) {
			all = append(all, target(self))
		}
		return strings.Join(all, ", ")
	}
	var aliases, virtual strings.Builder
	for _, n := range append(names, users[0], "owner-red", "owner-team-x", "red-owner", users[0]+"+x", "owner-"+users[1]) {
		if rng.IntN(4) > 0 {
			fmt.Fprintf(&aliases, "%s: %s\n", n, list(n))
		}
	}
	files := map[string]string{}
	for _, d := range []string{"example.org", "two.example", "three.example"} {
		for _, n := range []string{"red", "new", users[1], ""} {
			if rng.IntN(5) == 0 {
				fmt.Fprintf(&virtual, "%s@%s\t%s\n", n, d, pick(users[2], "blue", "far9@else.example", "error:nouser 550 Gone away", "%1@two.example", "nobody-here"))
			}
		}
	}
	files["etc/mail/aliases"], files["etc/mail/virtusertable"] = aliases.String(), virtual.String()
	files["etc/mail/list1"], files["etc/mail/list2"] = list("red")+"\n", strings.ReplaceAll(list("blue"), ", ", "\n")+"\n"
	for _, u := range users {
		if rng.IntN(3) == 0 {
			files["home/"+u+"/.forward"] = list(u) + "\n"
		}
	}
	for name, text := range files {
		s.write("old/"+name, text)
		settings += "--- " + name + "\n" + text
		if i := slices.IndexFunc(users, func(u string) bool { return strings.HasPrefix(name, "home/"+u+"/") }); i >= 0 {
			s.chown("old/"+name, 1000+i)
		}
	}
	return settings
}

// TestRandomHosts: whatever the settings are, mail to every address ends on the
// new host where Sendmail delivers it, each in one copy, a second run changes
// nothing, and undo takes all of it back.
func TestRandomHosts(t *testing.T) {
	seeds := []uint64{39} // a file in a .forward
	n := 12
	if os.Getenv("QMAILKIT_LONG") != "" {
		n = 200
	}
	for i := range n {
		seeds = append(seeds, uint64(i))
	}
	users := []string{"ann", "bob", "cyd", "dan", "eve"}
	for _, seed := range seeds {
		s := ownSite(t, users...)
		s.write("old/etc/mail/local-host-names", "example.org\ntwo.example\nthree.example\n")
		settings := randomHost(s, rand.New(rand.NewPCG(7, seed)), users)
		var args []string
		if seed%3 == 0 {
			args = []string{"-allow-programs", "-allow-user-programs"}
		}
		s.anyway("run", args...)
		v := s.anyway("verify", args...).Verification
		for _, f := range v.Failures {
			t.Errorf("seed %d: %s", seed, f.Words)
		}
		before := s.list("new")
		s.anyway("run", args...)
		diff(t, before, s.list("new"))
		s.move(0, "undo")
		if left := s.dots(); len(left) > 0 {
			t.Errorf("seed %d: left: %q", seed, left)
		}
		if t.Failed() {
			t.Fatalf("seed %d:\n%s\n%v", seed, settings, s.dots())
		}
		s.check(os.RemoveAll(s.dir))
	}
}

// TestSomeUsers: a run of some accounts leaves all addresses to a run of all,
// says so, and does nothing that stands in the way of that.
func TestSomeUsers(t *testing.T) {
	needOwners(t)
	s := newSite(t)
	for _, command := range []string{"plan", "run"} {
		r := s.report(3, command, "-user", "ivan", "-user", "erin")
		diff(t, []string{"alias.left-out ", "alias.left-out home/ivan/.forward:1", "domain.left-out "}, append(about(r.Oddities, "alias."), about(r.Oddities, "domain.left-out")...))
		if !slices.ContainsFunc(r.Oddities, func(it report.Item) bool { return strings.Contains(it.Words, "addresses and 4 .forward files") }) {
			t.Errorf("%+v", r.Oddities)
		}
		if left := about(r.NotCarried, "sendmail.aliases"); len(left) != 1 {
			t.Errorf("%q", left)
		}
	}
	diff(t, map[string]string{}, s.dots())
	if text := s.read("new/qmail/control/virtualdomains"); strings.Contains(text, "croquet") || !strings.Contains(text, "looking-glass") {
		t.Errorf("%s", text)
	}
	r := s.report(3, "run")
	if taken := about(r.NotCarried, "domain."); len(taken) > 0 {
		t.Errorf("%q", taken)
	}
	if v := s.report(3, "verify").Verification; !v.Proven() {
		t.Errorf("%+v", v.Failures)
	}
	if dots := s.dots(); dots["wonderland.example/ivan/.qmail"] == "" || dots["croquet.example/.qmail-sales"] == "" {
		t.Errorf("%q", dots)
	}
}

// TestChangedCatchAll: the mail for unknown users follows the source, unless
// somebody has changed that on the new host.
func TestChangedCatchAll(t *testing.T) {
	s := ownSite(t, "ann", "bob")
	const file = "new/vpopmail/domains/example.org/.qmail-default"
	is := func(word string) {
		t.Helper()
		diff(t, "| "+s.path("new/vpopmail")+"/bin/vdelivermail '' "+word+"\n", s.read(file))
	}
	s.write("old/etc/mail/virtusertable", "@example.org ann\n")
	s.anyway("run", "-user", "bob")
	is("bounce-no-mailbox")
	for _, user := range []string{"ann", "bob"} {
		s.write("old/etc/mail/virtusertable", "@example.org "+user+"\n")
		s.anyway("run")
		is(user + "@example.org")
		if v := s.anyway("verify").Verification; !v.Proven() || len(v.Failures) > 0 {
			t.Errorf("%+v", v.Failures)
		}
	}
	s.write(file, strings.Replace(s.read(file), "bob@", "carol@", 1))
	s.write("old/etc/mail/virtusertable", "@example.org ann\n")
	diff(t, []string{"alias.kept "}, about(s.anyway("run").Oddities, "alias.kept"))
	is("carol@example.org")
	s.write(file, strings.Replace(s.read(file), "carol@", "bob@", 1))
	// What a shell would run is not carried, and stops nothing.
	s.write("old/etc/mail/virtusertable", "@example.org x|y@else.example\n")
	diff(t, []string{"alias.catch-all-not-carried etc/mail/virtusertable:1"}, about(s.anyway("run").NotCarried, "alias."))
	is("bounce-no-mailbox")
	s.move(0, "undo")
	if left := s.remains(); slices.ContainsFunc(left, func(name string) bool { return strings.Contains(name, "example.org") }) {
		t.Errorf("%q", left)
	}
}
