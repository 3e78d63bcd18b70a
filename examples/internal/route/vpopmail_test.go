//go:build unix

package route_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/route"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// virtualHost is a host with the domains example.com and other.example in
// vpopmail's files, and some .qmail files of users.
func virtualHost(t *testing.T, dotQmail map[string]string) (root *os.Root, qmail *os.Root) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"home/vpopmail/etc", "qmail/control", "qmail/users"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"me": "mx.example.net\n", "locals": "mx.example.net\n", "rcpthosts": "mx.example.net\n"} {
		if err := os.WriteFile(filepath.Join(dir, "qmail/control", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	open := func(name string) *os.Root {
		r, err := os.OpenRoot(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	root, qmail = open("."), open("qmail")
	p := vpopmail.DefaultProfile54()
	s, err := vpopmail.Open(open("home/vpopmail"), qmail, &vpopmail.Options{Profile: &p})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, d := range []vpopmail.DomainSpec{{Name: "example.com"}, {Name: "other.example", CatchAll: "ann@example.com"}} {
		if _, err := s.AddDomain(ctx, d, nil); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"ann", "bob", "eve", "gone"} {
			if _, err := s.AddUser(ctx, d.Name, vpopmail.NewUser{Name: name, Hash: vpopmail.NoLogin}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, text := range dotQmail {
		full := filepath.Join(dir, "home/vpopmail/domains", name)
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 {
			if err := os.Chown(full, 89, 89); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root, qmail
}

func virtualRouter(t *testing.T, root *os.Root, v *route.Vpopmail) *route.Router {
	t.Helper()
	tree := qmailkit.NewTree(root)
	r, err := route.Open(t.Context(), tree, "qmail", &route.Options{
		Files: tree, Hook: v.Hook, Sender: "s@example.org",
		Getpw: (&users.Getpw{Accounts: users.Accounts{"alias": {Name: "alias", UID: 7, GID: 7, Home: "/alias"}}}).Lookup,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); v.Close() })
	return r
}

var dotQmails = map[string]string{
	"example.com/bob/.qmail":       "&ann@example.com\n./Maildir/\n&far@example.org\n|prog\n",
	"example.com/eve/.qmail":       "# away\n",
	"other.example/bob/.qmail":     "eve@other.example\nbob@example.com\n",
	"other.example/eve/.qmail":     "&bob@other.example\n",
	"other.example/ann/.qmail":     "./mbox\n",
	"example.com/.qmail-team":      "&ann@example.com\n&nobody@example.com\n&x@other.example\n",
	"example.com/gone/.qmail":      "./../ann/Maildir/\n",
	"other.example/.qmail-default": "| /home/vpopmail/bin/vdelivermail '' ann@example.com\n",
}

func TestVpopmail(t *testing.T) {
	root, qmail := virtualHost(t, dotQmails)
	r := virtualRouter(t, root, &route.Vpopmail{Host: root, Qmail: qmail})
	const ann = "maildir=/home/vpopmail/domains/example.com/ann/Maildir"
	for addr, want := range map[string]string{
		"ann@example.com":      ann,
		"ANN@Example.com":      ann,
		"team@example.com":     ann + " bounced=nobody@example.com again=ann@example.com",
		"nobody@example.com":   "bounced=nobody@example.com",
		"eve@example.com":      "discarded=eve@example.com",
		"bob@example.com":      "maildir=/home/vpopmail/domains/example.com/bob/Maildir program=prog " + ann + " remote=far@example.org",
		"x@other.example":      ann,
		"ann@other.example":    "deferred=ann@other.example",
		"gone@example.com":     "deferred=gone@example.com",
		"eve@other.example":    "again=eve@other.example maildir=/home/vpopmail/domains/example.com/bob/Maildir program=prog " + ann + " remote=far@example.org",
		"bad name@example.com": "bounced=bad name@example.com",
		"far@example.org":      "remote=far@example.org",
	} {
		w, err := r.Follow(t.Context(), addr, 20)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range w.Ends {
			got = append(got, e.Kind+"="+e.Where)
		}
		if s := strings.Join(got, " "); s != want || w.Cut {
			t.Errorf("%s: %s\nwant %s", addr, s, want)
		}
		for _, p := range w.Paths {
			if p.Err != nil {
				t.Errorf("%s: %v", addr, p.Err)
			}
		}
	}
	w, err := r.Follow(t.Context(), "team@example.com", 1)
	if err != nil || !w.Cut || len(w.Paths) != 2 {
		t.Errorf("%d paths, cut: %v, %v", len(w.Paths), w.Cut, err)
	}
	p, err := r.Route(t.Context(), "nobody@example.com")
	if err != nil || p.Fate != route.Bounced || p.Report != "Sorry, no mailbox here by that name. (#5.1.1)" {
		t.Errorf("%+v, %v", p, err)
	}
}

// What cannot be known is not guessed.
func TestVpopmailUnknown(t *testing.T) {
	root, qmail := virtualHost(t, map[string]string{
		"other.example/.qmail-default": "| vdelivermail '' delete\n",
		"example.com/.qmail-short":     "| /home/vpopmail/bin/vdelivermail bounce-no-mailbox\n",
		"example.com/.qmail-other":     "| /opt/none/bin/vdelivermail '' delete\n",
	})
	r := virtualRouter(t, root, &route.Vpopmail{Host: root, Qmail: qmail})
	for addr, want := range map[string]struct {
		fate   route.Fate
		report string
		err    error
	}{
		"ann@other.example": {route.Unknown, "", route.ErrNoVpopmail},
		"other@example.com": {route.Unknown, "", route.ErrNoVpopmail},
		"short@example.com": {route.Deferred, "vdelivermail: invalid syntax in .qmail-default file", nil},
		"ann@example.com":   {route.Delivered, "", nil},
	} {
		p, err := r.Route(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		if p.Fate != want.fate || p.Report != want.report || !errors.Is(p.Err, want.err) {
			t.Errorf("%s: %v, %q, %v; want %+v", addr, p.Fate, p.Report, p.Err, want)
		}
	}
	for _, name := range []string{"vpasswd", "vpasswd.cdb"} {
		if err := root.Remove("home/vpopmail/domains/example.com/" + name); err != nil {
			t.Fatal(err)
		}
	}
	p, err := r.Route(t.Context(), "ann@example.com")
	if err != nil || p.Fate != route.Unknown || !errors.Is(p.Err, route.ErrNoVpopmail) {
		t.Errorf("users in a database: %v, %v, %v", p.Fate, p.Err, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Follow(ctx, "ann@example.com", 5); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// vpopmail's home may be given, wherever it is.
func TestVpopmailElsewhere(t *testing.T) {
	root, qmail := virtualHost(t, dotQmails)
	home, err := root.OpenRoot("home/vpopmail")
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	r := virtualRouter(t, root, &route.Vpopmail{Home: home, Qmail: qmail, Extensions: true})
	w, err := r.Follow(t.Context(), "ann-x@example.com", 5)
	if err != nil || len(w.Ends) != 1 || w.Ends[0].Where != "/home/vpopmail/domains/example.com/ann/Maildir" {
		t.Errorf("%+v, %v", w, err)
	}
}
