//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/internal/mariadbtest"
	"github.com/qmailkit/qmailkit/plesk"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// tools puts a program in the place of Plesk's, which notes how it is called,
// and knows then what it has made.
func (s *site) tools() (bin, log string) {
	s.t.Helper()
	bin, log = s.path("bin"), s.path("calls")
	script := fmt.Sprintf(`#!/bin/sh
cd %s
made="made-${0##*/}-$2"
case $1 in
--info) [ -e "$made" ]; exit ;;
--remove) rm "$made"; exit ;;
esac
if [ -e broken ]; then echo 'no licence' >&2; exit 1; fi
{ printf '%%s|' "$0" "$@"; echo "PASSWORD=$PSA_PASSWORD|CRYPTED=$PSA_CRYPTED_PASSWORD"; } >>calls
[ "$1" != --create ] || : >"$made"
[ ! -e dies ] || kill -9 $PPID
`, s.dir)
	for _, name := range []string{"mail", "autoresponder"} {
		s.write("bin/"+name, script, 0o755)
	}
	return bin, log
}

func TestAccountsRun(t *testing.T) {
	s := newSite(t)
	bin, log := s.tools()
	there := []string{"-target-dump", s.path("new/psa.sql"), "-plesk-bin", bin}
	s.write("broken", "", 0o600)
	if _, words := s.move(1, "accounts", append(there, "-run")...); !strings.Contains(words, "no licence") {
		t.Errorf("%s", words)
	}
	s.check(os.Remove(s.path("broken")))
	r := s.report(0, "accounts", append(there, "-run")...)
	if r.Totals.AccountsMade != int64(len(sampleAccounts)) {
		t.Errorf("%+v", r.Totals)
	}
	b, err := os.ReadFile(log)
	s.check(err)
	calls := string(b)
	for _, a := range sampleAccounts {
		if !strings.Contains(calls, "|--create|"+a.name+"@example.com|") {
			t.Errorf("%s is not made:\n%s", a.name, calls)
		}
	}
	if !strings.Contains(calls, `PASSWORD=`+sampleAccounts[0].password+`|`) || !strings.Contains(calls, "CRYPTED="+sampleAccounts[1].password) {
		t.Errorf("passwords:\n%s", calls)
	}
	for line := range strings.Lines(calls) {
		if arguments, _, _ := strings.Cut(line, "PASSWORD="); strings.Contains(arguments, "Löwe") || strings.Contains(arguments, "saltsalt") {
			t.Errorf("a password is an argument: %s", line)
		}
	}
	// What has succeeded is not called again; what was taken away since is.
	s.move(0, "accounts", append(there, "-run")...)
	if again, err := os.ReadFile(log); err != nil || string(again) != calls {
		t.Errorf("%s", again)
	}
	s.check(exec.Command(bin+"/mail", "--remove", "bert@example.com").Run())
	s.move(0, "accounts", append(there, "-run")...)
	if again, err := os.ReadFile(log); err != nil || strings.Count(string(again), "|--create|bert@example.com|") != 2 || strings.Count(string(again), "\n") != strings.Count(calls, "\n")+1 {
		t.Errorf("%s", again)
	}
}

// withResponder gives the old host's psa an autoresponder with an attachment.
func (s *site) withResponder() {
	s.t.Helper()
	text, err := os.ReadFile(s.path("old/psa.sql"))
	s.check(err)
	const more = "CREATE TABLE `mail_resp` (\n  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,\n  `mn_id` int(10) unsigned NOT NULL,\n  `resp_name` varchar(245) NOT NULL,\n  `subject` varchar(255),\n  `text` text,\n  `resp_on` enum('false','true') NOT NULL DEFAULT 'true',\n  `ans_freq` int NOT NULL DEFAULT 10,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB;\n" +
		"CREATE TABLE `resp_attach` (\n  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,\n  `rn_id` int(10) unsigned NOT NULL,\n  `filename` varchar(245),\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB;\n" +
		"INSERT INTO `mail_resp` VALUES (1,1,'away','Away','Back on Monday; call Bert.','true',10);\nINSERT INTO `resp_attach` VALUES (1,1,'map.txt');\n"
	all := strings.Replace(string(text), "-- Dump completed", more+"-- Dump completed", 1)
	s.write("old/psa.sql", strings.Replace(all, "(1,'anna','true',1,'false','false'", "(1,'anna','true',1,'false','true'", 1), 0o600)
	s.check(s.err)
}

// The calls that need the mailboxes' files are kept for later, when the target's
// psa knows the names already. Plesk 7.5 to 9 have other options.
func TestAccountsAfterCopy(t *testing.T) {
	for _, c := range []struct {
		flags      []string
		now, later string // calls, and what no call may have
	}{
		{nil, "|-forwarding|true|-forwarding-addresses|add:copy@example.org|", "|--update|-mail|anna@example.com|-attach|add:/var/qmail/mailnames/example.com/anna/@attachments/map.txt|"},
		{[]string{"-redirect"}, "|-group|true|-groupmem|add:copy@example.org|", "|--update|away|-mail|anna@example.com|-attach|add:map.txt|"},
	} {
		s := newSite(t)
		s.withResponder()
		bin, log := s.tools()
		args := append([]string{"-target-dump", s.path("new/psa.sql"), "-plesk-bin", bin}, c.flags...)
		calls := func() string {
			b, err := os.ReadFile(log)
			s.check(err)
			return string(b)
		}
		r := s.report(0, "accounts", append(args, "-run")...)
		first := calls()
		if !strings.Contains(first, c.now) || !strings.Contains(first, "|-text|Back on Monday; call Bert.|") || strings.Contains(first, "-attach") || !slices.Contains(codes(r.Oddities), "accounts.after-copy") {
			t.Errorf("%q: %q\n%s", c.flags, codes(r.Oddities), first)
		}
		if (len(c.flags) > 0) != strings.Contains(first, "|-group|true|-groupmem|add:anna@example.com,bert@example.com|") {
			t.Errorf("%q:\n%s", c.flags, first)
		}
		// By now the target's psa is as the source's, with a number of its own.
		s.move(0, "copy")
		text, err := os.ReadFile(s.path("old/psa.sql"))
		s.check(err)
		s.write("new/psa.sql", strings.ReplaceAll(string(text), "(12,'example.com'", "(40,'example.com'"), 0o600)
		s.write("new/psa.sql", strings.ReplaceAll(s.text("new/psa.sql"), ",12);", ",40);"), 0o600)
		args = append(args, "-target-secret-key", s.path("old/etc/psa/private/secret_key"))
		r = s.report(0, "accounts", append(args, "-run", "-after-copy")...)
		if later := strings.TrimPrefix(calls(), first); strings.Count(later, "\n") != 1 || !strings.Contains(later, c.later) || r.Totals.AccountsThere != int64(len(sampleAccounts)) {
			t.Errorf("%q, later:\n%s%+v", c.flags, later, r.Totals)
		}
		again := calls()
		s.move(0, "accounts", append(args, "-run", "-after-copy")...)
		s.diff(again, calls())
		// As a script.
		s.check(os.Remove(log))
		s.move(0, "accounts", append(args, "-script", s.path("late.sh"), "-after-copy")...)
		if out, err := exec.Command("sh", s.path("late.sh"), s.path("late.sh.secrets")).CombinedOutput(); err != nil || !strings.Contains(calls(), c.later) || strings.Count(calls(), "\n") != 1 {
			t.Errorf("%v: %s%s", err, out, calls())
		}
		// Changed there meanwhile: what differs stays, and is told.
		s.write("new/psa.sql", strings.ReplaceAll(s.text("new/psa.sql"), "104853504", "5000"), 0o600)
		r = s.report(0, "accounts", append(args, "-script", s.path("late.sh"), "-after-copy")...)
		if !slices.ContainsFunc(r.Oddities, func(it report.Item) bool {
			return it.Code == "accounts.after-copy" && strings.Contains(it.Fix, " -attach ")
		}) {
			t.Errorf("%+v", r.Oddities)
		}
	}
}

// Killed right after a tool has made a name, and run again, each is made once.
func TestAccountsRunKilled(t *testing.T) {
	s := newSite(t)
	bin, log := s.tools()
	s.write("dies", "", 0o600)
	args := []string{"-target-dump", s.path("new/psa.sql"), "-plesk-bin", bin, "-run"}
	for range sampleAccounts {
		cmd := s.program("accounts", args...)
		if err := cmd.Run(); err == nil {
			t.Fatal("it was not killed")
		}
	}
	s.check(os.Remove(s.path("dies")))
	s.finish(0, "accounts", args...)
	b, err := os.ReadFile(log)
	s.check(err)
	for _, a := range sampleAccounts {
		if n := strings.Count(string(b), "|--create|"+a.name+"@example.com|"); n != 1 {
			t.Errorf("%s is made %d times:\n%s", a.name, n, b)
		}
	}
	// The target's psa has the name by now, and the call for its autoresponder
	// was not made yet.
	s = newSite(t)
	s.withResponder()
	bin, _ = s.tools()
	s.write("dies", "", 0o600)
	args = []string{"-target-dump", s.path("new/psa.sql"), "-plesk-bin", bin, "-run"}
	if err := s.program("accounts", args...).Run(); err == nil {
		t.Fatal("it was not killed")
	}
	s.check(os.Remove(s.path("dies")))
	text, err := os.ReadFile(s.path("new/psa.sql"))
	s.check(err)
	s.write("new/psa.sql", strings.Replace(string(text), "-- Dump completed", "INSERT INTO `accounts` VALUES (7,'plain','Löwe \"7\" & $x; ');\nINSERT INTO `mail` VALUES (9,'anna','true',7,'false','false',104853504,40);\n-- Dump completed", 1), 0o600)
	s.finish(0, "accounts", args...)
	if calls := s.text("calls"); strings.Count(calls, "|--create|anna@") != 1 || strings.Count(calls, "|--update|-mail|anna@example.com|-status|true|") != 1 {
		t.Errorf("%s", calls)
	}
}

// text is a file of the site.
func (s *site) text(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.path(name))
	s.check(err)
	return string(b)
}

func TestAccountsScript(t *testing.T) {
	s := newSite(t)
	bin, log := s.tools()
	s.move(0, "accounts", "-target-dump", s.path("new/psa.sql"), "-plesk-bin", bin, "-script", s.path("make.sh"))
	text, err := os.ReadFile(s.path("make.sh"))
	s.check(err)
	if bytes.Contains(text, []byte("Löwe")) || bytes.Contains(text, []byte("saltsalt")) {
		t.Errorf("a password stands in the script:\n%s", text)
	}
	if fi, err := os.Stat(s.path("make.sh.secrets")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", fi, err)
	}
	if out, err := exec.Command("sh", s.path("make.sh"), s.path("make.sh.secrets")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(log)
	s.check(err)
	if !strings.Contains(string(b), `PASSWORD=`+sampleAccounts[0].password+`|`) {
		t.Errorf("%s", b)
	}
}

func TestAccountsDirect(t *testing.T) {
	s := newSite(t)
	there := []string{"-target-dump", s.path("new/psa.sql"), "-direct"}
	s.move(0, "accounts", there...)
	cdb, err := os.ReadFile(s.path("new/var/qmail/users/cdb"))
	s.check(err)
	db, err := users.OpenDB(bytes.NewReader(cdb), int64(len(cdb)))
	s.check(err)
	for local, home := range map[string]string{"40-anna": "anna", "40-a.miller": "anna", "40-team": "team", "40-nobody": ""} {
		u, found, err := db.Lookup(local)
		s.check(err)
		if want := strings.TrimSuffix("/var/qmail/mailnames/example.com/"+home, "/"); !found || u.Home != want || u.UID != fmt.Sprint(sampleUID) {
			t.Errorf("%s: %+v", local, u)
		}
	}
	pop, err := os.ReadFile(s.path("new/var/qmail/users/poppasswd"))
	s.check(err)
	if !strings.Contains(string(pop), "anna@example.com:"+sampleAccounts[0].password+"\n") || strings.Contains(string(pop), "team@") {
		t.Errorf("%s", pop)
	}
	for name, want := range map[string]string{"virtualdomains": "example.com:40\n", "rcpthosts": "localhost\nexample.com\n"} {
		if got, err := os.ReadFile(s.path("new/var/qmail/control", name)); err != nil || string(got) != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	// A password that was changed there since stays, and nothing else changes.
	changed := strings.Replace(string(pop), sampleAccounts[0].password, "another", 1)
	s.check(os.WriteFile(s.path("new/var/qmail/users/poppasswd"), []byte(changed), 0o600))
	before := s.listing("new")
	if r := s.report(0, "accounts", there...); r.Totals.AccountsMade != 0 || r.Totals.AccountsThere != int64(len(sampleAccounts)) {
		t.Errorf("again: %+v", r.Totals)
	}
	s.diff(before, s.listing("new"))
}

// Without the number of the domain there, or with a key that does not fit,
// nothing is written.
func TestAccountsRefused(t *testing.T) {
	s := newSite(t)
	s.write("new/none.sql", "-- MySQL dump 10.13\n"+sampleSchema+"INSERT INTO `domains` VALUES (41,'example.org','example.org',0);\n-- Dump completed\n", 0o600)
	s.write("wrong.key", "0000000000000000", 0o600)
	before := s.listing("new")
	for name, c := range map[string]struct {
		args []string
		want error
	}{
		"domain not at the target": {[]string{"-target-dump", s.path("new/none.sql"), "-direct"}, plesk.ErrNoDomainID},
		"no psa and no number":     {[]string{"-direct"}, plesk.ErrNoDomainID},
		"wrong key":                {[]string{"-target-dump", s.path("new/psa.sql"), "-direct", "-secret-key", s.path("wrong.key")}, plesk.ErrKey},
	} {
		if _, words := s.move(1, "accounts", c.args...); !strings.Contains(words, c.want.Error()) {
			t.Errorf("%s: %s", name, words)
		}
	}
	s.move(2, "accounts", "-write-psa")
	s.move(2, "accounts", "-run", "-direct")
	s.move(2, "accounts", "-source-dump", "")
	s.diff(before, s.listing("new"))
	s.move(0, "accounts", "-direct", "-target-id", "77")
	if b, err := os.ReadFile(s.path("new/var/qmail/control/virtualdomains")); err != nil || string(b) != "example.com:77\n" {
		t.Errorf("%q %v", b, err)
	}
}

// Both psa in a MariaDB: read from the one, written to the other.
func TestAccountsDatabase(t *testing.T) {
	server := mariadbtest.Start(t)
	s := newSite(t)
	dsn := map[string]string{}
	for _, host := range []string{"old", "new"} {
		name := server.NewDatabase(t)
		db := server.Open(t, name, "multiStatements=true")
		text, err := os.ReadFile(s.path(host, "psa.sql"))
		s.check(err)
		_, err = db.ExecContext(t.Context(), string(text))
		s.check(err)
		dsn[host] = "root@unix(" + server.Socket() + ")/" + name
		if host == "new" {
			t.Cleanup(func() { db.Close() })
		}
	}
	args := []string{"-source-dump", "", "-source-db", dsn["old"], "-target-db", dsn["new"], "-target-secret-key", s.path("new/etc/psa/private/secret_key")}
	s.move(0, "plan", args...)
	s.move(0, "copy", args...)
	s.diff(s.mailFiles("old"), s.mailFiles("new"))
	r := s.report(0, "accounts", append(args, "-direct", "-write-psa")...)
	if r.Totals.AccountsMade != int64(len(sampleAccounts)) {
		t.Errorf("%+v", r.Totals)
	}
	r = s.report(0, "accounts", append(args, "-direct", "-write-psa")...)
	if r.Totals.AccountsMade != 0 || r.Totals.AccountsThere != int64(len(sampleAccounts)) {
		t.Errorf("again: %+v %+v", r.Totals, r.Accounts)
	}
	// The password can be opened with the new host's key.
	c := newConfig()
	c.target.db, c.target.keyFile = dsn["new"], s.path("new/etc/psa/private/secret_key")
	psa, err := c.target.read(t.Context())
	s.check(err)
	key, err := c.target.key()
	s.check(err)
	n := psa.Domain(sampleDomain).Mailname("anna")
	if clear, err := key.Open(n.Password.Stored); err != nil || string(clear) != sampleAccounts[0].password || !slices.Equal(n.Aliases, []string{"a.miller"}) {
		t.Errorf("%v, %+v", err, n)
	}
	s.move(1, "copy", "-source-dump", "", "-source-db", "root@unix("+filepath.Join(s.dir, "none")+")/psa")
}

func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	var out, words bytes.Buffer
	if code := run(t.Context(), []string{"-dir", dir}, nil, &out, &words); code != 0 {
		t.Fatalf("exit code %d: %s", code, &words)
	}
	for _, want := range []string{"All equal: 68 of 68", "5 taken, 0 refused", "switched over", "Done: 2 passes", "nothing else was touched"} {
		if !strings.Contains(words.String(), want) {
			t.Errorf("no %q in %s", want, &words)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "verify.json")); err != nil || !bytes.Contains(b, []byte(`"outcome": "`+string(report.Done)+`"`)) {
		t.Errorf("%v: %s", err, b)
	}
}
