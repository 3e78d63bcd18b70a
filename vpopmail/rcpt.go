//go:build unix

package vpopmail

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// rcptLines is how many lines control/rcpthosts may have before further
// domains go to morercpthosts.
const rcptLines = 50

// signal tells qmail-send if it does not know yet. After an interruption
// nobody knows whether it was told, so a domain that rcpthosts still lacks
// counts as not told.
func (g *goLive) signal(ctx context.Context, control *safefs.Dir, hup func(context.Context) error) error {
	if !g.tell && len(g.pending) == 0 {
		in, err := g.accepted(control)
		if err != nil || in {
			return err
		}
	}
	if hup == nil {
		g.res.Problems = append(g.res.Problems, at(problem("control.not-signaled", qmailkit.Warning,
			"qmail-send has to be sent a HUP to see the new domains"), "control/virtualdomains"))
		return nil
	}
	g.res.Signaled = true
	return hup(ctx)
}

// accepted says whether all domains are in rcpthosts or morercpthosts.
func (g *goLive) accepted(control *safefs.Dir) (bool, error) {
	r, err := readLines(control, "rcpthosts", false)
	if err != nil {
		return false, err
	}
	m, err := readLines(control, "morercpthosts", false)
	if err != nil {
		return false, err
	}
	for _, d := range g.domains {
		if !r.has(d.Name) && !m.has(d.Name) {
			return false, nil
		}
	}
	return true, nil
}

// rcpthosts adds the domains to rcpthosts while that has fewer than 50 lines of
// any kind, to morercpthosts from then on, and compiles that.
func (g *goLive) rcpthosts(ctx context.Context, control *safefs.Dir) error {
	p, err := g.planRcpt(control)
	if err != nil {
		return err
	}
	if len(p.rcpt) > 0 {
		err := g.withLock(ctx, control, "rcpthosts", func(f *lineFile) bool {
			if !f.exists {
				g.res.Problems = append(g.res.Problems, at(problem("control.rcpthosts-made", qmailkit.Warning,
					"there was none, so that qmail-smtpd took mail for any domain; now it takes these only"), "control/rcpthosts"))
			}
			for _, name := range p.rcpt {
				g.insert(f, "control/rcpthosts", name)
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	if len(p.more) == 0 && !p.compile {
		return nil
	}
	return g.morercpthosts(ctx, control, p)
}

func (g *goLive) morercpthosts(ctx context.Context, control *safefs.Dir, p *rcptPlan) error {
	unlock, err := g.lock(ctx, control, "morercpthosts")
	if err != nil {
		return err
	}
	defer unlock()
	f, err := readLines(control, "morercpthosts", false)
	if err != nil {
		return err
	}
	before := f.bytes()
	for _, name := range p.more {
		g.insert(f, "control/morercpthosts", name)
	}
	if g.dry {
		return nil
	}
	if err := g.s.replace(control, "control/morercpthosts", f.exists, before, f.bytes()); err != nil || !p.compile {
		return err
	}
	var db memFile
	if err := qmailcontrol.WriteMorercpthosts(&db, bytes.NewReader(f.bytes())); err != nil {
		return err
	}
	return g.s.replaceDB(control, "control/morercpthosts.cdb", db.b)
}

// An rcptPlan says which lines go where.
type rcptPlan struct {
	rcpt, more []string
	compile    bool // morercpthosts.cdb has to follow
}

// planRcpt decides it. A domain that has its line stays where it is.
func (g *goLive) planRcpt(control *safefs.Dir) (*rcptPlan, error) {
	r, err := readLines(control, "rcpthosts", false)
	if err != nil {
		return nil, err
	}
	m, err := readLines(control, "morercpthosts", false)
	if err != nil {
		return nil, err
	}
	p := &rcptPlan{}
	for i, d := range g.domains {
		switch {
		case r.count(d.Name)+m.count(d.Name) >= g.need[i].rcpt:
			p.compile = p.compile || !g.lazy[i] && m.has(d.Name)
		case len(r.lines)+len(p.rcpt) < rcptLines:
			p.rcpt = append(p.rcpt, d.Name)
		default:
			p.more = append(p.more, d.Name)
			p.compile = p.compile || !g.lazy[i]
		}
	}
	return p, nil
}

// replace writes a file of qmail anew if it differs. It gets 0644 and root, or
// keeps what it had.
func (s *Store) replace(dir *safefs.Dir, name string, existed bool, before, after []byte) error {
	if existed && bytes.Equal(before, after) {
		return nil
	}
	if existed && s.o.Backup != nil {
		if err := s.o.Backup(name, before); err != nil {
			return fmt.Errorf("vpopmail: keeping the old %s: %w", name, err)
		}
	}
	base := name[strings.LastIndexByte(name, '/')+1:]
	return dir.WriteFile(base, safefs.Replacement{Mode: 0o644, Owner: safefs.Keep, Inherit: true, Temp: base + tempSuffix}, after)
}

// tempSuffix ends the names of unfinished files in qmail's directories. They
// are written under the lock of the file, and one that is left over is
// overwritten by the next change.
const tempSuffix = ".qmailkit_tmp"

// replaceDB is replace for a compiled file, of which no copy is kept.
func (s *Store) replaceDB(dir *safefs.Dir, name string, after []byte) error {
	base := name[strings.LastIndexByte(name, '/')+1:]
	old, ok, err := readFile(dir, base)
	if err != nil || ok && bytes.Equal(old, after) {
		return err
	}
	rep := safefs.Replacement{Mode: 0o644, Owner: safefs.Keep, Inherit: true, Temp: base + tempSuffix}
	return dir.Replace(base, rep, func(f *safefs.File) error {
		_, err := io.Copy(f, bytes.NewReader(after))
		return err
	})
}

// lockControl opens qmail's directory control and keeps others of this package
// from changing which domains are live until it is closed. vpopmail's own
// programs know no such lock.
func (s *Store) lockControl(ctx context.Context) (*safefs.Dir, error) {
	control, err := s.controlDir()
	if err != nil {
		return nil, err
	}
	if err := s.lockDir(ctx, control); err != nil {
		control.Close()
		return nil, err
	}
	return control, nil
}
