//go:build unix

// Package vpopmailtest checks that a Backend of package vpopmail keeps its
// promises, as testing/fstest does for file systems. A Backend's own tests call
// Run.
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

// A Config says what is tested.
type Config struct {
	// Profile of the installations that are made. Its Home is a name in files
	// only; the directories are temporary.
	Profile vpopmail.Profile
	// Backend returns an empty Backend, of an installation of its own, for each
	// test. Nil is the file form.
	Backend func(t *testing.T) vpopmail.Backend
	// LongHash is a hash that the Backend has to refuse with ErrTooLong. Empty
	// is one of more bytes than Profile.MaxHash.
	LongHash qmailkit.Secret
}

// Run runs all tests as subtests of t. They need a few seconds.
func Run(t *testing.T, c Config) {
	if c.LongHash == "" {
		c.LongHash = qmailkit.Secret(strings.Repeat("x", c.Profile.MaxHash+1))
	}
	for _, test := range []struct {
		name string
		run  func(t *testing.T, i *installation)
	}{
		{"Domain", testDomain}, {"AddUser", testAddUser}, {"Bytes", testBytes}, {"Batch", testBatch}, {"Order", testOrder},
		{"HashDirectories", testHashDirectories}, {"Modify", testModify}, {"Delete", testDelete}, {"PutUsers", testPutUsers},
		{"Aliases", testAliases}, {"AliasDomain", testAliasDomain}, {"Limits", testLimits}, {"Logins", testLogins},
		{"DeleteDomain", testDeleteDomain}, {"Iterators", testIterators},
		{"Records", testRecords}, {"Locks", testLocks}, {"CutShort", testCutShort}, {"TooLong", testTooLong}, {"Adders", testAdders},
	} {
		t.Run(test.name, func(t *testing.T) {
			i := &installation{t: t, c: c, dir: tempDir(t)}
			if c.Backend != nil {
				i.backend = c.Backend(t)
			}
			for _, d := range []string{"vpopmail/domains", "vpopmail/etc", "qmail/control", "qmail/users"} {
				if err := os.MkdirAll(filepath.Join(i.dir, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for name, text := range map[string]string{"me": "mail.example.com\n", "locals": "localhost\n", "rcpthosts": "localhost\n"} {
				if err := os.WriteFile(filepath.Join(i.dir, "qmail/control", name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			test.run(t, i)
		})
	}
}

// tempDir lies in memory where that is possible: the changes sync often.
func tempDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "vpopmailtest")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// hash is a hash that every Backend holds.
const hash qmailkit.Secret = "$1$abcdefgh$Z9Nk6p3yFkLRWBq0sNtjs."

const domain = "example.com"

// An installation is a vpopmail of one test.
type installation struct {
	t       *testing.T
	c       Config
	dir     string
	backend vpopmail.Backend
}

func (i *installation) root(name string) *os.Root {
	i.t.Helper()
	r, err := os.OpenRoot(filepath.Join(i.dir, name))
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { r.Close() })
	return r
}

// open opens one more Store of the installation, as another process would.
func (i *installation) open() *vpopmail.Store {
	i.t.Helper()
	p := i.c.Profile
	s, err := vpopmail.Open(i.root("vpopmail"), i.root("qmail"), &vpopmail.Options{
		Profile: &p, Backend: i.backend, LockWait: time.Minute, LockPoll: 2 * time.Millisecond,
	})
	if err != nil {
		i.t.Fatal(err)
	}
	return s
}

// with is open with a domain made.
func (i *installation) with() *vpopmail.Store {
	i.t.Helper()
	s := i.open()
	i.add(s, domain)
	return s
}

func (i *installation) add(s *vpopmail.Store, name string) {
	i.t.Helper()
	spec := vpopmail.DomainSpec{Name: name, Postmaster: vpopmail.NewUser{Hash: hash}}
	if _, err := s.AddDomain(i.t.Context(), spec, nil); err != nil {
		i.t.Fatal(err)
	}
}

// user makes an account.
func (i *installation) user(s *vpopmail.Store, name string) vpopmail.User {
	i.t.Helper()
	u, err := s.AddUser(i.t.Context(), domain, vpopmail.NewUser{Name: name, Hash: hash})
	if err != nil {
		i.t.Fatalf("%s: %v", name, err)
	}
	return u
}

// get is a look-up that must succeed.
func (i *installation) get(s *vpopmail.Store, name string) vpopmail.User {
	i.t.Helper()
	u, err := s.User(i.t.Context(), name+"@"+domain)
	if err != nil {
		i.t.Errorf("%s: %v", name, err)
	}
	return u
}

// names are the accounts of the domain in their order.
func (i *installation) names(s *vpopmail.Store) (names []string) {
	i.t.Helper()
	for u, err := range s.Users(i.t.Context(), domain) {
		if err != nil {
			i.t.Fatal(err)
		}
		names = append(names, u.Name)
	}
	return names
}

// path is where the directory that a record names is.
func (i *installation) path(dir string) string {
	return filepath.Join(i.dir, "vpopmail", strings.TrimPrefix(dir, i.c.Profile.Home))
}

func (i *installation) isDir(dir string) bool {
	fi, err := os.Lstat(i.path(dir))
	return err == nil && fi.IsDir()
}

// edit locks the domain's records through the Backend that the Store has. The
// file form is not reached from outside, and its tests are those of the package.
func (i *installation) edit(ctx context.Context, s *vpopmail.Store) (vpopmail.Records, *vpopmail.Domain) {
	i.t.Helper()
	d, err := s.Domain(ctx, domain)
	if err != nil {
		i.t.Fatal(err)
	}
	r, err := s.Backend().Edit(ctx, d)
	if err != nil {
		i.t.Fatal(err)
	}
	return r, d
}

// is asserts the reason of an error.
func (i *installation) is(what string, err, want error) {
	i.t.Helper()
	if !errors.Is(err, want) {
		i.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func testDomain(t *testing.T, i *installation) {
	s := i.with()
	u := i.get(s, "postmaster")
	if u.Gecos != "Postmaster" || u.Hash != hash || u.Quota != vpopmail.NoQuota || !i.isDir(u.Dir+"/Maildir/new") {
		t.Errorf("%+v", u)
	}
	_, err := s.AddDomain(t.Context(), vpopmail.DomainSpec{Name: domain}, nil)
	i.is("again", err, vpopmail.ErrDomainExists)
	i.add(s, "example.org")
	var names []string
	for d, err := range i.open().Domains(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, d.Name)
	}
	if slices.Sort(names); !slices.Equal(names, []string{domain, "example.org"}) {
		t.Errorf("%q", names)
	}
	if got := i.names(s); !slices.Equal(got, []string{"postmaster"}) {
		t.Errorf("a second domain changes the first: %q", got)
	}
}

func testAddUser(t *testing.T, i *installation) {
	s := i.with()
	u, err := s.AddUser(t.Context(), domain, vpopmail.NewUser{Name: "Joe.Doe", Clear: "secret word", Gecos: "Joe O'Doe", Quota: "10M", Flags: vpopmail.NoPOP | vpopmail.NoMaildrop})
	if err != nil {
		t.Fatal(err)
	}
	got := i.get(i.open(), "joe.doe")
	if got != u || u.Name != "joe.doe" || u.Gecos != "Joe O'Doe" || u.Quota != "10485760S" || u.Dir != i.c.Profile.Home+"/"+i.c.Profile.DomainsDir+"/"+domain+"/joe.doe" {
		t.Errorf("stored %+v, said %+v", got, u)
	}
	if (u.Clear == "secret word") != i.c.Profile.ClearPasswords || u.Hash == "" {
		t.Errorf("password: %d bytes of hash, %d clear", len(u.Hash), len(u.Clear))
	}
	for _, name := range []string{"", "/Maildir/cur", "/Maildir/new", "/Maildir/tmp"} {
		if fi, err := os.Lstat(i.path(u.Dir + name)); err != nil || fi.Mode() != os.ModeDir|0o700 {
			t.Errorf("%s: %v, %v", name, fi, err)
		}
	}
	for name, want := range map[string]error{"joe.doe": vpopmail.ErrUserExists, "JOE.DOE": vpopmail.ErrUserExists, "a b": vpopmail.ErrBadUser, "": vpopmail.ErrBadUser} {
		_, err := s.AddUser(t.Context(), domain, vpopmail.NewUser{Name: name, Hash: hash})
		i.is(fmt.Sprintf("%q", name), err, want)
	}
	_, err = s.AddUser(t.Context(), "example.org", vpopmail.NewUser{Name: "x1", Hash: hash})
	i.is("no domain", err, vpopmail.ErrNoDomain)
	for _, name := range []string{"nobody", "joe", "joe.doe2", "joe_doe", "joe%doe", "joe.doe "} {
		_, err = s.User(t.Context(), name+"@"+domain)
		i.is(name, err, vpopmail.ErrNoUser)
	}
}

// testBytes stores what statements and lines might stumble over.
func testBytes(t *testing.T, i *installation) {
	s := i.with()
	for n, text := range []string{`it's "quoted" \ back`, `\\`, `%_`, "`;--", `$(id) ${x} #`, "\ttab\tand|bar", "x\x01\x7f", `' or '1'='1`, "a  b"} {
		name := fmt.Sprintf("user%d", n)
		nu := vpopmail.NewUser{Name: name, Hash: hash, Gecos: text}
		if i.c.Profile.ClearPasswords && len(text) <= 16 {
			nu.Hash, nu.Clear = "", qmailkit.Secret(text + ":")[:min(16, len(text)+1)]
		}
		u, err := s.AddUser(t.Context(), domain, nu)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := i.get(s, name); got != u || got.Gecos != text || got.Clear != nu.Clear {
			t.Errorf("%q: %+v", text, got)
		}
	}
	for n, name := range []string{"a'b", "a`b", "x--y", "a%b", "tilde~", "or=1", "a&b", "#x", "-dash", "d$d", "p|p"} {
		want := error(nil)
		if strings.Contains(name, "%") {
			want = vpopmail.ErrBadUser
		}
		_, err := s.AddUser(t.Context(), domain, vpopmail.NewUser{Name: name, Hash: hash})
		if !errors.Is(err, want) {
			t.Errorf("%d %q: %v", n, name, err)
		}
		if want == nil && i.get(s, name).Name != name {
			t.Errorf("%q is not found", name)
		}
	}
	// What cannot be stored is refused, and what is stored comes back.
	for n, text := range []string{"ends ", "umlaut \xc3\xa4", "no utf-8 \xff\xe4", "four bytes \xf0\x9f\x93\xa7"} {
		name := fmt.Sprintf("odd%d", n)
		_, err := s.AddUser(t.Context(), domain, vpopmail.NewUser{Name: name, Hash: hash, Gecos: text})
		if err != nil {
			i.is(text, err, vpopmail.ErrBadByte)
			_, err := s.User(t.Context(), name+"@"+domain)
			i.is(text, err, vpopmail.ErrNoUser)
			continue
		}
		if got := i.get(s, name); got.Gecos != text {
			t.Errorf("%q comes back as %q", text, got.Gecos)
		}
	}
}

func testBatch(t *testing.T, i *installation) {
	s := i.with()
	i.user(s, "there")
	list := []vpopmail.NewUser{
		{Name: "ann", Hash: hash}, {Name: "b/b", Hash: hash}, {Name: "there", Hash: hash}, {Name: "carl", Hash: i.c.LongHash},
		{Name: "ann", Hash: hash}, {Name: "dora", Hash: hash, Gecos: "a:b"}, {Name: "emil", Hash: hash, Flags: vpopmail.NoSMTP}, {Name: "none"},
	}
	res, err := s.AddUsers(t.Context(), domain, list)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []error{nil, vpopmail.ErrBadUser, vpopmail.ErrUserExists, vpopmail.ErrTooLong,
		vpopmail.ErrUserExists, vpopmail.ErrBadByte, nil, vpopmail.ErrNoPassword} {
		i.is(list[n].Name, res.Users[n].Err, want)
	}
	if got, want := i.names(s), []string{"ann", "emil", "postmaster", "there"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if u := i.get(s, "emil"); u != res.Users[6].User || u.Flags != vpopmail.NoSMTP {
		t.Errorf("%+v", u)
	}
	if i.isDir(i.c.Profile.Home + "/" + i.c.Profile.DomainsDir + "/" + domain + "/carl") {
		t.Error("an account that was refused has a directory")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.AddUsers(ctx, domain, []vpopmail.NewUser{{Name: "late", Hash: hash}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	_, err = s.User(t.Context(), "late@"+domain)
	i.is("cancelled", err, vpopmail.ErrNoUser)
}

func testOrder(t *testing.T, i *installation) {
	s := i.with()
	for _, name := range []string{"mm", "zz", "aa", "m1", "b.c"} {
		i.user(s, name)
	}
	if _, err := s.AddUsers(t.Context(), domain, []vpopmail.NewUser{{Name: "yy", Hash: hash}, {Name: "ab", Hash: hash}, {Name: "pp", Hash: hash}}); err != nil {
		t.Fatal(err)
	}
	if got, want := i.names(s), []string{"aa", "ab", "b.c", "m1", "mm", "postmaster", "pp", "yy", "zz"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
