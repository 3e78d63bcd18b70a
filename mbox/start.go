package mbox

import (
	"bytes"
	"context"
	"io"

	"github.com/qmailkit/qmailkit"
)

// start finds the first From_ line. It returns io.EOF for an empty file.
func (s *splitter) start(ctx context.Context) error {
	if err := s.w.need(3); err != nil {
		return s.ioError(err)
	}
	if bytes.HasPrefix(s.w.buf, []byte("\xef\xbb\xbf")) {
		s.pos = 3
		s.add("mbox.bom", qmailkit.Info, 1, 0, "the file begins with a byte order mark")
	}
	blanks := s.pos
	for {
		if err := s.countTo(s.pos); err != nil {
			return err
		}
		s.w.keep = s.pos
		if err := s.w.need(s.pos + 2); err != nil {
			return s.ioError(err)
		}
		n := blankAt(s.w.from(s.pos))
		if n == 0 {
			break
		}
		s.pos += int64(n)
	}
	if s.pos > blanks {
		s.add("mbox.leading-blank", qmailkit.Info, 1, blanks, "blank lines before the first From_ line")
	}
	if s.w.eof && s.pos >= s.w.end() {
		return io.EOF
	}
	line, _, err := s.w.line(s.pos)
	if err != nil {
		return s.ioError(err)
	}
	if bytes.HasPrefix(line, fromPrefix) && bytes.IndexByte(bytes.TrimRight(line, "\r"), '\r') < 0 {
		s.style = s.judge(s.pos, line).shape
		if len(line) >= maxLine {
			s.style = prose
		}
		return nil
	}
	if s.opt.SkipPrologue {
		return s.skipPrologue(ctx)
	}
	what := notMbox("no From_ line at the start")
	if bytes.HasPrefix(line, fromPrefix) {
		what = notMbox("lines end in CR alone")
	}
	return &ParseError{Line: s.line, Offset: s.pos, Err: what}
}

// notMbox is ErrNotMbox with a reason.
type notMbox string

func (e notMbox) Error() string        { return ErrNotMbox.Error() + ": " + string(e) }
func (e notMbox) Is(target error) bool { return target == ErrNotMbox }

// skipPrologue goes to the first line that would be a separator in a mailbox
// of its own style.
func (s *splitter) skipPrologue(ctx context.Context) error {
	begin := s.pos
	for {
		p, err := s.nextCandidate(ctx)
		if err != nil {
			return err
		}
		if p < 0 {
			return s.fail(begin, notMbox("no separator in the file"))
		}
		line, next, err := s.w.line(p)
		if err != nil {
			return s.ioError(err)
		}
		if next < 0 || bytes.IndexByte(line, '\r') >= 0 {
			continue
		}
		s.style = s.judge(p, line).shape
		s.msg = begin
		ok, err := s.isSeparator(p)
		if err != nil {
			return err
		}
		if ok {
			if err := s.countTo(p); err != nil {
				return err
			}
			s.pos = p
			s.add("mbox.prologue", qmailkit.Warning, s.line, begin, "%d bytes before the first From_ line were skipped", p-begin)
			return nil
		}
	}
}

// nextCandidate searches from pos for a line that begins "From " and moves pos
// behind its start. It returns -1 at the end of the file.
func (s *splitter) nextCandidate(ctx context.Context) (int64, error) {
	for {
		p := s.findCandidate()
		if p >= 0 {
			return p, nil
		}
		if err := s.countTo(s.pos); err != nil {
			return 0, err
		}
		if ctx.Err() != nil {
			return 0, s.fail(s.pos, context.Cause(ctx))
		}
		if s.w.eof && s.pos >= s.w.end() {
			return -1, nil
		}
		s.w.keep = s.pos - lookBack
		if err := s.w.need(s.w.end() + 1); err != nil {
			return 0, s.ioError(err)
		}
	}
}
