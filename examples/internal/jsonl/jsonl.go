// Package jsonl writes and reads the programs' machine-readable lines: one
// JSON object a line, in which a string of bytes is written one code point a
// byte, U+0000 to U+00FF, so that nothing is lost and nothing has to be UTF-8.
package jsonl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/qmailkit/qmailkit"
)

// Bytes is a string of any bytes: a name, an address, a line.
type Bytes string

// ErrBytes says that a JSON string holds a character beyond U+00FF.
var ErrBytes = errors.New("character beyond U+00FF in a string of bytes")

const hexDigits = "0123456789abcdef"

// MarshalJSON writes each byte as the code point of its value.
func (s Bytes) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, len(s)+2)
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c < ' ' || c >= 0x7f && c < 0xa0:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = utf8.AppendRune(b, rune(c))
		}
	}
	return append(b, '"'), nil
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (s *Bytes) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	var out strings.Builder
	for _, r := range text {
		if r > 0xff {
			return fmt.Errorf("%w: %q", ErrBytes, r)
		}
		out.WriteByte(byte(r))
	}
	*s = Bytes(out.String())
	return nil
}

// List gives many strings their JSON form.
func List(ss []string) []Bytes {
	out := make([]Bytes, len(ss))
	for i, s := range ss {
		out[i] = Bytes(s)
	}
	return out
}

// An Encoder writes objects, a line each.
type Encoder struct{ enc *json.Encoder }

// NewEncoder returns an Encoder on w, which should be buffered where lines are
// many.
func NewEncoder(w io.Writer) *Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return &Encoder{e}
}

// Encode writes one line.
func (e *Encoder) Encode(v any) error { return e.enc.Encode(v) }

// A problem is the JSON form of a qmailkit.Problem.
type problem struct {
	Problem  string `json:"problem"`
	Severity string `json:"severity"`
	Path     Bytes  `json:"path,omitempty"`
	Line     int    `json:"line,omitempty"`
	Offset   int64  `json:"offset,omitempty"`
	Error    Bytes  `json:"error"`
	Fix      Bytes  `json:"fix,omitempty"`
}

// Problem gives a Problem the form that all programs print; its code stands
// under "problem".
func Problem(p qmailkit.Problem) any {
	o := problem{Problem: p.Code, Severity: p.Severity.String(), Path: Bytes(p.Path), Line: p.Line, Offset: p.Offset, Fix: Bytes(p.Fix)}
	if p.Err != nil {
		o.Error = Bytes(p.Err.Error())
	}
	return o
}
