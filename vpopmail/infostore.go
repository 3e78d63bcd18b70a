//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
)

// A CounterReader is a Backend that can tell the counter of a domain's hash
// directories without a lock.
type CounterReader interface {
	// Counter returns the counter of the domain d, which is no alias.
	Counter(ctx context.Context, d *Domain) (DirControl, error)
}

// UserInfo gathers what vuserinfo shows of a user; d is his domain or an alias
// of it. An error says which part is missing in what is returned all the same.
// Nothing is written, where vuserinfo may write maildirsize and vpasswd.cdb.
func (s *Store) UserInfo(ctx context.Context, d *Domain, u *User) (UserInfo, error) {
	l, err := s.limitsOf(ctx, d)
	if err != nil {
		return UserInfo{User: *u, Effective: u.Flags}, err
	}
	return s.userInfo(ctx, d, u, l, "")
}

// userInfo is UserInfo with no more than what the fields show.
func (s *Store) userInfo(ctx context.Context, d *Domain, u *User, l Limits, fields string) (UserInfo, error) {
	i := UserInfo{User: *u, Effective: u.Effective(l)}
	all := !strings.ContainsAny(fields, userFields)
	var usage, login error
	if all || strings.Contains(fields, "Q") {
		i.Usage, usage = s.Usage(ctx, d, u)
	}
	if all || strings.Contains(fields, "l") {
		i.Login, i.LoginKnown, login = s.LastLogin(ctx, d, u)
	}
	if err := errors.Join(usage, login); err != nil {
		return i, fmt.Errorf("%q@%q: %w", u.Name, d.Name, err)
	}
	return i, nil
}

// infoFormat is how vuserinfo of this installation prints.
func (s *Store) infoFormat(fields string, loc *time.Location) *InfoFormat {
	return &InfoFormat{Fields: fields, Location: loc, NoClear: !s.p.ClearPasswords, NoLogins: !s.p.AuthLogging}
}

// WriteUserInfo prints what "vuserinfo ADDR" prints, or with the options in
// fields: see InfoFormat for those and for loc. What cannot be read is printed as
// if it were not there, and the error says so. ClassicStatus has vuserinfo's
// words for an account that does not exist.
func (s *Store) WriteUserInfo(ctx context.Context, w io.Writer, addr, fields string, loc *time.Location) error {
	name, domain, err := SplitAddress(addr)
	if err != nil {
		return err
	}
	d, err := s.Domain(ctx, domain)
	if errors.Is(err, ErrNoDomain) {
		return &Error{Domain: domain, User: name, Err: ErrNoDomain}
	}
	if err != nil {
		return err
	}
	u, err := s.backend.User(ctx, d, name)
	if errors.Is(err, ErrNoUser) {
		return &Error{Domain: d.Real, User: name, Err: ErrNoUser}
	}
	if err != nil {
		return err
	}
	l, err := s.limitsOf(ctx, d)
	if err != nil {
		return err
	}
	i, missing := s.userInfo(ctx, d, &u, l, fields)
	return errors.Join(missing, WriteUserInfo(w, &i, s.infoFormat(fields, loc)))
}

// WriteUsersInfo prints what "vuserinfo -D DOMAIN" prints, for every user of
// the domain in the order of the records. A user of whom something cannot be
// read is printed without it, and his error is among those returned; so is
// that of a line that is no user, at which vuserinfo would stop. For a domain
// that does not exist vuserinfo prints nothing and succeeds; here that is
// ErrNoDomain.
func (s *Store) WriteUsersInfo(ctx context.Context, w io.Writer, domain, fields string, loc *time.Location) error {
	d, err := s.Domain(ctx, domain)
	if err != nil {
		return err
	}
	l, err := s.limitsOf(ctx, d)
	if err != nil {
		return err
	}
	f := s.infoFormat(fields, loc)
	_, text := s.backend.(files)
	f.NullClear = text && f.NoClear
	f.Dashes = s.p.Release == Release56
	var failed []error
	for u, err := range s.backend.Users(ctx, d) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return errors.Join(append(failed, err)...)
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		i, err := s.userInfo(ctx, d, &u, l, fields)
		if c := context.Cause(ctx); c != nil {
			return c
		}
		if err != nil {
			failed = append(failed, err)
		}
		if err := WriteUserInfo(w, &i, f); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

// DomainInfo gathers what vdominfo shows of a domain or an alias domain. The
// counter of a domain that has none is 0; nothing is written, where vdominfo
// writes .dir-control.
func (s *Store) DomainInfo(ctx context.Context, name string) (DomainInfo, error) {
	d, err := s.Domain(ctx, name)
	if err != nil {
		return DomainInfo{}, err
	}
	i := DomainInfo{Domain: *d}
	if i.Users, err = s.countedUsers(ctx, d); err != nil {
		return i, err
	}
	for a, err := range s.Domains(ctx) {
		if err != nil {
			return i, err
		}
		if a.Real == d.Real && a.Alias() {
			i.Aliases = append(i.Aliases, a.Name)
		}
	}
	return i, nil
}

// countedUsers asks the counter of a domain's hash directories.
func (s *Store) countedUsers(ctx context.Context, d *Domain) (uint64, error) {
	real := *d
	real.Name = d.Real
	switch b := s.backend.(type) {
	case CounterReader:
		c, err := b.Counter(ctx, &real)
		return c.Users, err
	case files:
		dir, err := s.openDomain(d)
		if err != nil {
			return 0, err
		}
		defer dir.Close()
		text, ok, err := readFile(dir, ".dir-control")
		if err != nil || !ok {
			return 0, err
		}
		c, err := ParseDirControl(text)
		if err != nil {
			err = fmt.Errorf("%s/.dir-control: %w", d.Dir, err)
		}
		return c.Users, err
	}
	var n uint64
	for _, err := range s.backend.Users(ctx, &real) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// WriteDomainInfo prints what "vdominfo DOMAIN" prints: the domain itself, also
// where an alias is given, and then the names of its aliases. An empty domain
// is "vdominfo" alone: all domains and alias domains in the order of
// users/assign, each with an empty line behind it. vdominfo passes over names
// without a dot (vpopmail.c:get_domain_entries), and for one of these and of
// those that do not exist says "Invalid domain name": see ClassicStatus. Where
// a counter cannot be read, 0 is printed, and the error is among those returned.
func (s *Store) WriteDomainInfo(ctx context.Context, w io.Writer, domain, fields string) error {
	real := ""
	if domain != "" {
		d, err := s.Domain(ctx, domain)
		if err != nil {
			return err
		}
		real = d.Real
	}
	var aliases strings.Builder
	var failed []error
	found := false
	for d, err := range s.Domains(ctx) {
		if err != nil {
			return err
		}
		switch {
		case !strings.Contains(d.Name, "."), real != "" && d.Real != real:
			continue
		case real != "" && d.Alias():
			aliases.WriteString("alias: " + d.Name + "\n")
			found = true
			continue
		}
		found = true
		n, err := s.countedUsers(ctx, d)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", d.Name, err))
		}
		if err := WriteDomainInfo(w, &DomainInfo{Domain: *d, Users: n}, fields); err != nil {
			return err
		}
		if real != "" {
			continue
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
	}
	if !found && real != "" {
		return &Error{Domain: domain, Err: ErrNoDomain}
	}
	_, err := io.WriteString(w, aliases.String())
	return errors.Join(append(failed, err)...)
}

// limitsOf are the limits that count for a domain; for one whose directory is
// missing those of the installation.
func (s *Store) limitsOf(ctx context.Context, d *Domain) (Limits, error) {
	l, _, err := s.limits(ctx, d)
	if errors.Is(err, fs.ErrNotExist) {
		return s.DefaultLimits(ctx)
	}
	return l, err
}

// infoStatus is ClassicStatus for the programs that only tell.
func infoStatus(program string, err error) (status int, stdout string, ok bool) {
	missing := errors.Is(err, ErrNoDomain) || errors.Is(err, ErrNoUser)
	var e *Error
	switch {
	case program == "vdominfo" && missing:
		return 245, "Invalid domain name\n", true
	case program == "vuserinfo" && missing && errors.As(err, &e) && e.User != "":
		return 255, fmt.Sprintf("no such user %s@%s\n", e.User, e.Domain), true
	case program == "vuserinfo" && missing: // -D
		return 0, "", true
	}
	return 0, "", false
}
