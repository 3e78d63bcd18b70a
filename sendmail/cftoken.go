package sendmail

import (
	"errors"
	"strings"
)

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

// maxTokens bounds the tokens of an address (MAXATOM in conf.h).
const maxTokens = 1000

// maxAddress bounds the bytes of one (MAXNAME in conf.h is 256 there; what is
// longer is refused by Sendmail too).
const maxAddress = 255

// alwaysOperators are operators whatever OperatorChars says (DELIMCHARS, of
// which CR and LF never get here).
const alwaysOperators = "()<>,;"

// A scanner takes addresses apart into tokens, as parseaddr.c:prescan does.
type scanner struct{ operators string }

func (s scanner) operator(c byte) bool {
	return strings.IndexByte(s.operators, c) >= 0 || strings.IndexByte(alwaysOperators, c) >= 0
}

func isBlank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// What prescan complains about.
var (
	errQuote    = errors.New("unbalanced '\"'")
	errComment  = errors.New("unbalanced '('")
	errComment2 = errors.New("unbalanced ')'")
	errAngle    = errors.New("unbalanced '<'")
	errAngle2   = errors.New("unbalanced '>'")
	errTokens   = errors.New("address too long")
)

// scan gives the tokens of the first address in text, which delim ends (0 for
// the end of the text), and the number of bytes that it takes, with delim.
// Comments in parentheses are left out. What is unbalanced is an error, but
// the tokens are there too.
func (s scanner) scan(text string, delim byte) (toks []string, used int, err error) {
	const (
		opr = iota // an operator, or the start
		atom
		quote
		space
	)
	var b strings.Builder
	state, slash, comments, angles := opr, false, 0, 0
	flush := func() {
		if b.Len() > 0 {
			toks = append(toks, b.String())
			b.Reset()
		}
	}
	i := 0
	for ; i < len(text); i++ {
		c := text[i]
		if slash {
			slash = false
			if comments > 0 {
				continue
			}
			if c != '!' || state == quote {
				b.WriteByte('\\')
			}
			b.WriteByte(c)
			if state != quote {
				state = atom
			}
			continue
		}
		switch {
		case c == '\\':
			if state == opr || state == space {
				flush()
				state = atom
			}
			slash = true
			continue
		case state == quote:
			b.WriteByte(c)
			if c == '"' {
				flush()
				state = opr
			}
			continue
		case c == '(':
			comments++
			continue
		case c == ')':
			if comments == 0 {
				err = errComment2
			} else {
				comments--
			}
			continue
		case comments > 0:
			continue
		case c == '<':
			angles++
		case c == '>':
			if angles == 0 {
				err = errAngle2
				continue
			}
			angles--
		}
		if c == delim && delim != 0 && angles == 0 {
			flush()
			return s.checked(toks, i+1, err)
		}
		switch {
		case c == '"':
			flush()
			b.WriteByte(c)
			state = quote
		case isBlank(c):
			flush()
			state = space
		case s.operator(c):
			flush()
			toks = append(toks, string(c))
			state = opr
		default:
			if state != atom {
				flush()
			}
			b.WriteByte(c)
			state = atom
		}
	}
	switch {
	case state == quote:
		b.WriteByte('"')
		err = errQuote
	case comments > 0:
		err = errComment
	case angles > 0:
		err = errAngle
	}
	flush()
	if angles > 0 {
		for ; angles > 0; angles-- {
			toks = append(toks, ">")
		}
	}
	return s.checked(toks, i, err)
}

func (s scanner) checked(toks []string, used int, err error) ([]string, int, error) {
	if len(toks) > maxTokens {
		return nil, used, errTokens
	}
	return toks, used, err
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
