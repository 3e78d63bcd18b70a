//go:build unix

package vpopmail

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"
)

// counterColumns are those of dir_control behind the domain's name.
var counterColumns = []string{"cur_users", "level_cur", "level_max", "level_start0", "level_start1", "level_start2",
	"level_end0", "level_end1", "level_end2", "level_mod0", "level_mod1", "level_mod2", "level_index0", "level_index1", "level_index2", "the_dir"}

// numbers are the columns of a counter but the last, in their order.
func (c *DirControl) numbers() []int {
	out := []int{c.Level, c.MaxLevel}
	for _, row := range [][3]int{c.Start, c.End, c.Mod, c.Index} {
		out = append(out, row[:]...)
	}
	return out
}

// readCounter reads a row of dir_control, which keeps what the file form loses
// (see ParseDirControl). A table or row that is missing is the counter before
// the first account.
func readCounter(ctx context.Context, q querier, name string) (DirControl, error) {
	c := NewDirControl()
	rows, err := q.QueryContext(ctx, "select "+strings.Join(counterColumns, ", ")+" from dir_control where domain = ?", name)
	if err != nil {
		if t, e := readTable(ctx, q, counterTable); e != nil || t != nil {
			return c, sqlError(err)
		}
		return c, nil
	}
	defer rows.Close()
	if !rows.Next() {
		return c, sqlError(rows.Err())
	}
	n := make([]sql.NullInt64, len(counterColumns)-1)
	var dir sql.NullString
	into := make([]any, 0, len(counterColumns))
	for i := range n {
		into = append(into, &n[i])
	}
	if err := rows.Scan(append(into, &dir)...); err != nil {
		return c, sqlError(err)
	}
	for i := range n {
		if n[i].Int64 < 0 || n[i].Int64 > math.MaxInt32 {
			return c, fmt.Errorf("dir_control: row of %q: %w: column %s is %d", name, ErrDirControl, counterColumns[i], n[i].Int64)
		}
	}
	c.Users, c.Level, c.MaxLevel, c.Dir = uint64(n[0].Int64), int(n[1].Int64), int(n[2].Int64), dir.String
	for i, row := range []*[3]int{&c.Start, &c.End, &c.Mod, &c.Index} {
		for j := range row {
			row[j] = int(n[3+3*i+j].Int64)
		}
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("dir_control: row of %q: %w", name, err)
	}
	return c, nil
}

// writeCounter replaces a row of dir_control.
func writeCounter(ctx context.Context, q querier, name string, c DirControl) error {
	if c.Users > math.MaxInt32 {
		return fmt.Errorf("dir_control: row of %q: %w: an INT column takes 31 bits", name, ErrTooLong)
	}
	args := []any{name, int64(c.Users)}
	for _, n := range c.numbers() {
		args = append(args, n)
	}
	args = append(args, c.Dir)
	_, err := q.ExecContext(ctx, "replace into dir_control (domain, "+strings.Join(counterColumns, ", ")+") values ("+marks(len(args))+")", args...)
	return sqlError(err)
}

// marks are n placeholders.
func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// settleCounter brings a counter to where a change ended, unless another
// program has changed it since.
func settleCounter(ctx context.Context, q querier, name string, row *counterRow, done bool) error {
	if row == nil {
		return nil
	}
	from, to := row.After, row.Before
	if done {
		from, to = to, from
	}
	c, err := readCounter(ctx, q, name)
	if err != nil || c != from {
		return err
	}
	return writeCounter(ctx, q, name, to)
}

// domainsRow is the row that counts the domains of a uid (bigdir.c:
// load_todo).
func domainsRow(uid int) string { return fmt.Sprintf("dom_%d", uid) }

// MakeDomain makes the tables that vadddomain makes. That a name is that of
// another domain's table, or none that vpopmail can use, is ErrBadDomain.
func (b *SQL) MakeDomain(ctx context.Context, d *Domain) error {
	if b.s == nil {
		return ErrNotOpened
	}
	table, err := b.tableOf(d.Name)
	if err != nil {
		return err
	}
	if err := b.sameTable(ctx, b.db, d.Name, table); err != nil {
		return err
	}
	names := []string{counterTable, table}
	if b.s.p.AuthLogging {
		names = append(names, loginTable)
	}
	if b.s.p.SQLAliasDomains {
		names = append(names, alias56Table)
	}
	if b.s.p.SQLLimits {
		names = append(names, limitsTable)
	}
	for _, name := range names {
		if _, err := b.makeTable(ctx, b.db, name); err != nil {
			return err
		}
	}
	return nil
}

// RemoveDomain removes every row of a domain in one transaction, and then its
// own table. Tables that are missing are passed over.
func (b *SQL) RemoveDomain(ctx context.Context, d *Domain) error {
	if b.s == nil {
		return ErrNotOpened
	}
	own, err := b.tableOf(d.Real)
	if err != nil {
		return err
	}
	if err := b.sameTable(ctx, b.db, d.Real, own); err != nil {
		return err
	}
	clear := []struct{ table, column string }{{aliasTable, "domain"}, {loginTable, "domain"}, {logTable, "domain"}, {limitsTable, "domain"}, {counterTable, "domain"}}
	if !b.s.p.TablePerDomain {
		clear = append(clear, struct{ table, column string }{own, "pw_domain"})
	}
	return b.atomically(ctx, func(tx *sql.Tx) error {
		for _, c := range clear {
			if t, err := readTable(ctx, tx, c.table); err != nil || t == nil {
				if err != nil {
					return err
				}
				continue
			}
			if _, err := tx.ExecContext(ctx, "delete from "+quoted(c.table)+" where "+c.column+" = ?", d.Real); err != nil {
				return sqlError(err)
			}
		}
		return nil
	}, func() error {
		if !b.s.p.TablePerDomain {
			return nil
		}
		_, err := b.db.ExecContext(ctx, "drop table if exists "+quoted(own))
		b.tables.Delete(own)
		return sqlError(err)
	})
}

// atomically runs do in a transaction, and then after.
func (b *SQL) atomically(ctx context.Context, do func(tx *sql.Tx) error, after ...func() error) error {
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return sqlError(err)
	}
	defer tx.Rollback() // does nothing after Commit
	if err := do(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return sqlError(err)
	}
	for _, f := range after {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// SetAliasDomain stores an alias domain in table aliasdomains.
func (b *SQL) SetAliasDomain(ctx context.Context, d *Domain) error {
	if b.s == nil {
		return ErrNotOpened
	}
	t, err := b.needTable(ctx, b.db, alias56Table)
	if err != nil {
		return err
	}
	for _, c := range []struct{ column, text string }{{"alias", d.Name}, {"domain", d.Real}} {
		if err := t.fits(c.column, c.text); err != nil {
			return &Error{Domain: d.Name, Field: "domain", Err: err}
		}
	}
	_, err = b.db.ExecContext(ctx, "replace into aliasdomains (alias, domain) values (?, ?)", d.Name, d.Real)
	return sqlError(err)
}

// RemoveAliasDomain takes an alias domain out of table aliasdomains.
func (b *SQL) RemoveAliasDomain(ctx context.Context, d *Domain) error {
	if b.s == nil {
		return ErrNotOpened
	}
	t, err := b.table(ctx, b.db, alias56Table)
	if err != nil || t == nil {
		return err
	}
	_, err = b.db.ExecContext(ctx, "delete from aliasdomains where alias = ?", d.Name)
	return sqlError(err)
}

// DomainCounter reads the row dom_UID of dir_control.
func (b *SQL) DomainCounter(ctx context.Context, uid int) (DirControl, error) {
	if b.s == nil {
		return DirControl{}, ErrNotOpened
	}
	return readCounter(ctx, b.db, domainsRow(uid))
}

// SetDomainCounter stores the row dom_UID of dir_control.
func (b *SQL) SetDomainCounter(ctx context.Context, uid int, c DirControl) error {
	if b.s == nil {
		return ErrNotOpened
	}
	if _, err := b.needTable(ctx, b.db, counterTable); err != nil {
		return err
	}
	return writeCounter(ctx, b.db, domainsRow(uid), c)
}
