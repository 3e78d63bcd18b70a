//go:build unix

package safefs

import (
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Link gives the file name a second name newname in the directory to, and
// never replaces anything: the error then wraps fs.ErrExist. A symbolic link is
// linked itself, not what it leads to.
func (d *Dir) Link(name string, to *Dir, newname string) error {
	for _, n := range []string{name, newname} {
		if err := plain(n); err != nil {
			return d.fail("link", name, err)
		}
	}
	if err := d.before("link", name); err != nil {
		return err
	}
	if err := retry0(func() error { return unix.Linkat(d.fd(), name, to.fd(), newname, 0) }); err != nil {
		return d.fail("link", name, err)
	}
	return nil
}

// Mkfifo makes a FIFO with exactly this mode and owner; a name that exists is
// an error that wraps fs.ErrExist.
func (d *Dir) Mkfifo(name string, perm fs.FileMode, o Owner) error {
	if err := plain(name); err != nil {
		return d.fail("mkfifo", name, err)
	}
	if err := d.before("mkfifo", name); err != nil {
		return err
	}
	if err := retry0(func() error { return mkfifoat(d.fd(), name, uint32(perm.Perm()&0o600)) }); err != nil {
		return d.fail("mkfifo", name, err)
	}
	fi, err := d.Lstat(name)
	if err == nil {
		err = d.OwnNode(name, fi, perm, o)
	}
	if err != nil {
		d.Remove(name)
	}
	return err
}

// OwnNode gives the plain file, FIFO or directory name this mode and owner,
// where they differ. It must be the one that was described as want, by device
// and inode; another wraps ErrExchanged. Times are left as they are.
func (d *Dir) OwnNode(name string, want Info, perm fs.FileMode, o Owner) error {
	f, fi, err := d.openNode(name, want)
	if err != nil {
		return err
	}
	defer f.Close()
	if o.UID >= 0 && o.UID != fi.UID || o.GID >= 0 && o.GID != fi.GID {
		if err := d.before("chown", name); err != nil {
			return err
		}
		if err := f.Chown(o.UID, o.GID); err != nil {
			return err
		}
	}
	if (fi.Mode^perm)&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) == 0 {
		return nil
	}
	if err := d.before("chmod", name); err != nil {
		return err
	}
	return f.Chmod(perm)
}

// SetNodeTime sets access and modification time of the plain file name, which
// must be the one that was described as want.
func (d *Dir) SetNodeTime(name string, want Info, t time.Time) error {
	f, fi, err := d.openNode(name, want)
	if err != nil {
		return err
	}
	defer f.Close()
	if !fi.Mode.IsRegular() {
		return d.fail("times", name, notPlain(fi.Mode))
	}
	if err := d.before("times", name); err != nil {
		return err
	}
	if err := futimes(int(f.Fd()), t); err != nil {
		return d.fail("times", name, err)
	}
	return nil
}

// openNode opens a plain file, FIFO or directory whoever holds its other end.
func (d *Dir) openNode(name string, want Info) (*os.File, Info, error) {
	if err := plain(name); err != nil {
		return nil, Info{}, d.fail("open", name, err)
	}
	// A socket or device is not even opened: that can do something.
	before, err := d.Lstat(name)
	if err != nil {
		return nil, Info{}, err
	}
	if t := before.Mode.Type(); t != 0 && t != fs.ModeDir && t != fs.ModeNamedPipe {
		return nil, Info{}, d.fail("open", name, notPlain(before.Mode))
	}
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd(), name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, Info{}, d.fail("open", name, err)
	}
	f := os.NewFile(uintptr(fd), d.join(name))
	fi, err := Stat(f)
	if err == nil && (fi.Dev != want.Dev || fi.Ino != want.Ino) {
		err = d.fail("open", name, ErrExchanged)
	}
	if err != nil {
		f.Close()
		return nil, Info{}, err
	}
	return f, fi, nil
}

// PokeFIFO opens the FIFO name for writing without waiting and, if p is not
// empty, writes p. An error that wraps unix.ENXIO says that nobody has it open
// for reading; anything but a FIFO wraps ErrNotPlain.
func (d *Dir) PokeFIFO(name string, p []byte) error {
	fi, err := d.Lstat(name)
	if err != nil {
		return err
	}
	if fi.Mode.Type() != fs.ModeNamedPipe {
		return d.fail("open", name, fmt.Errorf("%w: not a FIFO", ErrNotPlain))
	}
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd(), name, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return d.fail("open", name, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return d.fail("open", name, ErrExchanged)
	}
	if len(p) == 0 {
		return nil
	}
	if _, err := retry(func() (int, error) { return unix.Write(fd, p) }); err != nil {
		return d.fail("write", name, err)
	}
	return nil
}

// LockBoth takes flock and then the whole-file fcntl lock of the plain file
// name, both exclusive and without waiting: the two do not see each other, and
// which one a program takes depends on how it was built. The file is made,
// 0600, where it is missing. An error that wraps ErrLocked says that somebody
// holds one. Closing the result lets go of both.
func (d *Dir) LockBoth(name string, o Owner) (*os.File, error) {
	f, err := d.openLock(name, o)
	if err != nil {
		return nil, err
	}
	err = retry0(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if err == nil {
		lk := unix.Flock_t{Type: unix.F_WRLCK}
		err = retry0(func() error { return unix.FcntlFlock(f.Fd(), lockCmd, &lk) })
	}
	if err == unix.EWOULDBLOCK || err == unix.EACCES {
		err = ErrLocked
	}
	if err != nil {
		f.Close()
		return nil, d.fail("lock", name, err)
	}
	return f, nil
}
