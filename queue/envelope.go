//go:build unix

package queue

import (
	"fmt"
	"strings"
)

// parse fills the fields that come out of the envelope.
func (m *Message) parse() error {
	m.NextLocal, m.NextRemote = m.files[Local].time, m.files[Remote].time
	switch {
	case m.Parts.Has(Todo):
		return m.parseTodo(Todo)
	case m.Parts.Has(Info):
		m.Birth = m.files[Info].time
		sender, err := parseInfo(m.path(Info), m.files[Info].data)
		m.Sender, m.HasSender = sender, err == nil
		return err
	case m.Parts.Has(Intd):
		// It may be under construction, so that nothing is wrong with it.
		_ = m.parseTodo(Intd)
	}
	return nil
}

// parseInfo reads the sender as qmail-send does (getinfo): "F", text, NUL, and
// whatever follows does not count.
func parseInfo(path, data string) (string, error) {
	text, _, ended := strings.Cut(data, "\x00")
	switch {
	case data == "":
		return "", &RecordError{path, 0, fmt.Errorf("%w: the file is empty", ErrCut)}
	case len(data) >= keep && !ended:
		return "", &RecordError{path, 0, fmt.Errorf("%w: more than %d bytes", ErrLong, keep)}
	case !ended:
		return "", &RecordError{path, 0, fmt.Errorf("%w: %s", ErrCut, quoteShort([]byte(text)))}
	case text == "" || text[0] != 'F':
		return "", &RecordError{path, 0, fmt.Errorf("%w: %s", ErrRecord, quoteShort([]byte(text)))}
	}
	return text[1:], nil
}

// parseTodo reads the head of todo or intd: uid, process and sender. These come
// before the recipients in all files of qmail-queue; qmail-send would take them
// anywhere.
func (m *Message) parseTodo(p Part) error {
	rest := m.files[p].data
	for off := 0; rest != ""; {
		text, next, ended := strings.Cut(rest, "\x00")
		if !ended {
			break
		}
		switch {
		case text == "":
			return &RecordError{m.path(p), int64(off), fmt.Errorf("%w: it is empty", ErrRecord)}
		case text[0] == 'u':
			m.UID = scanNumber(text[1:])
		case text[0] == 'p':
			m.PID = scanNumber(text[1:])
		case text[0] == 'F':
			m.Sender, m.HasSender = text[1:], true
			return nil
		case text[0] == 'T':
		default:
			return &RecordError{m.path(p), int64(off), fmt.Errorf("%w: %s", ErrRecord, quoteShort([]byte(text)))}
		}
		off += len(text) + 1
		rest = next
	}
	if p == Intd {
		return nil
	}
	return &RecordError{m.path(p), 0, fmt.Errorf("%w: no sender", ErrRecord)}
}

// scanNumber reads leading digits (scan_ulong.c); -1 where there are none, or
// too many.
func scanNumber(s string) int64 {
	n, i := int64(0), 0
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		if n > (1<<63-1-9)/10 {
			return -1
		}
		n = n*10 + int64(s[i]-'0')
	}
	if i == 0 {
		return -1
	}
	return n
}
