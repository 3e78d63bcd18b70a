//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// ConvertOptions of ConvertDomain and Convert.
type ConvertOptions struct {
	// Aliases and Limits are carried too. vconvert leaves aliases where they
	// are when it writes files, and deletes both when it writes tables.
	Aliases, Limits bool
	// Replace removes the accounts that the target has and the source has not.
	// Without it such a target is refused.
	Replace bool
}

// A Conversion is what became of one domain.
type Conversion struct {
	Domain  *Domain
	Users   int      // accounts of the source; the target has them all now
	Written int      // of them that were new in the target or differed there
	Removed []string // accounts that only the target had
	Logins  int      // last logins that were noted
	Aliases int      // aliases that were made
	Limits  bool     // limits were stored
	// Problems: "convert.duplicate" (the second record of a name, which no
	// program finds, stays behind), "convert.login" (the time of a last login
	// that the target cannot keep), "convert.alias" (an alias that the target
	// has otherwise).
	Problems []qmailkit.Problem
}

// A ConvertError lists the accounts for which a domain is not converted. Each
// of its errors is an *Error.
type ConvertError struct {
	Domain   string
	Accounts []error
}

// Error names the number of accounts and the first few.
func (e *ConvertError) Error() string {
	words := fmt.Sprintf("domain %q: %d accounts cannot be converted", e.Domain, len(e.Accounts))
	for i, err := range e.Accounts {
		if i == 3 {
			return words + "; ..."
		}
		words += "; " + err.Error()
	}
	return words
}

// Unwrap returns the errors of the accounts.
func (e *ConvertError) Unwrap() []error { return e.Accounts }

// ConvertDomain does the job of vconvert -c -m and -m -c: it carries the
// accounts of one domain from the Backend of s to that of to, which is another
// Store of the same installation (or at least of the same directories). The
// source stays as it is.
//
// vconvert deletes what the target has first, and then loses each account that
// does not fit (facts such as a hash of 98 bytes in a column of 40). Here every
// account is checked before anything is written, a domain with one that does
// not fit is refused as a whole with a *ConvertError that lists them, the
// change is one transaction or one locked rewrite, and it is read back. Hashes,
// clear passwords, flags, uid fields and directories stay as they are; the
// counter of the hash directories follows, and so does the time of each last
// login. It can be run again: what is there already is not written.
//
// vconvert's third form, passwd and shadow files, is a matter of package
// sendmail.
func (s *Store) ConvertDomain(ctx context.Context, to *Store, domain string, o *ConvertOptions) (*Conversion, error) {
	d, err := s.Domain(ctx, domain)
	if err != nil {
		return nil, err
	}
	c := &conversion{from: s, to: to, d: realDomain(d), res: &Conversion{Domain: d}}
	if o != nil {
		c.o = *o
	}
	if k := to.domainKeeper(); k != nil {
		if err := k.MakeDomain(ctx, c.d); err != nil {
			return nil, err
		}
	}
	if err := c.users(ctx); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{c.logins, c.aliases, c.limits} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return c.res, nil
}

// Convert converts all domains of users/assign, and then what is counted or
// kept for them together: the number of domains, alias domains. An error
// concerns one domain, which was not converted, unless it wraps
// qmailkit.ErrIncomplete.
func (s *Store) Convert(ctx context.Context, to *Store, o *ConvertOptions) iter.Seq2[*Conversion, error] {
	return func(yield func(*Conversion, error) bool) {
		for d, err := range s.Domains(ctx) {
			switch {
			case err != nil:
				yield(nil, err)
				return
			case d.Alias():
				if k := to.aliasDomainKeeper(); k != nil {
					if err := k.SetAliasDomain(ctx, d); err != nil && !yield(nil, err) {
						return
					}
				}
				continue
			}
			res, err := s.ConvertDomain(ctx, to, d.Name, o)
			if err != nil {
				err = fmt.Errorf("converting %q: %w", d.Name, err)
			}
			if !yield(res, err) {
				return
			}
		}
		if err := s.convertCount(ctx, to); err != nil {
			yield(nil, qmailkit.Incomplete(err))
		}
	}
}

// conversion is a ConvertDomain on its way.
type conversion struct {
	from, to *Store
	d        *Domain
	o        ConvertOptions
	res      *Conversion
	list     []User // of the source
}

// records takes the locks of both sides. One of them carries out what a change
// that was cut short has left, and refuses what is the other's to do: then the
// other comes first.
func (c *conversion) records(ctx context.Context) (from, to Records, err error) {
	if (c.from.domainKeeper() == nil) == (c.to.domainKeeper() == nil) {
		// The same kind, so the same lock.
		to, err = c.to.edit(ctx, c.d)
		return nil, to, err
	}
	for _, fromFirst := range []bool{false, true} {
		first, second := c.to, c.from
		if fromFirst {
			first, second = second, first
		}
		var a, b Records
		if a, err = first.edit(ctx, c.d); err != nil {
			if errors.Is(err, ErrNotesDamaged) {
				continue
			}
			return nil, nil, err
		}
		if b, err = second.edit(ctx, c.d); err != nil {
			return nil, nil, errors.Join(err, a.Close())
		}
		if fromFirst {
			return a, b, nil
		}
		return b, a, nil
	}
	return nil, nil, err
}

func (c *conversion) users(ctx context.Context) error {
	from, to, err := c.records(ctx)
	if err != nil {
		return err
	}
	defer to.Close()
	counter := NewDirControl()
	if from != nil {
		defer from.Close()
		if counter, _, err = from.Counter(); err != nil {
			return err
		}
	}
	if err := c.read(ctx); err != nil {
		return err
	}
	refused, err := c.put(ctx, to)
	if err != nil {
		return err
	}
	if len(refused) > 0 {
		return &ConvertError{c.d.Name, refused}
	}
	if err := c.count(to, from, counter); err != nil {
		return err
	}
	if err := to.Commit(ctx, CommitSteps{}); err != nil {
		return err
	}
	return c.verify(ctx)
}

// read takes the accounts of the source. The second of a name is what no
// program finds.
func (c *conversion) read(ctx context.Context) error {
	seen := map[string]bool{}
	for u, err := range c.from.backend.Users(ctx, c.d) {
		if err != nil {
			return err
		}
		if seen[u.Name] {
			c.problem("convert.duplicate", "%s@%s: a second record of that name stays behind", u.Name, c.d.Name)
			continue
		}
		seen[u.Name] = true
		c.list = append(c.list, u)
	}
	c.res.Users = len(c.list)
	return nil
}

func (c *conversion) problem(code, format string, args ...any) {
	c.res.Problems = append(c.res.Problems, at(problem(code, qmailkit.Warning, format, args...), c.d.Dir))
}

// put gives the accounts to the target's records, of which nothing is seen yet,
// and says which do not fit.
func (c *conversion) put(ctx context.Context, to Records) (refused []error, err error) {
	files := c.to.domainKeeper() == nil
	has := map[string]bool{}
	for _, u := range c.list {
		has[u.Name] = true
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		if cur, ok := to.Get(u.Name); ok && cur == u {
			continue
		}
		c.res.Written++
		err := error(nil)
		if files {
			err = c.to.p.checkLine(c.d.Name, &u)
		}
		if err == nil {
			err = to.Put(u)
		}
		var e *Error
		if errors.As(err, &e) {
			refused = append(refused, e)
		} else if err != nil {
			return nil, err
		}
	}
	for u, err := range c.to.backend.Users(ctx, c.d) {
		switch {
		case err != nil && !errors.Is(err, ErrFewColons):
			return nil, err
		case err != nil || has[u.Name]:
		case !c.o.Replace:
			refused = append(refused, &Error{Domain: c.d.Name, User: u.Name, Err: fmt.Errorf("%w in the target only", ErrUserExists)})
		case to.Remove(u.Name):
			c.res.Removed = append(c.res.Removed, u.Name)
		}
	}
	return refused, nil
}

// checkLine refuses what a line of vpasswd cannot hold.
func (p *Profile) checkLine(domain string, u *User) error {
	for _, f := range []struct{ field, text, not string }{
		{"user", u.Name, ":\n\x00"}, {"password", string(u.Hash), ":\n\x00"}, {"gecos", u.Gecos, ":\n\x00"},
		{"dir", u.Dir, ":\n\x00"}, {"quota", u.Quota, ":\n\x00"}, {"clear", string(u.Clear), "\n\x00"},
	} {
		if strings.ContainsAny(f.text, f.not) {
			return &Error{Domain: domain, User: u.Name, Field: f.field, Err: ErrBadByte}
		}
	}
	if u.Clear != "" && !p.ClearPasswords {
		return &Error{Domain: domain, User: u.Name, Field: "clear", Err: fmt.Errorf("%w: the installation has no field for clear passwords", ErrTooLong)}
	}
	return nil
}

// count has the counter follow. A file has lost its third numbers (see
// ParseDirControl), which a row keeps: they are made anew as long as nothing
// was counted on that level.
func (c *conversion) count(to, from Records, counter DirControl) error {
	if from == nil || !c.to.p.BigDir {
		return nil
	}
	cur, _, err := to.Counter()
	if err != nil {
		return err
	}
	if c.to.domainKeeper() != nil && counter.Level < 2 {
		fresh := NewDirControl()
		counter.Start[2], counter.End[2], counter.Mod[2], counter.Index[2] = fresh.Start[2], fresh.End[2], fresh.Mod[2], fresh.Index[2]
	}
	if c.to.domainKeeper() == nil {
		// What the file would say on being read again.
		reread, written := cur, counter
		reread.Reread()
		written.Reread()
		if reread == written {
			return nil
		}
		// The file form writes a counter with records only.
		if len(c.list) > 0 {
			if err := to.Put(c.list[0]); err != nil {
				return err
			}
		}
	}
	if cur != counter {
		to.SetCounter(counter, 0)
	}
	return nil
}

// verify reads the target back, and in the file form each account by its
// look-up in vpasswd.cdb.
func (c *conversion) verify(ctx context.Context) error {
	there := map[string]User{}
	for u, err := range c.to.backend.Users(ctx, c.d) {
		if err != nil {
			return err
		}
		if _, dup := there[u.Name]; !dup {
			there[u.Name] = u
		}
	}
	for _, want := range c.list {
		got := there[want.Name]
		if c.to.domainKeeper() == nil && got == want {
			var err error
			if got, err = c.to.backend.User(ctx, c.d, want.Name); err != nil {
				return err
			}
		}
		if got != want {
			return &Error{Domain: c.d.Name, User: want.Name, Err: errors.New("is not in the target as it is in the source")}
		}
	}
	return nil
}
