package controlmap

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/sendmail"
)

// A host is the files of etc/mail by name.
type host map[string]string

// expander reads a host, by the rules of a sendmail.cf that m4 has made, or
// where config is empty by those of the package.
func (h host) expander(tb testing.TB, config string) *sendmail.Expander {
	tb.Helper()
	dir := tb.TempDir()
	check := func(err error) {
		if err != nil {
			tb.Helper()
			tb.Fatal(err)
		}
	}
	check(os.MkdirAll(filepath.Join(dir, "etc/mail"), 0o755))
	files := host{"passwd": "root:x:0:0::/root:/bin/sh\ncarol:x:1000:1000::/home/carol:/bin/sh\n", "hostname": "mail.example.com\n"}
	for name, text := range files {
		check(os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644))
	}
	if config != "" {
		f, err := os.Open("../../../sendmail/testdata/expand/" + config + ".cf.gz")
		check(err)
		defer f.Close()
		z, err := gzip.NewReader(f)
		check(err)
		text, err := io.ReadAll(z)
		check(err)
		check(os.WriteFile(filepath.Join(dir, "etc/mail/sendmail.cf"), append(text, h["more.cf"]...), 0o644))
		for _, name := range []string{"local-host-names", "virtuser-domains", "relay-domains", "aliases", "virtusertable", "mailertable", "domaintable", "genericstable", "access"} {
			check(os.WriteFile(filepath.Join(dir, "etc/mail", name), nil, 0o644))
		}
	}
	for name, text := range h {
		check(os.WriteFile(filepath.Join(dir, "etc/mail", name), []byte(text), 0o644))
	}
	root, err := os.OpenRoot(dir)
	check(err)
	tb.Cleanup(func() { root.Close() })
	sm, err := sendmail.Open(qmailkit.NewTree(root), nil)
	check(err)
	x, err := sm.Expander(tb.Context())
	check(err)
	return x
}

func options() *Options {
	return &Options{
		Domain: "example.com", Ours: func(d string) bool { return d == "example.com" || d == "example.org" },
		AliasOK: func(d string) error {
			if len(d) > 60 {
				return errors.New("too long")
			}
			return nil
		},
	}
}

func build(tb testing.TB, h host, config string) *Map {
	tb.Helper()
	m, err := Build(tb.Context(), h.expander(tb, config), options())
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func (m *Map) texts(file string) []string {
	var list []string
	for _, l := range m.Lines {
		if l.File == file {
			list = append(list, l.Text)
		}
	}
	slices.Sort(list)
	return list
}

// fateOf is the code of what became of a line.
func (m *Map) fateOf(file string, line int) string {
	for _, p := range m.Problems {
		if filepath.Base(p.Path) == file && p.Line == line {
			return strings.TrimPrefix(p.Code, "control.")
		}
	}
	return ""
}

// checkFates compares the fates of the lines of a file, each of which ends in a
// comment that says what it has to be; makemap knows no comments there, so they
// are taken off first.
func checkFates(t *testing.T, h host, name, config string) *Map {
	t.Helper()
	files := host{}
	want := map[string][]string{}
	for file, text := range h {
		for line := range strings.Lines(text) {
			text, fate, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " # ")
			files[file] += text + "\n"
			want[file] = append(want[file], fate)
		}
	}
	m := build(t, files, config)
	for file, fates := range want {
		for i, fate := range fates {
			if got := m.fateOf(file, i+1); fate != "" && got != fate {
				t.Errorf("%s: %s:%d %q is %q, want %q", name, file, i+1, strings.Split(files[file], "\n")[i], got, fate)
			}
		}
	}
	return m
}

// whole is a host with an entry of each kind, and its fate behind it.
var whole = host{
	"local-host-names": "example.com\nexample.org\n",
	"mailertable": "plain.example\tsmtp:[gate.example] # carried\n" +
		".plain.example\tesmtp:[192.0.2.25] # carried\n" +
		"mx.example\tsmtp:mx.example # carried\n" +
		"loose.example\trelay:hub.example # changed\n" +
		"two.example\tsmtp:[a.example]:[b.example] # changed\n" +
		"one.example\tsmtp:joe@h.example # not-carried\n" +
		"v6.example\tsmtp:[IPv6:2001:db8::1] # not-carried\n" +
		".copy.example\tsmtp:[%1.inside.example] # not-carried\n" +
		"shut.example\terror:5.7.1:550 closed # not-carried\n" +
		"carols.example\tlocal:carol # not-carried\n" +
		"ours.example\tlocal: # carried\n" +
		"to-carol.example\tlocal:carol # carried\n" +
		"closed.example\tlocal: # not-carried\n" +
		"nomailer.example\thub.example # changed\n" +
		"example.org\tsmtp:[x.example] # needless\n" +
		"dot.\tsmtp:[x.example] # needless\n" +
		"uucp.example\tprog:foo # not-carried\n" +
		"plain.example\tsmtp:[other.example] # needless\n" +
		".\tsmtp:[smart.example] # carried\n",
	"domaintable":   "old.example\texample.com # changed\nfar.example\tnew.example # not-carried\nexample.org\texample.com # needless\n",
	"genericstable": "carol\tCarol@example.com # not-carried\n",
	"relay-domains": "# for whom\nbackup.example # changed\n192.0.2 # carried\n192.0.3. # carried\n198.51.100.7 # carried\nIPv6:2001:db8 # not-carried\n" +
		"com # not-carried\nto-carol.example # changed\nours.example # changed\n0 # not-carried\n300.1 # needless\nlocalhost # changed\n",
	"access": "Connect:203.0.113\tRELAY # carried\n" +
		"Connect:203.0.113.9\tOK # carried\n" +
		"Connect:203.0.113.66\tREJECT # carried\n" +
		"Connect:203.0.113.67\tERROR:550 go away # changed\n" +
		"Connect:203.0.113.68\tRELAY # needless\n" +
		"Connect:192.0.2.5\tOK # needless\n" +
		"Connect:80\tRELAY # changed\n" +
		"Connect:10\tRELAY # carried\n" +
		"Connect:\tRELAY # needless\n" +
		"Connect:0\tRELAY # not-carried\n" +
		"Connect:0.0.0.0/0\tRELAY # needless\n" +
		"Connect:friend.example\tRELAY # not-carried\n" +
		"Connect:localhost\tRELAY # changed\n" +
		"From:spam@bad.example\tREJECT # carried\n" +
		"From:bad.test\tREJECT # changed\n" +
		"worse.example\t550 no # changed\n" +
		"From:slow.example\tERROR:4.7.1:450 later # not-carried\n" +
		"From:good@mixed.example\tOK # needless\n" +
		"From:mixed.example\tREJECT # not-carried\n" +
		"From:spammer@\tREJECT # not-carried\n" +
		"From:biz\tREJECT # not-carried\n" +
		"From:sink.example\tDISCARD # not-carried\n" +
		"To:mail.relayed.example\tRELAY # carried\n" +
		"To:half.example\tRELAY # not-carried\n" +
		"To:inner.half.example\tREJECT # needless\n" +
		"To:carol@example.com\tOK # needless\n" +
		"GreetPause:192.0.2\t5000 # not-carried\n" +
		"J\xf6rg@bad.example\tREJECT # not-carried\n",
}

func TestBuild(t *testing.T) {
	h := host{}
	for name, text := range whole {
		h[name] = text
	}
	m := checkFates(t, h, "whole", "plain")
	for file, want := range map[string][]string{
		Routes:  {".plain.example:192.0.2.25", ":smart.example", "loose.example:hub.example", "mx.example:", "plain.example:gate.example", "two.example:a.example"},
		Hosts:   {".backup.example", ".mail.relayed.example", ".ours.example", ".to-carol.example", "backup.example", "com", "half.example", "mail.relayed.example"},
		Senders: {"@bad.test", "@worse.example", "spam@bad.example"},
		Clients: {
			"10.:" + relayRule, "192.0.2.:" + relayRule, "192.0.3.:" + relayRule, "198.51.100.7:" + relayRule, "203.0.113.66:deny",
			"203.0.113.67:deny", "203.0.113.9:allow", "203.0.113.:" + relayRule, "80.:" + relayRule,
		},
	} {
		slices.Sort(want)
		if got := m.texts(file); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", file, got, want)
		}
	}
	var aliases []string
	for _, a := range m.Aliases {
		aliases = append(aliases, a.Name+" "+a.Of)
	}
	if want := []string{"old.example example.com", "ours.example example.com", "to-carol.example example.com"}; !slices.Equal(aliases, want) {
		t.Errorf("aliases %q, want %q", aliases, want)
	}
	for _, name := range []string{"access", "mailertable", "relay-domains", "domaintable", "genericstable"} {
		if !m.Settled["etc/mail/"+name] {
			t.Errorf("%s is not settled", name)
		}
	}
	free := 0
	for _, q := range m.Questions {
		if q.Free {
			free++
		}
	}
	if n := len(m.Questions); n < 80 || free < 10 || free > n/3 {
		t.Errorf("%d questions, %d of them free", n, free)
	}
}

// TestFeatures adds rules to sendmail.cf that let in, or keep out, more than a
// table says.
func TestFeatures(t *testing.T) {
	for name, test := range map[string]struct {
		rules, code string
		hosts       []string
	}{
		"promiscuous": {"SLocal_check_rcpt\nR$*\t$#OK\n", "the old host relays for everybody", nil},
		"by sender":   {"SLocal_check_rcpt\nR$*\t$: $>3 $&f\nR$+<@$=w.>\t$#OK\n", "for senders of its own domains", []string{".in.example", "in.example"}},
		"shut":        {"SLocal_check_relay\nR$*\t$#error $: 550 no\n", "takes no mail from strangers", nil},
		"no names":    {"SLocal_check_relay\nR$*\t$: $&{client_resolve}\nRFAIL\t$#error $: 550 no name\n", "", []string{".in.example", "in.example"}},
	} {
		h := host{"local-host-names": "example.com\n", "relay-domains": "in.example\n", "more.cf": test.rules,
			"access": "192.0.2\tRELAY\n198.51.100\tREJECT\nFrom:bad.example\tREJECT\nTo:in.example\tRELAY\n"}
		m := build(t, h, "plain")
		if got := m.texts(Hosts); !slices.Equal(got, test.hosts) {
			t.Errorf("%s: rcpthosts %q", name, got)
		}
		relays := strings.Contains(strings.Join(m.texts(Clients), " "), "RELAYCLIENT")
		if want := test.hosts != nil; relays != want {
			t.Errorf("%s: tcp.smtp %q", name, m.texts(Clients))
		}
		if name != "shut" && !slices.Contains(m.texts(Clients), "198.51.100.:deny") {
			t.Errorf("%s: tcp.smtp %q", name, m.texts(Clients))
		}
		found := test.code == ""
		for _, p := range m.Problems {
			found = found || p.Severity == qmailkit.Error && strings.Contains(p.Err.Error(), test.code)
		}
		if !found {
			t.Errorf("%s is not reported: %v", name, m.Problems)
		}
	}
}

// TestSmartHost takes the smart host of sendmail.cf.
func TestSmartHost(t *testing.T) {
	m := build(t, host{"local-host-names": "example.com\n", "mailertable": "direct.example\tesmtp:direct.example\n"}, "relay")
	if got, want := m.texts(Routes), []string{":smart.example", "direct.example:"}; !slices.Equal(got, want) {
		t.Errorf("smtproutes %q, want %q", got, want)
	}
	m = build(t, host{"local-host-names": "example.com\n", "mailertable": ".\tesmtp:[other.example]\n"}, "relay")
	if got, want := m.texts(Routes), []string{":other.example"}; !slices.Equal(got, want) {
		t.Errorf("smtproutes %q, want %q", got, want)
	}
	m = build(t, host{"mailertable": "a.example\tport:[h.example]\n", "more.cf": "Mport,\tP=[IPC], F=m, A=TCP $h 587\n"}, "plain")
	if got, want := m.texts(Routes), []string{"a.example:h.example:587"}; !slices.Equal(got, want) {
		t.Errorf("smtproutes %q, want %q", got, want)
	}
	if m = build(t, host{}, ""); len(m.Lines) != 0 || len(m.Aliases) != 0 {
		t.Errorf("an empty host has lines %q", m.Lines)
	}
}

// TestLargeTable: of very many entries all are carried and some are asked for,
// which is said.
func TestLargeTable(t *testing.T) {
	var text strings.Builder
	const n = 2*maxAsked + 10
	for i := range n {
		fmt.Fprintf(&text, "From:spam%d.example\tREJECT\n", i)
	}
	m := build(t, host{"access": text.String()}, "")
	lines := 0
	for _, l := range m.Lines {
		if l.File == "badmailfrom" {
			lines++
		}
	}
	if lines < n || len(m.Questions) > 3*maxAsked {
		t.Errorf("%d lines, %d questions", lines, len(m.Questions))
	}
	if !slices.ContainsFunc(m.Problems, func(p qmailkit.Problem) bool { return p.Code == "control.sample" }) {
		t.Error("not a word of the sample")
	}
}
