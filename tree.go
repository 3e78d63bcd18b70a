package qmailkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A Tree is the small read-only view through which sources are read. An
// *os.Root is one form (see NewTree), a host over SFTP can be another. io/fs
// will not do, because it refuses names that are not UTF-8.
//
// Names are bytes, relative, parted by "/", without empty, "." or ".." parts;
// "." alone is the top. No method follows a symbolic link anywhere in a name:
// a link in the middle is an error that wraps ErrLink. Use Resolve first where
// links that the administrator made may be followed.
type Tree interface {
	// ReadDir yields the entries of a directory in no order.
	ReadDir(ctx context.Context, dir string) iter.Seq2[DirEntry, error]
	// Lstat describes what stands under name.
	Lstat(name string) (FileInfo, error)
	// Readlink returns the text of a symbolic link.
	Readlink(name string) (string, error)
	// Open opens a plain file for reading. Anything else is refused with an
	// error that wraps ErrNotPlain, and never waited for.
	Open(name string) (File, error)
}

// A File is an open plain file of a Tree. Where the Tree is a local directory
// it is an *os.File.
type File interface {
	io.Reader
	io.ReaderAt
	io.Closer
	// Stat describes the file that is open, whatever its name stands for now.
	Stat() (fs.FileInfo, error)
}

// DirEntry is one name in a directory.
type DirEntry struct {
	Name string
	Type fs.FileMode // type bits only
}

// FileInfo describes a file of a Tree.
type FileInfo struct {
	Name    string // last part of the name
	Mode    fs.FileMode
	Size    int64
	ModTime time.Time
	UID     int
	GID     int
	Nlink   uint64 // 0 where the Tree cannot tell
}

var (
	// ErrLink says that a symbolic link stands where none may be followed.
	ErrLink = safefs.ErrLink
	// ErrNotPlain says that a directory, FIFO, device or socket stands where a
	// plain file should.
	ErrNotPlain = safefs.ErrNotPlain
)

// maxLinks bounds the links that Resolve follows, as the kernel does.
const maxLinks = 40

// Resolve follows the symbolic links in name and returns a name without any.
//
// A host's file system mounted elsewhere is full of legitimate links (/home to
// /data/home), so a link is followed when it stands in a directory that its
// users cannot write: one owned by root, or by whoever runs this program, and
// writable by nobody else. An absolute target starts again at the top of the
// Tree, and ".." stops there. Any other link is refused with an error that
// wraps ErrLink. A last part that does not exist is not an error here.
func Resolve(t Tree, name string) (string, error) {
	var done []string
	todo := splitName(name)
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(done) > 0 {
				done = done[:len(done)-1]
			}
			continue
		}
		at := joinName(append(done, part))
		fi, err := t.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) && len(todo) == 0 {
			return at, nil
		}
		if err != nil {
			return "", err
		}
		if fi.Mode.Type() != fs.ModeSymlink {
			done = append(done, part)
			continue
		}
		if err := trustedDir(t, joinName(done)); err != nil {
			return "", &fs.PathError{Op: "resolve", Path: at, Err: err}
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "resolve", Path: name, Err: fmt.Errorf("%w: too many of them", ErrLink)}
		}
		to, err := t.Readlink(at)
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(to, "/") {
			done = done[:0]
		}
		todo = append(splitName(to), todo...)
	}
	return joinName(done), nil
}

// trustedDir says whether links in dir were made by the administrator.
func trustedDir(t Tree, dir string) error {
	fi, err := t.Lstat(dir)
	if err != nil {
		return err
	}
	if fi.UID != 0 && fi.UID != os.Geteuid() {
		return fmt.Errorf("%w in a directory that user %d owns", ErrLink, fi.UID)
	}
	if fi.Mode.Perm()&0o022 != 0 {
		return fmt.Errorf("%w in a directory that others can write", ErrLink)
	}
	return nil
}

func splitName(name string) []string { return strings.Split(name, "/") }

func joinName(parts []string) string {
	if len(parts) == 0 {
		return "."
	}
	return strings.Join(parts, "/")
}

// NewTree returns the Tree form of a local directory.
func NewTree(root *os.Root) Tree { return dirTree{root} }

type dirTree struct{ root *os.Root }

// parent opens the directory that holds name.
func (t dirTree) parent(op, name string) (*safefs.Dir, string, error) {
	dir, base := ".", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, base = name[:i], name[i+1:]
	}
	d, err := safefs.OpenDir(t.root, dir, nil)
	if err != nil {
		return nil, "", t.named(op, name, err)
	}
	return d, base, nil
}

// named puts the Tree's own name of the file into an error.
func (t dirTree) named(op, name string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

func (t dirTree) ReadDir(ctx context.Context, dir string) iter.Seq2[DirEntry, error] {
	return func(yield func(DirEntry, error) bool) {
		d, err := safefs.OpenDir(t.root, dir, nil)
		if err != nil {
			yield(DirEntry{}, Incomplete(t.named("readdir", dir, err)))
			return
		}
		defer d.Close()
		yieldEntries(ctx, d, dir, yield)
	}
}

func yieldEntries(ctx context.Context, d *safefs.Dir, dir string, yield func(DirEntry, error) bool) {
	for e, err := range d.Entries(ctx) {
		if err != nil {
			yield(DirEntry{}, Incomplete(dirTree{}.named("readdir", dir, err)))
			return
		}
		if !yield(DirEntry{e.Name(), e.Type()}, nil) {
			return
		}
	}
}

func (t dirTree) Lstat(name string) (FileInfo, error) {
	d, base, err := t.parent("lstat", name)
	if err != nil {
		return FileInfo{}, err
	}
	defer d.Close()
	fi, err := d.Lstat(base)
	if err != nil {
		return FileInfo{}, t.named("lstat", name, err)
	}
	return fileInfo(base, fi), nil
}

func fileInfo(name string, fi safefs.Info) FileInfo {
	return FileInfo{name, fi.Mode, fi.Size, fi.ModTime, fi.UID, fi.GID, fi.Nlink}
}

func (t dirTree) Readlink(name string) (string, error) {
	d, base, err := t.parent("readlink", name)
	if err != nil {
		return "", err
	}
	defer d.Close()
	to, err := d.Readlink(base)
	if err != nil {
		return "", t.named("readlink", name, err)
	}
	return to, nil
}

func (t dirTree) Open(name string) (File, error) {
	d, base, err := t.parent("open", name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	f, err := d.OpenPlain(base, safefs.Expect{})
	if err != nil {
		return nil, t.named("open", name, err)
	}
	return f, nil
}

// A TreeDir is one directory of a Tree, for those who read very many small
// files of it. Its methods take plain names without "/"; their errors name the
// files as the Tree does. They may be used from several goroutines.
type TreeDir struct {
	tree Tree
	dir  string
	held *safefs.Dir // nil where the Tree is no local directory
}

// OpenDir opens the directory dir of t. A local one is held open, so that no
// file in it costs a walk there; of any other Tree, OpenDir asks nothing yet.
func OpenDir(t Tree, dir string) (*TreeDir, error) {
	d := &TreeDir{tree: t, dir: dir}
	if local, ok := t.(dirTree); ok {
		var err error
		if d.held, err = safefs.OpenDir(local.root, dir, nil); err != nil {
			return nil, local.named("open", dir, err)
		}
	}
	return d, nil
}

// Close gives the descriptor back.
func (d *TreeDir) Close() error {
	if d.held == nil {
		return nil
	}
	return d.held.Close()
}

// Path is the name of a file in the Tree.
func (d *TreeDir) Path(name string) string {
	if d.dir == "." {
		return name
	}
	return d.dir + "/" + name
}

func (d *TreeDir) named(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return dirTree{}.named(op, d.Path(name), err)
}

// ReadDir yields the entries in no order.
func (d *TreeDir) ReadDir(ctx context.Context) iter.Seq2[DirEntry, error] {
	if d.held == nil {
		return d.tree.ReadDir(ctx, d.dir)
	}
	return func(yield func(DirEntry, error) bool) {
		yieldEntries(ctx, d.held, d.dir, yield)
	}
}

// Lstat describes what stands under name.
func (d *TreeDir) Lstat(name string) (FileInfo, error) {
	if d.held == nil {
		return d.tree.Lstat(d.Path(name))
	}
	fi, err := d.held.Lstat(name)
	return fileInfo(name, fi), d.named("lstat", name, err)
}

// Open opens a plain file for reading, as Tree.Open does.
func (d *TreeDir) Open(name string) (File, error) {
	if d.held == nil {
		return d.tree.Open(d.Path(name))
	}
	f, err := d.held.OpenPlain(name, safefs.Expect{})
	if err != nil {
		return nil, d.named("open", name, err)
	}
	return f, nil
}

// Read fills buf from the start of a plain file, as Open would find it, and
// describes the file; n is less than len(buf) if that is all.
func (d *TreeDir) Read(name string, buf []byte) (n int, fi FileInfo, err error) {
	if d.held != nil {
		n, fi, err := d.held.ReadPlain(name, buf)
		return n, fileInfo(name, fi), d.named("read", name, err)
	}
	if fi, err = d.Lstat(name); err != nil {
		return 0, fi, err
	}
	f, err := d.Open(name)
	if err != nil {
		return 0, fi, err
	}
	defer f.Close()
	n, err = io.ReadFull(f, buf)
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, fi, err
}
