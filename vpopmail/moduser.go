//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// A Modify is what ModifyUser changes: the options of vmoduser. What is empty
// stays as it is.
//
// vmoduser -n, which leaves vpasswd.cdb as it was, is not offered: everybody
// who looks an account up would go on with the old one, until the next change
// of some other account brings this one to life.
type Modify struct {
	// Hash (-e) is stored as it is. The clear password goes, in which 5.4 has
	// CRAM-MD5 and APOP go on believing.
	Hash qmailkit.Secret
	// Clear (-C) is hashed, and stored as well where the profile says so.
	Clear qmailkit.Secret
	Gecos string // (-c) comment
	// Dir (-D) is the account's directory from now on: an absolute path. Only
	// the record changes; nothing is made or moved.
	Dir   string
	Quota string // (-q) a word for ParseQuota
	// ClearFlags (-x) takes all flags away, before SetFlags adds those named.
	// Only root may give SAAdmin and SAExpert.
	ClearFlags bool
	SetFlags   Flags
}

// ModifyUser does the job of vmoduser: it changes one account, "USER@DOMAIN",
// or all accounts of "DOMAIN", with one rewrite of the records. If one of them
// cannot be changed none is. A directory whose quota is set has its maildirsize
// counted afresh. NoPasswordChange is not asked: that is for SetPassword.
func (s *Store) ModifyUser(ctx context.Context, target string, m Modify) (*ChangeResult, error) {
	quota, err := s.p.checkModify(&m)
	if err != nil {
		return nil, err
	}
	d, name, err := s.target(ctx, target)
	if err != nil {
		return nil, err
	}
	hashes, err := s.modifyHashes(ctx, d, name, m.Clear)
	if err != nil {
		return nil, err
	}
	c := &change{s: s, d: d, name: name, size: m.Quota != ""}
	c.to = func(u *User) error {
		if err := hashes.into(u); err != nil {
			return err
		}
		if m.Hash != "" {
			u.Hash, u.Clear = m.Hash, ""
		}
		if m.Gecos != "" {
			u.Gecos = m.Gecos
		}
		if m.Dir != "" {
			u.Dir = m.Dir
		}
		if m.Quota != "" {
			u.Quota = quota
		}
		if m.ClearFlags {
			u.Flags = 0
		}
		u.Flags |= m.SetFlags
		return nil
	}
	return c.run(ctx)
}

// rootFlags are those that vmoduser gives only if root runs it.
const rootFlags = SAAdmin | SAExpert

// checkModify checks what can be checked without the account, and returns the
// quota as it is stored. What vpopmail checks of the whole record comes later.
func (p *Profile) checkModify(m *Modify) (quota string, err error) {
	fail := func(field string, err error) (string, error) { return "", &Error{Field: field, Err: err} }
	switch {
	case m.Hash != "" && m.Clear != "":
		return fail("password", errors.New("a hash or a clear password, not both"))
	case len(m.Clear) > p.MaxClear:
		return fail("clear", fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLong, len(m.Clear), p.MaxClear))
	case strings.ContainsAny(string(m.Clear), "\n\x00"):
		return fail("clear", ErrBadByte)
	case m.Dir != "" && !cleanDir(m.Dir):
		return fail("dir", ErrBadDir)
	case m.SetFlags&rootFlags != 0 && os.Geteuid() != 0:
		return fail("flags", fmt.Errorf("%w: %s", ErrNotRoot, (m.SetFlags&rootFlags).Letters()))
	case m.SetFlags&^allFlags != 0:
		return fail("flags", fmt.Errorf("%w: bits %#x", ErrBadByte, uint32(m.SetFlags&^allFlags)))
	}
	if m.Quota != "" {
		if quota, err = p.quotaWord(m.Quota); err != nil {
			return "", err
		}
	}
	return quota, nil
}

// allFlags are those that have a letter.
const allFlags = NoMaildrop<<1 - 1

// cleanDir says whether a path can be an account's directory.
func cleanDir(dir string) bool {
	return strings.HasPrefix(dir, "/") && plainPath(strings.TrimPrefix(strings.TrimRight(dir, "/"), "/"))
}

// quotaWord is ParseQuota with the limit of the profile.
func (p *Profile) quotaWord(word string) (string, error) {
	q, err := ParseQuota(word)
	if err != nil {
		return "", err
	}
	if len(q) > p.MaxQuota {
		return "", &Error{Field: "quota", Err: fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLong, len(q), p.MaxQuota)}
	}
	return q, nil
}

// clearHashes are the hashes of one clear password, each with its own salt,
// made before the lock is taken.
type clearHashes struct {
	s     *Store
	clear qmailkit.Secret
	ready map[string]qmailkit.Secret
}

// modifyHashes hashes a clear password for one user or for all of a domain;
// an empty one is nothing to do.
func (s *Store) modifyHashes(ctx context.Context, d *Domain, name string, clear qmailkit.Secret) (*clearHashes, error) {
	c := &clearHashes{s, clear, map[string]qmailkit.Secret{}}
	if clear == "" {
		return c, nil
	}
	names := []string{name}
	var err error
	if name == "" {
		if names, _, err = s.userNames(ctx, d); err != nil {
			return nil, err
		}
	}
	list := make([]*readyUser, len(names))
	for i, n := range names {
		list[i] = &readyUser{Put: Put{NewUser: NewUser{Name: n, Clear: clear}}}
	}
	if err := s.hashAll(ctx, list); err != nil {
		return nil, err
	}
	for _, r := range list {
		c.ready[r.Name] = r.want.Hash
	}
	return c, nil
}

func (c *clearHashes) into(u *User) error {
	if c.clear == "" {
		return nil
	}
	h, ok := c.ready[u.Name]
	if !ok {
		// Made by somebody since.
		var err error
		if h, err = c.s.hash(c.clear); err != nil {
			return err
		}
	}
	u.Hash, u.Clear = h, ""
	if c.s.p.ClearPasswords {
		u.Clear = c.clear
	}
	return nil
}
