//go:build unix

package vpopmail

import (
	"context"
	"fmt"
	"strings"
)

// SetQuota does the job of vsetuserquota: it gives one account, "USER@DOMAIN",
// or all accounts of "DOMAIN" a quota, with one rewrite of the records, and
// counts their maildirsize afresh. The word may be in small letters: "10mb",
// "1000c", "noquota". See ParseQuota for the words that are refused.
func (s *Store) SetQuota(ctx context.Context, target, word string) (*ChangeResult, error) {
	d, name, err := s.target(ctx, target)
	if err != nil {
		return nil, err
	}
	fail := func(field string, n, most int) (*ChangeResult, error) {
		return nil, &Error{Domain: d.Name, User: name, Field: field, Err: fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLong, n, most)}
	}
	if len(name) > s.p.MaxUser {
		return fail("user", len(name), s.p.MaxUser)
	}
	if len(word) > s.p.MaxQuota {
		return fail("quota", len(word), s.p.MaxQuota)
	}
	quota, err := s.p.quotaWord(strings.ToUpper(word))
	if err != nil {
		return nil, err
	}
	c := &change{s: s, d: d, name: name, size: true, to: func(u *User) error {
		u.Quota = quota
		return nil
	}}
	return c.run(ctx)
}
