//go:build unix

package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// ErrNoQuarantine says that a plan takes files out of the queue and nobody said
// where to.
var ErrNoQuarantine = errors.New("a quarantine is needed")

// ErrGone says that a file was not found where a plan or an interrupted change
// wants it; the rest was done.
var ErrGone = errors.New("file has gone meanwhile")

// ApplyOptions say how a Plan is carried out. The nil pointer is the zero value.
type ApplyOptions struct {
	// Quarantine receives what does not belong in the queue. A plan without
	// OpQuarantine does without.
	Quarantine *Quarantine
	// Done, if set, is called after each action, and with the error that it
	// ended with.
	Done func(a Action, err error)
}

// Apply carries out a plan. It holds for files that are as they were when the
// plan was made, known by their inode numbers; others are left alone, with an
// error that wraps ErrGone. So mail may arrive meanwhile. Where one action
// fails the others are still done if they can be; the error joins all that
// went wrong.
//
// Files that move are taken aside first, all of them, into lock/qmailkit, and
// put into their places then: so names that are permuted cannot overwrite each
// other. What has to move is written down there before, and sendmutex is kept
// there until all have arrived. Interrupted at any moment, no file is lost and
// qmail-send does not start ("unable to open mutex"); the next PlanRepair says
// so and Apply goes on.
//
// Times of files, which are data, are kept. All is on the disk when Apply
// returns.
func (l *Lock) Apply(ctx context.Context, p *Plan, opts *ApplyOptions) error {
	if opts == nil {
		opts = &ApplyOptions{}
	}
	if err := l.finishOld(ctx); err != nil {
		return err
	}
	var errs []error
	did := func(a Action, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", a.Op, plainText(a.Path), err))
		}
		if opts.Done != nil {
			opts.Done(a, err)
		}
	}
	var moves []move
	taken := map[string]bool{} // what should have been taken out and was not
	stop := false
	for _, a := range p.Actions {
		if err := context.Cause(ctx); err != nil {
			return errors.Join(append(errs, err)...)
		}
		switch a.Op {
		case OpFinish:
			did(a, nil) // above
		case OpQuarantine:
			err := l.quarantineAction(ctx, a, opts.Quarantine)
			if err != nil {
				for _, path := range a.Paths {
					taken[path] = true
				}
			}
			did(a, err)
		case OpMake:
			err := l.q.makeRight(a)
			stop = stop || err != nil
			did(a, err)
		case OpOwn:
			did(a, l.q.setOwner(a))
		case OpMove:
			moves = append(moves, move{a.refs[0].ino, a.Path, a.To})
			if taken[a.To] {
				// Once begun the change could not end, and qmail-send not start.
				did(a, fmt.Errorf("%s is in the way", a.To))
				stop = true
			}
		}
	}
	if stop {
		return errors.Join(errs...)
	}
	if p.convert || len(moves) > 0 {
		if err := l.begin(ctx, &journal{p.Layout, moves}); err != nil {
			return errors.Join(append(errs, err)...)
		}
	}
	for _, a := range p.Actions {
		switch a.Op {
		case OpMove:
			did(a, nil)
		case OpRemoveDir:
			did(a, l.q.removeDir(a.Path))
		}
	}
	return errors.Join(errs...)
}

// quarantineAction keeps files and then takes them out of the queue.
func (l *Lock) quarantineAction(ctx context.Context, a Action, z *Quarantine) error {
	if z == nil {
		return ErrNoQuarantine
	}
	if err := z.keep(ctx, l.q, a.ID, a.Reason, a.refs, a.stay); err != nil {
		return err
	}
	return l.q.remove(removals(a.refs))
}

// makeRight makes a directory or a file in lock.
func (q *Queue) makeRight(a Action) error {
	if dir, base := splitPath(a.Path); dir == "lock" {
		return q.ensureLock(base)
	}
	if a.Path == "." {
		return q.top.Own(a.want.mode, a.want.owner)
	}
	dir, base := splitPath(a.Path)
	parent, err := q.openDir(dir)
	if err != nil {
		return err
	}
	defer parent.Close()
	d, _, err := parent.Mkdir(base, a.want.mode.Perm(), a.want.owner)
	if err != nil {
		return err
	}
	defer d.Close()
	return errors.Join(d.Own(a.want.mode, a.want.owner), d.Sync(), parent.Sync())
}

// setOwner gives a file its owner and mode, if it is still the one.
func (q *Queue) setOwner(a Action) error {
	dir, base := splitPath(a.Path)
	d, err := q.openDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	fi, err := d.Lstat(base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ErrGone
	case err != nil:
		return err
	case fi.Ino != a.refs[0].ino || !fi.Mode.IsRegular():
		return ErrGone
	}
	return d.OwnNode(base, fi, a.want.mode, a.want.owner)
}

// removeDir removes a directory of a layout that is no more. One that is not
// empty stays: something has come into it meanwhile.
func (q *Queue) removeDir(path string) error {
	dir, base := splitPath(path)
	d, err := q.openDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.RemoveDir(base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return d.Sync()
}
