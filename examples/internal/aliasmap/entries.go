package aliasmap

import (
	"fmt"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// natural is where mail to a name goes on the new host as long as the name has
// no lines of its own.
func (b *builder) natural(name, domain string) (*verdict, error) {
	catchAll := b.m.CatchAll
	if domain == b.o.Domain {
		switch {
		case b.homes[name] != nil:
			return b.homes[name], nil
		case b.users[name]:
			return &verdict{ends: []End{{Mailbox, name}}}, nil
		}
	} else {
		i := slices.IndexFunc(b.m.Separate, func(s Domain) bool { return s.Name == domain })
		catchAll = b.m.Separate[i].CatchAll
	}
	switch {
	case name == "postmaster": // every domain of vpopmail has one
		return &verdict{ends: []End{{Mailbox, name + "@" + domain}}}, nil
	case catchAll == "":
		return &verdict{}, nil
	}
	return b.at(probe, domain)
}

// entries makes the lines of the addresses of a domain.
func (b *builder) entries(domain string) error {
	for _, name := range b.namesOf(domain) {
		v, err := b.at(name, domain)
		if err != nil {
			return err
		}
		lines, err := b.entry(name, domain, v)
		if err != nil {
			return err
		}
		e := Entry{Name: name, Domain: domain, Lines: lines}
		c, own := b.keys[domain][name]
		if !own {
			c = b.names[name]
		}
		if e.Path, e.Line = c.path, c.line; e.Path == "" && v.step != nil {
			e.Path, e.Line = v.step.Path, v.step.Line
		}
		if len(lines) > 0 {
			b.m.Entries = append(b.m.Entries, e)
		}
		if domain == b.o.Domain || own {
			b.fate(&e, v, name+"@"+domain)
		}
	}
	return nil
}

// entry decides about one address; it has no lines where it needs none.
func (b *builder) entry(name, domain string, v *verdict) ([]Line, error) {
	natural, err := b.natural(name, domain)
	if err != nil {
		return nil, err
	}
	if name == "postmaster" && v.bounces() {
		if domain == b.o.Domain {
			return nil, nil
		}
		return []Line{{Kind: Forward, Arg: name + "@" + b.o.Domain}}, nil
	}
	if v.same(natural) && !v.bounces() {
		return nil, nil
	}
	if b.unheard(name, domain, v) {
		return nil, nil
	}
	nothing := len(v.ends) == 0 && len(v.off) == 0 && len(v.replies) == 0
	switch {
	case v.bounces():
		rest, err := b.at(probe, domain)
		if err != nil || natural.bounces() && (v.text == "" || v.text == "User unknown" || v.text == rest.text) {
			return nil, err
		}
		return []Line{{Kind: Bounce, Arg: v.text}}, nil
	case nothing && natural.bounces():
		return nil, nil
	case domain != b.o.Domain:
		w, err := b.at(name, b.o.Domain)
		if err != nil {
			return nil, err
		}
		if _, there := b.names[name]; there && w.same(v) && !nothing {
			return []Line{{Kind: Forward, Arg: name + "@" + b.o.Domain}}, nil
		}
	}
	return b.fold(v)
}

// unheard says that an account is carried whose mail Sendmail would send back,
// because its name has capitals: nothing keeps mail from it any more.
func (b *builder) unheard(name, domain string, v *verdict) bool {
	return v.bounces() && v.text == "User unknown" && domain == b.o.Domain && b.users[name] && b.names[name].path == "" && b.keys[domain][name].path == ""
}

// fold writes an address's ends as lines. Where a user's .forward is on the way,
// the line is the user's address, so that a later change of it counts.
func (b *builder) fold(v *verdict) ([]Line, error) {
	ends, off, replies := slices.Clone(v.ends), slices.Clone(v.off), slices.Clone(v.replies)
	var lines []Line
	for _, s := range v.all {
		name, ok := b.o.Users[s.Name]
		home := b.homes[name]
		if s.Kind != "forward" || !ok || home == nil {
			continue
		}
		w, err := b.at(name, b.o.Domain)
		if err != nil {
			return nil, err
		}
		if !w.same(home) || len(home.ends) == 0 || !within(home.ends, ends) || !within(home.off, off) || !within(home.replies, replies) {
			continue
		}
		lines = append(lines, Line{Kind: User, Arg: name})
		ends = slices.DeleteFunc(ends, func(e End) bool { return slices.Contains(home.ends, e) })
		off = slices.DeleteFunc(off, func(s string) bool { return slices.Contains(home.off, s) })
		replies = slices.DeleteFunc(replies, func(s string) bool { return slices.Contains(home.replies, s) })
	}
	for _, e := range ends {
		l, err := b.plain(e, v)
		if err != nil {
			return nil, err
		}
		lines = append(lines, l)
	}
	return finish(lines, off, replies, v), nil
}

func within[T comparable](part, whole []T) bool {
	return !slices.ContainsFunc(part, func(x T) bool { return !slices.Contains(whole, x) })
}

// plain is the line for one end.
func (b *builder) plain(e End, v *verdict) (Line, error) {
	if e.Kind == Mailbox {
		if ok, err := b.simple(e.Where); ok || err != nil {
			return Line{Kind: User, Arg: e.Where}, err
		}
	}
	if e.Kind == Reply {
		return Line{Reply, e.Where, v.seconds[e.Where]}, nil
	}
	return Line{Kind: e.Kind, Arg: e.Where}, nil
}

// finish adds what is disabled, and sees to it that no file has comments only.
func finish(lines []Line, off, replies []string, v *verdict) []Line {
	var all []Line
	for _, o := range off {
		all = append(all, Line{Kind: Off, Arg: o})
	}
	for _, r := range replies {
		all = append(all, Line{NoReply, r, v.seconds[r]})
	}
	if len(lines) == 0 {
		lines = []Line{{Kind: Hold}}
	}
	return append(all, lines...)
}

// fate reports what became of an address, or of a .forward.
func (b *builder) fate(e *Entry, v *verdict, what string) {
	if len(e.Lines) == 0 && b.homes[e.Name] != nil && v.same(b.homes[e.Name]) {
		return // told with the .forward
	}
	b.lose(v, e.Path, e.Line, what)
	for i := range v.all {
		if s := &v.all[i]; s.Kind == "include" {
			b.say(qmailkit.Info, "alias.list-snapshot", e.Path, e.Line, "%s: the addresses in %s are copied as they are now", what, cut(s.Path))
		}
	}
	switch {
	case v.bounces() && strings.HasSuffix(v.text, "loop broken"):
		b.say(qmailkit.Error, "alias.loop", e.Path, e.Line, "%s leads back to itself: mail bounces, as it did", what)
	case b.unheard(e.Name, e.Domain, v):
		b.say(qmailkit.Info, "alias.user-reached", "", 0, "%s: Sendmail did not know this name; on the new host the account gets its mail", what)
	case len(e.Lines) > 0:
		var words []string
		for _, l := range e.Lines[:min(len(e.Lines), 10)] {
			text, _ := l.Text(b.o.Domain, "", func(user string) (string, bool) { return "Maildir of " + user, true })
			words = append(words, text)
		}
		if n := len(e.Lines) - len(words); n > 0 {
			words = append(words, fmt.Sprintf("and %d more", n))
		}
		b.say(qmailkit.Info, "alias.carried", e.Path, e.Line, "%s: %s", what, strings.Join(words, ", "))
	case v.step != nil && v.step.Kind == "alias" && !v.bounces() && len(v.lost) == 0:
		b.say(qmailkit.Info, "alias.needless", e.Path, e.Line, "%s goes there without an alias too", what)
	case v.bounces() && e.Path != "" && v.text != "":
		b.say(qmailkit.Info, "alias.bounces", e.Path, e.Line, "%s bounces on the new host too: %s", what, cut(v.text))
	}
}

// lose reports what has no equal.
func (b *builder) lose(v *verdict, path string, line int, what string) {
	for _, l := range v.lost {
		if l.step != nil && l.step.Kind == "forward" && b.forwarded[l.step.Path] && l.step.Path != path {
			continue // told with the .forward
		}
		at, n := path, line
		if l.step != nil && l.step.Path != "" {
			at, n = l.step.Path, l.step.Line
		}
		b.say(qmailkit.Error, l.code, at, n, "%s: %s", what, l.words)
	}
	for _, l := range slices.Concat(v.failed, v.enabled) {
		if l.step != nil && l.step.Kind == "forward" && b.forwarded[l.step.Path] && l.step.Path != path {
			continue
		}
		at, n := path, line
		if l.step != nil && l.step.Path != "" {
			at, n = l.step.Path, l.step.Line
		}
		words := cut(l.words)
		if l.code == "alias.member-fails" {
			words = "left out, because Sendmail cannot deliver it: " + words
		}
		b.say(qmailkit.Warning, l.code, at, n, "%s: %s", what, words)
	}
}

// addresses collects what a proof asks for.
func (b *builder) addresses() error {
	domains := append([]string{b.o.Domain}, b.m.Aliases...)
	for _, d := range b.m.Separate {
		domains = append(domains, d.Name)
	}
	for i, d := range domains {
		catchAll := b.m.CatchAll
		if i > len(b.m.Aliases) {
			catchAll = b.m.Separate[i-1-len(b.m.Aliases)].CatchAll
		}
		for _, n := range append(b.namesOf(d), probe) {
			v, err := b.at(n, d)
			if err != nil {
				return err
			}
			a := Address{Name: n, Domain: d, Ends: v.ends, Lost: len(v.lost) > 0, Path: b.keys[d][n].path, Line: b.keys[d][n].line}
			if a.Path == "" {
				a.Path, a.Line = b.names[n].path, b.names[n].line
			}
			if o := b.owned[b.entryOf(n, d)]; o != nil {
				a.Bounces = o.ends
			}
			a.Free = v.bounces() && (n == "postmaster" || b.unheard(n, b.o.Domain, v)) || n == probe && catchAll == "" && !v.bounces()
			if slices.Contains(b.o.Fixed, d) {
				w, err := b.at(n, b.o.Domain)
				if err != nil {
					return err
				}
				a.Free = a.Free || !v.same(w)
			}
			b.m.Addresses = append(b.m.Addresses, a)
		}
	}
	return nil
}
