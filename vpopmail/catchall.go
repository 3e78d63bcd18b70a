//go:build unix

package vpopmail

import (
	"context"
	"fmt"
	"strings"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// CheckCatchAll says why a word cannot be the catch-all of a domain. It stands
// in a shell command, and is given to vdelivermail as an argument.
func (p *Profile) CheckCatchAll(word string) error {
	switch {
	case word == "":
		return nil
	case !shellSafe(word) || strings.ContainsAny(word, "/,") || word[0] == '-':
		return fmt.Errorf("%w: %.80q in a command", ErrBadByte, word)
	case !strings.Contains(word, "@"):
		_, err := p.User(word)
		return err
	}
	return nil
}

// catchAll is the word behind vdelivermail for a DomainSpec.CatchAll.
func (s *Store) catchAll(domain, word, dir string) (string, error) {
	if word == "" {
		return s.p.CatchAll, nil
	}
	if err := s.p.CheckCatchAll(word); err != nil {
		return "", &Error{Domain: domain, Field: "catch-all", Err: err}
	}
	if strings.Contains(word, "@") {
		return word, nil
	}
	n, err := s.p.User(word)
	return dir + "/" + n, err
}

// CatchAll returns the line of .qmail-default that says what becomes of mail for
// unknown users of a domain. Where the file has no line, or more than one, it is
// ErrBadAlias.
func (s *Store) CatchAll(ctx context.Context, domain string) (string, error) {
	d, err := s.Domain(ctx, domain)
	if err != nil {
		return "", err
	}
	dir, err := s.openDomain(d)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	return catchAllLine(d, dir)
}

func catchAllLine(d *Domain, dir *safefs.Dir) (string, error) {
	b, _, err := readFile(dir, ".qmail-default")
	if err != nil {
		return "", err
	}
	lines := ParseAliasLines(b)
	if len(lines) != 1 {
		return "", &Error{Domain: d.Name, Err: fmt.Errorf("%w: .qmail-default has %d lines", ErrBadAlias, len(lines))}
	}
	return lines[0], nil
}

// CatchAllLine is the line that SetCatchAll writes for a word, which is that of
// DomainSpec.CatchAll.
func (s *Store) CatchAllLine(d *Domain, word string) (string, error) {
	w, err := s.catchAll(d.Name, word, d.Dir)
	return strings.TrimSuffix(s.deliverLine(w), "\n"), err
}

// SetCatchAll sends mail for unknown users of a domain elsewhere, as word says:
// see DomainSpec.CatchAll. What CatchAll refuses to read is not replaced.
func (s *Store) SetCatchAll(ctx context.Context, domain, word string) error {
	d, err := s.Domain(ctx, domain)
	if err != nil {
		return err
	}
	line, err := s.CatchAllLine(d, word)
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
	old, err := catchAllLine(d, dir)
	if err != nil || old == line {
		return err
	}
	rep := safefs.Replacement{Mode: 0o600, Owner: s.owner(d.UID, d.GID), Temp: tempPrefix + "_default"}
	return dir.WriteFile(".qmail-default", rep, []byte(line+"\n"))
}
