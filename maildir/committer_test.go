package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestImportTimes(t *testing.T) {
	dir := fastDir(t)
	now := time.Now()
	var msgs []*Message
	for i, at := range []time.Time{{}, now.Add(48 * time.Hour), time.Unix(1e9, 5e8), time.Unix(-5, 0)} {
		m := msg("a", fmt.Sprint(i), 0)
		m.Time = at
		msgs = append(msgs, m)
	}
	res, err := runResults(t, dir, msgs, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range res {
		fi, err := os.Stat(filepath.Join(dir, "M/new", r.Entry.Name.String()))
		if err != nil {
			t.Fatal(err)
		}
		got := fi.ModTime()
		if i < 2 && (got.After(time.Now().Add(time.Second)) || got.Before(now.Add(-time.Minute))) || i >= 2 && !got.Equal(msgs[i].Time) {
			t.Errorf("message %d: %v", i, got)
		}
		if at, ok := r.Entry.Name.Time(); !ok || at.After(time.Now().Add(time.Second)) || len(r.Entry.Name.Base()) > 70 {
			t.Errorf("message %d: %q", i, r.Entry.Name)
		}
	}
}

// TestKeywordsRun gives letters, counts those that are lost, and has the table
// on the disk before any letter shows.
func TestKeywordsRun(t *testing.T) {
	dir := fastDir(t)
	var msgs []*Message
	for i := range 30 {
		m := msg("a", fmt.Sprint(i), 0)
		m.Keywords = []string{fmt.Sprintf("key%02d", i)}
		msgs = append(msgs, m)
	}
	table := filepath.Join(dir, "M", KeywordsName)
	opts := &CommitOptions{MaxMessages: 7, hook: func(op, name string) error {
		if _, err := os.Lstat(table); op == "rename" && strings.Contains(name, "/tmp/") && err != nil {
			t.Errorf("%s shows before its keyword: %v", name, err)
		}
		return nil
	}}
	res, err := runResults(t, dir, msgs, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	k := ParseKeywords([]byte(read(t, table)))
	lost := 0
	for i, r := range res {
		lost += r.KeywordsLost
		names := k.Names(r.Entry.Name.Flags())
		if r.Outcome != Delivered || r.KeywordsLost == 0 && (len(names) != 1 || names[0] != fmt.Sprintf("key%02d", i)) {
			t.Errorf("message %d: %+v has %q", i, r, names)
		}
	}
	if lost != 4 {
		t.Errorf("%d keywords lost", lost)
	}
	if n, err := runImport(t, dir, msgs, nil); err != nil || n[Present] != 30 {
		t.Errorf("rerun: %v, %v", n, err)
	}
}

// TestCommitterShared adds to many Maildirs from several goroutines.
func TestCommitterShared(t *testing.T) {
	dir := fastDir(t)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	c := NewCommitter(&CommitOptions{MaxMessages: 10})
	im, err := c.Import(root, "a/b/Shared", nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			own, err := c.Import(root, fmt.Sprint("own", g), nil)
			if err != nil {
				t.Error(err)
				return
			}
			sure := 0
			for i := range 40 {
				m := msg(fmt.Sprint("source", g), fmt.Sprint(i%30), 0)
				m.Done = func(r Result) {
					if r.Outcome == Delivered {
						sure++
					}
				}
				cp := *m
				if err := errors.Join(im.Add(context.Background(), m), own.Add(context.Background(), &cp)); err != nil {
					t.Error(err)
				}
				if i%15 == 14 {
					if err := c.Flush(); err != nil || sure != 2*(i+1) {
						t.Errorf("after a flush %d of %d are sure: %v", sure, 2*(i+1), err)
					}
				}
			}
			done := 0
			if err := own.Close(func(d *Dir) error { done++; return nil }); err != nil {
				t.Error(err)
			}
			if err := c.Flush(); err != nil || done != 1 {
				t.Errorf("closed %d times: %v", done, err)
			}
		})
	}
	wg.Wait()
	im.Close(nil)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	d, err := Open(filepath.Join(dir, "a/b/Shared"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if list, _ := messages(t, d); len(list) != 160 {
		t.Errorf("%d messages", len(list))
	}
}

func TestImportCancel(t *testing.T) {
	root, err := os.OpenRoot(fastDir(t))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	c := NewCommitter(nil)
	im, err := c.Import(root, "M", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(io.ErrClosedPipe)
	if err := im.Add(ctx, msg("", "x", 0)); err != io.ErrClosedPipe {
		t.Errorf("cancelled: %v", err)
	}
	im.Close(func(*Dir) error { return syscall.EDOM })
	if err := c.Close(); !errors.Is(err, syscall.EDOM) {
		t.Errorf("an error of finish: %v", err)
	}
}

// TestCommitterDirs opens Maildirs with many folders: what a group holds open
// is bounded, whether messages come or not.
func TestCommitterDirs(t *testing.T) {
	const boxes, folders = 24, 6
	root, err := os.OpenRoot(fastDir(t))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	before, most := openFiles(t), 0
	c := NewCommitter(&CommitOptions{MaxDirs: 8, Sync: SyncNone})
	for i := range boxes {
		im, err := c.Import(root, fmt.Sprint("M", i), nil)
		if err != nil {
			t.Fatal(err)
		}
		for k := range folders {
			if _, err := im.folder(fmt.Sprintf(".F%d", k)); err != nil {
				t.Fatal(err)
			}
		}
		if err := im.Close(nil); err != nil {
			t.Fatal(err)
		}
		most = max(most, openFiles(t)-before)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	// Five groups of two Maildirs, with five descriptors a folder.
	if limit := 5 * 2 * (folders + 1) * 5; most > limit {
		t.Errorf("%d descriptors were open at once, more than %d", most, limit)
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors became %d", before, after)
	}
}
