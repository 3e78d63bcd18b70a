package mbox

import "bytes"

// A quoter puts ">" before "From " lines of a message that is handed to it
// piece by piece: the inverse of the unquoter.
type quoter struct {
	levels byte // 0 none, 1 "From " only, 2 any number of ">" before it
	at     place
	held   int // bytes of "From " at the start of the line, not yet written
}

// write hands b on to put, quoted. What may become a "From " line is held back.
func (q *quoter) write(b []byte, put func([]byte)) {
	if q.levels == 0 {
		put(b)
		return
	}
	for len(b) > 0 {
		switch {
		case q.held > 0 || q.at != inLine && b[0] == 'F':
			b = q.from(b, put)
		case q.at != inLine && b[0] == '>' && q.levels > 1:
			n := len(b) - len(bytes.TrimLeft(b, ">"))
			put(b[:n])
			q.at = inQuotes
			b = b[n:]
		default:
			n := indexLF(b) + 1
			q.at = lineStart
			if n == 0 {
				n, q.at = len(b), inLine
			}
			put(b[:n])
			b = b[n:]
		}
	}
}

// from compares the start of a line with "From ".
func (q *quoter) from(b []byte, put func([]byte)) []byte {
	n := 0
	for q.held < len(fromPrefix) && n < len(b) && b[n] == fromPrefix[q.held] {
		q.held++
		n++
	}
	switch {
	case q.held == len(fromPrefix):
		put([]byte(">From "))
	case n == len(b):
		return nil
	default:
		put(fromPrefix[:q.held])
	}
	q.held, q.at = 0, inLine
	return b[n:]
}

// end hands on what is still held back.
func (q *quoter) end(put func([]byte)) {
	put(fromPrefix[:q.held])
	q.held = 0
}
