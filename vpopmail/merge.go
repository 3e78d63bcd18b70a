//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// A mergeField is a part of an account that is changed as one.
type mergeField struct {
	name string
	same func(stored User) bool // is it what the source wants?
	eq   func(a, b User) bool   // is it the same in two stored accounts?
	copy func(to *User, from User)
}

func (b *batch) mergeFields(r *readyUser) []mergeField {
	quota := r.want.Quota
	if r.Quota == "" {
		quota = b.quota
	}
	return []mergeField{
		{"password",
			func(u User) bool { return b.s.samePassword(r, u) },
			func(x, y User) bool { return x.Hash == y.Hash && x.Clear == y.Clear },
			func(to *User, from User) { to.Hash, to.Clear = from.Hash, from.Clear }},
		{"gecos",
			func(u User) bool { return u.Gecos == r.want.Gecos },
			func(x, y User) bool { return x.Gecos == y.Gecos },
			func(to *User, from User) { to.Gecos = from.Gecos }},
		{"quota",
			func(u User) bool { return u.Quota == quota },
			func(x, y User) bool { return x.Quota == y.Quota },
			func(to *User, from User) { to.Quota = from.Quota }},
		{"flags",
			func(u User) bool { return u.Flags == r.want.Flags },
			func(x, y User) bool { return x.Flags == y.Flags },
			func(to *User, from User) { to.Flags = from.Flags }},
	}
}

// merge is the three-way step: cur is what stands on the target, r.Base what
// was put there, r.want what the source says now.
func (b *batch) merge(r *readyUser, cur User, res *UserResult) error {
	fields := b.mergeFields(r)
	if r.Base == nil {
		for _, f := range fields {
			if !f.same(cur) {
				res.Err = &Error{Domain: b.d.Name, User: cur.Name, Field: f.name, Err: ErrUserExists}
				return nil
			}
		}
		res.Outcome, res.User = Same, cur
		return nil
	}
	want := r.want
	if r.Quota == "" {
		want.Quota = b.quota
	}
	next := cur
	var both []string
	for _, f := range fields {
		switch {
		case f.same(cur):
		case f.eq(cur, *r.Base):
			if f.name == "password" && want.Hash == "" && r.Clear != "" {
				h, err := b.s.hash(r.Clear)
				if err != nil {
					return err
				}
				want.Hash = h
			}
			f.copy(&next, want)
			res.Updated = append(res.Updated, f.name)
		default:
			res.Kept = append(res.Kept, f.name)
			if !f.same(*r.Base) {
				both = append(both, f.name)
			}
		}
	}
	if err := b.store(cur, next, res); err != nil || res.Err != nil {
		return err
	}
	for _, f := range fields {
		for _, kept := range res.Kept {
			if f.name == kept {
				f.copy(&res.User, *r.Base)
			}
		}
	}
	if len(res.Kept) > 0 {
		res.Outcome = Kept
		b.report("vpopmail.changed-on-target", cur.Name, strings.Join(res.Kept, ", ")+" changed on the target; that stays")
	}
	if len(both) > 0 {
		b.report("vpopmail.changed-on-both", cur.Name, strings.Join(both, ", ")+" changed at the source too; that is not carried")
	}
	return nil
}

// store puts an account that has changed.
func (b *batch) store(cur, next User, res *UserResult) error {
	res.Outcome, res.User = Same, next
	if len(res.Updated) == 0 {
		return nil
	}
	if err := b.rec.Put(next); err != nil {
		var e *Error
		if errors.As(err, &e) {
			*res = UserResult{Name: res.Name, Err: err}
			return nil
		}
		return err
	}
	res.Outcome = Updated
	if next.Quota != cur.Quota {
		b.requota = append(b.requota, next)
	}
	if next.Hash != cur.Hash {
		b.rehashed = append(b.rehashed, next)
	}
	return nil
}

// recountQuotas writes maildirsize afresh for accounts whose quota changes, as
// vsetuserquota does. It comes before the change of vpasswd: an interruption in
// between leaves a file with right sums and a first line that nobody compares.
// Where an account's Maildir is gone or elsewhere there is nothing to do; where
// its owner has made something else of it, that is reported.
func (s *Store) recountQuotas(ctx context.Context, d *Domain, users []User) (odd []qmailkit.Problem, err error) {
	for i := range users {
		err := s.RecountQuota(ctx, d, &users[i])
		switch {
		case err == nil, errors.Is(err, ErrNotMounted):
		case stuck(err):
			odd = append(odd, at(problem("vpopmail.quota-not-counted", qmailkit.Warning, "%v: maildirsize was not written", err), users[i].Dir+"/Maildir"))
		default:
			return odd, err
		}
	}
	return odd, nil
}
