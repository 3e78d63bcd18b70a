//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestLiveOrder watches in which order qmail's files come into being.
func TestLiveOrder(t *testing.T) {
	h := newHost(t, DefaultProfile54(), map[string]string{"me": "mail.example.com\n", "locals": "example.com\n", "rcpthosts": "localhost\n"})
	var order []string
	h.opts.hook = func(op, name string) error {
		base := strings.TrimSuffix(filepath.Base(name), tempSuffix)
		if op == "rename" && strings.Contains(name, "QMAIL") {
			order = append(order, base)
		}
		if op == "rename" && base == tempVpasswd {
			order = append(order, "vpasswd")
		}
		return nil
	}
	hup := func(context.Context) error { order = append(order, "HUP"); return nil }
	if _, err := h.open().AddDomain(t.Context(), testSpec("example.com"), hup); err != nil {
		t.Fatal(err)
	}
	want := []string{"vpasswd", "assign", "cdb", "virtualdomains", "locals", "HUP", "rcpthosts"}
	if !slices.Equal(order, want) {
		t.Errorf("%q, want %q", order, want)
	}
	order = nil
	s := h.open()
	if _, err := s.GoLive(t.Context(), []Live{{Name: "example.com"}}, hup); err != nil || len(order) > 0 {
		t.Errorf("second run: %q, %v", order, err)
	}
	deaf := errors.New("no qmail-send")
	_, err := s.AddAliasDomain(t.Context(), "example.com", "example.net", func(context.Context) error { return deaf })
	if !errors.Is(err, deaf) || strings.Contains(h.read("QMAIL/control/rcpthosts"), "example.net") {
		t.Errorf("hup fails: %v, rcpthosts %q", err, h.read("QMAIL/control/rcpthosts"))
	}
	// The rerun does not know whether qmail-send was told, so it tells again.
	order = nil
	res, err := s.GoLive(t.Context(), []Live{{Name: "example.net", AliasOf: "example.com"}}, hup)
	if err != nil || !res.Signaled || !slices.Equal(order, []string{"HUP", "rcpthosts"}) {
		t.Errorf("rerun: %q, %+v, %v", order, res, err)
	}
}

// TestLocals has what the table says of control/locals.
func TestLocals(t *testing.T) {
	for _, c := range []struct {
		name, me      string
		locals, after *string
	}{
		{"missing, me is another", "mail.example.com\n", nil, nil},
		{"missing, me is the domain", "Example.COM \n", nil, new(string)},
		{"capitals and blanks", "mail.example.com\n", ptr("localhost\nExample.Com\t \nexample.com.\n"), ptr("localhost\nexample.com.\n")},
		{"no last newline", "mail.example.com\n", ptr("a\nb"), ptr("a\nb")},
		{"only line", "mail.example.com\n", ptr("example.com"), ptr("")},
	} {
		h := newHost(t, DefaultProfile54(), map[string]string{"me": c.me, "rcpthosts": "localhost\n"})
		if c.locals != nil {
			h.write("QMAIL/control/locals", *c.locals)
		}
		withDomain(t, h)
		got, ok := h.snapshot()["QMAIL/control/locals"]
		if ok != (c.after != nil) || ok && got.Content != *c.after {
			t.Errorf("%s: %v %q", c.name, ok, got.Content)
		}
	}
}

func ptr(s string) *string { return &s }

// TestAliases has what vaddaliasdomain says to every pair of names.
func TestAliases(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	s := h.open()
	if _, err := s.AddAliasDomain(ctx, "new.example.net", "EXAMPLE.com", nil); err != nil {
		t.Error("the other way round:", err)
	}
	if _, err := s.AddAliasDomain(ctx, "new.example.net", "second.example.net", nil); err != nil {
		t.Error("alias of an alias:", err)
	}
	d, err := s.Domain(ctx, "Second.Example.NET")
	if err != nil || d.Real != "example.com" || !d.Alias() {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := s.AddUser(ctx, "second.example.net", NewUser{Name: "joe", Hash: "*"}); err != nil {
		t.Error(err)
	}
	if u, err := s.User(ctx, "joe@example.com"); err != nil || u.Dir != "/home/vpopmail/domains/example.com/joe" {
		t.Errorf("%+v, %v", u, err)
	}
	for _, c := range []struct {
		one, other string
		want       error
	}{
		{"example.com", "new.example.net", ErrDomainExists}, {"a.example.org", "b.example.org", ErrNeitherExists},
		{"example.com", "a_b.example.org", ErrBadDomain}, {"example.com", strings.Repeat("a", 97), ErrTooLong},
	} {
		if _, err := s.AddAliasDomain(ctx, c.one, c.other, nil); !errors.Is(err, c.want) {
			t.Errorf("%s %s: %v, want %v", c.one, c.other, err, c.want)
		}
	}
	long := strings.Repeat("l", 87)
	if _, err := s.AddDomain(ctx, DomainSpec{Name: long}, nil); err != nil {
		t.Error("87 characters:", err)
	}
	if _, err := s.GoLive(ctx, []Live{{Name: strings.Repeat("a", 88), AliasOf: long}}, nil); !errors.Is(err, ErrTooLong) {
		t.Errorf("alias line of 299 bytes: %v", err)
	}
	if _, err := s.GoLive(ctx, []Live{{Name: strings.Repeat("a", 87), AliasOf: long}}, nil); err != nil {
		t.Errorf("alias line of 298 bytes: %v", err)
	}
}

// TestElsewhere puts domains where vadddomain's -d, -i, -g and -u do.
func TestElsewhere(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	for _, d := range []string{"disk2", "home/joe"} {
		if err := os.MkdirAll(filepath.Join(h.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.opts.Mounts = []Mount{{"/disk2", h.root("disk2")}, {"/home/joe/", h.root("home/joe")}}
	s := h.open()
	uid, gid := 1001, 1002
	d2, err := s.AddDomain(ctx, DomainSpec{Name: "d.example.org", Base: "/disk2"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	joes, err := s.AddDomain(ctx, DomainSpec{Name: "u.example.org", Base: "/home/joe", OwnerHome: "/home/joe", UID: &uid, GID: &gid}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddDomain(ctx, DomainSpec{Name: "i.example.org", UID: &uid, GID: &gid, CatchAll: "Joe"}, nil); err != nil {
		t.Fatal(err)
	}
	if d2.Domain.Dir != "/disk2/domains/d.example.org" || joes.Domain.Dir != "/home/joe/domains/u.example.org" {
		t.Errorf("%q, %q", d2.Domain.Dir, joes.Domain.Dir)
	}
	if got := h.read("VPOPMAIL/domains/i.example.org/.qmail-default"); got != "| /home/vpopmail/bin/vdelivermail '' /home/vpopmail/domains/i.example.org/joe\n" {
		t.Errorf("%q", got)
	}
	if !strings.Contains(h.read("QMAIL/users/assign"), "+u.example.org-:u.example.org:1001:1002:/home/joe/domains/u.example.org:-::\n") {
		t.Errorf("%q", h.read("QMAIL/users/assign"))
	}
	snap := h.snapshot()
	for name, want := range map[string]string{"VPOPMAIL/domains/.dir-control": "2\n", "home/joe/domains/.dir-control": "1\n"} {
		if got := snap[name].Content; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, s := range snap {
		mine := strings.HasPrefix(name, "home/joe/domains") || strings.HasPrefix(name, "VPOPMAIL/domains/i.")
		if os.Geteuid() == 0 && mine && (s.UID != uid || s.GID != gid) {
			t.Errorf("%s: owner %d:%d", name, s.UID, s.GID)
		}
	}
	if _, err := s.AddUser(ctx, "u.example.org", NewUser{Name: "jim", Hash: "*"}); err != nil {
		t.Error(err)
	}
	if _, ok := h.snapshot()["home/joe/domains/u.example.org/jim/Maildir/cur"]; !ok {
		t.Error("no Maildir under /home/joe")
	}
}

// TestLinks plants links where directories should be: nothing is written
// through one.
func TestLinks(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	out := filepath.Join(h.dir, "outside")
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	dom := filepath.Join(h.dir, "VPOPMAIL/domains")
	for from, to := range map[string]string{"example.com/joe": "../../../outside", "linked.example.org": "../../outside", "example.com/vpasswd2": "x"} {
		if err := os.Symlink(to, filepath.Join(dom, from)); err != nil {
			t.Fatal(err)
		}
	}
	s := h.open()
	if _, err := s.AddUser(ctx, "example.com", NewUser{Name: "joe", Hash: "*"}); !errors.Is(err, ErrUserDir) {
		t.Errorf("user: %v", err)
	}
	if _, err := s.AddDomain(ctx, DomainSpec{Name: "linked.example.org"}, nil); !errors.Is(err, ErrDomainDir) {
		t.Errorf("domain: %v", err)
	}
	os.Rename(filepath.Join(dom, "example.com"), filepath.Join(out, "example.com"))
	os.Symlink("../../outside/example.com", filepath.Join(dom, "example.com"))
	if _, err := s.AddUser(ctx, "example.com", NewUser{Name: "jim", Hash: "*"}); err == nil {
		t.Error("a domain's directory that is a link is followed")
	}
	if _, err := os.Lstat(filepath.Join(out, "example.com/jim")); err == nil {
		t.Error("written through a link")
	}
}

// TestTinyCDB has the files read by another program.
func TestTinyCDB(t *testing.T) {
	tool, err := exec.LookPath("cdb")
	if err != nil {
		t.Skip("tinycdb is not installed")
	}
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	if err := putAll(t.Context(), h.open(), "example.com", manyUsers(200)); err != nil {
		t.Fatal(err)
	}
	b, err := exec.Command(tool, "-d", filepath.Join(h.dir, "VPOPMAIL/domains/example.com/vpasswd.cdb")).Output()
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for line := range strings.Lines(h.read("VPOPMAIL/domains/example.com/vpasswd")) {
		name, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		want.WriteString("+" + strconv.Itoa(len(name)) + "," + strconv.Itoa(len(rest)) + ":" + name + "->" + rest + "\n")
	}
	want.WriteString("\n")
	if string(b) != want.String() {
		t.Errorf("cdb -d says\n%.300q, want\n%.300q", b, want.String())
	}
}

// TestLinesThere asserts that a new domain gets one line more, as with the real
// programs, and a live one none.
func TestLinesThere(t *testing.T) {
	h := newHost(t, DefaultProfile54(), map[string]string{"me": "m\n", "locals": "", "rcpthosts": "example.com\n",
		"virtualdomains": "example.com:example.com\n"})
	withDomain(t, h)
	if _, err := h.open().GoLive(t.Context(), []Live{{Name: "example.com"}}, nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"rcpthosts": "example.com\nexample.com\n",
		"virtualdomains": "example.com:example.com\nexample.com:example.com\n"} {
		if got := h.read("QMAIL/control/" + name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
