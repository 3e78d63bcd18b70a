//go:build unix

package vpopmail

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/passhash"
)

// TestModifyUser asserts what the golden sequences do not show: what is
// refused, and that nothing changes then.
func TestModifyUser(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withUsers(t, h)
	before := h.snapshot()
	for _, c := range []struct {
		target string
		m      Modify
		want   error
	}{
		{"user003@example.com", Modify{Gecos: "a:b"}, ErrBadByte},
		{"user003@example.com", Modify{Gecos: "a\nb"}, ErrBadByte},
		{"user003@example.com", Modify{Hash: "a:b"}, ErrBadByte},
		{"user003@example.com", Modify{Hash: "a\x00b"}, ErrBadByte},
		{"user003@example.com", Modify{Clear: "a\nroot::0:0"}, ErrBadByte},
		{"user003@example.com", Modify{Dir: "/a:b"}, ErrBadByte},
		{"user003@example.com", Modify{Dir: "x/y"}, ErrBadDir},
		{"user003@example.com", Modify{Dir: "/home/../etc"}, ErrBadDir},
		{"user003@example.com", Modify{Dir: "/" + strings.Repeat("d", 160)}, ErrTooLong},
		{"user003@example.com", Modify{Quota: "10G"}, ErrQuota},
		{"user003@example.com", Modify{Quota: "1000c"}, ErrQuota},
		{"user003@example.com", Modify{Quota: "999999999999999,99999C"}, ErrTooLong},
		{"user003@example.com", Modify{SetFlags: 1 << 19}, ErrBadByte},
		{"user003@example.com", Modify{Hash: qmailkit.Secret(strings.Repeat("h", 128)), Gecos: strings.Repeat("g", 48), Dir: "/" + strings.Repeat("d", 79)}, ErrTooLong},
		{"nobody@example.com", Modify{Gecos: "x"}, ErrNoUser},
		{"x@nodomain.example.com", Modify{Gecos: "x"}, ErrNoDomain},
		{"nodomain.example.com", Modify{Gecos: "x"}, ErrNoDomain},
		{"a b@example.com", Modify{Gecos: "x"}, ErrBadUser},
		{"@example.com", Modify{Gecos: "x"}, ErrBadUser},
		{"user003@", Modify{Gecos: "x"}, ErrBadUser},
		// One of a hundred does not fit: none is changed.
		{"example.com", Modify{Hash: qmailkit.Secret(strings.Repeat("h", 128)), Gecos: strings.Repeat("g", 48), Dir: "/" + strings.Repeat("d", 79)}, ErrTooLong},
	} {
		if _, err := h.open().ModifyUser(t.Context(), c.target, c.m); !errors.Is(err, c.want) {
			t.Errorf("%s %+v: %v, want %v", c.target, c.m, err, c.want)
		}
	}
	if _, err := h.open().ModifyUser(t.Context(), "user003@example.com", Modify{Hash: "x", Clear: "y"}); err == nil {
		t.Error("a hash and a clear password are taken together")
	}
	compareTrees(t, "refusals", before, h.snapshot())
}

// TestModifyDomain changes all accounts of a domain, one of whose lines is no
// account, with one rewrite.
func TestModifyDomain(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withUsers(t, h)
	const vp = "VPOPMAIL/domains/example.com/vpasswd"
	h.write(vp, "broken:line\n"+h.read(vp))
	renames := 0
	h.opts.hook = func(op, name string) error {
		if op == "rename" && strings.HasSuffix(name, tempVpasswd) {
			renames++
		}
		return nil
	}
	var told []string
	h.opts.OnChange = logTo(&told)
	res, err := h.open().ModifyUser(t.Context(), "EXAMPLE.com", Modify{Clear: "all alike", Quota: "1M", SetFlags: NoIMAP | User3})
	if err != nil || len(res.Users) != 103 || len(res.Problems) != 1 || renames != 1 {
		t.Fatalf("%d users, %v, %d rewrites, %v", len(res.Users), res.Problems, renames, err)
	}
	hashes := map[qmailkit.Secret]bool{}
	for _, u := range res.Users {
		stored, err := h.open().User(t.Context(), u.Name+"@example.com")
		if err != nil || stored != u || u.Flags != NoIMAP|User3 || u.Quota != "1048576S" || u.Clear != "all alike" {
			t.Fatalf("%+v, stored %+v, %v", u, stored, err)
		}
		hashes[u.Hash] = true
	}
	if len(hashes) != 103 {
		t.Errorf("%d hashes of 103 users", len(hashes))
	}
	if v := passhash.Verify(string(res.Users[7].Hash), "all alike").Verdict; v != passhash.Match {
		t.Error(v)
	}
	if len(told) != 103 || !slices.Contains(told, "mod_user user003@example.com") {
		t.Errorf("OnChange: %q", told)
	}
	if got := h.read(h.mailDir(t, "user003") + "/maildirsize"); got != "1048576S\n16 2\n" {
		t.Errorf("maildirsize %q", got)
	}
	if !strings.HasPrefix(h.read(vp), "broken:line\n") {
		t.Error("the line that is no account has changed")
	}
}

// TestRootFlags asserts who may give SAAdmin and SAExpert.
func TestRootFlags(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	var want error
	if os.Geteuid() != 0 {
		want = ErrNotRoot
	}
	for _, f := range []Flags{SAAdmin, SAExpert | NoPOP} {
		if _, err := h.open().ModifyUser(t.Context(), "postmaster@example.com", Modify{SetFlags: f}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", f.Letters(), err, want)
		}
	}
}

// TestSetPassword asserts who may change a password, and what is stored.
func TestSetPassword(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	withUsers(t, h)
	s := h.open()
	for _, c := range []struct {
		addr  string
		clear qmailkit.Secret
		want  error
	}{
		{"user003@example.com", "", ErrNoPassword},
		{"user003@example.com", "a\nb", ErrBadByte},
		{"user003@example.com", "a\x00b", ErrBadByte},
		{"user003@example.com", qmailkit.Secret(strings.Repeat("p", 129)), ErrTooLong},
		{"nobody@example.com", "x", ErrNoUser},
		{"x@nodomain.example.com", "x", ErrNoDomain},
		{"user003@example.com", "with:colons", nil},
	} {
		if err := s.SetPassword(ctx, c.addr, c.clear); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.addr, err, c.want)
		}
	}
	if u, err := s.User(ctx, "user003@example.com"); err != nil || u.Clear != "with:colons" {
		t.Errorf("%v, clear password of %d bytes", err, len(u.Clear))
	}
	// The domain may forbid it too, unless the account's own flags count.
	if err := s.SetLimits(ctx, "example.com", Limits{Disabled: NoPasswordChange}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetPassword(ctx, "user003@example.com", "x"); !errors.Is(err, ErrPasswordFixed) {
		t.Errorf("%v, want %v", err, ErrPasswordFixed)
	}
	if _, err := s.ModifyUser(ctx, "user003@example.com", Modify{SetFlags: Override}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetPassword(ctx, "user003@example.com", "x"); err != nil {
		t.Error(err)
	}
}

// TestChangePassword has the owner of an account change his password.
func TestChangePassword(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	withUsers(t, h)
	s := h.open()
	if err := s.SetPassword(ctx, "user003@example.com", "first"); err != nil {
		t.Fatal(err)
	}
	before := h.snapshot()
	for _, addr := range []string{"user003@example.com", "nobody@example.com", "x@nodomain.example.com", "no address", "user004@example.com"} {
		err := s.ChangePassword(ctx, addr, "wrong", "second")
		if status, out := ClassicStatus("vchangepw", err); !errors.Is(err, ErrWrongPassword) || status != 3 || out != "Error: authentication failed!\n" {
			t.Errorf("%s: %v, %d, %q", addr, err, status, out)
		}
	}
	compareTrees(t, "wrong passwords", before, h.snapshot())
	if err := s.ChangePassword(ctx, "USER003@example.com", "first", "second"); err != nil {
		t.Error(err)
	}
	if err := s.ChangePassword(ctx, "user003@example.com", "first", "third"); !errors.Is(err, ErrWrongPassword) {
		t.Errorf("the old password again: %v", err)
	}
	if _, err := s.ModifyUser(ctx, "user003@example.com", Modify{SetFlags: NoPasswordChange}); err != nil {
		t.Fatal(err)
	}
	if err := s.ChangePassword(ctx, "user003@example.com", "second", "third"); !errors.Is(err, ErrPasswordFixed) {
		t.Errorf("%v, want %v", err, ErrPasswordFixed)
	}
}

// TestRandomPassword asserts length, alphabet and fairness.
func TestRandomPassword(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	count := map[byte]int{}
	for range 600 {
		p, err := h.open().RandomPassword(100)
		if err != nil || len(p) != 100 {
			t.Fatalf("%d characters, %v", len(p), err)
		}
		for i := range len(p) {
			count[p[i]]++
		}
	}
	for _, c := range []byte(randomBytes) {
		// 60,000 over 68: 882 each, deviation 30.
		if n := count[c]; n < 700 || n > 1060 {
			t.Errorf("%q %d times", c, n)
		}
		delete(count, c)
	}
	if len(count) > 0 {
		t.Errorf("others: %v", count)
	}
	h.opts.Rand = bytes.NewReader([]byte{0, 255, 204, 203, 67, 1, 2, 3, 4, 5})
	if p, err := h.open().RandomPassword(0); err != nil || p != "a**bcdef" {
		t.Errorf("%q, %v", string(p), err)
	}
	if _, err := h.open().RandomPassword(0); err == nil {
		t.Error("randomness has ended, and yet a password")
	}
	h.opts.Rand = nil
	if _, err := h.open().RandomPassword(129); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
	h.profile = DefaultProfile56()
	if p, err := h.open().RandomPassword(0); err != nil || len(p) != 12 {
		t.Errorf("%d characters, %v", len(p), err)
	}
}

// TestSetQuotaDomain asserts what vsetuserquota does for a whole domain, and
// that a Maildir that is gone or a link is nothing to stop at.
func TestSetQuotaDomain(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withUsers(t, h)
	gone := filepath.Join(h.dir, h.mailDir(t, "user004"))
	if err := os.RemoveAll(gone); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(h.dir, h.mailDir(t, "user005"))
	if err := errors.Join(os.RemoveAll(link), os.Symlink(h.dir, link)); err != nil {
		t.Fatal(err)
	}
	res, err := h.open().SetQuota(t.Context(), "example.com", "1000c")
	if err != nil || len(res.Users) != 103 {
		t.Fatal(err)
	}
	if p := res.Problems; len(p) != 1 || p[0].Code != "vpopmail.quota-not-counted" || !strings.Contains(p[0].Path, "user005") {
		t.Errorf("%v", p)
	}
	for _, u := range res.Users {
		if u.Quota != "1000C" {
			t.Errorf("%+v", u)
		}
	}
	if got := h.read(h.mailDir(t, "user003") + "/maildirsize"); got != "1000C\n16 2\n" {
		t.Errorf("maildirsize %q", got)
	}
	if _, err := os.Lstat(gone); !os.IsNotExist(err) {
		t.Errorf("a Maildir was made: %v", err)
	}
	if _, err := h.open().SetQuota(t.Context(), "example.com", "noquota"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	for name := range h.snapshot() {
		if strings.HasSuffix(name, "/maildirsize") {
			t.Errorf("%s is there", name)
		}
	}
}
