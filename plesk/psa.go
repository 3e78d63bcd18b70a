package plesk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
)

// A Server is what psa says of a host's mail.
type Server struct {
	Domains []*Domain // in the order of their ids
	// ShortNames says that users may log in to POP3 and IMAP without their
	// domain (misc, allow_short_pop3_names).
	ShortNames bool
	// Problems are what makes no sense, or is not carried. In a dump they have
	// the place of the row.
	Problems []qmailkit.Problem
}

// Domain returns a domain by its name, which may have capitals, or nil.
func (s *Server) Domain(name string) *Domain {
	for _, d := range s.Domains {
		if DirName(d.Name) == DirName(name) {
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
	// Status is 0 for a domain that is switched on, or a sum: 1 suspended, 2 with
	// its parent, 4 for a backup, 8 for the web only, 16 by the administrator,
	// 32 the reseller, 64 the client, 256 expired (plesk.com, "What do the domain
	// status codes in Plesk mean?").
	Status int64
	// ClientStatus is the same for the client whose domain it is; 0 where psa
	// does not tell.
	ClientStatus int64
	// MailStatus is the same for its mail service; MailKnown says that psa has
	// a row for that.
	MailStatus int64
	MailKnown  bool
	// MailboxQuota is what a mailbox has whose own Quota is -1 (Limits,
	// mbox_quota), in bytes; -1 is none.
	MailboxQuota int64
	Aliases      []DomainAlias
	Unknown      Unknown
	Mailnames    []*Mailname // in the order of their ids
	Lists        []string    // mailing lists: they are Mailman's and are not carried
}

// Mailname returns a mail name of the domain, or nil.
func (d *Domain) Mailname(name string) *Mailname {
	for _, m := range d.Mailnames {
		if DirName(m.Name) == DirName(name) {
			return m
		}
	}
	return nil
}

// QuotaOf is the quota that a mailbox of the domain has: its own, or that of the
// domain; -1 is none. In psa 0 is none too.
func (d *Domain) QuotaOf(m *Mailname) int64 {
	for _, n := range []int64{m.Quota, d.MailboxQuota} {
		if n >= 0 {
			return n
		}
	}
	return -1
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
	x.names[DirName(m.Name)] = m
	for _, a := range m.Aliases {
		x.aliases[DirName(a)] = m
	}
}

func (x *nameIndex) name(s string) *Mailname { return x.names[DirName(s)] }

// taken says whose a name is, as a name or as an alias; nil is nobody's.
func (x *nameIndex) taken(s string) *Mailname {
	if m := x.name(s); m != nil {
		return m
	}
	return x.aliases[DirName(s)]
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
	// Quota is in bytes; -1 is that of the domain, MailboxQuota.
	Quota   int64
	Aliases []string // local parts
	// Forwards are where mail goes beside the mailbox, or instead of it.
	Forwards []string
	// Off are addresses that stand in the tables while forwarding is switched
	// off, and the mail name itself among its forwards, which Plesk passes over.
	Off []string
	// Group says that the addresses are the members of a mail group. From Plesk
	// 10 on it is the switch of all forwarding.
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
	// Database is the one to be read where a dump holds several. If it is empty
	// that is "psa", or the only one that has tables of a psa.
	Database string
}

// needed are the tables without which psa says nothing of mail. Other tables
// came and went with the versions.
var needed = []string{"domains", "mail", "accounts", "mail_aliases", "mail_redir"}

// wanted are the tables that are read, and their columns: of a large psa the
// rest would fill the memory.
var wanted = map[string][]string{
	"domains":        {"id", "name", "displayname", "status", "cl_id", "limits_id"},
	"mail":           {"id", "mail_name", "dom_id", "account_id", "postbox", "delivery", "redirect", "redir_addr", "mail_group", "autoresponder", "mbox_quota", "spamfilter", "virusfilter", "description", "externalemail"},
	"accounts":       {"id", "type", "password"},
	"mail_aliases":   {"mn_id", "alias"},
	"mail_redir":     {"mn_id", "address"},
	"domainaliases":  {"id", "dom_id", "name", "displayname", "status", "mail"},
	"domain_aliases": {"id", "dom_id", "name", "displayname", "status", "mail"},
	"domainservices": {"dom_id", "type", "status", "parameters_id"},
	"parameters":     {"id", "parameter", "value"},
	"clients":        {"id", "login", "status"},
	"limits":         {"id", "limit_name", "value"},
	"mail_resp": {"id", "mn_id", "resp_name", "keystr", "key_where", "subject", "reply_to", "text", "resp_on", "ans_freq", "mem_limit",
		"content_type", "charset", "enddate"},
	"resp_attach":  {"rn_id", "filename"},
	"resp_forward": {"rn_id", "address"},
	"maillists":    {"dom_id", "name"},
	"misc":         {"param", "val"},
}

// ReadDump reads a dump of psa as mysqldump or mariadb-dump writes it. Tables
// and columns are found by their names, so that all versions are read. Texts in
// latin1 become UTF-8, as a server would give them out.
//
// A dump that is cut short is an error that wraps ErrTruncated, and one that
// cannot be read ErrDump; both are a DumpError, which has the place. ErrNoDatabase
// says that there are several databases, and not the one to be read. A table or
// column that every version has and this dump has not is ErrNoTable or
// ErrNoColumn, and one without any domain is ErrNoRows. Rows that make no sense
// are Problems of the Server.
func ReadDump(ctx context.Context, r io.Reader, opts *Options) (*Server, error) {
	o := opts.or()
	t, err := readDump(ctx, r, o.Name, o.Database, isWanted)
	if err != nil {
		return nil, err
	}
	return interpret(t, o.Name, true)
}

func (o *Options) or() Options {
	out := Options{}
	if o != nil {
		out = *o
	}
	if out.Name == "" {
		out.Name = "psa"
	}
	return out
}

// ReadDB reads psa from a MySQL or MariaDB server, in one transaction that
// changes nothing. The database is the one that the connection has chosen, and
// the connection's character set has to be utf8mb4. Errors are as for ReadDump,
// but one without any domain is that of a new host: a Problem plesk.no-domains.
func ReadDB(ctx context.Context, db *sql.DB, opts *Options) (*Server, error) {
	o := opts.or()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	defer tx.Rollback()
	t, err := readWished(ctx, tx, isWanted)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	return interpret(t, o.Name, false)
}

func isWanted(name string) (columns []string, ok bool) {
	columns, ok = wanted[strings.ToLower(name)]
	return columns, ok
}

// readTables reads whole tables.
func readTables(ctx context.Context, tx *sql.Tx, want func(name string) bool) (map[string]*table, error) {
	return readWished(ctx, tx, func(name string) ([]string, bool) { return nil, want(name) })
}

// readWished reads the wished columns of the wished tables.
func readWished(ctx context.Context, tx *sql.Tx, want wish) (map[string]*table, error) {
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
		if _, ok := want(n); ok {
			names = append(names, n)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	tables := map[string]*table{}
	for _, n := range names {
		columns, _ := want(n)
		if tables[n], err = readTable(ctx, tx, n, columns); err != nil {
			return nil, fmt.Errorf("table %q: %w", n, err)
		}
	}
	return tables, nil
}

// readTable reads the wished columns of a table, whose name is one of those
// wanted.
func readTable(ctx context.Context, tx *sql.Tx, name string, wished []string) (*table, error) {
	rows, err := tx.QueryContext(ctx, "SELECT * FROM `"+name+"` LIMIT 0")
	if err != nil {
		return nil, err
	}
	t := &table{name: name}
	all, err := rows.Columns()
	if err = errors.Join(err, rows.Close()); err != nil {
		return nil, err
	}
	var list []string
	for _, c := range all {
		if keeps(wished, c) {
			t.columns, list = append(t.columns, c), append(list, "`"+strings.ReplaceAll(c, "`", "``")+"`")
		}
	}
	if len(list) == 0 {
		return t, nil // the first column that is missed tells
	}
	rows, err = tx.QueryContext(ctx, "SELECT "+strings.Join(list, ", ")+" FROM `"+name+"`")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	values := make([]any, len(t.columns))
	to := make([]any, len(values))
	for i := range values {
		to[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return nil, err
		}
		row := make([]string, len(values))
		for i, v := range values {
			row[i] = valueText(v, types[i].DatabaseTypeName())
		}
		t.rows = append(t.rows, row)
	}
	return t, rows.Err()
}

// valueText is a value as the server writes it. Drivers give out numbers, and
// with the option parseTime times, in types of their own.
func valueText(v any, kind string) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []byte:
		return string(v)
	case time.Time:
		layout, zero := time.DateTime, "0000-00-00 00:00:00"
		if kind == "DATE" {
			layout, zero = time.DateOnly, zero[:len(time.DateOnly)]
		}
		if v.IsZero() {
			return zero
		}
		return v.Format(layout)
	}
	return fmt.Sprint(v)
}
