package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/mailcopy"
	"github.com/qmailkit/qmailkit/examples/internal/progress"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// A migration is a move under way.
type migration struct {
	*move
	t     *target
	users map[string]vpopmail.UserResult // by name
	moved []moved
	owner vpopmail.Owner
	taken map[string]bool // domains that cannot have addresses of their own
}

// moved is what became of an account's mail.
type moved struct {
	a       *account
	results []*mailcopy.Result
}

func doRun(ctx context.Context, c *config, env *cli.Env) error {
	t, err := c.openTarget(ctx, true)
	if err != nil {
		return err
	}
	defer t.close()
	m, err := c.survey(ctx, t.Store.Profile())
	if err != nil {
		return err
	}
	defer m.close()
	g := &migration{move: m, t: t, users: map[string]vpopmail.UserResult{}, taken: map[string]bool{}}
	m.problem(t.problems...)
	started := c.now()
	c.copy.LockMark = t.mark
	c.copy.Progress = progress.Start(progress.Options{Out: env.Stderr})
	err = g.all(ctx)
	c.copy.Progress.Stop()
	rep := g.report(started, err)
	if err := errors.Join(err, c.emit(env, rep)); err != nil {
		return err
	}
	if n := len(rep.NotCarried); n > 0 {
		return cli.Partialf("%s not carried; the report lists them", cli.Plural(int64(n), "item was|items were"))
	}
	return nil
}

// all does the steps in an order in which nothing can bounce: accounts, their
// mail, aliases, and only then the domains go live.
func (g *migration) all(ctx context.Context) error {
	if err := g.prepare(ctx); err != nil {
		return err
	}
	if err := g.prepareSeparate(ctx); err != nil {
		return err
	}
	if err := g.addUsers(ctx); err != nil {
		return err
	}
	if err := g.copyMail(ctx); err != nil {
		return err
	}
	if err := g.addAliases(ctx); err != nil {
		return err
	}
	return g.goLive(ctx)
}

// prepare makes the domain, with its postmaster, where nobody sees it yet.
func (g *migration) prepare(ctx context.Context) error {
	spec := vpopmail.DomainSpec{Name: g.domain}
	if g.addresses != nil {
		spec.CatchAll = g.addresses.CatchAll
	}
	pw, err := g.c.postmasterPassword()
	if err != nil {
		return err
	}
	spec.Postmaster.Clear = pw
	for _, a := range g.accounts {
		if a.Name == "postmaster" && pw == "" {
			spec.Postmaster.Hash = a.PasswordField()
			spec.Postmaster.Gecos = a.gecos
			spec.Postmaster.Quota = g.c.quota
		}
	}
	if err := g.announceDomain(ctx); err != nil {
		return err
	}
	res, err := g.t.Store.PrepareDomain(ctx, spec)
	if err != nil {
		return err
	}
	g.owner = res.Owner
	g.problem(res.Problems...)
	if res.Existing {
		return nil
	}
	return g.domainMade(res)
}

// addUsers brings all accounts to the domain in one rewrite.
func (g *migration) addUsers(ctx context.Context) error {
	var puts []vpopmail.Put
	for _, a := range g.accounts {
		base, err := g.t.base(g.domain, a.Name)
		if err != nil {
			return err
		}
		n := vpopmail.NewUser{Name: a.Name, Hash: a.PasswordField(), Gecos: a.gecos, Quota: g.c.quota}
		if g.ownPassword(a) && base != nil {
			n.Hash = base.Hash
		}
		puts = append(puts, vpopmail.Put{Base: base, NewUser: n})
	}
	if err := g.announceUsers(ctx, puts); err != nil {
		return err
	}
	res, err := g.t.Store.PutUsers(ctx, g.domain, puts)
	if err != nil {
		return err
	}
	g.problem(res.Problems...)
	var recs []state.Record
	for i, r := range res.Users {
		g.users[g.accounts[i].Name] = r
		g.userProblem(g.accounts[i], r)
		rec, err := g.userRecord(r)
		if err != nil {
			return err
		}
		recs = append(recs, rec...)
	}
	return g.append(recs)
}

// userProblem reports what did not follow the source.
func (g *migration) userProblem(a *account, r vpopmail.UserResult) {
	p := qmailkit.Problem{Path: a.Account.Path, Line: a.Account.Line}
	switch r.Outcome {
	case vpopmail.Refused:
		p.Code, p.Severity = "account.refused", qmailkit.Error
		p.Err = fmt.Errorf("account %s: %w", a.Name, r.Err)
	case vpopmail.Kept:
		p.Code, p.Severity = "account.kept", qmailkit.Info
		p.Err = fmt.Errorf("account %s was changed on the new host (%v): that stays", a.Name, r.Kept)
	case vpopmail.Gone:
		p.Code, p.Severity = "account.gone", qmailkit.Warning
		p.Err = fmt.Errorf("account %s was removed on the new host: it stays away", a.Name)
	default:
		return
	}
	g.problem(p)
}

// copyMail imports the mail of every account, all with one committer.
func (g *migration) copyMail(ctx context.Context) (err error) {
	var total, boxes int64
	for _, a := range g.accounts {
		for _, n := range a.sizes {
			total += n
			boxes++
		}
	}
	p := g.c.copy.Progress
	p.Expect(boxes, 0, total)
	g.c.commit.Now = g.c.now
	com := maildir.NewCommitter(&g.c.commit)
	defer func() { err = errors.Join(err, com.Close(), g.rememberSubscribed()) }()
	for _, a := range g.accounts {
		u, ok := g.users[a.Name]
		if !ok || u.User.Dir == "" {
			if u.Outcome != vpopmail.Gone && len(a.boxes) > 0 {
				g.problem(qmailkit.Problem{Code: "mail.not-carried", Severity: qmailkit.Error, Path: a.boxes[0].Path,
					Err: fmt.Errorf("mail of %s is not carried: it has no account on the new host", a.Name)})
			}
			continue
		}
		if err := g.copyAccount(ctx, com, a, u.User); err != nil {
			return err
		}
	}
	return nil
}

// copyAccount imports the mail of one account.
func (g *migration) copyAccount(ctx context.Context, com *maildir.Committer, a *account, u vpopmail.User) error {
	if len(a.boxes) == 0 && len(a.subs) == 0 {
		return nil
	}
	root, name, err := g.t.Store.Place(u.Dir + "/Maildir")
	if err != nil {
		return err
	}
	im, err := com.Import(root, name, g.maildirOptions())
	if err != nil {
		return g.unusable(u, err)
	}
	g.problem(im.Problems()...)
	g.moved = append(g.moved, moved{a: a})
	mv := len(g.moved) - 1
	var results []*mailcopy.Result
	for _, b := range a.boxes {
		r, e := mailcopy.Copy(ctx, im, b, &g.c.copy)
		results = append(results, r)
		if e != nil {
			err = e
			break
		}
		g.c.copy.Progress.Mailboxes(1)
	}
	g.moved[mv].results = results
	return errors.Join(err, im.Close(func(d *maildir.Dir) error { return g.finish(ctx, d, a, u, results) }))
}

func (g *migration) maildirOptions() *maildir.Options {
	return &maildir.Options{Owner: &maildir.Owner{UID: g.owner.UID, GID: g.owner.GID}, Encoding: g.c.encoding}
}

// unusable reports a Maildir that cannot be used, by what stands in it. What
// ails the file system ends the run.
func (g *migration) unusable(u vpopmail.User, err error) error {
	for _, e := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return err
		}
	}
	g.problem(qmailkit.Problem{Code: "maildir.unusable", Severity: qmailkit.Error, Path: u.Dir + "/Maildir", Err: err})
	return nil
}

// finish completes a Maildir when all of its messages are in their places.
func (g *migration) finish(ctx context.Context, d *maildir.Dir, a *account, u vpopmail.User, results []*mailcopy.Result) error {
	if err := g.subscribe(d, a); err != nil {
		if err := g.unusable(u, err); err != nil {
			return err
		}
	}
	if g.c.uidl != "" {
		if _, err := mailcopy.SeedUIDs(d, results, g.c.uidl, g.c.now()); err != nil {
			if err := g.unusable(u, err); err != nil {
				return err
			}
		}
	}
	limit, err := d.QuotaLimit()
	if err == nil && limit == "" {
		limit = u.Quota
	}
	if err == nil {
		err = d.RebuildQuota(ctx, limit)
	}
	if err != nil && ctx.Err() == nil {
		return g.unusable(u, err)
	}
	return err
}

// goLive tells qmail: first how mail goes on, then of the domains, and last of
// all for whom else it takes mail.
func (g *migration) goLive(ctx context.Context) error {
	if err := g.routesLive(ctx); err != nil {
		return err
	}
	if err := g.domainsLive(ctx); err != nil {
		return err
	}
	return g.relayLive(ctx)
}

// domainsLive tells qmail of the domains.
func (g *migration) domainsLive(ctx context.Context) error {
	hup, err := g.c.target.HupFunc()
	if err != nil {
		return err
	}
	list := []vpopmail.Live{{Name: g.domain}}
	for _, a := range g.aliases {
		d, err := g.t.Store.Domain(ctx, a)
		of := g.realOf(a)
		if err == nil && d.Real != of {
			g.problem(qmailkit.Problem{Code: "domain.taken", Severity: qmailkit.Error,
				Err: fmt.Errorf("%s exists on the new host and is no alias of %s: it is left alone", a, of)})
			continue
		}
		if err != nil && !errors.Is(err, vpopmail.ErrNoDomain) {
			return err
		}
		list = append(list, vpopmail.Live{Name: a, AliasOf: of})
	}
	if g.addresses != nil {
		for _, d := range g.addresses.Separate {
			if !g.taken[d.Name] {
				list = append(list, vpopmail.Live{Name: d.Name})
			}
		}
	}
	planned, err := g.t.Store.PlanLive(ctx, list)
	if err != nil {
		return err
	}
	if err := g.rememberChanges(planned); err != nil {
		return err
	}
	res, err := g.t.Store.GoLive(ctx, list, hup)
	if err != nil {
		return err
	}
	g.problem(res.Problems...)
	return g.rememberChanges(res.Changes)
}
