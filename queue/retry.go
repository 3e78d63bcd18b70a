//go:build unix

package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
)

var (
	// ErrNotPreprocessed says that qmail-send has not yet looked at a message:
	// then it has no age and no next try.
	ErrNotPreprocessed = errors.New("message is not preprocessed")
	// ErrWouldBounce says that a message would be bounced to a sender who may
	// be forged, or to the postmaster because there is none.
	ErrWouldBounce = errors.New("nobody asked for this bounce")
)

// defaultLifetime is the time after which qmail-send gives up a message where
// control/queuelifetime does not say another one (qmail-send.c).
const defaultLifetime = 604800 * time.Second

// ExpireOptions say what may bounce. The nil pointer is the zero value.
type ExpireOptions struct {
	// Lifetime is control/queuelifetime; 0 is qmail's default of seven days.
	Lifetime time.Duration
	// AllowEmpty lets messages expire that have no sender (bounces, and bounces
	// of bounces): qmail-send tells the postmaster of the first, and throws the
	// second away.
	AllowEmpty bool
	// AllowForged lets messages expire whose sender nobody has proved: those
	// that came from the network, which is most spam. Their bounces go to
	// whoever stands there.
	AllowForged bool
	// Alarm is called at the end if any message was changed: it has to send
	// the signal ALRM to qmail-send, which then tries all messages. Without it
	// they are tried when their time comes, or when qmail-send starts.
	Alarm func() error
}

// Expire makes messages so old that qmail-send gives them up: at the next
// attempt, for which the signal ALRM asks, what fails for the moment fails for
// good, and the sender gets a bounce. A recipient whom the attempt reaches has
// the message. This is safe while qmail-send runs, and the only way to end a
// message then. Where nobody should be told, use Delete.
//
// So that no bounce goes to somebody who has nothing to do with the message, it
// is refused with ErrWouldBounce where the sender is empty, and where the
// Received line of qmail-queue, or a second one below it, says "invoked from
// network" or says nothing: then anybody can have written it. The options allow
// either.
//
// Only the time of info is changed. The error joins a *MessageError for each
// message that was not, and the one of Alarm.
func (q *Queue) Expire(ctx context.Context, opts *ExpireOptions, ids ...ID) error {
	if opts == nil {
		opts = &ExpireOptions{}
	}
	life := opts.Lifetime
	if life <= 0 {
		life = defaultLifetime
	}
	// Older than the lifetime, not as old (qmail-send.c, pass_dochan).
	birth := q.opts.Now().Add(-life - time.Second)
	return q.eachTime(ctx, ids, opts.Alarm, func(id ID) error {
		m, err := q.Message(id)
		if err != nil {
			return err
		}
		if m.State != S5 {
			return ErrNotPreprocessed
		}
		if err := mayBounce(m, opts); err != nil {
			return err
		}
		if m.Birth.Before(birth) {
			return nil // it is older already
		}
		return q.setTime(Info, id, birth)
	})
}

// mayBounce decides whether a bounce of the message was asked for.
func mayBounce(m *Message, opts *ExpireOptions) error {
	if m.Sender == "" || m.Sender == "#@[]" {
		if opts.AllowEmpty {
			return nil
		}
		return fmt.Errorf("%w: the sender is %q", ErrWouldBounce, m.Sender)
	}
	if opts.AllowForged {
		return nil
	}
	f, err := m.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 4<<10)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	// A message that was brought back from a quarantine has such a line each
	// time, and the oldest tells where it came from.
	for i, line := 0, ""; ; i++ {
		line, head = cutLine(head[:n])
		n = len(head)
		if i > 0 && !strings.HasPrefix(line, receivedStart) {
			return nil
		}
		if how := invoked(line); !strings.HasPrefix(how, "by ") {
			return fmt.Errorf("%w: the sender may be forged, the message came %q", ErrWouldBounce, how)
		}
	}
}

// cutLine cuts the first line off, with its end.
func cutLine(b []byte) (line string, rest []byte) {
	n := bytes.IndexByte(b, '\n') + 1
	if n == 0 {
		n = len(b)
	}
	return string(b[:n]), b[n:]
}

// receivedStart is how the line begins that qmail-queue puts before a message.
const receivedStart = "Received: (qmail "

// invoked is what the Received line of qmail-queue, which is the first of a
// message in the queue, says of who ran it: "by uid 1000", "by alias", "from
// network", "for bounce".
func invoked(line string) string {
	rest, ok := strings.CutPrefix(line, receivedStart)
	if !ok {
		return ""
	}
	_, rest, ok = strings.Cut(rest, " invoked ")
	if !ok {
		return ""
	}
	how, _, ok := strings.Cut(rest, ");")
	if !ok || strings.Contains(how, "\n") {
		return ""
	}
	return how
}

// RetryOptions say when. The nil pointer is the zero value.
type RetryOptions struct {
	// At is the time of the next try; zero is now.
	At time.Time
	// Renew makes the messages young again, as if they had been queued now: so
	// qmail-send keeps trying for another lifetime, and begins with short
	// intervals.
	Renew bool
	// Alarm is called at the end if any message was changed: it has to send
	// the signal ALRM to qmail-send, if that runs.
	Alarm func() error
}

// Retry sets the time at which qmail-send tries messages again, which is written
// on their lists of recipients. It reads these times when it starts; while it
// runs it keeps its own, writes them over these when it ends, and knows the
// signal ALRM, by which it tries all messages at once. So for a running
// qmail-send this is worth something only with Alarm, and with the present time;
// it is safe in any case. The age of a message, which is the time of info, is
// left alone but for Renew: of that qmail-send takes note at the next try.
//
// The error joins a *MessageError for each message whose time was not set, and
// the one of Alarm.
func (q *Queue) Retry(ctx context.Context, opts *RetryOptions, ids ...ID) error {
	if opts == nil {
		opts = &RetryOptions{}
	}
	at := opts.At
	if at.IsZero() {
		at = q.opts.Now()
	}
	return q.eachTime(ctx, ids, opts.Alarm, func(id ID) error {
		m, err := q.Message(id)
		if err != nil {
			return err
		}
		if m.State != S5 {
			return ErrNotPreprocessed
		}
		for _, p := range [...]Part{Local, Remote} {
			if err := q.setTime(p, id, at); err != nil && !errors.Is(err, ErrNoMessage) {
				return err
			}
		}
		if opts.Renew {
			return q.setTime(Info, id, q.opts.Now())
		}
		return nil
	})
}

// eachTime changes messages and then wakes qmail-send.
func (q *Queue) eachTime(ctx context.Context, ids []ID, alarm func() error, change func(ID) error) error {
	var errs []error
	any := false
	for _, id := range ids {
		if err := context.Cause(ctx); err != nil {
			errs = append(errs, err)
			break
		}
		if err := change(id); err != nil {
			errs = append(errs, &MessageError{id, err})
			continue
		}
		any = true
	}
	if any && alarm != nil {
		if err := alarm(); err != nil {
			errs = append(errs, fmt.Errorf("signal to qmail-send: %w", err))
		}
	}
	return errors.Join(errs...)
}

// setTime sets the time of one file. It wraps ErrNoMessage where there is none:
// qmail-send may have ended the message in this moment.
func (q *Queue) setTime(p Part, id ID, t time.Time) error {
	d, err := q.openDir(q.layout.Dir(p, id))
	if err != nil {
		return err
	}
	defer d.Close()
	fi, err := d.Lstat(id.String())
	if err == nil {
		err = d.SetNodeTime(id.String(), fi, t)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrNoMessage, err)
	}
	return err
}
