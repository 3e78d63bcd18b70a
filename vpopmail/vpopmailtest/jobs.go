//go:build unix

package vpopmailtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// testHashDirectories fills a domain beyond its first directories, once one by
// one and once in a batch, and makes vacancies.
func testHashDirectories(t *testing.T, i *installation) {
	if !i.c.Profile.BigDir {
		t.Skip("the profile has no hash directories")
	}
	s := i.with()
	i.add(s, "example.org")
	const n = 215
	var list []vpopmail.NewUser
	for k := range n {
		list = append(list, vpopmail.NewUser{Name: fmt.Sprintf("u%03d", k), Hash: hash})
	}
	res, err := s.AddUsers(t.Context(), domain, list)
	if err != nil {
		t.Fatal(err)
	}
	for k, r := range res.Users {
		// The postmaster was the first; the hundredth account is the first in
		// "0" (bigdir.c).
		want := ""
		switch {
		case k+2 >= 200:
			want = "1/"
		case k+2 >= 100:
			want = "0/"
		}
		if !strings.HasSuffix(r.User.Dir, "/"+domain+"/"+want+r.User.Name) || !i.isDir(r.User.Dir+"/Maildir/cur") {
			t.Fatalf("%d: %s", k, r.User.Dir)
		}
	}
	for k := range 99 {
		nu := vpopmail.NewUser{Name: fmt.Sprintf("u%03d", k), Hash: hash}
		u, err := s.AddUser(t.Context(), "example.org", nu)
		if err != nil {
			t.Fatal(err)
		}
		if (k == 98) != strings.Contains(u.Dir, "/0/") {
			t.Errorf("%d: %s", k, u.Dir)
		}
	}
	if _, err := s.DeleteUser(t.Context(), "u150@"+domain); err != nil {
		t.Fatal(err)
	}
	if u := i.user(s, "next"); !strings.HasSuffix(u.Dir, "/0/next") {
		t.Errorf("a vacancy is not taken: %s", u.Dir)
	}
	if u := i.user(s, "more"); !strings.HasSuffix(u.Dir, "/1/more") {
		t.Errorf("a vacancy is taken twice: %s", u.Dir)
	}
}

func testModify(t *testing.T, i *installation) {
	s := i.with()
	before := i.user(s, "joe")
	i.user(s, "kim")
	_, err := s.ModifyUser(t.Context(), "joe@"+domain, vpopmail.Modify{Gecos: "New 'Name'", Quota: "5M,100C", SetFlags: vpopmail.NoPOP | vpopmail.BounceMail})
	if err != nil {
		t.Fatal(err)
	}
	want := before
	want.Gecos, want.Quota, want.Flags = "New 'Name'", "5242880S,100C", vpopmail.NoPOP|vpopmail.BounceMail
	if got := i.get(s, "joe"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if err := s.SetPassword(t.Context(), "joe@"+domain, "another"); err != nil {
		t.Fatal(err)
	}
	got := i.get(s, "joe")
	if got.Hash == hash || (got.Clear == "another") != i.c.Profile.ClearPasswords {
		t.Errorf("the password stays: %+v", got)
	}
	other := hash[:len(hash)-1] + "/"
	if _, err := s.ModifyUser(t.Context(), "joe@"+domain, vpopmail.Modify{Hash: other, ClearFlags: true}); err != nil {
		t.Fatal(err)
	}
	want.Hash, want.Flags, want.Clear = other, 0, ""
	if got := i.get(s, "joe"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, err := s.SetQuota(t.Context(), domain, "7M"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"joe", "kim", "postmaster"} {
		if u := i.get(s, name); u.Quota != "7340032S" {
			t.Errorf("%s: quota %q", name, u.Quota)
		}
	}
	_, err = s.ModifyUser(t.Context(), "nobody@"+domain, vpopmail.Modify{Gecos: "x"})
	i.is("nobody", err, vpopmail.ErrNoUser)
	_, err = s.ModifyUser(t.Context(), "joe@"+domain, vpopmail.Modify{Hash: i.c.LongHash})
	i.is("long hash", err, vpopmail.ErrTooLong)
	if got := i.get(s, "joe"); got.Hash != other {
		t.Error("a refused hash is stored")
	}
}

func testDelete(t *testing.T, i *installation) {
	s := i.with()
	u := i.user(s, "joe")
	i.user(s, "kim")
	if err := os.WriteFile(i.path(u.Dir+"/Maildir/new/1.2.3"), []byte("Subject: x\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if res, err := s.DeleteUser(t.Context(), "Joe@"+domain); err != nil || res.User != u || res.Kept {
		t.Errorf("%+v, %v", res, err)
	}
	_, err := s.User(t.Context(), "joe@"+domain)
	i.is("removed", err, vpopmail.ErrNoUser)
	_, err = s.DeleteUser(t.Context(), "joe@"+domain)
	i.is("again", err, vpopmail.ErrNoUser)
	if i.isDir(u.Dir) {
		t.Error("the directory stays")
	}
	if again := i.user(s, "joe"); again != u {
		t.Errorf("made anew: %+v, want %+v", again, u)
	}
	if got := i.names(s); !slices.Equal(got, []string{"joe", "kim", "postmaster"}) {
		t.Errorf("%q", got)
	}
}

// testPutUsers is the migration's rerun: three sides.
func testPutUsers(t *testing.T, i *installation) {
	s := i.with()
	put := func(n vpopmail.NewUser, base *vpopmail.User) vpopmail.UserResult {
		t.Helper()
		res, err := s.PutUsers(t.Context(), domain, []vpopmail.Put{{NewUser: n, Base: base}})
		if err != nil {
			t.Fatal(err)
		}
		if res.Users[0].Err != nil && res.Users[0].Outcome != vpopmail.Refused {
			t.Errorf("%+v", res.Users[0])
		}
		return res.Users[0]
	}
	joe := vpopmail.NewUser{Name: "joe", Hash: hash, Gecos: "Joe", Quota: "1M"}
	r := put(joe, nil)
	if r.Outcome != vpopmail.Added {
		t.Fatalf("%+v", r)
	}
	if r = put(joe, &r.User); r.Outcome != vpopmail.Same {
		t.Errorf("again: %v", r.Outcome)
	}
	joe.Gecos = "Joseph"
	if r = put(joe, &r.User); r.Outcome != vpopmail.Updated || i.get(s, "joe").Gecos != "Joseph" {
		t.Errorf("source changed: %v", r.Outcome)
	}
	if _, err := s.ModifyUser(t.Context(), "joe@"+domain, vpopmail.Modify{Gecos: "By hand"}); err != nil {
		t.Fatal(err)
	}
	joe.Gecos = "Jo"
	if r = put(joe, &r.User); r.Outcome != vpopmail.Kept || i.get(s, "joe").Gecos != "By hand" {
		t.Errorf("target changed: %v", r.Outcome)
	}
	joe.Gecos = "Somebody else"
	if x := put(joe, nil); x.Outcome != vpopmail.Refused || !errors.Is(x.Err, vpopmail.ErrUserExists) {
		t.Errorf("never put: %+v", x)
	}
	if _, err := s.DeleteUser(t.Context(), "joe@"+domain); err != nil {
		t.Fatal(err)
	}
	if x := put(joe, &r.User); x.Outcome != vpopmail.Gone {
		t.Errorf("removed: %v", x.Outcome)
	}
}

func testAliases(t *testing.T, i *installation) {
	s := i.with()
	for _, a := range [][2]string{{"team", "ann@example.com"}, {"team", "&bob@example.com"}, {"first.last", "|/usr/bin/prog it's"}, {"all", "x@example.com"}} {
		if err := s.AddAlias(t.Context(), a[0]+"@"+domain, a[1]); err != nil {
			t.Fatal(err)
		}
	}
	i.is("twice", s.AddAlias(t.Context(), "team@"+domain, "ann@example.com"), vpopmail.ErrAliasExists)
	var got []string
	for a, err := range i.open().Aliases(t.Context(), domain) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, a.Name+": "+strings.Join(a.Lines, ", "))
	}
	want := []string{"all: x@example.com", "first.last: |/usr/bin/prog it's", "team: ann@example.com, &bob@example.com"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if lines, err := s.Alias(t.Context(), "Team@"+domain); err != nil || len(lines) != 2 {
		t.Errorf("%q, %v", lines, err)
	}
	set := []string{"&bob@example.com", "Ann@example.com", "new@example.com"}
	if err := s.SetAlias(t.Context(), "team@"+domain, set); err != nil {
		t.Fatal(err)
	}
	lines, err := s.Alias(t.Context(), "team@"+domain)
	slices.Sort(lines)
	if want := []string{"&bob@example.com", "Ann@example.com", "new@example.com"}; err != nil || !slices.Equal(lines, want) {
		t.Errorf("set: %q, %v; want %q", lines, err, want)
	}
	if ok, err := s.RemoveAlias(t.Context(), "team@"+domain); err != nil || !ok {
		t.Errorf("%v, %v", ok, err)
	}
	if ok, err := s.RemoveAlias(t.Context(), "team@"+domain); err != nil || ok {
		t.Errorf("again: %v, %v", ok, err)
	}
	if lines, err := s.Alias(t.Context(), "team@"+domain); err != nil || len(lines) != 0 {
		t.Errorf("%q, %v", lines, err)
	}
	if names, err := s.AliasNames(t.Context(), domain); err != nil || !slices.Equal(names, []string{"all", "first.last"}) {
		t.Errorf("%q, %v", names, err)
	}
}

func testAliasDomain(t *testing.T, i *installation) {
	s := i.with()
	if _, err := s.AddAliasDomain(t.Context(), domain, "example.net", nil); err != nil {
		t.Fatal(err)
	}
	u, err := s.AddUser(t.Context(), "example.net", vpopmail.NewUser{Name: "via", Hash: hash})
	if err != nil {
		t.Fatal(err)
	}
	if got := i.get(s, "via"); got != u || !strings.Contains(u.Dir, "/"+domain+"/") {
		t.Errorf("%+v, said %+v", got, u)
	}
	if got, err := s.User(t.Context(), "via@example.net"); err != nil || got != u {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.DeleteUser(t.Context(), "via@example.net"); err != nil {
		t.Error(err)
	}
	_, err = s.User(t.Context(), "via@"+domain)
	i.is("removed", err, vpopmail.ErrNoUser)
	if _, err := s.DeleteDomain(t.Context(), "example.net", nil, nil); err != nil {
		t.Error(err)
	}
	i.get(s, "postmaster")
}

func testLimits(t *testing.T, i *installation) {
	s := i.with()
	if l, own, err := s.Limits(t.Context(), domain); err != nil || own || l != vpopmail.NoLimits() {
		t.Errorf("%+v, %v, %v", l, own, err)
	}
	l := vpopmail.NoLimits()
	l.MaxAccounts, l.Quota, l.DefaultQuota, l.DefaultMaxMsg = 12, 100, 1<<20, 50
	l.Disabled, l.PermAccount, l.PermLists = vpopmail.NoPOP|vpopmail.NoWebmail|vpopmail.DeleteSpam, 5, 1
	if err := s.SetLimits(t.Context(), domain, l); err != nil {
		t.Fatal(err)
	}
	if got, own, err := i.open().Limits(t.Context(), domain); err != nil || !own || got != l {
		t.Errorf("%+v, %v, %v; want %+v", got, own, err, l)
	}
	if u := i.user(s, "joe"); u.Quota != "1048576S,50C" {
		t.Errorf("quota %q", u.Quota)
	}
	if err := s.RemoveLimits(t.Context(), domain); err != nil {
		t.Error(err)
	}
	if _, own, err := s.Limits(t.Context(), domain); err != nil || own {
		t.Errorf("removed: %v, %v", own, err)
	}
}

func testLogins(t *testing.T, i *installation) {
	if !i.c.Profile.AuthLogging {
		t.Skip("the profile keeps no logins")
	}
	s := i.with()
	begin := time.Now().Add(-2 * time.Second)
	u := i.user(s, "joe")
	d, err := s.Domain(t.Context(), domain)
	if err != nil {
		t.Fatal(err)
	}
	if l, ok, err := s.LastLogin(t.Context(), d, &u); err != nil || !ok || l.IP != "0.0.0.0" || l.Time.Before(begin) {
		t.Errorf("new account: %+v, %v, %v", l, ok, err)
	}
	want := vpopmail.Login{IP: "192.0.2.77", Time: time.Unix(1700000000, 0)}
	if err := s.SetLastLogin(t.Context(), d, &u, want); err != nil {
		t.Fatal(err)
	}
	if l, ok, err := i.open().LastLogin(t.Context(), d, &u); err != nil || !ok || l.IP != want.IP || !l.Time.Equal(want.Time) {
		t.Errorf("%+v, %v, %v", l, ok, err)
	}
	if _, err := s.DeleteUser(t.Context(), "joe@"+domain); err != nil {
		t.Fatal(err)
	}
	if l, ok, err := s.LastLogin(t.Context(), d, &u); err != nil || ok {
		t.Errorf("removed: %+v, %v, %v", l, ok, err)
	}
}

func testDeleteDomain(t *testing.T, i *installation) {
	s := i.with()
	i.add(s, "example.org")
	i.user(s, "joe")
	if err := s.AddAlias(t.Context(), "team@"+domain, "joe@example.com"); err != nil {
		t.Fatal(err)
	}
	if err := s.SetLimits(t.Context(), domain, vpopmail.NoLimits()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeleteDomain(t.Context(), domain, nil, nil); err != nil {
		t.Fatal(err)
	}
	_, err := s.User(t.Context(), "joe@"+domain)
	i.is("removed", err, vpopmail.ErrNoDomain)
	if _, err := s.User(t.Context(), "postmaster@example.org"); err != nil {
		t.Errorf("the other domain: %v", err)
	}
	i.add(s, domain)
	if got := i.names(s); !slices.Equal(got, []string{"postmaster"}) {
		t.Errorf("made anew it has %q", got)
	}
	if lines, err := s.Alias(t.Context(), "team@"+domain); err != nil || len(lines) != 0 {
		t.Errorf("made anew it has an alias: %q, %v", lines, err)
	}
	if _, own, err := s.Limits(t.Context(), domain); err != nil || own {
		t.Errorf("made anew it has limits: %v", err)
	}
}

// testIterators asserts the contract of sequences.
func testIterators(t *testing.T, i *installation) {
	s := i.with()
	for n := range 5 {
		i.user(s, fmt.Sprintf("user%d", n))
	}
	for range s.Users(t.Context(), domain) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n, incomplete := 0, false
	for _, err := range s.Users(ctx, domain) {
		cancel()
		n++
		incomplete = errors.Is(err, qmailkit.ErrIncomplete)
	}
	if !incomplete || n > 6 {
		t.Errorf("cancelled: %d items, incomplete %v", n, incomplete)
	}
	for _, err := range s.Users(t.Context(), "example.org") {
		if !errors.Is(err, qmailkit.ErrIncomplete) || !errors.Is(err, vpopmail.ErrNoDomain) {
			t.Errorf("no domain: %v", err)
		}
	}
	if fi, err := os.ReadDir(filepath.Join(i.dir, "vpopmail/domains", domain)); err != nil || len(fi) < 5 {
		t.Errorf("%d entries, %v", len(fi), err)
	}
}
