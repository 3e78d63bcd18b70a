//go:build unix

package queue

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit"
)

// named are faults as "code path".
func named(faults []fault) []string {
	var all []string
	for _, f := range faults {
		s := f.code + " " + f.path
		if _, to, ok := strings.Cut(f.fix, "repair moves it to "); ok {
			s += " -> " + to
		}
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}

// todo29 is a message that is queued.
func todo29() map[string]string {
	return map[string]string{
		"mess/6/29": "x\n",
		"todo/29":   "u0\x00p1\x00Fs@example.net\x00Tjoe@example.com\x00",
		"intd/29":   "u0\x00p1\x00Fs@example.net\x00Tjoe@example.com\x00",
	}
}

func mess29() map[string]string { return map[string]string{"mess/6/29": "x\n"} }

func TestCheckMessages(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"healthy", healthy(), nil},
		{"queued", todo29(), nil},
		{"preprocessing", both(todo29(), map[string]string{"info/6/29": "F", "local/6/29": "", "remote/6/29": "half"}), nil},
		{"arriving", mess29(), nil},
		{"arriving with envelope", both(mess29(), map[string]string{"intd/29": "u0\x00p"}), nil},
		{"done", both(mess29(), map[string]string{"info/6/29": "F\x00"}), []string{"queue.no-recipients info/6/29"}},
		{"failed", both(healthy(), map[string]string{"bounce/29": "<x>:\ny\n\n"}), nil},
		{"great number", map[string]string{"mess/5/18446744073709551615": "x", "info/5/18446744073709551615": "Fx\x00", "local/5/18446744073709551615": "Ty\x00"}, nil},

		{"no mess", map[string]string{"info/6/29": "Fx\x00", "local/6/29": "Ty\x00", "bounce/29": "z"}, []string{"queue.no-mess info/6/29"}},
		{"todo without mess", map[string]string{"todo/29": "Fx\x00", "intd/29": "Fx\x00", "info/6/29": ""}, []string{"queue.no-mess todo/29"}},
		{"no info", both(mess29(), map[string]string{"local/6/29": "Ty\x00"}), []string{"queue.no-info mess/6/29"}},
		{"orphans", map[string]string{"bounce/29": "x", "local/6/29": "Tx\x00", "remote/6/29": "", "intd/29": "u0\x00"},
			[]string{"queue.orphan bounce/29", "queue.orphan intd/29", "queue.orphan local/6/29", "queue.orphan remote/6/29"}},
		{"orphans of a number that arrives", both(mess29(), map[string]string{"intd/29": "", "local/6/29": "Tx\x00"}), []string{"queue.orphan local/6/29"}},
		{"bounce of one that arrives", both(mess29(), map[string]string{"bounce/29": "x"}), []string{"queue.stale-bounce bounce/29"}},
		{"bounce of one with intd", both(mess29(), map[string]string{"bounce/29": "x", "intd/29": ""}), []string{"queue.stale-bounce bounce/29"}},
		{"bounce of one in todo", both(todo29(), map[string]string{"bounce/29": "x"}), []string{"queue.stale-bounce bounce/29"}},
		{"intd beside info", both(healthy(), map[string]string{"intd/29": "u"}), []string{"queue.state intd/29"}},

		{"info empty", both(healthy(), map[string]string{"info/6/29": ""}), []string{"queue.bad-info info/6/29"}},
		{"info cut", both(healthy(), map[string]string{"info/6/29": "Fx"}), []string{"queue.bad-info info/6/29"}},
		{"info letter", both(healthy(), map[string]string{"info/6/29": "Gx\x00"}), []string{"queue.bad-info info/6/29"}},
		{"info tail", both(healthy(), map[string]string{"info/6/29": "Fx\x00y"}), []string{"queue.info-tail info/6/29"}},
		{"info endless", both(healthy(), map[string]string{"info/6/29": "F" + strings.Repeat("x", 2*keep)}), []string{"queue.bad-info info/6/29"}},
		{"local cut", both(healthy(), map[string]string{"local/6/29": "Tx\x00Dy"}), []string{"queue.cut-record local/6/29"}},
		{"remote letter", both(healthy(), map[string]string{"remote/6/29": "Xx\x00Dy\x00\x00"}), []string{"queue.bad-record remote/6/29"}},
		{"both", both(healthy(), map[string]string{"remote/6/29": "x\x00T"}), []string{"queue.bad-record remote/6/29", "queue.cut-record remote/6/29"}},
		{"long", both(healthy(), map[string]string{"remote/6/29": "T" + strings.Repeat("x", 3*MaxRecord) + "\x00Tx\x00"}), []string{"queue.long-record remote/6/29"}},
		{"todo letter", both(todo29(), map[string]string{"todo/29": "Fx\x00Dy\x00"}), []string{"queue.bad-record todo/29"}},
		{"todo cut", both(todo29(), map[string]string{"todo/29": "Fx\x00Ty"}), []string{"queue.cut-record todo/29"}},
		{"todo without NUL", both(todo29(), map[string]string{"todo/29": "Fx"}), []string{"queue.cut-record todo/29", "queue.no-sender todo/29"}},
		{"todo empty", both(todo29(), map[string]string{"todo/29": ""}), []string{"queue.no-sender todo/29"}},
		{"todo long", both(todo29(), map[string]string{"todo/29": "Fx\x00T" + strings.Repeat("y", MaxAddress+1) + "\x00"}), []string{"queue.long-record todo/29"}},
		{"todo longest", both(todo29(), map[string]string{"todo/29": "Fx\x00T" + strings.Repeat("y", MaxAddress) + "\x00"}), nil},

		{"wrong split", map[string]string{"mess/7/29": "x", "info/6/29": "Fx\x00", "local/6/29": "Ty\x00"}, []string{"queue.wrong-split mess/7/29 -> mess/6/29"}},
		{"not split", map[string]string{"mess/29": "x", "info/6/29": "Fx\x00", "local/6/29": "Ty\x00"}, []string{"queue.wrong-split mess/29 -> mess/6/29"}},
		{"split todo", map[string]string{"mess/6/29": "x", "todo/6/29": "Fx\x00"}, []string{"queue.extra-dir todo/6", "queue.wrong-split todo/6/29 -> todo/29"}},
		{"lost list", map[string]string{"mess/6/29": "x", "info/6/29": "Fx\x00", "local/7/29": "Ty\x00"}, []string{"queue.wrong-split local/7/29 -> local/6/29"}},
		{"zeros", map[string]string{"mess/6/0029": "x", "info/6/29": "Fx\x00", "local/6/29": "Ty\x00"}, []string{"queue.name mess/6/0029 -> mess/6/29"}},
		{"twice", both(healthy(), map[string]string{"info/7/29": "Fy\x00"}), []string{"queue.duplicate info/7/29"}},
	}
	q, dir := newLab(t, Layout{Split: 23}, nil)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "split todo" {
				labDir(t, dir, "todo/6", 0o750)
				defer os.RemoveAll(filepath.Join(dir, "todo/6"))
			}
			fill(t, dir, tt.files)
			defer func() {
				for name := range tt.files {
					os.Remove(filepath.Join(dir, name))
				}
			}()
			faults := allFaults(t, q)
			if got := named(faults); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			for _, f := range faults {
				if f.fix == "" || f.words == "" {
					t.Errorf("%s says too little: %v", f.code, f.problem())
				}
			}
		})
	}
}

// TestCheckAge holds that what nobody finished is told of after 36 hours since
// it was read, not a second before, whatever else it looks like.
func TestCheckAge(t *testing.T) {
	files := both(mess29(), map[string]string{"mess/7/30": "x", "intd/30": "u0\x00", "pid/12.1795290000.1": ""})
	for age, want := range map[time.Duration][]string{
		leftBehind: nil,
		leftBehind + time.Second: {
			"queue.left-over mess/6/29", "queue.left-over mess/7/30", "queue.left-over pid/12.1795290000.1"},
	} {
		dir := filepath.Join(t.TempDir(), "queue")
		layoutOf(t, dir, Layout{Split: 23})
		fill(t, dir, files)
		opts := labOptions()
		opts.Now = func() time.Time { return labTime.Add(age) }
		if got := named(allFaults(t, openQueue(t, dir, opts))); !slices.Equal(got, want) {
			t.Errorf("after %v: %q, want %q", age, got, want)
		}
	}
}

// TestCheckArriving holds that a message alone in mess is no damage, even where
// its number or mode are odd.
func TestCheckArriving(t *testing.T) {
	q, dir := newLab(t, Layout{Split: 23}, mess29())
	if err := os.Chmod(filepath.Join(dir, "mess/6/29"), 0o600); err != nil {
		t.Fatal(err)
	}
	q.opts.Inodes = nil
	faults := allFaults(t, q)
	if got, want := len(faults), 2; got != want {
		t.Errorf("%d faults, want inode and mode: %q", got, named(faults))
	}
	for _, f := range faults {
		if f.severity != qmailkit.Info {
			t.Errorf("%v is damage", f.problem())
		}
	}
}

func TestCheckInode(t *testing.T) {
	q, _ := newLab(t, Layout{Split: 23}, healthy())
	q.opts.Inodes = func(path string) (uint64, bool) { return 5_000_000_000, path == "mess/6/29" }
	want := []string{"queue.inode mess/6/29"}
	if got := named(allFaults(t, q)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// Of two files that which has the right number is the message.
	q, _ = newLab(t, Layout{Split: 23}, both(healthy(), map[string]string{"mess/7/29": "y"}))
	q.opts.Inodes = func(path string) (uint64, bool) { return 29, path == "mess/7/29" }
	want = []string{"queue.duplicate mess/6/29", "queue.wrong-split mess/7/29 -> mess/6/29"}
	if got := named(allFaults(t, q)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCheckStaleBounceByTime(t *testing.T) {
	q, dir := newLab(t, Layout{Split: 23}, both(healthy(), map[string]string{"bounce/29": "<x>:\n\n"}))
	before := labTime.Add(-time.Second)
	if err := os.Chtimes(filepath.Join(dir, "bounce/29"), before, before); err != nil {
		t.Fatal(err)
	}
	if got := named(allFaults(t, q)); !slices.Equal(got, []string{"queue.stale-bounce bounce/29"}) {
		t.Errorf("got %q", got)
	}
}

// TestCheckTree changes one thing of an empty queue after the other.
func TestCheckTree(t *testing.T) {
	at := func(name string, do func(path string) error) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := do(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	mode := func(m os.FileMode) func(string) error { return func(p string) error { return os.Chmod(p, m) } }
	write := func(p string) error { return os.WriteFile(p, nil, 0o600) }
	link := func(p string) error { return errors.Join(os.RemoveAll(p), os.Symlink("/", p)) }
	remake := func(p string) error { return errors.Join(os.RemoveAll(p), write(p)) }
	tests := []struct {
		name string
		do   func(t *testing.T, dir string)
		want []string
	}{
		{"nothing", func(*testing.T, string) {}, nil},
		{"no mutex", at("lock/sendmutex", os.Remove), []string{"queue.missing-file lock/sendmutex"}},
		{"mutex mode", at("lock/sendmutex", mode(0o644)), []string{"queue.mode lock/sendmutex"}},
		{"no tcpto", at("lock/tcpto", os.Remove), []string{"queue.missing-file lock/tcpto"}},
		{"short tcpto", at("lock/tcpto", func(p string) error { return os.Truncate(p, 16) }), []string{"queue.tcpto-size lock/tcpto"}},
		{"plain trigger", at("lock/trigger", remake), []string{"queue.type lock/trigger"}},
		{"closed trigger", at("lock/trigger", mode(0o600)), []string{"queue.mode lock/trigger"}},
		{"no trigger", at("lock/trigger", os.Remove), []string{"queue.missing-file lock/trigger"}},
		{"no lock", at("lock", os.RemoveAll), []string{"queue.missing-dir lock"}},
		{"no pid", at("pid", os.RemoveAll), []string{"queue.missing-dir pid"}},
		{"no bounce", at("bounce", os.RemoveAll), []string{"queue.missing-dir bounce"}},
		{"no split directory", at("local/22", os.RemoveAll), []string{"queue.missing-dir local/22"}},
		{"interrupted", at("lock/"+mendName, func(p string) error { return os.Mkdir(p, 0o700) }), []string{"queue.unfinished lock/" + mendName}},
		{"file in lock", at("lock/x", write), []string{"queue.stray lock/x"}},
		{"file in pid", at("pid/x", write), []string{"queue.stray pid/x"}},
		{"file in todo", at("todo/x", write), []string{"queue.stray todo/x"}},
		{"directory in mess/3", at("mess/3/7", func(p string) error { return os.Mkdir(p, 0o700) }), []string{"queue.stray mess/3/7"}},
		{"extra directory", at("mess/23", func(p string) error { return os.Mkdir(p, 0o700) }), []string{"queue.extra-dir mess/23"}},
		{"link for a directory", at("info/4", link), []string{"queue.type info/4"}},
		{"link for todo", at("todo", link), []string{"queue.type todo"}},
		{"file for a directory", at("remote/4", remake), []string{"queue.type remote/4"}},
		{"link for a message", at("mess/4/4", link), []string{"queue.type mess/4/4"}},
		{"FIFO for a message", func(t *testing.T, dir string) { fifo(t, filepath.Join(dir, "mess/4/4")) }, []string{"queue.type mess/4/4"}},
		{"hard link", func(t *testing.T, dir string) {
			fill(t, dir, healthy())
			if err := os.Link(filepath.Join(dir, "info/6/29"), filepath.Join(t.TempDir(), "x")); err != nil {
				t.Skip(err)
			}
		}, []string{"queue.hard-link info/6/29"}},
		{"top directory", at("../queue", mode(0o755)), []string{"queue.mode ."}},
		{"directory mode", at("mess/5", mode(0o700)), []string{"queue.mode mess/5"}},
		{"sticky directory", at("info", mode(0o700|os.ModeSticky)), []string{"queue.mode info"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "queue")
			layoutOf(t, dir, Layout{Split: 23})
			tt.do(t, dir)
			if got := named(allFaults(t, openQueue(t, dir, labOptions()))); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestCheckOwners gives files away, and leaves a queue to root.
func TestCheckOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	q, dir := newLab(t, Layout{Split: 23}, healthy())
	for name, ids := range map[string][2]int{"mess/6/29": {1, 1}, "info/6/29": {-1, 1}, "todo": {1, -1}} {
		if err := os.Lchown(filepath.Join(dir, name), ids[0], ids[1]); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"queue.group info/6/29", "queue.owner mess/6/29", "queue.owner todo"}
	if got := named(allFaults(t, q)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, 0, 0))
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := named(allFaults(t, openQueue(t, dir, labOptions()))); !slices.Equal(got, []string{"queue.owners-unknown "}) {
		t.Errorf("of root's: %q", got)
	}
}

func TestCheckStopsAndEnds(t *testing.T) {
	q, dir := newLab(t, Layout{Split: 23}, nil)
	for _, name := range []string{"a", "b", "c"} {
		put(t, dir, "mess/4/"+name, "")
	}
	n := 0
	for range q.Check(context.Background()) {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d problems", n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var last error
	for _, err := range q.Check(ctx) {
		last = err
	}
	if !errors.Is(last, qmailkit.ErrIncomplete) || !errors.Is(last, context.Canceled) {
		t.Errorf("cancelled: %v", last)
	}
}

// TestCheckHalfMade: what somebody makes this moment has neither owner nor mode
// yet, and is no damage; it is when it counts, or when it is old.
func TestCheckHalfMade(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		age   time.Duration
		want  bool
	}{
		{"pid", map[string]string{"pid/1.1795290000.1": ""}, time.Hour, false},
		{"intd", both(mess29(), map[string]string{"intd/29": ""}), time.Hour, false},
		{"old intd", both(mess29(), map[string]string{"intd/29": ""}), 37 * time.Hour, true},
		{"intd in todo", todo29(), time.Hour, true},
	} {
		_, dir := newLab(t, Layout{Split: 23}, tt.files)
		for _, name := range []string{"intd/29", "todo/29", "pid/1.1795290000.1"} {
			if err := os.Chmod(filepath.Join(dir, name), 0o600); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
		o := labOptions()
		o.Now = func() time.Time { return labTime.Add(tt.age) }
		told, damage := false, false
		for p, err := range openQueue(t, dir, o).Check(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if p.Code == codeMode {
				told, damage = true, damage || p.Severity > qmailkit.Info
			}
		}
		if !told || damage != tt.want {
			t.Errorf("%s: told %t, damage %t, want %t", tt.name, told, damage, tt.want)
		}
	}
}
