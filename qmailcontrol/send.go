package qmailcontrol

import "strings"

// Channel is where qmail-send hands a recipient to.
type Channel uint8

const (
	Remote Channel = iota // qmail-rspawn, qmail-remote
	Local                 // qmail-lspawn, qmail-local
)

// String returns "remote" or "local".
func (c Channel) String() string {
	return [...]string{"remote", "local", "unknown"}[min(c, Local+1)]
}

// Reason says what decided about a recipient.
type Reason uint8

const (
	ByNothing        Reason = iota // in none of the files: remote
	ByLocals                       // locals: local
	ByVirtualDomains               // virtualdomains: local, with a prefix
	ByException                    // a line of virtualdomains with an empty value: remote
)

// String returns "nothing", "locals", "virtualdomains" or "exception".
func (r Reason) String() string {
	return [...]string{"nothing", "locals", "virtualdomains", "exception", "unknown"}[min(r, ByException+1)]
}

// A Target is what qmail-send makes of a recipient.
type Target struct {
	Channel Channel
	// To is the recipient as qmail-lspawn or qmail-rspawn gets it. A NUL in
	// it, which can only come from control/envnoathost, breaks the queue's
	// record there.
	To string
	// Address is To without the prefix of a virtual domain.
	Address string
	Reason  Reason
	// Prepend is what virtualdomains puts in front, without the dash.
	Prepend string
	// Key is the entry of virtualdomains that decided.
	Key string
}

// Local returns the local part for a local Target: what qmail-lspawn looks up.
func (t Target) Local() string {
	if at := strings.LastIndexByte(t.To, '@'); at >= 0 {
		return t.To[:at]
	}
	return t.To
}

// Sending decides where qmail-send sends recipients (qmail-send.c). It reads
// locals and virtualdomains again when it gets a HUP; this value does not.
type Sending struct {
	EnvNoAtHost    string
	BounceFrom     string // of the sender of bounces, before the '@'
	BounceHost     string // and behind it
	DoubleBounceTo string // address that bounces of bounces go to

	percentHack, locals Set
	virtual             Map
}

// Send returns the decisions of the files that c holds now. The error is a
// *ControlsError: with it qmail-send does not start.
func (c *Config) Send() (*Sending, error) {
	s := controls{program: "qmail-send"}
	set := c.Settings()
	take(&s, "me", set.Me)
	take(&s, "queuelifetime", set.QueueLifetime)
	take(&s, "concurrencylocal", set.ConcurrencyLocal)
	take(&s, "concurrencyremote", set.ConcurrencyRemote)
	d := &Sending{
		EnvNoAtHost: take(&s, "envnoathost", set.EnvNoAtHost),
		BounceFrom:  take(&s, "bouncefrom", set.BounceFrom),
		BounceHost:  take(&s, "bouncehost", set.BounceHost),
	}
	host := take(&s, "doublebouncehost", set.DoubleBounceHost)
	d.DoubleBounceTo = take(&s, "doublebounceto", set.DoubleBounceTo) + "@" + host
	d.locals = newSet(need(&s, "locals", set.Locals))
	d.percentHack = newSet(take(&s, "percenthack", set.PercentHack))
	d.virtual = take(&s, "virtualdomains", set.VirtualDomains)
	if s.err != nil {
		return nil, s.err
	}
	return d, nil
}

// Rewrite decides where a recipient of an envelope goes and under which name
// (qmail-send.c:rewrite).
func (d *Sending) Rewrite(recip string) Target {
	addr := d.unhack(recip)
	t := Target{To: addr, Address: addr}
	at := strings.LastIndexByte(addr, '@')
	if d.locals.Has(addr[at+1:]) {
		t.Channel, t.Reason = Local, ByLocals
		return t
	}
	for i := 0; i <= len(addr); i++ {
		if i > 0 && i != at+1 && i < len(addr) && (i < at || addr[i] != '.') {
			continue
		}
		prepend, ok := d.virtual.Lookup(addr[i:])
		if !ok {
			continue
		}
		t.Key, t.Reason = addr[i:], ByException
		if prepend != "" {
			t.Channel, t.Reason, t.Prepend = Local, ByVirtualDomains, prepend
			t.To = prepend + "-" + addr
		}
		break
	}
	return t
}

// unhack gives an address a host and undoes what percenthack allows.
func (d *Sending) unhack(addr string) string {
	i := strings.LastIndexByte(addr, '@')
	if i < 0 {
		i = len(addr)
		addr += "@" + d.EnvNoAtHost
	}
	for d.percentHack.Has(addr[i+1:]) {
		j := strings.LastIndexByte(addr[:i], '%')
		if j < 0 {
			break
		}
		addr = addr[:j] + "@" + addr[j+1:i]
		i = j
	}
	return addr
}

// BounceName is what a bounce calls a recipient that has gone through Rewrite:
// without the prefix of its virtual domain (qmail-send.c:stripvdomprepend).
// Prefixes that stand in virtualdomains for a whole address are not removed.
func (d *Sending) BounceName(to string) string {
	at := strings.LastIndexByte(to, '@')
	if at < 0 {
		return to
	}
	domain := to[at+1:]
	for i := 0; i <= len(domain); i++ {
		if i > 0 && i < len(domain) && domain[i] != '.' {
			continue
		}
		prepend, ok := d.virtual.Lookup(domain[i:])
		if !ok {
			continue
		}
		if rest, cut := strings.CutPrefix(to, prepend+"-"); cut && prepend != "" {
			return rest
		}
		break
	}
	return to
}
