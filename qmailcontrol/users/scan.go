package users

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/qmailkit/qmailkit"
)

// MaxLine is the longest line of users/assign, in bytes. qmail-newu has no
// limit.
const MaxLine = 4 << 20

var (
	// ErrFormat is what qmail-newu says of a users/assign that it refuses. The
	// error that wraps it is a *ParseError.
	ErrFormat = errors.New("bad format in users/assign")
	// ErrTooBig says that a line is longer than MaxLine or a file for
	// ParseAssign larger than MaxSize.
	ErrTooBig = errors.New("users/assign too large")
)

// ParseError is the place at which users/assign is refused.
type ParseError struct {
	Line   int   // from 1
	Offset int64 // of the line, in bytes
	Err    error // what is wrong; it wraps ErrFormat, or is the reader's error
}

// Error puts the place before the cause.
func (e *ParseError) Error() string {
	return fmt.Sprintf("line %d, offset %d: %v", e.Line, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *ParseError) Unwrap() error { return e.Err }

// A scanner reads users/assign line by line, keeping one line.
type scanner struct {
	r      *bufio.Reader
	fields fields
	text   []byte // the line, without its newline
	line   int
	offset int64 // of the line
	next   int64
	long   []byte
}

func newScanner(r io.Reader) *scanner {
	return &scanner{r: bufio.NewReaderSize(r, 256<<10)}
}

// scan reads the next line. At the line that begins with a dot, which ends the
// file, it returns io.EOF; every other error is a *ParseError.
func (s *scanner) scan() error {
	s.line++
	s.offset = s.next
	b, err := s.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		b, err = s.longLine(b)
	}
	s.next += int64(len(b))
	if len(b) > 0 && b[0] == '.' && (err == nil || err == io.EOF) {
		s.text = b
		return io.EOF
	}
	switch {
	case err == io.EOF && len(b) == 0:
		err = fmt.Errorf("%w: file ends without a line that begins with a dot", ErrFormat)
	case err == io.EOF:
		err = fmt.Errorf("%w: line without a newline", ErrFormat)
	case err == nil:
		s.text = b[:len(b)-1]
		if e := s.fields.split(s.text); e != nil {
			err = fmt.Errorf("%w: %w", ErrFormat, e)
		}
	}
	if err != nil {
		return &ParseError{s.line, s.offset, err}
	}
	return nil
}

// longLine goes on with a line that is longer than the buffer. A dot line
// needs no end: qmail-newu reads it whole, but nothing of it matters.
func (s *scanner) longLine(b []byte) ([]byte, error) {
	if b[0] == '.' {
		return b, nil
	}
	s.long = append(s.long[:0], b...)
	for {
		b, err := s.r.ReadSlice('\n')
		s.long = append(s.long, b...)
		if len(s.long) > MaxLine {
			return s.long, fmt.Errorf("%w: a line of more than %d bytes", ErrTooBig, MaxLine)
		}
		if err != bufio.ErrBufferFull {
			return s.long, err
		}
	}
}

// Scan yields the lines of users/assign as it reads them, up to the line that
// begins with a dot. The first line that qmail-newu would refuse ends the
// sequence with a *ParseError that wraps qmailkit.ErrIncomplete.
func Scan(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		s := newScanner(r)
		for {
			err := s.scan()
			if err == io.EOF {
				return
			}
			var e Entry
			if err == nil {
				e, err = entry(string(s.text))
			}
			if err != nil {
				yield(Entry{}, qmailkit.Incomplete(err))
				return
			}
			e.Line, e.Offset = s.line, s.offset
			if !yield(e, nil) {
				return
			}
		}
	}
}
