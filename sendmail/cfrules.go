package sendmail

import "strings"

// opKind is what an element of a rule does.
type opKind uint8

const (
	opToken     opKind = iota // a token that stands for itself
	opAny                     // $* zero tokens or more
	opSome                    // $+ one token or more
	opOne                     // $- one token
	opNone                    // $@ on the left: no token is left
	opIn                      // $=x tokens that together are in a class
	opNotIn                   // $~x one token that is not
	opArg                     // $1
	opCall                    // $>name
	opMapBegin                // $(
	opMapEnd                  // $)
	opHostBegin               // $[
	opHostEnd                 // $]
	opMacro                   // $&x
)

// op is one element of a rule.
type op struct {
	kind opKind
	text string // token, class or macro
	n    int    // number of an argument, from 0
}

// A rule rewrites what its left side matches.
type rule struct {
	left, right []op
	line        int
}

// name reads the name behind a "$x" construct: one byte, or several in braces.
func macroName(s string) (name string, rest string) {
	if s == "" {
		return "", ""
	}
	if s[0] == '{' {
		if i := strings.IndexByte(s, '}'); i > 0 {
			return s[1:i], s[i+1:]
		}
	}
	return s[:1], s[1:]
}

// compile takes one side of a rule apart. Macros are replaced now, as Sendmail
// does when it reads its configuration, but for those with "$&".
func (c *config) compile(text string, right bool) []op {
	s := c.scanner()
	var ops []op
	text = c.expandMacros(text)
	for text != "" {
		i := strings.IndexByte(text, '$')
		if i < 0 {
			i = len(text)
		}
		for _, t := range s.ruleTokens(text[:i]) {
			ops = append(ops, op{kind: opToken, text: t})
		}
		if i+1 >= len(text) {
			break
		}
		sign, rest := text[i+1], text[i+2:]
		o := op{kind: opToken}
		switch {
		case sign == '*':
			o.kind = opAny
		case sign == '+':
			o.kind = opSome
		case sign == '-':
			o.kind = opOne
		case sign == '@' && !right:
			o.kind = opNone
		case sign == '=':
			o.kind = opIn
			o.text, rest = macroName(rest)
		case sign == '~':
			o.kind = opNotIn
			o.text, rest = macroName(rest)
		case sign >= '0' && sign <= '9':
			o.kind, o.n = opArg, int(sign-'1')
		case sign == '>':
			o.kind = opCall
		case sign == '(':
			o.kind = opMapBegin
		case sign == ')':
			o.kind = opMapEnd
		case sign == '[':
			o.kind = opHostBegin
		case sign == ']':
			o.kind = opHostEnd
		case sign == '&':
			o.kind = opMacro
			o.text, rest = macroName(rest)
		case strings.IndexByte("#@:|", sign) >= 0:
			o.text = "\x00" + string(sign)
		default:
			o.text = string(sign)
		}
		ops = append(ops, o)
		text = rest
	}
	return ops
}

// ruleTokens takes the text of a rule apart: parentheses are no comments there.
func (s scanner) ruleTokens(text string) []string {
	var toks []string
	for i := 0; i < len(text); {
		c := text[i]
		n := 1
		switch {
		case isBlank(c):
			i++
			continue
		case c == '"':
			if end := strings.IndexByte(text[i+1:], '"'); end >= 0 {
				n = end + 2
			}
		case !s.operator(c):
			for i+n < len(text) && !isBlank(text[i+n]) && !s.operator(text[i+n]) && text[i+n] != '"' {
				n++
			}
		}
		toks = append(toks, text[i:i+n])
		i += n
	}
	return toks
}

// expandMacros replaces $x and ${name} by their values, and leaves what rules
// write with a dollar sign.
func (c *config) expandMacros(text string) string {
	if strings.IndexByte(text, '$') < 0 {
		return text
	}
	var b strings.Builder
	for depth := 0; text != ""; {
		i := strings.IndexByte(text, '$')
		if i < 0 || i+1 == len(text) {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:i])
		sign := text[i+1]
		switch {
		case sign == '{' || sign >= 'a' && sign <= 'z' || sign >= 'A' && sign <= 'Z' || sign == '_':
			name, rest := macroName(text[i+1:])
			text = rest
			if depth++; depth < maxMacros && b.Len() < maxExpanded {
				b.WriteString(c.macro(name))
			}
			continue
		case sign == '&' || sign == '=' || sign == '~':
			_, rest := macroName(text[i+2:])
			b.WriteString(text[i : len(text)-len(rest)])
			text = rest
			continue
		}
		b.WriteString(text[i : i+2])
		text = text[i+2:]
	}
	return b.String()
}

// Bounds of the macros in one line.
const (
	maxMacros   = 1000
	maxExpanded = 64 << 10
)
