//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/examples/internal/progress"
	"github.com/qmailkit/qmailkit/examples/internal/queuedir"
	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/plesk"
	"github.com/qmailkit/qmailkit/queue"
)

// drainConfig is what drain is told besides.
type drainConfig struct {
	queue queuedir.Flags
	noneQ bool
	wait  time.Duration
	most  int
}

func (c *config) drainFlags(fs *flag.FlagSet) {
	c.copyFlags(fs)
	fs.StringVar(&c.drain.queue.Dir, "source-queue", "", "`DIR` is the old host's queue (default: var/qmail/queue below -source-root)")
	fs.BoolVar(&c.drain.noneQ, "no-queue", false, "do not look at the old host's queue: it cannot be reached from here")
	fs.DurationVar(&c.drain.wait, "wait", 30*time.Second, "how long to wait between two passes")
	fs.IntVar(&c.drain.most, "passes", 0, "`N` is the greatest number of passes (default: until it is done)")
	c.drain.queue.DeclareCopy(fs)
}

// quiet says how many passes in a row have to find nothing.
const quietPasses = 2

// A pending is mail of the domain in the old host's queue.
type pending struct {
	Type     string        `json:"type"` // "queue"
	Messages int64         `json:"messages"`
	Oldest   *time.Time    `json:"oldest,omitempty"`
	To       []jsonl.Bytes `json:"to"` // some of the recipients
	unread   int64
}

// A passed is what a pass has come to, for programs.
type passed struct {
	Type      string `json:"type"` // "pass"
	Number    int    `json:"number"`
	Delivered int64  `json:"delivered"`
	Changed   int64  `json:"changed"` // flags, side files, what was deleted
	Failed    int64  `json:"failed"`
	Queue     int64  `json:"queue"` // messages for the domain; negative: not looked at
}

func doDrain(ctx context.Context, c *config, env *cli.Env) error {
	if c.drain.queue.Dir == "" && !c.drain.noneQ {
		if c.sourceRoot == "" || strings.Contains(c.sourceRoot, "://") {
			return cli.Usagef("-source-queue DIR is missing: the old host's queue; -no-queue goes without")
		}
		c.drain.queue.Dir = filepath.Join(c.sourceRoot, "var/qmail/queue")
	}
	if c.dryRun {
		return doPlan(ctx, c, env)
	}
	d := &draining{c: c, env: env, started: c.now()}
	rep, err := d.all(ctx)
	if rep != nil {
		if err != nil { // its last pass may have gone well
			rep.Outcome, rep.Why = report.Stopped, err.Error()
		}
		err = errors.Join(err, c.emit(env, rep))
	}
	if err != nil {
		return err
	}
	return leftBehind(rep)
}

// A draining is a drain under way.
type draining struct {
	c       *config
	env     *cli.Env
	started time.Time
	moved   boxResult // over all passes
}

// all makes passes until two of them find nothing new and the queue holds
// nothing for the domain. The report is that of the last pass, with the sums of
// all.
func (d *draining) all(ctx context.Context) (*report.Report, error) {
	quiet := 0
	for n := 1; ; n++ {
		// The queue first: what leaves it while the mailboxes are copied is
		// found in the next pass, which therefore has to be a quiet one too.
		held, err := d.queue(ctx)
		if err != nil {
			return nil, err
		}
		rep, changed, err := d.pass(ctx, quiet == quietPasses-1 && held.Messages == 0 && held.unread == 0)
		if err != nil {
			return rep, err
		}
		if changed == 0 && rep.Totals.Delivered == 0 && held.Messages == 0 {
			quiet++
		} else {
			quiet = 0
		}
		if err := d.tell(n, rep, changed, held); err != nil {
			return nil, err
		}
		d.sum(rep)
		switch {
		case quiet >= quietPasses && held.unread > 0:
			return rep, &cli.Exit{Code: cli.CannotTell, Err: fmt.Errorf("%s of the old host's queue could not be read: whether mail for %s is among them cannot be told",
				cli.Plural(held.unread, "message"), d.c.domain)}
		case quiet >= quietPasses:
			where := " and the old host's queue holds no mail for it"
			if d.c.drain.noneQ {
				where = "; the old host's queue was not looked at"
			}
			d.env.Printf("Done: %d passes in a row found nothing new for %s%s.\n", quietPasses, d.c.domain, where)
			return rep, nil
		case d.c.drain.most > 0 && n >= d.c.drain.most:
			return rep, fmt.Errorf("not done after %s: run again", cli.Plural(int64(n), "pass|passes"))
		}
		select {
		case <-ctx.Done():
			return rep, context.Cause(ctx)
		case <-time.After(d.c.drain.wait):
		}
	}
}

// pass copies once. Each pass looks at the hosts anew. That the last one has
// found nothing is noted.
func (d *draining) pass(ctx context.Context, last bool) (*report.Report, int64, error) {
	m, err := d.c.survey(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer m.Close()
	t, err := m.open(true)
	if err != nil {
		return nil, 0, err
	}
	defer t.close()
	p := &pass{move: m, t: t, show: progress.Start(progress.Options{Out: d.env.Stderr})}
	err = p.all(ctx)
	p.show.Stop()
	var changed int64
	for _, b := range m.boxes {
		changed += b.res.updated + b.res.removed + b.res.vanished + b.res.moved
	}
	changed += p.written
	rep := m.report("drain", d.started, err)
	if err == nil && last && changed == 0 && rep.Totals.Delivered == 0 {
		b, _ := d.c.now().MarshalJSON()
		err = t.files.Append(state.Record{Key: drainedKey(m.domain), Value: b})
	}
	return rep, changed, err
}

// sum puts what all passes have delivered into the report.
func (d *draining) sum(rep *report.Report) {
	d.moved.delivered += rep.Totals.Delivered
	d.moved.newBytes += rep.Totals.DeliveredBytes
	rep.Totals.Delivered, rep.Totals.DeliveredBytes = d.moved.delivered, d.moved.newBytes
	rep.Totals.AlreadyThere = max(rep.Totals.Messages-d.moved.delivered, 0)
}

func (d *draining) tell(n int, rep *report.Report, changed int64, held *pending) error {
	queued := fmt.Sprintf("%s for it in the queue", cli.Plural(held.Messages, "message"))
	if d.c.drain.noneQ {
		queued = "queue not looked at"
	}
	d.env.Printf("pass %d: %s new, %s changed, %s failed; %s\n", n, cli.Count(rep.Totals.Delivered), cli.Count(changed), cli.Count(rep.Totals.Failed), queued)
	for _, to := range held.To {
		d.env.Printf("  waits for %s\n", cli.Name(string(to)))
	}
	if held.Oldest != nil {
		d.env.Printf("  the oldest is from %s; qmail tries for control/queuelifetime, a week if it is not set\n", held.Oldest.Format(time.RFC3339))
	}
	if !d.c.json {
		return nil
	}
	enc := jsonl.NewEncoder(d.env.Stdout)
	line := passed{"pass", n, rep.Totals.Delivered, changed, rep.Totals.Failed, held.Messages}
	if d.c.drain.noneQ {
		line.Queue = -1
	}
	if err := enc.Encode(line); err != nil || held.Messages == 0 {
		return err
	}
	held.Type = "queue"
	return enc.Encode(held)
}

// shownRecipients is how many of those that wait are named.
const shownRecipients = 3

// queue counts the mail for the domain that the old host has yet to deliver.
func (d *draining) queue(ctx context.Context) (*pending, error) {
	held := &pending{To: []jsonl.Bytes{}}
	if d.c.drain.noneQ {
		return held, nil
	}
	names, err := d.names(ctx)
	if err != nil {
		return nil, err
	}
	q, err := d.c.drain.queue.Open()
	if err != nil {
		return nil, fmt.Errorf("the old host's queue: %w", err)
	}
	defer q.Close()
	for m, err := range q.Messages(ctx) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return nil, err
		}
		if m == nil {
			held.unread++
			continue
		}
		if m.State == queue.S2 || m.State == queue.S3 {
			continue // not accepted: under way, or broken off
		}
		mine, all := d.recipients(m, names, held)
		if mine {
			held.Messages++
			if birth := m.Birth; held.Oldest == nil || birth.Before(*held.Oldest) {
				held.Oldest = &birth
			}
		} else if err != nil || !all {
			held.unread++
		}
	}
	return held, nil
}

// names are the domain and its aliases.
func (d *draining) names(ctx context.Context) ([]string, error) {
	m := &move{c: d.c, domain: strings.ToLower(d.c.domain)}
	if err := m.readPsa(ctx); err != nil {
		return nil, err
	}
	if m.dom == nil {
		return []string{m.domain}, nil
	}
	return plesk.MailDomains(m.dom), nil
}

// recipients says whether a message still has a recipient in the domain, and
// whether all of them could be read. Local ones have the prefix of
// virtualdomains in front, but their domain is behind it as it was.
func (d *draining) recipients(m *queue.Message, names []string, held *pending) (mine, all bool) {
	all = true
	for r, err := range m.Recipients() {
		if err != nil {
			all = false
			continue
		}
		if r.Done {
			continue
		}
		domain := r.Address[strings.LastIndexByte(r.Address, '@')+1:]
		for _, n := range names {
			if strings.EqualFold(domain, n) {
				if mine = true; len(held.To) < shownRecipients {
					held.To = append(held.To, jsonl.Bytes(r.Address))
				}
			}
		}
	}
	return mine, all
}
