package mbox

import (
	"bytes"

	"github.com/qmailkit/qmailkit"
)

// openPart follows a multipart message through its body, for rule 6: while its
// closing delimiter is still to come, a separator is inside an attachment.
type openPart struct {
	boundary []byte
	delim    []byte // "--" and the boundary
	seen     bool   // a delimiter line was seen
	closed   bool   // the closing one was
	tracked  int64  // everything before has been looked at
	closing  int64  // where the closing delimiter was found ahead; 0 if it was not
}

// partContext is how many bytes around a boundary are looked at: blanks that
// may stand between it and the end of its line, or its "boundary=".
const partContext = 256

func (o *openPart) begin(boundary []byte, body int64) {
	if len(boundary) == 0 {
		return
	}
	o.delim = append([]byte("--"), boundary...)
	o.boundary = o.delim[2:]
	o.tracked = body
}

// track looks for delimiter lines in the window before upto.
func (o *openPart) track(s *splitter, upto int64) {
	if len(o.boundary) == 0 || o.closed {
		return
	}
	for o.tracked < upto {
		b := s.w.from(o.tracked)
		want := int(upto-o.tracked) + len(o.delim) - 1
		i := bytes.Index(b[:min(len(b), want)], o.delim)
		if i < 0 {
			// The delimiter may have begun where the window ends.
			if len(b) < want && !s.w.eof {
				upto = max(o.tracked, s.w.end()-int64(len(o.delim))+1)
			}
			o.tracked = upto
			return
		}
		at := o.tracked + int64(i)
		after := b[i+len(o.delim):]
		if at == s.body || s.w.buf[at-1-s.w.base] == '\n' {
			opens, closes, sure := delimiterTail(after)
			if !sure && !s.w.eof && len(after) < partContext {
				o.tracked = at // look again when there is more
				return
			}
			o.seen = o.seen || opens
			if closes {
				o.closed = true
				return
			}
		}
		o.tracked = at + 1
	}
}

// delimiterTail judges what follows "--boundary": blanks make it a delimiter
// line, "--" and blanks the closing one. It is not sure where the line does not
// end in b.
func delimiterTail(b []byte) (opens, closes, sure bool) {
	b = b[:min(len(b), partContext)]
	i := indexLF(b)
	if sure = i >= 0; sure {
		b = b[:i]
	}
	b = chomp(b)
	closes = bytes.HasPrefix(b, []byte("--"))
	if closes {
		b = b[2:]
	}
	if len(trimLeft(b)) > 0 {
		return false, false, true
	}
	return !closes, closes, sure
}

// holds says whether the candidate at p is inside the open multipart.
func (o *openPart) holds(s *splitter, p int64) (bool, error) {
	o.track(s, p)
	if o.closed || !o.seen || s.opt.LookAhead == 0 {
		return false, nil
	}
	if p < o.closing {
		return true, nil
	}
	if s.exhausted(p) {
		return false, nil
	}
	at, looked, err := o.findClosing(s, p)
	if err != nil {
		return false, err
	}
	if at < 0 {
		s.wasted += looked
		return false, nil
	}
	o.closing = at
	return true, nil
}

// exhausted says that looking ahead in vain has cost a few times as much as
// reading the file up to p, and must stop.
func (s *splitter) exhausted(p int64) bool {
	if s.wasted <= 16*s.opt.LookAhead+4*p {
		return false
	}
	s.addOnce("mbox.look-ahead-budget", qmailkit.Warning, s.h.Line, p, "too many multiparts without an end, or lengths that lead nowhere; the rest were not followed")
	return true
}

// findClosing searches for the closing delimiter from p on, as far as LookAhead
// allows. A second declaration of the boundary before it means that the message
// was cut short and what follows is another copy of it; then, as where nothing
// is found, it returns -1.
func (o *openPart) findClosing(s *splitter, p int64) (at, looked int64, err error) {
	limit := p + s.opt.LookAhead
	tail := len(o.boundary) + partContext
	for from := p; from < limit; {
		n := int(min(block, limit-from))
		start := max(p, from-partContext)
		b, err := s.w.ahead(start, int(from-start)+n+tail)
		if err != nil {
			return -1, 0, s.ioError(err)
		}
		head := int(from - start)
		if len(b) <= head {
			return -1, from - p, nil
		}
		for i := head; ; {
			k := bytes.Index(b[i:min(len(b), head+n+len(o.boundary)-1)], o.boundary)
			if k < 0 {
				break
			}
			i += k
			before, after := b[:i], b[i+len(o.boundary):]
			if declares(before) {
				return -1, start + int64(i) - p, nil
			}
			if bytes.HasSuffix(before, []byte("--")) && i > 2 && b[i-3] == '\n' {
				if _, closes, _ := delimiterTail(after); closes {
					return start + int64(i) - 2, 0, nil
				}
			}
			i++
		}
		from += int64(n)
	}
	return -1, limit - p, nil
}

// declares says whether before ends in "boundary=", perhaps with blanks around
// the sign and a quote behind it.
func declares(before []byte) bool {
	b := bytes.TrimSuffix(before, []byte(`"`))
	b = bytes.TrimRight(b[max(0, len(b)-partContext):], " \t")
	if len(b) == 0 || b[len(b)-1] != '=' {
		return false
	}
	return bytes.HasSuffix(bytes.TrimRight(b[:len(b)-1], " \t"), []byte("boundary"))
}
