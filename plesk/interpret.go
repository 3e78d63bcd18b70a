package plesk

import (
	"cmp"
	"fmt"
	"maps"
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
	where  map[*Mailname]*Domain
	names  map[nameKey]*Mailname // whose a name or an alias is
	read   map[string]int        // number of rows, by table
	at     rowPlace              // of the row that is being read
}

// nameKey is a mail name of a domain, in lower case.
type nameKey struct {
	domain uint64
	name   string
}

func newPsa(tables map[string]*table, name string) *psa {
	p := &psa{name: name, tables: map[string]*table{}, out: &Server{}, domain: map[uint64]*Domain{}, mail: map[uint64]*Mailname{},
		where: map[*Mailname]*Domain{}, names: map[nameKey]*Mailname{}, read: map[string]int{}}
	for _, n := range slices.Sorted(maps.Keys(tables)) {
		p.tables[strings.ToLower(n)] = tables[n]
		if c := tables[n].charset; c != "" {
			p.problem("charset", qmailkit.Warning, "table %q: texts in another character set than UTF-8 and latin1 (%s) are kept as they stand", n, c)
		}
	}
	return p
}

// interpret reads the tables. A dump without any domain is one of definitions
// only; a live psa without any is that of a new host.
func interpret(tables map[string]*table, name string, fromDump bool) (*Server, error) {
	p := newPsa(tables, name)
	for _, n := range needed {
		if p.tables[n] == nil {
			return nil, fmt.Errorf("%s: %w: %q", name, ErrNoTable, n)
		}
	}
	p.absent()
	for _, read := range []func() error{p.domains, p.clients, p.limits, p.domainAliases, p.services, p.mailnames, p.mailAliases, p.redirects, p.responders, p.lists, p.misc} {
		if err := read(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	switch n := p.read["domains"]; {
	case len(p.out.Domains) > 0:
	case n > 0 || fromDump:
		return nil, fmt.Errorf("%s: %w: no domain in %q, of %d rows (--no-data and --tab write definitions only)", name, ErrNoRows, "domains", n)
	default: // a host that is new
		p.problem("no-domains", qmailkit.Warning, "there is no domain in table %q", "domains")
	}
	if len(p.mail) == 0 {
		p.problem("no-mail", qmailkit.Warning, "there is no mail name in table %q (%d rows)", "mail", p.read["mail"])
	}
	for _, d := range p.out.Domains {
		slices.SortFunc(d.Mailnames, func(a, b *Mailname) int { return cmp.Compare(a.ID, b.ID) })
	}
	slices.SortFunc(p.out.Domains, func(a, b *Domain) int { return cmp.Compare(a.ID, b.ID) })
	return p.out, nil
}

// absent tells what this psa says nothing of. Its version may not have it; but
// the dump may also be one of some tables only.
func (p *psa) absent() {
	for _, t := range []struct {
		names []string
		what  string
	}{
		{[]string{"domainaliases", "domain_aliases"}, "alias domains"},
		{[]string{"domainservices"}, "what becomes of mail for unknown names"},
		{[]string{"parameters"}, "what becomes of mail for unknown names"},
		{[]string{"mail_resp"}, "autoresponders"},
	} {
		if !slices.ContainsFunc(t.names, func(n string) bool { return p.tables[n] != nil }) {
			p.problem("no-table", qmailkit.Warning, "there is no table %q: %s: not known", t.names[0], t.what)
		}
	}
	for _, c := range []string{"mail_group", "mbox_quota", "autoresponder"} {
		if p.tables["mail"].column(c) < 0 {
			p.problem("no-column", qmailkit.Warning, "table %q has no column %q", "mail", c)
		}
	}
}

func (p *psa) problem(code string, s qmailkit.Severity, format string, args ...any) {
	p.out.Problems = append(p.out.Problems, qmailkit.Problem{Code: "plesk." + code, Severity: s, Path: p.name, Line: p.at.line, Offset: p.at.offset, Err: fmt.Errorf(format, args...)})
}

// row is one row, whose values are found by their columns' names.
type row struct {
	p *psa
	t *table
	v []string
}

// has says whether the table has the column.
func (r row) has(column string) bool { return r.t.column(column) >= 0 }

// text is a value as it stands; NULL and a missing column are empty.
func (r row) text(column string) string {
	if i := r.t.column(column); i >= 0 {
		return r.v[i]
	}
	return ""
}

// yes reads an enum of 'true' and 'false', or a number. What is neither is no,
// and reported.
func (r row) yes(column string) bool {
	switch s := strings.ToLower(r.text(column)); s {
	case "true", "1", "yes", "on":
		return true
	case "", "false", "0", "no", "off":
	default:
		r.p.problem("bad-value", qmailkit.Error, "column %q of table %q, id %s: %q is neither true nor false", column, r.t.name, r.text("id"), s)
	}
	return false
}

// number reads a whole number. What is none is reported, and otherwise.
func (r row) number(column string, otherwise int64) int64 {
	s := r.text(column)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		r.p.problem("bad-value", qmailkit.Error, "column %q of table %q, id %s: %q is not a whole number", column, r.t.name, r.text("id"), s)
		return otherwise
	}
	return n
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
	defer func() { p.at = rowPlace{} }()
	for i, v := range t.rows {
		if t.where != nil {
			p.at = t.where[i]
		}
		if err := f(row{p, t, v}); err != nil {
			p.problem("bad-row", qmailkit.Error, "table %q, row %d: %w", t.name, i+1, err)
		}
	}
	if p.read[name] = len(t.rows); name != "domains" {
		t.rows, t.where = nil, nil // they are large, and not needed again
	}
	return nil
}

func (p *psa) accounts() (map[uint64]Password, error) {
	all := map[uint64]Password{}
	return all, p.each("accounts", []string{"id", "type", "password"}, func(r row) error {
		id, err := r.id("id")
		if _, twice := all[id]; twice {
			return fmt.Errorf("account %d is there already", id)
		}
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
		m := &Mailname{Name: r.text("mail_name"), Mailbox: r.yes("postbox"), Group: r.yes("mail_group"), Quota: r.number("mbox_quota", -1),
			AutoRespond: r.yes("autoresponder"), SpamFilter: r.text("spamfilter"), VirusFilter: r.text("virusfilter"),
			Description: r.text("description"), External: r.text("externalEmail"),
			NoDelivery: r.text("delivery") != "" && !r.yes("delivery")}
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
		key := nameKey{dom, DirName(m.Name)}
		if m.Name == "" || p.mail[m.ID] != nil || p.names[key] != nil {
			return fmt.Errorf("mail name %q of %s, id %d: no name, or one that is there already", m.Name, d.Name, m.ID)
		}
		p.mail[m.ID], p.names[key], p.where[m] = m, m, d
		p.password(m, d, r, accounts)
		if a := r.text("redir_addr"); a != "" && r.yes("redirect") {
			p.forward(m, a)
		} else if a != "" {
			m.Off = append(m.Off, a)
		}
		d.Mailnames = append(d.Mailnames, m)
		return nil
	})
}

// forward adds a forward. One to the name itself, which some have among the
// members of a group, Plesk passes over.
func (p *psa) forward(m *Mailname, to string) {
	d := p.where[m]
	local, domain, _ := strings.Cut(to, "@")
	switch {
	case slices.Contains(m.Forwards, to):
	case DirName(local) == DirName(m.Name) && domain != "" && (DirName(domain) == DirName(d.Name) || DirName(domain) == DirName(d.DisplayName)):
		m.Off = append(m.Off, to)
		p.problem("forward-self", qmailkit.Info, "%s@%s forwards to itself, which does not count", m.Name, d.Name)
	default:
		m.Forwards = append(m.Forwards, to)
	}
}

// password finds the account. A mailbox without a password that opens it is
// reported: no empty one may be made of it.
func (p *psa) password(m *Mailname, d *Domain, r row, accounts map[uint64]Password) {
	id := r.number("account_id", 0)
	pw, ok := accounts[uint64(id)]
	if id > 0 && ok {
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
		alias := r.text("alias")
		if err != nil {
			return fmt.Errorf("alias %q: %w", alias, err)
		}
		if alias == "" {
			return fmt.Errorf("an alias of %q without a name", m.Name)
		}
		d := p.where[m]
		key := nameKey{d.ID, DirName(alias)}
		switch old := p.names[key]; {
		case old == m: // a second time, or its own name
			return nil
		case old != nil:
			p.problem("alias-twice", qmailkit.Error, "alias %s of %s@%s is a name or an alias of %s too, which comes first", alias, m.Name, d.Name, old.Name)
		default:
			p.names[key] = m
		}
		m.Aliases = append(m.Aliases, alias)
		return nil
	})
}

// redirects are the members of a group, and in newer versions every forward.
// Older ones have the single forward in table mail, and what stands here for a
// name that is no group is switched off.
//
// In newer ones it is mail_group that switches forwarding on: Plesk's own
// program for backups takes it so. A forward that is off must not be brought
// back beside a mailbox, whose mail is nobody else's. Where there is no mailbox
// mail would be lost if that were wrong in some version, so there it counts.
func (p *psa) redirects() error {
	old := p.tables["mail"].column("redirect") >= 0
	hasSwitch := p.tables["mail"].column("mail_group") >= 0
	told := map[*Mailname]bool{}
	return p.each("mail_redir", []string{"mn_id", "address"}, func(r row) error {
		m, err := p.mailname(r)
		a := r.text("address")
		switch {
		case err != nil:
			return fmt.Errorf("forward to %q: %w", a, err)
		case a == "":
			return fmt.Errorf("a forward of %q to nowhere", m.Name)
		case m.Group || !old && !hasSwitch:
			p.forward(m, a)
			return nil
		case old:
			if !slices.Contains(m.Forwards, a) {
				m.Off = append(m.Off, a)
			}
			return nil
		case m.Mailbox:
			m.Off = append(m.Off, a)
		default:
			p.forward(m, a)
		}
		if d := p.where[m]; !told[m] {
			what := "it has a mailbox and they are left out"
			if told[m] = true; !m.Mailbox {
				what = "it has no mailbox and they are taken all the same"
			}
			p.problem("forward-off", qmailkit.Warning, "%s@%s has forwards, which mail_group says are switched off: %s; its .qmail tells what the host does", m.Name, d.Name, what)
		}
		return nil
	})
}
