//go:build unix

package queue

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit"
)

// sparse makes a file of that size in which only the beginning is written.
func sparse(t testing.TB, path, text string, size int64) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	settleLab(t, path, 0o600)
}

// peak is the greatest heap while f runs, above that at its beginning.
func peak(f func()) uint64 {
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	stop, done := make(chan struct{}), make(chan uint64)
	go func() {
		most := uint64(0)
		for {
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
			select {
			case <-stop:
				done <- most
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	f()
	close(stop)
	most := <-done
	return most - min(most, before.HeapAlloc)
}

// TestHostileFiles puts files of gigabytes among healthy messages: all is read
// in little memory, each is told of, and the others are there.
func TestHostileFiles(t *testing.T) {
	const gigabytes = 2 << 30
	q, dir := newLab(t, Layout{Split: 23}, healthy())
	at := func(p Part, id ID) string { return filepath.Join(dir, q.layout.Path(p, id)) }
	for id := ID(100); id < 107; id++ {
		fill(t, dir, map[string]string{q.layout.Path(Mess, id): "x\n\n", q.layout.Path(Info, id): "Fx\x00", q.layout.Path(Local, id): "Ty\x00"})
	}
	sparse(t, at(Bounce, 100), "<x>:\n", gigabytes)
	sparse(t, at(Mess, 101), "Subject: x\n", gigabytes)
	sparse(t, at(Info, 102), "", gigabytes)
	sparse(t, at(Local, 103), "Tx\x00", gigabytes) // billions of empty records
	if err := os.WriteFile(at(Remote, 104), []byte("Ta\x00T"+strings.Repeat("x", 10<<20)+"\x00Tb\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	settleLab(t, at(Remote, 104), 0o600)
	fill(t, dir, map[string]string{q.layout.Path(Mess, 107): "x", q.layout.Path(Todo, 107): "F" + strings.Repeat("x", 10<<20)})
	used := peak(func() { hostileList(t, q) })
	used = max(used, peak(func() {
		want := []string{"queue.bad-info info/10/102", "queue.bad-record local/11/103", "queue.cut-record todo/107",
			"queue.long-record remote/12/104", "queue.long-record todo/107", "queue.no-sender todo/107"}
		got := named(allFaults(t, q))
		got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, codeStaleBounce) || strings.HasPrefix(s, codeMode) })
		if want = slices.DeleteFunc(want, func(s string) bool { return s == "queue.long-record todo/107" }); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}))
	if limit := uint64(32 << 20); used > limit {
		t.Errorf("%d MB of memory, want at most %d", used>>20, limit>>20)
	}
}

func hostileList(t *testing.T, q *Queue) {
	t.Helper()
	all, errs := collect(t, q)
	if len(all) != 9 || all[29] == nil || all[100].BounceSize != 2<<30 || all[101].Size != 2<<30 {
		t.Errorf("%d messages", len(all))
	}
	bad := (*RecordError)(nil)
	for _, err := range errs {
		if !errors.As(err, &bad) {
			t.Errorf("%v", err)
		}
	}
	if h, err := all[101].Header(); err != nil || h.Text("Subject", nil) != "x" || len(h.Raw()) != MaxHeader {
		t.Errorf("header of %d bytes, %v", len(h.Raw()), err)
	}
	if got, errs := addresses(all[103]); len(got) != 1 || len(errs) != maxBad+1 || !errors.Is(errs[maxBad], qmailkit.ErrIncomplete) {
		t.Errorf("empty records: %d recipients, %d errors", len(got), len(errs))
	}
	if got, errs := addresses(all[104]); len(got) != 3 || len(errs) != 1 || !errors.Is(errs[0], ErrLong) {
		t.Errorf("10 MB: %d recipients, %v", len(got), errs)
	}
}

// TestHostileTypes puts what is no file in the places of all parts. Nothing is
// waited for or followed.
func TestHostileTypes(t *testing.T) {
	q, dir := newLab(t, Layout{Split: 23}, healthy())
	secret := filepath.Join(t.TempDir(), "secret")
	put(t, filepath.Dir(secret), "secret", "Fsecret@example.com\x00")
	id := ID(1000)
	var want []string
	for p := range numParts {
		for range 2 {
			id++
			for _, other := range []Part{Mess, Info} {
				if other != p {
					fill(t, dir, map[string]string{q.layout.Path(other, id): "Fx\x00"})
				}
			}
		}
		fifo(t, filepath.Join(dir, q.layout.Path(p, id)))
		if err := os.Symlink(secret, filepath.Join(dir, q.layout.Path(p, id-1))); err != nil {
			t.Fatal(err)
		}
		want = append(want, q.layout.Path(p, id), q.layout.Path(p, id-1))
	}
	all, errs := collect(t, q)
	if len(all) != 15 || all[29] == nil || len(errs) < 12 {
		t.Errorf("%d messages, %d errors", len(all), len(errs))
	}
	for _, err := range errs {
		if !errors.Is(err, qmailkit.ErrNotPlain) {
			t.Errorf("%v", err)
		}
	}
	for _, m := range all {
		if strings.Contains(m.Sender, "secret") {
			t.Errorf("message %v: a link was followed", m.ID)
		}
	}
	var typed []string
	for _, f := range allFaults(t, q) {
		if f.code == codeType {
			typed = append(typed, f.path)
		}
	}
	slices.Sort(typed)
	slices.Sort(want)
	if !slices.Equal(typed, want) {
		t.Errorf("told of %q, want %q", typed, want)
	}
	var out strings.Builder
	if err := q.WriteQread(context.Background(), &out); err != nil || strings.Contains(out.String(), "secret") || !strings.Contains(out.String(), "#29 ") {
		t.Errorf("qread: %v\n%s", err, out.String())
	}
}

// TestManyFiles fills one directory with names that are no messages, and one
// with messages that are in the wrong place.
func TestManyFiles(t *testing.T) {
	n := 20000
	if os.Getenv("QMAILKIT_LONG") != "" {
		n = 1000000
	}
	q, dir := newLab(t, Layout{Split: 3}, map[string]string{"mess/2/5": "x", "todo/5": "Fx\x00"})
	for i := range n {
		name := "mess/1/stray" + strconv.Itoa(i)
		if i%2 == 0 {
			name = "mess/1/" + strconv.Itoa(3*i+2)
		}
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	used := peak(func() {
		counts := map[string]int{}
		for f, err := range q.faults(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
			counts[f.code]++
		}
		if counts[codeStray] != n/2 || counts[codeWrongSplit]+counts[codeDuplicate] != n/2 {
			t.Errorf("%v", counts)
		}
	})
	used = max(used, peak(func() {
		seen := 0
		for range q.Messages(context.Background()) {
			seen++
		}
		if seen < n/2 {
			t.Errorf("%d messages", seen)
		}
	}))
	if limit := uint64(16<<20 + 250*n); used > limit {
		t.Errorf("%d bytes of memory for %d files, want at most %d", used, n, limit)
	} else {
		t.Logf("%d bytes of memory for %d files", used, n)
	}
}

// TestDeep nests directories deeper than anybody counts.
func TestDeep(t *testing.T) {
	q, dir := newLab(t, Layout{Split: 3}, nil)
	path := filepath.Join(dir, "todo")
	for range 2 * maxDepth {
		path = filepath.Join(path, "d")
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := q.WriteQstat(context.Background(), io.Discard); !errors.Is(err, errDeep) {
		t.Errorf("%v", err)
	}
	if got := named(allFaults(t, q)); !slices.Equal(got, []string{"queue.stray todo/d"}) {
		t.Errorf("%q", got)
	}
}
