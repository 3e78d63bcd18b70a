package qmailkit_test

import (
	"context"
	"errors"
	"fmt"
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

// tree makes a directory with these links (name to target) and plain files
// (empty target).
func tree(t testing.TB, files map[string]string) (qmailkit.Tree, string) {
	t.Helper()
	dir := t.TempDir()
	os.Chmod(dir, 0o755)
	for name, target := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target == "" {
			err = os.WriteFile(p, []byte(name), 0o600)
		} else {
			err = os.Symlink(target, p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return qmailkit.NewTree(root), dir
}

func TestResolve(t *testing.T) {
	many := map[string]string{}
	for i := range 41 {
		many[fmt.Sprintf("chain/%d", i)] = fmt.Sprint(i + 1)
	}
	many["chain/41"] = ""
	files := map[string]string{
		"home": "/data/home", "data/home/ann/mbox": "", "var/mail": "../data/home", "a\xff/b\n": "", "raw": "a\xff",
		"up": "../../../../data/home/ann", "abs": "/../../data/home", "loop": "loop", "l1": "l2", "l2": "/l1", "dot": "./data/./home/",
		"dangling": "/nowhere", "file": "", "viafile": "file/x", "self/here": ".", "out": "/etc/passwd",
	}
	for k, v := range many {
		files[k] = v
	}
	tr, _ := tree(t, files)
	for name, want := range map[string]string{
		".": ".", "": ".", "/": ".", "file": "file", "./file": "file", "//file": "file",
		"home/ann/mbox": "data/home/ann/mbox", "home": "data/home", "/home/ann": "data/home/ann",
		"var/mail/ann/mbox": "data/home/ann/mbox", "up/mbox": "data/home/ann/mbox", "abs/ann": "data/home/ann",
		"dot/ann/mbox": "data/home/ann/mbox", "raw/b\n": "a\xff/b\n", "../..": ".", "../file": "file", "home/..": "data",
		"new": "new", "home/new": "data/home/new", "dangling": "nowhere", "self/here/here/here": "self",
		"out": "", "chain/1": "chain/41",
	} {
		got, err := qmailkit.Resolve(tr, name)
		if name == "out" { // etc/passwd inside the tree, which has no etc
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q: %q, %v", name, got, err)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", name, got, err, want)
		}
	}
	for name, want := range map[string]error{
		"loop": qmailkit.ErrLink, "l1": qmailkit.ErrLink, "chain/0": qmailkit.ErrLink, "no/new": fs.ErrNotExist,
		"viafile": syscall.ENOTDIR, "file/x": syscall.ENOTDIR,
	} {
		if got, err := qmailkit.Resolve(tr, name); !errors.Is(err, want) {
			t.Errorf("%q: %q, %v; want %v", name, got, err, want)
		}
	}
}

// TestResolveTrust refuses links where their users could have made them.
func TestResolveTrust(t *testing.T) {
	tr, dir := tree(t, map[string]string{"spool/ann": "/etc/shadow", "home/ann/mbox": "/etc/shadow", "etc/shadow": ""})
	for _, c := range []struct {
		mode fs.FileMode
		uid  int
		fine bool
	}{
		{0o755, -1, true}, {0o700, -1, true}, {0o775, -1, false}, {0o757, -1, false}, {0o777 | fs.ModeSticky, -1, false},
		{0o755, 1234, false}, {0o755, 0, true},
	} {
		if c.uid >= 0 {
			if os.Geteuid() != 0 {
				continue
			}
			if err := os.Chown(filepath.Join(dir, "spool"), c.uid, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Join(dir, "spool"), c.mode); err != nil {
			t.Fatal(err)
		}
		got, err := qmailkit.Resolve(tr, "spool/ann")
		if c.fine && (err != nil || got != "etc/shadow") || !c.fine && !errors.Is(err, qmailkit.ErrLink) {
			t.Errorf("%s, owner %d: %q, %v", c.mode, c.uid, got, err)
		}
		if !c.fine && !strings.Contains(err.Error(), "spool/ann") {
			t.Errorf("the place is missing in %v", err)
		}
	}
}

func TestTree(t *testing.T) {
	ctx := context.Background()
	tr, dir := tree(t, map[string]string{"a/b/plain": "", "a/link": "b", "a/b/n\xff\n": "", "abs": "/etc"})
	at := time.Unix(1e9, 5)
	os.Chtimes(filepath.Join(dir, "a/b/plain"), at, at)
	if err := syscall.Mkfifo(filepath.Join(dir, "a/fifo"), 0o640); err != nil {
		t.Fatal(err)
	}
	fi, err := tr.Lstat("a/b/plain")
	if err != nil || fi.Name != "plain" || fi.Mode != 0o600 || fi.Size != 9 || !fi.ModTime.Equal(at) || fi.UID != os.Geteuid() || fi.Nlink != 1 {
		t.Errorf("%+v, %v", fi, err)
	}
	if fi, err := tr.Lstat("."); err != nil || !fi.Mode.IsDir() {
		t.Errorf("%+v, %v", fi, err)
	}
	if to, err := tr.Readlink("abs"); err != nil || to != "/etc" {
		t.Errorf("%q, %v", to, err)
	}
	f, err := tr.Open("a/b/n\xff\n")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	f.Close()
	if string(b) != "a/b/n\xff\n" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	for name, want := range map[string]error{
		"a": qmailkit.ErrNotPlain, "a/link": qmailkit.ErrLink, "a/link/plain": qmailkit.ErrLink, "abs": qmailkit.ErrLink, "abs/passwd": qmailkit.ErrLink,
		"a/fifo": qmailkit.ErrNotPlain, "no": fs.ErrNotExist, "a/b/plain/x": syscall.ENOTDIR,
	} {
		if _, err := tr.Open(name); !errors.Is(err, want) {
			t.Errorf("open %q: %v, want %v", name, err, want)
		} else if pe := (*fs.PathError)(nil); !errors.As(err, &pe) || pe.Path != name {
			t.Errorf("open %q: the place in %v is wrong", name, err)
		}
	}
	for _, name := range []string{"..", "../x", "a/../../x", "a/..", "", "a/", "x\x00"} {
		if f, err := tr.Open(name); err == nil {
			t.Errorf("open %q: %v", name, f)
		}
		if name == "" || name == "a/" {
			continue
		}
		for _, err := range tr.ReadDir(ctx, name) {
			if !errors.Is(err, qmailkit.ErrIncomplete) {
				t.Errorf("readdir %q: %v", name, err)
			}
		}
	}
	types := map[string]fs.FileMode{}
	for e, err := range tr.ReadDir(ctx, "a") {
		if err != nil {
			t.Fatal(err)
		}
		types[e.Name] = e.Type
	}
	if len(types) != 3 || types["b"] != fs.ModeDir || types["link"] != fs.ModeSymlink || types["fifo"] != fs.ModeNamedPipe {
		t.Errorf("%v", types)
	}
	stop, cancel := context.WithCancelCause(ctx)
	cancel(io.ErrClosedPipe)
	var errs []error
	for _, err := range tr.ReadDir(stop, "a") {
		errs = append(errs, err)
	}
	if len(errs) != 1 || !errors.Is(errs[0], qmailkit.ErrIncomplete) || !errors.Is(errs[0], io.ErrClosedPipe) {
		t.Errorf("cancelled: %v", errs)
	}
}

// TestTreeDescriptors looks that none stays open.
func TestTreeDescriptors(t *testing.T) {
	tr, _ := tree(t, map[string]string{"a/b/plain": "", "a/link": "b"})
	count := func() int { list, _ := os.ReadDir("/proc/self/fd"); return len(list) }
	before := count()
	for range 50 {
		tr.Lstat("a/b/plain")
		tr.Lstat("a/no/plain")
		tr.Readlink("a/link")
		tr.Open("a/link")
		qmailkit.Resolve(tr, "a/link/plain")
		for range tr.ReadDir(context.Background(), "a") {
			break
		}
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors became %d", before, after)
	}
}

func FuzzResolve(f *testing.F) {
	tr, _ := tree(f, map[string]string{"home": "/data/home", "data/home/ann/mbox": "", "up": "../../data", "a\xff/b": "/home/..", "loop": "loop"})
	for _, s := range []string{".", "home/ann/mbox", "up/home/../..", "loop/x", "a\xff/b/c", "//..//home", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got, err := qmailkit.Resolve(tr, name)
		if err != nil {
			return
		}
		parts := strings.Split(got, "/")
		if got != "." && (slices.Contains(parts, "") || slices.Contains(parts, ".") || slices.Contains(parts, "..")) {
			t.Fatalf("%q leads to %q", name, got)
		}
		if again, err := qmailkit.Resolve(tr, got); err != nil || again != got {
			t.Fatalf("%q leads to %q, which leads to %q, %v", name, got, again, err)
		}
	})
}

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
