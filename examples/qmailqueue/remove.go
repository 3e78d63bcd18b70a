//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/queue"
)

// pick gathers the numbers of the selected messages. Something has to be
// selected: everything must be said.
func (j *job) pick(ctx context.Context, s *selection, args []string) ([]queue.ID, error) {
	if err := s.ready(args); err != nil {
		return nil, err
	}
	if !s.given() && len(args) == 0 {
		return nil, cli.Usagef("which messages? give a selection, or -all")
	}
	var ids []queue.ID
	err := j.each(ctx, s, func(m *queue.Message) error {
		ids = append(ids, m.ID)
		return nil
	})
	return ids, err
}

// did tells of each message that something was, or with -n would be, done.
// Where not only single messages failed, nobody knows, and nothing is said.
func (c *change) did(what string, ids []queue.ID, failed error) error {
	bad := map[queue.ID]bool{}
	for _, e := range unjoin(failed) {
		var m *queue.MessageError
		var a *alarmError
		switch {
		case errors.As(e, &m):
			bad[m.ID] = true
		case !errors.As(e, &a):
			return nil
		}
	}
	for _, id := range ids {
		if bad[id] {
			continue
		}
		var err error
		if c.json {
			err = c.enc.Encode(struct {
				ID   queue.ID `json:"id"`
				Op   string   `json:"op"`
				Done bool     `json:"done"`
			}{id, what, !c.dry})
		} else {
			_, err = fmt.Fprintf(c.out, "%s %v\n", what, id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// removal is delete or quarantine.
func removal(name, short, long string, do func(ctx context.Context, c *change, l *queue.Lock, ids []queue.ID) error, quarantine bool) *cli.Command {
	c, sel := &change{job: &job{}}, &selection{}
	return &cli.Command{
		Name: name, Args: "[ID...]", Max: -1, Short: short, Long: long,
		Setup: func(fs *flag.FlagSet) cli.Action {
			c.flags(fs)
			sel.flags(fs)
			if quarantine {
				c.quarantineFlag(fs)
			}
			return c.job.action(func(ctx context.Context, args []string) error {
				if c.dry {
					ids, err := c.pick(ctx, sel, args)
					if err != nil {
						return err
					}
					return errors.Join(c.did(name, ids, nil), absent(sel.missing()))
				}
				return c.locked(ctx, func(l *queue.Lock) error {
					ids, err := c.pick(ctx, sel, args)
					if err != nil {
						return err
					}
					failed := do(ctx, c, l, ids)
					if ctx.Err() == nil {
						err = c.did(name, ids, failed)
					}
					return errors.Join(partial(failed), err, absent(sel.missing()))
				})
			})
		},
	}
}

func deleteCommand() *cli.Command {
	return removal("delete", "remove messages for good; nobody is told",
		`Nothing can bring them back: quarantine keeps them. Messages that are just
arriving are not touched.`,
		func(ctx context.Context, c *change, l *queue.Lock, ids []queue.ID) error {
			return l.Delete(ctx, ids...)
		}, false)
}

func quarantineCommand() *cli.Command {
	return removal("quarantine", "take messages out of the queue and keep them; nobody is told",
		`restore brings them back. A message is in the quarantine, on the disk, before it
leaves the queue.`,
		func(ctx context.Context, c *change, l *queue.Lock, ids []queue.ID) error {
			z, closeIt, err := c.openQuarantine(true)
			if err != nil {
				return err
			}
			defer closeIt()
			return l.Quarantine(ctx, z, "asked for", ids...)
		}, true)
}

// itemLine is an item of restore -list -json.
type itemLine struct {
	Item     jsonl.Bytes   `json:"item"`
	ID       queue.ID      `json:"id"`
	Kept     int64         `json:"kept"`
	Reason   string        `json:"reason_text"`
	Restored string        `json:"restored"`
	Files    []jsonl.Bytes `json:"files"`
}

// restorer brings messages back.
type restorer struct {
	change
	list, all, again bool
	control          string
	program          string
}

func restoreCommand() *cli.Command {
	r := &restorer{change: change{job: &job{}}}
	return &cli.Command{
		Name: "restore", Args: "[ITEM...]", Max: -1,
		Short: "bring messages back from the quarantine, through the protocol of qmail-queue",
		Long: `Only recipients that are not done get the message. It gets another number, so
qmail-send may run. An item that was brought back stays where it is and is not
brought back twice. -list shows the items; they are directories of the
quarantine, and their files are those of the queue.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			r.flags(fs)
			r.quarantineFlag(fs)
			fs.BoolVar(&r.list, "list", false, "list what is in the quarantine")
			fs.BoolVar(&r.all, "all", false, "bring back all that was not brought back")
			fs.BoolVar(&r.again, "again", false, "bring back even what was, or may have been, brought back before")
			fs.StringVar(&r.control, "control", "", "`DIR` is qmail's control directory, whose virtualdomains say what recipients were called (default: control beside the queue)")
			fs.StringVar(&r.program, "qmail-queue", "", "queue through `PROGRAM`, such as /var/qmail/bin/qmail-queue (default: without)")
			return r.job.action(r.run)
		},
	}
}

func (r *restorer) run(ctx context.Context, args []string) error {
	if !r.list && !r.all && len(args) == 0 {
		return cli.Usagef("which items? name them, or give -all or -list")
	}
	z, closeIt, err := r.openQuarantine(false)
	if err != nil {
		return err
	}
	defer closeIt()
	if r.list || r.all {
		for it, err := range z.Items(ctx) {
			switch {
			case err != nil:
				r.trouble(nil, err)
			case r.list:
				if err := r.item(it); err != nil {
					return err
				}
			case it.Has("mess") && (it.Restored != queue.RestoreDone || r.again):
				args = append(args, it.Name)
			}
		}
		if r.list {
			return nil
		}
	}
	return r.restore(ctx, z, args)
}

func (r *restorer) item(it *queue.Item) error {
	line := itemLine{Item: jsonl.Bytes(it.Name), ID: it.ID, Kept: it.Kept.Unix(), Reason: cli.Printable(it.Reason), Restored: string(it.Restored)}
	var names []string
	for _, f := range it.Files {
		line.Files = append(line.Files, jsonl.Bytes(f.Name))
		names = append(names, f.Name)
	}
	if r.json {
		return r.enc.Encode(line)
	}
	back := ""
	if it.Restored != queue.RestoreNever {
		back = "  restored: " + string(it.Restored)
	}
	_, err := fmt.Fprintf(r.out, "%s  %s  %s  %s%s\n", cli.Name(it.Name), it.Kept.UTC().Format("2006-01-02 15:04:05"), cli.Name(strings.Join(names, " ")), cli.Name(it.Reason), back)
	return err
}

func (r *restorer) restore(ctx context.Context, z *queue.Quarantine, items []string) error {
	o := &queue.RestoreOptions{Again: r.again, Recipient: r.unprefixed}
	if r.program != "" {
		o.Runner = program(r.program)
	}
	var failed []error
	for _, name := range items {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if !r.dry {
			if err := z.Restore(ctx, r.q.Queue, name, o); err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", cli.Name(name), err))
				continue
			}
		}
		if err := r.restored(name); err != nil {
			return err
		}
	}
	return absent(errors.Join(failed...))
}

func (r *restorer) restored(name string) (err error) {
	if r.json {
		return r.enc.Encode(struct {
			Item jsonl.Bytes `json:"item"`
			Op   string      `json:"op"`
			Done bool        `json:"done"`
		}{jsonl.Bytes(name), "restore", !r.dry})
	}
	_, err = fmt.Fprintf(r.out, "restore %s\n", cli.Name(name))
	return err
}

// unprefixed undoes what virtualdomains did to a local recipient, if doing it
// again gives the same.
func (r *restorer) unprefixed(local string) (string, error) {
	dir := r.control
	if dir == "" {
		abs, err := filepath.Abs(r.Dir)
		if err != nil {
			return "", err
		}
		dir = filepath.Join(filepath.Dir(abs), "control")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("control directory: %w", err)
	}
	defer root.Close()
	config, err := qmailcontrol.LoadConfig(context.Background(), root)
	if err != nil {
		return "", err
	}
	send, err := config.Send()
	if err != nil {
		return "", err
	}
	for _, name := range []string{send.BounceName(local), local} {
		if t := send.Rewrite(name); t.To == local {
			return name, nil
		}
	}
	return "", fmt.Errorf("recipient %q: virtualdomains does not say what it was called", local)
}
