package maildir

import (
	"context"
	"crypto/sha256"
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
			m.Cur, m.Folder, m.Keywords = true, ".Work.2004", []string{"Junk", "Work"}
		}
		out = append(out, m)
	}
	return out
}

// runResults imports into the Maildir M of dir and gives each message's fate.
func runResults(t testing.TB, dir string, msgs []*Message, copts *CommitOptions, opts *Options) ([]Result, error) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	c := NewCommitter(copts)
	results := make([]Result, len(msgs))
	im, err := c.Import(root, "M", opts)
	if err == nil {
		for i, m := range msgs {
			cp := *m
			calls := 0
			cp.Done = func(r Result) {
				if calls++; calls > 1 {
					t.Errorf("message %d is done twice", i)
				}
				results[i] = r
			}
			if err = im.Add(context.Background(), &cp); err != nil {
				break
			}
		}
		if e := im.Close(nil); err == nil {
			err = e
		}
	}
	if e := c.Close(); err == nil {
		err = e
	}
	return results, err
}

// runImport counts the fates.
func runImport(t testing.TB, dir string, msgs []*Message, opts *CommitOptions) (map[Outcome]int, error) {
	t.Helper()
	results, err := runResults(t, dir, msgs, opts, nil)
	return tally(results), err
}

func tally(results []Result) map[Outcome]int {
	count := map[Outcome]int{}
	for _, r := range results {
		count[r.Outcome]++
	}
	return count
}

// snapshot lists all files under a Maildir with their contents and, for
// messages, their times; the journal is left out.
func snapshot(t testing.TB, dir string) string {
	t.Helper()
	var out []string
	err := filepath.Walk(dir, func(p string, fi os.FileInfo, err error) error {
		if err != nil || fi.Name() == JournalName {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		line := fmt.Sprintf("%s %s", rel, fi.Mode())
		if fi.Mode().IsRegular() {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %x %.60q", len(b), sha256.Sum256(b), b)
			if strings.Contains(rel, "/new/") || strings.Contains(rel, "/cur/") {
				line += " " + fi.ModTime().UTC().Format(time.RFC3339Nano)
			}
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}

// fastDir is a temporary directory in memory where there is one: most tests
// look at the order of steps, not at the disk.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "maildir-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
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
		if strings.Contains(one, "/tmp/") {
			t.Errorf("left in tmp: %s", one)
		}
		os.Remove(filepath.Join(dir, "M", JournalName))
		n, err = runImport(t, dir, msgs, opts)
		if err != nil || n[Present] != len(msgs) {
			t.Fatalf("%+v: without journal: %v, %v", opts, n, err)
		}
	}
}
