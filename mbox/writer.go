package mbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/qmailkit/qmailkit"
)

// DefaultMaxBuffer is Writer.MaxBuffer where that is zero, in bytes.
const DefaultMaxBuffer = 64 << 20

var (
	// ErrTooLarge says that a message is larger than Writer.MaxBuffer.
	ErrTooLarge = errors.New("message too large to be held in memory")
	// ErrUnwritable says that the format cannot hold a message: mboxcl2 quotes
	// nothing, so no header line may begin "From ".
	ErrUnwritable = errors.New("message cannot be written in this format")
	errAuto       = errors.New("mbox: a Writer needs a format")
)

// A Writer writes a mailbox. Create begins a message, the io.Writer that it
// returns takes the message's bytes, the next Create, Flush or Close ends it.
//
// O and RD are written as they come. CL and CL2 need the length first, so each
// message is held in memory, up to MaxBuffer. Their Content-Length replaces
// any that the message has; a message without a body gets none.
//
// What RD writes, a strict Reader gives back byte for byte; so does any Reader
// with what CL2 writes, if the From_ lines have a date and the messages a body
// without a Content-Length of their own. The one exception is forced by the
// format: a message that does not end in a line end gets one, and Problems says
// so.
type Writer struct {
	// MaxBuffer bounds, in bytes, the message that CL and CL2 hold in memory.
	// 0 means DefaultMaxBuffer.
	MaxBuffer int64

	w      *bufio.Writer
	f      Format
	m      *messageWriter
	offset int64
	problems
	err error
}

// NewWriter returns a Writer of one of the formats O, RD, CL and CL2. It never
// closes w.
func NewWriter(w io.Writer, f Format) *Writer {
	nw := &Writer{w: bufio.NewWriterSize(w, 64<<10), f: f}
	if f == Auto || f > CL2 {
		nw.err = errAuto
	}
	return nw
}

// Create begins a message with the line from.String(). A Raw that is no single
// From_ line is refused with an error that wraps ErrFromLine. The result may
// be used until the next call of a method of w.
func (w *Writer) Create(from FromLine) (io.Writer, error) {
	if err := w.end(); err != nil {
		return nil, err
	}
	line := from.String()
	if !bytes.HasPrefix([]byte(line), fromPrefix) || bytes.IndexByte([]byte(line), '\n') >= 0 {
		return nil, fmt.Errorf("mbox: %w: %q", ErrFromLine, line)
	}
	w.put([]byte(line))
	w.put([]byte{'\n'})
	w.m = &messageWriter{w: w, q: quoter{levels: levelsOf(w.f)}}
	return w.m, w.err
}

// levelsOf returns which lines f quotes: see quoter.
func levelsOf(f Format) byte {
	switch f {
	case O, CL:
		return 1
	case RD:
		return 2
	}
	return 0
}

// Flush ends the message and writes all to the underlying writer.
func (w *Writer) Flush() error {
	if err := w.end(); err != nil {
		return err
	}
	if err := w.w.Flush(); err != nil {
		w.err = err
	}
	return w.err
}

// Close is Flush; after it nothing can be written. The underlying writer stays
// open.
func (w *Writer) Close() error {
	err := w.Flush()
	if w.err == nil {
		w.err = errors.New("mbox: writer is closed")
	}
	return err
}

// Problems returns what had to be changed: at most a thousand.
func (w *Writer) Problems() []qmailkit.Problem { return w.problems.all() }

func (w *Writer) put(b []byte) {
	if w.err != nil {
		return
	}
	n, err := w.w.Write(b)
	w.offset += int64(n)
	w.err = err
}

// end finishes the current message with its line end and the blank line.
func (w *Writer) end() error {
	m := w.m
	if m == nil || w.err != nil {
		return w.err
	}
	w.m = nil
	m.w = nil
	if w.f == CL || w.f == CL2 {
		if err := w.putCounted(m.buf); err != nil {
			w.err = err
			return err
		}
	} else {
		m.q.end(w.put)
	}
	if m.wrote && m.last != '\n' {
		w.put([]byte{'\n'})
		w.add("mbox.added-newline", qmailkit.Info, 0, w.offset, "the message did not end in a line end; one was added")
	}
	w.put([]byte{'\n'})
	return w.err
}

// putCounted writes a message with its Content-Length as the last field of the
// header.
func (w *Writer) putCounted(msg []byte) error {
	if len(msg) > 0 && msg[len(msg)-1] != '\n' {
		msg = append(msg, '\n')
		w.add("mbox.added-newline", qmailkit.Info, 0, w.offset, "the message did not end in a line end; one was added")
	}
	head, body := splitHeader(msg)
	q := quoter{levels: levelsOf(w.f)}
	crlf := false
	skip := false
	for line := range bytes.Lines(head) {
		text := chomp(bytes.TrimSuffix(line, []byte{'\n'}))
		if len(text) == 0 {
			crlf = len(line) > 1
			break
		}
		if !isBlank(text[0]) {
			_, skip = hasName(text, "content-length:")
		}
		if skip {
			continue
		}
		if w.f == CL2 && bytes.HasPrefix(line, fromPrefix) {
			return fmt.Errorf("mbox: %w: a header line begins \"From \"", ErrUnwritable)
		}
		q.write(line, w.put)
	}
	if body == nil {
		return w.err
	}
	var quoted bytes.Buffer
	q.write(body, func(b []byte) { quoted.Write(b) })
	q.end(func(b []byte) { quoted.Write(b) })
	eol := "\n"
	if crlf {
		eol = "\r\n"
	}
	w.put([]byte("Content-Length: " + strconv.Itoa(quoted.Len()) + eol + eol))
	w.put(quoted.Bytes())
	return w.err
}

// splitHeader parts a message behind the blank line that ends its header; body
// is nil where there is none.
func splitHeader(msg []byte) (head, body []byte) {
	for at := 0; at < len(msg); {
		if n := blankAt(msg[at:]); n > 0 {
			return msg[:at+n], msg[at+n:]
		}
		i := indexLF(msg[at:])
		if i < 0 {
			break
		}
		at += i + 1
	}
	return msg, nil
}

// messageWriter takes the bytes of one message.
type messageWriter struct {
	w     *Writer
	q     quoter
	buf   []byte
	wrote bool
	last  byte
}

// Write implements io.Writer.
func (m *messageWriter) Write(p []byte) (int, error) {
	switch {
	case m.w == nil:
		return 0, errors.New("mbox: write to a message that has ended")
	case m.w.err != nil:
		return 0, m.w.err
	case len(p) == 0:
		return 0, nil
	}
	if m.w.f == CL || m.w.f == CL2 {
		limit := m.w.MaxBuffer
		if limit == 0 {
			limit = DefaultMaxBuffer
		}
		if int64(len(m.buf))+int64(len(p)) > limit {
			return 0, fmt.Errorf("mbox: %w: more than %d bytes", ErrTooLarge, limit)
		}
		m.buf = append(m.buf, p...)
		return len(p), nil
	}
	m.q.write(p, m.w.put)
	m.wrote, m.last = true, p[len(p)-1]
	if m.w.err != nil {
		return 0, m.w.err
	}
	return len(p), nil
}
