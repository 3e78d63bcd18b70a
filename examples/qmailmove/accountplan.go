//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/qmailkit/qmailkit/plesk"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// accountPlan compares the accounts of both hosts. A target without a psa, or
// without the domain in it, is taken as empty where only a plan is wanted.
func (m *move) accountPlan(ctx context.Context, lenient bool) (*plesk.AccountPlan, error) {
	opts := &plesk.AccountOptions{Domains: []string{m.dom.Name}, NeedClear: m.c.accounts.clear}
	var err error
	if opts.SourceKey, err = m.c.source.key(); err != nil {
		return nil, err
	}
	if opts.TargetKey, err = m.c.target.key(); err != nil {
		return nil, err
	}
	if opts.Poppasswd, err = m.sourcePoppasswd(); err != nil {
		return nil, err
	}
	there, err := m.c.target.read(ctx)
	if err != nil {
		return nil, err
	}
	if there == nil {
		opts.IDs = plesk.DomainIDs{strings.ToLower(m.dom.Name): m.c.targetID}
	}
	plan, err := plesk.PlanAccounts(m.psa, there, opts)
	if lenient && errors.Is(err, plesk.ErrNoDomainID) {
		m.warn("target.no-domain", "", err, "make the domain in Plesk at the target, before accounts; or -target-id N where its psa cannot be read")
		opts.IDs = plesk.DomainIDs{strings.ToLower(m.dom.Name): 1}
		plan, err = plesk.PlanAccounts(m.psa, nil, opts)
	}
	return plan, err
}

// sourcePoppasswd reads the passwords that the source's POP3 server has; nil
// where there are none.
func (m *move) sourcePoppasswd() (*users.Poppasswd, error) {
	if m.src == nil {
		return nil, nil
	}
	return poppasswd(m.src)
}

// poppasswd reads a host's users/poppasswd; nil where there is none.
func poppasswd(p *place) (*users.Poppasswd, error) {
	b, err := p.read("var/qmail/users/poppasswd", 64<<20)
	if missing(err) || errors.Is(err, os.ErrPermission) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return users.ParsePoppasswd(strings.NewReader(string(b)))
}
