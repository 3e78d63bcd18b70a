//go:build unix

package vpopmail

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// SetPassword does the job of vpasswd: it hashes a new password for the account
// addr, and stores it in clear too where the profile says so. An account that
// may not change its password, by its own flag or its domain's limits, is
// ErrPasswordFixed; ModifyUser asks nobody.
func (s *Store) SetPassword(ctx context.Context, addr string, clear qmailkit.Secret) error {
	return s.setPassword(ctx, addr, clear, func(*User) error { return nil })
}

// ChangePassword does the job of vchangepw: the account's owner shows the old
// password and gets a new one. A wrong old password, an account that does not
// exist or has no password, and a hash that cannot be verified here are all
// ErrWrongPassword, and take the same work; see SetPassword for the rest.
func (s *Store) ChangePassword(ctx context.Context, addr string, old, clear qmailkit.Secret) error {
	wrong := &Error{User: addr, Err: ErrWrongPassword}
	u, err := s.User(ctx, addr)
	if err != nil || u.Hash == "" {
		if err != nil && !unknown(err) {
			return err
		}
		s.p.spendTime(old)
		return wrong
	}
	if match, _, err := s.p.matches(u.Hash, old, nil); err != nil || !match {
		return wrong
	}
	return s.setPassword(ctx, addr, clear, func(now *User) error {
		if now.Hash != u.Hash {
			return wrong // it has changed since
		}
		return nil
	})
}

// unknown says that an error of a look-up is that there is no such account.
func unknown(err error) bool {
	for _, is := range []error{ErrNoUser, ErrNoDomain, ErrBadUser, ErrBadDomain, ErrTooLong} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

func (s *Store) setPassword(ctx context.Context, addr string, clear qmailkit.Secret, allow func(*User) error) error {
	d, name, err := s.account(ctx, addr)
	if err != nil {
		return err
	}
	if err := s.p.checkClear(name, clear); err != nil {
		return err
	}
	limits, _, err := s.limits(ctx, d)
	if err != nil {
		return err
	}
	hashes, err := s.modifyHashes(ctx, d, name, clear)
	if err != nil {
		return err
	}
	c := &change{s: s, d: d, name: name}
	c.to = func(u *User) error {
		if u.Effective(limits)&NoPasswordChange != 0 {
			return &Error{Err: ErrPasswordFixed}
		}
		if err := allow(u); err != nil {
			return err
		}
		return hashes.into(u)
	}
	_, err = c.run(ctx)
	return err
}

// checkClear asks what vpasswd asks before it looks the account up.
func (p *Profile) checkClear(name string, clear qmailkit.Secret) error {
	fail := func(field string, err error) error { return &Error{User: name, Field: field, Err: err} }
	switch {
	case len(name) > p.MaxUser:
		return fail("user", fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLong, len(name), p.MaxUser))
	case clear == "":
		return fail("", ErrNoPassword)
	case len(clear) > p.MaxClear:
		return fail("password", fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLong, len(clear), p.MaxClear))
	case strings.ContainsAny(string(clear), "\n\x00"):
		return fail("password", ErrBadByte)
	}
	return nil
}

// randomBytes are the characters of random passwords (vpopmail.c:gen_chars).
const randomBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.@!#%*"

// RandomPassword makes a password of n characters, as the option -r of
// vadddomain, vadduser and vpasswd does, from Options.Rand; vpopmail's own
// follow from the time and can be guessed. 0 is the length that the programs
// take by default: 8, in 5.6 it is 12.
func (s *Store) RandomPassword(n int) (qmailkit.Secret, error) {
	switch {
	case n == 0 && s.p.Release == Release56:
		n = 12
	case n == 0:
		n = 8
	case n < 0 || n > s.p.MaxClear:
		return "", &Error{Field: "password", Err: fmt.Errorf("%w: %d characters, the most is %d", ErrTooLong, n, s.p.MaxClear)}
	}
	from := s.o.Rand
	if from == nil {
		from = rand.Reader
	}
	const fair = 256 - 256%len(randomBytes) // the bytes behind would favour the first characters
	out := make([]byte, 0, n)
	var b [1]byte
	for len(out) < n {
		if _, err := io.ReadFull(from, b[:]); err != nil {
			return "", fmt.Errorf("vpopmail: random password: %w", err)
		}
		if int(b[0]) < fair {
			out = append(out, randomBytes[int(b[0])%len(randomBytes)])
		}
	}
	return qmailkit.Secret(out), nil
}
