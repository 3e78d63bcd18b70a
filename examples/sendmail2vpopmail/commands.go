package main

import (
	"context"
	"iter"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// doCommands prints the accounts and addresses as a script for vpopmail's own
// programs. The hashes are its purpose, so they are shown.
func doCommands(ctx context.Context, c *config, env *cli.Env) error {
	m, err := c.openPlan(ctx)
	if err != nil {
		return err
	}
	defer m.close()
	if err := vpopmail.CommandScript(env.Stdout, m.profile.Home, m.commands()); err != nil {
		return err
	}
	if err := m.aliasScript(env.Stdout); err != nil {
		return err
	}
	if err := m.controlCommands(env.Stdout); err != nil {
		return err
	}
	left := 0
	for _, p := range m.problems {
		if p.Severity == qmailkit.Error {
			left++
			env.Printf("%s\n", p.String())
		}
	}
	env.Printf("The script makes domains, accounts, aliases, .qmail files and vacation texts. Mail is not in it: see mbox2maildir.\n")
	if left > 0 {
		return cli.Partialf("%s not in the script", cli.Plural(int64(left), "item is|items are"))
	}
	return nil
}

// commands are the script's lines.
func (m *move) commands() iter.Seq2[vpopmail.Command, error] {
	return func(yield func(vpopmail.Command, error) bool) {
		spec := vpopmail.DomainSpec{Name: m.domain}
		if m.addresses != nil {
			spec.CatchAll = m.addresses.CatchAll
		}
		if !yield(vpopmail.DomainCommand(spec), nil) {
			return
		}
		if m.addresses != nil {
			for _, d := range m.addresses.Separate {
				if !yield(vpopmail.DomainCommand(vpopmail.DomainSpec{Name: d.Name, CatchAll: d.CatchAll}), nil) {
					return
				}
			}
		}
		for _, a := range m.aliases {
			if !yield(vpopmail.AliasCommand(m.realOf(a), a), nil) {
				return
			}
		}
		for _, a := range m.accounts {
			n := vpopmail.NewUser{Name: a.Name, Hash: a.PasswordField(), Gecos: a.gecos, Quota: m.c.quota}
			cmds := vpopmail.UserCommands(m.domain, n)
			if a.Name == "postmaster" { // vadddomain has made it
				cmds = []vpopmail.Command{vpopmail.PasswordCommand(m.domain, n)}
			}
			for _, cmd := range cmds {
				if !yield(cmd, nil) {
					return
				}
			}
		}
	}
}
