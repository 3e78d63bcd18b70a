package sendmail

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// A List is a file of addresses: a .forward, or what an :include: names. What
// was read is written again byte for byte.
type List struct {
	lines []listLine
}

type listLine struct {
	raw     string
	at      place
	targets []Target
}

// maxListLine is the longest line that include() reads at once (MAXLINE in
// conf.h); what is behind it is a line of its own to Sendmail.
const maxListLine = 2047

// ListOptions bounds what is read of a list. Nil and the zero value take the
// defaults.
type ListOptions struct {
	Path     string // of the file, for problems
	MaxBytes int64  // 0 is 64 MiB
}

// ReadList reads a .forward or an :include: file (recipient.c:include): every
// line is a list of addresses, "#" in the first column makes it a comment, and
// so does "#@#" behind a blank for what follows. A line that is too long for
// Sendmail is cut as Sendmail cuts it, perhaps in the middle of an address, and
// is a Problem, "sendmail.list-long-line". An address whose quotes or brackets
// do not end is "sendmail.list-malformed", and none of the Targets. What was
// read is there when the error is not nil.
func ReadList(ctx context.Context, r io.Reader, opts *ListOptions) (*List, []qmailkit.Problem, error) {
	var o ListOptions
	if opts != nil {
		o = *opts
	}
	setDefault(&o.MaxBytes, 64<<20)
	f := &List{}
	var problems []qmailkit.Problem
	at := place{path: o.Path, line: 1}
	for raw, err := range rawLines(ctx, bounded(r, o.MaxBytes)) {
		if err != nil {
			return f, problems, fmt.Errorf("%s:%d: offset %d: %w", o.Path, at.line, at.offset, err)
		}
		if len(raw) > maxListLine {
			problems = addProblem(problems, at.problem(qmailkit.Error, "list-long-line",
				"%w: %d bytes; Sendmail begins a new line behind every %d", ErrLongLine, len(raw), maxListLine))
		}
		for n := 0; raw != ""; raw = raw[n:] {
			n = min(len(raw), maxListLine)
			l := listLine{raw: raw[:n], at: at}
			for _, p := range l.parse() {
				problems = addProblem(problems, p)
			}
			f.lines = append(f.lines, l)
			at.offset += int64(n)
		}
		at.line++
	}
	return f, problems, nil
}

// parse finds the addresses of a line.
func (l *listLine) parse() (problems []qmailkit.Problem) {
	for _, t := range ParseTargets(listText(l.raw)) {
		if t.Type == TargetMalformed {
			problems = append(problems, l.at.problem(qmailkit.Error, "list-malformed", "%.80q is no address", t.Raw))
			continue
		}
		t.Path, t.Line = l.at.path, l.at.line
		l.targets = append(l.targets, t)
	}
	return problems
}

// listText is a line without its end and without comments.
func listText(raw string) string {
	text := strings.TrimSuffix(strings.TrimSuffix(raw, "\n"), "\r")
	text, _, _ = strings.Cut(text, "\x00")
	if strings.HasPrefix(text, "#") {
		return ""
	}
	for i := 1; i+2 < len(text); i++ {
		if text[i:i+3] == "#@#" && isBlank(text[i-1]) && (i+3 == len(text) || isBlank(text[i+3])) {
			return trimBlanks(text[:i])
		}
	}
	return text
}

// WriteTo writes the file as it was read.
func (f *List) WriteTo(w io.Writer) (n int64, err error) {
	for _, l := range f.lines {
		k, err := io.WriteString(w, l.raw)
		if n += int64(k); err != nil {
			return n, err
		}
	}
	return n, nil
}

// Targets yields the addresses in the order of the file.
func (f *List) Targets() iter.Seq[Target] {
	return func(yield func(Target) bool) {
		for _, l := range f.lines {
			for _, t := range l.targets {
				if !yield(t) {
					return
				}
			}
		}
	}
}
