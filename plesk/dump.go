package plesk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// maxValue is how much of one value is kept. No column of psa that this
// package reads is longer.
const maxValue = 1 << 20

// maxColumns is more than any table can have.
const maxColumns = 4096

// A DumpError says where in a dump the reading stopped.
type DumpError struct {
	Name   string // of the file, as the caller calls it
	Line   int    // from 1
	Offset int64  // in bytes
	Err    error
}

// Error puts the place before the reason.
func (e *DumpError) Error() string {
	return fmt.Sprintf("%s:%d (offset %d): %v", e.Name, e.Line, e.Offset, e.Err)
}

// Unwrap returns the reason.
func (e *DumpError) Unwrap() error { return e.Err }

var (
	// ErrDump says that a text is not what mysqldump writes.
	ErrDump = errors.New("not understood as a dump")
	// ErrTruncated says that a dump ends before its end.
	ErrTruncated = errors.New("dump is cut short")
	// ErrNoTable says that a table is missing which every psa has.
	ErrNoTable = errors.New("table is missing")
	// ErrNoColumn says that a column is missing.
	ErrNoColumn = errors.New("column is missing")
)

// value is one value of a row. A nil value is NULL.
type value []byte

// table is a table as it was found.
type table struct {
	name    string
	columns []string
	rows    [][]value
	line    int // of CREATE TABLE, in a dump
}

// dumpReader reads the tables that are wanted and passes over the rest.
type dumpReader struct {
	l      *lexer
	t      token
	want   func(name string) bool
	tables map[string]*table
	use    string // database that USE named
	only   string // database to read, where USE names several
}

// readDump reads a dump of mysqldump or mariadb-dump to its end. name is for
// errors. Where the dump holds several databases only that called database is
// read.
func readDump(ctx context.Context, r io.Reader, name, database string, want func(table string) bool) (map[string]*table, error) {
	d := &dumpReader{l: newLexer(r), want: want, tables: map[string]*table{}, only: database}
	err := d.all(ctx)
	if err == nil {
		return d.tables, nil
	}
	// A word that is cut in the middle is no other word: NUL for NULL.
	if errors.Is(err, errOpen) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrDump) && d.l.atEnd() {
		err = fmt.Errorf("%w: %w", ErrTruncated, err)
	}
	return nil, qmailkit.Incomplete(&DumpError{name, d.t.line, d.t.offset, err})
}

func (d *dumpReader) next() (err error) {
	if d.t, err = d.l.next(); err != nil {
		d.t = token{line: d.l.line, offset: d.l.offset}
	}
	return err
}

// need is next inside of a statement, where the file must not end.
func (d *dumpReader) need() error {
	if err := d.next(); err != nil {
		return err
	}
	if d.t.kind == tokEnd {
		return d.l.fail("a statement")
	}
	return nil
}

func (d *dumpReader) expected(what string) error {
	text := d.t.text
	if len(text) > 40 {
		text = text[:40]
	}
	return fmt.Errorf("%w: %s expected, found %q", ErrDump, what, text)
}

func (d *dumpReader) all(ctx context.Context) error {
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := d.next(); err != nil {
			return err
		}
		if d.t.kind == tokEnd && d.l.begun && !d.l.completed {
			return fmt.Errorf("%w: it has no line \"-- Dump completed\"", ErrTruncated)
		}
		if err := d.statement(ctx); err != nil || d.t.kind == tokEnd {
			return err
		}
	}
}

// statement reads one statement, of which the first token is read.
func (d *dumpReader) statement(ctx context.Context) error {
	switch {
	case d.t.kind == tokEnd, d.t.is(';'):
		return nil
	case d.t.word("CREATE"):
		return d.create()
	case d.t.word("INSERT"), d.t.word("REPLACE"):
		return d.insert(ctx)
	case d.t.word("USE"):
		if err := d.need(); err != nil {
			return err
		}
		d.use = string(d.t.text)
	case d.t.word("DELIMITER"):
		return d.delimiter()
	}
	return d.skip()
}

// skip passes over the rest of a statement.
func (d *dumpReader) skip() error {
	for !d.t.is(';') {
		d.l.limit = 64
		err := d.need()
		d.l.limit = maxValue
		if err != nil {
			return err
		}
	}
	return nil
}

// delimiter passes over triggers and procedures, which stand between
// "DELIMITER ;;" and "DELIMITER ;".
func (d *dumpReader) delimiter() error {
	for {
		d.l.restOfLine()
		if d.l.looksAt("DELIMITER ;\n") || d.l.looksAt("DELIMITER ;\r") {
			d.l.restOfLine()
			return nil
		}
		if d.l.atEnd() {
			return d.l.fail("a procedure")
		}
	}
}

// tableName reads a name that may have its database before it. read says
// whether that is the database to be read.
func (d *dumpReader) tableName() (name string, read bool, err error) {
	if d.t.kind != tokName && d.t.kind != tokWord {
		return "", false, d.expected("the name of a table")
	}
	db := d.use
	name = string(d.t.text)
	if d.t.kind == tokWord {
		if q, n, ok := strings.Cut(name, "."); ok && n != "" {
			db, name = q, n
		}
	}
	if err := d.need(); err != nil {
		return "", false, err
	}
	if d.t.kind == tokWord && len(d.t.text) > 0 && d.t.text[0] == '.' {
		db = name
		if name = string(d.t.text[1:]); name == "" {
			if err := d.need(); err != nil {
				return "", false, err
			}
			name = string(d.t.text)
		}
		if err := d.need(); err != nil {
			return "", false, err
		}
	}
	return name, (db == "" || d.only == "" || db == d.only) && d.want(name), nil
}

// create reads the names of a table's columns.
func (d *dumpReader) create() error {
	if err := d.need(); err != nil {
		return err
	}
	if !d.t.word("TABLE") {
		return d.skip()
	}
	if err := d.need(); err != nil {
		return err
	}
	for d.t.word("IF") || d.t.word("NOT") || d.t.word("EXISTS") {
		if err := d.need(); err != nil {
			return err
		}
	}
	line := d.t.line
	name, read, err := d.tableName()
	if err != nil {
		return err
	}
	if !read || !d.t.is('(') {
		return d.skip()
	}
	t := &table{name: name, line: line}
	for !d.t.is(')') {
		if err := d.need(); err != nil {
			return err
		}
		if d.t.kind == tokName || d.t.kind == tokWord && !isKeyWord(&d.t) {
			t.columns = append(t.columns, string(d.t.text))
		}
		if len(t.columns) > maxColumns {
			return fmt.Errorf("%w: table %q has more than %d columns", ErrDump, name, maxColumns)
		}
		if err := d.definition(); err != nil {
			return err
		}
	}
	if len(t.columns) == 0 {
		return fmt.Errorf("%w: table %q has no columns", ErrDump, name)
	}
	// Views are dumped as tables first. A second table of the name is the
	// later one, as when the dump is loaded.
	d.tables[name] = t
	return d.skip()
}

// isKeyWord says whether a definition is that of an index or a condition.
func isKeyWord(t *token) bool {
	for _, w := range []string{"PRIMARY", "UNIQUE", "KEY", "INDEX", "CONSTRAINT", "FOREIGN", "FULLTEXT", "SPATIAL", "CHECK", "PERIOD"} {
		if t.word(w) {
			return true
		}
	}
	return false
}

// definition passes over the rest of a column's definition, up to the comma or
// the parenthesis behind it.
func (d *dumpReader) definition() error {
	for depth := 0; ; {
		if err := d.need(); err != nil {
			return err
		}
		switch {
		case d.t.is('('):
			depth++
		case depth == 0 && (d.t.is(',') || d.t.is(')')):
			return nil
		case d.t.is(')'):
			depth--
		}
	}
}
