//go:build unix

package vpopmail

import (
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// lastauthNever is what a new account's lastauth says (no LF).
const lastauthNever = "0.0.0.0"

// maildirParts are the directories of a new Maildir in the order of vpopmail.
var maildirParts = []string{"cur", "new", "tmp"}

// builder makes users' directories. It keeps the hash directory of the last
// one open, because a hundred users share it.
type builder struct {
	top  *safefs.Dir
	own  safefs.Owner
	path string
	dir  *safefs.Dir // of path; nil is none
	// noLogin leaves lastauth out: it is in a table, or nowhere.
	noLogin bool
	pass    bool // with sqwebmail-pass
}

func (b *builder) close() {
	if b.dir != nil {
		b.dir.Close()
		b.dir = nil
	}
}

// within opens the hash directory path, making it if it is missing.
func (b *builder) within(path string) (*safefs.Dir, error) {
	if b.dir != nil && b.path == path {
		return b.dir, nil
	}
	b.close()
	d, err := b.top.Walk(".")
	if err != nil {
		return nil, err
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			continue
		}
		next, _, err := d.Mkdir(part, 0o700, b.own)
		d.Close()
		if err != nil {
			return nil, err
		}
		d = next
	}
	b.dir, b.path = d, path
	return d, nil
}

// user makes NAME/, NAME/Maildir/{cur,new,tmp}, NAME/lastauth, and with a
// limit NAME/Maildir/maildirsize, all for the owner alone (vpopmail.c:
// make_user_dir). Installations differ in lastauth and sqwebmail-pass.
func (b *builder) user(at string, u User) error {
	path, name := "", at
	if i := strings.LastIndexByte(at, '/'); i >= 0 {
		path, name = at[:i], at[i+1:]
	}
	parent, err := b.within(path)
	if err != nil {
		return err
	}
	home, made, err := parent.Mkdir(name, 0o700, b.own)
	if err != nil {
		return err
	}
	defer home.Close()
	if !made {
		return &Error{User: name, Err: ErrUserDir}
	}
	md, _, err := home.Mkdir("Maildir", 0o700, b.own)
	if err != nil {
		return err
	}
	defer md.Close()
	for _, part := range maildirParts {
		sub, _, err := md.Mkdir(part, 0o700, b.own)
		if err != nil {
			return err
		}
		sub.Close()
	}
	if !b.noLogin {
		if err := writeNew(home, "lastauth", lastauthNever, b.own); err != nil {
			return err
		}
	}
	if b.pass {
		if err := writeNew(md, passName, passText(&u), b.own); err != nil {
			return err
		}
	}
	if u.Quota == "" || u.Quota == NoQuota {
		return nil
	}
	return writeNew(md, "maildirsize", u.Quota+"\n0 0\n", b.own)
}

// writeNew makes a small file without syncing it.
func writeNew(d *safefs.Dir, name, content string, o safefs.Owner) error {
	f, err := d.Create(name, 0o600, o)
	if err != nil {
		return err
	}
	if _, err := f.Write([]byte(content)); err != nil {
		f.Abandon()
		return err
	}
	return f.Close()
}

// syncMade makes users' directories and the named files of top durable: by one
// call for the whole file system, or where there is none one by one.
func syncMade(top *safefs.Dir, made []MadeUser, files ...string) error {
	err := top.SyncFS()
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	for _, name := range files {
		if err := syncFile(top, name); err != nil {
			return err
		}
	}
	if _, err := top.Lstat(".dir-control"); err == nil {
		if err := syncFile(top, ".dir-control"); err != nil {
			return err
		}
	}
	for _, m := range made {
		if err := syncUser(top, m.Dir); err != nil {
			return err
		}
	}
	return top.Sync()
}

func syncFile(d *safefs.Dir, name string) error {
	f, err := d.OpenPlain(name, safefs.Expect{})
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// syncUser syncs a user's directories, what they hold, and those above them.
func syncUser(top *safefs.Dir, at string) error {
	dirs := []string{at, at + "/Maildir"}
	for i, c := range at {
		if c == '/' {
			dirs = append(dirs, at[:i])
		}
	}
	for _, name := range dirs {
		d, err := top.Walk(name)
		if err != nil {
			return err
		}
		err = d.Sync()
		for _, file := range []string{"lastauth", "maildirsize", passName} {
			if _, e := d.Lstat(file); err == nil && e == nil {
				err = syncFile(d, file)
			}
		}
		d.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// removeUserTree takes away what user made, if nothing else is in it. What
// somebody else put there stays, and so do the directories above it.
func removeUserTree(top *safefs.Dir, at string) error {
	path, name := ".", at
	if i := strings.LastIndexByte(at, '/'); i >= 0 {
		path, name = at[:i], at[i+1:]
	}
	parent, err := top.Walk(path)
	if errors.Is(err, fs.ErrNotExist) {
		return removeEmpty(top, path)
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	home, err := parent.Sub(name)
	if errors.Is(err, fs.ErrNotExist) {
		return removeEmpty(top, path)
	}
	if err != nil {
		return err
	}
	defer home.Close()
	if md, err := home.Sub("Maildir"); err == nil {
		defer md.Close()
		for _, part := range maildirParts {
			if err := tolerate(md.RemoveDir(part)); err != nil {
				return err
			}
		}
		for _, file := range []string{"maildirsize", passName} {
			if err := tolerate(md.Remove(file)); err != nil {
				return err
			}
		}
		if err := tolerate(home.RemoveDir("Maildir")); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := tolerate(home.Remove("lastauth")); err != nil {
		return err
	}
	if err := tolerate(parent.RemoveDir(name)); err != nil {
		return err
	}
	return removeEmpty(top, path)
}

// removeEmpty takes directories away that nothing is in: path below top, then
// those above it. What is gone already, whole or in part, is passed over.
func removeEmpty(top *safefs.Dir, path string) error {
	for path != "." && path != "" {
		above, name := ".", path
		if i := strings.LastIndexByte(path, '/'); i >= 0 {
			above, name = path[:i], path[i+1:]
		}
		d, err := top.Walk(above)
		if err == nil {
			err = d.RemoveDir(name)
			d.Close()
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return tolerate(err)
		}
		path = above
	}
	return nil
}

// tolerate lets a directory be that is gone or that holds something.
func tolerate(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}
