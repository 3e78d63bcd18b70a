//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestUndo takes back what a migration made: planned before, nothing of qmail's
// files is left of it but lock files.
func TestUndo(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), map[string]string{"me": "mail.example.com\n",
		"locals": "localhost\nNew.example.com \nmail.example.com\n", "rcpthosts": "localhost\n", "virtualdomains": "z.example.net:alias-z\n"})
	withDomain(t, h)
	s := h.open()
	before := h.snapshot()
	spec := testSpec("new.example.com")
	if _, err := s.PrepareDomain(ctx, spec); err != nil {
		t.Fatal(err)
	}
	_, err := s.AddUsers(ctx, "new.example.com", []NewUser{{Name: "joe", Hash: "*"}, {Name: "jim", Hash: "*"}})
	if err != nil {
		t.Fatal(err)
	}
	live := []Live{{Name: "new.example.com"}, {Name: "alias.example.com", AliasOf: "new.example.com"}}
	planned, err := s.PlanLive(ctx, live)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.GoLive(ctx, live, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(planned, res.Changes) || len(planned) != 7 {
		t.Errorf("planned %+v, changed %+v", planned, res.Changes)
	}
	if err := s.ForgetDomain(ctx, "new.example.com"); !errors.Is(err, ErrDomainExists) {
		t.Errorf("a live domain is forgotten: %v", err)
	}
	told := 0
	for range 2 {
		if err := s.Revert(ctx, planned, func(context.Context) error { told++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if told != 1 {
		t.Errorf("qmail-send was told %d times", told)
	}
	for name, want := range before {
		if got := h.snapshot()[name]; name != "QMAIL/control/locals" && want.Content != got.Content && filepath.Dir(name) != "VPOPMAIL/domains" {
			t.Errorf("%s: %q, want %q", name, got.Content, want.Content)
		}
	}
	if got := h.read("QMAIL/control/locals"); got != "localhost\nmail.example.com\nNew.example.com \n" {
		t.Errorf("locals: %q", got)
	}
	if _, err := s.Domain(ctx, "new.example.com"); !errors.Is(err, ErrNoDomain) {
		t.Errorf("%v, want ErrNoDomain", err)
	}
	if err := os.RemoveAll(filepath.Join(h.dir, "VPOPMAIL/domains/new.example.com")); err != nil {
		t.Fatal(err)
	}
	if err := s.ForgetDomain(ctx, "new.example.com"); err != nil {
		t.Fatal(err)
	}
	if c, err := ParseDirControl([]byte(h.read("VPOPMAIL/domains/.dir-control"))); err != nil || c.Users != 1 {
		t.Errorf("counter %d, %v", c.Users, err)
	}
}

// TestRemoveUsers asserts that an account that was changed since stays.
func TestRemoveUsers(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	s := h.open()
	before := h.snapshot()
	res, err := s.AddUsers(ctx, "example.com", []NewUser{{Name: "joe", Hash: "*"}, {Name: "jim", Hash: "*"}, {Name: "jane", Hash: "*"}})
	if err != nil {
		t.Fatal(err)
	}
	var stored []User
	for _, u := range res.Users {
		stored = append(stored, u.User)
	}
	onTarget(t, h, stored[1], func(u *User) { u.Hash = "$1$changed$x" })
	for i, want := range []int{2, 0} {
		removed, err := s.RemoveUsers(ctx, "example.com", stored)
		if err != nil || len(removed) != want {
			t.Errorf("run %d: removed %v, %v", i+1, removed, err)
		}
	}
	onTarget(t, h, stored[1], func(u *User) { *u = stored[1] })
	if removed, err := s.RemoveUsers(ctx, "example.com", stored); err != nil || len(removed) != 1 {
		t.Errorf("removed %v, %v", removed, err)
	}
	for _, name := range []string{"vpasswd", "vpasswd.cdb"} {
		name = "VPOPMAIL/domains/example.com/" + name
		if after := h.snapshot()[name]; after != before[name] {
			t.Errorf("%s: %+v, want %+v", name, after, before[name])
		}
	}
	c, err := ParseDirControl([]byte(h.read("VPOPMAIL/domains/example.com/.dir-control")))
	if err != nil || c.Users != 1 {
		t.Errorf("counter %d, %v", c.Users, err)
	}
}
