//go:build unix

package safefs

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// lockChild names a directory in which a child process holds a lock.
const lockChild = "SAFEFS_TEST_LOCK"

func TestMain(m *testing.M) {
	if dir := os.Getenv(lockChild); dir != "" {
		holdLock(dir)
	}
	os.Exit(m.Run())
}

// holdLock holds the lock until its parent lets go.
func holdLock(dir string) {
	root, err := os.OpenRoot(dir)
	if err == nil {
		var d *Dir
		if d, err = OpenDir(root, ".", nil); err == nil {
			_, err = d.LockFile(context.Background(), "lock", Keep, 1, 0)
		}
	}
	if err != nil {
		os.Stdout.WriteString(err.Error())
		os.Exit(1)
	}
	os.Stdout.WriteString("locked\n")
	io.ReadAll(os.Stdin)
	os.Exit(0)
}

func TestLockFile(t *testing.T) {
	d, dir := open(t, nil)
	ctx := context.Background()
	one, err := d.LockFile(ctx, "lock", Keep, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if fi, _ := d.Lstat("lock"); fi.Mode != 0o600 {
		t.Errorf("mode %s", fi.Mode)
	}
	if HasSyncFS { // where locks belong to the open file
		if _, err := d.LockFile(ctx, "lock", Keep, 3, time.Millisecond); !errors.Is(err, ErrLocked) {
			t.Errorf("a second time: %v", err)
		}
		stop, cancel := context.WithTimeoutCause(ctx, 20*time.Millisecond, io.ErrClosedPipe)
		if _, err := d.LockFile(stop, "lock", Keep, 1e9, time.Second); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("cancelled: %v", err)
		}
		cancel()
		got := make(chan error)
		go func() {
			f, err := d.LockFile(ctx, "lock", Keep, 1000, time.Millisecond)
			if err == nil {
				f.Close()
			}
			got <- err
		}()
		time.Sleep(5 * time.Millisecond)
		one.Close()
		if err := <-got; err != nil {
			t.Errorf("after it was let go: %v", err)
		}
	} else {
		one.Close()
	}

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), lockChild+"="+dir)
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
	if n, _ := out.Read(said); string(said[:n]) != "locked\n" {
		t.Fatalf("child says %q", said[:n])
	}
	if _, err := d.LockFile(ctx, "lock", Keep, 2, time.Millisecond); !errors.Is(err, ErrLocked) {
		t.Errorf("held by a child: %v", err)
	}
	in.Close()
	cmd.Wait()
	if f, err := d.LockFile(ctx, "lock", Keep, 1, 0); err != nil {
		t.Errorf("after the child: %v", err)
	} else {
		f.Close()
	}
}

func TestTryLock(t *testing.T) {
	d, dir := open(t, nil)
	if err := d.TryLock(); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	other, err := OpenDir(root, ".", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.TryLock(); !errors.Is(err, ErrLocked) {
		t.Errorf("a second time: %v", err)
	}
	d.Close()
	if err := other.TryLock(); err != nil {
		t.Errorf("after it was let go: %v", err)
	}
}
