package qmailcontrol

import (
	"iter"
	"strings"
)

// blanks are what control.c cuts from the end of a line. A CR is not among
// them and stays part of the value.
const blanks = " \t\n"

// Values yields what qmail reads from a list (control.c:control_readfile),
// each with the number of its line: blanks at the end are cut, lines that are
// then empty or start with '#' or NUL are left out, and a NUL inside a line
// splits it in two values, of which the second is looked at no further. Blanks
// at the start and CRs are part of the value.
func (l *Lines) Values() iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for i, t := range l.text {
			for v := range valuesOf(t) {
				if !yield(i+1, v) {
					return
				}
			}
		}
	}
}

// values collects what Values yields.
func (l *Lines) values() []string {
	all := make([]string, 0, len(l.text))
	for _, v := range l.Values() {
		all = append(all, v)
	}
	return all
}

// splitNUL parts a line where qmail's lists part it.
func splitNUL(line string) []string { return strings.Split(line, "\x00") }

// valuesOf yields the values of one line.
func valuesOf(text string) iter.Seq[string] {
	text = strings.TrimRight(text, blanks)
	if text == "" || text[0] == '#' || text[0] == 0 {
		return func(func(string) bool) {}
	}
	return strings.SplitSeq(text, "\x00")
}

func hasValue(text, value string) bool {
	for v := range valuesOf(text) {
		if equalFold(v, value) {
			return true
		}
	}
	return false
}

// First returns what qmail reads from a file of one line
// (control.c:control_readline): the first line without the blanks at its end.
// An empty file holds the empty value; it does not count as missing.
func (l *Lines) First() string {
	if len(l.text) == 0 {
		return ""
	}
	return strings.TrimRight(l.text[0], blanks)
}

// Int returns what qmail reads from a file that holds a number
// (control.c:control_readint): the digits at the very start of the first line.
// If there are none ok is false and qmail's default stands, as if the file
// were missing. A number that is too large wraps as it does in qmail.
func (l *Lines) Int() (n int, ok bool) {
	var u uint64
	for _, c := range []byte(l.First()) {
		if c < '0' || c > '9' {
			break
		}
		u = u*10 + uint64(c-'0')
		ok = true
	}
	return int(int32(u)), ok
}

// Set is a list as qmail looks things up in it (constmap.c without colons).
type Set struct{ in map[string]struct{} }

// Set indexes the values of l as they are now.
func (l *Lines) Set() Set {
	s := Set{make(map[string]struct{}, len(l.text))}
	for _, v := range l.Values() {
		s.in[lower(v)] = struct{}{}
	}
	return s
}

// newSet indexes values.
func newSet(values []string) Set {
	s := Set{make(map[string]struct{}, len(values))}
	for _, v := range values {
		s.in[lower(v)] = struct{}{}
	}
	return s
}

// Has says whether value is in the set. The case of ASCII letters does not
// count, everything else does.
func (s Set) Has(value string) bool {
	_, ok := s.in[lower(value)]
	return ok
}

// Len returns the number of different values.
func (s Set) Len() int { return len(s.in) }

// Map is a file of key:value lines as qmail looks things up in it (constmap.c
// with colons).
type Map struct{ in map[string]string }

// Map indexes the values of l as they are now. The key ends at the first
// colon and may be empty; a value without a colon does not count; blanks
// around the colon are part of key and value. Of several lines with one key
// the last one answers.
func (l *Lines) Map() Map {
	m := Map{make(map[string]string, len(l.text))}
	for _, v := range l.Values() {
		if key, value, ok := strings.Cut(v, ":"); ok {
			m.in[lower(key)] = value
		}
	}
	return m
}

// Lookup returns the value of key. The case of ASCII letters in a key does not
// count.
func (m Map) Lookup(key string) (value string, ok bool) {
	value, ok = m.in[lower(key)]
	return value, ok
}

// Len returns the number of different keys.
func (m Map) Len() int { return len(m.in) }

// lower is qmail's case_lowerb: ASCII letters only, whatever the locale.
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return string(lowerBytes([]byte(s)))
		}
	}
	return s
}

// lowerBytes is lower in place.
func lowerBytes(b []byte) []byte {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}

func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		x, y := a[i], b[i]
		if 'A' <= x && x <= 'Z' {
			x += 'a' - 'A'
		}
		if 'A' <= y && y <= 'Z' {
			y += 'a' - 'A'
		}
		if x != y {
			return false
		}
	}
	return true
}
