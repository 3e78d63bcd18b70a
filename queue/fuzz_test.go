//go:build unix

package queue

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/qmailkit/qmailkit"
)

// FuzzMessage reads the same bytes as each file of an envelope, once from what
// a Message keeps and once from the disk: both say the same, and never more
// than the file.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{
		"", "F\x00", "Fjoe@example.com\x00", "u0\x00p1\x00Fs@example.net\x00Tjoe@example.com\x00", "Ta\x00Db\x00Xc\x00\x00Td",
		"u\x00p99999999999999999999\x00F\xff\x00", "Fx", "T" + strings.Repeat("x", 2000) + "\x00",
	} {
		f.Add([]byte(s))
	}
	dir := f.TempDir()
	layoutOf(f, dir, Layout{Split: 1})
	put(f, dir, "mess/0/7", "")
	q := openQueue(f, dir, labOptions())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= keep {
			t.Skip("what is longer is not kept")
		}
		for _, p := range []Part{Info, Local, Remote, Todo, Intd} {
			put(t, dir, q.layout.Path(p, 7), string(b))
			m, err := q.Message(7)
			if m == nil {
				t.Fatal(err)
			}
			if p == Info && m.HasSender && !bytes.HasPrefix(b, []byte("F"+m.Sender+"\x00")) {
				t.Errorf("sender %q of %q", m.Sender, b)
			}
			kept, keptErrs := addresses(m)
			m.files[p].size = keep + 1 // read it again
			read, readErrs := addresses(m)
			if strings.Join(kept, "\n") != strings.Join(read, "\n") || len(keptErrs) != len(readErrs) {
				t.Errorf("%v: %q and %q, %v and %v", p, kept, read, keptErrs, readErrs)
			}
			if err := os.Remove(filepath.Join(dir, q.layout.Path(p, 7))); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// growTree makes a queue as the bytes say: each takes a name, a place and what
// stands there.
func growTree(t *testing.T, dir string, b []byte) {
	t.Helper()
	dirs := []string{"mess", "mess/0", "mess/1", "mess/2", "info", "info/0", "info/1", "local/0", "local/1", "remote/0", "remote/1",
		"bounce", "todo", "todo/0", "todo/1", "intd", "pid", "lock", "."}
	names := []string{"0", "1", "2", "3", "03", "4 ", "18446744073709551615", "18446744073709551616", "x", ".y", "5\n", "12.1795290000.1",
		"todo", "sendmutex", "tcpto", "trigger", "qmailkit", "\xff"}
	texts := []string{"", "F\x00", "Fx\x00Ty\x00", "Ta\x00Db\x00", "Xa\x00T", "u0\x00p1\x00Fa\x00Tb\x00", "\x00\x00", "Subject: x\n\ny"}
	for len(b) >= 3 {
		at := filepath.Join(dir, dirs[int(b[0])%len(dirs)])
		path := filepath.Join(at, names[int(b[1])%len(names)])
		os.MkdirAll(at, 0o700)
		switch kind := int(b[2]); {
		case kind < 200:
			os.WriteFile(path, []byte(texts[kind%len(texts)]), 0o600)
		case kind < 215:
			os.Mkdir(path, 0o700)
		case kind < 225:
			os.Symlink("/etc", path)
		case kind < 235:
			unix.Mkfifo(path, 0o600)
		case kind < 245:
			os.Remove(path)
		default:
			os.Chmod(path, 0)
		}
		b = b[3:]
	}
}

// FuzzQueue reads queues of any files at all: nothing panics, waits, or is
// found by one reader and not by the others.
func FuzzQueue(f *testing.F) {
	for _, s := range [][]byte{
		{}, {1, 0, 7, 5, 0, 1, 7, 0, 3}, {2, 1, 7, 12, 1, 5, 15, 1, 5}, {1, 0, 220, 5, 0, 226}, {0, 0, 205, 3, 7, 0, 18, 8, 210},
		{1, 4, 7, 1, 5, 7, 1, 6, 7, 1, 7, 7}, {12, 0, 240, 13, 3, 5}, {17, 13, 250, 17, 14, 3, 17, 15, 3, 17, 16, 205},
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 60 {
			t.Skip("small trees find the same")
		}
		dir := t.TempDir()
		for _, d := range []string{"mess/0", "mess/1", "info/0", "info/1", "local/0", "local/1", "remote/0", "remote/1", "bounce", "todo", "intd", "pid", "lock"} {
			os.MkdirAll(filepath.Join(dir, d), 0o700)
		}
		growTree(t, dir, b)
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		q, err := Open(root, labOptions())
		if err != nil {
			return // a directory that cannot be read
		}
		defer q.Close()
		readAll(t, q)
	})
}

func readAll(t *testing.T, q *Queue) {
	ctx := context.Background()
	for m, err := range q.Messages(ctx) {
		if m == nil {
			if !errors.Is(err, qmailkit.ErrIncomplete) {
				t.Errorf("neither message nor end: %v", err)
			}
			continue
		}
		if m.Parts == 0 || m.State != m.Parts.State() {
			t.Errorf("%v: %v of %07b", m.ID, m.State, m.Parts)
		}
		for p := range numParts {
			if (len(m.Paths(p)) > 0) != m.Parts.Has(p) {
				t.Errorf("%v: %v at %q", m.ID, p, m.Paths(p))
			}
		}
		for range m.Recipients() {
		}
		if one, err := q.Message(m.ID); !m.Misplaced() && (one == nil || one.State != m.State || one.Sender != m.Sender) {
			t.Errorf("%v: %+v alone, %+v among others, %v", m.ID, one, m, err)
		}
	}
	for p, err := range q.Check(ctx) {
		if err == nil && (p.Code == "" || p.Err == nil || p.Fix == "") {
			t.Errorf("%+v", p)
		}
	}
	q.WriteQread(ctx, io.Discard)
	q.WriteQstat(ctx, io.Discard)
	q.WriteTcpto(io.Discard)
}

func FuzzTcpto(f *testing.F) {
	f.Add([]byte("\x7f\x00\x00\x01\x02   \x01\x02\x03\x04    "))
	f.Add(make([]byte, 1024))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, to := range parseTcpto(b) {
			if to.Count < 1 || to.Count > 127 || !to.Addr.Is4() {
				t.Errorf("%+v", to)
			}
		}
	})
}
