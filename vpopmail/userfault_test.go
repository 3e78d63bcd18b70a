//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// done lets be that a job was done before.
func done(err error, is ...error) error {
	for _, e := range is {
		if errors.Is(err, e) {
			return nil
		}
	}
	return err
}

// withUsers brings a host to a domain with users, some in a hash directory,
// one of whom has mail and a quota.
func withUsers(t *testing.T, h *host) {
	withDomain(t, h)
	if err := putAll(t.Context(), h.open(), "example.com", manyUsers(102)); err != nil {
		t.Fatal(err)
	}
	mail := h.mailDir(t, "user003")
	for _, dir := range []string{".Sub", ".Sub/cur", ".Sub/new", ".Sub/tmp"} {
		h.mkdir(mail + "/" + dir)
	}
	h.write(mail+"/cur/1.a.host,S=5:2,S", "hello")
	h.write(mail+"/.Sub/new/2.b.host", "hello again")
	h.write(strings.TrimSuffix(mail, "/Maildir")+"/.qmail", "./Maildir/\n")
}

// mailDir is where a user's Maildir lies on the host.
func (h *host) mailDir(t testing.TB, user string) string {
	u, err := h.open().User(t.Context(), user+"@example.com")
	if err != nil {
		t.Fatal(err)
	}
	return "VPOPMAIL" + strings.TrimPrefix(u.Dir, h.profile.Home) + "/Maildir"
}

func (h *host) mkdir(name string) {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.Mkdir(path, 0o700); err != nil {
		h.t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 89, 89); err != nil {
			h.t.Fatal(err)
		}
	}
}

// sqwebmail has the installation keep sqwebmail-pass.
func sqwebmail(t *testing.T, h *host) {
	h.profile.SqwebmailPass = true
	withUsers(t, h)
}

// inHash is a user in a hash directory.
const inHash = "user056@example.com"

var userJobs = []job{
	{"DeleteUser", withUsers, func(ctx context.Context, s *Store) error {
		_, err := s.DeleteUser(ctx, "user003@example.com")
		return done(err, ErrNoUser)
	}},
	{"DeleteUser in a hash directory", func(t *testing.T, h *host) {
		withUsers(t, h)
		h.write("VPOPMAIL/domains/example.com/.dir_control_free", "3")
	}, func(ctx context.Context, s *Store) error {
		_, err := s.DeleteUser(ctx, inHash)
		return done(err, ErrNoUser)
	}},
	{"ModifyUser", withUsers, func(ctx context.Context, s *Store) error {
		_, err := s.ModifyUser(ctx, "user003@example.com", Modify{Hash: "$1$new$hash", Gecos: "New", Quota: "5M,10C", ClearFlags: true, SetFlags: NoPOP})
		return err
	}},
	{"ModifyUser for a domain", withUsers, func(ctx context.Context, s *Store) error {
		_, err := s.ModifyUser(ctx, "example.com", Modify{SetFlags: NoSMTP})
		return err
	}},
	{"ModifyUser with sqwebmail", sqwebmail, func(ctx context.Context, s *Store) error {
		_, err := s.ModifyUser(ctx, "user003@example.com", Modify{Hash: "$1$new$hash"})
		return err
	}},
	{"SetQuota", withUsers, func(ctx context.Context, s *Store) error {
		_, err := s.SetQuota(ctx, "user003@example.com", "20m,5c")
		return err
	}},
	{"RebuildCDB", func(t *testing.T, h *host) {
		withUsers(t, h)
		const vp = "VPOPMAIL/domains/example.com/vpasswd"
		h.write(vp, strings.Replace(h.read(vp), ":Postmaster:", ":Edited:", 1))
	}, func(ctx context.Context, s *Store) error {
		return s.RebuildCDB(ctx, "example.com")
	}},
}

// TestDeleteLeaves asserts what the delete jobs leave: nothing of the user, the
// counter one down, his directory's place free.
func TestDeleteLeaves(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withUsers(t, h)
	u, err := h.open().User(t.Context(), inHash)
	if err != nil || belowDomain(&Domain{Dir: "/home/vpopmail/domains/example.com"}, u.Dir) == u.Name {
		t.Fatalf("%+v, %v: not in a hash directory", u, err)
	}
	before := h.snapshot()
	res, err := h.open().DeleteUser(t.Context(), inHash)
	if err != nil || res.Kept || res.User != u || len(res.Problems) > 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	gone := strings.TrimSuffix(u.Dir, "/") + "/"
	_, removed := diff(before, h.snapshot())
	for _, name := range removed {
		if !strings.HasPrefix("/home/vpopmail"+strings.TrimPrefix(name, "VPOPMAIL")+"/", gone) {
			t.Errorf("%s is gone", name)
		}
	}
	if len(removed) != 6 {
		t.Errorf("%d removed: %q", len(removed), removed)
	}
	const dom = "VPOPMAIL/domains/example.com/"
	if got := h.read(dom + ".dir_control_free"); got != "0\n" {
		t.Errorf("free %q", got)
	}
	if got := h.read(dom + ".dir-control"); !strings.HasPrefix(got, "102\n") {
		t.Errorf("counter %q", got)
	}
}

// TestHostileHome deletes a user who has put links, a FIFO and more depth than
// descriptors into his directory: nothing outside is touched.
func TestHostileHome(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withUsers(t, h)
	h.write("outside", "precious")
	home := filepath.Join(h.dir, strings.TrimSuffix(h.mailDir(t, "user003"), "/Maildir"))
	for name, to := range map[string]string{"link": h.dir, "file": filepath.Join(h.dir, "outside"), "Maildir/tmp/up": "../../../../..", "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(home, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(h.dir, "outside"), filepath.Join(home, "hard")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(home, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	deep := home
	for range 300 {
		deep += "/d"
	}
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(home, "Maildir"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := h.open().DeleteUser(t.Context(), "user003@example.com"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(home); !os.IsNotExist(err) {
		t.Errorf("the directory is there: %v", err)
	}
	if got := h.read("outside"); got != "precious" {
		t.Errorf("outside %q", got)
	}
}

// TestDeleteKeeps asserts which directories stay, though the record goes.
func TestDeleteKeeps(t *testing.T) {
	const dom = "/home/vpopmail/domains/example.com"
	for _, c := range []struct{ name, dir string }{
		{"the domain's own", dom},
		{"the root", "/"},
		{"elsewhere", "/home/vpopmail/domains/other/x"},
		{"a level up", dom + "/../other"},
		{"vpasswd", dom + "/vpasswd"},
		{"a hash directory of others", dom + "/0"},
		{"somebody else's", dom + "/user004"},
		{"nothing", "x"},
	} {
		h := newHost(t, DefaultProfile54(), controlBefore)
		withUsers(t, h)
		h.setDir(t, "user003", c.dir)
		before := h.snapshot()
		res, err := h.open().DeleteUser(t.Context(), "user003@example.com")
		if err != nil || !res.Kept || len(res.Problems) != 1 || res.Problems[0].Code != "vpopmail.directory-kept" {
			t.Errorf("%s: %+v, %v", c.name, res, err)
		}
		if _, removed := diff(before, h.snapshot()); len(removed) > 0 {
			t.Errorf("%s: removed %q", c.name, removed)
		}
		if _, err := h.open().User(t.Context(), "user003@example.com"); !errors.Is(err, ErrNoUser) {
			t.Errorf("%s: %v, want ErrNoUser", c.name, err)
		}
	}
}

// TestStuck has something in a user's directory that cannot be removed: it is
// reported, and does not hold up the domain.
func TestStuck(t *testing.T) {
	for _, killed := range []bool{false, true} {
		h := newHost(t, DefaultProfile54(), controlBefore)
		withUsers(t, h)
		h.opts.hook = func(op, name string) error {
			if op == "remove" && strings.HasSuffix(name, "1.a.host,S=5:2,S") {
				if killed {
					panic(errCut)
				}
				return unix.EBUSY
			}
			return nil
		}
		func() {
			defer func() { recover() }()
			res, err := h.open().DeleteUser(t.Context(), "user003@example.com")
			if err != nil || !res.Kept || len(res.Problems) != 1 {
				t.Errorf("%+v, %v", res, err)
			}
		}()
		killed = false
		if _, err := h.open().AddUser(t.Context(), "example.com", NewUser{Name: "joe", Hash: "*"}); err != nil {
			t.Error(err)
		}
		snap := h.snapshot()
		if _, ok := snap["VPOPMAIL/domains/example.com/"+afterName]; ok {
			t.Error("the note stays")
		}
		if _, ok := snap["VPOPMAIL/domains/example.com/user003/Maildir/cur/1.a.host,S=5:2,S"]; !ok {
			t.Error("not kept")
		}
	}
}

// setDir edits a record as somebody with an editor does.
func (h *host) setDir(t *testing.T, user, dir string) {
	t.Helper()
	u, err := h.open().User(t.Context(), user+"@example.com")
	if err != nil {
		t.Fatal(err)
	}
	const vp = "VPOPMAIL/domains/example.com/vpasswd"
	old := u
	u.Dir = dir
	text := strings.Replace(h.read(vp), string(old.AppendLine(nil, true)), string(u.AppendLine(nil, true)), 1)
	h.write(vp, text)
	if err := h.open().RebuildCDB(t.Context(), "example.com"); err != nil {
		t.Fatal(err)
	}
}

// TestKilledThenMadeAgain kills a removal between the records and the
// directory, has vpopmail's own program make the user again, and looks that
// what is new stays.
func TestKilledThenMadeAgain(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withUsers(t, h)
	u, err := h.open().User(t.Context(), "user003@example.com")
	if err != nil {
		t.Fatal(err)
	}
	h.opts.hook = func(op, name string) error {
		if strings.Contains(name, "user003") && op == "remove" {
			panic(errCut)
		}
		return nil
	}
	func() {
		defer func() { recover() }()
		h.open().DeleteUser(t.Context(), "user003@example.com")
	}()
	h.opts.hook = nil
	const vp = "VPOPMAIL/domains/example.com/vpasswd"
	if strings.Contains(h.read(vp), "user003") || !strings.Contains(fmt.Sprint(h.snapshot()), afterName) {
		t.Fatal("not killed where it should be")
	}
	h.write(vp, h.read(vp)+string(u.AppendLine(nil, true))+"\n")
	if _, err := h.open().AddUser(t.Context(), "example.com", NewUser{Name: "joe", Hash: "*"}); err != nil {
		t.Fatal(err)
	}
	snap := h.snapshot()
	if _, ok := snap["VPOPMAIL/domains/example.com/user003"]; !ok {
		t.Error("the directory of an account is gone")
	}
	if _, ok := snap["VPOPMAIL/domains/example.com/"+afterName]; ok {
		t.Error("the note stays")
	}
}

// TestDamagedAfterNote asserts that a note that nobody here wrote stops a
// change and is not carried out.
func TestDamagedAfterNote(t *testing.T) {
	for _, text := range []string{"{", `{"qmailkit_after":2}`,
		`{"qmailkit_after":1,"gone":{"name":"x","dir":"../y"}}`,
		`{"qmailkit_after":1,"gone":{"name":"x","dir":"vpasswd"}}`,
		`{"qmailkit_after":1,"side":{"name":"vpasswd","before":null,"after":""}}`,
	} {
		h := newHost(t, DefaultProfile54(), controlBefore)
		withDomain(t, h)
		h.write("VPOPMAIL/domains/example.com/"+afterName, text)
		before := h.snapshot()
		if _, err := h.open().ModifyUser(t.Context(), "postmaster@example.com", Modify{Gecos: "x"}); !errors.Is(err, ErrNotesDamaged) {
			t.Errorf("%s: %v", text, err)
		}
		compareTrees(t, text, before, h.snapshot())
	}
}

// TestCatchAll asserts that the account that gets the mail for unknown users
// stays, however .qmail-default names it.
func TestCatchAll(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withUsers(t, h)
	if _, err := h.open().AddAliasDomain(t.Context(), "example.com", "example.net", nil); err != nil {
		t.Fatal(err)
	}
	const dir = "/home/vpopmail/domains/example.com"
	for word, want := range map[string]error{
		"user003@example.com": ErrCatchAll, "User003@example.net": ErrCatchAll, dir + "/user003": ErrCatchAll,
		dir + "/user003/": ErrCatchAll, dir + "/user003/Maildir/": ErrCatchAll,
		"user003@example.org": nil, "user0033@example.com": nil, dir + "/user0": nil, "delete": nil, "bounce-no-mailbox": nil,
	} {
		h.write("VPOPMAIL/domains/example.com/.qmail-default", "| /home/vpopmail/bin/vdelivermail '' "+word+"\n")
		u, err := h.open().User(t.Context(), "user003@example.com")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.open().DeleteUser(t.Context(), "user003@example.com"); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", word, err, want)
		} else if err == nil {
			if err := putAll(t.Context(), h.open(), "example.com", []Put{{NewUser: NewUser{Name: "user003", Hash: u.Hash}}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if status, out := ClassicStatus("vdeluser", ErrCatchAll); status != 201 || !strings.Contains(out, "catchall") {
		t.Error(status, out)
	}
}
