//go:build unix

package sftptree

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/sftptree/sftptest"
)

// both gives a directory as a remote tree and as a local one, which have to say
// the same.
func both(t *testing.T) (dir string, remote, local qmailkit.Tree, s *sftptest.Server) {
	t.Helper()
	s = sftptest.Start(t)
	dir = t.TempDir()
	tree, err := Dial(t.Context(), s.URL(dir), &Options{Keys: []string{s.Key}, KnownHosts: []string{s.KnownHosts}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return dir, tree, qmailkit.NewTree(root), s
}

// kind is what the callers of a Tree look for in an error.
func kind(err error) string {
	switch {
	case err == nil:
		return "none"
	case errors.Is(err, fs.ErrNotExist):
		return "missing"
	case errors.Is(err, qmailkit.ErrLink):
		return "link"
	case errors.Is(err, qmailkit.ErrNotPlain):
		return "not plain"
	}
	return "other"
}

func TestTree(t *testing.T) {
	dir, remote, local, _ := both(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "a/b"), 0o750))
	must(os.WriteFile(filepath.Join(dir, "a/b/f"), []byte("some text"), 0o640))
	must(os.WriteFile(filepath.Join(dir, "a/\xff odd"), nil, 0o600))
	must(os.Symlink("a", filepath.Join(dir, "l")))
	must(os.Symlink("/etc/passwd", filepath.Join(dir, "a/p")))
	must(unix.Mkfifo(filepath.Join(dir, "a/fifo"), 0o600))

	for _, name := range []string{".", "a", "a/b", "a/b/f", "a/\xff odd", "a/p", "l", "a/fifo", "a/none", "a/b/f/x"} {
		r, rerr := remote.Lstat(name)
		l, lerr := local.Lstat(name)
		if name == "." {
			l.Name, r.Name = "", ""
		}
		if rerr == nil && lerr == nil && (r.Name != l.Name || r.Mode != l.Mode || r.Size != l.Size || r.UID != l.UID || r.GID != l.GID || r.ModTime.Unix() != l.ModTime.Unix()) {
			t.Errorf("%q: %+v, local %+v", name, r, l)
		}
		if name == "a/b/f/x" {
			lerr = qmailkit.ErrNotPlain // ENOTDIR there
		}
		if kind(rerr) != kind(lerr) {
			t.Errorf("lstat %q: %v, local %v", name, rerr, lerr)
		}
	}
	for _, name := range []string{"a/b/f", "a/\xff odd", "a/b", "a/p", "l/b/f", "a/fifo", "a/none", "a/none/f"} {
		r, rerr := remote.Open(name)
		l, lerr := local.Open(name)
		if kind(rerr) != kind(lerr) || kind(rerr) == "other" {
			t.Errorf("open %q: %v, local %v", name, rerr, lerr)
		}
		if rerr != nil || lerr != nil {
			continue
		}
		a, err := io.ReadAll(r)
		must(err)
		b, err := io.ReadAll(l)
		must(err)
		fi, err := r.Stat()
		must(err)
		if string(a) != string(b) || fi.Size() != int64(len(a)) {
			t.Errorf("%q: %q of %d bytes, local %q", name, a, fi.Size(), b)
		}
		r.Close()
		l.Close()
	}
	for _, name := range []string{".", "a", "a/b", "l", "l/b", "a/none", "a/b/f"} {
		r, rerr := list(t, remote, name)
		l, lerr := list(t, local, name)
		if !slices.Equal(r, l) || kind(rerr) != kind(lerr) && kind(lerr) != "other" || errors.Is(rerr, qmailkit.ErrIncomplete) != (rerr != nil) {
			t.Errorf("readdir %q: %q %v, local %q %v", name, r, rerr, l, lerr)
		}
	}
	if to, err := remote.Readlink("a/p"); to != "/etc/passwd" || err != nil {
		t.Errorf("readlink: %q, %v", to, err)
	}
	if _, err := remote.Readlink("a/b/f"); err == nil {
		t.Error("a plain file has the text of a link")
	}
	for _, name := range []string{"", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "a\x00b"} {
		if _, err := remote.Lstat(name); !errors.Is(err, errName) {
			t.Errorf("lstat %q: %v", name, err)
		}
		if _, err := remote.Open(name); !errors.Is(err, errName) {
			t.Errorf("open %q: %v", name, err)
		}
	}
	if at, err := qmailkit.Resolve(remote, "l/b/f"); at != "a/b/f" || err != nil {
		t.Errorf("resolve: %q, %v", at, err)
	}
}

func list(t *testing.T, tree qmailkit.Tree, dir string) (names []string, err error) {
	for e, err := range tree.ReadDir(t.Context(), dir) {
		if err != nil {
			return names, err
		}
		names = append(names, e.Name+" "+e.Type.String())
	}
	slices.Sort(names)
	return names, nil
}

// A connection that breaks ends a sequence as incomplete, and never as missing
// files.
func TestBrokenConnection(t *testing.T) {
	dir, remote, _, s := both(t)
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := remote.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	s.Cut()
	if _, err := list(t, remote, "."); !errors.Is(err, qmailkit.ErrIncomplete) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("readdir: %v", err)
	}
	if _, err := remote.Open("f"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open: %v", err)
	}
	if b, err := io.ReadAll(f); err == nil {
		t.Errorf("read: %q", b)
	}
}

func TestDialRefused(t *testing.T) {
	s := sftptest.Start(t)
	other := sftptest.Start(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	known, err := os.ReadFile(other.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(string(known), " ")
	host, port, _ := strings.Cut(s.Addr, ":")
	for name, c := range map[string]struct {
		url  string
		o    Options
		want error
		word string
	}{
		"unknown host":      {s.URL("/"), Options{Keys: []string{s.Key}, KnownHosts: []string{write("empty", "")}}, ErrHostKey, "stands in none of"},
		"no known hosts":    {s.URL("/"), Options{Keys: []string{s.Key}, KnownHosts: []string{filepath.Join(dir, "none")}}, ErrHostKey, "none of these files"},
		"another key":       {s.URL("/"), Options{Keys: []string{s.Key}, KnownHosts: []string{write("wrong", "["+host+"]:"+port+" "+key)}}, ErrHostKey, "mismatch"},
		"no key":            {s.URL("/"), Options{KnownHosts: []string{s.KnownHosts}}, ErrKeys, ""},
		"another user key":  {s.URL("/"), Options{Keys: []string{other.Key}, KnownHosts: []string{s.KnownHosts}}, nil, "unable to authenticate"},
		"key is no key":     {s.URL("/"), Options{Keys: []string{write("text", "hello")}, KnownHosts: []string{s.KnownHosts}}, nil, "no key found"},
		"key is not there":  {s.URL("/"), Options{Keys: []string{filepath.Join(dir, "none")}, KnownHosts: []string{s.KnownHosts}}, fs.ErrNotExist, ""},
		"password in place": {"sftp://me:secret@" + s.Addr + "/", Options{}, nil, "password"},
		"no user":           {"sftp://" + s.Addr + "/", Options{}, nil, "not of the form"},
		"no path":           {"sftp://me@" + s.Addr, Options{}, nil, "not of the form"},
		"another scheme":    {"ftp://me@" + s.Addr + "/", Options{}, nil, "not of the form"},
	} {
		tree, err := Dial(t.Context(), c.url, &c.o)
		if err == nil {
			tree.Close()
		}
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.word) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
