package plesk

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// column is a column as CREATE TABLE defines it.
type column struct {
	name    string
	binary  bool   // its type has no character set
	charset string // empty is that of the table
}

// create reads the names of a table's columns.
func (d *dumpReader) create(ctx context.Context) error {
	if err := d.need(); err != nil {
		return err
	}
	for d.t.word("OR") || d.t.word("REPLACE") || d.t.word("TEMPORARY") {
		if err := d.need(); err != nil {
			return err
		}
	}
	// Old versions of mysqldump write a table for each view, in a comment: it
	// has no rows here, and must not be taken for an empty table.
	if !d.t.word("TABLE") || d.t.conditional {
		return d.skip(ctx)
	}
	if err := d.need(); err != nil {
		return err
	}
	mayBe := false
	for d.t.word("IF") || d.t.word("NOT") || d.t.word("EXISTS") {
		mayBe = true
		if err := d.need(); err != nil {
			return err
		}
	}
	db, name, err := d.tableName()
	if err != nil {
		return err
	}
	wished, read := d.want(name)
	if !read || !d.t.is('(') || mayBe && d.found[db][name] != nil {
		return d.skip(ctx)
	}
	t := &table{name: name}
	for !d.t.is(')') {
		if err := d.column(t); err != nil {
			return err
		}
	}
	if len(t.all) == 0 {
		return fmt.Errorf("%w: table %q has no columns", ErrDump, name)
	}
	for _, c := range t.all {
		if keeps(wished, c.name) {
			t.columns = append(t.columns, c.name)
		}
	}
	charset, err := d.options()
	if err != nil {
		return err
	}
	for i := range t.all {
		if t.all[i].charset == "" {
			t.all[i].charset = charset
		}
	}
	// A second table of the name is the later one, as when the dump is loaded.
	d.add(db, t)
	return nil
}

func (d *dumpReader) add(db string, t *table) {
	if d.found[db] == nil {
		d.found[db] = map[string]*table{}
	}
	d.found[db][t.name] = t
}

// drop forgets tables.
func (d *dumpReader) drop(ctx context.Context) error {
	if err := d.need(); err != nil {
		return err
	}
	if !d.t.word("TABLE") {
		return d.skip(ctx)
	}
	for !d.t.is(';') {
		if err := d.need(); err != nil {
			return err
		}
		if d.t.word("IF") || d.t.word("EXISTS") {
			continue
		}
		db, name, err := d.tableName()
		if err != nil {
			return err
		}
		delete(d.found[db], name)
		if !d.t.is(',') {
			return d.skip(ctx)
		}
	}
	return nil
}

// isKeyWord says whether a definition is that of an index or a condition.
func isKeyWord(t *token) bool {
	return slices.ContainsFunc([]string{"PRIMARY", "UNIQUE", "KEY", "INDEX", "CONSTRAINT", "FOREIGN", "FULLTEXT", "SPATIAL", "CHECK", "PERIOD"}, t.word)
}

// column reads the definition of a column or an index, up to the comma or the
// parenthesis behind it.
func (d *dumpReader) column(t *table) error {
	if err := d.need(); err != nil {
		return err
	}
	name, ok := d.name()
	isColumn := ok && !isKeyWord(&d.t)
	c := column{name: name}
	for depth, first := 0, true; ; first = false {
		if err := d.need(); err != nil {
			return err
		}
		switch {
		case first && isBinary(&d.t):
			c.binary = true
		case d.t.is('('):
			depth++
		case depth == 0 && (d.t.is(',') || d.t.is(')')):
			if isColumn {
				t.all = append(t.all, c)
			}
			if len(t.all) > maxColumns {
				return fmt.Errorf("%w: table %q has more than %d columns", ErrDump, t.name, maxColumns)
			}
			return nil
		case d.t.is(')'):
			depth--
		case depth == 0 && (d.t.word("CHARACTER") || d.t.word("CHARSET")):
			charset, err := d.charset()
			if err != nil {
				return err
			}
			c.charset = charset
		}
	}
}

// isBinary says whether a type is one of bytes.
func isBinary(t *token) bool {
	return slices.ContainsFunc([]string{"BINARY", "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB", "BIT"}, t.word)
}

// charset reads what follows CHARACTER or CHARSET.
func (d *dumpReader) charset() (string, error) {
	for {
		if err := d.need(); err != nil {
			return "", err
		}
		if !d.t.word("SET") && !d.t.is('=') {
			return strings.ToLower(string(d.t.text)), nil
		}
	}
}

// options reads what follows the columns of a table, for its character set.
func (d *dumpReader) options() (charset string, err error) {
	for !d.t.is(';') {
		if err := d.need(); err != nil {
			return "", err
		}
		if d.t.word("CHARACTER") || d.t.word("CHARSET") {
			if charset, err = d.charset(); err != nil {
				return "", err
			}
		}
	}
	return charset, nil
}

// session is what SET changes and the meaning of later statements depends on.
type session struct {
	mode    string            // sql_mode, in capitals
	charset string            // character_set_client, in small letters
	saved   map[string]string // user variables that hold one of them, by name in small letters
}

func newSession() session { return session{saved: map[string]string{}} }

// maxSaved is more variables than any dump needs.
const maxSaved = 1000

// set reads a statement SET. mysqldump sets the character set, and around
// triggers the SQL mode, and sets them back.
func (d *dumpReader) set() error {
	target, value := "", false // of the assignment that is being read
	for {
		if err := d.need(); err != nil {
			return err
		}
		text := strings.ToLower(string(d.t.text))
		switch {
		case d.t.is(';'):
			return nil
		case d.t.is(','):
			target, value = "", false
		case d.t.is('=') || d.t.is(':'):
			value = true
		case !value && d.t.word("NAMES"):
			target, value = "character_set_client", true
		case !value:
			target = variable(text)
		case target != "":
			d.assign(target, text)
			target = ""
		}
	}
}

// variable is the name of a variable of the session without what may stand
// before it.
func variable(name string) string {
	for _, p := range []string{"@@session.", "@@local.", "@@"} {
		if v, ok := strings.CutPrefix(name, p); ok {
			return v
		}
	}
	return name
}

// assign gives a variable its value, which may be another variable.
func (d *dumpReader) assign(target, value string) {
	if strings.HasPrefix(target, "@") {
		if variable(value) == "sql_notes" {
			d.notes = true
		}
		if len(d.s.saved) < maxSaved {
			d.s.saved[target] = map[string]string{"sql_mode": d.s.mode, "character_set_client": d.s.charset}[variable(value)]
		}
		return
	}
	if strings.HasPrefix(value, "@") {
		d.notes = d.notes && target != "sql_notes"
		value = d.s.saved[value]
	}
	switch target {
	case "sql_mode":
		d.s.mode = strings.ToUpper(value)
		d.l.noEscapes = strings.Contains(d.s.mode, "NO_BACKSLASH_ESCAPES")
		d.l.ansi = slices.ContainsFunc([]string{"ANSI", "ORACLE", "MSSQL", "DB2", "MAXDB", "POSTGRESQL"}, func(m string) bool { return strings.Contains(d.s.mode, m) })
	case "character_set_client":
		d.s.charset = value
	}
}
