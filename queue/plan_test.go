//go:build unix

package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPlan damages one thing at a time. The plan says what is done about it, and
// nothing else; afterwards the queue is clean, and what was not concerned whole.
func TestPlan(t *testing.T) {
	type site struct {
		*mended
		q      *Queue
		s4, s5 ID // S5 without a bounce
		path   func(Part, ID) string
	}
	write := func(t *testing.T, s site, path, text string, age time.Duration) {
		full := filepath.Join(s.dir, path)
		at := s.opts.Now().Add(-age)
		if err := errors.Join(os.WriteFile(full, []byte(text), 0o600), os.Chtimes(full, at, at)); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 {
			os.Chown(full, s.q.owners.Qmails, s.q.owners.Group)
		}
	}
	remove := func(t *testing.T, paths ...string) {
		for _, p := range paths {
			if err := os.Remove(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, s site)
		want   string // operations and their first names
		lost   int    // messages that go to the quarantine
	}{
		"nothing": {func(*testing.T, site) {}, "", 0},
		"bounce older than the message": {func(t *testing.T, s site) {
			write(t, s, s.q.layout.Path(Bounce, s.s5), "<a@b>:\nold\n\n", time.Hour)
		}, "quarantine bounce", 0},
		"bounce beside todo": {func(t *testing.T, s site) {
			write(t, s, s.q.layout.Path(Bounce, s.s4), "<a@b>:\nold\n\n", 0)
		}, "quarantine bounce", 0},
		"intd beside info": {func(t *testing.T, s site) {
			write(t, s, s.q.layout.Path(Intd, s.s5), "u0\x00", 0)
		}, "quarantine intd", 0},
		"lost info, may be arriving": {func(t *testing.T, s site) {
			remove(t, s.path(Info, s.s5))
		}, "quarantine local", 1},
		"lost info, old": {func(t *testing.T, s site) {
			remove(t, s.path(Info, s.s5))
			old := s.opts.Now().Add(-48 * time.Hour)
			os.Chtimes(s.path(Mess, s.s5), old, old)
		}, "quarantine mess", 1},
		"arriving under old recipients": {func(t *testing.T, s site) {
			remove(t, s.path(Todo, s.s4))
			write(t, s, s.q.layout.Path(Remote, s.s4), "Tx@y\x00", time.Hour)
		}, "quarantine remote", 1},
		"arriving": {func(t *testing.T, s site) {
			remove(t, s.path(Todo, s.s4))
		}, "", 1},
		"left over": {func(t *testing.T, s site) {
			remove(t, s.path(Todo, s.s4))
			old := s.opts.Now().Add(-48 * time.Hour)
			os.Chtimes(s.path(Mess, s.s4), old, old)
		}, "quarantine mess", 1},
		"second name of a message": {func(t *testing.T, s site) {
			other := s.s4 + 3 // in the same directory of the split
			if err := os.Link(s.path(Mess, s.s4), s.path(Mess, other)); err != nil {
				t.Fatal(err)
			}
		}, "quarantine mess", 0},
		"info without a message": {func(t *testing.T, s site) {
			remove(t, s.path(Mess, s.s5))
		}, "quarantine info", 1},
		"no directory lock": {func(t *testing.T, s site) {
			if err := os.RemoveAll(filepath.Join(s.dir, "lock")); err != nil {
				t.Fatal(err)
			}
		}, "make lock, make lock/sendmutex, make lock/tcpto, make lock/trigger", 0},
		"a file in the place of a directory": {func(t *testing.T, s site) {
			if err := os.RemoveAll(filepath.Join(s.dir, "bounce")); err != nil {
				t.Fatal(err)
			}
			write(t, s, "bounce", "", 0)
		}, "quarantine bounce, make bounce", 3},
		"unsplit": {func(t *testing.T, s site) {
			if err := os.Rename(s.path(Info, s.s5), filepath.Join(s.dir, "info", s.s5.String())); err != nil {
				t.Fatal(err)
			}
		}, "move info", 0},
		"todo split": {func(t *testing.T, s site) {
			os.Mkdir(filepath.Join(s.dir, "todo/1"), 0o750)
			if err := os.Rename(s.path(Todo, s.s4), filepath.Join(s.dir, "todo/1", s.s4.String())); err != nil {
				t.Fatal(err)
			}
		}, "move todo, rmdir todo", 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := makeQueue(t, small)
			q := m.open(t)
			s := site{mended: m, q: q, path: func(p Part, id ID) string { return filepath.Join(m.dir, q.layout.Path(p, id)) }}
			for msg, err := range q.Messages(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if msg.State == S4 {
					s.s4 = msg.ID
				} else if !msg.Parts.Has(Bounce) {
					s.s5 = msg.ID
				}
			}
			whole := m.whole(t)
			c.damage(t, s)
			p, err := m.open(t).PlanRepair(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, a := range p.Actions {
				path, _, _ := strings.Cut(a.Path, "/")
				if path == "lock" {
					path = a.Path
				}
				got = append(got, a.Op.String()+" "+path)
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("plan: %s; want %s\n%s", s, c.want, p)
			}
			if err := m.mend(t, 1); err != nil {
				t.Error(err)
			}
			m.clean(t)
			after, lost := m.whole(t), 0
			for k, n := range whole {
				lost += max(0, n-after[k])
			}
			if lost != c.lost {
				t.Errorf("%d messages are no longer in the queue as they were, want %d", lost, c.lost)
			}
		})
	}
}

// TestPlanStale: a plan that no longer holds does no harm.
func TestPlanStale(t *testing.T) {
	m := makeQueue(t, small)
	m.damage(t)
	q := m.open(t)
	p, err := q.PlanRepair(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before, whole := m.contents(t), m.whole(t)
	if err := m.mend(t, 2); err != nil {
		t.Fatal(err)
	}
	l := lockQueue(t, q)
	if err := l.Apply(t.Context(), p, &ApplyOptions{Quarantine: m.openQuarantine(t, nil)}); !errors.Is(err, ErrGone) {
		t.Errorf("%v", err)
	}
	l.Close()
	if err := m.mend(t, 2); err != nil {
		t.Error(err)
	}
	m.clean(t)
	sameCounts(t, "files", m.contents(t), before)
	sameCounts(t, "messages", m.whole(t), whole)
}

func TestApplyNeedsQuarantine(t *testing.T) {
	m := makeQueue(t, small)
	if err := os.WriteFile(filepath.Join(m.dir, "mess/README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	q := m.open(t)
	p, err := q.PlanRepair(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := lockQueue(t, q)
	var told []Op
	if err := l.Apply(t.Context(), p, &ApplyOptions{Done: func(a Action, err error) { told = append(told, a.Op) }}); !errors.Is(err, ErrNoQuarantine) || !slices.Equal(told, []Op{OpQuarantine}) {
		t.Errorf("%v, told %v", err, told)
	}
}

// TestPlanText holds that names of others reach no terminal.
func TestPlanText(t *testing.T) {
	m := makeQueue(t, small)
	if err := os.WriteFile(filepath.Join(m.dir, "mess/\x1b[2J\n\xff"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := m.open(t).PlanRepair(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s := p.String(); s != `quarantine mess/\x1b[2J\n\xff: is not named as a file of a message`+"\n" {
		t.Errorf("%q", s)
	}
}

// TestPlanTogether: files of one message whose names are all not quite right
// find each other.
func TestPlanTogether(t *testing.T) {
	m := makeQueue(t, small)
	q := m.open(t)
	whole := m.whole(t)
	for i, id := range byState(t, q)[S5] {
		for _, p := range []Part{Info, Mess} {
			path := filepath.Join(m.dir, q.layout.Path(p, id))
			name := []string{"00" + id.String(), " " + id.String() + "\n", fmt.Sprintf("\xff\x1b[%dm", i)}[i%3]
			if i%3 == 2 && p == Info {
				name = id.String() + " "
			}
			if err := os.Rename(path, filepath.Join(filepath.Dir(path), name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := m.mend(t, 2); err != nil {
		t.Fatal(err)
	}
	m.clean(t)
	sameCounts(t, "messages", m.whole(t), whole)
}
