//go:build unix

package vpopmail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// TestRemoveTree removes what the owner of a tree may have put into it: links
// out of it, FIFOs, more depth than a process has descriptors, many names.
func TestRemoveTree(t *testing.T) {
	dir := tempDir(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(dir, "outside")
	must(os.MkdirAll(filepath.Join(outside, "sub"), 0o755))
	must(os.WriteFile(filepath.Join(outside, "kept"), []byte("x"), 0o644))
	gone := filepath.Join(dir, "gone")
	must(os.MkdirAll(filepath.Join(gone, "a/b"), 0o755))
	must(os.Symlink("../outside", filepath.Join(gone, "link")))
	must(os.Symlink("../../../outside/kept", filepath.Join(gone, "a/b/link")))
	must(os.Link(filepath.Join(outside, "kept"), filepath.Join(gone, "hard")))
	must(unix.Mkfifo(filepath.Join(gone, "a/fifo"), 0o600))
	for i := range 2*treeBatch + 3 {
		must(os.WriteFile(filepath.Join(gone, fmt.Sprint("f", i)), nil, 0o600))
	}
	// 1,500 levels are far more than a path may have letters, so they are made
	// one by one.
	root, err := os.OpenRoot(gone)
	must(err)
	for range 1500 {
		must(root.Mkdir("deep-down-below", 0o755))
		next, err := root.OpenRoot("deep-down-below")
		must(err)
		root.Close()
		root = next
	}
	must(root.WriteFile("leaf", nil, 0o600))
	root.Close()

	top, err := os.OpenRoot(dir)
	must(err)
	defer top.Close()
	open := func(hook safefs.Hook) *safefs.Dir {
		d, err := safefs.OpenDir(top, ".", hook)
		must(err)
		t.Cleanup(func() { d.Close() })
		return d
	}
	n := 0
	broken := open(func(op, name string) error {
		if n++; n == 500 {
			return errCut
		}
		return nil
	})
	if err := removeTree(t.Context(), broken, "gone"); !errors.Is(err, errCut) {
		t.Errorf("a step fails: %v", err)
	}
	d := open(nil)
	must(removeTree(t.Context(), d, "gone"))
	must(removeTree(t.Context(), d, "gone"))
	left, err := os.ReadDir(dir)
	must(err)
	if len(left) != 1 || left[0].Name() != "outside" {
		t.Errorf("left: %v", left)
	}
	if fi, err := os.Stat(filepath.Join(outside, "kept")); err != nil || fi.Size() != 1 {
		t.Errorf("outside: %v", err)
	}
	must(os.Symlink("outside", filepath.Join(dir, "way")))
	must(removeTree(t.Context(), d, "way"))
	if _, err := os.Stat(filepath.Join(outside, "sub")); err != nil {
		t.Errorf("a link was followed: %v", err)
	}
	if err := removeTree(t.Context(), d, "../x"); !errors.Is(err, safefs.ErrName) {
		t.Errorf("%v, want %v", err, safefs.ErrName)
	}
}
