package plesk

import (
	"fmt"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
)

func (p *psa) domains() error {
	byName := map[string]*Domain{}
	return p.each("domains", []string{"id", "name"}, func(r row) (err error) {
		d := &Domain{Name: r.text("name"), DisplayName: r.text("displayName"), Status: r.number("status", 0), MailboxQuota: -1}
		if d.ID, err = r.id("id"); err != nil {
			return err
		}
		if d.Name == "" || p.domain[d.ID] != nil {
			return fmt.Errorf("domain %q, id %d: no name, or an id that another has", d.Name, d.ID)
		}
		if old := byName[DirName(d.Name)]; old != nil {
			p.problem("domain-twice", qmailkit.Error, "domain %s has two ids, %d and %d", d.Name, old.ID, d.ID)
		} else {
			byName[DirName(d.Name)] = d
		}
		if d.Status != 0 {
			p.problem("domain-suspended", qmailkit.Warning, "domain %s is not active: status %d (%s)", d.Name, d.Status, statusText(d.Status))
		}
		p.domain[d.ID] = d
		p.out.Domains = append(p.out.Domains, d)
		return nil
	})
}

// statusWeb is a domain whose web is switched off, and not its mail.
const statusWeb = 8

// statusText tells what the bits of a status mean.
func statusText(status int64) string {
	var out []string
	for _, b := range []struct {
		bit  int64
		text string
	}{
		{1, "suspended"}, {2, "suspended with its parent"}, {4, "backup or restore"}, {statusWeb, "web only"}, {16, "by the administrator"},
		{32, "by the reseller"}, {64, "by the client"}, {256, "expired"},
	} {
		if status&b.bit != 0 {
			out = append(out, b.text)
			status &^= b.bit
		}
	}
	if status != 0 {
		out = append(out, fmt.Sprintf("unknown %d", status))
	}
	return strings.Join(out, ", ")
}

// owners finds for each row of domains that has a number in the column the
// domain.
func (p *psa) owners(column string) map[uint64][]*Domain {
	out := map[uint64][]*Domain{}
	t := p.tables["domains"]
	for _, v := range t.rows {
		r := row{p, t, v}
		id, err := r.id("id")
		if err != nil || p.domain[id] == nil {
			continue
		}
		if n, err := r.id(column); err == nil && n > 0 {
			out[n] = append(out[n], p.domain[id])
		}
	}
	return out
}

// clients finds whose domains are switched off with their client.
func (p *psa) clients() error {
	t := p.tables["clients"]
	if t == nil || t.column("id") < 0 || t.column("status") < 0 {
		return nil
	}
	owned := p.owners("cl_id")
	return p.each("clients", []string{"id"}, func(r row) error {
		id, err := r.id("id")
		status := r.number("status", 0)
		if err != nil || status == 0 {
			return err
		}
		for _, d := range owned[id] {
			d.ClientStatus = status
			p.problem("client-suspended", qmailkit.Warning, "client %q, whose domain %s is, is not active: status %d (%s)", r.text("login"), d.Name, status, statusText(status))
		}
		return nil
	})
}

// limits finds what size the mailboxes of a domain have that have none of their
// own.
func (p *psa) limits() error {
	t := p.tables["limits"]
	if t == nil || t.column("id") < 0 || t.column("limit_name") < 0 {
		return nil
	}
	owned := p.owners("limits_id")
	return p.each("limits", []string{"id"}, func(r row) error {
		if r.text("limit_name") != "mbox_quota" {
			return nil
		}
		id, err := r.id("id")
		if err != nil {
			return err
		}
		n := r.number("value", -1)
		for _, d := range owned[id] {
			if d.MailboxQuota = n; n > 0 {
				p.problem("default-quota", qmailkit.Info, "mailboxes of %s whose quota is -1 have that of the domain, %d bytes", d.Name, n)
			}
		}
		return nil
	})
}

// domainAliases knows both names that the table had.
func (p *psa) domainAliases() error {
	for _, name := range []string{"domainaliases", "domain_aliases"} {
		err := p.each(name, []string{"id", "dom_id", "name"}, func(r row) (err error) {
			a := DomainAlias{Name: r.text("name"), DisplayName: r.text("displayName"), Mail: !r.has("mail") || r.yes("mail")}
			dom, err := r.id("dom_id")
			if err != nil {
				return err
			}
			if a.ID, err = r.id("id"); err != nil {
				return err
			}
			a.Status = r.number("status", 0)
			d := p.domain[dom]
			if d == nil || a.Name == "" {
				return fmt.Errorf("alias domain %q belongs to domain %d: one of the two there is not", a.Name, dom)
			}
			if a.Status != 0 {
				p.problem("domain-suspended", qmailkit.Warning, "alias domain %s of %s is not active: status %d (%s)", a.Name, d.Name, a.Status, statusText(a.Status))
			}
			if old := p.out.Domain(a.Name); old != nil {
				p.problem("domain-twice", qmailkit.Error, "alias domain %s of %s is a domain of its own too", a.Name, d.Name)
			}
			if !slices.ContainsFunc(d.Aliases, func(b DomainAlias) bool { return DirName(a.Name) == DirName(b.Name) }) {
				d.Aliases = append(d.Aliases, a) // a host may have both tables
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// services finds what a domain does with mail for unknown names: its row of
// DomainServices names the Parameters. Some programs take Parameters.id for the
// domain's id; where only that finds anything it is reported.
func (p *psa) services() error {
	params := map[uint64]map[string]string{}
	err := p.each("parameters", []string{"id", "parameter", "value"}, func(r row) error {
		id, err := r.id("id")
		if err != nil {
			return err
		}
		if params[id] == nil {
			params[id] = map[string]string{}
		}
		params[id][r.text("parameter")] = r.text("value")
		return nil
	})
	if err != nil {
		return err
	}
	err = p.each("domainservices", []string{"dom_id", "type", "parameters_id"}, func(r row) error {
		dom, err := r.id("dom_id")
		if err != nil || r.text("type") != "mail" {
			return err
		}
		d := p.domain[dom]
		if d == nil {
			return fmt.Errorf("mail service of domain %d, which there is not", dom)
		}
		d.MailKnown = true
		if d.MailStatus = r.number("status", 0); d.MailStatus != 0 {
			p.problem("mail-suspended", qmailkit.Warning, "mail of domain %s is not active: status %d (%s)", d.Name, d.MailStatus, statusText(d.MailStatus))
		}
		if id := r.number("parameters_id", 0); id > 0 {
			d.Unknown = unknownOf(params[uint64(id)])
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, d := range p.out.Domains {
		switch u := d.Unknown; {
		case u.Action == "catch" && u.Address == "":
			p.problem("unknown-action", qmailkit.Error, "domain %s: one address gets mail for all unknown names, and it is not said which", d.Name)
		case u.Action != "" && u.Action != "catch" && u.Action != "bounce" && u.Action != "reject":
			p.problem("unknown-action", qmailkit.Warning, "domain %s: what becomes of mail for unknown names, %q, is not known", d.Name, u.Action)
		}
		if u := unknownOf(params[d.ID]); d.Unknown.Action == "" && u.Action != "" {
			p.problem("catch-all-join", qmailkit.Warning, "domain %s has no mail parameters by way of DomainServices; those with the domain's id say %q %s, and may be another's", d.Name, u.Action, u.Address)
		}
	}
	return nil
}

func unknownOf(m map[string]string) Unknown {
	return Unknown{Action: m["nonexist_mail"], Address: m["catch_addr"], Text: m["bounce_mess"]}
}
