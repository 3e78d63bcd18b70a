//go:build unix

package queue

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// TestGoldenRepair mends every golden queue, as it was and as it is after it
// was unpacked elsewhere: no file of a message is lost, messages that were whole
// stay so, and Check finds nothing then.
func TestGoldenRepair(t *testing.T) {
	t.Setenv("TMPDIR", fastDir(t))
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) { goldenRepair(t, g) })
	}
}

func goldenRepair(t *testing.T, g *golden) {
	for _, renumber := range []bool{true, false} {
		m := g.toMend(t, renumber)
		if renumber && !g.damaged() {
			// Nothing is wrong with it, so nothing may be done.
			if p, err := m.open(t).PlanRepair(t.Context()); err != nil || !p.Empty() {
				t.Errorf("%v, plan for a healthy queue:\n%s", err, p)
			}
			continue
		}
		before, whole := m.contents(t), m.whole(t)
		if err := m.mend(t, 2); err != nil {
			t.Fatal(err)
		}
		m.clean(t)
		sameCounts(t, "files", m.contents(t), before)
		after := m.whole(t)
		for k, n := range whole {
			if after[k] < n {
				t.Errorf("renumber %t: no longer whole: %s", renumber, k)
			}
		}
	}
}

// small is a layout that few directories make.
var small = Layout{Split: 3}

// TestRepairCycle mends a queue in which each message has the number of
// another, so that renaming in any order would overwrite one.
func TestRepairCycle(t *testing.T) {
	for _, layout := range []Layout{small, {Split: 5, BigTodo: true}} {
		m := makeQueue(t, layout)
		m.scramble(t)
		before, whole := m.contents(t), m.whole(t)
		p, err := m.open(t).PlanRepair(t.Context())
		if err != nil || !p.Moves() || !strings.Contains(p.String(), "stop qmail-send") {
			t.Fatalf("%v, plan:\n%s", err, p)
		}
		if err := m.mend(t, 1); err != nil {
			t.Fatal(err)
		}
		m.clean(t)
		sameCounts(t, "files", m.contents(t), before)
		sameCounts(t, "messages", m.whole(t), whole)
	}
}

// TestRepairCopy mends a queue that was restored from a copy.
func TestRepairCopy(t *testing.T) {
	m := makeQueue(t, small).copyQueue(t)
	before, whole := m.contents(t), m.whole(t)
	if err := m.mend(t, 1); err != nil {
		t.Fatal(err)
	}
	m.clean(t)
	sameCounts(t, "files", m.contents(t), before)
	sameCounts(t, "messages", m.whole(t), whole)
}

// damage does to a scrambled queue what makes a repair do all that it can.
func (m *mended) damage(t testing.TB) {
	t.Helper()
	m.scramble(t)
	for path, text := range map[string]string{"mess/stray": "x", "mess/7/README": "x", "bounce/99": "<a@b>:\nold\n\n", "local/2/98": "Tx@y\x00", "lock/tcpto": "short"} {
		os.Mkdir(filepath.Join(m.dir, filepath.Dir(path)), 0o755)
		if err := os.WriteFile(filepath.Join(m.dir, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(os.MkdirAll(filepath.Join(m.dir, "info/core/deep"), 0o755), os.Chmod(filepath.Join(m.dir, "todo"), 0o700),
		os.Remove(filepath.Join(m.dir, "lock/trigger")), os.Symlink("/etc/passwd", filepath.Join(m.dir, "lock/trigger")))
	if err != nil {
		t.Fatal(err)
	}
}

// apply mends once, with a hook in all that it does.
func (m *mended) apply(t testing.TB, hook safefs.Hook, plan func(*Queue) (*Plan, error)) error {
	t.Helper()
	opts := *m.opts
	opts.hook = hook
	q := openQueue(t, m.dir, &opts)
	p, err := plan(q)
	if err != nil {
		return err
	}
	l, err := q.Lock(t.Context())
	if err != nil {
		return err
	}
	defer l.Close()
	return l.Apply(t.Context(), p, &ApplyOptions{Quarantine: m.openQuarantine(t, hook)})
}

func planRepair(t testing.TB) func(*Queue) (*Plan, error) {
	return func(q *Queue) (*Plan, error) { return q.PlanRepair(t.Context()) }
}

// TestRepairFaults lets each step fail once, and lets everything fail from each
// step on, as after a kill. Nothing is lost at any moment, and the next repair
// finishes.
func TestRepairFaults(t *testing.T) {
	damaged := makeQueue(t, small)
	damaged.damage(t)
	m := damaged.copyQueue(t)
	var steps []string
	if err := m.apply(t, func(op, name string) error { steps = append(steps, op); return nil }, planRepair(t)); err != nil {
		t.Fatal(err)
	}
	m.clean(t)
	if len(steps) < 100 {
		t.Fatalf("only %d steps", len(steps))
	}
	for n := 0; n < len(steps); n++ {
		for _, kill := range []bool{false, true} {
			m := damaged.copyQueue(t)
			before, whole := m.contents(t), m.whole(t)
			left := n
			err := m.apply(t, func(op, name string) error {
				if left--; left == -1 || kill && left < 0 {
					if op == "write" && n%2 == 0 {
						return safefs.ErrShort
					}
					return syscall.ENOSPC
				}
				return nil
			}, planRepair(t))
			// A copy has other inodes, and may need a step less.
			if err == nil && kill && left < 0 {
				t.Errorf("step %d (%s): no error", n, steps[n])
			}
			sameCounts(t, "interrupted: files", m.contents(t), before)
			if err := m.mend(t, 3); err != nil {
				t.Errorf("step %d (%s): afterwards: %v", n, steps[n], err)
			}
			m.clean(t)
			sameCounts(t, "files", m.contents(t), before)
			sameCounts(t, "messages", m.whole(t), whole)
			if t.Failed() {
				t.Fatalf("step %d (%s), kill %t", n, steps[n], kill)
			}
		}
	}
}

// TestRepairInTheWay: where something cannot be taken out of the place that
// another file is to move to, nothing moves, and qmail-send can start.
func TestRepairInTheWay(t *testing.T) {
	m := makeQueue(t, small)
	q := m.open(t)
	id := byState(t, q)[S5][0]
	whole := m.whole(t)
	wrong := id + 3000 // in the same directories
	for p := range numParts {
		err := os.Rename(filepath.Join(m.dir, q.layout.Path(p, id)), filepath.Join(m.dir, q.layout.Path(p, wrong)))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(m.dir, q.layout.Path(Local, id)), []byte("Told@example.com\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := m.contents(t)
	full := func(op, name string) error { return syscall.ENOSPC }
	l := lockQueue(t, q)
	p, err := q.PlanRepair(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Apply(t.Context(), p, &ApplyOptions{Quarantine: m.openQuarantine(t, full)}); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "in the way") {
		t.Errorf("%v", err)
	}
	l.Close()
	sameCounts(t, "files", m.contents(t), before)
	if _, err := os.Lstat(filepath.Join(m.dir, "lock", mutexName)); err != nil {
		t.Error(err)
	}
	if err := m.mend(t, 2); err != nil {
		t.Error(err)
	}
	m.clean(t)
	sameCounts(t, "messages", m.whole(t), whole)
}
