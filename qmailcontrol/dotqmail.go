package qmailcontrol

import (
	"fmt"
	"io"
	"iter"
	"strings"
)

// DotKind is what a line of a .qmail file is to qmail-local (dot-qmail(5)).
type DotKind uint8

const (
	DotBlank   DotKind = iota // nothing; as the first line it defers all mail
	DotComment                // begins with '#'
	DotMbox                   // begins with '.' or '/': a file to append to
	DotMaildir                // the same with '/' at its end
	DotProgram                // begins with '|': a command for /bin/sh
	DotForward                // begins with '&', or with anything that is not listed here
	DotList                   // "+list": from here on only forwarding is allowed
	DotIgnored                // any other line that begins with '+'
)

// String returns "blank", "comment", "mbox", "maildir", "program", "forward",
// "list" or "ignored".
func (k DotKind) String() string {
	return [...]string{"blank", "comment", "mbox", "maildir", "program", "forward", "list", "ignored", "unknown"}[min(k, DotIgnored+1)]
}

// Delivers says whether lines of this kind deliver mail.
func (k DotKind) Delivers() bool { return k >= DotMbox && k <= DotForward }

// A DotLine is a line of a .qmail file as qmail-local reads it.
type DotLine struct {
	Kind DotKind
	// Arg is the file, the command, the address or the comment as
	// qmail-local -n prints it: without the sign in front ('.' and '/' are
	// part of a file's name), and without blanks and tabs at its end. A CR at
	// the end is part of it.
	Arg string
	// Line, from 1, and Offset, in bytes, tell where the line stands.
	Line   int
	Offset int64
}

// Target is Arg as it is delivered to: a NUL ends it.
func (d DotLine) Target() string {
	target, _, _ := strings.Cut(d.Arg, "\x00")
	return target
}

// Text is the line that says d, without its newline. A forward gets its '&'.
func (d DotLine) Text() string {
	switch d.Kind {
	case DotComment:
		return "#" + d.Arg
	case DotProgram:
		return "|" + d.Arg
	case DotForward:
		return "&" + d.Arg
	case DotList, DotIgnored:
		return "+" + d.Arg
	}
	return d.Arg
}

// dotLine is the loop of qmail-local.c:main for one line.
func dotLine(text string) DotLine {
	text = strings.TrimRight(text, " \t")
	if text == "" || text[0] == 0 {
		return DotLine{Kind: DotBlank, Arg: text}
	}
	rest := text[1:]
	switch text[0] {
	case '#':
		return DotLine{Kind: DotComment, Arg: rest}
	case '.', '/':
		if text[len(text)-1] == '/' {
			return DotLine{Kind: DotMaildir, Arg: text}
		}
		return DotLine{Kind: DotMbox, Arg: text}
	case '|':
		return DotLine{Kind: DotProgram, Arg: rest}
	case '+':
		d := DotLine{Kind: DotIgnored, Arg: rest}
		if d.Target() == "list" {
			d.Kind = DotList
		}
		return d
	case '&':
		return DotLine{Kind: DotForward, Arg: rest}
	}
	return DotLine{Kind: DotForward, Arg: text}
}

// DotQmail is a .qmail file. What was read is written again byte for byte, and
// an edit touches its own line only. The zero value is an empty file, which
// says the same as no file: the default delivery.
//
// Lines are numbered from 1.
type DotQmail struct{ lines Lines }

// ParseDotQmail reads a .qmail file. Any bytes are one, so the error is that
// of r, or one that wraps ErrTooBig.
func ParseDotQmail(r io.Reader) (*DotQmail, error) {
	l, err := ParseLines(r)
	if err != nil {
		return nil, named(".qmail", err)
	}
	return &DotQmail{*l}, nil
}

// Len returns the number of lines.
func (q *DotQmail) Len() int { return q.lines.Len() }

// Text returns a line as it stands, without its newline. It panics, as an
// index does, if there is no such line.
func (q *DotQmail) Text(line int) string { return q.lines.Text(line) }

// Bytes returns the whole file.
func (q *DotQmail) Bytes() []byte { return q.lines.Bytes() }

// WriteTo writes the whole file.
func (q *DotQmail) WriteTo(w io.Writer) (int64, error) { return q.lines.WriteTo(w) }

// Lines yields all lines as qmail-local reads them.
func (q *DotQmail) Lines() iter.Seq[DotLine] {
	return func(yield func(DotLine) bool) {
		offset := int64(0)
		for i, text := range q.lines.text {
			d := dotLine(text)
			d.Line, d.Offset = i+1, offset
			if !yield(d) {
				return
			}
			offset += int64(len(text)) + 1
		}
	}
}

// Add puts a line behind the last one. An error wraps ErrValue.
func (q *DotQmail) Add(kind DotKind, arg string) error { return q.Insert(q.Len()+1, kind, arg) }

// Insert puts a line before the one that has that number now. An error wraps
// ErrRange, or ErrValue where qmail-local would not read the line back as it
// is meant.
func (q *DotQmail) Insert(line int, kind DotKind, arg string) error {
	d := DotLine{Kind: kind, Arg: arg}
	back := dotLine(d.Text())
	if strings.ContainsAny(arg, "\n\x00") || back.Kind != kind || back.Arg != arg || line == 1 && kind == DotBlank {
		return fmt.Errorf("%w: %s %q", ErrValue, kind, arg)
	}
	return q.lines.InsertText(line, d.Text())
}

// RemoveFunc takes away every line for which drop is true and returns how many
// those were.
func (q *DotQmail) RemoveFunc(drop func(DotLine) bool) int {
	offset := int64(0)
	return q.lines.RemoveFunc(func(line int, text string) bool {
		d := dotLine(text)
		d.Line, d.Offset = line, offset
		offset += int64(len(text)) + 1
		return drop(d)
	})
}

// DotName is the name of a .qmail file that qmail-local tries.
type DotName struct {
	Name string // relative to the home
	// Default is $DEFAULT for programs in that file: what the part "default"
	// of the name stands for. Without such a part IsDefault is false, and
	// $DEFAULT is not set.
	Default   string
	IsDefault bool
}

// maxPath is the length from which on no kernel takes a path.
const maxPath = 4096

// DotNames yields the names of the .qmail files for an extension, in the order
// in which qmail-local tries them (qmail-local.c:qmesearch): that of the whole
// extension, then "default" in the place of what is behind each of its dashes,
// the last dash first, and at last in the place of all. In a name the
// extension is in lower case and its dots are colons. Names of 4096 bytes or
// more, which are nobody's, are left out.
func DotNames(dash, ext string) iter.Seq[DotName] {
	dash, ext = cString(dash), cString(ext)
	return func(yield func(DotName) bool) {
		start := ".qmail" + dash
		if len(start) >= maxPath {
			return
		}
		safe := ext[:min(len(ext), maxPath-len(start))]
		safe = strings.ReplaceAll(lower(safe), ".", ":")
		if len(start)+len(ext) < maxPath {
			n := DotName{Name: start + safe}
			if strings.HasSuffix(safe, "default") {
				n.Default, n.IsDefault = ext[len(ext)-len("default"):], true
			}
			if !yield(n) {
				return
			}
		}
		for i := len(safe); i >= 0; i-- {
			if i > 0 && safe[i-1] != '-' || len(start)+i+len("default") >= maxPath {
				continue
			}
			if !yield(DotName{start + safe[:i] + "default", ext[i:], true}) {
				return
			}
		}
	}
}

// cString is what C sees of a string.
func cString(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	return s
}
