package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"sync/atomic"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// Owner is the numeric user and group that new files and directories get. A
// negative number leaves that part to the system.
type Owner struct{ UID, GID int }

// Self leaves owners to the system: what is made belongs to whoever runs the
// program.
var Self = Owner{-1, -1}

// Options are the ways of a Maildir that its files cannot tell. A nil *Options
// is the zero Options.
type Options struct {
	// Owner of what is made. Nil is Self.
	Owner *Owner
	// DirMode and FileMode are the exact modes of what is made, whatever the
	// umask; zero means 0700 and 0600, as vdelivermail(8) and qmail-local(8)
	// leave them.
	DirMode, FileMode fs.FileMode
	// QuotaMode is that of a maildirsize that RebuildQuota makes; zero is
	// FileMode. Courier's and Plesk's programs make it 0644.
	QuotaMode fs.FileMode
	// Encoding of folder names.
	Encoding Encoding
	// Namer makes the names of delivered messages. Nil is the zero Namer.
	Namer *Namer

	hook safefs.Hook // tests make steps fail
}

func (o *Options) or() *Options {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Owner == nil {
		c.Owner = &Self
	}
	if c.DirMode == 0 {
		c.DirMode = 0o700
	}
	if c.FileMode == 0 {
		c.FileMode = 0o600
	}
	if c.QuotaMode == 0 {
		c.QuotaMode = c.FileMode
	}
	if c.Namer == nil {
		c.Namer = &Namer{}
	}
	return &c
}

func (o *Options) owner() safefs.Owner { return safefs.Owner(*o.Owner) }

// A Dir is one Maildir: an INBOX or a folder of it. Its methods may be used
// from several goroutines.
type Dir struct {
	opts           *Options
	folder         string // "." or ".A.B", for messages and Entry
	root           *safefs.Dir
	tmp, newd, cur *safefs.Dir
	made           bool // by this open, at least in part
	// later, if not nil, is set where something is written that a sync of the
	// whole file system will follow.
	later *atomic.Bool
}

// ErrNotMaildir says that a directory lacks cur, new or tmp.
var ErrNotMaildir = errors.New("maildir: not a Maildir")

// Open opens the Maildir at path.
func Open(path string, opts *Options) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return OpenRoot(root, ".", opts)
}

// OpenRoot opens the Maildir name below root, following no link.
func OpenRoot(root *os.Root, name string, opts *Options) (*Dir, error) {
	o := opts.or()
	d, err := safefs.OpenDir(root, name, o.hook)
	if err != nil {
		return nil, err
	}
	return openDir(d, ".", o)
}

// openDir takes root over.
func openDir(root *safefs.Dir, folder string, o *Options) (*Dir, error) {
	d := &Dir{opts: o, folder: folder, root: root}
	for _, part := range []struct {
		name string
		to   **safefs.Dir
	}{{"tmp", &d.tmp}, {"new", &d.newd}, {"cur", &d.cur}} {
		sub, err := root.Sub(part.name)
		if err != nil {
			d.Close()
			if errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("%w: %w", ErrNotMaildir, err)
			}
			return nil, err
		}
		*part.to = sub
	}
	return d, nil
}

// Close gives the descriptors back.
func (d *Dir) Close() error {
	var err error
	for _, p := range []*safefs.Dir{d.root, d.tmp, d.newd, d.cur} {
		if p != nil {
			err = errors.Join(err, p.Close())
		}
	}
	return err
}

// Folders yields the directory names of the folders, ".A.B", in no order;
// FolderLevels takes them apart. Links and things that are no Maildir are
// items with an error.
func (d *Dir) Folders(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for e, err := range d.root.Entries(ctx) {
			if err != nil {
				yield("", qmailkit.Incomplete(err))
				return
			}
			if _, ok := FolderLevels(e.Name(), UTF8); !ok || e.Name() == "." {
				continue
			}
			if e.Type().IsRegular() {
				continue // .qmail and its like
			}
			err := d.checkFolder(e.Name())
			if !yield(e.Name(), err) {
				return
			}
		}
	}
}

func (d *Dir) checkFolder(name string) error {
	f, err := d.Folder(name)
	if err != nil {
		return err
	}
	return f.Close()
}

// Folder opens the folder with the directory name ".A.B"; "." is d again.
func (d *Dir) Folder(dir string) (*Dir, error) {
	sub, err := d.walk(dir)
	if err != nil {
		return nil, err
	}
	return openDir(sub, dir, d.opts)
}

func (d *Dir) walk(dir string) (*safefs.Dir, error) {
	if dir == "." {
		return d.root.Walk(".")
	}
	if _, ok := FolderLevels(dir, UTF8); !ok {
		return nil, fmt.Errorf("%w: %q", ErrFolder, dir)
	}
	return d.root.Sub(dir)
}

// CreateFolder opens a folder and makes what is missing of it.
func (d *Dir) CreateFolder(dir string) (*Dir, error) { return d.createFolder(dir, true) }

func (d *Dir) createFolder(dir string, sync bool) (*Dir, error) {
	if dir == "." {
		return d.Folder(dir)
	}
	if _, ok := FolderLevels(dir, UTF8); !ok {
		return nil, fmt.Errorf("%w: %q", ErrFolder, dir)
	}
	sub, made, err := makeDir(d.root, dir, d.opts, true, sync)
	if err != nil {
		return nil, err
	}
	return createIn(sub, dir, d.opts, made, sync)
}

// An Entry is a message in its place.
type Entry struct {
	Folder string // directory name of the folder; "." is the INBOX
	Cur    bool   // in cur/, else in new/
	Name   Name
}

// Sub is "new" or "cur".
func (e Entry) Sub() string {
	if e.Cur {
		return "cur"
	}
	return "new"
}

// Messages yields the messages of this Maildir, without its folders: first
// those in new/, then those in cur/, each in the order of the file system.
// What is not a plain file there is an item with an error that wraps
// qmailkit.ErrNotPlain; names that begin with a dot are nobody's messages.
//
// A reader that moves a message meanwhile may make it appear twice or not at
// all, as readdir(3) does.
func (d *Dir) Messages(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, cur := range []bool{false, true} {
			e := Entry{Folder: d.folder, Cur: cur}
			for de, err := range d.sub(e).Entries(ctx) {
				if err != nil {
					yield(e, qmailkit.Incomplete(err))
					return
				}
				if de.Name()[0] == '.' {
					continue
				}
				e.Name, err = ParseName(de.Name())
				if t := de.Type(); err == nil && !t.IsRegular() && t != fs.ModeIrregular {
					err = &fs.PathError{Op: "open", Path: d.sub(e).Name() + "/" + de.Name(), Err: qmailkit.ErrNotPlain}
				}
				if !yield(e, err) {
					return
				}
			}
		}
	}
}

func (d *Dir) sub(e Entry) *safefs.Dir {
	if e.Cur {
		return d.cur
	}
	return d.newd
}

// OpenMessage opens a message for reading.
func (d *Dir) OpenMessage(e Entry) (*os.File, error) {
	return d.sub(e).OpenPlain(e.Name.String(), safefs.Expect{})
}

// Stat tells size and times of a message without opening it.
func (d *Dir) Stat(e Entry) (qmailkit.FileInfo, error) {
	fi, err := d.sub(e).Lstat(e.Name.String())
	if err != nil {
		return qmailkit.FileInfo{}, err
	}
	return qmailkit.FileInfo{
		Name: e.Name.String(), Mode: fi.Mode, Size: fi.Size, ModTime: fi.ModTime, UID: fi.UID, GID: fi.GID, Nlink: fi.Nlink,
	}, nil
}

// SetFlags renames a message so that it has just these flags, and returns its
// new place: with a flag, or from cur/, it is in cur/. Renaming replaces
// nothing; the change is durable when SetFlags returns.
func (d *Dir) SetFlags(e Entry, f Flags) (Entry, error) {
	to := e
	if f != 0 {
		to.Cur = true
	}
	if to.Cur {
		to.Name = e.Name.WithFlags(f)
	}
	if to == e {
		return e, nil
	}
	if err := d.sub(e).RenameExcl(e.Name.String(), d.sub(to), to.Name.String()); err != nil {
		return e, err
	}
	err := d.sub(to).Sync()
	if err == nil && to.Cur != e.Cur {
		err = d.sub(e).Sync()
	}
	return to, err
}

// Remove deletes a message. The deletion is durable when the directory is
// synced next.
func (d *Dir) Remove(e Entry) error { return d.sub(e).Remove(e.Name.String()) }
