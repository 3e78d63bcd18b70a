//go:build unix

package mbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// LockMethod is a set of ways to lock a mailbox.
type LockMethod uint8

const (
	// Dotlock is the existence of FILE.lock. It has no shared form.
	Dotlock LockMethod = 1 << iota
	// Fcntl is a lock of the whole file by fcntl(2). On Linux it belongs to
	// the open file; elsewhere to the process, and is lost when any descriptor
	// of the file is closed.
	Fcntl
	// Flock is flock(2).
	Flock
)

// DefaultLockMethods are the LockMethods of the mail programs of this system:
// all three on Linux, where qmail-local takes flock, procmail dotlock and
// fcntl; no flock elsewhere, where it and fcntl may exclude each other.
const DefaultLockMethods = defaultLockMethods

const (
	// DefaultLockWait is how long Lock tries if LockOptions.Wait is 0.
	DefaultLockWait = 2 * time.Minute
	// DefaultLockPause is the time between two tries.
	DefaultLockPause = 250 * time.Millisecond
	// DefaultLockStale is the age from which a dotlock is taken for left over;
	// liblockfile has the same.
	DefaultLockStale = 5 * time.Minute
)

// LockOptions say how a mailbox is locked. A nil pointer means the zero value.
type LockOptions struct {
	// Dir and Name say where the mailbox is, which a dotlock needs to know: a
	// path below Dir without links. Without Dir there is no dotlock.
	Dir  *os.Root
	Name string
	// Methods to use; 0 means DefaultLockMethods.
	Methods LockMethod
	// Shared takes read locks where there are such. A file that is open for
	// reading only can have no others with fcntl.
	Shared bool
	// Wait bounds the time spent; 0 means DefaultLockWait, below 0 one try.
	Wait time.Duration
	// Pause and Stale; 0 means DefaultLockPause and DefaultLockStale.
	Pause, Stale time.Duration
	// Unique is the name of the temporary file that becomes the dotlock;
	// empty makes one up.
	Unique string
	// Mark is put into the dotlock, behind the number. A dotlock with the same
	// Mark is taken for left over at once, whatever its age: the caller sees to
	// it that no two programs with one Mark run at a time. A caller with a Mark
	// may give the same Unique each time.
	Mark string

	hook safefs.Hook
}

// ErrLocked says that another program has kept the mailbox locked for all of
// LockOptions.Wait.
var ErrLocked = safefs.ErrLocked

// Held is a locked mailbox.
type Held struct {
	// Methods are those that are held. Dotlock is missing where the directory
	// cannot be written; flock where the file system has none of its own.
	Methods LockMethod

	f     *os.File
	dir   *safefs.Dir
	dot   *dotlock
	stop  chan struct{}
	group sync.WaitGroup
}

// Lock locks the mailbox f against mail programs: dotlock, then fcntl, then
// flock. If one of them is taken, all are let go before the next try, because
// others lock in another order. The dotlock is renewed while it is held.
//
// The error wraps ErrLocked if somebody else has the lock, or is
// context.Cause(ctx).
func Lock(ctx context.Context, f *os.File, opts *LockOptions) (*Held, error) {
	var o LockOptions
	if opts != nil {
		o = *opts
	}
	setDefault(&o.Methods, DefaultLockMethods)
	setDefault(&o.Wait, DefaultLockWait)
	setDefault(&o.Pause, DefaultLockPause)
	setDefault(&o.Stale, DefaultLockStale)
	setDefault(&o.Unique, path.Base(o.Name)+".lock."+rand.Text()[:10])
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if o.Wait > 0 {
		timer := time.AfterFunc(o.Wait, func() { cancel(errWaited) })
		defer timer.Stop()
	}
	l := locker{f: f, o: o}
	if o.Methods&Dotlock != 0 && o.Dir != nil {
		dir, err := safefs.OpenDir(o.Dir, path.Dir(o.Name), o.hook)
		if err != nil {
			return nil, err
		}
		l.dir = dir
	}
	h, err := l.lock(ctx)
	if err != nil {
		if l.dir != nil {
			l.dir.Close()
		}
		return nil, err
	}
	return h, nil
}

var errWaited = errors.New("waited for the lock")

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// locker is one call of Lock.
type locker struct {
	f   *os.File
	o   LockOptions
	dir *safefs.Dir
}

// errBusy is how a try ends because of somebody else's lock.
type errBusy string

func (e errBusy) Error() string { return string(e) }

func (l *locker) lock(ctx context.Context) (*Held, error) {
	var locked error // of the last try
	for {
		switch err := context.Cause(ctx); {
		case err == errWaited && locked != nil:
			return nil, locked
		case err != nil && err != errWaited:
			return nil, err
		}
		h, err := l.try()
		var busy errBusy
		if !errors.As(err, &busy) {
			return h, err
		}
		locked = &fs.PathError{Op: "lock", Path: l.f.Name(), Err: fmt.Errorf("%w (%s)", ErrLocked, string(busy))}
		if l.o.Wait < 0 {
			return nil, locked
		}
		select {
		case <-ctx.Done():
		case <-time.After(l.o.Pause):
		}
	}
}

// try takes all locks or none.
func (l *locker) try() (*Held, error) {
	h := &Held{f: l.f, dir: l.dir}
	if err := l.take(h); err != nil {
		return nil, errors.Join(err, h.release())
	}
	if h.dot != nil {
		h.stop = make(chan struct{})
		dot, stop := h.dot, h.stop
		h.group.Go(func() { renew(dot, stop, l.o.Stale/4) })
	}
	return h, nil
}

func (l *locker) take(h *Held) error {
	if l.dir != nil {
		dot, err := takeDotlock(l.dir, path.Base(l.o.Name)+".lock", &l.o)
		switch {
		case err == nil:
			h.dot = dot
			h.Methods |= Dotlock
		case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
			// Nobody else without rights here can make one either.
		default:
			return err
		}
	}
	if l.o.Methods&Fcntl != 0 {
		if err := fcntlLock(l.f, l.o.Shared); err != nil {
			return err
		}
		h.Methods |= Fcntl
	}
	if l.o.Methods&Flock != 0 && ownFlock(l.f) {
		how := unix.LOCK_EX
		if l.o.Shared {
			how = unix.LOCK_SH
		}
		switch err := noEINTR(func() error { return unix.Flock(int(l.f.Fd()), how|unix.LOCK_NB) }); err {
		case nil:
			h.Methods |= Flock
		case unix.EWOULDBLOCK:
			return errBusy("flock")
		default:
			return &fs.PathError{Op: "flock", Path: l.f.Name(), Err: err}
		}
	}
	return nil
}

// fcntlLock locks for writing, or for reading if that is asked for or all that
// the descriptor allows.
func fcntlLock(f *os.File, shared bool) error {
	kind := int16(unix.F_WRLCK)
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if shared || err == nil && flags&unix.O_ACCMODE == unix.O_RDONLY {
		kind = unix.F_RDLCK
	}
	switch err := fcntl(f, kind); err {
	case nil:
		return nil
	case unix.EAGAIN, unix.EACCES:
		return errBusy("fcntl")
	default:
		return &fs.PathError{Op: "fcntl", Path: f.Name(), Err: err}
	}
}

func fcntl(f *os.File, kind int16) error {
	return noEINTR(func() error {
		return unix.FcntlFlock(f.Fd(), fcntlCmd, &unix.Flock_t{Type: kind})
	})
}

func noEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// Check says whether the dotlock is still there and ours: another program may
// have taken it for left over while this one was stopped.
func (h *Held) Check() error {
	if h.dot == nil {
		return nil
	}
	return h.dot.check()
}

// Unlock lets go of the locks in the reverse order. Only the first call does
// anything.
func (h *Held) Unlock() error {
	if h.stop != nil {
		close(h.stop)
		h.stop = nil
		h.group.Wait()
	}
	err := h.release()
	if h.dir != nil {
		h.dir.Close()
		h.dir = nil
	}
	return err
}

func (h *Held) release() error {
	var errs []error
	if h.Methods&Flock != 0 {
		errs = append(errs, noEINTR(func() error { return unix.Flock(int(h.f.Fd()), unix.LOCK_UN) }))
	}
	if h.Methods&Fcntl != 0 {
		errs = append(errs, fcntl(h.f, unix.F_UNLCK))
	}
	if h.dot != nil {
		errs = append(errs, h.dot.remove())
	}
	h.dot, h.Methods = nil, 0
	return errors.Join(errs...)
}

// renew keeps the dotlock young. Where that fails, Check will tell.
func renew(dot *dotlock, stop <-chan struct{}, every time.Duration) {
	tick := time.NewTicker(max(every, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			dot.touch()
		}
	}
}
