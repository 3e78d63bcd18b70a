//go:build unix

// Package sftptree reads a host over SFTP as a qmailkit.Tree, so that a program
// can take its source from a directory or from a remote host with the same code.
//
// SFTP addresses files by whole paths and follows links in them; nothing in the
// protocol (version 3) forbids that. Every part of a path is therefore looked
// at before and after a file is opened, and what has been opened must be what
// was looked at. A user of the remote host who exchanges a directory for a link
// and back in between could still have a file of his choice read, with the
// rights of the account that logs in: where that matters, log in as a user that
// may read the mail and nothing else. Times have whole seconds.
package sftptree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/pkg/sftp"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A Tree is a directory of a remote host. Its methods may be used by many
// goroutines at once; requests then overlap.
type Tree struct {
	client *sftp.Client
	top    string // absolute, without a slash at its end; "" is "/"
	close  []io.Closer
}

var _ qmailkit.Tree = (*Tree)(nil)

// New makes a Tree of the directory top, an absolute path, of a connected
// client. Links in top itself are the administrator's and are followed.
func New(client *sftp.Client, top string) *Tree {
	return &Tree{client: client, top: strings.TrimRight(top, "/")}
}

// Close ends the connection, if Dial has made it.
func (t *Tree) Close() error {
	var errs []error
	for _, c := range t.close {
		// Closing the one makes the other end too, which it says as an error.
		if err := c.Close(); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	t.close = nil
	return errors.Join(errs...)
}

var errName = errors.New("name is not one of a tree: relative, without empty, \".\" or \"..\" parts")

// check holds names to what a Tree takes.
func check(name string) error {
	if name == "." {
		return nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || strings.IndexByte(part, 0) >= 0 {
			return errName
		}
	}
	return nil
}

// remote is the absolute path of a name.
func (t *Tree) remote(name string) string {
	switch {
	case name == "." && t.top == "":
		return "/"
	case name == ".":
		return t.top + "/." // so that top may be a link
	}
	return t.top + "/" + name
}

// chain describes name and everything above it, the top of the tree left out.
// A part above name that is no directory is an error. The requests overlap, so
// that a deep path takes no longer than one request.
func (t *Tree) chain(name string) (fs.FileInfo, error) {
	if err := check(name); err != nil {
		return nil, err
	}
	var paths []string
	for i := 0; i < len(name); i++ {
		if name[i] == '/' {
			paths = append(paths, name[:i])
		}
	}
	paths = append(paths, name)
	infos, errs := make([]fs.FileInfo, len(paths)), make([]error, len(paths))
	var all sync.WaitGroup
	for i, p := range paths {
		all.Go(func() { infos[i], errs[i] = t.client.Lstat(t.remote(p)) })
	}
	all.Wait()
	for i := range paths {
		if errs[i] != nil {
			return nil, plain(errs[i])
		}
		if i == len(paths)-1 {
			break
		}
		switch mode := infos[i].Mode(); {
		case mode.Type() == fs.ModeSymlink:
			return nil, fmt.Errorf("%w: %s", qmailkit.ErrLink, paths[i])
		case !mode.IsDir():
			return nil, fmt.Errorf("%w: not a directory", qmailkit.ErrNotPlain)
		}
	}
	return infos[len(paths)-1], nil
}

// plain takes the client's own path off an error, and makes the kinds of errors
// match those of package fs, whichever server they come from.
func plain(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	var status *sftp.StatusError
	if errors.As(err, &status) {
		switch status.FxCode() {
		case sftp.ErrSSHFxNoSuchFile:
			return fs.ErrNotExist
		case sftp.ErrSSHFxPermissionDenied:
			return fs.ErrPermission
		}
	}
	return err
}

func named(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: plain(err)}
}

// ReadDir yields the entries of a directory. All of them are held in memory
// until they have been yielded.
func (t *Tree) ReadDir(ctx context.Context, dir string) iter.Seq2[qmailkit.DirEntry, error] {
	return func(yield func(qmailkit.DirEntry, error) bool) {
		fail := func(err error) { yield(qmailkit.DirEntry{}, qmailkit.Incomplete(named("readdir", dir, err))) }
		fi, err := t.chain(dir)
		if err == nil && fi.Mode().Type() == fs.ModeSymlink {
			err = qmailkit.ErrLink
		}
		if err != nil {
			fail(err)
			return
		}
		entries, err := t.client.ReadDirContext(ctx, t.remote(dir))
		for _, e := range entries {
			if strings.ContainsAny(e.Name(), "/\x00") {
				continue
			}
			if !yield(qmailkit.DirEntry{Name: e.Name(), Type: e.Mode().Type()}, nil) {
				return
			}
		}
		if err == nil {
			_, err = t.chain(dir)
		}
		if err != nil {
			fail(err)
		}
	}
}

// Lstat describes what stands under name. Nlink is 0: SFTP does not tell.
func (t *Tree) Lstat(name string) (qmailkit.FileInfo, error) {
	fi, err := t.chain(name)
	if err != nil {
		return qmailkit.FileInfo{}, named("lstat", name, err)
	}
	return info(name, fi), nil
}

func info(name string, fi fs.FileInfo) qmailkit.FileInfo {
	out := qmailkit.FileInfo{Name: name[strings.LastIndexByte(name, '/')+1:], Mode: fi.Mode(), Size: fi.Size(), ModTime: fi.ModTime(), UID: -1, GID: -1}
	if st, ok := fi.Sys().(*sftp.FileStat); ok {
		out.UID, out.GID = int(st.UID), int(st.GID)
	}
	return out
}

// Readlink returns the text of a symbolic link.
func (t *Tree) Readlink(name string) (string, error) {
	fi, err := t.chain(name)
	if err == nil && fi.Mode().Type() != fs.ModeSymlink {
		err = fs.ErrInvalid
	}
	var to string
	if err == nil {
		to, err = t.client.ReadLink(t.remote(name))
	}
	if err != nil {
		return "", named("readlink", name, err)
	}
	return to, nil
}

// Open opens a plain file for reading.
func (t *Tree) Open(name string) (qmailkit.File, error) {
	before, err := t.chain(name)
	if err == nil {
		err = regular(before)
	}
	if err != nil {
		return nil, named("open", name, err)
	}
	f, err := t.client.OpenFile(t.remote(name), os.O_RDONLY)
	if err != nil {
		return nil, named("open", name, err)
	}
	var opened, after fs.FileInfo
	var oerr, aerr error
	var both sync.WaitGroup
	both.Go(func() { opened, oerr = f.Stat() })
	both.Go(func() { after, aerr = t.chain(name) })
	both.Wait()
	switch {
	case oerr != nil:
		err = oerr
	case errors.Is(aerr, fs.ErrNotExist):
		// Moved or deleted since: what is open is what was looked at.
	case aerr != nil:
		err = aerr
	case regular(after) != nil:
		err = regular(after)
	}
	if err == nil && !same(before, opened) {
		err = safefs.ErrExchanged
	}
	if err != nil {
		f.Close()
		return nil, named("open", name, err)
	}
	return &file{f}, nil
}

// regular says why something is no plain file.
func regular(fi fs.FileInfo) error {
	switch {
	case fi.Mode().IsRegular():
		return nil
	case fi.Mode().Type() == fs.ModeSymlink:
		return qmailkit.ErrLink
	}
	return qmailkit.ErrNotPlain
}

// same says whether two descriptions are of one file, as far as SFTP tells.
func same(a, b fs.FileInfo) bool {
	x, y := info(".", a), info(".", b)
	return b.Mode().IsRegular() && x.UID == y.UID && x.GID == y.GID && x.ModTime.Equal(y.ModTime) && x.Size == y.Size
}

// file is an open file of a Tree.
type file struct{ *sftp.File }

// Stat describes the file that is open.
func (f *file) Stat() (fs.FileInfo, error) { return f.File.Stat() }
