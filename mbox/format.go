package mbox

import (
	"errors"
	"fmt"
	"strings"

	"time"

	"github.com/qmailkit/qmailkit"
)

// Format names a variant of the mbox format by the way it hides "From " lines
// inside messages.
type Format uint8

const (
	// Auto undoes quoting as RD does, and nothing in a message whose end was
	// found by its Content-Length. It cannot be written.
	Auto Format = iota
	// O is mboxo: "From " is written ">From ". A message that holds ">From "
	// itself does not come back as it was.
	O
	// RD is mboxrd (qmail's mbox(5)): one ">" is put before each line that
	// begins with any number of ">" and "From ". It is reversible.
	RD
	// CL is mboxcl: O, and a Content-Length of the quoted body.
	CL
	// CL2 is mboxcl2: nothing is quoted and Content-Length alone says where a
	// message ends. Reading with it gives the stored bytes.
	CL2
)

var formatNames = [...]string{"auto", "o", "rd", "cl", "cl2"}

// String returns "auto", "o", "rd", "cl" or "cl2".
func (f Format) String() string {
	if int(f) < len(formatNames) {
		return formatNames[f]
	}
	return fmt.Sprintf("format(%d)", uint8(f))
}

// ParseFormat is the inverse of String. It also takes the long names, such as
// "mboxrd".
func ParseFormat(s string) (Format, error) {
	short := strings.TrimPrefix(s, "mbox")
	for i, name := range formatNames {
		if short == name && (i > 0 || s == name) {
			return Format(i), nil
		}
	}
	return Auto, fmt.Errorf("mbox: unknown format %q", s)
}

// DefaultLookAhead is the LookAhead of zero Options, in bytes.
const DefaultLookAhead = 16 << 20

// Options say how a mailbox is read. A nil pointer means the zero value.
type Options struct {
	// Format says how the Reader undoes quoting. Index does not use it; Body
	// is told.
	Format Format
	// SkipPrologue starts at the first separator when something else stands
	// before it. How much was skipped is a Problem.
	SkipPrologue bool
	// Strict takes every line that begins "From " for a separator, as qmail's
	// mbox(5) has it. It is right for files whose writer is known to quote.
	Strict bool
	// LookAhead bounds, in bytes, how far a Content-Length is followed and how
	// far the end of an open multipart is searched. 0 means DefaultLookAhead.
	// Below 0 neither is done. A Reader may keep a little more than twice as
	// much in memory, if the file makes it.
	LookAhead int64
	// BoundariesOnly leaves out of the Header all but Index, FromOffset,
	// Offset, Length and ByLength, and is faster.
	BoundariesOnly bool
	// Prefix says to Index that the file may be longer than its size argument:
	// a spool that lives is indexed up to the length taken under its lock.
	// Else a longer file is an error, because mail was missed.
	Prefix bool
	// Location is that of From_ dates without a zone; nil means UTC, as RFC
	// 4155 asks.
	Location *time.Location
}

func (o *Options) orDefault() Options {
	var v Options
	if o != nil {
		v = *o
	}
	switch {
	case v.LookAhead == 0:
		v.LookAhead = DefaultLookAhead
	case v.LookAhead < 0:
		v.LookAhead = 0
	default:
		v.LookAhead = min(v.LookAhead, 1<<50)
	}
	if v.Location == nil {
		v.Location = time.UTC
	}
	return v
}

var (
	// ErrNotMbox says that the file does not begin with a From_ line.
	ErrNotMbox = errors.New("not an mbox")
	// ErrChanged says that a file became shorter or longer while it was read.
	ErrChanged = errors.New("file changed while it was read")
	// ErrFromLine says that a line is no From_ line or cannot be one.
	ErrFromLine = errors.New("not a From_ line")
)

// ParseError is an error with its place in the mailbox.
type ParseError struct {
	Path   string // as the caller set it; the package knows no names
	Line   int64  // from 1; 0 means not known
	Offset int64  // in bytes from the start of the file
	Err    error
}

// Error puts the place before the words.
func (e *ParseError) Error() string {
	where := e.Path
	if where == "" {
		where = "mbox"
	}
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d: offset %d: %v", where, e.Line, e.Offset, e.Err)
	}
	return fmt.Sprintf("%s: offset %d: %v", where, e.Offset, e.Err)
}

// Unwrap returns Err.
func (e *ParseError) Unwrap() error { return e.Err }

// maxProblems bounds what one reader remembers of an odd file.
const maxProblems = 1000

// problems gathers what a reader has to say about a file.
type problems struct {
	list []qmailkit.Problem
	more int
	once map[string]bool
}

func (p *problems) add(code string, sev qmailkit.Severity, line, offset int64, format string, args ...any) {
	if len(p.list) >= maxProblems {
		p.more++
		return
	}
	p.list = append(p.list, qmailkit.Problem{
		Code: code, Severity: sev, Line: int(line), Offset: offset, Err: fmt.Errorf(format, args...),
	})
}

// addOnce is add for what would be said of every message in turn.
func (p *problems) addOnce(code string, sev qmailkit.Severity, line, offset int64, format string, args ...any) {
	if p.once[code] {
		return
	}
	if p.once == nil {
		p.once = make(map[string]bool)
	}
	p.once[code] = true
	p.add(code, sev, line, offset, format, args...)
}

func (p *problems) all() []qmailkit.Problem {
	list := p.list[:len(p.list):len(p.list)]
	if p.more > 0 {
		list = append(list, qmailkit.Problem{
			Code: "mbox.more-problems", Severity: qmailkit.Warning,
			Err: fmt.Errorf("%d more problems are not listed", p.more),
		})
	}
	return list
}
