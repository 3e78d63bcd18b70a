package qmailcontrol

import (
	"net/netip"
	"strings"
)

// How says how qmail-remote finds the host that it sends to.
type How uint8

const (
	ByMX      How = iota // the MX records of the domain
	ByRelay              // the host that smtproutes names, without asking for MX
	ByLiteral            // the domain is an address
)

// String returns "mx", "relay" or "literal".
func (h How) String() string {
	return [...]string{"mx", "relay", "literal", "unknown"}[min(h, ByLiteral+1)]
}

// DefaultPort is the port of SMTP.
const DefaultPort = 25

// A Route is the way of remote mail.
type Route struct {
	How How
	// Host is the domain, or with ByRelay the host as smtproutes has it. If it
	// is empty qmail-remote gives up at once, for good.
	Host string
	// Addr is the address that Host spells, in brackets or not. It is not
	// valid where Host is a name.
	Addr netip.Addr
	Port uint16
	// Key is the entry of smtproutes that decided, if Found.
	Key   string
	Found bool
}

// Relaying decides about remote mail (qmail-remote.c).
type Relaying struct {
	HeloHost string

	routes Map
}

// Remote returns the decisions of the files that c holds now. The error is a
// *ControlsError: with it qmail-remote puts all mail off.
func (c *Config) Remote() (*Relaying, error) {
	s := controls{program: "qmail-remote"}
	set := c.Settings()
	take(&s, "me", set.Me)
	take(&s, "timeoutremote", set.TimeoutRemote)
	take(&s, "timeoutconnect", set.TimeoutConnect)
	r := &Relaying{
		HeloHost: need(&s, "helohost", set.HeloHost),
		routes:   take(&s, "smtproutes", set.SMTPRoutes),
	}
	if s.err != nil {
		return nil, s.err
	}
	return r, nil
}

// Route returns the way to a domain. Looked up in smtproutes are the domain,
// the rest of it from each dot on, and the empty key; the first that is there
// decides. An empty value means MX.
func (r *Relaying) Route(domain string) Route {
	way := Route{Host: domain, Port: DefaultPort}
	for i := 0; i <= len(domain); i++ {
		if i > 0 && i < len(domain) && domain[i] != '.' {
			continue
		}
		value, ok := r.routes.Lookup(domain[i:])
		if !ok {
			continue
		}
		way.Key, way.Found = domain[i:], true
		if value != "" {
			way.How = ByRelay
			way.Host, way.Port = splitRelay(value)
		}
		break
	}
	if addr, ok := hostAddr(way.Host); ok {
		way.Addr = addr
		if way.How == ByMX {
			way.How = ByLiteral
		}
	}
	return way
}

// splitRelay parts the value of an entry of smtproutes at its first colon.
// Behind that the digits are the port, cut to 16 bits; none are port 0.
func splitRelay(value string) (host string, port uint16) {
	host, text, ok := strings.Cut(value, ":")
	if !ok {
		return host, DefaultPort
	}
	n, _ := scanNumber(text)
	return host, uint16(n)
}

// scanNumber reads the digits at the start of s (scan_ulong.c). The number
// wraps at 64 bits.
func scanNumber(s string) (n uint64, length int) {
	for length < len(s) && '0' <= s[length] && s[length] <= '9' {
		n = n*10 + uint64(s[length]-'0')
		length++
	}
	return n, length
}

// scanIP reads four numbers with dots between them at the start of s (ip.c).
// Each is cut to a byte; there is nothing that refuses 256.
func scanIP(s string) (netip.Addr, int) {
	var ip [4]byte
	at := 0
	for i := range ip {
		if i > 0 {
			if at == len(s) || s[at] != '.' {
				return netip.Addr{}, 0
			}
			at++
		}
		n, length := scanNumber(s[at:])
		if length == 0 {
			return netip.Addr{}, 0
		}
		ip[i] = byte(n)
		at += length
	}
	return netip.AddrFrom4(ip), at
}

// scanBracket is scanIP in brackets.
func scanBracket(s string) (netip.Addr, int) {
	if s == "" || s[0] != '[' {
		return netip.Addr{}, 0
	}
	addr, n := scanIP(s[1:])
	if n == 0 || n+1 == len(s) || s[n+1] != ']' {
		return netip.Addr{}, 0
	}
	return addr, n + 2
}

// hostAddr is the address that a host is, with or without brackets. To the C of
// qmail a host ends at a NUL.
func hostAddr(host string) (netip.Addr, bool) {
	host, _, _ = strings.Cut(host, "\x00")
	if host == "" {
		return netip.Addr{}, false
	}
	if addr, n := scanIP(host); n == len(host) {
		return addr, true
	}
	addr, n := scanBracket(host)
	return addr, n == len(host)
}
