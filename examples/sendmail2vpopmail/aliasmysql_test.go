package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// aliasRows are the rows of table valias as "ALIAS@DOMAIN LINE", sorted.
func (d *database) aliasRows() (list []string) {
	d.t.Helper()
	rows, err := d.db.Query("select alias, `domain`, valias_line from valias")
	d.check(err)
	defer rows.Close()
	for rows.Next() {
		var alias, domain, line string
		d.check(rows.Scan(&alias, &domain, &line))
		list = append(list, alias+"@"+domain+" "+strings.ReplaceAll(line, d.path("new/vpopmail/domains"), "~"))
	}
	d.check(rows.Err())
	slices.Sort(list)
	return list
}

// TestDatabaseAliases keeps the lines of addresses in table valias: the same as
// in files, less what vdelivermail cannot do with them. They follow the source,
// are proved, and are taken back.
func TestDatabaseAliases(t *testing.T) {
	needOwners(t)
	files := newSite(t)
	files.report(3, "run", "-allow-programs")
	var want []string
	for name, text := range files.dots() {
		base := name[strings.LastIndexByte(name, '/')+1:]
		domain := name[:strings.IndexByte(name, '/')]
		if base == ".qmail" || strings.Contains(base, "-owner") && !strings.Contains(base, "owner-croquet") {
			continue // a user's own; vdelivermail changes no sender
		}
		if base == ".qmail-log" {
			text = "# /var/log/mail-archive\n|exit 111\n" // vdelivermail writes to no mbox
		}
		for line := range strings.Lines(text) {
			want = append(want, strings.TrimPrefix(base, ".qmail-")+"@"+domain+" "+strings.TrimSuffix(line, "\n"))
		}
	}
	slices.Sort(want)

	d := newDatabase(t)
	_, err := d.db.Exec("create table vpopmail (pw_name char(32) not null, pw_domain char(96) not null, pw_passwd char(128), pw_uid int, pw_gid int, pw_gecos char(48), pw_dir char(160), pw_shell char(20), pw_clear_passwd char(16), primary key (pw_name, pw_domain))")
	d.check(err)
	d.flags = append(d.flags, "-sql-tables", "valias", "-allow-programs")
	r := d.report(3, "run")
	diff(t, want, d.aliasRows())
	for name := range d.dots() {
		if !strings.HasSuffix(name, "/.qmail") {
			t.Errorf("%s was made beside the table", name)
		}
	}
	if owners := about(r.Oddities, "alias.owner-not-carried"); len(owners) == 0 {
		t.Error("nobody says that lists have no owner")
	}
	if v := d.report(3, "verify").Verification; !v.Proven() {
		t.Errorf("%+v", v.Failures)
	}
	before := d.list("new")
	d.report(3, "run")
	diff(t, want, d.aliasRows())
	diff(t, before, d.list("new"))

	// What changes at the source follows; what was changed here stays.
	d.write("old/etc/mail/aliases", strings.Replace(strings.Replace(d.read("old/etc/mail/aliases"), "root: alice", "root: heidi", 1), "nobody: /dev/null\n", "", 1))
	_, err = d.db.Exec("update valias set valias_line = '&bob@wonderland.example' where alias = 'info'")
	d.check(err)
	d.report(3, "run")
	rows := d.aliasRows()
	for _, row := range []string{"root@wonderland.example &heidi@wonderland.example", "info@wonderland.example &bob@wonderland.example"} {
		if !slices.Contains(rows, row) {
			t.Errorf("no %s in %q", row, rows)
		}
	}
	if slices.ContainsFunc(rows, func(row string) bool { return strings.HasPrefix(row, "nobody@") }) {
		t.Errorf("%q", rows)
	}
	_, err = d.db.Exec("update valias set valias_line = '&carol@wonderland.example' where alias = 'info'")
	d.check(err)
	d.move(0, "undo")
	if left := d.aliasRows(); len(left) > 0 {
		t.Errorf("%q", left)
	}
}

// TestDatabaseAliasesCutOff ends a run between any two addresses and runs again.
func TestDatabaseAliasesCutOff(t *testing.T) {
	if os.Getenv("QMAILKIT_LONG") == "" {
		t.Skip("takes its time; the backend's own tests cut each address off (QMAILKIT_LONG)")
	}
	needOwners(t)
	d := newDatabase(t)
	d.flags = append(d.flags, "-sql-tables", "valias")
	d.report(3, "run")
	want := d.aliasRows()
	d.move(0, "undo")
	for _, rows := range []int{1, 9} {
		// The table refuses what comes after the first rows, as a connection that
		// is lost would.
		_, err := d.db.Exec(fmt.Sprintf("create trigger cut before insert on valias for each row begin if (select count(*) from valias) >= %d then signal sqlstate '45000' set message_text = 'cut off'; end if; end", rows))
		d.check(err)
		if _, words := d.move(1, "run"); !strings.Contains(words, "cut off") {
			t.Errorf("%s", words)
		}
		if rows := d.aliasRows(); len(rows) == 0 || len(rows) >= len(want) {
			t.Errorf("%d rows of %d", len(rows), len(want))
		}
		_, err = d.db.Exec("drop trigger cut")
		d.check(err)
		d.report(3, "run")
		diff(t, want, d.aliasRows())
		d.move(0, "undo")
	}
}
