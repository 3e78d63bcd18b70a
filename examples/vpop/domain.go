//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/vpopmail"
)

func addDomainCommand() *cli.Command {
	return &cli.Command{
		Name: "adddomain", Args: "DOMAIN", Min: 1, Max: 1,
		Short: "make a domain with its postmaster (vadddomain)",
		Long: `The postmaster's password is the first line of standard input unless a flag says
otherwise; -locked gives him none that works. A domain that a killed run left
half made is completed.`,
		Setup: changing("adddomain", "vadddomain", func(fs *flag.FlagSet) work {
			a := &domainFlags{}
			a.declare(fs)
			return a.add
		}),
	}
}

// domainFlags are those of adddomain.
type domainFlags struct {
	spec     vpopmail.DomainSpec
	pw       passwordFlags
	locked   bool
	user     string
	uid, gid string
}

func (a *domainFlags) declare(fs *flag.FlagSet) {
	fs.StringVar(&a.spec.Postmaster.Quota, "q", "", "`QUOTA` of postmaster: 10M, 10485760S,1000C or NOQUOTA")
	fs.StringVar(&a.spec.CatchAll, "e", "", "`ADDRESS` or user of this domain that gets the mail for unknown users")
	fs.StringVar(&a.user, "u", "", "the domain belongs to this system `USER`, and lies in his home directory")
	fs.StringVar(&a.spec.Base, "d", "", "`DIR` that holds domains/DOMAIN, as files will name it; see -mount")
	fs.StringVar(&a.uid, "i", "", "`UID` of the domain (default vpopmail's)")
	fs.StringVar(&a.gid, "g", "", "`GID` of the domain (default vpopmail's)")
	fs.BoolVar(&a.spec.Optimize, "O", false, "leave morercpthosts.cdb as it is and qmail-send unsignalled; a later adddomain without -O does both")
	a.pw.declare(fs, "", "")
	a.pw.declareRandom(fs)
	fs.BoolVar(&a.locked, "locked", false, "nobody can log in as postmaster")
}

// owner fills in what -u, -i, -g and -d say.
func (a *domainFlags) owner() error {
	number := func(name, text string, to **int) error {
		if text == "" {
			return nil
		}
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return cli.Usagef("-%s %q is not a number", name, text)
		}
		v := int(n)
		*to = &v
		return nil
	}
	if a.user != "" {
		u, err := user.Lookup(a.user)
		if err != nil {
			return cli.Usagef("-u: %w", err)
		}
		if err := errors.Join(number("u", u.Uid, &a.spec.UID), number("u", u.Gid, &a.spec.GID)); err != nil {
			return err
		}
		a.spec.OwnerHome = u.HomeDir
		if a.spec.Base == "" {
			a.spec.Base = u.HomeDir
		}
	}
	if err := errors.Join(number("i", a.uid, &a.spec.UID), number("g", a.gid, &a.spec.GID)); err != nil {
		return err
	}
	if a.spec.Base != "" && !filepath.IsAbs(a.spec.Base) {
		return cli.Usagef("-d %q is not an absolute path", a.spec.Base)
	}
	if a.user == "" && a.uid != "" {
		if u, err := user.LookupId(a.uid); err == nil {
			a.spec.OwnerHome = u.HomeDir
		}
	}
	return nil
}

func (a *domainFlags) add(ctx context.Context, j *job, args []string) error {
	a.spec.Name = args[0]
	if err := a.owner(); err != nil {
		return err
	}
	for _, dir := range []string{a.spec.Base, a.spec.OwnerHome} {
		if err := j.mount(dir); err != nil {
			return err
		}
	}
	if a.locked && a.pw.given() {
		return cli.Usagef("-locked and a password exclude each other")
	}
	// A domain that is in users/cdb may be one that a killed run has not
	// finished: without -n that is for the library to see.
	if err := j.checkDomain(ctx, args[0]); err != nil && (j.plan || !errors.Is(err, vpopmail.ErrDomainExists)) {
		return j.fail(args[0], err)
	}
	if err := checkQuota(j, a.spec.Postmaster.Quota); err != nil {
		return j.fail(args[0], err)
	}
	w := &password{}
	if !a.locked {
		var err error
		if w, err = a.pw.read(j, "postmaster@"+args[0]); err != nil {
			return err
		}
		w.put(&a.spec.Postmaster)
	}
	if j.plan {
		return j.would(args[0], "make the domain and its account postmaster, then add it to users/assign, virtualdomains and rcpthosts or morercpthosts")
	}
	hup, err := j.HupFunc()
	if err != nil {
		return err
	}
	res, err := j.store.AddDomain(ctx, a.spec, hup)
	if res == nil && made(err) && w.random {
		return errors.Join(err, j.tell(row{Item: jsonl.Bytes(args[0]), Outcome: "added", Password: jsonl.Bytes(string(w.clear))}))
	}
	if err != nil {
		return j.fail(args[0], err)
	}
	r := row{Item: jsonl.Bytes(res.Domain.Name), Outcome: "added", Dir: jsonl.Bytes(res.Domain.Dir), Changes: changeRows(res.Changes)}
	// After a killed run the postmaster may be there with another password.
	if w.random && res.Postmaster.Outcome == vpopmail.Added {
		r.Password = jsonl.Bytes(string(w.clear))
	}
	return errors.Join(j.problems(res.Problems...), j.tell(r))
}

// mount opens a directory outside vpopmail's home; empty is none.
func (j *job) mount(dir string) error {
	if dir == "" {
		return nil
	}
	err := j.t.Mount(dir)
	j.store = j.t.Store
	return err
}

// checkDomain says why a domain of this name cannot be made, as far as that
// shows beforehand.
func (j *job) checkDomain(ctx context.Context, name string) error {
	p := j.store.Profile()
	n, err := p.Domain(name)
	if err != nil {
		return err
	}
	d, err := j.store.Domain(ctx, n)
	switch {
	case errors.Is(err, vpopmail.ErrNoDomain):
		return nil
	case err != nil:
		return err
	case !d.Pending:
		return &vpopmail.Error{Domain: name, Err: vpopmail.ErrDomainExists}
	}
	return nil
}

// checkQuota refuses a word that is no quota, or too long for this
// installation.
func checkQuota(j *job, word string) error {
	if word == "" {
		return nil
	}
	q, err := vpopmail.ParseQuota(word)
	if err != nil {
		return err
	}
	if most := j.store.Profile().MaxQuota; len(q) > most {
		return &vpopmail.Error{Field: "quota", Err: vpopmail.ErrTooLong}
	}
	return nil
}

func addAliasCommand() *cli.Command {
	return &cli.Command{
		Name: "addalias", Args: "DOMAIN ALIAS", Min: 2, Max: 2,
		Short: "make ALIAS another name of a domain (vaddaliasdomain)",
		Long:  `Whichever of the two is a domain already is the real one.`,
		Setup: changing("addalias", "vaddaliasdomain", func(*flag.FlagSet) work { return addAlias }),
	}
}

func addAlias(ctx context.Context, j *job, args []string) error {
	if j.plan {
		return j.planAlias(ctx, args[0], args[1])
	}
	hup, err := j.HupFunc()
	if err != nil {
		return err
	}
	res, err := j.store.AddAliasDomain(ctx, args[0], args[1], hup)
	if err != nil {
		return j.fail(args[1], err)
	}
	return errors.Join(j.problems(res.Problems...),
		j.tell(row{Item: jsonl.Bytes(args[1]), Outcome: "added", Detail: jsonl.Bytes("alias domain, with " + args[0]), Changes: changeRows(res.Changes)}))
}

// planAlias says which lines addalias would add.
func (j *job) planAlias(ctx context.Context, one, other string) error {
	p := j.store.Profile()
	var found []*vpopmail.Domain
	var missing []string
	for _, name := range []string{one, other} {
		n, err := p.AliasDomain(name)
		if err != nil {
			return j.fail(name, err)
		}
		d, err := j.store.Domain(ctx, n)
		switch {
		case errors.Is(err, vpopmail.ErrNoDomain):
			missing = append(missing, n)
		case err != nil:
			return err
		default:
			found = append(found, d)
		}
	}
	switch len(found) {
	case 0:
		return j.fail(other, fmt.Errorf("%s, %s: %w", one, other, vpopmail.ErrNeitherExists))
	case 2:
		return j.fail(other, &vpopmail.Error{Domain: other, Err: vpopmail.ErrDomainExists})
	}
	list, err := j.store.PlanLive(ctx, []vpopmail.Live{{Name: missing[0], AliasOf: found[0].Name}})
	if err != nil {
		return j.fail(missing[0], err)
	}
	return j.tell(row{Item: jsonl.Bytes(missing[0]), Outcome: planned, Detail: jsonl.Bytes("would become an alias of " + found[0].Real), Changes: changeRows(list)})
}
