package queue

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"mime"
	"strings"
	"unicode/utf8"
)

var errCharset = errors.New("unknown charset")

// A Header is the header of a message, byte for byte.
type Header struct{ raw []byte }

// headerEnd finds the end of a header behind from: the empty line, which belongs
// to it no more. Lines end in LF, or in CR LF. It is -1 where there is none.
func headerEnd(b []byte, from int) int {
	if len(b) > 0 && b[0] == '\n' || bytes.HasPrefix(b, []byte("\r\n")) {
		return 0
	}
	for i := from; i < len(b); i++ {
		j := bytes.IndexByte(b[i:], '\n')
		if j < 0 {
			return -1
		}
		i += j
		rest := b[i+1:]
		if len(rest) > 0 && rest[0] == '\n' || bytes.HasPrefix(rest, []byte("\r\n")) {
			return i + 1
		}
	}
	return -1
}

// Raw returns the header as it was read, without the empty line behind it.
func (h *Header) Raw() []byte { return h.raw }

// Fields yields the fields in their order: names as they are written, and
// values as they are, folded, without the blanks around them. A line that is no
// field, such as "From " of an mbox, has an empty name.
func (h *Header) Fields() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for rest := h.raw; len(rest) > 0; {
			n := fieldLen(rest)
			name, value := splitField(string(rest[:n]))
			rest = rest[n:]
			if !yield(name, value) {
				return
			}
		}
	}
}

// fieldLen is the length of the first field with the lines that continue it.
func fieldLen(b []byte) int {
	n := 0
	for n < len(b) {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			return len(b)
		}
		n += i + 1
		if n < len(b) && b[n] != ' ' && b[n] != '\t' {
			break
		}
	}
	return n
}

// splitField parts a field at its colon. A name is printable ASCII; blanks
// before the colon, which RFC 822 allowed, do not belong to it.
func splitField(field string) (name, value string) {
	name, value, ok := strings.Cut(field, ":")
	name = strings.TrimRight(name, " \t")
	for i := 0; i < len(name); i++ {
		ok = ok && name[i] > ' ' && name[i] < 0x7f
	}
	if !ok || name == "" {
		return "", strings.TrimRight(field, "\r\n")
	}
	return name, strings.Trim(value, " \t\r\n")
}

// Values yields the values of the fields of one name, in whatever case it is
// written.
func (h *Header) Values(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for n, v := range h.Fields() {
			if strings.EqualFold(n, name) && !yield(v) {
				return
			}
		}
	}
}

// Get returns the value of the first field of that name, and whether there is
// one.
func (h *Header) Get(name string) (value string, ok bool) {
	for v := range h.Values(name) {
		return v, true
	}
	return "", false
}

// A CharsetReader makes UTF-8 of a text in another charset; what it does not
// know is an error. charset.Reader of github.com/emersion/go-message/charset is
// one that knows them all.
type CharsetReader func(charset string, r io.Reader) (io.Reader, error)

// Text returns the value of the first field of that name as people read it: its
// lines joined, and encoded words (RFC 2047) decoded, by known where they are
// not in US-ASCII, UTF-8 or ISO 8859-1; known may be nil. A word that cannot be
// decoded stays as it is, and bytes that are no UTF-8 become U+FFFD, so that the
// result is valid UTF-8 always. It may hold any control character.
func (h *Header) Text(name string, known CharsetReader) string {
	value, _ := h.Get(name)
	return DecodeText(value, known)
}

// DecodeText does for any value of a field what Header.Text does.
func DecodeText(value string, known CharsetReader) string {
	value = unfold(value)
	dec := mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
		if known == nil {
			return nil, errCharset
		}
		return known(charset, r)
	}}
	text, err := dec.DecodeHeader(value)
	if err != nil {
		text = decodeEach(&dec, value)
	}
	return strings.ToValidUTF8(text, string(utf8.RuneError))
}

// decodeEach decodes the words that can be decoded and leaves the others.
func decodeEach(dec *mime.WordDecoder, value string) string {
	var b strings.Builder
	for value != "" {
		start := strings.Index(value, "=?")
		if start < 0 {
			break
		}
		end := wordEnd(value[start:])
		if end < 0 {
			b.WriteString(value[:start+2])
			value = value[start+2:]
			continue
		}
		b.WriteString(value[:start])
		word := value[start : start+end]
		if text, err := dec.DecodeHeader(word); err == nil {
			word = text
		}
		b.WriteString(word)
		value = value[start+end:]
	}
	b.WriteString(value)
	return b.String()
}

// wordEnd is the length of the encoded word at the start of s, or -1.
func wordEnd(s string) int {
	at := 2
	for range 2 { // charset, encoding
		i := strings.IndexByte(s[at:], '?')
		if i < 0 {
			return -1
		}
		at += i + 1
	}
	i := strings.Index(s[at:], "?=")
	if i < 0 || strings.ContainsAny(s[:at+i], " \t") {
		return -1
	}
	return at + i + 2
}

// unfold joins the lines of a value: the line ends go, the blanks behind them
// stay.
func unfold(s string) string {
	return strings.NewReplacer("\r\n", "", "\n", "").Replace(s)
}
