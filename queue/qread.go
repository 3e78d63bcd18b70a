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
