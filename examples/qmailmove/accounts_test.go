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

// tools puts a program in the place of Plesk's, which notes how it is called.
func (s *site) tools() (bin, log string) {
	s.t.Helper()
	bin, log = s.path("bin"), s.path("calls")
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" != --info ] || exit 1\nif [ -e %s/broken ]; then echo 'no licence' >&2; exit 1; fi\n{ printf '%%s|' \"$0\" \"$@\"; echo \"PASSWORD=$PSA_PASSWORD|CRYPTED=$PSA_CRYPTED_PASSWORD\"; } >>%s\n", s.dir, log)
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
	// What has succeeded is not called again.
	s.move(0, "accounts", append(there, "-run")...)
	if again, err := os.ReadFile(log); err != nil || string(again) != calls {
		t.Errorf("%s", again)
	}
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
	s.move(0, "accounts", there...)
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
