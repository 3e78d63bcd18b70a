package qmailcontrol

import (
	"errors"
	"slices"
	"strings"
)

// ErrHeader says that qmail-inject could not parse a header field: a quote, a
// bracket or a parenthesis is missing.
var ErrHeader = errors.New("unable to parse this line")

// tokenKind is what a token of RFC 822 is, as qmail sees it (token822.c).
type tokenKind byte

const (
	atom    tokenKind = 'a'
	quoted  tokenKind = '"'
	literal tokenKind = '['
	comment tokenKind = '('
	// Every other kind is the character itself.
)

// A token is a word, or one character of ".,@<>:;".
type token struct {
	kind tokenKind
	text string // of a word, without quotes and backslashes
}

// parseTokens parts a header field.
func parseTokens(s string) ([]token, error) {
	var all []token
	for i := 0; i < len(s); {
		switch c := s[i]; c {
		case '.', ',', '@', '<', '>', ':', ';':
			all = append(all, token{kind: tokenKind(c)})
			i++
		case ' ', '\t', '\r', '\n':
			i++
		case ')', ']':
			return nil, ErrHeader
		case '(', '"', '[':
			text, n, ok := enclosed(s[i:])
			if !ok {
				return nil, ErrHeader
			}
			all = append(all, token{tokenKind(c), text})
			i += n
		default:
			t, n := parseAtom(s[i:])
			all = append(all, t)
			i += n
		}
	}
	return all, nil
}

// enclosed reads a word in quotes, brackets or parentheses. Only the last may
// hold others of their kind, and loses them.
func enclosed(s string) (text string, n int, ok bool) {
	var b strings.Builder
	end := map[byte]byte{'(': ')', '"': '"', '[': ']'}[s[0]]
	level := 1
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == end:
			if level--; level == 0 {
				return b.String(), i + 1, true
			}
		case c == '(' && end == ')':
			level++
		case c == '\\':
			if i++; i == len(s) {
				return "", 0, false
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", 0, false
}

// parseAtom reads a word without quotes. It becomes a quoted one if it holds
// what an atom must not.
func parseAtom(s string) (token, int) {
	var b strings.Builder
	i := 0
	for {
		if s[i] == '\\' {
			if i++; i == len(s) {
				break
			}
		}
		b.WriteByte(s[i])
		if i++; i == len(s) || strings.IndexByte(" \t\r\n([\"<>;:@,.", s[i]) >= 0 {
			break
		}
	}
	t := token{atom, b.String()}
	for _, c := range []byte(t.text) {
		if c < ' ' || c > '~' || c == ')' || c == ']' || c == '\\' {
			t.kind = quoted
		}
	}
	return t, i
}

func (t token) word() bool {
	return t.kind == atom || t.kind == quoted || t.kind == literal || t.kind == comment
}

// formatTokens writes a header field on one line.
func formatTokens(all []token) string {
	var b strings.Builder
	for i, t := range all {
		if i > 0 {
			before := all[i-1]
			if before.kind == ':' || before.kind == ',' || t.kind == '<' || before.word() && t.word() {
				b.WriteByte(' ')
			}
		}
		switch t.kind {
		case atom:
			b.WriteString(escapeWord(t.text))
		case quoted:
			b.WriteString(`"` + escapeWord(t.text) + `"`)
		case literal:
			b.WriteString("[" + escapeWord(t.text) + "]")
		case comment:
			b.WriteString("(" + escapeWord(t.text) + ")")
		default:
			b.WriteByte(byte(t.kind))
		}
	}
	return b.String()
}

func escapeWord(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte("\"[]()\\\r\n", s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// envelopeForm is an address as it stands in an envelope: without quotes and
// comments.
func envelopeForm(addr []token) string {
	var b strings.Builder
	for _, t := range addr {
		switch t.kind {
		case comment:
		case literal:
			b.WriteString("[" + t.text + "]")
		case atom, quoted:
			b.WriteString(t.text)
		default:
			b.WriteByte(byte(t.kind))
		}
	}
	return b.String()
}

// An addressList finds the addresses in a field, from right to left, and hands
// each to a function that may change it (token822.c:token822_addrlist).
type addressList struct {
	in     []token
	left   int     // tokens of in that are still to be looked at
	out    []token // reversed
	addr   []token // reversed: the address at hand
	change func(addr []token) []token
}

// rewrite returns the field with its addresses changed.
func (l *addressList) rewrite() ([]token, error) {
	inGroup, wordOK := false, true
	l.left = len(l.in)
	for l.left > 0 {
		switch t := l.in[l.left-1]; t.kind {
		case ';':
			l.endBefore()
			if inGroup {
				return nil, ErrHeader
			}
			inGroup, wordOK = true, true
			l.take(&l.out)
		case ':':
			l.end()
			if !inGroup {
				return nil, ErrHeader
			}
			inGroup, wordOK = false, true
			l.takeWhile(&l.out, func(k tokenKind) bool { return k != ',' })
			if l.left > 0 {
				l.take(&l.out)
			}
		case '>':
			l.endBefore()
			l.take(&l.out)
			l.takeWhile(&l.addr, func(k tokenKind) bool { return k != '<' })
			l.got() // an empty one too
			if l.left == 0 {
				return nil, ErrHeader
			}
			l.take(&l.out)
			l.takeWhile(&l.out, func(k tokenKind) bool {
				return k == comment || k == atom || k == quoted || k == '@' || k == '.'
			})
			wordOK = false
		case atom, quoted, literal:
			if !wordOK {
				l.endBefore()
			}
			wordOK = false
			l.take(&l.addr)
		case comment: // as good as a blank
			l.take(&l.out)
		case ',':
			l.end()
			wordOK = true
			l.take(&l.out)
		default:
			wordOK = true
			l.take(&l.addr)
		}
	}
	l.end()
	slices.Reverse(l.out)
	return l.out, nil
}

// take moves the next token.
func (l *addressList) take(to *[]token) {
	l.left--
	*to = append(*to, l.in[l.left])
}

func (l *addressList) takeWhile(to *[]token, ok func(tokenKind) bool) {
	for l.left > 0 && ok(l.in[l.left-1].kind) {
		l.take(to)
	}
}

// got ends the address at hand.
func (l *addressList) got() {
	slices.Reverse(l.addr)
	addr := l.change(l.addr)
	for _, t := range slices.Backward(addr) {
		l.out = append(l.out, t)
	}
	l.addr = l.addr[:0]
}

// end ends the address at hand if there is one.
func (l *addressList) end() {
	if len(l.addr) > 0 {
		l.got()
	}
}

// endBefore is end where the next address follows without a comma.
func (l *addressList) endBefore() {
	if len(l.addr) > 0 {
		l.got()
		l.out = append(l.out, token{kind: ','})
	}
}
