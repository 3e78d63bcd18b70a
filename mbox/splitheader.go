package mbox

import (
	"bytes"

	"github.com/qmailkit/qmailkit"
)

// This file is the splitter's way through the header of a message.

// header takes in header lines as far as the window reaches.
func (s *splitter) header() error {
	b := s.w.from(s.pos)
	for {
		i := indexLF(b)
		if i < 0 || i >= maxLine {
			return s.lastLine()
		}
		switch b[0] {
		case 'F':
			if !bytes.HasPrefix(b[:i], fromPrefix) {
				break
			}
			sep, err := s.isSeparator(s.pos)
			if err != nil {
				return err
			}
			if sep {
				return s.endAt(s.pos)
			}
			b = s.w.from(s.pos) // the window may have moved
		case '>':
			s.quoted = s.pos
		}
		next := s.pos + int64(i) + 1
		line := chomp(b[:i])
		if len(line) == 0 {
			return s.endOfHeader(next)
		}
		s.f.line(line, !s.long)
		s.pos, b = next, b[i+1:]
		if s.checkLength() {
			return nil
		}
	}
}

// lastLine is header for a line whose end is not in the window.
func (s *splitter) lastLine() error {
	line, next, err := s.w.line(s.pos)
	if err != nil {
		return s.ioError(err)
	}
	if bytes.HasPrefix(line, fromPrefix) {
		sep, err := s.isSeparator(s.pos)
		if err != nil {
			return err
		}
		if sep {
			return s.endAt(s.pos)
		}
		if line, next, err = s.w.line(s.pos); err != nil {
			return s.ioError(err)
		}
	}
	s.quoted = s.pos
	switch {
	case next < 0:
		s.f.line(line, !s.long)
		s.pos += maxLine
		s.phase = inLongLine
		s.checkLength()
	case next > s.pos && s.w.from(next - 1)[0] == '\n':
		// It is in the window by now.
	default:
		if len(line) > 0 {
			s.f.line(line, !s.long)
		}
		return s.endAt(next)
	}
	return nil
}

// checkLength stops the gathering of state in a header that is too long.
func (s *splitter) checkLength() bool {
	if s.long || s.pos-s.msg < maxHeader {
		return false
	}
	s.long = true
	s.f.finish()
	s.f.h = nil
	s.add("mbox.long-header", qmailkit.Warning, s.h.Line, s.msg, "header of more than %d bytes; its state was read only so far", maxHeader)
	return true
}

// endOfHeader decides at the blank line whether Content-Length is to be
// trusted (rule 5).
func (s *splitter) endOfHeader(body int64) error {
	s.f.finish()
	s.phase, s.pos, s.body = inBody, body, body
	s.part.begin(s.f.boundary, body)
	if s.opt.Strict || s.opt.LookAhead == 0 || s.f.length < 0 && !s.f.lengthBad {
		return nil
	}
	if s.f.lengthBad || s.f.length > s.opt.LookAhead {
		s.addOnce("mbox.look-ahead", qmailkit.Info, s.h.Line, s.msg, "a Content-Length was not followed, because it leads more than %d bytes ahead", s.opt.LookAhead)
		return nil
	}
	exact, next, err := s.landing(body, s.f.length)
	if err != nil {
		return err
	}
	if next < 0 {
		s.add("mbox.length-ignored", qmailkit.Info, s.h.Line, s.msg, "Content-Length does not lead to a separator")
		return nil
	}
	s.h.ByLength = true
	s.byLength++
	s.quoted = next // nothing was looked at
	if exact {
		s.msgEnd = body + s.f.length
	} else if s.msgEnd, err = s.trim(next); err != nil {
		return err
	}
	s.finish(next)
	return nil
}
