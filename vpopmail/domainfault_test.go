//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// domainJobs are the jobs that concern domains, aliases and limits.
var domainJobs = []job{
	{"DeleteDomain", func(t *testing.T, h *host) {
		withAliases(t, h)
		if err := putAll(t.Context(), h.open(), "example.com", manyUsers(3)); err != nil {
			t.Fatal(err)
		}
		if err := addDomainOnce(t.Context(), h.open(), "stays.example.org"); err != nil {
			t.Fatal(err)
		}
	}, deleteDomain},
	{"DeleteDomain of an alias", withAliases, func(ctx context.Context, s *Store) error {
		_, err := s.DeleteDomain(ctx, "a1.example.net", nil, told)
		return noneLeft(err)
	}},
	{"DeleteDomain in morercpthosts", func(t *testing.T, h *host) {
		h.write("QMAIL/control/rcpthosts", strings.Repeat("relay.example.net\n", rcptLines))
		withAliases(t, h)
	}, deleteDomain},
	{"DeleteDomain that leaves morercpthosts", func(t *testing.T, h *host) {
		h.write("QMAIL/control/rcpthosts", strings.Repeat("relay.example.net\n", rcptLines-1))
		withAliases(t, h)
		if err := addDomainOnce(t.Context(), h.open(), "stays.example.org"); err != nil {
			t.Fatal(err)
		}
	}, deleteDomain},
	{"DeleteDomain of a prepared domain", func(t *testing.T, h *host) {
		if _, err := h.open().PrepareDomain(t.Context(), testSpec("example.com")); err != nil {
			t.Fatal(err)
		}
	}, deleteDomain},
	{"AddAlias", withDomain, func(ctx context.Context, s *Store) error {
		for _, line := range []string{"joe@example.org", "&jim@example.org"} {
			if err := s.AddAlias(ctx, "first.last@example.com", line); err != nil && !errors.Is(err, ErrAliasExists) {
				return err
			}
		}
		return nil
	}},
	{"RemoveAlias", func(t *testing.T, h *host) {
		withDomain(t, h)
		for _, n := range []string{"one", "two"} {
			if err := h.open().AddAlias(t.Context(), n+"@example.com", "joe@example.org"); err != nil {
				t.Fatal(err)
			}
		}
	}, func(ctx context.Context, s *Store) error {
		_, err := s.RemoveAlias(ctx, "two@example.com")
		_, err2 := s.RemoveAlias(ctx, "one@example.com")
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		if err := s.AddAlias(ctx, "three@example.com", "joe@example.org"); !errors.Is(err, ErrAliasExists) {
			return err
		}
		return nil
	}},
	{"SetLimits", withDomain, func(ctx context.Context, s *Store) error {
		l := NoLimits()
		l.DefaultQuota = 1000
		if err := s.EditDefaultLimits(ctx, func(d *Limits) error { *d = l; return nil }); err != nil {
			return err
		}
		l.MaxAliases = 5
		return s.SetLimits(ctx, "example.com", l)
	}},
	{"RemoveLimits and AddIPAlias", func(t *testing.T, h *host) {
		withDomain(t, h)
		if err := h.open().SetLimits(t.Context(), "example.com", NoLimits()); err != nil {
			t.Fatal(err)
		}
	}, func(ctx context.Context, s *Store) error {
		if err := s.AddIPAlias(ctx, IPAlias{"192.0.2.1", "example.com"}); err != nil {
			return err
		}
		return s.RemoveLimits(ctx, "example.com")
	}},
}

// withAliases makes example.com with two alias domains.
func withAliases(t *testing.T, h *host) {
	withDomain(t, h)
	for _, a := range []string{"a1.example.net", "x"} {
		if _, err := h.open().AddAliasDomain(t.Context(), "example.com", a, told); err != nil {
			t.Fatal(err)
		}
	}
}

func deleteDomain(ctx context.Context, s *Store) error {
	_, err := s.DeleteDomain(ctx, "example.com", &DeleteDomainOptions{Force: true}, told)
	return noneLeft(err)
}

// noneLeft lets a second run find nothing to do.
func noneLeft(err error) error {
	if errors.Is(err, ErrNoDomain) {
		return nil
	}
	return err
}

// TestKillTwiceDelete kills the rerun of a removal as well.
func TestKillTwiceDelete(t *testing.T) {
	j := &domainJobs[0]
	want, steps := j.clean(t)
	for at := 2; at < steps; at += steps / 7 {
		h := newHost(t, DefaultProfile54(), controlBefore)
		j.before(t, h)
		for _, stop := range []int{at, 1, 2, 3, 5, 8, 13, 21} {
			cutShort(h, stop-1, func() error { return j.run(t.Context(), h.open()) })
		}
		if err := j.run(t.Context(), h.open()); err != nil {
			t.Fatal(err)
		}
		compareTrees(t, fmt.Sprint("killed at ", at), want, h.snapshot())
	}
}

// tables is a database in memory: a DomainKeeper whose every statement is a
// step that can fail.
type tables struct {
	domains map[string]bool   // made
	aliases map[string]string // to the real domain
	counts  map[int]DirControl
	early   []string // what was told of a domain while it was live
}

func newTables() *tables {
	return &tables{domains: map[string]bool{}, aliases: map[string]string{}, counts: map[int]DirControl{}}
}

// keeper is files with the tables beside them.
type keeper struct {
	files
	*tables
}

func (k keeper) step(name string) error {
	if h := k.s.o.hook; h != nil {
		return h("row", name)
	}
	return nil
}

func (k keeper) live(name string) bool {
	d, err := k.s.liveDomain(name)
	return err == nil && d != nil
}

func (k keeper) MakeDomain(_ context.Context, d *Domain) error {
	if k.live(d.Name) {
		k.early = append(k.early, "made late: "+d.Name)
	}
	if err := k.step("make"); err != nil {
		return err
	}
	k.domains[d.Name] = true
	return nil
}

func (k keeper) RemoveDomain(_ context.Context, d *Domain) error {
	if k.live(d.Name) {
		k.early = append(k.early, "removed while live: "+d.Name)
	}
	if err := k.step("remove"); err != nil {
		return err
	}
	delete(k.domains, d.Name)
	return nil
}

func (k keeper) SetAliasDomain(_ context.Context, d *Domain) error {
	if err := k.step("alias"); err != nil {
		return err
	}
	k.aliases[d.Name] = d.Real
	return nil
}

func (k keeper) RemoveAliasDomain(_ context.Context, d *Domain) error {
	if err := k.step("unalias"); err != nil {
		return err
	}
	delete(k.aliases, d.Name)
	return nil
}

func (k keeper) DomainCounter(_ context.Context, uid int) (DirControl, error) {
	if err := k.step("count"); err != nil {
		return DirControl{}, err
	}
	c, ok := k.counts[uid]
	if !ok {
		c = NewDirControl()
	}
	return c, nil
}

func (k keeper) SetDomainCounter(_ context.Context, uid int, c DirControl) error {
	if err := k.step("set count"); err != nil {
		return err
	}
	k.counts[uid] = c
	return nil
}

var _ DomainKeeper = keeper{}

// TestDomainKeeper cuts the making and the removal of a domain short at every
// step, where a database counts and knows domains.
func TestDomainKeeper(t *testing.T) {
	p := DefaultProfile56()
	p.SQLAliasDomains = true
	open := func(h *host, db *tables) *Store {
		s := h.open()
		s.backend = keeper{files{s}, db}
		return s
	}
	add := func(ctx context.Context, s *Store) error {
		if err := addDomainOnce(ctx, s, "example.com"); err != nil {
			return err
		}
		_, err := s.GoLive(ctx, []Live{{Name: "example.net", AliasOf: "example.com"}}, told)
		return err
	}
	nothing := func(context.Context, *Store) error { return nil }
	for _, c := range []struct {
		name, want  string
		before, run func(ctx context.Context, s *Store) error
	}{
		{"add", "map[example.com:true] map[example.net:example.com] 100 0", nothing, add},
		{"delete", "map[] map[] 99 0", add, deleteDomain},
	} {
		steps := 0
		for at := -1; at < steps; at++ {
			h, db := newHost(t, p, controlBefore), newTables()
			count := NewDirControl()
			count.Users = 99
			db.counts[p.UID] = count
			if err := c.before(t.Context(), open(h, db)); err != nil {
				t.Fatal(err)
			}
			n := cutShort(h, at, func() error { return c.run(t.Context(), open(h, db)) })
			if at < 0 {
				steps = n
			}
			if err := c.run(t.Context(), open(h, db)); err != nil {
				t.Fatalf("%s: step %d: rerun: %v", c.name, at, err)
			}
			count = db.counts[p.UID]
			if got := fmt.Sprint(db.domains, " ", db.aliases, " ", count.Users, " ", count.Dir); got != c.want || len(db.early) > 0 {
				t.Fatalf("%s: step %d: %s, want %s; %q", c.name, at, got, c.want, db.early)
			}
			for name := range h.snapshot() {
				if strings.HasSuffix(name, "domains/.dir-control") || strings.Contains(name, "qmailkit") {
					t.Fatalf("%s: step %d: %s", c.name, at, name)
				}
			}
		}
		if steps < 20 {
			t.Errorf("%s: %d steps", c.name, steps)
		}
	}
}

// cutShort carries run out up to step stop and returns the steps taken; a
// negative stop is none.
func cutShort(h *host, stop int, run func() error) (n int) {
	h.opts.hook = func(string, string) error {
		if n++; stop >= 0 && n > stop {
			panic(errCut)
		}
		return nil
	}
	defer func() {
		h.opts.hook = nil
		if r := recover(); r != nil && r != errCut {
			panic(r)
		}
	}()
	if err := run(); err != nil {
		h.t.Error(err)
	}
	return n
}
