//go:build unix

package main

import (
	"fmt"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/plesk"
)

// newReport begins a report of this move.
func (m *move) newReport(command string, started time.Time) *report.Report {
	r := &report.Report{Program: program, Command: command, Started: started,
		Source: report.Place{What: "Plesk host"}, Target: report.Place{What: "Plesk host"}}
	if m.src != nil {
		r.Source.Path = jsonl.Bytes(m.src.name)
	}
	if m.dst != nil {
		r.Target.Path = jsonl.Bytes(m.dst.name)
	}
	return r
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
	r.Finished = m.c.now()
	r.Sum()
}

func (m *move) address(b *box) string { return b.name + "@" + m.domain }

// boxRow is one mailbox's row.
func (m *move) boxRow(b *box) report.Mailbox {
	n := b.res
	return report.Mailbox{
		Source: jsonl.Bytes(join(b.dir, plesk.MaildirName)), Target: jsonl.Bytes(join(m.targetDir(b), plesk.MaildirName)), Account: jsonl.Bytes(m.address(b)),
		Messages: n.messages, Bytes: n.bytes, Delivered: n.delivered, DeliveredBytes: n.newBytes,
		AlreadyThere: n.present + n.updated + n.kept, Failed: n.failed, Problems: n.problems,
	}
}

func (m *move) boxRows(r *report.Report) {
	for _, b := range m.boxes {
		if b.maildir || b.m != nil && b.m.Mailbox {
			r.Mailboxes = append(r.Mailboxes, m.boxRow(b))
		}
	}
}

// report is what a copy tells.
func (m *move) report(command string, started time.Time, err error) *report.Report {
	r := m.newReport(command, started)
	for _, b := range m.boxes {
		if b.res.removed > 0 {
			m.problem(qmailkit.Problem{Code: "mailbox.followed", Severity: qmailkit.Info, Path: m.targetDir(b),
				Err: fmt.Errorf("%s taken away, because the source has deleted them since they were copied", cli.Plural(b.res.removed, "message was|messages were"))})
		}
	}
	m.boxRows(r)
	r.Notices = append(r.Notices, report.Notice{Code: "notice.journal", Title: "A file " + maildir.JournalName + " stays in each Maildir",
		Words: "It lets the move be run again without bringing back what its owner has deleted. Remove it when the old host is off."})
	m.fill(r)
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

// leftBehind is the error of a report that lists what was not carried.
func leftBehind(r *report.Report) error {
	if n := len(r.NotCarried); n > 0 {
		return cli.Partialf("%s not carried; the report lists them", cli.Plural(int64(n), "item was|items were"))
	}
	return nil
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
	return c.reports.Save(r)
}
