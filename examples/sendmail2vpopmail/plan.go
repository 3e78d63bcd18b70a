package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/freespace"
	"github.com/qmailkit/qmailkit/examples/internal/mailcopy"
	"github.com/qmailkit/qmailkit/examples/internal/progress"
	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// What a message and a directory cost, for the estimate: measured on ext4 with
// two cores (see CONTRIBUTING).
const (
	block           = 4096
	secondsMessage  = 1.0 / 8000
	secondsByte     = 1.0 / 150e6
	secondsMailbox  = 1.0 / 2500
	inodesOfMaildir = 4 // itself, cur, new, tmp
	inodesOfAccount = 3 // its directory, lastauth, the journal
	inodesOfFolder  = 5 // as a Maildir, and maildirfolder
	blocksOfAccount = 6
	blocksOfMaildir = 4
)

// openPlan surveys the source against what the target is, or would be: a plan
// needs no target yet.
func (c *config) openPlan(ctx context.Context) (*move, error) {
	p, there, err := c.target.Plan(ctx)
	if err != nil {
		return nil, err
	}
	m, err := c.survey(ctx, p)
	if m != nil {
		m.there = there
	}
	if err != nil || there {
		return m, err
	}
	for _, d := range []string{c.target.Home, c.target.Qmail} {
		if _, err := os.Stat(d); err != nil {
			m.problem(qmailkit.Problem{Code: "target.missing", Severity: qmailkit.Warning, Path: d,
				Err: errors.New("is not there yet: it must be before run"), Fix: "install vpopmail and qmail, or make the directory"})
		}
	}
	return m, nil
}

func doPlan(ctx context.Context, c *config, env *cli.Env) error {
	started := c.now()
	m, err := c.openPlan(ctx)
	if err != nil {
		return err
	}
	defer m.close()
	r := m.newReport("plan", started)
	c.copy.Progress = progress.Start(progress.Options{Out: env.Stderr})
	needs, err := m.measure(ctx, r)
	c.copy.Progress.Stop()
	if err != nil {
		return err
	}
	for _, a := range m.accounts {
		r.Accounts = append(r.Accounts, m.accountRow(a))
	}
	r.Accounts = append(r.Accounts, m.leftRows()...)
	r.Needs, r.Outcome = needs, report.Planned
	if !needs.Enough() {
		m.problem(qmailkit.Problem{Code: "target.full", Severity: qmailkit.Error, Path: c.target.Home, Err: errors.New("the target has not enough room: " + needs.Summary())})
	}
	m.printPolicy(env)
	if err := m.planControl(ctx, m.there, env); err != nil {
		return err
	}
	m.fill(r)
	if err := c.emit(env, r); err != nil {
		return err
	}
	if n := len(r.NotCarried); n > 0 {
		return cli.Partialf("%s would not be carried", cli.Plural(int64(n), "item|items"))
	}
	return nil
}

// measure reads every box and says what the move will take.
func (m *move) measure(ctx context.Context, r *report.Report) (*report.Needs, error) {
	n := &report.Needs{FreeBytes: -1, FreeInodes: -1}
	var total int64
	for _, a := range m.accounts {
		for _, s := range a.sizes {
			total += s
		}
	}
	m.c.copy.Progress.Expect(0, 0, total)
	limit, err := m.quota()
	if err != nil {
		return nil, err
	}
	for _, a := range m.accounts {
		n.Inodes += inodesOfAccount + inodesOfMaildir
		n.Bytes += (blocksOfAccount + blocksOfMaildir) * block
		n.Seconds += secondsMailbox
		var held maildir.Quota
		for _, b := range a.boxes {
			res, err := mailcopy.Count(ctx, b, &m.c.copy)
			if err != nil {
				return nil, err
			}
			m.problem(res.Problems...)
			held.Messages += res.Messages
			held.Bytes += res.Bytes
			n.Inodes += res.Messages
			n.Bytes += res.Bytes + res.Messages*block/2
			n.Seconds += float64(res.Messages)*secondsMessage + float64(res.Bytes)*secondsByte
			if b.Folder != "." {
				n.Inodes += inodesOfFolder
				n.Bytes += inodesOfFolder * block
			}
			r.Mailboxes = append(r.Mailboxes, m.boxRow(a, "", res))
		}
		m.checkQuota(a, held, limit)
	}
	m.free(n)
	return n, nil
}

// quota is the limit that every account will have.
func (m *move) quota() (maildir.Quota, error) {
	if m.c.quota == "" {
		return maildir.Quota{}, nil
	}
	word, err := vpopmail.ParseQuota(m.c.quota)
	return maildir.ParseQuota(word), err
}

// checkQuota reports an account whose mail is more than it may hold: the mail
// is carried, and then no more comes in.
func (m *move) checkQuota(a *account, held, limit maildir.Quota) {
	if limit.Bytes > 0 && held.Bytes > limit.Bytes || limit.Messages > 0 && held.Messages > limit.Messages {
		m.problem(qmailkit.Problem{Code: "account.over-quota", Severity: qmailkit.Warning, Path: a.Account.Path, Line: a.Account.Line,
			Err: fmt.Errorf("the mail of %s is %s in %s, more than its quota %s: it would get no new mail",
				a.Name, cli.Size(held.Bytes), cli.Plural(held.Messages, "message"), limit),
			Fix: "a larger -quota"})
	}
}

// free asks the target's file system, or that which it will be on.
func (m *move) free(n *report.Needs) {
	dir, err := filepath.Abs(m.c.target.Home)
	if err != nil {
		return
	}
	for {
		if bytes, inodes, err := freespace.Of(dir); err == nil {
			n.FreeBytes, n.FreeInodes = bytes, inodes
			return
		}
		up := filepath.Dir(dir)
		if up == dir {
			return
		}
		dir = up
	}
}

// printPolicy shows the rules by which accounts were judged.
func (m *move) printPolicy(env *cli.Env) {
	env.Printf("Domain %s", m.domain)
	for _, a := range m.aliases {
		env.Printf(", alias domain %s", a)
	}
	m.printAddresses(env)
	env.Printf(" (vpopmail %d.%d at %s)\n\nRules for accounts:\n", m.profile.Release/10, m.profile.Release%10, m.profile.Home)
	for _, r := range m.c.policy.Rules() {
		env.Printf("  %-12s %-20s %s\n", r.Name, r.Setting, r.Effect)
	}
	schemes := map[string]int{}
	for _, a := range m.accounts {
		if a.Account.Scheme != "" {
			schemes[a.Account.Scheme]++
		}
	}
	env.Printf("\nHashes, which the target's crypt(3) must know:\n")
	for _, s := range slices.Sorted(maps.Keys(schemes)) {
		env.Printf("  %-12s %s\n", s, cli.Plural(int64(schemes[s]), "account"))
	}
	env.Printf("\n")
}
