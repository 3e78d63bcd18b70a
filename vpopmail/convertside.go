//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// logins carries the last logins. One that the target cannot keep is no reason
// to stop.
func (c *conversion) logins(ctx context.Context) error {
	if !c.from.p.AuthLogging || !c.to.p.AuthLogging || c.from.keepsLogins() == c.to.keepsLogins() {
		return nil
	}
	for i := range c.list {
		u := &c.list[i]
		l, ok, err := c.from.LastLogin(ctx, c.d, u)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		cur, there, err := c.to.LastLogin(ctx, c.d, u)
		if err != nil {
			return err
		}
		if there && cur.IP == l.IP && cur.Time.Unix() == l.Time.Unix() {
			continue
		}
		err = c.to.SetLastLogin(ctx, c.d, u, l)
		var e *Error
		switch {
		case errors.As(err, &e), errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrNotMounted):
			c.problem("convert.login", "%s@%s: last login is not kept: %v", u.Name, c.d.Name, err)
		case err != nil:
			return err
		default:
			c.res.Logins++
		}
	}
	return nil
}

// aliases makes the aliases that the target lacks.
func (c *conversion) aliases(ctx context.Context) error {
	if !c.o.Aliases || (c.from.aliasKeeper() == nil) == (c.to.aliasKeeper() == nil) {
		return nil
	}
	for a, err := range c.from.Aliases(ctx, c.d.Name) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return err
		}
		if err != nil {
			c.problem("convert.alias", "%v", err)
			continue
		}
		if err := c.alias(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// alias adds the lines that the target lacks. Lines that it cannot hold are no
// reason to stop.
func (c *conversion) alias(ctx context.Context, a Alias) error {
	addr := a.Name + "@" + c.d.Name
	cur, err := c.to.Alias(ctx, addr)
	if err == nil && slices.Equal(cur, a.Lines) {
		return nil
	}
	if err == nil && (len(cur) > len(a.Lines) || !slices.Equal(cur, a.Lines[:len(cur)])) {
		c.problem("convert.alias", "%s: the target has another one", addr)
		return nil
	}
	for _, line := range a.Lines[len(cur):] {
		if err == nil {
			err = c.to.AddAlias(ctx, addr, line)
		}
		var e *Error
		if errors.As(err, &e) || errors.Is(err, ErrAliasExists) {
			c.problem("convert.alias", "%s: %v", addr, err)
			err = nil
		}
	}
	if err == nil {
		c.res.Aliases++
	}
	return err
}

// limits carries the limits of the domain's own.
func (c *conversion) limits(ctx context.Context) error {
	if !c.o.Limits || (c.from.limitsKeeper() == nil) == (c.to.limitsKeeper() == nil) {
		return nil
	}
	l, own, err := c.from.Limits(ctx, c.d.Name)
	if err != nil || !own {
		return err
	}
	if cur, own, err := c.to.Limits(ctx, c.d.Name); err != nil || own && cur == l {
		return err
	}
	c.res.Limits = true
	return c.to.SetLimits(ctx, c.d.Name, l)
}

// convertCount carries the number of domains of vpopmail's home.
func (s *Store) convertCount(ctx context.Context, to *Store) error {
	from, k := s.domainKeeper(), to.domainKeeper()
	if (from == nil) == (k == nil) {
		return nil
	}
	return s.editPending(ctx, func(top *safefs.Dir, _ *pendingNotes) error {
		old, ok, err := readFile(top, ".dir-control")
		if err != nil {
			return err
		}
		if from != nil {
			c, err := from.DomainCounter(ctx, s.p.UID)
			if err != nil || ok && string(old) == string(c.Bytes()) {
				return err
			}
			return top.WriteFile(".dir-control", safefs.Replacement{Mode: 0o600, Owner: s.owner(s.p.UID, s.p.GID), Temp: tempSide}, c.Bytes())
		}
		if !ok {
			return nil
		}
		c, err := ParseDirControl(old)
		if err != nil {
			return fmt.Errorf("%s/.dir-control: %w", s.p.domainsPath(s.p.Home), err)
		}
		if fresh := NewDirControl(); c.Level < 2 {
			c.Start[2], c.End[2], c.Mod[2], c.Index[2] = fresh.Start[2], fresh.End[2], fresh.Mod[2], fresh.Index[2]
		}
		return k.SetDomainCounter(ctx, s.p.UID, c)
	})
}
