// Package controlmap says what the settings of a Sendmail host about routes and
// relaying become on a host with qmail: lines of control/smtproutes, rcpthosts
// and badmailfrom, rules of tcp.smtp, alias domains.
//
// Like aliasmap it does not translate the tables word by word. Their entries say
// what to ask for, and sendmail.Expander, which runs Sendmail's own rules, says
// what Sendmail does then; the lines are those with which qmail does the same.
// So exceptions, precedence and features of sendmail.cf count. Every entry has
// its fate as a Problem with its file and line: Info is carried, Warning is
// carried with a change, Error is not carried.
//
// Nobody may relay who might not before. Where only a line that lets in too much
// would do, there is none; a host that relays for everybody is not copied.
package controlmap

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/sendmail"
)

// The files that lines are for.
const (
	Routes  = "smtproutes"
	Hosts   = "rcpthosts"
	Senders = "badmailfrom"
	Clients = "tcp.smtp" // which is none of qmail's control files
)

// A Line is one of a file.
type Line struct {
	File string
	// Key is what a file has one line for: a domain, a sender, an address.
	Key  string
	Text string
	Path string // of the source
	Line int
}

// An Alias is a domain that becomes an alias of another.
type Alias struct {
	Name, Of string
	Path     string
	Line     int
}

// A Map is the whole plan.
type Map struct {
	Lines     []Line
	Aliases   []Alias
	Questions []Question // for a proof
	Problems  []qmailkit.Problem
	// Settled are the files of the old host whose entries all have a fate.
	Settled map[string]bool
}

// Options tell of the move.
type Options struct {
	Domain string // the users'
	// Ours says whether a domain is one that the new host has mail for.
	Ours func(domain string) bool
	// AliasOK says why the new host can have no alias domain of this name.
	AliasOK func(domain string) error
}

// probe is a name that no host has, and elsewhere a domain that nobody has.
const (
	probe     = "qmailkit-nobody-q7x"
	elsewhere = "qmailkit-nowhere-q7x.example"
)

// strangers are first octets of clients that a host may have never heard of.
var strangers = [...]byte{100, 203, 198, 192, 172, 11, 24, 57, 81, 133, 151, 212, 126, 99}

func stranger(octet byte) netip.Addr { return netip.AddrFrom4([4]byte{octet, 64, 77, 77}) }

type builder struct {
	ctx      context.Context
	x        *sendmail.Expander
	o        *Options
	m        *Map
	fates    []*fate
	outsider netip.Addr // a client that no entry speaks of
	open     bool       // Sendmail relays for everybody
	shut     bool       // Sendmail takes mail from nobody
	access   []entry
	relayed  []entry // words of class R
	virtual  []sendmail.ClassWord
	lines    map[string]bool
	size     map[string]int // bytes of a file's lines
	aliases  map[string]bool
	nets     netIndex
	// addresses are the senders that the access map has, by their domains.
	addresses map[string][]string
}

// An entry is one of the access map or of class R, with its fate.
type entry struct {
	sendmail.Access
	*fate
}

// has says whether an entry speaks of clients, senders or recipients.
func (e *entry) has(tag string) bool { return e.Tag == "" || e.Tag == tag }

// A fate is what becomes of one entry of the source.
type fate struct {
	path                         string
	line                         int
	what                         string
	carried, changed, lost, none []string
	fix                          string
}

func (f *fate) carry(format string, args ...any) {
	if words := fmt.Sprintf(format, args...); !slices.Contains(f.carried, words) {
		f.carried = append(f.carried, words)
	}
}

func (f *fate) change(format string, args ...any) {
	if words := fmt.Sprintf(format, args...); !slices.Contains(f.changed, words) {
		f.changed = append(f.changed, words)
	}
}

func (f *fate) lose(format string, args ...any) {
	if words := fmt.Sprintf(format, args...); !slices.Contains(f.lost, words) {
		f.lost = append(f.lost, words)
	}
}

// idle says why an entry needs nothing on the new host.
func (f *fate) idle(format string, args ...any) {
	if words := fmt.Sprintf(format, args...); !slices.Contains(f.none, words) {
		f.none = append(f.none, words)
	}
}

// problem is the fate in one Problem.
func (f *fate) problem() qmailkit.Problem {
	p := qmailkit.Problem{Code: "control.carried", Severity: qmailkit.Info, Path: f.path, Line: f.line, Fix: f.fix}
	words := slices.Concat(f.lost, f.changed, f.carried)
	switch {
	case len(f.lost) > 0:
		p.Code, p.Severity = "control.not-carried", qmailkit.Error
	case len(f.changed) > 0:
		p.Code, p.Severity = "control.changed", qmailkit.Warning
	case len(f.carried) == 0:
		p.Code = "control.needless"
		if words = f.none; len(words) == 0 {
			words = []string{"the new host does so without a line for it"}
		}
	}
	p.Err = fmt.Errorf("%s: %s", f.what, strings.Join(words, "; "))
	return p
}

func (b *builder) fate(path string, line int, format string, args ...any) *fate {
	f := &fate{path: path, line: line, what: fmt.Sprintf(format, args...)}
	b.fates = append(b.fates, f)
	return f
}

// Build makes the Map. The error is one of ctx, or of rules of the old host that
// do not come to an end.
func Build(ctx context.Context, x *sendmail.Expander, o *Options) (*Map, error) {
	b := &builder{ctx: ctx, x: x, o: o, m: &Map{Settled: map[string]bool{}}, lines: map[string]bool{}, size: map[string]int{}, aliases: map[string]bool{}, addresses: map[string][]string{}}
	b.collect()
	for _, step := range []func() error{b.features, b.domaintable, b.routes, b.hosts, b.senders, b.clients, b.rewriting, b.questions} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	for _, f := range b.fates {
		b.m.Problems = append(b.m.Problems, f.problem())
	}
	slices.SortStableFunc(b.m.Lines, func(a, c Line) int { return cmp.Compare(a.File, c.File) })
	return b.m, nil
}

// maxText bounds what is added to a file; qmail reads all of it for each
// message.
const maxText = 16 << 20

// add makes a line, once.
func (b *builder) add(f *fate, file, key, text string) {
	if b.size[file] += len(text) + 1; b.size[file] > maxText {
		f.lose("%s would be too large", file)
		return
	}
	f.carry("%s: %s", file, text)
	if !b.lines[file+" "+key] {
		b.lines[file+" "+key] = true
		b.m.Lines = append(b.m.Lines, Line{File: file, Key: key, Text: text, Path: f.path, Line: f.line})
	}
}

func (b *builder) ours(domain string) bool { return b.aliases[domain] || b.o.Ours(domain) }

// local says whether Sendmail keeps mail for a domain itself.
func (b *builder) local(domain string) bool {
	return b.x.InClass("w", domain) || b.x.InClass("VirtHost", domain)
}

// collect takes class R and the access map apart.
func (b *builder) collect() {
	for _, w := range b.x.Class("R") {
		key := strings.ToLower(w.Word)
		if w.Path != "" {
			b.m.Settled[w.Path] = true
		}
		if b.x.InClass("VirtHost", key) {
			b.virtual = append(b.virtual, w) // because it is one of the host's own
			continue
		}
		a := sendmail.ParseAccess(&sendmail.TableEntry{Key: key, Value: "RELAY", Path: w.Path, Line: w.Line})
		a.Tag, a.Key = "", key
		b.relayed = append(b.relayed, entry{a, b.fate(w.Path, w.Line, "relay for %.80q", w.Word)})
	}
	for te, f := range b.entries("access") {
		e := entry{sendmail.ParseAccess(te), f}
		b.access = append(b.access, e)
		if _, domain, ok := strings.Cut(e.Key, "@"); ok && e.has("from") {
			b.addresses[domain] = append(b.addresses[domain], e.Key)
		}
	}
}

// entries yields the entries of a table that count, and gives the others their
// fate.
func (b *builder) entries(name string) func(func(*sendmail.TableEntry, *fate) bool) {
	return func(yield func(*sendmail.TableEntry, *fate) bool) {
		t := b.x.Table(name)
		if t == nil {
			return
		}
		b.m.Settled[t.Path()] = true
		for e := range t.Entries() {
			f := b.fate(e.Path, e.Line, "%.80q", e.Key)
			if t.Lookup(e.Key) != e {
				f.idle("it has no effect: the map has another line for this key")
				continue
			}
			if !yield(e, f) {
				return
			}
		}
	}
}

// features finds what lets in more than any table says.
func (b *builder) features() error {
	taken := map[string]bool{}
	for _, e := range slices.Concat(b.access, b.relayed) {
		octet, _, _ := strings.Cut(e.Key, ".")
		taken[octet] = true
	}
	for _, octet := range strangers {
		if b.outsider = stranger(octet); !taken[fmt.Sprint(octet)] {
			break
		}
	}
	a, err := b.ask(b.outsider, "a@"+elsewhere, "postmaster")
	if err != nil {
		return err
	}
	if b.shut = !a.Accepted(); b.shut {
		f := b.fate("", 0, "the old host takes no mail from strangers")
		f.lose("it answers %d %.80q: what single entries do cannot be told, and none about clients and senders is carried", a.Code, a.Text)
	}
	if a, err = b.ask(b.outsider, "a@"+elsewhere, "b@"+elsewhere); err != nil {
		return err
	}
	if b.open = a.Accepted(); b.open {
		f := b.fate("", 0, "the old host relays for everybody")
		f.lose("an open relay is not made: nothing about relaying is carried")
		f.fix = "give control/rcpthosts and tcp.smtp by hand who may relay"
		return nil
	}
	if a, err = b.ask(b.outsider, "postmaster@"+b.o.Domain, "b@"+elsewhere); err != nil {
		return err
	}
	if a.Accepted() {
		f := b.fate("", 0, "the old host relays for senders of its own domains")
		f.lose("anybody can write such a sender, and qmail believes none")
		f.fix = "let people log in, or name their networks"
	}
	return nil
}

// ask asks Sendmail's rules. Every client has a name, because there are hosts
// that refuse all others; it is one that no table has.
func (b *builder) ask(client netip.Addr, sender, rcpt string) (sendmail.Answer, error) {
	return b.x.Envelope(b.ctx, sendmail.Client{Addr: client, Name: "client." + elsewhere}, sender, rcpt)
}

// rewriting reports what changes addresses in headers, for which qmail has
// nothing.
func (b *builder) rewriting() error {
	for _, f := range b.entries("generics") {
		f.lose("qmail does not rewrite senders")
	}
	if name := b.x.Macro("M"); name != "" {
		path, line := b.x.MacroPlace("M")
		f := b.fate(path, line, "masquerade as %.80q", name)
		f.lose("qmail rewrites no sender that has a domain")
		f.fix = "control/defaulthost is what qmail-inject puts behind a sender without one"
	}
	return nil
}

// plainDomain says whether a name can stand in a control file and be matched
// there: labels of letters, digits, "-" and "_", in lower case.
func plainDomain(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}
