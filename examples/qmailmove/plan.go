//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/freespace"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/examples/internal/progress"
	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/plesk"
)

// What a message and a directory cost, for the estimate: measured on ext4 with
// two cores (see CONTRIBUTING).
const (
	blockSize       = 4096
	secondsMessage  = 1.0 / 8000
	secondsByte     = 1.0 / 150e6
	secondsMailbox  = 1.0 / 2500
	inodesOfMailbox = 6 // its directory, Maildir, cur, new, tmp, the journal
	inodesOfFolder  = 5 // as a Maildir, and maildirfolder
)

func doPlan(ctx context.Context, c *config, env *cli.Env) error {
	started := c.now()
	m, err := c.survey(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	r := m.newReport("plan", started)
	if err := m.planAccounts(ctx, r); err != nil {
		return err
	}
	show := progress.Start(progress.Options{Out: env.Stderr})
	show.Expect(int64(len(m.boxes)), 0, 0)
	needs, err := m.measure(ctx, show)
	show.Stop()
	if err != nil {
		return err
	}
	if _, err := c.mailOwner(m.dst); err != nil {
		m.warn("target.owner", m.dst.name, err, "-owner UID:GID, before copy")
	}
	if err := m.hostSettings(ctx); err != nil {
		return err
	}
	m.boxRows(r)
	r.Needs, r.Outcome = needs, report.Planned
	if !needs.Enough() {
		m.lost("target.full", m.dst.name, errors.New("the target has not enough room: "+needs.Summary()), "")
	}
	m.fill(r)
	m.printPlan(env)
	if err := c.emit(env, r); err != nil {
		return err
	}
	if n := len(r.NotCarried); n > 0 {
		return cli.Partialf("%s would not be carried", cli.Plural(int64(n), "item|items"))
	}
	return nil
}

// printPlan says what goes where.
func (m *move) printPlan(env *cli.Env) {
	env.Printf("Domain %s: %s -> %s\n", m.domain, cli.Name(m.sourceDir()), cli.Name(join(m.dst.mailnames, m.domain)))
	if m.dom == nil {
		env.Printf("  no psa is given: mail only, for each directory that there is\n\n")
		return
	}
	for _, a := range plesk.MailDomains(m.dom) {
		if !strings.EqualFold(a, m.domain) {
			env.Printf("  alias domain %s\n", a)
		}
	}
	for _, b := range m.boxes {
		var parts []string
		if b.m.Mailbox {
			quota := "no quota"
			if n := m.dom.QuotaOf(b.m); n > 0 {
				quota = cli.Size(n)
			}
			parts = append(parts, "mailbox ("+quota+")")
		}
		for _, p := range []struct {
			n    int
			noun string
		}{{len(b.m.Aliases), "alias|aliases"}, {len(b.m.Forwards), "forward"}, {len(b.m.Responders), "autoresponder"}} {
			if p.n > 0 {
				parts = append(parts, cli.Plural(int64(p.n), p.noun))
			}
		}
		env.Printf("  %-30s %s\n", cli.Name(m.address(b)), strings.Join(parts, ", "))
	}
	env.Printf("\n")
}

// planAccounts compares the accounts of both hosts.
func (m *move) planAccounts(ctx context.Context, r *report.Report) error {
	if m.dom == nil {
		return nil
	}
	plan, err := m.accountPlan(ctx, true)
	if err != nil {
		return err
	}
	m.problem(plan.All()...)
	r.Accounts = accountRows(plan, report.ToMake)
	return nil
}

// measure counts what there is, and says what the copy will take.
func (m *move) measure(ctx context.Context, show *progress.Progress) (*report.Needs, error) {
	n := &report.Needs{FreeBytes: -1, FreeInodes: -1}
	for _, b := range m.boxes {
		if !b.maildir && !(b.m != nil && b.m.Mailbox) {
			continue
		}
		n.Inodes += inodesOfMailbox
		n.Bytes += inodesOfMailbox * blockSize
		n.Seconds += secondsMailbox
		if b.maildir {
			if err := m.measureBox(ctx, b, n, show); err != nil {
				return nil, err
			}
		}
		show.Mailboxes(1)
	}
	m.free(n)
	return n, nil
}

func (m *move) measureBox(ctx context.Context, b *box, n *report.Needs, show *progress.Progress) error {
	from := join(b.dir, plesk.MaildirName)
	folders, others, err := m.sourceFolders(ctx, b)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m.lost("mailbox.unreadable", from, plainErr(err), readHint(err))
		return nil
	}
	m.others(b, others)
	encoded := false
	for _, dir := range folders {
		if dir != "." {
			n.Inodes += inodesOfFolder
			n.Bytes += inodesOfFolder * blockSize
			levels, _ := maildir.FolderLevels(dir, maildir.UTF7)
			to, _, err := maildir.FolderDir(levels, maildir.UTF8)
			encoded = encoded || err == nil && to != dir
		}
		for _, sub := range []string{"new", "cur"} {
			at := join(from, dir, sub)
			for e, err := range m.src.tree.ReadDir(ctx, at) {
				if err != nil {
					if ctx.Err() != nil {
						return context.Cause(ctx)
					}
					m.lost("mailbox.unreadable", at, plainErr(err), readHint(err))
					break
				}
				m.measureMessage(b, at, e, n, show)
			}
		}
	}
	if encoded && !m.c.utf8 {
		m.problem(qmailkit.Problem{Code: "mailbox.folder-names", Severity: qmailkit.Info, Path: from,
			Err: errors.New("has folder names in modified UTF-7, which Courier 1.0 and later (Plesk Obsidian) would show as they stand"), Fix: "-utf8-folders, if that is the target"})
	}
	if b.m == nil {
		return nil
	}
	if quota := m.dom.QuotaOf(b.m); quota > 0 && b.res.bytes > quota {
		m.warn("mailbox.over-quota", from, fmt.Errorf("holds %s, more than its quota of %s: it would get no new mail", cli.Size(b.res.bytes), cli.Size(quota)), "")
	}
	return nil
}

func (m *move) measureMessage(b *box, at string, e qmailkit.DirEntry, n *report.Needs, show *progress.Progress) {
	name, err := maildir.ParseName(e.Name)
	if err != nil || e.Name[0] == '.' {
		return
	}
	path := join(at, e.Name)
	if !e.Type.IsRegular() && e.Type.Type() != 0 {
		m.lost("message.not-plain", path, fmt.Errorf("%w where a message should be", qmailkit.ErrNotPlain), "")
		return
	}
	size, ok := name.Size()
	if fi, err := m.src.tree.Lstat(path); err == nil {
		if ok && fi.Size != size {
			m.warn("message.size", path, fmt.Errorf("its name says %d bytes, and it has %d", size, fi.Size), "")
		}
		size = fi.Size
	} else if missing(err) {
		return
	}
	b.res.messages++
	b.res.bytes += size
	n.Inodes++
	n.Bytes += (size + blockSize - 1) / blockSize * blockSize
	n.Seconds += secondsMessage + float64(size)*secondsByte
	show.Messages(1)
	show.Bytes(size)
}

// free asks the target's file system.
func (m *move) free(n *report.Needs) {
	if bytes, inodes, err := freespace.Of(filepath.Join(m.dst.name, m.dst.mailnames)); err == nil {
		n.FreeBytes, n.FreeInodes = bytes, inodes
	} else if bytes, inodes, err := freespace.Of(m.dst.name); err == nil {
		n.FreeBytes, n.FreeInodes = bytes, inodes
	}
}

// accountRows are the accounts of a plan; made is the state of those that are
// to be created.
func accountRows(plan *plesk.AccountPlan, made report.AccountState) (rows []report.Account) {
	for _, d := range plan.Domains {
		for _, a := range d.Accounts {
			row := report.Account{Name: jsonl.Bytes(a.Mailname.Name), Address: jsonl.Bytes(a.Mailname.Name + "@" + d.Domain.Name),
				Scheme: a.Mailname.Password.Type, HashUnchanged: report.Unknown}
			switch a.Action {
			case plesk.AccountCreate:
				row.State = made
			case plesk.AccountSame:
				row.State = report.There
			case plesk.AccountDiffers:
				row.State, row.Why = report.Kept, strings.Join(a.Differences, "; ")
			default:
				row.State = report.Skipped
				for _, p := range a.Problems {
					if p.Severity == qmailkit.Error && p.Err != nil {
						row.Why = p.Err.Error()
					}
				}
			}
			rows = append(rows, row)
		}
	}
	return rows
}
