package qmailcontrol

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// MaxSize is the largest control file, in bytes, that is read into memory:
// more than a million domains. A larger file is an error that wraps ErrTooBig.
const MaxSize = 64 << 20

var (
	// ErrTooBig says that a control file is larger than MaxSize.
	ErrTooBig = errors.New("control file too large")
	// ErrValue says that qmail would not read a value back as it is: it is
	// empty, starts with '#', ends in a blank, or holds a newline or a NUL.
	ErrValue = errors.New("value cannot stand in a control file")
	// ErrRange says that there is no line of that number.
	ErrRange = errors.New("no such line")
)

// ParseError is the place of an error in a control file.
type ParseError struct {
	File   string // name of the file; empty where it was read from a stream
	Line   int    // from 1
	Offset int64  // in bytes
	Err    error
}

// Error puts the place before the cause.
func (e *ParseError) Error() string {
	name := e.File
	if name == "" {
		name = "control file"
	}
	return fmt.Sprintf("%s: line %d, offset %d: %v", name, e.Line, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *ParseError) Unwrap() error { return e.Err }

// Lines is a control file as it stands: every line, comments and blank ones
// too, with or without a newline at the end. An edit touches its own line and
// nothing else, and unedited Lines are written as they were read. The zero
// value is an empty file.
//
// Lines are numbered from 1. What qmail makes of them is told by Values,
// First, Int, Set and Map.
type Lines struct {
	text []string // without newlines
	open bool     // the last line has no newline
}

// ParseLines reads a whole control file. Any bytes are a control file, so the
// error is that of r, or one that wraps ErrTooBig.
func ParseLines(r io.Reader) (*Lines, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, placed(b, err)
	}
	return Parse(b)
}

// Parse is ParseLines of bytes at hand, which it copies.
func Parse(b []byte) (*Lines, error) {
	if len(b) > MaxSize {
		b = b[:MaxSize]
		return nil, placed(b, fmt.Errorf("%w: more than %d bytes", ErrTooBig, MaxSize))
	}
	return parseText(string(b)), nil
}

// parseText is Parse of what is known to be small enough.
func parseText(rest string) *Lines {
	l := &Lines{text: make([]string, 0, strings.Count(rest, "\n")+1)}
	for rest != "" {
		line, after, ended := strings.Cut(rest, "\n")
		l.text = append(l.text, line)
		l.open = !ended
		rest = after
	}
	return l
}

var newline = []byte{'\n'}

// placed is err at the end of what was read.
func placed(read []byte, err error) error {
	return &ParseError{Line: bytes.Count(read, newline) + 1, Offset: int64(len(read)), Err: err}
}

// Len returns the number of lines.
func (l *Lines) Len() int { return len(l.text) }

// Text returns a line as it stands, without its newline. It panics, as an
// index does, if there is no such line.
func (l *Lines) Text(line int) string { return l.text[line-1] }

// Bytes returns the whole file.
func (l *Lines) Bytes() []byte {
	size := len(l.text)
	for _, t := range l.text {
		size += len(t)
	}
	b := make([]byte, 0, size)
	for i, t := range l.text {
		b = append(b, t...)
		if i < len(l.text)-1 || !l.open {
			b = append(b, '\n')
		}
	}
	return b
}

// WriteTo writes the whole file.
func (l *Lines) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(l.Bytes())
	return int64(n), err
}

// Add puts a value on a line of its own behind the last one. If that had no
// newline, it is the new line that has none now. An error wraps ErrValue.
func (l *Lines) Add(value string) error { return l.Insert(len(l.text)+1, value) }

// AddPair is Add of a line "key:value". It refuses a colon in the key as well,
// with an error that wraps ErrValue.
func (l *Lines) AddPair(key, value string) error {
	if strings.Contains(key, ":") {
		return fmt.Errorf("%w: colon in the key %q", ErrValue, key)
	}
	return l.Add(key + ":" + value)
}

// Insert puts a value on a line of its own, which then has that number. An
// error wraps ErrValue or ErrRange.
func (l *Lines) Insert(line int, value string) error {
	if err := checkValue(value); err != nil {
		return err
	}
	return l.InsertText(line, value)
}

// InsertText puts any line, a comment for instance, before the line that has
// that number now. An error wraps ErrValue, if text has a newline in it, or
// ErrRange.
func (l *Lines) InsertText(line int, text string) error {
	if line < 1 || line > len(l.text)+1 {
		return fmt.Errorf("%w: %d of %d", ErrRange, line, len(l.text))
	}
	if strings.Contains(text, "\n") {
		return fmt.Errorf("%w: newline in %q", ErrValue, text)
	}
	l.text = slices.Insert(l.text, line-1, text)
	if text == "" && line == len(l.text) {
		// An empty line is made by its newline.
		l.open = false
	}
	return nil
}

// Remove takes away every value that equals value, as qmail compares them:
// without regard to the case of ASCII letters. It returns how many there were.
// Of a line that NULs split into several values the others stay, as far as
// they can stand there without it.
func (l *Lines) Remove(value string) int {
	removed := 0
	l.edit(func(text string) (string, bool) {
		before := text
		for hasValue(text, value) {
			var kept []string
			for v := range valuesOf(text) {
				if equalFold(v, value) {
					removed++
				} else if len(kept) > 0 || checkValue(v) == nil {
					kept = append(kept, v)
				}
			}
			text = strings.Join(kept, "\x00")
		}
		return text, text != "" || before == ""
	})
	return removed
}

// RemoveFunc takes away every line for which drop is true and returns how many
// those were. The text that drop sees is the line as it stands, without its
// newline.
func (l *Lines) RemoveFunc(drop func(line int, text string) bool) int {
	before, line := len(l.text), 0
	l.edit(func(text string) (string, bool) {
		line++
		return text, !drop(line, text)
	})
	return before - len(l.text)
}

// edit replaces or drops lines. Where the last line goes, the one before it
// keeps its newline.
func (l *Lines) edit(change func(text string) (string, bool)) {
	kept := l.text[:0]
	last := false
	for _, t := range l.text {
		t, last = change(t)
		if last {
			kept = append(kept, t)
		}
	}
	clear(l.text[len(kept):])
	l.text = kept
	l.open = l.open && last
}

// SortFunc orders the lines as they stand, comments too. Lines that compare
// equal stay in order.
func (l *Lines) SortFunc(cmp func(a, b string) int) {
	slices.SortStableFunc(l.text, cmp)
	if n := len(l.text); n > 0 && l.text[n-1] == "" {
		l.open = false
	}
}

// checkValue refuses what would not be read back as this one value.
func checkValue(v string) error {
	what := ""
	switch {
	case v == "":
		what = "nothing"
	case strings.Contains(v, "\n"):
		what = "newline"
	case strings.Contains(v, "\x00"):
		what = "NUL"
	case v[0] == '#':
		what = "the comment sign"
	case strings.TrimRight(v, blanks) != v:
		what = "final blank"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s in %q", ErrValue, what, v)
}
