package main

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/internal/mariadbtest"
)

// A database is where the accounts of a site are, in place of vpasswd files.
type database struct {
	*site
	db    *sql.DB
	flags []string
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	server := mariadbtest.Start(t)
	name := server.NewDatabase(t)
	return &database{newSite(t), server.Open(t, name), []string{"-backend", "mysql", "-dsn", server.DSN(name)}}
}

func (d *database) move(code int, command string, more ...string) (stdout, words string) {
	d.t.Helper()
	return d.site.move(code, command, append(d.flags[:len(d.flags):len(d.flags)], more...)...)
}

func (d *database) report(code int, command string) *report.Report {
	d.t.Helper()
	return d.site.report(code, command, d.flags...)
}

// rows are the accounts as they stand in the table.
func (d *database) rows() (list []string) {
	d.t.Helper()
	rows, err := d.db.Query("select pw_name, pw_domain, pw_passwd, pw_gecos from vpopmail order by pw_name")
	d.check(err)
	defer rows.Close()
	for rows.Next() {
		var name, domain, hash, gecos string
		d.check(rows.Scan(&name, &domain, &hash, &gecos))
		list = append(list, fmt.Sprintf("%s@%s %s %s", name, domain, hash, gecos))
	}
	d.check(rows.Err())
	return list
}

// tooLong are the places of the hashes that did not fit.
func (d *database) tooLong(r *report.Report) (names []string) {
	for _, it := range r.NotCarried {
		if it.Code == "account.hash-too-long" {
			names = append(names, it.Place())
		}
	}
	slices.Sort(names)
	return names
}

// TestDatabase moves the sample host into a database whose columns are those of
// vpopmail 5.4, plans and verifies it, and takes it back.
func TestDatabase(t *testing.T) {
	d := newDatabase(t)
	planned := d.report(3, "plan")
	if long := d.tooLong(planned); len(long) == 0 {
		t.Fatal("the plan names no hash that does not fit")
	}
	var tables int
	d.check(d.db.QueryRow("select count(*) from information_schema.tables where table_schema = database()").Scan(&tables))
	if tables != 0 {
		t.Errorf("the plan has made %d tables", tables)
	}

	made := d.report(3, "run")
	diff(t, itemPlaces(planned.NotCarried), itemPlaces(made.NotCarried))
	if made.Totals.AccountsMade == 0 || made.Totals.Messages != planned.Totals.Messages || made.Totals.Delivered != made.Totals.Messages {
		t.Errorf("planned %+v\nmade %+v", planned.Totals, made.Totals)
	}
	rows := d.rows()
	if n := made.Totals.AccountsMade + 2; len(rows) != int(n) { // and two postmasters
		t.Errorf("%d rows, want %d: %q", len(rows), n, rows)
	}
	for _, row := range rows {
		if hash := strings.Fields(row)[1]; len(hash) > 40 {
			t.Errorf("a hash that cannot be whole: %s", row)
		}
	}
	for name := range d.list("new") {
		if strings.HasSuffix(name, "/vpasswd") || strings.HasSuffix(name, "/vpasswd.cdb") || strings.HasSuffix(name, "/.dir-control") {
			t.Errorf("%s was made beside the database", name)
		}
	}

	// Once more: nothing changes.
	before := d.list("new")
	d.report(3, "run")
	diff(t, before, d.list("new"))
	diff(t, rows, d.rows())
	v := d.report(3, "verify").Verification
	if !v.Proven() || v.HashesUnchanged != v.Hashes || v.Messages == 0 {
		t.Errorf("%+v", v)
	}

	if _, words := d.move(0, "undo", "-n"); !strings.Contains(words, "Would be taken back: "+fmt.Sprint(made.Totals.Delivered)+" messages") {
		t.Errorf("%q", words)
	}
	diff(t, rows, d.rows())
	d.move(0, "undo")
	if left := d.rows(); len(left) != 0 {
		t.Errorf("rows are left: %q", left)
	}
	for _, name := range d.remains() {
		if strings.HasPrefix(name, "vpopmail/domains/") && name != "vpopmail/domains/.qmailkit_lock" {
			t.Errorf("%s is left", name)
		}
	}
}

// TestDatabaseMadeWider carries what did not fit when the administrator has
// made the column wider.
func TestDatabaseMadeWider(t *testing.T) {
	d := newDatabase(t)
	first := d.report(3, "run")
	long := len(d.tooLong(first))
	if long == 0 {
		t.Fatal("all hashes fit")
	}
	_, err := d.db.Exec("alter table vpopmail modify pw_passwd varchar(128)")
	d.check(err)
	second := d.report(3, "run")
	if left := d.tooLong(second); len(left) != 0 || int(second.Totals.AccountsMade) != long {
		t.Errorf("%d accounts made, want %d; left: %q", second.Totals.AccountsMade, long, left)
	}
	v := d.report(3, "verify").Verification
	if !v.Proven() || v.HashesUnchanged != v.Hashes {
		t.Errorf("%+v", v)
	}
}

// TestDatabaseGone stops where the database cannot be reached, and makes
// nothing.
func TestDatabaseGone(t *testing.T) {
	s := newSite(t)
	before := s.list("new")
	for _, cmd := range []string{"plan", "run", "verify"} {
		if _, words := s.move(1, cmd, "-dsn", "vp@unix("+s.path("no-socket")+")/mail"); !strings.Contains(words, "database mail: ") {
			t.Errorf("%s: %s", cmd, words)
		}
	}
	diff(t, before, s.list("new"))
}
