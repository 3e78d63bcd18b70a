//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/qmailkit/qmailkit"
)

// A resolver asks one server.
type resolver struct {
	server string
	client dns.Client
	tcp    dns.Client
}

func newResolver(server string) *resolver {
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(strings.Trim(server, "[]"), "53")
	}
	return &resolver{server: server, client: dns.Client{Timeout: 5 * time.Second}, tcp: dns.Client{Net: "tcp", Timeout: 5 * time.Second}}
}

// errNoName says that a name is not in the DNS, or has no such records.
var errNoName = errors.New("is not in the DNS")

// ask gives the records of a name, aliases on the way to it included.
func (r *resolver) ask(ctx context.Context, name string, kind uint16) ([]dns.RR, bool, error) {
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), kind)
	in, _, err := r.client.ExchangeContext(ctx, q, r.server)
	if err == nil && in.Truncated {
		in, _, err = r.tcp.ExchangeContext(ctx, q, r.server)
	}
	switch {
	case err != nil:
		return nil, false, err
	case in.Rcode == dns.RcodeNameError:
		return nil, in.Authoritative, errNoName
	case in.Rcode != dns.RcodeSuccess:
		return nil, false, fmt.Errorf("%s answers %s", r.server, dns.RcodeToString[in.Rcode])
	}
	return in.Answer, in.Authoritative, nil
}

// maxAliases bounds a chain of aliases.
const maxAliases = 8

// addresses gives the records that lead from a name to its addresses. A server
// that has the zone of the name, but not that of the name which it is an alias
// of, gives the alias only: it is asked for the other one too.
func (r *resolver) addresses(ctx context.Context, name string, kind uint16) (list []dns.RR, authoritative bool, err error) {
	authoritative = true
	at := name
	for range maxAliases {
		records, aa, err := r.ask(ctx, at, kind)
		authoritative = authoritative && aa
		if err != nil && at != name {
			err = fmt.Errorf("is an alias of %s, which this server cannot tell: %w", at, err)
		}
		if err != nil {
			return list, authoritative, err
		}
		list = append(list, records...)
		next := at
		for _, rr := range records {
			switch rr := rr.(type) {
			case *dns.CNAME:
				next = strings.TrimSuffix(rr.Target, ".")
			case *dns.A, *dns.AAAA:
				return list, authoritative, nil
			}
		}
		if next == at {
			return list, authoritative, nil
		}
		at = next
	}
	return list, authoritative, fmt.Errorf("has more than %d aliases on its way", maxAliases)
}

// maxTTL is the longest time to live, in seconds, that does not keep clients at
// the old host for long.
const maxTTL = 900

// A dnsCheck looks at the names by which a domain is found.
type dnsCheck struct {
	*resolver
	hosts    []netip.Addr // the new host
	switched bool         // the old host has been switched over already
	probs    []qmailkit.Problem
	lines    []string // what was found, for people
	cached   bool     // an answer came from a cache
}

func (d *dnsCheck) warn(code, name string, err error, fix string) {
	p := qmailkit.Problem{Code: "dns." + code, Severity: qmailkit.Warning, Path: name, Err: err, Fix: fix}
	// The same alias leads to A and to AAAA.
	if !slices.ContainsFunc(d.probs, func(o qmailkit.Problem) bool { return o.String() == p.String() }) {
		d.probs = append(d.probs, p)
	}
}

// domain checks MX and the addresses behind it.
func (d *dnsCheck) domain(ctx context.Context, name string) {
	records, aa, err := d.ask(ctx, name, dns.TypeMX)
	if err != nil && !errors.Is(err, errNoName) {
		d.warn("unknown", name, fmt.Errorf("MX: %w", err), "")
		return
	}
	d.cached = d.cached || !aa
	d.times(name, records)
	var hosts []string
	for _, rr := range records {
		if mx, ok := rr.(*dns.MX); ok {
			d.lines = append(d.lines, fmt.Sprintf("%s MX %d %s, TTL %d", name, mx.Preference, mx.Mx, mx.Hdr.Ttl))
			if mx.Mx == "." { // RFC 7505
				d.warn("mx", name, errors.New("its MX says that it takes no mail"), "")
				return
			}
			hosts = append(hosts, strings.TrimSuffix(mx.Mx, "."))
		}
	}
	if len(hosts) == 0 {
		d.lines = append(d.lines, name+" has no MX: its address counts")
		hosts = []string{name}
	}
	slices.Sort(hosts)
	here := false
	for _, h := range slices.Compact(hosts) {
		here = d.name(ctx, h, false) || here
	}
	if d.switched && !here && len(d.hosts) > 0 {
		d.warn("mx", name, errors.New("no MX of it leads to the new host yet: its mail goes by way of the old one"), "point the MX to the new host")
	}
}

// name checks the addresses of a name, and says whether one is the new host's.
func (d *dnsCheck) name(ctx context.Context, name string, client bool) (here bool) {
	found := false
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		records, aa, err := d.addresses(ctx, name, kind)
		if err == errNoName {
			break
		}
		d.times(name, records)
		if err != nil {
			d.warn("unknown", name, fmt.Errorf("%s: %w", dns.TypeToString[kind], err), "")
			return false
		}
		d.cached = d.cached || !aa && len(records) > 0
		for _, rr := range records {
			at, ok := address(rr)
			if !ok {
				continue
			}
			found = true
			mine := slices.Contains(d.hosts, at)
			here = here || mine
			where := "elsewhere"
			if mine {
				where = "the new host"
			}
			if len(d.hosts) == 0 {
				where = "not compared"
			}
			d.lines = append(d.lines, fmt.Sprintf("%s %s %s, TTL %d (%s)", name, dns.TypeToString[rr.Header().Rrtype], at, rr.Header().Ttl, where))
		}
	}
	switch {
	case !found && client:
		d.lines = append(d.lines, name+" is not in the DNS: nobody uses it")
	case !found:
		d.warn("no-address", name, errNoName, "")
	case client && d.switched && !here && len(d.hosts) > 0:
		d.warn("client-name", name, errors.New("does not lead to the new host yet: POP3 and IMAP programs that use it find the old one"), "point it to the new host")
	}
	return here
}

func address(rr dns.RR) (netip.Addr, bool) {
	switch rr := rr.(type) {
	case *dns.A:
		return addrOf(rr.A)
	case *dns.AAAA:
		return addrOf(rr.AAAA)
	}
	return netip.Addr{}, false
}

func addrOf(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	return a.Unmap(), ok
}

// times warns of records that others keep for too long, once for each name.
func (d *dnsCheck) times(name string, records []dns.RR) {
	var most *dns.RR_Header
	for _, rr := range records {
		if h := rr.Header(); h.Ttl > maxTTL && (most == nil || h.Ttl > most.Ttl) {
			most = h
		}
	}
	if most == nil {
		return
	}
	d.warn("ttl", name, fmt.Errorf("its %s has a TTL of %d seconds, more than %d: for that long after the change others still go to the old host",
		dns.TypeToString[most.Rrtype], most.Ttl, maxTTL), fmt.Sprintf("lower it to %d or less, and wait %d seconds before the switch", maxTTL, most.Ttl))
}

// find gives the addresses of a host of the command line.
func (r *resolver) find(ctx context.Context, host string) (list []netip.Addr, err error) {
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		records, _, err := r.addresses(ctx, host, kind)
		if err != nil && !errors.Is(err, errNoName) {
			return nil, err
		}
		for _, rr := range records {
			if a, ok := address(rr); ok {
				list = append(list, a)
			}
		}
	}
	if len(list) == 0 {
		return nil, errNoName
	}
	return list, nil
}
