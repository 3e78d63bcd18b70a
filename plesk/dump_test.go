package plesk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit"
)

// small are the tables that every psa has, with one mailbox.
const small = `CREATE TABLE domains (id int, name text, displayName text, status int, cl_id int, limits_id int);
INSERT INTO domains VALUES (1,'example.com','Example.com',0,5,6);
CREATE TABLE mail (id int, mail_name text, dom_id int, account_id int, postbox enum('false','true'), mail_group text, delivery text, mbox_quota bigint);
INSERT INTO mail VALUES (10,'anna',1,20,'true','false','true',-1);
CREATE TABLE accounts (id int, type varchar(32), password text);
INSERT INTO accounts VALUES (20,'plain','secret');
CREATE TABLE mail_aliases (mn_id int, alias text);
CREATE TABLE mail_redir (mn_id int, address text);
`

func readText(t *testing.T, text string) (*Server, error) {
	t.Helper()
	return ReadDump(t.Context(), strings.NewReader(text), nil)
}

// TestDumpText reads what hosts of all times have in their dumps. Each text
// stands before or behind the small psa, and must give this password of anna.
func TestDumpText(t *testing.T) {
	update := "DROP TABLE IF EXISTS accounts; CREATE TABLE accounts (id int, type text, password text); INSERT INTO accounts VALUES (20,'plain',"
	for name, c := range map[string]struct{ before, behind, want string }{
		"sandbox comment":             {"/*M!999999\\- enable the sandbox mode */ \n", "", "secret"},
		"older sandbox comment":       {"/*!999999\\- enable the sandbox mode */\n", "", "secret"},
		"byte order mark":             {"\xef\xbb\xbf-- a comment\n", "", "secret"},
		"warning of the program":      {"mysqldump: [Warning] Using a password on the command line can't be secure.\n", "", "secret"},
		"warnings of others":          {"/usr/bin/mysqldump: Deprecated program name. It will be removed, use '/usr/bin/mariadb-dump'\nWarning: Using a password isn't secure.\nmariadb-dump: Warning: it's old\n", "", "secret"},
		"view in a comment":           {"", "/*!50001 CREATE TABLE `accounts` (`id` int, `type` text, `password` text) ENGINE=MyISAM */;", "secret"},
		"comment's end in a string":   {"/*!50001 CREATE VIEW v AS SELECT '*/ '' ; INSERT INTO mail VALUES (1);' AS `x*/` */;", "", "secret"},
		"if not exists":               {"", "CREATE TABLE IF NOT EXISTS accounts (x int);", "secret"},
		"or replace":                  {"", "CREATE OR REPLACE TABLE accounts (password text, id int, type text); INSERT INTO accounts VALUES ('other',20,'plain');", "other"},
		"loaded twice":                {"", update + "'twice');", "twice"},
		"procedure without newline":   {"", "DELIMITER ;;\nCREATE PROCEDURE p() BEGIN INSERT INTO mail VALUES (1); END ;;\nDELIMITER ;", "secret"},
		"other delimiter":             {"", "DELIMITER //\nCREATE PROCEDURE p() BEGIN SELECT 'DELIMITER ;'; END //\nDELIMITER ; \n", "secret"},
		"backslash":                   {"", update + `'a\\b\'c\%\_\Z');`, "a\\b'c\\%\\_\x1a"},
		"NO_BACKSLASH_ESCAPES":        {"", "SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES';" + update + `'a\');`, `a\`},
		"the same around a trigger":   {"", "/*!50003 SET @saved_sql_mode = @@sql_mode */ ; /*!50003 SET sql_mode = 'NO_BACKSLASH_ESCAPES' */ ;\nDELIMITER ;;\nx;;\nDELIMITER ;\n/*!50003 SET sql_mode = @saved_sql_mode */ ;" + update + `'a\'');`, "a'"},
		"names in double quotes":      {"", `DROP TABLE IF EXISTS "accounts"; CREATE TABLE "accounts" ("id" int, "type" text, "password" text, PRIMARY KEY ("id")); INSERT INTO "accounts" ("password", "id", "type") VALUES ('q',20,'plain');`, "q"},
		"latin1":                      {"", "/*!40101 SET NAMES latin1 */;" + update + "'gr\xfcn \x80');", "grün €"},
		"latin1, set back":            {"", "SET @old = @@character_set_client, NAMES latin1; SET character_set_client = @old;" + update + "'grün');", "grün"},
		"binary, column latin1":       {"", "SET NAMES binary; CREATE OR REPLACE TABLE accounts (id int, type text, password text) DEFAULT CHARSET=latin1; INSERT INTO accounts VALUES (20,'plain','gr\xfcn');", "grün"},
		"binary, column utf8":         {"", "SET NAMES binary; CREATE OR REPLACE TABLE accounts (id int, type text, password text CHARACTER SET utf8) DEFAULT CHARSET=latin1; INSERT INTO accounts VALUES (20,'plain','grün');", "grün"},
		"latin1, column of bytes":     {"", "SET NAMES latin1; CREATE OR REPLACE TABLE accounts (id int, type text, password blob); INSERT INTO accounts VALUES (20,'plain','gr\xfcn');", "gr\xfcn"},
		"introducers":                 {"", "SET NAMES latin1; CREATE OR REPLACE TABLE accounts (id int, type text, password varbinary(9)); INSERT INTO accounts VALUES (20,'plain',_binary '\xfc');", "\xfc"},
		"hex is what the column has":  {"", "SET NAMES utf8; CREATE OR REPLACE TABLE accounts (id int, type text, password text CHARACTER SET latin1); INSERT INTO accounts VALUES (20,'plain',0xfc);", "ü"},
		"made with --compatible":      {"", "SET SQL_MODE='NO_AUTO_VALUE_ON_ZERO,MYSQL40';" + update + "'gr\xfcn');", "grün"},
		"not told, column latin1":     {"", "CREATE OR REPLACE TABLE accounts (id int, type text, password text) DEFAULT CHARSET=latin1; INSERT INTO accounts VALUES (20,'plain','gr\xfcn');", "grün"},
		"another character set":       {"", "SET NAMES cp1251;" + update + "'\xe4');", "\xe4"},
		"hexadecimal":                 {"", update + "0x61);", "a"},
		"strings side by side":        {"", update + "'a' \"b\"\n'c');", "abc"},
		"several databases":           {"", "USE `other`; CREATE TABLE accounts (a int); INSERT INTO accounts VALUES (1);", "secret"},
		"old types of tables":         {"", "DROP TABLE accounts; CREATE TABLE accounts (\n  id int(10) unsigned NOT NULL auto_increment,\n  type varchar(32) NOT NULL default 'plain',\n  password text,\n  PRIMARY KEY  (id)\n) TYPE=MyISAM;\nINSERT INTO accounts VALUES (20,'plain','old');", "old"},
		"a long value nobody wants":   {"", "CREATE OR REPLACE TABLE accounts (id int, type text, x longtext, password text); INSERT INTO accounts VALUES (20,'plain','" + strings.Repeat("x", maxValue+1) + "','p');", "p"},
		"CRLF":                        {"-- MySQL dump\r\n--\r\n", "\r\n-- Dump completed\r\n", "secret"},
		"two dumps one after another": {"-- MySQL dump\nSELECT 1;\n-- Dump completed\n-- MySQL dump\n", "-- Dump completed\n", "secret"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := readText(t, c.before+small+c.behind)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Domain("example.com").Mailname("anna").Password; string(got.Stored) != c.want {
				t.Errorf("%q", string(got.Stored))
			}
			if told := slices.ContainsFunc(s.Problems, func(p qmailkit.Problem) bool { return p.Code == "plesk.charset" }); told != (name == "another character set") {
				t.Errorf("%v", s.Problems)
			}
		})
	}
}

// TestDumpRefused hands over what is no whole dump of a psa: an error names what
// is wrong, and nothing comes out.
func TestDumpRefused(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		is   error
		says string
	}{
		"empty":                 {"", ErrTruncated, "empty"},
		"gzip":                  {"\x1f\x8b\x08\x00;", ErrDump, "gzip"},
		"XML":                   {"<?xml version=\"1.0\"?>\n<mysqldump>;", ErrDump, "XML"},
		"XML without head":      {"<mysqldump>\n</mysqldump>\n", ErrDump, "statement"},
		"UTF-16":                {"\xff\xfe-\x00-\x00", ErrDump, "UTF-16"},
		"rows of --tab":         {"1\texample.com\t0\n", ErrDump, "statement"},
		"error of the program":  {small + "mysqldump: Error 2013: Lost connection to MySQL server during query\n", ErrTruncated, "Lost connection"},
		"its error, by path":    {"/usr/bin/mariadb-dump: Got error: 1045: \"Access denied\"\n", ErrTruncated, "Access denied"},
		"a path":                {"/etc/passwd\n", ErrDump, "/etc/passwd"},
		"definitions only":      {strings.ReplaceAll(small, "INSERT", "-- "), ErrNoRows, "domains"},
		"rows without a sense":  {strings.ReplaceAll(small, "(1,'example", "('x','example"), ErrNoRows, "of 1 rows"},
		"no definitions":        {"INSERT INTO accounts VALUES (1);", ErrDump, "CREATE TABLE"},
		"no table":              {strings.ReplaceAll(small, "mail_redir", "redir"), ErrNoTable, "mail_redir"},
		"no column":             {strings.ReplaceAll(small, "password", "secret"), ErrNoColumn, "password"},
		"a view for a table":    {strings.ReplaceAll(small, "CREATE TABLE mail_redir", "/*!50001 CREATE TABLE mail_redir*/") + "", ErrNoTable, "mail_redir"},
		"lock":                  {"LOCK TABLES accounts WRITE;" + small, ErrTruncated, "UNLOCK"},
		"notes":                 {"/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;" + small, ErrTruncated, "SQL_NOTES"},
		"no last line":          {"-- MySQL dump 10.13\n" + small, ErrTruncated, "Dump completed"},
		"second has no end":     {"-- MySQL dump\n" + small + "-- Dump completed\n-- MySQL dump\n" + small, ErrTruncated, "Dump completed"},
		"cut in a word":         {small + "INSER", ErrTruncated, ""},
		"cut in a comment":      {small + "/*!40101 SET x=1", ErrTruncated, ""},
		"cut in a procedure":    {small + "DELIMITER ;;\nCREATE", ErrTruncated, "procedure"},
		"more values":           {small + "INSERT INTO mail_redir VALUES (1,'a','b');", ErrDump, "more values"},
		"fewer values":          {small + "INSERT INTO mail_redir VALUES (1);", ErrDump, "1 values for 2"},
		"unknown column":        {small + "INSERT INTO mail_redir (x) VALUES (1);", ErrNoColumn, "mail_redir"},
		"a function":            {small + "INSERT INTO mail_redir VALUES (1,NOW());", ErrDump, "a value"},
		"rows of a query":       {small + "INSERT INTO mail_redir SELECT 1,2;", ErrDump, "VALUES"},
		"a value that is large": {small + "INSERT INTO mail_redir VALUES (1,'" + strings.Repeat("x", maxValue+1) + "');", ErrDump, "longer"},
		"no statement":          {"-- a comment\n", ErrTruncated, "statement"},
		"two other databases":   {"USE a;" + small + "USE b;" + small, ErrNoDatabase, `["a" "b"]`},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := readText(t, c.text)
			if !errors.Is(err, c.is) || s != nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if truncated := errors.Is(err, ErrTruncated); truncated != (c.is == ErrTruncated) {
				t.Errorf("cut short %t: %v", truncated, err)
			}
		})
	}
	// An error inside of a row shows nothing of a password.
	for _, row := range []string{"(21,'plain','it's geheim')", "(21,'plain',geheim)", "(21,'plain','x' 'y') geheim", "(21,'plain','x',geheim"} {
		if _, err := readText(t, small+"INSERT INTO accounts VALUES "+row+";"); err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%v", err)
		}
	}
	if _, err := ReadDump(t.Context(), strings.NewReader("USE a;"+small), &Options{Database: "b"}); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("database that is asked for: %v", err)
	}
	if _, err := ReadDump(t.Context(), strings.NewReader("USE psa;"+small+"USE x;"), &Options{Database: "b"}); !errors.Is(err, ErrNoDatabase) {
		t.Errorf("database that is asked for: %v", err)
	}
	if s, err := readText(t, "USE restored;"+small); err != nil || len(s.Domains) != 1 {
		t.Errorf("the only database: %v", err)
	}
}

// TestDumpMeaning reads rows that make little sense: each is told, and what is
// good is kept.
func TestDumpMeaning(t *testing.T) {
	for name, c := range map[string]struct{ more, code, says string }{
		"domain twice":            {"INSERT INTO domains VALUES (2,'EXAMPLE.com','',0,0,0);", "plesk.domain-twice", "1 and 2"},
		"status":                  {"INSERT INTO domains VALUES (2,'x.org','',272,0,0);", "plesk.domain-suspended", "by the administrator, expired"},
		"client":                  {"CREATE TABLE clients (id int, login text, status int); INSERT INTO clients VALUES (5,'shop',16);", "plesk.client-suspended", "example.com"},
		"size of the domain":      {"CREATE TABLE Limits (id int, limit_name text, value text); INSERT INTO Limits VALUES (6,'mbox_quota',1048576),(6,'x','y');", "plesk.default-quota", "1048576"},
		"account twice":           {"INSERT INTO accounts VALUES (20,'plain','other');", "plesk.bad-row", "20"},
		"mail name twice":         {"INSERT INTO mail VALUES (11,'ANNA',1,20,'true','','',-1);", "plesk.bad-row", "ANNA"},
		"no boolean":              {"INSERT INTO mail VALUES (11,'bert',1,20,'maybe','','',-1);", "plesk.bad-value", "maybe"},
		"no number":               {"INSERT INTO mail VALUES (11,'bert',1,20,'true','','','much');", "plesk.bad-value", "much"},
		"no id":                   {"INSERT INTO mail VALUES ('x','bert',1,20,'true','','',0);", "plesk.bad-row", "id"},
		"alias is a name":         {"INSERT INTO mail_aliases VALUES (10,'bert'); INSERT INTO mail VALUES (11,'bert',1,20,'true','','',0);", "plesk.alias-twice", "bert"},
		"alias domain":            {"CREATE TABLE domain_aliases (id int, dom_id int, name text, status int); INSERT INTO domain_aliases VALUES (1,1,'Example.COM',0);", "plesk.domain-twice", "alias domain"},
		"forward to itself":       {"INSERT INTO mail_redir VALUES (11,'team@EXAMPLE.com'); INSERT INTO mail VALUES (11,'team',1,0,'false','true','',0);", "plesk.forward-self", "team"},
		"forward off":             {"INSERT INTO mail_redir VALUES (10,'x@x.org');", "plesk.forward-off", "left out"},
		"forward off, no mailbox": {"INSERT INTO mail_redir VALUES (11,'x@x.org'); INSERT INTO mail VALUES (11,'fwd',1,0,'false','false','',0);", "plesk.forward-off", "taken all the same"},
		"catch nobody":            {service("catch", ""), "plesk.unknown-action", "which"},
		"unknown action":          {service("discard", ""), "plesk.unknown-action", "discard"},
		"autoresponder twice":     {"CREATE TABLE mail_resp (id int, mn_id int); INSERT INTO mail_resp VALUES (1,10),(1,10);", "plesk.bad-row", "autoresponder 1"},
		"no table of mail_resp":   {"", "plesk.no-table", "autoresponders"},
		"no column":               {"", "plesk.no-column", "autoresponder"},
		"type of the password":    {"INSERT INTO accounts VALUES (21,'','x'); INSERT INTO mail VALUES (11,'bert',1,21,'true','','',0);", "plesk.password-type", "bert"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := readText(t, small+c.more)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(s.Problems, func(p qmailkit.Problem) bool { return p.Code == c.code && strings.Contains(p.Err.Error(), c.says) })
			if i < 0 {
				t.Fatalf("%v", s.Problems)
			}
			// Those that a domain has by way of several tables stand nowhere.
			if p := s.Problems[i]; c.more != "" && c.code != "plesk.unknown-action" && (p.Line < 1 || p.Offset < 1 || (small + c.more)[p.Offset] != '(') {
				t.Errorf("line %d, offset %d: %v", p.Line, p.Offset, p)
			}
			if m := s.Domain("example.com").Mailname("anna"); m == nil || m.Password.Stored != "secret" || len(m.Forwards) > 0 {
				t.Errorf("%+v", m)
			}
		})
	}
}

// service is what a domain does with mail for unknown names.
func service(action, address string) string {
	return fmt.Sprintf("CREATE TABLE DomainServices (dom_id int, type text, status int, parameters_id int); INSERT INTO DomainServices VALUES (1,'mail',0,7); CREATE TABLE Parameters (id int, parameter text, value text); INSERT INTO Parameters VALUES (7,'nonexist_mail','%s'),(7,'catch_addr','%s');", action, address)
}

// TestAliasTables has the alias domains in tables of both names.
func TestAliasTables(t *testing.T) {
	s, err := readText(t, small+"CREATE TABLE domainaliases (id int, dom_id int, name text); INSERT INTO domainaliases VALUES (1,1,'a.org'),(2,1,'b.org'); CREATE TABLE domain_aliases (id int, dom_id int, name text); INSERT INTO domain_aliases VALUES (1,1,'A.org'),(2,1,'c.org');")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range s.Domains[0].Aliases {
		got = append(got, a.Name)
	}
	if !slices.Equal(got, []string{"a.org", "b.org", "c.org"}) {
		t.Errorf("%q", got)
	}
}

// TestEightBit has names that differ in a byte which is no UTF-8: they are two.
func TestEightBit(t *testing.T) {
	s, err := readText(t, small+"INSERT INTO mail VALUES (11,'b\xe4r',1,20,'true','','',0),(12,'b\xf6r',1,20,'true','','',0); INSERT INTO mail_aliases VALUES (11,'\xe4'),(12,'\xf6');")
	if err != nil {
		t.Fatal(err)
	}
	d := s.Domain("example.com")
	if a, b := d.Mailname("B\xe4R"), d.Mailname("b\xf6r"); a == nil || b == nil || a == b || len(d.Mailnames) != 3 {
		t.Errorf("%v", s.Problems)
	}
	if m := d.index().taken("\xf6"); m == nil || m.ID != 12 {
		t.Errorf("%+v", m)
	}
}

// TestQuotaOf has a mailbox without a quota of its own in a domain that has one.
func TestQuotaOf(t *testing.T) {
	for _, c := range [][3]int64{{-1, -1, -1}, {-1, 5, 5}, {0, 5, 0}, {7, 5, 7}, {7, -1, 7}} {
		d := &Domain{MailboxQuota: c[1]}
		if got := d.QuotaOf(&Mailname{Quota: c[0]}); got != c[2] {
			t.Errorf("%d: %d", c, got)
		}
	}
}

// TestDefaultDelivery leaves delivery on where psa says nothing of it.
func TestDefaultDelivery(t *testing.T) {
	s, err := readText(t, small+"INSERT INTO mail VALUES (11,'a',1,20,'true','',NULL,0),(12,'b',1,20,'true','','false',0);")
	if err != nil {
		t.Fatal(err)
	}
	if d := s.Domain("example.com"); d.Mailname("a").NoDelivery || !d.Mailname("b").NoDelivery {
		t.Errorf("%+v", d.Mailnames)
	}
}

// repeated gives its text many times.
type repeated struct {
	text  string
	left  int
	rest  string
	after string
}

func (r *repeated) Read(b []byte) (int, error) {
	for r.rest == "" {
		switch r.left--; {
		case r.left > 0:
			r.rest = r.text
		case r.left == 0:
			r.rest = r.after
		default:
			return 0, io.EOF
		}
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// TestDumpMemory reads a statement of a megabyte or more for a table that nobody
// wants, in rows and as one value.
func TestDumpMemory(t *testing.T) {
	for _, c := range []repeated{
		{rest: small + "INSERT INTO log VALUES (0,'')", text: ",(1,'some text\\n that \\' is long')", left: 1 << 15, after: ";"},
		{rest: small + "INSERT INTO log VALUES ('", text: "x\\\\", left: 1 << 19, after: "');"},
		{rest: small + "INSERT INTO log VALUES (0x", text: "0123456789abcdef", left: 1 << 16, after: ");"},
		{rest: small + "-- ", text: "comment;", left: 1 << 19, after: "\n;"},
	} {
		var before, behind runtime.MemStats
		runtime.ReadMemStats(&before)
		s, err := ReadDump(t.Context(), &c, nil)
		runtime.ReadMemStats(&behind)
		if err != nil || len(s.Domains) != 1 {
			t.Fatal(err)
		}
		if used := behind.TotalAlloc - before.TotalAlloc; used > 1<<19 {
			t.Errorf("%q: %d bytes", c.text, used)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	endless := &repeated{rest: small + "INSERT INTO log VALUES (0)", text: ",(1)", left: 1 << 50}
	stop := readFunc(func(b []byte) (int, error) {
		if endless.left < 1<<50-1<<16 {
			cancel()
		}
		return endless.Read(b)
	})
	if _, err := ReadDump(ctx, stop, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled in a long statement: %v", err)
	}
}

type readFunc func(b []byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

// TestNewHost reads the psa of a host that has no domain yet, and one whose
// domains make no sense.
func TestNewHost(t *testing.T) {
	_, _, db := load(t, schemaNew)
	if _, err := db.ExecContext(t.Context(), "UPDATE domains SET name='' WHERE id=12; DELETE FROM domains WHERE id=13"); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadDB(t.Context(), db, nil); !errors.Is(err, ErrNoRows) || s != nil {
		t.Errorf("%v", err)
	}
	if _, err := db.ExecContext(t.Context(), "DELETE FROM domains"); err != nil {
		t.Fatal(err)
	}
	s, err := ReadDB(t.Context(), db, nil)
	if err != nil || !slices.Contains(codes(s.Problems), "plesk.no-domains") {
		t.Fatal(err)
	}
	source := &Server{Domains: []*Domain{{ID: 1, Name: "example.com"}}}
	if _, err := PlanAccounts(source, s, nil); !errors.Is(err, ErrNoDomainID) {
		t.Error(err)
	}
}

// TestTimes reads the day on which an autoresponder ends through a driver that
// makes times of it.
func TestTimes(t *testing.T) {
	for kind, want := range map[string][2]string{"date": {"2024-02-29", "0000-00-00"}, "datetime": {"2024-02-29 00:00:00", "0000-00-00 00:00:00"}} {
		s, name, db := load(t, schemaNew)
		if _, err := db.ExecContext(t.Context(), "ALTER TABLE mail_resp ADD endDate "+kind+"; UPDATE mail_resp SET endDate='2024-02-29'; SET SESSION sql_mode=''; INSERT INTO mail_resp (mn_id, resp_name, endDate) VALUES (7, 'never', '0000-00-00'), (7, 'nothing', NULL)"); err != nil {
			t.Fatal(err)
		}
		plain, err := ReadDB(t.Context(), db, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r := plain.Domain("example.com").Mailname("away").Responders; len(r) != 3 || r[0].End != want[0] || r[1].End != want[1] || r[2].End != "" {
			t.Errorf("%s: %+v", kind, r)
		}
		dumped, err := ReadDump(t.Context(), strings.NewReader(dump(t, s, name)), nil)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := ReadDB(t.Context(), s.Open(t, name, "parseTime=true"), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []*Server{dumped, parsed} {
			if d := cmp.Diff(secrets(plain), secrets(got), errorText, anywhere); d != "" {
				t.Errorf("%s: %s", kind, d)
			}
		}
	}
}
