//go:build unix

package vpopmail

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// The tables of vpopmail's MySQL module (vmysql.h). In the layout of a table
// for each domain (--disable-many-domains) the users' is named after it.
const (
	usersTable   = "vpopmail"
	counterTable = "dir_control"
	loginTable   = "lastauth"
	aliasTable   = "valias"
	logTable     = "vlog"
	limitsTable  = "limits"
	alias56Table = "aliasdomains"
)

// otherTables are the names that a domain's own table cannot have.
var otherTables = []string{counterTable, loginTable, aliasTable, logTable, limitsTable, alias56Table, "relay", "ip_alias_map"}

// querier is a connection or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// sqlTable is what the database says of one table.
type sqlTable struct {
	name    string
	columns map[string]sqlColumn
	atomic  bool // its engine has transactions
}

type sqlColumn struct {
	width   int    // in characters; 0 is not text
	fixed   bool   // CHAR: blanks at the end are lost
	charset string // empty keeps bytes
}

func (t *sqlTable) has(column string) bool {
	_, ok := t.columns[column]
	return ok
}

// fits says whether text fits a column. The width counts characters; vpopmail's
// own limits count bytes, so bytes it is.
func (t *sqlTable) fits(column, text string) error {
	c, ok := t.columns[column]
	switch {
	case !ok && text != "":
		return fmt.Errorf("%w: table %s has no column %s", ErrTooLong, t.name, column)
	case len(text) > c.width:
		return fmt.Errorf("%w: %d bytes, column %s takes %d", ErrTooLong, len(text), column, c.width)
	case strings.IndexByte(text, 0) >= 0:
		return fmt.Errorf("%w: NUL", ErrBadByte)
	case c.fixed && strings.HasSuffix(text, " "):
		return fmt.Errorf("%w: column %s loses blanks at the end", ErrBadByte, column)
	}
	return nil
}

// comesBack asks the server whether a column would give text back as it is.
func (t *sqlTable) comesBack(ctx context.Context, q querier, column, text string) error {
	c := t.columns[column]
	if ascii(text) || c.charset == "" || !plainWord(c.charset) {
		return nil
	}
	var back sql.NullString
	rows, err := q.QueryContext(ctx, "select convert(? using "+c.charset+")", text)
	if err == nil {
		if rows.Next() {
			err = rows.Scan(&back)
		}
		rows.Close()
	}
	if err != nil || back.String != text {
		return fmt.Errorf("%w: column %s does not give back bytes from 128 on as they are", ErrBadByte, column)
	}
	return nil
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// plainWord says whether a name can stand in a statement without quotes.
func plainWord(s string) bool {
	for i := 0; i < len(s); i++ {
		if !alnum(s[i]) && s[i] != '_' {
			return false
		}
	}
	return s != ""
}

// readTable asks the database for a table; one that is missing is nil.
func readTable(ctx context.Context, q querier, name string) (*sqlTable, error) {
	rows, err := q.QueryContext(ctx, "select c.column_name, coalesce(c.character_maximum_length, 0), c.data_type, coalesce(c.character_set_name, ''), coalesce(e.transactions, '')"+
		" from information_schema.columns c join information_schema.tables t on t.table_schema = c.table_schema and t.table_name = c.table_name"+
		" left join information_schema.engines e on e.engine = t.engine"+
		" where c.table_schema = database() and c.table_name = ?", name)
	if err != nil {
		return nil, sqlError(err)
	}
	defer rows.Close()
	var t *sqlTable
	for rows.Next() {
		if t == nil {
			t = &sqlTable{name: name, columns: map[string]sqlColumn{}}
		}
		var column, kind, atomic string
		var c sqlColumn
		var width int64
		if err := rows.Scan(&column, &width, &kind, &c.charset, &atomic); err != nil {
			return nil, sqlError(err)
		}
		c.width, c.fixed = int(min(width, maxFile)), strings.EqualFold(kind, "char")
		t.columns[strings.ToLower(column)] = c
		t.atomic = atomic == "YES"
	}
	return t, sqlError(rows.Err())
}

// sqlError says whose error it is. No statement is part of it, because
// arguments may be secrets.
func sqlError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("vpopmail: database: %w", err)
}

// quoted is an identifier in a statement, in every sql_mode.
func quoted(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// domainTable is the name of a domain's own table (vmysql.c:vauth_munch_domain):
// '.' and '-' become '_'. Names that vpopmail cannot use as a table, or that
// would be another's, are refused: see sameTable for the rest.
func domainTable(domain string) (string, error) {
	fail := func(why string) (string, error) {
		return "", &Error{Domain: domain, Field: "domain", Err: fmt.Errorf("%w: its table %s", ErrBadDomain, why)}
	}
	name := strings.NewReplacer(".", "_", "-", "_").Replace(domain)
	digits := 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c != '_' && (c < 'a' || c > 'z'):
			return fail(fmt.Sprintf("cannot have the byte %q", name[i:i+1]))
		}
	}
	switch {
	case len(name) > 64:
		return fail(fmt.Sprintf("would have a name of %d bytes, the most is 64", len(name)))
	case digits == len(name):
		return fail("would have a name of digits only")
	}
	for _, other := range otherTables {
		if name == other {
			return fail("would be vpopmail's table " + other)
		}
	}
	return name, nil
}

// tableOf is the table that has a domain's users.
func (b *SQL) tableOf(domain string) (string, error) {
	if b.s.p.TablePerDomain {
		return domainTable(domain)
	}
	return usersTable, nil
}

// sameTable refuses a domain whose table another domain has: a-b.c and a.b.c
// are both a_b_c. vpopmail lets them share their accounts.
func (b *SQL) sameTable(ctx context.Context, q querier, domain, table string) error {
	if !b.s.p.TablePerDomain {
		return nil
	}
	counters, err := b.table(ctx, q, counterTable)
	if err != nil || counters == nil {
		return err
	}
	rows, err := q.QueryContext(ctx, "select domain from dir_control where replace(replace(domain, '.', '_'), '-', '_') = ? and domain <> ?", table, domain)
	if err != nil {
		return sqlError(err)
	}
	defer rows.Close()
	if !rows.Next() {
		return sqlError(rows.Err())
	}
	var other string
	if err := rows.Scan(&other); err != nil {
		return sqlError(err)
	}
	return &Error{Domain: domain, Field: "domain", Err: fmt.Errorf("%w: table %s is that of %q", ErrBadDomain, table, other)}
}

// ddl is the statement by which vpopmail makes a table (vmysql.h). The table's
// name is not quoted there, and so not here: a name that vpopmail's other
// statements would stumble over must not come to be.
func (b *SQL) ddl(table string) string {
	text := "char"
	if b.s.p.Release == Release56 {
		text = "varchar"
	}
	col := func(name string, width int, rest string) string {
		return fmt.Sprintf("%s %s(%d)%s", name, text, width, rest)
	}
	const required = " not null"
	ip := 18
	var c []string
	switch {
	case table == counterTable:
		c = append(c, col("domain", 96, required))
		for _, name := range counterColumns[:len(counterColumns)-1] {
			c = append(c, name+" int")
		}
		c = append(c, col("the_dir", 160, ""), "primary key (domain)")
	case table == loginTable && text == "varchar":
		c = append(c, col("user", 32, required), col("domain", 96, required), col("remote_ip", 39, required),
			"timestamp int default 0 not null", "primary key (user, domain)")
	case table == loginTable:
		c = append(c, col("user", 32, required), col("domain", 96, required), col("remote_ip", ip, required),
			"timestamp bigint default 0 not null", "primary key (user, domain)")
	case table == aliasTable:
		if text == "varchar" {
			c = append(c, "id int not null auto_increment primary key")
		}
		c = append(c, col("alias", 32, required), col("domain", 96, required), "valias_line text not null", "index (alias, domain)")
	case table == limitsTable:
		c = limitsDDL(col("domain", 96, ""))
	case table == alias56Table:
		c = append(c, col("alias", 100, required), col("domain", 100, required), "primary key (alias)")
	default:
		c = b.usersDDL(col)
	}
	return "create table if not exists " + table + " ( " + strings.Join(c, ", ") + " )"
}

// usersDDL are the columns of the users' table of either layout.
func (b *SQL) usersDDL(col func(name string, width int, rest string) string) []string {
	name, hash, gecos, clear := 32, 40, 48, 16
	if b.s.p.Release == Release56 {
		name, hash, gecos, clear = 64, 128, 64, 128
	}
	c := []string{col("pw_name", name, " not null")}
	key := "primary key (pw_name)"
	if !b.s.p.TablePerDomain {
		c = append(c, col("pw_domain", 96, " not null"))
		key = "primary key (pw_name, pw_domain)"
	}
	c = append(c, col("pw_passwd", hash, ""), "pw_uid int", "pw_gid int", col("pw_gecos", gecos, ""), col("pw_dir", 160, ""), col("pw_shell", 20, ""))
	if b.s.p.ClearPasswords {
		c = append(c, col("pw_clear_passwd", clear, ""))
	}
	return append(c, key)
}

// table is readTable, which asks once for a table that is there.
func (b *SQL) table(ctx context.Context, q querier, name string) (*sqlTable, error) {
	if t, ok := b.tables.Load(name); ok {
		return t.(*sqlTable), nil
	}
	t, err := readTable(ctx, q, name)
	if t != nil {
		b.tables.Store(name, t)
	}
	return t, err
}

// needTable is table for one that has to be there.
func (b *SQL) needTable(ctx context.Context, q querier, name string) (*sqlTable, error) {
	t, err := b.table(ctx, q, name)
	if err == nil && t == nil {
		t, err = b.makeTable(ctx, q, name)
	}
	return t, err
}

// makeTable makes a table if it is missing and says what it is then. It must
// not be called inside a transaction, which it would end.
func (b *SQL) makeTable(ctx context.Context, q querier, name string) (*sqlTable, error) {
	b.tables.Delete(name)
	t, err := b.table(ctx, q, name)
	if err != nil || t != nil {
		return t, err
	}
	if b.o.NoCreate {
		return nil, fmt.Errorf("vpopmail: database has no table %s", name)
	}
	if _, err := q.ExecContext(ctx, b.ddl(name)); err != nil {
		return nil, fmt.Errorf("vpopmail: making table %s: %w", name, err)
	}
	if t, err = b.table(ctx, q, name); err == nil && t == nil {
		err = fmt.Errorf("vpopmail: table %s was made and is not there", name)
	}
	return t, err
}
