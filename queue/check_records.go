//go:build unix

package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// contents checks the records of the envelope that counts.
func (x *examiner) contents() error {
	if x.file(Mess) == nil {
		return nil
	}
	if todo := x.file(Todo); todo != nil {
		// What preprocessing has written until now will be written again.
		return x.records(todo)
	}
	if info := x.file(Info); info != nil {
		if err := x.infoFile(info); err != nil {
			return err
		}
	}
	for _, p := range [...]Part{Local, Remote} {
		if f := x.file(p); f != nil {
			if err := x.records(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// head reads the beginning of a file.
func (x *examiner) head(f *found) ([]byte, error) {
	if x.buf == nil {
		x.buf = make([]byte, keep)
	}
	if f.placed {
		n, _, err := x.dirs.read(f.part, x.id.String(), x.buf)
		return x.buf[:n], err
	}
	file, err := x.c.q.openFile(f.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	n, err := io.ReadFull(file, x.buf)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return x.buf[:n], err
}

func (x *examiner) infoFile(f *found) error {
	b, err := x.head(f)
	if err != nil {
		return err
	}
	bad := (*RecordError)(nil)
	if _, err := parseInfo(f.path, string(b)); errors.As(err, &bad) {
		x.add(newFault(codeBadInfo, qmailkit.Error, f.path, "%v", bad.Err).of(x.id).
			toFix("repair moves the message out of the queue, from where it can be queued again with a sender"))
		return nil
	}
	if n := int64(bytes.IndexByte(b, 0)) + 1; f.info.Size > n {
		t := newFault(codeInfoTail, qmailkit.Info, f.path, "%d bytes behind the sender", f.info.Size-n).of(x.id)
		t.offset = n
		x.add(t.toFix("none is needed: qmail-send ignores them"))
	}
	return nil
}

// recordCount counts the records of one kind that are wrong.
type recordCount struct {
	n     int64
	first int64 // offset
	err   error
}

func (c *recordCount) add(off int64, err error) {
	if c.n++; c.n == 1 {
		c.first, c.err = off, err
	}
}

func (c *recordCount) words() string {
	if c.n == 1 {
		return c.err.Error()
	}
	if c.n > maxBad {
		return fmt.Sprintf("%v, and at least %d more", c.err, maxBad)
	}
	return fmt.Sprintf("%v, and %d more", c.err, c.n-1)
}

// records checks local, remote or todo from beginning to end.
func (x *examiner) records(f *found) error {
	b, err := x.head(f)
	if err != nil {
		return err
	}
	var r io.Reader = bytes.NewReader(b)
	if len(b) == keep {
		file, err := x.c.q.openFile(f.path)
		if err != nil {
			return err
		}
		defer file.Close()
		r = file
	}
	kinds, longest := "TD", MaxRecord+1
	if f.part == Todo {
		kinds, longest = "upFT", MaxAddress+2
	}
	var bad, cut, long recordCount
	sender := false
	for x.recs.reset(r); ; {
		rec, err := x.recs.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		switch {
		case len(rec.Data) == 0 || !strings.Contains(kinds, string(rec.Data[:1])):
			bad.add(rec.Offset, fmt.Errorf("%w: %s", ErrRecord, quoteShort(rec.Data)))
		case !rec.Ended:
			cut.add(rec.Offset, fmt.Errorf("%w: %s", ErrCut, quoteShort(rec.Data)))
		case rec.Size > int64(longest):
			long.add(rec.Offset, fmt.Errorf("%w: %d bytes", ErrLong, rec.Size))
		}
		if bad.n > maxBad {
			break // it may be gigabytes of this
		}
		sender = sender || rec.Ended && len(rec.Data) > 0 && rec.Data[0] == 'F'
	}
	x.recordFault(f, codeBadRecord, qmailkit.Error, &bad, "repair moves the message out of the queue, from where it can be queued again")
	x.recordFault(f, codeCutRecord, qmailkit.Error, &cut, "repair moves the message out of the queue, from where it can be queued again")
	x.recordFault(f, codeLongRecord, qmailkit.Info, &long, "no repair: it will be tried, and fail")
	if f.part == Todo && !sender && bad.n <= maxBad {
		x.add(newFault(codeNoSender, qmailkit.Error, f.path, "envelope without sender").of(x.id).
			toFix("repair moves the message out of the queue, from where it can be queued again with a sender"))
	}
	return nil
}

func (x *examiner) recordFault(f *found, code string, sev qmailkit.Severity, c *recordCount, fix string) {
	if c.n == 0 {
		return
	}
	r := newFault(code, sev, f.path, "%s", c.words()).of(x.id)
	r.offset = c.first
	x.add(r.toFix("%s", fix))
}
