//go:build unix

package mbox

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// spool makes a mailbox in a fresh directory and opens it.
func spool(t *testing.T, flag int) (*os.File, *LockOptions, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "mail", "ann")
	if err := os.WriteFile(name, []byte(two), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return reopen(t, name, flag), &LockOptions{Dir: root, Name: "mail/ann", Wait: -1}, name
}

func reopen(t *testing.T, name string, flag int) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func mustLock(t *testing.T, f *os.File, o *LockOptions) *Held {
	t.Helper()
	h, err := Lock(context.Background(), f, o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func onlyFile(t *testing.T, name string) {
	t.Helper()
	list, err := os.ReadDir(filepath.Dir(name))
	if err != nil || len(list) != 1 || list[0].Name() != filepath.Base(name) {
		t.Errorf("left in the directory: %v %v", list, err)
	}
}

func TestLock(t *testing.T) {
	for _, flag := range []int{os.O_RDWR, os.O_RDONLY} {
		f, o, name := spool(t, flag)
		h := mustLock(t, f, o)
		if h.Methods != DefaultLockMethods {
			t.Errorf("held: %b", h.Methods)
		}
		if fi, err := os.Stat(name + ".lock"); err != nil || fi.Mode() != 0o644 {
			t.Errorf("dotlock: %v %v", fi, err)
		}
		if err := h.Check(); err != nil {
			t.Error(err)
		}
		for _, m := range []LockMethod{Dotlock, Fcntl, Flock} {
			other := *o
			other.Methods = m
			_, err := Lock(context.Background(), reopen(t, name, os.O_RDWR), &other)
			if !errors.Is(err, ErrLocked) && (m&DefaultLockMethods != 0 && m != Fcntl || m == Fcntl && fcntlCmd != unix.F_SETLK) {
				t.Errorf("second lock with method %b: %v", m, err)
			}
		}
		if err := errors.Join(h.Unlock(), h.Unlock()); err != nil {
			t.Error(err)
		}
		onlyFile(t, name)
		if err := mustLock(t, reopen(t, name, os.O_RDWR), o).Unlock(); err != nil {
			t.Error(err)
		}
		onlyFile(t, name)
	}
}

// TestLockAllOrNone: whatever is taken, nothing stays behind.
func TestLockAllOrNone(t *testing.T) {
	for _, m := range []LockMethod{Dotlock, Fcntl, Flock} {
		if m&DefaultLockMethods == 0 || m == Fcntl && fcntlCmd == unix.F_SETLK {
			continue
		}
		f, o, name := spool(t, os.O_RDWR)
		one := *o
		one.Methods = m
		h := mustLock(t, reopen(t, name, os.O_RDWR), &one)
		if _, err := Lock(context.Background(), f, o); !errors.Is(err, ErrLocked) {
			t.Errorf("method %b: %v", m, err)
		}
		if err := h.Unlock(); err != nil {
			t.Error(err)
		}
		onlyFile(t, name)
		// None of the others may be held by the one that failed.
		if err := mustLock(t, reopen(t, name, os.O_RDWR), o).Unlock(); err != nil {
			t.Error(err)
		}
	}
}

func TestLockShared(t *testing.T) {
	f, o, name := spool(t, os.O_RDONLY)
	o.Shared, o.Methods = true, DefaultLockMethods&^Dotlock
	a, b := mustLock(t, f, o), mustLock(t, reopen(t, name, os.O_RDONLY), o)
	writer := *o
	writer.Shared = false
	if _, err := Lock(context.Background(), reopen(t, name, os.O_RDWR), &writer); fcntlCmd != unix.F_SETLK && !errors.Is(err, ErrLocked) {
		t.Errorf("a writer came in: %v", err)
	}
	if err := errors.Join(a.Unlock(), b.Unlock()); err != nil {
		t.Error(err)
	}
}

func TestLockWaits(t *testing.T) {
	f, o, name := spool(t, os.O_RDWR)
	h := mustLock(t, f, o)
	o.Wait, o.Pause = 50*time.Millisecond, time.Millisecond
	if _, err := Lock(context.Background(), reopen(t, name, os.O_RDWR), o); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "dotlock") {
		t.Errorf("after the wait: %v", err)
	}
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(context.Background())
	o.Wait = time.Hour
	time.AfterFunc(20*time.Millisecond, func() { cancel(stopped) })
	if _, err := Lock(ctx, reopen(t, name, os.O_RDWR), o); !errors.Is(err, stopped) {
		t.Errorf("cancelled: %v", err)
	}
	unlocked := make(chan error)
	time.AfterFunc(20*time.Millisecond, func() { unlocked <- h.Unlock() })
	next := mustLock(t, reopen(t, name, os.O_RDWR), o)
	if err := errors.Join(<-unlocked, next.Unlock()); err != nil {
		t.Error(err)
	}
	onlyFile(t, name)
}

func TestStaleDotlock(t *testing.T) {
	f, o, name := spool(t, os.O_RDWR)
	if err := os.WriteFile(name+".lock", []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-DefaultLockStale - time.Minute)
	if err := os.Chtimes(name+".lock", old, old); err != nil {
		t.Fatal(err)
	}
	if err := mustLock(t, f, o).Unlock(); err != nil {
		t.Error(err)
	}
	onlyFile(t, name)
	// What is no plain file is nobody's dotlock to remove, however old.
	if err := os.Symlink("/nowhere", name+".lock"); err != nil {
		t.Fatal(err)
	}
	ts := []unix.Timespec{unix.NsecToTimespec(old.UnixNano()), unix.NsecToTimespec(old.UnixNano())}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, name+".lock", ts, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(context.Background(), f, o); !errors.Is(err, ErrLocked) {
		t.Errorf("link in place of the dotlock: %v", err)
	}
}

// TestStaleDotlockRace puts a fresh dotlock in place of the stale one just
// before that is taken away: the fresh one must stay.
func TestStaleDotlockRace(t *testing.T) {
	f, o, name := spool(t, os.O_RDWR)
	lock := name + ".lock"
	if err := os.WriteFile(lock, []byte("stale"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(lock, old, old); err != nil {
		t.Fatal(err)
	}
	o.hook = func(op, at string) error {
		if op == "rename" && strings.HasSuffix(at, "ann.lock") {
			return errors.Join(os.Remove(lock), os.WriteFile(lock, []byte("fresh"), 0o600))
		}
		return nil
	}
	if _, err := Lock(context.Background(), f, o); !errors.Is(err, ErrLocked) {
		t.Errorf("locked in spite of a fresh dotlock: %v", err)
	}
	if b, err := os.ReadFile(lock); err != nil || string(b) != "fresh" {
		t.Errorf("the fresh dotlock: %q %v", b, err)
	}
	if list, err := os.ReadDir(filepath.Dir(name)); err != nil || len(list) != 2 {
		t.Errorf("left in the directory: %v %v", list, err)
	}
}

func TestDotlockIsRenewed(t *testing.T) {
	f, o, name := spool(t, os.O_RDWR)
	o.Stale = 40 * time.Millisecond
	h := mustLock(t, f, o)
	first, err := os.Stat(name + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if fi, err := os.Stat(name + ".lock"); err == nil && fi.ModTime().After(first.ModTime()) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the dotlock was not renewed")
		}
	}
	if err := os.Remove(name + ".lock"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if h.Check() == nil {
		t.Error("a foreign dotlock is taken for ours")
	}
	if h.Unlock() == nil {
		t.Error("unlocking does not tell that the dotlock was lost")
	}
	if _, err := os.Stat(name + ".lock"); err != nil {
		t.Errorf("the foreign dotlock: %v", err)
	}
}

// TestLockFaults lets each step of the dotlock fail once: no lock, no leftovers.
func TestLockFaults(t *testing.T) {
	broken := errors.New("broken disk")
	for n := 1; ; n++ {
		f, o, name := spool(t, os.O_RDWR)
		steps := 0
		var failed string
		o.hook = func(op, at string) error {
			if steps++; steps == n {
				failed = op
				return broken
			}
			return nil
		}
		h, err := Lock(context.Background(), f, o)
		if failed == "" {
			if err != nil || n < 4 {
				t.Fatalf("%d steps: %v", n, err)
			}
			h.Unlock()
			return
		}
		if err == nil {
			// Only the renewal or the end can have failed.
			err = h.Unlock()
		}
		if !errors.Is(err, broken) {
			t.Errorf("step %d, %s: %v", n, failed, err)
		}
		if failed != "remove" && failed != "chmod" {
			onlyFile(t, name)
		}
	}
}

func TestLockInReadOnlyDirectory(t *testing.T) {
	f, o, name := spool(t, os.O_RDWR)
	o.hook = func(op, at string) error {
		if op == "create" {
			return &fs.PathError{Op: op, Path: at, Err: unix.EACCES}
		}
		return nil
	}
	h := mustLock(t, f, o)
	if h.Methods != DefaultLockMethods&^Dotlock || h.Check() != nil {
		t.Errorf("held: %b", h.Methods)
	}
	if err := h.Unlock(); err != nil {
		t.Error(err)
	}
	onlyFile(t, name)
}

// TestLockAgainstPerl meets the locks of another program, taken by the calls
// that mail programs make.
func TestLockAgainstPerl(t *testing.T) {
	perl, err := exec.LookPath("perl")
	if err != nil || runtime.GOOS != "linux" {
		t.Skip("needs perl on Linux to take locks with")
	}
	for how, script := range map[string]string{
		"flock": `flock F, LOCK_EX or die;`,
		"fcntl": `my $l = pack "s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0; fcntl F, F_SETLK, $l or die;`,
	} {
		f, o, name := spool(t, os.O_RDWR)
		cmd := exec.Command(perl, "-e", `use Fcntl qw(:DEFAULT :flock); open F, "+<", $ARGV[0] or die;`+script+`$| = 1; print "locked\n"; <STDIN>;`, name)
		in, err1 := cmd.StdinPipe()
		out, err2 := cmd.StdoutPipe()
		if err := errors.Join(err1, err2, cmd.Start()); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 7)); err != nil {
			t.Fatalf("%s: %v", how, err)
		}
		if _, err := Lock(context.Background(), f, o); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), how) {
			t.Errorf("%s held by another program: %v", how, err)
		}
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
		if err := mustLock(t, f, o).Unlock(); err != nil {
			t.Error(err)
		}
	}
}
