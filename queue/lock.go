//go:build unix

package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// ErrRunning says that qmail-send uses the queue, or another program that
// changes it.
var ErrRunning = errors.New("qmail-send is running, or another program has locked the queue")

// mutexName is the file that qmail-send locks for as long as it lives.
const mutexName = "sendmutex"

// oddMutex is what Lock calls something that stands in the place of it.
const oddMutex = mutexName + ".odd"

// mendName is the directory below lock in which an interrupted change leaves
// what the next one needs. qmail opens three names in lock and never lists it.
const mendName = "qmailkit"

// A Lock is the proof that qmail-send does not run, and keeps it from starting.
// It locks nobody else out: qmail-queue takes no lock at all, so that mail may
// arrive at any time. What changes a queue is a method of Lock, save for Enqueue
// and for the times that Expire and Retry set.
type Lock struct {
	q    *Queue
	held []*os.File // one, but for an interrupted change
}

// Lock takes the lock of qmail-send, lock/sendmutex, in both ways, flock and
// fcntl: qmail takes the one that its build found, and the two do not see each
// other. Where qmail-send or another program holds it the error wraps
// ErrRunning.
//
// Where the file is missing it is made, and that somebody may have locked it
// before it was removed is excluded by the trigger: a qmail-send that lives has
// it open for reading. A trigger that is missing or no FIFO tells nothing; no
// qmail-send can be woken there. Something else in its place is renamed to
// sendmutex.odd in the same way. The directory lock is made where it is missing.
//
// A change of the queue that was interrupted is still unfinished when Lock
// returns; PlanRepair and Apply go on with it.
func (q *Queue) Lock(ctx context.Context) (*Lock, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	shape := q.dirShape("lock")
	d, _, err := q.top.Mkdir("lock", shape.mode, shape.owner)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	l := &Lock{q: q}
	ok := false
	defer func() {
		if !ok {
			l.Close()
		}
	}()
	// An interrupted change keeps the file aside, so that qmail-send cannot
	// start; unless somebody has made another one for it.
	aside := false
	if mend, err := d.Sub(mendName); err == nil {
		defer mend.Close()
		if _, err := mend.Lstat(mutexName); err == nil {
			aside = true
			if err := l.take(mend); err != nil {
				return nil, err
			}
		}
	}
	fi, err := d.Lstat(mutexName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nobodyReads(d)
	case err == nil && !fi.Mode.IsRegular():
		if err = nobodyReads(d); err == nil {
			err = d.RenameExcl(mutexName, d, oddMutex)
		}
	case err == nil:
		aside = false
	}
	if err != nil {
		return nil, err
	}
	if !aside {
		if err := l.take(d); err != nil {
			return nil, err
		}
	}
	ok = true
	return l, nil
}

// take locks the file in d, and makes it where it is missing.
func (l *Lock) take(d *safefs.Dir) error {
	f, err := d.LockBoth(mutexName, l.q.mutexOwner())
	if errors.Is(err, safefs.ErrLocked) {
		return fmt.Errorf("%w (%w)", ErrRunning, err)
	}
	if err != nil {
		return err
	}
	l.held = append(l.held, f)
	have, err := safefs.Stat(f)
	if err != nil {
		return err
	}
	// Whoever held the lock a moment ago may have moved the file.
	named, err := d.Lstat(mutexName)
	if err != nil || named.Ino != have.Ino || named.Dev != have.Dev {
		return fmt.Errorf("%w: lock/%s was exchanged", ErrRunning, mutexName)
	}
	return nil
}

// mutexOwner is who owns sendmutex.
func (q *Queue) mutexOwner() safefs.Owner { return q.giveTo(q.owners.Qmails) }

// giveTo is the owner of what is made for uid. What is not known stays as
// creation makes it.
func (q *Queue) giveTo(uid int) safefs.Owner {
	o := safefs.Keep
	if uid > 0 {
		o.UID = uid
	}
	if q.owners.Group > 0 {
		o.GID = q.owners.Group
	}
	return o
}

// nobodyReads asks the trigger whether a qmail-send has it open.
func nobodyReads(lock *safefs.Dir) error {
	err := lock.PokeFIFO("trigger", nil)
	switch {
	case err == nil:
		return fmt.Errorf("%w: lock/%s is missing, but somebody reads the trigger", ErrRunning, mutexName)
	case errors.Is(err, unix.ENXIO), errors.Is(err, fs.ErrNotExist), errors.Is(err, safefs.ErrNotPlain):
		return nil
	}
	return err
}

// Close lets go of the lock.
func (l *Lock) Close() error {
	var errs []error
	for _, f := range l.held {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Running says whether qmail-send uses the queue. The trigger answers without
// any lock while qmail-send has it open; where nobody does, the locks are tried
// for a moment, as Lock takes them, in which a qmail-send that just starts
// would end. Nothing is made.
func (q *Queue) Running(ctx context.Context) (bool, error) {
	if err := context.Cause(ctx); err != nil {
		return false, err
	}
	d, err := q.openDir("lock")
	if err != nil {
		return false, err
	}
	defer d.Close()
	if d.PokeFIFO("trigger", nil) == nil {
		return true, nil
	}
	if held, err := mutexHeld(d); held || err != nil {
		return held, err
	}
	mend, err := d.Sub(mendName)
	if missing(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer mend.Close()
	return mutexHeld(mend)
}

// mutexHeld says whether somebody holds the sendmutex in d, if there is one.
func mutexHeld(d *safefs.Dir) (bool, error) {
	if fi, err := d.Lstat(mutexName); errors.Is(err, fs.ErrNotExist) || err == nil && !fi.Mode.IsRegular() {
		return false, nil
	}
	f, err := d.LockBoth(mutexName, safefs.Keep)
	if errors.Is(err, safefs.ErrLocked) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, f.Close()
}
