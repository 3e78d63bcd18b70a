package mbox

import (
	"context"
	"io"
	"iter"
	"math"

	"github.com/qmailkit/qmailkit"
)

// A Reader reads the messages of a mailbox one after the other from a stream.
// Next goes to the next message, and the Reader then is that message: Read
// returns its bytes, with quoting undone as Options.Format says, and io.EOF at
// its end.
type Reader struct {
	s   *splitter
	u   unquoter
	out int64 // the next byte to hand on
	// ready bytes from out on may be handed on, drop behind them are left out.
	ready, drop int
	open        bool // there is a current message
	err         error
}

// NewReader returns a Reader with zero Options.
func NewReader(r io.Reader) *Reader { return NewReaderOptions(r, nil) }

// NewReaderOptions returns a Reader of r.
func NewReaderOptions(r io.Reader, opts *Options) *Reader {
	return &Reader{s: newSplitter(window{r: r}, opts)}
}

// Next goes to the next message; what was not read of the last one is skipped.
// At the end of the mailbox it returns io.EOF. Any other error is an
// *ParseError and stays.
//
// The Header's Length is -1 until the message has been read or skipped.
func (r *Reader) Next() (*Header, error) {
	if r.err != nil {
		return nil, r.err
	}
	h, err := r.next()
	if err != nil {
		r.err = err
		return nil, err
	}
	return h, nil
}

func (r *Reader) next() (*Header, error) {
	s := r.s
	s.hold = math.MaxInt64
	for r.open && s.phase != atEnd {
		if err := s.step(); err != nil {
			return nil, err
		}
	}
	r.open, r.ready, r.drop = false, 0, 0
	if err := s.open(context.Background()); err != nil {
		return nil, err
	}
	r.open = true
	for s.phase == inFromLine {
		if err := s.step(); err != nil {
			return nil, err
		}
	}
	// The state is in the header, so that has to be in memory first.
	s.hold = s.msg
	for !s.long && (s.phase == inHeader || s.phase == inLongLine) {
		if err := s.step(); err != nil {
			return nil, err
		}
	}
	r.out = s.msg
	r.u = newUnquoter(s.opt.Format, s.h.ByLength)
	h := s.h
	return h, nil
}

// fill makes ready positive, or returns io.EOF at the end of the message.
func (r *Reader) fill() error {
	s := r.s
	for r.ready == 0 {
		if r.err != nil && r.err != io.EOF {
			return r.err
		}
		r.out += int64(r.drop)
		r.drop = 0
		s.hold = r.out
		safe, last := r.safe()
		if r.out < safe {
			b := s.w.from(r.out)[:safe-r.out]
			if s.quoted < r.out {
				r.ready = r.u.skip(b, last)
			} else {
				r.ready, r.drop = r.u.span(b, last)
			}
			if r.ready+r.drop > 0 {
				continue
			}
		}
		if last {
			return io.EOF
		}
		if err := s.step(); err != nil {
			r.err = err
			return err
		}
	}
	return nil
}

// safe returns how far the bytes at hand belong to the message, and whether
// that is all of it. The last two before the search's place may turn out to be
// the blank line of the next separator.
func (r *Reader) safe() (upto int64, last bool) {
	s := r.s
	if !r.open {
		return r.out, true
	}
	if s.phase == atEnd {
		return s.msgEnd, true
	}
	return max(s.msg, s.pos-2), false
}

// Read reads from the current message.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.fill(); err != nil {
		return 0, err
	}
	n := copy(p, r.s.w.from(r.out)[:r.ready])
	r.out += int64(n)
	r.ready -= n
	return n, nil
}

// WriteTo writes the rest of the current message to w. io.Copy uses it.
func (r *Reader) WriteTo(w io.Writer) (total int64, err error) {
	for {
		if err := r.fill(); err != nil {
			if err == io.EOF {
				err = nil
			}
			return total, err
		}
		n, err := w.Write(r.s.w.from(r.out)[:r.ready])
		total += int64(n)
		r.out += int64(n)
		r.ready -= n
		if err != nil {
			return total, err
		}
		if r.ready > 0 {
			return total, io.ErrShortWrite
		}
	}
}

// All yields the messages that are still to come. Within the loop's body the
// Reader is the message. An error ends the sequence and wraps
// qmailkit.ErrIncomplete.
func (r *Reader) All() iter.Seq2[*Header, error] {
	return func(yield func(*Header, error) bool) {
		for {
			h, err := r.Next()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(nil, qmailkit.Incomplete(err))
				return
			}
			if !yield(h, nil) {
				return
			}
		}
	}
}

// InputOffset returns where in the input the next byte of the message is, or
// between messages the next From_ line. Reading can be taken up at the offset
// of a From_ line with a new Reader, but for the style that the first line of
// the file has set.
func (r *Reader) InputOffset() int64 {
	if r.open {
		return r.out
	}
	return r.s.pos
}

// Problems returns what was odd in the input so far: at most a thousand.
func (r *Reader) Problems() []qmailkit.Problem { return r.s.problems.all() }
