package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/aliasmap"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// dotRecord is what was stored for an address or in a user's .qmail file.
type dotRecord struct {
	Lines [][]byte `json:"lines"`
	// Intent says that Lines were about to be written when this was stored, in
	// the place of Old.
	Intent bool     `json:"intent,omitempty"`
	Old    [][]byte `json:"old,omitempty"`
}

// ours says whether lines are what run has stored, or a part of what it was
// storing when it was cut off.
func (r *dotRecord) ours(now []string) bool {
	stored := texts(r.Lines)
	if slices.Equal(now, stored) {
		return true
	}
	return r.Intent && (slices.Equal(now, texts(r.Old)) || len(now) < len(stored) && slices.Equal(now, stored[:len(now)]))
}

func texts(b [][]byte) []string {
	var list []string
	for _, l := range b {
		list = append(list, string(l))
	}
	return list
}

func rawLines(list []string) [][]byte {
	var b [][]byte
	for _, l := range list {
		b = append(b, []byte(l))
	}
	return b
}

func aliasKey(domain, addr string) string { return "alias " + domain + " " + addr }
func homeKey(domain, name string) string  { return "home " + domain + " " + name }
func catchAllKey(domain, d string) string { return "catch-all " + domain + " " + d }
func separateKey(domain, d string) string { return "separate " + domain + " " + d }

// prepareSeparate makes the domains that have addresses and no accounts.
func (g *migration) prepareSeparate(ctx context.Context) error {
	if g.addresses == nil {
		return nil
	}
	for _, d := range g.addresses.Separate {
		key := separateKey(g.domain, d.Name)
		var r record
		if _, err := g.t.records.Load(key, &r); err != nil {
			return err
		}
		there, err := g.t.Store.Domain(ctx, d.Name)
		switch {
		case errors.Is(err, vpopmail.ErrNoDomain):
			err = g.rememberAll(map[string]record{key: {Domain: d.Name, Made: true, Intent: true}})
		case err == nil && there.Real != d.Name:
			g.taken[d.Name] = true
			g.problem(qmailkit.Problem{Code: "domain.taken", Severity: qmailkit.Error,
				Err: fmt.Errorf("%s is an alias of %s on the new host: its own addresses are not carried", d.Name, there.Real)})
			continue
		}
		if err != nil {
			return err
		}
		res, err := g.t.Store.PrepareDomain(ctx, vpopmail.DomainSpec{Name: d.Name, CatchAll: d.CatchAll})
		if err != nil {
			return err
		}
		g.problem(res.Problems...)
		if !res.Existing && (r.User == nil || r.Intent) {
			made := record{Domain: d.Name, Made: true, User: store(res.Postmaster.User), Dir: []byte(res.Domain.Dir)}
			if err := g.rememberAll(map[string]record{key: made}); err != nil {
				return err
			}
		}
	}
	return nil
}

// maildirOf tells the Maildir of a user.
func (t *target) maildirOf(ctx context.Context, domain string) func(user string) (string, bool) {
	return func(user string) (string, bool) {
		addr := user
		if !strings.Contains(user, "@") {
			addr += "@" + domain
		}
		u, err := t.Store.User(ctx, addr)
		return path.Clean(u.Dir) + "/Maildir", err == nil && u.Dir != ""
	}
}

// addAliases writes the lines of addresses and the .qmail files of users. What
// was changed on the new host since the last run stays.
func (g *migration) addAliases(ctx context.Context) error {
	if g.addresses == nil {
		return nil
	}
	if err := g.addReplies(ctx); err != nil {
		return err
	}
	want := map[string]bool{}
	for i := range g.addresses.Homes {
		e := &g.addresses.Homes[i]
		want[homeKey(g.domain, e.Name)] = true
		if err := g.home(ctx, e); err != nil {
			return err
		}
	}
	for i := range g.addresses.Entries {
		e := &g.addresses.Entries[i]
		want[aliasKey(g.domain, e.Name+"@"+e.Domain)] = true
		if g.taken[e.Domain] {
			continue
		}
		if err := g.alias(ctx, e); err != nil {
			return err
		}
	}
	if err := g.catchAll(ctx, g.domain, g.addresses.CatchAll); err != nil {
		return err
	}
	for _, d := range g.addresses.Separate {
		if g.taken[d.Name] {
			continue
		}
		if err := g.catchAll(ctx, d.Name, d.CatchAll); err != nil {
			return err
		}
	}
	return g.dropAliases(ctx, want)
}

// catchAll brings what a domain does with mail for unknown users to what the
// source has now. The domain was made with what it had then.
func (g *migration) catchAll(ctx context.Context, domain, word string) error {
	key, e := catchAllKey(g.domain, domain), &aliasmap.Entry{Name: "*", Domain: domain}
	d, err := g.t.Store.Domain(ctx, domain)
	if err != nil {
		return err
	}
	want, err := g.t.Store.CatchAllLine(d, word)
	if err != nil {
		return g.refused(ctx, e, err)
	}
	now, err := g.t.Store.CatchAll(ctx, domain)
	if err != nil {
		return g.refused(ctx, e, err)
	}
	var r record
	made := domainKey(domain)
	if domain != g.domain {
		made = separateKey(g.domain, domain)
	}
	if _, err := g.t.records.Load(made, &r); err != nil {
		return err
	}
	if had, err := g.t.records.Load(key, &dotRecord{}); err != nil {
		return err
	} else if !had && r.Made {
		if err := g.written(key, []string{now}); err != nil {
			return err
		}
	}
	write, err := g.decide(key, e, []string{now}, []string{want})
	if err != nil || !write {
		return err
	}
	if err := g.t.Store.SetCatchAll(ctx, domain, word); err != nil {
		return g.refused(ctx, e, err)
	}
	return g.written(key, []string{want})
}

// dropAliases takes back what an earlier run wrote and the source has no more.
func (g *migration) dropAliases(ctx context.Context, want map[string]bool) error {
	var keys []string
	for rec := range g.t.records.All() {
		if !want[rec.Key] {
			keys = append(keys, rec.Key)
		}
	}
	for _, key := range keys {
		var err error
		if addr, ok := strings.CutPrefix(key, aliasKey(g.domain, "")); ok {
			name, domain, _ := strings.Cut(addr, "@")
			err = g.alias(ctx, &aliasmap.Entry{Name: name, Domain: domain})
		} else if name, ok := strings.CutPrefix(key, homeKey(g.domain, "")); ok {
			err = g.home(ctx, &aliasmap.Entry{Name: name, Domain: g.domain})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lines are an entry's lines as they are written; nil where there are none.
func (g *migration) lines(ctx context.Context, e *aliasmap.Entry, own string) []string {
	var list []string
	for _, l := range e.Lines {
		text, ok := l.Text(g.domain, own, g.t.maildirOf(ctx, g.domain))
		if !ok {
			g.problem(qmailkit.Problem{Code: "alias.account-missing", Severity: qmailkit.Error, Path: e.Path, Line: e.Line,
				Err: fmt.Errorf("%s@%s: %s has no account on the new host", e.Name, e.Domain, l.Arg)})
			continue
		}
		if !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list
}

// decide is the three-way comparison: what was stored the last time, what
// stands there now, what is wanted. It says whether to write, and notes that
// in the state before.
func (g *migration) decide(key string, e *aliasmap.Entry, now, want []string) (write bool, err error) {
	var base dotRecord
	had, err := g.t.records.Load(key, &base)
	if err != nil {
		return false, err
	}
	switch {
	case slices.Equal(now, want) && (had || len(now) == 0 || len(want) == 0):
		if had && (base.Intent || !slices.Equal(texts(base.Lines), want)) {
			return false, g.t.records.Put(key, dotRecord{Lines: rawLines(want)})
		}
		return false, nil
	case slices.Equal(now, want): // somebody else made it just so
		return false, nil
	case had && base.ours(now), !had && len(now) == 0:
		return true, g.t.records.Put(key, dotRecord{Lines: rawLines(want), Intent: true, Old: rawLines(now)})
	case had && slices.Equal(texts(base.Lines), want):
		g.problem(qmailkit.Problem{Code: "alias.kept", Severity: qmailkit.Info, Path: e.Path, Line: e.Line,
			Err: fmt.Errorf("the lines of %s@%s were changed on the new host: they stay", e.Name, e.Domain)})
	default:
		g.problem(qmailkit.Problem{Code: "alias.kept", Severity: qmailkit.Warning, Path: e.Path, Line: e.Line,
			Err: fmt.Errorf("%s@%s has other lines on the new host, which run did not write: they stay", e.Name, e.Domain)})
	}
	return false, nil
}

// written notes that it is done.
func (g *migration) written(key string, want []string) error {
	if len(want) == 0 {
		return g.append([]state.Record{{Key: key}})
	}
	return g.t.records.Put(key, dotRecord{Lines: rawLines(want)})
}

// alias brings the lines of one address into their place.
func (g *migration) alias(ctx context.Context, e *aliasmap.Entry) error {
	addr, key := e.Name+"@"+e.Domain, aliasKey(g.domain, e.Name+"@"+e.Domain)
	now, err := g.t.Store.Alias(ctx, addr)
	if errors.Is(err, vpopmail.ErrNoDomain) {
		return nil
	}
	if err != nil {
		return g.refused(ctx, e, err)
	}
	want := g.lines(ctx, e, "")
	write, err := g.decide(key, e, now, want)
	if err != nil || !write {
		return err
	}
	if err := g.t.Store.SetAlias(ctx, addr, want); err != nil {
		return g.refused(ctx, e, err)
	}
	return g.written(key, want)
}

// refused reports a line that the new host does not take; another error ends
// the run.
func (g *migration) refused(ctx context.Context, e *aliasmap.Entry, err error) error {
	var bad *vpopmail.Error
	if !errors.As(err, &bad) || ctx.Err() != nil {
		return err
	}
	g.problem(qmailkit.Problem{Code: "alias.refused", Severity: qmailkit.Error, Path: e.Path, Line: e.Line,
		Err: fmt.Errorf("%s@%s: %w", e.Name, e.Domain, err)})
	return nil
}

// dotQmail is a user's own file, and maxDotQmail the most that is read of it.
const (
	dotQmail    = ".qmail"
	maxDotQmail = 1 << 20
)

// readHome reads a user's .qmail file.
func readHome(d *safefs.Dir) ([]string, error) {
	b, err := d.ReadFile(dotQmail, maxDotQmail)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return vpopmail.ParseAliasLines(b), err
}

// openHome opens a user's directory; it is nil where there is none.
func (t *target) openHome(ctx context.Context, addr string) (*safefs.Dir, error) {
	u, err := t.Store.User(ctx, addr)
	if errors.Is(err, vpopmail.ErrNoUser) || errors.Is(err, vpopmail.ErrNoDomain) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	root, name, err := t.Store.Place(u.Dir)
	if err != nil {
		return nil, err
	}
	d, err := safefs.OpenDir(root, name, t.hook)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return d, err
}

// home brings a user's .qmail file into its place.
func (g *migration) home(ctx context.Context, e *aliasmap.Entry) error {
	d, err := g.t.openHome(ctx, e.Name+"@"+e.Domain)
	if err != nil || d == nil {
		return err
	}
	defer d.Close()
	now, err := readHome(d)
	if err != nil {
		g.problem(qmailkit.Problem{Code: "alias.kept", Severity: qmailkit.Error, Path: e.Path, Line: e.Line,
			Err: fmt.Errorf("the .qmail file of %s cannot be read, and stays: %w", e.Name, err)})
		return nil
	}
	key, want := homeKey(g.domain, e.Name), g.lines(ctx, e, e.Name)
	write, err := g.decide(key, e, now, want)
	if err != nil || !write {
		return err
	}
	if len(want) == 0 {
		if err = d.Remove(dotQmail); err == nil || errors.Is(err, fs.ErrNotExist) {
			err = d.Sync()
		}
	} else {
		r := safefs.Replacement{Mode: 0o600, Owner: safefs.Owner{UID: g.owner.UID, GID: g.owner.GID}, Temp: dotQmail + ".qmailkit"}
		err = d.WriteFile(dotQmail, r, append(bytes.Join(rawLines(want), []byte("\n")), '\n'))
	}
	if err != nil {
		return err
	}
	return g.written(key, want)
}
