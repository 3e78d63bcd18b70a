package maildir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

// msg is one message of a test's source.
func msg(source, body string, f Flags) *Message {
	return &Message{Source: source, Size: int64(len(body)), Flags: f, Time: time.Unix(1e9, 0),
		Body: func() io.Reader { return strings.NewReader(body) }}
}

// state is what stands in a Maildir's INBOX: body to flags, with N for new/.
func state(t testing.TB, dir string) map[string]string {
	t.Helper()
	d, err := Open(filepath.Join(dir, "M"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	list, bad := messages(t, d)
	if bad != nil {
		t.Fatal(bad)
	}
	out := map[string]string{}
	for _, e := range list {
		body := read(t, filepath.Join(dir, "M", e.Sub(), e.Name.String()))
		flags := e.Name.Flags().String()
		if !e.Cur {
			flags = "N" + flags
		}
		if out[body] != "" {
			flags = out[body] + " " + flags
		}
		out[body] = flags
	}
	return out
}

func TestRerunThreeWay(t *testing.T) {
	const body = "Subject: a\n\nx\n"
	for _, c := range []struct {
		name           string
		before, after  Flags             // of the source
		cur            bool              // the source wants cur/ the second time
		target         func(n Name) Name // what the reader makes of it, in cur/
		want           Outcome
		state          string
		again, another Outcome // of a third run, and of one with yet another flag
	}{
		{"nothing", Seen, Seen, true, nil, Present, "S", Present, Updated},
		{"source", Seen, Seen | Replied, true, nil, Updated, "RS", Present, Updated},
		{"source, from new", 0, Seen, true, nil, Updated, "S", Present, Updated},
		{"source, all flags gone", Seen, 0, false, nil, Updated, "N", Present, Updated},
		{"source, to cur without flags", 0, 0, true, nil, Updated, "", Present, Updated},
		{"target", 0, 0, false, func(n Name) Name { return n.WithFlags(Seen) }, Present, "S", Present, Kept},
		{"both", Seen, Seen | Replied, true, func(n Name) Name { return n.WithFlags(Seen | Trashed) }, Kept, "ST", Kept, Kept},
		{"both alike", 0, Seen, true, func(n Name) Name { return n.WithFlags(Seen) }, Present, "S", Present, Updated},
		{"source, where a reader has opened the folder", 0, Seen, true, func(n Name) Name { return n.WithFlags(0) }, Updated, "S", Present, Updated},
	} {
		dir := fastDir(t)
		first := msg("a", body, c.before)
		res, err := runResults(t, dir, []*Message{first}, nil, nil)
		if err != nil || res[0].Outcome != Delivered {
			t.Fatalf("%s: %+v, %v", c.name, res, err)
		}
		if c.target != nil {
			e := res[0].Entry
			at := filepath.Join(dir, "M", e.Sub(), e.Name.String())
			if err := os.Rename(at, filepath.Join(dir, "M/cur", c.target(e.Name).String())); err != nil {
				t.Fatal(err)
			}
		}
		second := msg("a", body, c.after)
		second.Cur = c.cur
		for i, want := range []Outcome{c.want, c.again} {
			res, err = runResults(t, dir, []*Message{second}, nil, nil)
			if err != nil || res[0].Outcome != want {
				t.Errorf("%s: run %d: %v, %v; want %v", c.name, i+2, res[0].Outcome, err, want)
			}
			if got := state(t, dir); len(got) != 1 || got[body] != c.state {
				t.Errorf("%s: run %d leaves %q, want %q", c.name, i+2, got, c.state)
			}
		}
		if res, err = runResults(t, dir, []*Message{msg("a", body, Draft)}, nil, nil); err != nil || res[0].Outcome != c.another {
			t.Errorf("%s: another flag: %v, %v; want %v", c.name, res[0].Outcome, err, c.another)
		}
	}
}

// TestRerunLive imports a spool that is still alive.
func TestRerunLive(t *testing.T) {
	dir := fastDir(t)
	list := func(bodies ...string) (out []*Message) {
		for _, b := range bodies {
			out = append(out, msg("spool", b, 0))
		}
		return out
	}
	run := func(want string, bodies ...string) {
		t.Helper()
		res, err := runResults(t, dir, list(bodies...), nil, nil)
		var got []string
		for _, r := range res {
			got = append(got, r.Outcome.String()[:1])
		}
		if err != nil || strings.Join(got, "") != want {
			t.Errorf("%q: %s, %v; want %s", bodies, strings.Join(got, ""), err, want)
		}
	}
	a, b, c, d := "A: 1\n\na\n", "B: 1\n\nb\n", "C: 1\n\nc\n", "D: 1\n\nd\n"
	run("ddd", a, b, c)
	run("pppd", a, b, c, d)                                 // grown
	run("ppp", b, c, d)                                     // lost an earlier one
	run("ppp", "Status: RO\n"+b, "X-UID: 5\n"+c, d)         // state headers rewritten
	run("pppdd", b, c, d, d, d)                             // equal ones
	run("ppppp", d, d, d, c, b)                             // in another order
	run("d", "B: 1\n\nStatus: RO\nb\n")                     // in the body it is another message
	run("dp", "New: 1\n\n"+strings.Repeat("n", 600<<10), a) // a large one
	run("pp", "New: 1\n\n"+strings.Repeat("n", 600<<10), a)
	if got := state(t, dir); got[d] != "N N N" || got[a] != "N" || len(got) != 6 {
		t.Errorf("%q", got)
	}
	// The same message in another source is another message.
	res, err := runResults(t, dir, []*Message{msg("spool", a, 0), msg("other", a, 0), msg("", a, 0)}, nil, nil)
	if err != nil || res[0].Outcome != Present || res[1].Outcome != Delivered || res[2].Outcome != Delivered {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestRerunReader does what readers do between two runs.
func TestRerunReader(t *testing.T) {
	msgs := sample(30)
	dir := fastDir(t)
	res, err := runResults(t, dir, msgs, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	at := func(e Entry) string { return filepath.Join(dir, "M", e.Folder, e.Sub(), e.Name.String()) }
	os.Remove(at(res[0].Entry))
	os.Rename(at(res[1].Entry), filepath.Join(dir, "M/.Work.2004/cur", res[1].Entry.Name.WithFlags(Seen|Trashed).String()))
	os.Rename(at(res[3].Entry), filepath.Join(dir, "M/cur", res[3].Entry.Name.WithFlags(Flagged).String()))
	want := snapshot(t, dir)
	n, err := runImport(t, dir, msgs, nil)
	if err != nil || n[Present] != len(msgs) || snapshot(t, dir) != want {
		t.Errorf("%v, %v\n%s", n, err, diff(want, snapshot(t, dir)))
	}
	// A whole folder is deleted: its messages stay deleted, even where one is
	// new in the same source.
	os.RemoveAll(filepath.Join(dir, "M/.Work.2004"))
	more := append(msgs, msg("var/mail/ann", "New: 1\n\n", 0))
	if n, err = runImport(t, dir, more, nil); err != nil || n[Present] != len(msgs) || n[Delivered] != 1 {
		t.Errorf("%v, %v", n, err)
	}
}

// TestJournalGone removes the journal: names tell what was delivered, in that
// run and, since it records them, in the next one.
func TestJournalGone(t *testing.T) {
	msgs := sample(12)
	dir := fastDir(t)
	res, err := runResults(t, dir, msgs, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := res[0].Entry
	os.Rename(filepath.Join(dir, "M", e.Sub(), e.Name.String()), filepath.Join(dir, "M/cur", e.Name.WithFlags(Flagged).String()))
	want := snapshot(t, dir)
	if err := os.Remove(filepath.Join(dir, "M", JournalName)); err != nil {
		t.Fatal(err)
	}
	if n, err := runImport(t, dir, msgs, nil); err != nil || n[Present] != len(msgs) {
		t.Errorf("%v, %v", n, err)
	}
	if n, err := runImport(t, dir, msgs, nil); err != nil || n[Present] != len(msgs) || snapshot(t, dir) != want {
		t.Errorf("%v, %v\n%s", n, err, diff(want, snapshot(t, dir)))
	}
	// Now it knows: what is deleted does not come back, the source's flags are
	// followed where the reader has not touched them.
	os.Remove(filepath.Join(dir, "M/cur", e.Name.WithFlags(Flagged).String()))
	changed := *msgs[3]
	changed.Flags = Replied
	msgs[3] = &changed
	if n, err := runImport(t, dir, msgs, nil); err != nil || n[Present] != len(msgs)-1 || n[Updated] != 1 {
		t.Errorf("%v, %v", n, err)
	}
}

// TestOldIntents ends intents whose files are gone: a reader was quicker, or
// after 36 hours perhaps somebody who cleans tmp/.
func TestOldIntents(t *testing.T) {
	msgs := sample(6)
	start := time.Unix(1.5e9, 0)
	for _, c := range []struct {
		after time.Duration
		want  Outcome
	}{{time.Hour, Present}, {36 * time.Hour, Present}, {36*time.Hour + time.Second, Delivered}} {
		dir := fastDir(t)
		cut := &cutPlaces{}
		_, err := runResults(t, dir, msgs, &CommitOptions{Now: func() time.Time { return start }, hook: cut.hook}, nil)
		if !errors.Is(err, errDead) {
			t.Fatal(err)
		}
		// Half of what is in tmp/ goes, one of that to its place.
		var gone, moved int
		for _, sub := range []string{"M", "M/.Work.2004"} {
			list, _ := os.ReadDir(filepath.Join(dir, sub, "tmp"))
			for i, e := range list {
				at := filepath.Join(dir, sub, "tmp", e.Name())
				switch {
				case i%2 == 1:
				case moved == 0:
					moved++
					os.Rename(at, filepath.Join(dir, sub, "cur", e.Name()+":2,T"))
				default:
					gone++
					os.Remove(at)
				}
			}
		}
		if gone == 0 || moved == 0 {
			t.Fatal("nothing staged")
		}
		later := &CommitOptions{Now: func() time.Time { return start.Add(c.after) }}
		for run, want := range []map[Outcome]int{
			{c.want: gone, Present: len(msgs) - gone}, {Present: len(msgs)},
		} {
			if c.want == Present {
				want = map[Outcome]int{Present: len(msgs)}
			}
			n, err := runImport(t, dir, msgs, later)
			if err != nil || fmt.Sprint(n) != fmt.Sprint(want) {
				t.Errorf("%v, run %d: %v, %v; want %v", c.after, run, n, err, want)
			}
		}
		if s := snapshot(t, dir); strings.Contains(s, "/tmp/") {
			t.Errorf("left in tmp: %s", s)
		}
	}
}

// TestSweep takes away what a killed run has staged of a message that its
// source has lost since; files of others stay.
func TestSweep(t *testing.T) {
	msgs := sample(6)
	dir := fastDir(t)
	f := &faults{mode: "dead", at: 40}
	if _, err := runResults(t, dir, msgs, &CommitOptions{Writers: 1, hook: f.hook}, nil); err == nil {
		t.Fatal("was not cut off")
	}
	staged, _ := filepath.Glob(filepath.Join(dir, "M/.Work.2004/tmp/*"))
	if len(staged) == 0 {
		t.Fatalf("nothing staged in a folder; cut at %s", f.fired)
	}
	theirs := filepath.Join(dir, "M/tmp/1.a.b")
	write(t, theirs, "")
	os.Mkdir(filepath.Join(dir, "M/tmp/1.R00000000000000000000000000000000.qmailkit,S=1"), 0o700)
	if _, err := runResults(t, dir, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	for _, s := range staged {
		if _, err := os.Lstat(s); err == nil {
			t.Errorf("left: %s", s)
		}
	}
	read(t, theirs)
}

// TestSyncFailure does not call a message delivered whose directory could not
// be synced.
func TestSyncFailure(t *testing.T) {
	for _, o := range []CommitOptions{{}, {NoSyncFS: true}, {Sync: SyncEach}} {
		dir := fastDir(t)
		var mu sync.Mutex
		placed := false
		o.hook = func(op, name string) error {
			mu.Lock()
			defer mu.Unlock()
			placed = placed || op == "rename" && strings.Contains(name, "/tmp/")
			if placed && strings.HasPrefix(op, "sync") {
				return syscall.EIO
			}
			return nil
		}
		res, err := runResults(t, dir, sample(3), &o, nil)
		if !errors.Is(err, syscall.EIO) || tally(res)[Delivered] != 0 || !errors.Is(res[0].Err, syscall.EIO) {
			t.Errorf("%+v: %v", tally(res), err)
		}
	}
}

// A large message is read only once where nothing was imported before, and
// what was read is what is delivered. If that fails it is as if it had not been.
func TestLargeAhead(t *testing.T) {
	dir := fastDir(t)
	var reads atomic.Int64
	large := func(fail bool) *Message {
		m := &Message{Source: "a", Size: 1 << 20}
		m.Body = func() io.Reader {
			n := reads.Add(1)
			r := io.Reader(strings.NewReader(fmt.Sprintf("Subject: %d\n\n%s", n, strings.Repeat("large\n", 100<<10))))
			if fail {
				r = io.MultiReader(r, iotest.ErrReader(syscall.EIO))
			}
			return r
		}
		return m
	}
	res, err := runResults(t, dir, []*Message{large(true), large(false), msg("a", "small\n", 0)}, nil, nil)
	if err != nil || reads.Load() != 2 || res[0].Outcome != Failed || res[1].Outcome != Delivered || res[2].Outcome != Delivered {
		t.Fatalf("%d reads, %+v, %v", reads.Load(), res, err)
	}
	d, err := Open(filepath.Join(dir, "M"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f, err := d.OpenMessage(res[1].Entry)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, n, err := ContentOf(f)
	if size, ok := res[1].Entry.Name.Size(); err != nil || !ok || size != n || res[1].Size != n || MakeID(c, "a", 0) != res[1].ID {
		t.Errorf("%d bytes, %+v, %v", n, res[1], err)
	}
	if s := snapshot(t, dir); strings.Contains(s, "tmp/") {
		t.Errorf("left in tmp: %s", s)
	}
}

// TestSourceTrouble fails one message's reading; the others go on, and a rerun
// brings it.
func TestSourceTrouble(t *testing.T) {
	large := strings.Repeat("large\n", 200<<10)
	for name, body := range map[string]func() io.Reader{
		"small, cut off": func() io.Reader { return io.MultiReader(strings.NewReader("Subject"), iotest.ErrReader(syscall.EIO)) },
		"large, cut off": func() io.Reader { return io.MultiReader(strings.NewReader(large), iotest.ErrReader(syscall.EIO)) },
		"large, fails the second time": func() func() io.Reader {
			n := 0
			return func() io.Reader {
				if n++; n == 1 {
					return strings.NewReader(large)
				}
				return io.MultiReader(strings.NewReader(large[:300<<10]), iotest.ErrReader(syscall.EIO))
			}
		}(),
		"large, changes": func() func() io.Reader {
			n := 0
			return func() io.Reader {
				n++
				return strings.NewReader(fmt.Sprint(n, large))
			}
		}(),
		"large, shrinks": func() func() io.Reader {
			n := 0
			return func() io.Reader {
				n++
				return strings.NewReader(large[n:])
			}
		}(),
	} {
		dir := fastDir(t)
		bad := &Message{Source: "a", Size: int64(len(large)), Body: body}
		if strings.HasPrefix(name, "small") {
			bad.Size = 100
		}
		// Where something was imported before, a large message is read twice:
		// once to see whether it came already.
		if n, err := runImport(t, dir, []*Message{msg("b", "zero\n", 0)}, nil); err != nil || n[Delivered] != 1 {
			t.Fatal(n, err)
		}
		msgs := []*Message{msg("a", "one\n", 0), bad, msg("a", "two\n", 0)}
		res, err := runResults(t, dir, msgs, nil, nil)
		if err != nil || res[0].Outcome != Delivered || res[1].Outcome != Failed || res[1].Err == nil || res[2].Outcome != Delivered {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
		if s := snapshot(t, dir); strings.Contains(s, "/tmp/") || strings.Count(s, "R") > 5 {
			t.Errorf("%s: %s", name, s)
		}
		msgs[1] = msg("a", large, 0)
		if n, err := runImport(t, dir, msgs, nil); err != nil || n[Delivered] != 1 || n[Present] != 2 {
			t.Errorf("%s: rerun: %v, %v", name, n, err)
		}
	}
}
