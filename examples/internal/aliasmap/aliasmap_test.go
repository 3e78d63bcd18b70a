package aliasmap_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/aliasmap"
	"github.com/qmailkit/qmailkit/sendmail"
)

// host makes an old host with the accounts ann, bob and cyd, and reads it.
func host(dir string, files map[string]string) (*sendmail.Expander, error) {
	all := map[string]string{
		"etc/passwd":                "daemon:*:1:1::/:/sbin/nologin\nann:*:1000:1000::/home/ann:/bin/sh\nbob:*:1001:1001::/home/bob:/bin/sh\ncyd:*:1002:1002::/home/cyd:/bin/sh\n",
		"etc/mail/local-host-names": "example.org\ntwo.example\n",
	}
	for name, text := range files {
		all[name] = text
	}
	for name, text := range all {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	h, err := sendmail.Open(qmailkit.NewTree(root), nil)
	if err != nil {
		return nil, err
	}
	return h.Expander(context.Background())
}

func options() *aliasmap.Options {
	return &aliasmap.Options{
		Domain: "example.org", Domains: []string{"two.example"}, Users: map[string]string{"ann": "ann", "bob": "bob", "cyd": "cyd"},
		NameOK: func(name string) error {
			if strings.ContainsAny(name, "/ ") || strings.IndexByte(name, 0xfc) >= 0 {
				return errors.New("no such name here")
			}
			return nil
		},
		CatchAllOK: func(address string) error {
			if strings.ContainsAny(address, "|$") {
				return errors.New("no such word in a command")
			}
			return nil
		},
	}
}

// text is an entry in one line.
func text(e aliasmap.Entry) string {
	s := e.Name + "@" + e.Domain + ":"
	for _, l := range e.Lines {
		t, ok := l.Text("example.org", "", func(user string) (string, bool) { return "/" + user + "/Maildir", user != "bob" })
		if !ok {
			t = "(" + l.Arg + " is unknown)"
		}
		s += " " + t
	}
	return s
}

func build(t *testing.T, files map[string]string, change func(*aliasmap.Options)) (m *aliasmap.Map, entries, problems []string) {
	t.Helper()
	x, err := host(t.TempDir(), files)
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	if change != nil {
		change(o)
	}
	if m, err = aliasmap.Build(t.Context(), x, o); err != nil {
		t.Fatal(err)
	}
	for _, e := range m.Entries {
		entries = append(entries, text(e))
	}
	for _, p := range m.Problems {
		if p.Severity > qmailkit.Info {
			problems = append(problems, fmt.Sprintf("%s %s:%d", p.Code, p.Path, p.Line))
		}
	}
	slices.Sort(problems)
	return m, entries, problems
}

func same(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("want - got +:\n%s", d)
	}
}

func TestNames(t *testing.T) {
	_, entries, problems := build(t, map[string]string{"etc/mail/aliases": "a/b: ann\nx-default: ann\ndefault: ann\nTeam.One: ann, bob, ann\ng\xfcn: ann\nnight: daemon\nmix: daemon, ann\n"}, nil)
	same(t, []string{"mix@example.org: &ann@example.org", "team.one@example.org: &ann@example.org &bob@example.org"}, entries)
	same(t, []string{
		"alias.account-not-carried etc/mail/aliases:6", "alias.account-not-carried etc/mail/aliases:7", "alias.name-not-carried etc/mail/aliases:1",
		"alias.name-not-carried etc/mail/aliases:2", "alias.name-not-carried etc/mail/aliases:3", "alias.name-not-carried etc/mail/aliases:5",
	}, problems)
}

// An alias of a user's own name does not lead to itself, and other addresses
// reach the Maildir past it.
func TestOwnName(t *testing.T) {
	_, entries, _ := build(t, map[string]string{"etc/mail/aliases": "ann: \\ann, cyd\nteam: \\ann\nbob: cyd\nboth: \\bob\n"}, nil)
	same(t, []string{
		"ann@example.org: /ann/Maildir/ &cyd@example.org", "bob@example.org: &cyd@example.org",
		"both@example.org: (bob is unknown)", "team@example.org: /ann/Maildir/",
	}, entries)
}

func TestDomains(t *testing.T) {
	const key = "etc/mail/virtusertable"
	for _, c := range []struct {
		name, virtual       string
		aliases, separate   []string
		catchAll            string
		entries, notCarried []string
	}{
		{name: "nothing of its own", virtual: "info@example.org ann\ninfo@two.example ann\n", aliases: []string{"two.example"}, entries: []string{"info@example.org: &ann@example.org"}},
		{name: "a name", virtual: "info@two.example ann\n", separate: []string{"two.example"}, entries: []string{
			"ann@two.example: &ann@example.org", "bob@two.example: &bob@example.org", "cyd@two.example: &cyd@example.org",
			"info@two.example: &ann@example.org", "postmaster@two.example: &postmaster@example.org",
		}},
		{name: "a catch-all", virtual: "@two.example ann\nbob@two.example error:nouser 550 Gone\n", separate: []string{"two.example=ann@example.org"}, entries: []string{
			"bob@two.example: |bouncesaying 'Gone'", "postmaster@two.example: &ann@example.org",
		}},
		{name: "a catch-all elsewhere", virtual: "@two.example x@far.example\n", separate: []string{"two.example=x@far.example"}, entries: []string{"postmaster@two.example: &x@far.example"}},
		{name: "each name elsewhere", virtual: "@two.example %1@far.example\n", separate: []string{"two.example"}, entries: []string{
			"ann@two.example: &ann@far.example", "bob@two.example: &bob@far.example", "cyd@two.example: &cyd@far.example", "postmaster@two.example: &postmaster@far.example",
		}, notCarried: []string{"alias.catch-all-not-carried " + key + ":1"}},
		{name: "a catch-all of the users' domain", virtual: "@example.org ann\n", separate: []string{"two.example"}, catchAll: "ann@example.org", entries: []string{
			"bob@example.org: &ann@example.org", "cyd@example.org: &ann@example.org", "postmaster@example.org: &ann@example.org",
			"ann@two.example: &ann@example.org", "bob@two.example: /bob/Maildir/", "cyd@two.example: /cyd/Maildir/", "postmaster@two.example: &postmaster@example.org",
		}},
		{name: "a catch-all that a shell would run", virtual: "@two.example x|y@far.example\n", separate: []string{"two.example"}, entries: []string{
			"ann@two.example: &x|y@far.example", "bob@two.example: &x|y@far.example", "cyd@two.example: &x|y@far.example", "postmaster@two.example: &x|y@far.example",
		}, notCarried: []string{"alias.catch-all-not-carried " + key + ":1"}},
		{name: "of another domain", virtual: "x@other.example ann\n", aliases: []string{"two.example"}, notCarried: []string{"virtuser.not-carried " + key + ":1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, entries, problems := build(t, map[string]string{key: c.virtual}, nil)
			var separate []string
			for _, s := range m.Separate {
				separate = append(separate, strings.TrimSuffix(s.Name+"="+s.CatchAll, "="))
			}
			same(t, c.aliases, m.Aliases)
			same(t, c.separate, separate)
			same(t, c.catchAll, m.CatchAll)
			for i := range entries {
				entries[i] = strings.ReplaceAll(entries[i], "(bob is unknown)", "/bob/Maildir/")
			}
			same(t, c.entries, entries)
			same(t, c.notCarried, problems)
		})
	}
}

// A domain that is to be an alias stays one, and what differs is told.
func TestFixed(t *testing.T) {
	m, entries, problems := build(t, map[string]string{"etc/mail/virtusertable": "info@two.example ann\n"}, func(o *aliasmap.Options) { o.Fixed = o.Domains })
	same(t, []string{"two.example"}, m.Aliases)
	same(t, []string(nil), entries)
	same(t, []string{"alias.domain-differs etc/mail/virtusertable:1"}, problems)
}

// A domain that the old host does not know has the names of the old host.
func TestNewDomain(t *testing.T) {
	m, entries, _ := build(t, map[string]string{"etc/mail/aliases": "team: ann, far@else.example\n"}, func(o *aliasmap.Options) { o.Domain, o.Domains = "new.example", []string{"newer.example"} })
	same(t, []string{"newer.example"}, m.Aliases)
	same(t, []string{"team@new.example: &ann@example.org &far@else.example"}, entries)
}

// What comes out of a file cannot end the line or the command that it is in.
func TestText(t *testing.T) {
	for _, c := range []struct {
		l    aliasmap.Line
		want string
	}{
		{aliasmap.Line{Kind: aliasmap.Bounce, Arg: "it's\n\\gone; \x80rm -r /"}, "|bouncesaying 'itsgone; rm -r /'"},
		{aliasmap.Line{Kind: aliasmap.Bounce, Arg: strings.Repeat("x", 500)}, "|bouncesaying '" + strings.Repeat("x", 100) + "'"},
		{aliasmap.Line{Kind: aliasmap.Off, Arg: "|prog"}, "# |prog"},
		{aliasmap.Line{Kind: aliasmap.Hold}, aliasmap.HoldLine},
		{aliasmap.Line{Kind: aliasmap.Discard}, "#"},
		{aliasmap.Line{Kind: aliasmap.Mailbox, Arg: "ann"}, "./Maildir/"},
		{aliasmap.Line{Kind: aliasmap.Forward, Arg: "a@b"}, "&a@b"},
	} {
		if got, ok := c.l.Text("example.org", "ann", nil); got != c.want || !ok {
			t.Errorf("%+v: %q, %v", c.l, got, ok)
		}
	}
}

func Example() {
	dir, err := os.MkdirTemp("", "host")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	x, err := host(dir, map[string]string{"etc/mail/aliases": "team: ann, far@else.example, ann\narchive: \"|/bin/archive\"\n"})
	if err != nil {
		log.Fatal(err)
	}
	m, err := aliasmap.Build(context.Background(), x, options())
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range m.Entries {
		fmt.Println(text(e))
	}
	fmt.Println("aliases:", m.Aliases)
	// Output:
	// archive@example.org: # |/bin/archive |exit 111
	// team@example.org: &ann@example.org &far@else.example
	// aliases: [two.example]
}
