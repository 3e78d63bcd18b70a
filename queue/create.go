//go:build unix

package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// ErrNotEmpty says that a directory in which a queue was to be made has
// something else in it.
var ErrNotEmpty = errors.New("directory is not empty")

// tcptoSize is the length of lock/tcpto: 64 records of 16 bytes (tcpto.c).
const tcptoSize = 1024

// tcptoTemp is the name under which a tcpto is written that is to be there
// whole or not at all.
const tcptoTemp = ".tcpto.qmailkit"

// shape is what a file or directory has to be: its type and mode, and who owns
// it. A negative number is not asked about.
type shape struct {
	mode  fs.FileMode
	owner safefs.Owner
}

// fits says whether something has this mode and owner; the type is another
// question.
func (s shape) fits(fi safefs.Info) bool {
	const bits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	return (fi.Mode^s.mode)&bits == 0 &&
		(s.owner.UID < 0 || s.owner.UID == fi.UID) && (s.owner.GID < 0 || s.owner.GID == fi.GID)
}

// dirShape is the shape of a directory by its first name in the queue; "." is
// the queue itself. Those of a part are like the part's (install.c,
// instcheck.c).
func (q *Queue) dirShape(name string) shape {
	switch name {
	case "info", "local", "remote", "bounce":
		return shape{fs.ModeDir | 0o700, q.giveTo(q.owners.Qmails)}
	case "pid", "intd":
		return shape{fs.ModeDir | 0o700, q.giveTo(q.owners.Qmailq)}
	}
	return shape{fs.ModeDir | 0o750, q.giveTo(q.owners.Qmailq)}
}

// fileShape is the shape of a message's file. The group of what qmail-queue
// makes is that of whoever ran it.
func (q *Queue) fileShape(p Part) shape {
	switch p {
	case Mess, Todo, Intd:
		o := q.giveTo(q.owners.Qmailq)
		o.GID = -1
		return shape{0o644, o}
	}
	return shape{0o600, q.giveTo(q.owners.Qmails)}
}

// lockFiles are the files in lock that qmail does not make itself.
var lockFiles = [...]string{mutexName, "tcpto", "trigger"}

// lockShape is the shape of one of lockFiles.
func (q *Queue) lockShape(name string) shape {
	switch name {
	case "tcpto":
		return shape{0o644, q.giveTo(q.owners.Qmailr)}
	case "trigger":
		return shape{fs.ModeNamedPipe | 0o622, q.giveTo(q.owners.Qmails)}
	}
	return shape{0o600, q.giveTo(q.owners.Qmails)}
}

// flatDirs are the directories of a queue before any is split.
var flatDirs = [...]string{"pid", "intd", "todo", "mess", "info", "local", "remote", "bounce", "lock"}

// CreateOptions say what queue to make.
type CreateOptions struct {
	// Layout of the queue; a Split of 0 is 23, qmail's own.
	Layout Layout
	// Owners of the files. A zero leaves what creation gives.
	Owners Owners

	hook safefs.Hook
}

// Create makes an empty queue in root, with the directories, modes and owners
// that qmail's installer gives it (install.c), lock/tcpto of 1024 bytes and
// lock/trigger, a FIFO. The directory root itself has to exist and gets owner
// and mode as well. What is there already is kept if it belongs to such an
// empty queue, so that Create can be repeated after it was interrupted; else
// the error wraps ErrNotEmpty.
//
// Everything is on the disk when it returns.
func Create(ctx context.Context, root *os.Root, opts *CreateOptions) error {
	if opts == nil {
		opts = &CreateOptions{}
	}
	layout := opts.Layout
	if layout.Split == 0 {
		layout.Split = 23
	}
	if layout.Split < 0 || layout.Split > maxSplit {
		return fmt.Errorf("queue: split of %d", layout.Split)
	}
	top, err := safefs.OpenDir(root, ".", opts.hook)
	if err != nil {
		return err
	}
	defer top.Close()
	q := &Queue{root: root, top: top, layout: layout, owners: opts.Owners}
	q.opts.hook = opts.hook
	if err := q.onlyEmpty(ctx); err != nil {
		return err
	}
	if err := q.ensureDirs(ctx, layout); err != nil {
		return err
	}
	for _, name := range lockFiles {
		if err := q.ensureLock(name); err != nil {
			return err
		}
	}
	return nil
}

// onlyEmpty refuses a directory that holds more than an empty queue of q's
// layout.
func (q *Queue) onlyEmpty(ctx context.Context) error {
	for e, err := range q.top.Entries(ctx) {
		if err != nil {
			return err
		}
		if err := q.emptyPart(ctx, e.Name()); err != nil {
			return err
		}
	}
	return nil
}

func (q *Queue) emptyPart(ctx context.Context, name string) error {
	if !slices.Contains(flatDirs[:], name) {
		return fmt.Errorf("queue: %w: %q", ErrNotEmpty, name)
	}
	d, err := q.top.Sub(name)
	if err != nil {
		return err
	}
	defer d.Close()
	p, _ := partOf(name)
	for e, err := range d.Entries(ctx) {
		if err != nil {
			return err
		}
		n, numbered := dirNumber(e.Name())
		ok := numbered && e.IsDir() && n < q.layout.Split && p.String() == name && q.layout.IsSplit(p)
		if name == "lock" {
			ok = slices.Contains(lockFiles[:], e.Name()) || e.Name() == tcptoTemp
		} else if ok {
			err = emptyDir(ctx, d, e.Name())
		}
		if !ok || err != nil {
			return errors.Join(fmt.Errorf("queue: %w: %q", ErrNotEmpty, name+"/"+e.Name()), err)
		}
	}
	return nil
}

// emptyDir says by an error that a directory has entries.
func emptyDir(ctx context.Context, d *safefs.Dir, name string) error {
	sub, err := d.Sub(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	for e, err := range sub.Entries(ctx) {
		if err == nil {
			err = fmt.Errorf("it holds %q", e.Name())
		}
		return err
	}
	return nil
}

// ensureDirs makes the directories of a layout that are missing and gives all
// of them owner and mode.
func (q *Queue) ensureDirs(ctx context.Context, l Layout) error {
	for _, name := range flatDirs {
		if err := q.ensurePart(ctx, name, l); err != nil {
			return err
		}
	}
	s := q.dirShape(".")
	if err := q.top.Own(s.mode, s.owner); err != nil {
		return err
	}
	return q.top.Sync()
}

func (q *Queue) ensurePart(ctx context.Context, name string, l Layout) error {
	s := q.dirShape(name)
	d, _, err := q.top.Mkdir(name, s.mode.Perm(), s.owner)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Own(s.mode, s.owner); err != nil {
		return err
	}
	if p, n := partOf(name); n == 0 || !l.IsSplit(p) {
		return d.Sync()
	}
	for i := range l.Split {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		sub, _, err := d.Mkdir(strconv.Itoa(i), s.mode.Perm(), s.owner)
		if err == nil {
			err = sub.Own(s.mode, s.owner)
			sub.Close()
		}
		if err != nil {
			return err
		}
	}
	return d.Sync()
}

// ensureLock makes a file in lock if it is missing, and gives it its owner,
// mode and size. Something of the wrong type has to be taken away before.
func (q *Queue) ensureLock(name string) error {
	d, err := q.openDir("lock")
	if err != nil {
		return err
	}
	defer d.Close()
	s := q.lockShape(name)
	fi, err := d.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = q.makeLock(d, name, s)
	case err != nil:
	case fi.Mode.Type() != s.mode.Type():
		err = fmt.Errorf("queue: lock/%s is %s", name, fi.Mode)
	case name == "tcpto" && fi.Size != tcptoSize:
		// The times of hosts that did not answer: worth no more than a look.
		err = d.WriteFile(name, safefs.Replacement{Mode: s.mode, Owner: s.owner, Temp: tcptoTemp}, make([]byte, tcptoSize))
	default:
		err = d.OwnNode(name, fi, s.mode, s.owner)
	}
	if err != nil {
		return err
	}
	return d.Sync()
}

func (q *Queue) makeLock(d *safefs.Dir, name string, s shape) error {
	switch name {
	case "trigger":
		return d.Mkfifo(name, s.mode, s.owner)
	case "tcpto":
		return d.WriteFile(name, safefs.Replacement{Mode: s.mode, Owner: s.owner, Temp: tcptoTemp}, make([]byte, tcptoSize))
	}
	f, err := d.Create(name, s.mode, s.owner)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
