//go:build unix

package vpopmail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

const (
	ipMapName = "ip_alias_map" // in etc
	tempIPMap = tempPrefix + "_ipmap"
	// maxIPLine is the longest line that vpopmail reads in one piece
	// (vcdb.c:vget_ip_map).
	maxIPLine = 154
)

// An IPAlias says which domain a login without one belongs to, by the address
// of this host at which it came in (--enable-ip-alias-domains).
type IPAlias struct{ IP, Domain string }

// Classic is what vipmap -p prints of it.
func (a IPAlias) Classic() string { return a.IP + " " + a.Domain + "\n" }

// ParseIPAlias reads a line of etc/ip_alias_map: two words parted by blanks
// and tabs; more are passed over. A line with fewer is none.
func ParseIPAlias(line string) (a IPAlias, ok bool) {
	f := strings.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == '\t' || c == '\n' })
	if len(f) < 2 {
		return IPAlias{}, false
	}
	return IPAlias{f[0], f[1]}, true
}

// IPAliases returns the lines of etc/ip_alias_map in their order, of which the
// first for an address counts. No file is none. An installation that keeps the
// map in a database has another, which this package does not know.
func (s *Store) IPAliases(ctx context.Context) ([]IPAlias, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	etc, err := safefs.OpenDir(s.home, "etc", s.o.hook)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	defer etc.Close()
	f, err := readLines(etc, ipMapName, false)
	if err != nil {
		return nil, err
	}
	var all []IPAlias
	for _, l := range f.lines {
		if a, ok := ParseIPAlias(l); ok {
			all = append(all, a)
		}
	}
	return all, nil
}

// AddIPAlias does the job of vipmap -a: the line goes to the end, also if it was
// there. The domain is stored in lower case, because vpopmail finds no other.
func (s *Store) AddIPAlias(ctx context.Context, a IPAlias) error {
	name, err := s.p.domainBytes(a.Domain)
	if err != nil {
		return err
	}
	a.Domain = name
	if a.IP == "" || strings.ContainsAny(a.IP, " \t\n\x00") {
		return &Error{Domain: name, Field: "address", Err: ErrBadByte}
	}
	if n := len(a.IP) + 1 + len(name); n > maxIPLine {
		return &Error{Domain: name, Field: "address", Err: fmt.Errorf("%w: a line of %d bytes, the most is %d", ErrTooLong, n, maxIPLine)}
	}
	_, err = s.editIPMap(ctx, a, true)
	return err
}

// RemoveIPAlias does the job of vipmap -d, and says whether there was such a
// line. Other lines stay as they are; vipmap drops those that are no mapping.
func (s *Store) RemoveIPAlias(ctx context.Context, a IPAlias) (bool, error) {
	return s.editIPMap(ctx, IPAlias{a.IP, lower(a.Domain)}, false)
}

func (s *Store) editIPMap(ctx context.Context, a IPAlias, add bool) (removed bool, err error) {
	etc, err := safefs.OpenDir(s.home, "etc", s.o.hook)
	if errors.Is(err, fs.ErrNotExist) && !add {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer etc.Close()
	if err := s.lockDir(ctx, etc); err != nil {
		return false, err
	}
	f, err := readLines(etc, ipMapName, false)
	if err != nil {
		return false, err
	}
	before := f.bytes()
	gone := f.remove(-1, func(l string) bool {
		is, ok := ParseIPAlias(l)
		return ok && is.IP == a.IP && lower(is.Domain) == a.Domain
	})
	if add {
		f.append(strings.TrimSuffix(a.Classic(), "\n"))
	}
	if !bytes.Equal(before, f.bytes()) {
		rep := safefs.Replacement{Mode: 0o644, Owner: safefs.Keep, Inherit: true, Temp: tempIPMap}
		err = etc.WriteFile(ipMapName, rep, f.bytes())
	}
	return len(gone) > 0, err
}
