package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/aliasmap"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
)

// findAliases decides what becomes of aliases, virtual users and .forward
// files. It needs all accounts: where the command line picks some of them,
// these stay as they are, and are reported as not carried.
func (m *move) findAliases(ctx context.Context) error {
	if len(m.c.users) > 0 {
		m.problem(qmailkit.Problem{Code: "alias.left-out", Severity: qmailkit.Info,
			Err: fmt.Errorf("aliases and .forward files are carried by a run of all accounts, which -user does not make")})
		return nil
	}
	x, err := m.host.Expander(ctx)
	if err != nil {
		return err
	}
	o := &aliasmap.Options{
		Domain: m.domain, Domains: m.aliases, Users: map[string]string{}, AllowPrograms: m.c.allowPrograms, AllowUserPrograms: m.c.allowUsers,
		NoFiles: m.profile.SQLAliases,
		NameOK: func(name string) error {
			if len(name) == 1 && name >= "a" && name <= "z" {
				return nil // too short for a user only
			}
			_, err := m.profile.User(name)
			return err
		},
	}
	if len(m.c.aliases) > 0 {
		o.Fixed = m.aliases
	}
	for _, a := range m.accounts {
		o.Users[a.Account.Name] = a.Name
	}
	if m.addresses, err = aliasmap.Build(ctx, x, o); err != nil {
		return err
	}
	m.aliases = m.addresses.Aliases
	m.problem(m.addresses.Problems...)
	return nil
}

// settled says whether a Problem tells of what findAliases has decided about.
func (m *move) settled(p qmailkit.Problem) bool {
	if m.addresses == nil {
		return false
	}
	switch strings.TrimPrefix(p.Code, "sendmail.") {
	case "aliases-not-carried", "virtusertable-not-carried":
		return true
	case "forward-not-carried":
		return m.addresses.Read[p.Path]
	}
	return false
}

// printAddresses says what the addresses become.
func (m *move) printAddresses(env *cli.Env) {
	if m.addresses == nil {
		return
	}
	for _, d := range m.addresses.Separate {
		env.Printf(", domain %s with addresses of its own", d.Name)
	}
}
