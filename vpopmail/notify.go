//go:build unix

package vpopmail

import (
	"context"
	"fmt"
	"slices"
)

// changed calls Options.OnChange when a change is on the disk. subject is the
// domain or address that changed; detail is what goes with it, or empty: the
// real domain of an alias domain, the line of an alias.
//
// vpopmail 5.4 gives its script one argument beside the command, in which the
// two stand together (call_onchange in vpopmail.c); 5.6 gives both, "-" where
// there is no detail, and an empty third one (on_change there).
func (s *Store) changed(ctx context.Context, cmd, subject, detail string) error {
	if s.o.OnChange == nil {
		return nil
	}
	var argv []string
	switch {
	case s.p.Release == Release56 && detail == "":
		argv = []string{cmd, subject, "-", ""}
	case s.p.Release == Release56:
		argv = []string{cmd, subject, detail, ""}
	case detail == "":
		argv = []string{cmd, subject}
	default:
		argv = []string{cmd, subject + onchangeBetween[cmd] + detail}
	}
	if err := s.o.OnChange(ctx, argv); err != nil {
		return fmt.Errorf("vpopmail: the change is made, but OnChange says: %w", err)
	}
	return nil
}

// onchangeBetween parts subject and detail in 5.4.
var onchangeBetween = map[string]string{
	"add_alias_domain":     " ",
	"del_domain":           " alias of ",
	"valias_insert":        " - ",
	"valias_remove":        " - ",
	"valias_delete_domain": " - ",
}

// changedUsers calls OnChange for each of a domain's users.
func (s *Store) changedUsers(ctx context.Context, cmd, domain string, names []string) error {
	if s.o.OnChange == nil {
		return nil
	}
	for _, name := range names {
		if err := s.changed(ctx, cmd, name+"@"+domain, ""); err != nil {
			return err
		}
	}
	return nil
}

// changedLive calls OnChange for the domains that went live: those that were
// prepared, and whatever came into users/assign.
func (g *goLive) changedLive(ctx context.Context) error {
	for i, d := range g.domains {
		is := func(c Change) bool { return c.File == "users/assign" && c.Added && c.Line == g.lines[i] }
		if !d.Pending && !slices.ContainsFunc(g.res.Changes, is) {
			continue
		}
		cmd, detail := "add_domain", ""
		if d.Alias() {
			cmd, detail = "add_alias_domain", d.Real
		}
		if err := g.s.changed(ctx, cmd, d.Name, detail); err != nil {
			return err
		}
	}
	return nil
}
