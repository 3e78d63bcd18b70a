//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

const (
	lastauthName = "lastauth"
	tempLastauth = tempPrefix + "_lastauth"

	// maxLastauth is what vpopmail reads of the file at once (vcdb.c:
	// vget_lastauthip, MAX_BUFF less the NUL).
	maxLastauth = 299
)

// LastLogin returns when and from where a user was let in last; d is the
// user's domain or an alias of it. The login of an account that never was is
// "0.0.0.0" and the time when the account was made. ok is false where nothing
// is known: the installation keeps no such record (Profile.AuthLogging), or
// this user has none.
//
// It asks the Backend if that is a LoginKeeper, else the file lastauth in the
// user's directory: the address without a LF, its modification time is that
// of the login (vcdb.c:vget_lastauth). Nothing is written.
func (s *Store) LastLogin(ctx context.Context, d *Domain, u *User) (l Login, ok bool, err error) {
	if err := context.Cause(ctx); err != nil || !s.p.AuthLogging {
		return Login{}, false, err
	}
	if k, is := s.backend.(LoginKeeper); is {
		return k.LastLogin(ctx, d, u)
	}
	if !strings.HasPrefix(u.Dir, "/") {
		return Login{}, false, nil // a damaged record
	}
	home, err := s.openPath(u.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Login{}, false, nil
	}
	if err != nil {
		return Login{}, false, err
	}
	defer home.Close()
	return readLastauth(home, s.owner(d.UID, d.GID).UID)
}

// readLastauth reads the lastauth of a user's directory. One that has further
// links is read only if it belongs to the domain's owner: else a user could
// have somebody's file shown.
func readLastauth(home *safefs.Dir, uid int) (Login, bool, error) {
	f, err := again(func() (*os.File, error) {
		return home.OpenPlain(lastauthName, safefs.Expect{Owned: true, UID: uid})
	})
	if errors.Is(err, fs.ErrNotExist) {
		return Login{}, false, nil
	}
	if err != nil {
		return Login{}, false, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxLastauth))
	if err != nil {
		return Login{}, false, err
	}
	fi, err := f.Stat()
	if err != nil {
		return Login{}, false, err
	}
	return Login{IP: parseLastauth(b), Time: fi.ModTime()}, true, nil
}

// parseLastauth takes the first line, up to a NUL, as C does.
func parseLastauth(b []byte) string {
	for i, c := range b {
		if c == '\n' || c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// SetLastLogin notes a login, durably, in the LoginKeeper or the file lastauth,
// which gets l.Time as its modification time, mode 0600 and the owner of the
// domain (vcdb.c:vset_lastauth; that truncates the file in its place and so
// shows an empty address meanwhile). An installation that keeps no such record
// is left alone.
//
// An address that no client has, with blanks or control characters, is
// ErrBadByte; an empty one is what vchkpw stores where it was told none. A
// user's directory that is missing is fs.ErrNotExist, and one that does not
// belong to the domain is refused: a record can name any directory.
func (s *Store) SetLastLogin(ctx context.Context, d *Domain, u *User, l Login) error {
	if err := context.Cause(ctx); err != nil || !s.p.AuthLogging {
		return err
	}
	if err := checkIP(l.IP); err != nil {
		return &Error{Domain: d.Name, User: u.Name, Field: "ip", Err: err}
	}
	if k, is := s.backend.(LoginKeeper); is {
		return k.SetLastLogin(ctx, d, u, l)
	}
	own := s.owner(d.UID, d.GID)
	home, err := s.openPath(u.Dir)
	if err != nil {
		return err
	}
	defer home.Close()
	if err := ownDir(home, own); err != nil {
		return &Error{Domain: d.Name, User: u.Name, Field: "dir", Err: err}
	}
	// Two logins at once would take each other's unfinished file away.
	if err := s.lockDir(ctx, home); err != nil {
		return err
	}
	rep := safefs.Replacement{Mode: 0o600, Owner: own, Temp: tempLastauth, Time: l.Time}
	return home.WriteFile(lastauthName, rep, []byte(l.IP))
}

// ownDir refuses a directory of somebody else as the place of a user's files.
func ownDir(home *safefs.Dir, own safefs.Owner) error {
	fi, err := home.Lstat(".")
	if err == nil && own.UID >= 0 && fi.UID != own.UID {
		err = fmt.Errorf("%w: directory of user %d, not %d", safefs.ErrForeign, fi.UID, own.UID)
	}
	return err
}

// checkIP takes printable ASCII of any length that vpopmail reads back.
func checkIP(ip string) error {
	if len(ip) > maxLastauth {
		return fmt.Errorf("%w: %d bytes", ErrTooLong, len(ip))
	}
	for i := 0; i < len(ip); i++ {
		if ip[i] <= ' ' || ip[i] >= 0x7f {
			return ErrBadByte
		}
	}
	return nil
}
