//go:build unix

package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

var (
	// ErrRestored says that an item was brought back before.
	ErrRestored = errors.New("message was brought back already")
	// ErrUnsure says that bringing an item back was interrupted at a moment at
	// which the message may have been queued or not.
	ErrUnsure = errors.New("bringing the message back was interrupted, and it may be queued already")
	// ErrStillQueued says that the message of an item is still in the queue:
	// taking it out was interrupted. Quarantine finishes that.
	ErrStillQueued = errors.New("message is still in the queue")
	// ErrNoEnvelope says that an item does not tell the sender or the
	// recipients, or not in a form that can be queued.
	ErrNoEnvelope = errors.New("envelope is not known")
	// ErrNobodyLeft says that all recipients of a message are done.
	ErrNobodyLeft = errors.New("no recipient is left")
)

// RestoreState is how far bringing back an item got.
type RestoreState string

// The states of an item. RestoreBegun is what an interruption leaves.
const (
	RestoreNever RestoreState = ""
	RestoreBegun RestoreState = "begun"
	RestoreDone  RestoreState = "done"
)

// note is what an item remembers of bringing it back.
type note struct {
	State RestoreState `json:"state"`
	// ID is the number that the message gets; 0 where nobody tells it.
	ID   ID        `json:"id,omitempty"`
	Time time.Time `json:"time"`
}

const noteName = "restore.json"

func readNote(d *safefs.Dir) (n note, err error) {
	b, err := d.ReadFile(noteName, 4<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &n)
	}
	return n, err
}

func writeNote(d *safefs.Dir, n note) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return d.WriteFile(noteName, safefs.Replacement{Mode: 0o600, Owner: safefs.Keep, Temp: ".note"}, append(b, '\n'))
}

// RestoreOptions say how a message goes back.
type RestoreOptions struct {
	// Runner queues it; nil is Queue.Enqueue, in the name of Enqueue.
	Runner  Runner
	Enqueue *EnqueueOptions
	// Recipient turns a recipient of local into what it was before qmail-send
	// put the prefix of virtualdomains before it: queued as it is, it would get
	// the prefix again. (qmail-send.c, rewrite, and stripvdomprepend, which
	// undoes it.) Where there are no virtual domains it returns its argument.
	// It is needed for a preprocessed message with local recipients.
	Recipient func(local string) (string, error)
	// Envelope, if set, is taken instead of what the item says.
	Envelope *Envelope
	// Again brings back a message that was brought back before, or may have
	// been.
	Again bool
}

// maxRecipients bounds the recipients of one message that is brought back.
const maxRecipients = 1 << 20

// Restore queues the message of an item again, for those recipients that are
// not done, through the protocol of qmail-queue: so it gets a number of its own,
// and another Received line. Failures noted before (the file bounce) are told to
// nobody; they stay in the item. The item stays as well, and remembers: a second
// Restore is refused with ErrRestored.
//
// An interrupted Restore does not queue the message twice. With Enqueue the
// next one finds out what became of the first; with another Runner nobody can
// know, and it is refused with ErrUnsure.
func (z *Quarantine) Restore(ctx context.Context, q *Queue, item string, opts *RestoreOptions) error {
	if opts == nil {
		opts = &RestoreOptions{}
	}
	it, err := z.Item(item)
	if err != nil {
		return err
	}
	d, err := z.open(item)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.TryLock(); err != nil {
		return err
	}
	err = q.mayRestore(d, it, opts)
	if err != nil {
		return fmt.Errorf("item %s: %w", item, err)
	}
	env, err := it.envelope(d, opts)
	if err != nil {
		return fmt.Errorf("item %s: %w", item, err)
	}
	mess, err := d.OpenPlain(Mess.String(), safefs.Expect{})
	if err != nil {
		return err
	}
	defer mess.Close()
	n := note{State: RestoreBegun, Time: z.now().UTC()}
	run := opts.Runner
	if run == nil {
		run = q.Runner(z.noting(d, &n, opts.Enqueue))
	} else if err := writeNote(d, n); err != nil {
		return err
	}
	if err := Submit(ctx, run, mess, *env); err != nil {
		var refused *SubmitError
		if opts.Runner != nil && errors.As(err, &refused) && refused.Code != 0 {
			// It has said that it did not take it. One that ends well without
			// having read all may have queued what it had.
			err = errors.Join(err, writeNote(d, note{Time: n.Time}))
		}
		return err
	}
	n.State = RestoreDone
	return writeNote(d, n)
}

// noting has the number noted before it counts, and taken back before what was
// made is removed.
func (z *Quarantine) noting(d *safefs.Dir, n *note, opts *EnqueueOptions) *EnqueueOptions {
	o := EnqueueOptions{}
	if opts != nil {
		o = *opts
	}
	o.committing = func(id ID) error {
		n.ID = id
		return writeNote(d, *n)
	}
	o.undoing = func() {
		if n.ID != 0 {
			writeNote(d, note{Time: n.Time})
		}
	}
	return &o
}

// mayRestore decides whether an item may be brought back, and mends what an
// interruption left.
func (q *Queue) mayRestore(d *safefs.Dir, it *Item, opts *RestoreOptions) error {
	if !it.Has(Mess.String()) {
		return fmt.Errorf("%w: it is no message", ErrNoEnvelope)
	}
	for _, f := range it.Files {
		p, n := partOf(string(f.Path))
		if f.Left || n == 0 || p != Info && p != Todo {
			continue
		}
		if fi, err := q.topInfo(string(f.Path)); err == nil && fi.Ino == f.Ino {
			return ErrStillQueued
		}
	}
	if opts.Again {
		return nil
	}
	n, err := readNote(d)
	if err != nil {
		return err
	}
	switch {
	case n.State == RestoreDone:
		return ErrRestored
	case n.State != RestoreBegun:
		return nil
	case n.ID == 0:
		return ErrUnsure
	}
	queued, err := q.wasQueued(n)
	if err != nil || !queued {
		return err
	}
	n.State = RestoreDone
	return errors.Join(ErrRestored, writeNote(d, n))
}

// wasQueued finds out whether the message that Enqueue was about to queue has
// got its name in todo. As long as qmail has not cleaned up, one that did not
// has left its files in mess and intd: both were on the disk before the number
// was noted. One that did has lost intd when it was preprocessed, so that a file
// in mess alone is what qmail-send leaves between the end of a message and its
// removal. After the time that a qmail-queue may take the number can be that of
// another message.
func (q *Queue) wasQueued(n note) (bool, error) {
	var set Parts
	for p := range numParts {
		_, err := q.topInfo(q.layout.Path(p, n.ID))
		if missing(err) {
			continue
		}
		if err != nil {
			return false, err
		}
		set = set.With(p)
	}
	if fi, err := q.topInfo(q.layout.Path(Mess, n.ID)); err == nil && fi.ModTime.After(n.Time.Add(death)) {
		return false, ErrUnsure // another message
	}
	switch set.State() {
	case S4, S5:
		return true, nil
	case S3:
		return false, nil
	case S1, S2:
		if q.opts.Now().After(n.Time.Add(death)) {
			return false, ErrUnsure
		}
		return true, nil // it was delivered meanwhile
	}
	return false, ErrUnsure
}

// envelope is what an item says of sender and recipients.
func (it *Item) envelope(d *safefs.Dir, opts *RestoreOptions) (*Envelope, error) {
	if opts.Envelope != nil {
		return opts.Envelope, nil
	}
	e := &Envelope{}
	from := Info
	if it.Has(Todo.String()) {
		from = Todo
	}
	sender := false
	err := itemRecords(d, from, func(kind byte, text string) error {
		switch {
		case kind == 'F' && (from == Todo || !sender):
			e.Sender, sender = text, true
		case kind == 'T' && from == Todo:
			e.Recipients = append(e.Recipients, text)
		case from == Todo && kind != 'u' && kind != 'p':
			return fmt.Errorf("%w: %w: %q", ErrNoEnvelope, ErrRecord, kind)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !sender {
		return nil, fmt.Errorf("%w: there is no sender", ErrNoEnvelope)
	}
	for _, p := range [...]Part{Local, Remote} {
		if from == Todo || !it.Has(p.String()) {
			continue
		}
		if err := e.addList(d, p, opts); err != nil {
			return nil, err
		}
	}
	if len(e.Recipients) == 0 {
		return nil, ErrNobodyLeft
	}
	return e, nil
}

// addList adds the recipients of a list that are not done.
func (e *Envelope) addList(d *safefs.Dir, p Part, opts *RestoreOptions) error {
	return itemRecords(d, p, func(kind byte, text string) (err error) {
		switch kind {
		case 'D':
			return nil
		case 'T':
		default:
			return fmt.Errorf("%w: %w: %q", ErrNoEnvelope, ErrRecord, kind)
		}
		if p == Local {
			if opts.Recipient == nil {
				return fmt.Errorf("%w: local recipients can have a prefix of virtualdomains, and nobody takes it off", ErrNoEnvelope)
			}
			if text, err = opts.Recipient(text); err != nil {
				return err
			}
		}
		if len(e.Recipients) >= maxRecipients {
			return fmt.Errorf("%w: more than %d recipients", ErrNoEnvelope, maxRecipients)
		}
		e.Recipients = append(e.Recipients, text)
		return nil
	})
}

// itemRecords calls f for the records of one file of an item, and is strict:
// half an envelope must not be taken for a whole one. Of info only the first
// counts.
func itemRecords(d *safefs.Dir, p Part, f func(kind byte, text string) error) error {
	file, err := d.OpenPlain(p.String(), safefs.Expect{})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: there is no %s", ErrNoEnvelope, p)
	}
	if err != nil {
		return err
	}
	defer file.Close()
	for recs := NewRecords(file); ; {
		rec, err := recs.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err = rec.problem(); err == nil && len(rec.Data) == 0 {
			err = ErrRecord
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrNoEnvelope, p, err)
		}
		if err := f(rec.Data[0], string(rec.Data[1:])); err != nil || p == Info {
			return err
		}
	}
}
