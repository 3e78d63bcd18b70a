package main

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// load finds what runs remembered. It is false where there is nothing.
func (u *undoing) load(ctx context.Context) (bool, error) {
	u.domain = strings.ToLower(u.c.domain)
	for rec := range u.t.records.All() {
		name, ok := strings.CutPrefix(rec.Key, "domain ")
		switch {
		case !ok || u.c.domain != "":
		case u.domain != "":
			return false, cli.Usagef("runs have made more than one domain here, %s and %s: -domain says which to take back", u.domain, name)
		default:
			u.domain = name
		}
	}
	found, err := u.t.records.Load(domainKey(u.domain), &u.made)
	if err == nil && found && !u.c.dryRun {
		err = u.complete(ctx)
	}
	if err != nil {
		return false, err
	}
	for rec := range u.t.records.All() {
		addr, isUser := strings.CutPrefix(rec.Key, "user ")
		name, ok := strings.CutSuffix(addr, "@"+u.domain)
		if !isUser || !ok {
			continue
		}
		found = true
		if !u.selected(name) {
			u.some = true
			continue
		}
		var r record
		if _, err := u.t.records.Load(rec.Key, &r); err != nil {
			return false, err
		}
		if r.User == nil && r.Intent {
			if err := u.intended(ctx, name, &r); err != nil {
				return false, err
			}
		}
		if r.Made && r.User != nil {
			u.users = append(u.users, r)
		}
	}
	return found, nil
}

// complete ends what a killed run had begun with the domain and its accounts,
// so that all of it stands in vpopmail's own files.
func (u *undoing) complete(ctx context.Context) error {
	_, err := u.t.Store.Domain(ctx, u.domain)
	if u.made.Intent && errors.Is(err, vpopmail.ErrNoDomain) {
		_, err = u.t.Store.PrepareDomain(ctx, vpopmail.DomainSpec{Name: u.domain})
	}
	if err == nil {
		_, err = u.t.Store.RemoveUsers(ctx, u.domain, nil)
	}
	if errors.Is(err, vpopmail.ErrNoDomain) {
		return nil
	}
	return err
}

// selected says whether the command line's patterns take an account.
func (u *undoing) selected(name string) bool {
	match := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			ok, _ := path.Match(strings.ToLower(p), name)
			return ok
		})
	}
	return (len(u.c.users) == 0 || match(u.c.users)) && !match(u.c.excludes)
}

// intended finds the account that a run was about to make when it was killed.
func (u *undoing) intended(ctx context.Context, name string, r *record) error {
	now, err := u.t.Store.User(ctx, name+"@"+u.domain)
	if errors.Is(err, vpopmail.ErrNoUser) || errors.Is(err, vpopmail.ErrNoDomain) {
		return nil
	}
	if err == nil && r.announced(now) {
		r.User = store(now)
	}
	return err
}
