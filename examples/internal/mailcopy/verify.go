package mailcopy

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/mbox"
)

// A Proof is what comparing an mbox with a Maildir came to.
type Proof struct {
	Box
	Messages int64 // in the mbox, the pseudo message left out
	Bytes    int64
	// Same are in the Maildir with the same SHA-256. Restated are there with
	// other state headers, which a mail program has rewritten in the mbox
	// since. Taken were delivered, and their reader has deleted them since.
	Same, Restated, Taken int64
	// Missing are not in the Maildir and were never delivered.
	Missing  int64
	Problems []qmailkit.Problem
	// Unread says that the mbox could not be read to its end.
	Unread bool
}

// Good says whether every message of the box has arrived.
func (p *Proof) Good() bool { return p.Missing == 0 && !p.Unread }

// A Holding is what a Maildir holds: each message by its digests. Messages
// are taken out as they are found again, so that of equal ones each counts.
type Holding struct {
	Messages int64
	Bytes    int64
	raw      map[[16]byte]int32
	content  map[[16]byte]int32
	dir      *maildir.Dir
	hist     *maildir.History
	Problems []qmailkit.Problem
}

// Hold reads all messages of a Maildir and its folders. The Dir must stay open
// until the Holding is closed.
func Hold(ctx context.Context, d *maildir.Dir) (*Holding, error) {
	h := &Holding{raw: map[[16]byte]int32{}, content: map[[16]byte]int32{}, dir: d}
	if err := h.folder(ctx, d); err != nil {
		return nil, err
	}
	for name, err := range d.Folders(ctx) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return nil, err
		}
		if err != nil {
			h.Problems = append(h.Problems, qmailkit.Problem{Code: "maildir.folder", Severity: qmailkit.Warning, Path: name, Err: plainErr(err)})
			continue
		}
		f, err := d.Folder(name)
		if err != nil {
			return nil, err
		}
		err = h.folder(ctx, f)
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	var err error
	h.hist, err = d.History()
	return h, err
}

// Close gives the record of imports back.
func (h *Holding) Close() error { return h.hist.Close() }

func (h *Holding) folder(ctx context.Context, d *maildir.Dir) error {
	for e, err := range d.Messages(ctx) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return err
		}
		if err != nil {
			h.Problems = append(h.Problems, qmailkit.Problem{Code: "maildir.not-message", Severity: qmailkit.Warning, Path: e.Folder, Err: err})
			continue
		}
		raw, content, n, err := digest(func() (io.ReadCloser, error) { return d.OpenMessage(e) })
		if errors.Is(err, fs.ErrNotExist) {
			continue // its reader moved it just now
		}
		if err != nil {
			return err
		}
		h.Messages++
		h.Bytes += n
		h.raw[raw]++
		h.content[content]++
	}
	return nil
}

// digest reads a message once and takes both digests.
func digest(open func() (io.ReadCloser, error)) (raw, content [16]byte, n int64, err error) {
	f, err := open()
	if err != nil {
		return raw, content, 0, err
	}
	defer f.Close()
	sum := sha256.New()
	c, n, err := maildir.ContentOf(io.TeeReader(f, sum))
	copy(raw[:], sum.Sum(nil))
	copy(content[:], c[:])
	return raw, content, n, err
}

// Prove looks for each message of a box in what the Maildir holds. Boxes that
// went into one Maildir share its Holding.
func (h *Holding) Prove(ctx context.Context, b Box, o *Options) (*Proof, error) {
	p := &Proof{Box: b}
	r := &Result{Box: b}
	f, size, err := openBox(ctx, b, o, r)
	if err != nil {
		p.Unread = true
		p.Problems = append(p.Problems, qmailkit.Problem{Code: "mbox.unreadable", Severity: qmailkit.Error, Path: b.Path, Err: plainErr(err)})
		return p, context.Cause(ctx)
	}
	defer f.Close()
	seen := map[uint64]uint32{}
	for m, err := range mbox.NewIndexer(f, size, &mbox.Options{Format: o.Format, Prefix: true}).All(ctx) {
		if err != nil {
			if ctx.Err() != nil {
				return p, context.Cause(ctx)
			}
			r.loseIndex(err)
			p.Unread = true
			break
		}
		if m.Pseudo {
			continue
		}
		p.Messages++
		p.Bytes += m.Length
		sum := sha256.New()
		c, n, err := maildir.ContentOf(io.TeeReader(body(f, m, o), sum))
		if err != nil {
			r.lose("mbox.incomplete", err)
			p.Unread = true
			break
		}
		key := binary.LittleEndian.Uint64(c[:8])
		id := maildir.MakeID(c, b.Source, seen[key])
		seen[key]++
		if err := h.find(p, r, m, [16]byte(sum.Sum(nil)[:16]), [16]byte(c[:16]), id); err != nil {
			return p, err
		}
		o.Progress.Messages(1)
		o.Progress.Bytes(n)
	}
	p.Problems = append(p.Problems, r.Problems...)
	return p, nil
}

// find takes one message out of the Holding.
func (h *Holding) find(p *Proof, r *Result, m *mbox.Header, raw, content [16]byte, id maildir.ID) error {
	if h.raw[raw] > 0 {
		h.raw[raw]--
		h.content[content]--
		p.Same++
		return nil
	}
	if h.content[content] > 0 {
		h.content[content]--
		p.Restated++
		return nil
	}
	_, delivered, err := h.hist.Entry(id)
	if err != nil {
		return err
	}
	if delivered {
		p.Taken++
		return nil
	}
	p.Missing++
	r.problem(qmailkit.Problem{Code: "verify.missing", Severity: qmailkit.Error, Line: int(m.Line), Offset: m.FromOffset,
		Err: fmt.Errorf("message %d is not in the Maildir", m.Index)})
	return nil
}
