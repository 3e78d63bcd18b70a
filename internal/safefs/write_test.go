//go:build unix

package safefs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

func TestCreateModes(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077} {
		old := syscall.Umask(umask)
		d, dir := open(t, nil)
		for _, m := range []fs.FileMode{0o600, 0o644, 0o640, 0o400, 0o666} {
			f, err := d.Create("f", m, Keep)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write([]byte("abc")); err != nil || f.Name() != "f" {
				t.Error(err)
			}
			at := time.Unix(1e9, 123456000)
			if err := errors.Join(f.SetTime(at), f.Sync(), f.Close()); err != nil {
				t.Error(err)
			}
			fi, err := d.Lstat("f")
			if err != nil || fi.Mode != m || !fi.ModTime.Equal(at) || fi.Size != 3 || fi.Nlink != 1 || fi.UID != os.Geteuid() {
				t.Errorf("umask %o: %+v, %v", umask, fi, err)
			}
			os.Remove(filepath.Join(dir, "f"))
		}
		for _, m := range []fs.FileMode{0o700, 0o755, 0o750} {
			sub, made, err := d.Mkdir("d", m, Keep)
			if err != nil || !made {
				t.Fatal(err)
			}
			if fi, err := sub.Lstat("."); err != nil || fi.Mode != m|fs.ModeDir {
				t.Errorf("umask %o: %s, want %s", umask, fi.Mode, m)
			}
			sub.Close()
			if sub, made, err = d.Mkdir("d", 0o711, Keep); err != nil || made {
				t.Errorf("again: %v, %v", made, err)
			} else {
				sub.Close()
			}
			if err := d.RemoveDir("d"); err != nil {
				t.Error(err)
			}
		}
		syscall.Umask(old)
	}
}

func TestOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	d, dir := open(t, nil)
	os.Chown(dir, 0, 4321)
	os.Chmod(dir, 0o755|fs.ModeSetgid) // hands its group on
	for _, c := range []struct{ give, want Owner }{
		{Owner{1234, 2345}, Owner{1234, 2345}}, {Owner{-1, 0}, Owner{0, 0}}, {Owner{0, 0}, Owner{0, 0}}, {Owner{1234, -1}, Owner{1234, 4321}}, {Keep, Owner{0, 4321}},
	} {
		f, err := d.Create("f", 0o640, c.give)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		sub, _, err := d.Mkdir("d", 0o750, c.give)
		if err != nil {
			t.Fatal(err)
		}
		sub.Close()
		for _, n := range []string{"f", "d"} {
			mode := fs.FileMode(0o640)
			if n == "d" {
				mode = fs.ModeDir | 0o750
			}
			if fi, err := d.Lstat(n); err != nil || fi.UID != c.want.UID || fi.GID != c.want.GID || fi.Mode != mode {
				t.Errorf("%+v: %s is %d:%d %s", c.give, n, fi.UID, fi.GID, fi.Mode)
			}
		}
		d.Remove("f")
		d.RemoveDir("d")
	}
	if err := d.Own(0o700, Owner{7, 8}); err != nil {
		t.Error(err)
	}
	if fi, _ := d.Lstat("."); fi.UID != 7 || fi.GID != 8 || fi.Mode.Perm() != 0o700 {
		t.Errorf("%+v", fi)
	}
	// A replacement hands the old one's owner and mode on.
	write(t, filepath.Join(dir, "old"), "old")
	os.Chown(filepath.Join(dir, "old"), 11, 12)
	os.Chmod(filepath.Join(dir, "old"), 0o644)
	if err := d.WriteFile("old", Replacement{Owner: Keep, Mode: 0o600, Inherit: true}, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if fi, _ := d.Lstat("old"); fi.UID != 11 || fi.GID != 12 || fi.Mode != 0o644 {
		t.Errorf("%+v", fi)
	}
}

func TestRenameExcl(t *testing.T) {
	d, dir := open(t, nil)
	for _, how := range []string{"system's", "links"} {
		write(t, filepath.Join(dir, "a"), "a")
		write(t, filepath.Join(dir, "b"), "b")
		rename := func(to string) error { return d.RenameExcl("a", d, to) }
		if how == "links" {
			rename = func(to string) error { return linkExcl(d.fd(), "a", d.fd(), to) }
		}
		if err := rename("b"); !errors.Is(err, fs.ErrExist) || read(t, filepath.Join(dir, "b")) != "b" || read(t, filepath.Join(dir, "a")) != "a" {
			t.Errorf("%s: onto another: %v", how, err)
		}
		os.Symlink("nowhere", filepath.Join(dir, "l"))
		if err := rename("l"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: onto a dangling link: %v", how, err)
		}
		if err := rename("c"); err != nil || read(t, filepath.Join(dir, "c")) != "a" {
			t.Errorf("%s: %v", how, err)
		}
		if err := rename("d"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: one that is gone: %v", how, err)
		}
		for _, n := range []string{"b", "c", "l"} {
			os.Remove(filepath.Join(dir, n))
		}
	}
}

// TestReplaceFaults fails each step once: the old file is as it was, and
// nothing is left beside it.
func TestReplaceFaults(t *testing.T) {
	for _, mode := range []string{"fail", "short"} {
		for k := 1; ; k++ {
			n, failed := 0, ""
			d, dir := open(t, func(op, name string) error {
				if n++; n != k {
					return nil
				}
				failed = op
				if mode == "short" {
					return ErrShort
				}
				return syscall.ENOSPC
			})
			write(t, filepath.Join(dir, "f"), "old")
			err := d.WriteFile("f", Replacement{Owner: Keep, Mode: 0o640, Time: time.Unix(1e9, 0)}, []byte("brand new"))
			if (err != nil) != (failed != "") {
				t.Errorf("step %d (%s): %v", k, failed, err)
			}
			want := "old"
			if err == nil || failed == "syncdir" {
				want = "brand new"
			}
			if got := read(t, filepath.Join(dir, "f")); got != want || len(list(t, d)) != 1 {
				t.Errorf("step %d (%s): %q, and there are %q", k, failed, got, list(t, d))
			}
			if failed == "" {
				if k < 7 {
					t.Errorf("only %d steps", k-1)
				}
				break
			}
		}
	}
}

func TestReplace(t *testing.T) {
	d, dir := open(t, nil)
	write(t, filepath.Join(dir, "tmp"), "left by a run that was killed")
	if err := d.WriteFile("f", Replacement{Owner: Keep, Mode: 0o600, Temp: "tmp"}, []byte("1")); err != nil || !slices.Equal(list(t, d), []string{"f"}) {
		t.Errorf("%v, %q", err, list(t, d))
	}
	os.Mkdir(filepath.Join(dir, "tmp"), 0o700)
	if err := d.WriteFile("f", Replacement{Owner: Keep, Mode: 0o600, Temp: "tmp"}, []byte("2")); err != nil || read(t, filepath.Join(dir, "f")) != "2" || len(list(t, d)) != 2 {
		t.Errorf("%v, %q", err, list(t, d))
	}
	if err := d.Replace("f", Replacement{Owner: Keep, Mode: 0o600}, func(f *File) error { f.Write([]byte("half")); return io.ErrUnexpectedEOF }); err != io.ErrUnexpectedEOF || read(t, filepath.Join(dir, "f")) != "2" || len(list(t, d)) != 2 {
		t.Errorf("%v, %q", err, list(t, d))
	}
	if _, err := d.ReadFile("f", 0); !errors.Is(err, ErrTooBig) {
		t.Errorf("too big: %v", err)
	}
	if b, err := d.ReadFile("f", 1); err != nil || string(b) != "2" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestMkdirFails(t *testing.T) {
	d, _ := open(t, func(op, name string) error {
		if op == "chmod" {
			return syscall.EIO
		}
		return nil
	})
	if sub, made, err := d.Mkdir("d", 0o755, Keep); !errors.Is(err, syscall.EIO) || made || sub != nil {
		t.Errorf("%v, %v, %v", sub, made, err)
	}
	if f, err := d.Create("f", 0o644, Keep); !errors.Is(err, syscall.EIO) {
		t.Errorf("%v, %v", f, err)
	}
	if got := list(t, d); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

// TestWriteNew makes files in one go: with the mode, time and bytes asked for,
// and nothing at all where a step fails.
func TestWriteNew(t *testing.T) {
	at := time.Unix(1e9, 123456000)
	d, dir := open(t, nil)
	for _, m := range []fs.FileMode{0o600, 0o644, 0o400} {
		if err := d.WriteNew("f", m, Keep, at, []byte("abc")); err != nil {
			t.Fatal(err)
		}
		if fi, err := d.Lstat("f"); err != nil || fi.Mode != m || !fi.ModTime.Equal(at) || fi.Size != 3 || fi.UID != os.Geteuid() {
			t.Errorf("%+v, %v", fi, err)
		}
		if err := d.WriteNew("f", m, Keep, at, nil); !errors.Is(err, fs.ErrExist) || read(t, filepath.Join(dir, "f")) != "abc" {
			t.Errorf("onto another: %v", err)
		}
		d.Remove("f")
	}
	before := time.Now().Add(-time.Minute)
	if err := d.WriteNew("now", 0o600, Keep, time.Time{}, nil); err != nil {
		t.Fatal(err)
	}
	if fi, err := d.Lstat("now"); err != nil || fi.ModTime.Before(before) || fi.Size != 0 {
		t.Errorf("%+v, %v", fi, err)
	}
	if os.Geteuid() == 0 {
		if err := d.WriteNew("given", 0o640, Owner{1234, 2345}, at, nil); err != nil {
			t.Fatal(err)
		}
		if fi, err := d.Lstat("given"); err != nil || fi.UID != 1234 || fi.GID != 2345 || fi.Mode != 0o640 {
			t.Errorf("%+v, %v", fi, err)
		}
	}
	for k := 1; ; k++ {
		n, failed := 0, ""
		d, _ := open(t, func(op, name string) error {
			if n++; n != k {
				return nil
			}
			failed = op
			return map[bool]error{true: ErrShort, false: syscall.ENOSPC}[op == "write"]
		})
		err := d.WriteNew("f", 0o640, Keep, at, []byte("abc"))
		if (err != nil) != (failed != "") || (err != nil) != (len(list(t, d)) == 0) {
			t.Errorf("step %d (%s): %v, and there are %q", k, failed, err, list(t, d))
		}
		if failed == "" {
			if k != 6 {
				t.Errorf("%d steps: create, chmod, write, times, close", k-1)
			}
			break
		}
	}
}
