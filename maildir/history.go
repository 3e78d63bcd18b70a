package maildir

import (
	"errors"
	"io/fs"
	"iter"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A History is what imports have recorded in a Maildir, to be looked at.
type History struct{ j *journal }

// History opens the record of imports into this Maildir. Where there was none
// the History is empty. It must be closed.
func (d *Dir) History() (*History, error) {
	j := &journal{dir: d.root, opts: d.opts, look: true}
	f, err := d.root.OpenPlain(JournalName, safefs.Expect{})
	if errors.Is(err, fs.ErrNotExist) {
		return &History{j}, nil
	}
	if err != nil {
		return nil, err
	}
	j.f = f
	if _, err := j.read(); err != nil {
		f.Close()
		return nil, err
	}
	return &History{j}, nil
}

// Len is the number of messages that were delivered.
func (h *History) Len() int { return len(h.j.done) }

// Entry tells where an import put a message. Its reader may have moved or
// deleted it since.
func (h *History) Entry(id ID) (Entry, bool, error) {
	k := h.j.find(id)
	if k == nil {
		return Entry{}, false, nil
	}
	r, err := h.j.recorded(k)
	if err != nil {
		return Entry{}, false, err
	}
	return r.entry(), true, nil
}

// All yields what was delivered, in no order. The History must not change
// meanwhile.
func (h *History) All() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for r, err := range h.j.records() {
			if err != nil {
				yield(Entry{}, qmailkit.Incomplete(err))
				return
			}
			if !yield(r.entry(), nil) {
				return
			}
		}
	}
}

func (r *record) entry() Entry { return Entry{Folder: r.folder, Cur: r.cur, Name: r.name} }

// Close gives the descriptor back.
func (h *History) Close() error { return h.j.close() }
