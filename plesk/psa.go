package plesk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// A Server is what psa says of a host's mail.
type Server struct {
	Domains []*Domain // in the order of their ids
	// ShortNames says that users may log in to POP3 and IMAP without their
	// domain (misc, allow_short_pop3_names).
	ShortNames bool
	Problems   []qmailkit.Problem
}

// Domain returns a domain by its name, which may have capitals, or nil.
func (s *Server) Domain(name string) *Domain {
	for _, d := range s.Domains {
		if strings.EqualFold(d.Name, name) {
			return d
		}
	}
	return nil
}

// A Domain is a domain of Plesk.
type Domain struct {
	// ID is the number that stands in control/virtualdomains and users/assign.
	// It is this host's own: another host has another.
	ID   uint64
	Name string // in ASCII, as DNS has it
	// DisplayName is the name as people write it; empty where the table has no
	// such column.
	DisplayName string
	// Status is 0 for a domain that is switched on. Other numbers are kinds of
	// suspension.
	Status int64
	// MailStatus is the same for its mail service; MailKnown says that psa has
	// a row for that.
	MailStatus int64
	MailKnown  bool
	Aliases    []DomainAlias
	Unknown    Unknown
	Mailnames  []*Mailname // in the order of their ids
	Lists      []string    // mailing lists: they are Mailman's and are not carried
}

// Mailname returns a mail name of the domain, or nil.
func (d *Domain) Mailname(name string) *Mailname {
	for _, m := range d.Mailnames {
		if strings.EqualFold(m.Name, name) {
			return m
		}
	}
	return nil
}

// nameIndex finds mail names and aliases, in lower case, in a large domain.
type nameIndex struct {
	names   map[string]*Mailname
	aliases map[string]*Mailname // whose alias it is
}

// index returns the names of a domain, which may be nil.
func (d *Domain) index() *nameIndex {
	x := &nameIndex{map[string]*Mailname{}, map[string]*Mailname{}}
	if d != nil {
		for _, m := range d.Mailnames {
			x.add(m)
		}
	}
	return x
}

func (x *nameIndex) add(m *Mailname) {
	x.names[strings.ToLower(m.Name)] = m
	for _, a := range m.Aliases {
		x.aliases[strings.ToLower(a)] = m
	}
}

func (x *nameIndex) name(s string) *Mailname { return x.names[strings.ToLower(s)] }

// taken says whose a name is, as a name or as an alias; nil is nobody's.
func (x *nameIndex) taken(s string) *Mailname {
	if m := x.name(s); m != nil {
		return m
	}
	return x.aliases[strings.ToLower(s)]
}

// A DomainAlias is another name of a domain.
type DomainAlias struct {
	ID                uint64
	Name, DisplayName string
	Status            int64
	Mail              bool // mail for it is mail for the domain
}

// Unknown is what becomes of mail for names that a domain does not have.
type Unknown struct {
	// Action is the word in Parameters: "bounce", "catch", "reject", or empty
	// where psa has none.
	Action string
	// Address gets the mail when Action is "catch".
	Address string
	// Text is the message of a bounce, where psa has one.
	Text string
}

// A Mailname is a name of a domain: a mailbox, forwards, a group, or several
// of them.
type Mailname struct {
	ID   uint64
	Name string // the local part
	// Mailbox says that it has a Maildir, and that its owner may log in
	// (mail.postbox).
	Mailbox bool
	// NoDelivery says that nothing is delivered to the mailbox (mail.delivery,
	// newer versions).
	NoDelivery bool
	Password   Password
	// Quota is in bytes; -1 is none.
	Quota   int64
	Aliases []string // local parts
	// Forwards are where mail goes beside the mailbox, or instead of it.
	Forwards []string
	// Off are addresses that stand in the tables while forwarding is switched
	// off.
	Off []string
	// Group says that the addresses are the members of a mail group.
	Group      bool
	Responders []Responder
	// AutoRespond says that the autoresponders are switched on.
	AutoRespond bool
	// Description and External, an address at which its owner can be reached,
	// are what newer versions have beside.
	Description, External string
	// SpamFilter and VirusFilter are the words of mail.spamfilter and
	// mail.virusfilter; they are mail handlers, which are not carried.
	SpamFilter, VirusFilter string
}

// A Password is what table accounts has.
type Password struct {
	// Type is "plain", "crypt" or "sym"; other words are kept. Empty says that
	// there is no account.
	Type string
	// Stored is the column as it stands: the password, its hash, or what Sym
	// opens.
	Stored qmailkit.Secret
}

// A Responder is an autoresponder (mail_resp).
type Responder struct {
	ID          uint64
	Name        string
	On          bool
	Key         string // text that the message must hold, where Where is not "no"
	Where       string // "subj", "body", "no"
	Subject     string
	ReplyTo     string
	Text        string
	ContentType string
	Charset     string
	Frequency   int64 // answers to one sender a day
	Store       int64 // senders that are remembered for that (mail_resp.mem_limit)
	Attachments []string
	Forwards    []string
	End         string // the day on which it ends, as it stands; empty is never
}

// Options of ReadDump and ReadDB.
type Options struct {
	// Name is what errors and Problems call the dump; "psa" if empty.
	Name string
	// Database is the one to be read where a dump holds several; "psa" if
	// empty.
	Database string
}

// needed are the tables without which psa says nothing of mail. Other tables
// came and went with the versions.
var needed = []string{"domains", "mail", "accounts", "mail_aliases", "mail_redir"}

var wanted = map[string]bool{
	"domains": true, "mail": true, "accounts": true, "mail_aliases": true, "mail_redir": true,
	"domainaliases": true, "domain_aliases": true, "domainservices": true, "parameters": true,
	"mail_resp": true, "resp_attach": true, "resp_forward": true, "maillists": true, "misc": true,
}

// ReadDump reads a dump of psa as mysqldump or mariadb-dump writes it. Tables
// and columns are found by their names, so that all versions are read. A dump
// that is cut short is an error that wraps ErrTruncated; a table or column that
// every version has and this dump has not is ErrNoTable or ErrNoColumn.
func ReadDump(ctx context.Context, r io.Reader, opts *Options) (*Server, error) {
	o := opts.or()
	t, err := readDump(ctx, r, o.Name, o.Database, isWanted)
	if err != nil {
		return nil, err
	}
	return interpret(t, o.Name)
}

func (o *Options) or() Options {
	out := Options{}
	if o != nil {
		out = *o
	}
	if out.Name == "" {
		out.Name = "psa"
	}
	if out.Database == "" {
		out.Database = "psa"
	}
	return out
}

// ReadDB reads psa from a MySQL or MariaDB server, in one transaction that
// changes nothing. The database is the one that the connection has chosen.
func ReadDB(ctx context.Context, db *sql.DB, opts *Options) (*Server, error) {
	o := opts.or()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	defer tx.Rollback()
	t, err := readTables(ctx, tx, isWanted)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	return interpret(t, o.Name)
}

func isWanted(name string) bool { return wanted[strings.ToLower(name)] }

func readTables(ctx context.Context, tx *sql.Tx, want func(name string) bool) (map[string]*table, error) {
	rows, err := tx.QueryContext(ctx, "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()")
	if err != nil {
		return nil, err
	}
	var names []string
	for rows.Next() {
		var n string
		if err := rows.Scan(&n); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		if want(n) {
			names = append(names, n)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	tables := map[string]*table{}
	for _, n := range names {
		if tables[n], err = readTable(ctx, tx, n); err != nil {
			return nil, fmt.Errorf("table %q: %w", n, err)
		}
	}
	return tables, nil
}

// readTable reads a whole table, whose name is one of those wanted.
func readTable(ctx context.Context, tx *sql.Tx, name string) (*table, error) {
	rows, err := tx.QueryContext(ctx, "SELECT * FROM `"+name+"`")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	t := &table{name: name}
	if t.columns, err = rows.Columns(); err != nil {
		return nil, err
	}
	raw := make([]sql.RawBytes, len(t.columns))
	to := make([]any, len(raw))
	for i := range raw {
		to[i] = &raw[i]
	}
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return nil, err
		}
		row := make([]value, len(raw))
		for i, b := range raw {
			if b != nil {
				row[i] = append(value{}, b...)
			}
		}
		t.rows = append(t.rows, row)
	}
	return t, rows.Err()
}
