//go:build unix

package vpopmail

import (
	"os"
	"strings"
	"testing"
)

func TestDetect(t *testing.T) {
	nc := DefaultProfile54()
	nc.Home, nc.UID, nc.GID, nc.ClearPasswords, nc.Hash, nc.BigDir = "/srv/vpop", 91, 92, false, HashDES, false
	p56 := at56("/home/vpopmail-56")
	mixed := DefaultProfile56()
	mixed.ClearPasswords, mixed.Hash = true, HashMD5
	for _, want := range []Profile{DefaultProfile54(), nc, p56, mixed} {
		h := newHost(t, want, controlBefore)
		spec := DomainSpec{Name: "example.com", Postmaster: NewUser{Clear: "secret"}}
		if _, err := h.open().AddDomain(t.Context(), spec, nil); err != nil {
			t.Fatal(err)
		}
		got, err := DetectProfile(h.root("VPOPMAIL"), h.root("QMAIL"))
		if err != nil {
			t.Fatal(err)
		}
		if got.Profile != want {
			t.Errorf("%+v\nwant %+v\ntold by %q", got.Profile, want, got.Told)
		}
		h.write("VPOPMAIL/etc/inc_deps", "-I/opt/vpopmail/include\n")
		if got, err = DetectProfile(h.root("VPOPMAIL"), h.root("QMAIL")); err != nil || got.Profile.Home != "/opt/vpopmail" {
			t.Errorf("home %q, %v", got.Profile.Home, err)
		}
	}
	empty := newHost(t, DefaultProfile54(), nil)
	got, err := DetectProfile(empty.root("VPOPMAIL"), empty.root("QMAIL"))
	if err != nil || got.Profile != DefaultProfile54() || len(got.Told) != 0 {
		t.Errorf("empty installation: %+v, %v", got, err)
	}
}

// TestOpenDetects asserts that Open without a Profile works on what is there.
func TestOpenDetects(t *testing.T) {
	h := newHost(t, at56("/var/vpop"), controlBefore)
	if _, err := h.open().AddDomain(t.Context(), testSpec("example.com"), nil); err != nil {
		t.Fatal(err)
	}
	s, err := Open(h.root("VPOPMAIL"), h.root("QMAIL"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if u, err := s.User(t.Context(), "PostMaster@Example.COM"); err != nil || !strings.HasPrefix(u.Dir, "/var/vpop/") {
		t.Errorf("%+v, %v", u, err)
	}
	if o := s.Owner(89, 89); o.Self != (os.Geteuid() != 0) {
		t.Errorf("owner %+v", o)
	}
}

func TestBadProfile(t *testing.T) {
	h := newHost(t, DefaultProfile54(), nil)
	for _, edit := range []func(p *Profile){
		func(p *Profile) { p.Home = "vpopmail" }, func(p *Profile) { p.Home = "/home/a;b" }, func(p *Profile) { p.UID = 0 },
		func(p *Profile) { p.DomainsDir = "../x" }, func(p *Profile) { p.Hash = 0 }, func(p *Profile) { p.LineBuffer = 0 },
		func(p *Profile) { p.CatchAll = "$(id)" }, func(p *Profile) { p.Release = 0 },
	} {
		p := DefaultProfile54()
		edit(&p)
		if _, err := Open(h.root("VPOPMAIL"), h.root("QMAIL"), &Options{Profile: &p}); err == nil {
			t.Errorf("%+v is taken", p)
		}
	}
}
