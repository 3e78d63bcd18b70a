package maildir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A writer stages messages.
type writer struct {
	hash *contentHash
	buf  bytes.Buffer
}

// A sourceError is trouble with one message, not with the Maildir.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

var errChanged = errors.New("message changed while it was read")

// stage writes a message under tmp/, or finds that it need not.
func (w *writer) stage(c *Committer, t *task) {
	defer t.g.staged.Done()
	if t.f == nil {
		<-t.turn
		close(t.next)
		return
	}
	content, size, inline, err := w.read(t.m)
	<-t.turn
	var occurrence uint32
	if err == nil {
		key := binary.LittleEndian.Uint64(content[:8])
		occurrence = t.src.seen[key]
		t.src.seen[key]++
	}
	close(t.next)
	if err != nil {
		t.result.Err = err
		return
	}
	t.result.ID = MakeID(content, t.m.Source, occurrence)
	t.result.Size = size
	letters, lost, err := t.f.letters(t.m.Keywords)
	t.result.KeywordsLost = lost
	flags := t.m.Flags | letters
	t.cur = t.m.Cur || flags != 0
	known := t.im.j.find(t.result.ID)
	var name Name
	named := false
	if err == nil && known == nil {
		name, named, err = t.f.earlier(t.im.j, t.result.ID)
	}
	switch {
	case err != nil:
	case c.err() != nil:
		err = c.err()
	case known != nil:
		err = t.again(known, flags)
	case named:
		// What the reader did to it since is not known. That it was delivered
		// as the source wants it now is the guess that changes nothing.
		t.result.Outcome, t.act, t.name = Present, actRecord, t.wish(name, flags)
	default:
		err = w.write(c, t, flags, content, inline)
	}
	if err != nil {
		t.result.Outcome, t.result.Err = Failed, err
		if src := (*sourceError)(nil); !errors.As(err, &src) && !planted(err) {
			c.fatal(err)
		}
	}
}

// wish is the name that the message should have where it goes.
func (t *task) wish(n Name, flags Flags) Name {
	if t.cur {
		return n.WithFlags(flags)
	}
	return n.Bare()
}

// read takes the digest of a message, and keeps a small one in the buffer.
func (w *writer) read(m *Message) (content Content, size int64, inline bool, err error) {
	w.hash.reset()
	if m.Size <= inlineSize {
		w.buf.Reset()
		_, err := w.buf.ReadFrom(io.LimitReader(m.Body(), inlineSize+1))
		if err != nil {
			return Content{}, 0, false, err
		}
		if w.buf.Len() <= inlineSize {
			w.hash.Write(w.buf.Bytes())
			return w.hash.sum(), int64(w.buf.Len()), true, nil
		}
	}
	size, err = copyTo(w.hash, m.Body())
	return w.hash.sum(), size, false, err
}

// copyTo copies a large message through a buffer of its own.
func copyTo(w io.Writer, r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, 256<<10))
}

// again decides about a message that an earlier run delivered: its flags
// follow the source's where the Maildir's are as that run left them.
func (t *task) again(k *known, flags Flags) error {
	t.result.Outcome = Present
	if k.place == placeSum(t.cur, flags) {
		return nil
	}
	r, err := t.im.j.recorded(k)
	if err != nil {
		return err
	}
	t.result.Outcome = Kept
	if r.folder != t.f.Dir.folder {
		return nil
	}
	wish := t.wish(r.name, flags)
	places := []Entry{
		{Cur: t.cur, Name: wish}, // both sides changed alike, or a run was cut off
		{Cur: r.cur, Name: r.name},
	}
	if !r.cur {
		// Opening a folder moves what is new in it, without any flag.
		places = append(places, Entry{Cur: true, Name: r.name.WithFlags(0)})
	}
	for i, e := range places {
		e.Folder = r.folder
		switch _, err := t.f.sub(e).Lstat(e.Name.String()); {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		case i == 0:
			t.result.Outcome, t.act, t.name = Present, actRecord, wish
		default:
			t.act, t.name, t.from = actRename, wish, e
		}
		return nil
	}
	return nil
}

// write makes the file under tmp/, whole and with its times, but not yet
// synced.
func (w *writer) write(c *Committer, t *task, flags Flags, content Content, inline bool) error {
	now := c.now()
	at := t.m.Time
	if at.IsZero() || at.After(now) {
		at = now
	}
	base := importName(at, t.result.ID, t.result.Size)
	name, err := ParseName(base)
	if err != nil {
		return err
	}
	name = t.wish(name, flags)
	f, err := t.f.tmp.Create(base, t.f.opts.FileMode, t.f.opts.owner())
	if errors.Is(err, fs.ErrExist) {
		// Only its user can have put it there, since recovery has swept.
		if e := t.f.tmp.Remove(base); e == nil {
			f, err = t.f.tmp.Create(base, t.f.opts.FileMode, t.f.opts.owner())
		}
	}
	if errors.Is(err, fs.ErrExist) {
		err = &sourceError{err}
	}
	if err != nil {
		return err
	}
	if inline {
		_, err = f.Write(w.buf.Bytes())
	} else {
		err = w.copy(f, t, content)
	}
	if err == nil && !at.Equal(now) {
		err = f.SetTime(at)
	}
	if err == nil && c.opts.Sync == SyncEach {
		err = f.Sync()
	}
	if err != nil {
		f.Abandon()
		return err
	}
	if err := f.Close(); err != nil {
		t.f.tmp.Remove(base)
		return err
	}
	t.act, t.name = actLink, name
	return nil
}

// copy streams a large message, and makes sure that it is the one whose digest
// was taken.
func (w *writer) copy(f *safefs.File, t *task, content Content) error {
	w.hash.reset()
	body := &sourceReader{r: t.m.Body()}
	n, err := copyTo(io.MultiWriter(f, w.hash), body)
	if body.err != nil {
		return &sourceError{body.err}
	}
	if err == nil && (n != t.result.Size || w.hash.sum() != content) {
		return &sourceError{errChanged}
	}
	return err
}

// A sourceReader remembers that it was the reading that failed.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// importedMark ends the unique part of names that an import makes.
const importedMark = ".qmailkit"

// importName is the base of the name that the message gets: its time, its ID
// where others have random digits, its size. That is at most 70 bytes, which
// is what a POP3 UIDL may have (RFC 1939 section 7).
func importName(t time.Time, id ID, size int64) string {
	return fmt.Sprintf("%d.R%s%s,S=%d", max(t.Unix(), 0), id, importedMark, size)
}
