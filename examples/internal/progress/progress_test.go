//go:build unix

package progress

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// buffer is a bytes.Buffer that the test may read while Progress writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// clock is time that the test moves, with the ticks that go with it.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	ticks chan time.Time
}

func newClock() *clock {
	return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), ticks: make(chan time.Time)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// tick moves time and lets Progress look. Two ticks are sent, because the
// first one's work is over only when the second is taken.
func (c *clock) tick(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	now := c.now
	c.mu.Unlock()
	c.ticks <- now
	c.ticks <- now
}

func (c *clock) options() Options { return Options{Now: c.Now, ticks: c.ticks} }

func TestNilDoesNothing(t *testing.T) {
	var p *Progress
	p.Phase("copy")
	p.Expect(1, 2, 3)
	p.Mailboxes(1)
	p.Messages(1)
	p.Bytes(1)
	var out bytes.Buffer
	if p.Words(&out) != io.Writer(&out) {
		t.Error("words do not go where they went")
	}
	if c := p.Stop(); !c.Final || c.Messages != 0 {
		t.Errorf("Stop = %+v", c)
	}
}

func TestNothingWithoutATerminal(t *testing.T) {
	c := newClock()
	var out buffer
	o := c.options()
	o.Out = &out
	p := Start(o)
	p.Expect(1, 10, 1000)
	p.Messages(10)
	c.tick(5 * time.Second)
	if p.Words(&out) != io.Writer(&out) {
		t.Error("words do not go straight out")
	}
	p.Stop()
	if out.String() != "" {
		t.Errorf("drawn: %q", out.String())
	}
	// A plain file and a pipe are no terminals either.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if isTerminal(w) || isTerminal(&out) {
		t.Error("taken for a terminal")
	}
}

func TestRatesAndTimeLeft(t *testing.T) {
	c := newClock()
	p := Start(c.options())
	p.Expect(4, 1000, 100_000)
	for range 30 {
		p.Messages(10)
		p.Bytes(1000)
		c.tick(time.Second)
	}
	p.Mailboxes(1)
	got := p.sample(false)
	want := Counts{
		Messages: 300, MessagesTotal: 1000, Bytes: 30_000, BytesTotal: 100_000, Mailboxes: 1, MailboxesTotal: 4,
		Elapsed: 30 * time.Second, ByteRate: 1000, MessageRate: 10, Left: 70 * time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// The rate is that of the last 20 seconds: it forgets a fast start.
	for range 25 {
		p.Bytes(100)
		c.tick(time.Second)
	}
	if got := p.sample(false); got.ByteRate != 100 {
		t.Errorf("rate %v, want 100", got.ByteRate)
	}
	if n := len(p.samples); n > int(rateOver/drawEvery)*2+2 {
		t.Errorf("%d samples are kept", n)
	}
	final := p.Stop()
	if want := float64(32_500) / 55; final.ByteRate != want || !final.Final {
		t.Errorf("final rate %v, want %v", final.ByteRate, want)
	}
	if again := p.Stop(); again != final {
		t.Errorf("second Stop = %+v, want %+v", again, final)
	}
}

func TestLeftAndDone(t *testing.T) {
	for _, tc := range []struct {
		name string
		c    Counts
		left time.Duration
		done float64
	}{
		{"nothing known", Counts{}, -1, -1},
		{"no total", Counts{Bytes: 5, ByteRate: 1}, -1, -1},
		{"stalled", Counts{Bytes: 5, BytesTotal: 10}, -1, 0.5},
		{"by bytes", Counts{Bytes: 5, BytesTotal: 10, ByteRate: 1, Messages: 9, MessagesTotal: 10}, 5 * time.Second, 0.5},
		{"by messages", Counts{Messages: 9, MessagesTotal: 10, MessageRate: 2}, time.Second / 2, 0.9},
		{"grown", Counts{Bytes: 15, BytesTotal: 10, ByteRate: 1}, 0, 1},
		{"ages", Counts{BytesTotal: 1 << 60, ByteRate: 1}, -1, 0},
		{"mailboxes only", Counts{Mailboxes: 1, MailboxesTotal: 4}, -1, 0.25},
	} {
		if tc.c.left() != tc.left || tc.c.Done() != tc.done {
			t.Errorf("%s: %v left, %v done; want %v, %v", tc.name, tc.c.left(), tc.c.Done(), tc.left, tc.done)
		}
	}
}

func TestPhaseCountsAnew(t *testing.T) {
	c := newClock()
	p := Start(c.options())
	defer p.Stop()
	p.Expect(1, 1, 1)
	p.Messages(1)
	c.tick(time.Second)
	p.Phase("verify")
	if got, want := p.sample(false), (Counts{Phase: "verify", Left: -1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestJSONLines(t *testing.T) {
	c := newClock()
	var out buffer
	o := c.options()
	o.JSON = &out
	p := Start(o)
	p.Phase("copy")
	p.Expect(2, 20, 2000)
	for range 15 { // 3 seconds in steps of the ticker
		p.Messages(1)
		p.Bytes(100)
		c.tick(drawEvery)
	}
	p.Stop()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines, want one a second and the last:\n%s", len(lines), out.String())
	}
	var got line
	dec := json.NewDecoder(strings.NewReader(lines[3]))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil {
		t.Fatal(err)
	}
	left := 1.0
	want := line{
		Event: "progress", Phase: "copy", Messages: 15, MessagesTotal: 20, Bytes: 1500, BytesTotal: 2000, MailboxesTotal: 2,
		Elapsed: 3, ByteRate: 500, MessageRate: 5, Left: &left, Final: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, l := range lines[:3] {
		if !strings.Contains(l, `"final":false`) {
			t.Errorf("not the last: %s", l)
		}
	}
	b, err := json.Marshal(Counts{Left: -1})
	if err != nil || !bytes.Contains(b, []byte(`"left_seconds":null`)) {
		t.Errorf("%s, %v", b, err)
	}
}

func TestSignalAsksForOneLine(t *testing.T) {
	// The process must survive the signal after Stop, too.
	keep := make(chan os.Signal, 1)
	signal.Notify(keep, syscall.SIGUSR1)
	defer signal.Stop(keep)

	c := newClock()
	out := &buffer{}
	o := c.options()
	o.Out = out
	p := Start(o)
	p.Phase("copy")
	p.Expect(3, 4000, 1<<20)
	p.Messages(1234)
	p.Bytes(1 << 19)
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	want := "copy: 50%, 1,234 of 4,000 messages, 512.0 KiB of 1.0 MiB, 0 of 3 mailboxes\n"
	for deadline := time.Now().Add(10 * time.Second); out.String() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got %q, want %q", out.String(), want)
		}
	}
	p.Stop()
}

func TestBar(t *testing.T) {
	c := newClock()
	out := &buffer{}
	o := c.options()
	o.Out, o.bar = out, true
	p := Start(o)
	w := p.Words(out)
	p.Phase("copy")
	p.Expect(2, 200, 20_000)
	p.Messages(100)
	p.Bytes(10_000)
	c.tick(10 * time.Second)
	eventually(t, out, "copy  50% [", "] 1000 B/s, 10 s left", "\n100 of 200 messages, 9.8 KiB of 19.5 KiB, 0 of 2 mailboxes")
	got := out.String()
	for _, l := range strings.Split(got, "\n") {
		if len([]rune(l)) > 100 { // 80 and the cursor's commands
			t.Errorf("line of %d: %q", len(l), l)
		}
	}
	io.WriteString(w, "a notice\nhalf of ")
	c.tick(time.Second)
	eventually(t, out, "a notice\n")
	if s := out.String(); strings.Contains(s, "half of") {
		t.Errorf("half a line:\n%s", s)
	}
	io.WriteString(w, "another\nand a rest")
	p.Messages(100)
	p.Bytes(10_000)
	p.Stop()
	got = out.String()
	last := got[strings.LastIndex(got, "and a rest"):]
	for _, want := range []string{"and a rest\n", "copy 100% [", "] 1.8 KiB/s, took 11 s", "200 of 200 messages"} {
		if !strings.Contains(last, want) {
			t.Errorf("last picture lacks %q:\n%q", want, last)
		}
	}
	if strings.Count(got, "half of another\n") != 1 {
		t.Errorf("a line in two writes:\n%q", got)
	}
	io.WriteString(w, "afterwards\n")
	if !strings.HasSuffix(out.String(), "afterwards\n") {
		t.Error("words after Stop are lost")
	}
}

// eventually waits for the picture, which is drawn beside the test.
func eventually(t *testing.T, out *buffer, wants ...string) {
	t.Helper()
	for _, want := range wants {
		for deadline := time.Now().Add(10 * time.Second); !strings.Contains(out.String(), want); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("picture lacks %q:\n%s", want, out.String())
			}
		}
	}
}

// broken is a terminal that goes away.
type broken struct{ after int }

func (b *broken) Write(p []byte) (int, error) {
	if b.after--; b.after < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestTerminalGoesAway(t *testing.T) {
	c := newClock()
	o := c.options()
	o.Out, o.bar = &broken{after: 1}, true
	p := Start(o)
	for range 4 {
		p.Messages(1)
		c.tick(time.Second)
	}
	var direct buffer
	io.WriteString(p.Words(&direct), "still here\n")
	done := make(chan Counts)
	go func() { done <- p.Stop() }()
	select {
	case got := <-done:
		if got.Messages != 4 {
			t.Errorf("%d messages, want 4", got.Messages)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Stop waits for a terminal that is gone")
	}
	if direct.String() != "still here\n" {
		t.Errorf("words: %q", direct.String())
	}
}

func TestCountsFromManyGoroutines(t *testing.T) {
	p := Start(Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 1000 {
				p.Messages(1)
				p.Bytes(3)
			}
		}()
	}
	wg.Wait()
	if c := p.Stop(); c.Messages != 8000 || c.Bytes != 24000 {
		t.Errorf("%+v", c)
	}
}

func Example() {
	p := Start(Options{Out: os.Stderr})
	p.Phase("copy")
	p.Expect(1, 2, 300)
	p.Messages(2)
	p.Bytes(300)
	p.Mailboxes(1)
	c := p.Stop()
	fmt.Printf("%d messages, %d%%\n", c.Messages, int(100*c.Done()))
	// Output: 2 messages, 100%
}
