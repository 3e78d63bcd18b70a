//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// lock takes vpopmail's lock file name in dir; unlock lets go. Closing a lock
// file on BSD drops the locks of the whole process on it, so goroutines take
// turns before they come here.
func (s *Store) lock(ctx context.Context, dir *safefs.Dir, name string, o safefs.Owner) (unlock func(), err error) {
	leave, err := s.turn(ctx, dir.Name()+"/"+name)
	if err != nil {
		return nil, err
	}
	held := false
	defer func() {
		if !held {
			leave()
		}
	}()
	tries := int(s.o.LockWait/s.o.LockPoll) + 1
	f, err := dir.LockFile(ctx, name, o, tries, s.o.LockPoll)
	if err != nil {
		return nil, err
	}
	if err := giveLock(f, o); err != nil {
		f.Close()
		return nil, err
	}
	held = true
	return func() { f.Close(); leave() }, nil
}

// giveLock gives a lock file to its owner where whoever made it was stopped
// before that, as vpopmail does every time. A file that is more than a lock is
// let be.
func giveLock(f *os.File, o safefs.Owner) error {
	if o == safefs.Keep || os.Geteuid() != 0 {
		return nil
	}
	fi, err := safefs.Stat(f)
	if err != nil || fi.UID == o.UID && fi.GID == o.GID || fi.Nlink != 1 || fi.Size != 0 {
		return err
	}
	return f.Chown(o.UID, o.GID)
}

// turn is a lock among the goroutines of this Store.
func (s *Store) turn(ctx context.Context, name string) (leave func(), err error) {
	v, _ := s.locks.LoadOrStore(name, make(chan struct{}, 1))
	ch := v.(chan struct{})
	select {
	case ch <- struct{}{}:
		return func() { <-ch }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// lockDir takes a flock on a directory's own descriptor, for what vpopmail
// changes without any lock. It leaves no file behind, and ends with the
// directory's Close.
func (s *Store) lockDir(ctx context.Context, dir *safefs.Dir) error {
	deadline := time.Now().Add(s.o.LockWait)
	for {
		err := dir.TryLock()
		if !errors.Is(err, safefs.ErrLocked) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(s.o.LockPoll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
