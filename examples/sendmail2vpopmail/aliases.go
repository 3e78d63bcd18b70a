package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/aliasmap"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/sendmail"
)

// findAliases decides what becomes of aliases, virtual users and .forward
// files.
func (m *move) findAliases(ctx context.Context) error {
	x, err := m.host.Expander(ctx)
	if err != nil {
		return err
	}
	o := &aliasmap.Options{
		Domain: m.domain, Domains: m.aliases, Known: m.known, Users: map[string]string{}, AllowPrograms: m.c.allowPrograms, AllowUserPrograms: m.c.allowUsers,
		NoFiles: m.profile.SQLAliases, CatchAllOK: m.profile.CheckCatchAll,
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
	some := len(m.c.users) > 0
	if some {
		m.allAccounts(ctx, o.Users)
	}
	all, err := aliasmap.Build(ctx, x, o)
	if err != nil {
		return err
	}
	m.aliases = all.Aliases
	if some {
		m.leaveAliases(all)
		return nil
	}
	m.addresses = all
	m.problem(all.Problems...)
	m.findReplies()
	return nil
}

// allAccounts adds the accounts that a run without -user would carry. What is
// wrong with them was told by findAccounts.
func (m *move) allAccounts(ctx context.Context, names map[string]string) {
	policy := m.c.policy
	policy.Include, policy.NameOK = nil, m.nameOK
	for d, err := range policy.Judge(m.host.Accounts(ctx)) {
		if err == nil && d.Verdict != sendmail.NotCarried && len(d.PasswordField()) <= m.profile.MaxHash {
			names[d.Account.Name] = d.Name
		}
	}
}

// leaveAliases tells what -user leaves to a run of all accounts: an address can
// stand for several of them, and a domain with addresses of its own must not
// become an alias before.
func (m *move) leaveAliases(all *aliasmap.Map) {
	for _, d := range all.Separate {
		m.problem(qmailkit.Problem{Code: "domain.left-out", Severity: qmailkit.Info,
			Err: fmt.Errorf("%s has addresses of its own: a run of all accounts makes it, without -user", d.Name)})
	}
	m.problem(qmailkit.Problem{Code: "alias.left-out", Severity: qmailkit.Info, Err: fmt.Errorf("%s and %s are left to a run of all accounts, without -user",
		cli.Plural(int64(len(all.Entries)), "address|addresses"), cli.Plural(int64(len(all.Homes)), ".forward file"))})
	chosen := map[string]bool{}
	for _, a := range m.accounts {
		chosen[a.Name] = true
	}
	for _, e := range slices.Concat(all.Homes, all.Entries) {
		if e.Domain == m.domain && chosen[e.Name] {
			m.problem(qmailkit.Problem{Code: "alias.left-out", Severity: qmailkit.Warning, Path: e.Path, Line: e.Line,
				Err: fmt.Errorf("mail to %s stays in the mailbox until a run of all accounts: here it is sent elsewhere", e.Name)})
		}
	}
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
	return m.replied(p)
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
