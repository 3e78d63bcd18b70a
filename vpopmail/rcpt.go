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
	more, compile, err := g.splitRcpt(control)
	if err != nil {
		return err
	}
	if len(more) < len(g.domains) {
		err := g.withLock(ctx, control, "rcpthosts", func(f *lineFile) bool {
			if !f.exists {
				g.res.Problems = append(g.res.Problems, at(problem("control.rcpthosts-made", qmailkit.Warning,
					"there was none, so that qmail-smtpd took mail for any domain; now it takes these only"), "control/rcpthosts"))
			}
			for i, d := range g.domains {
				if _, isMore := more[i]; !isMore && (g.fresh[i] || !f.has(d.Name)) {
					g.insert(f, "control/rcpthosts", d.Name)
				}
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	if len(more) == 0 {
		return nil
	}
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
	for i, d := range g.domains {
		if _, isMore := more[i]; isMore && (g.fresh[i] || !f.has(d.Name)) {
			g.insert(f, "control/morercpthosts", d.Name)
		}
	}
	if g.dry {
		return nil
	}
	if err := g.s.replace(control, "control/morercpthosts", f.exists, before, f.bytes()); err != nil || !compile {
		return err
	}
	var db memFile
	if err := qmailcontrol.WriteMorercpthosts(&db, bytes.NewReader(f.bytes())); err != nil {
		return err
	}
	return g.s.replaceDB(control, "control/morercpthosts.cdb", db.b)
}

// splitRcpt says which domains belong into morercpthosts, and whether that is
// to be compiled. A domain that is in one of the files stays there.
func (g *goLive) splitRcpt(control *safefs.Dir) (more map[int]struct{}, compile bool, err error) {
	r, err := readLines(control, "rcpthosts", false)
	if err != nil {
		return nil, false, err
	}
	m, err := readLines(control, "morercpthosts", false)
	if err != nil {
		return nil, false, err
	}
	more = map[int]struct{}{}
	count := len(r.lines)
	for i, d := range g.domains {
		inR, inM := r.has(d.Name), m.has(d.Name)
		switch {
		case !g.fresh[i] && inR:
			continue
		case !g.fresh[i] && inM, count >= rcptLines:
			more[i] = struct{}{}
			compile = compile || !g.lazy[i]
		default:
			count++
		}
	}
	return more, compile, nil
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
