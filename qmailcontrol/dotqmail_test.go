//go:build unix

package qmailcontrol_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

func dot(t testing.TB, text string) *qmailcontrol.DotQmail {
	t.Helper()
	q, err := qmailcontrol.ParseDotQmail(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// An edit touches its own line and no other byte.
func TestDotQmailEdit(t *testing.T) {
	const text = "# mine\n./Maildir/  \n\n&a@example.net\r\nlast"
	for _, c := range []struct {
		line int
		kind qmailcontrol.DotKind
		arg  string
		want string // at its place; empty if it is refused
	}{
		{1, qmailcontrol.DotComment, " hello", "# hello\n"},
		{3, qmailcontrol.DotForward, "b@example.net", "&b@example.net\n"},
		{3, qmailcontrol.DotForward, "", "&\n"},
		{3, qmailcontrol.DotForward, "&x", "&&x\n"},
		{3, qmailcontrol.DotProgram, "exit 0", "|exit 0\n"},
		{3, qmailcontrol.DotProgram, " a", "| a\n"},
		{3, qmailcontrol.DotMbox, "./x", "./x\n"},
		{3, qmailcontrol.DotMaildir, "/x/", "/x/\n"},
		{3, qmailcontrol.DotList, "list", "+list\n"},
		{3, qmailcontrol.DotBlank, "", "\n"},
		{1, qmailcontrol.DotBlank, "", ""},
		{3, qmailcontrol.DotMbox, "x", ""},
		{3, qmailcontrol.DotMbox, "./x/", ""},
		{3, qmailcontrol.DotMaildir, "./x", ""},
		{3, qmailcontrol.DotForward, "a ", ""},
		{3, qmailcontrol.DotProgram, "a\nb", ""},
		{3, qmailcontrol.DotProgram, "a\x00b", ""},
		{3, qmailcontrol.DotIgnored, "list", ""},
		{3, qmailcontrol.DotIgnored, "lists", "+lists\n"},
	} {
		q := dot(t, text)
		err := q.Insert(c.line, c.kind, c.arg)
		lines := strings.SplitAfter(text, "\n")
		want := strings.Join(lines[:c.line-1], "") + c.want + strings.Join(lines[c.line-1:], "")
		if string(q.Bytes()) != want || (c.want == "") != errors.Is(err, qmailcontrol.ErrValue) {
			t.Errorf("%s %q at %d: %v: %q", c.kind, c.arg, c.line, err, q.Bytes())
		}
	}
	q := dot(t, text)
	if err := q.Insert(7, qmailcontrol.DotForward, "x"); !errors.Is(err, qmailcontrol.ErrRange) {
		t.Errorf("line 7 of 5: %v", err)
	}
	if err := q.Add(qmailcontrol.DotForward, "x@y"); err != nil || string(q.Bytes()) != text+"\n&x@y" || q.Text(6) != "&x@y" {
		t.Errorf("Add: %v: %q", err, q.Bytes())
	}
	var seen []string
	n := q.RemoveFunc(func(d qmailcontrol.DotLine) bool {
		seen = append(seen, fmt.Sprint(d.Line, " ", d.Offset, " ", d.Kind))
		return d.Kind == qmailcontrol.DotForward && strings.HasPrefix(d.Arg, "a@")
	})
	if n != 1 || string(q.Bytes()) != "# mine\n./Maildir/  \n\nlast\n&x@y" {
		t.Errorf("%d removed: %q", n, q.Bytes())
	}
	if want := []string{"1 0 comment", "2 7 maildir", "3 20 blank", "4 21 forward", "5 37 forward", "6 42 forward"}; !slices.Equal(seen, want) {
		t.Errorf("seen %q", seen)
	}
	boom := errors.New("boom")
	if _, err := qmailcontrol.ParseDotQmail(iotest.ErrReader(boom)); !errors.Is(err, boom) {
		t.Errorf("broken reader: %v", err)
	}
}

// A file is edited in its home, and mode and link stay as they are.
func TestDotQmailSave(t *testing.T) {
	dir := system(t, map[string]string{"h/.qmail-real": "./x\n# end", "h/.qmail": "-> .qmail-real"})
	if err := os.Chmod(filepath.Join(dir, "h/.qmail-real"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, "h"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := qmailcontrol.LoadDotQmail(root, ".qmail-none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	q, err := qmailcontrol.LoadDotQmail(root, ".qmail")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(q.Insert(1, qmailcontrol.DotForward, "a@b"), q.Save(root, ".qmail", nil)); err != nil {
		t.Fatal(err)
	}
	b, err := root.ReadFile(".qmail-real")
	if err != nil || string(b) != "&a@b\n./x\n# end" {
		t.Errorf("%q, %v", b, err)
	}
	fi, err := root.Lstat(".qmail-real")
	if err != nil || fi.Mode() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	if to, err := root.Readlink(".qmail"); to != ".qmail-real" {
		t.Errorf("%q, %v", to, err)
	}
}

// The examples of qmail-local.c and dot-qmail(5), and the limits of the kernel.
func TestDotNames(t *testing.T) {
	for _, c := range []struct{ dash, ext, want string }{
		{"", "", ".qmail .qmaildefault="},
		{"-/", "", ".qmail-/ .qmail-/default="},
		{"-/", "a", ".qmail-/a .qmail-/default=a"},
		{"-/", "a-", ".qmail-/a- .qmail-/a-default= .qmail-/default=a-"},
		{"-", "a-b-c", ".qmail-a-b-c .qmail-a-b-default=c .qmail-a-default=b-c .qmail-default=a-b-c"},
		{"-", "A.B-\xc4", ".qmail-a:b-\xc4 .qmail-a:b-default=\xc4 .qmail-default=A.B-\xc4"},
		{"-D", "xDefault", ".qmail-Dxdefault=Default .qmail-Ddefault=xDefault"},
		{"-", "a\x00b-c", ".qmail-a .qmail-default=a"},
	} {
		var got []string
		for n := range qmailcontrol.DotNames(c.dash, c.ext) {
			s := n.Name
			if n.IsDefault {
				s += "=" + n.Default
			}
			got = append(got, s)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%q %q: %s, want %s", c.dash, c.ext, s, c.want)
		}
	}
	n := 0
	for name := range qmailcontrol.DotNames("-", strings.Repeat("a-", 1<<20)) {
		if len(name.Name) >= 4096 || n == 0 && name.Name == ".qmail-default" {
			t.Fatalf("%d bytes", len(name.Name))
		}
		n++
	}
	if n < 2000 || n > 2100 {
		t.Errorf("%d names", n)
	}
	for range qmailcontrol.DotNames("-", "a-b") {
		break
	}
}

// system makes a small host.
func system(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, ok := strings.CutPrefix(files[name], "-> "); ok {
			err = os.Symlink(to, full)
		} else {
			err = os.WriteFile(full, []byte(files[name]), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func treeOf(t *testing.T, dir string) qmailkit.Tree {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return qmailkit.NewTree(root)
}

// user is somebody who owns nothing here and is in no group of a file.
var user = &qmailcontrol.Owner{UID: 54321, GID: 54321}

func plan(t *testing.T, tree qmailkit.Tree, home, ext string, who *qmailcontrol.Owner) (*qmailcontrol.LocalPlan, error) {
	t.Helper()
	l := qmailcontrol.LocalDelivery{User: "joe", Home: home, Local: "joe-" + ext, Dash: "-", Ext: ext, Host: "example.com", DefaultDelivery: "./Mailbox", Who: who}
	return l.Plan(context.Background(), tree)
}

// Links are followed as the kernel does it for the user, and never out of the
// tree.
func TestDotQmailLinks(t *testing.T) {
	dir := system(t, map[string]string{
		"etc/secret": "./secret\n", "data/joe/.qmail-a": "./a\n", "home": "-> /data",
		"data/joe/.qmail-rel": "-> ../other/list", "data/joe/.qmail-abs": "-> /data/other/list", "data/joe/.qmail-up": "-> ../../../../../../etc/secret",
		"data/joe/.qmail-far": "-> sub/dir/x", "data/joe/sub": "-> /data/other", "data/other/dir/x": "./x\n",
		"data/other/list": "./list\n", "data/joe/.qmail-secret": "-> /etc/secret", "data/joe/.qmail-out": "-> /nowhere/else",
		"data/joe/.qmail-plain": "-> .qmail-a/x", "data/joe/.qmail-l1": "-> .qmail-l2", "data/joe/.qmail-l2": "-> .qmail-l1",
		"data/joe/.qmail-dir/x": "",
	})
	tree := treeOf(t, dir)
	const nobody = "Sorry, no mailbox here by that name. (#5.1.1)"
	for ext, want := range map[string]string{
		"a": "./a", "rel": "./list", "abs": "./list", "far": "./x", "up": "./secret", "secret": "./secret",
		"out": nobody, "plain": nobody, "l1": nobody, "dir": nobody, strings.Repeat("n", 300): nobody, "dir/x/": nobody, "a/b": nobody,
	} {
		for _, who := range []*qmailcontrol.Owner{nil, user} {
			p, err := plan(t, tree, "/home/joe", ext, who)
			if err != nil {
				t.Fatalf("%s: %v", ext, err)
			}
			got := ""
			if p.Refused != nil {
				got = p.Refused.Report
			} else {
				got = p.Deliveries[0].Target()
			}
			if got != want {
				t.Errorf("%s as %v: %s, want %s", ext, who, got, want)
			}
			if len(p.Tried) == 0 || p.Home != "data/joe" {
				t.Errorf("%s: tried %q in %s", ext, p.Tried, p.Home)
			}
		}
	}
	// What the user may not read is not shown, and a link that anybody can have
	// made is not followed for nobody in particular.
	if err := os.Chmod(filepath.Join(dir, "etc/secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	// One who is not root owns the secret, and counts as the user.
	want := "Unable to open .qmail-secret: access denied. (#4.3.0)"
	if os.Geteuid() != 0 {
		want = ""
	}
	p, err := plan(t, tree, "/home/joe", "secret", user)
	if err != nil || (p.Refused == nil) != (want == "") || p.Refused != nil && (p.Refused.Report != want || !p.Refused.Temporary()) {
		t.Errorf("a secret: %+v, %v", p, err)
	}
	if err := os.Chmod(filepath.Join(dir, "data/joe"), 0o775); err != nil {
		t.Fatal(err)
	}
	if p, err := plan(t, tree, "/home/joe", "abs", nil); !errors.Is(err, qmailkit.ErrLink) {
		t.Errorf("a link that others can have made: %+v, %v", p, err)
	}
	if p, err := plan(t, tree, "/home/joe", "abs", user); err != nil || p.Refused != nil {
		t.Errorf("the same for the user: %+v, %v", p, err)
	}
}

// What keeps qmail-local from a home.
func TestDotQmailHomes(t *testing.T) {
	dir := system(t, map[string]string{"home/joe/.qmail-default": "./x\n", "home/file": "", "closed/joe/.qmail-default": "./x\n", "own/.qmail-default": "./x\n"})
	for name, mode := range map[string]fs.FileMode{".": 0o700, "closed": 0o700, "own": 0o700} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	tree := treeOf(t, dir)
	me := &qmailcontrol.Owner{UID: os.Geteuid(), GID: -1}
	denied := 111
	if os.Geteuid() != 0 {
		denied = 0 // one's own directories count as the user's
	}
	for _, c := range []struct {
		home string
		who  *qmailcontrol.Owner
		code int
		want string
	}{
		{"/home/joe", user, 0, ""},
		{"//home/./joe/", user, 0, ""},
		{"home/joe", user, 100, "qmail-local: usage: qmail-local [ -nN ] user homedir local dash ext domain sender aliasempty"},
		{"", user, 100, "qmail-local: usage: qmail-local [ -nN ] user homedir local dash ext domain sender aliasempty"},
		{"/home/ann", user, 111, "Unable to switch to /home/ann: file does not exist. (#4.3.0)"},
		{"/home/file", user, 111, "Unable to switch to /home/file: not a directory. (#4.3.0)"},
		{"/closed/joe", user, denied, "Unable to switch to /closed/joe: access denied. (#4.3.0)"},
		{"/own", user, denied, "Unable to switch to /own: access denied. (#4.3.0)"},
		{"/own", me, 0, ""},
		{"/closed/joe", nil, 0, ""},
	} {
		p, err := plan(t, tree, c.home, "x", c.who)
		if err != nil {
			t.Errorf("%s: %v", c.home, err)
			continue
		}
		if r := p.Outcome(); (r == nil) != (c.code == 0) || r != nil && (r.Code != c.code || r.Error() != c.want) {
			t.Errorf("%q: %v", c.home, r)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := (qmailcontrol.LocalDelivery{Home: "/home/joe", Dash: "-"}).Plan(ctx, tree); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// brokenTree fails each of its calls once.
type brokenTree struct {
	qmailkit.Tree
	left int
}

var errBroken = errors.New("broken disk")

func (b *brokenTree) step() error {
	if b.left--; b.left == 0 {
		return errBroken
	}
	return nil
}

func (b *brokenTree) Lstat(name string) (qmailkit.FileInfo, error) {
	if err := b.step(); err != nil {
		return qmailkit.FileInfo{}, err
	}
	return b.Tree.Lstat(name)
}

func (b *brokenTree) Readlink(name string) (string, error) {
	if err := b.step(); err != nil {
		return "", err
	}
	return b.Tree.Readlink(name)
}

func (b *brokenTree) Open(name string) (qmailkit.File, error) {
	if err := b.step(); err != nil {
		return nil, err
	}
	return b.Tree.Open(name)
}

// A disk that fails is never taken for a missing file.
func TestDotQmailBroken(t *testing.T) {
	tree := treeOf(t, system(t, map[string]string{
		"home/joe/.qmail-list": "-> ../lists/x", "home/lists/x": "./x\n", "home/joe/.qmail-list-owner": "", "home/joe/.qmail-list-owner-default": "",
	}))
	l := qmailcontrol.LocalDelivery{User: "joe", Home: "/home/joe", Local: "joe-list", Dash: "-", Ext: "list", Host: "example.com", Sender: "a@b", Who: user}
	for n := 1; ; n++ {
		b := &brokenTree{tree, n}
		p, err := l.Plan(context.Background(), b)
		if b.left > 0 {
			if err != nil || p.NewSender != "joe-list-owner-@example.com-@[]" || n < 12 {
				t.Errorf("%d steps: %+v, %v", n, p, err)
			}
			return
		}
		if !errors.Is(err, errBroken) {
			t.Fatalf("step %d: %+v, %v", n, p, err)
		}
	}
}

// The environment, where the golden cases have plain senders only.
func TestDotQmailEnviron(t *testing.T) {
	tree := treeOf(t, system(t, map[string]string{"h/.qmail-default": "|x\n"}))
	for sender, want := range map[string][2]string{
		"":                   {"Return-Path: <>\n", "From MAILER-DAEMON Fri Jan 02 03:04:05 2026\n"},
		"a b@c":              {"Return-Path: <\"a b\"@c>\n", "From a-b@c Fri Jan 02 03:04:05 2026\n"},
		"a\"\\\r@c":          {"Return-Path: <\"a\\\"\\\\\\\r\"@c>\n", "From a\"\\\r@c Fri Jan 02 03:04:05 2026\n"},
		"a\nb\tc@d\n":        {"Return-Path: <\"a\\_b\tc\"@d_>\n", "From a-b-c@d- Fri Jan 02 03:04:05 2026\n"},
		".a@c":               {"Return-Path: <\".a\"@c>\n", "From .a@c Fri Jan 02 03:04:05 2026\n"},
		"a..b":               {"Return-Path: <\"a..b\">\n", "From a..b Fri Jan 02 03:04:05 2026\n"},
		"@c":                 {"Return-Path: <\"\"@c>\n", "From @c Fri Jan 02 03:04:05 2026\n"},
		"\xe4@c":             {"Return-Path: <\"\xe4\"@c>\n", "From \xe4@c Fri Jan 02 03:04:05 2026\n"},
		"a+b=c.d-e_{1}@f@\"": {"Return-Path: <\"a+b=c.d-e_{1}@f\"@\">\n", "From a+b=c.d-e_{1}@f@\" Fri Jan 02 03:04:05 2026\n"},
		"A9!#$%&'*/?^`|~@c":  {"Return-Path: <A9!#$%&'*/?^`|~@c>\n", "From A9!#$%&'*/?^`|~@c Fri Jan 02 03:04:05 2026\n"},
	} {
		l := qmailcontrol.LocalDelivery{Home: "/h", Local: "x\ny", Dash: "-", Ext: "x", Host: "h", Sender: sender}
		p, err := l.Plan(context.Background(), tree)
		if err != nil {
			t.Fatal(err)
		}
		env := p.Environ(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
		for _, w := range []string{"RPLINE=" + want[0], "UFLINE=" + want[1], "DTLINE=Delivered-To: x_y@h\n", "DEFAULT=x"} {
			if !slices.Contains(env, w) {
				t.Errorf("%q: no %q in %q", sender, w, env)
			}
		}
	}
}
