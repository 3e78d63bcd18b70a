package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/controlmap"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// takeControl takes back the lines that run put into qmail's control files and
// into tcp.smtp, and that nobody has changed since. Where the domain stays in
// use they stay too.
func (u *undoing) takeControl(ctx context.Context, off bool) error {
	if u.some {
		return nil
	}
	for _, kind := range []string{controlmap.Hosts, controlmap.Clients, controlmap.Senders, controlmap.Routes} {
		for rec := range u.t.records.All() {
			name, ok := strings.CutPrefix(rec.Key, controlKey(u.domain))
			path := ""
			if kind == controlmap.Clients {
				name, path, _ = strings.Cut(name, " ")
			}
			if !ok || name != kind {
				continue
			}
			if !off {
				u.report("undo.control-stays", name, errors.New("its lines stay, as the domain does"))
				continue
			}
			if err := u.takeFile(ctx, rec.Key, kind, path); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeFile takes the lines of one file back.
func (u *undoing) takeFile(ctx context.Context, key, kind, path string) error {
	if kind == controlmap.Hosts && !u.c.dryRun {
		unlock, err := lockHosts(ctx, u.t.Qmail)
		if err != nil {
			return err
		}
		defer unlock()
	}
	var d *controlDir
	var err error
	name := kind
	if kind == controlmap.Clients {
		name = filepath.Base(path)
		d, err = openRules(path)
	} else {
		d, err = openControl(ctx, u.t.Qmail)
	}
	if err != nil {
		u.report("undo.control-stays", path, err)
		return nil
	}
	defer d.close()
	var r controlRecord
	if _, err := u.t.records.Load(key, &r); err != nil {
		return err
	}
	g, err := newMerge(d, name, &r)
	if err != nil {
		u.report("undo.control-stays", d.place(name), err)
		return nil
	}
	before := g.lines.Len()
	for _, list := range []map[string]string{g.base, g.pending} {
		for k := range list {
			switch {
			case len(g.now[k]) == 0:
			case g.mine(k):
				g.drop(k)
			default:
				u.report("undo.control-stays", d.place(name), fmt.Errorf("the line %q stays: run did not write it so", g.now[k][0]))
			}
		}
	}
	u.counts.Lines += before - g.lines.Len()
	if u.c.dryRun {
		return nil
	}
	next := d.now.Clone()
	switch {
	case !g.changed:
	case g.lines.Len() == 0 && r.Made && kind != controlmap.Hosts:
		_, err = next.Remove(name)
	default:
		err = next.Set(name, g.lines)
	}
	if err != nil {
		return err
	}
	if d.root != nil {
		if _, err := qmailcontrol.Diff(d.now, next).Apply(ctx, d.root, &qmailcontrol.ApplyOptions{Backup: u.t.keepFile(d)}); err != nil {
			return err
		}
	}
	return u.t.records.Append(state.Record{Key: key})
}
