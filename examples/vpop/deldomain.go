//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os/user"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/vpopmail"
)

func delDomainCommand() *cli.Command {
	return &cli.Command{
		Name: "deldomain", Args: "DOMAIN", Min: 1, Max: 1,
		Short: "remove a domain with all its accounts and mail, or an alias of one (vdeldomain)",
		Long: `A domain that has aliases is left alone without -f, and the exit code is 1. What
a killed run left of a domain, the next with the same name removes.`,
		Setup: changing("deldomain", "vdeldomain", func(fs *flag.FlagSet) work {
			force := fs.Bool("f", false, "remove its alias domains too")
			return func(ctx context.Context, j *job, args []string) error { return delDomain(ctx, j, args[0], *force) }
		}),
	}
}

func delDomain(ctx context.Context, j *job, name string, force bool) error {
	if j.plan {
		return planDelDomain(ctx, j, name, force)
	}
	hup, err := j.HupFunc()
	if err != nil {
		return err
	}
	opts := &vpopmail.DeleteDomainOptions{Force: force}
	if d, err := j.store.Domain(ctx, name); err == nil && d.UID != j.store.Profile().UID {
		// Where the domains of this user are counted. One who is gone has no
		// counter.
		if u, err := user.LookupId(strconv.Itoa(d.UID)); err == nil {
			opts.OwnerHome = u.HomeDir
			if err := j.mount(u.HomeDir); err != nil {
				return err
			}
		}
	}
	res, err := j.store.DeleteDomain(ctx, name, opts, hup)
	if res == nil {
		return j.fail(name, err)
	}
	errs := []error{err, j.problems(res.Problems...)}
	for _, a := range res.Aliases {
		errs = append(errs, j.tell(row{Item: jsonl.Bytes(a), Outcome: "removed", Detail: "alias domain"}))
	}
	r := row{Item: jsonl.Bytes(res.Domain.Name), Outcome: "removed", Changes: changeRows(res.Changes)}
	if !res.Domain.Alias() {
		r.Dir = jsonl.Bytes(res.Domain.Dir)
	}
	return errors.Join(append(errs, j.tell(r))...)
}

// planDelDomain is -n of deldomain.
func planDelDomain(ctx context.Context, j *job, name string, force bool) error {
	i, err := j.store.DomainInfo(ctx, name)
	switch {
	case err != nil:
		return j.fail(name, err)
	case i.Domain.Alias():
		return j.would(name, "take the alias of %s out of qmail's files", i.Real)
	case len(i.Aliases) > 0 && !force:
		return j.fail(name, fmt.Errorf("%s: %w: %s", name, vpopmail.ErrHasAliases, strings.Join(i.Aliases, ", ")))
	case len(i.Aliases) > 0:
		return j.would(name, "remove the domain, its aliases %s, and all of %s", strings.Join(i.Aliases, ", "), i.Dir)
	}
	return j.would(name, "remove the domain and all of %s", i.Dir)
}
