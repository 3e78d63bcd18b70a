//go:build unix

package route_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/route"
	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

const assign = `+v.example-:vpop:89:89:/home/v:-::
=joe:joe:1201:1200:/home/joe:::
+joe-:joe:1201:1200:/home/joe:-::
=root:root:0:0:/root:::
=lost:lost:1301:1200:/home/lost:::
.
`

// files of the host. A text that begins with "-> " is a link.
var files = map[string]string{
	"qmail/control/me":             "mx.example.com\n",
	"qmail/control/rcpthosts":      "example.com\nv.example\n",
	"qmail/control/locals":         "example.com\n",
	"qmail/control/virtualdomains": "v.example:v.example\nlist@v.example:joe-list\nout.v.example:\n",
	"qmail/control/smtproutes":     "relay.example:smart.example:2525\nnowhere.example::25\n",
	"home/joe/.qmail":              "./Mail/\n&ann@example.org\n",
	"home/joe/.qmail-list-default": "|filter\n&all@example.org\n./list\n",
	"home/joe/.qmail-bad":          "&a@example.org\n./x\n+list\n|p\n",
	"home/v/.qmail-default":        "|vdelivermail '' bounce\n./never\n",
	"alias/.qmail-postmaster":      "&joe@example.com\n",
}

// host makes a host of files, with some of them replaced; an empty text leaves
// a file out.
func host(t *testing.T, other map[string]string) qmailkit.Tree {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var cdb buffer
	if err := users.WriteCDB(&cdb, strings.NewReader(assign)); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"qmail/users/cdb": string(cdb)}
	for _, m := range []map[string]string{files, other} {
		for name, text := range m {
			all[name] = text
		}
	}
	for name, text := range all {
		if text == "" {
			continue
		}
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(to, full)
		} else {
			err = os.WriteFile(full, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return qmailkit.NewTree(root)
}

// buffer is a file in memory.
type buffer []byte

func (b *buffer) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p) - len(*b); need > 0 {
		*b = append(*b, make([]byte, need)...)
	}
	return copy((*b)[off:], p), nil
}

func open(t *testing.T, tree qmailkit.Tree, opts *route.Options) *route.Router {
	t.Helper()
	if opts == nil {
		accounts := users.Accounts{"alias": {Name: "alias", UID: 7, GID: 7, Home: "/alias"}, "ann": {Name: "ann", UID: 9, GID: 9, Home: "/home/ann"}}
		opts = &route.Options{Files: tree, Getpw: (&users.Getpw{Accounts: accounts}).Lookup, Hook: vdelivermail}
	}
	r, err := route.Open(context.Background(), tree, "qmail", opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// vdelivermail is a hook for tests: the box of the extension, "gone" bounces,
// "later" defers, "odd" cannot be told.
func vdelivermail(_ context.Context, p route.Program) (*route.Result, error) {
	if !strings.HasPrefix(p.Command, "vdelivermail") {
		return nil, nil
	}
	switch ext := p.Plan.Name.Default; ext {
	case "gone":
		return &route.Result{Exit: 100, Report: "no such box"}, nil
	case "later":
		return &route.Result{Exit: 111}, nil
	case "odd":
		return nil, errors.New("the box is odd")
	default:
		box := route.Delivery{Kind: qmailcontrol.DotMaildir, Arg: p.User.Home + "/" + ext + "/"}
		return &route.Result{Exit: 99, Deliveries: []route.Delivery{box}}, nil
	}
}

// tell writes a path down in one line.
func tell(p *route.Path) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %t", p.Class(), p.Accepted)
	if p.Target != nil {
		fmt.Fprintf(&b, " %s", p.Target.To)
	}
	if p.User != nil && p.User.Via != users.ViaNone {
		fmt.Fprintf(&b, " %s:%s%s|%s", p.User.Via, p.User.User.Name, p.User.User.Dash, p.User.User.Ext)
	}
	if p.Plan != nil {
		fmt.Fprintf(&b, " [%s]", p.Plan.File)
	}
	for _, d := range p.Deliveries {
		fmt.Fprintf(&b, " %s=%s", d.Kind, d.Arg)
		if d.Kind == qmailcontrol.DotMbox || d.Kind == qmailcontrol.DotMaildir {
			fmt.Fprintf(&b, "=%s", p.Mailbox(d))
		}
		if d.Program != nil {
			for _, to := range d.Program.Deliveries {
				fmt.Fprintf(&b, ">%s=%s", to.Kind, p.Mailbox(to))
			}
		}
	}
	if p.Remote != nil {
		fmt.Fprintf(&b, " %s=%s:%d", p.Remote.How, p.Remote.Host, p.Remote.Port)
	}
	fmt.Fprintf(&b, " %s", p.Fate)
	if p.Report != "" {
		fmt.Fprintf(&b, " (%s)", p.Report)
	}
	if p.Err != nil {
		fmt.Fprintf(&b, " <%v>", p.Err)
	}
	return b.String()
}

func TestRoute(t *testing.T) {
	r := open(t, host(t, nil), nil)
	for addr, want := range map[string]string{
		"joe@example.com":         "local true joe@example.com cdb:joe| [home/joe/.qmail] maildir=./Mail/=/home/joe/Mail forward=ann@example.org delivered",
		"Joe-List-Go@EXAMPLE.com": "local true Joe-List-Go@EXAMPLE.com cdb:joe-|List-Go [home/joe/.qmail-list-default] program=filter forward=all@example.org mbox=./list=/home/joe/list delivered",
		"joe-x@example.com":       "local true joe-x@example.com cdb:joe-|x [] bounced (Sorry, no mailbox here by that name. (#5.1.1))",
		"joe-bad@example.com":     "local true joe-bad@example.com cdb:joe-|bad [home/joe/.qmail-bad] mbox=./x=/home/joe/x deferred (Uh-oh: .qmail has prog delivery but has x bit set. (#4.7.0))",
		"list@v.example":          "virtual true joe-list-list@v.example cdb:joe-|list-list [home/joe/.qmail-list-default] program=filter forward=all@example.org mbox=./list=/home/joe/list delivered",
		"info@v.example":          "virtual true v.example-info@v.example cdb:vpop-|info [home/v/.qmail-default] program=vdelivermail '' bounce>maildir=/home/v/info delivered",
		"gone@v.example":          "virtual true v.example-gone@v.example cdb:vpop-|gone [home/v/.qmail-default] program=vdelivermail '' bounce bounced (no such box)",
		"later@v.example":         "virtual true v.example-later@v.example cdb:vpop-|later [home/v/.qmail-default] program=vdelivermail '' bounce deferred",
		"odd@v.example":           "virtual true v.example-odd@v.example cdb:vpop-|odd [home/v/.qmail-default] program=vdelivermail '' bounce unknown <line 1: the box is odd>",
		"postmaster@example.com":  "local true postmaster@example.com getpw:alias-|postmaster [alias/.qmail-postmaster] forward=joe@example.com delivered",
		"ann@example.com":         "local true ann@example.com getpw:ann| [] deferred (Unable to switch to /home/ann: file does not exist. (#4.3.0))",
		"root@example.com":        "local true root@example.com cdb:root| deferred (Not allowed to perform deliveries as root.)",
		"lost@example.com":        "local true lost@example.com cdb:lost| [] deferred (Unable to switch to /home/lost: file does not exist. (#4.3.0))",
		"@example.com":            "local true @example.com getpw:alias-| vanished",
		"joe":                     "remote true joe@mx.example.com mx=mx.example.com:25 sent",
		"x@out.v.example":         "remote false x@out.v.example mx=out.v.example:25 sent",
		"x@relay.example":         "remote false x@relay.example relay=smart.example:2525 sent",
		"x@nowhere.example":       "remote false x@nowhere.example relay=:25 bounced (smtproutes names no host)",
		"x@[127.0.0.1]":           "remote false x@[127.0.0.1] literal=[127.0.0.1]:25 sent",
	} {
		p, err := r.Route(context.Background(), addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := tell(p); got != want {
			t.Errorf("%s:\n got %s\nwant %s", addr, got, want)
		}
	}
}

// What is not known is said to be unknown, and what stops qmail stops here.
func TestUnknown(t *testing.T) {
	for _, c := range []struct {
		name  string
		other map[string]string
		opts  *route.Options
		addr  string
		want  string
		err   error
	}{
		{"no accounts", nil, &route.Options{}, "ann@example.com", "local true ann@example.com unknown <the accounts of the system are not known>", route.ErrNoAccounts},
		{"no files", nil, &route.Options{}, "joe@example.com", "local true joe@example.com cdb:joe| unknown <the home directories are not at hand>", route.ErrNoFiles},
		{"no users/cdb", map[string]string{"qmail/users/cdb": ""}, nil, "joe@example.com", "local true joe@example.com getpw:alias-|joe [] bounced (Sorry, no mailbox here by that name. (#5.1.1))", nil},
		{"short users/cdb", map[string]string{"qmail/users/cdb": "x"}, nil, "joe@example.com", "local true joe@example.com deferred (Trouble reading users/cdb in qmail-lspawn.)", nil},
		{"users/cdb leads nowhere", map[string]string{"qmail/users/cdb": "-> /none"}, nil, "joe@example.com",
			"local true joe@example.com unknown <open none: ", fs.ErrNotExist},
		{"no locals and no me", map[string]string{"qmail/control/me": "", "qmail/control/locals": ""}, nil, "joe@example.com",
			" true unknown <qmail-send: unable to read controls: locals: ", qmailcontrol.ErrControls},
		{"no helohost and no me", map[string]string{"qmail/control/me": ""}, nil, "x@relay.example", "remote false x@relay.example deferred (Unable to read control files. (#4.3.0))", nil},
		{"no rcpthosts", map[string]string{"qmail/control/rcpthosts": ""}, nil, "x@[1.2.3.4]", "remote true x@[1.2.3.4] literal=[1.2.3.4]:25 sent", nil},
		{"control is a link", map[string]string{"etc/locals": "other.example\n", "etc/me": "m\n", "qmail/control/locals": "-> /etc/locals"}, nil, "joe@other.example",
			"local false joe@other.example cdb:joe| [home/joe/.qmail] maildir=./Mail/=/home/joe/Mail forward=ann@example.org delivered", nil},
		{"a .qmail of the user that leads to what he may not read", map[string]string{"home/joe/.qmail": "-> /closed/x"}, nil, "joe@example.com",
			"local true joe@example.com cdb:joe| [] mbox=./Mailbox=/home/joe/Mailbox delivered", nil},
	} {
		p, err := open(t, host(t, c.other), c.opts).Route(context.Background(), c.addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := tell(p); !strings.HasPrefix(got, c.want) || c.err == nil && got != c.want || !errors.Is(p.Err, c.err) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestReaches(t *testing.T) {
	r := open(t, host(t, nil), nil)
	for local, want := range map[string]bool{"joe": true, "joe-list-x": true, "joe-x": false, "v.example-gone": false, "v.example-postmaster": true, "root": false, "nobody": false} {
		if got, err := r.Reaches(context.Background(), local); got != want || err != nil {
			t.Errorf("%s: %t, %v", local, got, err)
		}
	}
	if _, err := r.Reaches(context.Background(), "v.example-odd"); err == nil {
		t.Error("an odd box is no error")
	}
}

func TestOpenTrouble(t *testing.T) {
	tree := host(t, nil)
	if _, err := route.Open(context.Background(), tree, "none", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := route.Open(ctx, tree, "qmail", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	r := open(t, tree, nil)
	if _, err := r.Route(ctx, "joe@example.com"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// The path says what the packages that it is made of say.
func TestAgainstParts(t *testing.T) {
	tree := host(t, nil)
	r := open(t, tree, nil)
	c, err := qmailcontrol.ReadConfig(context.Background(), tree, "qmail/control")
	if err != nil {
		t.Fatal(err)
	}
	send, err := c.Send()
	if err != nil {
		t.Fatal(err)
	}
	var cdb buffer
	if err := users.WriteCDB(&cdb, strings.NewReader(assign)); err != nil {
		t.Fatal(err)
	}
	db, err := users.OpenDB(bytes.NewReader(cdb), int64(len(cdb)))
	if err != nil {
		t.Fatal(err)
	}
	for _, local := range []string{"", "joe", "JOE-", "joe-a-b", "x", "v.example-", "%", "a%example.com", "\xff"} {
		for _, domain := range []string{"", "@", "@example.com", "@V.example", "@x.v.example", "@out.v.example", "@\x00"} {
			p, err := r.Route(context.Background(), local+domain)
			if err != nil {
				t.Fatal(err)
			}
			if want := send.Rewrite(local + domain); *p.Target != want {
				t.Errorf("%q: %+v, want %+v", local+domain, *p.Target, want)
			}
			u, found, err := db.Lookup(p.Target.Local())
			if err != nil {
				t.Fatal(err)
			}
			if p.User != nil && found != (p.User.Via == users.ViaCDB) || p.User != nil && found && p.User.User != u {
				t.Errorf("%q: %+v, want %+v", local+domain, p.User, u)
			}
			if (p.User == nil) != (p.Target.Channel == qmailcontrol.Remote) || p.Fate == route.Unknown {
				t.Errorf("%q: %+v", local+domain, p)
			}
		}
	}
}
