package qmailcontrol

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/qmailkit/qmailkit/internal/cdbfile"
)

// MaxLine is the longest line of morercpthosts, in bytes. qmail itself has no
// limit; no domain comes near this one.
const MaxLine = 1 << 20

// ErrLongLine says that a line has more than MaxLine bytes.
var ErrLongLine = errors.New("line too long")

// WriteMorercpthosts makes of the text of control/morercpthosts the
// morercpthosts.cdb that qmail-newmrh(8) makes of it, byte for byte: a record
// with an empty value for each line in its order, duplicates too, in lower
// case. Unlike in other lists a NUL does not split a line.
//
// What w holds is a cdb only when the error is nil. An error that the text
// causes is a *ParseError.
func WriteMorercpthosts(w io.WriterAt, text io.Reader) error {
	c := cdbfile.NewWriter(w)
	r := bufio.NewReaderSize(text, 64<<10)
	var long []byte
	offset := int64(0)
	for line := 1; ; line++ {
		b, err := r.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			b, err = longLine(r, append(long[:0], b...))
			long = b
		}
		if err != nil && err != io.EOF {
			return &ParseError{File: "morercpthosts", Line: line, Offset: offset, Err: err}
		}
		offset += int64(len(b))
		key := bytes.TrimRight(b, blanks)
		if len(key) > 0 && key[0] != '#' {
			if err := c.Add(lowerBytes(key), nil); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return c.Finish()
		}
	}
}

// longLine reads on where a line is longer than the buffer of r.
func longLine(r *bufio.Reader, line []byte) ([]byte, error) {
	for {
		b, err := r.ReadSlice('\n')
		line = append(line, b...)
		if len(line) > MaxLine {
			return line, fmt.Errorf("%w: more than %d bytes", ErrLongLine, MaxLine)
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

// WriteMorercpthosts is the function of that name for lines in memory.
func (l *Lines) WriteMorercpthosts(w io.WriterAt) error {
	return WriteMorercpthosts(w, bytes.NewReader(l.Bytes()))
}
