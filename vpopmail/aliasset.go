//go:build unix

package vpopmail

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// SetAlias gives an alias exactly these lines, in one step: mail that arrives
// meanwhile goes where the old lines say, or where the new ones do, never
// nowhere and never to a part of them. No line at all is RemoveAlias. What
// AddAlias refuses is refused for every line before anything is changed, but a
// .qmail file may have a longer name, and longer lines, than valias takes; lines
// that are there already are no error.
func (s *Store) SetAlias(ctx context.Context, addr string, lines []string) error {
	if len(lines) == 0 {
		_, err := s.RemoveAlias(ctx, addr)
		return err
	}
	name, d, err := s.aliasAddress(ctx, addr)
	if err != nil {
		return err
	}
	k, limit := s.aliasKeeper(), 0
	if k == nil {
		limit = maxDotLine
	}
	for _, l := range lines {
		if err := checkAliasLine(name, l, limit); err != nil {
			return err
		}
	}
	if k == nil && name == "default" {
		return &Error{Domain: d.Name, User: name, Err: fmt.Errorf("%w: %s is the catch-all", ErrBadAlias, aliasFile(name))}
	}
	dir, err := s.openDomain(d)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := s.lockDir(ctx, dir); err != nil {
		return err
	}
	old, err := s.Alias(ctx, addr)
	if err != nil || slices.Equal(old, lines) {
		return err
	}
	if k != nil {
		err = k.SetAlias(ctx, d, name, lines)
	} else {
		rep := safefs.Replacement{Mode: 0o600, Owner: s.owner(d.UID, d.GID), Temp: tempAlias}
		err = dir.WriteFile(aliasFile(name), rep, []byte(strings.Join(lines, "\n")+"\n"))
	}
	if err != nil {
		return err
	}
	full := name + "@" + s.aliasDomain(d)
	if len(old) > 0 {
		if err := s.changed(ctx, "valias_delete", full, ""); err != nil {
			return err
		}
	}
	for _, l := range lines {
		if err := s.changed(ctx, "valias_insert", full, l); err != nil {
			return err
		}
	}
	return nil
}
