//go:build unix

package vpopmail

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// RemoveUsers takes records back that were made and that nobody changed since:
// each is removed if it still is, field for field, what was stored. It returns
// those that were removed. One rewrite serves all. The users' directories are
// left to the caller, who knows what is in them; the domain's counter goes down
// as it does for vdeluser.
func (s *Store) RemoveUsers(ctx context.Context, domain string, stored []User) (removed []User, err error) {
	d, err := s.Domain(ctx, domain)
	if err != nil {
		return nil, err
	}
	rec, err := s.edit(ctx, d)
	if err != nil {
		return nil, err
	}
	defer rec.Close()
	for _, u := range stored {
		if cur, ok := rec.Get(u.Name); ok && cur == u && rec.Remove(u.Name) {
			removed = append(removed, u)
		}
	}
	if err := lookupError(rec); err != nil {
		return nil, err
	}
	if len(removed) == 0 {
		return nil, nil
	}
	if err := s.countDown(rec, len(removed)); err != nil {
		return nil, err
	}
	return removed, rec.Commit(ctx, CommitSteps{})
}

// Revert takes changes of qmail's files back, in the order that loses no mail:
// rcpthosts and morercpthosts first, then virtualdomains and locals, qmail-send
// is told, users/assign last. A line that was added is removed if it is there
// still, once; a line that was removed is put back if it is not there. See
// GoLive for hup. It can be run again.
func (s *Store) Revert(ctx context.Context, changes []Change, hup func(context.Context) error) error {
	if len(changes) == 0 {
		return nil
	}
	control, err := s.controlDir()
	if err != nil {
		return err
	}
	defer control.Close()
	for _, name := range []string{"rcpthosts", "morercpthosts"} {
		if _, err := s.revertFile(ctx, control, "control/"+name, changes); err != nil {
			return err
		}
	}
	told := false
	for _, name := range []string{"virtualdomains", "locals"} {
		changed, err := s.revertFile(ctx, control, "control/"+name, changes)
		if err != nil {
			return err
		}
		told = told || changed
	}
	if told && hup != nil {
		if err := hup(ctx); err != nil {
			return err
		}
	}
	dir, err := s.usersDir(true)
	if err != nil {
		return err
	}
	defer dir.Close()
	_, err = s.revertFile(ctx, dir, "users/assign", changes)
	return err
}

// revertFile takes back the changes of one file and compiles what belongs to
// it.
func (s *Store) revertFile(ctx context.Context, dir *safefs.Dir, file string, changes []Change) (bool, error) {
	base := file[strings.LastIndexByte(file, '/')+1:]
	mine := slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return c.File != file })
	if len(mine) == 0 {
		return false, nil
	}
	unlock, err := s.lock(ctx, dir, base+".lock", safefs.Keep)
	if err != nil {
		return false, err
	}
	defer unlock()
	f, err := readLines(dir, base, base == "assign")
	if err != nil {
		return false, err
	}
	before := f.bytes()
	for _, c := range slices.Backward(mine) {
		if c.Added {
			f.remove(1, func(l string) bool { return l == c.Line })
		} else if !f.has(c.Line) {
			f.append(c.Line)
		}
	}
	if err := s.replace(dir, file, f.exists, before, f.bytes()); err != nil {
		return false, err
	}
	switch file {
	case "users/assign":
		db, err := f.compile()
		if err != nil {
			return false, err
		}
		if err := s.replaceDB(dir, "users/cdb", db); err != nil {
			return false, err
		}
	case "control/morercpthosts":
		var db memFile
		if err := qmailcontrol.WriteMorercpthosts(&db, bytes.NewReader(f.bytes())); err != nil {
			return false, err
		}
		if err := s.replaceDB(dir, "control/morercpthosts.cdb", db.b); err != nil {
			return false, err
		}
	}
	return !bytes.Equal(before, f.bytes()), nil
}

// append puts a line at the end.
func (f *lineFile) append(line string) {
	f.lines, f.noLF = append(f.lines, line), false
}

// ForgetDomain ends the undoing of a domain whose lines were reverted or that
// never went live: it is taken out of the note of prepared domains, and
// vpopmail's home counts one domain less, so call it once. The directory is the
// caller's to remove; what a database holds of the domain is removed. A domain
// that is live is not touched and is ErrDomainExists.
func (s *Store) ForgetDomain(ctx context.Context, name string) error {
	n, err := s.p.domainBytes(name)
	if err != nil {
		return err
	}
	live, err := s.liveDomain(n)
	if err != nil {
		return err
	}
	if live != nil {
		return &Error{Domain: name, Err: ErrDomainExists}
	}
	if k := s.domainKeeper(); k != nil {
		if err := k.RemoveDomain(ctx, &Domain{Name: n, Real: n}); err != nil {
			return err
		}
	}
	return s.editPending(ctx, func(top *safefs.Dir, notes *pendingNotes) error {
		if err := s.uncount(ctx, top); err != nil {
			return err
		}
		notes.Domains = slices.DeleteFunc(notes.Domains, func(d pendingNote) bool { return string(d.Name) == n })
		return s.writePending(top, notes)
	})
}

// uncount takes one domain off the counter of vpopmail's home.
func (s *Store) uncount(ctx context.Context, top *safefs.Dir) error {
	if k := s.domainKeeper(); k != nil {
		c, err := k.DomainCounter(ctx, s.p.UID)
		if err != nil {
			return err
		}
		c.Users -= min(c.Users, 1)
		return k.SetDomainCounter(ctx, s.p.UID, c)
	}
	b, ok, err := readFile(top, ".dir-control")
	if err != nil || !ok {
		return err
	}
	c, err := ParseDirControl(b)
	if err != nil {
		return fmt.Errorf("%s/.dir-control: %w", top.Name(), err)
	}
	c.Users -= min(c.Users, 1)
	rep := safefs.Replacement{Mode: 0o600, Owner: s.owner(s.p.UID, s.p.GID), Inherit: true, Temp: tempSide}
	return top.WriteFile(".dir-control", rep, c.Bytes())
}
