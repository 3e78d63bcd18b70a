//go:build unix

package safefs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

func TestLink(t *testing.T) {
	d, dir := open(t, nil)
	furnish(t, dir)
	sub, _, err := d.Mkdir("sub", 0o700, Keep)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if err := d.Link("plain", sub, "second"); err != nil || read(t, filepath.Join(dir, "sub/second")) != "text" {
		t.Error(err)
	}
	if err := d.Link("plain", sub, "second"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("onto another: %v", err)
	}
	if err := d.Link("gone", sub, "third"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that is gone: %v", err)
	}
	if err := d.Link("plain", d, "../out"); !errors.Is(err, ErrName) {
		t.Errorf("out of the directory: %v", err)
	}
	if fi, err := d.Lstat("plain"); err != nil || fi.Nlink != 2 {
		t.Errorf("%d links, %v", fi.Nlink, err)
	}
}

func TestMkfifo(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("not to be had there")
	}
	d, dir := open(t, nil)
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	if err := d.Mkfifo("fifo", 0o622, Keep); err != nil {
		t.Fatal(err)
	}
	if fi, err := d.Lstat("fifo"); err != nil || fi.Mode != fs.ModeNamedPipe|0o622 {
		t.Errorf("%s, %v", fi.Mode, err)
	}
	if err := d.Mkfifo("fifo", 0o622, Keep); !errors.Is(err, fs.ErrExist) {
		t.Errorf("again: %v", err)
	}
	if err := d.PokeFIFO("fifo", nil); !errors.Is(err, syscall.ENXIO) {
		t.Errorf("without a reader: %v", err)
	}
	r, err := os.OpenFile(filepath.Join(dir, "fifo"), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := d.PokeFIFO("fifo", []byte{0}); err != nil {
		t.Errorf("with a reader: %v", err)
	}
	if n, err := r.Read(make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	write(t, filepath.Join(dir, "plain"), "")
	if err := d.PokeFIFO("plain", []byte{0}); !errors.Is(err, ErrNotPlain) || read(t, filepath.Join(dir, "plain")) != "" {
		t.Errorf("a plain file: %v", err)
	}
}

func TestNode(t *testing.T) {
	d, dir := open(t, nil)
	furnish(t, dir)
	at := time.Unix(1e9, 0)
	for _, name := range []string{"plain", "dir"} {
		fi, err := d.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.OwnNode(name, fi, 0o755, Keep); err != nil {
			t.Error(err)
		}
		if now, _ := d.Lstat(name); now.Mode.Perm() != 0o755 || !now.ModTime.Equal(fi.ModTime) {
			t.Errorf("%s: %s", name, now.Mode)
		}
		other := fi
		other.Ino++
		if err := d.OwnNode(name, other, 0o700, Keep); !errors.Is(err, ErrExchanged) {
			t.Errorf("another file: %v", err)
		}
		if err := d.SetNodeTime(name, fi, at); (err == nil) != (name == "plain") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if fi, _ := d.Lstat("plain"); !fi.ModTime.Equal(at) || !fi.ATime.Equal(at) {
		t.Errorf("times %v %v", fi.ModTime, fi.ATime)
	}
	for _, name := range []string{"link", "abslink", "dirlink"} {
		fi, _ := d.Lstat(name)
		if err := d.OwnNode(name, fi, 0o700, Keep); !errors.Is(err, ErrLink) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLockBoth(t *testing.T) {
	d, dir := open(t, nil)
	one, err := d.LockBoth("lock", Keep)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.LockBoth("lock", Keep); !errors.Is(err, ErrLocked) {
		t.Errorf("a second time: %v", err)
	}
	one.Close()
	// Each of the two alone is seen.
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := d.LockBoth("lock", Keep); !errors.Is(err, ErrLocked) {
		t.Errorf("beside flock: %v", err)
	}
	f.Close()
	if HasSyncFS { // where fcntl locks belong to the open file
		f, err = d.LockFile(t.Context(), "lock", Keep, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.LockBoth("lock", Keep); !errors.Is(err, ErrLocked) {
			t.Errorf("beside fcntl: %v", err)
		}
		f.Close()
	}
	if one, err = d.LockBoth("lock", Keep); err != nil {
		t.Error(err)
	} else {
		one.Close()
	}
}
