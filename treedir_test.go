package qmailkit_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit"
)

// foreign hides that a Tree is a local directory.
type foreign struct{ qmailkit.Tree }

// TestOpenDir reads a directory that is held open, and one that only its Tree
// can reach: both give the same.
func TestOpenDir(t *testing.T) {
	local, dir := tree(t, map[string]string{"a/b/plain": "", "a/b/link": "plain", "a/b/sub/x": "", "a/way": "b"})
	at := time.Unix(1e9, 5)
	os.Chtimes(filepath.Join(dir, "a/b/plain"), at, at)
	if err := errors.Join(syscall.Mkfifo(filepath.Join(dir, "a/b/fifo"), 0o640), os.WriteFile(filepath.Join(dir, "a/b/empty"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for kind, tr := range map[string]qmailkit.Tree{"local": local, "foreign": foreign{local}} {
		d, err := qmailkit.OpenDir(tr, "a/b")
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		for size, want := range map[int]string{0: "", 3: "a/b", 9: "a/b/plain", 10: "a/b/plain", 100: "a/b/plain"} {
			buf := make([]byte, size)
			n, fi, err := d.Read("plain", buf)
			if err != nil || string(buf[:n]) != want || fi.Name != "plain" || fi.Size != 9 || fi.Mode != 0o600 || !fi.ModTime.Equal(at) {
				t.Errorf("%s: read into %d bytes: %q, %+v, %v", kind, size, buf[:n], fi, err)
			}
		}
		if n, fi, err := d.Read("empty", make([]byte, 9)); n != 0 || fi.Size != 0 || err != nil {
			t.Errorf("%s: empty: %d, %+v, %v", kind, n, fi, err)
		}
		if fi, err := d.Lstat("link"); err != nil || fi.Mode.Type() != fs.ModeSymlink {
			t.Errorf("%s: %+v, %v", kind, fi, err)
		}
		f, err := d.Open("plain")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(f); string(b) != "a/b/plain" || err != nil {
			t.Errorf("%s: %q, %v", kind, b, err)
		}
		f.Close()
		for name, want := range map[string]error{"link": qmailkit.ErrLink, "fifo": qmailkit.ErrNotPlain, "sub": qmailkit.ErrNotPlain, "no": fs.ErrNotExist} {
			_, open := d.Open(name)
			_, _, read := d.Read(name, make([]byte, 9))
			for _, err := range []error{open, read} {
				if pe := (*fs.PathError)(nil); !errors.Is(err, want) || !errors.As(err, &pe) || pe.Path != "a/b/"+name {
					t.Errorf("%s: %s: %v, want %v", kind, name, err, want)
				}
			}
		}
		var names []string
		for e, err := range d.ReadDir(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, e.Name)
		}
		if slices.Sort(names); strings.Join(names, " ") != "empty fifo link plain sub" {
			t.Errorf("%s: %q", kind, names)
		}
		for dir, want := range map[string]error{"a/way": qmailkit.ErrLink, "a/no": fs.ErrNotExist, "a/b/plain": syscall.ENOTDIR} {
			d, err := qmailkit.OpenDir(tr, dir)
			for _, e := range entries(d) {
				err = errors.Join(err, e)
			}
			if !errors.Is(err, want) {
				t.Errorf("%s: %s: %v, want %v", kind, dir, err, want)
			}
		}
	}
	top, err := qmailkit.OpenDir(local, ".")
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	if _, err := top.Lstat("no"); !errors.Is(err, fs.ErrNotExist) || top.Path("no") != "no" {
		t.Error(err)
	}
	if _, err := top.Open("a/b"); err == nil {
		t.Error("a path is taken for a name")
	}
}

// entries gives what errors reading a directory has; nil is none.
func entries(d *qmailkit.TreeDir) (errs []error) {
	if d == nil {
		return nil
	}
	for _, err := range d.ReadDir(context.Background()) {
		errs = append(errs, err)
	}
	return errs
}
