//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// makeDomain makes a domain's directory: first the note, durably, then the
// directory with .qmail-default, the counter, what a database needs, and the
// note again. A table that was made for a domain that is then taken back stays:
// it may be older than the attempt.
func (s *Store) makeDomain(ctx context.Context, top *safefs.Dir, notes *pendingNotes, m *newDomain) error {
	if err := s.writePending(top, notes); err != nil {
		return err
	}
	parent, err := s.makeParents(m)
	if err != nil {
		return err
	}
	defer parent.Close()
	dir, made, err := parent.Mkdir(string(m.note.Name), 0o700, m.owner)
	if err != nil {
		return err
	}
	defer dir.Close()
	if !made {
		return &Error{Domain: string(m.note.Name), Err: ErrDomainDir}
	}
	rep := safefs.Replacement{Mode: 0o600, Owner: m.owner, Temp: tempPrefix + "_default"}
	if err := dir.WriteFile(".qmail-default", rep, []byte(m.deflt)); err != nil {
		return err
	}
	if err := parent.Sync(); err != nil {
		return err
	}
	if m.counter != "" {
		if err := s.writeCounter(&m.note, &m.note.Side.After); err != nil {
			return err
		}
	}
	if k := s.domainKeeper(); k != nil {
		if err := k.SetDomainCounter(ctx, m.note.UID, m.note.Row.After); err != nil {
			return err
		}
		if err := k.MakeDomain(ctx, m.note.domain()); err != nil {
			return err
		}
	}
	notes.Domains[len(notes.Domains)-1].Made = true
	m.note.Made = true
	return s.writePending(top, notes)
}

// makeParents opens the directory that a new domain's lies in, and makes what
// is missing of BASE/domains/HASH.
func (s *Store) makeParents(m *newDomain) (*safefs.Dir, error) {
	// The hash part is what stands behind BASE/domains; it has no more than
	// two levels, and a level that exists is opened as it is.
	at := m.parent
	var missing []string
	for {
		d, err := s.openPath(at)
		if err == nil {
			return mkdirs(d, missing, m.owner)
		}
		i := strings.LastIndexByte(at, '/')
		if !errors.Is(err, fs.ErrNotExist) || i <= 0 {
			return nil, err
		}
		missing = append(missing, at[i+1:])
		at = at[:i]
		if len(missing) > 4 {
			return nil, err
		}
	}
}

// mkdirs makes the parts, which come innermost first, below d, which it
// closes.
func mkdirs(d *safefs.Dir, parts []string, o safefs.Owner) (*safefs.Dir, error) {
	for _, part := range slices.Backward(parts) {
		if part == "" {
			continue
		}
		next, made, err := d.Mkdir(part, 0o700, o)
		if err == nil && made {
			err = d.Sync()
		}
		d.Close()
		if err != nil {
			if next != nil {
				next.Close()
			}
			return nil, err
		}
		d = next
	}
	return d, nil
}

// writeCounter puts the .dir-control of the domains in place, or takes it away.
func (s *Store) writeCounter(n *pendingNote, to *text) error {
	dir, err := s.openPath(string(n.Counter))
	if errors.Is(err, fs.ErrNotExist) && to != nil {
		home := strings.TrimSuffix(string(n.Counter), "/"+s.p.DomainsDir)
		dir, err = s.makeDomainsDir(home, n.UID, n.GID)
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if to == nil {
		return ignoreMissing(dir.Remove(".dir-control"))
	}
	rep := safefs.Replacement{Mode: 0o600, Owner: s.owner(n.UID, n.GID), Temp: tempSide}
	return dir.WriteFile(".dir-control", rep, []byte(*to))
}

// takeBack removes what makeDomain left of domains that did not get complete,
// and its unfinished files.
func (s *Store) takeBack(ctx context.Context, top *safefs.Dir, notes *pendingNotes) error {
	for _, name := range []string{tempSide, tempPrefix + "_pending"} {
		if _, err := top.Lstat(name); err == nil {
			if err := ignoreMissing(top.Remove(name)); err != nil {
				return err
			}
		}
	}
	for i := len(notes.Domains) - 1; i >= 0; i-- {
		n := &notes.Domains[i]
		if n.Made {
			continue
		}
		if err := s.unmakeDomain(ctx, n); err != nil {
			return err
		}
		notes.Domains = slices.Delete(notes.Domains, i, i+1)
		if err := s.writePending(top, notes); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) unmakeDomain(ctx context.Context, n *pendingNote) error {
	if k := s.domainKeeper(); k != nil && n.Row != nil {
		c, err := k.DomainCounter(ctx, n.UID)
		if err == nil && c == n.Row.After {
			err = k.SetDomainCounter(ctx, n.UID, n.Row.Before)
		}
		if err != nil {
			return err
		}
	}
	if n.Side != nil {
		dir, err := s.openPath(string(n.Counter))
		if err == nil {
			var cur []byte
			var ok bool
			cur, ok, err = readFile(dir, ".dir-control")
			if _, e := dir.Lstat(tempSide); err == nil && e == nil {
				err = dir.Remove(tempSide)
			}
			dir.Close()
			if err == nil && ok && string(cur) == string(n.Side.After) {
				err = s.writeCounter(n, n.Side.Before)
			}
		}
		if ignoreMissing(err) != nil {
			return err
		}
	}
	// BASE/domains/HASH/NAME: what is empty of HASH/NAME goes.
	mark := "/" + s.p.DomainsDir + "/"
	i := strings.Index(string(n.Dir), mark)
	if i < 0 {
		return nil
	}
	base, err := s.openPath(string(n.Dir)[:i+len(mark)-1])
	if err != nil {
		return ignoreMissing(err)
	}
	defer base.Close()
	rel := string(n.Dir)[i+len(mark):]
	if dir, err := base.Walk(rel); err == nil {
		defer dir.Close()
		for _, name := range []string{".qmail-default", tempPrefix + "_default"} {
			if err := ignoreMissing(dir.Remove(name)); err != nil {
				return err
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return removeEmpty(base, rel)
}

// dropPending takes names out of the note of prepared domains.
func (s *Store) dropPending(ctx context.Context, names []string) error {
	found := false
	for _, n := range names {
		d, err := s.pendingDomain(n)
		if err != nil {
			return err
		}
		found = found || d != nil
	}
	if !found {
		return nil
	}
	return s.editPending(ctx, func(top *safefs.Dir, n *pendingNotes) error {
		n.Domains = slices.DeleteFunc(n.Domains, func(d pendingNote) bool { return slices.Contains(names, string(d.Name)) })
		return s.writePending(top, n)
	})
}

// notes reads the note beside the domains; none is an empty one.
func (s *Store) notes() (*pendingNotes, error) {
	top, err := safefs.OpenDir(s.home, s.p.DomainsDir, s.o.hook)
	if errors.Is(err, fs.ErrNotExist) {
		return &pendingNotes{Version: 1}, nil
	}
	if err != nil {
		return nil, err
	}
	defer top.Close()
	return readPending(top)
}

// pendingDomain looks a domain up among the prepared ones; none is nil.
func (s *Store) pendingDomain(name string) (*Domain, error) {
	notes, err := s.notes()
	if err != nil {
		return nil, err
	}
	if i := notes.find(name); i >= 0 && notes.Domains[i].Made {
		return notes.Domains[i].domain(), nil
	}
	return nil, nil
}
