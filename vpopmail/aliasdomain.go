//go:build unix

package vpopmail

import (
	"context"
	"errors"
)

// AddAliasDomain does the job of vaddaliasdomain: one of the two names is a
// domain, the other becomes its alias. If both exist the error matches
// ErrDomainExists, if neither does ErrNeitherExists. One that was cut short is
// completed. See GoLive for hup.
func (s *Store) AddAliasDomain(ctx context.Context, one, other string, hup func(context.Context) error) (*LiveResult, error) {
	for _, n := range []string{one, other} {
		if _, err := s.p.AliasDomain(n); err != nil {
			return nil, err
		}
	}
	a, err := s.known(ctx, one)
	if err != nil {
		return nil, err
	}
	b, err := s.known(ctx, other)
	if err != nil {
		return nil, err
	}
	switch {
	case a != nil && b != nil:
		return s.completeAlias(ctx, a, b, hup)
	case b != nil:
		one, other = other, one
	case a == nil:
		return nil, &neitherError{one, other}
	}
	return s.GoLive(ctx, []Live{{Name: other, AliasOf: one}}, hup)
}

// completeAlias ends what an interruption has left: of the two domains one is an
// alias of the other, and qmail's files lack a line of it. Otherwise both exist.
func (s *Store) completeAlias(ctx context.Context, one, other *Domain, hup func(context.Context) error) (*LiveResult, error) {
	exists := &Error{Domain: other.Name, Err: ErrDomainExists}
	if one.Alias() {
		one, other = other, one
	}
	if one.Alias() || other.Real != one.Name || other.Name == one.Name {
		return nil, exists
	}
	list := []Live{{Name: other.Name, AliasOf: one.Name}}
	plan, err := s.PlanLive(ctx, list)
	if err != nil {
		return nil, err
	}
	if len(plan) == 0 {
		return nil, exists
	}
	// Whether qmail-send was told nobody knows; it has to be before rcpthosts
	// names the alias.
	if hup != nil {
		if err := hup(ctx); err != nil {
			return nil, err
		}
	}
	return s.GoLive(ctx, list, hup)
}

func (s *Store) known(ctx context.Context, name string) (*Domain, error) {
	d, err := s.Domain(ctx, name)
	if errors.Is(err, ErrNoDomain) {
		return nil, nil
	}
	return d, err
}
