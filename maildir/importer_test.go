package maildir

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"
)

// sample is a source of n messages, some of them equal.
func sample(n int) []*Message {
	var out []*Message
	for i := range n {
		body := fmt.Sprintf("Subject: %d\nStatus: O\n\nbody %d\n", i/2, i/2)
		if i%50 == 7 {
			body += strings.Repeat("x", 300<<10)
		}
		m := &Message{Source: "var/mail/ann", Size: int64(len(body)), Time: time.Unix(1e9+int64(i), 0)}
		m.Body = func() io.Reader { return strings.NewReader(body) }
		switch i % 3 {
		case 1:
			m.Flags = Seen
		case 2:
			m.Cur, m.Folder, m.Keywords = true, ".Work.2004", []string{"Junk", fmt.Sprint("k", i%4)}
		}
		out = append(out, m)
	}
	return out
}

func runImport(t testing.TB, dir string, msgs []*Message, opts *CommitOptions) (map[Outcome]int, error) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	c := NewCommitter(opts)
	count := map[Outcome]int{}
	im, err := c.Import(root, "M", nil)
	if err == nil {
		for _, m := range msgs {
			cp := *m
			cp.Done = func(r Result) { count[r.Outcome]++ }
			if err = im.Add(context.Background(), &cp); err != nil {
				break
			}
		}
		im.Close(nil)
	}
	if e := c.Close(); err == nil {
		err = e
	}
	return count, err
}

// snapshot lists all files under a Maildir with their contents, the journal
// left out.
func snapshot(t testing.TB, dir string) string {
	t.Helper()
	var out []string
	err := filepath.Walk(dir, func(p string, fi os.FileInfo, err error) error {
		if err != nil || fi.IsDir() || fi.Name() == JournalName {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		if len(b) > 80 {
			b = b[:80]
		}
		out = append(out, fmt.Sprintf("%s %q", rel, bytes.TrimSpace(b)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}

func TestImportTwice(t *testing.T) {
	for _, opts := range []*CommitOptions{nil, {NoSyncFS: true, MaxMessages: 7}, {Sync: SyncEach}, {Sync: SyncNone}} {
		dir := t.TempDir()
		msgs := sample(40)
		n, err := runImport(t, dir, msgs, opts)
		if err != nil || n[Delivered] != len(msgs) {
			t.Fatalf("%+v: first run: %v, %v", opts, n, err)
		}
		one := snapshot(t, dir)
		n, err = runImport(t, dir, msgs, opts)
		if err != nil || n[Present] != len(msgs) {
			t.Fatalf("%+v: second run: %v, %v", opts, n, err)
		}
		if two := snapshot(t, dir); one != two {
			t.Errorf("%+v: second run changed something:\n%s\n%s", opts, one, two)
		}
		if strings.Contains(one, "tmp/") {
			t.Errorf("left in tmp: %s", one)
		}
		os.Remove(filepath.Join(dir, "M", JournalName))
		n, err = runImport(t, dir, msgs, opts)
		if err != nil || n[Present] != len(msgs) {
			t.Fatalf("%+v: without journal: %v, %v", opts, n, err)
		}
	}
}
