package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/examples/internal/mailcopy"
	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/sendmail"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// newReport begins a report of this move.
func (m *move) newReport(command string, started time.Time) *report.Report {
	abs := func(p string) jsonl.Bytes {
		if a, err := filepath.Abs(p); err == nil {
			p = a
		}
		return jsonl.Bytes(p)
	}
	return &report.Report{
		Program: program, Command: command, Started: started,
		Source: report.Place{What: "Sendmail host", Path: abs(m.c.source)},
		Target: report.Place{What: "vpopmail", Path: abs(m.c.target.Home)},
	}
}

// fill adds the problems and closes the sums.
func (m *move) fill(r *report.Report) {
	for _, p := range m.problems {
		it := report.FromProblem(p)
		if p.Severity == qmailkit.Error {
			r.NotCarried = append(r.NotCarried, it)
		} else {
			r.Oddities = append(r.Oddities, it)
		}
	}
	r.Notices = append(r.Notices, m.notices()...)
	r.Finished = m.c.now()
	r.Sum()
}

// notices are what the mailboxes' owners will notice.
func (m *move) notices() []report.Notice {
	pop := "Each message has a new UIDL, the base of its file name. POP3 programs that leave mail on the server will fetch all of it once more. "
	switch m.c.uidl {
	case mailcopy.XUIDL, mailcopy.UWUIDL:
		pop += "Dovecot goes on with the old ones where the mbox had them: dovecot-uidlist was seeded. qmail-pop3d and vpopmail's own servers do not."
	default:
		pop += "Where Dovecot will serve the mailboxes, -uidl x-uidl or -uidl uw lets it go on with the old ones."
	}
	list := []report.Notice{
		{Code: "notice.pop3-uidl", Title: "POP3 programs see new UIDLs", Words: pop},
		{Code: "notice.journal", Title: "A file " + maildir.JournalName + " stays in each Maildir",
			Words: "It lets the move be run again without bringing back what readers have deleted. Remove it when the old host is off."},
	}
	list = append(list, m.rulesNotice()...)
	if m.addresses != nil {
		list = append(list, report.Notice{Code: "notice.detail", Title: "Addresses with a detail bounce",
			Words: "Sendmail delivers user+detail to user. vpopmail looks for a user of the whole name; only those aliases and virtual users that have the detail in their name are carried."})
	}
	return list
}

func (m *move) address(a *account) string { return a.Name + "@" + m.domain }

// boxRow is one mailbox's row.
func (m *move) boxRow(a *account, dir string, r *mailcopy.Result) report.Mailbox {
	folder := r.Folder
	if folder == "." {
		folder = ""
	}
	return report.Mailbox{
		Source: jsonl.Bytes(r.Path), Target: jsonl.Bytes(dir), Account: jsonl.Bytes(m.address(a)), Folder: jsonl.Bytes(folder),
		Messages: r.Messages, Bytes: r.Bytes, Delivered: r.Delivered, DeliveredBytes: r.NewBytes,
		AlreadyThere: r.Present + r.Updated + r.Kept, Failed: r.Failed, Problems: int64(len(r.Problems)),
	}
}

// accountRow is the row of an account that is carried.
func (m *move) accountRow(a *account) report.Account {
	row := report.Account{
		Name: jsonl.Bytes(a.Account.Name), Address: jsonl.Bytes(m.address(a)), State: report.ToMake,
		Scheme: a.Account.Scheme, HashUnchanged: report.Unknown, Locked: a.Verdict == sendmail.CarriedLocked,
	}
	if a.Reason.Err != nil {
		row.Why = a.Reason.Err.Error()
	}
	return row
}

// leftRows are the rows of accounts that stay behind.
func (m *move) leftRows() []report.Account {
	var rows []report.Account
	for _, d := range m.left {
		row := report.Account{Name: jsonl.Bytes(d.Account.Name), State: report.Skipped, Scheme: d.Account.Scheme, HashUnchanged: report.Unknown}
		if d.Reason.Err != nil {
			row.Why = d.Reason.Err.Error()
		}
		rows = append(rows, row)
	}
	return rows
}

// report is what a run tells.
func (g *migration) report(started time.Time, err error) *report.Report {
	r := g.newReport("run", started)
	for _, a := range g.accounts {
		row := g.accountRow(a)
		u, ok := g.users[a.Name]
		if ok {
			row.State = userState(u.Outcome)
			row.HashUnchanged = report.No
			if u.User.Hash == a.PasswordField() && !slices.Contains(u.Kept, "password") {
				row.HashUnchanged = report.Yes
			}
			if u.Err != nil {
				row.Why = u.Err.Error()
			}
		}
		r.Accounts = append(r.Accounts, row)
	}
	r.Accounts = append(r.Accounts, g.leftRows()...)
	for _, mv := range g.moved {
		for _, b := range mv.results {
			g.problem(b.Problems...)
			r.Mailboxes = append(r.Mailboxes, g.boxRow(mv.a, g.users[mv.a.Name].User.Dir+"/Maildir", b))
		}
	}
	if g.owner.Self {
		g.problem(qmailkit.Problem{Code: "target.owner", Severity: qmailkit.Info, Path: g.c.target.Home,
			Err: errors.New("only root can give files away: all of it belongs to whoever ran this, not to vpopmail"), Fix: "chown before use, or run as root"})
	}
	g.fill(r)
	switch {
	case err != nil:
		r.Outcome, r.Why = report.Stopped, err.Error()
	case len(r.NotCarried) > 0:
		r.Outcome = report.Partial
	default:
		r.Outcome = report.Done
	}
	return r
}

func userState(o vpopmail.Outcome) report.AccountState {
	switch o {
	case vpopmail.Added:
		return report.Made
	case vpopmail.Same:
		return report.There
	case vpopmail.Updated:
		return report.Updated
	case vpopmail.Kept, vpopmail.Gone:
		return report.Kept
	}
	return report.Skipped
}

// emit gives the report to everybody who asked for it.
func (c *config) emit(env *cli.Env, r *report.Report) error {
	if c.json {
		if err := report.WriteLine(env.Stdout, r); err != nil {
			return err
		}
	}
	if !c.quiet {
		if err := report.WriteText(env.Stderr, r); err != nil {
			return err
		}
	}
	if err := c.reports.Save(r); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
