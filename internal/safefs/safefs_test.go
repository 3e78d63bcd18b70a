//go:build unix

package safefs

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
)

// open makes a temporary directory and opens it.
func open(t testing.TB, hook Hook) (*Dir, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	d, err := OpenDir(root, ".", hook)
	root.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, dir
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// furnish fills a directory with all that is no plain file.
func furnish(t testing.TB, dir string) {
	t.Helper()
	write(t, filepath.Join(dir, "plain"), "text")
	os.Mkdir(filepath.Join(dir, "dir"), 0o700)
	os.Symlink("plain", filepath.Join(dir, "link"))
	os.Symlink("dir", filepath.Join(dir, "dirlink"))
	os.Symlink("/etc/passwd", filepath.Join(dir, "abslink"))
	os.Symlink("nowhere", filepath.Join(dir, "dangling"))
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	old, _ := os.Getwd()
	os.Chdir(dir) // the name of a socket is short
	err = syscall.Bind(fd, &syscall.SockaddrUnix{Name: "socket"})
	os.Chdir(old)
	if err != nil {
		t.Fatal(err)
	}
}

// badNames are not one plain part of a path.
var badNames = []string{"", ".", "..", "a/b", "/etc/passwd", "dir/", "../x", "nul\x00"}

// soon fails a call that waits.
func soon(t *testing.T, what string, call func()) {
	t.Helper()
	done := make(chan bool)
	go func() { defer close(done); call() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s waits", what)
	}
}

func TestRefusals(t *testing.T) {
	d, dir := open(t, nil)
	furnish(t, dir)
	for name, want := range map[string]error{
		"plain": nil, "dir": ErrNotPlain, "link": ErrLink, "dirlink": ErrLink, "abslink": ErrLink, "dangling": ErrLink,
		"fifo": ErrNotPlain, "socket": ErrNotPlain, "missing": fs.ErrNotExist,
	} {
		calls := map[string]func() (io.Closer, error){
			"OpenPlain": func() (io.Closer, error) { return d.OpenPlain(name, Expect{}) },
			"OpenWrite": func() (io.Closer, error) { return d.OpenWrite(name) },
			"ReadFile":  func() (io.Closer, error) { _, err := d.ReadFile(name, 10); return nil, err },
		}
		if name != "missing" {
			calls["LockFile"] = func() (io.Closer, error) { return d.LockFile(context.Background(), name, Keep, 1, 0) }
			calls["WriteFile"] = func() (io.Closer, error) {
				return nil, d.WriteFile(name, Replacement{Owner: Keep, Mode: 0o600}, []byte("text"))
			}
		}
		for op, call := range calls {
			soon(t, op+" "+name, func() {
				f, err := call()
				if f != nil && err == nil {
					defer f.Close()
				}
				if !errors.Is(err, want) || want == ErrLink && !errors.Is(err, ErrNotPlain) {
					t.Errorf("%s %s: %v, want %v", op, name, err, want)
				}
				if pe := (*fs.PathError)(nil); err != nil && (!errors.As(err, &pe) || !strings.HasSuffix(pe.Path, name)) {
					t.Errorf("%s %s: the place is missing in %v", op, name, err)
				}
			})
		}
		if name == "plain" {
			continue
		}
		if sub, err := d.Sub(name); name != "dir" && err == nil || strings.HasSuffix(name, "link") && !errors.Is(err, ErrLink) {
			t.Errorf("Sub %s: %v, %v", name, sub, err)
		}
		if f, err := d.Create(name, 0o600, Keep); name != "missing" && !errors.Is(err, fs.ErrExist) {
			t.Errorf("Create %s: %v, %v", name, f, err)
		}
		if sub, _, err := d.Mkdir(name, 0o700, Keep); name != "dir" && name != "missing" && err == nil {
			t.Errorf("Mkdir %s: %v", name, sub)
		}
	}
	if got := read(t, filepath.Join(dir, "plain")); got != "text" {
		t.Errorf("was written to: %q", got)
	}
	soon(t, "a device", func() {
		root, err := os.OpenRoot("/dev")
		if err != nil {
			return
		}
		defer root.Close()
		dev, err := OpenDir(root, ".", nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer dev.Close()
		if _, err := dev.OpenPlain("null", Expect{}); !errors.Is(err, ErrNotPlain) {
			t.Errorf("/dev/null: %v", err)
		}
	})
}

func TestBadNames(t *testing.T) {
	d, dir := open(t, nil)
	furnish(t, dir)
	for _, n := range badNames {
		calls := map[string]error{}
		_, calls["OpenPlain"] = d.OpenPlain(n, Expect{})
		_, calls["OpenWrite"] = d.OpenWrite(n)
		_, calls["Create"] = d.Create(n, 0o600, Keep)
		_, _, calls["Mkdir"] = d.Mkdir(n, 0o700, Keep)
		_, calls["Readlink"] = d.Readlink(n)
		_, calls["Sub"] = d.Sub(n)
		_, calls["LockFile"] = d.LockFile(context.Background(), n, Keep, 1, 0)
		calls["Remove"] = d.Remove(n)
		calls["RemoveDir"] = d.RemoveDir(n)
		calls["Rename from"] = d.Rename(n, d, "x")
		calls["Rename to"] = d.Rename("plain", d, n)
		calls["RenameExcl from"] = d.RenameExcl(n, d, "x")
		calls["RenameExcl to"] = d.RenameExcl("plain", d, n)
		calls["WriteFile"] = d.WriteFile(n, Replacement{Owner: Keep, Mode: 0o600}, nil)
		if n != "." {
			_, calls["Lstat"] = d.Lstat(n)
		}
		for op, err := range calls {
			if !errors.Is(err, ErrName) && !errors.Is(err, ErrNotPlain) {
				t.Errorf("%s %q: %v", op, n, err)
			}
		}
	}
	if len(list(t, d)) != 8 || read(t, filepath.Join(dir, "plain")) != "text" {
		t.Errorf("%q", list(t, d))
	}
}

func list(t testing.TB, d *Dir) (names []string) {
	t.Helper()
	for e, err := range d.Entries(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

func TestOpenDir(t *testing.T) {
	_, dir := open(t, nil)
	furnish(t, dir)
	os.MkdirAll(filepath.Join(dir, "dir/a\xff/b"), 0o700)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for name, want := range map[string]error{
		".": nil, "dir": nil, "dir/a\xff/b": nil, "./dir//a\xff/.": nil, "dirlink": ErrLink, "dirlink/a\xff": ErrLink,
		"dir/../dir": ErrName, "..": ErrName, "plain": syscall.ENOTDIR, "fifo": syscall.ENOTDIR, "no": fs.ErrNotExist, "a\x00b": ErrName,
	} {
		soon(t, name, func() {
			d, err := OpenDir(root, name, nil)
			if !errors.Is(err, want) {
				t.Errorf("%q: %v, want %v", name, err, want)
			}
			if err == nil {
				d.Close()
			}
		})
	}
	d, err := OpenDir(root, ".", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if w, err := d.Walk("dir/a\xff"); err != nil || !strings.HasSuffix(w.Name(), "dir/a\xff") {
		t.Errorf("%v, %v", w, err)
	} else {
		w.Close()
	}
	// The Dir holds the directory, not its name.
	sub, err := d.Sub("dir")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	os.Rename(filepath.Join(dir, "dir"), filepath.Join(dir, "moved"))
	os.Symlink("/etc", filepath.Join(dir, "dir"))
	if f, err := sub.Create("x", 0o600, Keep); err != nil {
		t.Error(err)
	} else {
		f.Close()
		read(t, filepath.Join(dir, "moved/x"))
	}
}

func TestExpectOwned(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make files of others")
	}
	d, dir := open(t, nil)
	for name, uid := range map[string]int{"own": 1234, "rootlinked": 0, "ownlinked": 1234, "root": 0} {
		p := filepath.Join(dir, name)
		write(t, p, "x")
		os.Chown(p, uid, uid)
		if strings.HasSuffix(name, "linked") {
			os.Link(p, p+"2")
		}
	}
	for name, want := range map[string]error{"own": nil, "ownlinked": nil, "root": nil, "rootlinked": ErrForeign, "rootlinked2": ErrForeign} {
		f, err := d.OpenPlain(name, Expect{Owned: true, UID: 1234})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if err == nil {
			f.Close()
		}
	}
	os.Chown(dir, 1234, 1234)
	for name, want := range map[string]error{"own": nil, "ownlinked": ErrForeign, "root": nil, "rootlinked": ErrForeign} {
		f, err := d.OpenWrite(name)
		if !errors.Is(err, want) {
			t.Errorf("OpenWrite %s: %v, want %v", name, err, want)
		}
		if err == nil {
			f.Close()
		}
	}
	os.Chown(filepath.Join(dir, "own"), 55, 55)
	if _, err := d.OpenWrite("own"); !errors.Is(err, ErrForeign) {
		t.Errorf("somebody else's: %v", err)
	}
	if f, err := d.OpenWrite("own", 55); err != nil {
		t.Errorf("one that is allowed: %v", err)
	} else {
		f.Close()
	}
}

// TestExchange swaps a plain file for a link as fast as it can: what is opened
// is never the link's target.
func TestExchange(t *testing.T) {
	d, dir := open(t, nil)
	write(t, filepath.Join(dir, "secret"), "secret")
	name := filepath.Join(dir, "name")
	stop, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			tmp := name + ".new"
			if i%2 == 0 {
				os.Symlink("secret", tmp)
			} else {
				os.WriteFile(tmp, []byte("plain"), 0o600)
			}
			os.Rename(tmp, name)
		}
	}()
	good, refused := 0, 0
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		b, err := d.ReadFile("name", 100)
		switch {
		case err != nil:
			refused++
		case string(b) != "plain":
			t.Fatalf("read %q", b)
		default:
			good++
		}
	}
	close(stop)
	<-stopped
	if good == 0 || refused == 0 {
		t.Logf("%d read, %d refused: no race was seen", good, refused)
	}
}

func TestEntries(t *testing.T) {
	d, dir := open(t, nil)
	furnish(t, dir)
	for i := range 2*readBatch + 5 {
		write(t, filepath.Join(dir, "f\xff"+strings.Repeat("x", i%100)+time.Duration(i).String()), "")
	}
	if n := len(list(t, d)); n != 2*readBatch+5+8 {
		t.Errorf("%d entries", n)
	}
	stop, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	n := 0
	for _, err := range d.Entries(stop) {
		if n++; n == 10 {
			cancel(io.ErrClosedPipe)
		}
		if err != nil {
			if !errors.Is(err, io.ErrClosedPipe) {
				t.Error(err)
			}
			break
		}
	}
	if n > readBatch+1 {
		t.Errorf("%d entries after it was cancelled", n)
	}
	for range d.Entries(context.Background()) {
		break // and the descriptor goes back
	}
}

func TestReadPlain(t *testing.T) {
	d, dir := open(t, nil)
	furnish(t, dir)
	buf := make([]byte, 8)
	n, fi, err := d.ReadPlain("plain", buf)
	if err != nil || string(buf[:n]) != "text" || fi.Size != 4 || fi.Ino == 0 {
		t.Errorf("plain: %q, %+v, %v", buf[:n], fi, err)
	}
	if n, fi, err = d.ReadPlain("plain", buf[:3]); err != nil || n != 3 || fi.Size != 4 {
		t.Errorf("into 3 bytes: %d, %d, %v", n, fi.Size, err)
	}
	for _, name := range []string{"dir", "link", "dirlink", "abslink", "dangling", "fifo", "socket"} {
		if _, _, err := d.ReadPlain(name, buf); !errors.Is(err, ErrNotPlain) {
			t.Errorf("%s: %v, want ErrNotPlain", name, err)
		}
	}
	for _, name := range badNames {
		if _, _, err := d.ReadPlain(name, buf); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v, want ErrName", name, err)
		}
	}
	if _, _, err := d.ReadPlain("absent", buf); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}
