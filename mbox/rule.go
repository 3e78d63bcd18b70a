package mbox

import "bytes"

// This file is the separator rule: what a line that begins "From " must have
// before and behind it. The numbers are those of the list.
//
//  1. The line has a shape (see shapeOf). Prose never is a separator.
//  2. With a date: the line before is blank, or a header line follows.
//  3. "From ", "From -" and "From word" count only where the first line of the
//     file has the same shape, and two header lines follow.
//  4. The line of git format-patch counts only where the first line is one,
//     and after a blank line.
//  5. A Content-Length that leads to such a line or to the end of the file is
//     trusted, and what it leads over is not looked at.
//  6. A separator inside a multipart whose end is still to come is none.
//  7. A dated line after an "Original Message" mark is a quotation.
//  8. The one blank line before a separator is not part of the message.

// isSeparator says whether the candidate at p ends the message.
func (s *splitter) isSeparator(p int64) (bool, error) {
	if s.opt.Strict {
		return true, nil
	}
	line, next, err := s.w.line(p)
	if err != nil {
		return false, s.ioError(err)
	}
	if next < 0 {
		return false, nil
	}
	sh := s.judge(p, line).shape
	blank := s.blankBefore(p)
	ok := false
	switch sh {
	case prose:
		return false, nil
	case git:
		ok = s.style == git && blank
	case dated:
		if ok = blank; !ok {
			ok, err = s.headersAt(next, 1)
		}
		ok = ok && !s.includedBefore(p)
	default:
		if s.style == sh {
			ok, err = s.headersAt(next, 2)
		}
	}
	if err != nil || !ok || len(s.part.boundary) == 0 {
		return ok, err
	}
	inside, err := s.part.holds(s, p)
	return !inside, err
}

// judge is shapeOf for the candidate at p, which is asked for twice.
func (s *splitter) judge(p int64, line []byte) *candidate {
	if s.judged.at != p {
		s.judged.at = p
		s.judged.shape = shapeOf(line, &s.judged.date)
	}
	return &s.judged
}

// before returns what the window has of the message before p, at most lookBack
// bytes.
func (s *splitter) before(p int64) []byte {
	from := max(s.msg, p-lookBack, s.w.base)
	if from >= p {
		return nil
	}
	return s.w.from(from)[:p-from]
}

// blankBefore says whether a blank line of the message stands before p.
func (s *splitter) blankBefore(p int64) bool {
	b := s.before(p)
	n := len(b)
	if n == 0 || b[n-1] != '\n' {
		return false
	}
	if n > 1 && b[n-2] == '\r' {
		n--
	}
	return n == 1 || b[n-2] == '\n'
}

// includedBefore says whether the last line before p that is not blank is the
// mark of an included message.
func (s *splitter) includedBefore(p int64) bool {
	b := s.before(p)
	whole := p-int64(len(b)) == s.msg
	for n := len(b); n > 0 && b[n-1] == '\n'; n = len(b) {
		line := b[:n-1]
		i := bytes.LastIndexByte(line, '\n')
		if text := chomp(line[i+1:]); len(text) > 0 {
			return (i >= 0 || whole) && isIncluded(text)
		}
		b = b[:i+1]
	}
	return false
}

// headersAt says whether want header lines stand at p. One is enough where the
// header or the file ends behind it; folded lines do not count; ">From " lines
// may come first, left behind by a second writer.
func (s *splitter) headersAt(p int64, want int) (bool, error) {
	got := 0
	for begin := p; got < want && p-begin <= maxLine; {
		line, next, err := s.w.line(p)
		if err != nil {
			return false, s.ioError(err)
		}
		if next == p {
			break // end of file
		}
		switch {
		case isHeaderLine(line):
			got++
		case len(line) > 0 && isBlank(line[0]) && got > 0:
		case got == 0 && isQuotedFrom(line):
		default:
			return got > 0 && len(line) == 0, nil
		}
		if next < 0 {
			break
		}
		p = next
	}
	return got > 0, nil
}

// isQuotedFrom says whether line begins with any number of ">" and "From ".
func isQuotedFrom(line []byte) bool {
	text := bytes.TrimLeft(line, ">")
	return len(text) < len(line) && bytes.HasPrefix(text, fromPrefix)
}

// landing follows a Content-Length from the start of the body (rule 5). next is
// the separator or the end of the file that it leads to, or -1; exact says that
// the body ends just where the length says.
func (s *splitter) landing(body, length int64) (exact bool, next int64, err error) {
	to := body + length
	for n := 512; ; n *= 8 {
		b, err := s.w.ahead(to-1, n+1)
		if err != nil {
			return false, -1, s.ioError(err)
		}
		if len(b) == 0 {
			return false, -1, nil // behind the end of the file
		}
		ended := len(b) <= n
		b = b[:min(len(b), n)]
		exact = b[0] == '\n'
		line, done := exact, false
		i := 1
		for !done {
			k := blankAt(b[i:])
			done = k == 0
			line = line || k > 0
			i += k
		}
		next = to - 1 + int64(i)
		b = b[i:]
		if ended && len(b) == 0 {
			return exact, next, nil
		}
		lf := indexLF(b)
		if lf < 0 && !ended && len(b) < maxLine && n <= 2*maxLine {
			// Many lengths may lead into the same run of blank lines.
			if s.wasted += int64(n); s.exhausted(body) {
				return false, -1, nil
			}
			continue
		}
		if !line || !bytes.HasPrefix(b, fromPrefix) {
			return false, -1, nil
		}
		sh := prose
		if lf < 0 && ended {
			lf = len(b)
		}
		if lf >= 0 && lf < maxLine {
			sh = s.judge(next, chomp(b[:lf])).shape
		}
		if sh != s.style {
			return false, -1, nil
		}
		return exact, next, nil
	}
}
