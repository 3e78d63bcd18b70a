package plesk

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// insert reads the rows of a statement.
func (d *dumpReader) insert(ctx context.Context) error {
	if err := d.need(); err != nil {
		return err
	}
	for d.t.word("INTO") || d.t.word("IGNORE") || d.t.word("LOW_PRIORITY") || d.t.word("DELAYED") {
		if err := d.need(); err != nil {
			return err
		}
	}
	name, read, err := d.tableName()
	if err != nil {
		return err
	}
	if !read {
		return d.skip()
	}
	t := d.tables[name]
	var columns []string
	if d.t.is('(') {
		if columns, err = d.columnList(); err != nil {
			return err
		}
	}
	if t == nil && columns == nil {
		return fmt.Errorf("%w: rows of table %q stand before its CREATE TABLE, which tells the columns", ErrDump, name)
	}
	if t == nil {
		t = &table{name: name, columns: columns, line: d.t.line}
		d.tables[name] = t
	}
	if !d.t.word("VALUES") && !d.t.word("VALUE") {
		return d.expected("VALUES")
	}
	place, err := places(t, columns)
	if err != nil {
		return err
	}
	for {
		if err := d.need(); err != nil {
			return err
		}
		if err := d.row(t, place); err != nil {
			return err
		}
		if err := d.need(); err != nil {
			return err
		}
		switch {
		case d.t.is(';'):
			return nil
		case d.t.word("ON"):
			return d.skip()
		case !d.t.is(','):
			return d.expected("a comma or a semicolon behind a row")
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
}

// columnList reads the names between parentheses, and one token more.
func (d *dumpReader) columnList() (columns []string, err error) {
	for !d.t.is(')') {
		if err := d.need(); err != nil {
			return nil, err
		}
		if d.t.kind != tokName && d.t.kind != tokWord || len(columns) == maxColumns {
			return nil, d.expected("the name of a column")
		}
		columns = append(columns, string(d.t.text))
		if err := d.need(); err != nil {
			return nil, err
		}
		if !d.t.is(',') && !d.t.is(')') {
			return nil, d.expected("a comma")
		}
	}
	return columns, d.need()
}

// places says where in a row of the table each value of a statement belongs.
func places(t *table, columns []string) (place []int, err error) {
	if columns == nil {
		for i := range t.columns {
			place = append(place, i)
		}
		return place, nil
	}
	for _, c := range columns {
		i := t.column(c)
		if i < 0 {
			return nil, fmt.Errorf("%w: %q of table %q", ErrNoColumn, c, t.name)
		}
		place = append(place, i)
	}
	return place, nil
}

// column finds a column by its name, whose case does not count; none is -1.
func (t *table) column(name string) int {
	for i, c := range t.columns {
		if strings.EqualFold(c, name) {
			return i
		}
	}
	return -1
}

// row reads the values between parentheses.
func (d *dumpReader) row(t *table, place []int) error {
	if !d.t.is('(') {
		return d.expected("a row")
	}
	row := make([]value, len(t.columns))
	for i := 0; ; i++ {
		v, err := d.value()
		if err != nil {
			return err
		}
		if i >= len(place) {
			return fmt.Errorf("%w: a row of table %q has more values than columns, %d", ErrDump, t.name, len(place))
		}
		row[place[i]] = v
		switch {
		case d.t.is(')') && i+1 != len(place):
			return fmt.Errorf("%w: a row of table %q has %d values for %d columns", ErrDump, t.name, i+1, len(place))
		case d.t.is(')'):
			t.rows = append(t.rows, row)
			return nil
		case !d.t.is(','):
			return d.expected("a comma behind a value")
		}
	}
}

// value reads one value, and the token behind it.
func (d *dumpReader) value() (v value, err error) {
	if err := d.need(); err != nil {
		return nil, err
	}
	if d.t.kind == tokWord && d.t.text[0] == '_' { // character set of the string behind it
		if err := d.need(); err != nil {
			return nil, err
		}
	}
	switch {
	case d.t.cut:
		return nil, fmt.Errorf("%w: a value is longer than %d bytes", ErrDump, maxValue)
	case d.t.word("NULL"):
	case d.t.kind == tokWord && (number(d.t.text) || d.t.word("TRUE") || d.t.word("FALSE") || bytes.ContainsAny(d.t.text, "eE") && d.t.text[0] <= '9'), d.t.kind == tokHex:
		v = append(value{}, d.t.text...)
	case d.t.kind == tokString:
		v = append(value{}, d.t.text...)
		for { // strings side by side are one
			if err := d.need(); err != nil || d.t.kind != tokString {
				return v, err
			}
			if len(v)+len(d.t.text) > maxValue {
				return nil, fmt.Errorf("%w: a value is longer than %d bytes", ErrDump, maxValue)
			}
			v = append(v, d.t.text...)
		}
	default:
		return nil, d.expected("a value")
	}
	return v, d.need()
}
