//go:build unix

package qmailcontrol

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/cdbfile"
)

// control makes a directory with these files.
func control(t *testing.T, files map[string]string) (string, *os.Root) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return dir, root
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestMissingIsNotEmpty(t *testing.T) {
	_, root := control(t, map[string]string{"rcpthosts": ""})
	if l, err := Load(root, "rcpthosts"); err != nil || l.Len() != 0 {
		t.Errorf("empty: %v, %v", l, err)
	}
	if _, err := Load(root, "locals"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	dir, root := control(t, map[string]string{"me": "x\n"})
	if err := os.Mkdir(filepath.Join(dir, "locals"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"locals", "fifo"} {
		if _, err := Load(root, name); !errors.Is(err, qmailkit.ErrNotPlain) {
			t.Errorf("%s: %v", name, err)
		}
		if err := (&Lines{}).Save(root, name, nil); !errors.Is(err, qmailkit.ErrNotPlain) {
			t.Errorf("Save %s: %v", name, err)
		}
	}
	// A file of a gigabyte, of which only the first part may be read.
	if err := os.Truncate(filepath.Join(dir, "me"), 1<<30); err != nil {
		t.Fatal(err)
	}
	var pe *ParseError
	if _, err := Load(root, "me"); !errors.Is(err, ErrTooBig) || !errors.As(err, &pe) || pe.File != "me" {
		t.Errorf("a gigabyte: %v", err)
	}
}

func TestLinks(t *testing.T) {
	dir, root := control(t, map[string]string{"real": "x\n", "me": "me\n"})
	for name, to := range map[string]string{"locals": "real", "rcpthosts": "/etc/qmail/rcpthosts", "virtualdomains": "gone"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	l, err := Load(root, "locals")
	if err != nil || l.First() != "x" {
		t.Fatalf("link inside: %v, %v", l, err)
	}
	// qmail may well find the targets of these: they must not pass for missing,
	// which for rcpthosts would mean that everything is accepted.
	for _, name := range []string{"rcpthosts", "virtualdomains"} {
		_, err := Load(root, name)
		if !errors.Is(err, qmailkit.ErrLink) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := l.Add("y"); err != nil {
		t.Fatal(err)
	}
	if err := l.Save(root, "locals", nil); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(filepath.Join(dir, "locals")); err != nil || to != "real" {
		t.Errorf("the link is gone: %q, %v", to, err)
	}
	if got := read(t, filepath.Join(dir, "real")); got != "x\ny\n" {
		t.Errorf("target holds %q", got)
	}
	// In a directory that others can write a link may be anybody's.
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(root, "locals"); !errors.Is(err, qmailkit.ErrLink) {
		t.Errorf("link that anybody may have made: %v", err)
	}
}

func TestSaveModeAndOwner(t *testing.T) {
	dir, root := control(t, map[string]string{"databytes": "1\n"})
	name := filepath.Join(dir, "databytes")
	stat := func() (fs.FileMode, uint32) {
		fi, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		return fi.Mode().Perm(), fi.Sys().(*syscall.Stat_t).Uid
	}
	l := parse(t, "2\n")
	uid := uint32(os.Geteuid())
	if uid == 0 {
		uid = 4711
		if err := os.Chown(name, 4711, 4712); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := l.Save(root, "databytes", nil); err != nil {
		t.Fatal(err)
	}
	if mode, owner := stat(); mode != 0o640 || owner != uid {
		t.Errorf("mode %o, owner %d after a plain Save", mode, owner)
	}
	if err := l.Save(root, "databytes", &SaveOptions{Mode: 0o600, Owner: &Owner{-1, -1}}); err != nil {
		t.Fatal(err)
	}
	if mode, owner := stat(); mode != 0o600 || owner != uint32(os.Geteuid()) {
		t.Errorf("mode %o, owner %d as given", mode, owner)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := l.Save(root, "databytes", nil); err != nil {
		t.Fatal(err)
	}
	if mode, owner := stat(); mode != 0o644 || owner != uint32(os.Geteuid()) {
		t.Errorf("mode %o, owner %d of a new file", mode, owner)
	}
	if got := read(t, name); got != "2\n" {
		t.Errorf("holds %q", got)
	}
}

// Each step fails once: the old file is as it was, nothing is left beside it,
// and the next try succeeds.
func TestSaveFaults(t *testing.T) {
	saves := map[string]func(*os.Root, *SaveOptions) error{
		"locals": func(root *os.Root, o *SaveOptions) error {
			l, err := Load(root, "locals")
			if err != nil {
				return err
			}
			if err := l.Add("new.example"); err != nil {
				return err
			}
			return l.Save(root, "locals", o)
		},
		"morercpthosts.cdb": NewMRH,
	}
	for name, save := range saves {
		files := map[string]string{"locals": "old.example\n", "morercpthosts": "a.example\n", "morercpthosts.cdb": "old"}
		var steps []string
		dir, root := control(t, files)
		record := func(op, _ string) error { steps = append(steps, op); return nil }
		if err := save(root, &SaveOptions{Mode: 0o600, hook: record}); err != nil {
			t.Fatal(err)
		}
		want := read(t, filepath.Join(dir, name))
		for _, op := range []string{"create", "write", "sync", "close", "rename", "syncdir"} {
			if !slices.Contains(steps, op) {
				t.Fatalf("%s: no %s among %q", name, op, steps)
			}
		}
		for n, op := range steps {
			if op == "remove" {
				continue // of a left-over that is not there
			}
			dir, root := control(t, files)
			left, step := n, errors.New("no more "+op)
			o := &SaveOptions{Mode: 0o600, hook: func(string, string) error {
				if left--; left == -1 {
					return step
				}
				return nil
			}}
			if err := save(root, o); !errors.Is(err, step) {
				t.Errorf("%s: %s fails: %v", name, op, err)
			}
			if got := read(t, filepath.Join(dir, name)); got != files[name] && op != "syncdir" {
				t.Errorf("%s: %s fails: file is %q", name, op, got)
			}
			if list, err := os.ReadDir(dir); err != nil || len(list) != len(files) {
				t.Errorf("%s: %s fails: %v left, %v", name, op, list, err)
			}
			if err := save(root, o); err != nil {
				t.Errorf("%s: after %s: %v", name, op, err)
			}
			if got := read(t, filepath.Join(dir, name)); got != want && op != "syncdir" {
				t.Errorf("%s: after %s: file is %q", name, op, got)
			}
		}
	}
}

func TestLongDomain(t *testing.T) {
	for _, size := range []int{64<<10 - 1, 64 << 10, 200 << 10, MaxLine - 1} {
		text := "a.example\n" + strings.Repeat("X", size) + "\nb.example"
		f := temp(t)
		if err := parse(t, text).WriteMorercpthosts(f); err != nil {
			t.Fatalf("%d: %v", size, err)
		}
		c := open(t, f)
		for _, key := range []string{"a.example", strings.Repeat("x", size), "b.example"} {
			if _, ok, err := c.Get([]byte(key)); !ok || err != nil {
				t.Errorf("%d: key of %d bytes: %t, %v", size, len(key), ok, err)
			}
		}
	}
	err := WriteMorercpthosts(temp(t), strings.NewReader("ok\n"+strings.Repeat("x", MaxLine+1)))
	var pe *ParseError
	if !errors.Is(err, ErrLongLine) || !errors.As(err, &pe) || pe.Line != 2 || pe.Offset != 3 {
		t.Errorf("too long: %v", err)
	}
}

func temp(t testing.TB) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func open(t testing.TB, f *os.File) *cdbfile.Reader {
	t.Helper()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	c, err := cdbfile.Open(f, fi.Size())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func FuzzMorercpthosts(f *testing.F) {
	seeds(f)
	file := temp(f)
	f.Fuzz(func(t *testing.T, text []byte, _ string, _ int) {
		if err := file.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if err := WriteMorercpthosts(file, bytes.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for rec, err := range open(t, file).Records() {
			if err != nil || len(rec.Data) > 0 {
				t.Fatal(rec, err)
			}
			got = append(got, string(rec.Key))
		}
		for _, line := range strings.Split(string(text), "\n") {
			if line = strings.TrimRight(line, " \t"); line != "" && line[0] != '#' {
				want = append(want, lower(line))
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q has the keys %q", text, got)
		}
	})
}

// slurp is read for a file that may be missing.
func slurp(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}
