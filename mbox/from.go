package mbox

import (
	"bytes"
	"fmt"
	"time"
)

// A FromLine is the line before each message. It is the envelope of old: who
// sent the message, and when it was put into the mailbox.
type FromLine struct {
	Raw     []byte    // the line without its line end
	Sender  string    // as written: an address, "-", "user at host", or empty
	Date    time.Time // when the message was delivered
	HasDate bool      // Date was there and is a date
}

// ParseFrom takes a From_ line apart. Dates without a zone are taken for UTC
// (RFC 4155). A line without a date is right; one that does not begin "From "
// is an error that wraps ErrFromLine. Raw is a copy.
func ParseFrom(line []byte) (FromLine, error) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if !bytes.HasPrefix(line, fromPrefix) {
		return FromLine{}, ErrFromLine
	}
	var date stamp
	sh := shapeOf(line, &date)
	return newFromLine(bytes.Clone(line), sh, &date, time.UTC), nil
}

// newFromLine keeps raw.
func newFromLine(raw []byte, sh shape, date *stamp, loc *time.Location) FromLine {
	from := FromLine{Raw: raw}
	sender := trimSpace(from.Raw[5:])
	switch sh {
	case dated:
		sender = trimSpace(from.Raw[5:date.start])
		from.Date, from.HasDate = date.time(loc)
	case git:
		// The date is the same in each of them and stands for none.
		sender = sender[:bytes.IndexByte(sender, ' ')]
	case prose:
		sender = sender[:bytes.IndexAny(sender, " \t")]
	}
	from.Sender = string(sender)
	return from
}

// String returns Raw, or where that is empty a line as qmail's mbox(5)
// describes it: the date is asctime in UTC, a missing sender MAILER-DAEMON, a
// missing date the beginning of 1970. White space in the sender becomes "-".
func (f FromLine) String() string {
	if len(f.Raw) > 0 {
		return string(f.Raw)
	}
	sender := []byte(f.Sender)
	for i, c := range sender {
		if isSpace(c) || c == 0 {
			sender[i] = '-'
		}
	}
	if len(sender) == 0 {
		sender = []byte("MAILER-DAEMON")
	}
	date := time.Unix(0, 0)
	if f.HasDate {
		date = f.Date
	}
	return fmt.Sprintf("From %s %s", sender, date.UTC().Format(time.ANSIC))
}

var fromPrefix = []byte("From ")

// shape is what a From_ line looks like. The first one of a file sets the
// file's style.
type shape uint8

const (
	prose shape = iota // anything else: never a separator, but for the first line of a file
	dated              // with a date
	git                // the magic line of git format-patch
	bare               // nothing behind "From "
	dash               // "From -"
	word               // one word and no date
)

// shapeOf classifies a From_ line without its line end, and sets date for a
// dated one.
func shapeOf(line []byte, date *stamp) shape {
	if isGit(line) {
		return git
	}
	// Extra text behind a date must be set off from it by a blank.
	if more, ok := findDate(line, 5, date); ok && (len(more) == 0 || isBlank(more[0])) {
		return dated
	}
	rest := line[5:]
	switch r := trimSpace(rest); {
	case len(r) == 0:
		return bare
	case len(r) == 1 && r[0] == '-':
		return dash
	case bytes.IndexByte(r, ' ') < 0 && bytes.IndexByte(r, '\t') < 0:
		return word
	}
	return prose
}

// trimSpace takes white space of the C locale off both ends.
func trimSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// gitDate is what git format-patch writes behind the commit's name, so that
// file(1) can tell its output.
const gitDate = " Mon Sep 17 00:00:00 2001"

func isGit(line []byte) bool {
	hex := len(line) - len(fromPrefix) - len(gitDate)
	if hex != 40 && hex != 64 || string(line[len(line)-len(gitDate):]) != gitDate {
		return false
	}
	for _, c := range line[5 : 5+hex] {
		if !isDigit(c) && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// includedMarks open a message that was pasted into another.
var includedMarks = [...]string{
	"begin included message", "original message", "forwarded message",
	"begin forwarded message", "begin forwarded message:",
}

// isIncluded says whether line announces an included message: a mark between
// dashes, each side with at most one blank between.
func isIncluded(line []byte) bool {
	text := bytes.Trim(line, "-")
	if len(text) == len(line) || line[0] != '-' || line[len(line)-1] != '-' {
		return false
	}
	text = bytes.TrimPrefix(text, []byte(" "))
	text = bytes.TrimSuffix(text, []byte(" "))
	for _, mark := range includedMarks {
		if len(text) == len(mark) && bytes.EqualFold(text, []byte(mark)) {
			return true
		}
	}
	return false
}

// isHeaderLine says whether a line looks like a header field: a name of
// printable characters, blanks, a colon.
func isHeaderLine(line []byte) bool {
	i := 0
	for i < len(line) && line[i] > ' ' && line[i] < 0x7f && line[i] != ':' {
		i++
	}
	if i == 0 {
		return false
	}
	for i < len(line) && isBlank(line[i]) {
		i++
	}
	return i < len(line) && line[i] == ':' && !bytes.HasPrefix(line, fromPrefix)
}
