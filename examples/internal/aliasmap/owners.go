package aliasmap

import (
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// The owner of a list gets what comes back. Sendmail makes owner-LIST, or the
// one address that this alias has, the envelope sender of what the list sends
// on. qmail-local does so where there is a file .qmail-LIST-owner: the sender
// becomes LOCAL-owner@HOST, and LOCAL begins with the domain, because that is
// what virtualdomains has put before it. Mail to that address looks for
// .qmail-DOMAIN-LIST-owner.

// entryOf is the entry that mail for an address finds.
func (b *builder) entryOf(name, domain string) string {
	if slices.Contains(b.m.Aliases, domain) {
		domain = b.o.Domain
	}
	return name + "@" + domain
}

// owners gives the entries of a domain that forward mail their owners.
func (b *builder) owners(domain string) error {
	names := map[string]bool{}
	for _, n := range b.namesOf(domain) {
		names[n] = true
	}
	var made []Entry
	for i := range b.m.Entries {
		e := &b.m.Entries[i]
		if e.Domain != domain {
			continue
		}
		v, err := b.at(e.Name, domain)
		if err != nil {
			return err
		}
		sender, ok := b.sender(e, v)
		if !ok {
			b.ownerless(e, v, names)
			continue
		}
		more, err := b.owner(e, sender, names)
		if err != nil {
			return err
		}
		made = append(made, more...)
	}
	b.m.Entries = append(b.m.Entries, made...)
	return nil
}

// forwards says whether an entry sends mail on, and not only to another entry,
// which has an owner of its own.
func (e *Entry) forwards() bool {
	if len(e.Lines) == 1 && e.Lines[0].Kind == Forward {
		return false
	}
	return slices.ContainsFunc(e.Lines, func(l Line) bool { return l.Kind == User || l.Kind == Forward || l.Kind == Remote })
}

// sender is the envelope sender that the old host gives to what an entry sends
// on. Where lists in a list have other owners, that of the entry itself counts.
func (b *builder) sender(e *Entry, v *verdict) (sender string, ok bool) {
	if !e.forwards() || len(v.senders) == 0 {
		return "", false
	}
	sender = v.senders[0]
	if len(v.senders) > 1 {
		if _, virtual := b.keys[e.Domain][e.Name]; virtual || b.names[e.Name].path == "" {
			return "", false
		}
		own, has := b.listOwners[e.Name]
		i := slices.IndexFunc(v.senders, func(s string) bool { return has && (lower(s) == lower(own.Name) || s == own.Text) })
		if i < 0 {
			return "", false
		}
		sender = v.senders[i]
		b.say(qmailkit.Warning, "alias.owner-of-all", e.Path, e.Line,
			"%s@%s: what comes back from the lists in it goes to %s too, and not to their owners", e.Name, e.Domain, cut(sender))
	}
	return sender, sender != ""
}

// ownerless tells of an entry without an owner: that the old host had one, or
// that there will be one because of another address.
func (b *builder) ownerless(e *Entry, v *verdict, names map[string]bool) {
	if !e.forwards() {
		return
	}
	at := e.Name + "@" + e.Domain
	for _, s := range v.senders {
		if s != "" {
			b.say(qmailkit.Warning, "alias.owner-not-carried", e.Path, e.Line,
				"%s: bounces of some members went to %s on the old host, and go to the sender of the mail on the new one", at, cut(s))
		}
	}
	if name := e.Name + "-owner"; names[name] && b.has(name, e.Domain) {
		b.say(qmailkit.Warning, "alias.owner-new", e.Path, e.Line,
			"%s: what comes back goes to %s on the new host, by the rules of qmail; it went to the sender of the mail", at, name+"@"+e.Domain)
	}
}

// has says whether an address has lines.
func (b *builder) has(name, domain string) bool {
	return slices.ContainsFunc(b.m.Entries, func(e Entry) bool { return e.Name == name && e.Domain == domain })
}

// owner makes the entries for what comes back from an entry.
func (b *builder) owner(e *Entry, sender string, names map[string]bool) ([]Entry, error) {
	name, at := e.Name+"-owner", e.Name+"@"+e.Domain
	no := func(format string, args ...any) ([]Entry, error) {
		args = append([]any{at, cut(sender)}, args...)
		b.say(qmailkit.Warning, "alias.owner-not-carried", e.Path, e.Line,
			"%s: bounces went to %s on the old host, and go to the sender of the mail on the new one: "+format, args...)
		return nil, nil
	}
	w, err := b.expand(sender)
	if err != nil {
		return nil, err
	}
	switch err := b.o.NameOK(name); {
	case b.o.NoFiles:
		return no("vdelivermail, which reads the lines of addresses, changes no sender")
	case w.bounces() || len(w.ends) == 0:
		return no("it is not delivered there")
	case err != nil:
		return no("%w", err)
	}
	var made []Entry
	lines, err := b.ownerLines(sender, w)
	if err != nil {
		return nil, err
	}
	if names[name] || b.users[name] {
		v, err := b.at(name, e.Domain)
		if err != nil {
			return nil, err
		}
		if !v.same(w) || !b.has(name, e.Domain) {
			return no("%s@%s is another address already", name, e.Domain)
		}
	} else {
		made = append(made, Entry{Name: name, Domain: e.Domain, Lines: lines, Path: e.Path, Line: e.Line})
	}
	domains := []string{e.Domain}
	if e.Domain == b.o.Domain {
		domains = append(domains, b.m.Aliases...)
	}
	for _, d := range domains {
		long := d + "-" + name
		if len(long) > maxOwner || names[long] {
			return no("%.80q cannot be an address", long)
		}
		made = append(made, Entry{Name: long, Domain: e.Domain, Lines: lines, Path: e.Path, Line: e.Line})
	}
	b.m.owners = append(b.m.owners, Entry{Name: name, Domain: e.Domain, Lines: lines, Path: e.Path, Line: e.Line})
	b.owned[at] = w
	b.say(qmailkit.Info, "alias.owner-carried", e.Path, e.Line, "%s: what comes back goes to %s, by way of %s@%s", at, cut(sender), name, e.Domain)
	return made, nil
}

// AddAlias makes another name for a domain: the addresses there are those of
// the domain, and so are the owners of lists. path and line say where the name
// stands.
func (m *Map) AddAlias(name, of, path string, line int) {
	real := of
	if slices.Contains(m.Aliases, of) {
		real = m.domain
	}
	for _, e := range m.owners {
		if e.Domain == real {
			e.Name = name + "-" + e.Name
			m.Entries = append(m.Entries, e)
		}
	}
	for _, a := range slices.Clone(m.Addresses) {
		if a.Domain == of {
			a.Domain, a.Path, a.Line = name, path, line
			m.Addresses = append(m.Addresses, a)
		}
	}
}

// maxOwner is the longest local part of an owner.
const maxOwner = 200

// ownerLines are the lines for what comes back: the address where it has one on
// the new host, so that a later change of it counts.
func (b *builder) ownerLines(sender string, w *verdict) ([]Line, error) {
	name, _, _ := strings.Cut(lower(strings.TrimSpace(sender)), "@")
	if _, known := b.names[name]; known {
		v, err := b.at(name, b.o.Domain)
		if err != nil {
			return nil, err
		}
		if v.same(w) {
			return []Line{{Kind: Forward, Arg: name + "@" + b.o.Domain}}, nil
		}
	}
	return b.fold(w)
}
