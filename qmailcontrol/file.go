//go:build unix

package qmailcontrol

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// Load reads the control file name from the directory root.
//
// A missing file is an error that wraps fs.ErrNotExist, because to qmail it is
// another thing than an empty one: without rcpthosts a host accepts everything.
// A symbolic link is followed inside root, if it stands in a directory that
// users cannot write (see qmailkit.Resolve). One that leads nowhere there is an
// error that wraps qmailkit.ErrLink and not fs.ErrNotExist: qmail, which may
// follow it further, need not miss the file.
func Load(root *os.Root, name string) (*Lines, error) {
	tree := qmailkit.NewTree(root)
	at, err := resolve(tree, name)
	if err != nil {
		return nil, err
	}
	f, err := tree.Open(at)
	if err != nil {
		return nil, unmissed(tree, name, err)
	}
	defer f.Close()
	l, err := ParseLines(f)
	return l, named(name, err)
}

// resolve follows the links in name that the administrator made.
func resolve(tree qmailkit.Tree, name string) (string, error) {
	at, err := qmailkit.Resolve(tree, name)
	if err != nil {
		return "", unmissed(tree, name, err)
	}
	return at, nil
}

// unmissed keeps a dangling link from passing for a missing file.
func unmissed(tree qmailkit.Tree, name string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, e := tree.Lstat(name); errors.Is(e, fs.ErrNotExist) {
		return err
	}
	return &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%w that leads nowhere: %v", qmailkit.ErrLink, err)}
}

func named(name string, err error) error {
	var pe *ParseError
	if errors.As(err, &pe) {
		pe.File = name
	}
	return err
}

// Owner is a numeric user and group. A negative number means oneself.
type Owner struct{ UID, GID int }

// SaveOptions say how a file is written. The nil pointer is the zero value.
type SaveOptions struct {
	// Mode of the new file. Zero keeps that of the file it replaces, and is
	// 0644 where there is none.
	Mode fs.FileMode
	// Owner of the new file; nil keeps that of the file it replaces, and is
	// oneself where there is none.
	Owner *Owner

	hook safefs.Hook
}

// replacement turns the options into those of safefs for the file name in d.
func (o *SaveOptions) replacement(d *safefs.Dir, name string) (safefs.Replacement, error) {
	r := safefs.Replacement{Mode: 0o644, Owner: safefs.Keep}
	old, err := d.Lstat(name)
	switch {
	case err == nil:
		r.Mode = old.Mode.Perm()
		r.Owner = safefs.Owner{UID: old.UID, GID: old.GID}
	case !errors.Is(err, fs.ErrNotExist):
		return r, err
	}
	if o.Mode != 0 {
		r.Mode = o.Mode
	}
	if o.Owner != nil {
		r.Owner = safefs.Owner(*o.Owner)
	}
	return r, nil
}

// Save writes l as the control file name of the directory root, which is
// replaced in one step and is on the disk when Save returns: temporary file,
// fsync, rename, fsync of the directory. When it fails the old file is as it
// was. If name is a symbolic link that Load would follow, its target is
// replaced and the link stays.
func (l *Lines) Save(root *os.Root, name string, opts *SaveOptions) error {
	return replace(root, name, "", opts, func(w target) error {
		_, err := l.WriteTo(w)
		return err
	})
}

// A target is what a file is written to.
type target interface {
	io.Writer
	io.WriterAt
}

// replace writes a file through temp, or a name of its own making.
func replace(root *os.Root, name, temp string, opts *SaveOptions, write func(target) error) error {
	if opts == nil {
		opts = &SaveOptions{}
	}
	at, err := resolve(qmailkit.NewTree(root), name)
	if err != nil {
		return err
	}
	d, err := safefs.OpenDir(root, path.Dir(at), opts.hook)
	if err != nil {
		return err
	}
	defer d.Close()
	base := path.Base(at)
	r, err := opts.replacement(d, base)
	if err != nil {
		return err
	}
	r.Temp = temp
	return d.Replace(base, r, func(f *safefs.File) error { return write(f) })
}

// LoadConfig reads the control directory root: see ReadConfig.
func LoadConfig(ctx context.Context, root *os.Root) (*Config, error) {
	return ReadConfig(ctx, qmailkit.NewTree(root), ".")
}
