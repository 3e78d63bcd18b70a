package mbox

import (
	"bufio"
	"bytes"
	"io"
)

// stateFields are the names, in lower case, of header fields that mail
// programs add and rewrite to keep a message's state in a mailbox, and of
// those that describe its stored form. A trailing "-" stands for all names that
// begin so.
var stateFields = [...]string{
	"status", "x-status", "x-keywords", "x-uid", "x-uidl", "x-imap", "x-imapbase",
	"x-mozilla-", "x-evolution", "content-length", "lines",
}

// StateHeader says whether name, without its colon and in any case, is a header
// field that mail programs rewrite in a mailbox: Status, X-Status, X-Keywords,
// X-UID, X-UIDL, X-IMAP, X-IMAPbase, X-Mozilla-*, X-Evolution, Content-Length
// and Lines. They are no part of what was sent.
func StateHeader(name []byte) bool {
	name = bytes.TrimRight(name, " \t")
	for _, f := range stateFields {
		n := len(f)
		if f[n-1] == '-' {
			if len(name) > n && equalFold(name[:n], f) {
				return true
			}
		} else if len(name) == n && equalFold(name, f) {
			return true
		}
	}
	return false
}

// equalFold compares with a string in lower case, of the same length.
func equalFold(b []byte, lower string) bool {
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// StripState returns the message that r holds without its state headers (see
// StateHeader), folded lines included. Everything else comes through byte for
// byte; headers of parts and of attached messages are left alone.
func StripState(r io.Reader) io.Reader {
	return &stripper{r: bufio.NewReaderSize(r, 8<<10)}
}

// stripper goes through the header line by line; of an overlong line the first
// piece decides.
type stripper struct {
	r      *bufio.Reader
	out    []byte // to be handed on, in r's buffer
	inLine bool   // the last piece did not end its line
	drop   bool   // the present field is left out
	body   bool   // the header is over
	err    error
}

// Read implements io.Reader.
func (s *stripper) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(s.out) == 0 {
		switch {
		case s.err != nil:
			return 0, s.err
		case s.body:
			return s.r.Read(p)
		}
		s.next()
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

// next takes in the next line of the header, or a piece of it.
func (s *stripper) next() {
	line, err := s.r.ReadSlice('\n')
	if err != nil && err != bufio.ErrBufferFull {
		s.err = err
	}
	if !s.inLine && len(line) > 0 {
		text := chomp(bytes.TrimSuffix(line, []byte{'\n'}))
		switch {
		case len(text) == 0:
			s.body, s.drop = true, false
		case !isBlank(text[0]): // a folded line goes with its field
			name, _, ok := bytes.Cut(text, []byte{':'})
			s.drop = ok && StateHeader(name)
		}
	}
	s.inLine = err == bufio.ErrBufferFull
	if !s.drop {
		s.out = line
	}
}
