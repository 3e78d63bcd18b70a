package plesk

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/mariadbtest"
)

// Two schemas, as facts on Plesk 9/10 and on Plesk 18 tell the columns, and
// rows with what a dump has to quote.
const (
	schemaOld = "testdata/psa-old.sql"
	schemaNew = "testdata/psa-new.sql"
)

func load(t *testing.T, file string) (*mariadbtest.Server, string, *sql.DB) {
	t.Helper()
	s := mariadbtest.Start(t)
	name := s.NewDatabase(t)
	db := s.Open(t, name, "multiStatements=true")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), string(b)); err != nil {
		t.Fatal(err)
	}
	return s, name, db
}

func dump(t *testing.T, s *mariadbtest.Server, args ...string) string {
	t.Helper()
	prog, err := exec.LookPath("mariadb-dump")
	if err != nil {
		if os.Getenv("QMAILKIT_REQUIRE_PEERS") != "" {
			t.Fatal(err)
		}
		t.Skip("no mariadb-dump: ", err)
	}
	out, err := exec.CommandContext(t.Context(), prog, append([]string{"--no-defaults", "-u", "root", "-S", s.Socket()}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// nasty is what a database may hold beside, and texts that are hard to quote.
const nasty = `
UPDATE accounts SET password=concat('p', char(0), char(10), char(13), '\\''"\\\\%_;--/*', char(26), 'ä€') WHERE id=14;
ALTER TABLE mail MODIFY mail_name varchar(190) CHARACTER SET latin1 NOT NULL;
UPDATE mail SET mail_name='büro' WHERE id=6;
UPDATE mail_resp SET text=concat(repeat('x;''"\\\\ -- ', 1000), 'ä*/'), subject='/* no comment */ -- #';
CREATE TABLE blobs (id int primary key, b blob, bb bit(9), vb varbinary(40), g int as (id+1));
INSERT INTO blobs (id,b,bb,vb) VALUES (1, 0x00ff2728290a5c2a2f, 5, x'27'),(2,NULL,NULL,NULL);
CREATE VIEW evil AS SELECT '*/ '' ; INSERT INTO mail VALUES (1);' AS x, "/* " AS y;
CREATE TABLE weird (` + "`a``b` int, `c d;` int comment 'it''s; a (comment, \\')', `x` int" + `) comment='; INSERT INTO mail VALUES (1)';
CREATE PROCEDURE p1() BEGIN DECLARE x int; SET x = 1; INSERT INTO mail VALUES (1); END;
CREATE FUNCTION f1() RETURNS varchar(20) RETURN 'DELIMITER ;';
CREATE TRIGGER t2 AFTER INSERT ON mail_resp FOR EACH ROW BEGIN SET @x = ';;'; DELETE FROM blobs; END;
CREATE EVENT e1 ON SCHEDULE EVERY 1 DAY DO BEGIN DELETE FROM blobs; END;
`

// dumpForms are options of mariadb-dump.
var dumpForms = map[string][]string{
	"default": nil, "rows": {"--skip-extended-insert"}, "columns": {"--complete-insert"}, "hex": {"--hex-blob"},
	"compact": {"--compact", "--skip-opt"}, "bare names": {"--skip-quote-names"}, "replace": {"--replace"},
	"routines": {"--routines", "--triggers", "--events"}, "no definitions": {"--no-create-info", "--complete-insert"}, "ignore": {"--insert-ignore"},
	"latin1": {"--default-character-set=latin1"}, "bytes": {"--default-character-set=binary"}, "bytes, hex": {"--default-character-set=binary", "--hex-blob"},
	"no comments": {"--skip-comments"}, "with USE": {"--databases"}, "drop": {"--databases", "--add-drop-database"}, "transaction": {"--single-transaction", "--no-autocommit", "--flush-privileges"},
	"ANSI": {"--compatible=ansi"}, "Oracle": {"--compatible=oracle"}, "MySQL 4.0": {"--compatible=mysql40"}, "MySQL 3.23": {"--compatible=mysql323"},
	"bare": {"--compatible=no_key_options,no_table_options,no_field_options"},
}

// TestDumpEqualsDatabase reads two versions of psa from a live server, and from
// dumps in every form that mariadb-dump has, whatever the server's SQL mode.
func TestDumpEqualsDatabase(t *testing.T) {
	for _, file := range []string{schemaOld, schemaNew} {
		s, name, db := load(t, file)
		if _, err := db.ExecContext(t.Context(), nasty); err != nil {
			t.Fatal(err)
		}
		want, err := ReadDB(t.Context(), db, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(want.Domains) < 2 || len(want.Domains[0].Mailnames) < 5 || want.Domains[0].Mailname("büro") == nil {
			t.Fatalf("%s: %d domains", file, len(want.Domains))
		}
		var usual string
		if err := db.QueryRowContext(t.Context(), "SELECT @@GLOBAL.sql_mode").Scan(&usual); err != nil {
			t.Fatal(err)
		}
		for _, mode := range []string{"NO_BACKSLASH_ESCAPES,ANSI", usual} {
			if _, err := db.ExecContext(t.Context(), "SET GLOBAL sql_mode='"+mode+"'"); err != nil {
				t.Fatal(err)
			}
			for form, args := range dumpForms {
				if (mode != usual || file == schemaOld) && form != "default" && form != "ANSI" && form != "compact" {
					continue // the mode is the program's own, and the values are the same
				}
				t.Run(file+" "+mode[:4]+" "+form, func(t *testing.T) {
					got, err := ReadDump(t.Context(), strings.NewReader(dump(t, s, append(args, name)...)), nil)
					if err != nil {
						t.Fatal(err)
					}
					if d := cmp.Diff(secrets(want), secrets(got), errorText, anywhere); d != "" {
						t.Error(d)
					}
				})
			}
		}
		t.Run(file+" several databases", func(t *testing.T) {
			other := s.NewDatabase(t)
			if _, err := db.ExecContext(t.Context(), "CREATE TABLE "+other+".mail (a int); INSERT INTO "+other+".mail VALUES (1)"); err != nil {
				t.Fatal(err)
			}
			got, err := ReadDump(t.Context(), strings.NewReader(dump(t, s, "--databases", name, other)), &Options{Database: name})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(secrets(want), secrets(got), errorText, anywhere); d != "" {
				t.Error(d)
			}
		})
		t.Run(file+" cut", func(t *testing.T) { cutDump(t, dump(t, s, name)) })
		t.Run(file+" cut, no comments", func(t *testing.T) { cutDump(t, dump(t, s, "--skip-comments", name)) })
	}
}

// cutDump ends a dump at many places: all of them are noticed.
func cutDump(t *testing.T, whole string) {
	end := strings.LastIndex(whole, "-- Dump completed")
	if end < 0 {
		end = strings.LastIndex(whole, "/*!40111 SET SQL_NOTES=")
	}
	begin := strings.Index(whole, "SQL_NOTES=0 */;")
	if end < 0 || begin < 0 {
		t.Fatal("the dump has no last line, or no first one")
	}
	step := 1 + len(whole)/70
	for n := begin + 15; n < end; n += step {
		_, err := ReadDump(t.Context(), strings.NewReader(whole[:n]), nil)
		if !errors.Is(err, ErrTruncated) || !errors.Is(err, qmailkit.ErrIncomplete) {
			t.Fatalf("cut at %d of %d: %v", n, len(whole), err)
		}
		var at *DumpError
		if !errors.As(err, &at) || at.Line < 1 || at.Offset > int64(n) {
			t.Fatalf("cut at %d: place %+v", n, at)
		}
	}
}

// secrets opens what cmp must see and qmailkit.Secret hides.
func secrets(s *Server) map[string]any {
	m := map[string]any{"server": s}
	for _, d := range s.Domains {
		for _, n := range d.Mailnames {
			m[n.Name+"@"+d.Name] = string(n.Password.Stored)
		}
	}
	return m
}

// anywhere passes over where a row stands, which only a dump tells.
var anywhere = cmpopts.IgnoreFields(qmailkit.Problem{}, "Line", "Offset")

var errorText = cmp.Comparer(func(a, b error) bool { return a == nil && b == nil || a != nil && b != nil && a.Error() == b.Error() })

// TestMeaning reads the old and the new sample and looks at what they mean.
func TestMeaning(t *testing.T) {
	_, _, db := load(t, schemaOld)
	old, err := ReadDB(t.Context(), db, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, db = load(t, schemaNew)
	young, err := ReadDB(t.Context(), db, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Server{"old": old, "new": young} {
		d := s.Domain("EXAMPLE.com")
		if d == nil || d.ID != 12 {
			t.Fatalf("%s: %+v", name, d)
		}
		if len(d.Aliases) != 1 || d.Aliases[0].Name != "example.net" || !d.Aliases[0].Mail {
			t.Errorf("%s: alias domains %+v", name, d.Aliases)
		}
		if d.Unknown.Action != "catch" || d.Unknown.Address != "all@example.org" {
			t.Errorf("%s: unknown users %+v", name, d.Unknown)
		}
		anna := d.Mailname("anna")
		if anna == nil || !anna.Mailbox || anna.Quota != 104853504 || anna.Password.Type != "plain" || string(anna.Password.Stored) != "it's \"quoted\"\\ ; -- no\ncomment" {
			t.Errorf("%s: %+v", name, anna)
		}
		if d := cmp.Diff([]string{"a.nna", "an'na"}, anna.Aliases); d != "" {
			t.Error(d)
		}
		if g := d.Mailname("team"); g == nil || !g.Group || g.Mailbox || len(g.Forwards) != 2 {
			t.Errorf("%s: group %+v", name, g)
		}
		if f := d.Mailname("fwd"); f == nil || f.Mailbox || len(f.Forwards) != 1 || f.Forwards[0] != "elsewhere@example.org" {
			t.Errorf("%s: forward %+v", name, f)
		}
		if r := d.Mailname("away"); r == nil || len(r.Responders) != 1 || r.Responders[0].Text != "Bin im Urlaub; gr\xc3\xbc\xc3\x9fe\n" || len(r.Responders[0].Attachments) != 1 {
			t.Errorf("%s: responder %+v", name, r)
		}
		if !s.ShortNames {
			t.Errorf("%s: short names are not seen", name)
		}
		codes := map[string]bool{}
		for _, p := range s.Problems {
			codes[p.Code] = true
		}
		for _, c := range []string{"plesk.no-domain", "plesk.no-password", "plesk.domain-suspended", "plesk.bad-row", "plesk.mailing-list"} {
			if !codes[c] {
				t.Errorf("%s: no problem %s", name, c)
			}
		}
	}
	if off := old.Domain("example.com").Mailname("off"); off == nil || len(off.Forwards) != 0 || len(off.Off) != 1 {
		t.Errorf("a forward that is switched off: %+v", off)
	}
	if m := young.Domain("example.com").Mailname("held"); m == nil || !m.NoDelivery {
		t.Errorf("delivery switched off: %+v", m)
	}
}

// TestMissing drops each table and column that has to be there.
func TestMissing(t *testing.T) {
	for _, name := range needed {
		_, _, db := load(t, schemaNew)
		if _, err := db.ExecContext(t.Context(), "DROP TABLE "+name); err != nil {
			t.Fatal(err)
		}
		if s, err := ReadDB(t.Context(), db, nil); !errors.Is(err, ErrNoTable) || s != nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without table %s: %v", name, err)
		}
	}
	for table, column := range map[string]string{"mail": "dom_id", "accounts": "password", "domains": "name", "mail_redir": "address"} {
		_, _, db := load(t, schemaOld)
		if _, err := db.ExecContext(t.Context(), "ALTER TABLE "+table+" CHANGE "+column+" other text"); err != nil {
			t.Fatal(err)
		}
		if s, err := ReadDB(t.Context(), db, nil); !errors.Is(err, ErrNoColumn) || s != nil || !strings.Contains(err.Error(), column) {
			t.Errorf("without column %s.%s: %v", table, column, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ReadDump(ctx, strings.NewReader("CREATE TABLE mail (id int);"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
