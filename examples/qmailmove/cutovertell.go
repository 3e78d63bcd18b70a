//go:build unix

package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// remindHUP asks for the signal that qmail-send needs.
func (s *switching) remindHUP() {
	s.env.Printf("Now send HUP to the old host's qmail-send, which reads locals and virtualdomains again:\n  svc -h /service/qmail-send    or    kill -HUP $(pidof qmail-send)\nUntil then it delivers as before. smtproutes and rcpthosts are read for each message.\n")
}

// told says what was done, and what else there is to know.
func (s *switching) told(plan qmailcontrol.Plan, done string) {
	s.env.Printf("%s: %s.\n", strings.Join(s.domains, ", "), done)
	if plan.Reload() == qmailcontrol.ReloadRestart {
		s.env.Printf("Now restart the old host's qmail:\n  svc -t /service/qmail-send    or    /etc/init.d/qmail restart\n")
	}
	if c, found := s.old.Entry("rejectnonexist"); found {
		if l, err := qmailcontrol.Parse([]byte(c.Text)); err == nil && l.Set().Has(s.domain) {
			s.env.Printf("%s stands in rejectnonexist: the old host refuses addresses that it does not have itself. One that is made on the new host only will be refused by the old one.\n", s.domain)
		}
	}
}

// stays warns of domains that virtualdomains leads to the same mailboxes, and
// that psa does not name: their mail would go on to arrive at the old host.
func (s *switching) stays() {
	l, err := s.old.Lines("virtualdomains")
	if err != nil {
		return // there is none
	}
	ours := func(domain string) bool {
		return slices.ContainsFunc(s.domains, func(d string) bool { return strings.EqualFold(d, domain) })
	}
	values := map[string]bool{}
	for _, mine := range []bool{true, false} {
		for i := range l.Len() {
			key, value, found := strings.Cut(strings.TrimRight(l.Text(i+1), " \t"), ":")
			switch {
			case !found || value == "" || strings.HasPrefix(key, "#"):
			case mine && ours(key):
				values[value] = true
			case !mine && !ours(key) && !ours(key[strings.LastIndexByte(key, '@')+1:]) && values[value]:
				s.env.Printf("WARNING: %s leads to the same mailboxes as %s by line %d of virtualdomains, and stays as it is: psa does not have it as another name of the domain, or is not given.\n", key, s.domain, i+1)
			}
		}
	}
}

// names checks the DNS.
func (s *switching) names(ctx context.Context, switched bool) {
	if s.c.cutover.dns == "" {
		s.env.Printf("The DNS was not looked at: -dns SERVER does.\n")
		return
	}
	d := &dnsCheck{resolver: newResolver(s.c.cutover.dns), switched: switched}
	host, _, _ := strings.Cut(s.c.cutover.route, ":")
	var err error
	if d.hosts, err = d.find(ctx, host); err != nil {
		d.warn("new-host", host, fmt.Errorf("the new host's address is not known, so nothing is compared with it: %w", err), "")
	}
	for _, name := range s.domains {
		d.domain(ctx, name)
	}
	clients := []string(s.c.cutover.clients)
	if len(clients) == 0 {
		for _, n := range []string{"mail", "pop", "pop3", "imap", "smtp"} {
			clients = append(clients, n+"."+s.domain)
		}
	}
	for _, name := range clients {
		d.name(ctx, name, true)
	}
	s.env.Printf("The DNS, as %s has it:\n", d.server)
	for _, l := range d.lines {
		s.env.Printf("  %s\n", cli.Name(l))
	}
	if d.cached {
		s.env.Printf("  It is not the zone's own server: a TTL may be what is left of a longer one.\n")
	}
	enc := jsonl.NewEncoder(s.env.Stdout)
	for _, p := range d.probs {
		s.env.Printf("  WARNING: %s\n", p.String())
		if s.c.json {
			enc.Encode(jsonl.Problem(p))
		}
	}
	s.env.Printf("\n")
}

// whitelist prints the lines that let the old host in at the new one.
func (s *switching) whitelist(ctx context.Context) error {
	var list []netip.Addr
	for _, a := range s.c.cutover.old {
		ip, err := netip.ParseAddr(a)
		if err != nil {
			return cli.Usagef("-old-address %q is no address", a)
		}
		list = append(list, ip.Unmap())
	}
	if len(list) == 0 && s.c.cutover.dns != "" {
		if me, err := s.old.Lines("me"); err == nil {
			list, _ = newResolver(s.c.cutover.dns).find(ctx, me.First())
		}
	}
	if len(list) == 0 {
		s.env.Printf("Where the new host runs qpsmtpd, let the old one in: -old-address IP prints the lines.\n")
		return nil
	}
	s.env.Printf("Where the new host runs qpsmtpd, its plugin whitelist lets the old one in by these lines in config/whitelisthosts:\n")
	for _, l := range whitelistHosts(list) {
		s.env.Printf("  %s\n", l)
	}
	s.env.Printf("An entry is the beginning of an address there: 192.0.2.1 stands for 192.0.2.10 too.\n")
	return nil
}

// whitelistHosts are lines of qpsmtpd's config/whitelisthosts: an address as
// text, or its beginning (plugins/whitelist, check_host).
func whitelistHosts(list []netip.Addr) (lines []string) {
	for _, a := range list {
		lines = append(lines, a.String())
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}
