package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/mailcopy"
	"github.com/qmailkit/qmailkit/examples/internal/progress"
	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// A proof is a verification under way.
type proof struct {
	*move
	t *target
	r *report.Report
	v *report.Verification

	asked int // addresses that were followed
}

func doVerify(ctx context.Context, c *config, env *cli.Env) error {
	started := c.now()
	t, err := c.openTarget(ctx, false)
	if err != nil {
		return err
	}
	defer t.close()
	m, err := c.survey(ctx, t.Store.Profile())
	if err != nil {
		return err
	}
	defer m.close()
	p := &proof{move: m, t: t, r: m.newReport("verify", started)}
	c.copy.Progress = progress.Start(progress.Options{Out: env.Stderr})
	err = p.all(ctx)
	c.copy.Progress.Stop()
	if err != nil {
		return err
	}
	m.fill(p.r)
	p.r.Outcome = report.Done
	if len(p.r.NotCarried) > 0 || !p.v.Proven() {
		p.r.Outcome = report.Partial
	}
	if err := c.emit(env, p.r); err != nil {
		return err
	}
	switch {
	case !p.v.Proven():
		return cli.Partialf("not all has arrived: %s", p.v.Summary())
	case len(p.r.NotCarried) > 0:
		return cli.Partialf("all that is carried has arrived; %s not carried", cli.Plural(int64(len(p.r.NotCarried)), "item was|items were"))
	}
	return nil
}

// all compares every account with its mail.
func (p *proof) all(ctx context.Context) error {
	p.v = &report.Verification{Method: "every message read at both ends and compared by SHA-256, every hash compared byte for byte"}
	p.r.Verification = p.v
	var total int64
	for _, a := range p.accounts {
		for _, n := range a.sizes {
			total += n
		}
	}
	p.c.copy.Progress.Expect(int64(len(p.accounts)), 0, total)
	for _, a := range p.accounts {
		if err := p.account(ctx, a); err != nil {
			return err
		}
		p.c.copy.Progress.Mailboxes(1)
	}
	p.r.Accounts = append(p.r.Accounts, p.leftRows()...)
	if err := p.addressesProof(ctx); err != nil {
		return err
	}
	return p.controlProof(ctx)
}

func (p *proof) failure(pr qmailkit.Problem) {
	p.v.Failures = append(p.v.Failures, report.FromProblem(pr))
}

// account compares one account.
func (p *proof) account(ctx context.Context, a *account) error {
	row := p.accountRow(a)
	defer func() { p.r.Accounts = append(p.r.Accounts, row) }()
	p.v.Hashes++
	u, err := p.t.Store.User(ctx, p.address(a))
	if errors.Is(err, vpopmail.ErrNoUser) || errors.Is(err, vpopmail.ErrNoDomain) {
		row.State = report.Skipped
		p.failure(qmailkit.Problem{Code: "verify.no-account", Severity: qmailkit.Error, Path: a.Account.Path, Line: a.Account.Line,
			Err: fmt.Errorf("account %s is not on the new host", p.address(a))})
		return p.boxes(ctx, a, nil, "")
	}
	if err != nil {
		return err
	}
	row.State = report.There
	row.HashUnchanged = report.Yes
	if p.ownPassword(a) {
		p.v.Hashes-- // there is nothing of the source to compare with
		row.HashUnchanged, row.Why = report.Unknown, "its password was given for the new host"
	} else if u.Hash == a.PasswordField() {
		p.v.HashesUnchanged++
	} else if err := p.hash(a, u, &row); err != nil {
		return err
	}
	if len(a.boxes) == 0 {
		return nil
	}
	root, name, err := p.t.Store.Place(u.Dir + "/Maildir")
	if err != nil {
		return err
	}
	d, err := maildir.OpenRoot(root, name, &maildir.Options{Encoding: p.c.encoding})
	if err != nil {
		p.failure(qmailkit.Problem{Code: "verify.no-maildir", Severity: qmailkit.Error, Path: u.Dir + "/Maildir", Err: err})
		return p.boxes(ctx, a, nil, "")
	}
	defer d.Close()
	held, err := mailcopy.Hold(ctx, d)
	if err != nil && ctx.Err() == nil {
		p.failure(qmailkit.Problem{Code: "verify.unreadable", Severity: qmailkit.Error, Path: u.Dir + "/Maildir", Err: err})
		return p.boxes(ctx, a, nil, "")
	}
	if err != nil {
		return err
	}
	defer held.Close()
	p.move.problem(held.Problems...)
	return p.boxes(ctx, a, held, u.Dir+"/Maildir")
}

// hash judges a hash that is not the source's: one that was changed on the new
// host since the move is as it should be.
func (p *proof) hash(a *account, u vpopmail.User, row *report.Account) error {
	base, err := p.t.base(p.domain, a.Name)
	if err != nil {
		return err
	}
	if base != nil && base.Hash != u.Hash {
		p.v.HashesUnchanged++
		row.State, row.Why = report.Kept, "its password was changed on the new host since"
		return nil
	}
	row.HashUnchanged = report.No
	p.failure(qmailkit.Problem{Code: "verify.hash", Severity: qmailkit.Error, Path: a.Account.HashPath, Line: a.Account.HashLine,
		Err: fmt.Errorf("the hash of %s differs", p.address(a))})
	return nil
}

// boxes compares the mail of one account; held is nil where there is nothing
// to compare with.
func (p *proof) boxes(ctx context.Context, a *account, held *mailcopy.Holding, dir string) error {
	var found int64
	for _, b := range a.boxes {
		p.v.Mailboxes++
		if held == nil {
			res, err := mailcopy.Count(ctx, b, &p.c.copy)
			if err != nil {
				return err
			}
			p.v.Messages += res.Messages
			p.v.Missing += res.Messages
			p.r.Mailboxes = append(p.r.Mailboxes, p.boxRow(a, dir, res))
			continue
		}
		pr, err := held.Prove(ctx, b, &p.c.copy)
		if err != nil {
			return err
		}
		found += pr.Same + pr.Restated
		p.count(a, dir, pr)
	}
	if held != nil {
		p.v.Extra += held.Messages - found
	}
	return nil
}

func (p *proof) count(a *account, dir string, pr *mailcopy.Proof) {
	p.v.Messages += pr.Messages
	p.v.Equal += pr.Same
	p.v.EqualIdentity += pr.Restated
	p.v.GoneAtTarget += pr.Taken
	p.v.Missing += pr.Missing
	if pr.Missing == 0 {
		// What cannot be read is listed as not carried; what could be read of
		// it has arrived.
		p.v.MailboxesEqual++
	}
	for _, x := range pr.Problems {
		if x.Code == "verify.missing" {
			p.failure(x)
			continue
		}
		p.problem(x)
	}
	row := p.boxRow(a, dir, &mailcopy.Result{Box: pr.Box, Messages: pr.Messages, Bytes: pr.Bytes, Present: pr.Same + pr.Restated, Problems: pr.Problems})
	row.Verified = pr.Same + pr.Restated
	p.r.Mailboxes = append(p.r.Mailboxes, row)
}
