package plesk

import (
	"bytes"
	"context"
	"fmt"
	"slices"
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
	db, name, err := d.tableName()
	if err != nil {
		return err
	}
	wished, read := d.want(name)
	if !read {
		return d.skip(ctx)
	}
	t := d.found[db][name]
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
		t = &table{name: name}
		for _, c := range columns {
			t.all = append(t.all, column{name: c})
			if keeps(wished, c) {
				t.columns = append(t.columns, c)
			}
		}
		d.add(db, t)
	}
	if !d.t.word("VALUES") && !d.t.word("VALUE") {
		return d.expected("VALUES")
	}
	places, err := t.places(columns)
	if err != nil {
		return err
	}
	return d.rows(ctx, t, places)
}

// rows reads what follows VALUES.
func (d *dumpReader) rows(ctx context.Context, t *table, places []place) error {
	for {
		if err := d.need(); err != nil {
			return err
		}
		if err := d.row(t, places); err != nil {
			return err
		}
		if err := d.need(); err != nil {
			return err
		}
		switch {
		case d.t.is(';'):
			return nil
		case d.t.word("ON"):
			return d.skip(ctx)
		case !d.t.is(','):
			return d.misplaced("a comma or a semicolon behind a row")
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
		name, ok := d.name()
		if !ok || len(columns) == maxColumns {
			return nil, d.expected("the name of a column")
		}
		columns = append(columns, name)
		if err := d.need(); err != nil {
			return nil, err
		}
		if !d.t.is(',') && !d.t.is(')') {
			return nil, d.expected("a comma")
		}
	}
	return columns, d.need()
}

// place says what to do with a value.
type place struct {
	at int // in the row that is kept; -1 is nowhere
	c  column
}

// places says where in a row of the table each value of a statement belongs.
func (t *table) places(columns []string) (places []place, err error) {
	if columns == nil {
		for _, c := range t.all {
			places = append(places, place{t.column(c.name), c})
		}
		return places, nil
	}
	for _, name := range columns {
		i := slices.IndexFunc(t.all, func(c column) bool { return strings.EqualFold(c.name, name) })
		if i < 0 {
			return nil, fmt.Errorf("%w: %q of table %q", ErrNoColumn, name, t.name)
		}
		places = append(places, place{t.column(name), t.all[i]})
	}
	return places, nil
}

// column finds a kept column by its name, whose case does not count; none is -1.
func (t *table) column(name string) int {
	return slices.IndexFunc(t.columns, func(c string) bool { return strings.EqualFold(c, name) })
}

// row reads the values between parentheses.
func (d *dumpReader) row(t *table, places []place) error {
	if !d.t.is('(') {
		return d.misplaced("a row")
	}
	row, at := make([]string, len(t.columns)), rowPlace{d.t.line, d.t.offset}
	for i := 0; ; i++ {
		if i >= len(places) {
			return fmt.Errorf("%w: a row of table %q has more values than columns, %d", ErrDump, t.name, len(places))
		}
		v, err := d.value(t, places[i])
		if err != nil {
			return err
		}
		if p := places[i].at; p >= 0 {
			row[p] = v
		}
		switch {
		case d.t.is(')') && i+1 != len(places):
			return fmt.Errorf("%w: a row of table %q has %d values for %d columns", ErrDump, t.name, i+1, len(places))
		case d.t.is(')'):
			if t.err == nil {
				t.rows, t.where = append(t.rows, row), append(t.where, at)
			}
			return nil
		case !d.t.is(','):
			return d.misplaced("a comma behind a value")
		}
	}
}

// value reads one value, and the token behind it. Of one that is not kept
// nothing is returned.
func (d *dumpReader) value(t *table, p place) (v string, err error) {
	if p.at < 0 {
		d.l.limit = 64
		defer func() { d.l.limit = maxValue }()
	}
	if err := d.need(); err != nil {
		return "", err
	}
	introducer := ""
	if d.t.kind == tokWord && d.t.text[0] == '_' { // character set of the string behind it
		introducer = strings.ToLower(string(d.t.text[1:]))
		if err := d.need(); err != nil {
			return "", err
		}
	}
	t.tooLong(p, &d.t, 0)
	switch {
	case d.t.word("NULL"):
	case d.t.word("TRUE"):
		v = "1"
	case d.t.word("FALSE"):
		v = "0"
	case d.t.kind == tokWord && (number(d.t.text) || bytes.ContainsAny(d.t.text, "eE") && d.t.text[0] <= '9'):
		v = d.word()
	case d.t.kind == tokHex:
		v = d.text(t, p, "binary", d.word())
	case d.t.kind == tokString:
		v = d.word()
		for { // strings side by side are one
			if err := d.need(); err != nil {
				return "", err
			}
			if d.t.kind != tokString {
				return d.text(t, p, introducer, v), nil
			}
			if p.at >= 0 && !t.tooLong(p, &d.t, len(v)) {
				v += string(d.t.text)
			}
		}
	default:
		return "", d.misplaced("a value")
	}
	return v, d.need()
}

// tooLong says whether a value, of which have bytes are read, is longer than
// any that is kept. It is an error of the table, which may be another program's.
func (t *table) tooLong(p place, tok *token, have int) bool {
	if p.at < 0 || !tok.cut && have+len(tok.text) <= maxValue {
		return false
	}
	if t.err == nil {
		t.err = &DumpError{Line: tok.line, Offset: tok.offset, Err: fmt.Errorf("%w: a value of table %q is longer than %d bytes", ErrDump, t.name, maxValue)}
	}
	return true
}

// short are texts that stand in most rows; they are kept once.
var short = map[string]string{"true": "true", "false": "false", "none": "none", "-1": "-1", "0": "0", "1": "1", "plain": "plain", "sym": "sym", "crypt": "crypt"}

// word is the text of the token, which the next one overwrites.
func (d *dumpReader) word() string {
	if s, ok := short[string(d.t.text)]; ok {
		return s
	}
	return string(d.t.text)
}
