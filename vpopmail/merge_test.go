//go:build unix

package vpopmail

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
)

// TestThreeWay goes through what may have changed since an account was put: at
// the source, on the target, on both.
func TestThreeWay(t *testing.T) {
	const hash1, hash2, hash3 = "$1$aaaaaaaa$1", "$1$bbbbbbbb$2", "$1$cccccccc$3"
	source := NewUser{Name: "joe", Hash: hash1, Gecos: "Joe", Quota: "1M", Flags: NoPOP}
	for _, c := range []struct {
		name    string
		source  func(n *NewUser)
		target  func(u *User)
		noBase  bool
		outcome Outcome
		want    func(u *User) // from the first put
		updated []string
		kept    []string
		codes   []string
		err     error
	}{
		{name: "nothing", outcome: Same},
		{name: "source password", source: func(n *NewUser) { n.Hash = hash2 }, outcome: Updated,
			want: func(u *User) { u.Hash = hash2 }, updated: []string{"password"}},
		{name: "source all", source: func(n *NewUser) { *n = NewUser{Name: "joe", Hash: hash2, Quota: "5C"} }, outcome: Updated,
			want: func(u *User) { *u = User{"joe", hash2, 1, 0, "joe", u.Dir, "5C", ""} }, updated: []string{"password", "gecos", "quota", "flags"}},
		{name: "target password", target: func(u *User) { u.Hash = hash3 }, outcome: Kept,
			want: func(u *User) { u.Hash = hash3 }, kept: []string{"password"}, codes: []string{"vpopmail.changed-on-target"}},
		{name: "both, other fields", source: func(n *NewUser) { n.Flags = NoIMAP }, target: func(u *User) { u.Quota = NoQuota }, outcome: Kept,
			want: func(u *User) { u.Flags, u.Quota = NoIMAP, NoQuota }, updated: []string{"flags"}, kept: []string{"quota"},
			codes: []string{"vpopmail.changed-on-target"}},
		{name: "both, one field", source: func(n *NewUser) { n.Hash = hash2 }, target: func(u *User) { u.Hash = hash3 }, outcome: Kept,
			want: func(u *User) { u.Hash = hash3 }, kept: []string{"password"},
			codes: []string{"vpopmail.changed-on-target", "vpopmail.changed-on-both"}},
		{name: "both the same", source: func(n *NewUser) { n.Hash = hash2 }, target: func(u *User) { u.Hash = hash2 }, outcome: Same,
			want: func(u *User) { u.Hash = hash2 }},
		{name: "clear password on the target", target: func(u *User) { u.Clear = "x" }, outcome: Same,
			want: func(u *User) { u.Clear = "x" }},
		{name: "no base, as wanted", noBase: true, outcome: Same},
		{name: "no base, other", noBase: true, target: func(u *User) { u.Gecos = "Somebody" }, outcome: Refused, err: ErrUserExists,
			want: func(u *User) { u.Gecos = "Somebody" }},
		{name: "removed on the target", target: func(u *User) { u.Name = "" }, outcome: Gone, codes: []string{"vpopmail.user-gone"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, DefaultProfile54(), controlBefore)
			withDomain(t, h)
			s := h.open()
			first, err := s.AddUser(t.Context(), "example.com", source)
			if err != nil {
				t.Fatal(err)
			}
			if c.target != nil {
				onTarget(t, h, first, c.target)
			}
			n, base := source, &first
			if c.source != nil {
				c.source(&n)
			}
			if c.noBase {
				base = nil
			}
			res, err := s.PutUsers(t.Context(), "example.com", []Put{{n, base}})
			if err != nil {
				t.Fatal(err)
			}
			got := res.Users[0]
			var codes []string
			for _, p := range res.Problems {
				codes = append(codes, p.Code)
			}
			if got.Outcome != c.outcome || !slices.Equal(got.Updated, c.updated) || !slices.Equal(got.Kept, c.kept) ||
				!slices.Equal(codes, c.codes) || !errors.Is(got.Err, c.err) {
				t.Errorf("%v, updated %q, kept %q, problems %q, %v", got.Outcome, got.Updated, got.Kept, codes, got.Err)
			}
			want := first
			if c.want != nil {
				c.want(&want)
			}
			stored, err := s.User(t.Context(), "joe@example.com")
			if c.outcome == Gone {
				if !errors.Is(err, ErrNoUser) {
					t.Errorf("%v, want ErrNoUser", err)
				}
				return
			}
			if err != nil || stored != want {
				t.Errorf("stored %+v, %v; want %+v", stored, err, want)
			}
			again := h.snapshot()
			if c.outcome != Refused {
				base = &got.User
			}
			if _, err := s.PutUsers(t.Context(), "example.com", []Put{{n, base}}); err != nil {
				t.Fatal(err)
			}
			compareTrees(t, "second run", again, h.snapshot())
		})
	}
}

// onTarget edits an account behind the library's back; an empty name removes
// it.
func onTarget(t *testing.T, h *host, u User, edit func(u *User)) {
	t.Helper()
	s := h.open()
	d, err := s.Domain(t.Context(), "example.com")
	if err != nil {
		t.Fatal(err)
	}
	rec, err := s.backend.Edit(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	edited := u
	edit(&edited)
	if edited.Name == "" {
		rec.Remove(u.Name)
	} else if err := rec.Put(edited); err != nil {
		t.Fatal(err)
	}
	if err := rec.Commit(t.Context(), CommitSteps{}); err != nil {
		t.Fatal(err)
	}
}

// TestClearRerun asserts that a clear password is not hashed anew each time,
// with and without a clear field to compare with.
func TestClearRerun(t *testing.T) {
	nc := DefaultProfile56()
	for _, p := range []Profile{DefaultProfile54(), nc} {
		h := newHost(t, p, controlBefore)
		withDomain(t, h)
		s := h.open()
		n := NewUser{Name: "joe", Clear: "old password"}
		first, err := s.AddUser(t.Context(), "example.com", n)
		if err != nil {
			t.Fatal(err)
		}
		before := h.snapshot()
		for _, base := range []*User{nil, &first} {
			res, err := s.PutUsers(t.Context(), "example.com", []Put{{n, base}})
			if err != nil || res.Users[0].Outcome != Same {
				t.Errorf("release %d: %+v, %v", p.Release, res, err)
			}
		}
		compareTrees(t, "second run", before, h.snapshot())
		n.Clear = "new password"
		res, err := s.PutUsers(t.Context(), "example.com", []Put{{n, &first}})
		if err != nil || res.Users[0].Outcome != Updated || res.Users[0].User.Hash == first.Hash {
			t.Errorf("release %d: %+v, %v", p.Release, res, err)
		}
	}
}

func TestQuotaRecount(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	s := h.open()
	n := NewUser{Name: "joe", Hash: "*", Quota: "1M"}
	first, err := s.AddUser(t.Context(), "example.com", n)
	if err != nil {
		t.Fatal(err)
	}
	const md = "VPOPMAIL/domains/example.com/joe/Maildir/"
	h.write(md+"new/1.a,S=100", strings.Repeat("x", 100))
	h.write(md+"cur/2.b", strings.Repeat("x", 17))
	n.Quota = "2M,10C"
	res, err := s.PutUsers(t.Context(), "example.com", []Put{{n, &first}})
	if err != nil {
		t.Fatal(err)
	}
	if got := h.read(md + "maildirsize"); got != "2097152S,10C\n117 2\n" {
		t.Errorf("maildirsize %q", got)
	}
	n.Quota = NoQuota
	if _, err = s.PutUsers(t.Context(), "example.com", []Put{{n, &res.Users[0].User}}); err != nil {
		t.Fatal(err)
	}
	if _, ok := h.snapshot()[md+"maildirsize"]; ok {
		t.Error("maildirsize is there without a quota")
	}
}

// TestDefaultQuota asserts that a domain's limits give new accounts their quota.
func TestDefaultQuota(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	h.write("VPOPMAIL/etc/vlimits.default", "# default_quota 1\n default_quota 2\ndefault_quota\t\t10485760\ndefault_maxmsgcount:1000\n")
	s := h.open()
	u, err := s.AddUser(t.Context(), "example.com", NewUser{Name: "joe", Hash: "*"})
	if err != nil || u.Quota != "10485760S,1000C" {
		t.Errorf("%+v, %v", u, err)
	}
	h.write("VPOPMAIL/domains/example.com/.qmailadmin-limits", "maxpopaccounts -1\n")
	u, err = s.AddUser(t.Context(), "example.com", NewUser{Name: "jim", Hash: "*"})
	if err != nil || u.Quota != NoQuota {
		t.Errorf("%+v, %v", u, err)
	}
	if p := qmailkit.Secret("*"); u.Hash != p {
		t.Error("hash is not as given")
	}
}
