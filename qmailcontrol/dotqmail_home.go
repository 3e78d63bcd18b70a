//go:build unix

package qmailcontrol

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// errAccess says that qmail-local, as the user who it is, may not do that.
var errAccess = errors.New("access denied")

// dotHome is a home directory as qmail-local sees it.
type dotHome struct {
	tree qmailkit.Tree
	who  *Owner // nil: may read everything
	dir  string // in the tree, without links
	info qmailkit.FileInfo
}

// may says whether the user has the access want, an octal digit, to a file. It
// has one group only (qmail-lspawn.c).
func (h *dotHome) may(fi qmailkit.FileInfo, want fs.FileMode) bool {
	switch {
	case h.who == nil || h.who.UID == 0:
		return true
	case h.owns(fi):
		want <<= 6
	case fi.GID == h.who.GID:
		want <<= 3
	}
	return fi.Mode&want == want
}

// owns says whether a file is the user's. Whoever is not root has no files of
// others in a copy of a host, so that files of one's own count as the user's.
func (h *dotHome) owns(fi qmailkit.FileInfo) bool {
	return h.who == nil || fi.UID == h.who.UID || fi.UID != 0 && fi.UID == os.Geteuid()
}

// trusted says whether links in a directory were made by the administrator.
func trusted(dir qmailkit.FileInfo) bool {
	return (dir.UID == 0 || dir.UID == os.Geteuid()) && dir.Mode.Perm()&0o022 == 0
}

const (
	maxDotLinks = 40  // as in the kernel
	maxDotName  = 255 // bytes of one part of a path
)

// found is where a walk ends.
type found struct {
	at   string // name in the tree, without links
	info qmailkit.FileInfo
	link bool // there was a link on the way
}

// walk follows name from the directory start as the kernel does for the user,
// links too, but never out of the tree, where an absolute link starts again at
// the top. Everything that is a miss to qmail-local, loops for example, is
// fs.ErrNotExist; errAccess says that the user may not go on.
//
// A link in a directory that users can write could lead whoever runs this
// program to files that are not the user's business. It is followed only where
// it is known who the user is, because then nothing is read that the user
// could not read as well. Else the error wraps qmailkit.ErrLink.
func (h *dotHome) walk(start, name string) (found, error) {
	done := parts(start)
	todo := parts(name)
	dir, err := h.tree.Lstat(joined(done))
	if err != nil {
		return found{}, err
	}
	f := found{info: dir}
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		if !f.info.Mode.IsDir() || len(part) > maxDotName {
			return f, fs.ErrNotExist
		}
		// Every host lets everybody into its top; a copy may stand in a closed
		// directory.
		if len(done) > 0 && !h.may(f.info, 1) {
			return f, errAccess
		}
		if part == ".." {
			done = done[:max(len(done)-1, 0)]
			if f.info, err = h.tree.Lstat(joined(done)); err != nil {
				return f, err
			}
			continue
		}
		at := joined(append(done, part))
		info, err := h.tree.Lstat(at)
		if err != nil {
			return f, missed(err)
		}
		if info.Mode.Type() != fs.ModeSymlink {
			done, f.info = append(done, part), info
			continue
		}
		if f.link = true; h.who == nil && !trusted(f.info) {
			return f, &fs.PathError{Op: "open", Path: at, Err: fmt.Errorf("%w in a directory that others can write", qmailkit.ErrLink)}
		}
		to, err := h.tree.Readlink(at)
		if err != nil {
			return f, err
		}
		if links++; links > maxDotLinks || len(to) >= maxPath {
			return f, fs.ErrNotExist
		}
		todo = append(parts(to), todo...)
		if strings.HasPrefix(to, "/") {
			done = nil
			if f.info, err = h.tree.Lstat("."); err != nil {
				return f, err
			}
		}
	}
	if strings.HasSuffix(name, "/") && !f.info.Mode.IsDir() {
		return f, fs.ErrNotExist
	}
	f.at = joined(done)
	return f, nil
}

// missed makes fs.ErrNotExist of what open(2) says where there is no such file.
func missed(err error) error {
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, syscall.EINVAL) {
		return fs.ErrNotExist
	}
	return err
}

// parts are those of a path that lead somewhere.
func parts(name string) (list []string) {
	for part := range strings.SplitSeq(name, "/") {
		if part != "" && part != "." {
			list = append(list, part)
		}
	}
	return list
}

func joined(parts []string) string {
	if len(parts) == 0 {
		return "."
	}
	return strings.Join(parts, "/")
}

// read reads the file that a walk has found. Its bytes are bounded as those of
// control files are.
func (h *dotHome) read(name string, f found) (*DotQmail, error) {
	file, err := h.tree.Open(f.at)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if local, ok := file.(*os.File); ok {
		// What was judged must be what is read.
		now, err := safefs.Stat(local)
		if err == nil && (now.UID != f.info.UID || now.GID != f.info.GID || now.Mode != f.info.Mode) {
			err = &fs.PathError{Op: "open", Path: f.at, Err: errors.New("file was exchanged while it was opened")}
		}
		if err != nil {
			return nil, err
		}
	}
	q, err := ParseDotQmail(file)
	if err != nil {
		return nil, named(name, err)
	}
	return q, nil
}

// LoadDotQmail reads the .qmail file name in the directory root, as Load does.
// A missing file is an error that wraps fs.ErrNotExist.
func LoadDotQmail(root *os.Root, name string) (*DotQmail, error) {
	l, err := Load(root, name)
	if err != nil {
		return nil, err
	}
	return &DotQmail{*l}, nil
}

// Save replaces the .qmail file name in the directory root, as Lines.Save does
// with a control file. While a home directory is sticky qmail delivers nothing
// there (dot-qmail(5)); for a change of several files that is the lock.
func (q *DotQmail) Save(root *os.Root, name string, opts *SaveOptions) error {
	return q.lines.Save(root, name, opts)
}
