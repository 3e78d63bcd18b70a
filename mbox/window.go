package mbox

import (
	"errors"
	"io"
)

const (
	// block is how much is read at once. It and what is searched in it stay
	// in the processor's second cache.
	block = 256 << 10
	// maxLine bounds a From_ line and each look at a header line, in bytes.
	maxLine = 64 << 10
	// lookBack is how far behind the present place bytes are kept.
	lookBack = 4 << 10
)

// A window is the part of a file that is in memory: buf, which begins at
// offset base. It moves forward only. It reads either a stream or, where at is
// set, a file of known size.
type window struct {
	r    io.Reader
	at   io.ReaderAt
	size int64

	buf  []byte
	base int64
	eof  bool  // the file ends where buf does
	keep int64 // bytes before it may be dropped
	side []byte
	// limit is a capacity of buf with which the largest look ahead leaves a
	// third free, so that it need not double.
	limit int64
	init  int // first capacity of buf, 0 for the default; tests make it small
}

func (w *window) end() int64 { return w.base + int64(len(w.buf)) }

// from returns the bytes at hand from off on, which must not lie before base.
func (w *window) from(off int64) []byte { return w.buf[off-w.base:] }

// need reads until the window reaches to the offset upto, or the file ends.
// It moves the buffer: slices taken before are void.
func (w *window) need(upto int64) error {
	for w.end() < upto && !w.eof {
		if err := w.read(); err != nil {
			return err
		}
	}
	return nil
}

// read appends what one read gives.
func (w *window) read() error {
	w.room()
	free := w.buf[len(w.buf):cap(w.buf)]
	if w.at != nil {
		return w.readAt(free)
	}
	for range 100 {
		n, err := w.r.Read(free)
		w.buf = w.buf[:len(w.buf)+n]
		switch {
		case err == io.EOF:
			w.eof = true
			return nil
		case err != nil:
			return err
		case n > 0:
			return nil
		}
	}
	return io.ErrNoProgress
}

func (w *window) readAt(free []byte) error {
	left := w.size - w.end()
	if int64(len(free)) > left {
		free = free[:left]
	}
	n, err := readFull(w.at, free, w.end())
	w.buf = w.buf[:len(w.buf)+n]
	w.eof = w.end() == w.size
	return err
}

// readFull is ReadAt where a file that ends early is ErrChanged.
func readFull(r io.ReaderAt, p []byte, off int64) (int, error) {
	n, err := r.ReadAt(p, off)
	switch {
	case n == len(p):
		return n, nil
	case err == io.EOF || err == nil:
		return n, ErrChanged
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, errors.Join(ErrChanged, err)
	}
	return n, err
}

// room makes place for a read, by dropping what is not needed any more if that
// is a good part of the buffer, else by a larger buffer. So each byte is moved
// a few times at most, and the buffer grows with what the file really holds.
func (w *window) room() {
	drop := 0
	if w.keep > w.base {
		drop = int(min(w.keep-w.base, int64(len(w.buf))))
	}
	first := w.init
	if first == 0 {
		first = block + 2*lookBack
	}
	if w.at != nil && w.size < int64(first) {
		first = int(w.size) + 1 // a small file needs a small buffer
	}
	switch c := cap(w.buf); {
	case c == 0:
		w.buf = make([]byte, 0, first)
		return
	case drop >= max(c/4, 1):
		n := copy(w.buf, w.buf[drop:])
		w.buf = w.buf[:n]
	case c-len(w.buf) >= max(c/4, 1):
		return
	default:
		bigger := 2 * c
		if limit := int(w.limit); c < limit && limit < bigger {
			bigger = limit
		}
		grown := make([]byte, 0, bigger)
		w.buf = append(grown, w.buf[drop:]...)
	}
	w.base += int64(drop)
}

// jump moves a window on a file to off without reading what lies between.
func (w *window) jump(off int64) {
	if off <= w.end() {
		return
	}
	w.base, w.buf = off, w.buf[:0]
	w.eof = off == w.size
}

// ahead returns at least n bytes from off on, or all that the file has. The
// window of a file stays where it is; a stream's has to grow.
func (w *window) ahead(off int64, n int) ([]byte, error) {
	if off+int64(n) <= w.end() || w.eof && off <= w.end() {
		return w.from(off), nil
	}
	if w.at == nil {
		if err := w.need(off + int64(n)); err != nil {
			return nil, err
		}
		return w.from(min(off, w.end())), nil
	}
	if off >= w.size {
		return nil, nil
	}
	n = int(min(int64(n), w.size-off))
	if cap(w.side) < n {
		w.side = make([]byte, n)
	}
	n, err := readFull(w.at, w.side[:n], off)
	return w.side[:n], err
}

// line returns the line at off without its line end, and where the next one
// begins. Of a line longer than maxLine only the beginning is returned and next
// is -1; at the end of the file next is its end.
func (w *window) line(off int64) (line []byte, next int64, err error) {
	for searched := 0; ; {
		b := w.from(min(off, w.end()))
		limit := min(len(b), maxLine)
		if i := indexLF(b[searched:limit]); i >= 0 {
			i += searched
			return chomp(b[:i]), off + int64(i) + 1, nil
		}
		switch {
		case limit == maxLine:
			return b[:limit], -1, nil
		case w.eof:
			return chomp(b), w.end(), nil
		}
		searched = limit
		if err := w.need(w.end() + 1); err != nil {
			return nil, 0, err
		}
	}
}

// chomp takes one CR off the end.
func chomp(b []byte) []byte {
	if len(b) > 0 && b[len(b)-1] == '\r' {
		return b[:len(b)-1]
	}
	return b
}
