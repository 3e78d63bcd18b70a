//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// A controlBook edits a control directory, and notes each edit so that it can
// be taken back.
type controlBook struct {
	root  *os.Root
	dir   string // its absolute name
	mem   *state.Target
	store *state.Store
	key   string // of the notes
	// hup lets qmail-send read its files again; nil is remind, which asks the
	// administrator to do that.
	hup    func(context.Context) error
	remind func()
	// before is called before each change: tests stop there. Nil is nothing.
	before func(name string) error
}

// apply notes the plan, so that undo knows it even if this run is killed, and
// carries it out. Hosts that are to be accepted are last, behind the HUP that
// makes qmail-send know what to do with their mail.
func (b *controlBook) apply(ctx context.Context, plan qmailcontrol.Plan) error {
	was, err := b.noted()
	if err != nil {
		return err
	}
	if more := b.unknown(was, plan); len(more) > 0 {
		if err := b.store.Put(b.key, append(was, more...)); err != nil {
			return err
		}
	}
	last := len(plan)
	for last > 0 && (plan[last-1].Name == "rcpthosts" || strings.HasPrefix(plan[last-1].Name, "morercpthosts")) {
		last--
	}
	if err := b.change(ctx, plan[:last]); err != nil {
		return err
	}
	if _, err := b.reload(ctx); err != nil {
		return err
	}
	if err := b.change(ctx, plan[last:]); err != nil {
		return err
	}
	return b.answered()
}

// change carries out a plan, and notes before that qmail-send has to read its
// files again.
func (b *controlBook) change(ctx context.Context, plan qmailcontrol.Plan) error {
	if plan.Reload() == qmailcontrol.ReloadHUP {
		if err := b.store.Put(b.hupKey(), hupDue); err != nil {
			return err
		}
	}
	_, err := plan.Apply(ctx, b.root, &qmailcontrol.ApplyOptions{Backup: b.backup})
	return err
}

// What is noted of the HUP that qmail-send needs.
const (
	hupDue  = "due"
	hupTold = "told" // the administrator was asked to send it
)

func (b *controlBook) hupKey() string { return "hup " + b.key }

// reload lets qmail-send read its files again, if they have been changed, by an
// earlier run too that was not able to say so. false says that it is the
// administrator's to do.
func (b *controlBook) reload(ctx context.Context) (bool, error) {
	var due string
	if _, err := b.store.Load(b.hupKey(), &due); err != nil || due == "" {
		return true, err
	}
	if b.hup != nil {
		if err := b.hup(ctx); err != nil {
			return false, err
		}
		return true, b.store.Append(state.Record{Key: b.hupKey()})
	}
	if due == hupTold {
		return false, nil
	}
	b.remind()
	return false, b.store.Put(b.hupKey(), hupTold)
}

// answered forgets a HUP that the administrator was asked for.
func (b *controlBook) answered() error {
	var due string
	if _, err := b.store.Load(b.hupKey(), &due); err != nil || due != hupTold {
		return err
	}
	return b.store.Append(state.Record{Key: b.hupKey()})
}

// noted are the changes of all runs, in their order.
func (b *controlBook) noted() (was qmailcontrol.Plan, err error) {
	_, err = b.store.Load(b.key, &was)
	return was, err
}

// unknown are the changes that are not noted yet: a run that was killed may have
// noted them and not made them.
func (b *controlBook) unknown(was, plan qmailcontrol.Plan) (out qmailcontrol.Plan) {
	same := func(a, b qmailcontrol.State) bool { return a.Exists == b.Exists && string(a.Text) == string(b.Text) }
	for _, c := range plan {
		if !slices.ContainsFunc(was, func(o qmailcontrol.Change) bool {
			return o.Name == c.Name && same(o.Old, c.Old) && same(o.New, c.New)
		}) {
			out = append(out, c)
		}
	}
	return out
}

// backup keeps a file that is about to be replaced.
func (b *controlBook) backup(_ context.Context, c qmailcontrol.Change) error {
	o := state.Original{Path: filepath.Join(b.dir, c.Name), Missing: !c.Old.Exists, Mode: c.Old.Mode}
	if c.Old.Owner != nil {
		o.UID, o.GID = c.Old.Owner.UID, c.Old.Owner.GID
	}
	if b.before != nil {
		if err := b.before(c.Name); err != nil {
			return err
		}
	}
	_, err := b.mem.Backup(o, c.Old.Text)
	return err
}

// reverse is the plan that takes back what is noted; what others have changed
// in the files since stays. found is false where nothing is noted.
func (b *controlBook) reverse(old *qmailcontrol.Config) (plan qmailcontrol.Plan, found bool, err error) {
	was, err := b.noted()
	if err != nil || len(was) == 0 {
		return nil, false, err
	}
	next := old.Clone()
	for _, c := range slices.Backward(was) {
		if err := takeBack(next, c); err != nil {
			return nil, true, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return qmailcontrol.Diff(old, next), true, nil
}

// forget forgets the notes of what has been taken back.
func (b *controlBook) forget() error {
	if err := b.answered(); err != nil {
		return err
	}
	return b.store.Append(state.Record{Key: b.key})
}

// takeBack reverses one change: the whole file if nobody has touched it since,
// else its lines.
func takeBack(c *qmailcontrol.Config, ch qmailcontrol.Change) error {
	e, there := c.Entry(ch.Name)
	if there == ch.New.Exists && e.Text == string(ch.New.Text) {
		if !ch.Old.Exists {
			_, err := c.Remove(ch.Name)
			return err
		}
		return c.SetText(ch.Name, string(ch.Old.Text))
	}
	if there == ch.Old.Exists && e.Text == string(ch.Old.Text) {
		return nil // it was not reached
	}
	return editLines(c, ch.Name, true, func(l *qmailcontrol.Lines) error {
		var text []string
		for i := range l.Len() {
			text = append(text, l.Text(i+1))
		}
		for e := range ch.Edits() {
			if e.Binary {
				return qmailcontrol.ErrChanged
			}
			if e.Added {
				left := 1 // of equal lines only one is ours
				l.RemoveFunc(func(_ int, t string) bool {
					if t == e.Text && left > 0 {
						left--
						return true
					}
					return false
				})
			} else if !slices.Contains(text, e.Text) {
				if err := l.InsertText(l.Len()+1, e.Text); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// editLines edits a file; one that is missing is made only where make says so.
func editLines(c *qmailcontrol.Config, name string, create bool, edit func(l *qmailcontrol.Lines) error) error {
	l, err := c.Lines(name)
	if errors.Is(err, fs.ErrNotExist) {
		if !create {
			return nil
		}
		l, err = &qmailcontrol.Lines{}, nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	before := string(l.Bytes())
	if err := edit(l); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if string(l.Bytes()) == before {
		return nil
	}
	return c.Set(name, l)
}
