//go:build unix

package queue

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// qreadWriter formats the messages one after the other.
type qreadWriter struct {
	q *Queue
	w *bufio.Writer
	// sender is the buffer of qmail-qread, which keeps what the next message
	// does not overwrite.
	sender []byte
}

func (o *qreadWriter) message(m *qreadMessage) error {
	if m.err != nil {
		return o.warn(m.id, m.err)
	}
	o.keepSender(m.info)
	sender := []byte{}
	if len(o.sender) > 0 {
		sender = untilNUL(o.sender[1:])
	}
	o.w.WriteString(m.time.UTC().Format("2 Jan 2006 15:04:05"))
	fmt.Fprintf(o.w, " GMT  #%d  %d  <", m.id, m.size)
	o.safe(sender)
	o.w.WriteString("> ")
	if m.bouncing {
		o.w.WriteString(" bouncing")
	}
	o.w.WriteByte('\n')
	rest := unread(m.info)
	for i, p := range [...]Part{Local, Remote} {
		l := &m.lists[i]
		if errors.Is(l.err, fs.ErrNotExist) {
			continue
		} else if l.err != nil {
			if err := o.warn(m.id, l.err); err != nil {
				return err
			}
			continue
		}
		if err := o.list(m.id, p, rest, l); err != nil {
			return err
		}
		rest = nil
	}
	return nil
}

// unread is what qmail-qread has read of info behind the sender. It goes on
// there when it reads the first list, because it keeps the buffer.
func unread(info []byte) []byte {
	n := len(untilNUL(info))
	if n == len(info) {
		return nil
	}
	const block = 1024 // of its reads
	return info[n+1 : min(len(info), (n/block+1)*block)]
}

// keepSender puts the first record of info into the buffer. Behind one that has
// its NUL, stralloc_catb puts a Z, which shows where the record is only the NUL.
func (o *qreadWriter) keepSender(info []byte) {
	n := len(untilNUL(info))
	rec := info[:n]
	if n < len(info) {
		rec = append(info[:n+1:n+1], 'Z')
	}
	if len(rec) > len(o.sender) {
		o.sender = append(o.sender, make([]byte, len(rec)-len(o.sender))...)
	}
	copy(o.sender, rec)
}

func untilNUL(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

func (o *qreadWriter) warn(id ID, err error) error {
	_, err = fmt.Fprintf(o.w, "warning: trouble with #%d: %s\n", id, errorText(err))
	return err
}

// safe writes what can be printed and "_" for every other byte.
func (o *qreadWriter) safe(b []byte) {
	for _, c := range b {
		if c < 32 || c > 126 {
			c = '_'
		}
		o.w.WriteByte(c)
	}
}

// list writes the recipients of one channel, which begin with what was left of
// info.
func (o *qreadWriter) list(id ID, p Part, rest []byte, l *qreadList) error {
	r := recipientLines{o: o, label: "\t" + p.String() + "\t"}
	if l.whole {
		all := append(rest[:len(rest):len(rest)], l.data...)
		_, err := r.Write(all[:bytes.LastIndexByte(all, 0)+1])
		return err
	}
	if err := o.longList(id, p, rest, &r); err != nil {
		return o.warn(id, err)
	}
	return nil
}

// longList reads a list from its file, up to the last NUL: a record without one
// is not shown, and that has to be known before its first byte is written.
func (o *qreadWriter) longList(id ID, p Part, rest []byte, r *recipientLines) error {
	f, err := o.q.openFile(o.q.layout.Path(p, id))
	if err != nil {
		return err
	}
	defer f.Close()
	end, err := lastNUL(f)
	if err != nil {
		return err
	}
	if end == 0 {
		rest = rest[:bytes.LastIndexByte(rest, 0)+1]
	}
	if _, err := r.Write(rest); err != nil {
		return err
	}
	_, err = io.Copy(r, io.NewSectionReader(f, 0, end))
	return err
}

// lastNUL is the length of a file up to its last NUL, found from its end.
func lastNUL(f interface {
	io.ReaderAt
	Stat() (fs.FileInfo, error)
}) (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	for end := fi.Size(); end > 0; {
		from := max(0, end-int64(len(buf)))
		n, err := f.ReadAt(buf[:end-from], from)
		if err != nil && err != io.EOF {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], 0); i >= 0 {
			return from + int64(i) + 1, nil
		}
		end = from
	}
	return 0, nil
}

// recipientLines turns records into lines, however they are cut into writes.
type recipientLines struct {
	o     *qreadWriter
	label string
	begun bool // inside a record
	shown bool // which is of a kind that is shown
}

func (r *recipientLines) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if !r.begun {
			r.begun = true
			switch b[0] {
			case 'D':
				r.o.w.WriteString("  done")
				fallthrough
			case 'T':
				r.o.w.WriteString(r.label)
				r.shown = true
			default:
				r.shown = false
			}
			if b[0] != 0 {
				b = b[1:]
			}
			continue
		}
		text := untilNUL(b)
		if r.shown {
			r.o.safe(text)
		}
		if b = b[len(text):]; len(b) > 0 {
			if r.shown {
				r.o.w.WriteByte('\n')
			}
			r.begun = false
			b = b[1:]
		}
	}
	_, err := r.o.w.Write(nil) // what a write before this one came to
	return n, err
}

// errorText is the text of error_str.c for what can happen here.
func errorText(err error) string {
	var errno syscall.Errno
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "file does not exist"
	case errors.Is(err, safefs.ErrLink):
		return "symbolic link"
	case errors.Is(err, safefs.ErrNotPlain):
		return "not a plain file"
	case errors.As(err, &errno):
		switch errno {
		case syscall.EACCES:
			return "access denied"
		case syscall.EPERM:
			return "permission denied"
		case syscall.EIO:
			return "input/output error"
		case syscall.ENOTDIR:
			return "not a directory"
		}
	}
	return err.Error()
}
