package sendmail

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// ErrLongLine says that a line of a settings file is longer than
// Options.MaxLine. It was skipped, and the next line goes on.
var ErrLongLine = errors.New("line too long")

// An ItemError is the error of one item of a sequence: an account, a domain or
// a mailbox that cannot be carried, or a line that gives none. The sequence
// goes on behind it, unless it also matches qmailkit.ErrIncomplete.
type ItemError struct{ qmailkit.Problem }

// Error is the Problem with its place in front.
func (e *ItemError) Error() string { return e.Problem.String() }

// Unwrap gives the cause, for errors.Is and errors.As.
func (e *ItemError) Unwrap() error { return e.Problem.Err }

// AsProblem returns the Problem inside an error that a sequence of this package
// yielded. For any other error, such as a failed read, ok is false.
func AsProblem(err error) (p qmailkit.Problem, ok bool) {
	var item *ItemError
	if errors.As(err, &item) {
		return item.Problem, true
	}
	return qmailkit.Problem{}, false
}

// place is where a Problem stands.
type place struct {
	path   string
	line   int
	offset int64
}

// codePrefix begins every code of this package.
const codePrefix = "sendmail."

// problem makes a Problem at p. The words may wrap a cause with %w.
func (p place) problem(sev qmailkit.Severity, code, format string, args ...any) qmailkit.Problem {
	return qmailkit.Problem{
		Code: codePrefix + code, Severity: sev, Path: p.path, Line: p.line, Offset: p.offset,
		Err: fmt.Errorf(format, args...),
	}
}

// item is a Problem of severity Error as the error of an item.
func (p place) item(code, format string, args ...any) error {
	return &ItemError{p.problem(qmailkit.Error, code, format, args...)}
}

// A line is one line of a settings file.
type line struct {
	place
	raw string // with its newline, if it has one
}

// text is the line without its newline. A carriage return stays: to the
// programs that read these files it is a byte like any other.
func (l line) text() string { return strings.TrimSuffix(l.raw, "\n") }

// ctxEvery is the number of lines between two looks at the context.
const ctxEvery = 1024

// readLines yields the lines of r, which is the file path. A line of more than
// max bytes is an item's error and is skipped without being held in memory. An
// error of r ends the sequence.
func readLines(ctx context.Context, r io.Reader, path string, max int) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		br := bufio.NewReaderSize(r, 32<<10)
		at := place{path: path, line: 1}
		var buf []byte
		for {
			if at.line%ctxEvery == 1 {
				if err := context.Cause(ctx); err != nil {
					yield(line{place: at}, qmailkit.Incomplete(err))
					return
				}
			}
			buf = buf[:0]
			var length int64
			var err error
			for {
				var part []byte
				part, err = br.ReadSlice('\n')
				length += int64(len(part))
				if length <= int64(max)+1 { // one more for the newline
					buf = append(buf, part...)
				}
				if err != bufio.ErrBufferFull {
					break
				}
				if e := context.Cause(ctx); e != nil {
					err = e
					break
				}
			}
			if length > 0 && (err == nil || err == io.EOF) && !yieldLine(yield, at, buf, length, max) {
				return
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(line{place: at}, qmailkit.Incomplete(fmt.Errorf("%s:%d: offset %d: %w", path, at.line, at.offset+length, err)))
				return
			}
			at.line++
			at.offset += length
		}
	}
}

// yieldLine hands out one line of length bytes, of which buf holds all unless
// there are too many.
func yieldLine(yield func(line, error) bool, at place, buf []byte, length int64, max int) bool {
	if n := length - int64(max); n > 1 || n == 1 && buf[len(buf)-1] != '\n' {
		return yield(line{place: at}, at.item("long-line", "%w: %d bytes, of which %d are allowed", ErrLongLine, length, max))
	}
	return yield(line{at, string(buf)}, nil)
}

// ErrTooBig says that a settings file is longer than it may be.
var ErrTooBig = errors.New("file too large")

// maxUserFile bounds the settings of a user, in bytes: a file with holes costs
// its owner nothing, and reading it would take for ever.
const maxUserFile = 4 << 20

// bounded reads at most max bytes of r; more are an error.
func bounded(r io.Reader, max int64) io.Reader { return &boundedReader{r, max, max} }

type boundedReader struct {
	r         io.Reader
	left, max int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		b.left = 0
		return n - 1, fmt.Errorf("%w: more than %d bytes", ErrTooBig, b.max)
	}
	return n, err
}

// maxFileProblems bounds the Problems of one file: one that has more of them is
// not what it was taken for.
const maxFileProblems = 10_000

// addProblem appends a Problem of a file, or, once, that there are more.
func addProblem(list []qmailkit.Problem, p qmailkit.Problem) []qmailkit.Problem {
	switch n := len(list); {
	case n < maxFileProblems:
		return append(list, p)
	case n == maxFileProblems:
		at := place{p.Path, p.Line, p.Offset}
		return append(list, at.problem(qmailkit.Error, "more-problems", "more than %d problems in this file; those from here on are not told", maxFileProblems))
	}
	return list
}
