//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

const workerEnv = "QMAILKIT_VPOPMAIL_WORKER"

// TestMain lets the test binary be one of many writers.
func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		if err := worker(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// worker adds its share of users one by one, and a domain of its own. Again
// says that it was killed on the way.
func worker() error {
	var dir string
	var id, users int
	var again bool
	if _, err := fmt.Sscanf(os.Getenv(workerEnv), "%d %d %t %s", &id, &users, &again, &dir); err != nil {
		return err
	}
	home, err := os.OpenRoot(dir + "/VPOPMAIL")
	if err != nil {
		return err
	}
	qmail, err := os.OpenRoot(dir + "/QMAIL")
	if err != nil {
		return err
	}
	b, p, err := workerBackend()
	if err != nil {
		return err
	}
	s, err := Open(home, qmail, &Options{Profile: &p, Backend: b, LockPoll: 2 * time.Millisecond, LockWait: 2 * time.Minute})
	if err != nil {
		return err
	}
	return addShare(context.Background(), s, id, users, again)
}

func addShare(ctx context.Context, s *Store, id, users int, again bool) error {
	for i := range users {
		n := NewUser{Name: fmt.Sprintf("w%d.u%d", id, i), Hash: "*"}
		if _, err := s.AddUser(ctx, "example.com", n); err != nil && !(again && errors.Is(err, ErrUserExists)) {
			return err
		}
		if i != users/2 {
			continue
		}
		_, err := s.AddDomain(ctx, DomainSpec{Name: fmt.Sprintf("w%d.example.org", id)}, nil)
		if err != nil && !(again && errors.Is(err, ErrDomainExists)) {
			return err
		}
	}
	return nil
}

// checkShares asserts that nothing was lost: every user by look-up, the
// counters, the domains.
func checkShares(t *testing.T, h *host, workers, users int) {
	t.Helper()
	s := h.open()
	n := 0
	for _, err := range s.Users(t.Context(), "example.com") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != workers*users+1 {
		t.Errorf("%d users, want %d", n, workers*users+1)
	}
	in := map[string]int{}
	for id := range workers {
		for i := range users {
			u, err := s.User(t.Context(), fmt.Sprintf("w%d.u%d@example.com", id, i))
			if err != nil {
				t.Fatal(err)
			}
			in[u.Dir[:len(u.Dir)-len(u.Name)]]++
		}
		if _, err := s.User(t.Context(), fmt.Sprintf("postmaster@w%d.example.org", id)); err != nil {
			t.Error(err)
		}
	}
	for dir, n := range in {
		if n > perDir {
			t.Errorf("%d users in %s", n, dir)
		}
	}
	for name, want := range map[string]int{"example.com/.dir-control": workers*users + 1, ".dir-control": workers + 1} {
		c, err := ParseDirControl([]byte(h.read("VPOPMAIL/domains/" + name)))
		if err != nil || c.Users != uint64(want) {
			t.Errorf("%s: %d, %v; want %d", name, c.Users, err, want)
		}
	}
}

// workerCommand runs the test binary as a process that adds users.
func workerCommand(t *testing.T, h *host, id, users int, again bool) *exec.Cmd {
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %t %s", workerEnv, id, users, again, h.dir))
	c.Stderr = os.Stderr
	return c
}

// TestProcesses has 8 processes add 2,000 users to one domain, and a domain
// each, at once, beside a reader. Two of them are killed on the way, wherever
// they are, and started again.
func TestProcesses(t *testing.T) {
	workers, users := 8, 250
	if testing.Short() {
		workers, users = 4, 8
	}
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	var wg sync.WaitGroup
	for id := range workers {
		wg.Go(func() {
			c := workerCommand(t, h, id, users, false)
			err := c.Start()
			if id < 2 && err == nil {
				time.Sleep(time.Duration(20+30*users/8*id) * time.Millisecond)
				c.Process.Kill()
				c.Wait()
				c = workerCommand(t, h, id, users, true)
				err = c.Start()
			}
			if err == nil {
				err = c.Wait()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	s := h.open()
	for reads := 0; ; reads++ {
		if _, err := s.User(t.Context(), "postmaster@example.com"); err != nil {
			t.Fatal("reader:", err)
		}
		select {
		case <-finished:
			checkShares(t, h, workers, users)
			t.Log(reads, "reads beside the writers")
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// TestGoroutines does the same with goroutines that share a Store, and some
// that have their own.
func TestGoroutines(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	h.opts.LockPoll, h.opts.LockWait = time.Millisecond, time.Minute
	shared := h.open()
	var wg sync.WaitGroup
	for id := range 4 {
		s := shared
		if id == 3 {
			s = h.open()
		}
		wg.Go(func() {
			if err := addShare(t.Context(), s, id, 8, false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	checkShares(t, h, 4, 8)
}

// TestBusy asserts that a lock that is not given is ErrBusy, and that waiting
// ends with the context.
func TestBusy(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
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
	before := h.snapshot()
	h.opts.LockWait, h.opts.LockPoll = 20*time.Millisecond, 5*time.Millisecond
	if _, err := h.open().AddUser(t.Context(), "example.com", NewUser{Name: "joe", Hash: "*"}); !errors.Is(err, ErrBusy) {
		t.Errorf("%v, want ErrBusy", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.AddUser(ctx, "example.com", NewUser{Name: "joe", Hash: "*"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the context's error", err)
	}
	compareTrees(t, "busy", before, h.snapshot())
}
