package plesk

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit"
)

// faultTree fails in its n-th operation.
type faultTree struct {
	qmailkit.Tree
	left int
	at   string // what failed
}

var errFault = errors.New("input/output error")

func (f *faultTree) fail(op, name string) error {
	if f.left--; f.left != 0 {
		return nil
	}
	f.at = op + " " + name
	return &fs.PathError{Op: op, Path: name, Err: errFault}
}

func (f *faultTree) ReadDir(ctx context.Context, dir string) iter.Seq2[qmailkit.DirEntry, error] {
	if err := f.fail("readdir", dir); err != nil {
		return func(yield func(qmailkit.DirEntry, error) bool) { yield(qmailkit.DirEntry{}, qmailkit.Incomplete(err)) }
	}
	return f.Tree.ReadDir(ctx, dir)
}

func (f *faultTree) Lstat(name string) (qmailkit.FileInfo, error) {
	if err := f.fail("lstat", name); err != nil {
		return qmailkit.FileInfo{}, err
	}
	return f.Tree.Lstat(name)
}

func (f *faultTree) Open(name string) (qmailkit.File, error) {
	if err := f.fail("open", name); err != nil {
		return nil, err
	}
	return f.Tree.Open(name)
}

// TestTreeFaults makes each step of reading a sound tree fail: somebody is told,
// every time, and all else is read.
func TestTreeFaults(t *testing.T) {
	files, s := sound()
	_, tree := hostTree(t, files)
	for n := 1; ; n++ {
		f := &faultTree{Tree: tree, left: n}
		told := false
		for p, err := range CheckTree(t.Context(), f, "m", s, nil) {
			told = told || err != nil || p.Code != ""
			if err != nil && !errors.Is(err, errFault) {
				t.Errorf("%s: %v", f.at, err)
			}
		}
		if f.at == "" {
			if n < 20 {
				t.Errorf("%d steps only", n)
			}
			return
		}
		if !told {
			t.Errorf("%s fails, and nobody is told", f.at)
		}
	}
}

// TestHostileTree puts links, a FIFO and a large file in the way of a reader
// that may be root.
func TestHostileTree(t *testing.T) {
	files, s := sound()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("| true\n&leak@x.org\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		at   string
		make func(at string) error
		code string
	}{
		"link for .qmail":         {"m/example.com/team/.qmail", func(at string) error { return os.Symlink(secret, at) }, "plesk.entry"},
		"FIFO for .qmail":         {"m/example.com/team/.qmail", func(at string) error { return syscall.Mkfifo(at, 0o600) }, "plesk.entry"},
		"FIFO for .qmail-default": {"m/example.com/.qmail-default", func(at string) error { return syscall.Mkfifo(at, 0o600) }, "plesk.unreadable"},
		"link for .qmail-default": {"m/example.com/.qmail-default", func(at string) error { return os.Symlink(secret, at) }, "plesk.unreadable"},
		"link for a mailbox":      {"m/example.com/link", func(at string) error { return os.Symlink("/etc", at) }, "plesk.domain-entry"},
		"link for a domain":       {"m/link.org", func(at string) error { return os.Symlink("/etc", at) }, "plesk.tree-entry"},
		"link for a Maildir":      {"m/example.com/team/Maildir", func(at string) error { return os.Symlink("/etc", at) }, "plesk.entry"},
		"large .qmail":            {"m/example.com/team/.qmail", func(at string) error { return os.WriteFile(at, []byte(strings.Repeat("# x\n", maxDot)), 0o600) }, "plesk.unreadable"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, tree := hostTree(t, files)
			at := filepath.Join(dir, c.at)
			if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			if err := c.make(at); err != nil {
				t.Fatal(err)
			}
			if probs := checkTree(t, tree, s); !slices.Contains(codes(probs), c.code) {
				t.Errorf("%v", probs)
			}
			for d, err := range ReadMailnames(t.Context(), tree, "m") {
				if err != nil {
					t.Fatal(err)
				}
				for _, b := range d.Mailboxes {
					if b.Dot != nil && slices.Contains(b.Dot.Forwards, "leak@x.org") {
						t.Error("a link is followed")
					}
					if at, ok := b.Maildir(); ok && b.Name != "anna" {
						t.Errorf("%s is taken for a Maildir", at)
					}
				}
			}
		})
	}
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		name string
		mode fs.FileMode
		want Fate
	}{
		{"Maildir", fs.ModeDir, FateMessages}, {"Maildir", 0, FateReport}, {"Maildir", fs.ModeSymlink, FateReport},
		{"@attachments", fs.ModeDir, FateCarry}, {"@attachments", 0, FateReport}, {"@mbox.usage", 0, FateDrop}, {"@mbox.usage", fs.ModeNamedPipe, FateReport},
		{".spamassassin", fs.ModeDir, FateOptional}, {".qmail", 0, FateMake}, {".qmail", fs.ModeDir, FateReport}, {".qmail-x", 0, FateReport},
		{".mailfilter", 0, FateReport}, {"maildir", fs.ModeDir, FateReport}, {"\xff", 0, FateReport},
	} {
		got, why := Classify(c.name, c.mode)
		if got != c.want || (why == "") == (got == FateDrop || got == FateReport) {
			t.Errorf("%q, %v: %v, %q", c.name, c.mode, got, why)
		}
	}
}

func TestWords(t *testing.T) {
	var got []string
	for f := FateMessages; f <= FateReport+1; f++ {
		b, err := f.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b))
	}
	for a := AccountCreate; a <= AccountRefused+1; a++ {
		b, err := a.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b))
	}
	if d := cmp.Diff([]string{"messages", "carry", "optional", "make", "drop", "report", "fate(6)", "create", "same", "differs", "refused", "action(4)"}, got); d != "" {
		t.Error(d)
	}
}
