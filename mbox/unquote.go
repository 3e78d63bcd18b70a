package mbox

import "bytes"

// An unquoter undoes the quoting of "From " lines in a message that is handed
// to it piece by piece. It only ever leaves single bytes out.
type unquoter struct {
	levels byte // 0 none, 1 exactly one ">", 2 any number of them
	at     place
}

// place is where in a line the next byte stands.
type place uint8

const (
	lineStart place = iota
	inQuotes        // behind nothing but ">"
	inLine
)

// newUnquoter returns the unquoter for a message; byLength is Header.ByLength.
func newUnquoter(f Format, byLength bool) unquoter {
	switch f {
	case O, CL:
		return unquoter{levels: 1}
	case RD:
		return unquoter{levels: 2}
	case Auto:
		if !byLength {
			return unquoter{levels: 2}
		}
	}
	return unquoter{}
}

var quotedFrom = []byte(">From ")

// span says how many bytes at the start of b are to be handed on, and how many
// behind them, 0 or 1, to be left out. Both are 0 if more of the message must
// be seen, which last says is all there is.
func (u *unquoter) span(b []byte, last bool) (keep, drop int) {
	if u.levels == 0 {
		return len(b), 0
	}
	for from := 0; ; {
		i := bytes.Index(b[from:], quotedFrom)
		if i < 0 {
			break
		}
		i += from
		if u.quotes(b[:i]) {
			u.pass(b[:i+1])
			return i, 1
		}
		from = i + 1
	}
	return u.skip(b, last), 0
}

// skip is span where no ">From " is in b.
func (u *unquoter) skip(b []byte, last bool) (keep int) {
	if u.levels == 0 {
		return len(b)
	}
	keep = len(b)
	if !last {
		keep -= heldBack(b)
	}
	u.pass(b[:keep])
	return keep
}

// quotes says whether a ">From " behind before is a quoted line.
func (u *unquoter) quotes(before []byte) bool {
	text := before
	if u.levels > 1 {
		text = bytes.TrimRight(before, ">")
	}
	if n := len(text); n > 0 {
		return text[n-1] == '\n'
	}
	return u.at == lineStart || u.at == inQuotes && u.levels > 1
}

// pass remembers where in its line the message stands after b.
func (u *unquoter) pass(b []byte) {
	text := bytes.TrimRight(b, ">")
	switch n := len(text); {
	case n == len(b) && n > 0 && b[n-1] == '\n':
		u.at = lineStart
	case len(b) == 0:
	case n > 0 && text[n-1] != '\n', n == 0 && u.at == inLine:
		u.at = inLine
	default:
		u.at = inQuotes
	}
}

// heldBack returns the length of the part of ">From " that b ends with.
func heldBack(b []byte) int {
	for n := min(len(quotedFrom)-1, len(b)); n > 0; n-- {
		if bytes.Equal(b[len(b)-n:], quotedFrom[:n]) {
			return n
		}
	}
	return 0
}

// unquote undoes the quoting of a whole message in place.
func unquote(msg []byte, f Format, byLength bool) []byte {
	u := newUnquoter(f, byLength)
	if u.levels == 0 {
		return msg
	}
	out := 0
	for in := 0; in < len(msg); {
		keep, drop := u.span(msg[in:], true)
		if out != in {
			copy(msg[out:], msg[in:in+keep])
		}
		out += keep
		in += keep + drop
	}
	return msg[:out]
}
