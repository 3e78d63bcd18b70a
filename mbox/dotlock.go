//go:build unix

package mbox

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A dotlock is a file that stands beside a mailbox as long as it is locked.
type dotlock struct {
	dir  *safefs.Dir
	name string
	f    *safefs.File
	ino  uint64
}

// takeDotlock makes the lock file name. It is made under the name unique and
// then renamed or linked, which is safe over NFS, and which shows what the
// file's server thinks the time is. An errBusy says that somebody else has the
// lock; one that is left over is taken away first.
func takeDotlock(dir *safefs.Dir, name string, o *LockOptions) (*dotlock, error) {
	unique := o.Unique
	f, err := dir.Create(unique, 0o644, safefs.Keep)
	if errors.Is(err, fs.ErrExist) && marked(dir, unique, o.Mark) {
		if err = dir.Remove(unique); err == nil {
			f, err = dir.Create(unique, 0o644, safefs.Keep)
		}
	}
	if err != nil {
		return nil, err
	}
	// What procmail writes: a number that is no process. Programs that would
	// remove the lock of a process that is gone then go by its age.
	if _, err := f.Write([]byte("0" + o.Mark)); err != nil {
		f.Abandon()
		return nil, err
	}
	me, err := dir.Lstat(unique)
	if err != nil {
		f.Abandon()
		return nil, err
	}
	for range 2 {
		err = dir.RenameExcl(unique, dir, name)
		if err == nil {
			return &dotlock{dir, name, f, me.Ino}, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			break
		}
		var gone bool
		if gone, err = breakStale(dir, name, me.ModTime, o); !gone {
			if err == nil {
				err = errBusy("dotlock")
			}
			break
		}
	}
	f.Abandon()
	return nil, err
}

// marked says whether a lock file is one of the same mark.
func marked(dir *safefs.Dir, name, mark string) bool {
	if mark == "" {
		return false
	}
	b, err := dir.ReadFile(name, int64(len(mark)+1))
	return err == nil && string(b) == "0"+mark
}

// breakStale takes the lock file away if it is marked, older than o.Stale at
// the time now, or has gone by itself. It is first moved aside: should it then turn out
// to be a new one, because a third program was as quick, it is put back.
func breakStale(dir *safefs.Dir, name string, now time.Time, o *LockOptions) (gone bool, err error) {
	old, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if !old.Mode.IsRegular() || now.Sub(old.ModTime) <= o.Stale && !marked(dir, name, o.Mark) {
		return false, nil
	}
	aside := o.Unique + ".old"
	if err := dir.RenameExcl(name, dir, aside); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		return false, err
	}
	moved, err := dir.Lstat(aside)
	if err != nil {
		return false, err
	}
	if moved.Ino != old.Ino || moved.ModTime != old.ModTime {
		return false, dir.RenameExcl(aside, dir, name)
	}
	return true, dir.Remove(aside)
}

// touch makes the lock file young by the clock of its file system.
func (d *dotlock) touch() { d.f.WriteAt([]byte{'0'}, 0) }

func (d *dotlock) check() error {
	fi, err := d.dir.Lstat(d.name)
	if err == nil && fi.Ino != d.ino {
		err = &fs.PathError{Op: "lock", Path: d.name, Err: fmt.Errorf("the lock file was replaced by another program")}
	}
	return err
}

// remove takes the lock file away if it is still ours.
func (d *dotlock) remove() error {
	err := d.check()
	if err == nil {
		err = d.dir.Remove(d.name)
	}
	return errors.Join(err, d.f.Close())
}
