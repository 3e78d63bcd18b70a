//go:build unix

package users

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// usersDir makes a directory with assign and an old cdb.
func usersDir(t *testing.T, assign string) (string, *os.Root) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"assign": assign, "cdb": "old"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return dir, root
}

// Each step fails once: the words are those of qmail-newu, the old cdb is as
// it was, nothing is left, and the next try succeeds.
func TestNewUFaults(t *testing.T) {
	words := map[string]error{
		"create": ErrOpenTemp, "chmod": ErrOpenTemp, "chown": ErrOpenTemp,
		"write": ErrWriteTemp, "sync": ErrWriteTemp, "close": ErrWriteTemp, "rename": ErrMoveTemp, "syncdir": ErrWriteTemp,
	}
	var steps []string
	_, root := usersDir(t, sample)
	if err := NewU(root, &NewUOptions{hook: func(op, _ string) error { steps = append(steps, op); return nil }}); err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{"create", "write", "sync", "close", "rename", "syncdir"} {
		if !slices.Contains(steps, op) {
			t.Fatalf("no %s among %q", op, steps)
		}
	}
	for n, op := range steps {
		dir, root := usersDir(t, sample)
		left, broken := n, errors.New("no more "+op)
		o := &NewUOptions{hook: func(string, string) error {
			if left--; left == -1 {
				return broken
			}
			return nil
		}}
		err := NewU(root, o)
		if op == "remove" {
			// An old cdb.tmp that stays is no reason to stop: there are other names.
			if err != nil {
				t.Errorf("remove fails: %v", err)
			}
			continue
		}
		if !errors.Is(err, broken) || !errors.Is(err, words[op]) || Fatal(err) != "qmail-newu: fatal: "+words[op].Error() {
			t.Errorf("%s fails: %v", op, err)
		}
		cdb, err := os.ReadFile(filepath.Join(dir, "cdb"))
		if err != nil || string(cdb) != "old" && op != "syncdir" {
			t.Errorf("%s fails: cdb %q, %v", op, cdb, err)
		}
		if list, err := os.ReadDir(dir); err != nil || len(list) != 2 {
			t.Errorf("%s fails: %v left, %v", op, list, err)
		}
		if err := NewU(root, o); err != nil {
			t.Errorf("after %s: %v", op, err)
		}
		if cdb, err := os.ReadFile(filepath.Join(dir, "cdb")); err != nil || len(cdb) < 2048 {
			t.Errorf("after %s: %d bytes, %v", op, len(cdb), err)
		}
	}
}

func TestNewUModes(t *testing.T) {
	for _, c := range []struct {
		opts *NewUOptions
		mode fs.FileMode
	}{{nil, 0o644}, {&NewUOptions{Mode: 0o640, Owner: &Owner{-1, -1}}, 0o640}} {
		dir, root := usersDir(t, sample)
		// What a run that was cut off has left is no hindrance.
		if err := os.WriteFile(filepath.Join(dir, "cdb.tmp"), []byte(strings.Repeat("x", 1<<16)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := NewU(root, c.opts); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(filepath.Join(dir, "cdb"))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm() != c.mode || int(fi.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
			t.Errorf("%+v: mode %o", c.opts, fi.Mode())
		}
	}
	if os.Geteuid() == 0 {
		dir, root := usersDir(t, sample)
		if err := NewU(root, &NewUOptions{Owner: &Owner{4711, 4712}}); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(filepath.Join(dir, "cdb"))
		if err != nil {
			t.Fatal(err)
		}
		if st := fi.Sys().(*syscall.Stat_t); st.Uid != 4711 || st.Gid != 4712 {
			t.Errorf("owner %d:%d", st.Uid, st.Gid)
		}
	}
}

func TestNewUBadAssign(t *testing.T) {
	for name, plant := range map[string]func(string) error{
		"directory": func(p string) error { return os.Mkdir(p, 0o755) },
		"FIFO":      func(p string) error { return syscall.Mkfifo(p, 0o644) },
		"dangling":  func(p string) error { return os.Symlink("gone", p) },
	} {
		dir, root := usersDir(t, sample)
		if err := os.Remove(filepath.Join(dir, "assign")); err != nil {
			t.Fatal(err)
		}
		if err := plant(filepath.Join(dir, "assign")); err != nil {
			t.Fatal(err)
		}
		err := NewU(root, nil)
		if !errors.Is(err, ErrOpenAssign) || Fatal(err) != "qmail-newu: fatal: unable to open users/assign" {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A link of the administrator's is followed.
	dir, root := usersDir(t, sample)
	if err := errors.Join(os.Rename(filepath.Join(dir, "assign"), filepath.Join(dir, "real")), os.Symlink("real", filepath.Join(dir, "assign"))); err != nil {
		t.Fatal(err)
	}
	if err := NewU(root, nil); err != nil {
		t.Error(err)
	}
}
