package sendmail

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// DeliveryKind is where a delivery ends.
type DeliveryKind uint8

const (
	DeliverMailbox DeliveryKind = iota // the mailbox of a local user
	DeliverRemote                      // another host
	DeliverProgram                     // a command
	DeliverFile                        // a file that the mail is appended to
	DeliverError                       // nowhere: the mail goes back, or waits
)

// String returns "mailbox", "remote", "program", "file" or "error".
func (k DeliveryKind) String() string {
	names := [...]string{"mailbox", "remote", "program", "file", "error"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("delivery(%d)", uint8(k))
}

// MarshalText gives the same words as String.
func (k DeliveryKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// A Step is one look-up or file on the way from an address to a delivery.
type Step struct {
	Kind string // "alias", "include" or "forward"; "rules" for a new address by sendmail.cf
	Name string // the alias, the file, or the address
	Path string // where it stands, if that is known
	Line int
}

// A Delivery is one final delivery of an address.
type Delivery struct {
	Kind DeliveryKind
	// Mailer, Host and User are what "sendmail -bv" shows: User is then a
	// mailbox, perhaps with a backslash, an address, a command or a path.
	Mailer, Host, User string
	// Address is the address as the last list on the way has it.
	Address string
	// Account is the user of a mailbox, and nil for anything else.
	Account *Account
	// Quoted says that the user stood behind a backslash.
	Quoted bool
	// Detail is what stands behind a plus sign, for a mailbox.
	Detail string
	// Program is the command, and File the path, without bar and quotes.
	Program, File string
	// As is the account that runs the program or owns the file; nil for the
	// default user.
	As *Account
	// Sender is the new envelope sender: owner-list of the list that the
	// address came by. Empty leaves the sender as it is.
	Sender string
	// Status ("5.1.1"), Code (550) and Text are those of an error. A Status
	// that begins with "4" means that the mail would wait.
	Status string
	Code   int
	Text   string
	// Via are the steps from the address to here, the first one first.
	Via []Step
}

// Target is the one word that says where a delivery goes: the user name, the
// address, the command, the path or the text of the error.
func (d *Delivery) Target() string {
	switch d.Kind {
	case DeliverMailbox:
		if d.Account != nil {
			return d.Account.Name
		}
	case DeliverProgram:
		return d.Program
	case DeliverFile:
		return d.File
	case DeliverError:
		return d.Text
	}
	return d.User
}

// An Expansion is what becomes of mail to an address.
type Expansion struct {
	Address    string
	Deliveries []Delivery
	// Problems are what is odd on the way: an unsafe .forward, a loop.
	Problems []qmailkit.Problem
}

// An Expander knows a host's configuration, aliases, tables and accounts, and
// says where addresses are delivered. It holds them in memory; it reads the
// .forward files and lists of an address each time. It may be used by several
// goroutines.
type Expander struct {
	host     *Host
	conf     *config
	aliases  []aliasFile
	tables   map[string]*Table // by the names of their K lines
	users    map[string]*Account
	order    []*Account
	shells   map[string]bool
	problems []qmailkit.Problem
}

// An aliasFile is one file of AliasFile with the keys of its entries.
type aliasFile struct {
	path string
	file *Aliases
	keys map[string]*Alias
}

// Expand is Expander and then its Expand, for a single address.
func (h *Host) Expand(ctx context.Context, address string) (*Expansion, error) {
	x, err := h.Expander(ctx)
	if err != nil {
		return nil, err
	}
	return x.Expand(ctx, address)
}

// Expander reads what decides about addresses: sendmail.cf, or the rules of a
// common host where there is none; the alias files that it names, or those
// that usually exist; the text of its maps; the accounts. What is missing or
// refused is in Problems.
func (h *Host) Expander(ctx context.Context) (*Expander, error) {
	conf, err := h.readConfig(ctx)
	if err != nil {
		return nil, err
	}
	x := &Expander{host: h, conf: conf, tables: map[string]*Table{}, users: map[string]*Account{}, problems: conf.problems}
	for a, err := range h.Accounts(ctx) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return nil, err
		}
		if err != nil {
			continue // Accounts reports it
		}
		x.users[a.Name] = a
		x.order = append(x.order, a)
	}
	x.checkSources()
	if err := x.readShells(ctx); err != nil {
		return nil, err
	}
	if err := x.readTables(ctx); err != nil {
		return nil, err
	}
	if err := x.readAliasFiles(ctx); err != nil {
		return nil, err
	}
	return x, nil
}

// Problems are what was odd in the configuration, the tables and the alias
// files.
func (x *Expander) Problems() []qmailkit.Problem { return x.problems }

// Aliases yields the entries that count, in the order of the files.
func (x *Expander) Aliases() iter.Seq[*Alias] {
	return func(yield func(*Alias) bool) {
		seen := map[string]bool{}
		for _, f := range x.aliases {
			own := map[*Alias]string{}
			for key, a := range f.keys {
				own[a] = key
			}
			for a := range f.file.Entries() {
				key, counts := own[a]
				if !counts || seen[key] {
					continue
				}
				seen[key] = true
				if !yield(a) {
					return
				}
			}
		}
	}
}

// Table returns the table of a K line of sendmail.cf: "virtuser",
// "mailertable", "domaintable", "generics", "access". It is nil where the
// configuration has none, or there is no text.
func (x *Expander) Table(name string) *Table { return x.tables[name] }

// Option returns an option of sendmail.cf by its long name, such as
// "AliasFile", and its line. It is empty where the file does not set it.
func (x *Expander) Option(name string) (value string, line int) {
	name = lower(name)
	return x.conf.options[name], x.conf.lines[name]
}

// Macro returns the value of a macro of sendmail.cf: "S" is SMART_HOST, "M"
// MASQUERADE_AS, "L" LUSER_RELAY, "H" MAIL_HUB, "R" LOCAL_RELAY, "j" the host.
func (x *Expander) Macro(name string) string { return x.conf.macro(name) }

// MacroPlace says where a macro is set: a file, and a line of it. The path is
// empty where no file sets it.
func (x *Expander) MacroPlace(name string) (path string, line int) {
	p := x.conf.places[name]
	return p.path, p.line
}

// InClass says whether a word is in a class of sendmail.cf: "w" are the host's
// own names, "R" the domains that it relays for, "VirtHost", "t" trusted users.
func (x *Expander) InClass(class, word string) bool { return x.conf.inClass(class, word) }

// Class returns the words of a class of sendmail.cf in their order, with the
// file and line of each: the lines Cx, and the files that the lines Fx name,
// such as relay-domains for "R" and trusted-users for "t".
func (x *Expander) Class(class string) []ClassWord { return slices.Clone(x.conf.words[class]) }

// readShells reads the shells that a user must have whose .forward may name
// programs (shells(5)); without that file they are those of getusershell(3).
func (x *Expander) readShells(ctx context.Context) error {
	x.shells = map[string]bool{"/bin/sh": true, "/bin/csh": true}
	at, fi, err := x.host.lookup("etc/shells")
	if missing(err) || err == nil && !fi.Mode.IsRegular() {
		return nil
	}
	if err != nil {
		return err
	}
	x.shells = map[string]bool{}
	for l, err := range x.host.lines(ctx, at) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return err
		}
		text, _, _ := strings.Cut(l.text(), "#")
		if i := strings.IndexByte(text, '/'); err == nil && i >= 0 {
			x.shells[strings.Fields(text[i:])[0]] = true
		}
	}
	return nil
}

// alias looks a name up (alias.c:aliaslookup).
func (x *Expander) alias(name string) *Alias {
	for _, f := range x.aliases {
		if a := f.keys[lower(name)]; a != nil {
			return a
		}
	}
	return nil
}

// lookup answers for the maps of the rules.
func (x *Expander) lookup(name, key string, args []string) (string, bool) {
	spec := x.conf.maps[lower(name)]
	if spec == nil {
		return "", false
	}
	switch spec.class {
	case "dequote":
		return dequote(key)
	case "sequence":
		for _, member := range spec.members {
			if value, ok := x.lookup(member, key, args); ok {
				return value, true
			}
		}
		return "", false
	case "user":
		a, fuzzy := x.findUser(key)
		if fuzzy {
			key = lower(key)
		}
		return key + spec.suffix, a != nil
	}
	t := x.tables[spec.name]
	if t == nil {
		return "", false
	}
	entry := t.Lookup(key)
	switch {
	case entry == nil:
		return "", false
	case spec.matchOnly:
		return key + spec.suffix, true
	}
	return substitute(entry.Value, args) + spec.suffix, true
}

// dequote takes quotes away where the text needs none (map.c:dequote_map).
func dequote(key string) (string, bool) {
	var b strings.Builder
	quoted, quotes, comments, angles := false, 0, 0, 0
	for i := 0; i < len(key); i++ {
		switch c := key[i]; {
		case c == '\\':
			if i+1 == len(key) {
				return "", false
			}
			b.WriteByte(c)
			i++
			b.WriteByte(key[i])
			continue
		case c == '(':
			comments++
		case c == ')':
			if comments--; comments < 0 {
				return "", false
			}
		case c == ' ' || c == '\t':
			return "", false
		case comments > 0:
		case c == '<':
			angles++
		case c == '>':
			if angles--; angles < 0 {
				return "", false
			}
		case c == '"':
			quoted = !quoted
			quotes++
			continue
		}
		b.WriteByte(key[i])
	}
	return b.String(), quotes > 0 && !quoted && comments == 0 && angles == 0
}
