//go:build unix

package queue

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestLock(t *testing.T) {
	m := makeQueue(t, small)
	q := m.open(t)
	running := func(want bool) {
		t.Helper()
		if got, err := q.Running(t.Context()); got != want || err != nil {
			t.Errorf("running: %v, %v; want %v", got, err, want)
		}
	}
	running(false)
	l, err := q.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	running(true)
	if _, err := q.Lock(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("a second time: %v", err)
	}
	l.Close()
	running(false)

	// What a qmail-send with flock holds.
	f, err := os.OpenFile(filepath.Join(m.dir, "lock/sendmutex"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Lock(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("beside flock: %v", err)
	}
	f.Close()

	// Another process.
	os.Mkdir(m.zdir, 0o700)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+strings.Join([]string{"hold", m.dir, m.zdir, "-1"}, "\n"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 100)
	if n, _ := out.Read(said); string(said[:n]) != "held\n" {
		t.Fatalf("child says %q", said[:n])
	}
	if _, err := q.Lock(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("beside a process: %v", err)
	}
	in.Close()
	cmd.Wait()
	running(false)
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.Lock(stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestLockMissing has a queue without sendmutex: then the trigger tells whether
// a qmail-send lives, and where it cannot tell nobody can be woken by it.
func TestLockMissing(t *testing.T) {
	m := makeQueue(t, small)
	mutex, trigger := filepath.Join(m.dir, "lock/sendmutex"), filepath.Join(m.dir, "lock/trigger")
	os.Remove(mutex)
	r, err := os.OpenFile(trigger, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	q := m.open(t)
	if _, err := q.Lock(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("somebody reads the trigger: %v", err)
	}
	if running, err := q.Running(t.Context()); !running || err != nil {
		t.Errorf("running: %v, %v", running, err)
	}
	if _, err := os.Lstat(mutex); err == nil {
		t.Error("sendmutex was made")
	}
	r.Close()
	if running, err := q.Running(t.Context()); running || err != nil {
		t.Errorf("running: %v, %v", running, err)
	}
	for _, what := range []string{"a FIFO", "a plain file", "missing"} {
		os.Remove(mutex)
		switch what {
		case "a plain file":
			os.Remove(trigger)
			os.WriteFile(trigger, nil, 0o600)
		case "missing":
			os.Remove(trigger)
		}
		l, err := q.Lock(t.Context())
		if err != nil {
			t.Errorf("trigger %s: %v", what, err)
			continue
		}
		if fi, err := os.Lstat(mutex); err != nil || fi.Mode() != 0o600 {
			t.Errorf("sendmutex: %v", err)
		}
		l.Close()
	}
}

// TestLockAside: an interrupted change keeps sendmutex aside, and a qmail-send
// for which somebody made another one is seen all the same.
func TestLockAside(t *testing.T) {
	m := makeQueue(t, small)
	m.scramble(t)
	fail := errors.New("no more")
	moved := 0
	err := m.apply(t, func(op, name string) error {
		if op == "rename" && strings.Contains(name, "/mess/") {
			if moved++; moved == 3 {
				return fail
			}
		}
		return nil
	}, planRepair(t))
	if !errors.Is(err, fail) {
		t.Fatal(err)
	}
	mutex := filepath.Join(m.dir, "lock/sendmutex")
	if _, err := os.Lstat(mutex); err == nil {
		t.Error("qmail-send could start on half a queue")
	}
	q := m.open(t)
	l, err := q.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Lock(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("a second time: %v", err)
	}
	l.Close()
	// Somebody wanted qmail-send to start, and it did.
	f, err := os.Create(mutex)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Lock(t.Context()); !errors.Is(err, ErrRunning) {
		t.Errorf("beside a qmail-send with a sendmutex of its own: %v", err)
	}
	f.Close()
	if err := m.mend(t, 3); err != nil {
		t.Error(err)
	}
	m.clean(t)
}

// TestLockOdd: something else stands in the place of sendmutex.
func TestLockOdd(t *testing.T) {
	for _, what := range []string{"directory", "link", "fifo"} {
		m := makeQueue(t, small)
		mutex := filepath.Join(m.dir, "lock/sendmutex")
		os.Remove(mutex)
		switch what {
		case "directory":
			os.MkdirAll(mutex+"/x", 0o700)
		case "link":
			os.Symlink(filepath.Join(m.dir, "todo"), mutex)
		case "fifo":
			syscall.Mkfifo(mutex, 0o600)
		}
		if err := m.mend(t, 3); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		m.clean(t)
	}
}
