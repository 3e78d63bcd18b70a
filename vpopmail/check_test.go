//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit"
)

// found lists the problems of an installation as "severity code path:line",
// without the home in front of paths.
func found(t testing.TB, s *Store, opts *CheckOptions) []string {
	t.Helper()
	all := []string{}
	for p, err := range s.Check(t.Context(), opts) {
		if err != nil {
			t.Fatal(err)
		}
		at := strings.TrimPrefix(p.Path, s.p.Home+"/domains/")
		if p.Line > 0 {
			at += fmt.Sprintf(":%d", p.Line)
		}
		all = append(all, fmt.Sprintf("%v %s %s", p.Severity, p.Code, at))
		if p.Err == nil || strings.Contains(p.String(), "%!") {
			t.Errorf("%+v", p)
		}
	}
	slices.Sort(all)
	return all
}

// TestCheckReal looks at what the real programs left, defects included.
func TestCheckReal(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("not root: the trees belong to whoever runs the test")
	}
	want := map[string][]string{
		"cdb": {
			"error vpopmail.catch-all-nowhere example.org/.qmail-default", // postmaster was removed
			"error vpopmail.user-damaged example.com/vpasswd:27",          // vmoduser -c a:b:c
			"info vpopmail.no-password example.com/vpasswd:26",            // vadduser -n
			"warning vpopmail.clear-differs example.com/vpasswd:25",       // vmoduser -e
			"warning vpopmail.clear-differs example.com/vpasswd:27",
			"warning vpopmail.no-postmaster example.org",
			"warning vpopmail.user-orphan example.com/heidi",
		},
		"cdb-domains": {},
		"noclear-des": {
			"info vpopmail.no-password example.com/vpasswd:4",
			"info vpopmail.passwords-readable example.com/vpasswd", // vmoduser
		},
		"many-options": {"info vpopmail.passwords-readable example.com/vpasswd"},
		"release-5.6.13": {
			"error vpopmail.user-damaged example.com/vpasswd:2", // vmoduser -c a:b:c
			"info vpopmail.catch-all-delete example.com/.qmail-default",
			"warning vpasswd.fields example.com/vpasswd:2",
			"warning vpopmail.clear-differs example.com/vpasswd:2",
			"warning vpopmail.quota-other example.com/vpasswd:2",
			"warning vpopmail.quota-tiny example.com/vpasswd:1", // vsetuserquota 10G
			"warning vpopmail.user-orphan example.com/bob",
		},
	}
	for name, p := range realTrees() {
		h := realTree(t, name, p)
		before := h.snapshot()
		got := found(t, h.open(), &CheckOptions{Messages: true, Passwords: true})
		if d := cmp.Diff(want[name], got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if changed, removed := diff(before, h.snapshot()); len(changed)+len(removed) > 0 {
			t.Errorf("%s: written: %q, removed: %q", name, changed, removed)
		}
	}
}

// checkHost is an installation with two domains, an alias and three users, in
// which Check finds nothing.
func checkHost(t testing.TB) *host {
	t.Helper()
	h := newHost(t, DefaultProfile54(), controlBefore)
	h.opts.Now = func() time.Time { return noon }
	h.own("VPOPMAIL/domains")
	s := h.open()
	ctx := t.Context()
	for _, name := range []string{"example.com", "example.org"} {
		if _, err := s.AddDomain(ctx, DomainSpec{Name: name}, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.AddAliasDomain(ctx, "example.com", "example.net", func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for _, n := range []NewUser{
		{Name: "ann", Clear: "ann's secret"},
		{Name: "joe", Clear: "joe's secret", Quota: "1000000S"},
	} {
		if _, err := s.AddUser(ctx, "example.com", n); err != nil {
			t.Fatal(err)
		}
	}
	h.maildirsizeAt("1000000S\n0 0\n", time.Minute)
	h.chmod(joe+"/Maildir/maildirsize", 0o600)
	return h
}

const (
	exampleCom = "VPOPMAIL/domains/example.com/"
	vpasswdCom = exampleCom + "vpasswd"
)

// edit replaces text in a file, which must be there, and keeps its mode.
func (h *host) edit(name, old, new string) {
	h.t.Helper()
	text := h.read(name)
	if !strings.Contains(text, old) {
		h.t.Fatalf("%s: no %q in %q", name, old, text)
	}
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(strings.ReplaceAll(text, old, new)), 0); err != nil {
		h.t.Fatal(err)
	}
}

// do fails the test if a preparation fails.
func (h *host) do(errs ...error) {
	h.t.Helper()
	if err := errors.Join(errs...); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// recompile brings users/cdb to users/assign.
func (h *host) recompile() {
	h.t.Helper()
	f := parseLines([]byte(h.read("QMAIL/users/assign")), true, true)
	db, err := f.compile()
	if err == nil {
		err = os.WriteFile(h.path("QMAIL/users/cdb"), db, 0o644)
	}
	h.do(err)
}

// recdb brings vpasswd.cdb to vpasswd.
func (h *host) recdb() {
	h.t.Helper()
	var m memFile
	h.do(writeCDB(&m, ParseVpasswd([]byte(h.read(vpasswdCom)))))
	h.do(os.WriteFile(h.path(vpasswdCom+".cdb"), m.b, 0))
}

// A checkCase is one thing that is broken, and all that Check says then.
type checkCase struct {
	about  string
	damage func(h *host)
	want   []string
}

func TestCheckClean(t *testing.T) {
	h := checkHost(t)
	opts := &CheckOptions{Messages: true, Passwords: true}
	if got := found(t, h.open(), opts); len(got) > 0 {
		t.Errorf("%q", got)
	}
	none := newHost(t, DefaultProfile54(), nil)
	none.own("VPOPMAIL/domains")
	if got := found(t, none.open(), opts); len(got) > 0 {
		t.Errorf("no domain: %q", got)
	}
}

func TestCheckFinds(t *testing.T) {
	cases := slices.Concat(assignCases(), domainCases(), recordCases(), homeCases())
	codes := map[string]bool{}
	for _, c := range cases {
		t.Run(c.about, func(t *testing.T) {
			h := checkHost(t)
			c.damage(h)
			got := found(t, h.open(), &CheckOptions{Messages: true, Passwords: true})
			slices.Sort(c.want)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
		for _, w := range c.want {
			codes[strings.Fields(w)[1]] = true
		}
	}
	for _, code := range documentedCodes(t) {
		if !codes[code] && !rootOnly[code] {
			t.Errorf("%s is documented and no case finds it", code)
		}
		delete(codes, code)
	}
	for code := range codes {
		if strings.HasPrefix(code, "vpopmail.") {
			t.Errorf("%s is not documented", code)
		}
	}
}

// rootOnly are codes that TestCheckOwner has.
var rootOnly = map[string]bool{"vpopmail.owner": true, "vpopmail.unreadable": true}

// documentedCodes reads the table above Store.Check.
func documentedCodes(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("check.go")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^//\t((?:vpopmail|control)\.[a-z-]+) `).FindAllStringSubmatch(string(b), -1) {
		all = append(all, m[1])
	}
	if len(all) < 40 {
		t.Fatalf("%d codes", len(all))
	}
	return all
}

// TestCheckOwner has what only root can make.
func TestCheckOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	h := checkHost(t)
	h.do(os.Chown(h.path(joe+"/Maildir/new"), 500, 89), os.Chown(h.path(joe), 89, 500), os.Chown(h.path(vpasswdCom), 0, 0))
	want := []string{"error vpopmail.owner example.com/joe/Maildir/new", "error vpopmail.owner example.com/vpasswd", "warning vpopmail.owner example.com/joe"}
	if d := cmp.Diff(want, found(t, h.open(), nil)); d != "" {
		t.Error(d)
	}
}

// TestCheckUnreadable has a domain that cannot be looked into, and the others.
func TestCheckUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can read all")
	}
	h := checkHost(t)
	h.chmod("VPOPMAIL/domains/example.com", 0)
	defer h.chmod("VPOPMAIL/domains/example.com", 0o700)
	h.chmod("VPOPMAIL/domains/example.org", 0o750)
	want := []string{"error vpopmail.unreadable example.com", "warning vpopmail.mode example.org"}
	if d := cmp.Diff(want, found(t, h.open(), nil)); d != "" {
		t.Error(d)
	}
}

// TestCheckRows is a Backend without files.
func TestCheckRows(t *testing.T) {
	h := checkHost(t)
	name := func(n string) User {
		return User{Name: n, Dir: "/home/vpopmail/domains/example.com/" + n, Quota: NoQuota, Hash: "*"}
	}
	bad := name("jim")
	bad.Quota = "10S"
	r := &rows{users: map[string][]User{"example.com": {name("ann"), bad, name("postmaster")}},
		counters: map[string]DirControl{"example.com": {Users: 5}}}
	h.opts.Backend = r
	h.do(os.Remove(h.path(vpasswdCom)), os.Remove(h.path(vpasswdCom+".cdb")))
	want := []string{"info vpopmail.counter example.com/.dir-control", "warning vpopmail.quota-tiny example.com",
		"warning vpopmail.user-dir-missing example.com/jim", "warning vpopmail.user-orphan example.com/joe", "warning vpopmail.user-orphan example.org/postmaster"}
	if d := cmp.Diff(want, found(t, h.open(), nil)); d != "" {
		t.Error(d)
	}
}

func TestCheckDomains(t *testing.T) {
	h := checkHost(t)
	for _, d := range []string{"example.com", "example.org"} {
		h.chmod("VPOPMAIL/domains/"+d, 0o750)
	}
	s := h.open()
	for domain, want := range map[string]string{"example.net": "example.com", "EXAMPLE.org": "example.org"} {
		got := found(t, s, &CheckOptions{Domains: []string{domain}})
		if d := cmp.Diff([]string{"warning vpopmail.mode " + want}, got); d != "" {
			t.Errorf("%s: %s", domain, d)
		}
	}
}

// TestCheckEnds has a caller who stops, and a context that does.
func TestCheckEnds(t *testing.T) {
	h := checkHost(t)
	for _, c := range domainCases()[:2] {
		c.damage(h)
	}
	s := h.open()
	n := 0
	for range s.Check(t.Context(), nil) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d", n)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	n = 0
	for _, err := range s.Check(ctx, nil) {
		if n++; !errors.Is(err, stop) || !errors.Is(err, qmailkit.ErrIncomplete) {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d items", n)
	}
}

// TestCheckKeepsSecrets has records of which any field may be a password.
func TestCheckKeepsSecrets(t *testing.T) {
	const secret = "5ecret-Word"
	for i := range 8 {
		if i == 0 {
			continue // a name is shown
		}
		h := checkHost(t)
		lines := strings.SplitAfter(h.read(vpasswdCom), "\n")
		f := strings.Split(lines[1], ":")
		f[i] = secret
		if i == 7 {
			f[i] += "\n"
		}
		h.edit(vpasswdCom, lines[1], strings.Join(f, ":"))
		for p, err := range h.open().Check(t.Context(), &CheckOptions{Passwords: true}) {
			if err != nil || strings.Contains(p.String(), secret) {
				t.Errorf("field %d: %v, %v", i, p, err)
			}
		}
	}
}

// TestCheckRandomTrees breaks installations by chance: Check ends, tells of
// places that are there, and changes nothing.
func TestCheckRandomTrees(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		h := checkHost(t)
		for range 1 + r.IntN(6) {
			h.vandalise(r)
		}
		before := h.lstats()
		n := 0
		for p, err := range h.open().Check(t.Context(), &CheckOptions{Messages: true}) {
			if n++; err == nil && (p.Code == "" || p.Err == nil || p.Path == "") {
				t.Errorf("seed %d: %+v", seed, p)
			}
			if err != nil && !errors.Is(err, qmailkit.ErrIncomplete) {
				t.Errorf("seed %d: %v", seed, err)
			}
		}
		if n > 2000 {
			t.Errorf("seed %d: %d problems", seed, n)
		}
		if d := cmp.Diff(before, h.lstats()); d != "" {
			t.Errorf("seed %d: %s", seed, d)
		}
	}
}

// lstats tells names, types, modes, sizes and times of the tree.
func (h *host) lstats() map[string]string {
	all := map[string]string{}
	filepath.WalkDir(h.dir, func(path string, d os.DirEntry, err error) error {
		if fi, e := os.Lstat(path); e == nil {
			all[path] = fmt.Sprint(fi.Mode(), fi.Size(), fi.ModTime())
		}
		return nil
	})
	return all
}

// vandalise does one thing to one place.
func (h *host) vandalise(r *rand.Rand) {
	var paths []string
	filepath.WalkDir(h.dir, func(path string, d os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(h.dir, path); strings.Contains(rel, "/") {
			paths = append(paths, path)
		}
		return nil
	})
	if len(paths) == 0 {
		return
	}
	path := paths[r.IntN(len(paths))]
	var b []byte
	fi, err := os.Lstat(path)
	if err == nil && fi.Mode().IsRegular() {
		b, err = os.ReadFile(path)
	}
	switch n := r.IntN(7); {
	case n == 0:
		os.RemoveAll(path)
	case n == 1:
		os.RemoveAll(path)
		os.Symlink(paths[r.IntN(len(paths))], path)
	case n == 2:
		os.RemoveAll(path)
		unix.Mkfifo(path, 0o600)
	case n == 3:
		os.RemoveAll(path)
		os.Mkdir(path, 0o700)
	case n == 4 && err == nil && len(b) > 0:
		os.WriteFile(path, b[:r.IntN(len(b))], 0o600)
	case n == 5 && err == nil && len(b) > 0:
		for range 1 + r.IntN(8) {
			b[r.IntN(len(b))] = "\n:\x00/.+-\xff0"[r.IntN(9)]
		}
		os.WriteFile(path, b, 0o600)
	default:
		os.Rename(path, paths[r.IntN(len(paths))])
	}
}

// FuzzCheck has the files of a domain hold anything: Check ends, without an
// error, and with no more than a few problems a line.
func FuzzCheck(f *testing.F) {
	const user = "joe:*:1:0:joe:/home/vpopmail/domains/example.com/joe:1000S:secret\n"
	seeds := [][3]string{
		{user, "| /home/vpopmail/bin/vdelivermail '' bounce-no-mailbox\n", "1000S\n0 0\n"},
		{user + user + "x:y\n:::::::\n", "| /home/vpopmail/bin/vdelivermail '' /home/vpopmail/domains/example.com/joe\n", "1000S\n-1 -1\n"},
		{"../x:{SSHA}x:9:9999999999:a:/home/vpopmail/domains/example.com/../..:10G", "|''", "\x00"},
		{"", "", ""},
	}
	for _, s := range seeds {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, vpasswd, deflt, size string) {
		h := &host{t: t, dir: tempDir(t), profile: DefaultProfile54()}
		for _, d := range []string{"QMAIL/users", "QMAIL/control", joe + "/Maildir/cur", joe + "/Maildir/new", joe + "/Maildir/tmp"} {
			h.do(os.MkdirAll(h.path(d), 0o700))
		}
		h.write("QMAIL/users/assign", "+example.com-:example.com:89:89:/home/vpopmail/domains/example.com:-::\n.\n")
		h.write("QMAIL/control/me", "mail.example.com\n")
		h.write(vpasswdCom, vpasswd)
		h.write(vpasswdCom+".cdb", vpasswd)
		h.write(exampleCom+".qmail-default", deflt)
		h.write(joe+"/Maildir/maildirsize", size)
		n := 0
		for p, err := range h.open().Check(t.Context(), &CheckOptions{Messages: true}) {
			if n++; err != nil || p.Code == "" || p.Err == nil {
				t.Fatalf("%+v, %v", p, err)
			}
		}
		if most := 40 + 12*(strings.Count(vpasswd, "\n")+1); n > most {
			t.Fatalf("%d problems, more than %d", n, most)
		}
	})
}
