package maildir

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A writer stages messages.
type writer struct {
	hash  *contentHash
	buf   bytes.Buffer
	quick maphash.Hash // tells whether a message read twice was the same
}

// A sourceError is trouble with one message, not with the Maildir.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

var errChanged = errors.New("message changed while it was read")

// stage writes a message under tmp/, or finds that it need not.
func (w *writer) stage(c *Committer, t *task) {
	defer t.g.staged.Done()
	defer t.m.from.release()
	switch {
	case t.f == nil && t.turn != nil:
		<-t.turn
		close(t.next)
		return
	case t.f == nil:
		return
	case t.turn == nil:
		w.settle(c, t, w.named(c, t))
		return
	}
	var content Content
	var err error
	inline, staged := false, ""
	if t.m.Size > inlineSize && t.unheard() && c.err() == nil {
		staged, content, err = w.ahead(c, t)
	} else {
		content, inline, err = w.read(t)
	}
	occurrence := t.count(content, err)
	if err == nil {
		t.result.ID = MakeID(content, t.m.Source, occurrence)
		err = w.decide(c, t, inline, staged)
	}
	if staged != "" && t.act != actLink {
		t.f.tmp.Remove(staged) // it was not needed after all
	}
	w.settle(c, t, err)
}

// settle notes what went wrong with a message.
func (w *writer) settle(c *Committer, t *task, err error) {
	if err == nil {
		return
	}
	t.result.Outcome, t.result.Err = Failed, err
	// What ails the Maildir, and not just this message, ends the import.
	if src := (*sourceError)(nil); !errors.As(err, &src) && !planted(err) {
		c.fatal(err)
	}
}

// count waits until the message before this one is counted, and gives the
// number of this one among its equals.
func (t *task) count(content Content, err error) (occurrence uint32) {
	<-t.turn
	if err == nil {
		key := binary.LittleEndian.Uint64(content[:8])
		occurrence = t.src.seen[key]
		t.src.seen[key]++
	}
	close(t.next)
	return occurrence
}

// decide says what is done with a message, now that its ID is known.
func (w *writer) decide(c *Committer, t *task, inline bool, staged string) error {
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
		return err
	case c.err() != nil:
		return c.err()
	case known != nil:
		return t.again(known, flags)
	case named:
		// What the reader did to it since is not known. That it was delivered
		// as the source wants it now is the guess that changes nothing.
		t.result.Outcome, t.act, t.name = Present, actRecord, t.wish(name, flags)
		return nil
	case staged != "":
		return t.rename(c, staged, flags)
	}
	return w.write(c, t, flags, inline)
}

// wish is the name that the message should have where it goes.
func (t *task) wish(n Name, flags Flags) Name {
	if t.m.Name.IsValid() && n.Flags() == flags {
		return n // an odd name stays odd
	}
	if t.cur {
		return n.WithFlags(flags)
	}
	return n.Bare()
}

// read takes the digest of a message, and keeps a small one in the buffer.
func (w *writer) read(t *task) (content Content, inline bool, err error) {
	m := t.m
	w.hash.reset()
	if m.Size <= inlineSize {
		w.buf.Reset()
		_, err := w.buf.ReadFrom(io.LimitReader(m.Body(), inlineSize+1))
		if err != nil {
			return Content{}, false, &sourceError{err}
		}
		if w.buf.Len() <= inlineSize {
			w.hash.Write(w.buf.Bytes())
			t.result.Size = int64(w.buf.Len())
			return w.hash.sum(), true, nil
		}
	}
	w.quick.Reset()
	t.result.Size, err = copyTo(io.MultiWriter(w.hash, &w.quick), m.Body(), maxCopy)
	if err != nil {
		err = &sourceError{err}
	}
	return w.hash.sum(), false, err
}

// maxCopy is the largest buffer that a message is copied through.
const maxCopy = 256 << 10

// copyTo copies a message through a buffer of its own: of the size that it is
// said to have, so that many small ones do not cost a large buffer each.
func copyTo(w io.Writer, r io.Reader, size int64) (int64, error) {
	n := min(max(size+1, 4<<10), maxCopy)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, n))
}

// again decides about a message that an earlier run delivered: its flags
// follow the source's where the Maildir's are as that run left them.
func (t *task) again(k *known, flags Flags) error {
	t.result.Outcome = Present
	if k.place == placeSum(t.f.Dir.folder, t.cur, flags) {
		return nil
	}
	r, err := t.im.j.recorded(k)
	if err != nil {
		return err
	}
	t.result.Outcome = Kept
	if t.fromDir, err = t.recordedIn(&r); t.fromDir == nil || err != nil {
		return err
	}
	from := r.name
	if t.m.Name.IsValid() {
		from = t.m.Name // its reader has given it an info, or another one
	}
	wish := t.wish(from, flags)
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
		in := t.fromDir
		if i == 0 {
			e.Folder, in = t.f.Dir.folder, t.f.Dir
		}
		switch _, err := in.sub(e).Lstat(e.Name.String()); {
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

// recordedIn is the folder where an earlier run put the message; nil if it
// cannot be had. A message that keeps its name may have been moved to another
// folder at its source, and follows.
func (t *task) recordedIn(r *record) (*Dir, error) {
	switch {
	case r.folder == t.f.Dir.folder:
		return t.f.Dir, nil
	case !t.m.Name.IsValid():
		return nil, nil
	}
	d, err := t.im.dir.Folder(r.folder)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotMaildir) || err != nil && planted(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d.Close()
	f, err := t.im.folder(r.folder)
	if err != nil {
		return nil, err
	}
	return f.Dir, nil
}

// write makes the file under tmp/, whole and with its times, but not yet
// synced.
func (w *writer) write(c *Committer, t *task, flags Flags, inline bool) error {
	at, late := t.arrival(c)
	base := importName(at, t.result.ID, t.result.Size)
	name, err := ParseName(base)
	if err != nil {
		return err
	}
	if inline {
		err = t.put(c, base, at, late, w.buf.Bytes())
	} else {
		err = w.stream(c, t, base, at, late)
	}
	if err != nil {
		return err
	}
	t.act, t.tmp, t.name = actLink, base, t.wish(name, flags)
	return nil
}

// arrival is the time that the message gets; late says that it is not just the
// present.
func (t *task) arrival(c *Committer) (at time.Time, late bool) {
	now := c.now()
	if at = t.m.Time; at.IsZero() || at.After(now) {
		return now, false
	}
	return at, true
}

// create makes a file in tmp/.
func (t *task) create(base string) (f *safefs.File, err error) {
	err = t.anew(base, func() (err error) {
		f, err = t.f.tmp.Create(base, t.f.opts.FileMode, t.f.opts.owner())
		return err
	})
	return f, err
}

// put makes a file of these bytes in tmp/.
func (t *task) put(c *Committer, base string, at time.Time, late bool, p []byte) error {
	if !late {
		at = time.Time{}
	}
	err := t.anew(base, func() error {
		return t.f.tmp.WriteNew(base, t.f.opts.FileMode, t.f.opts.owner(), at, p)
	})
	if err != nil || c.opts.Sync != SyncEach {
		return err
	}
	if err := syncFile(t.f.tmp, base); err != nil {
		t.f.tmp.Remove(base)
		return err
	}
	return nil
}

// anew makes a file in tmp/, where another may have its name.
func (t *task) anew(base string, create func() error) error {
	err := create()
	if errors.Is(err, fs.ErrExist) {
		// Only its user can have put it there, since recovery has swept.
		if e := t.f.tmp.Remove(base); e == nil {
			err = create()
		}
	}
	if errors.Is(err, fs.ErrExist) {
		err = &sourceError{err}
	}
	return err
}

// finish closes a file in tmp/, or removes it if err says that it is not whole.
func (t *task) finish(c *Committer, f *safefs.File, at time.Time, late bool, err error) error {
	if err == nil && late {
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
		t.f.tmp.Remove(f.Name())
		return err
	}
	return nil
}

// stream writes a large message to a file in tmp/.
func (w *writer) stream(c *Committer, t *task, base string, at time.Time, late bool) error {
	f, err := t.create(base)
	if err != nil {
		return err
	}
	return t.finish(c, f, at, late, w.copy(f, t))
}

// copy streams a large message, and makes sure that it is the one whose digest
// was taken.
func (w *writer) copy(f *safefs.File, t *task) error {
	want := w.quick.Sum64()
	w.quick.Reset()
	body := &sourceReader{r: t.m.Body()}
	n, err := copyTo(io.MultiWriter(f, &w.quick), body, maxCopy)
	if body.err != nil {
		return &sourceError{body.err}
	}
	if err == nil && (n != t.result.Size || w.quick.Sum64() != want) {
		return &sourceError{errChanged}
	}
	return err
}

// unheard says that nothing was imported here before, so that a message is new
// before its digest is known.
func (t *task) unheard() bool { return len(t.im.j.done) == 0 }

// ahead writes a large message that is most likely new under tmp/ and takes its
// digest on the way: it is read only once. The name is that of an unfinished
// import, which recovery sweeps away.
func (w *writer) ahead(c *Committer, t *task) (name string, content Content, err error) {
	var r ID
	rand.Read(r[:]) // never fails
	at, late := t.arrival(c)
	name = importName(at, r, t.m.Size)
	f, err := t.create(name)
	if err != nil {
		return "", Content{}, err
	}
	w.hash.reset()
	body := &sourceReader{r: t.m.Body()}
	t.result.Size, err = copyTo(io.MultiWriter(f, w.hash), body, maxCopy)
	if body.err != nil {
		err = &sourceError{body.err}
	}
	if err := t.finish(c, f, at, late, err); err != nil {
		return "", Content{}, err
	}
	return name, w.hash.sum(), nil
}

// rename gives a file that was written ahead the name by which it is linked.
func (t *task) rename(c *Committer, staged string, flags Flags) error {
	at, _ := t.arrival(c)
	base := importName(at, t.result.ID, t.result.Size)
	name, err := ParseName(base)
	if err != nil {
		return err
	}
	if err := t.f.tmp.Rename(staged, t.f.tmp, base); err != nil {
		return err
	}
	t.act, t.tmp, t.name = actLink, base, t.wish(name, flags)
	return nil
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
