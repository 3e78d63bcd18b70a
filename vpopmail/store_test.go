//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
)

// TestWithoutSyncfs is the way of systems that have no such call: each
// directory that got an entry is synced.
func TestWithoutSyncfs(t *testing.T) {
	want := newHost(t, DefaultProfile54(), controlBefore)
	got := newHost(t, DefaultProfile54(), controlBefore)
	synced := map[string]bool{}
	got.opts.hook = func(op, name string) error {
		if op == "syncfs" {
			return errors.ErrUnsupported
		}
		if op == "syncdir" {
			rel, _ := filepath.Rel(got.dir+"/VPOPMAIL/domains/example.com", strings.TrimSuffix(name, "/."))
			synced[rel] = true
		}
		return nil
	}
	for _, h := range []*host{want, got} {
		withDomain(t, h)
		if err := putAll(t.Context(), h.open(), "example.com", manyUsers(101)); err != nil {
			t.Fatal(err)
		}
	}
	compareTrees(t, "without syncfs", want.snapshot(), got.snapshot())
	for _, dir := range []string{".", "0", "user000", "user000/Maildir", "user100", "user100/Maildir"} {
		u, err := got.open().User(t.Context(), filepath.Base(strings.TrimSuffix(dir, "/Maildir"))+"@example.com")
		if err == nil {
			dir = strings.TrimPrefix(u.Dir, "/home/vpopmail/domains/example.com/") + map[bool]string{true: "/Maildir"}[strings.HasSuffix(dir, "/Maildir")]
		}
		if !synced[dir] {
			t.Errorf("%s is not synced", dir)
		}
	}
}

// TestFreshInstallation starts where not even the directories are there.
func TestFreshInstallation(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	for _, name := range []string{"VPOPMAIL/domains", "VPOPMAIL/etc", "QMAIL/users"} {
		if err := os.RemoveAll(filepath.Join(h.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s := h.open()
	if _, err := s.Domain(t.Context(), "example.com"); !errors.Is(err, ErrNoDomain) {
		t.Errorf("%v, want ErrNoDomain", err)
	}
	if changes, err := s.PlanLive(t.Context(), nil); err != nil || len(changes) > 0 {
		t.Errorf("%v, %v", changes, err)
	}
	if _, err := s.PrepareDomain(t.Context(), testSpec("example.com")); err != nil {
		t.Fatal(err)
	}
	changes, err := s.PlanLive(t.Context(), []Live{{Name: "example.com"}})
	if err != nil || len(changes) != 3 {
		t.Errorf("%+v, %v", changes, err)
	}
	if _, ok := h.snapshot()["QMAIL/users"]; ok {
		t.Error("a plan makes users/")
	}
	withDomain(t, h)
	snap := h.snapshot()
	for name, mode := range map[string]string{"VPOPMAIL/domains": "0700", "QMAIL/users": "0755"} {
		if snap[name].Mode != mode {
			t.Errorf("%s: mode %s, want %s", name, snap[name].Mode, mode)
		}
	}
	if d := snap["VPOPMAIL/domains"]; os.Geteuid() == 0 && (d.UID != 89 || d.GID != 89) {
		t.Errorf("domains: owner %d:%d", d.UID, d.GID)
	}
}

// TestLookups asks with one of the two databases missing or broken.
func TestLookups(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	h.write("QMAIL/users/assign", "=root:alice:1:1:/:::\n+odd-:odd\n"+h.read("QMAIL/users/assign"))
	s := h.open()
	var names []string
	for d, err := range s.Domains(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, d.Name)
	}
	if !slices.Equal(names, []string{"example.com"}) {
		t.Errorf("domains %q", names)
	}
	remove := func(name string) {
		if err := os.Remove(filepath.Join(h.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	remove("QMAIL/users/cdb")
	remove("VPOPMAIL/domains/example.com/vpasswd.cdb")
	if u, err := s.User(ctx, "postmaster@example.com"); err != nil || u.Gecos != "Postmaster" {
		t.Errorf("from the text files: %+v, %v", u, err)
	}
	if _, err := s.User(ctx, "joe@example.com"); !errors.Is(err, ErrNoUser) {
		t.Errorf("%v, want ErrNoUser", err)
	}
	h.write("VPOPMAIL/domains/example.com/vpasswd.cdb", "short")
	if _, err := s.User(ctx, "postmaster@example.com"); err == nil || errors.Is(err, ErrNoUser) {
		t.Errorf("broken cdb: %v", err)
	}
	root, name, err := s.Place("/home/vpopmail/domains/example.com/x/Maildir")
	if err != nil || name != "domains/example.com/x/Maildir" || root != s.home {
		t.Errorf("%q, %v", name, err)
	}
	for _, path := range []string{"/home/vpopmail2/x", "/home/vpopmail/../x", "x", "/"} {
		if _, name, err := s.Place(path); !errors.Is(err, ErrNotMounted) {
			t.Errorf("%q: %q, %v", path, name, err)
		}
	}
	if _, name, err := s.Place("/home/vpopmail"); err != nil || name != "." {
		t.Errorf("%q, %v", name, err)
	}
}

// TestUsersIterator asserts the contract: a broken line is an error of its own,
// an end before the end wraps ErrIncomplete.
func TestUsersIterator(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	const vp = "VPOPMAIL/domains/example.com/vpasswd"
	h.write(vp, "broken:line\n"+h.read(vp))
	s := h.open()
	var got []string
	for u, err := range s.Users(t.Context(), "example.com") {
		if err != nil && (!errors.Is(err, ErrFewColons) || errors.Is(err, qmailkit.ErrIncomplete)) {
			t.Error(err)
		}
		got = append(got, u.Name)
	}
	if !slices.Equal(got, []string{"", "postmaster"}) {
		t.Errorf("%q", got)
	}
	if _, err := s.AddUser(t.Context(), "example.com", NewUser{Name: "broken", Hash: "*"}); !errors.Is(err, ErrUserExists) {
		t.Errorf("name of a broken line: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for _, err := range s.Users(ctx, "example.com") {
		cancel()
		if n++; n == 2 && !errors.Is(err, qmailkit.ErrIncomplete) {
			t.Errorf("cancelled: %v", err)
		}
	}
	for _, err := range s.Users(t.Context(), "nowhere.example.com") {
		if !errors.Is(err, qmailkit.ErrIncomplete) || !errors.Is(err, ErrNoDomain) {
			t.Error(err)
		}
	}
}

// TestDamagedNotes asserts that a note that nobody here wrote stops a change
// and is not carried out.
func TestDamagedNotes(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"example.com/.qmailkit_change", "{"},
		{"example.com/.qmailkit_change", `{"qmailkit_change":2}`},
		{"example.com/.qmailkit_change", `{"qmailkit_change":1,"users":[{"name":"x","dir":"../../x"}]}`},
		{"example.com/.qmailkit_change", `{"qmailkit_change":1,"users":[{"name":"x","dir":"/etc"}]}`},
		{"example.com/.qmailkit_change", `{"qmailkit_change":1,"side":[{"name":"vpasswd","after":""}]}`},
		{".qmailkit_pending", "x"},
		{".qmailkit_pending", `{"qmailkit_pending":9}`},
	} {
		h := newHost(t, DefaultProfile54(), controlBefore)
		withDomain(t, h)
		h.write("VPOPMAIL/domains/"+c.name, c.text)
		before := h.snapshot()
		s := h.open()
		var err error
		if strings.HasPrefix(c.name, ".") {
			_, err = s.PrepareDomain(t.Context(), testSpec("new.example.com"))
		} else {
			_, err = s.AddUser(t.Context(), "example.com", NewUser{Name: "joe", Hash: "*"})
		}
		if !errors.Is(err, ErrNotesDamaged) {
			t.Errorf("%s: %v", c.text, err)
		}
		compareTrees(t, c.text, before, h.snapshot())
	}
}

// TestForeignChange has vpopmail's own program change the domain after a change
// here was killed: what it did stays.
func TestForeignChange(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	h.opts.hook = func(op, name string) error {
		if op == "rename" && strings.HasSuffix(name, tempVpasswd) {
			panic(errCut)
		}
		return nil
	}
	func() {
		defer func() { recover() }()
		putAll(t.Context(), h.open(), "example.com", manyUsers(3))
	}()
	h.opts.hook = nil
	const dom = "VPOPMAIL/domains/example.com/"
	h.write(dom+"vpasswd", "foreign:*:1:0:x:/home/vpopmail/domains/example.com/foreign:NOQUOTA:\n"+h.read(dom+"vpasswd"))
	c := NewDirControl()
	c.Users = 7
	h.write(dom+".dir-control", string(c.Bytes()))
	s := h.open()
	if _, err := s.AddUser(t.Context(), "example.com", NewUser{Name: "joe", Hash: "*"}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"foreign": nil, "joe": nil, "user000": ErrNoUser} {
		if _, err := s.User(t.Context(), name+"@example.com"); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	snap := h.snapshot()
	if _, ok := snap[dom+"user000"]; ok {
		t.Error("a directory without an account stays")
	}
	if got := snap[dom+".dir-control"].Content; !strings.HasPrefix(got, "8\n") {
		t.Errorf("counter %q", got)
	}
}

// TestPreparedGone makes a prepared domain anew whose directory went.
func TestPreparedGone(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	s := h.open()
	for range 2 {
		if _, err := s.PrepareDomain(t.Context(), testSpec("example.com")); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(h.dir, "VPOPMAIL/domains/example.com")); err != nil {
			t.Fatal(err)
		}
	}
	withDomain(t, h)
	if _, err := s.User(t.Context(), "postmaster@example.com"); err != nil {
		t.Error(err)
	}
}

// TestOtherRoots has control and users elsewhere, as where they are links.
func TestOtherRoots(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	for _, name := range []string{"control", "users"} {
		if err := os.Rename(filepath.Join(h.dir, "QMAIL", name), filepath.Join(h.dir, name)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(h.dir, name), filepath.Join(h.dir, "QMAIL", name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.open().AddDomain(t.Context(), testSpec("example.com"), nil); err == nil {
		t.Error("a link out of the root is followed")
	}
	h.opts.Control, h.opts.Users = h.root("control"), h.root("users")
	if err := addDomainOnce(t.Context(), h.open(), "example.com"); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(h.dir, "control/virtualdomains"))
	if err != nil || string(b) != "example.com:example.com\n" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestLongLinesStay(t *testing.T) {
	long := strings.Repeat("long.", 80) + "example.net"
	h := newHost(t, DefaultProfile54(), map[string]string{"me": "m\n", "locals": "", "rcpthosts": "# " + long + "\n\nz\n"})
	res, err := h.open().AddDomain(t.Context(), testSpec("example.com"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.read("QMAIL/control/rcpthosts"); !strings.Contains(got, "# "+long+"\n") || len(got) != len(long)+4+2+12 {
		t.Errorf("%q", got)
	}
	if !slices.ContainsFunc(res.Problems, func(p qmailkit.Problem) bool { return p.Code == "control.long-line" }) {
		t.Errorf("problems %v", res.Problems)
	}
	if res.Owner.Self != (os.Geteuid() != 0) || res.Postmaster.Outcome != Added || fmt.Sprint(res.Postmaster.Outcome) != "added" {
		t.Errorf("%+v", res)
	}
}
