//go:build unix

package vpopmail

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/internal/passhash"
)

// Detect completes what DetectProfile found with what the database's tables
// tell: the layout, clear passwords, the release and its widths, what else is
// in tables, the hash kind, and whether users are spread over hash directories.
// What a column is too narrow for is told too, so that a Profile made of it
// refuses it early. A database without vpopmail's tables tells nothing. Nothing
// is changed.
func (b *SQL) Detect(ctx context.Context, d *Detection) error {
	tables, err := b.tableNames(ctx)
	if err != nil {
		return err
	}
	p := &d.Profile
	for _, t := range []struct {
		table, what string
		to          *bool
	}{
		{aliasTable, "aliases", &p.SQLAliases}, {limitsTable, "limits", &p.SQLLimits},
		{logTable, "log", &p.SQLLog}, {alias56Table, "alias domains", &p.SQLAliasDomains},
	} {
		if slices.Contains(tables, t.table) && d.told(t.what, "table "+t.table) {
			*t.to = true
		}
	}
	users, each, err := b.findUsers(ctx, tables)
	if err != nil || users == nil {
		return err
	}
	where := "table " + users.name
	if d.told("layout", where) {
		p.TablePerDomain = each
	}
	// vpopmail 5.4 makes CHAR columns, 5.6 VARCHAR (vmysql.h).
	if !users.columns["pw_name"].fixed && !d.has("release") && d.told("release", where) {
		d.become56()
	}
	if d.told("clear passwords", where) {
		p.ClearPasswords = users.has(clearColumn)
	}
	for _, w := range []struct {
		column string
		to     *int
	}{{"pw_name", &p.MaxUser}, {"pw_gecos", &p.MaxGecos}, {"pw_passwd", &p.MaxHash}, {clearColumn, &p.MaxClear}, {"pw_dir", &p.MaxDir}, {"pw_shell", &p.MaxQuota}} {
		if width := users.columns[w.column].width; width > 0 && width < *w.to {
			*w.to = width
			d.told(w.column, where)
		}
	}
	if err := b.detectHash(ctx, d, users); err != nil {
		return err
	}
	return b.detectBigDir(ctx, d, tables, users)
}

// become56 changes the release and what goes with it, but not what was told.
func (d *Detection) become56() {
	p, had := DefaultProfile56(), d.Profile
	p.Home, p.UID, p.GID = had.Home, had.UID, had.GID
	p.SQLAliases, p.SQLLimits, p.SQLLog, p.SQLAliasDomains, p.TablePerDomain = had.SQLAliases, had.SQLLimits, had.SQLLog, had.SQLAliasDomains, had.TablePerDomain
	if d.has("clear passwords") {
		p.ClearPasswords = had.ClearPasswords
	}
	if d.has("hash") {
		p.Hash = had.Hash
	}
	if d.has("hash directories") {
		p.BigDir = had.BigDir
	}
	d.Profile = p
}

func (b *SQL) tableNames(ctx context.Context) ([]string, error) {
	rows, err := b.db.QueryContext(ctx, "select table_name from information_schema.tables where table_schema = database()")
	if err != nil {
		return nil, sqlError(err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var n string
		if err := rows.Scan(&n); err != nil {
			return nil, sqlError(err)
		}
		names = append(names, n)
	}
	return names, sqlError(rows.Err())
}

// findUsers finds the table of all users, or that of one domain: one with
// pw_name and without pw_domain.
func (b *SQL) findUsers(ctx context.Context, tables []string) (t *sqlTable, each bool, err error) {
	if t, err = readTable(ctx, b.db, usersTable); err != nil || t != nil && t.has("pw_domain") {
		return t, false, err
	}
	slices.Sort(tables)
	for _, name := range tables {
		if slices.Contains(otherTables, name) {
			continue
		}
		t, err := readTable(ctx, b.db, name)
		if err != nil {
			return nil, false, err
		}
		if t != nil && t.has("pw_name") && t.has("pw_passwd") && !t.has("pw_domain") {
			return t, true, nil
		}
	}
	return nil, false, nil
}

// detectHash looks at the hashes of accounts whose password the installation
// hashed itself: those with a clear password, and postmasters.
func (b *SQL) detectHash(ctx context.Context, d *Detection, t *sqlTable) error {
	where := "pw_name = 'postmaster'"
	if t.has(clearColumn) {
		where = "pw_clear_passwd <> ''"
	}
	rows, err := b.db.QueryContext(ctx, "select pw_passwd from "+quoted(t.name)+" where "+where+" and pw_passwd <> '' limit 100")
	if err != nil {
		return sqlError(err)
	}
	defer rows.Close()
	kinds := map[passhash.Scheme]HashKind{passhash.MD5: HashMD5, passhash.DES: HashDES, passhash.SHA512: HashSHA512}
	for rows.Next() {
		var hash string
		if err := rows.Scan(&hash); err != nil {
			return sqlError(err)
		}
		if kind, ok := kinds[passhash.Classify(hash)]; ok && d.told("hash", "table "+t.name) {
			d.Profile.Hash = kind
		}
	}
	return sqlError(rows.Err())
}

// detectBigDir looks whether any domain counts its users: dir_control has rows
// for the domains themselves (dom_UID) in any case.
func (b *SQL) detectBigDir(ctx context.Context, d *Detection, tables []string, users *sqlTable) error {
	if !slices.Contains(tables, counterTable) {
		return nil
	}
	rows, err := b.db.QueryContext(ctx, "select domain from dir_control")
	if err != nil {
		return sqlError(err)
	}
	defer rows.Close()
	any, domains := false, false
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return sqlError(err)
		}
		any = true
		domains = domains || !strings.HasPrefix(name, "dom_")
	}
	if err := rows.Err(); err != nil {
		return sqlError(err)
	}
	if any && !domains {
		// The first domain is counted before its first user is.
		var one int
		err := b.db.QueryRowContext(ctx, "select 1 from "+quoted(users.name)+" limit 1").Scan(&one)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return sqlError(err)
		}
	}
	if any && d.told("hash directories", "table "+counterTable) {
		d.Profile.BigDir = domains
	}
	return nil
}
