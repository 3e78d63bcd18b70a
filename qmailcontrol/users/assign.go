package users

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// MaxSize is the largest users/assign, in bytes, that ParseAssign takes. NewU
// and WriteCDB, which keep no line, have no such limit.
const MaxSize = 256 << 20

// ErrRange says that there is no entry of that number.
var ErrRange = errors.New("no such line in users/assign")

// Assign is users/assign in memory, for editing. What was read is written
// again byte for byte, with the line that begins with a dot and everything
// behind it; an edit touches its own line only. The zero value is a file
// without entries.
//
// Entries are numbered from 0, and entry i stands on line i+1: users/assign
// has no comments and no blank lines.
type Assign struct {
	line []string // without newlines
	tail string   // from the line with the dot on
}

// ParseAssign reads users/assign. It refuses what qmail-newu refuses, with a
// *ParseError that wraps ErrFormat.
func ParseAssign(r io.Reader) (*Assign, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err == nil && len(b) > MaxSize {
		b = b[:MaxSize]
		err = fmt.Errorf("%w: more than %d bytes", ErrTooBig, MaxSize)
	}
	if err != nil {
		return nil, &ParseError{bytes.Count(b, []byte{'\n'}) + 1, int64(len(b)), err}
	}
	s := newScanner(bytes.NewReader(b))
	for {
		if err = s.scan(); err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	text := string(b)
	a := &Assign{line: make([]string, 0, s.line-1), tail: text[s.offset:]}
	for text = text[:s.offset]; text != ""; {
		line, rest, _ := strings.Cut(text, "\n")
		a.line = append(a.line, line)
		text = rest
	}
	return a, nil
}

// Len returns the number of entries.
func (a *Assign) Len() int { return len(a.line) }

// Text returns the line of entry i as it stands, without its newline. It
// panics, as an index does, if there is no such entry.
func (a *Assign) Text(i int) string { return a.line[i] }

// Entries yields the entries in their order.
func (a *Assign) Entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		offset := int64(0)
		for i, line := range a.line {
			e := mustEntry(line)
			e.Line, e.Offset = i+1, offset
			if !yield(e) {
				return
			}
			offset += int64(len(line)) + 1
		}
	}
}

// mustEntry takes a line apart that was checked when it came in.
func mustEntry(line string) Entry {
	e, err := entry(line)
	if err != nil {
		panic("users: unchecked line: " + err.Error())
	}
	return e
}

// Add puts an entry behind the last one. An error wraps ErrField.
func (a *Assign) Add(e Entry) error { return a.Insert(len(a.line), e) }

// Insert puts an entry before the one that has number i now. An error wraps
// ErrField or ErrRange.
func (a *Assign) Insert(i int, e Entry) error {
	if err := e.check(); err != nil {
		return err
	}
	if i < 0 || i > len(a.line) {
		return fmt.Errorf("%w: %d of %d", ErrRange, i, len(a.line))
	}
	a.line = slices.Insert(a.line, i, e.Text())
	return nil
}

// Remove takes away every entry whose line is exactly that of e and returns
// how many those were.
func (a *Assign) Remove(e Entry) int {
	text := e.Text()
	return a.removeText(func(line string) bool { return line == text })
}

// RemoveFunc takes away every entry for which drop is true and returns how many
// those were. The entries that drop sees have their line numbers.
func (a *Assign) RemoveFunc(drop func(Entry) bool) int {
	n, offset := 0, int64(0)
	return a.removeText(func(line string) bool {
		e := mustEntry(line)
		n++
		e.Line, e.Offset = n, offset
		offset += int64(len(line)) + 1
		return drop(e)
	})
}

func (a *Assign) removeText(drop func(string) bool) int {
	before := len(a.line)
	a.line = slices.DeleteFunc(a.line, drop)
	return before - len(a.line)
}

// SortFunc orders the entries by their lines as they stand. Entries that
// compare equal stay in order. It may change who gets what: of two entries for
// the same local part the first counts.
func (a *Assign) SortFunc(cmp func(x, y string) int) { slices.SortStableFunc(a.line, cmp) }

// Bytes returns the whole file.
func (a *Assign) Bytes() []byte {
	tail := a.tail
	if tail == "" {
		tail = ".\n"
	}
	size := len(tail)
	for _, line := range a.line {
		size += len(line) + 1
	}
	b := make([]byte, 0, size)
	for _, line := range a.line {
		b = append(b, line...)
		b = append(b, '\n')
	}
	return append(b, tail...)
}

// WriteTo writes the whole file.
func (a *Assign) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(a.Bytes())
	return int64(n), err
}

// WriteCDB writes the users/cdb that qmail-newu makes of a.
func (a *Assign) WriteCDB(w io.WriterAt) error {
	c := newCompiler(w)
	var f fields
	var buf []byte
	for _, line := range a.line {
		buf = append(buf[:0], line...)
		if err := f.split(buf); err != nil {
			return err
		}
		if err := c.add(&f); err != nil {
			return err
		}
	}
	return c.finish()
}
