package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// The files of an envelope are records: a letter, a text without NUL, and NUL.
// A record whose NUL is missing at the end of a file was not written to its
// end; qmail leaves it out (getln.c).

var (
	// ErrRecord is wrapped by the error for a record that qmail would not
	// understand: a letter that has no place in the file.
	ErrRecord = errors.New("unknown record")
	// ErrCut is wrapped by the error for a last record without its NUL.
	ErrCut = errors.New("record without its end")
	// ErrLong is wrapped by the error for a record of more than MaxRecord
	// bytes.
	ErrLong = errors.New("record too long")
)

// MaxRecord is the greatest length of a record, with its letter and without its
// NUL, that is kept. qmail-queue takes addresses of MaxAddress bytes, before which
// virtualdomains can put a prefix.
const MaxRecord = 16 << 10

// maxBad is how many bad records of one file are told of. A file of gigabytes
// may be nothing else.
const maxBad = 1000

var errManyBad = fmt.Errorf("%w: a thousand of them, and perhaps more", ErrRecord)

// A RecordError tells which record of a file is wrong.
type RecordError struct {
	Path   string // in the queue
	Offset int64  // where the record begins
	Err    error  // wraps ErrRecord, ErrCut or ErrLong
}

// Error says where and what.
func (e *RecordError) Error() string {
	return fmt.Sprintf("%s: offset %d: %v", e.Path, e.Offset, e.Err)
}

// Unwrap returns Err.
func (e *RecordError) Unwrap() error { return e.Err }

// A Record is one record of info, local, remote, todo or intd.
type Record struct {
	Offset int64
	// Data is the record without its NUL: a letter and a text. Of a record
	// longer than MaxRecord it is the beginning.
	Data []byte
	// Size is the length of the record in the file.
	Size int64
	// Ended says that the NUL is there.
	Ended bool
}

// Long says that Data is not all of the record.
func (r Record) Long() bool {
	n := int64(len(r.Data))
	if r.Ended {
		n++
	}
	return n < r.Size
}

// problem is what is wrong with the record's form.
func (r Record) problem() error {
	switch {
	case r.Long():
		return fmt.Errorf("%w: %d bytes", ErrLong, r.Size)
	case !r.Ended:
		return fmt.Errorf("%w: %s", ErrCut, quoteShort(r.Data))
	}
	return nil
}

// quoteShort shows the beginning of a record.
func quoteShort(b []byte) string {
	const most = 60
	if len(b) > most {
		return fmt.Sprintf("%q...", b[:most])
	}
	return fmt.Sprintf("%q", b)
}

// Records reads the records of a file in order.
type Records struct {
	r      io.Reader
	buf    []byte
	lo, hi int
	off    int64 // of buf[lo] in the file
	err    error
}

// NewRecords returns a reader of the records in r. It keeps MaxRecord bytes.
func NewRecords(r io.Reader) *Records { return &Records{r: r} }

// reset begins with another file.
func (s *Records) reset(r io.Reader) { *s = Records{r: r, buf: s.buf} }

// Next returns the next record, whose Data are valid until it is called again.
// The end of the file is io.EOF.
func (s *Records) Next() (Record, error) {
	if s.buf == nil {
		s.buf = make([]byte, MaxRecord)
	}
	rec := Record{Offset: s.off}
	seen := 0
	for {
		if i := bytes.IndexByte(s.buf[s.lo+seen:s.hi], 0); i >= 0 {
			end := s.lo + seen + i
			rec.Data, rec.Size, rec.Ended = s.buf[s.lo:end], int64(end-s.lo)+1, true
			s.off += rec.Size
			s.lo = end + 1
			return rec, nil
		}
		seen = s.hi - s.lo
		if seen == len(s.buf) {
			return s.skip(rec)
		}
		if s.err != nil {
			break
		}
		s.fill()
	}
	if s.err != io.EOF {
		return rec, s.err
	}
	if seen == 0 {
		return rec, io.EOF
	}
	rec.Data, rec.Size = s.buf[s.lo:s.hi], int64(seen)
	s.off += rec.Size
	s.lo = s.hi
	return rec, nil
}

// fill makes room and reads on.
func (s *Records) fill() {
	if s.lo > 0 {
		copy(s.buf, s.buf[s.lo:s.hi])
		s.hi -= s.lo
		s.lo = 0
	}
	// A reader that gives nothing and no reason would be asked for ever.
	for range 100 {
		n, err := s.r.Read(s.buf[s.hi:])
		s.hi += n
		s.err = err
		if n > 0 || err != nil {
			return
		}
	}
	s.err = io.ErrNoProgress
}

// skip goes behind a record that fills the buffer and still has no end. Its
// beginning moves to a place of its own.
func (s *Records) skip(rec Record) (Record, error) {
	rec.Data = bytes.Clone(s.buf[s.lo:s.hi])
	rec.Size = int64(len(rec.Data))
	for {
		s.lo, s.hi = 0, 0
		if s.err != nil {
			break
		}
		s.fill()
		if i := bytes.IndexByte(s.buf[:s.hi], 0); i >= 0 {
			rec.Size += int64(i) + 1
			rec.Ended = true
			s.lo = i + 1
			break
		}
		rec.Size += int64(s.hi)
	}
	if s.err != nil && s.err != io.EOF && !rec.Ended {
		return rec, s.err
	}
	s.off += rec.Size
	return rec, nil
}
