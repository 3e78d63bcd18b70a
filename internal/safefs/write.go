//go:build unix

package safefs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A File is a file that Create made: written once, synced, closed.
type File struct {
	d    *Dir
	f    *os.File
	name string
}

// Create makes a new file with exactly this mode and owner; a name that exists
// is an error that wraps fs.ErrExist.
func (d *Dir) Create(name string, perm fs.FileMode, o Owner) (*File, error) {
	fd, err := d.create(name, perm, o)
	if err != nil {
		return nil, err
	}
	return &File{d, os.NewFile(uintptr(fd), d.join(name)), name}, nil
}

// create is Create for a bare descriptor.
func (d *Dir) create(name string, perm fs.FileMode, o Owner) (fd int, err error) {
	if err := plain(name); err != nil {
		return -1, d.fail("create", name, err)
	}
	if err := d.before("create", name); err != nil {
		return -1, err
	}
	// 0600 first: nobody else may open the file before it has its owner.
	first := perm.Perm() & 0o600
	fd, err = retry(func() (int, error) {
		return unix.Openat(d.fd(), name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(first))
	})
	if err != nil {
		return -1, d.fail("create", name, err)
	}
	// A umask can only have taken bits of 0600 away in a way nobody wants, so
	// those are not asked about.
	err = d.chown(fd, name, o)
	if err == nil && perm.Perm() != first {
		if err = d.before("chmod", name); err == nil {
			err = d.wrap("chmod", name, retry0(func() error { return unix.Fchmod(fd, uint32(perm.Perm())) }))
		}
	}
	if err != nil {
		unix.Close(fd)
		d.Remove(name)
		return -1, err
	}
	return fd, nil
}

// chown gives an open file that was just made its owner. What it has is asked,
// not assumed: the group can be that of its directory, which may have the
// setgid bit and on BSD always hands its group on.
func (d *Dir) chown(fd int, name string, o Owner) error {
	if o.UID < 0 && o.GID < 0 {
		return nil
	}
	var st unix.Stat_t
	if err := retry0(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return d.fail("stat", name, err)
	}
	if (o.UID < 0 || o.UID == int(st.Uid)) && (o.GID < 0 || o.GID == int(st.Gid)) {
		return nil
	}
	if err := d.before("chown", name); err != nil {
		return err
	}
	return d.wrap("chown", name, retry0(func() error { return unix.Fchown(fd, o.UID, o.GID) }))
}

// WriteNew makes a new file of these bytes, and with this modification time if
// it is not zero. It is Create, Write, SetTime and Close for those who make
// very many small files: there is no *os.File. If it fails, nothing is left.
func (d *Dir) WriteNew(name string, perm fs.FileMode, o Owner, t time.Time, p []byte) error {
	fd, err := d.create(name, perm, o)
	if err != nil {
		return err
	}
	_, err = d.hook.Write(bareFile(fd), d.join(name), p)
	err = d.wrap("write", name, err)
	if err == nil && !t.IsZero() {
		if err = d.before("times", name); err == nil {
			err = d.wrap("times", name, futimes(fd, t))
		}
	}
	if err == nil {
		err = d.before("close", name)
	}
	// Once only, whatever it says: the descriptor is gone then.
	if e := unix.Close(fd); err == nil && e != unix.EINTR {
		err = d.wrap("close", name, e)
	}
	if err != nil {
		d.Remove(name)
	}
	return err
}

// bareFile is a descriptor to write to.
type bareFile int

func (fd bareFile) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := retry(func() (int, error) { return unix.Write(int(fd), p[n:]) })
		if err == nil && m == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

// Write writes all of p or fails.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.d.hook.Write(f.f, f.d.join(f.name), p)
	if err != nil {
		err = f.d.fail("write", f.name, unwrapPath(err))
	}
	return n, err
}

// unwrapPath takes the place off an error that will get it again.
func unwrapPath(err error) error {
	if pe, ok := err.(*fs.PathError); ok {
		return pe.Err
	}
	return err
}

// ErrShort is what a Hook returns to have half of a write done and the rest
// fail, as a disk does that becomes full.
var ErrShort = errors.New("short write")

// Write writes p to w where the hook allows it.
func (h Hook) Write(w io.Writer, name string, p []byte) (n int, err error) {
	if h == nil {
		return w.Write(p)
	}
	err = h("write", name)
	if errors.Is(err, ErrShort) {
		n, _ = w.Write(p[:len(p)/2])
	}
	if err != nil {
		return n, err
	}
	return w.Write(p)
}

// ReadAt and WriteAt serve formats that go back to their header.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// WriteAt writes all of p at off or fails.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	if err := f.d.before("write", f.name); err != nil {
		return 0, err
	}
	return f.f.WriteAt(p, off)
}

// Seek moves the place of the next Write.
func (f *File) Seek(off int64, whence int) (int64, error) { return f.f.Seek(off, whence) }

// Name is the file's name in its directory.
func (f *File) Name() string { return f.name }

// SetTime sets access and modification time through the descriptor.
func (f *File) SetTime(t time.Time) error {
	if err := f.d.before("times", f.name); err != nil {
		return err
	}
	if err := futimes(int(f.f.Fd()), t); err != nil {
		return f.d.fail("times", f.name, err)
	}
	return nil
}

// Sync flushes the file to the disk.
func (f *File) Sync() error {
	if err := f.d.before("sync", f.name); err != nil {
		return err
	}
	return f.f.Sync()
}

// Close reports the errors that a write may have left behind.
func (f *File) Close() error {
	if err := f.d.before("close", f.name); err != nil {
		f.f.Close()
		return err
	}
	return f.f.Close()
}

// Abandon closes and removes a file that was not finished.
func (f *File) Abandon() {
	f.f.Close()
	f.d.Remove(f.name)
}

// Mkdir makes a directory with exactly this mode and owner and opens it. If
// name is a directory already, that is opened as it is and made is false.
func (d *Dir) Mkdir(name string, perm fs.FileMode, o Owner) (sub *Dir, made bool, err error) {
	if err := plain(name); err != nil {
		return nil, false, d.fail("mkdir", name, err)
	}
	if err := d.before("mkdir", name); err != nil {
		return nil, false, err
	}
	err = retry0(func() error { return unix.Mkdirat(d.fd(), name, uint32(perm.Perm()&0o700)) })
	if err != nil && err != unix.EEXIST {
		return nil, false, d.fail("mkdir", name, err)
	}
	made = err == nil
	sub, err = d.Sub(name)
	if err != nil || !made {
		return sub, made, err
	}
	err = d.chown(sub.fd(), name, o)
	var fi Info
	if err == nil {
		fi, err = sub.Lstat(".")
	}
	// Beside the umask, a parent's setgid bit is handed on.
	if err == nil && (fi.Mode^perm)&(fs.ModePerm|fs.ModeSetgid|fs.ModeSticky) != 0 {
		if err = d.before("chmod", name); err == nil {
			err = sub.f.Chmod(perm)
		}
	}
	if err != nil {
		// Half made it would be taken for somebody's next time, and keep the
		// wrong owner.
		sub.Close()
		d.RemoveDir(name)
		return nil, false, err
	}
	return sub, made, nil
}

// Remove takes away a name that is not a directory.
func (d *Dir) Remove(name string) error { return d.unlink(name, 0) }

// RemoveDir takes away an empty directory.
func (d *Dir) RemoveDir(name string) error { return d.unlink(name, unix.AT_REMOVEDIR) }

func (d *Dir) unlink(name string, flags int) error {
	if err := plain(name); err != nil {
		return d.fail("remove", name, err)
	}
	if err := d.before("remove", name); err != nil {
		return err
	}
	if err := retry0(func() error { return unix.Unlinkat(d.fd(), name, flags) }); err != nil {
		return d.fail("remove", name, err)
	}
	return nil
}

// Rename moves name to newname in the directory to, replacing what is there.
func (d *Dir) Rename(name string, to *Dir, newname string) error {
	if err := errors.Join(plain(name), plain(newname)); err != nil {
		return d.fail("rename", name, err)
	}
	if err := d.before("rename", name); err != nil {
		return err
	}
	if err := retry0(func() error { return unix.Renameat(d.fd(), name, to.fd(), newname) }); err != nil {
		return d.fail("rename", name, err)
	}
	return nil
}

// RenameExcl moves name to newname in the directory to and never replaces
// anything: the error then wraps fs.ErrExist.
func (d *Dir) RenameExcl(name string, to *Dir, newname string) error {
	if err := errors.Join(plain(name), plain(newname)); err != nil {
		return d.fail("rename", name, err)
	}
	if err := d.before("rename", name); err != nil {
		return err
	}
	if err := renameExcl(d.fd(), name, to.fd(), newname); err != nil {
		return d.fail("rename", name, err)
	}
	return nil
}

// linkExcl is the way of renameExcl where the kernel or the file system has no
// rename that refuses to replace.
func linkExcl(from int, name string, to int, newname string) error {
	if err := retry0(func() error { return unix.Linkat(from, name, to, newname, 0) }); err != nil {
		return err
	}
	return retry0(func() error { return unix.Unlinkat(from, name, 0) })
}

// Sync makes the names in d durable.
func (d *Dir) Sync() error {
	if err := d.before("syncdir", "."); err != nil {
		return err
	}
	return d.f.Sync()
}

// SyncFS makes everything on d's file system durable. ErrUnsupported says that
// this system has no such call.
func (d *Dir) SyncFS() error {
	if err := d.before("syncfs", "."); err != nil {
		return err
	}
	if err := retry0(func() error { return syncfs(d.fd()) }); err != nil {
		return d.fail("syncfs", ".", err)
	}
	return nil
}

// Own gives the directory itself this mode and owner, if they differ.
func (d *Dir) Own(perm fs.FileMode, o Owner) error {
	fi, err := d.Lstat(".")
	if err != nil {
		return err
	}
	if o.UID >= 0 && o.UID != fi.UID || o.GID >= 0 && o.GID != fi.GID {
		if err := d.before("chown", "."); err != nil {
			return err
		}
		if err := d.f.Chown(o.UID, o.GID); err != nil {
			return err
		}
	}
	if (fi.Mode^perm)&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 {
		if err := d.before("chmod", "."); err != nil {
			return err
		}
		return d.f.Chmod(perm)
	}
	return nil
}

// OpenWrite opens the plain file name for reading and writing at its places.
// It must have one name only and belong to the directory's owner, to whoever
// runs the program or to one of these others: else a user could have linked
// somebody's file there.
func (d *Dir) OpenWrite(name string, others ...int) (*os.File, error) {
	if err := plain(name); err != nil {
		return nil, d.fail("open", name, err)
	}
	fi, err := d.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !fi.Mode.IsRegular() {
		return nil, d.fail("open", name, notPlain(fi.Mode))
	}
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd(), name, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	unix.SetNonblock(fd, false)
	f := os.NewFile(uintptr(fd), d.join(name))
	home, err := d.Lstat(".")
	var got Info
	if err == nil {
		got, err = Stat(f)
	}
	switch {
	case err != nil:
	case !got.Mode.IsRegular() || got.Ino != fi.Ino || got.Dev != fi.Dev:
		err = d.fail("open", name, errors.New("file was exchanged while it was opened"))
	case got.Nlink != 1 || got.UID != home.UID && got.UID != os.Geteuid() && !slices.Contains(others, got.UID):
		err = d.fail("open", name, fmt.Errorf("%w: owner %d, %d links", ErrForeign, got.UID, got.Nlink))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// SyncFile flushes an open file of d to the disk.
func (d *Dir) SyncFile(f *os.File) error {
	if err := d.before("sync", f.Name()); err != nil {
		return err
	}
	return f.Sync()
}
