//go:build unix

package progress

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
)

// bar is two lines of a terminal: the bar itself with share and time left, and
// below it the counts. It is drawn when Progress says so, never by itself.
type bar struct {
	box   *mpb.Progress
	line  *mpb.Bar
	frame chan any               // asks box for a picture
	now   atomic.Pointer[Counts] // what the picture shows

	mu   sync.Mutex // keeps words from arriving between last picture and end
	part []byte     // words without their newline yet
	over bool
}

func newBar(out io.Writer) *bar {
	b := &bar{frame: make(chan any)}
	b.now.Store(&Counts{Left: -1})
	b.box = mpb.New(mpb.WithOutput(out), mpb.WithManualRefresh(b.frame), mpb.WithWidth(80))
	text := func(f func(Counts) string) decor.Decorator {
		return decor.Any(func(decor.Statistics) string { return f(*b.now.Load()) })
	}
	b.line = b.box.New(0, mpb.BarStyle(),
		mpb.PrependDecorators(text(heading)), mpb.AppendDecorators(text(ending)))
	b.box.New(0, mpb.NopStyle(), mpb.PrependDecorators(text(Counts.amounts)))
	return b
}

// heading stands before the bar.
func heading(c Counts) string {
	s := c.Phase
	if f := c.Done(); f >= 0 {
		s += fmt.Sprintf(" %3d%%", int(100*f))
	}
	return s
}

// ending stands behind the bar.
func ending(c Counts) string {
	s := ""
	if c.ByteRate > 0 {
		s = cli.Size(int64(c.ByteRate)) + "/s, "
	}
	switch {
	case c.Final:
		return s + "took " + cli.Span(c.Elapsed)
	case c.Left < 0:
		return s + cli.Span(c.Elapsed) + " so far"
	}
	return s + cli.Span(c.Left) + " left"
}

// patience is how long a picture may be waited for: the terminal may have
// gone away, and then nobody answers any more.
const patience = time.Second

func (b *bar) draw(c Counts, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.picture(c, now)
}

func (b *bar) picture(c Counts, now time.Time) {
	if b.over {
		return
	}
	b.now.Store(&c)
	const steps = 10000 // counts may be larger than the bar's arithmetic
	b.line.SetTotal(steps, false)
	b.line.SetCurrent(int64(max(0, c.Done()) * steps))
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case b.frame <- now:
	case <-timeout.C:
		b.over = true
	}
}

// close leaves the last picture standing.
func (b *bar) close(c Counts, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.part) > 0 && !b.over {
		b.box.Write(append(b.part, '\n'))
		b.part = nil
	}
	b.picture(c, now)
	b.over = true
	b.box.Shutdown()
}

// words puts whole lines above the bar.
type words struct {
	bar    *bar
	direct io.Writer // once the bar is gone
}

func (w *words) Write(p []byte) (int, error) {
	b := w.bar
	b.mu.Lock()
	defer b.mu.Unlock()
	// An unfinished line would have the bar drawn behind it.
	b.part = append(b.part, p...)
	end := bytes.LastIndexByte(b.part, '\n') + 1
	if !b.over && end > 0 {
		if _, err := b.box.Write(b.part[:end]); err != nil {
			b.over = true
		} else {
			b.part = b.part[end:]
		}
	}
	if b.over {
		rest := b.part
		b.part = nil
		if _, err := w.direct.Write(rest); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
