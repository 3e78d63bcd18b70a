//go:build unix

package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// at is the clock of the tests.
var at = time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)

// target opens a fresh state with one target.
func target(t *testing.T, path string, o Options) *Target {
	t.Helper()
	if o.Now == nil {
		o.Now = func() time.Time { return at }
	}
	d, err := Open(path, &o)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	tg, err := d.Target("sendmail2vpopmail /home/vpopmail")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tg.Close() })
	return tg
}

func store(t *testing.T, tg *Target) *Store {
	t.Helper()
	s, err := tg.Store("accounts")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func rec(key, value string) Record {
	if value == "" {
		return Record{Key: key}
	}
	return Record{key, json.RawMessage(value)}
}

// all is what a store holds, as key=value.
func all(s *Store) []string {
	list := []string{}
	for r := range s.All() {
		list = append(list, r.Key+"="+string(r.Value))
	}
	return list
}

func same(t *testing.T, s *Store, want ...string) {
	t.Helper()
	if diff := cmp.Diff(append([]string{}, want...), all(s)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestDefaultDir(t *testing.T) {
	env := func(kv ...string) func(string) string {
		return func(k string) string {
			for i := 0; i < len(kv); i += 2 {
				if kv[i] == k {
					return kv[i+1]
				}
			}
			return ""
		}
	}
	for _, tc := range []struct {
		uid  int
		env  func(string) string
		want string
	}{
		{0, env("HOME", "/root", "XDG_STATE_HOME", "/x"), "/var/lib/qmailkit"},
		{7, env("HOME", "/home/u", "XDG_STATE_HOME", "/x"), "/x/qmailkit"},
		{7, env("HOME", "/home/u"), "/home/u/.local/state/qmailkit"},
		{7, env("HOME", "/home/u", "XDG_STATE_HOME", "rel"), "/home/u/.local/state/qmailkit"},
		{7, env(), ""},
	} {
		got, err := defaultDir(tc.uid, tc.env)
		if got != tc.want || (err != nil) != (tc.want == "") {
			t.Errorf("uid %d: %q, %v; want %q", tc.uid, got, err, tc.want)
		}
	}
}

func TestOpenMakesPrivateDirectories(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "state")
	tg := target(t, path, Options{})
	for _, p := range []string{path, tg.Name()} {
		fi, err := os.Lstat(p)
		if err != nil || fi.Mode() != fs.ModeDir|0o700 {
			t.Errorf("%s: %v, %v", p, fi.Mode(), err)
		}
	}
	if base := filepath.Base(tg.Name()); !strings.HasPrefix(base, "sendmail2vpopmail_home_vpopmail-") {
		t.Errorf("directory %s says nothing to people", base)
	}
	id, err := os.ReadFile(filepath.Join(tg.Name(), idFile))
	if err != nil || string(id) != "sendmail2vpopmail /home/vpopmail\n" {
		t.Errorf("id file %q, %v", id, err)
	}
}

func TestUnsafeDirectoriesAreRefused(t *testing.T) {
	top := t.TempDir()
	open := filepath.Join(top, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o770); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(top, "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(top, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{open: ErrUnsafe, link: safefs.ErrLink, file: syscall.ENOTDIR, "/": ErrUnsafe} {
		for _, readOnly := range []bool{false, true} {
			if _, err := Open(path, &Options{ReadOnly: readOnly}); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", path, err, want)
			}
		}
	}
	if os.Geteuid() == 0 {
		foreign := filepath.Join(top, "foreign")
		if err := errors.Join(os.Mkdir(foreign, 0o700), os.Chown(foreign, 12345, -1)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(foreign, nil); !errors.Is(err, ErrUnsafe) {
			t.Errorf("foreign: %v", err)
		}
	}
	// A mode that others can only read is the administrator's to choose.
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := Open(open, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	if fi, _ := os.Stat(open); fi.Mode().Perm() != 0o755 {
		t.Errorf("mode was changed to %v", fi.Mode())
	}
}

func TestReadOnlyMakesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	tg := target(t, path, Options{ReadOnly: true})
	if err := tg.Lock(); err != nil {
		t.Error(err)
	}
	s := store(t, tg)
	same(t, s)
	if err := s.Append(rec("a", "1")); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Append: %v", err)
	}
	if err := s.Compact(); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Compact: %v", err)
	}
	if _, err := tg.Backup(Original{Path: "x"}, nil); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Backup: %v", err)
	}
	if list, err := tg.Backups(); err != nil || len(list) != 0 {
		t.Errorf("Backups: %v, %v", list, err)
	}
	if tg.Name() != "" {
		t.Errorf("name %q", tg.Name())
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was made: %v", err)
	}
	// It sees what others have written.
	w := target(t, path, Options{})
	if err := store(t, w).Append(rec("a", "1")); err != nil {
		t.Fatal(err)
	}
	same(t, store(t, target(t, path, Options{ReadOnly: true})), "a=1")
}

func TestOneRunAtATime(t *testing.T) {
	path := t.TempDir()
	one, two := target(t, path, Options{}), target(t, path, Options{})
	if err := one.Lock(); err != nil {
		t.Fatal(err)
	}
	if err := two.Lock(); !errors.Is(err, safefs.ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	if err := target(t, path, Options{ReadOnly: true}).Lock(); err != nil {
		t.Errorf("a reader needs no lock: %v", err)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if err := two.Lock(); err != nil {
		t.Errorf("lock after the other's end: %v", err)
	}
}

func TestTargets(t *testing.T) {
	d, err := Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	seen := map[string]bool{}
	for _, id := range []string{"/", "\xff\x00\n", "a b", "a_b", strings.Repeat("x", 300), "../../etc"} {
		tg, err := d.Target(id)
		if err != nil {
			t.Fatalf("%q: %v", id, err)
		}
		if filepath.Dir(tg.Name()) != d.Name() || len(filepath.Base(tg.Name())) > 64 || seen[tg.Name()] {
			t.Errorf("%q: directory %s", id, tg.Name())
		}
		seen[tg.Name()] = true
		tg.Close()
		if tg, err = d.Target(id); err != nil {
			t.Fatalf("%q again: %v", id, err)
		}
		tg.Close()
	}
	if _, err := d.Target(""); err == nil {
		t.Error("a target without an id")
	}
	tg, err := d.Target("one")
	if err != nil {
		t.Fatal(err)
	}
	defer tg.Close()
	if err := os.WriteFile(filepath.Join(tg.Name(), idFile), []byte("two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Target("one"); err == nil || !strings.Contains(err.Error(), "another target") {
		t.Errorf("mixed up: %v", err)
	}
	for _, name := range []string{"../x", "A", "a.b", "a/b"} {
		if _, err := tg.Store(name); err == nil {
			t.Errorf("store %q was opened", name)
		}
	}
}

func TestBackups(t *testing.T) {
	path := t.TempDir()
	now := at
	tg := target(t, path, Options{Now: func() time.Time { now = now.Add(time.Minute); return now }})
	type put struct {
		o       Original
		content string
	}
	puts := []put{
		{Original{Path: "control/rcpthosts", Mode: 0o644, UID: 0, GID: 5}, "example.org\n"},
		{Original{Path: "control/\xff\n", Mode: 0o600}, ""},
		{Original{Path: "users/cdb", Missing: true}, ""},
		{Original{Path: "control/rcpthosts", Mode: 0o644}, "example.org\nexample.net\n"},
	}
	var want []Backup
	for _, p := range puts {
		b, err := tg.Backup(p.o, []byte(p.content))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, b)
	}
	tg.Close()

	tg = target(t, path, Options{ReadOnly: true})
	got, err := tg.Backups()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-made +listed):\n%s", diff)
	}
	for i, b := range got {
		if b.Number != i+1 || b.Original != puts[i].o || !b.Time.Equal(at.Truncate(time.Second).Add(time.Duration(i+1)*time.Minute)) {
			t.Errorf("backup %d: %+v", i, b)
		}
		content, err := tg.Content(b)
		if err != nil || string(content) != puts[i].content {
			t.Errorf("backup %d: %q, %v", i, content, err)
		}
		if b.Missing {
			continue
		}
		// People find it by its name, and nobody else may read it.
		fi, err := os.Lstat(filepath.Join(tg.Name(), backupDir, b.File))
		if err != nil || fi.Mode() != 0o600 {
			t.Errorf("backup %d: %v", i, err)
		}
	}
	if got[0].File != "000001-20260102T030505Z-rcpthosts" {
		t.Errorf("file %q", got[0].File)
	}

	kept := filepath.Join(tg.Name(), backupDir, got[0].File)
	for _, spoilt := range []string{"example.com\n", "example.org\nand more", "x"} {
		if err := os.WriteFile(kept, []byte(spoilt), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := tg.Content(got[0]); !errors.Is(err, ErrChanged) {
			t.Errorf("content %q: %v", spoilt, err)
		}
	}
}

func TestBackupEntriesThatMakeNoSense(t *testing.T) {
	tg := target(t, t.TempDir(), Options{})
	if _, err := tg.Backup(Original{Path: "a", Mode: 0o600}, []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, r := range []Record{
		rec("nine", `{"path":"a","missing":true}`),
		rec("000009", `{"path":"a","file":"../../etc/passwd"}`),
		rec("000010", `{"path":"a","file":"x","size":-1}`),
		rec("000011", `{"path":"","file":"x"}`),
		rec("000012", `[]`),
		rec("000013", `{"path":"a","file":"x","mode":4095}`),
	} {
		if err := tg.saved.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	list, err := tg.Backups()
	if len(list) != 1 || err == nil || strings.Count(err.Error(), "\n") < 5 {
		t.Errorf("%d listed, %v", len(list), err)
	}
	b, err := tg.Backup(Original{Path: "b"}, nil)
	if err != nil || b.Number != 14 {
		t.Errorf("number %d, %v", b.Number, err)
	}
}

// failing makes the n-th step fail, once.
type failing struct {
	n, seen int
	what    string
}

var errFault = errors.New("injected fault")

func (f *failing) hook(op, name string) error {
	f.seen++
	if f.seen == f.n {
		f.what = op + " " + filepath.Base(name)
		return errFault
	}
	return nil
}

// TestEveryStepFailsOnce makes each step of a run fail: what was acknowledged
// must be there afterwards, what was refused must not, and the same run must
// then succeed in the same process and in another.
func TestEveryStepFailsOnce(t *testing.T) {
	for n := 1; ; n++ {
		path := filepath.Join(t.TempDir(), "state")
		f := &failing{n: n}
		kept, backups := []string{}, 0
		tg, s, err := prepare(path, f.hook)
		ready := err == nil
		if ready {
			for i := range 3 {
				if err := s.Append(rec(fmt.Sprint("k", i), fmt.Sprint(i)), rec(fmt.Sprint("l", i), "0")); err == nil {
					kept = append(kept, fmt.Sprintf("k%d=%d", i, i))
				}
				if _, err := tg.Backup(Original{Path: "p"}, []byte("old")); err == nil {
					backups++
				}
			}
			s.Compact()
			tg.Close()
		}
		if f.what == "" {
			if n < 30 {
				t.Errorf("only %d steps were seen", n)
			}
			if len(kept) != 3 || backups != 3 {
				t.Errorf("without a fault: %v, %d", kept, backups)
			}
			return
		}
		again := target(t, path, Options{})
		s = store(t, again)
		for _, kv := range kept {
			k, v, _ := strings.Cut(kv, "=")
			if got, _ := s.Get(k); string(got) != v {
				t.Errorf("%s: %s was acknowledged, found %q", f.what, kv, got)
			}
		}
		if ready && (len(kept) < 2 || backups < 2) {
			t.Errorf("%s: one fault cost more than one call: %v, %d backups", f.what, kept, backups)
		}
		if len(s.Problems()) != 0 {
			t.Errorf("%s: %v", f.what, s.Problems())
		}
		list, err := again.Backups()
		if err != nil || len(list) < backups {
			t.Errorf("%s: %d backups, want %d, %v", f.what, len(list), backups, err)
		}
		for _, b := range list {
			if c, err := again.Content(b); err != nil || string(c) != "old" {
				t.Errorf("%s: backup %d: %q, %v", f.what, b.Number, c, err)
			}
		}
		if err := s.Append(rec("k9", "9")); err != nil {
			t.Errorf("%s: rerun: %v", f.what, err)
		}
		same(t, store(t, target(t, path, Options{})), all(s)...)
		leftovers(t, f.what, path)
	}
}

func prepare(path string, hook safefs.Hook) (*Target, *Store, error) {
	d, err := Open(path, &Options{Now: func() time.Time { return at }, hook: hook})
	if err != nil {
		return nil, nil, err
	}
	defer d.Close()
	tg, err := d.Target("sendmail2vpopmail /home/vpopmail")
	if err != nil {
		return nil, nil, err
	}
	s, err := tg.Store("accounts")
	return tg, s, err
}

// leftovers finds temporary files.
func leftovers(t *testing.T, what, path string) {
	t.Helper()
	filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(p), ".") {
			t.Errorf("%s: %s is left", what, p)
		}
		return err
	})
}

func TestRefusedRecordsAreNotInEffect(t *testing.T) {
	path := t.TempDir()
	fail := false
	tg := target(t, path, Options{hook: func(op, _ string) error {
		if fail && op == "sync" {
			return errFault
		}
		return nil
	}})
	s := store(t, tg)
	if err := s.Append(rec("a", "1"), rec("b", "1")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		fail = true
		if err := s.Append(rec("a", "2"), rec("b", "")); !errors.Is(err, errFault) {
			t.Fatal(err)
		}
		if v, _ := s.Get("a"); string(v) != "1" {
			t.Errorf("a=%s took effect", v)
		}
		fail = false
		if err := s.Append(rec("c", "3")); err != nil {
			t.Fatal(err)
		}
		same(t, s, "a=1", "b=1", "c=3")
		same(t, store(t, target(t, path, Options{})), "a=1", "b=1", "c=3")
	}
	// Records that cannot be written are refused without harm.
	for _, bad := range []Record{rec("x", "{"), rec("x", `"`+strings.Repeat("y", maxLine)+`"`)} {
		if err := s.Append(rec("d", "4"), bad); err == nil {
			t.Error("a bad record was taken")
		}
	}
	same(t, s, "a=1", "b=1", "c=3")
	if err := s.Put("e", func() {}); err == nil {
		t.Error("a function was stored")
	}
	var n int
	if ok, err := s.Load("c", &n); !ok || err != nil || n != 3 {
		t.Errorf("Load: %v, %v, %d", ok, err, n)
	}
	if ok, err := s.Load("zz", &n); ok || err != nil || n != 3 {
		t.Errorf("Load of nothing: %v, %v, %d", ok, err, n)
	}
	var words []string
	if _, err := s.Load("c", &words); err == nil {
		t.Error("a number was loaded as words")
	}
}

func TestSomebodyElseWrites(t *testing.T) {
	path := t.TempDir()
	one := store(t, target(t, path, Options{}))
	if err := one.Append(rec("a", "1")); err != nil {
		t.Fatal(err)
	}
	two := store(t, target(t, path, Options{}))
	if err := one.Append(rec("b", "1")); err != nil {
		t.Fatal(err)
	}
	if err := two.Append(rec("c", "1")); err == nil || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("%v", err)
	}
	same(t, store(t, target(t, path, Options{})), "a=1", "b=1")
}

func TestCompact(t *testing.T) {
	path := t.TempDir()
	tg := target(t, path, Options{})
	s := store(t, tg)
	if err := s.Compact(); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if err := s.Append(rec("n", fmt.Sprint(i)), rec(fmt.Sprint("gone", i), "1"), rec(fmt.Sprint("gone", i), "null")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put("key\xff\n", map[string]string{"html": "<&>\u2028"}); err != nil {
		t.Fatal(err)
	}
	before := all(s)
	file := filepath.Join(tg.Name(), "accounts.journal")
	if err := s.Compact(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil || bytes.Count(data, []byte("\n")) != 1+2 {
		t.Errorf("%v:\n%s", err, data)
	}
	same(t, s, before...)
	same(t, store(t, target(t, path, Options{})), before...)
	fi, err := os.Stat(file)
	if err != nil || fi.Mode() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if err := s.Compact(); err != nil {
		t.Fatal(err)
	}
	if again, _ := os.Stat(file); !os.SameFile(fi, again) {
		t.Error("a compact file was written again")
	}
	if err := s.Append(rec("n", "last")); err == nil {
		t.Error("no JSON was taken")
	}
	if err := s.Append(rec("n", "99")); err != nil || s.Len() != 2 {
		t.Errorf("%v, %d keys", err, s.Len())
	}
}
