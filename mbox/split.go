package mbox

import (
	"bytes"
	"context"
	"io"
	"math"

	"github.com/qmailkit/qmailkit"
)

func indexLF(b []byte) int { return bytes.IndexByte(b, '\n') }

type phase uint8

const (
	inFile     phase = iota // before the first message
	inFromLine              // in a From_ line longer than maxLine
	inHeader
	inLongLine // in a header line longer than maxLine
	inBody
	atEnd // the message's end is known
)

// A splitter finds the messages in a window. Both forms of reading are loops
// around its step, so they cannot differ in what they find.
type splitter struct {
	w     window
	opt   Options
	style shape
	problems

	phase phase
	pos   int64 // everything before has been looked at
	// hold is the first byte that the caller still wants; math.MaxInt64 for none.
	hold int64

	// The current message.
	h      *Header
	f      fields
	msg    int64 // where it begins
	body   int64 // where its body begins
	msgEnd int64 // without the blank line; set atEnd
	part   openPart
	long   bool // the header went past maxHeader

	count int
	// byLength counts the messages whose end a Content-Length found.
	byLength int
	line     int64 // number of the line that holds byte counted
	counted  int64
	wasted   int64 // bytes looked ahead in vain

	// quoted is the last place at or before which a quoted From_ line may
	// begin. Where it lies behind, none need be searched.
	quoted int64
	judged candidate
	slab   []byte
}

// candidate remembers what the last line that began "From " looked like.
type candidate struct {
	at    int64
	shape shape
	date  stamp
}

func newSplitter(w window, opts *Options) *splitter {
	s := &splitter{w: w, opt: opts.orDefault(), hold: math.MaxInt64, line: 1, judged: candidate{at: -1}}
	s.w.limit = min(s.opt.LookAhead/2*3+4*block, math.MaxInt)
	return s
}

// fail puts the place into an error that ends the reading.
func (s *splitter) fail(off int64, err error) error {
	return &ParseError{Offset: off, Err: err}
}

// ioError is fail for what reading brought up.
func (s *splitter) ioError(err error) error { return s.fail(s.w.end(), err) }

// findCandidate searches what is in the window. "From " is searched without
// the line end before it, because F is rarer than LF. Without a hit it leaves
// pos where the next search has to begin.
func (s *splitter) findCandidate() int64 {
	for {
		b := s.w.from(s.pos)
		i := bytes.Index(b, fromPrefix)
		if i < 0 {
			s.pos = s.w.end()
			if !s.w.eof {
				s.pos -= int64(min(len(b), len(fromPrefix)-1))
			}
			return -1
		}
		p := s.pos + int64(i)
		s.pos = p + int64(len(fromPrefix))
		if p == s.w.base {
			continue
		}
		switch s.w.buf[p-1-s.w.base] {
		case '\n':
			return p
		case '>':
			s.quoted = p - 1
		}
	}
}

// blankAt returns the length of the blank line at the start of b, or 0.
func blankAt(b []byte) int {
	switch {
	case len(b) > 0 && b[0] == '\n':
		return 1
	case len(b) > 1 && b[0] == '\r' && b[1] == '\n':
		return 2
	}
	return 0
}

// begin starts the message whose From_ line is at pos.
func (s *splitter) begin() error {
	if err := s.countTo(s.pos); err != nil {
		return err
	}
	line, next, err := s.w.line(s.pos)
	if err != nil {
		return s.ioError(err)
	}
	s.h = &Header{Index: s.count, FromOffset: s.pos, Length: -1}
	var fill *Header
	if !s.opt.BoundariesOnly {
		fill = s.h
		s.h.Line = s.line
		c := s.judge(s.pos, line)
		s.h.From = newFromLine(s.keepLine(line), c.shape, &c.date, s.opt.Location)
	}
	s.f.reset(fill, s.opt.Location, s.count == 0)
	s.count++
	s.part = openPart{}
	s.long = false
	if next < 0 {
		s.add("mbox.long-from-line", qmailkit.Warning, s.h.Line, s.pos, "From_ line of more than %d bytes", maxLine)
		s.phase, s.pos = inFromLine, s.pos+maxLine
		return nil
	}
	if s.count == 1 && s.style == prose && !s.opt.Strict {
		s.add("mbox.from-line", qmailkit.Warning, s.line, s.pos, "first From_ line has no date; only lines with one will count as separators")
	}
	s.enterHeader(next)
	return nil
}

// keepLine copies a From_ line. A slab saves most of the allocations.
func (s *splitter) keepLine(line []byte) []byte {
	if len(line) > cap(s.slab)-len(s.slab) {
		s.slab = make([]byte, 0, max(1024, len(line)))
	}
	n := len(s.slab)
	s.slab = append(s.slab, line...)
	return s.slab[n:len(s.slab):len(s.slab)]
}

func (s *splitter) enterHeader(at int64) {
	s.phase, s.pos, s.msg, s.body = inHeader, at, at, -1
	s.h.Offset = at
}

// step looks at some more of the message. It returns when the phase changes or
// a block has been looked at.
func (s *splitter) step() error {
	s.w.keep = min(s.pos-lookBack, s.hold)
	if err := s.w.need(s.pos + int64(len(fromPrefix))); err != nil {
		return s.ioError(err)
	}
	var err error
	switch s.phase {
	case inFromLine, inLongLine:
		s.restOfLine()
	case inHeader:
		err = s.header()
	case inBody:
		err = s.search()
	}
	if err != nil {
		return err
	}
	return s.countTo(s.pos)
}

// restOfLine skips the rest of an overlong line.
func (s *splitter) restOfLine() {
	i := indexLF(s.w.from(s.pos))
	ends := i >= 0 || s.w.eof
	if i >= 0 {
		s.pos += int64(i) + 1
	} else {
		s.pos = s.w.end()
	}
	switch {
	case s.phase == inFromLine && ends:
		s.enterHeader(s.pos)
	case s.phase == inLongLine:
		if ends {
			s.phase = inHeader
		}
		s.checkLength()
	}
}

// endAt ends the message where the next one, or the end of the file, begins.
func (s *splitter) endAt(next int64) (err error) {
	s.f.finish()
	if s.msgEnd, err = s.trim(next); err != nil {
		return err
	}
	if n := len(s.w.buf); s.w.eof && next == s.w.end() && next > s.msg && s.w.buf[n-1] != '\n' {
		s.add("mbox.no-final-newline", qmailkit.Info, 0, next, "the last line has no line end")
	}
	s.finish(next)
	return nil
}

// finish ends the message at msgEnd; pos is then where the next one begins.
func (s *splitter) finish(next int64) {
	s.h.Length = s.msgEnd - s.msg
	s.pos, s.phase = next, atEnd
}

// trim takes off the one blank line that stands before next (rule 8).
func (s *splitter) trim(next int64) (int64, error) {
	b, err := s.w.ahead(max(s.msg, next-3), int(min(3, next-s.msg)))
	if err != nil {
		return 0, s.ioError(err)
	}
	b = b[:min(3, next-s.msg)]
	whole := next-s.msg < 3
	switch {
	case string(b) == "\n\r\n", whole && string(b) == "\r\n":
		return next - 2, nil
	case bytes.HasSuffix(b, []byte("\n\n")), whole && string(b) == "\n":
		return next - 1, nil
	}
	return next, nil
}

// search looks for a separator in the body.
func (s *splitter) search() error {
	// Where the window is large, the step must end all the same, so that the
	// bytes behind can be dropped.
	for begin := s.pos; s.pos-begin < block; {
		p := s.findCandidate()
		if p < 0 {
			break
		}
		sep, err := s.isSeparator(p)
		if err != nil {
			return err
		}
		if sep {
			return s.endAt(p)
		}
	}
	s.part.track(s, s.pos)
	if s.w.eof && s.pos >= s.w.end() {
		return s.endAt(s.pos)
	}
	return nil
}

// countTo counts lines up to upto. In a file it reads what was jumped over.
func (s *splitter) countTo(upto int64) error {
	if s.opt.BoundariesOnly {
		s.w.jump(upto)
		return nil
	}
	for s.counted < upto {
		if s.counted >= s.w.end() {
			s.w.keep = min(s.counted-lookBack, s.hold)
			if err := s.w.need(s.counted + 1); err != nil {
				return s.ioError(err)
			}
			if s.counted >= s.w.end() {
				return nil
			}
		}
		to := min(upto, s.w.end())
		b := s.w.from(s.counted)[:to-s.counted]
		s.line += int64(bytes.Count(b, []byte{'\n'}))
		s.counted = to
	}
	return nil
}

// message runs to the end of the message that begins at pos and returns its
// header, or io.EOF.
func (s *splitter) message(ctx context.Context) (*Header, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	for s.phase != atEnd {
		if ctx.Err() != nil {
			return nil, s.fail(s.pos, context.Cause(ctx))
		}
		if err := s.step(); err != nil {
			return nil, err
		}
	}
	return s.h, nil
}

// open starts the next message.
func (s *splitter) open(ctx context.Context) error {
	if s.phase == inFile {
		if err := s.start(ctx); err != nil {
			return err
		}
	}
	if s.w.eof && s.pos >= s.w.end() {
		return io.EOF
	}
	s.w.keep = s.pos
	return s.begin()
}
