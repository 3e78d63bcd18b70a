//go:build unix

package safefs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"

	"golang.org/x/sys/unix"
)

// Expect narrows the files that OpenPlain takes.
type Expect struct {
	// Owned, if set, asks that the file belongs to UID, or that it has no
	// other link: a user cannot have planted a link to somebody else's file.
	Owned bool
	UID   int
}

// ErrExchanged says that a name led to another file at the second look. Where
// files are replaced by renaming that is no attack, and the next try succeeds.
var ErrExchanged = errors.New("file was exchanged while it was opened")

// OpenPlain opens the regular file name for reading. Anything else is refused
// and never waited for.
func (d *Dir) OpenPlain(name string, want Expect) (*os.File, error) {
	before, err := d.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !before.Mode.IsRegular() {
		return nil, d.fail("open", name, notPlain(before.Mode))
	}
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd(), name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		if err == unix.ELOOP {
			err = ErrLink
		}
		return nil, d.fail("open", name, err)
	}
	// The mode is cleared before os.NewFile looks at it: a regular file needs
	// no poller.
	if err := unix.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return nil, d.fail("open", name, err)
	}
	f := os.NewFile(uintptr(fd), d.join(name))
	after, err := Stat(f)
	switch {
	case err != nil:
	case !after.Mode.IsRegular():
		err = d.fail("open", name, notPlain(after.Mode))
	case after.Dev != before.Dev || after.Ino != before.Ino:
		err = d.fail("open", name, ErrExchanged)
	case want.Owned && after.UID != want.UID && after.Nlink > 1:
		err = d.fail("open", name, fmt.Errorf("%w: owner %d, %d links", ErrForeign, after.UID, after.Nlink))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func notPlain(m fs.FileMode) error {
	what := ""
	switch m.Type() {
	case fs.ModeDir:
		what = "a directory"
	case fs.ModeSymlink:
		return fmt.Errorf("%w: %w", ErrNotPlain, ErrLink)
	case fs.ModeNamedPipe:
		what = "a FIFO"
	case fs.ModeSocket:
		what = "a socket"
	default:
		what = "a device"
	}
	return fmt.Errorf("%w: %s", ErrNotPlain, what)
}

// ErrTooBig says that a file is larger than its reader allows.
var ErrTooBig = errors.New("file too large")

// ReadFile reads a whole plain file of at most max bytes.
func (d *Dir) ReadFile(name string, max int64) ([]byte, error) {
	f, err := d.OpenPlain(name, Expect{})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > max {
		return nil, d.fail("read", name, fmt.Errorf("%w: more than %d bytes", ErrTooBig, max))
	}
	return b, nil
}

// ReadPlain fills buf from the start of the regular file name and describes the
// file; n is less than len(buf) if that is all. It is OpenPlain, Read and Close
// for those who read very many small files: it looks at what it has opened
// instead of looking before, and makes no *os.File. Nothing is waited for.
func (d *Dir) ReadPlain(name string, buf []byte) (n int, fi Info, err error) {
	if err := plain(name); err != nil {
		return 0, Info{}, d.fail("open", name, err)
	}
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd(), name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		if fi, e := d.Lstat(name); e == nil && !fi.Mode.IsRegular() {
			err = notPlain(fi.Mode) // a link, or a socket
		}
		return 0, Info{}, d.fail("open", name, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := retry0(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return 0, Info{}, d.fail("stat", name, err)
	}
	if fi = infoOf(&st); !fi.Mode.IsRegular() {
		return 0, fi, d.fail("open", name, notPlain(fi.Mode))
	}
	for n < len(buf) {
		m, err := retry(func() (int, error) { return unix.Read(fd, buf[n:]) })
		if err != nil {
			return n, fi, d.fail("read", name, err)
		}
		if m == 0 {
			break
		}
		// A file that has given what it has is not asked once more.
		if n += m; int64(n) >= fi.Size {
			break
		}
	}
	return n, fi, nil
}

// readBatch bounds the names held at once while a directory is read.
const readBatch = 1024

// Entries yields the names in d, in the order of the file system, and their
// types.
func (d *Dir) Entries(ctx context.Context) iter.Seq2[fs.DirEntry, error] {
	return func(yield func(fs.DirEntry, error) bool) {
		self, err := d.dup()
		if err != nil {
			yield(nil, err)
			return
		}
		defer self.Close()
		for {
			if err := context.Cause(ctx); err != nil {
				yield(nil, err)
				return
			}
			list, err := self.f.ReadDir(readBatch)
			for _, e := range list {
				if !yield(e, nil) {
					return
				}
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(nil, d.fail("readdir", ".", err))
				return
			}
		}
	}
}
