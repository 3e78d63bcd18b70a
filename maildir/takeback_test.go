package maildir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func takeBack(t *testing.T, dir string, hook func(op, name string) error) (int, error) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	c := NewCommitter(&CommitOptions{hook: hook})
	im, err := c.Import(root, "M", nil)
	if err != nil {
		c.Close()
		return 0, err
	}
	n, err := im.TakeBack(context.Background())
	return n, errors.Join(err, im.Close(nil), c.Close())
}

func TestTakeBack(t *testing.T) {
	dir := t.TempDir()
	msgs := sample(40)
	if _, err := runImport(t, dir, msgs, nil); err != nil {
		t.Fatal(err)
	}
	// Its reader opens one message and deletes another.
	names, err := filepath.Glob(filepath.Join(dir, "M/new/*"))
	if err != nil || len(names) < 2 {
		t.Fatalf("%v, %v", names, err)
	}
	read := filepath.Join(dir, "M/cur", filepath.Base(names[0])+":2,S")
	if err := errors.Join(os.Rename(names[0], read), os.Remove(names[1])); err != nil {
		t.Fatal(err)
	}
	if n, err := takeBack(t, dir, nil); n != 38 || err != nil {
		t.Fatalf("took %d messages back: %v", n, err)
	}
	if s := snapshot(t, dir); strings.Count(s, "qmailkit,S=") != 1 || !strings.Contains(s, filepath.Base(read)) {
		t.Errorf("left: %s", s)
	}
	if n, err := takeBack(t, dir, nil); n != 0 || err != nil {
		t.Errorf("once more: %d, %v", n, err)
	}
	// What was taken back comes again; what its reader did stays.
	n, err := runImport(t, dir, msgs, nil)
	if err != nil || n[Delivered] != 38 || n[Present]+n[Kept] != 2 {
		t.Errorf("imported again: %v, %v", n, err)
	}
}

// Cut off at any step, taking back and importing again leaves every message
// once.
func TestTakeBackCutOff(t *testing.T) {
	msgs := sample(12)
	clean := t.TempDir()
	if _, err := runImport(t, clean, msgs, nil); err != nil {
		t.Fatal(err)
	}
	want := snapshot(t, clean)
	for k := 1; ; k++ {
		dir := t.TempDir()
		if _, err := runImport(t, dir, msgs, nil); err != nil {
			t.Fatal(err)
		}
		step, dead := 0, errors.New("cut off")
		_, err := takeBack(t, dir, func(string, string) error {
			if step++; step >= k {
				return dead
			}
			return nil
		})
		if err == nil {
			if k < 10 {
				t.Errorf("taking back has only %d steps", k-1)
			}
			break
		}
		if _, err := runImport(t, dir, msgs, nil); err != nil {
			t.Fatal(err)
		}
		if got := snapshot(t, dir); got != want {
			t.Fatalf("cut off at step %d:\n%s\nwant:\n%s", k, got, want)
		}
	}
}

// Withdraw takes only what it is asked to, and what comes again at the source
// comes again here.
func TestWithdraw(t *testing.T) {
	dir := t.TempDir()
	msgs := sample(20)
	if _, err := runImport(t, dir, msgs, nil); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	names, err := filepath.Glob(filepath.Join(dir, "M/new/*"))
	if err != nil || len(names) < 4 {
		t.Fatalf("%v, %v", names, err)
	}
	gone := map[string]bool{}
	for _, n := range names[:3] {
		gone[filepath.Base(n)] = true
	}
	// Its reader has opened one of the three.
	read := filepath.Join(dir, "M/cur", filepath.Base(names[0])+":2,S")
	if err := os.Rename(names[0], read); err != nil {
		t.Fatal(err)
	}
	c := NewCommitter(nil)
	im, err := c.Import(root, "M", nil)
	if err != nil {
		t.Fatal(err)
	}
	took := 0
	finish := func(*Dir) error {
		took, err = im.Withdraw(context.Background(), func(e Entry) bool { return gone[e.Name.String()] })
		return err
	}
	if err := errors.Join(im.Close(finish), c.Close()); err != nil || took != 2 {
		t.Fatalf("took %d: %v", took, err)
	}
	for i, p := range []string{read, names[1], names[2], names[3]} {
		if _, err := os.Lstat(p); (err == nil) != (i == 0 || i == 3) {
			t.Errorf("%s: %v", p, err)
		}
	}
	n, err := runImport(t, dir, msgs, nil)
	if err != nil || n[Delivered] != 2 {
		t.Errorf("imported again: %v, %v", n, err)
	}
}
