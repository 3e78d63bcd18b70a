package plesk

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// ErrLocked says that another program works on the directory.
var ErrLocked = safefs.ErrLocked

// UsersFiles are users/assign and users/poppasswd for editing.
type UsersFiles struct {
	Assign    *users.Assign
	Poppasswd *users.Poppasswd
}

// UsersOptions of UpdateUsers. The nil pointer is the zero value.
type UsersOptions struct {
	// Backup is called with each file right before it is replaced, and must
	// have it on the disk when it returns; old is nil for one that is made. Its
	// error stops UpdateUsers.
	Backup func(name string, old []byte) error

	hook safefs.Hook
}

// maxUsers is the largest file that is read.
const maxUsers = users.MaxSize

// UpdateUsers edits the files in qmail's directory users, and makes users/cdb
// anew with users.NewU if it does not fit. Each file is replaced in one step,
// with owner and mode as before, and only if edit has changed it; a new
// poppasswd is for its owner only. Passwords are written before the lines that
// lead to mailboxes. When edit returns an error nothing is changed. It may be
// repeated, after it was killed too.
//
// Only one UpdateUsers at a time works on a directory; another wraps
// ErrLocked. Plesk's own tools take no lock that is known: do not let
// them run meanwhile.
func UpdateUsers(root *os.Root, opts *UsersOptions, edit func(f *UsersFiles) error) error {
	o := UsersOptions{}
	if opts != nil {
		o = *opts
	}
	d, err := safefs.OpenDir(root, ".", o.hook)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.TryLock(); err != nil {
		return fmt.Errorf("users: %w", err)
	}
	for _, name := range []string{"assign", "poppasswd"} {
		if _, err := d.Lstat(usersTemp(name)); err == nil {
			if err := d.Remove(usersTemp(name)); err != nil {
				return err
			}
		}
	}
	assign, err := readMissing(d, "assign")
	if err != nil {
		return err
	}
	pop, err := readMissing(d, "poppasswd")
	if err != nil {
		return err
	}
	f := &UsersFiles{Assign: &users.Assign{}}
	if assign != nil {
		if f.Assign, err = users.ParseAssign(bytes.NewReader(assign)); err != nil {
			return err
		}
	}
	if f.Poppasswd, err = users.ParsePoppasswd(bytes.NewReader(pop)); err != nil {
		return err
	}
	if err := edit(f); err != nil {
		return err
	}
	if now := f.Poppasswd.Bytes(); !bytes.Equal(now, pop) {
		if err := o.replace(d, "poppasswd", 0o600, pop, now); err != nil {
			return err
		}
	}
	if now := f.Assign.Bytes(); assign == nil && f.Assign.Len() > 0 || assign != nil && !bytes.Equal(now, assign) {
		if err := o.replace(d, "assign", 0o644, assign, now); err != nil {
			return err
		}
		assign = now
	}
	if assign == nil {
		return nil
	}
	return o.compile(root, d, assign)
}

// usersTemp is the name under which a file is written. It is fixed, so that the
// next run sweeps what a kill has left: there may be passwords in it.
func usersTemp(name string) string { return "." + name + ".qmailkit" }

// readMissing reads a file; a missing one is nil.
func readMissing(d *safefs.Dir, name string) ([]byte, error) {
	b, err := d.ReadFile(name, maxUsers)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && b == nil {
		b = []byte{}
	}
	return b, err
}

func (o *UsersOptions) replace(d *safefs.Dir, name string, mode fs.FileMode, old, now []byte) error {
	if o.Backup != nil {
		if err := o.Backup(name, old); err != nil {
			return err
		}
	}
	return d.WriteFile(name, safefs.Replacement{Mode: mode, Owner: safefs.Keep, Inherit: true, Temp: usersTemp(name)}, now)
}

// compile makes users/cdb, unless it fits users/assign: a run that was killed
// between the two is finished by the next one.
func (o *UsersOptions) compile(root *os.Root, d *safefs.Dir, assign []byte) error {
	cdb, err := d.OpenPlain("cdb", safefs.Expect{})
	if err == nil {
		defer cdb.Close()
		fi, err := cdb.Stat()
		if err != nil {
			return err
		}
		stale, err := users.Stale(cdb, fi.Size(), bytes.NewReader(assign))
		if err == nil && !stale {
			return nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if o.hook != nil {
		if err := o.hook("newu", "cdb"); err != nil {
			return err
		}
	}
	return users.NewU(root, nil)
}
