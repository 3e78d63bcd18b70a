//go:build unix

package safefs

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"time"
)

// Replacement says how Replace makes the new file.
type Replacement struct {
	// Mode and Owner of the new file. With Inherit they count only where no
	// old file exists, which else hands on its own. The zero Owner is root:
	// set Keep where it is to be oneself.
	Mode    fs.FileMode
	Owner   Owner
	Inherit bool
	// Temp is the name under which the file is written; empty makes one up.
	// A left-over of that name is removed first; one that cannot be removed is
	// left, and a name made up.
	Temp string
	// Time, if not zero, becomes the modification time.
	Time time.Time
	// Undurable leaves the syncs out: the caller makes one for all.
	Undurable bool
}

// Replace writes a file beside name, syncs it, renames it over name and syncs
// the directory. When it fails the old file is as it was and nothing is left
// behind.
func (d *Dir) Replace(name string, r Replacement, write func(f *File) error) error {
	if err := plain(name); err != nil {
		return d.fail("replace", name, err)
	}
	mode, owner, err := d.inherit(name, r)
	if err != nil {
		return err
	}
	tmp := r.Temp
	if tmp == "" {
		tmp = "." + name + "." + rand.Text()[:10]
	} else if err := d.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		// A directory of that name, say, must not stop everything.
		tmp = "." + name + "." + rand.Text()[:10]
	}
	f, err := d.Create(tmp, mode, owner)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Abandon()
		return err
	}
	if !r.Time.IsZero() {
		err = f.SetTime(r.Time)
	}
	if err == nil && !r.Undurable {
		err = f.Sync()
	}
	if err != nil {
		f.Abandon()
		return err
	}
	if err := f.Close(); err != nil {
		d.Remove(tmp)
		return err
	}
	if err := d.Rename(tmp, d, name); err != nil {
		d.Remove(tmp)
		return err
	}
	if r.Undurable {
		return nil
	}
	return d.Sync()
}

// inherit decides mode and owner of a replacement. Replacing anything but a
// plain file is refused.
func (d *Dir) inherit(name string, r Replacement) (fs.FileMode, Owner, error) {
	old, err := d.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return r.Mode, r.Owner, nil
	}
	if err != nil {
		return 0, Keep, err
	}
	if !old.Mode.IsRegular() {
		return 0, Keep, d.fail("replace", name, notPlain(old.Mode))
	}
	if !r.Inherit {
		return r.Mode, r.Owner, nil
	}
	return old.Mode.Perm(), Owner{old.UID, old.GID}, nil
}

// WriteFile is Replace with the bytes at hand.
func (d *Dir) WriteFile(name string, r Replacement, data []byte) error {
	return d.Replace(name, r, func(f *File) error {
		n, err := f.Write(data)
		if err == nil && n < len(data) {
			err = io.ErrShortWrite
		}
		return err
	})
}
