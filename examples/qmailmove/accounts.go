//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/plesk"
)

// accountConfig is what accounts is told besides.
type accountConfig struct {
	script    string
	run       bool
	direct    bool
	psa       bool
	qmail     string
	bin       string
	redirect  bool
	afterCopy bool
	clear     bool
}

func (c *config) accountFlags(fs *flag.FlagSet) {
	a := &c.accounts
	fs.StringVar(&a.script, "script", "", "write the calls of Plesk's own tools to `FILE`, and the passwords to FILE.secrets, for the new host")
	fs.BoolVar(&a.run, "run", false, "run Plesk's own tools, on this host")
	fs.BoolVar(&a.direct, "direct", false, "write users/assign, users/cdb, users/poppasswd and the control files of the new host's qmail, without Plesk's tools")
	fs.BoolVar(&a.psa, "write-psa", false, "with -direct: write the rows of the new host's psa too (-target-db, and -target-secret-key for passwords of type sym)")
	c.targetQmailFlag(fs)
	fs.StringVar(&a.bin, "plesk-bin", "", "`DIR` of Plesk's tools on the new host (default /usr/local/psa/bin)")
	fs.BoolFunc("redirect", "the tools are those of Plesk 7.5 to 9: -redirect to one address, and groups", func(string) error {
		a.redirect = true
		return nil
	})
	fs.BoolVar(&a.afterCopy, "after-copy", false, "only the calls that need the mailboxes' files: autoresponders with attachments")
	fs.BoolVar(&a.clear, "need-clear", false, "the new host needs passwords in clear, for CRAM-MD5 and APOP")
}

func (c *config) targetQmailFlag(fs *flag.FlagSet) {
	c.hupFlag(fs, "new")
	fs.StringVar(&c.accounts.qmail, "target-qmail", "", "`DIR` of the new host's qmail (default: var/qmail below -target-root)")
}

// A making is a run of accounts.
type making struct {
	*move
	env     *cli.Env
	plan    *plesk.AccountPlan
	ours    map[string]bool // addresses that earlier runs have called Plesk's tools for
	started time.Time
	rep     *report.Report
}

func doAccounts(ctx context.Context, c *config, env *cli.Env) (err error) {
	a := &c.accounts
	switch {
	case !c.source.given():
		return cli.Usagef("-source-db or -source-dump is missing: it tells the accounts")
	case a.psa && !a.direct:
		return cli.Usagef("-write-psa goes with -direct")
	case a.run && a.direct, a.script != "" && (a.run || a.direct):
		return cli.Usagef("-script, -run and -direct exclude each other")
	}
	m := &making{move: &move{c: c, domain: strings.ToLower(c.domain)}, env: env, started: c.now()}
	if err := m.readPsa(ctx); err != nil {
		return err
	}
	if c.sourceRoot != "" {
		if m.src, err = c.openSource(ctx); err != nil {
			return err
		}
	}
	if c.targetRoot != "" {
		if m.dst, err = c.openTarget(m.src); err != nil {
			m.Close()
			return err
		}
	}
	defer m.Close()
	if m.plan, err = m.accountPlan(ctx, false); err != nil {
		return err
	}
	m.problem(m.plan.All()...)
	m.rep = m.newReport("accounts", m.started)
	err = m.do(ctx)
	m.fill(m.rep)
	switch {
	case err != nil:
		m.rep.Outcome, m.rep.Why = report.Stopped, err.Error()
	case m.rep.Outcome == "" && len(m.rep.NotCarried) > 0:
		m.rep.Outcome = report.Partial
	case m.rep.Outcome == "":
		m.rep.Outcome = report.Done
	}
	if err := errors.Join(err, c.emit(env, m.rep)); err != nil {
		return err
	}
	return leftBehind(m.rep)
}

// do makes the accounts in the way that is asked for.
func (m *making) do(ctx context.Context) error {
	a := &m.c.accounts
	switch {
	case m.c.dryRun || !a.run && !a.direct && a.script == "":
		m.rep.Outcome = report.Planned
		m.rep.Accounts = accountRows(m.plan, report.ToMake)
		for c := range m.commands() {
			m.env.Printf("%s\n", strings.Join(c.Argv, " "))
		}
		return nil
	case a.script != "":
		m.rep.Accounts = accountRows(m.plan, report.ToMake)
		return m.script()
	case a.run:
		m.rep.Accounts = accountRows(m.plan, report.Made)
		return m.run(ctx)
	}
	m.rep.Accounts = accountRows(m.plan, report.Made)
	return m.direct(ctx)
}
