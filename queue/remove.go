//go:build unix

package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// ErrArriving says that a message is not yet queued, or that what a dead
// qmail-queue left is younger than the 36 hours after which qmail removes it.
var ErrArriving = errors.New("message is still arriving, or was left behind less than 36 hours ago")

// removeOrder is the order in which the files of a message are removed, and
// can be cut off anywhere. The message goes last, because its file keeps the
// number taken.
//
// Of a preprocessed message (S5) bounce goes first: without local and remote
// qmail-send would send it. What is left after each step is S5 again until info
// is gone, then S2, which qmail cleans.
//
// Of one in todo (S4) what qmail-send had begun goes first: with todo there it
// begins anew, so that the state stays S4. Were todo removed before info, it
// would take the rest for a preprocessed message and deliver it.
func removeOrder(set Parts) []Part {
	if set.Has(Todo) {
		return []Part{Bounce, Info, Local, Remote, Todo, Intd, Mess}
	}
	return []Part{Bounce, Local, Remote, Info, Intd, Mess}
}

// removal is one file with its turn.
type removal struct {
	fileRef
	turn int
}

// removals gives the files of one message their turns. What is no file of a
// message goes first.
func removals(refs []fileRef) []removal {
	var set Parts
	for _, r := range refs {
		if p, n := partOf(r.path); n > 0 {
			set = set.With(p)
		}
	}
	order := removeOrder(set)
	list := make([]removal, len(refs))
	for i, r := range refs {
		list[i] = removal{r, -1}
		if p, n := partOf(r.path); n > 0 {
			list[i].turn = slices.Index(order, p)
		}
	}
	return list
}

// remove removes files turn by turn, and has each turn on the disk before the
// next one: else a power cut could undo them in another order. It stops at
// a file that is another by now: what follows may only go behind it.
func (q *Queue) remove(list []removal) error {
	slices.SortStableFunc(list, func(a, b removal) int {
		return cmp.Or(cmp.Compare(a.turn, b.turn), strings.Compare(a.path, b.path))
	})
	for len(list) > 0 {
		n := 1
		dir, _ := splitPath(list[0].path)
		for n < len(list) && list[n].turn == list[0].turn {
			if d, _ := splitPath(list[n].path); d != dir {
				break
			}
			n++
		}
		if err := q.removeIn(dir, list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// removeIn removes files of one directory.
func (q *Queue) removeIn(dir string, list []removal) error {
	d, err := q.openDir(dir)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	for _, r := range list {
		_, base := splitPath(r.path)
		fi, err := d.Lstat(base)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		case fi.Ino != r.ino:
			return fmt.Errorf("%s: %w", plainText(r.path), ErrGone)
		case fi.Mode.IsDir():
			continue // a stray one, which was moved
		}
		if err := d.Remove(base); err != nil {
			return err
		}
	}
	return d.Sync()
}

// messageRefs finds the files of a message where qmail looks for them. A
// message that may be arriving is refused, unless it is older than 36 hours.
func (q *Queue) messageRefs(id ID) ([]fileRef, error) {
	var refs []fileRef
	var set Parts
	for _, p := range scanOrder {
		path := q.layout.Path(p, id)
		fi, err := q.topInfo(path)
		if missing(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !fi.Mode.IsRegular() {
			return nil, fmt.Errorf("%s is no plain file", path)
		}
		refs = append(refs, fileRef{path, fi.Ino, 0})
		set = set.With(p)
	}
	switch set.State() {
	case S1:
		return nil, ErrNoMessage
	case S2, S3:
		fi, err := q.lstat(q.layout.Path(Mess, id))
		if err != nil {
			return nil, err
		}
		if !q.opts.Now().After(fi.ATime.Add(leftBehind)) {
			return nil, ErrArriving
		}
	}
	// The message first: an item is named after it.
	slices.Reverse(refs)
	return refs, nil
}

// A MessageError is what went wrong with one message of many.
type MessageError struct {
	ID  ID
	Err error
}

// Error names the message.
func (e *MessageError) Error() string { return fmt.Sprintf("message %d: %v", e.ID, e.Err) }

// Unwrap returns Err.
func (e *MessageError) Unwrap() error { return e.Err }

// removeGroup is how many messages are removed turn by turn at a time.
const removeGroup = 500

// Delete removes messages for good, without telling anybody: no bounce is sent.
// Interrupted anywhere, what is left is in a state that qmail knows, and Delete
// can be repeated.
//
// One that cannot be removed keeps no other from it. The error joins a
// *MessageError for each, which wraps ErrNoMessage where there is none of that
// number, and ErrArriving where it may not be touched yet.
func (l *Lock) Delete(ctx context.Context, ids ...ID) error {
	return l.takeOut(ctx, ids, func(ID, []fileRef) error { return nil })
}

// Quarantine takes messages out of the queue and keeps them: first all files of
// a message are in the quarantine, on the disk, then they are removed as Delete
// does it. The reason is written down. The same call after an interruption
// finishes. Errors are those of Delete.
func (l *Lock) Quarantine(ctx context.Context, z *Quarantine, reason string, ids ...ID) error {
	return l.takeOut(ctx, ids, func(id ID, refs []fileRef) error {
		return z.keep(ctx, l.q, id, reason, refs, nil)
	})
}

func (l *Lock) takeOut(ctx context.Context, ids []ID, keep func(ID, []fileRef) error) error {
	if err := l.ready(ctx); err != nil {
		return err
	}
	var errs []error
	for group := range slices.Chunk(ids, removeGroup) {
		var list []removal
		lists := map[ID][]removal{}
		for _, id := range group {
			if err := context.Cause(ctx); err != nil {
				return errors.Join(append(errs, err)...)
			}
			refs, err := l.q.messageRefs(id)
			if err == nil {
				err = keep(id, refs)
			}
			if err != nil {
				errs = append(errs, &MessageError{id, err})
				continue
			}
			lists[id] = removals(refs)
			list = append(list, lists[id]...)
		}
		if l.q.remove(list) == nil {
			continue
		}
		// Something is in the way of one of them: it shall not be in the way of
		// the others. What is removed already is passed over.
		for _, id := range group {
			if err := l.q.remove(lists[id]); err != nil {
				errs = append(errs, &MessageError{id, err})
			}
		}
	}
	return errors.Join(errs...)
}

// ready finishes a change that was interrupted. Where that has changed the
// layout, nothing can be found any more.
func (l *Lock) ready(ctx context.Context) error {
	j, err := l.q.readJournal()
	if err != nil || j == nil {
		return err
	}
	if err := l.finish(ctx, j); err != nil {
		return err
	}
	if j.layout != l.q.layout {
		return fmt.Errorf("an interrupted conversion is finished now, to a split of %d: the queue has to be opened anew", j.layout.Split)
	}
	return nil
}
