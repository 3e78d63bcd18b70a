//go:build unix

// Package safefs opens and writes files in directories that other people own.
//
// Migrations run as root over trees whose directories belong to their users,
// so a symbolic link, a FIFO, a hard link or ".." in a name is an attack. An
// os.Root keeps a name inside its tree, but it follows links there and blocks
// on a FIFO. Here a directory is held as a descriptor, reached from an os.Root
// without following any link, and everything in it is addressed by one plain
// name relative to that descriptor: nothing can be swapped between a check and
// its use. Files are opened only if they are regular; new ones are created
// exclusively, and get owner, mode and times through their descriptor.
//
// The package knows no mail format. Its Hook lets tests make any single step
// fail.
package safefs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var (
	// ErrLink says that a symbolic link stands where none may be followed.
	ErrLink = errors.New("symbolic link")
	// ErrNotPlain says that something else stands where a plain file should.
	ErrNotPlain = errors.New("not a plain file")
	// ErrForeign says that a file's owner and link count are not those that
	// the caller asked for.
	ErrForeign = errors.New("file belongs to somebody else")
	// ErrName says that a name is not one plain part of a path.
	ErrName = errors.New("not a plain file name")
)

// A Hook is called before each step that can fail on a full or broken disk:
// create, write, sync, close, rename, link, remove, mkdir, chown, chmod, times,
// syncdir, syncfs. An error that it returns is the result of that step. It is
// for tests; nil is the default.
type Hook func(op, name string) error

// Owner is a numeric user and group. A negative number leaves that part as it
// is.
type Owner struct{ UID, GID int }

// Keep is the Owner that changes nothing.
var Keep = Owner{-1, -1}

// Info is what Lstat tells of a name.
type Info struct {
	Mode    fs.FileMode
	Size    int64
	ModTime time.Time
	ATime   time.Time
	CTime   time.Time // last change of the file or of what describes it
	UID     int
	GID     int
	Nlink   uint64
	Dev     uint64
	Ino     uint64
}

// A Dir is an open directory. Its methods take one plain name each.
type Dir struct {
	f    *os.File
	path string // for messages only
	hook Hook
}

// OpenDir opens the directory name below root, following no link. The name
// "." is root itself.
func OpenDir(root *os.Root, name string, hook Hook) (*Dir, error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	d := &Dir{f: f, path: root.Name(), hook: hook}
	return d.descend(name)
}

// descend walks name from d, which it closes.
func (d *Dir) descend(name string) (*Dir, error) {
	for part := range strings.SplitSeq(name, "/") {
		if part == "." || part == "" {
			continue
		}
		next, err := d.Sub(part)
		d.Close()
		if err != nil {
			return nil, err
		}
		d = next
	}
	return d, nil
}

// Walk opens the directory that the path name leads to from d, following no
// link. The Dir d stays open.
func (d *Dir) Walk(name string) (*Dir, error) {
	self, err := d.dup()
	if err != nil {
		return nil, err
	}
	return self.descend(name)
}

func (d *Dir) dup() (*Dir, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, d.fail("open", ".", err)
	}
	return &Dir{f: os.NewFile(uintptr(fd), d.path), path: d.path, hook: d.hook}, nil
}

// Sub opens the directory name in d. A link is refused.
func (d *Dir) Sub(name string) (*Dir, error) {
	if err := plain(name); err != nil {
		return nil, d.fail("open", name, err)
	}
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd(), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		if fi, e := d.Lstat(name); e == nil && fi.Mode.Type() == fs.ModeSymlink {
			err = ErrLink
		}
		return nil, d.fail("open", name, err)
	}
	p := d.join(name)
	return &Dir{f: os.NewFile(uintptr(fd), p), path: p, hook: d.hook}, nil
}

// Close gives the descriptor back.
func (d *Dir) Close() error { return d.f.Close() }

// Name is the path by which the directory was reached, for messages.
func (d *Dir) Name() string { return d.path }

// File is the directory's own descriptor, for locks.
func (d *Dir) File() *os.File { return d.f }

func (d *Dir) fd() int { return int(d.f.Fd()) }

func (d *Dir) join(name string) string {
	if d.path == "" || d.path == "." {
		return name
	}
	return d.path + "/" + name
}

func (d *Dir) fail(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: d.join(name), Err: err}
}

// wrap is fail for what need not have failed.
func (d *Dir) wrap(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return d.fail(op, name, err)
}

func (d *Dir) before(op, name string) error {
	if d.hook == nil {
		return nil
	}
	if err := d.hook(op, d.join(name)); err != nil {
		return d.fail(op, name, err)
	}
	return nil
}

// plain accepts one part of a path.
func plain(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%w: %q", ErrName, name)
	}
	return nil
}

// retry repeats a system call that a signal has interrupted.
func retry[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if err != unix.EINTR {
			return v, err
		}
	}
}

func retry0(call func() error) error {
	_, err := retry(func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// Lstat describes name without following it. The name "." is d itself.
func (d *Dir) Lstat(name string) (Info, error) {
	var st unix.Stat_t
	if name == "." {
		if err := retry0(func() error { return unix.Fstat(d.fd(), &st) }); err != nil {
			return Info{}, d.fail("stat", name, err)
		}
		return infoOf(&st), nil
	}
	if err := plain(name); err != nil {
		return Info{}, d.fail("lstat", name, err)
	}
	if err := retry0(func() error { return unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return Info{}, d.fail("lstat", name, err)
	}
	return infoOf(&st), nil
}

// Stat describes an open file.
func Stat(f *os.File) (Info, error) {
	var st unix.Stat_t
	if err := retry0(func() error { return unix.Fstat(int(f.Fd()), &st) }); err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return infoOf(&st), nil
}

func infoOf(st *unix.Stat_t) Info {
	mode := fs.FileMode(st.Mode & 0o777)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	}
	if st.Mode&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if st.Mode&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if st.Mode&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	mt, at := times(st)
	return Info{
		Mode: mode, Size: st.Size, ModTime: mt, ATime: at, CTime: time.Unix(st.Ctim.Unix()),
		UID: int(st.Uid), GID: int(st.Gid), Nlink: uint64(st.Nlink), Dev: uint64(st.Dev), Ino: uint64(st.Ino),
	}
}

// Readlink returns the text of the symbolic link name.
func (d *Dir) Readlink(name string) (string, error) {
	if err := plain(name); err != nil {
		return "", d.fail("readlink", name, err)
	}
	buf := make([]byte, unix.PathMax)
	n, err := retry(func() (int, error) { return unix.Readlinkat(d.fd(), name, buf) })
	if err != nil {
		return "", d.fail("readlink", name, err)
	}
	return string(buf[:n]), nil
}
