package plesk

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// kind is what a token of a dump is.
type kind byte

const (
	tokEnd    kind = iota // end of the file
	tokWord               // a bare word: keyword, name, number
	tokName               // a name in backquotes
	tokString             // a string in either quotes, unescaped
	tokHex                // a hexadecimal or binary literal, decoded
	tokPunct              // one byte of punctuation
)

// token is a token of a dump.
type token struct {
	kind kind
	text []byte // valid until the next token
	// cut says that the text was longer than its limit. What is kept is its
	// beginning.
	cut    bool
	quote  byte // of a tokString
	line   int
	offset int64
	// conditional says that it stands in a comment that only some versions of
	// the server execute.
	conditional bool
}

func (t *token) is(c byte) bool { return t.kind == tokPunct && t.text[0] == c }

// word says whether the token is this keyword, given in capitals.
func (t *token) word(w string) bool { return t.kind == tokWord && equalFold(t.text, w) }

func equalFold(b []byte, upper string) bool {
	if len(b) != len(upper) {
		return false
	}
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != upper[i] {
			return false
		}
	}
	return true
}

// lexer takes the text of a dump apart. Comments are passed over; of conditional
// ones the text is read as the server does it.
type lexer struct {
	r      *bufio.Reader
	line   int
	offset int64
	buf    []byte
	limit  int // of a token's text; the rest is read and dropped
	err    error

	// noEscapes and ansi are the SQL modes NO_BACKSLASH_ESCAPES and ANSI_QUOTES.
	noEscapes, ansi bool

	conditional      bool // inside of a conditional comment
	begun, completed bool // the comments at a dump's beginning and end were seen
}

func newLexer(r io.Reader) *lexer {
	return &lexer{r: bufio.NewReaderSize(r, 64<<10), line: 1, limit: maxValue}
}

// errOpen says that a dump ends inside of something.
var errOpen = errors.New("the file ends in the middle")

// read returns the next byte; ok is false at the end, and after an error.
func (l *lexer) read() (c byte, ok bool) {
	c, err := l.r.ReadByte()
	if err != nil {
		if !errors.Is(err, io.EOF) && l.err == nil {
			l.err = err
		}
		return 0, false
	}
	l.offset++
	if c == '\n' {
		l.line++
	}
	return c, true
}

// begin looks at the first bytes, for what is often handed over instead of a
// dump.
func (l *lexer) begin() error {
	for _, k := range []struct{ magic, what string }{
		{"\x1f\x8b", "it is compressed with gzip; unpack it first"}, {"BZh", "it is compressed with bzip2; unpack it first"},
		{"\xfd7zXZ\x00", "it is compressed with xz; unpack it first"}, {"\x28\xb5\x2f\xfd", "it is compressed with zstd; unpack it first"},
		{"PK\x03\x04", "it is a zip archive; unpack it first"}, {"\xff\xfe", "it is in UTF-16; make it UTF-8 first"}, {"\xfe\xff", "it is in UTF-16; make it UTF-8 first"},
		{"<?xml", "it is in XML (mysqldump --xml); make it without"}, {"SQLite format 3", "it is a database of SQLite"},
	} {
		if l.looksAt(k.magic) {
			return fmt.Errorf("%w: %s", ErrDump, k.what)
		}
	}
	if l.looksAt("\xef\xbb\xbf") { // a byte order mark
		l.drop(3)
	}
	return l.err
}

func (l *lexer) peek() byte {
	b, err := l.r.Peek(1)
	if err != nil {
		return 0
	}
	return b[0]
}

func (l *lexer) atEnd() bool {
	_, err := l.r.Peek(1)
	return err != nil
}

// looksAt says whether s comes next.
func (l *lexer) looksAt(s string) bool {
	b, _ := l.r.Peek(len(s))
	return string(b) == s
}

// isRest says whether s is all that comes.
func (l *lexer) isRest(s string) bool {
	b, _ := l.r.Peek(len(s) + 1)
	return string(b) == s
}

func (l *lexer) drop(n int) {
	for range n {
		l.read()
	}
}

// window is what comes next, as far as it is at hand; nothing at the end.
func (l *lexer) window() []byte {
	if l.r.Buffered() == 0 {
		if _, err := l.r.Peek(1); err != nil {
			l.read() // keeps the error
			return nil
		}
	}
	b, _ := l.r.Peek(l.r.Buffered())
	return b
}

// pass passes over the first bytes of a window.
func (l *lexer) pass(b []byte) {
	l.line += bytes.Count(b, []byte{'\n'})
	l.offset += int64(len(b))
	l.r.Discard(len(b))
}

func (l *lexer) fail(what string) error {
	if l.err == nil {
		l.err = fmt.Errorf("%w of %s", errOpen, what)
	}
	return l.err
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c == '.' || c == '@' || c >= 0x80
}

// next returns the next token. An error is not repeated as tokEnd: it stays.
func (l *lexer) next() (token, error) {
	if err := l.blank(); err != nil {
		return token{}, err
	}
	t := token{line: l.line, offset: l.offset, conditional: l.conditional}
	c, ok := l.read()
	if !ok {
		return t, l.err
	}
	l.buf = l.buf[:0]
	var err error
	switch next := l.peek(); {
	case c == '`' || c == '"' && l.ansi:
		t.kind, err = tokName, l.quoted(&t, c, false)
	case c == '\'' || c == '"':
		t.kind, t.quote, err = tokString, c, l.quoted(&t, c, !l.noEscapes)
	case (c == 'x' || c == 'X' || c == 'b' || c == 'B') && next == '\'':
		t.kind, err = tokHex, l.literal(&t, c|0x20)
	case c == '0' && (next == 'x' || next == 'b'):
		t.kind, err = tokHex, l.literal(&t, next)
	case isWord(c) || (c == '-' || c == '+') && next >= '0' && next <= '9':
		t.kind = tokWord
		l.keep(&t, c)
		for isWord(l.peek()) {
			c, _ = l.read()
			l.keep(&t, c)
			if p := l.peek(); (c == 'e' || c == 'E') && (p == '-' || p == '+') && number(l.buf[:len(l.buf)-1]) {
				c, _ = l.read()
				l.keep(&t, c)
			}
		}
	default:
		t.kind, l.buf = tokPunct, append(l.buf, c)
	}
	t.text = l.buf
	if err == nil {
		err = l.err
	}
	return t, err
}

func number(b []byte) bool {
	for i, c := range b {
		if (c < '0' || c > '9') && c != '.' && (i > 0 || c != '-' && c != '+') {
			return false
		}
	}
	return len(b) > 0
}

func (l *lexer) keep(t *token, c byte) {
	if len(l.buf) < l.limit {
		l.buf = append(l.buf, c)
	} else {
		t.cut = true
	}
}

// blank passes over blanks and comments.
func (l *lexer) blank() error {
	for {
		switch c := l.peek(); {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			l.drop(1)
		case c == '-' && l.looksAt("-- "):
			if l.looksAt("-- MySQL dump") || l.looksAt("-- MariaDB dump") {
				l.begun, l.completed = true, false
			}
			l.completed = l.completed || l.looksAt("-- Dump completed")
			l.restOfLine(0)
		case c == '#' || c == '-' && (l.looksAt("--\n") || l.looksAt("--\r") || l.looksAt("--\t") || l.isRest("--")):
			l.restOfLine(0)
		case c == '/' && l.looksAt("/*"):
			if err := l.comment(); err != nil {
				return err
			}
		case l.conditional && l.looksAt("*/"):
			l.drop(2)
			l.conditional = false
		case l.conditional && l.atEnd():
			return l.fail("a comment")
		default:
			return l.err
		}
	}
}

// comment passes over a comment, or over the beginning of a conditional one,
// "/*!40101 " or "/*M!100401 ". Versions that no server has are how mariadb-dump
// hides something from all of them.
func (l *lexer) comment() error {
	l.drop(2)
	if l.looksAt("!") || l.looksAt("M!") {
		version, digits := 0, 0
		l.drop(1)
		if l.looksAt("!") {
			l.drop(1)
		}
		for ; digits < 6 && l.peek() >= '0' && l.peek() <= '9'; digits++ {
			version = version*10 + int(l.peek()-'0')
			l.drop(1)
		}
		if version < 900000 {
			l.conditional = true
			return nil
		}
	}
	for !l.looksAt("*/") {
		b := l.window()
		if len(b) == 0 {
			return l.fail("a comment")
		}
		n := 1 + bytes.IndexByte(b[1:], '*')
		if n == 0 {
			n = len(b)
		}
		l.pass(b[:n])
	}
	l.drop(2)
	return nil
}

// restOfLine passes over a line and returns its beginning.
func (l *lexer) restOfLine(most int) string {
	var line []byte
	for {
		b := l.window()
		n := bytes.IndexByte(b, '\n')
		text := b
		if n >= 0 {
			text = b[:n]
		}
		line = append(line, text[:min(len(text), most-len(line))]...)
		l.pass(text)
		if n >= 0 || len(b) == 0 {
			l.drop(1)
			return string(line)
		}
	}
}

// quoted reads up to the closing quote, which doubled stands for itself.
func (l *lexer) quoted(t *token, q byte, escapes bool) error {
	for {
		b, n := l.window(), 0
		for n < len(b) && b[n] != q && (b[n] != '\\' || !escapes) {
			n++
		}
		if kept := min(n, l.limit-len(l.buf)); kept < n {
			l.buf, t.cut = append(l.buf, b[:kept]...), true
		} else {
			l.buf = append(l.buf, b[:n]...)
		}
		l.pass(b[:n])
		if n == len(b) && n > 0 {
			continue
		}
		c, ok := l.read()
		switch {
		case !ok:
			return l.fail("a quoted text")
		case c == q && l.peek() == q:
			l.drop(1)
		case c == q:
			return nil
		case c == '\\' && escapes:
			if c, ok = l.read(); !ok {
				return l.fail("a quoted text")
			}
			if c == '%' || c == '_' {
				l.keep(t, '\\')
			}
			c = unescape(c)
		}
		l.keep(t, c)
	}
}
