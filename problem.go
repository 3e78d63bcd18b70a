package qmailkit

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrIncomplete is wrapped by the error that ends an iterator before its end.
// A caller whose policy is to go on after an item's error must still fail when
// errors.Is(err, ErrIncomplete), because items behind it were never seen.
var ErrIncomplete = errors.New("sequence ended before its end")

// Incomplete marks err as the end of a sequence that had more to give.
func Incomplete(err error) error {
	if err == nil || errors.Is(err, ErrIncomplete) {
		return err
	}
	return &incompleteError{err}
}

type incompleteError struct{ err error }

func (e *incompleteError) Error() string        { return e.err.Error() }
func (e *incompleteError) Unwrap() error        { return e.err }
func (e *incompleteError) Is(target error) bool { return target == ErrIncomplete }

// Severity says what a Problem means for the data it speaks of.
type Severity uint8

const (
	// Info is worth knowing; nothing is lost and nothing needs doing.
	Info Severity = iota
	// Warning is an oddity that was carried or will work, but perhaps not as
	// its owner expects.
	Warning
	// Error is something that was not carried or does not work.
	Error
)

// String returns "info", "warning" or "error".
func (s Severity) String() string {
	switch s {
	case Info:
		return "info"
	case Warning:
		return "warning"
	case Error:
		return "error"
	}
	return fmt.Sprintf("severity(%d)", uint8(s))
}

// MarshalText gives the same words as String.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Problem is an oddity found in data: the one value that every checker and
// every reader of old files yields. It is not an error of the call that found
// it. The zero values of Path, Line and Offset mean "not known"; an Offset of
// 0 is the start of the file when Path is set.
type Problem struct {
	Code     string   // stable name, such as "queue.inode-mismatch"
	Severity Severity //
	Path     string   // file, relative to the root it was read through; bytes, not necessarily UTF-8
	Line     int      // line number, from 1
	Offset   int64    // byte offset in the file
	Err      error    // what is wrong, in words, without the place
	Fix      string   // what a repair would do, or what the administrator can do; may be empty
}

// String puts the place before the words: "path:line: words (code)".
func (p Problem) String() string {
	var b strings.Builder
	if p.Path != "" {
		b.WriteString(printable(p.Path))
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		} else if p.Offset > 0 {
			fmt.Fprintf(&b, ": offset %d", p.Offset)
		}
		b.WriteString(": ")
	}
	if p.Err != nil {
		b.WriteString(printable(p.Err.Error()))
	}
	fmt.Fprintf(&b, " (%s)", p.Code)
	if p.Fix != "" {
		b.WriteString("; " + printable(p.Fix))
	}
	return b.String()
}

// printable keeps control characters of foreign names off the reader's
// terminal, the 8-bit ones of ISO 6429 included. Other bytes stay as they are.
func printable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if unicode.IsControl(r) || r == utf8.RuneError && n == 1 && s[i] < 0xa0 {
			for _, c := range []byte(s[i : i+n]) {
				fmt.Fprintf(&b, "\\x%02x", c)
			}
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// Secret is a clear password or a crypt hash. It prints and marshals as
// "[redacted]", so that it cannot reach a log or a report by accident;
// string(s) is the value itself. Two ways stay open, because nobody asks the
// type there: fmt's %p, and the key of a map in JSON.
type Secret string

const redacted = "[redacted]"

// String hides the value; an empty Secret is shown as empty.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString hides the value from %#v.
func (s Secret) GoString() string { return fmt.Sprintf("qmailkit.Secret(%q)", s.String()) }

// Format hides the value from every verb, %x and %q included.
func (s Secret) Format(f fmt.State, verb rune) {
	switch {
	case verb == 'v' && f.Flag('#'):
		fmt.Fprint(f, s.GoString())
	case verb == 'q':
		fmt.Fprintf(f, "%q", s.String())
	default:
		fmt.Fprint(f, s.String())
	}
}

// MarshalText hides the value from JSON and its kin.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
