//go:build unix

package vpopmail

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// passName is the file in a Maildir in which sqwebmail finds the hash of the
// password (vpopmail.c:vsqwebmail_pass).
const passName = "sqwebmail-pass"

func passText(u *User) string { return "\t" + string(u.Hash) + "\n" }

// writePass writes a user's sqwebmail-pass anew if it differs. Where the
// Maildir is gone, lies elsewhere, or has something in the place that is no
// plain file, there is nobody to tell.
func (s *Store) writePass(d *Domain, u *User) error {
	dir, err := s.openPath(u.Dir + "/Maildir")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotMounted) || stuck(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	old, err := dir.ReadFile(passName, 4096)
	switch {
	case err == nil && string(old) == passText(u):
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, safefs.ErrTooBig):
		if stuck(err) {
			return nil
		}
		return err
	}
	rep := safefs.Replacement{Mode: 0o600, Owner: s.owner(d.UID, d.GID), Temp: tempPrefix + "_pass"}
	return dir.WriteFile(passName, rep, []byte(passText(u)))
}

// stuck says that something in a user's directory is not what it should be and
// will be so next time: his doing, or the administrator's, not a failing disk.
func stuck(err error) bool {
	for _, is := range []error{
		safefs.ErrLink, safefs.ErrNotPlain, safefs.ErrForeign, unix.ENOTDIR, unix.EISDIR, unix.ELOOP,
		unix.EBUSY, unix.EPERM, unix.EACCES, unix.EXDEV, unix.EROFS, unix.ENOTEMPTY, unix.EEXIST,
	} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}
