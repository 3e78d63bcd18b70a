//go:build unix

package vpopmail

import (
	"context"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// need says how many lines of its own a domain has when it is live: one, or
// one more than there were before, because vpopmail adds its line whether it is
// there or not (vpopmail.c:update_file).
type need struct{ virtual, rcpt int }

// count finds out what each domain needs. For one that is in users/assign
// already the lines before are those noted, so that an interruption between
// the files does not add a line twice. Alias domains have no note: what is
// there then is taken for their own.
func (g *goLive) count(ctx context.Context, control *safefs.Dir) error {
	g.need = make([]need, len(g.domains))
	assign := &lineFile{}
	dir, err := g.s.usersDir(false)
	if err == nil {
		assign, err = readLines(dir, "assign", true)
		dir.Close()
	}
	if ignoreMissing(err) != nil {
		return err
	}
	var files [3]*lineFile
	for i, name := range []string{"virtualdomains", "rcpthosts", "morercpthosts"} {
		if files[i], err = readLines(control, name, false); err != nil {
			return err
		}
	}
	found := map[string]need{}
	for i, d := range g.domains {
		g.need[i] = need{1, 1}
		if assign.has(g.lines[i]) {
			continue
		}
		before := need{files[0].count(d.Name + ":" + d.Name), files[1].count(d.Name) + files[2].count(d.Name)}
		g.need[i] = need{before.virtual + 1, before.rcpt + 1}
		if before != (need{}) && d.Pending {
			found[d.Name] = before
		}
	}
	return g.noteCounts(ctx, found)
}

// noteCounts keeps the lines found before a domain went live, and fetches those
// that were kept.
func (g *goLive) noteCounts(ctx context.Context, found map[string]need) error {
	if len(g.pending) == 0 || g.dry {
		return nil
	}
	return g.s.editPending(ctx, func(top *safefs.Dir, notes *pendingNotes) error {
		for i, d := range g.domains {
			at := notes.find(d.Name)
			if at < 0 {
				continue
			}
			n := &notes.Domains[at]
			if before, ok := found[d.Name]; ok {
				n.Virtual, n.Rcpt = before.virtual, before.rcpt
			}
			g.need[i] = need{n.Virtual + 1, n.Rcpt + 1}
		}
		if len(found) == 0 {
			return nil
		}
		return g.s.writePending(top, notes)
	})
}
