package plesk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// tableSchema is what the database says of a table.
type tableSchema struct {
	name    string
	columns []columnSchema
}

// has says whether there is the table, and the column in it.
func (t *tableSchema) has(column string) bool { return t != nil && t.column(column) != nil }

type columnSchema struct {
	name  string
	needs bool // a row that says nothing of it is refused
}

// column finds a column without regard to case; nil is none.
func (t *tableSchema) column(name string) *columnSchema {
	for i := range t.columns {
		if strings.EqualFold(t.columns[i].name, name) {
			return &t.columns[i]
		}
	}
	return nil
}

// readSchema reads what there is to know of tables that rows are written to.
// Those of may can be missing, and are left out where they cannot take part in
// a transaction.
func readSchema(ctx context.Context, tx *sql.Tx, must, may []string) (map[string]*tableSchema, error) {
	out := map[string]*tableSchema{}
	rows, err := tx.QueryContext(ctx, "SELECT table_name, engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'")
	if err != nil {
		return nil, err
	}
	engine := map[string]string{}
	for rows.Next() {
		var name string
		var e sql.NullString
		if err := rows.Scan(&name, &e); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		if low := strings.ToLower(name); slices.Contains(must, low) || slices.Contains(may, low) && strings.EqualFold(e.String, "InnoDB") {
			out[low], engine[low] = &tableSchema{name: name}, e.String
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	for _, name := range must {
		switch {
		case out[name] == nil:
			return nil, fmt.Errorf("%w: %q", ErrNoTable, name)
		case !strings.EqualFold(engine[name], "InnoDB"):
			return nil, fmt.Errorf("%w: %q, %s", ErrEngine, name, engine[name])
		}
	}
	return out, readColumns(ctx, tx, out)
}

func readColumns(ctx context.Context, tx *sql.Tx, tables map[string]*tableSchema) error {
	rows, err := tx.QueryContext(ctx, "SELECT table_name, column_name, is_nullable, column_default IS NOT NULL, extra FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY ordinal_position")
	if err != nil {
		return err
	}
	for rows.Next() {
		var table, column, nullable, extra string
		var hasDefault bool
		if err := rows.Scan(&table, &column, &nullable, &hasDefault, &extra); err != nil {
			return errors.Join(err, rows.Close())
		}
		extra = strings.ToLower(extra)
		given := strings.EqualFold(nullable, "yes") || hasDefault || strings.Contains(extra, "auto_increment") || strings.Contains(extra, "generated") || strings.Contains(extra, "virtual") || strings.Contains(extra, "persistent")
		if t := tables[strings.ToLower(table)]; t != nil && t.name == table {
			t.columns = append(t.columns, columnSchema{column, !given})
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}

// neutral is a value for a column that may have no default and means nothing for
// a new row: what Plesk 18 has for a name, or an autoresponder, without anything
// special.
func neutral(table, column string) (v any, known bool) {
	switch table {
	case "mail":
		v, known = map[string]any{
			"userid": 0, "perm_id": 0, "disk_usage": 0, "description": "", "externalemail": "", "spamfilter": "false", "virusfilter": "none",
			"redir_addr": "", "delivery": "true",
		}[column]
	case "mail_resp":
		v, known = map[string]any{
			"keystr": "", "key_where": "no", "reply_to": "", "ans_freq": 10, "mem_limit": 1000, "content_type": "text/plain", "charset": "UTF-8",
		}[column]
	}
	return v, known
}

// insert writes a row and returns its id. Every column of row must be there,
// and every other one must do without a value.
func (w *writer) insert(table string, row map[string]any) (int64, error) {
	t := w.schema[table]
	row = maps.Clone(row)
	for name := range row {
		if t.column(name) == nil {
			return 0, fmt.Errorf("%w: %q of table %q", ErrNoColumn, name, t.name)
		}
	}
	for _, c := range t.columns {
		name := strings.ToLower(c.name)
		if _, given := row[name]; given || !c.needs {
			continue
		}
		v, known := neutral(table, name)
		if !known {
			return 0, fmt.Errorf("%w: %q of table %q", ErrColumn, c.name, t.name)
		}
		row[name] = v
	}
	var columns, marks []string
	var values []any
	for _, name := range slices.Sorted(maps.Keys(row)) {
		columns = append(columns, "`"+strings.ReplaceAll(t.column(name).name, "`", "``")+"`")
		marks = append(marks, "?")
		values = append(values, row[name])
	}
	res, err := w.tx.ExecContext(w.ctx, "INSERT INTO `"+t.name+"` ("+strings.Join(columns, ", ")+") VALUES ("+strings.Join(marks, ", ")+")", values...)
	if err != nil {
		return 0, fmt.Errorf("table %q: %w", t.name, err)
	}
	return res.LastInsertId()
}
