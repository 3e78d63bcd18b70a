//go:build unix

package vpopmail

import (
	"bufio"
	"compress/gzip"
	"database/sql"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/internal/mariadbtest"
)

// A sqlReplay is a sequence of the real programs on a database, and the mode of
// the server.
type sqlReplay struct {
	replay
	params []string
}

func sqlReplays() []sqlReplay {
	one := DefaultProfile54()
	one.Home, one.SQLAliases, one.SQLLimits, one.SQLLog = "/home/vpopmail-my1", true, true, true
	each := DefaultProfile54()
	each.Home, each.TablePerDomain = "/home/vpopmail-my2", true
	p56 := at56("/home/vpopmail-56my")
	p56.SQLAliases, p56.SQLAliasDomains, p56.SQLLog = true, true, true
	return []sqlReplay{
		{replay{"mysql-one-table", one, controlBefore, 148}, nil},
		{replay{"mysql-table-per-domain", each, controlBefore, 148}, nil},
		{replay{"mysql-one-table-nonstrict", one, controlBefore, 148}, []string{"sql_mode=''"}},
		{replay{"mysql-one-table-5.6", p56, controlBefore, 147}, nil},
	}
}

// sqlHost is a host whose records are in a database of its own.
func sqlHost(t testing.TB, p Profile, params ...string) (*host, *sql.DB) {
	t.Helper()
	h := newHost(t, p, controlBefore)
	db := mariadbtest.Start(t).Fresh(t, params...)
	h.opts.Backend = NewSQL(db, nil)
	return h, db
}

// What the real programs do with a database and this package does not: see the
// table in the package documentation.
func init() {
	const hash = "a hash that the column does not hold leaves an account that nobody can log in to"
	const clear = "a clear password that the column does not hold: the account is not made, but counted"
	const gecos = "colons in a comment shift the fields when the domain is converted to vpasswd"
	long := departure{ErrTooLong, hash, nil}
	for _, name := range []string{"mysql-one-table", "mysql-table-per-domain", "mysql-one-table-nonstrict"} {
		departures[name] = map[int]departure{5: long, 6: long, 8: {ErrTooLong, clear, nil}, 9: {ErrTooLong, clear, nil}, 25: {ErrBadByte, gecos, nil}}
	}
	departures["mysql-one-table-5.6"] = map[int]departure{24: {ErrBadByte, gecos, nil}}
}

// TestSQLReplay runs the steps of each sequence on a database and compares all
// paths, and all rows with those of a second database that is sent the recorded
// statements.
func TestSQLReplay(t *testing.T) {
	for _, seq := range sqlReplays() {
		t.Run(strings.TrimPrefix(seq.name, "mysql-"), func(t *testing.T) {
			steps := readSteps(t, seq.name)
			if len(steps) != seq.steps {
				t.Fatalf("%d steps, want %d", len(steps), seq.steps)
			}
			h, db := sqlHost(t, seq.profile, seq.params...)
			real := mariadbtest.Start(t).Fresh(t, seq.params...)
			middle := false
			for i := range steps {
				if a := steps[i].Argv; !middle && (a[0] == "vdeldomain" || a[0] == "vadddomain" && a[1] == "gone.example.org") {
					compareDump(t, db, seq.name, "-middle")
					middle = true
				}
				seq.sqlStep(t, h, &steps[i], db, real)
				if t.Failed() {
					t.Fatalf("step %d: %q", steps[i].N, steps[i].Argv)
				}
				if testing.Short() && i == 45 {
					t.Skip("the first steps only")
				}
			}
			compareCreate(t, db, seq.name)
			compareDump(t, db, seq.name, "")
			if !middle {
				t.Error("the dump in the middle was not compared")
			}
		})
	}
}

// sqlStep is replay.step with the rows beside the files. What the real program
// did where this package refuses is put into the database too.
func (seq *sqlReplay) sqlStep(t *testing.T, h *host, st *step, db, real *sql.DB) {
	t.Helper()
	before := rowsOf(t, db)
	for name, f := range st.Changed {
		// vmoddomlimits leaves this file to root and readable to all, and
		// whoever reads it next as root gives it to the owner alone.
		if strings.HasSuffix(name, "/"+limitsName) {
			f.Mode, f.UID, f.GID = "0600", seq.profile.UID, seq.profile.GID
			st.Changed[name] = f
		}
	}
	seq.step(t, h, st)
	if d := departures[seq.name][st.N]; d.err != nil {
		for _, line := range diffRows(rowsOf(t, db), before) {
			t.Error("refused:", line)
		}
	}
	for _, q := range st.SQL {
		// Tables that are there already, values that do not fit: the real
		// programs went on, too.
		real.Exec(q)
	}
	_, departs := departures[seq.name][st.N]
	if _, foreign := notOurs[st.program()]; departs || foreign {
		copyRows(t, db, real)
	}
	for _, line := range diffRows(rowsOf(t, db), rowsOf(t, real)) {
		t.Error(line)
	}
}

// rowsOf are all rows of a database, by table, but those that only logins
// write. Times are masked.
func rowsOf(t testing.TB, db *sql.DB) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, table := range tablesOf(t, db) {
		if table == logTable || table == "relay" {
			continue
		}
		rows, err := db.Query("select * from " + quoted(table))
		if err != nil {
			t.Fatal(err)
		}
		names, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			values := make([]sql.NullString, len(names))
			into := make([]any, len(names))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				t.Fatal(err)
			}
			var line []string
			for i, v := range values {
				if names[i] == "timestamp" {
					v.String = "TIME"
				}
				line = append(line, fmt.Sprintf("%s=%q", names[i], v.String))
			}
			all[table] = append(all[table], strings.Join(line, " "))
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		rows.Close()
		slices.Sort(all[table])
	}
	return all
}

func tablesOf(t testing.TB, db *sql.DB) []string {
	t.Helper()
	rows, err := db.Query("show tables")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		all = append(all, name)
	}
	return all
}

// diffRows names what differs. A table without rows is as none.
func diffRows(got, want map[string][]string) (lines []string) {
	tables := maps.Clone(got)
	maps.Copy(tables, want)
	for _, table := range slices.Sorted(maps.Keys(tables)) {
		for _, row := range got[table] {
			if !slices.Contains(want[table], row) {
				lines = append(lines, table+": unexpected row: "+row)
			}
		}
		for _, row := range want[table] {
			if !slices.Contains(got[table], row) {
				lines = append(lines, table+": missing row: "+row)
			}
		}
		if len(got[table]) != len(want[table]) {
			lines = append(lines, fmt.Sprintf("%s: %d rows, want %d", table, len(got[table]), len(want[table])))
		}
	}
	return lines
}

// copyRows makes one database as the other is.
func copyRows(t testing.TB, to, from *sql.DB) {
	t.Helper()
	var name string
	if err := from.QueryRow("select database()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	for _, table := range tablesOf(t, from) {
		for _, q := range []string{
			"create table if not exists " + quoted(table) + " like " + quoted(name) + "." + quoted(table),
			"delete from " + quoted(table),
			"insert into " + quoted(table) + " select * from " + quoted(name) + "." + quoted(table),
		} {
			if _, err := to.Exec(q); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// sqlSalt finds the salt of the hash in the statements of a step that concern a
// user.
func sqlSalt(statements []string, user string) string {
	for _, q := range statements {
		if m := saltOf.FindStringSubmatch(q); m != nil && strings.Contains(strings.ReplaceAll(q, "'", `"`), `"`+user+`"`) {
			return m[1]
		}
	}
	return ""
}

var saltOf = regexp.MustCompile(`\$[16]\$([^$]{8})\$`)

// unzip reads a file of testdata.
func unzip(t testing.TB, name string) string {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// compareCreate compares the tables that this package has made with those of
// the real programs.
func compareCreate(t *testing.T, db *sql.DB, name string) {
	t.Helper()
	want := map[string]string{}
	for _, def := range strings.Split(unzip(t, "golden/"+name+"-create.sql.gz"), ";\n") {
		if _, rest, ok := strings.Cut(def, "CREATE TABLE `"); ok {
			table, _, _ := strings.Cut(rest, "`")
			want[table] = strings.TrimSpace(autoIncrement.ReplaceAllString(def, ""))
		}
	}
	compared := 0
	for _, table := range tablesOf(t, db) {
		var same, def string
		if err := db.QueryRow("show create table "+quoted(table)).Scan(&same, &def); err != nil {
			t.Fatal(err)
		}
		if def = autoIncrement.ReplaceAllString(def, ""); want[table] != "" && def != want[table] {
			t.Errorf("%s\nwant\n%s", def, want[table])
		}
		compared++
	}
	if compared < 4 {
		t.Errorf("%d tables", compared)
	}
}

var autoIncrement = regexp.MustCompile(` AUTO_INCREMENT=\d+`)

// loadDump reads the statements of mariadb-dump into a database.
func loadDump(t testing.TB, db *sql.DB, dump string) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var q strings.Builder
	sc := bufio.NewScanner(strings.NewReader(dump))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := sc.Text()
		if q.Len() == 0 && (line == "" || strings.HasPrefix(line, "--")) {
			continue
		}
		q.WriteString(line + "\n")
		if !strings.HasSuffix(line, ";") {
			continue
		}
		// Nothing of data ends a line: mariadb-dump writes a LF as \n.
		if _, err := conn.ExecContext(t.Context(), q.String()); err != nil && !strings.Contains(line, "LOCK TABLES") {
			t.Fatalf("%.200s: %v", q.String(), err)
		}
		q.Reset()
	}
}

// compareDump compares the rows with a dump that was taken at this place of the
// sequence. Logins came between, so that what they write is left out.
func compareDump(t *testing.T, db *sql.DB, name, when string) {
	t.Helper()
	real := mariadbtest.Start(t).Fresh(t)
	loadDump(t, real, unzip(t, "info/"+strings.TrimPrefix(name, "mysql-")+when+".sql.gz"))
	got, want := rowsOf(t, db), rowsOf(t, real)
	for _, rows := range []map[string][]string{got, want} {
		delete(rows, loginTable)
	}
	for _, line := range diffRows(got, want) {
		t.Error(line)
	}
}
