package plesk

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// psa gives the tables their meaning.
type psa struct {
	name   string
	tables map[string]*table // by name in lower case
	out    *Server
	domain map[uint64]*Domain
	mail   map[uint64]*Mailname
	names  map[nameKey]bool
}

// nameKey is a mail name of a domain, in lower case.
type nameKey struct {
	domain uint64
	name   string
}

func newPsa(tables map[string]*table, name string) *psa {
	p := &psa{name: name, tables: map[string]*table{}, out: &Server{}, domain: map[uint64]*Domain{}, mail: map[uint64]*Mailname{}, names: map[nameKey]bool{}}
	for n, t := range tables {
		p.tables[strings.ToLower(n)] = t
	}
	return p
}

func interpret(tables map[string]*table, name string) (*Server, error) {
	p := newPsa(tables, name)
	for _, n := range needed {
		if p.tables[n] == nil {
			return nil, fmt.Errorf("%s: %w: %q", name, ErrNoTable, n)
		}
	}
	for _, read := range []func() error{p.domains, p.domainAliases, p.services, p.mailnames, p.mailAliases, p.redirects, p.responders, p.lists, p.misc} {
		if err := read(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, d := range p.out.Domains {
		slices.SortFunc(d.Mailnames, func(a, b *Mailname) int { return cmp.Compare(a.ID, b.ID) })
	}
	slices.SortFunc(p.out.Domains, func(a, b *Domain) int { return cmp.Compare(a.ID, b.ID) })
	return p.out, nil
}

func (p *psa) problem(code string, s qmailkit.Severity, format string, args ...any) {
	p.out.Problems = append(p.out.Problems, qmailkit.Problem{Code: "plesk." + code, Severity: s, Path: p.name, Err: fmt.Errorf(format, args...)})
}

// row is one row, whose values are found by their columns' names.
type row struct {
	t *table
	v []value
}

// has says whether the table has the column.
func (r row) has(column string) bool { return r.t.column(column) >= 0 }

// text is a value as it stands; NULL and a missing column are empty.
func (r row) text(column string) string {
	if i := r.t.column(column); i >= 0 {
		return string(r.v[i])
	}
	return ""
}

// yes reads an enum of 'true' and 'false', or a number.
func (r row) yes(column string) bool {
	switch strings.ToLower(r.text(column)) {
	case "true", "1", "yes", "on":
		return true
	}
	return false
}

// number reads a whole number; bad is what to say of one that is none.
func (r row) number(column string) (n int64, err error) {
	s := r.text(column)
	if s == "" {
		return 0, nil
	}
	if n, err = strconv.ParseInt(s, 10, 64); err != nil {
		return 0, fmt.Errorf("column %q of table %q: %q is not a whole number", column, r.t.name, s)
	}
	return n, nil
}

func (r row) id(column string) (uint64, error) {
	n, err := strconv.ParseUint(r.text(column), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("column %q of table %q: %q is no id", column, r.t.name, r.text(column))
	}
	return n, nil
}

// each gives every row of a table to f. A column in must has to be there. An
// error of f concerns that row, and is reported. A table that this version does
// not have has no rows.
func (p *psa) each(name string, must []string, f func(r row) error) error {
	t := p.tables[name]
	if t == nil {
		return nil
	}
	for _, c := range must {
		if t.column(c) < 0 {
			return fmt.Errorf("%w: %q of table %q", ErrNoColumn, c, t.name)
		}
	}
	for i, v := range t.rows {
		if err := f(row{t, v}); err != nil {
			p.problem("bad-row", qmailkit.Error, "table %q, row %d: %w", t.name, i+1, err)
		}
	}
	return nil
}

func (p *psa) domains() error {
	return p.each("domains", []string{"id", "name"}, func(r row) (err error) {
		d := &Domain{Name: r.text("name"), DisplayName: r.text("displayName")}
		if d.ID, err = r.id("id"); err != nil {
			return err
		}
		if d.Status, err = r.number("status"); err != nil {
			return err
		}
		if d.Name == "" || p.domain[d.ID] != nil {
			return fmt.Errorf("domain %q, id %d: no name, or an id that another has", d.Name, d.ID)
		}
		if d.Status != 0 {
			p.problem("domain-suspended", qmailkit.Warning, "domain %s is not active: status %d", d.Name, d.Status)
		}
		p.domain[d.ID] = d
		p.out.Domains = append(p.out.Domains, d)
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
			if a.Status, err = r.number("status"); err != nil {
				return err
			}
			d := p.domain[dom]
			if d == nil {
				return fmt.Errorf("alias domain %q belongs to domain %d, which there is not", a.Name, dom)
			}
			d.Aliases = append(d.Aliases, a)
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
		if d.MailStatus, err = r.number("status"); err != nil {
			return err
		}
		if d.MailStatus != 0 {
			p.problem("mail-suspended", qmailkit.Warning, "mail of domain %s is not active: status %d", d.Name, d.MailStatus)
		}
		id, err := r.number("parameters_id")
		if err == nil && id > 0 {
			d.Unknown = unknownOf(params[uint64(id)])
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, d := range p.out.Domains {
		if u := unknownOf(params[d.ID]); d.Unknown.Action == "" && u.Action != "" {
			p.problem("catch-all-join", qmailkit.Warning, "domain %s has no mail parameters by way of DomainServices; those with the domain's id say %q %s, and may be another's", d.Name, u.Action, u.Address)
		}
	}
	return nil
}

func unknownOf(m map[string]string) Unknown {
	return Unknown{Action: m["nonexist_mail"], Address: m["catch_addr"], Text: m["bounce_mess"]}
}

func (p *psa) accounts() (map[uint64]Password, error) {
	all := map[uint64]Password{}
	return all, p.each("accounts", []string{"id", "type", "password"}, func(r row) error {
		id, err := r.id("id")
		if err == nil {
			all[id] = Password{Type: strings.ToLower(r.text("type")), Stored: qmailkit.Secret(r.text("password"))}
		}
		return err
	})
}

func (p *psa) mailnames() error {
	accounts, err := p.accounts()
	if err != nil {
		return err
	}
	return p.each("mail", []string{"id", "mail_name", "dom_id", "account_id", "postbox"}, func(r row) (err error) {
		m := &Mailname{Name: r.text("mail_name"), Mailbox: r.yes("postbox"), Group: r.yes("mail_group"), Quota: -1,
			AutoRespond: r.yes("autoresponder"), SpamFilter: r.text("spamfilter"), VirusFilter: r.text("virusfilter"),
			Description: r.text("description"), External: r.text("externalEmail"),
			NoDelivery: r.has("delivery") && !r.yes("delivery")}
		if m.ID, err = r.id("id"); err != nil {
			return err
		}
		dom, err := r.id("dom_id")
		if err != nil {
			return err
		}
		d := p.domain[dom]
		if d == nil {
			p.problem("no-domain", qmailkit.Error, "mail name %q, id %d, belongs to domain %d, which there is not", m.Name, m.ID, dom)
			return nil
		}
		key := nameKey{dom, strings.ToLower(m.Name)}
		if m.Name == "" || p.mail[m.ID] != nil || p.names[key] {
			return fmt.Errorf("mail name %q of %s, id %d: no name, or one that is there already", m.Name, d.Name, m.ID)
		}
		if r.text("mbox_quota") != "" {
			if m.Quota, err = r.number("mbox_quota"); err != nil {
				return err
			}
		}
		p.password(m, d, r, accounts)
		if r.yes("redirect") && r.text("redir_addr") != "" {
			m.Forwards = append(m.Forwards, r.text("redir_addr"))
		} else if a := r.text("redir_addr"); a != "" {
			m.Off = append(m.Off, a)
		}
		p.mail[m.ID], p.names[key] = m, true
		d.Mailnames = append(d.Mailnames, m)
		return nil
	})
}

// password finds the account. A mailbox without a password that opens it is
// reported: no empty one may be made of it.
func (p *psa) password(m *Mailname, d *Domain, r row, accounts map[uint64]Password) {
	id, err := r.number("account_id")
	pw, ok := accounts[uint64(id)]
	if err == nil && id > 0 && ok {
		m.Password = pw
	}
	switch {
	case !m.Mailbox:
	case m.Password.Type == "" && !ok:
		p.problem("no-account", qmailkit.Error, "mailbox %s@%s has no row in accounts: nobody knows its password", m.Name, d.Name)
	case m.Password.Stored == "":
		p.problem("no-password", qmailkit.Error, "mailbox %s@%s has an empty password", m.Name, d.Name)
	case m.Password.Type != "plain" && m.Password.Type != "crypt" && m.Password.Type != "sym":
		p.problem("password-type", qmailkit.Warning, "mailbox %s@%s: passwords of type %q are not known", m.Name, d.Name, m.Password.Type)
	}
}

// mailname finds the mail name that a row of another table belongs to.
func (p *psa) mailname(r row) (*Mailname, error) {
	id, err := r.id("mn_id")
	if err != nil {
		return nil, err
	}
	m := p.mail[id]
	if m == nil {
		return nil, fmt.Errorf("belongs to mail name %d, which there is not", id)
	}
	return m, nil
}

func (p *psa) mailAliases() error {
	return p.each("mail_aliases", []string{"mn_id", "alias"}, func(r row) error {
		m, err := p.mailname(r)
		if err != nil {
			return fmt.Errorf("alias %q: %w", r.text("alias"), err)
		}
		if r.text("alias") == "" {
			return fmt.Errorf("an alias of %q without a name", m.Name)
		}
		m.Aliases = append(m.Aliases, r.text("alias"))
		return nil
	})
}

// redirects are the members of a group, and in newer versions every forward.
// Older ones have the single forward in table mail, and what stands here for a
// name that is no group is switched off.
func (p *psa) redirects() error {
	old := p.tables["mail"].column("redirect") >= 0
	return p.each("mail_redir", []string{"mn_id", "address"}, func(r row) error {
		m, err := p.mailname(r)
		if err != nil {
			return fmt.Errorf("forward to %q: %w", r.text("address"), err)
		}
		switch a := r.text("address"); {
		case a == "":
			return fmt.Errorf("a forward of %q to nowhere", m.Name)
		case m.Group || !old:
			if !slices.Contains(m.Forwards, a) {
				m.Forwards = append(m.Forwards, a)
			}
		case !slices.Contains(m.Forwards, a):
			m.Off = append(m.Off, a)
		}
		return nil
	})
}
