package maildir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// Create opens the Maildir at path and makes what is missing of it: path
// itself, tmp, new and cur. Its parent must exist. What exists keeps its owner
// and mode.
func Create(path string, opts *Options) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err == nil {
		defer root.Close()
		return CreateRoot(root, ".", opts)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	parent, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	return CreateRoot(parent, filepath.Base(path), opts)
}

// CreateRoot is Create for the Maildir name below root. Missing directories
// on the way are made too, with the same owner and mode.
func CreateRoot(root *os.Root, name string, opts *Options) (*Dir, error) {
	return createRoot(root, name, opts.or(), true)
}

func createRoot(root *os.Root, name string, o *Options, sync bool) (*Dir, error) {
	d, err := safefs.OpenDir(root, ".", o.hook)
	if err != nil {
		return nil, err
	}
	made := false
	parts := slices.Collect(pathParts(name))
	for i, part := range parts {
		sub, m, err := makeDir(d, part, o, i == len(parts)-1, sync)
		d.Close()
		if err != nil {
			return nil, err
		}
		d, made = sub, m
	}
	return createIn(d, ".", o, made, sync)
}

// makeDir opens a directory of a Maildir and makes it if it is missing. One on
// the way to a Maildir is not mine.
func makeDir(d *safefs.Dir, name string, o *Options, mine, sync bool) (sub *safefs.Dir, made bool, err error) {
	sub, made, err = d.Mkdir(name, o.DirMode, o.owner())
	if err != nil {
		return nil, false, err
	}
	if !made && mine {
		made, err = adopt(sub, o)
	}
	if err == nil && made && sync {
		err = d.Sync()
	}
	if err != nil {
		sub.Close()
		return nil, false, err
	}
	return sub, made, nil
}

// adopt gives an empty directory its owner that a run has made which was
// killed before it could: nobody else makes root's directories in a Maildir.
func adopt(d *safefs.Dir, o *Options) (half bool, err error) {
	self := os.Geteuid()
	if o.Owner.UID < 0 || o.Owner.UID == self {
		return false, nil
	}
	fi, err := d.Lstat(".")
	if err != nil || fi.UID != self {
		return false, err
	}
	for _, err := range d.Entries(context.Background()) {
		return false, err
	}
	return true, d.Own(o.DirMode, o.owner())
}

// markFolder makes the empty file that tells deliverers of a folder: its quota
// is above it.
func markFolder(d *safefs.Dir, o *Options) (made bool, err error) {
	const name = "maildirfolder"
	if fi, err := d.Lstat(name); err == nil {
		self := os.Geteuid()
		// One of ours was made by a run that was killed before it could give
		// the file away.
		if !fi.Mode.IsRegular() || fi.Size > 0 || fi.UID != self || o.Owner.UID < 0 || o.Owner.UID == self {
			return false, nil
		}
		if err := d.Remove(name); err != nil {
			return false, err
		}
	}
	f, err := d.Create(name, o.FileMode, o.owner())
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

// createIn makes the parts of a Maildir in root, which it takes over.
func createIn(root *safefs.Dir, folder string, o *Options, made, sync bool) (*Dir, error) {
	fail := func(err error) (*Dir, error) {
		root.Close()
		return nil, err
	}
	for _, name := range []string{"tmp", "new", "cur"} {
		sub, m, err := makeDir(root, name, o, true, false)
		if err != nil {
			return fail(err)
		}
		sub.Close()
		made = made || m
	}
	if folder != "." {
		m, err := markFolder(root, o)
		if err != nil {
			return fail(err)
		}
		made = made || m
	}
	if made && sync {
		if err := root.Sync(); err != nil {
			return fail(err)
		}
	}
	d, err := openDir(root, folder, o)
	if err == nil {
		d.made = made
	}
	return d, err
}
