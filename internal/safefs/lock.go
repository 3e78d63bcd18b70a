//go:build unix

package safefs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another program holds the lock.
var ErrLocked = errors.New("locked by another program")

// TryLock takes an exclusive flock on the directory's own descriptor, which
// nobody can unlink. It ends with Close.
func (d *Dir) TryLock() error {
	err := retry0(func() error { return unix.Flock(d.fd(), unix.LOCK_EX|unix.LOCK_NB) })
	if err == unix.EWOULDBLOCK {
		err = ErrLocked
	}
	if err != nil {
		return d.fail("lock", ".", err)
	}
	return nil
}

// LockFile takes the whole-file fcntl write lock of name, made 0600 where it
// is missing, asking again every pause until tries are used up. This is how
// vpopmail and others lock beside a file. Closing the result lets go; the file
// stays.
func (d *Dir) LockFile(ctx context.Context, name string, o Owner, tries int, pause time.Duration) (*os.File, error) {
	f, err := d.openLock(name, o)
	if err != nil {
		return nil, err
	}
	for n := 1; ; n++ {
		lk := unix.Flock_t{Type: unix.F_WRLCK}
		err = retry0(func() error { return unix.FcntlFlock(f.Fd(), lockCmd, &lk) })
		if err == nil {
			return f, nil
		}
		if err != unix.EAGAIN && err != unix.EACCES {
			break
		}
		if n >= tries {
			err = ErrLocked
			break
		}
		select {
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-time.After(pause):
			continue
		}
		break
	}
	f.Close()
	return nil, d.fail("lock", name, err)
}

// openLock opens or makes a lock file for writing, following no link.
func (d *Dir) openLock(name string, o Owner) (*os.File, error) {
	for range 3 {
		f, err := d.Create(name, 0o600, o)
		if err == nil {
			return f.f, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		fi, err := d.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !fi.Mode.IsRegular() {
			return nil, d.fail("lock", name, notPlain(fi.Mode))
		}
		fd, err := retry(func() (int, error) {
			return unix.Openat(d.fd(), name, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		})
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return nil, d.fail("lock", name, err)
		}
		unix.SetNonblock(fd, false)
		return os.NewFile(uintptr(fd), d.join(name)), nil
	}
	return nil, d.fail("lock", name, fmt.Errorf("lock file comes and goes"))
}
