//go:build unix

package queue

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strconv"
	"syscall"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// WriteQread writes what qmail-qread prints, byte for byte: the preprocessed
// messages, with warnings among them where a file cannot be had. Messages
// stand in the order of the split directories, and inside them in the order in
// which the file system lists them.
//
// Where a split directory is missing, qmail-qread stops with "fatal: ..." and
// exit code 111. So does WriteQread; its error then wraps fs.ErrNotExist and
// qmailkit.ErrIncomplete.
//
// It differs from the program where that does not matter or does harm: it
// follows no symbolic link, and a directory in the place of a file is a warning
// and not "out of memory"; and of a sender, which qmail-queue lets have a
// thousand bytes, it shows 16,383. Like the program it shows for an info that is
// empty the sender of the message before it, and takes what stands behind the
// sender in info for the beginning of the list of recipients.
func (q *Queue) WriteQread(ctx context.Context, w io.Writer) error {
	t, err := q.openTops()
	if err != nil {
		return err
	}
	defer t.close()
	out := &qreadWriter{q: q, w: bufio.NewWriterSize(w, 64<<10)}
	lists := &qreadLists{ctx: ctx, q: q, info: t[Info]}
	for b := range parallel(q.workers(), lists.chunks(), func(c qreadChunk) qreadBatch { return q.qreadBatch(&t, c) }) {
		if b.err == nil {
			b.err = context.Cause(ctx)
		}
		if b.err != nil {
			return errors.Join(qmailkit.Incomplete(b.err), out.w.Flush())
		}
		for i := range b.messages {
			if err := out.message(&b.messages[i]); err != nil {
				return err
			}
		}
	}
	if lists.err == nil {
		return out.w.Flush()
	}
	if lists.fatal != "" {
		fmt.Fprintf(out.w, "fatal: unable to opendir %s: %s\n", lists.fatal, errorText(lists.err))
	}
	return errors.Join(qmailkit.Incomplete(lists.err), out.w.Flush())
}

// qreadChunk is a stretch of one directory of info.
type qreadChunk struct {
	ids []ID
}

// qreadLists lists the numbers in info as readsubdir.c does: what begins with a
// digit and has only digits, whatever the number, in whatever directory.
type qreadLists struct {
	ctx   context.Context
	q     *Queue
	info  *safefs.Dir
	err   error
	fatal string // the directory that is missing
}

func (l *qreadLists) chunks() iter.Seq[qreadChunk] {
	return func(yield func(qreadChunk) bool) {
		for n := range l.q.layout.Split {
			ok, err := l.dir(n, yield)
			if err != nil {
				l.err = err
			}
			if !ok || err != nil {
				return
			}
		}
	}
}

// dir yields the numbers of one directory; ok is whether to go on.
func (l *qreadLists) dir(n int, yield func(qreadChunk) bool) (ok bool, err error) {
	if l.info == nil {
		l.fatal = dirPath(Info, n)
		return false, &fs.PathError{Op: "open", Path: l.fatal, Err: fs.ErrNotExist}
	}
	d, err := l.info.Sub(strconv.Itoa(n))
	if err != nil {
		l.fatal = dirPath(Info, n)
		return false, err
	}
	defer d.Close()
	var c qreadChunk
	for e, err := range d.Entries(l.ctx) {
		if err != nil {
			return false, err
		}
		id, ok := scanName(e.Name())
		if !ok {
			continue
		}
		if c.ids = append(c.ids, id); len(c.ids) == chunkSize {
			if !yield(c) {
				return false, nil
			}
			c = qreadChunk{}
		}
	}
	return len(c.ids) == 0 || yield(c), nil
}

// scanName reads a name of digits as scan_ulong.c does, which wraps.
func scanName(name string) (ID, bool) {
	var id ID
	for i := 0; i < len(name); i++ {
		if name[i] < '0' || name[i] > '9' {
			return 0, false
		}
		id = id*10 + ID(name[i]-'0')
	}
	return id, name != ""
}

// qreadMessage is what qmail-qread asks of a message.
type qreadMessage struct {
	id       ID
	err      error // mess or info cannot be had
	size     int64
	time     time.Time
	bouncing bool
	info     []byte
	lists    [2]qreadList
}

// qreadList is local or remote.
type qreadList struct {
	err   error
	data  []byte
	whole bool // there is no more of it
}

type qreadBatch struct {
	messages []qreadMessage
	err      error
}

// qreadBatch reads the files of some messages. Their numbers may belong into any
// directory, but belong into one in a healthy queue.
func (q *Queue) qreadBatch(t *tops, c qreadChunk) qreadBatch {
	b := qreadBatch{messages: make([]qreadMessage, len(c.ids))}
	var dirs bucketDirs
	open := -1
	defer func() { dirs.close() }()
	buf := make([]byte, keep)
	for i, id := range c.ids {
		if n := int(uint64(id) % uint64(q.layout.Split)); n != open {
			dirs.close()
			dirs, open = bucketDirs{}, n
			var err error
			if dirs, err = q.openBucket(t, n); err != nil {
				return qreadBatch{err: err}
			}
		}
		b.messages[i].read(&dirs, id, buf)
	}
	return b
}

// read reads the files of one message, in the order of qmail-qread.
func (m *qreadMessage) read(dirs *bucketDirs, id ID, buf []byte) {
	m.id = id
	name := id.String()
	fi, err := dirs.lstat(Mess, name)
	if m.err = err; err != nil {
		return
	}
	m.size = fi.Size
	_, err = dirs.lstat(Bounce, name)
	m.bouncing = err == nil
	n, fi, err := dirs.read(Info, name, buf)
	if m.err = err; err != nil {
		return
	}
	m.time = fi.ModTime
	m.info = bytes.Clone(buf[:n])
	for i, p := range [...]Part{Local, Remote} {
		n, fi, err := dirs.read(p, name, buf)
		if err != nil {
			m.lists[i].err = err
			continue
		}
		m.lists[i] = qreadList{data: bytes.Clone(buf[:n]), whole: n < len(buf) || fi.Size == int64(n)}
	}
}

// read reads the beginning of the file of a message in its place.
func (b *bucketDirs) read(p Part, name string, buf []byte) (int, safefs.Info, error) {
	if b.tops[p] == nil {
		return 0, safefs.Info{}, fs.ErrNotExist
	}
	return b.tops[p].ReadPlain(name, buf)
}

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
