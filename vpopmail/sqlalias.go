//go:build unix

package vpopmail

import (
	"context"
	"slices"
	"strings"
)

const insertAlias = "insert into valias (alias, `domain`, valias_line) values (?, ?, ?)"

// aliasLine checks a line for table valias and returns it as it is stored: the
// blanks at its beginning go, as vpopmail has it (vmysql.c:valias_insert).
func (b *SQL) aliasLine(ctx context.Context, t *sqlTable, d *Domain, name, line string) (string, error) {
	line = strings.TrimLeft(line, " \t")
	for _, c := range []struct{ column, field, text string }{{"alias", "user", name}, {"domain", "domain", d.Name}, {"valias_line", "line", line}} {
		err := t.fits(c.column, c.text)
		if err == nil && strings.IndexByte(c.text, '\n') >= 0 {
			err = ErrBadByte
		}
		if err == nil {
			err = t.comesBack(ctx, b.db, c.column, c.text)
		}
		if err != nil {
			return "", &Error{Domain: d.Name, User: name, Field: c.field, Err: err}
		}
	}
	return line, nil
}

// AddAlias inserts a row. A line that the column does not take or give back
// whole is ErrTooLong or ErrBadByte.
func (b *SQL) AddAlias(ctx context.Context, d *Domain, name, line string) error {
	if b.s == nil {
		return ErrNotOpened
	}
	t, err := b.needTable(ctx, b.db, aliasTable)
	if err != nil {
		return err
	}
	if line, err = b.aliasLine(ctx, t, d, name, line); err != nil {
		return err
	}
	_, err = b.db.ExecContext(ctx, insertAlias, name, d.Name, line)
	return sqlError(err)
}

// SetAlias inserts the rows that are missing before it deletes those that are
// too many, in one transaction where the engine has them.
func (b *SQL) SetAlias(ctx context.Context, d *Domain, name string, lines []string) error {
	if b.s == nil {
		return ErrNotOpened
	}
	t, err := b.needTable(ctx, b.db, aliasTable)
	if err != nil {
		return err
	}
	want := make([]string, len(lines))
	for i, l := range lines {
		if want[i], err = b.aliasLine(ctx, t, d, name, l); err != nil {
			return err
		}
	}
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return sqlError(err)
	}
	defer tx.Rollback() // says nothing new once it is committed, or was lost
	rows, err := b.aliasRows(ctx, tx, d.Name, name)
	if err != nil {
		return err
	}
	var have []string
	for _, r := range rows {
		have = append(have, r.line)
	}
	for _, l := range want {
		if !slices.Contains(have, l) {
			if _, err := tx.ExecContext(ctx, insertAlias, name, d.Name, l); err != nil {
				return sqlError(err)
			}
		}
	}
	for _, l := range have {
		if !slices.Contains(want, l) {
			// Not what the collation takes for equal.
			if _, err := tx.ExecContext(ctx, "delete from valias where alias = ? and `domain` = ? and binary valias_line = ?", name, d.Name, l); err != nil {
				return sqlError(err)
			}
		}
	}
	return sqlError(tx.Commit())
}
