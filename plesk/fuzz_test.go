package plesk

import (
	"os"
	"strings"
	"testing"
)

// FuzzReadDump reads any text: no panic, no table beside those wanted, and what
// is read does not depend on comments and blank lines between statements.
func FuzzReadDump(f *testing.F) {
	for _, name := range []string{schemaOld, schemaNew} {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
		for s := range strings.SplitAfterSeq(string(b), ";\n") {
			f.Add(s)
		}
	}
	for _, s := range []string{
		"INSERT INTO mail (id, mail_name) VALUES (0x4142,x'41'),(b'1010', -1.5e-3),(_utf8'a' 'b', NULL) ON DUPLICATE KEY UPDATE id=1;",
		"DELIMITER ;;\nCREATE TRIGGER x BEGIN INSERT INTO mail VALUES (1); END ;;\nDELIMITER ;\nUSE `psa`;",
		"/*!40101 SET x */; /* ' */ # ;\n-- MySQL dump\nCREATE TABLE IF NOT EXISTS `psa`.`mail` (`id` int, KEY (`id`));",
		"/*!50003 SET sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI' */ ; CREATE OR REPLACE TABLE \"mail\" (\"id\" blob, b text CHARACTER SET latin1) CHARSET=latin1; SET NAMES binary; INSERT INTO mail VALUES (x'fc', '\\');",
		"SET @a = @@sql_mode, @b=@@SQL_NOTES; /*M!999999\\- x */ SET sql_mode=@a, SQL_NOTES=@b; DROP TABLE IF EXISTS `psa`.`mail`, mail; LOCK TABLES mail WRITE; UNLOCK TABLES;",
		"mysqldump: [Warning] it's\nCREATE VIEW v AS SELECT '*/' /*!50001 AS `*/` */;",
		"create table mail (`a``b` int default '\\'', `primary` text, primary key (`a``b`(3)))",
	} {
		f.Add(s)
	}
	all := func(string) ([]string, bool) { return nil, true }
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<16 {
			t.Skip("long inputs find nothing more")
		}
		got, err := readDump(t.Context(), strings.NewReader(text), "x", "psa", all)
		if err != nil {
			return
		}
		for name, tab := range got {
			for _, r := range tab.rows {
				if len(r) != len(tab.columns) {
					t.Fatalf("table %q: a row of %d values, %d columns", name, len(r), len(tab.columns))
				}
			}
		}
		again, err := readDump(t.Context(), strings.NewReader("/* a */ -- b\n\n"+text+"\n# end"), "x", "psa", all)
		if err != nil || len(again) != len(got) {
			t.Fatalf("with comments around it: %d tables, %v; want %d", len(again), err, len(got))
		}
	})
}
