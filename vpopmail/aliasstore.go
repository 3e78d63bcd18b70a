//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

const tempAlias = tempPrefix + "_alias"

// aliasKeeper is the Backend where it keeps aliases; nil where they are files.
func (s *Store) aliasKeeper() AliasKeeper {
	if !s.p.SQLAliases {
		return nil
	}
	k, _ := s.backend.(AliasKeeper)
	return k
}

// AliasNames returns the names that valias -n prints, sorted without case: all
// .qmail-NAME files of a domain but .qmail-default. Links, which are the files
// of mailing lists, count once for each list (vpalias.c:valias_select_names).
func (s *Store) AliasNames(ctx context.Context, domain string) ([]string, error) {
	d, err := s.Domain(ctx, domain)
	if err != nil {
		return nil, err
	}
	if k := s.aliasKeeper(); k != nil {
		var names []string
		for a, err := range k.Aliases(ctx, d) {
			if err != nil {
				return nil, err
			}
			names = append(names, a.Name)
		}
		return names, nil
	}
	dir, err := s.openDomain(d)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return aliasNames(ctx, dir)
}

func aliasNames(ctx context.Context, dir *safefs.Dir) ([]string, error) {
	var names []string
	for e, err := range dir.Entries(ctx) {
		if err != nil {
			return nil, err
		}
		name, ok := aliasOf(e.Name())
		if !ok {
			continue
		}
		fi, err := dir.Lstat(e.Name())
		if err != nil {
			if ignoreMissing(err) != nil {
				return nil, err
			}
			continue
		}
		link := fi.Mode&fs.ModeSymlink != 0
		if link && (strings.Contains(e.Name(), "-default") || strings.Contains(e.Name(), "-owner")) {
			continue
		}
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if c := strings.Compare(lower(a), lower(b)); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(names), nil
}

// Aliases yields the aliases of a domain in the order of AliasNames. An error
// concerns the alias that it comes with, such as one whose file is a link and
// is not followed (safefs), unless it wraps qmailkit.ErrIncomplete. valias -s
// stops at the first alias without lines; this does not.
func (s *Store) Aliases(ctx context.Context, domain string) iter.Seq2[Alias, error] {
	return func(yield func(Alias, error) bool) {
		d, err := s.Domain(ctx, domain)
		if err != nil {
			yield(Alias{}, qmailkit.Incomplete(err))
			return
		}
		if k := s.aliasKeeper(); k != nil {
			k.Aliases(ctx, d)(yield)
			return
		}
		dir, err := s.openDomain(d)
		if err != nil {
			yield(Alias{}, qmailkit.Incomplete(err))
			return
		}
		defer dir.Close()
		names, err := aliasNames(ctx, dir)
		if err != nil {
			yield(Alias{}, qmailkit.Incomplete(err))
			return
		}
		for _, name := range names {
			if err := context.Cause(ctx); err != nil {
				yield(Alias{}, qmailkit.Incomplete(err))
				return
			}
			b, ok, err := readFile(dir, aliasFile(name))
			if err == nil && !ok {
				// Made by hand with dots in its name, where qmail-local looks
				// for colons only.
				err = &Error{Domain: d.Name, User: name, Err: fmt.Errorf("%w: %s is missing", ErrBadAlias, aliasFile(name))}
			}
			if !yield(Alias{Name: name, Lines: ParseAliasLines(b)}, err) {
				return
			}
		}
	}
}

// Alias returns the lines of the alias addr (NAME@DOMAIN, any case); none are
// nil.
func (s *Store) Alias(ctx context.Context, addr string) ([]string, error) {
	name, d, err := s.aliasAddress(ctx, addr)
	if err != nil {
		return nil, err
	}
	if k := s.aliasKeeper(); k != nil {
		return k.Alias(ctx, d, name)
	}
	dir, err := s.openDomain(d)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	b, _, err := readFile(dir, aliasFile(name))
	return ParseAliasLines(b), err
}

// aliasAddress takes an address apart and looks its domain up.
func (s *Store) aliasAddress(ctx context.Context, addr string) (string, *Domain, error) {
	name, domain, err := SplitAddress(addr)
	if err != nil {
		return "", nil, err
	}
	max := maxAliasName
	if s.aliasKeeper() != nil {
		max = s.p.MaxUser
	}
	if err := s.p.aliasName(name, max); err != nil {
		return "", nil, err
	}
	d, err := s.Domain(ctx, domain)
	return name, d, err
}

// AddAlias does the job of valias -i: mail for addr (NAME@DOMAIN) goes where
// line says from then on, and where the lines say that are there already
// (dot-qmail(5)). A user of that name gets none, because qmail-local reads the
// .qmail file first.
//
// A line that is there is ErrAliasExists. Beyond valias, which stores or drops
// them silently, these are refused: a line of 160 bytes or more (ErrTooLong), a
// blank one or one that begins with a blank, by which all mail for the name
// would fail, and the name "default", which is the catch-all (ErrBadAlias), and
// LF and NUL (ErrBadByte). A database holds longer lines.
func (s *Store) AddAlias(ctx context.Context, addr, line string) error {
	name, d, err := s.aliasAddress(ctx, addr)
	if err != nil {
		return err
	}
	if err := s.p.aliasName(name, s.p.MaxUser); err != nil {
		return err
	}
	k, limit := s.aliasKeeper(), 0
	if k == nil {
		limit = maxAliasLine
	}
	if err := checkAliasLine(name, line, limit); err != nil {
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
	if k != nil {
		err = addKept(ctx, k, d, name, line)
	} else {
		err = s.addToFile(dir, d, name, line)
	}
	if err != nil {
		return err
	}
	return s.changed(ctx, "valias_insert", name+"@"+s.aliasDomain(d), line)
}

// aliasDomain is the domain under which an alias is kept and shown.
func (s *Store) aliasDomain(d *Domain) string {
	if s.aliasKeeper() != nil {
		return d.Name
	}
	return d.Real
}

func addKept(ctx context.Context, k AliasKeeper, d *Domain, name, line string) error {
	lines, err := k.Alias(ctx, d, name)
	if err != nil {
		return err
	}
	if slices.Contains(lines, line) {
		return &aliasExistsError{name + "@" + d.Name, line}
	}
	return k.AddAlias(ctx, d, name, line)
}

func (s *Store) addToFile(dir *safefs.Dir, d *Domain, name, line string) error {
	if name == "default" {
		return &Error{Domain: d.Name, User: name, Err: fmt.Errorf("%w: %s is the catch-all", ErrBadAlias, aliasFile(name))}
	}
	b, _, err := readFile(dir, aliasFile(name))
	if err != nil {
		return err
	}
	if slices.Contains(ParseAliasLines(b), line) {
		return &aliasExistsError{name + "@" + d.Real, line}
	}
	if len(b) > 0 && b[len(b)-1] != '\n' {
		b = append(b, '\n')
	}
	rep := safefs.Replacement{Mode: 0o600, Owner: s.owner(d.UID, d.GID), Temp: tempAlias}
	return dir.WriteFile(aliasFile(name), rep, append(b, line+"\n"...))
}

// RemoveAlias does the job of valias -d: it removes an alias with all its
// lines, and says whether there was one. The name "default", which is the
// catch-all of .qmail files, is ErrBadAlias: without it mail for every user of
// the domain would bounce.
func (s *Store) RemoveAlias(ctx context.Context, addr string) (bool, error) {
	name, d, err := s.aliasAddress(ctx, addr)
	if err != nil {
		return false, err
	}
	removed := false
	if k := s.aliasKeeper(); k != nil {
		removed, err = k.RemoveAlias(ctx, d, name)
	} else {
		removed, err = s.removeFile(ctx, d, name)
	}
	if err != nil || !removed {
		return false, err
	}
	return true, s.changed(ctx, "valias_delete", name+"@"+s.aliasDomain(d), "")
}

func (s *Store) removeFile(ctx context.Context, d *Domain, name string) (bool, error) {
	if name == "default" {
		return false, &Error{Domain: d.Name, User: name, Err: fmt.Errorf("%w: %s is the catch-all", ErrBadAlias, aliasFile(name))}
	}
	dir, err := s.openDomain(d)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	if err := s.lockDir(ctx, dir); err != nil {
		return false, err
	}
	err = dir.Remove(aliasFile(name))
	removed := err == nil
	if ignoreMissing(err) != nil {
		return false, err
	}
	return removed, dir.Sync()
}

// ClassicAliases is what valias prints of the aliases of what, an address or a
// domain. Where there are none it is ErrNoAlias; an alias whose file is a link
// is left out.
func (s *Store) ClassicAliases(ctx context.Context, what string) (string, error) {
	if strings.Contains(what, "@") {
		name, d, err := s.aliasAddress(ctx, what)
		if err != nil {
			return "", err
		}
		lines, err := s.Alias(ctx, what)
		if err != nil {
			return "", err
		}
		if len(lines) == 0 {
			return "", &noAliasError{"No aliases " + name + "@" + s.aliasDomain(d) + " found"}
		}
		a := Alias{name, lines}
		return a.Classic(s.aliasDomain(d)), nil
	}
	d, err := s.Domain(ctx, what)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for a, err := range s.Aliases(ctx, what) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return "", err
		}
		b.WriteString(a.Classic(s.aliasDomain(d)))
	}
	if b.Len() == 0 {
		return "", &noAliasError{"No aliases found for domain " + s.aliasDomain(d)}
	}
	return b.String(), nil
}
