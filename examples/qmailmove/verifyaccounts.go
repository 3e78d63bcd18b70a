//go:build unix

package main

import (
	"context"
	"errors"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/plesk"
)

// accounts compares who may log in, and with which password, as far as the new
// host's psa is given, and its users/poppasswd is there.
func (p *proof) accounts(ctx context.Context) error {
	if p.dom == nil {
		return nil
	}
	pop, err := poppasswd(p.dst)
	if err != nil {
		return err
	}
	inPsa := p.c.target.given()
	if !inPsa && pop == nil {
		p.problem(qmailkit.Problem{Code: "accounts.not-compared", Severity: qmailkit.Info,
			Err: errors.New("the new host's psa is not given: its accounts and passwords were not compared"), Fix: "-target-db or -target-dump"})
		return nil
	}
	if !inPsa && p.c.targetID == 0 {
		p.c.targetID = 1 // it plays no part here
	}
	plan, err := p.accountPlan(ctx, true)
	if err != nil {
		return err
	}
	for _, d := range plan.Domains {
		for _, a := range d.Accounts {
			if !a.Mailname.Mailbox {
				continue
			}
			address := a.Mailname.Name + "@" + d.Domain.Name
			here := inPsa && (a.Action == plesk.AccountSame || a.Action == plesk.AccountDiffers || len(a.Differences) > 0)
			other := ""
			for _, w := range a.Differences {
				if strings.HasPrefix(w, "password") {
					other = w
				}
			}
			for _, q := range a.Problems {
				if q.Code == "plesk.differs" {
					p.problem(q)
				}
			}
			if pop != nil {
				if e, ok := pop.Lookup(address); ok {
					here = true
					if have, _ := plesk.PopCredential(e); !a.Password.IsZero() && !a.Password.Fits(have) {
						other = "password in users/poppasswd is another"
					}
				}
			}
			p.account(a, address, here, other)
		}
	}
	return nil
}

// account counts one of them; other says how its password is another.
func (p *proof) account(a *plesk.Account, address string, here bool, other string) {
	row := report.Account{Name: jsonl.Bytes(a.Mailname.Name), Address: jsonl.Bytes(address), Scheme: a.Mailname.Password.Type, State: report.There, HashUnchanged: report.Unknown}
	switch {
	case !here:
		row.State, row.Why = report.Skipped, "is not on the new host"
		p.failure("account", address, errors.New("has no account on the new host: its owner cannot log in"))
	case other != "":
		row.HashUnchanged, row.Why = report.No, other
		p.v.Hashes++
		p.failure("password", address, errors.New(other+" than at the source: its owner has changed it, or cannot log in"))
	case !a.Password.IsZero():
		row.HashUnchanged = report.Yes
		p.v.Hashes++
		p.v.HashesUnchanged++
	}
	p.r.Accounts = append(p.r.Accounts, row)
}
