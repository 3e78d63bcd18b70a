package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// faults is a hook that makes steps fail, from one on.
type faults struct {
	mode string
	at   int

	mu    sync.Mutex
	n     int
	fired string // what failed first
}

var errDead = errors.New("the process has died")

func (f *faults) hook(op, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	grows := op == "write" || op == "create" || op == "mkdir"
	switch {
	case f.mode == "once", f.mode == "dead", f.mode == "full" && grows, f.mode == "short" && op == "write", f.mode == "sync" && strings.HasPrefix(op, "sync"):
		f.n++
	default:
		return nil
	}
	if f.n < f.at || f.n > f.at && f.mode != "dead" && f.mode != "full" {
		return nil
	}
	if f.fired == "" {
		f.fired = op + " " + filepath.Base(name)
	}
	switch f.mode {
	case "dead":
		return errDead
	case "full":
		return syscall.ENOSPC
	case "short":
		return fmt.Errorf("%w: %w", safefs.ErrShort, syscall.ENOSPC)
	}
	return syscall.EIO
}

// openFiles counts the descriptors of this process.
func openFiles(t testing.TB) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0 // another system
	}
	return len(list)
}

// TestImportFaults interrupts an import at each of its steps, in each way, and
// runs it again.
func TestImportFaults(t *testing.T) {
	msgs := sample(11)
	clean := fastDir(t)
	if _, err := runImport(t, clean, msgs, nil); err != nil {
		t.Fatal(err)
	}
	want := snapshot(t, clean)
	for name, opts := range map[string]CommitOptions{
		"group": {MaxMessages: 4}, "files": {MaxMessages: 4, NoSyncFS: true}, "each": {Sync: SyncEach}, "none": {Sync: SyncNone, MaxMessages: 4},
	} {
		for _, mode := range []string{"once", "full", "short", "sync", "dead"} {
			if name == "none" && mode == "sync" {
				continue // it makes none
			}
			t.Run(name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				steps := 0
				for at := 1; ; at += stride(at) {
					f := &faults{mode: mode, at: at}
					o := opts
					o.hook = f.hook
					interrupted(t, msgs, &o, f, want)
					if f.fired == "" {
						break
					}
					steps++
				}
				if steps < 2 {
					t.Errorf("only %d steps", steps)
				}
			})
		}
	}
}

// stride leaves steps out in short runs.
func stride(at int) int {
	if testing.Short() && at > 20 {
		return 7
	}
	return 1
}

func interrupted(t *testing.T, msgs []*Message, opts *CommitOptions, f *faults, want string) {
	t.Helper()
	dir := fastDir(t)
	results, err := runResults(t, dir, msgs, opts, nil)
	f.mu.Lock()
	fired := f.fired
	f.mu.Unlock()
	place := fmt.Sprintf("step %d (%s)", f.at, fired)
	// Removing what is not there may fail.
	if (err != nil) != (fired != "") && !strings.HasPrefix(fired, "remove .") {
		t.Errorf("%s: error %v", place, err)
	}
	for i, r := range results {
		switch {
		case r.Outcome == Delivered:
			if _, err := os.Lstat(filepath.Join(dir, "M", r.Entry.Folder, r.Entry.Sub(), r.Entry.Name.String())); err != nil {
				t.Errorf("%s: message %d was called delivered: %v", place, i, err)
			}
		case r.Outcome != Failed:
			t.Errorf("%s: message %d is %s in a first run", place, i, r.Outcome)
		case err == nil:
			t.Errorf("%s: message %d failed in a run that did not: %v", place, i, r.Err)
		}
	}
	again := *opts
	again.hook = nil
	results, err = runResults(t, dir, msgs, &again, nil)
	n := tally(results)
	if err != nil || n[Delivered]+n[Present] != len(msgs) {
		t.Errorf("%s: rerun: %v, %v", place, n, err)
	}
	if got := snapshot(t, dir); got != want {
		t.Errorf("%s: the rerun's Maildir is not that of a clean run:\n%s", place, diff(want, got))
	}
	if n, err := runImport(t, dir, msgs, &again); err != nil || n[Present] != len(msgs) {
		t.Errorf("%s: third run: %v, %v", place, n, err)
	}
	os.RemoveAll(dir)
}

// diff lists the lines that only one of a and b has.
func diff(a, b string) string {
	var out []string
	in := func(l, s string) bool { return strings.Contains("\n"+s+"\n", "\n"+l+"\n") }
	for l := range strings.SplitSeq(a, "\n") {
		if !in(l, b) {
			out = append(out, "- "+l)
		}
	}
	for l := range strings.SplitSeq(b, "\n") {
		if !in(l, a) {
			out = append(out, "+ "+l)
		}
	}
	return strings.Join(out, "\n")
}

// TestRecoveryFaults interrupts the recovery, too: each of its steps dies, or
// fails once, in a Maildir that an import has left with open intents.
func TestRecoveryFaults(t *testing.T) {
	msgs := sample(12)
	clean := fastDir(t)
	if _, err := runImport(t, clean, msgs, nil); err != nil {
		t.Fatal(err)
	}
	want := snapshot(t, clean)
	for _, mode := range []string{"dead", "once", "full", "short"} {
		for at := 1; ; at++ {
			dir := fastDir(t)
			first := &cutPlaces{after: 5}
			if _, err := runResults(t, dir, msgs, &CommitOptions{hook: first.hook}, nil); err == nil {
				t.Fatal("the first run was not cut off")
			}
			f := &faults{mode: mode, at: at}
			_, err := runResults(t, dir, msgs, &CommitOptions{hook: f.hook}, nil)
			if (err != nil) != (f.fired != "") && !strings.HasPrefix(f.fired, "remove .") {
				t.Errorf("%s %d (%s): %v", mode, at, f.fired, err)
			}
			n, err := runImport(t, dir, msgs, nil)
			if err != nil || n[Delivered]+n[Present] != len(msgs) {
				t.Errorf("%s %d (%s): rerun: %v, %v", mode, at, f.fired, n, err)
			}
			if got := snapshot(t, dir); got != want {
				t.Errorf("%s %d (%s): not as a clean run:\n%s", mode, at, f.fired, diff(want, got))
			}
			os.RemoveAll(dir)
			if f.fired == "" {
				break
			}
		}
	}
}

// cutPlaces dies after some messages have got their places.
type cutPlaces struct {
	after int

	mu sync.Mutex
	n  int
}

func (c *cutPlaces) hook(op, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if op == "rename" && strings.Contains(name, "/tmp/") {
		c.n++
	}
	if c.n > c.after {
		return errDead
	}
	return nil
}

// TestImportDescriptors looks that none stays open, however an import ends.
func TestImportDescriptors(t *testing.T) {
	msgs := sample(23)
	before := openFiles(t)
	for at := 1; at < 400; at += 3 {
		f := &faults{mode: "once", at: at}
		dir := fastDir(t)
		runResults(t, dir, msgs, &CommitOptions{MaxMessages: 8, hook: f.hook}, nil)
		os.RemoveAll(dir)
		if after := openFiles(t); after > before {
			t.Fatalf("step %d (%s): %d descriptors became %d", at, f.fired, before, after)
		}
		if f.fired == "" {
			break
		}
	}
}
