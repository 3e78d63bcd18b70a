//go:build unix

package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestCreate makes the golden fresh queue, with its modes and owners.
func TestCreate(t *testing.T) {
	for name, layout := range map[string]Layout{"01-fresh": {}, "variant-bigtodo211-1-fresh": {Split: 211, BigTodo: true}} {
		dir := fastDir(t)
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		old := syscall.Umask(0o077)
		for range 2 {
			if err := Create(t.Context(), root, &CreateOptions{Layout: layout, Owners: testOwners()}); err != nil {
				t.Error(err)
			}
		}
		syscall.Umask(old)
		n := 0
		for i, line := range strings.Split(strings.TrimSpace(string(goldenQueue(t, name).files["manifest.tsv"])), "\n") {
			f := strings.Split(line, "\t")
			if i == 0 {
				continue
			}
			n++
			fi, err := os.Lstat(filepath.Join(dir, strings.TrimPrefix(f[0], "queue")))
			if err != nil {
				t.Error(err)
				continue
			}
			st := fi.Sys().(*syscall.Stat_t)
			owner := fmt.Sprintf("%d %d", st.Uid, st.Gid)
			if mode := fmt.Sprintf("%04o", fi.Mode().Perm()); mode != f[6] || os.Geteuid() == 0 && owner != f[4]+" "+f[5] {
				t.Errorf("%s: %s %s, want %s %s %s", f[0], mode, owner, f[6], f[4], f[5])
			}
			if typ := map[string]fs.FileMode{"d": fs.ModeDir, "p": fs.ModeNamedPipe}[f[1]]; fi.Mode().Type() != typ || typ == 0 && fmt.Sprint(fi.Size()) != f[7] {
				t.Errorf("%s: %v of %d bytes", f[0], fi.Mode(), fi.Size())
			}
		}
		if have := countAll(t, dir); have != n {
			t.Errorf("%s: %d files and directories, want %d", name, have, n)
		}
	}
}

func countAll(t testing.TB, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(string, fs.DirEntry, error) error { n++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCreateRefuses(t *testing.T) {
	for _, path := range []string{"README", "mess/3/5", "mess/99/", "todo/0/", "lock/old", "pid/1.2.3", "info/x/"} {
		dir := fastDir(t)
		os.MkdirAll(filepath.Join(dir, filepath.Dir(path)), 0o700)
		if !strings.HasSuffix(path, "/") {
			os.WriteFile(filepath.Join(dir, path), nil, 0o600)
		}
		before := countAll(t, dir)
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := Create(t.Context(), root, nil); !errors.Is(err, ErrNotEmpty) || countAll(t, dir) != before {
			t.Errorf("%s: %v", path, err)
		}
		root.Close()
	}
}

// TestCreateFaults lets each step fail once; the next Create finishes.
func TestCreateFaults(t *testing.T) {
	for n := 0; ; n++ {
		dir := fastDir(t)
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		left := n
		opts := &CreateOptions{Layout: small, Owners: testOwners(), hook: func(op, name string) error {
			if left--; left < 0 {
				return syscall.ENOSPC
			}
			return nil
		}}
		err = Create(t.Context(), root, opts)
		if err == nil {
			if n < 20 {
				t.Errorf("only %d steps", n)
			}
			root.Close()
			return
		}
		opts.hook = nil
		if err := Create(t.Context(), root, opts); err != nil {
			t.Errorf("step %d: afterwards: %v", n, err)
		}
		root.Close()
		m := &mended{dir: dir, opts: &Options{}}
		m.opts.Now = m.open(t).opts.Now
		m.clean(t)
	}
}

// TestConvert takes a queue through layouts and back.
func TestConvert(t *testing.T) {
	m := makeQueue(t, Layout{Split: 23})
	before, whole := m.contents(t), m.whole(t)
	for _, to := range []Layout{{Split: 211}, {Split: 211, BigTodo: true}, {Split: 7, BigTodo: true}, {Split: 1}, {Split: 23, BigTodo: true}, {Split: 23}} {
		err := m.apply(t, nil, func(q *Queue) (*Plan, error) { return q.PlanConvert(t.Context(), to) })
		if err != nil {
			t.Fatalf("%+v: %v", to, err)
		}
		if got := m.open(t).Layout(); got != to {
			t.Fatalf("layout %+v, want %+v", got, to)
		}
		m.clean(t)
		sameCounts(t, "files", m.contents(t), before)
		sameCounts(t, "messages", m.whole(t), whole)
		if p, err := m.open(t).PlanRepair(t.Context()); err != nil || !p.Empty() {
			t.Errorf("%+v: %v, there is left:\n%s", to, err, p)
		}
	}
	if _, err := m.open(t).PlanConvert(t.Context(), Layout{}); err == nil {
		t.Error("a split of 0")
	}
}

// TestConvertFaults interrupts a conversion; what finishes it is a repair.
func TestConvertFaults(t *testing.T) {
	to := Layout{Split: 5, BigTodo: true}
	convert := func(q *Queue) (*Plan, error) { return q.PlanConvert(t.Context(), to) }
	first := makeQueue(t, small)
	steps := 0
	if err := first.copyQueue(t).apply(t, func(string, string) error { steps++; return nil }, convert); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < steps; n++ {
		m := first.copyQueue(t)
		before, whole := m.contents(t), m.whole(t)
		left := n
		m.apply(t, func(op, name string) error {
			if left--; left < 0 {
				return syscall.EIO
			}
			return nil
		}, convert)
		sameCounts(t, "interrupted: files", m.contents(t), before)
		if err := m.mend(t, 3); err != nil {
			t.Errorf("step %d: %v", n, err)
		}
		m.clean(t)
		if got := m.open(t).Layout(); got != to && got != small {
			t.Errorf("step %d: layout %+v", n, got)
		}
		if err := m.apply(t, nil, convert); err != nil {
			t.Errorf("step %d: once more: %v", n, err)
		}
		m.clean(t)
		sameCounts(t, "files", m.contents(t), before)
		sameCounts(t, "messages", m.whole(t), whole)
		if t.Failed() {
			t.FailNow()
		}
	}
}

// TestJournalLost: without its journal, which somebody took away, what is aside
// is put back by its name.
func TestJournalLost(t *testing.T) {
	m := makeQueue(t, small)
	m.scramble(t)
	before, whole := m.contents(t), m.whole(t)
	renames := 0
	err := m.apply(t, func(op, name string) error {
		if op == "rename" && strings.Contains(name, mendName) {
			// All are aside, and the first ones are put back.
			if renames++; renames == 5 {
				return syscall.EIO
			}
		}
		return nil
	}, planRepair(t))
	if err == nil {
		t.Fatal("no error")
	}
	path := filepath.Join(m.dir, "lock", mendName, journalName)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b[:len(b)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.mend(t, 1); !errors.Is(err, ErrJournal) {
		t.Errorf("a damaged journal: %v", err)
	}
	os.Remove(path)
	if err := m.mend(t, 3); err != nil {
		t.Error(err)
	}
	m.clean(t)
	sameCounts(t, "files", m.contents(t), before)
	sameCounts(t, "messages", m.whole(t), whole)
}

// FuzzJournal: what is read is written again as it was, and leads nowhere but
// into the queue.
func FuzzJournal(f *testing.F) {
	for _, j := range []*journal{
		{layout: Layout{Split: 23}},
		{Layout{Split: 23}, []move{{5, "mess/3/77", "mess/5/5"}, {9, "info/8/77 ", "info/5/5"}, {7, "todo/\xff\n", "todo/5"}}},
		{Layout{Split: 3, BigTodo: true}, []move{{5, "todo/5", "todo/2/5"}, {6, "bounce/7", "bounce/5"}}},
	} {
		f.Add(j.encode())
	}
	f.Add([]byte(journalHead + "layout 23 false\nmove 1 mess/5/5 \"../x\"\nend 1 00000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := parseJournal(b)
		if err != nil {
			if !errors.Is(err, ErrJournal) {
				t.Errorf("%v", err)
			}
			return
		}
		if !bytes.Equal(j.encode(), b) {
			t.Errorf("%q becomes %q", b, j.encode())
		}
		for _, m := range j.moves {
			if _, _, ok := j.layout.placeOf(m.to); !ok || strings.Contains(m.from, "..") && strings.Contains("/"+m.from+"/", "/../") || strings.HasPrefix(m.from, "/") {
				t.Errorf("%+v", m)
			}
			if strings.Contains(m.staged(), "/") {
				t.Errorf("%q", m.staged())
			}
		}
	})
}

// TestJournalForged: a journal with a right checksum leads nowhere else either.
func TestJournalForged(t *testing.T) {
	for _, m := range []move{
		{1, "../../etc/passwd", "mess/5/5"}, {1, "mess/5/5", "../x"}, {1, "/etc/passwd", "mess/5/5"}, {1, "mess/5/5", "mess/6/5"},
		{1, "mess/5/5", "lock/trigger"}, {1, "lock/trigger", "mess/5/5"}, {1, "mess/5/./5", "mess/5/5"}, {1, "mess", "mess/5/5"}, {1, "mess/1/2/3", "mess/5/5"}, {1, "mess/5/5\x00", "mess/5/5"},
	} {
		j := &journal{Layout{Split: 23}, []move{m}}
		if _, err := parseJournal(j.encode()); !errors.Is(err, ErrJournal) {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

// TestConvertNothingToMove makes the directories of a layout although no message
// has to move for it.
func TestConvertNothingToMove(t *testing.T) {
	dir := fastDir(t)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := Create(t.Context(), root, &CreateOptions{Layout: Layout{Split: 7}, Owners: testOwners()}); err != nil {
		t.Fatal(err)
	}
	m := &mended{dir: dir, zdir: fastDir(t), opts: &Options{}}
	m.opts.Now = m.open(t).opts.Now
	for _, to := range []Layout{{Split: 23}, {Split: 23, BigTodo: true}, {Split: 29, BigTodo: true}, {Split: 29}, {Split: 1}} {
		plan := func(q *Queue) (*Plan, error) { return q.PlanConvert(t.Context(), to) }
		if p, err := plan(m.open(t)); err != nil || p.Empty() {
			t.Errorf("%+v: %v, nothing is to be done", to, err)
		}
		if err := m.apply(t, nil, plan); err != nil {
			t.Fatalf("%+v: %v", to, err)
		}
		if got := m.open(t).Layout(); got != to {
			t.Errorf("layout %+v, want %+v", got, to)
		}
		if p, err := plan(m.open(t)); err != nil || !p.Empty() {
			t.Errorf("%+v: %v, there is left:\n%s", to, err, p)
		}
		m.clean(t)
	}
}
