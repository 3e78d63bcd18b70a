package users

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// ErrField says that a field cannot stand in users/assign, because it holds a
// colon, a newline or a NUL.
var ErrField = errors.New("field cannot stand in users/assign")

// An Entry is one line of users/assign. Apart from Wildcard, which follows from
// the first byte, fields are what stands between the colons.
type Entry struct {
	// Wildcard marks a line that begins with '+': it is for every local part
	// that begins with Local, unless another line matches better.
	Wildcard bool
	// Mark is the first byte of a line that is no wildcard. qmail-newu drops it
	// whatever it is; zero stands for '='.
	Mark byte
	// Local is the local part, or its beginning.
	Local string
	// User, UID, GID, Home, Dash and Ext are for qmail-local. UID and GID are
	// text, of which qmail-lspawn reads the leading digits.
	User, UID, GID, Home, Dash, Ext string
	// Rest is what follows the seventh colon: nothing, if all is well, or a CR.
	// qmail ignores it.
	Rest string

	// Line, from 1, and Offset, in bytes, tell where the line stands. Writing
	// ignores them.
	Line   int
	Offset int64
}

// Text returns the line without its newline. Nothing is checked.
func (e Entry) Text() string {
	var b strings.Builder
	b.WriteByte(e.mark())
	for _, f := range [...]string{e.Local, e.User, e.UID, e.GID, e.Home, e.Dash, e.Ext} {
		b.WriteString(f)
		b.WriteByte(':')
	}
	b.WriteString(e.Rest)
	return b.String()
}

func (e Entry) mark() byte {
	switch {
	case e.Wildcard:
		return '+'
	case e.Mark == 0:
		return '='
	}
	return e.Mark
}

// check refuses an entry whose line would not be read back as this entry.
func (e Entry) check() error {
	if m := e.mark(); m == '.' || m == ':' || m == '\n' || m == '+' && !e.Wildcard {
		return fmt.Errorf("%w: first byte %q", ErrField, m)
	}
	for _, f := range [...]string{e.Local, e.User, e.UID, e.GID, e.Home, e.Dash, e.Ext} {
		if strings.ContainsAny(f, ":\n\x00") {
			return fmt.Errorf("%w: %q", ErrField, f)
		}
	}
	if strings.ContainsAny(e.Rest, "\n\x00") {
		return fmt.Errorf("%w: %q", ErrField, e.Rest)
	}
	return nil
}

// colons is how many of them a line must have (qmail-newu.c).
const colons = 7

// fields are the parts of a line without copies: the text before each of the
// seven colons, the first of them without the first byte of the line, and what
// is behind them.
type fields struct {
	wildcard bool
	field    [colons][]byte
	rest     []byte
}

// split takes a line, without its newline, apart by the rules of qmail-newu.
func (f *fields) split(line []byte) error {
	if bytes.IndexByte(line, 0) >= 0 {
		return errors.New("NUL")
	}
	rest := line
	for i := range f.field {
		n := bytes.IndexByte(rest, ':')
		if n < 0 {
			return fmt.Errorf("%d colons instead of %d", i, colons)
		}
		f.field[i], rest = rest[:n], rest[n+1:]
	}
	if len(f.field[0]) == 0 {
		return errors.New("colon at the start")
	}
	f.wildcard = line[0] == '+'
	f.field[0] = f.field[0][1:]
	f.rest = rest
	return nil
}

// entry makes a copy in one allocation.
func entry(line string) (Entry, error) {
	var f fields
	if err := f.split([]byte(line)); err != nil {
		return Entry{}, err
	}
	e := Entry{Wildcard: f.wildcard}
	if !f.wildcard {
		e.Mark = line[0]
	}
	at := 1
	for i, to := range [...]*string{&e.Local, &e.User, &e.UID, &e.GID, &e.Home, &e.Dash, &e.Ext} {
		*to = line[at : at+len(f.field[i])]
		at += len(f.field[i]) + 1
	}
	e.Rest = line[at:]
	return e, nil
}
