//go:build unix

// Package state keeps what a program must remember between its runs: the
// configuration files that it replaced, and for each thing that it wrote the
// form in which it wrote it, so that a later run can tell what changed on
// which side and undo can take back what nobody has touched.
//
// It lives in one directory that only its owner may write (-state DIR), never
// beside the files themselves, where qmail's own tools would see it. In it
// each target, such as one vpopmail installation, has a directory of its own
// with a lock, Stores of records and backups. Everything is on the disk when a
// call returns.
package state

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// Options are hooks and modes; nil means the zero value.
type Options struct {
	// ReadOnly makes and changes nothing. What does not exist is empty.
	ReadOnly bool
	// Now stamps the backups; nil is time.Now.
	Now func() time.Time

	hook safefs.Hook // makes single steps fail, for tests
}

// ErrUnsafe says that others could write in the state directory, or that it
// belongs to somebody else.
var ErrUnsafe = errors.New("state directory is not safe")

// DefaultDir is where state lives if nobody says otherwise: /var/lib/qmailkit
// for root, else qmailkit in $XDG_STATE_HOME or ~/.local/state, as the XDG
// Base Directory Specification has it.
func DefaultDir() (string, error) { return defaultDir(os.Geteuid(), os.Getenv) }

func defaultDir(uid int, getenv func(string) string) (string, error) {
	if uid == 0 {
		return "/var/lib/qmailkit", nil
	}
	// The specification has relative paths ignored.
	if xdg := getenv("XDG_STATE_HOME"); filepath.IsAbs(xdg) {
		return filepath.Join(xdg, "qmailkit"), nil
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "qmailkit"), nil
	}
	return "", errors.New("neither XDG_STATE_HOME nor HOME is set: where state goes must be given")
}

// Dir is the state directory.
type Dir struct {
	dir  *safefs.Dir // nil: read only, and not there
	opts Options
}

// Open opens the state directory path and makes it, mode 0700, if it is not
// there. A directory that belongs to somebody else, or that others may write,
// is refused with an error that wraps ErrUnsafe: its mode is the
// administrator's to choose, and is not changed here.
func Open(path string, o *Options) (*Dir, error) {
	d := &Dir{}
	if o != nil {
		d.opts = *o
	}
	if d.opts.Now == nil {
		d.opts.Now = time.Now
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	parent, name := filepath.Split(path)
	if name == "" {
		return nil, fmt.Errorf("%w: it cannot be %s", ErrUnsafe, path)
	}
	parent = filepath.Clean(parent)
	if !d.opts.ReadOnly {
		if err := makeParents(parent); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(parent)
	if d.opts.ReadOnly && errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	above, err := safefs.OpenDir(root, ".", d.opts.hook)
	if err != nil {
		return nil, err
	}
	defer above.Close()
	if d.dir, err = d.sub(above, name); err != nil {
		return nil, err
	}
	return d, nil
}

// makeParents makes the missing directories above the state, each of them
// durable before the next.
func makeParents(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(path)
	if err := makeParents(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.Open(parent)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// sub opens a directory of the state, which it makes if it may. It is nil,
// without an error, where it is not there and nothing may be made.
func (d *Dir) sub(in *safefs.Dir, name string) (*safefs.Dir, error) {
	if in == nil {
		return nil, nil
	}
	if d.opts.ReadOnly {
		sub, err := in.Sub(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err == nil {
			err = safe(sub)
		}
		return sub, err
	}
	sub, made, err := in.Mkdir(name, 0o700, safefs.Keep)
	if err != nil {
		return nil, err
	}
	if made {
		err = in.Sync()
	} else {
		err = safe(sub)
	}
	if err != nil {
		sub.Close()
		return nil, err
	}
	return sub, nil
}

// safe refuses a directory in which others may write. Root's own is fine for
// anyone who can write it.
func safe(d *safefs.Dir) error {
	fi, err := d.Lstat(".")
	switch {
	case err != nil:
		return err
	case fi.UID != os.Geteuid() && fi.UID != 0:
		return fmt.Errorf("%w: %s belongs to user %d", ErrUnsafe, d.Name(), fi.UID)
	case fi.Mode.Perm()&0o022 != 0:
		return fmt.Errorf("%w: others may write in %s (mode %04o)", ErrUnsafe, d.Name(), fi.Mode.Perm())
	}
	return nil
}

// Name is the directory's path, for messages; empty if it is not there.
func (d *Dir) Name() string {
	if d.dir == nil {
		return ""
	}
	return d.dir.Name()
}

// Close gives the directory back; its Targets stay open.
func (d *Dir) Close() error {
	if d.dir == nil {
		return nil
	}
	return d.dir.Close()
}

// A Target is the state that concerns one target.
type Target struct {
	state  *Dir
	dir    *safefs.Dir // nil: read only, and not there
	id     string
	stores []*Store
	saved  *Store // index of the backups, once it is open
}

// idFile holds a target's id, for people and as a check.
const idFile = "target"

// maxID bounds what is read of it.
const maxID = 64 << 10

// Target opens the state of the target id: any bytes that name the target
// well, such as the program's name and the absolute path that it writes to.
func (d *Dir) Target(id string) (*Target, error) {
	if id == "" || len(id) > maxID {
		return nil, fmt.Errorf("id of a target has %d bytes, want 1 to %d", len(id), maxID)
	}
	sum := sha256.Sum256([]byte(id))
	dir, err := d.sub(d.dir, slug(id)+"-"+hex.EncodeToString(sum[:8]))
	if err != nil {
		return nil, err
	}
	t := &Target{state: d, dir: dir, id: id}
	if dir == nil {
		return t, nil
	}
	have, err := dir.ReadFile(idFile, maxID+1)
	switch {
	case errors.Is(err, fs.ErrNotExist) && d.opts.ReadOnly:
		err = nil
	case errors.Is(err, fs.ErrNotExist):
		err = dir.WriteFile(idFile, safefs.Replacement{Mode: 0o600, Owner: safefs.Keep}, []byte(id+"\n"))
	case err == nil && string(have) != id+"\n":
		err = fmt.Errorf("%s/%s speaks of another target: %q", dir.Name(), idFile, have)
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return t, nil
}

// slug is the part of a target's directory name that people recognise.
func slug(id string) string {
	const most = 40
	var b strings.Builder
	for i := 0; i < len(id) && b.Len() < most; i++ {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			b.WriteByte(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
	}
	if b.Len() == 0 {
		return "x"
	}
	return strings.TrimSuffix(b.String(), "_")
}

// Lock lets one run at a time work on the target: the error of any other wraps
// safefs.ErrLocked. The lock ends with Close, or with the process. Read-only
// state needs no lock.
func (t *Target) Lock() error {
	if t.dir == nil || t.state.opts.ReadOnly {
		return nil
	}
	return t.dir.TryLock()
}

// Name is the path of the target's directory, for messages; empty if it is not
// there.
func (t *Target) Name() string {
	if t.dir == nil {
		return ""
	}
	return t.dir.Name()
}

// Close closes the target's Stores and lets go of its lock.
func (t *Target) Close() error {
	var errs []error
	for _, s := range t.stores {
		errs = append(errs, s.close())
	}
	t.stores, t.saved = nil, nil
	if t.dir != nil {
		errs = append(errs, t.dir.Close())
	}
	return errors.Join(errs...)
}
