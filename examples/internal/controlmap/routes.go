package controlmap

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/qmailkit/qmailkit/sendmail"
)

// domaintable makes alias domains of domains that Sendmail takes for others.
func (b *builder) domaintable() error {
	for e, f := range b.entries("domaintable") {
		old, now := strings.ToLower(e.Key), strings.ToLower(e.Value)
		switch {
		case b.ours(old):
			f.idle("it is a domain of the new host already")
		case b.ours(now):
			if b.alias(f, old, now) {
				f.change("headers keep the old domain")
			}
		default:
			f.lose("mail for it would have to go on as mail for %.80q, which is no domain of the new host", now)
		}
	}
	return nil
}

// alias makes an alias domain, if the new host can have it.
func (b *builder) alias(f *fate, name, of string) bool {
	err := b.o.AliasOK(name)
	if err == nil && !plainDomain(name) {
		err = errors.New("no domain")
	}
	if err != nil {
		f.lose("it cannot be an alias domain: %v", err)
		return false
	}
	f.carry("alias domain of %s", of)
	b.aliases[name] = true
	b.m.Aliases = append(b.m.Aliases, Alias{Name: name, Of: of, Path: f.path, Line: f.line})
	return true
}

// routes makes smtproutes of mailertable and SMART_HOST.
func (b *builder) routes() error {
	everything := false
	for e, f := range b.entries("mailertable") {
		if err := b.route(e, f); err != nil {
			return err
		}
		everything = everything || e.Key == "."
	}
	smart := b.x.Macro("S")
	if smart == "" {
		return nil
	}
	path, line := b.x.MacroPlace("S")
	f := b.fate(path, line, "smart host %.80q", smart)
	if everything && b.lines[Routes+" "] {
		f.idle("it has no effect: mailertable has a route for everything")
		return nil
	}
	d, err := b.delivery(elsewhere)
	if err == nil {
		b.line(f, "", elsewhere, d)
	}
	return err
}

// delivery is where Sendmail sends mail for a domain.
func (b *builder) delivery(domain string) (*sendmail.Delivery, error) {
	x, err := b.x.Expand(b.ctx, probe+"@"+domain)
	if err != nil {
		return nil, err
	}
	if len(x.Deliveries) != 1 {
		return &sendmail.Delivery{Kind: sendmail.DeliverError, Text: "no single delivery"}, nil
	}
	return &x.Deliveries[0], nil
}

// route makes a line of one entry.
func (b *builder) route(e *sendmail.TableEntry, f *fate) error {
	r := sendmail.ParseRoute(e)
	domain, key := r.Domain, r.Domain
	switch {
	case r.Below && r.Domain == "":
		domain = elsewhere
	case !plainDomain(r.Domain):
		f.idle("it has no effect: Sendmail asks for no domain of this name")
		return nil
	case r.Below:
		domain, key = probe+"."+r.Domain, "."+r.Domain
	}
	switch {
	case !r.Below && (b.local(domain) || b.ours(domain)):
		f.idle("it has no effect: the domain is one of the host's own")
		return nil
	case r.Error == nil && (!strings.Contains(e.Value, ":") || strings.HasPrefix(e.Value, "[")):
		f.change("%.80q has no effect, because it names no mailer", e.Value)
		return nil
	case strings.EqualFold(r.Mailer, "local") && !r.Below:
		return b.localRoute(f, domain, r.User)
	}
	d, err := b.delivery(domain)
	if err == nil {
		b.line(f, key, domain, d)
	}
	return err
}

// localRoute takes a domain whose users are the host's own, or all of whose mail
// goes to one user: a domain that is not what it was thought to be becomes one
// of its own (see aliasmap).
func (b *builder) localRoute(f *fate, domain, user string) error {
	a, err := b.ask(b.outsider, "a@"+elsewhere, probe+"@"+domain)
	if err != nil {
		return err
	}
	if !a.Accepted() {
		f.lose("it is delivered here, but no stranger may send to it; a domain of the new host would let them")
		f.fix = "-alias-domain " + domain
		return nil
	}
	if b.alias(f, domain, b.o.Domain) && user != "" {
		f.carried = []string{fmt.Sprintf("a domain whose mail goes to %.80q", user)}
	}
	return nil
}

// line makes the line of smtproutes for a key, if qmail can do as Sendmail does
// with mail for a domain that the key stands for.
func (b *builder) line(f *fate, key, domain string, d *sendmail.Delivery) {
	value, why, change := b.way(domain, d)
	if why != "" {
		f.lose("%s", why)
		return
	}
	if change != "" {
		f.change("%s", change)
	}
	b.add(f, Routes, key, key+":"+value)
}

// way is the value of smtproutes for a delivery, or why there is none; change
// is what qmail does otherwise.
func (b *builder) way(domain string, d *sendmail.Delivery) (value, why, change string) {
	switch {
	case d.Kind == sendmail.DeliverError:
		return "", fmt.Sprintf("Sendmail answers %.80q; smtproutes can send no mail back", d.Text), ""
	case d.Kind != sendmail.DeliverRemote:
		return "", fmt.Sprintf("its mail goes to %s %.80q of the old host; a domain with a catch-all would do that", d.Kind, d.Target()), ""
	}
	m, _ := b.x.Mailer(d.Mailer)
	port, smtp := m.SMTP()
	host, exact, more := firstHost(d.Host)
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	addr, err := netip.ParseAddr(strings.TrimPrefix(name, "ipv6:"))
	switch {
	case !smtp:
		return "", fmt.Sprintf("qmail-remote speaks SMTP by TCP, and the mailer %.40q does something else", d.Mailer), ""
	case !strings.EqualFold(d.User, probe+"@"+domain):
		return "", fmt.Sprintf("all of its mail goes to the one address %.80q", d.User), ""
	case err == nil && !addr.Is4():
		return "", "qmail has no IPv6", ""
	case err != nil && !plainDomain(name):
		return "", fmt.Sprintf("%.80q is no host", host), ""
	case name == domain && !exact && !more && port == "25":
		return "", "", ""
	case strings.Contains(name, probe) || strings.Contains(name, elsewhere):
		return "", "the host is made of the domain, for which smtproutes has no sign", ""
	}
	if more {
		change = "only the first of several hosts is tried"
	} else if !exact {
		change = "Sendmail asks for MX records of " + name + ", qmail for its address only: it must have one"
	}
	if port != "25" {
		name += ":" + port
	}
	return name, "", change
}

// firstHost takes "[a]:b" apart: the first host, whether it stood in brackets,
// and whether there are more.
func firstHost(list string) (host string, exact, more bool) {
	if rest, ok := strings.CutPrefix(list, "["); ok {
		host, rest, _ = strings.Cut(rest, "]")
		return host, true, rest != "" && rest != "."
	}
	host, rest, _ := strings.Cut(list, ":")
	return host, false, rest != ""
}
