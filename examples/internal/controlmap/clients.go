package controlmap

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit/sendmail"
)

// A network is a prefix of addresses of one to four octets, with what Sendmail
// does with clients in it.
type network struct {
	octets []byte
	fates  []*fate
	addr   netip.Addr // one of it that was asked for
	rule   string     // what tcp.smtp does with a client
	asked  bool
}

// The rules of tcp.smtp.
const (
	allowRule = "allow"
	denyRule  = "deny"
	relayRule = `allow,RELAYCLIENT=""`
)

// parseNetwork reads "192.0.2", also with a dot at its end.
func parseNetwork(s string) ([]byte, bool) {
	var octets []byte
	for part := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil || len(octets) == 4 || part != strconv.FormatUint(n, 10) {
			return nil, false
		}
		octets = append(octets, byte(n))
	}
	return octets, true
}

// key is the address of a rule: all octets, or some with a dot behind them.
func (n *network) key() string {
	var b strings.Builder
	for i, o := range n.octets {
		b.WriteString(strconv.Itoa(int(o)))
		if i < 3 {
			b.WriteByte('.')
		}
	}
	return b.String()
}

// A netIndex finds networks by their octets.
type netIndex map[string]*network

// narrowest is the network that has these octets, of those with at least so
// many and at most so many; nil if there is none.
func (x netIndex) narrowest(octets []byte, least, most int) *network {
	for n := most; n >= least; n-- {
		if m := x[string(octets[:n])]; m != nil {
			return m
		}
	}
	return nil
}

// sample is an address of the network that no narrower one has.
func (x netIndex) sample(n *network) (netip.Addr, bool) {
	for i := 1; i < 255; i++ {
		octets := slices.Clone(n.octets)
		for len(octets) < 4 {
			octets = append(octets, byte(i))
		}
		if len(n.octets) == 4 || x.narrowest(octets, len(n.octets)+1, 4) == nil {
			return netip.AddrFrom4([4]byte(octets)), true
		}
	}
	return netip.Addr{}, false
}

// networks collects what the tables say of clients by their addresses.
func (b *builder) networks() []*network {
	var all []*network
	b.nets = netIndex{}
	for _, list := range [][]entry{b.relayed, b.access} {
		for i := range list {
			e := &list[i]
			if !e.has("connect") {
				if !slices.Contains([]string{"from", "to"}, e.Tag) {
					e.lose("qmail has nothing for the tag %.40q", e.Tag)
				}
				continue
			}
			if !e.Network {
				b.clientName(e)
				continue
			}
			octets, ok := parseNetwork(e.Key)
			switch {
			case strings.Contains(e.Key, ":"):
				e.lose("tcp.smtp has no rules for IPv6")
				continue
			case !ok:
				e.idle("it has no effect: it is no network on the border of an octet")
				continue
			case octets[0] == 0:
				e.lose("no client has such an address, and a rule for it is not made")
				continue
			}
			n := &network{octets: octets}
			if there := b.nets[string(octets)]; there != nil {
				n = there
			} else {
				b.nets[string(octets)] = n
				all = append(all, n)
			}
			n.fates = append(n.fates, e.fate)
		}
	}
	slices.SortFunc(all, func(a, c *network) int {
		return cmp.Or(cmp.Compare(len(a.octets), len(c.octets)), slices.Compare(a.octets, c.octets))
	})
	return all
}

// clientName tells of an entry for clients of a name only; those without a tag
// are told of with the domain.
func (b *builder) clientName(e *entry) {
	if e.Tag != "connect" {
		return
	}
	switch {
	case !plainDomain(strings.TrimPrefix(e.Key, ".")):
		e.idle("it has no effect: it is no domain, and no network as Sendmail writes it")
	case strings.HasPrefix(e.Key, "localhost") && e.Action == sendmail.AccessRelay:
		e.change("the host itself is 127.0.0.1 to tcpserver: see that tcp.smtp has a rule for it")
	default:
		e.lose("tcp.smtp knows clients by address; a rule =%s: needs a tcpserver that asks for names", e.Key)
	}
}

// printable leaves out what nobody should see.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s[:min(len(s), 80)])
}

// clients makes rules of tcp.smtp. Of several that have an address the narrowest
// decides, whatever their order (tcpserver's rules.c), as in the access map.
func (b *builder) clients() error {
	all := b.networks()
	if b.shut {
		return nil
	}
	for _, n := range all {
		addr, ok := b.nets.sample(n)
		if !ok {
			for _, f := range n.fates {
				f.idle("it has no effect: narrower networks have all of its addresses")
			}
			continue
		}
		if err := b.client(n, addr); err != nil {
			return err
		}
	}
	for _, n := range all {
		if !n.asked {
			continue
		}
		outer := allowRule
		if m := b.nets.narrowest(n.octets, 1, len(n.octets)-1); m != nil {
			outer = m.rule
		}
		for _, f := range n.fates {
			if n.rule == outer {
				continue
			}
			if n.rule == relayRule && len(n.octets) == 1 && n.octets[0] != 10 && n.octets[0] != 127 {
				f.change("16 million addresses may relay")
			}
			b.add(f, Clients, n.key(), n.key()+":"+n.rule)
		}
	}
	return nil
}

// client asks what Sendmail does with clients of a network.
func (b *builder) client(n *network, addr netip.Addr) error {
	a, err := b.ask(addr, "a@"+elsewhere, "postmaster")
	if err != nil {
		return err
	}
	n.addr, n.rule, n.asked = addr, allowRule, true
	switch {
	case a.Action == sendmail.AccessDiscard || a.Action == sendmail.AccessQuarantine:
		for _, f := range n.fates {
			f.lose("Sendmail takes mail from there and puts it aside; qmail delivers it")
		}
		return nil
	case !a.Accepted():
		n.rule = denyRule
		if a.Text != "Access denied" || a.Temporary() {
			for _, f := range n.fates {
				f.change("the connection is closed without a text, and the client tries again")
			}
		}
		return nil
	}
	relays, err := b.relays(addr, elsewhere)
	if relays && !b.open {
		n.rule = relayRule
	}
	return err
}
