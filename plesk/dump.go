package plesk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
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
	// ErrNoDatabase says that a dump of several databases does not have the one
	// to be read.
	ErrNoDatabase = errors.New("database is missing")
	// ErrNoTable says that a table is missing which every psa has.
	ErrNoTable = errors.New("table is missing")
	// ErrNoColumn says that a column is missing.
	ErrNoColumn = errors.New("column is missing")
	// ErrNoRows says that a table has no rows without which psa says nothing: a
	// dump of the definitions alone looks so.
	ErrNoRows = errors.New("table has no rows")
)

// table is a table as it was found.
type table struct {
	name    string
	columns []string   // those that are kept
	rows    [][]string // NULL is empty
	where   []rowPlace // of the rows, in a dump
	err     *DumpError // what cannot be read of it
	// charset names the character set of values that are kept as they stood,
	// though they are not known to be UTF-8.
	charset string

	all []column // those of CREATE TABLE, in a dump
}

// rowPlace is where a row stands.
type rowPlace struct {
	line   int
	offset int64
}

// wish says whether a table is to be read, and which of its columns; none are
// all.
type wish func(table string) (columns []string, ok bool)

// keeps says whether a column is one of those that are wished.
func keeps(columns []string, name string) bool {
	return columns == nil || slices.Contains(columns, strings.ToLower(name))
}

// dumpReader reads the tables that are wanted and passes over the rest.
type dumpReader struct {
	l    *lexer
	t    token
	want wish
	// found are the tables of each database; those that stand before any USE
	// are under "".
	found map[string]map[string]*table
	use   string   // database that USE named
	asked string   // database that is to be read, if that is said
	left  []string // databases that cannot be it
	s     session
	// locked says that LOCK TABLES was not followed by UNLOCK TABLES, notes
	// that a setting was changed which mysqldump sets back at the end.
	locked, notes bool
	some          bool // a statement was read
}

// readDump reads a dump of mysqldump or mariadb-dump to its end. name is for
// errors, database as in Options.
func readDump(ctx context.Context, r io.Reader, name, database string, want wish) (map[string]*table, error) {
	d := &dumpReader{l: newLexer(r), want: want, asked: database, found: map[string]map[string]*table{}, s: newSession()}
	err := d.all(ctx)
	// A word that is cut in the middle is no other word: NUL for NULL.
	if errors.Is(err, errOpen) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, ErrDump) && (d.l.begun || d.some) && d.l.atEnd() {
		err = fmt.Errorf("%w: %w", ErrTruncated, err)
	}
	if err != nil {
		return nil, qmailkit.Incomplete(&DumpError{name, d.t.line, d.t.offset, err})
	}
	tables, err := d.choose()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, n := range slices.Sorted(maps.Keys(tables)) {
		if t := tables[n]; t.err != nil {
			t.err.Name = name
			return nil, qmailkit.Incomplete(t.err)
		}
	}
	return tables, nil
}

// leave is called when another database is used. One that is no psa is
// forgotten: a dump of all databases of a host has those of its customers, with
// tables of any size and the same names.
func (d *dumpReader) leave() {
	if d.use == "" || d.use == d.asked || d.asked == "" && d.use == "psa" || d.found[d.use] == nil {
		return
	}
	for _, n := range needed {
		if _, ok := d.found[d.use][n]; !ok || d.asked != "" {
			delete(d.found, d.use)
			if len(d.left) < maxColumns {
				d.left = append(d.left, d.use)
			}
			return
		}
	}
}

// choose takes one database. Where none is asked for it is psa, or the only one
// that has tables of psa.
func (d *dumpReader) choose() (map[string]*table, error) {
	database := d.asked
	if database == "" {
		database = "psa"
	}
	for _, n := range []string{database, ""} {
		if t := d.found[n]; t != nil {
			return t, nil
		}
	}
	all := append(slices.Collect(maps.Keys(d.found)), d.left...)
	switch {
	case len(all) == 0:
		return map[string]*table{}, nil // the first table that is missed tells
	case len(d.found) == 1 && d.asked == "":
		for _, t := range d.found {
			return t, nil
		}
	}
	slices.Sort(all)
	return nil, fmt.Errorf("%w: %q; the dump has %q", ErrNoDatabase, database, slices.Compact(all))
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

// misplaced is expected inside of rows, where the text may be a password's.
func (d *dumpReader) misplaced(what string) error {
	kinds := map[kind]string{tokWord: "a word", tokName: "a name", tokString: "a string", tokHex: "a literal"}
	found, ok := kinds[d.t.kind]
	if !ok {
		found = strconv.Quote(string(d.t.text))
	}
	return fmt.Errorf("%w: %s expected, found %s", ErrDump, what, found)
}

func (d *dumpReader) all(ctx context.Context) error {
	if err := d.l.begin(); err != nil {
		d.t = token{line: 1}
		return err
	}
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := d.next(); err != nil {
			return err
		}
		if d.t.kind == tokEnd {
			return d.end()
		}
		if err := d.statement(ctx); err != nil {
			return err
		}
		d.some = true
	}
}

// end looks whether what mysqldump has begun it has also ended.
func (d *dumpReader) end() error {
	switch {
	case d.l.offset == 0:
		return fmt.Errorf("%w: it is empty", ErrTruncated)
	case !d.some:
		return fmt.Errorf("%w: it has no statement", ErrTruncated)
	case d.l.begun && !d.l.completed:
		return fmt.Errorf("%w: it has no line \"-- Dump completed\"", ErrTruncated)
	case d.locked:
		return fmt.Errorf("%w: no UNLOCK TABLES follows the last LOCK TABLES", ErrTruncated)
	case d.notes:
		return fmt.Errorf("%w: SQL_NOTES is not set back", ErrTruncated)
	}
	return nil
}

// statement reads one statement, of which the first token is read.
func (d *dumpReader) statement(ctx context.Context) error {
	switch {
	case d.t.is(';'):
		return nil
	case d.t.is('/'), d.t.word("MYSQLDUMP"), d.t.word("MARIADB"), d.t.word("WARNING"):
		return d.message()
	case d.t.kind != tokWord:
		return d.expected("a statement")
	case d.t.word("CREATE"):
		return d.create(ctx)
	case d.t.word("DROP"):
		return d.drop(ctx)
	case d.t.word("INSERT"), d.t.word("REPLACE"):
		return d.insert(ctx)
	case d.t.word("SET"):
		return d.set()
	case d.t.word("USE"):
		if err := d.need(); err != nil {
			return err
		}
		d.leave()
		d.use = string(d.t.text)
	case d.t.word("LOCK"):
		d.locked = true
	case d.t.word("UNLOCK"):
		d.locked = false
	case d.t.word("DELIMITER"):
		return d.delimiter()
	case !d.known():
		return d.expected("a statement")
	}
	return d.skip(ctx)
}

// known says whether a statement that tells nothing begins with this word. Any
// other text is no dump, and must not be taken for an empty one.
func (d *dumpReader) known() bool {
	return slices.ContainsFunc([]string{"ALTER", "ANALYZE", "BEGIN", "CALL", "CHANGE", "COMMIT", "DEALLOCATE", "DELETE", "EXECUTE", "FLUSH", "GRANT", "INSTALL",
		"OPTIMIZE", "PREPARE", "PURGE", "RENAME", "RESET", "REVOKE", "ROLLBACK", "SELECT", "SHOW", "START", "STOP", "TRUNCATE", "UPDATE", "WITH"}, d.t.word)
}

// message is what the dump's program has said, where its standard error went
// into the file too. A warning leaves the dump whole.
func (d *dumpReader) message() error {
	line := string(d.t.text) + d.l.restOfLine(200)
	said, ok := line, strings.HasPrefix(line, "Warning: ")
	for _, program := range []string{"mysqldump: ", "mariadb-dump: "} {
		if i := strings.Index(line, program); i == 0 || i > 0 && line[i-1] == '/' {
			said, ok = line[i+len(program):], true
		}
	}
	switch {
	case !ok:
		return fmt.Errorf("%w: a statement expected, found %q", ErrDump, line[:min(len(line), 40)])
	case strings.HasPrefix(said, "Warning: "), strings.HasPrefix(said, "[Warning]"), strings.HasPrefix(said, "Deprecated program name"):
		return nil
	}
	return fmt.Errorf("%w: the file holds an error of the program that made it: %q", ErrTruncated, line)
}

// skip passes over the rest of a statement.
func (d *dumpReader) skip(ctx context.Context) error {
	defer func() { d.l.limit = maxValue }()
	for n := 1; !d.t.is(';'); n++ {
		d.l.limit = 64
		if err := d.need(); err != nil {
			return err
		}
		if n%4096 == 0 {
			if err := context.Cause(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// delimiter passes over triggers and procedures, which stand between
// "DELIMITER ;;" and "DELIMITER ;".
func (d *dumpReader) delimiter() error {
	const ends = "DELIMITER ;"
	if strings.TrimSpace(d.l.restOfLine(16)) == ";" {
		return nil
	}
	for !d.l.atEnd() {
		ended := d.l.looksAt(ends)
		if line := d.l.restOfLine(64); ended && strings.TrimRight(line, " \t\r") == ends {
			return nil
		}
	}
	return d.l.fail("a procedure")
}

// name takes the token for a name. Those in double quotes are of the SQL mode
// ANSI_QUOTES, which a dump need not tell.
func (d *dumpReader) name() (string, bool) {
	return string(d.t.text), d.t.kind == tokName || d.t.kind == tokWord || d.t.kind == tokString && d.t.quote == '"'
}

// tableName reads a name that may have its database before it, and one token
// more.
func (d *dumpReader) tableName() (db, name string, err error) {
	name, ok := d.name()
	if !ok {
		return "", "", d.expected("the name of a table")
	}
	db = d.use
	if d.t.kind == tokWord {
		if q, n, ok := strings.Cut(name, "."); ok && n != "" {
			db, name = q, n
		}
	}
	if err := d.need(); err != nil {
		return "", "", err
	}
	if d.t.kind == tokWord && len(d.t.text) > 0 && d.t.text[0] == '.' {
		db = name
		if name = string(d.t.text[1:]); name == "" {
			if err := d.need(); err != nil {
				return "", "", err
			}
			if name, ok = d.name(); !ok {
				return "", "", d.expected("the name of a table")
			}
		}
		if err := d.need(); err != nil {
			return "", "", err
		}
	}
	return db, name, nil
}
