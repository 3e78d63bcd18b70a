package sendmail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// maxMapLine is the longest line that makemap takes (MAXLINE in conf.h, less
// the NUL and the newline).
const maxMapLine = 2046

// A Table is the text of a map of Sendmail, as makemap(8) reads it:
// virtusertable, mailertable, domaintable, genericstable, access. What was
// read is written again byte for byte.
type Table struct {
	path  string
	lines []tableLine
	first map[string]int // index in lines of the entry that counts, by its folded key
}

type tableLine struct {
	raw    string // with its newline, if it has one
	offset int64
	entry  *TableEntry
}

// A TableEntry is a line of a Table that has a key and a value.
type TableEntry struct {
	Key   string // as it stands
	Value string // without the blanks around it; makemap keeps those behind it
	Path  string
	Line  int
	// Offset is that of the line in the file.
	Offset int64
}

// TableOptions says how makemap was called; nil and the zero value are its
// defaults.
type TableOptions struct {
	Path     string // of the file, for problems
	MaxBytes int64  // that are read; 0 is 1 GiB
	KeepCase bool   // keys are not folded: makemap -f
	Last     bool   // of two entries with one key the last counts: makemap -r
}

// ReadTable reads the text of a map. A line that makemap refuses is a Problem:
// "sendmail.map-no-key" (it begins with a blank), "sendmail.map-no-value",
// "sendmail.map-long-line" (its tail is a line of its own to makemap, and is
// left out here), "sendmail.map-duplicate". The table is there as far as it
// was read when the error is not nil.
func ReadTable(ctx context.Context, r io.Reader, opts *TableOptions) (*Table, []qmailkit.Problem, error) {
	var o TableOptions
	if opts != nil {
		o = *opts
	}
	setDefault(&o.MaxBytes, 1<<30)
	t := &Table{path: o.Path, first: map[string]int{}}
	var problems []qmailkit.Problem
	offset, n := int64(0), 0
	for raw, err := range rawLines(ctx, bounded(r, o.MaxBytes)) {
		if err != nil {
			return t, problems, fmt.Errorf("%s:%d: offset %d: %w", o.Path, n+1, offset, err)
		}
		n++
		at := place{o.Path, n, offset}
		l := tableLine{raw: raw, offset: offset}
		offset += int64(len(raw))
		e, p := parseTableLine(raw, at)
		if p != nil {
			problems = append(problems, *p)
		}
		if e != nil {
			l.entry = e
			key := e.Key
			if !o.KeepCase {
				key = lower(key)
			}
			first, dup := t.first[key]
			if dup {
				problems = append(problems, at.problem(qmailkit.Warning, "map-duplicate",
					"key %.80q has stood in line %d already", e.Key, t.lines[first].entry.Line))
			}
			if !dup || o.Last {
				t.first[key] = len(t.lines)
			}
		}
		t.lines = append(t.lines, l)
	}
	return t, problems, nil
}

// parseTableLine is the loop of makemap.c.
func parseTableLine(raw string, at place) (*TableEntry, *qmailkit.Problem) {
	problem := func(code, format string, args ...any) (*TableEntry, *qmailkit.Problem) {
		p := at.problem(qmailkit.Error, code, format, args...)
		return nil, &p
	}
	text := strings.TrimSuffix(raw, "\n")
	if len(text) > maxMapLine {
		return problem("map-long-line", "%w: %d bytes, of which makemap takes %d", ErrLongLine, len(text), maxMapLine)
	}
	text, _, _ = strings.Cut(text, "\x00")
	if text == "" || text[0] == '#' {
		return nil, nil
	}
	if isBlank(text[0]) {
		return problem("map-no-key", "the line begins with a blank, and has no key")
	}
	i := 0
	for i < len(text) && !isBlank(text[i]) {
		i++
	}
	key, value := text[:i], trimBlanks(text[i:])
	if value == "" {
		return problem("map-no-value", "key %.80q has no value", key)
	}
	return &TableEntry{Key: key, Value: value, Path: at.path, Line: at.line, Offset: at.offset}, nil
}

// trimBlanks takes off what isspace(3) takes for blank in the C locale.
func trimBlanks(s string) string {
	for s != "" && isBlank(s[0]) {
		s = s[1:]
	}
	for s != "" && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// Path is that of TableOptions.
func (t *Table) Path() string { return t.path }

// WriteTo writes the text as it was read.
func (t *Table) WriteTo(w io.Writer) (n int64, err error) {
	for _, l := range t.lines {
		k, err := io.WriteString(w, l.raw)
		if n += int64(k); err != nil {
			return n, err
		}
	}
	return n, nil
}

// Entries yields all entries in the order of the file, those too whose key has
// stood before.
func (t *Table) Entries() iter.Seq[*TableEntry] {
	return func(yield func(*TableEntry) bool) {
		for _, l := range t.lines {
			if l.entry != nil && !yield(l.entry) {
				return
			}
		}
	}
}

// Lookup gives the entry that the map holds for a key, or nil. The key is
// folded, unless the table was read with KeepCase and holds it as it stands.
func (t *Table) Lookup(key string) *TableEntry {
	i, ok := t.first[key]
	if !ok {
		i, ok = t.first[lower(key)]
	}
	if !ok {
		return nil
	}
	return t.lines[i].entry
}

// rawLines yields the lines of r with their newlines, however long they are. An
// error of r or of ctx ends the sequence.
func rawLines(ctx context.Context, r io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for l, err := range readLines(ctx, r, "", maxRawLine) {
			if err != nil && !errors.Is(err, qmailkit.ErrIncomplete) {
				err = qmailkit.Incomplete(err)
			}
			if !yield(l.raw, err) || err != nil {
				return
			}
		}
	}
}

// maxRawLine bounds the memory that one line of a lossless parser takes: beyond
// it nothing is a settings file.
const maxRawLine = 64 << 20

// substitute puts arguments into the value of a map: %0 is the key, %1 to %9
// are the arguments, %% is a percent sign (map.c:map_rewrite).
func substitute(value string, args []string) string {
	if strings.IndexByte(value, '%') < 0 {
		return value
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c != '%' || i+1 == len(value) {
			b.WriteByte(c)
			continue
		}
		i++
		switch c = value[i]; {
		case c == '%':
			b.WriteByte('%')
		case c >= '0' && c <= '9':
			if n := int(c - '0'); n < len(args) {
				b.WriteString(args[n])
			}
		default:
			b.WriteByte('%')
			b.WriteByte(c)
		}
	}
	return b.String()
}
