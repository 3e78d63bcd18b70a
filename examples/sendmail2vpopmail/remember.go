package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// What run makes it announces in the state before, so that undo can take it
// back even if run was killed between the making and the noting.

func (g *migration) append(recs []state.Record) error {
	if len(recs) == 0 {
		return nil
	}
	return g.t.records.Append(recs...)
}

// remember is a record in the form that the state keeps.
func remember(key string, r record) (state.Record, error) {
	b, err := json.Marshal(r)
	return state.Record{Key: key, Value: b}, err
}

// rememberAll stores records under their keys.
func (g *migration) rememberAll(list map[string]record) error {
	var recs []state.Record
	for key, r := range list {
		rec, err := remember(key, r)
		if err != nil {
			return err
		}
		recs = append(recs, rec)
	}
	return g.append(recs)
}

// announceDomain says that run is about to make the domain and its postmaster.
// A domain that is there already is not run's, unless run was cut off while it
// was only prepared.
func (g *migration) announceDomain(ctx context.Context) error {
	var r record
	if _, err := g.t.records.Load(domainKey(g.domain), &r); err != nil {
		return err
	}
	d, err := g.t.Store.Domain(ctx, g.domain)
	switch {
	case errors.Is(err, vpopmail.ErrNoDomain):
		return g.rememberAll(map[string]record{
			domainKey(g.domain):             {Domain: g.domain, Made: true, Intent: true},
			userKey(g.domain, "postmaster"): {Domain: g.domain, Made: true, Intent: true},
		})
	case err != nil:
		return err
	case r.Intent && !d.Pending: // somebody else was quicker
		return g.append([]state.Record{{Key: domainKey(g.domain)}, {Key: userKey(g.domain, "postmaster")}})
	}
	return nil
}

// domainMade notes a domain that was prepared, once.
func (g *migration) domainMade(res *vpopmail.DomainResult) error {
	list := map[string]record{}
	for key, r := range map[string]record{
		domainKey(g.domain):             {Domain: g.domain, Made: true, Dir: []byte(res.Domain.Dir)},
		userKey(g.domain, "postmaster"): {Domain: g.domain, User: store(res.Postmaster.User), Made: true},
	} {
		var old record
		had, err := g.t.records.Load(key, &old)
		if err != nil {
			return err
		}
		if !had || old.Intent {
			list[key] = r
		}
	}
	return g.rememberAll(list)
}

// announceUsers says which accounts run is about to make.
func (g *migration) announceUsers(ctx context.Context, puts []vpopmail.Put) error {
	there := map[string]bool{}
	for u, err := range g.t.Store.Users(ctx, g.domain) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return err
		}
		there[u.Name] = true
	}
	list := map[string]record{}
	for _, p := range puts {
		if p.Base == nil && !there[p.Name] {
			list[userKey(g.domain, p.Name)] = record{Domain: g.domain, Made: true, Intent: true, Hash: []byte(string(p.Hash))}
		}
	}
	return g.rememberAll(list)
}

// userRecord is what is to be remembered of an account, if it is news.
func (g *migration) userRecord(r vpopmail.UserResult) ([]state.Record, error) {
	key := userKey(g.domain, r.Name)
	var old record
	had, err := g.t.records.Load(key, &old)
	if err != nil {
		return nil, err
	}
	if r.User.Name == "" {
		if old.Intent {
			return []state.Record{{Key: key}}, nil // it was refused
		}
		return nil, nil
	}
	made := r.Outcome == vpopmail.Added || had && old.Made && (!old.Intent || old.announced(r.User))
	if had && old.User != nil && *old.User.user() == r.User && old.Made == made {
		return nil, nil
	}
	rec, err := remember(key, record{Domain: g.domain, User: store(r.User), Made: made, Subscribed: old.Subscribed})
	return []state.Record{rec}, err
}

// subscribe subscribes what was not subscribed before.
func (g *migration) subscribe(d *maildir.Dir, a *account) error {
	var old record
	if _, err := g.t.records.Load(userKey(g.domain, a.Name), &old); err != nil {
		return err
	}
	fresh := slices.DeleteFunc(slices.Clone(a.subs), func(s string) bool { return slices.Contains(old.Subscribed, hex.EncodeToString([]byte(s))) })
	if len(fresh) == 0 {
		return nil
	}
	err := d.Subscribe(fresh)
	a.added = err == nil
	return err
}

// rememberSubscribed notes what was subscribed, in hexadecimal: names are
// bytes.
func (g *migration) rememberSubscribed() error {
	list := map[string]record{}
	for _, a := range g.accounts {
		if !a.added {
			continue
		}
		var r record
		key := userKey(g.domain, a.Name)
		if _, err := g.t.records.Load(key, &r); err != nil {
			return err
		}
		for _, s := range a.subs {
			if h := hex.EncodeToString([]byte(s)); !slices.Contains(r.Subscribed, h) {
				r.Subscribed = append(r.Subscribed, h)
			}
		}
		list[key] = r
	}
	return g.rememberAll(list)
}

// announced says whether an account is the one that an intent spoke of.
func (r *record) announced(u vpopmail.User) bool {
	return r.Intent && (len(r.Hash) == 0 || string(r.Hash) == string(u.Hash))
}

// rememberChanges adds the lines that are or were changed to what undo takes
// back.
func (g *migration) rememberChanges(ch []vpopmail.Change) error {
	var r record
	if _, err := g.t.records.Load(domainKey(g.domain), &r); err != nil {
		return err
	}
	n := len(r.Changes)
	r.Domain = g.domain
	for _, c := range ch {
		if !slices.Contains(r.Changes, c) {
			r.Changes = append(r.Changes, c)
		}
	}
	if len(r.Changes) == n {
		return nil
	}
	return g.t.records.Put(domainKey(g.domain), r)
}
