package mbox

import (
	"fmt"
	"io"
	"slices"
)

// Body returns the message that h describes, read from the file r that h was
// found in. Quoting is undone as f says; everything else is as stored. If the
// file has become shorter, reading fails with an error that wraps ErrChanged.
//
// Several goroutines may read bodies of one file at the same time. The reader
// has a WriteTo method, which io.Copy uses.
func Body(r io.ReaderAt, h *Header, f Format) io.Reader {
	return &body{r: r, next: h.Offset, end: h.Offset + max(h.Length, 0), u: newUnquoter(f, h.ByLength)}
}

// bodyBlock is how much a Body reads at once.
const bodyBlock = 64 << 10

type body struct {
	r         io.ReaderAt
	next, end int64 // bytes not yet read
	u         unquoter
	space     []byte
	buf       []byte // bytes read
	ready     int    // of them, those to hand on
	drop      int    // those to leave out behind
	err       error
}

// fill makes ready positive, or returns an error.
func (b *body) fill() error {
	for b.ready == 0 {
		b.buf = b.buf[b.drop:]
		b.drop = 0
		if len(b.buf) > 0 {
			if b.ready, b.drop = b.u.span(b.buf, b.next == b.end); b.ready+b.drop > 0 {
				continue
			}
		}
		switch {
		case b.err != nil:
			return b.err
		case b.next == b.end:
			return io.EOF
		}
		if b.space == nil {
			b.space = make([]byte, min(bodyBlock, b.end-b.next))
		}
		held := copy(b.space, b.buf)
		part := b.space[held:]
		part = part[:min(int64(len(part)), b.end-b.next)]
		n, err := readFull(b.r, part, b.next)
		b.next += int64(n)
		b.buf = b.space[:held+n]
		if err != nil {
			b.err = &ParseError{Offset: b.next, Err: err}
			b.end = b.next
		}
	}
	return nil
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := b.fill(); err != nil {
		return 0, err
	}
	n := copy(p, b.buf[:b.ready])
	b.buf = b.buf[n:]
	b.ready -= n
	return n, nil
}

// WriteTo implements io.WriterTo.
func (b *body) WriteTo(w io.Writer) (total int64, err error) {
	for {
		if err := b.fill(); err != nil {
			if err == io.EOF {
				err = nil
			}
			return total, err
		}
		n, err := w.Write(b.buf[:b.ready])
		total += int64(n)
		b.buf = b.buf[n:]
		b.ready -= n
		if err != nil {
			return total, err
		}
		if b.ready > 0 {
			return total, io.ErrShortWrite
		}
	}
}

// AppendBody appends the message to dst and returns the longer slice. It is
// for messages that are known to be small, and makes no garbage if dst has
// room. On an error dst comes back as it was.
func AppendBody(dst []byte, r io.ReaderAt, h *Header, f Format) ([]byte, error) {
	if h.Length < 0 {
		return dst, fmt.Errorf("mbox: message %d: its length is not known", h.Index)
	}
	begin := len(dst)
	out := dst
	for left := h.Length; left > 0; {
		// Memory follows what is really there.
		n := int(min(left, 4<<20))
		out = slices.Grow(out, n)
		part := out[len(out) : len(out)+n]
		got, err := readFull(r, part, h.Offset+h.Length-left)
		if err != nil {
			return dst, &ParseError{Offset: h.Offset + h.Length - left + int64(got), Err: err}
		}
		out = out[:len(out)+n]
		left -= int64(n)
	}
	return out[:begin+len(unquote(out[begin:], f, h.ByLength))], nil
}
