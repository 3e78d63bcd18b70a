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

// maxMapLine is what makemap reads at once (BUFSIZE in makemap.c, less the NUL).
// A line that has no end by then is refused, and what is behind it is the next
// line, as was measured.
const maxMapLine = 1023

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
	Comment  byte   // begins a comment: makemap -D; 0 is '#'
	Blank    byte   // parts key and value: makemap -t; 0 is any blank
	Empty    bool   // a value may be empty: makemap -e
	KeepCase bool   // keys are not folded: makemap -f
	Last     bool   // of two entries with one key the last counts: makemap -r
}

// ReadTable reads the text of a map. A line that makemap refuses is a Problem:
// "sendmail.map-no-key" (it begins with a blank), "sendmail.map-no-value",
// "sendmail.map-nul",
// "sendmail.map-long-line" (of which the tail is a line of its own, here too, and
// may be an entry), "sendmail.map-duplicate". The table is there as far as it
// was read when the error is not nil.
func ReadTable(ctx context.Context, r io.Reader, opts *TableOptions) (*Table, []qmailkit.Problem, error) {
	var o TableOptions
	if opts != nil {
		o = *opts
	}
	setDefault(&o.MaxBytes, 1<<30)
	if o.Comment == 0 {
		o.Comment = '#'
	}
	t := &tableReader{table: &Table{path: o.Path, first: map[string]int{}}, opts: o}
	offset, n := int64(0), 0
	for raw, err := range rawLines(ctx, bounded(r, o.MaxBytes)) {
		if err != nil {
			return t.table, t.problems, fmt.Errorf("%s:%d: offset %d: %w", o.Path, n+1, offset, err)
		}
		n++
		t.line(raw, place{o.Path, n, offset})
		offset += int64(len(raw))
	}
	return t.table, t.problems, nil
}

// A tableReader gathers the entries of a table.
type tableReader struct {
	opts     TableOptions
	table    *Table
	problems []qmailkit.Problem
}

func (r *tableReader) problem(at place, sev qmailkit.Severity, code, format string, args ...any) {
	r.problems = addProblem(r.problems, at.problem(sev, code, format, args...))
}

// line takes a line, in the pieces in which makemap reads it.
func (r *tableReader) line(raw string, at place) {
	if len(raw) > maxMapLine || len(raw) == maxMapLine && raw[maxMapLine-1] != '\n' {
		r.problem(at, qmailkit.Error, "map-long-line", "%w: %d bytes, of which makemap takes %d; what is behind them is a new line",
			ErrLongLine, len(strings.TrimSuffix(raw, "\n")), maxMapLine-1)
	}
	for raw != "" {
		piece := raw[:min(len(raw), maxMapLine)]
		l := tableLine{raw: piece, offset: at.offset}
		switch text, ended := strings.CutSuffix(piece, "\n"); {
		case ended && strings.IndexByte(text, 0) >= 0:
			r.problem(at, qmailkit.Error, "map-nul", "the line holds a NUL, behind which makemap does not find its end")
		case ended || len(piece) < maxMapLine:
			l.entry = r.entry(text, at)
		}
		if l.entry != nil {
			r.count(l.entry, at)
		}
		r.table.lines = append(r.table.lines, l)
		raw = raw[len(piece):]
		at.offset += int64(len(piece))
	}
}

// count makes an entry the one that is found by its key, if it is.
func (r *tableReader) count(e *TableEntry, at place) {
	t, key := r.table, e.Key
	if !r.opts.KeepCase {
		key = lower(key)
	}
	first, dup := t.first[key]
	if dup {
		r.problem(at, qmailkit.Warning, "map-duplicate", "key %.80q has stood in line %d already", e.Key, t.lines[first].entry.Line)
	}
	if !dup || r.opts.Last {
		t.first[key] = len(t.lines)
	}
}

// entry is the loop of makemap.c.
func (r *tableReader) entry(text string, at place) *TableEntry {
	text, _, _ = strings.Cut(text, "\x00")
	parts := isBlank
	if r.opts.Blank != 0 {
		parts = func(c byte) bool { return c == r.opts.Blank }
	}
	switch {
	case text == "" || text[0] == r.opts.Comment:
		return nil
	case r.opts.Blank == 0 && isBlank(text[0]):
		r.problem(at, qmailkit.Error, "map-no-key", "the line begins with a blank, and has no key")
		return nil
	}
	i := 0
	for i < len(text) && !parts(text[i]) {
		i++
	}
	key, value := text[:i], text[i:]
	for value != "" && parts(value[0]) {
		value = value[1:]
	}
	if value == "" && !r.opts.Empty {
		r.problem(at, qmailkit.Error, "map-no-value", "key %.80q has no value", key)
		return nil
	}
	return &TableEntry{Key: key, Value: trimBlanks(value), Path: at.path, Line: at.line, Offset: at.offset}
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
