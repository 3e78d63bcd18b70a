//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"iter"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/vpopmail"
)

func commandsCommand() *cli.Command {
	return &cli.Command{
		Name: "commands", Args: "[DOMAIN...]", Max: -1,
		Short: "print a script of vadddomain, vaddaliasdomain, vadduser and vmoduser that makes the domains elsewhere",
		Long: `Without a DOMAIN it makes all of them. The hashes are its purpose, so they are
shown. Aliases, limits and mail are not in it.`,
		Setup: reading("commands", "", func(*flag.FlagSet) work { return printCommands }),
	}
}

func printCommands(ctx context.Context, j *job, names []string) error {
	e := &export{j: j, names: names}
	if err := vpopmail.CommandScript(j.env.Stdout, j.store.Profile().Home, e.commands(ctx)); err != nil {
		return err
	}
	if e.left > 0 {
		return cli.Partialf("%s not in the script", cli.Plural(int64(e.left), "account is|accounts are"))
	}
	return nil
}

// export is a script on its way.
type export struct {
	j     *job
	names []string
	left  int // accounts that cannot be in it
}

// commands are the script's lines.
func (e *export) commands(ctx context.Context) iter.Seq2[vpopmail.Command, error] {
	return func(yield func(vpopmail.Command, error) bool) {
		if len(e.names) == 0 {
			for d, err := range e.j.store.Domains(ctx) {
				if err != nil {
					yield(vpopmail.Command{}, err)
					return
				}
				if !d.Alias() {
					e.names = append(e.names, d.Name)
				}
			}
		}
		for _, name := range e.names {
			if !e.domain(ctx, name, yield) {
				return
			}
		}
	}
}

// domain yields the lines of one domain; it is false at the end of all.
func (e *export) domain(ctx context.Context, name string, yield func(vpopmail.Command, error) bool) bool {
	i, err := e.j.store.DomainInfo(ctx, name)
	if err != nil {
		return yield(vpopmail.Command{}, e.j.fail(name, err))
	}
	if !yield(vpopmail.DomainCommand(vpopmail.DomainSpec{Name: i.Real}), nil) {
		return false
	}
	for _, a := range i.Aliases {
		if !yield(vpopmail.AliasCommand(i.Real, a), nil) {
			return false
		}
	}
	for u, err := range e.j.store.Users(ctx, i.Real) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return yield(vpopmail.Command{}, err)
		}
		if err != nil || strings.ContainsRune(string(u.Hash)+u.Gecos+u.Quota, 0) {
			e.left++
			e.j.env.Printf("%s: not in the script: %v\n", cli.Name(u.Name+"@"+i.Real), err)
			continue
		}
		n := vpopmail.NewUser{Name: u.Name, Hash: u.Hash, NoPassword: u.Hash == "", Gecos: u.Gecos, Quota: u.Quota, Flags: u.Flags}
		list := vpopmail.UserCommands(i.Real, n)
		if u.Name == "postmaster" { // vadddomain has made it
			list = []vpopmail.Command{vpopmail.PasswordCommand(i.Real, n)}
		}
		for _, c := range list {
			if !yield(c, nil) {
				return false
			}
		}
	}
	return true
}
