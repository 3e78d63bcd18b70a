package plesk

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

func assignOf(t testing.TB, text string) *users.Assign {
	t.Helper()
	a, err := users.ParseAssign(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var popOptions = &AssignOptions{User: "popuser", UID: 110, GID: 31}

func movedDomain() *Domain {
	return &Domain{ID: 12, Name: "Example.com", Aliases: []DomainAlias{{Name: "example.net", Mail: true}, {Name: "web.example.net"}, {Name: "off.example.net", Mail: true, Status: 2}},
		Mailnames: []*Mailname{{Name: "anna", Mailbox: true, Aliases: []string{"a.nna", "x/y"}}, {Name: "Team", Group: true}, {Name: "../up"}, {Name: "a:b", Aliases: []string{"never"}}}}
}

// ours are the lines of movedDomain on a host where its number is 7.
const ours = "+7:popuser:110:31:/var/qmail/mailnames/example.com:::\n" +
	"=7-anna:popuser:110:31:/var/qmail/mailnames/example.com/anna:::\n" +
	"=7-a.nna:popuser:110:31:/var/qmail/mailnames/example.com/anna:::\n" +
	"=7-Team:popuser:110:31:/var/qmail/mailnames/example.com/team:::\n"

func TestAddAssign(t *testing.T) {
	const others = "=postmaster:alias:71:65534:/var/qmail/alias:::\n=\xff\xfe:x:1:2:/x:-:e:rest\n+100:popuser:110:31:/var/qmail/mailnames/a.org:::\n"
	a := assignOf(t, others+".\nbehind\n")
	for range 2 { // the second time adds nothing
		probs, err := AddAssign(a, movedDomain(), 7, popOptions)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(others+ours+".\nbehind\n", string(a.Bytes())); d != "" {
			t.Fatal(d)
		}
		if d := cmp.Diff([]string{"plesk.assign-name"}, codes(probs)); d != "" || len(probs) != 3 {
			t.Errorf("%d problems: %s", len(probs), d)
		}
	}
	n, err := RemoveAssign(a, movedDomain(), 7, popOptions)
	if err != nil || n != 4 || string(a.Bytes()) != others+".\nbehind\n" {
		t.Errorf("%d, %v, %q", n, err, a.Bytes())
	}
	// What qmail finds is what is meant: mailboxes, aliases, and the rest.
	a = assignOf(t, ours+".\n")
	db := cdbOf(t, a)
	for local, home := range map[string]string{"7-anna": "/anna", "7-A.NNA": "/anna", "7-team": "/team", "7-unknown": "", "7-anna-x": ""} {
		u, found, err := db.Lookup(local)
		if err != nil || !found || u.Home != "/var/qmail/mailnames/example.com"+home || u.Dash != "" {
			t.Errorf("%s: %+v, %v, %v", local, u, found, err)
		}
	}
}

func cdbOf(t *testing.T, a *users.Assign) *users.DB {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "cdb"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := a.WriteCDB(f); err != nil {
		t.Fatal(err)
	}
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	db, err := users.OpenDB(f, fi.Size())
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestAddAssignConflict(t *testing.T) {
	const other = "=7-ANNA:somebody:1:1:/home/x:::\n"
	a := assignOf(t, other+".\n")
	probs, err := AddAssign(a, movedDomain(), 7, popOptions)
	if err != nil || !slices.Contains(codes(probs), "plesk.assign-conflict") || !strings.HasPrefix(string(a.Bytes()), other) || strings.Contains(string(a.Bytes()), "=7-anna:") {
		t.Errorf("%v, %q, %q", err, codes(probs), a.Bytes())
	}
	for _, o := range []*AssignOptions{nil, {}, {User: "popuser", UID: 0, GID: 31}, {User: "popuser", UID: 110}, {UID: 1, GID: 1}} {
		if _, err := AddAssign(a, movedDomain(), 7, o); !errors.Is(err, ErrOwner) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := AddAssign(a, movedDomain(), 0, popOptions); !errors.Is(err, ErrNoDomainID) {
		t.Error(err)
	}
	if _, err := AddAssign(a, &Domain{Name: "a/b"}, 7, popOptions); !errors.Is(err, users.ErrField) {
		t.Error(err)
	}
}

func TestParseAssignLine(t *testing.T) {
	const home = ":popuser:110:31:/var/qmail/mailnames/"
	for line, want := range map[string]AssignLine{
		"=12-anna" + home + "example.com/anna:::":             {ID: 12, Domain: "example.com", Name: "anna", Directory: "anna"},
		"=12-a.nna" + home + "example.com/anna/:::":           {ID: 12, Domain: "example.com", Name: "a.nna", Directory: "anna"},
		"=12-with-dash" + home + "example.com/with-dash:::":   {ID: 12, Domain: "example.com", Name: "with-dash", Directory: "with-dash"},
		"=Example-com-Anna" + home + "example.com/anna:::":    {Domain: "example.com", Name: "Anna", Directory: "anna"},
		"=123-reg-example-x" + home + "123-reg.example/x:::":  {Domain: "123-reg.example", Name: "x", Directory: "x"},
		"+12" + home + "example.com:::":                       {ID: 12, Domain: "example.com"},
		"+12-" + home + "example.com:-::":                     {ID: 12, Domain: "example.com", Dash: true},
		"+example-com-" + home + "example.com:-::":            {Domain: "example.com", Dash: true},
		"=012-anna" + home + "example.com/anna:::":            {Domain: "?"},
		"=18446744073709551616-a" + home + "example.com/a:::": {Domain: "?"},
		"=12-" + home + "example.com/anna:::":                 {Domain: "?"},
		"=root:root:0:0:/root:::":                             {Domain: "?"},
		"+:alias:71:65534:/var/qmail/alias:-::":               {Domain: "?"},
		"+u-:u:1:1:/:-::":                                     {Domain: "?"},
	} {
		e := slices.Collect(assignOf(t, line+"\n.\n").Entries())[0]
		got, ok := ParseAssignLine(e)
		if want.Domain == "?" {
			if ok {
				t.Errorf("%s: taken for %+v", line, got)
			}
			continue
		}
		want.Entry = e
		if d := cmp.Diff(want, got); !ok || d != "" {
			t.Errorf("%s: %v %s", line, ok, d)
		}
	}
}

func TestCheckAssign(t *testing.T) {
	const box = ":popuser:110:31:/var/qmail/mailnames/"
	for _, c := range []struct {
		name, text string
		ids        DomainIDs
		want       []string
		line       int
	}{
		{"sound", ours, DomainIDs{"example.com": 7}, nil, 0},
		{"prefix by lines", "+100" + box + "a.org:::\n=1001-x" + box + "b.org/x:::\n", nil, []string{"plesk.assign-prefix"}, 1},
		{"prefix by ids", "+100" + box + "a.org:::\n", DomainIDs{"a.org": 100, "b.org": 1001}, []string{"plesk.assign-prefix"}, 1},
		{"prefix, but a line of its own", "+100" + box + "a.org:::\n+1001" + box + "b.org:::\n", DomainIDs{"a.org": 100, "b.org": 1001}, nil, 0},
		{"with dashes there is no prefix", "+100-" + box + "a.org:-::\n", DomainIDs{"a.org": 100, "b.org": 1001}, nil, 0},
		{"dash without dash", "+100-" + box + "a.org:::\n", nil, []string{"plesk.assign-dash"}, 1},
		{"copied from another host", ours, DomainIDs{"example.com": 9}, []string{"plesk.assign-domain"}, 1},
		{"no such domain", ours, DomainIDs{}, []string{"plesk.assign-domain"}, 1},
		{"no wildcard", "=7-anna" + box + "example.com/anna:::\n", nil, []string{"plesk.assign-default"}, 1},
		{"other lines", "=root:root:0:0:/root:::\n+:alias:71:1:/alias:-::\n", nil, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			probs := slices.Collect(CheckAssign(assignOf(t, c.text+".\n"), c.ids))
			if d := cmp.Diff(c.want, codes(probs)); d != "" {
				t.Error(d)
			}
			if len(probs) > 0 && probs[0].Line != c.line {
				t.Errorf("line %d", probs[0].Line)
			}
		})
	}
	// The trap is real: qmail gives the other domain's mail away.
	u, found, err := cdbOf(t, assignOf(t, "+100"+box+"a.org:::\n=1001-x"+box+"b.org/x:::\n.\n")).Lookup("1001-unknown")
	if err != nil || !found || !strings.HasSuffix(u.Home, "a.org") {
		t.Errorf("%+v, %v, %v", u, found, err)
	}
}

func lines(t testing.TB, text string) *qmailcontrol.Lines {
	t.Helper()
	l, err := qmailcontrol.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func control(t *testing.T, files map[string]string) *qmailcontrol.Config {
	t.Helper()
	c := qmailcontrol.NewConfig()
	for name, text := range files {
		if err := c.Set(name, lines(t, text)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestEditControl(t *testing.T) {
	before := map[string]string{"virtualdomains": "# mine\na.org:3\n", "rcpthosts": "a.org\nexample.com", "locals": "host.a.org\n"}
	c := control(t, before)
	d := movedDomain()
	d.Unknown.Action = "reject"
	for range 2 {
		if probs, err := EditControl(c, d, 7); err != nil || len(probs) > 0 {
			t.Fatal(probs, err)
		}
		for file, want := range map[string]string{"virtualdomains": "# mine\na.org:3\nExample.com:7\nexample.net:7\n", "rcpthosts": "a.org\nexample.com\nexample.net",
			"locals": "host.a.org\n", "rejectnonexist": "Example.com\nexample.net\n"} {
			l, err := c.Lines(file)
			if err != nil || string(l.Bytes()) != want {
				t.Errorf("%s: %v, %q", file, err, l.Bytes())
			}
		}
	}
	for file, text := range map[string]string{"virtualdomains": "EXAMPLE.net:12\n", "locals": "example.com\n"} {
		c := control(t, map[string]string{file: text, "rcpthosts": "a.org\n"})
		if _, err := EditControl(c, movedDomain(), 7); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: %v", file, err)
		}
		if plan := qmailcontrol.Diff(control(t, map[string]string{file: text, "rcpthosts": "a.org\n"}), c); len(plan) != 0 {
			t.Errorf("%s: changed all the same: %v", file, plan)
		}
	}
	c = control(t, nil)
	probs, err := EditControl(c, movedDomain(), 7)
	if _, made := c.Entry("rcpthosts"); err != nil || made || !slices.Equal(codes(probs), []string{"plesk.no-rcpthosts"}) {
		t.Errorf("without rcpthosts: %v, made %v, %v", err, made, probs)
	}
	if _, err := EditControl(c, movedDomain(), 0); !errors.Is(err, ErrNoDomainID) {
		t.Error(err)
	}
}

func TestCheckVirtualDomains(t *testing.T) {
	s := &Server{Domains: []*Domain{{ID: 7, Name: "example.com", Aliases: []DomainAlias{{Name: "example.net"}}}}}
	var got []int
	for p := range CheckVirtualDomains(lines(t, "# x\nexample.com:7\nExample.net:12\nother.org:3\nexample.com:alias-x\n"), s) {
		got = append(got, p.Line)
	}
	if !slices.Equal(got, []int{3}) {
		t.Error(got)
	}
}

// usersDir makes qmail's directory users.
func usersDir(t *testing.T, files map[string]string) (string, *os.Root) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return dir, root
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

func moveIn(f *UsersFiles) error {
	if _, err := AddAssign(f.Assign, movedDomain(), 7, popOptions); err != nil {
		return err
	}
	_, err := SetPop(f.Poppasswd, "example.com", "anna", Credential{Clear: "secret"})
	return err
}

func TestUpdateUsers(t *testing.T) {
	const old = "=x:alias:71:65534:/var/qmail/alias:::\n.\n"
	dir, root := usersDir(t, map[string]string{"assign": old, "poppasswd": "a@b:c"})
	kept := map[string]string{}
	opts := &UsersOptions{Backup: func(name string, b []byte) error { kept[name] = string(b); return nil }}
	if err := UpdateUsers(root, opts, moveIn); err != nil {
		t.Fatal(err)
	}
	after := contents(t, dir)
	if after["poppasswd"] != "a@b:c\nanna@example.com:secret\n" || after["assign"] != strings.TrimSuffix(old, ".\n")+ours+".\n" || after["cdb"] == "" || len(after) != 3 {
		t.Errorf("%q", after)
	}
	if d := cmp.Diff(map[string]string{"assign": old, "poppasswd": "a@b:c"}, kept); d != "" {
		t.Error(d)
	}
	if fi, err := os.Stat(filepath.Join(dir, "poppasswd")); err != nil || fi.Mode() != 0o640 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	// Nothing new: nothing is written, not even in other bytes.
	if err := UpdateUsers(root, &UsersOptions{hook: func(op, name string) error { return errors.New(op) }}, moveIn); err != nil {
		t.Error(err)
	}
	// What a killed run has left is swept, though nothing is written.
	for _, name := range []string{"assign", "poppasswd"} {
		if err := os.WriteFile(filepath.Join(dir, usersTemp(name)), []byte("anna@example.com:secret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := UpdateUsers(root, nil, moveIn); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(after, contents(t, dir)); d != "" {
		t.Error(d)
	}
	// An edit that fails changes nothing.
	boom := errors.New("boom")
	if err := UpdateUsers(root, nil, func(f *UsersFiles) error { f.Assign.RemoveFunc(func(users.Entry) bool { return true }); return boom }); !errors.Is(err, boom) {
		t.Error(err)
	}
	if d := cmp.Diff(after, contents(t, dir)); d != "" {
		t.Error(d)
	}
	// Two at once.
	err := UpdateUsers(root, nil, func(*UsersFiles) error { return UpdateUsers(root, nil, moveIn) })
	if !errors.Is(err, ErrLocked) {
		t.Errorf("two at once: %v", err)
	}
	_, empty := usersDir(t, nil)
	if err := UpdateUsers(empty, nil, func(*UsersFiles) error { return nil }); err != nil {
		t.Error(err)
	}
	if err := UpdateUsers(empty, nil, moveIn); err != nil {
		t.Error(err)
	}
	_, bad := usersDir(t, map[string]string{"assign": "nonsense\n"})
	if err := UpdateUsers(bad, nil, moveIn); !errors.Is(err, users.ErrFormat) {
		t.Error(err)
	}
	_, link := usersDir(t, nil)
	if err := link.Symlink("/etc/passwd", "poppasswd"); err != nil {
		t.Fatal(err)
	}
	if err := UpdateUsers(link, nil, moveIn); !errors.Is(err, qmailkit.ErrLink) {
		t.Errorf("a link: %v", err)
	}
}

// TestUpdateUsersFaults makes each step fail. A run behind it finishes the job.
func TestUpdateUsersFaults(t *testing.T) {
	start := map[string]string{"assign": "=x:alias:71:65534:/var/qmail/alias:::\n.\n", "poppasswd": "a@b:c\n"}
	dir, root := usersDir(t, start)
	if err := UpdateUsers(root, nil, moveIn); err != nil {
		t.Fatal(err)
	}
	want := contents(t, dir)
	boom := errors.New("boom")
	for fail := 1; ; fail++ {
		dir, root := usersDir(t, start)
		n := 0
		err := UpdateUsers(root, &UsersOptions{hook: func(op, name string) error {
			if n++; n == fail {
				return boom
			}
			return nil
		}}, moveIn)
		if err == nil && n < fail { // no step was made to fail
			if fail < 8 {
				t.Errorf("%d steps only", fail)
			}
			break
		}
		if err != nil && !errors.Is(err, boom) {
			t.Fatal(err)
		}
		now := contents(t, dir)
		if now["assign"] != start["assign"] && now["poppasswd"] != want["poppasswd"] {
			t.Errorf("step %d: mailboxes before their passwords", fail)
		}
		if err := UpdateUsers(root, nil, moveIn); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, contents(t, dir)); d != "" {
			t.Fatalf("step %d, and again: %s", fail, d)
		}
	}
}
