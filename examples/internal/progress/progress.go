//go:build unix

// Package progress shows people, and where asked programs, how far a long run
// is. The work counts with atomics and never waits for the showing: a ticker
// samples the counts. A bar is drawn on a terminal only; SIGUSR1 (and SIGINFO,
// control-T, where the system has it) asks for one line at any time. Whatever
// happens there is one last update. All methods of a nil *Progress do nothing.
package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
)

// Options say where progress is shown. The zero value shows nothing.
type Options struct {
	// Out gets the bar if it is a terminal, and the lines that SIGUSR1 asks
	// for. It is the program's stderr.
	Out io.Writer
	// JSON, if not nil, gets an object a line, one a second and one at the
	// end. Leave it nil where stdout carries something else.
	JSON io.Writer
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	bar   bool             // draw though Out is no terminal, for tests
	ticks <-chan time.Time // takes the ticker's place in tests
	asked chan os.Signal   // takes the signal's place in tests
}

const (
	drawEvery = 200 * time.Millisecond // between two pictures of the bar
	jsonEvery = time.Second            // between two JSON lines
	rateOver  = 20 * time.Second       // span over which rates are measured
)

// Counts is one sample. Totals of 0 are not known.
type Counts struct {
	Phase          string
	Messages       int64
	MessagesTotal  int64
	Bytes          int64
	BytesTotal     int64
	Mailboxes      int64
	MailboxesTotal int64
	Elapsed        time.Duration // since the phase began
	ByteRate       float64       // bytes a second, over the last 20 seconds
	MessageRate    float64       // messages a second, likewise
	Left           time.Duration // negative: not known
	Final          bool          // nothing comes after it
}

// Progress counts. Its counting methods may be called from any goroutine.
type Progress struct {
	messages, messagesTotal   atomic.Int64
	bytes, bytesTotal         atomic.Int64
	mailboxes, mailboxesTotal atomic.Int64

	opts Options
	bar  *bar
	quit chan struct{}
	done chan struct{}
	once sync.Once

	mu      sync.Mutex // for what follows
	phase   string
	began   time.Time
	samples []sample
	last    Counts
	printed time.Time // last JSON line
}

// sample is what the rates are computed from.
type sample struct {
	at              time.Time
	messages, bytes int64
}

// Start begins to show progress. Stop must be called.
func Start(o Options) *Progress {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	p := &Progress{opts: o, quit: make(chan struct{}), done: make(chan struct{}), began: o.Now()}
	p.printed = p.began
	p.samples = []sample{{at: p.began}}
	if o.bar || isTerminal(o.Out) {
		p.bar = newBar(o.Out)
	}
	asked := o.asked
	if asked == nil {
		asked = make(chan os.Signal, 1)
		signal.Notify(asked, statusSignals...)
	}
	go p.serve(asked)
	return p
}

// isTerminal says whether a bar can be drawn on w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// Phase names what is done now and begins to count again from zero. It is
// called while nothing counts.
func (p *Progress) Phase(name string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range []*atomic.Int64{
		&p.messages, &p.messagesTotal, &p.bytes, &p.bytesTotal, &p.mailboxes, &p.mailboxesTotal,
	} {
		n.Store(0)
	}
	p.phase, p.began = name, p.opts.Now()
	p.samples = append(p.samples[:0], sample{at: p.began})
}

// Expect adds to the totals of the phase.
func (p *Progress) Expect(mailboxes, messages, bytes int64) {
	if p == nil {
		return
	}
	p.mailboxesTotal.Add(mailboxes)
	p.messagesTotal.Add(messages)
	p.bytesTotal.Add(bytes)
}

// Messages counts n messages as dealt with.
func (p *Progress) Messages(n int64) {
	if p != nil {
		p.messages.Add(n)
	}
}

// Bytes counts n bytes of the source as dealt with.
func (p *Progress) Bytes(n int64) {
	if p != nil {
		p.bytes.Add(n)
	}
}

// Mailboxes counts n mailboxes as dealt with.
func (p *Progress) Mailboxes(n int64) {
	if p != nil {
		p.mailboxes.Add(n)
	}
}

// Words is where words for people go while progress is shown: above the bar
// where there is one, else straight to w.
func (p *Progress) Words(w io.Writer) io.Writer {
	if p == nil || p.bar == nil {
		return w
	}
	return &words{bar: p.bar, direct: w}
}

// Stop shows the last state and ends the showing. It returns that state, also
// when it is called again.
func (p *Progress) Stop() Counts {
	if p == nil {
		return Counts{Final: true, Left: -1}
	}
	p.once.Do(func() { close(p.quit) })
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// serve samples until Stop.
func (p *Progress) serve(asked chan os.Signal) {
	defer close(p.done)
	defer signal.Stop(asked)
	ticks := p.opts.ticks
	if ticks == nil {
		t := time.NewTicker(drawEvery)
		defer t.Stop()
		ticks = t.C
	}
	for {
		select {
		case <-ticks:
			p.show(p.sample(false))
		case <-asked:
			fmt.Fprintln(p.Words(p.opts.Out), p.sample(false))
		case <-p.quit:
			p.show(p.sample(true))
			return
		}
	}
}

// sample reads the counts and computes the rates.
func (p *Progress) sample(final bool) Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.opts.Now()
	c := Counts{
		Phase:    p.phase,
		Messages: p.messages.Load(), MessagesTotal: p.messagesTotal.Load(),
		Bytes: p.bytes.Load(), BytesTotal: p.bytesTotal.Load(),
		Mailboxes: p.mailboxes.Load(), MailboxesTotal: p.mailboxesTotal.Load(),
		Elapsed: now.Sub(p.began), Final: final,
	}
	old := p.samples[0]
	for len(p.samples) > 1 && now.Sub(p.samples[1].at) >= rateOver {
		p.samples = p.samples[1:]
		old = p.samples[0]
	}
	if final {
		// The last line sums the phase up.
		old = sample{at: p.began}
	}
	if span := now.Sub(old.at).Seconds(); span > 0 {
		c.ByteRate = float64(c.Bytes-old.bytes) / span
		c.MessageRate = float64(c.Messages-old.messages) / span
	}
	c.Left = c.left()
	if newest := p.samples[len(p.samples)-1]; now.Sub(newest.at) >= drawEvery/2 {
		p.samples = append(p.samples, sample{now, c.Messages, c.Bytes})
	}
	p.last = c
	return c
}

// measure picks the count that tells best how far the phase is.
func (c Counts) measure() (done, total int64, rate float64) {
	switch {
	case c.BytesTotal > 0:
		return c.Bytes, c.BytesTotal, c.ByteRate
	case c.MessagesTotal > 0:
		return c.Messages, c.MessagesTotal, c.MessageRate
	}
	return c.Mailboxes, c.MailboxesTotal, 0
}

// longest is the greatest time left that is told; beyond it nobody knows.
const longest = 30 * 24 * time.Hour

func (c Counts) left() time.Duration {
	done, total, rate := c.measure()
	if done >= total && total > 0 {
		return 0
	}
	if rate <= 0 {
		return -1
	}
	if s := float64(total-done) / rate; s >= 0 && s < longest.Seconds() {
		return time.Duration(s * float64(time.Second))
	}
	return -1
}

// Done is how much of the phase is done, from 0 to 1; negative where that is
// not known.
func (c Counts) Done() float64 {
	done, total, _ := c.measure()
	switch {
	case total <= 0:
		return -1
	case done >= total:
		return 1 // more than was expected, as in a spool that grows
	}
	return float64(done) / float64(total)
}

// String is one line for people.
func (c Counts) String() string {
	var b strings.Builder
	if c.Phase != "" {
		b.WriteString(c.Phase + ": ")
	}
	if f := c.Done(); f >= 0 {
		fmt.Fprintf(&b, "%d%%, ", int(100*f))
	}
	b.WriteString(c.amounts())
	if c.ByteRate > 0 || c.MessageRate > 0 {
		fmt.Fprintf(&b, ", %s/s, %s messages/s", cli.Size(int64(c.ByteRate)), cli.Count(int64(c.MessageRate)))
	}
	switch {
	case c.Final:
		b.WriteString(" in " + cli.Span(c.Elapsed))
	case c.Left > 0:
		b.WriteString(", " + cli.Span(c.Left) + " left")
	}
	return b.String()
}

// amounts are the counts. With their largest usual values they fit a line of
// 80.
func (c Counts) amounts() string {
	s := of(c.Messages, c.MessagesTotal, cli.Count) + " messages, " + of(c.Bytes, c.BytesTotal, cli.Size)
	if c.MailboxesTotal > 1 {
		s += ", " + of(c.Mailboxes, c.MailboxesTotal, cli.Count) + " mailboxes"
	}
	return s
}

func of(n, total int64, show func(int64) string) string {
	if total <= 0 {
		return show(n)
	}
	return show(n) + " of " + show(total)
}

// line is the JSON form of Counts; its keys stay as they are.
type line struct {
	Event          string   `json:"event"`
	Phase          string   `json:"phase"`
	Messages       int64    `json:"messages"`
	MessagesTotal  int64    `json:"messages_total"`
	Bytes          int64    `json:"bytes"`
	BytesTotal     int64    `json:"bytes_total"`
	Mailboxes      int64    `json:"mailboxes"`
	MailboxesTotal int64    `json:"mailboxes_total"`
	Elapsed        float64  `json:"elapsed_seconds"`
	ByteRate       float64  `json:"bytes_per_second"`
	MessageRate    float64  `json:"messages_per_second"`
	Left           *float64 `json:"left_seconds"` // null: not known
	Final          bool     `json:"final"`
}

// MarshalJSON gives an object with "event":"progress" and seconds for times.
func (c Counts) MarshalJSON() ([]byte, error) {
	l := line{
		"progress", c.Phase, c.Messages, c.MessagesTotal, c.Bytes, c.BytesTotal, c.Mailboxes, c.MailboxesTotal,
		seconds(c.Elapsed), tenths(c.ByteRate), tenths(c.MessageRate), nil, c.Final,
	}
	if c.Left >= 0 {
		s := seconds(c.Left)
		l.Left = &s
	}
	return json.Marshal(l)
}

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

func tenths(f float64) float64 { return float64(int64(f*10)) / 10 }

// show draws the bar and prints the JSON line where one is due.
func (p *Progress) show(c Counts) {
	now := p.opts.Now()
	switch {
	case p.bar != nil && c.Final:
		p.bar.close(c, now)
	case p.bar != nil:
		p.bar.draw(c, now)
	}
	if p.opts.JSON == nil || !c.Final && now.Sub(p.printed) < jsonEvery {
		return
	}
	p.printed = now
	b, err := json.Marshal(c)
	if err != nil {
		return // numbers and a name always marshal
	}
	p.opts.JSON.Write(append(b, '\n'))
}
