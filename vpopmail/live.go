//go:build unix

package vpopmail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// Live is a domain for GoLive.
type Live struct {
	Name string // a prepared or live domain; or the new alias domain
	// AliasOf is the domain that Name becomes an alias of. It may be prepared,
	// live, or an alias itself, and then its real domain counts.
	AliasOf string
	// Optimize leaves morercpthosts.cdb as it is (-O of vadddomain).
	Optimize bool
}

// A Change is one line put into or taken from a file of qmail: what Revert
// takes back.
type Change struct {
	File  string // "users/assign", "control/virtualdomains", ...
	Line  string // without its LF
	Added bool   // else it was removed
}

// A LiveResult is what GoLive did.
type LiveResult struct {
	Changes  []Change
	Signaled bool // qmail-send was to be told, and hup was called
	Problems []qmailkit.Problem
}

// GoLive tells qmail of prepared domains and of alias domains, in an order in
// which no mail can bounce: users/assign and users/cdb, then virtualdomains and
// locals, then qmail-send is told, rcpthosts or morercpthosts last. Each file is
// changed once for all domains, under vpopmail's lock, as vadddomain and
// vaddaliasdomain in the order given leave it, notices included.
//
// hup tells qmail-send to read virtualdomains and locals again; an error of it
// stops GoLive before rcpthosts. A nil hup is reported in Problems. It is
// called only if something changed since qmail-send was told.
//
// GoLive can be run again after any interruption, and changes nothing when all
// is done. Two of them, or one and a DeleteDomain, wait for each other: the
// directory control is locked (flock).
func (s *Store) GoLive(ctx context.Context, list []Live, hup func(context.Context) error) (*LiveResult, error) {
	g := &goLive{s: s, res: &LiveResult{}}
	if len(list) == 0 {
		return g.res, nil
	}
	control, err := s.lockControl(ctx)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	if err := g.resolve(ctx, list); err != nil {
		return nil, err
	}
	if err := g.count(ctx, control); err != nil {
		return nil, err
	}
	if err := g.rows(ctx); err != nil {
		return nil, err
	}
	if err := g.assign(ctx); err != nil {
		return nil, err
	}
	if err := g.virtualdomains(ctx, control); err != nil {
		return nil, err
	}
	if err := g.locals(ctx, control); err != nil {
		return nil, err
	}
	if err := g.signal(ctx, control, hup); err != nil {
		return nil, err
	}
	if err := g.rcpthosts(ctx, control); err != nil {
		return nil, err
	}
	if err := s.dropPending(ctx, g.pending); err != nil {
		return g.res, err
	}
	return g.res, g.changedLive(ctx)
}

// PlanLive returns the changes that GoLive would make now, and makes none. A
// caller that keeps them before it calls GoLive for the first time can Revert
// them even if GoLive is cut short. After that the plan is only what is left.
func (s *Store) PlanLive(ctx context.Context, list []Live) ([]Change, error) {
	g := &goLive{s: s, res: &LiveResult{}, dry: true}
	if err := g.resolve(ctx, list); err != nil {
		return nil, err
	}
	control, err := s.controlDir()
	if err != nil {
		return nil, err
	}
	defer control.Close()
	steps := []func(context.Context, *safefs.Dir) error{g.virtualdomains, g.locals, g.rcpthosts}
	if err := g.count(ctx, control); err != nil {
		return nil, err
	}
	if err := g.assign(ctx); err != nil {
		return nil, err
	}
	for _, step := range steps {
		if err := step(ctx, control); err != nil {
			return nil, err
		}
	}
	return g.res.Changes, nil
}

// goLive is a GoLive on its way.
type goLive struct {
	s       *Store
	res     *LiveResult
	domains []*Domain
	lines   []string // of users/assign
	need    []need   // how many lines of its own each domain has in the end
	lazy    []bool   // Live.Optimize
	pending []string
	tell    bool // qmail-send has to be told
	dry     bool // write nothing
}

func (g *goLive) resolve(ctx context.Context, list []Live) error {
	notes, err := g.s.notes()
	if err != nil {
		return err
	}
	for _, l := range list {
		d, err := g.one(ctx, l)
		if err != nil {
			return err
		}
		if notes.leaving(d.Name) != nil || notes.leaving(d.Real) != nil {
			return &Error{Domain: l.Name, Err: ErrLeaving}
		}
		line := assignLine(d)
		if len(line) > g.s.p.AssignBuffer {
			return &Error{Domain: l.Name, Field: "domain", Err: fmt.Errorf("%w: the line for users/assign has %d bytes, vpopmail cuts it at %d", ErrTooLong, len(line), g.s.p.AssignBuffer)}
		}
		g.domains, g.lines, g.lazy = append(g.domains, d), append(g.lines, line), append(g.lazy, l.Optimize)
		if d.Pending {
			g.pending = append(g.pending, d.Name)
		}
	}
	return nil
}

func (g *goLive) one(ctx context.Context, l Live) (*Domain, error) {
	if l.AliasOf == "" {
		d, err := g.s.Domain(ctx, l.Name)
		if err != nil {
			return nil, err
		}
		// A domain that is in users/cdb already may still be pending: the
		// change was cut short behind that.
		if p, err := g.s.pendingDomain(d.Name); err != nil || p != nil {
			return p, err
		}
		return d, nil
	}
	name, err := g.s.p.AliasDomain(l.Name)
	if err != nil {
		return nil, err
	}
	real, err := g.s.Domain(ctx, l.AliasOf)
	if err != nil {
		return nil, err
	}
	if p, err := g.s.pendingDomain(name); err != nil || p != nil {
		return nil, errors.Join(err, &Error{Domain: l.Name, Err: ErrDomainExists})
	}
	return &Domain{Name: name, Real: real.Real, UID: real.UID, GID: real.GID, Dir: real.Dir}, nil
}

// rows tells the database of alias domains, before qmail knows them.
func (g *goLive) rows(ctx context.Context) error {
	k := g.s.aliasDomainKeeper()
	if k == nil {
		return nil
	}
	for _, d := range g.domains {
		if !d.Alias() {
			continue
		}
		if err := k.SetAliasDomain(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// assign brings users/assign and users/cdb to the new state.
func (g *goLive) assign(ctx context.Context) error {
	dir, err := g.s.usersDir(!g.dry)
	if errors.Is(err, fs.ErrNotExist) && g.dry {
		for _, line := range g.lines {
			g.res.Changes = append(g.res.Changes, Change{"users/assign", line, true})
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	unlock, err := g.lock(ctx, dir, "assign")
	if err != nil {
		return err
	}
	defer unlock()
	f, err := readLines(dir, "assign", true)
	if err != nil {
		return err
	}
	before := f.bytes()
	if _, err := f.compile(); err != nil {
		return err
	}
	for i, line := range g.lines {
		switch {
		case f.has(line):
			continue
		case f.taken(g.domains[i].Name):
			return &Error{Domain: g.domains[i].Name, Err: ErrDomainExists}
		}
		g.insert(f, "users/assign", line)
	}
	db, err := f.compile()
	if err != nil || g.dry {
		return err
	}
	if err := g.s.replace(dir, "users/assign", f.exists, before, f.bytes()); err != nil {
		return err
	}
	return g.s.replaceDB(dir, "users/cdb", db)
}

// compile makes users/cdb of a users/assign. What qmail-newu refuses is
// ErrAssign, but for a missing last line of one dot, which the next insertion
// mends. So is text behind that line: qmail-newu does not see it, and
// vpopmail's programs would make it count.
func (f *lineFile) compile() ([]byte, error) {
	dot := false
	for i, l := range f.lines {
		if dot = strings.HasPrefix(l, "."); dot && (l != "." || i < len(f.lines)-1) {
			return nil, fmt.Errorf("%w: line %d: text at or behind the dot that ends the file", ErrAssign, i+1)
		}
	}
	text := f.bytes()
	if !dot {
		text = append(text, ".\n"...)
	}
	var db memFile
	if err := users.WriteCDB(&db, bytes.NewReader(text)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAssign, err)
	}
	return db.b, nil
}

// taken says whether a domain has a line in users/assign.
func (f *lineFile) taken(name string) bool {
	for _, l := range f.lines {
		if key, _, _ := strings.Cut(l, ":"); strings.EqualFold(key, "+"+name+"-") {
			return true
		}
	}
	return false
}

// insert adds a line and reports what vpopmail prints then.
func (g *goLive) insert(f *lineFile, file, line string) {
	g.res.Changes = append(g.res.Changes, Change{file, line, true})
	if f.insert(line) {
		g.res.Problems = append(g.res.Problems, at(problem("control.out-of-order", qmailkit.Info, "out of order entries found; sorted"), file))
	}
	for i, l := range f.lines {
		if len(l)+1 > g.s.p.AssignBuffer+1 && l != line {
			p := at(problem("control.long-line", qmailkit.Warning, "%d bytes; vpopmail's own programs would cut this line in two", len(l)), file)
			p.Line = i + 1
			g.res.Problems = append(g.res.Problems, p)
		}
	}
}

// lock takes the lock of a file of qmail, unless nothing is to be written.
func (g *goLive) lock(ctx context.Context, dir *safefs.Dir, name string) (unlock func(), err error) {
	if g.dry {
		return func() {}, nil
	}
	return g.s.lock(ctx, dir, name+".lock", safefs.Keep)
}

// withLock reads a control file under its lock, lets edit change it, and
// replaces it if that made a difference. An edit that asks not to write
// returns false.
func (g *goLive) withLock(ctx context.Context, dir *safefs.Dir, name string, edit func(f *lineFile) (write bool)) error {
	unlock, err := g.lock(ctx, dir, name)
	if err != nil {
		return err
	}
	defer unlock()
	f, err := readLines(dir, name, false)
	if err != nil {
		return err
	}
	before := f.bytes()
	if !edit(f) || g.dry {
		return nil
	}
	return g.s.replace(dir, "control/"+name, f.exists, before, f.bytes())
}

func (g *goLive) virtualdomains(ctx context.Context, control *safefs.Dir) error {
	return g.withLock(ctx, control, "virtualdomains", func(f *lineFile) bool {
		for i, d := range g.domains {
			line := d.Name + ":" + d.Name
			if f.count(line) < g.need[i].virtual {
				g.insert(f, "control/virtualdomains", line)
				g.tell = true
			}
		}
		return true
	})
}

// locals takes the domains out of control/locals as qmail-send reads it:
// without case, and with blanks at the end. Where the file is missing qmail
// takes the name in control/me for local. vpopmail then makes an empty file,
// and mail for that name bounces; here that is done only if the name in me is
// the domain itself.
func (g *goLive) locals(ctx context.Context, control *safefs.Dir) error {
	me, _, err := readFile(control, "me")
	if err != nil {
		return err
	}
	mine, _, _ := strings.Cut(string(me), "\n")
	mine = lower(strings.TrimRight(mine, " \t"))
	return g.withLock(ctx, control, "locals", func(f *lineFile) bool {
		write := f.exists
		for _, d := range g.domains {
			for _, l := range f.remove(-1, func(l string) bool { return lower(strings.TrimRight(l, " \t")) == d.Name }) {
				g.res.Changes = append(g.res.Changes, Change{"control/locals", l, false})
				g.tell = true
			}
			if !f.exists && d.Name == mine {
				write, g.tell = true, true
			}
		}
		return write
	})
}
