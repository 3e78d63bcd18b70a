//go:build unix

package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// keep is how much of each file of an envelope a Message holds. A longer one is
// read again when its records are asked for.
const keep = 16 << 10

// content is a file of an envelope as far as it was read.
type content struct {
	data string // all of it if it is not longer than keep
	size int64
	time time.Time // of its last change
}

// tops are the open directories of the parts.
type tops [numParts]*safefs.Dir

// openTops opens those that are there.
func (q *Queue) openTops() (t tops, err error) {
	for p := range numParts {
		t[p], err = q.top.Sub(p.String())
		if missing(err) {
			t[p] = nil
		} else if err != nil {
			t.close()
			return t, err
		}
	}
	return t, nil
}

func (t *tops) close() {
	for _, d := range t {
		if d != nil {
			d.Close()
		}
	}
}

// bucketDirs are the directories in which the files of one bucket have their
// places; nil where one is missing. Those that are not split are borrowed.
type bucketDirs struct {
	tops
	owned [numParts]bool
}

func (q *Queue) openBucket(t *tops, n int) (b bucketDirs, err error) {
	for p := range numParts {
		if t[p] == nil || !q.layout.IsSplit(p) {
			b.tops[p] = t[p]
			continue
		}
		d, err := t[p].Sub(ID(n).String())
		if missing(err) {
			continue
		} else if err != nil {
			b.close()
			return b, err
		}
		b.tops[p], b.owned[p] = d, true
	}
	return b, nil
}

func (b *bucketDirs) close() {
	for p, d := range b.tops {
		if b.owned[p] {
			d.Close()
		}
	}
}

// lstat describes the file of id in p in its place.
func (b *bucketDirs) lstat(p Part, name string) (safefs.Info, error) {
	if b.tops[p] == nil {
		return safefs.Info{}, fs.ErrNotExist
	}
	return b.tops[p].Lstat(name)
}

// look says which files of id are in their places now.
func (b *bucketDirs) look(name string) (Parts, error) {
	var there Parts
	for p := range numParts {
		_, err := b.lstat(p, name)
		if err == nil {
			there = there.With(p)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
	}
	return there, nil
}

// loader reads messages. It serves one goroutine.
type loader struct {
	q    *Queue
	dirs bucketDirs
	buf  []byte
}

// looks is how often a message is looked at whose files change meanwhile.
const looks = 4

// load reads one message. A message whose files are gone is nil; an error tells
// what could not be read, beside what could.
func (l *loader) load(e entry) (*Message, error) {
	name := e.id.String()
	for range looks {
		m, err := l.read(e, name)
		steady := m.State == S4 || m.State == S5
		if steady && !errors.Is(err, fs.ErrNotExist) {
			return m, err
		}
		// Files that vanished, and states in which no message stays, are looked
		// at twice: the message may have gone on since it was listed.
		now, lookErr := l.dirs.look(name)
		if lookErr != nil {
			return m, lookErr
		}
		if now == e.placed && !errors.Is(err, fs.ErrNotExist) {
			return m, err
		}
		e.placed = now
		if e.extras, err = l.q.remaining(e.extras); err != nil {
			return m, err
		}
		if e.parts() == 0 {
			return nil, nil
		}
	}
	return nil, fmt.Errorf("message %d: %w", e.id, errRestless)
}

// remaining are the files that are still where they were.
func (q *Queue) remaining(extras []extra) ([]extra, error) {
	var left []extra
	for _, x := range extras {
		there, err := q.exists(x.path)
		if err != nil {
			return nil, err
		}
		if there {
			left = append(left, x)
		}
	}
	return left, nil
}

var errRestless = errors.New("its files change faster than they can be read")

// read reads the files that an entry names.
func (l *loader) read(e entry, name string) (*Message, error) {
	m := &Message{
		ID: e.id, Parts: e.parts(), Size: -1, UID: -1, PID: -1, BounceSize: -1,
		placed: e.placed, extras: e.extras, q: l.q,
	}
	m.State = m.Parts.State()
	var errs []error
	for p := range numParts {
		if !m.Parts.Has(p) {
			continue
		}
		var err error
		switch p {
		case Mess, Bounce:
			var fi safefs.Info
			if fi, err = l.stat(m, p, name); err == nil && !fi.Mode.IsRegular() {
				err = &fs.PathError{Op: "open", Path: m.path(p), Err: safefs.ErrNotPlain}
			} else if err == nil {
				m.take(p, fi)
			}
		case Intd:
			// While todo is there intd is the same file, or of no use.
			if !m.Parts.Has(Todo) {
				m.files[p], err = l.content(m, p, name)
			}
		default:
			m.files[p], err = l.content(m, p, name)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if err := m.parse(); err != nil {
		errs = append(errs, err)
	}
	switch len(errs) {
	case 0:
		return m, nil
	case 1:
		return m, errs[0]
	}
	return m, errors.Join(errs...)
}

// take notes what Lstat says of a file that is not read.
func (m *Message) take(p Part, fi safefs.Info) {
	if p == Bounce {
		m.BounceSize = fi.Size
		return
	}
	m.Size = fi.Size
	m.Inode = fi.Ino
	m.Birth = fi.ModTime
}

func (l *loader) stat(m *Message, p Part, name string) (safefs.Info, error) {
	if !m.placed.Has(p) {
		return l.q.lstat(m.path(p))
	}
	fi, err := l.dirs.lstat(p, name)
	if err == nil && l.q.opts.Inodes != nil {
		l.q.original(m.path(p), &fi)
	}
	return fi, err
}

// content reads the beginning of a file of an envelope.
func (l *loader) content(m *Message, p Part, name string) (content, error) {
	dir := l.dirs.tops[p]
	if !m.placed.Has(p) {
		path, base := splitPath(m.path(p))
		d, err := l.q.openDir(path)
		if err != nil {
			return content{}, err
		}
		defer d.Close()
		dir, name = d, base
	}
	if dir == nil {
		return content{}, fs.ErrNotExist
	}
	if l.buf == nil {
		l.buf = make([]byte, keep)
	}
	n, fi, err := dir.ReadPlain(name, l.buf)
	if err != nil {
		return content{}, err
	}
	return content{data: string(l.buf[:n]), size: max(fi.Size, int64(n)), time: fi.ModTime}, nil
}

// Messages yields the messages of the queue: by the directories of the split in
// their order, and by number in each. A number of which there is any file is a
// message, whatever its State; names that are not numbers are for Check.
//
// An error concerns one message: what could not be read of it, or made no
// sense, beside the Message with the rest. It is nil where the files change
// faster than they can be read. Messages that come and go meanwhile may or may
// not be there.
func (q *Queue) Messages(ctx context.Context) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		ix, err := q.scan(ctx)
		if err == nil {
			err = q.loadAll(ctx, ix, yield)
		}
		if err != nil {
			yield(nil, qmailkit.Incomplete(fmt.Errorf("queue: %w", err)))
		}
	}
}

// loaded is what became of one entry.
type loaded struct {
	m   *Message
	err error
}

// loadAll reads the messages of an index with several goroutines. An error of
// its own is one that ended it early.
func (q *Queue) loadAll(ctx context.Context, ix *index, yield func(*Message, error) bool) error {
	t, err := q.openTops()
	if err != nil {
		return err
	}
	defer t.close()
	type batch struct {
		all []loaded
		err error
	}
	for b := range parallel(q.workers(), ix.chunks(), func(c chunk) batch {
		if err := context.Cause(ctx); err != nil {
			return batch{err: err}
		}
		all, err := q.loadChunk(&t, c)
		return batch{all, err}
	}) {
		if b.err != nil {
			return b.err
		}
		for _, x := range b.all {
			if x.m == nil && x.err == nil {
				continue // it went away
			}
			if !yield(x.m, x.err) {
				return nil
			}
		}
	}
	return nil
}

func (q *Queue) loadChunk(t *tops, c chunk) ([]loaded, error) {
	dirs, err := q.openBucket(t, c.bucket)
	if err != nil {
		return nil, err
	}
	defer dirs.close()
	l := &loader{q: q, dirs: dirs}
	all := make([]loaded, len(c.entries))
	for i, e := range c.entries {
		all[i].m, all[i].err = l.load(e)
	}
	return all, nil
}

// Message reads the message of one number from the places where qmail looks for
// it. Where there is none the error wraps ErrNoMessage; a Message beside another
// error holds what could be read.
func (q *Queue) Message(id ID) (*Message, error) {
	t, err := q.openTops()
	if err != nil {
		return nil, err
	}
	defer t.close()
	dirs, err := q.openBucket(&t, int(uint64(id)%uint64(q.layout.Split)))
	if err != nil {
		return nil, err
	}
	defer dirs.close()
	l := &loader{q: q, dirs: dirs}
	there, err := dirs.look(id.String())
	if err != nil {
		return nil, err
	}
	m, err := (*Message)(nil), error(nil)
	if there != 0 {
		m, err = l.load(entry{id: id, placed: there})
	}
	if m == nil && err == nil {
		return nil, fmt.Errorf("%w: %d", ErrNoMessage, id)
	}
	return m, err
}
