//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"io/fs"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

const (
	limitsName        = ".qmailadmin-limits"
	defaultLimitsName = "vlimits.default" // in etc
	tempLimits        = tempPrefix + "_limits"
)

// limitsKeeper is the Backend where it keeps limits; nil where they are files.
func (s *Store) limitsKeeper() LimitsKeeper {
	if !s.p.SQLLimits {
		return nil
	}
	k, _ := s.backend.(LimitsKeeper)
	return k
}

// realDomain is the domain itself, without the name of an alias by which it was
// asked for.
func realDomain(d *Domain) *Domain {
	r := *d
	r.Name = r.Real
	return &r
}

// Limits returns the limits of a domain, which may be an alias or pending: its
// own, or else those of the installation (see DefaultLimits). own says which.
// vpopmail gives the file to the domain's owner whenever root reads it; this
// changes nothing.
func (s *Store) Limits(ctx context.Context, domain string) (l Limits, own bool, err error) {
	d, err := s.Domain(ctx, domain)
	if err != nil {
		return NoLimits(), false, err
	}
	return s.limits(ctx, d)
}

func (s *Store) limits(ctx context.Context, d *Domain) (l Limits, own bool, err error) {
	if k := s.limitsKeeper(); k != nil {
		l, own, err = k.Limits(ctx, realDomain(d))
	} else {
		l, own, err = s.fileLimits(d)
	}
	if err == nil && !own {
		l, err = s.DefaultLimits(ctx)
	}
	return l, own, err
}

func (s *Store) fileLimits(d *Domain) (Limits, bool, error) {
	dir, err := s.openDomain(d)
	if err != nil {
		return NoLimits(), false, err
	}
	defer dir.Close()
	return readLimitsFile(dir, limitsName)
}

func readLimitsFile(dir *safefs.Dir, name string) (Limits, bool, error) {
	b, ok, err := readFile(dir, name)
	if err != nil || !ok {
		return NoLimits(), false, err
	}
	return ParseLimits(b), true, nil
}

// DefaultLimits returns the limits of domains that have none of their own:
// etc/vlimits.default. Where that is missing vpopmail adds nobody to such a
// domain; here there is no limit then.
func (s *Store) DefaultLimits(ctx context.Context) (Limits, error) {
	if err := context.Cause(ctx); err != nil {
		return NoLimits(), err
	}
	etc, err := safefs.OpenDir(s.home, "etc", s.o.hook)
	if err != nil {
		return NoLimits(), ignoreMissing(err)
	}
	defer etc.Close()
	l, _, err := readLimitsFile(etc, defaultLimitsName)
	return l, err
}

// SetLimits gives a domain limits of its own, as vmoddomlimits does
// (vlimits.c:vset_limits): the whole file is written anew, for the domain's
// owner alone. ErrLimit is a number that the file cannot hold.
func (s *Store) SetLimits(ctx context.Context, domain string, l Limits) error {
	return s.EditLimits(ctx, domain, func(cur *Limits) error {
		*cur = l
		return nil
	})
}

// EditLimits lets edit change the limits that a domain has now, and stores
// them as SetLimits does. What others do with it in the meantime, by this
// package, waits; an error of edit is returned and nothing is stored.
func (s *Store) EditLimits(ctx context.Context, domain string, edit func(*Limits) error) error {
	d, err := s.Domain(ctx, domain)
	if err != nil {
		return err
	}
	dir, err := s.openDomain(d)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := s.lockDir(ctx, dir); err != nil {
		return err
	}
	l, _, err := s.limits(ctx, d)
	if err != nil {
		return err
	}
	if err := edit(&l); err != nil {
		return err
	}
	if err := l.check(d.Name); err != nil {
		return err
	}
	if k := s.limitsKeeper(); k != nil {
		return k.SetLimits(ctx, realDomain(d), l)
	}
	rep := safefs.Replacement{Mode: 0o600, Owner: s.owner(d.UID, d.GID), Temp: tempLimits}
	return dir.WriteFile(limitsName, rep, l.Bytes())
}

// RemoveLimits takes a domain's own limits away (vmoddomlimits -D). That it has
// none is no error.
func (s *Store) RemoveLimits(ctx context.Context, domain string) error {
	d, err := s.Domain(ctx, domain)
	if err != nil {
		return err
	}
	if k := s.limitsKeeper(); k != nil {
		return k.RemoveLimits(ctx, realDomain(d))
	}
	dir, err := s.openDomain(d)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := s.lockDir(ctx, dir); err != nil {
		return err
	}
	if err := ignoreMissing(dir.Remove(limitsName)); err != nil {
		return err
	}
	return dir.Sync()
}

// EditDefaultLimits is EditLimits for the limits of the installation
// (vmoddomlimits -d). The file keeps its mode and owner; a new one is readable
// to all. vpopmail refuses to make a new one.
func (s *Store) EditDefaultLimits(ctx context.Context, edit func(*Limits) error) error {
	etc, err := safefs.OpenDir(s.home, "etc", s.o.hook)
	if errors.Is(err, fs.ErrNotExist) {
		var top *safefs.Dir
		if top, err = safefs.OpenDir(s.home, ".", s.o.hook); err == nil {
			etc, err = mkdirWhole(top, "etc", 0o755, s.owner(s.p.UID, s.p.GID))
			top.Close()
		}
	}
	if err != nil {
		return err
	}
	defer etc.Close()
	if err := s.lockDir(ctx, etc); err != nil {
		return err
	}
	l, _, err := readLimitsFile(etc, defaultLimitsName)
	if err != nil {
		return err
	}
	if err := edit(&l); err != nil {
		return err
	}
	if err := l.check(""); err != nil {
		return err
	}
	rep := safefs.Replacement{Mode: 0o644, Owner: s.owner(s.p.UID, s.p.GID), Inherit: true, Temp: tempLimits}
	return etc.WriteFile(defaultLimitsName, rep, l.Bytes())
}
