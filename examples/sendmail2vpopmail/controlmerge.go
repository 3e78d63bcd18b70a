package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/controlmap"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// controlRecord is what run has written to a file.
type controlRecord struct {
	Lines [][]byte `json:"lines"`
	// Pending are the lines that were about to be in the place of Lines when
	// this was stored.
	Pending [][]byte `json:"pending,omitempty"`
	Intent  bool     `json:"intent,omitempty"`
	// Made says that there was no such file before.
	Made bool `json:"made,omitempty"`
}

// A merge is the three-way comparison of one file: what run wrote the last time,
// what stands there now, what is wanted.
type merge struct {
	kind, place string
	base        map[string]string   // by key
	pending     map[string]string   // likewise
	now         map[string][]string // values that qmail reads, by key
	lines       *qmailcontrol.Lines
	exists      bool

	ours     []string // what run has written when it is done
	changed  bool
	problems []qmailkit.Problem
}

func byKey(kind string, lines [][]byte) map[string]string {
	m := map[string]string{}
	for _, l := range lines {
		m[lineKey(kind, string(l))] = string(l)
	}
	return m
}

// newMerge reads a file that there may not be.
func newMerge(d *controlDir, name string, r *controlRecord) (*merge, error) {
	g := &merge{kind: d.kind[name], place: d.place(name), base: byKey(d.kind[name], r.Lines), pending: byKey(d.kind[name], r.Pending), now: map[string][]string{}, lines: &qmailcontrol.Lines{}}
	if _, g.exists = d.now.Entry(name); g.exists {
		var err error
		if g.lines, err = d.now.Lines(name); err != nil {
			return nil, fmt.Errorf("%s: %w", g.place, err)
		}
	}
	for _, v := range g.lines.Values() {
		key := lineKey(g.kind, v)
		g.now[key] = append(g.now[key], v)
	}
	return g, nil
}

func (g *merge) problem(severity qmailkit.Severity, l controlmap.Line, format string, args ...any) {
	g.problems = append(g.problems, qmailkit.Problem{Code: "control.kept", Severity: severity, Path: l.Path, Line: l.Line,
		Err: fmt.Errorf("%s: %w", g.place, fmt.Errorf(format, args...))})
}

// mine says whether all that stands for a key came by run.
func (g *merge) mine(key string) bool {
	return !slices.ContainsFunc(g.now[key], func(v string) bool { return v != g.base[key] && v != g.pending[key] })
}

// want brings one line into the file, unless somebody has decided otherwise.
func (g *merge) want(l controlmap.Line) {
	key := lineKey(g.kind, l.Text)
	now := g.now[key]
	base, had := g.base[key]
	_, intended := g.pending[key]
	keep := func() {
		if had {
			g.ours = append(g.ours, base) // so that it stays away the next time too
		}
	}
	switch {
	case len(now) == 1 && now[0] == l.Text:
		if had || intended {
			g.ours = append(g.ours, l.Text)
		}
	case len(now) == 0 && had && !intended && base == l.Text:
		g.problem(qmailkit.Info, l, "the line %q was taken away on the new host: it stays away", l.Text)
		keep()
	case len(now) == 0 && had && !intended:
		g.problem(qmailkit.Warning, l, "the line %q was taken away on the new host, and %q is wanted now: neither is there", base, l.Text)
		keep()
	case !g.mine(key) && had && base == l.Text:
		g.problem(qmailkit.Info, l, "the line %q was changed on the new host to %q: that stays", l.Text, now[0])
		keep()
	case !g.mine(key):
		g.problem(qmailkit.Warning, l, "%q stands there and did not come by run: it stays, and %q is not carried", now[0], l.Text)
		keep()
	default:
		g.put(key, l)
	}
}

// put writes a line in the place of those that came by run.
func (g *merge) put(key string, l controlmap.Line) {
	at := g.lines.Len() + 1
	for n, v := range g.lines.Values() {
		if lineKey(g.kind, v) == key {
			at = n
			break
		}
	}
	g.drop(key)
	if err := g.lines.Insert(min(at, g.lines.Len()+1), l.Text); err != nil {
		g.problems = append(g.problems, qmailkit.Problem{Code: "control.refused", Severity: qmailkit.Error, Path: l.Path, Line: l.Line, Err: fmt.Errorf("%s: %w", g.place, err)})
		return
	}
	g.changed = true
	g.ours = append(g.ours, l.Text)
}

// drop takes the lines of a key away.
func (g *merge) drop(key string) {
	g.lines.RemoveFunc(func(_ int, text string) bool {
		if text = strings.TrimRight(text, " \t"); text == "" || text[0] == '#' || lineKey(g.kind, text) != key {
			return false
		}
		g.changed = true
		return true
	})
}

// unwanted takes back what an earlier run wrote and the source has no more.
func (g *merge) unwanted(wanted map[string]bool) {
	for _, list := range []map[string]string{g.base, g.pending} {
		for key := range list {
			if !wanted[key] && len(g.now[key]) > 0 && g.mine(key) {
				g.drop(key)
			}
		}
	}
}

// mergeFile brings the lines of one file into c. It returns what to remember.
func mergeFile(d *controlDir, c *qmailcontrol.Config, name string, r *controlRecord, lines []controlmap.Line) (ours [][]byte, problems []qmailkit.Problem, err error) {
	g, err := newMerge(d, name, r)
	if err != nil {
		return nil, nil, err
	}
	wanted := map[string]bool{}
	for _, l := range lines {
		if l.File == d.kind[name] {
			wanted[lineKey(g.kind, l.Text)] = true
			g.want(l)
		}
	}
	g.unwanted(wanted)
	if g.changed {
		// rcpthosts is never taken away: without it, everybody may relay.
		if g.lines.Len() == 0 && r.Made && g.kind != controlmap.Hosts {
			_, err = c.Remove(name)
		} else {
			err = c.Set(name, g.lines)
		}
	}
	return rawLines(g.ours), g.problems, err
}

// errOpenRelay says that a plan would let everybody relay.
var errOpenRelay = errors.New("with this change everybody could relay through the new host: it is not made")

// guard refuses a change after which a stranger may send mail to anybody, if he
// may not do so now. It tells whether he may.
func guard(before, after *qmailcontrol.Config, old, rules *controlmap.Rules) (open bool, err error) {
	then, err := controlmap.NewHost(after, rules)
	if err != nil || !then.OpenRelay() {
		return false, nil // with an error, qmail-smtpd takes no mail at all
	}
	now, err := controlmap.NewHost(before, old)
	if err != nil || !now.OpenRelay() {
		return false, errOpenRelay
	}
	return true, nil
}
