//go:build unix

package vpopmail

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
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDeleteOrder watches in which order things go, and stops where hup fails.
func TestDeleteOrder(t *testing.T) {
	h := newHost(t, DefaultProfile54(), map[string]string{"me": "mail.example.com\n", "rcpthosts": "localhost\n"})
	withAliases(t, h)
	var order []string
	h.opts.hook = func(op, name string) error {
		base := strings.TrimSuffix(filepath.Base(name), tempSuffix)
		switch {
		case op == "rename" && strings.Contains(name, "QMAIL"):
			order = append(order, base)
		case op == "rename" && strings.HasSuffix(name, "domains/example.com"):
			order = append(order, "aside")
		case op == "rename" && base == tempSide:
			order = append(order, "counter")
		case op == "remove" && base == "lastauth":
			order = append(order, "tree")
		}
		return nil
	}
	deaf := errors.New("no qmail-send")
	s := h.open()
	force := &DeleteDomainOptions{Force: true}
	if _, err := s.DeleteDomain(t.Context(), "example.com", force, func(context.Context) error { return deaf }); !errors.Is(err, deaf) {
		t.Errorf("%v", err)
	}
	if want := []string{"rcpthosts", "virtualdomains"}; !slices.Equal(order, want) {
		t.Errorf("%q, want %q", order, want)
	}
	// Until the removal is complete nothing new comes into being under the name.
	if _, err := s.AddDomain(t.Context(), testSpec("example.com"), told); !errors.Is(err, ErrLeaving) {
		t.Errorf("add: %v", err)
	}
	if _, err := s.AddAliasDomain(t.Context(), "example.com", "new.example.net", told); !errors.Is(err, ErrLeaving) {
		t.Errorf("alias: %v", err)
	}
	order = nil
	hup := func(context.Context) error { order = append(order, "HUP"); return nil }
	res, err := s.DeleteDomain(t.Context(), "Example.COM", nil, hup) // Force was said the first time
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"HUP", "assign", "cdb", "aside", "tree", "counter"}; !slices.Equal(order, want) || !res.Signaled {
		t.Errorf("%q, want %q", order, want)
	}
	if res.Classic() != "Warning: Alias domains deleted:\n   a1.example.net\n   x\n" && res.Classic() != "Warning: Alias domains deleted:\n   x\n   a1.example.net\n" {
		t.Errorf("%q", res.Classic())
	}
	h.opts.hook = nil
	if err := addDomainOnce(t.Context(), h.open(), "example.com"); err != nil {
		t.Errorf("again: %v", err)
	}
}

// TestDeleteRefused has what nothing is changed for.
func TestDeleteRefused(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	withAliases(t, h)
	h.write("QMAIL/users/assign", strings.Replace(h.read("QMAIL/users/assign"), ".\n",
		"+joe-:joe:1000:1000:/home/joe:-::\n+up.example.org-:up.example.org:89:89:/home/vpopmail/domains:-::\n"+
			"+etc.example.org-:etc.example.org:89:89:/home/vpopmail/etc:-::\n+out.example.org-:out.example.org:89:89:/out/domains/out.example.org:-::\n"+
			"+in.example.org-:in.example.org:89:89:/home/vpopmail/domains/in.example.org/domains/in:-::\n"+
			"+all.example.org-:all.example.org:89:89:/home/vpopmail/domains/in.example.org:-::\n"+
			"+dots.example.org-:dots.example.org:89:89:/home/vpopmail/domains/../../dots:-::\n.\n", 1))
	// users/cdb follows, as qmail-newu would make it.
	if _, err := h.open().AddAliasDomain(ctx, "example.com", "late.example.net", told); err != nil {
		t.Fatal(err)
	}
	s := h.open()
	before := h.snapshot()
	for _, c := range []struct {
		name  string
		force bool
		want  error
	}{
		{"example.com", false, ErrHasAliases}, {"EXAMPLE.com", false, ErrHasAliases}, {"nowhere.example.org", true, ErrNoDomain},
		{"joe", true, ErrNoDomain}, {"a_b", true, ErrNoDomain}, {strings.Repeat("a", 97), true, ErrNoDomain},
		{"up.example.org", true, ErrSharedDir}, {"etc.example.org", true, ErrSharedDir}, {"all.example.org", true, ErrSharedDir},
		{"dots.example.org", true, ErrSharedDir}, {"out.example.org", true, ErrNotMounted},
	} {
		_, err := s.DeleteDomain(ctx, c.name, &DeleteDomainOptions{Force: c.force}, told)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		compareTrees(t, c.name, before, h.snapshot())
	}
	_, err := s.DeleteDomain(ctx, "Example.com", nil, told)
	if rc, out := ClassicStatus("vdeldomain", err); rc != 0 || !strings.HasPrefix(out, "Warning: Alias domains exist:\n   ") || !strings.HasSuffix(out, "   use -f to force delete of domain and all aliases\n") {
		t.Errorf("%d %q", rc, out)
	}
	h.write("QMAIL/users/assign", h.read("QMAIL/users/assign")+"+behind-:x:1:1:/:-::\n")
	before = h.snapshot()
	for _, name := range []string{"example.com", "x"} {
		if _, err := s.DeleteDomain(ctx, name, &DeleteDomainOptions{Force: true}, told); !errors.Is(err, ErrAssign) {
			t.Errorf("text behind the dot: %v", err)
		}
	}
	compareTrees(t, "damaged assign", before, h.snapshot())
}

// TestDeleteAsRead removes what qmail takes for the domain, wherever it stands,
// and nothing else.
func TestDeleteAsRead(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	withAliases(t, h)
	h.write("QMAIL/control/rcpthosts", "Example.COM \nlocalhost\n.example.com\nexample.com\nmail.example.com\nexample.com")
	h.write("QMAIL/control/morercpthosts", "big.example.org\nX\na1.example.net\n")
	h.write("QMAIL/control/virtualdomains", "example.com:example.com\nExample.com:example.COM\t\nexample.com:joe\nx.org:x\na1.example.net:a1.example.net\nx:x\n")
	res, err := h.open().DeleteDomain(ctx, "example.com", &DeleteDomainOptions{Force: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"control/rcpthosts": "localhost\n.example.com\nmail.example.com\n",
		"control/morercpthosts": "big.example.org\n", "control/virtualdomains": "example.com:joe\nx.org:x\n", "users/assign": ".\n"} {
		if got := h.read("QMAIL/" + name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if len(res.Changes) != 3+2+4+3 || res.Signaled {
		t.Errorf("changes: %+v, signaled %v", res.Changes, res.Signaled)
	}
	if len(res.Problems) != 1 || res.Problems[0].Code != "control.not-signaled" {
		t.Errorf("%v", res.Problems)
	}
	dir, err := h.open().controlDir()
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for name, want := range map[string]bool{"big.example.org": true, "x": false, "a1.example.net": false} {
		if _, found, err := lookup(dir, "morercpthosts.cdb", name); found != want || err != nil {
			t.Errorf("morercpthosts.cdb: %s: %v, %v", name, found, err)
		}
	}
}

// TestDeleteStaleCDB has a morercpthosts.cdb without its text, which this
// package does not touch.
func TestDeleteStaleCDB(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	h.write("QMAIL/control/rcpthosts", strings.Repeat("relay.example.net\n", rcptLines))
	withDomain(t, h)
	if err := os.Remove(filepath.Join(h.dir, "QMAIL/control/morercpthosts")); err != nil {
		t.Fatal(err)
	}
	cdb := h.read("QMAIL/control/morercpthosts.cdb")
	res, err := h.open().DeleteDomain(t.Context(), "example.com", nil, told)
	if err != nil || len(res.Problems) != 1 || res.Problems[0].Code != "control.morercpthosts-stale" {
		t.Errorf("%+v, %v", res, err)
	}
	if h.read("QMAIL/control/morercpthosts.cdb") != cdb {
		t.Error("morercpthosts.cdb has changed")
	}
}

// TestDeleteHostile has what the owner of a domain's directory may have put
// there or made of it.
func TestDeleteHostile(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct {
		name  string
		plant func(dom, out string) error
	}{
		{"links out of it", func(dom, out string) error {
			return errors.Join(os.Symlink(out, dom+"/way"), os.Symlink(out+"/kept", dom+"/.dir-control2"), os.Symlink("/", dom+"/postmaster/Maildir/.root"))
		}},
		{"the directory is a link", func(dom, out string) error {
			return errors.Join(os.RemoveAll(dom), os.Symlink(out, dom))
		}},
		{"the directory is a file", func(dom, out string) error {
			return errors.Join(os.RemoveAll(dom), os.WriteFile(dom, nil, 0o600))
		}},
		{"the directory is gone", func(dom, out string) error { return os.RemoveAll(dom) }},
		{"a FIFO as lock", func(dom, out string) error {
			return errors.Join(os.Remove(dom+"/.vpasswd.lock"), unix.Mkfifo(dom+"/.vpasswd.lock", 0o600), unix.Mkfifo(dom+"/vpasswd2", 0o600))
		}},
		{"a link as lock", func(dom, out string) error {
			return errors.Join(os.Remove(dom+"/.vpasswd.lock"), os.Symlink(out+"/kept", dom+"/.vpasswd.lock"))
		}},
		{"a directory nobody may read", func(dom, out string) error { return os.Chmod(dom+"/postmaster", 0o700) }},
	} {
		h := newHost(t, DefaultProfile54(), controlBefore)
		withDomain(t, h)
		out := filepath.Join(h.dir, "outside")
		if err := errors.Join(os.Mkdir(out, 0o755), os.WriteFile(out+"/kept", []byte("x"), 0o644), os.Mkdir(out+"/postmaster", 0o755)); err != nil {
			t.Fatal(err)
		}
		dom := filepath.Join(h.dir, "VPOPMAIL/domains/example.com")
		if err := c.plant(dom, out); err != nil {
			t.Fatal(err)
		}
		if _, err := h.open().DeleteDomain(ctx, "example.com", nil, told); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := os.Lstat(dom); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", c.name, err)
		}
		if fi, err := os.Stat(out + "/kept"); err != nil || fi.Size() != 1 {
			t.Errorf("%s: outside: %v", c.name, err)
		}
		if _, err := os.Stat(out + "/postmaster"); err != nil {
			t.Errorf("%s: outside: %v", c.name, err)
		}
		for name := range maps.Keys(h.snapshot()) {
			if strings.Contains(name, "qmailkit") {
				t.Errorf("%s: %s", c.name, name)
			}
		}
	}
}

// TestDeleteElsewhere removes domains under other roots and counts them where
// they were counted.
func TestDeleteElsewhere(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	if err := os.MkdirAll(filepath.Join(h.dir, "home/joe"), 0o755); err != nil {
		t.Fatal(err)
	}
	h.opts.Mounts = []Mount{{"/home/joe/", h.root("home/joe")}}
	s := h.open()
	uid, gid := 1001, 1002
	for _, name := range []string{"u.example.org", "v.example.org"} {
		if _, err := s.AddDomain(ctx, DomainSpec{Name: name, Base: "/home/joe", OwnerHome: "/home/joe", UID: &uid, GID: &gid}, told); err != nil {
			t.Fatal(err)
		}
	}
	for i, o := range []*DeleteDomainOptions{{OwnerHome: "/home/joe/"}, nil} {
		if _, err := s.DeleteDomain(ctx, []string{"u.example.org", "v.example.org"}[i], o, told); err != nil {
			t.Fatal(err)
		}
	}
	snap := h.snapshot()
	for name, want := range map[string]string{"VPOPMAIL/domains/.dir-control": "1\n", "home/joe/domains/.dir-control": "1\n"} {
		if got := snap[name].Content; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, name := range []string{"home/joe/domains/u.example.org", "home/joe/domains/v.example.org"} {
		if _, ok := snap[name]; ok {
			t.Errorf("%s is there still", name)
		}
	}
}

// TestDeleteMadeAgain cuts a removal short, lets the real vadddomain make the
// domain again, in another hash directory, and completes the removal: all of
// the domain is gone.
func TestDeleteMadeAgain(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	h.opts.hook = func(op, name string) error {
		if op == "remove" && strings.HasSuffix(name, "lastauth") {
			return errCut
		}
		return nil
	}
	if _, err := h.open().DeleteDomain(ctx, "example.com", nil, told); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	h.opts.hook = nil
	note := h.read("VPOPMAIL/domains/" + pendingName)
	if err := os.Remove(filepath.Join(h.dir, "VPOPMAIL/domains", pendingName)); err != nil {
		t.Fatal(err)
	}
	c := NewDirControl()
	c.Users = 99
	h.write("VPOPMAIL/domains/.dir-control", string(c.Bytes()))
	withDomain(t, h)
	h.write("VPOPMAIL/domains/"+pendingName, note)
	if _, err := h.open().DeleteDomain(ctx, "example.com", nil, told); err != nil {
		t.Fatal(err)
	}
	snap := h.snapshot()
	for name := range snap {
		if strings.Contains(name, "example.com") || strings.Contains(name, "qmailkit") {
			t.Errorf("%s is left", name)
		}
	}
	if got := snap["VPOPMAIL/domains/.dir-control"].Content; !strings.HasPrefix(got, "98\n") {
		t.Errorf("counted %q: the old and the new domain are gone", got)
	}
}

// TestDeleteAtOnce removes one domain from several Stores at once, and makes it
// again, beside somebody who adds users to it. In the end it is there whole or
// not at all.
func TestDeleteAtOnce(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	h.opts.LockWait = 20e9
	withDomain(t, h)
	other := h.open()
	if err := addDomainOnce(ctx, other, "stays.example.org"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		s := h.open()
		wg.Go(func() {
			for n := range 8 {
				var err error
				switch {
				case i == 0:
					_, err = s.AddUsers(ctx, "example.com", []NewUser{{Name: fmt.Sprint("user", n), Hash: "*"}})
				case i == 1 && n%2 == 1:
					_, err = s.AddDomain(ctx, testSpec("example.com"), told)
				default:
					_, err = s.DeleteDomain(ctx, "example.com", nil, told)
				}
				for _, fine := range []error{nil, ErrNoDomain, ErrDomainExists, ErrLeaving, fs.ErrNotExist} {
					if errors.Is(err, fine) {
						err = nil
					}
				}
				if err != nil {
					t.Errorf("%d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := other.Domain(ctx, "example.com"); err == nil {
		if _, err := other.User(ctx, "postmaster@example.com"); err != nil {
			t.Error(err)
		}
		if _, err := other.DeleteDomain(ctx, "example.com", nil, told); err != nil {
			t.Error(err)
		}
	}
	snap := h.snapshot()
	for name, s := range snap {
		if strings.Contains(name, "example.com") || strings.Contains(name, "qmailkit") || strings.HasPrefix(name, "QMAIL/") && strings.Contains(s.Content, "example.com") && !strings.HasSuffix(name, "/me") {
			t.Errorf("left: %s %q", name, s.Content)
		}
	}
	if got := snap["VPOPMAIL/domains/.dir-control"].Content; !strings.HasPrefix(got, "1\n") {
		t.Errorf("counted: %q", got)
	}
}

// TestDeleteLateAlias has an alias go live between the list of the aliases and
// the lock of qmail's files: it goes too, or the domain stays as it was.
func TestDeleteLateAlias(t *testing.T) {
	for _, force := range []bool{false, true} {
		h := newHost(t, DefaultProfile54(), controlBefore)
		withDomain(t, h)
		before := h.snapshot()
		if _, err := h.open().AddAliasDomain(t.Context(), "example.com", "late.example.net", told); err != nil {
			t.Fatal(err)
		}
		with := map[string]string{}
		for _, name := range []string{"QMAIL/users/assign", "QMAIL/users/cdb", "QMAIL/control/rcpthosts", "QMAIL/control/virtualdomains"} {
			with[name] = h.read(name)
		}
		after := h.snapshot()
		for name := range with {
			h.write(name, before[name].Content)
		}
		noted := false
		h.opts.hook = func(op, name string) error {
			if noted {
				for name, text := range with {
					h.write(name, text)
				}
				clear(with)
			}
			noted = noted || op == "rename" && strings.HasSuffix(name, "_pending")
			return nil
		}
		res, err := h.open().DeleteDomain(t.Context(), "example.com", &DeleteDomainOptions{Force: force}, told)
		h.opts.hook = nil
		if len(with) > 0 {
			t.Fatal("the alias never came")
		}
		if force {
			if err != nil || !slices.Equal(res.Aliases, []string{"late.example.net"}) || strings.Contains(h.read("QMAIL/users/assign")+h.read("QMAIL/control/rcpthosts"), "late") {
				t.Errorf("with force: %+v, %v", res, err)
			}
			continue
		}
		if !errors.Is(err, ErrHasAliases) {
			t.Errorf("without force: %v, want ErrHasAliases", err)
		}
		if changed, removed := diff(after, h.snapshot()); len(changed)+len(removed) > 0 {
			t.Errorf("without force: changed %q, removed %q", changed, removed)
		}
	}
}
