package aliasmap

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/sendmail"
)

// Options tell of the move.
type Options struct {
	// Domain has the users. Domains are the others that move; each becomes an
	// alias of it, or, where its addresses differ, a domain of its own.
	Domain  string
	Domains []string
	// Known are those of Domains that the old host's rules take for its own,
	// although they are none of its names: domaintable has them, for one.
	Known []string
	// Fixed are domains that are to be aliases although addresses may differ.
	Fixed []string
	// Users are the accounts that are carried: the name on the old host, and
	// that on the new one.
	Users map[string]string
	// NameOK says why the new host has no address of this name.
	NameOK func(name string) error
	// CatchAllOK says why an address cannot be the catch-all of a domain.
	CatchAllOK func(address string) error
	// AllowPrograms enables the programs and files that aliases name, and
	// AllowUserPrograms those in .forward files and lists.
	AllowPrograms, AllowUserPrograms bool
	// NoFiles says that vdelivermail reads the lines of addresses, as it does
	// where they are in a database. It delivers to no file.
	NoFiles bool
}

// A candidate is a name that the old host may have mail for.
type candidate struct {
	spelled string // for Sendmail
	path    string
	line    int
}

type builder struct {
	ctx   context.Context
	x     *sendmail.Expander
	o     *Options
	m     *Map
	users map[string]bool                 // names on the new host
	names map[string]candidate            // of all domains, by the name on the new host
	keys  map[string]map[string]candidate // of one domain, by domain
	cache map[string]map[string]*verdict  // by domain and name
	homes map[string]*verdict             // of users whose .forward counts
	told  map[string]bool                 // problems
	// forwarded are the .forward files that were told of.
	forwarded map[string]bool
	// listOwners are the aliases owner-NAME, by NAME, and owned are where the
	// mail ends that comes back from an entry.
	listOwners map[string]*sendmail.Alias
	owned      map[string]*verdict // by NAME@DOMAIN
}

// probe is a name that no host has.
const probe = "qmailkit-nobody-q7x"

// Build makes the Map. The error is one of ctx, or of reading the old host.
func Build(ctx context.Context, x *sendmail.Expander, o *Options) (*Map, error) {
	b := &builder{
		ctx: ctx, x: x, o: o, m: &Map{Read: map[string]bool{}, Replies: map[string]string{}, domain: o.Domain}, users: map[string]bool{},
		names: map[string]candidate{}, keys: map[string]map[string]candidate{}, cache: map[string]map[string]*verdict{},
		homes: map[string]*verdict{}, told: map[string]bool{}, forwarded: map[string]bool{},
		listOwners: map[string]*sendmail.Alias{}, owned: map[string]*verdict{},
	}
	for _, p := range x.Problems() {
		b.problem(p)
	}
	b.collect()
	if err := b.forwards(); err != nil {
		return nil, err
	}
	separate, err := b.domains()
	if err != nil {
		return nil, err
	}
	if b.m.CatchAll, err = b.catchAll(o.Domain); err != nil {
		return nil, err
	}
	if err := b.entries(o.Domain); err != nil {
		return nil, err
	}
	if err := b.owners(o.Domain); err != nil {
		return nil, err
	}
	for _, d := range separate {
		sep := Domain{Name: d}
		if sep.CatchAll, err = b.catchAll(d); err != nil {
			return nil, err
		}
		b.m.Separate = append(b.m.Separate, sep)
		if err := b.entries(d); err != nil {
			return nil, err
		}
		if err := b.owners(d); err != nil {
			return nil, err
		}
	}
	return b.m, b.addresses()
}

// problem notes a Problem once.
func (b *builder) problem(p qmailkit.Problem) {
	if s := p.String(); !b.told[s] {
		b.told[s] = true
		b.m.Problems = append(b.m.Problems, p)
	}
}

func (b *builder) say(severity qmailkit.Severity, code, path string, line int, format string, args ...any) {
	b.problem(qmailkit.Problem{Code: code, Severity: severity, Path: path, Line: line, Err: fmt.Errorf(format, args...)})
}

// collect finds the names.
func (b *builder) collect() {
	for a := range b.x.Aliases() {
		name, _, _ := strings.Cut(a.Name, "@")
		b.candidate(b.names, name, candidate{name, a.Path, a.Line})
		if list, ok := strings.CutPrefix(lower(name), "owner-"); ok {
			b.listOwners[list] = a
		}
	}
	for old, name := range b.o.Users {
		b.users[name] = true
		c := b.names[name]
		c.spelled = old
		b.names[name] = c
	}
	b.names["postmaster"] = candidate{"postmaster", b.names["postmaster"].path, b.names["postmaster"].line}
	t := b.x.Table("virtuser")
	if t == nil {
		return
	}
	ours := map[string]bool{b.o.Domain: true}
	for _, d := range b.o.Domains {
		ours[d] = true
	}
	for e := range t.Entries() {
		at := strings.LastIndexByte(e.Key, '@')
		if at < 0 {
			continue
		}
		name, domain := e.Key[:at], strings.ToLower(e.Key[at+1:])
		switch {
		case !ours[domain]:
			b.say(qmailkit.Error, "virtuser.not-carried", e.Path, e.Line, "%.80q is of a domain that is not carried", e.Key)
		case t.Lookup(e.Key) != e || name == "":
		default:
			if b.keys[domain] == nil {
				b.keys[domain] = map[string]candidate{}
			}
			b.candidate(b.keys[domain], name, candidate{name, e.Path, e.Line})
		}
	}
}

// candidate takes a name that the new host can have.
func (b *builder) candidate(list map[string]candidate, name string, c candidate) {
	key := lower(name)
	err := b.o.NameOK(key)
	switch {
	case err != nil:
	case key == "default" || strings.HasSuffix(key, "-default"):
		err = fmt.Errorf("to qmail %.80q stands for many names", name)
	case strings.Contains(key, "+*") || strings.Contains(key, "++") || key[0] == '+':
		err = fmt.Errorf("%.80q stands for many names, in a form that qmail does not have", name)
	}
	if err != nil {
		b.say(qmailkit.Error, "alias.name-not-carried", c.path, c.line, "this name is not carried: %w", err)
		return
	}
	if _, twice := list[key]; !twice {
		list[key] = c
	}
}

// lower folds as qmail does: ASCII only.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// expand judges an address, once.
func (b *builder) expand(address string) (*verdict, error) {
	x, err := b.x.Expand(b.ctx, address)
	if err != nil {
		return nil, err
	}
	for _, p := range x.Problems {
		if p.Code != "sendmail.alias-loop" { // which fate tells of, with its place
			b.problem(p)
		}
	}
	v := b.judge(x)
	for _, s := range v.all {
		if s.Kind == "forward" || s.Kind == "include" {
			b.m.Read[s.Path] = true
		}
	}
	return v, nil
}

// at is the verdict on a name in a domain.
func (b *builder) at(name, domain string) (*verdict, error) {
	if v := b.cache[domain][name]; v != nil {
		return v, nil
	}
	spelled := name
	if c, ok := b.keys[domain][name]; ok {
		spelled = c.spelled
	} else if c, ok := b.names[name]; ok {
		spelled = c.spelled
	}
	if b.x.InClass("w", domain) || b.x.InClass("VirtHost", domain) || slices.Contains(b.o.Known, domain) {
		spelled += "@" + domain
	} // else it is new, and a name there is what it is without a domain
	v, err := b.expand(spelled)
	if err != nil {
		return nil, err
	}
	if b.cache[domain] == nil {
		b.cache[domain] = map[string]*verdict{}
	}
	b.cache[domain][name] = v
	return v, nil
}

// namesOf are the names of some domains, sorted.
func (b *builder) namesOf(domains ...string) []string {
	all := maps.Clone(b.names)
	for _, d := range domains {
		maps.Copy(all, b.keys[d])
	}
	return slices.Sorted(maps.Keys(all))
}

// forwards finds the users whose .forward decides about their mail.
func (b *builder) forwards() error {
	for _, old := range slices.Sorted(maps.Keys(b.o.Users)) {
		name := b.o.Users[old]
		v, err := b.expand(old)
		if err != nil {
			return err
		}
		if v.step == nil || v.step.Kind != "forward" || v.step.Name != old {
			continue
		}
		b.forwarded[v.step.Path] = true
		if len(v.off) == 0 && len(v.replies) == 0 && len(v.lost) == 0 && slices.Equal(v.ends, []End{{Mailbox, name}}) {
			b.lose(v, v.step.Path, v.step.Line, "the .forward of "+name)
			continue // a copy at home and nothing else
		}
		b.homes[name] = v
	}
	for _, name := range slices.Sorted(maps.Keys(b.homes)) {
		v := b.homes[name]
		e := Entry{Name: name, Domain: b.o.Domain, Path: v.step.Path, Line: v.step.Line}
		for _, end := range v.ends {
			l, err := b.plain(end, v)
			if err != nil {
				return err
			}
			e.Lines = append(e.Lines, l)
		}
		e.Lines = finish(e.Lines, v.off, v.replies, v)
		b.m.Homes = append(b.m.Homes, e)
		b.fate(&e, v, "the .forward of "+name)
	}
	return nil
}

// domains parts those that become aliases from those that cannot.
func (b *builder) domains() (separate []string, err error) {
	for _, d := range b.o.Domains {
		var differ string
		for _, n := range append(b.namesOf(d, b.o.Domain), probe) {
			v, err := b.at(n, d)
			if err != nil {
				return nil, err
			}
			w, err := b.at(n, b.o.Domain)
			if err != nil {
				return nil, err
			}
			if v.same(w) {
				continue
			}
			if differ = n; slices.Contains(b.o.Fixed, d) {
				b.say(qmailkit.Error, "alias.domain-differs", b.keys[d][n].path, b.keys[d][n].line,
					"as an alias domain, %s has the addresses of %s: mail to %s@%s goes elsewhere than it did", d, b.o.Domain, n, d)
				continue
			}
			break
		}
		if differ == "" || slices.Contains(b.o.Fixed, d) {
			b.m.Aliases = append(b.m.Aliases, d)
			continue
		}
		if differ == probe {
			differ = "an unknown name"
		}
		b.say(qmailkit.Info, "alias.domain-separate", "", 0, "%s becomes a domain of its own: mail to %s there goes elsewhere than in %s", d, differ, b.o.Domain)
		separate = append(separate, d)
	}
	return separate, nil
}

// catchAll is the address that gets the mail of a domain for unknown names.
func (b *builder) catchAll(domain string) (string, error) {
	v, err := b.at(probe, domain)
	if err != nil {
		return "", err
	}
	path, line, value := b.catchAllEntry(domain)
	fine := func(address string) bool { return b.o.CatchAllOK(address) == nil }
	if v.bounces() {
		if path != "" {
			b.say(qmailkit.Info, "virtuser.text-changed", path, line, "mail to unknown names of %s bounces with vpopmail's own text", domain)
		}
		return "", nil
	}
	if len(v.lost) == 0 && len(v.ends) == 1 && !strings.Contains(v.ends[0].Where, probe) {
		switch e := v.ends[0]; {
		case e.Kind == Remote && fine(e.Where):
			return b.catches(path, line, domain, e.Where), nil
		case e.Kind == Mailbox:
			ok, err := b.simple(e.Where)
			if err != nil {
				return "", err
			}
			if ok && fine(e.Where+"@"+b.o.Domain) {
				return b.catches(path, line, domain, e.Where+"@"+b.o.Domain), nil
			}
		}
	}
	name, _, _ := strings.Cut(lower(value), "@")
	if _, known := b.names[name]; known && len(v.lost) == 0 && domain != b.o.Domain && fine(name+"@"+b.o.Domain) {
		w, err := b.at(name, b.o.Domain)
		if err != nil {
			return "", err
		}
		if w.same(v) {
			return b.catches(path, line, domain, name+"@"+b.o.Domain), nil
		}
	}
	b.lose(v, path, line, "unknown names of "+domain)
	b.say(qmailkit.Error, "alias.catch-all-not-carried", path, line, "mail to unknown names of %s would go where a catch-all of vpopmail cannot send it: it bounces", domain)
	return "", nil
}

func (b *builder) catches(path string, line int, domain, address string) string {
	b.say(qmailkit.Info, "alias.carried", path, line, "unknown names of %s: %s", domain, address)
	return address
}

// catchAllEntry is the line of virtusertable for the rest of a domain.
func (b *builder) catchAllEntry(domain string) (path string, line int, value string) {
	if t := b.x.Table("virtuser"); t != nil {
		if e := t.Lookup("@" + domain); e != nil {
			return e.Path, e.Line, e.Value
		}
	}
	return "", 0, ""
}

// simple says whether a user's address in the users' domain leads to the user's
// Maildir and to nothing else.
func (b *builder) simple(user string) (bool, error) {
	v, err := b.at(user, b.o.Domain)
	return err == nil && b.homes[user] == nil && len(v.lost) == 0 && slices.Equal(v.ends, []End{{Mailbox, user}}), err
}
