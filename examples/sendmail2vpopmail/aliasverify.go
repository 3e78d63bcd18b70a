package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/aliasmap"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/examples/internal/route"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// followMost is how many forwards of one address are followed.
const followMost = 20_000

// addressesProof asks for every address of the old host whether its mail ends
// on the new one where Sendmail would deliver it.
func (p *proof) addressesProof(ctx context.Context) error {
	if p.move.addresses == nil {
		return nil
	}
	if _, err := p.t.Store.Domain(ctx, p.domain); errors.Is(err, vpopmail.ErrNoDomain) {
		p.failure(qmailkit.Problem{Code: "verify.no-domain", Severity: qmailkit.Error, Err: fmt.Errorf("%s is not on the new host: no address was followed", p.domain)})
		return nil
	}
	r, err := p.t.router(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	ends, err := p.t.maildirs(ctx, p.domain, p.move.addresses)
	if err != nil {
		return err
	}
	for i := range p.move.addresses.Addresses {
		a := &p.move.addresses.Addresses[i]
		if a.Free {
			continue
		}
		p.asked++
		w, err := r.Follow(ctx, a.Name+"@"+a.Domain, followMost)
		if err != nil {
			return err
		}
		fail := func(what, words string) {
			if words != "" {
				p.failure(qmailkit.Problem{Code: "verify.address", Severity: qmailkit.Error, Path: a.Path, Line: a.Line,
					Err: fmt.Errorf("%s %s@%s %s", what, a.Name, a.Domain, words)})
			}
		}
		fail("mail to", otherwise(a, w, ends))
		if plan := w.Paths[0].Plan; len(a.Bounces) > 0 && plan != nil {
			back, err := r.Follow(ctx, plan.NewSender, followMost)
			if err != nil {
				return err
			}
			fail("what comes back from", otherwise(&aliasmap.Address{Ends: a.Bounces}, back, ends))
		}
	}
	p.r.Notices = append(p.r.Notices, report.Notice{
		Code: "notice.addresses", Title: fmt.Sprintf("%s followed through both hosts", cli.Plural(int64(p.asked), "address was|addresses were")),
		Words: "What differs is among the failures of the verification. Programs and other things that are not carried are left out of the comparison; they are listed.",
	})
	return nil
}

// router follows addresses through the new host.
func (t *target) router(ctx context.Context) (*route.Router, error) {
	p := t.Store.Profile()
	files := &homeTree{Tree: qmailkit.NewTree(t.Home), prefix: strings.TrimPrefix(p.Home, "/")}
	v := &route.Vpopmail{Store: t.Store}
	return route.Open(ctx, qmailkit.NewTree(t.Qmail), ".", &route.Options{Files: files, Hook: v.Hook, Sender: "somebody@sender.invalid"})
}

// maildirs are the users' Maildirs as ends of a way.
func (t *target) maildirs(ctx context.Context, domain string, m *aliasmap.Map) (map[string]string, error) {
	find := t.maildirOf(ctx, domain)
	ends := map[string]string{}
	for u, err := range t.Store.Users(ctx, domain) {
		if err != nil {
			return nil, err
		}
		if dir, ok := find(u.Name); ok {
			ends[dir] = u.Name
		}
	}
	for _, d := range m.Separate {
		if dir, ok := find("postmaster@" + d.Name); ok {
			ends[dir] = "postmaster@" + d.Name
		}
	}
	return ends, nil
}

// otherwise says how a way ends otherwise than it has to; it is empty where
// it does not.
func otherwise(a *aliasmap.Address, w *route.Way, maildirs map[string]string) string {
	var got, want []string
	nothing := true
	for _, e := range w.Ends {
		where := e.Where
		switch {
		case e.Kind == aliasmap.Mailbox:
			if user, ok := maildirs[where]; ok {
				where = user
			}
		case e.Kind == aliasmap.Program && strings.HasPrefix(where, "bouncesaying '"), e.Kind == "bounced":
			continue
		case e.Kind == aliasmap.Program && "|"+where == aliasmap.HoldLine:
			continue
		case e.Kind == aliasmap.Discard:
			where = ""
		}
		if home, ok := aliasmap.ReplyHome(where); ok && e.Kind == aliasmap.Program {
			e.Kind, where = aliasmap.Reply, maildirs[path.Clean(home)+"/Maildir"]
		}
		nothing = false
		got = append(got, e.Kind+" "+where)
	}
	for _, e := range a.Ends {
		if e.Kind != aliasmap.Bounce {
			want = append(want, e.Kind+" "+e.Where)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	switch {
	case slices.Equal(got, want):
		return ""
	case nothing:
		return fmt.Sprintf("is not delivered; the old host delivers to %s", strings.Join(want, ", "))
	case len(want) == 0:
		return fmt.Sprintf("goes to %s; the old host does not deliver it", strings.Join(got, ", "))
	}
	return fmt.Sprintf("goes to %s; the old host delivers to %s", strings.Join(got, ", "), strings.Join(want, ", "))
}
