//go:build unix

package queue

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// byState are the numbers of a queue's messages by state.
func byState(t testing.TB, q *Queue) map[State][]ID {
	t.Helper()
	all := map[State][]ID{}
	for m, err := range q.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all[m.State] = append(all[m.State], m.ID)
	}
	return all
}

func lockQueue(t testing.TB, q *Queue) *Lock {
	t.Helper()
	l, err := q.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// crashed puts files beside those of S4 that preprocessing leaves when it is
// interrupted.
func (m *mended) crashed(t testing.TB, q *Queue, id ID) {
	t.Helper()
	todo := filepath.Join(m.dir, q.layout.Path(Todo, id))
	intd := filepath.Join(m.dir, q.layout.Path(Intd, id))
	m2 := filepath.Join(m.dir, "keep")
	if err := os.Link(todo, m2); err != nil {
		t.Fatal(err)
	}
	m.preprocess(t, q, id, 1, false)
	if err := errors.Join(os.Link(m2, todo), os.Link(m2, intd), os.Remove(m2)); err != nil {
		t.Fatal(err)
	}
}

// TestDelete removes messages in each state, interrupted at each step. Whatever
// is left is in a legal state, no other message is touched, and no bounce is
// left behind that would be sent.
func TestDelete(t *testing.T) {
	for n := 0; ; n++ {
		m := makeQueue(t, small)
		mq := m.open(t)
		mids := byState(t, mq)
		m.crashed(t, mq, mids[S4][0])
		doomed := []ID{mids[S4][0], mids[S5][0], mids[S5][1], mids[S5][2], mids[S5][3]}
		before := m.whole(t)
		left, failed, armed := n, false, false
		opts := *m.opts
		opts.hook = func(op, name string) error {
			if !armed {
				return nil
			}
			if left--; left < 0 {
				failed = true
				return syscall.EIO
			}
			return nil
		}
		hq := openQueue(t, m.dir, &opts)
		l := lockQueue(t, hq)
		armed = true
		err := l.Delete(t.Context(), doomed...)
		if failed != (err != nil) {
			t.Errorf("step %d: %v", n, err)
		}
		m.legal(t, mids[S4][1:], mids[S5][4:])
		l.Close()
		if !failed {
			if n < 15 {
				t.Errorf("only %d steps", n)
			}
			after := m.whole(t)
			if len(after) != len(before)-len(doomed) {
				t.Errorf("%d messages, then %d", len(before), len(after))
			}
			return
		}
		l = lockQueue(t, mq)
		if err := l.Delete(t.Context(), doomed...); err != nil {
			for _, e := range unjoin(err) {
				if !errors.Is(e, ErrNoMessage) && !errors.Is(e, ErrArriving) {
					t.Errorf("step %d: afterwards: %v", n, e)
				}
			}
		}
		m.legal(t, mids[S4][1:], mids[S5][4:])
		l.Close()
		if t.Failed() {
			t.Fatalf("step %d", n)
		}
	}
}

// unjoin are the errors that errors.Join has joined.
func unjoin(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

// legal holds that all states are legal, and that the messages that were not
// to be touched are there.
func (m *mended) legal(t testing.TB, kept ...[]ID) {
	t.Helper()
	have := map[ID]State{}
	for msg, err := range m.open(t).Messages(t.Context()) {
		if err != nil || msg.State == Illegal {
			t.Errorf("%d: %v, %v: %v", msg.ID, msg.State, msg.Parts, err)
			continue
		}
		have[msg.ID] = msg.State
		// With bounce and without lists qmail-send would send the bounce.
		if msg.Parts.Has(Bounce) && !msg.Parts.Has(Local) && !msg.Parts.Has(Remote) {
			t.Errorf("%d: a bounce without recipients", msg.ID)
		}
	}
	for _, id := range slices.Concat(kept...) {
		if have[id] != S4 && have[id] != S5 {
			t.Errorf("%d: %v", id, have[id])
		}
	}
}

func TestDeleteRefuses(t *testing.T) {
	m := makeQueue(t, small)
	q := m.open(t)
	l := lockQueue(t, q)
	ids := byState(t, q)
	arriving := ids[S4][0]
	for _, p := range [...]Part{Todo, Intd} {
		os.Remove(filepath.Join(m.dir, q.layout.Path(p, arriving)))
	}
	err := l.Delete(t.Context(), arriving, 12345, ids[S5][0])
	var me *MessageError
	if !errors.Is(err, ErrArriving) || !errors.Is(err, ErrNoMessage) || !errors.As(err, &me) || len(unjoin(err)) != 2 {
		t.Errorf("%v", err)
	}
	now := byState(t, q)
	if len(now[S2]) != 1 || len(now[S5]) != len(ids[S5])-1 {
		t.Errorf("%v", now)
	}
	// Two days later it is no longer arriving.
	old := time.Now().Add(48 * time.Hour)
	late := openQueue(t, m.dir, &Options{Now: func() time.Time { return old }})
	l.Close()
	if err := lockQueue(t, late).Delete(t.Context(), arriving); err != nil {
		t.Error(err)
	}
}

// bodies reads the messages of a queue without the Received lines on top.
func (m *mended) bodies(t testing.TB) map[string]int {
	t.Helper()
	all := map[string]int{}
	for msg, err := range m.open(t).Messages(t.Context()) {
		if err != nil || msg.State != S4 && msg.State != S5 {
			continue
		}
		f, err := msg.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(f)
		f.Close()
		text := string(b)
		for strings.HasPrefix(text, "Received: (qmail ") {
			_, text, _ = strings.Cut(text, "\n")
		}
		text += " F" + msg.Sender
		for r, err := range msg.Recipients() {
			if err != nil {
				t.Fatal(err)
			}
			if !r.Done {
				text += " T" + strings.TrimPrefix(r.Address, "virtual-")
			}
		}
		all[text]++
	}
	return all
}

// TestQuarantineFaults takes messages out and brings them back, interrupted at
// each step of either. A message is never in two places to be delivered from,
// and never in none.
func TestQuarantineFaults(t *testing.T) {
	restore := &RestoreOptions{Recipient: func(a string) (string, error) { return strings.TrimPrefix(a, "virtual-"), nil }}
	for n := 0; ; n++ {
		m := makeQueue(t, small)
		q := m.open(t)
		ids := byState(t, q)
		taken := []ID{ids[S4][0], ids[S5][0], ids[S5][1], ids[S5][3]}
		before := m.contents(t)
		bodies := m.bodies(t)
		failed, armed := false, false
		left := n
		hook := func(op, name string) error {
			if !armed {
				return nil
			}
			if left--; left < 0 {
				failed = true
				return syscall.ENOSPC
			}
			return nil
		}
		opts := *m.opts
		opts.hook = hook
		hq := openQueue(t, m.dir, &opts)
		l := lockQueue(t, hq)
		armed = true
		err := l.Quarantine(t.Context(), m.openQuarantine(t, hook), "a test", taken...)
		l.Close()
		if failed != (err != nil) {
			t.Errorf("step %d: %v", n, err)
		}
		sameCounts(t, "interrupted: files", m.contents(t), before)
		if failed {
			l = lockQueue(t, q)
			for _, e := range unjoin(l.Quarantine(t.Context(), m.openQuarantine(t, nil), "a test", taken...)) {
				// What was begun is a left-over by now, or gone.
				if e != nil && !errors.Is(e, ErrNoMessage) && !errors.Is(e, ErrArriving) {
					t.Errorf("step %d: afterwards: %v", n, e)
				}
			}
			l.Close()
		}
		// Back, interrupted as well.
		z := m.openQuarantine(t, nil)
		items := 0
		for it, err := range z.Items(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			items++
			left = n
			hz := m.openQuarantine(t, hook)
			err = hz.Restore(t.Context(), hq, it.Name, restore)
			if err != nil {
				err = z.Restore(t.Context(), q, it.Name, restore)
			}
			if err != nil && !errors.Is(err, ErrRestored) {
				t.Errorf("step %d: restore: %v", n, err)
			}
			if err := z.Restore(t.Context(), q, it.Name, restore); !errors.Is(err, ErrRestored) {
				t.Errorf("step %d: a second time: %v", n, err)
			}
		}
		if items != len(taken) {
			t.Errorf("step %d: %d items", n, items)
		}
		sameCounts(t, "messages", m.bodies(t), bodies)
		if t.Failed() {
			t.Fatalf("step %d", n)
		}
		if !failed {
			if n < 30 {
				t.Errorf("only %d steps", n)
			}
			return
		}
	}
}

func TestRestore(t *testing.T) {
	m := makeQueue(t, small)
	q := m.open(t)
	ids := byState(t, q)
	z := m.openQuarantine(t, nil)
	l := lockQueue(t, q)
	withBounce, err := q.Message(ids[S5][0])
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Quarantine(t.Context(), z, "why \xff", ids[S5]...); err != nil {
		t.Fatal(err)
	}
	l.Close()
	var names []string
	for it, err := range z.Items(t.Context()) {
		if err != nil || it.Reason == "" || it.ID == 0 || it.Restored != RestoreNever || !it.Has("mess") || !it.Has("info") {
			t.Errorf("%+v, %v", it, err)
		}
		names = append(names, it.Name)
	}
	if len(names) != len(ids[S5]) || withBounce.Sender == "" {
		t.Fatalf("items %q", names)
	}
	// Local recipients may have a prefix.
	if err := z.Restore(t.Context(), q, names[0], nil); !errors.Is(err, ErrNoEnvelope) {
		t.Errorf("%v", err)
	}
	same := func(a string) (string, error) { return a, nil }
	// A Runner that never comes back leaves it open whether it was queued.
	lost := func(context.Context, io.Reader, io.Reader) (int, error) { return 0, io.ErrUnexpectedEOF }
	if err := z.Restore(t.Context(), q, names[0], &RestoreOptions{Runner: lost, Recipient: same}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	if err := z.Restore(t.Context(), q, names[0], &RestoreOptions{Recipient: same}); !errors.Is(err, ErrUnsure) {
		t.Errorf("%v", err)
	}
	if err := z.Restore(t.Context(), q, names[0], &RestoreOptions{Recipient: same, Again: true}); err != nil {
		t.Errorf("%v", err)
	}
	if it, err := z.Item(names[0]); err != nil || it.Restored != RestoreDone {
		t.Errorf("%+v, %v", it, err)
	}
	// Nor does one that ends well without having read all.
	hasty := func(context.Context, io.Reader, io.Reader) (int, error) { return 0, nil }
	if err := z.Restore(t.Context(), q, names[2], &RestoreOptions{Runner: hasty, Recipient: same}); err == nil {
		t.Error("no error")
	}
	if err := z.Restore(t.Context(), q, names[2], &RestoreOptions{Recipient: same}); !errors.Is(err, ErrUnsure) {
		t.Errorf("%v", err)
	}
	// One that says no is not in doubt.
	full := func(context.Context, io.Reader, io.Reader) (int, error) { return 53, nil }
	var refused *SubmitError
	if err := z.Restore(t.Context(), q, names[1], &RestoreOptions{Runner: full, Recipient: same}); !errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
	other := &Envelope{Sender: "other@example.com", Recipients: []string{"x@y"}}
	if err := z.Restore(t.Context(), q, names[1], &RestoreOptions{Envelope: other}); err != nil {
		t.Errorf("%v", err)
	}
	found := false
	for msg, err := range q.Messages(t.Context()) {
		found = found || err == nil && msg.Sender == other.Sender
	}
	if !found {
		t.Error("the envelope that was given was not taken")
	}
	if err := z.Discard(names[1]); err != nil {
		t.Error(err)
	}
	if _, err := z.Item(names[1]); !errors.Is(err, ErrNoItem) {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "..", ".new.x", "no/such", "no"} {
		if _, err := z.Item(bad); !errors.Is(err, ErrNoItem) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	f, err := z.OpenFile(names[2], "mess")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// TestRestoreLost brings back what a repair had to take out, with the envelope
// that was lost.
func TestRestoreLost(t *testing.T) {
	m := goldenQueue(t, "bad-records").toMend(t, true)
	if err := m.mend(t, 2); err != nil {
		t.Fatal(err)
	}
	q, z := m.open(t), m.openQuarantine(t, nil)
	n := 0
	for it, err := range z.Items(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if err := z.Restore(t.Context(), q, it.Name, &RestoreOptions{Recipient: func(a string) (string, error) { return a, nil }}); !errors.Is(err, ErrNoEnvelope) {
			t.Errorf("%s: %v", it.Name, err)
		}
		if err := z.Restore(t.Context(), q, it.Name, &RestoreOptions{Envelope: &Envelope{Sender: "s@example.com", Recipients: []string{"a@example.com"}}}); err != nil {
			t.Errorf("%s: %v", it.Name, err)
		}
	}
	if n != 4 {
		t.Errorf("%d items", n)
	}
	m.clean(t)
}

func TestExpire(t *testing.T) {
	m := makeQueue(t, small)
	q := m.open(t)
	ids := byState(t, q)
	set := func(id ID, p Part, text string) {
		if err := os.WriteFile(filepath.Join(m.dir, q.layout.Path(p, id)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	local, network, empty, odd := ids[S5][0], ids[S5][1], ids[S5][2], ids[S5][3]
	set(network, Mess, "Received: (qmail 1 invoked from network); 1 Jan 2026 00:00:00 -0000\nx\n")
	set(empty, Info, "F\x00")
	set(odd, Mess, "Received: from forged (qmail 1 invoked by uid 0); 1 Jan\nx\n")
	// Brought back once, or handed on: what counts is where it came from.
	by := "Received: (qmail 2 invoked by uid 0); 1 Jan 2026 00:00:00 -0000\n"
	for i, text := range []string{by + "Received: (qmail 1 invoked from network); 1 Jan 2026 00:00:00 -0000\nx\n", by + by + "Received: (qmail 1 invoked by"} {
		set(network, Mess, text)
		if err := q.Expire(t.Context(), nil, network); !errors.Is(err, ErrWouldBounce) {
			t.Errorf("%d: %v", i, err)
		}
	}
	set(local, Mess, by+by+"Received: from somewhere\nx\n")
	set(network, Mess, "Received: (qmail 1 invoked from network); 1 Jan 2026 00:00:00 -0000\nx\n")
	alarms := 0
	opts := &ExpireOptions{Lifetime: time.Hour, Alarm: func() error { alarms++; return nil }}
	err := q.Expire(t.Context(), opts, local, network, empty, odd, ids[S4][0], 12345)
	want := map[ID]error{network: ErrWouldBounce, empty: ErrWouldBounce, odd: ErrWouldBounce, ids[S4][0]: ErrNotPreprocessed, 12345: ErrNoMessage}
	for _, e := range unjoin(err) {
		var me *MessageError
		if !errors.As(e, &me) || want[me.ID] == nil || !errors.Is(e, want[me.ID]) {
			t.Errorf("%v", e)
			continue
		}
		delete(want, me.ID)
	}
	if len(want) > 0 || alarms != 1 {
		t.Errorf("no error for %v; %d alarms", slices.Collect(maps.Keys(want)), alarms)
	}
	age := func(id ID) time.Duration {
		msg, err := q.Message(id)
		if err != nil {
			t.Fatal(err)
		}
		return m.opts.Now().Sub(msg.Birth)
	}
	if age(local) <= time.Hour || age(network) > time.Hour || age(empty) > time.Hour || age(odd) > time.Hour {
		t.Errorf("ages %v %v %v %v", age(local), age(network), age(empty), age(odd))
	}
	if err := q.Expire(t.Context(), &ExpireOptions{AllowForged: true}, network, odd); err != nil || age(network) <= defaultLifetime || age(odd) <= defaultLifetime {
		t.Errorf("forged: %v", err)
	}
	if err := q.Expire(t.Context(), &ExpireOptions{AllowEmpty: true}, empty); err != nil || age(empty) <= defaultLifetime {
		t.Errorf("empty: %v", err)
	}
	was := age(empty)
	if err := q.Expire(t.Context(), &ExpireOptions{AllowEmpty: true, Lifetime: time.Minute}, empty); err != nil || age(empty) != was {
		t.Errorf("one that is old already got younger: %v", err)
	}
	m.clean(t)
}

func TestRetry(t *testing.T) {
	m := makeQueue(t, small)
	q := m.open(t)
	ids := byState(t, q)
	alarm := errors.New("no such process")
	err := q.Retry(t.Context(), &RetryOptions{Alarm: func() error { return alarm }}, ids[S5][0], ids[S4][0])
	if !errors.Is(err, ErrNotPreprocessed) || !errors.Is(err, alarm) {
		t.Errorf("%v", err)
	}
	later := m.opts.Now().Add(5 * time.Hour)
	if err := q.Retry(t.Context(), &RetryOptions{At: later}, ids[S5][1]); err != nil {
		t.Error(err)
	}
	for id, want := range map[ID]time.Time{ids[S5][0]: m.opts.Now(), ids[S5][1]: later} {
		msg, err := q.Message(id)
		if err != nil {
			t.Fatal(err)
		}
		if !msg.Next().Equal(want) || !msg.NextRemote.IsZero() && !msg.NextRemote.Equal(want) || !msg.NextLocal.Equal(want) {
			t.Errorf("%d: next try %v and %v, want %v", id, msg.NextLocal, msg.NextRemote, want)
		}
		if d := msg.Birth.Sub(m.opts.Now()); d < -time.Minute {
			t.Errorf("%d: birth moved by %v", id, d)
		}
	}
	old := m.opts.Now().Add(-100 * time.Hour)
	if err := q.setTime(Info, ids[S5][0], old); err != nil {
		t.Fatal(err)
	}
	for _, renew := range []bool{false, true} {
		if err := q.Retry(t.Context(), &RetryOptions{Renew: renew}, ids[S5][0]); err != nil {
			t.Error(err)
		}
		want := old
		if renew {
			want = m.opts.Now()
		}
		if msg, err := q.Message(ids[S5][0]); err != nil || !msg.Birth.Equal(want) {
			t.Errorf("renew %t: born %v, %v, want %v", renew, msg.Birth, err, want)
		}
	}
	called := false
	q.Retry(t.Context(), &RetryOptions{Alarm: func() error { called = true; return nil }}, 12345)
	if called {
		t.Error("qmail-send is woken for nothing")
	}
}

// TestQuarantineElsewhere keeps messages on another file system, where they are
// copied, and where a number can come again.
func TestQuarantineElsewhere(t *testing.T) {
	m := makeQueue(t, small)
	m.zdir = t.TempDir()
	q, z := m.open(t), m.openQuarantine(t, nil)
	if other, err := z.otherDisk(q); err != nil || !other {
		t.Skip("there is one file system only")
	}
	ids := byState(t, q)
	bodies := m.bodies(t)
	l := lockQueue(t, q)
	if err := l.Quarantine(t.Context(), z, "elsewhere", ids[S4][0], ids[S5][0]); err != nil {
		t.Fatal(err)
	}
	var names []string
	for it, err := range z.Items(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, it.Name)
		for _, f := range it.Files {
			fi, err := os.Lstat(filepath.Join(m.zdir, it.Name, f.Name))
			if err != nil || !fi.ModTime().Equal(f.ModTime) || !f.Copied {
				t.Errorf("%s: %+v, %v", it.Name, f, err)
			}
		}
		if err := z.Restore(t.Context(), q, it.Name, &RestoreOptions{Recipient: func(a string) (string, error) { return strings.TrimPrefix(a, "virtual-"), nil }}); err != nil {
			t.Error(err)
		}
	}
	if len(names) != 2 {
		t.Fatalf("items %q", names)
	}
	sameCounts(t, "messages", m.bodies(t), bodies)
	// Another message in the same place with the same inode number is not the
	// one that was kept.
	it, err := z.Item(names[0])
	if err != nil {
		t.Fatal(err)
	}
	again := slices.Clone(it.Files)
	if !it.holds(again) {
		t.Error("the item does not hold what it has")
	}
	again[0].ModTime = again[0].ModTime.Add(time.Nanosecond)
	if it.holds(again) {
		t.Error("another message is taken for the one that was kept")
	}
	// A directory is not copied.
	os.MkdirAll(filepath.Join(m.dir, "mess/stray/deep"), 0o700)
	l.Close()
	if err := m.mend(t, 1); !errors.Is(err, ErrOtherDisk) {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(filepath.Join(m.dir, "mess/stray/deep")); err != nil {
		t.Error(err)
	}
}

// TestRestoreEnded: a restore was interrupted behind the moment that counts, and
// qmail-send has delivered the message since and not yet removed its file.
func TestRestoreEnded(t *testing.T) {
	for name, tt := range map[string]struct {
		left []Part
		age  time.Duration
		want error
	}{
		"queued":               {[]Part{Mess, Intd, Todo}, 0, ErrRestored},
		"delivered":            {nil, 0, ErrRestored},
		"being removed":        {[]Part{Mess}, 0, ErrRestored},
		"not yet queued":       {[]Part{Mess, Intd}, 0, nil},
		"delivered long ago":   {nil, 48 * time.Hour, ErrUnsure},
		"number of another's":  {[]Part{Mess, Intd, Todo}, 48 * time.Hour, ErrUnsure},
		"another that arrives": {[]Part{Mess, Intd}, 48 * time.Hour, ErrUnsure},
	} {
		t.Run(name, func(t *testing.T) {
			m := makeQueue(t, small)
			q := m.open(t)
			taken := byState(t, q)[S4][0]
			z := m.openQuarantine(t, nil)
			l := lockQueue(t, q)
			if err := l.Quarantine(t.Context(), z, "a test", taken); err != nil {
				t.Fatal(err)
			}
			l.Close()
			item := ""
			for it, err := range z.Items(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				item = it.Name
			}
			again := enqueue(t, q, 77)
			for _, p := range []Part{Todo, Intd, Mess} {
				if !slices.Contains(tt.left, p) {
					os.Remove(filepath.Join(m.dir, q.layout.Path(p, again)))
				}
			}
			d, err := z.open(item)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if err := writeNote(d, note{State: RestoreBegun, ID: again, Time: m.opts.Now().Add(-tt.age)}); err != nil {
				t.Fatal(err)
			}
			if err := z.Restore(t.Context(), q, item, nil); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

// TestRemoveInTheWay: one message that cannot be removed keeps no other from it,
// and is the only one of which an error tells.
func TestRemoveInTheWay(t *testing.T) {
	m := makeQueue(t, small)
	opts := *m.opts
	bad := ID(0)
	opts.hook = func(op, name string) error {
		if op == "remove" && filepath.Base(name) == bad.String() {
			return syscall.EPERM
		}
		return nil
	}
	q := openQueue(t, m.dir, &opts)
	ids := slices.Concat(byState(t, q)[S4], byState(t, q)[S5])
	bad = ids[1]
	l := lockQueue(t, q)
	defer l.Close()
	var failed *MessageError
	errs := unjoin(l.Delete(t.Context(), ids...))
	if len(errs) != 1 || !errors.As(errs[0], &failed) || failed.ID != bad || !errors.Is(failed, syscall.EPERM) {
		t.Errorf("%v", errs)
	}
	left := slices.Concat(byState(t, q)[S4], byState(t, q)[S5])
	if !slices.Equal(left, []ID{bad}) {
		t.Errorf("left are %v, want %v", left, bad)
	}
}
