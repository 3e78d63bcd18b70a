package sendmail

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// A Domain is a name that the old host receives mail for.
type Domain struct {
	Name string // in lower case, without a final dot; empty if it is no domain
	Raw  string // as it stands
	// Class is the class that it is in: "w", or "VirtHost" for domains that
	// are only in the virtual user table.
	Class string
	// Host says that it is a name of the machine itself, such as localhost:
	// it belongs into control/locals, rather than among the domains that move.
	Host bool
	Path string
	Line int
}

// domainFiles are read where they exist, the newest place first.
var domainFiles = []string{"etc/mail/local-host-names", "etc/mail/sendmail.cw", "etc/sendmail.cw"}

// Domains yields the names of Sendmail's class w: the first word of each line
// of local-host-names and its older forms, of the files that the lines Fw of
// sendmail.cf name, and the words of its lines Cw; then the same for the class
// VirtHost. A name comes once; of several places the first counts.
//
// Names that cannot be a domain on the new host come with an ItemError, and
// without Domain.Name:
// "sendmail.domain-wildcard", "sendmail.domain-literal",
// "sendmail.domain-malformed". Words behind the first, which Sendmail does not
// read either, are a warning "sendmail.domain-words".
func (h *Host) Domains(ctx context.Context) iter.Seq2[Domain, error] {
	return func(yield func(Domain, error) bool) {
		s := &domainScan{host: h, ctx: ctx, yield: yield, names: map[string]bool{}, files: map[string]bool{}}
		if !s.ownNames() {
			return
		}
		for _, name := range domainFiles {
			if !s.file(name, "w", place{}, true) {
				return
			}
		}
		if h.layout.Config != "" {
			s.config(h.layout.Config)
		}
	}
}

type domainScan struct {
	host  *Host
	ctx   context.Context
	yield func(Domain, error) bool
	own   []string        // names of the machine
	names map[string]bool // that were yielded
	files map[string]bool // that were read, by their resolved paths
}

// ownNames reads the machine's names.
func (s *domainScan) ownNames() bool {
	own, err := s.host.ownNames(s.ctx)
	if errors.Is(err, qmailkit.ErrIncomplete) {
		return s.yield(Domain{}, err) && false
	}
	if err != nil {
		return s.yield(Domain{}, place{}.item("domains-unreadable", "the name of the host: %w", err))
	}
	s.own = []string{lower(own.node), lower(own.full)}
	for _, name := range own.others {
		s.own = append(s.own, lower(name))
	}
	return true
}

// file reads a list of names. A file that the place in sendmail.cf asks for
// must exist, unless it is optional.
func (s *domainScan) file(name, class string, asked place, optional bool) bool {
	at, fi, err := s.host.lookup(name)
	if err == nil && !fi.Mode.IsRegular() {
		err = qmailkit.ErrNotPlain
	}
	if missing(err) && optional {
		return true
	}
	if err != nil {
		if asked.line == 0 {
			asked.path = name
		}
		return s.yield(Domain{}, asked.item("domains-unreadable", "names of class %s in /%s: %w", class, name, err))
	}
	if s.files[at] {
		return true
	}
	s.files[at] = true
	for l, err := range s.host.lines(s.ctx, at) {
		if err != nil {
			if !s.yield(Domain{}, err) || errors.Is(err, qmailkit.ErrIncomplete) {
				return false
			}
			continue
		}
		words := strings.Fields(l.text())
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		if !s.name(words[0], class, l.place) {
			return false
		}
		if len(words) > 1 && words[1][0] != '#' && !s.yield(Domain{}, &ItemError{l.problem(qmailkit.Warning, "domain-words",
			"Sendmail reads the first word of a line only, and %.80q is behind it", words[1])}) {
			return false
		}
	}
	return true
}

// config reads the classes and the macro j of a sendmail.cf.
func (s *domainScan) config(path string) bool {
	for l, err := range s.host.lines(s.ctx, path) {
		if err != nil {
			if !s.yield(Domain{}, err) || errors.Is(err, qmailkit.ErrIncomplete) {
				return false
			}
			continue
		}
		text := strings.TrimRight(l.text(), " \t\r")
		if name, ok := strings.CutPrefix(text, "Dj"); ok {
			s.own = append(s.own, lower(name))
			continue
		}
		class, value, ok := classLine(text)
		if !ok {
			continue
		}
		if text[0] == 'C' {
			for word := range strings.FieldsSeq(value) {
				if !s.name(word, class, l.place) {
					return false
				}
			}
			continue
		}
		file, optional := classFile(value)
		if !strings.HasPrefix(file, "/") {
			if !s.yield(Domain{}, l.item("domains-unreadable", "names of class %s come from %.80q, which is no file", class, value)) {
				return false
			}
			continue
		}
		if !s.file(strings.TrimPrefix(file, "/"), class, l.place, optional) {
			return false
		}
	}
	return true
}

// classLine takes a line C or F of sendmail.cf apart if it is about the class w
// or VirtHost.
func classLine(text string) (class, value string, ok bool) {
	if text == "" || text[0] != 'C' && text[0] != 'F' {
		return "", "", false
	}
	for _, class := range []string{"w", "{w}", "{VirtHost}"} {
		if value, ok := strings.CutPrefix(text[1:], class); ok {
			return strings.Trim(class, "{}"), strings.TrimLeft(value, " \t"), true
		}
	}
	return "", "", false
}

// classFile gives the file of an F line: "-o" in front says that it may be
// missing, and a scanf format may follow.
func classFile(value string) (file string, optional bool) {
	value, optional = strings.CutPrefix(value, "-o")
	file, _, _ = strings.Cut(strings.TrimLeft(value, " \t"), " ")
	return file, optional
}

// name yields one name.
func (s *domainScan) name(raw, class string, at place) bool {
	d := Domain{Raw: raw, Name: strings.TrimSuffix(lower(raw), "."), Class: class, Path: at.path, Line: at.line}
	if s.names[d.Name] {
		return true
	}
	s.names[d.Name] = true
	if err := notDomain(d, at); err != nil {
		d.Name = ""
		return s.yield(d, err)
	}
	d.Host = !strings.Contains(d.Name, ".") || strings.HasPrefix(d.Name, "localhost.") || slices.Contains(s.own, d.Name)
	return s.yield(d, nil)
}

// notDomain says why a name of a class is no domain that could move.
func notDomain(d Domain, at place) error {
	below, dot := strings.CutPrefix(d.Name, ".")
	switch {
	case strings.HasPrefix(d.Raw, "["), isAddress(d.Raw):
		return at.item("domain-literal", "%.80q is an address, and no domain", d.Raw)
	case dot && domainName(below) == nil, strings.ContainsAny(d.Raw, "*?"), strings.HasPrefix(d.Raw, "$"):
		return at.item("domain-wildcard", "%.80q stands for other names, which are not known here", d.Raw)
	}
	if err := domainName(d.Name); err != nil {
		return at.item("domain-malformed", "%.80q is no domain: %w", d.Raw, err)
	}
	return nil
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// maxDomain is the length of a domain in text (RFC 1035 section 2.3.4).
const maxDomain = 253

// domainName asks for labels of letters, digits, "-" and "_", so that a name
// is safe as a directory and as a field of any control file.
func domainName(name string) error {
	if len(name) > maxDomain {
		return fmt.Errorf("%d bytes, of which %d are allowed", len(name), maxDomain)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" {
			return errors.New("an empty part between dots")
		}
		if len(label) > 63 {
			return errors.New("a part of more than 63 bytes")
		}
		if label[0] == '-' {
			return errors.New("a part that begins with -")
		}
		for i := range len(label) {
			c := label[i]
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return fmt.Errorf("a byte %q", c)
			}
		}
	}
	return nil
}
