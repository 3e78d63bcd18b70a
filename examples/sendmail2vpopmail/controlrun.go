package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/controlmap"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// A controlEdit is what is to be done to files of one directory.
type controlEdit struct {
	dir     *controlDir
	next    *qmailcontrol.Config
	plan    qmailcontrol.Plan
	was, is map[string]controlRecord // by file
}

// editControl compares the named files of a directory with what they should
// hold. A file that cannot be read is reported, and stays.
func (m *move) editControl(d *controlDir, load func(key string, r *controlRecord) error, names ...string) (*controlEdit, error) {
	e := &controlEdit{dir: d, next: d.now.Clone(), was: map[string]controlRecord{}, is: map[string]controlRecord{}}
	for _, name := range names {
		var r controlRecord
		if err := load(d.key(m.domain, name), &r); err != nil {
			return nil, err
		}
		ours, problems, err := mergeFile(d, e.next, name, &r, m.control.Lines)
		if err != nil {
			m.problem(qmailkit.Problem{Code: "control.unreadable", Severity: qmailkit.Error, Path: d.place(name),
				Err: fmt.Errorf("it stays as it is: %w", err)})
			continue
		}
		m.problem(problems...)
		_, there := d.now.Entry(name)
		e.was[name] = r
		e.is[name] = controlRecord{Lines: ours, Made: r.Made || !there && len(ours) > 0}
	}
	e.plan = qmailcontrol.Diff(d.now, e.next)
	return e, nil
}

// same says whether two records are equal.
func (r controlRecord) same(o controlRecord) bool {
	return slices.Equal(texts(r.Lines), texts(o.Lines)) && r.Made == o.Made && r.Intent == o.Intent
}

// writeControl makes an edit. What run is about to write it notes before, so
// that a run that was cut off knows its own lines.
func (g *migration) writeControl(ctx context.Context, e *controlEdit) error {
	var intents, done []state.Record
	for name, is := range e.is {
		was, key := e.was[name], e.dir.key(g.domain, name)
		if slices.ContainsFunc(e.plan, func(c qmailcontrol.Change) bool { return c.Name == name }) {
			r, err := rememberLines(key, controlRecord{Lines: was.Lines, Pending: is.Lines, Intent: true, Made: is.Made})
			if err != nil {
				return err
			}
			intents = append(intents, r)
		} else if is.same(was) {
			continue
		}
		r, err := rememberLines(key, is)
		if err != nil {
			return err
		}
		done = append(done, r)
	}
	if err := g.append(intents); err != nil {
		return err
	}
	if _, err := e.plan.Apply(ctx, e.dir.root, &qmailcontrol.ApplyOptions{Backup: g.t.keepFile(e.dir)}); err != nil {
		return err
	}
	return g.append(done)
}

// rememberLines is the record of a file, or that there is none.
func rememberLines(key string, r controlRecord) (state.Record, error) {
	if len(r.Lines) == 0 && len(r.Pending) == 0 {
		return state.Record{Key: key}, nil
	}
	b, err := json.Marshal(r)
	return state.Record{Key: key, Value: b}, err
}

// keepFile keeps files that are about to be replaced.
func (t *target) keepFile(d *controlDir) func(context.Context, qmailcontrol.Change) error {
	return func(_ context.Context, c qmailcontrol.Change) error {
		memory, err := t.Memory()
		if err != nil {
			return err
		}
		o := state.Original{Path: d.place(c.Name), Missing: !c.Old.Exists, Mode: 0o644}
		if c.Old.Mode != 0 {
			o.Mode = c.Old.Mode
		}
		if c.Old.Owner != nil {
			o.UID, o.GID = c.Old.Owner.UID, c.Old.Owner.GID
		}
		_, err = memory.Backup(o, c.Old.Text)
		return err
	}
}

func (g *migration) loadControl(key string, r *controlRecord) error {
	_, err := g.t.records.Load(key, r)
	return err
}

// routesLive writes the files that only say how mail goes on: before any domain
// is live, so that what comes in for it finds its way out.
func (g *migration) routesLive(ctx context.Context) error {
	if g.control == nil {
		return nil
	}
	d, err := openControl(ctx, g.t.Qmail)
	if err != nil {
		return err
	}
	defer d.close()
	e, err := g.editControl(d, g.loadControl, controlmap.Routes, controlmap.Senders)
	if err != nil || d.root == nil {
		return err
	}
	return g.writeControl(ctx, e)
}

// relayLive writes the files that let mail in: last of all.
func (g *migration) relayLive(ctx context.Context) error {
	if g.control == nil {
		return nil
	}
	unlock, err := lockHosts(ctx, g.t.Qmail)
	if err != nil {
		return err
	}
	defer unlock()
	d, err := openControl(ctx, g.t.Qmail)
	if err != nil {
		return err
	}
	defer d.close()
	rd, old, err := g.openTCP()
	if err != nil {
		return err
	}
	if rd != nil {
		defer rd.close()
	}
	e, err := g.editControl(d, g.loadControl, controlmap.Hosts)
	if err != nil {
		return err
	}
	if g.guarded(d.now, e.next, old, old) {
		if err := g.writeControl(ctx, e); err != nil {
			return err
		}
	}
	if rd == nil {
		return nil
	}
	re, err := g.editControl(rd, g.loadControl, rd.files...)
	if err != nil {
		return err
	}
	rules, _ := rd.rules(re.next)
	if g.guarded(e.next, e.next, old, rules) {
		return g.writeControl(ctx, re)
	}
	return nil
}

// openTCP reads the tcp.smtp that the command line names; it is nil where there
// is none.
func (m *move) openTCP() (*controlDir, *controlmap.Rules, error) {
	if m.c.tcpSMTP == "" {
		return nil, nil, nil
	}
	d, err := openRules(m.c.tcpSMTP)
	if err != nil {
		return nil, nil, err
	}
	rules, problems := d.rules(d.now)
	m.problem(problems...)
	return d, rules, nil
}

// guarded says whether a change may be made, and reports one that may not.
func (m *move) guarded(before, after *qmailcontrol.Config, old, rules *controlmap.Rules) bool {
	open, err := guard(before, after, old, rules)
	if open && !slices.ContainsFunc(m.problems, func(p qmailkit.Problem) bool { return p.Code == "control.open-relay" }) {
		m.problem(qmailkit.Problem{Code: "control.open-relay", Severity: qmailkit.Error, Path: "control/rcpthosts",
			Err: errors.New("the new host relays for everybody: rcpthosts is missing, or a rule of tcp.smtp for all clients sets RELAYCLIENT"),
			Fix: "make control/rcpthosts, and see who has RELAYCLIENT"})
	}
	if err != nil {
		m.problem(qmailkit.Problem{Code: "control.refused", Severity: qmailkit.Error, Path: "control/rcpthosts", Err: err})
	}
	return err == nil
}

// lockHosts takes the lock that vpopmail's programs take before they edit
// rcpthosts.
func lockHosts(ctx context.Context, qmail *os.Root) (unlock func(), err error) {
	d, err := safefs.OpenDir(qmail, "control", nil)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	f, err := d.LockFile(ctx, controlmap.Hosts+".lock", safefs.Keep, 200, 100*time.Millisecond)
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

// planControl shows what a run would do to qmail's files.
func (m *move) planControl(ctx context.Context, there bool, env *cli.Env) error {
	if m.control == nil {
		return nil
	}
	load := func(string, *controlRecord) error { return nil }
	var qmail *os.Root
	if there {
		t, err := m.c.openTarget(ctx, false)
		if err != nil {
			return err
		}
		defer t.close()
		qmail = t.Qmail
		load = func(key string, r *controlRecord) error {
			_, err := t.records.Load(key, r)
			return err
		}
	}
	d, err := openControl(ctx, qmail)
	if err != nil {
		return err
	}
	defer d.close()
	rd, old, err := m.openTCP()
	if err != nil {
		return err
	}
	if rd != nil {
		defer rd.close()
	}
	e, err := m.editControl(d, load, d.files...)
	if err != nil {
		return err
	}
	show := func(title string, p qmailcontrol.Plan) {
		if len(p) > 0 {
			env.Printf("%s:\n%s\n", title, p.String())
		}
	}
	show("Changes of qmail's control files, beside the domains", e.plan)
	rules := old
	if rd != nil {
		re, err := m.editControl(rd, load, rd.files...)
		if err != nil {
			return err
		}
		rules, _ = rd.rules(re.next)
		show("Changes in "+cli.Name(rd.path[:len(rd.path)-len(rd.files[0])]), re.plan)
	}
	m.guarded(d.now, e.next, old, rules)
	return nil
}
