package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// needRoot skips a test of owners.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
}

// TestPlantedJournal puts something else where the journal should be: it is
// refused, and nothing is written through it.
func TestPlantedJournal(t *testing.T) {
	for name, plant := range map[string]func(at, victim string) error{
		"link":      func(at, victim string) error { return os.Symlink(victim, at) },
		"FIFO":      func(at, victim string) error { return syscall.Mkfifo(at, 0o600) },
		"directory": func(at, victim string) error { return os.Mkdir(at, 0o700) },
		"hard link": func(at, victim string) error { return os.Link(victim, at) },
		"foreign": func(at, victim string) error {
			if os.Geteuid() != 0 {
				return syscall.EPERM
			}
			write(t, at, journalOf())
			return os.Chown(at, 4321, 4321)
		},
	} {
		dir := fastDir(t)
		m := filepath.Join(dir, "M")
		d, err := Create(m, nil)
		if err != nil {
			t.Fatal(err)
		}
		d.Close()
		victim := filepath.Join(dir, "victim")
		write(t, victim, journalOf())
		if err := plant(filepath.Join(m, JournalName), victim); err != nil {
			if name == "foreign" {
				continue // needs root
			}
			t.Fatal(err)
		}
		before := snapshot(t, dir)
		res, err := runResults(t, dir, sample(3), nil, nil)
		if !planted(err) || !strings.Contains(err.Error(), JournalName) {
			t.Errorf("%s: %v, %v", name, tally(res), err)
		}
		if after := snapshot(t, dir); after != before {
			t.Errorf("%s: something was written:\n%s", name, diff(before, after))
		}
	}
}

// TestPlantedFolders leads single folders astray: their messages fail, those
// of other folders and other mailboxes go on.
func TestPlantedFolders(t *testing.T) {
	dir := fastDir(t)
	m := filepath.Join(dir, "M")
	other := filepath.Join(dir, "Other")
	for _, p := range []string{m, other} {
		d, err := Create(p, nil)
		if err != nil {
			t.Fatal(err)
		}
		d.Close()
	}
	os.Symlink("/etc", filepath.Join(m, ".etc"))
	os.Symlink("../Other", filepath.Join(m, ".other"))
	write(t, filepath.Join(m, ".file"), "x")
	syscall.Mkfifo(filepath.Join(m, ".fifo"), 0o600)
	os.Mkdir(filepath.Join(m, ".tmp"), 0o700)
	os.Symlink("/tmp", filepath.Join(m, ".tmp/tmp"))
	os.MkdirAll(filepath.Join(m, ".kw"), 0o700)
	os.Symlink("/etc/passwd", filepath.Join(m, ".kw", KeywordsName))
	bad := []string{".etc", ".other", ".file", ".fifo", ".tmp", ".kw", "..", "../Other", ".a/../../Other", ".a\x00", "x", "." + strings.Repeat("x", 255)}
	before := snapshot(t, other) + snapshot(t, filepath.Join(m, ".kw", KeywordsName))
	var msgs []*Message
	for i, f := range bad {
		m := msg("a", fmt.Sprint("bad ", i), 0)
		m.Folder, m.Keywords = f, []string{"Junk"}
		msgs = append(msgs, m, msg("a", fmt.Sprint("good ", i), 0))
	}
	res, err := runResults(t, dir, msgs, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range res {
		want := Delivered
		if i%2 == 0 {
			want = Failed
		}
		if r.Outcome != want || (r.Err == nil) != (want == Delivered) {
			t.Errorf("folder %q: %+v", msgs[i].Folder, r)
		}
	}
	if after := snapshot(t, other) + snapshot(t, filepath.Join(m, ".kw", KeywordsName)); after != before {
		t.Errorf("somebody else's Maildir has changed:\n%s", diff(before, after))
	}
	// When the way is free again they are brought.
	for _, f := range []string{".etc", ".other"} {
		os.Remove(filepath.Join(m, f))
	}
	res, err = runResults(t, dir, msgs, nil, nil)
	if n := tally(res); err != nil || n[Delivered] != 2 || n[Present] != len(bad) {
		t.Errorf("%v, %v", n, err)
	}
}

// TestPlantedInbox leads a whole Maildir astray: it is refused.
func TestPlantedInbox(t *testing.T) {
	for _, part := range []string{"", "tmp", "new", "cur"} {
		dir := fastDir(t)
		victim := filepath.Join(dir, "victim")
		for _, p := range []string{"tmp", "new", "cur"} {
			os.MkdirAll(filepath.Join(victim, p), 0o700)
		}
		m := filepath.Join(dir, "M")
		if part == "" {
			os.Symlink("victim", m)
		} else {
			os.Mkdir(m, 0o700)
			os.Symlink(victim, filepath.Join(m, part))
		}
		before := snapshot(t, victim)
		res, err := runResults(t, dir, sample(3), nil, nil)
		if !errors.Is(err, qmailkit.ErrLink) || snapshot(t, victim) != before {
			t.Errorf("%q is a link: %v, %v", part, tally(res), err)
		}
	}
}

// TestPlantedMeanwhile has a user work against a running import. What he
// plants costs him his own message; it must not stop other mailboxes.
func TestPlantedMeanwhile(t *testing.T) {
	for name, plant := range map[string]func(tmp, base string) error{
		"a file in tmp":           func(tmp, base string) error { return os.WriteFile(filepath.Join(tmp, base), nil, 0o600) },
		"a link in tmp":           func(tmp, base string) error { return os.Symlink("/etc/passwd", filepath.Join(tmp, base)) },
		"a directory in tmp":      func(tmp, base string) error { return os.Mkdir(filepath.Join(tmp, base), 0o700) },
		"a directory for journal": func(tmp, base string) error { return os.Mkdir(filepath.Join(tmp, "../."+JournalName), 0o700) },
		"no tmp":                  func(tmp, base string) error { return os.Remove(tmp) },
	} {
		dir := fastDir(t)
		var once sync.Once
		opts := &CommitOptions{hook: func(op, at string) error {
			if op == "create" && strings.Contains(at, "/M/tmp/") {
				once.Do(func() {
					if err := plant(filepath.Dir(at), filepath.Base(at)); err != nil {
						t.Error(err)
					}
				})
			}
			return nil
		}}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		c := NewCommitter(opts)
		outcome := map[string]Outcome{}
		for _, box := range []string{"M", "Other"} {
			im, err := c.Import(root, box, nil)
			if err != nil {
				t.Fatal(err)
			}
			m := msg(box, "text", 0)
			m.Done = func(r Result) { outcome[box] = r.Outcome }
			if err := im.Add(t.Context(), m); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			im.Close(nil)
		}
		if err := c.Close(); err != nil || outcome["Other"] != Delivered {
			t.Errorf("%s: %v, %v", name, outcome, err)
		}
		if strings.HasPrefix(name, "a file") || strings.HasPrefix(name, "a link") || strings.HasSuffix(name, "journal") {
			if outcome["M"] != Delivered {
				t.Errorf("%s: his message is %v", name, outcome["M"])
			}
		}
	}
}

// TestOwner gives what is made to its owner, with the asked modes, whatever the
// umask, and leaves what exists.
func TestOwner(t *testing.T) {
	needRoot(t)
	for _, umask := range []int{0, 0o077} {
		for _, o := range []*Options{{Owner: &Owner{1234, 2345}}, {Owner: &Owner{1234, 2345}, DirMode: 0o750, FileMode: 0o640}} {
			old := syscall.Umask(umask)
			dir := fastDir(t)
			os.Chmod(dir, 0o755|os.ModeSetgid) // its group would be handed on
			_, err := runResults(t, dir, sample(10), nil, o)
			syscall.Umask(old)
			if err != nil {
				t.Fatal(err)
			}
			d, f := o.or().DirMode, o.or().FileMode
			files := 0
			filepath.Walk(filepath.Join(dir, "M"), func(p string, fi os.FileInfo, err error) error {
				st := fi.Sys().(*syscall.Stat_t)
				want := f
				if fi.IsDir() {
					want = d
				} else {
					files++
				}
				if st.Uid != 1234 || st.Gid != 2345 || fi.Mode()&^os.ModeDir != want {
					t.Errorf("umask %o: %s is %d:%d %s, want %s", umask, p, st.Uid, st.Gid, fi.Mode(), want)
				}
				return err
			})
			if files < 10 {
				t.Errorf("%d files", files)
			}
			if res, err := runResults(t, dir, sample(10), nil, o); err != nil || tally(res)[Present] != 10 {
				t.Errorf("rerun: %v, %v", tally(res), err)
			}
		}
	}
}

// TestOwnerHalfMade finishes the directories of a run that was killed between
// making one and giving it away.
func TestOwnerHalfMade(t *testing.T) {
	needRoot(t)
	o := &Options{Owner: &Owner{1234, 1234}}
	for at := 1; ; at++ {
		dir := fastDir(t)
		n := 0
		dead := false
		var mu sync.Mutex
		hook := func(op, name string) error {
			mu.Lock()
			defer mu.Unlock()
			if op == "chown" {
				n++
			}
			if dead = dead || n == at; dead {
				return errDead
			}
			return nil
		}
		_, err := runResults(t, dir, sample(3), &CommitOptions{hook: hook, Writers: 1}, o)
		if (err != nil) != dead {
			t.Errorf("chown %d: %v", at, err)
		}
		if _, err := runResults(t, dir, sample(3), nil, o); err != nil {
			t.Errorf("chown %d: rerun: %v", at, err)
		}
		filepath.Walk(filepath.Join(dir, "M"), func(p string, fi os.FileInfo, err error) error {
			if st := fi.Sys().(*syscall.Stat_t); st.Uid != 1234 || st.Gid != 1234 {
				t.Errorf("chown %d: %s belongs to %d:%d", at, p, st.Uid, st.Gid)
			}
			return err
		})
		if !dead {
			if at < 10 {
				t.Errorf("only %d chowns", at-1)
			}
			return
		}
	}
}

// TestOwnerExisting leaves the owners of what exists.
func TestOwnerExisting(t *testing.T) {
	needRoot(t)
	dir := fastDir(t)
	d, err := Create(filepath.Join(dir, "M"), &Options{Owner: &Owner{77, 77}})
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	write(t, filepath.Join(dir, "M/tmp/theirs"), "")
	for range 2 {
		if _, err := runResults(t, dir, sample(3), nil, &Options{Owner: &Owner{88, 88}}); err != nil {
			t.Fatal(err)
		}
	}
	for p, want := range map[string]uint32{"": 77, "tmp": 77, "new": 77, JournalName: 88, ".Work.2004": 88} {
		fi, err := os.Lstat(filepath.Join(dir, "M", p))
		if err != nil || fi.Sys().(*syscall.Stat_t).Uid != want {
			t.Errorf("%q: %+v, %v", p, fi, err)
		}
	}
}

// TestOwnerForbidden cannot give files away and says so.
func TestOwnerForbidden(t *testing.T) {
	dir := fastDir(t)
	opts := &CommitOptions{hook: func(op, name string) error {
		if op == "chown" {
			return syscall.EPERM
		}
		return nil
	}}
	_, err := runResults(t, dir, sample(3), opts, &Options{Owner: &Owner{1234, 1234}})
	if !errors.Is(err, syscall.EPERM) {
		t.Errorf("%v", err)
	}
	if got := entries(t, dir); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
	if errors.Is(err, safefs.ErrForeign) {
		t.Error("wrong error")
	}
}
