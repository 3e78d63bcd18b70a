//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// DeleteDomainOptions are what vdeldomain is told beside the name.
type DeleteDomainOptions struct {
	// Force (-f) removes a domain together with its alias domains.
	Force bool
	// OwnerHome is as in DomainSpec: where the domains of a UID that is not the
	// profile's are counted. Empty: nothing is counted.
	OwnerHome string
}

// A DeleteDomainResult is what DeleteDomain did.
type DeleteDomainResult struct {
	Domain   *Domain
	Aliases  []string // alias domains that went with it, in the order of users/assign
	Changes  []Change
	Signaled bool // hup was called
	Problems []qmailkit.Problem
}

// Classic returns what vdeldomain prints.
func (r *DeleteDomainResult) Classic() string {
	if len(r.Aliases) == 0 {
		return ""
	}
	return "Warning: Alias domains deleted:\n" + indented(r.Aliases)
}

// DeleteDomain does the job of vdeldomain. An alias domain is only taken out of
// qmail's files. A real domain goes with all its accounts and mail, and with
// its alias domains if opts says Force; without, they are ErrHasAliases (see
// AliasesError) and nothing is changed. A nil opts is the zero one.
//
// The order is the reverse of GoLive's: rcpthosts and morercpthosts,
// virtualdomains, qmail-send is told by hup (see GoLive), users/assign, the
// database, the tree, the counter. So mail that comes meanwhile is refused or
// waits, and none is delivered into a tree that is going.
//
// After an interruption DeleteDomain with the same name completes the removal,
// and until then the name cannot be used for a new domain (ErrLeaving).
// ErrNoDomain is a domain that is nowhere, ErrSharedDir one whose directory is
// or holds that of another, ErrAssign a users/assign that qmail-newu refuses;
// then nothing is changed. No link is followed; a directory that is a link goes
// as a link.
func (s *Store) DeleteDomain(ctx context.Context, name string, opts *DeleteDomainOptions, hup func(context.Context) error) (*DeleteDomainResult, error) {
	n, err := s.p.domainBytes(name)
	if err != nil {
		return nil, &Error{Domain: name, Err: ErrNoDomain}
	}
	x := &deletion{s: s, name: n, hup: hup, res: &DeleteDomainResult{}}
	if opts != nil {
		x.o = *opts
	}
	if err := x.begin(ctx); err != nil {
		return nil, err
	}
	x.res.Domain = x.d
	if !x.elsewhere {
		if err := x.unlist(ctx); err != nil {
			return nil, err
		}
	}
	if !x.d.Alias() {
		if err := x.remove(ctx); err != nil {
			return nil, err
		}
	}
	if x.elsewhere {
		return s.DeleteDomain(ctx, name, opts, hup)
	}
	what := n
	if x.d.Alias() {
		what += " alias of " + x.d.Real
	}
	return x.res, s.changed(ctx, "del_domain", what, "")
}

// deletion is a DeleteDomain on its way.
type deletion struct {
	s     *Store
	o     DeleteDomainOptions
	hup   func(context.Context) error
	name  string
	d     *Domain
	names []string // that go: the domain and its aliases, or the alias alone
	token string   // of the note
	fresh bool     // the note is of this call
	res   *DeleteDomainResult
	// elsewhere says that the domain was made again in another directory since
	// its removal was cut short: what is left of the old one goes first.
	elsewhere bool
}

// remove removes what is left of a domain that qmail does not know any more.
func (x *deletion) remove(ctx context.Context) error {
	if k := x.s.domainKeeper(); k != nil && !x.elsewhere {
		err := x.noted(ctx, func(*safefs.Dir, *pendingNotes, *leavingNote) error { return k.RemoveDomain(ctx, x.d) })
		if err != nil {
			return err
		}
	}
	if err := x.tree(ctx); err != nil {
		return err
	}
	return x.finish(ctx)
}

// begin finds out what is to be removed, refuses what may not be, and notes a
// real domain.
func (x *deletion) begin(ctx context.Context) error {
	return x.s.editPending(ctx, func(top *safefs.Dir, notes *pendingNotes) error {
		note := notes.leaving(x.name)
		live, err := x.s.liveDomain(x.name)
		if err != nil {
			return err
		}
		if live == nil {
			if i := notes.find(x.name); i >= 0 {
				live = notes.Domains[i].domain()
			}
		}
		switch {
		case note != nil:
			x.d = note.domain()
			x.elsewhere = live != nil && live.Dir != x.d.Dir
		case live == nil:
			return &Error{Domain: x.name, Err: ErrNoDomain}
		default:
			x.d = live
		}
		if x.names = []string{x.name}; x.d.Alias() {
			return x.s.checkAssign()
		}
		aliases, err := x.check()
		if err != nil {
			return err
		}
		if note != nil {
			for _, a := range note.Aliases {
				x.res.Aliases = append(x.res.Aliases, string(a))
			}
		}
		for _, a := range aliases {
			if !slices.Contains(x.res.Aliases, a) {
				if !x.o.Force && !x.elsewhere {
					return &AliasesError{Domain: x.name, Aliases: aliases}
				}
				x.res.Aliases = append(x.res.Aliases, a)
			}
		}
		x.names = append(x.names, x.res.Aliases...)
		if note == nil {
			note = &leavingNote{Name: text(x.name), UID: x.d.UID, GID: x.d.GID, Dir: text(x.d.Dir)}
			if note.Token, err = x.identity(); err != nil {
				return err
			}
			for _, a := range aliases {
				note.Aliases = append(note.Aliases, text(a))
			}
			notes.Leaving = append(notes.Leaving, *note)
			x.fresh = true
		}
		x.token = note.Token
		return x.s.writePending(top, notes)
	})
}

// check refuses a domain whose directory must not be removed, and lists its
// aliases. A name without a dot is a domain for vpopmail's programs only as
// long as they do not look for it in users/assign, where such a line may be a
// user of the system as well (qmail-pw2u); so its directory has to be that of a
// domain.
func (x *deletion) check() (aliases []string, err error) {
	// From the 390,700th domain on there are two slashes in a row.
	dir := strings.ReplaceAll(x.d.Dir, "//", "/")
	at := strings.LastIndex(dir, "/"+x.s.p.DomainsDir+"/")
	if !strings.Contains(x.name, ".") && (at < 0 || !strings.HasSuffix(dir, "/"+x.name)) {
		return nil, &Error{Domain: x.name, Err: ErrNoDomain}
	}
	if !strings.HasPrefix(dir, "/") || !plainPath(dir[1:]) {
		return nil, &Error{Domain: x.name, Field: "dir", Err: fmt.Errorf("%w: %q", ErrSharedDir, dir)}
	}
	for _, own := range []string{x.s.p.domainsPath(x.s.p.Home), x.s.p.Home + "/bin", x.s.p.Home + "/etc"} {
		if within(own, dir) {
			return nil, &Error{Domain: x.name, Field: "dir", Err: fmt.Errorf("%w: %q is vpopmail's own", ErrSharedDir, dir)}
		}
	}
	if _, _, err := x.s.place(dir[:strings.LastIndexByte(dir, '/')]); err != nil {
		return nil, err
	}
	users, err := x.s.usersDir(false)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	defer users.Close()
	f, err := readLines(users, "assign", true)
	if err != nil {
		return nil, err
	}
	for _, l := range f.lines {
		switch d := parseAssignLine(l); {
		case d == nil || d.Name == x.name:
		case d.Real == x.name:
			aliases = append(aliases, d.Name)
		case within(strings.ReplaceAll(d.Dir, "//", "/"), dir):
			return nil, &Error{Domain: x.name, Field: "dir", Err: fmt.Errorf("%w: %q is in %q", ErrSharedDir, d.Name, dir)}
		}
	}
	_, err = f.compile()
	return aliases, err
}

// within says whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// tree removes the domain's directory. It is moved aside first, under a name
// that no domain has, so that nobody finds half of it.
func (x *deletion) tree(ctx context.Context) error {
	at := strings.LastIndexByte(x.d.Dir, '/')
	parent, err := x.s.openPath(x.d.Dir[:at])
	if err != nil {
		return ignoreMissing(err)
	}
	defer parent.Close()
	base, aside := x.d.Dir[at+1:], tempPrefix+"_gone_"+x.name
	if err := removeTree(ctx, parent, aside); err != nil {
		return err
	}
	err = x.noted(ctx, func(*safefs.Dir, *pendingNotes, *leavingNote) error { return x.moveAside(ctx, parent, base, aside) })
	if err != nil {
		return err
	}
	if err := removeTree(ctx, parent, aside); err != nil {
		return err
	}
	return parent.Sync()
}

// moveAside renames the directory while nobody changes its users. A lock file
// that is not one keeps nobody from removing it. What is no directory goes at
// once.
func (x *deletion) moveAside(ctx context.Context, parent *safefs.Dir, base, aside string) error {
	fi, err := parent.Lstat(base)
	if err != nil {
		return ignoreMissing(err)
	}
	if !fi.Mode.IsDir() {
		return parent.Remove(base)
	}
	dir, err := parent.Sub(base)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := x.s.lockDir(ctx, dir); err != nil {
		return err
	}
	if _, ok := x.s.backend.(files); ok {
		unlock, err := x.s.lock(ctx, dir, ".vpasswd.lock", x.s.owner(x.d.UID, x.d.GID))
		if err == nil {
			defer unlock()
		} else if !errors.Is(err, safefs.ErrNotPlain) && !errors.Is(err, safefs.ErrForeign) {
			return err
		}
	}
	if err := parent.RenameExcl(base, parent, aside); err != nil {
		return err
	}
	return parent.Sync()
}
