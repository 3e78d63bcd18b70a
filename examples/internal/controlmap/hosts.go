package controlmap

import (
	"net/netip"
	"strings"

	"github.com/qmailkit/qmailkit/sendmail"
)

// A name is a domain that mail is, or is not, relayed for.
type name struct {
	domain string
	fates  []*fate
	at     bool // for the domain itself
	below  bool // for those below it
	ours   bool
	// relay says that an entry asks to relay for it, refuse that one refuses
	// it, and client that one counts for clients of this name too.
	relay, refuse, client bool
}

// hosts makes rcpthosts of class R and of what the access map says of
// recipients.
func (b *builder) hosts() error {
	if b.open {
		for _, list := range [][]entry{b.relayed, b.access} {
			for _, e := range list {
				if e.Action == sendmail.AccessRelay {
					e.lose("from a host that relays for everybody, nothing about relaying is carried")
				}
			}
		}
		return nil
	}
	var names []*name
	index := map[string]*name{}
	for _, list := range [][]entry{b.relayed, b.access} {
		for i := range list {
			e := &list[i]
			domain := strings.TrimPrefix(e.Key, ".")
			switch {
			case !e.has("to") || e.Network || strings.Contains(e.Key, "@"):
				continue
			case !plainDomain(domain):
				e.idle("it has no effect: it is no domain and no network")
				continue
			}
			n := index[domain]
			if n == nil {
				n = &name{domain: domain, ours: b.ours(domain)}
				index[domain] = n
				names = append(names, n)
			}
			n.fates = append(n.fates, e.fate)
			n.relay = n.relay || e.Action == sendmail.AccessRelay
			n.refuse = n.refuse || e.Action != sendmail.AccessRelay && e.Action != sendmail.AccessOK && e.Action != sendmail.AccessSkip
			n.client = n.client || e.has("connect")
		}
	}
	for _, n := range names {
		if !b.mayRelay(n.domain, index) {
			continue
		}
		var err error
		if n.at, err = b.relays(netip.Addr{}, n.domain); err == nil {
			n.below, err = b.relays(netip.Addr{}, probe+"."+n.domain)
		}
		if err != nil {
			return err
		}
	}
	kept := map[string]string{} // of a domain: one below it that Sendmail does not relay for
	for _, n := range names {
		if n.below && (n.at || n.ours) {
			continue
		}
		for up := n.domain; up != ""; {
			_, up, _ = strings.Cut(up, ".")
			kept[up] = n.domain
		}
	}
	for _, n := range names {
		b.relayFor(n, kept[n.domain])
		if err := b.byName(n); err != nil {
			return err
		}
	}
	b.belowVirtual()
	return b.refusedRecipients(index)
}

// belowVirtual tells of hosts below the domains of virtual users, for which
// Sendmail relays although nobody has asked for that.
func (b *builder) belowVirtual() {
	if len(b.virtual) == 0 {
		return
	}
	w := b.virtual[0]
	f := b.fate(w.Path, w.Line, "hosts below %.80q and others with virtual users", w.Word)
	f.change("Sendmail takes mail for them, to send it on; the new host does not")
	f.fix = "a line .DOMAIN in control/rcpthosts"
}

// mayRelay says whether Sendmail can relay for a domain at all: something asks
// for it, or for a domain above it. Tables have thousands of others.
func (b *builder) mayRelay(domain string, index map[string]*name) bool {
	for up := domain; up != ""; _, up, _ = strings.Cut(up, ".") {
		if n := index[up]; n != nil && (n.relay || n.ours) || b.local(up) || up == b.x.Macro("m") {
			return true
		}
	}
	return false
}

// relays says whether a client may send to a domain; the zero client is a
// stranger.
func (b *builder) relays(client netip.Addr, domain string) (bool, error) {
	if !client.IsValid() {
		client = b.outsider
	}
	a, err := b.ask(client, "a@"+elsewhere, probe+"@"+domain)
	return a.Accepted(), err
}

// relayFor makes the lines of one name. "." and the name let in all that is
// below it, so there must be nothing below that Sendmail keeps out.
func (b *builder) relayFor(n *name, kept string) {
	add := func(key string) {
		for _, f := range n.fates {
			b.add(f, Hosts, key, key)
		}
	}
	switch {
	case n.at && n.ours:
		for _, f := range n.fates {
			f.idle("it is a domain of the new host")
		}
	case n.at && b.local(n.domain):
		for _, f := range n.fates {
			f.idle("it is a name of the old host itself")
		}
	case n.at:
		add(n.domain)
	}
	switch {
	case !n.below || n.domain == "localhost":
		return
	case !strings.Contains(n.domain, "."):
		for _, f := range n.fates {
			f.lose("relaying for a whole top-level domain is not carried")
		}
		return
	case kept != "":
		for _, f := range n.fates {
			f.lose("Sendmail does not relay for all of %s, and qmail would: the hosts below %s are left out", kept, n.domain)
		}
		return
	}
	add("." + n.domain)
}

// byName tells of clients that a name stands for: to know them by their names,
// tcpserver would have to look these up.
func (b *builder) byName(n *name) error {
	c := sendmail.Client{Addr: b.outsider, Name: probe + "." + n.domain}
	ask := func(rcpt string) (accepted bool, err error) {
		a, err := b.x.Envelope(b.ctx, c, "a@"+elsewhere, rcpt)
		return a.Accepted(), err
	}
	var relays, shut bool
	var err error
	if n.client && n.relay {
		relays, err = ask("b@" + elsewhere)
	}
	if err == nil && n.client && n.refuse {
		shut, err = ask("postmaster")
		shut = !shut
	}
	for _, f := range n.fates {
		switch {
		case err != nil:
			return err
		case relays:
			f.change("clients with a name in it might relay, and may not on the new host")
		case shut:
			f.change("clients with a name in it were refused, and are not on the new host")
		}
	}
	return err
}

// refusedRecipients tells of recipients that Sendmail refuses and qmail would
// take.
func (b *builder) refusedRecipients(index map[string]*name) error {
	for i := range b.access {
		e := &b.access[i]
		user, domain, isAddress := strings.Cut(e.Key, "@")
		if !e.has("to") || e.Network || !isAddress && index[e.Key] == nil {
			continue
		}
		rcpt := user + "@" + domain
		switch {
		case !isAddress && !b.ours(user) && e.Action != sendmail.AccessDiscard && e.Action != sendmail.AccessQuarantine:
			continue // it is not taken either way
		case !isAddress:
			domain, rcpt = user, probe+"@"+user
		case domain == "":
			domain, rcpt = b.o.Domain, user+"@"+b.o.Domain
		}
		a, err := b.ask(b.outsider, "a@"+elsewhere, rcpt)
		if err != nil {
			return err
		}
		usual, err := b.relays(netip.Addr{}, domain)
		if err != nil {
			return err
		}
		switch {
		case a.Action == sendmail.AccessDiscard || a.Action == sendmail.AccessQuarantine:
			e.lose("Sendmail takes mail to it and puts it aside; qmail delivers it")
		case a.Accepted() && isAddress && !usual:
			e.lose("qmail relays for domains, and not for single addresses")
		case !a.Accepted() && (usual && isAddress || b.ours(domain)):
			e.lose("qmail takes mail to it, and Sendmail does not")
			e.fix = "a .qmail file with bouncesaying, or a list like badrcptto of a patch"
		}
	}
	return nil
}

// senders makes badmailfrom of what the access map says of senders.
func (b *builder) senders() error {
	for i := range b.access {
		e := &b.access[i]
		if !e.has("from") || e.Network || b.shut {
			continue
		}
		if err := b.sender(e); err != nil {
			return err
		}
	}
	return nil
}

// sender makes the line of one entry. A line refuses at once and for good, and
// has no exceptions.
func (b *builder) sender(e *entry) error {
	user, domain, isAddress := strings.Cut(e.Key, "@")
	sender, key := e.Key, e.Key
	switch {
	case isAddress && domain == "":
		sender = user + "@" + elsewhere
	case !isAddress:
		domain, sender, key = user, probe+"@"+user, "@"+user
	}
	a, err := b.ask(b.outsider, sender, "postmaster")
	if err != nil {
		return err
	}
	switch {
	case a.Action == sendmail.AccessDiscard || a.Action == sendmail.AccessQuarantine:
		e.lose("Sendmail takes mail from it and puts it aside; qmail delivers it")
		return nil
	case a.Accepted():
		return nil
	case a.Temporary():
		e.lose("Sendmail puts mail from it off, and qmail would refuse it for good")
		return nil
	case isAddress && domain == "":
		e.lose("qmail cannot refuse a user of any domain")
		return nil
	case !plainSender(key) || domain != "" && !plainDomain(domain):
		e.lose("it is no sender that badmailfrom could hold")
		return nil
	case !isAddress && !strings.Contains(domain, "."):
		e.lose("badmailfrom does not know what is below a domain, and so no top-level domain")
		return nil
	}
	if !isAddress {
		but, err := b.exception(domain)
		if err != nil {
			return err
		}
		if but != "" {
			e.lose("Sendmail takes mail from %s, and badmailfrom knows no exceptions", but)
			return nil
		}
		if a, err = b.ask(b.outsider, probe+"@"+probe+"."+domain, "postmaster"); err != nil {
			return err
		}
		if !a.Accepted() {
			e.change("qmail refuses senders of this very domain, and not of those below it")
		}
	}
	if e.Action == sendmail.AccessError {
		e.change("qmail answers with a text of its own")
	}
	b.add(e.fate, Senders, key, key)
	return nil
}

// exception is a sender of a refused domain from whom Sendmail takes mail.
func (b *builder) exception(domain string) (string, error) {
	for _, sender := range b.addresses[domain] {
		if a, err := b.ask(b.outsider, sender, "postmaster"); err != nil || a.Accepted() {
			return sender, err
		}
	}
	return "", nil
}

// plainSender says whether a sender can stand in a list and be asked for: it
// has no byte that either program reads in another way.
func plainSender(s string) bool {
	if s == "" || len(s) > 400 || s[0] == '#' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"\<>(),;:`, c) >= 0 {
			return false
		}
	}
	return true
}
