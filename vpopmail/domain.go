//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A DomainSpec is a domain as a caller wants it: what vadddomain is told.
type DomainSpec struct {
	Name string // any case
	// Postmaster is the password and quota (-q) of the account postmaster.
	// Its name is not looked at; an empty Gecos is "Postmaster". One that says
	// nothing about a password gets none that works: NoLogin.
	Postmaster NewUser
	// CatchAll (-e) gets the mail for unknown users: an address, or a user of
	// this domain. Empty is what the profile says.
	CatchAll string

	// UID and GID (-u, -i, -g) are the domain's own; nil is the profile's.
	UID, GID *int
	// Base (-d, and the home of -u) is the directory that holds "domains";
	// empty is vpopmail's home. It must lie under one of Options.Mounts.
	Base string
	// OwnerHome is the home directory of UID in the system's passwd. For a UID
	// that is not the profile's the domains are counted there. Empty: that
	// user has none, and nothing is counted.
	OwnerHome string

	// Optimize (-O) leaves morercpthosts.cdb as it is and qmail-send unsignalled;
	// a later domain without it does both.
	Optimize bool
}

// A DomainResult is what became of a domain.
type DomainResult struct {
	Domain *Domain
	// Existing says that the domain was live before and was not touched.
	Existing bool
	// Postmaster is the account as PutUsers reports it.
	Postmaster UserResult
	Owner      Owner // who got the tree
	Changes    []Change
	Problems   []qmailkit.Problem
}

// PrepareDomain makes everything of a domain that nobody sees from outside: its
// directory, .qmail-default, the account postmaster. Users and their mail can
// be added then, before GoLive tells qmail.
//
// It can be run again at any time and after any interruption. A domain that is
// prepared already is completed and otherwise left alone, and one that is live
// is reported as Existing.
func (s *Store) PrepareDomain(ctx context.Context, spec DomainSpec) (*DomainResult, error) {
	name, err := s.p.Domain(spec.Name)
	if err != nil {
		return nil, err
	}
	res := &DomainResult{}
	d, err := s.prepare(ctx, name, &spec)
	if err != nil {
		return nil, err
	}
	res.Domain, res.Existing = d, !d.Pending
	res.Owner = s.Owner(d.UID, d.GID)
	if res.Existing {
		return res, nil
	}
	pm := spec.Postmaster
	pm.Name = "postmaster"
	if pm.Gecos == "" {
		pm.Gecos = "Postmaster"
	}
	if pm.Hash == "" && pm.Clear == "" && !pm.NoPassword {
		pm.Hash = NoLogin
	}
	users, err := s.put(ctx, name, []Put{{NewUser: pm}}, true)
	if err != nil {
		return nil, err
	}
	res.Postmaster = users.Users[0]
	res.Problems = users.Problems
	if e := res.Postmaster.Err; errors.Is(e, ErrUserExists) {
		u, err := s.backend.User(ctx, d, "postmaster")
		if err != nil {
			return nil, err
		}
		res.Postmaster = UserResult{Name: "postmaster", Outcome: Same, User: u}
	} else if e != nil {
		return nil, e
	}
	return res, nil
}

// AddDomain does the whole job of vadddomain: PrepareDomain and GoLive. A domain
// that is live is ErrDomainExists; one that an interrupted AddDomain has left
// half made is completed. See GoLive for hup.
func (s *Store) AddDomain(ctx context.Context, spec DomainSpec, hup func(context.Context) error) (*DomainResult, error) {
	res, err := s.PrepareDomain(ctx, spec)
	if err != nil {
		return nil, err
	}
	if res.Existing {
		return nil, &Error{Domain: spec.Name, Err: ErrDomainExists}
	}
	live, err := s.GoLive(ctx, []Live{{Name: res.Domain.Name, Optimize: spec.Optimize}}, hup)
	if live == nil {
		return nil, err
	}
	res.Domain.Pending = false
	res.Changes = live.Changes
	res.Problems = append(res.Problems, live.Problems...)
	return res, err
}

// domainsTop opens the directory beside whose domains the note lies.
func (s *Store) domainsTop() (*safefs.Dir, error) {
	d, err := safefs.OpenDir(s.home, s.p.DomainsDir, s.o.hook)
	if !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	return s.makeDomainsDir(s.p.Home, s.p.UID, s.p.GID)
}

// makeDomainsDir makes HOME/domains.
func (s *Store) makeDomainsDir(home string, uid, gid int) (*safefs.Dir, error) {
	top, err := s.openPath(home)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	return mkdirWhole(top, s.p.DomainsDir, 0o700, s.owner(uid, gid))
}

func readPending(top *safefs.Dir) (*pendingNotes, error) {
	b, _, err := readFile(top, pendingName)
	if err != nil {
		return nil, err
	}
	n, err := parsePending(b)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", top.Name(), pendingName, err)
	}
	return n, nil
}

// writePending writes the note, or removes it when nothing is pending.
func (s *Store) writePending(top *safefs.Dir, n *pendingNotes) error {
	if len(n.Domains) == 0 && len(n.Leaving) == 0 {
		err := top.Remove(pendingName)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return top.Sync()
	}
	b, err := noteBytes(n)
	if err != nil {
		return err
	}
	return top.WriteFile(pendingName, safefs.Replacement{Mode: 0o600, Owner: s.owner(s.p.UID, s.p.GID), Temp: tempPrefix + "_pending"}, b)
}

// editPending changes the note under the lock of the domains' directory, after
// taking back what an interrupted preparation has left.
func (s *Store) editPending(ctx context.Context, edit func(top *safefs.Dir, n *pendingNotes) error) error {
	top, err := s.domainsTop()
	if err != nil {
		return err
	}
	defer top.Close()
	if err := s.lockDir(ctx, top); err != nil {
		return err
	}
	notes, err := readPending(top)
	if err != nil {
		return err
	}
	if err := s.takeBack(ctx, top, notes); err != nil {
		return err
	}
	return edit(top, notes)
}

// prepare makes the directory of a domain. A domain that exists comes back as
// it is.
func (s *Store) prepare(ctx context.Context, name string, spec *DomainSpec) (*Domain, error) {
	var d *Domain
	err := s.editPending(ctx, func(top *safefs.Dir, notes *pendingNotes) error {
		if notes.leaving(name) != nil {
			return &Error{Domain: name, Err: ErrLeaving}
		}
		if i := notes.find(name); i >= 0 {
			d = notes.Domains[i].domain()
			dir, err := s.openDomain(d)
			if err == nil {
				return dir.Close()
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			// Somebody removed it; it is made anew.
			notes.Domains = slices.Delete(notes.Domains, i, i+1)
			d = nil
		}
		live, err := s.liveDomain(name)
		if err != nil || live != nil {
			d = live
			return err
		}
		m, err := s.planDomain(ctx, name, spec)
		if err != nil {
			return err
		}
		if err := s.checkAssign(); err != nil {
			return err
		}
		notes.Domains = append(notes.Domains, m.note)
		if err := s.makeDomain(ctx, top, notes, m); err != nil {
			return errors.Join(err, s.takeBack(ctx, top, notes))
		}
		d = m.note.domain()
		return nil
	})
	return d, err
}

// checkAssign asks, before anything is made, whether qmail-newu would take
// users/assign.
func (s *Store) checkAssign() error {
	dir, err := s.usersDir(false)
	if err != nil {
		return ignoreMissing(err)
	}
	defer dir.Close()
	f, err := readLines(dir, "assign", true)
	if err != nil {
		return err
	}
	_, err = f.compile()
	return err
}

// newDomain is a domain about to be made.
type newDomain struct {
	note    pendingNote
	parent  string // text of the directory that holds the domain's own
	owner   safefs.Owner
	deflt   string // .qmail-default
	counter string // text of the directory of .dir-control; empty where no file counts
}

// planDomain decides where a new domain goes and checks all that can be
// checked before anything is made.
func (s *Store) planDomain(ctx context.Context, name string, spec *DomainSpec) (*newDomain, error) {
	uid, gid, base := s.p.UID, s.p.GID, s.p.Home
	if spec.UID != nil {
		uid = *spec.UID
	}
	if spec.GID != nil {
		gid = *spec.GID
	}
	if spec.Base != "" {
		base = strings.TrimRight(spec.Base, "/")
	}
	if uid <= 0 || gid < 0 {
		return nil, &Error{Domain: name, Err: fmt.Errorf("uid %d, gid %d: qmail delivers nothing as root", uid, gid)}
	}
	if !strings.HasPrefix(base, "/") || !shellSafe(base) {
		return nil, &Error{Domain: name, Field: "dir", Err: ErrBadByte}
	}
	m := &newDomain{owner: s.owner(uid, gid), parent: s.p.domainsPath(base)}
	m.note = pendingNote{Name: text(name), UID: uid, GID: gid}
	sub, err := s.countDomain(ctx, m, uid, spec.OwnerHome)
	if err != nil {
		return nil, err
	}
	if sub != "" {
		m.parent += "/" + sub
	}
	m.note.Dir = text(m.parent + "/" + name)
	word, err := s.catchAll(spec.Name, spec.CatchAll, string(m.note.Dir))
	if err != nil {
		return nil, err
	}
	m.deflt = fmt.Sprintf("| %s/bin/vdelivermail '' %s\n", s.p.Home, word)
	d := m.note.domain()
	if n := len(assignLine(d)); n > s.p.AssignBuffer {
		return nil, &Error{Domain: name, Field: "domain", Err: fmt.Errorf("%w: the line for users/assign has %d bytes, vpopmail cuts it at %d", ErrTooLong, n, s.p.AssignBuffer)}
	}
	if n := len(d.Dir) + len("/postmaster"); n > s.p.MaxDir {
		return nil, &Error{Domain: name, Field: "dir", Err: fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLong, n, s.p.MaxDir)}
	}
	dir, err := s.openPath(m.parent)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if _, err := dir.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = &Error{Domain: name, Err: ErrDomainDir}
		}
		return nil, err
	}
	return m, nil
}

// countDomain says in which hash directory a new domain lies: the domains of
// one uid are counted in the home of that uid (vpopmail.c:vadddomain).
func (s *Store) countDomain(ctx context.Context, m *newDomain, uid int, ownerHome string) (sub string, err error) {
	if k := s.domainKeeper(); k != nil {
		c, err := k.DomainCounter(ctx, uid)
		if err != nil {
			return "", err
		}
		row := &counterRow{Before: c}
		sub = c.Next()
		row.After = c
		m.note.Row = row
		return sub, nil
	}
	m.counter = s.p.domainsPath(s.p.Home)
	if uid != s.p.UID {
		if ownerHome == "" {
			m.counter = ""
			return "", nil
		}
		m.counter = s.p.domainsPath(strings.TrimRight(ownerHome, "/"))
	}
	c, before := NewDirControl(), []byte(nil)
	dir, err := s.openPath(m.counter)
	had := false
	if err == nil {
		before, had, err = readFile(dir, ".dir-control")
		dir.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if had {
		if c, err = ParseDirControl(before); err != nil {
			return "", fmt.Errorf("%s/.dir-control: %w", m.counter, err)
		}
	}
	sub = c.Next()
	side := sideOf(".dir-control", before, had, c.Bytes())
	m.note.Counter, m.note.Side = text(m.counter), &side
	return sub, nil
}
