package sendmail

import "strings"

// Tokens of a rule, and of an address that is rewritten, are strings. Those of
// two bytes that begin with a NUL, which no address holds, stand for what a
// rule writes with a dollar sign.
const (
	tokMailer = "\x00#" // $#
	tokHost   = "\x00@" // $@
	tokUser   = "\x00:" // $:
	tokElse   = "\x00|" // $|
)

func isMark(tok string) bool { return len(tok) == 2 && tok[0] == 0 }

// alwaysOperators are operators whatever OperatorChars says (DELIMCHARS, of
// which CR and LF never get here).
const alwaysOperators = "()<>,;"

// A scanner takes addresses apart into tokens, as parseaddr.c:prescan does.
type scanner struct{ operators string }

func (s scanner) operator(c byte) bool {
	return strings.IndexByte(s.operators, c) >= 0 || strings.IndexByte(alwaysOperators, c) >= 0
}

func isBlank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// Bounds of an address (conf.h: MAXNAME, MAXATOM, PSBUFSIZE).
const (
	maxTokens  = 1000
	maxToken   = 256
	maxAddress = 255
	maxScanned = 1250 // bytes of all tokens, each with one more
)

// What prescan complains about, in its own words.
const (
	badQuote    = `Unbalanced '"'`
	badComment  = "Unbalanced '('"
	badComment2 = "Unbalanced ')'"
	badAngle    = "Unbalanced '<'"
	badAngle2   = "Unbalanced '>'"
	badTokens   = "prescan: too many tokens"
	badToken    = "prescan: token too long"
	badLength   = "Address too long"
)

// States of a scan.
const (
	scanOperator = iota
	scanAtom
	scanQuote
	scanBlank
)

// A scan is the work of scanner.scan (parseaddr.c:prescan).
type scan struct {
	scanner
	text     string
	delim    byte
	at       int // of the next byte
	state    int
	comments int // parentheses that are open
	angles   int // angle brackets that are open
	route    bool
	slash    bool // the last byte was a backslash
	size     int  // bytes of all tokens
	toks     []string
	errs     []string
}

// noByte stands where a byte was taken out of the text.
const noByte = -1

// scan gives the tokens of the first address in text, which delim ends (0 for
// the end of the text; ' ' is any blank), and the number of bytes that it takes,
// with delim. Comments in parentheses are left out. Where something is
// unbalanced, the tokens are there beside the errors, put right as Sendmail
// does; an address that is too long has none.
func (s scanner) scan(text string, delim byte) (toks []string, used int, errs []string) {
	text, _, _ = strings.Cut(text, "\x00") // Sendmail's texts end there
	w := scan{scanner: s, text: text, delim: delim, state: scanAtom}
	c := noByte
	for {
		var ok bool
		if c, ok = w.token(c); !ok {
			return nil, min(max(w.at-1, 1), len(text)), w.errs
		}
		if c == 0 || c == int(delim) && w.angles == 0 {
			return w.toks, min(w.at, len(text)), w.errs
		}
	}
}

// token reads one token, of which first may be the first byte, and gives the
// byte behind it; false says that the address is too long.
func (w *scan) token(first int) (behind int, ok bool) {
	var b []byte
	c := first
	for end := false; !end; {
		if c != noByte && !w.slash {
			if b = append(b, byte(c)); c == 0xff {
				b[len(b)-1] = 0x7f // prescan takes the highest bit off this byte alone
			}
			w.size++
		}
		var quoted bool
		if c, quoted, end = w.next(); quoted {
			b = append(b, '\\')
			w.size++
		} else if !end && c != noByte {
			c, end = w.step(c)
		}
		if w.size > maxScanned {
			return w.refuse(badLength)
		}
	}
	switch {
	case len(b) == 0:
		return c, true
	case len(w.toks) == maxTokens:
		return w.refuse(badTokens)
	case len(b) > maxToken:
		return w.refuse(badToken)
	}
	w.size++
	w.toks = append(w.toks, string(b))
	return c, true
}

func (w *scan) refuse(words string) (int, bool) {
	w.errs = append(w.errs, words)
	return 0, false
}

// step goes to the next state (parseaddr.c:StateTab), and says whether c begins
// a token. A blank is no part of one.
func (w *scan) step(c int) (int, bool) {
	next := scanAtom
	switch {
	case c == ')' || isBlank(byte(c)):
		next = scanBlank
	case c == '"':
		next = scanQuote
	case w.operator(byte(c)):
		next = scanOperator
	}
	was := w.state
	if was == scanQuote {
		if next == scanQuote {
			w.state = scanOperator
		}
		return c, false
	}
	w.state = next
	if next == scanBlank {
		return noByte, was != scanBlank
	}
	return c, was == scanOperator || was == scanAtom && next != scanAtom
}

// next reads a byte. At the end of the text it gives what is missing there, and
// then 0. end says that the address ends here; quoted that a backslash stands
// before the byte.
func (w *scan) next() (c int, quoted, end bool) {
	if w.at < len(w.text) {
		c = int(w.text[w.at])
	}
	w.at++
	switch {
	case c == 0:
		switch {
		case w.state == scanQuote:
			c = w.repair(badQuote, '"')
		case w.comments > 0:
			c = w.repair(badComment, ')')
		case w.angles > 0:
			c = w.repair(badAngle, '>')
		default:
			return 0, false, true
		}
	case c == int(w.delim) && w.comments == 0 && w.state != scanQuote:
		if w.angles == 0 {
			return c, false, true
		}
		if w.delim == ',' && !w.route {
			c = w.repair(badAngle, '>')
		}
	}
	if w.slash {
		w.slash = false
		if w.comments > 0 {
			return noByte, false, false
		}
		if c != '!' || w.state == scanQuote {
			return c, true, false
		}
	}
	if c = w.special(c); c == noByte {
		return c, false, false
	}
	return c, false, c == int(w.delim) && w.angles == 0 && w.state != scanQuote
}

// repair notes what is missing and gives it instead of the byte at hand, which
// comes again.
func (w *scan) repair(words string, c byte) int {
	w.errs = append(w.errs, words)
	w.at--
	return int(c)
}

// special looks at bytes that have a meaning to the scan itself.
func (w *scan) special(c int) int {
	switch {
	case c == '\\':
		w.slash = true
	case w.state == scanQuote:
	case c == '(':
		w.comments++
		return noByte
	case c == ')' && w.comments == 0:
		w.errs = append(w.errs, badComment2)
		return noByte
	case c == ')':
		w.comments--
	case w.comments > 0:
		return noByte
	case c == '<':
		w.angles++
		rest := w.text[min(w.at, len(w.text)):]
		for rest != "" && isBlank(rest[0]) {
			rest = rest[1:]
		}
		w.route = w.route || strings.HasPrefix(rest, "@")
	case c == '>':
		w.route = false
		if w.angles == 0 {
			w.errs = append(w.errs, badAngle2)
			return noByte
		}
		w.angles--
	case w.delim == ' ' && isBlank(byte(c)):
		return ' '
	}
	return c
}

// atomic says that a token is neither an operator nor a mark, so that a blank
// is needed between two of them.
func (s scanner) atomic(tok string) bool {
	return tok != "" && !isMark(tok) && (len(tok) > 1 || !s.operator(tok[0])) && tok[0] != '"'
}

// join puts tokens together (parseaddr.c:cataddr): sub comes between two that
// nothing parts; with 0 nothing does.
func (s scanner) join(toks []string, sub byte) string {
	var b strings.Builder
	was := false
	for _, t := range toks {
		is := s.atomic(t)
		if was && is && sub != 0 {
			b.WriteByte(sub)
		}
		was = is
		if isMark(t) {
			b.WriteByte('$')
			t = t[1:]
		}
		b.WriteString(t)
	}
	return b.String()
}
