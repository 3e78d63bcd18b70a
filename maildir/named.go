package maildir

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"time"

	"github.com/qmailkit/qmailkit"
)

// Messages that keep their names. A message's base does not change while it
// lives, so it is what a later run knows it by; its bytes are read once.

// nameContent stands for the content of a message with this base. No message's
// digest is the same: the input of both is told apart by its first byte, which
// no header begins with.
func nameContent(base string) Content {
	return sha256.Sum256(append([]byte{0}, base...))
}

// stageName is what a message that keeps its name is called under tmp/.
// Recovery knows by it whose it is.
func stageName(id ID) string { return importName(time.Unix(0, 0), id, 0) }

// named says that the record is of a message that keeps its name. A name that
// this import made has the record's ID in it; that of another move, whose
// target is now a source, has another one. A journal that its user wrote can at
// worst move his own messages about.
func (r *record) named() bool {
	id, ours := importedID(r.name.String())
	return !ours || id != r.id
}

// staged is what the message of an intent is called under tmp/.
func (r *record) staged() string {
	if r.named() {
		return stageName(r.id)
	}
	return r.name.Base()
}

// named gives the ID of a message that keeps its name.
func (s *source) named(m *Message) ID {
	content := nameContent(m.Name.Base())
	key := binary.LittleEndian.Uint64(content[:8])
	n := s.bases[key]
	s.bases[key]++
	return MakeID(content, m.Source, n)
}

// named stages a message that keeps its name.
func (w *writer) named(c *Committer, t *task) error {
	letters, lost, err := t.f.letters(t.m.Keywords)
	t.result.KeywordsLost = lost
	if err != nil {
		return err
	}
	flags := t.m.Flags | letters
	t.cur = t.m.Cur
	if c.err() != nil {
		return c.err()
	}
	if known := t.im.j.find(t.result.ID); known != nil {
		return t.again(known, flags)
	}
	switch there, found, err := t.f.based(t.m.Name.Base()); {
	case err != nil:
		return err
	case found:
		return t.there(there)
	}
	return w.carry(c, t, flags)
}

// ErrNameTaken says that the Maildir has another message with the same base, so
// that one of the two would have to be renamed.
var ErrNameTaken = errors.New("maildir: another message has its name")

// there decides about a message whose base is in the Maildir although the
// journal does not tell of it: a run whose journal is lost brought it, or
// another program did. As it stands is how it was delivered, for all that is
// known.
func (t *task) there(e Entry) error {
	if err := t.look(); err != nil {
		return err
	}
	fi, err := t.f.Stat(e)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && fi.Size != t.m.Size {
		return &sourceError{fmt.Errorf("%w: %q, of %d bytes and not %d", ErrNameTaken, e.Name.String(), fi.Size, t.m.Size)}
	}
	t.cur = e.Cur
	t.result.Outcome, t.act, t.name = Present, actRecord, e.Name
	return nil
}

func (t *task) look() (err error) {
	if t.m.Look == nil {
		return nil
	}
	if t.m.Size, t.m.Time, err = t.m.Look(); err != nil {
		return &sourceError{err}
	}
	return nil
}

// carry writes the message under tmp/.
func (w *writer) carry(c *Committer, t *task, flags Flags) error {
	t.tmp = stageName(t.result.ID)
	whole, err := w.whole(t)
	if err == nil && whole {
		at, late := t.arrival(c)
		err = t.put(c, t.tmp, at, late, w.buf.Bytes())
	} else if err == nil {
		err = w.carryStream(c, t)
	}
	if err != nil {
		return err
	}
	t.act, t.name = actLink, t.wish(t.m.Name, flags)
	return nil
}

// whole reads a message of a Transfer into the buffer, if it is a small one:
// with a look at it, in as few calls as there can be.
func (w *writer) whole(t *task) (bool, error) {
	if t.m.from == nil || t.m.Size > inlineSize {
		return false, nil
	}
	w.buf.Reset()
	w.buf.Grow(inlineSize + 1)
	n, fi, err := t.m.from.Read(t.m.Name.String(), w.buf.AvailableBuffer()[:inlineSize+1])
	switch {
	case err != nil:
		return false, &sourceError{err}
	case n > inlineSize:
		return false, nil
	case int64(n) != fi.Size:
		return false, &sourceError{errChanged}
	}
	w.buf.Write(w.buf.AvailableBuffer()[:n])
	t.m.Size, t.m.Time, t.result.Size = fi.Size, fi.ModTime, fi.Size
	return true, nil
}

// carryStream writes a message of any size.
func (w *writer) carryStream(c *Committer, t *task) error {
	if err := t.look(); err != nil {
		return err
	}
	at, late := t.arrival(c)
	f, err := t.create(t.tmp)
	if err != nil {
		return err
	}
	r := t.m.Body()
	body := &sourceReader{r: r}
	t.result.Size, err = copyTo(f, body, t.m.Size)
	if closer, ok := r.(io.Closer); ok {
		if e := closer.Close(); body.err == nil && e != nil {
			body.err = e
		}
	}
	switch {
	case body.err != nil:
		err = &sourceError{body.err}
	case err == nil && t.result.Size != t.m.Size:
		err = &sourceError{errChanged}
	}
	return t.finish(c, f, at, late, err)
}

// withBase finds a message by its base.
func (d *Dir) withBase(base string) (Entry, bool, error) {
	for e, err := range d.Messages(context.Background()) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return Entry{}, false, err
		}
		if err == nil && e.Name.Base() == base {
			return e, true, nil
		}
	}
	return Entry{}, false, nil
}

// based finds a message that the journal does not tell of by its base. Of what
// the folder held when it was first asked eight bytes a message are kept: only
// an import adds messages with names from elsewhere.
func (f *folder) based(base string) (Entry, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bases == nil {
		f.seed = maphash.MakeSeed()
		f.bases = map[uint64]struct{}{}
		for e, err := range f.Messages(context.Background()) {
			if errors.Is(err, qmailkit.ErrIncomplete) {
				f.bases = nil
				return Entry{}, false, err
			}
			if err == nil {
				f.bases[maphash.String(f.seed, e.Name.Base())] = struct{}{}
			}
		}
	}
	if _, maybe := f.bases[maphash.String(f.seed, base)]; !maybe {
		return Entry{}, false, nil
	}
	return f.withBase(base)
}
