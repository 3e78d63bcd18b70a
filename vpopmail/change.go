//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// A ChangeResult is what became of accounts that were to be changed.
type ChangeResult struct {
	Users    []User // as they are stored now, in the order of the records
	Problems []qmailkit.Problem
}

// A change rewrites records of one domain, all at once.
type change struct {
	s    *Store
	d    *Domain
	name string // the only user; empty is all of the domain
	to   func(u *User) error
	// size says that maildirsize follows, as it does for every new quota.
	size bool
}

// target takes "USER@DOMAIN", or "DOMAIN" for all of its users, as vmoduser and
// vsetuserquota do.
func (s *Store) target(ctx context.Context, target string) (*Domain, string, error) {
	if !strings.Contains(target, "@") {
		d, err := s.Domain(ctx, target)
		return d, "", err
	}
	return s.account(ctx, target)
}

// account finds the domain of an address. Whether the user exists is not asked.
func (s *Store) account(ctx context.Context, addr string) (*Domain, string, error) {
	name, domain, err := SplitAddress(addr)
	if err != nil {
		return nil, "", err
	}
	if name, err = s.p.oldUser(name); err != nil {
		return nil, "", err
	}
	d, err := s.Domain(ctx, domain)
	if errors.Is(err, ErrNoDomain) {
		err = &Error{Domain: domain, User: name, Err: ErrNoDomain}
	}
	return d, name, err
}

// run carries the change out under the lock of the domain: nothing is stored
// if it fails for one of the users.
func (c *change) run(ctx context.Context) (*ChangeResult, error) {
	rec, err := c.s.edit(ctx, c.d)
	if err != nil {
		return nil, err
	}
	defer rec.Close()
	res := &ChangeResult{}
	names := []string{c.name}
	if c.name == "" {
		if names, res.Problems, err = c.s.userNames(ctx, c.d); err != nil {
			return nil, err
		}
	}
	var rehashed []User
	for _, name := range names {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		u, other, err := c.one(rec, name)
		if err != nil {
			return nil, err
		}
		res.Users = append(res.Users, u)
		if other {
			rehashed = append(rehashed, u)
		}
	}
	if err := c.commit(ctx, rec, res, rehashed); err != nil {
		return nil, err
	}
	return res, c.s.changedUsers(ctx, "mod_user", c.d.Real, nameList(res.Users))
}

func nameList(users []User) []string {
	names := make([]string, len(users))
	for i := range users {
		names[i] = users[i].Name
	}
	return names
}

// userNames lists the accounts of a domain whose records are locked. Lines
// that are no account stay as they are.
func (s *Store) userNames(ctx context.Context, d *Domain) (names []string, odd []qmailkit.Problem, err error) {
	seen := map[string]bool{}
	for u, err := range s.backend.Users(ctx, d) {
		if errors.Is(err, ErrFewColons) {
			odd = append(odd, at(problem("vpasswd.few-colons", qmailkit.Error, "%v: not changed", err), d.Dir+"/vpasswd"))
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if !seen[u.Name] {
			seen[u.Name] = true
			names = append(names, u.Name)
		}
	}
	return names, odd, nil
}

// one changes a record in memory.
func (c *change) one(rec Records, name string) (u User, rehashed bool, err error) {
	old, ok := rec.Get(name)
	if err := lookupError(rec); err != nil {
		return u, false, err
	}
	if !ok {
		return u, false, &Error{Domain: c.d.Real, User: name, Err: ErrNoUser}
	}
	if old == (User{Name: name}) {
		return u, false, &Error{Domain: c.d.Real, User: name, Err: ErrFewColons}
	}
	u = old
	if err = c.to(&u); err == nil {
		err = c.s.p.checkRecord(&u, &old)
	}
	if err == nil && u != old {
		err = rec.Put(u)
	}
	var e *Error
	if errors.As(err, &e) && e.User == "" {
		e.Domain, e.User = c.d.Real, name
	}
	return u, u.Hash != old.Hash, err
}

// checkRecord asks of a record that is to be stored what vpopmail asks
// (vpopmail.c:vcheck_vqpw), in its order, and that no field holds what ends it.
// A field that stays as old has it may: vmoduser stores a comment with a colon
// in a database, and that must keep nobody from getting a new password.
func (p *Profile) checkRecord(u, old *User) error {
	fail := func(field string, err error) error { return &Error{User: u.Name, Field: field, Err: err} }
	if p.BigDir && len(u.Name) == 1 {
		return fail("user", fmt.Errorf("%w: one character, as a hash directory", ErrBadUser))
	}
	for _, f := range []struct {
		field, value, old string
		most              int
		ends              string
	}{
		{"user", u.Name, old.Name, p.MaxUser, ":\n\x00"},
		{"password", string(u.Hash), string(old.Hash), p.MaxHash, ":\n\x00"},
		{"gecos", u.Gecos, old.Gecos, p.MaxGecos, ":\n\x00"},
		{"dir", u.Dir, old.Dir, p.MaxDir, ":\n\x00"},
		{"quota", u.Quota, old.Quota, p.MaxQuota, ":\n\x00"},
		{"clear", string(u.Clear), string(old.Clear), p.MaxClear, "\n\x00"},
	} {
		switch {
		case f.field == "clear" && !p.ClearPasswords:
		case len(f.value) > f.most:
			return fail(f.field, fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLong, len(f.value), f.most))
		case f.value != f.old && strings.ContainsAny(f.value, f.ends):
			return fail(f.field, ErrBadByte)
		}
	}
	return nil
}

// commit stores the change. maildirsize is written before: an interruption in
// between leaves a file with right sums and a first line that nobody compares.
func (c *change) commit(ctx context.Context, rec Records, res *ChangeResult, rehashed []User) error {
	if c.size {
		odd, err := c.s.recountQuotas(ctx, c.d, res.Users)
		res.Problems = append(res.Problems, odd...)
		if err != nil {
			return err
		}
	}
	return c.s.commitPass(ctx, c.d, rec, rehashed, CommitSteps{})
}

// commitPass stores a change of records, some of which have another hash now.
// sqwebmail-pass follows: it comes afterwards, because it lets people in, and
// is noted for that.
func (s *Store) commitPass(ctx context.Context, d *Domain, rec Records, rehashed []User, steps CommitSteps) error {
	if !s.p.SqwebmailPass || len(rehashed) == 0 {
		return rec.Commit(ctx, steps)
	}
	note := &afterNote{}
	for _, u := range rehashed {
		note.Pass = append(note.Pass, text(u.Name))
	}
	return s.commitAfter(ctx, d, note, byName(rehashed), func() error { return rec.Commit(ctx, steps) })
}

func byName(users []User) func(string) (User, bool) {
	m := make(map[string]User, len(users))
	for _, u := range users {
		m[u.Name] = u
	}
	return func(name string) (User, bool) {
		u, ok := m[name]
		return u, ok
	}
}

// commitAfter makes a change that something has to follow.
func (s *Store) commitAfter(ctx context.Context, d *Domain, n *afterNote, get func(string) (User, bool), commit func() error) error {
	dir, err := s.openDomain(d)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := s.writeAfter(d, dir, n); err != nil {
		return err
	}
	if err := commit(); err != nil {
		return err
	}
	return s.finishAfter(ctx, d, dir, n, get)
}
