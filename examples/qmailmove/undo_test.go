//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/hosttest"
	"github.com/qmailkit/qmailkit/internal/mariadbtest"
)

// there are the flags of accounts and undo in these tests.
func (s *site) there() []string { return []string{"-target-dump", s.path("new/psa.sql")} }

// moved makes accounts and copies.
func (s *site) moved() {
	s.t.Helper()
	s.move(0, "accounts", append(s.there(), "-direct")...)
	s.move(0, "copy")
}

// newHost is all of the new host but times, without the files that qmail has
// anyway and that may be empty now.
func (s *site) newHost() map[string]string {
	s.t.Helper()
	list := s.listing("new")
	for name := range list {
		if name == "var/qmail/users/cdb" || name == "var/qmail/users/poppasswd" {
			delete(list, name)
		}
		if f := strings.Fields(list[name]); len(f) > 3 && strings.HasPrefix(name, "var/qmail/control/") {
			list[name] = strings.Join(f[:3], " ")
		}
	}
	return list
}

// Everything is taken back, in the way it was; a second time there is nothing;
// and all can be moved again.
func TestUndo(t *testing.T) {
	s := newSite(t)
	s.move(0, "undo")
	before, source := s.newHost(), s.listing("old")
	s.moved()
	first := s.newHost()
	_, words := s.move(0, "undo", "-n")
	s.diff(first, s.newHost())
	if !strings.Contains(words, "Would be taken back: 67 messages, 4 mail names.") {
		t.Errorf("%s", words)
	}
	_, words = s.move(0, "undo")
	if !strings.Contains(words, "Taken back: 67 messages, 4 mail names.") || !strings.Contains(words, "HUP") {
		t.Errorf("%s", words)
	}
	s.diff(before, s.newHost())
	s.diff("", s.text("new/var/qmail/users/poppasswd"))
	if _, words = s.move(0, "undo"); !strings.Contains(words, "Taken back: 0 messages, 0 mail names.") {
		t.Errorf("%s", words)
	}
	s.moved()
	s.diff(first, s.newHost())
	s.diff(source, s.listing("old"))
	s.move(0, "verify")
}

// A mail name with capitals has its directory in small letters at the target.
func TestUndoCapitals(t *testing.T) {
	s := newSite(t)
	s.check(os.Rename(s.old("info"), s.old("Info")))
	s.write("old/psa.sql", strings.ReplaceAll(s.text("old/psa.sql"), "'info'", "'Info'"), 0o600)
	s.check(s.err)
	before := s.newHost()
	s.moved()
	if _, words := s.move(0, "undo"); !strings.Contains(words, "Taken back: 67 messages, 4 mail names.") {
		t.Errorf("%s", words)
	}
	s.diff(before, s.newHost())
}

// use is how somebody uses a mailbox at the new host, or at the old one.
type use struct {
	do   func(s *site, box string)
	left int // messages that only the new host has after undo
}

// uses are tried in mailboxes of the sample.
var uses = map[string]use{
	"message": {func(s *site, box string) {
		s.write("new/var/qmail/mailnames/example.com/"+box+"/Maildir/new/1300000000.M1P1.new", "Subject: new\n\n", 0o600)
	}, 1},
	"flag": {func(s *site, box string) {
		name := s.first(s.new(box, "Maildir/new/*"))
		s.check(os.Rename(name, s.new(box, "Maildir/cur", filepath.Base(name)+":2,F")))
	}, 1},
	"folder": {func(s *site, box string) {
		for _, sub := range []string{"new", "cur", "tmp"} {
			s.check(os.MkdirAll(s.new(box, "Maildir/.Mine", sub), 0o700))
		}
		s.write("new/var/qmail/mailnames/example.com/"+box+"/Maildir/.Mine/cur/1300000000.M1P1.new:2,S", "Subject: new\n\n", 0o600)
	}, 1},
	"password": {func(s *site, box string) {
		text := s.text("new/var/qmail/users/poppasswd")
		s.write("new/var/qmail/users/poppasswd", strings.Replace(text, box+"@example.com:", box+"@example.com:x", 1), 0o600)
	}, 0},
	".qmail": {func(s *site, box string) {
		s.write("new/var/qmail/mailnames/example.com/"+box+"/.qmail", "&elsewhere@example.org\n", 0o600)
	}, 0},
	"strange file": {func(s *site, box string) {
		s.write("new/var/qmail/mailnames/example.com/"+box+"/Maildir/dovecot.index", "x", 0o600)
	}, 0},
	"line": {func(s *site, box string) {
		text := s.text("new/var/qmail/users/assign")
		s.write("new/var/qmail/users/assign", strings.Replace(text, "mailnames/example.com/"+box+":::\n", "mailnames/example.com/"+box+"/::mine:\n", 1), 0o644)
	}, 0},
	"gone at the source": {func(s *site, box string) { s.check(os.Remove(s.first(s.old(box, "Maildir/cur/*")))) }, 1},
	"mailbox gone there": {func(s *site, box string) { s.check(os.RemoveAll(s.old(box))) }, 18}, // of info
}

// What is in use stays, whole, and is told; the rest goes.
func TestUndoInUse(t *testing.T) {
	for _, round := range []map[string]string{
		{"anna": "message"},
		{"anna": "flag", "bert": "folder", "info": "password"},
		{"anna": ".qmail", "bert": "strange file", "info": "gone at the source"},
		{"anna": "line", "info": "mailbox gone there"},
	} {
		s := newSite(t)
		s.moved()
		left := 0
		for box, what := range round {
			uses[what].do(s, box)
			left += uses[what].left
		}
		s.give("new/var/qmail/mailnames")
		before := s.newHost()
		want := fmt.Sprintf("%s. Left, because they are in use: %s.", cli.Plural(int64(4-len(round)), "mail name"), cli.Plural(int64(len(round)), "mail name"))
		if _, words := s.move(3, "undo", "-n"); !strings.Contains(words, want) {
			t.Errorf("%v: %s", round, words)
		}
		s.diff(before, s.newHost())
		if _, words := s.move(3, "undo"); !strings.Contains(words, want) || strings.Count(words, "undo.stays") != len(round) || !strings.Contains(words, "undo.domain-stays") {
			t.Errorf("%v: %s", round, words)
		}
		assign, pop := s.text("new/var/qmail/users/assign"), s.text("new/var/qmail/users/poppasswd")
		for _, a := range sampleAccounts {
			stays := round[a.name] != ""
			if a.mailbox && strings.Contains(pop, a.name+"@") != stays || strings.Contains(assign, "=40-"+a.name+":") != stays {
				t.Errorf("%v: %s%s", round, assign, pop)
			}
			if _, err := os.Lstat(s.new(a.name, ".qmail")); missing(err) == stays {
				t.Errorf("%s: %v", a.name, err)
			}
		}
		if _, err := os.Lstat(s.new(".qmail-default")); err != nil || !strings.Contains(assign, "+40:") || s.text("new/var/qmail/control/virtualdomains") != "example.com:40\n" {
			t.Errorf("%v: the domain: %s%v", round, assign, err)
		}
		// What the old host has no more may not be taken away.
		now := s.mailFiles("new")
		for name := range s.mailFiles("old") {
			delete(now, name)
		}
		if len(now) != left {
			t.Errorf("%v: %d messages of the new host alone, want %d: %q", round, len(now), left, slices.Sorted(maps.Keys(now)))
		}
		again := s.newHost()
		s.move(3, "undo")
		s.diff(again, s.newHost())
	}
}

// What stood at the new host before stays: Plesk's directories, and those of
// others.
func TestUndoFound(t *testing.T) {
	s := newSite(t)
	const mail = "new/var/qmail/mailnames/example.com/"
	for _, sub := range []string{"new", "cur", "tmp"} {
		s.check(os.MkdirAll(s.path(mail+"bert/Maildir", sub), 0o700))
		s.check(os.MkdirAll(s.path(mail+"info/Maildir", sub), 0o700))
	}
	same, err := os.ReadFile(s.old("bert/.qmail"))
	s.check(err)
	s.write(mail+"bert/.qmail", string(same), 0o600)
	s.write(mail+"info/Maildir/new/1300000000.M1P1.new", "Subject: mine\n\n", 0o600)
	s.give("new/var/qmail/mailnames")
	s.check(s.err)
	before := s.newHost()
	s.move(0, "copy")
	if _, words := s.move(3, "undo"); !strings.Contains(words, "Taken back: 67 messages, 3 mail names. Left, because they are in use: 1 mail name.") {
		t.Errorf("%s", words)
	}
	now := s.newHost()
	for name, line := range before {
		if strings.HasSuffix(name, "info/Maildir/new") || strings.HasPrefix(line, "d") {
			continue
		}
		if now[name] != line {
			t.Errorf("%s: %q, was %q", name, now[name], line)
		}
	}
	for name := range now {
		if strings.Contains(name, "/anna") {
			t.Errorf("%s stays", name)
		}
	}
	s.diff(map[string]string{"info/Maildir/new/1300000000.M1P1.new": now1(s)}, s.mailFiles("new"))
}

// now1 is the message of TestUndoFound as mailFiles has it.
func now1(s *site) string {
	list := s.mailFiles("new")
	return list["info/Maildir/new/1300000000.M1P1.new"]
}

// While the old host passes mail on nothing is taken back, and without the old
// host no message.
func TestUndoRefused(t *testing.T) {
	s := newSite(t)
	s.moved()
	s.move(0, "cutover", "-smtproute", "new.example.net", "-force", "-timeout", "1s")
	before := s.newHost()
	if _, words := s.move(1, "undo"); !strings.Contains(words, "first cutover -undo") {
		t.Errorf("%s", words)
	}
	s.diff(before, s.newHost())
	s.switchBack()
	if _, words := s.move(3, "undo", "-source-root", ""); !strings.Contains(words, "-source-root is missing") || !strings.Contains(words, "Taken back: 0 messages, 1 mail name.") {
		t.Errorf("%s", words)
	}
	s.diff(s.mailFiles("old"), s.mailFiles("new"))
	s.move(2, "undo", "-target-root", "")
	s.move(0, "undo")
}

// Stopped before any control file is changed, and killed at any moment, and run
// again, undo has done what one run does. A copy in between brings all again.
func TestUndoKilled(t *testing.T) {
	s := newSite(t)
	before := s.newHost()
	s.moved()
	c := s.config()
	for n := 1; ; n++ {
		stopAt(c, n)
		err := doUndo(t.Context(), c, &cli.Env{Stdout: io.Discard, Stderr: io.Discard})
		if err == nil {
			if n < 3 {
				t.Errorf("stopped %d times", n-1)
			}
			break
		}
		if !errors.Is(err, errStop) {
			t.Fatal(err)
		}
		if got := s.text("new/var/qmail/users/assign"); !strings.Contains(got, "=40-anna:") {
			t.Errorf("names are gone before the domain: %s", got)
		}
	}
	s.diff(before, s.newHost())
	s.moved()
	first := s.newHost()
	s.move(0, "undo")
	rng := hosttest.Seeded(t)
	took := map[string]time.Duration{"accounts": 200 * time.Millisecond, "undo": 300 * time.Millisecond}
	kill := func(command string, args ...string) {
		t.Helper()
		cmd := s.program(command, args...)
		s.check(cmd.Start())
		after := time.Duration(rng.Int64N(int64(took[command])))
		time.Sleep(after)
		s.check(cmd.Process.Kill())
		if cmd.Wait() == nil {
			took[command] = after + time.Millisecond // it was quicker: earlier the next time
		}
		t.Logf("%s killed after %v", command, after)
	}
	for i := range hosttest.Kills(t) {
		kill("accounts", append(s.there(), "-direct")...)
		s.moved()
		s.diff(first, s.newHost())
		kill("undo")
		if i%2 == 1 {
			s.moved()
			now := s.newHost()
			// A file that undo was writing is swept when undo is run again.
			maps.DeleteFunc(now, func(name, _ string) bool { return strings.HasPrefix(name, "var/qmail/control/.") })
			s.diff(first, now)
			s.move(0, "verify")
		}
		s.move(0, "undo")
		s.diff(before, s.newHost())
		if t.Failed() {
			return
		}
	}
}

// The rows of psa go too, unless somebody has changed them.
func TestUndoDatabase(t *testing.T) {
	server := mariadbtest.Start(t)
	s := newSite(t)
	s.withResponder()
	name := server.NewDatabase(t)
	db := server.Open(t, name, "multiStatements=true")
	_, err := db.ExecContext(t.Context(), s.text("new/psa.sql"))
	s.check(err)
	psa := []string{"-target-db", "root@unix(" + server.Socket() + ")/" + name, "-target-secret-key", s.path("new/etc/psa/private/secret_key")}
	count := func() (n int) {
		s.check(db.QueryRowContext(t.Context(), "SELECT (SELECT COUNT(*) FROM mail) * 100 + (SELECT COUNT(*) FROM accounts)").Scan(&n))
		return n
	}
	before := s.newHost()
	_, words := s.move(3, "accounts", append(psa, "-direct", "-write-psa")...) // there is no table for the autoresponder
	if !strings.Contains(words, "mchk") || !strings.Contains(words, "autoresponder --update -mail anna@example.com") || count() != 403 {
		t.Errorf("%d: %s", count(), words)
	}
	s.move(0, "copy", "-secret-key", "", "-source-dump", "")
	s.move(2, "undo")
	if _, words = s.move(0, "undo", append(psa, "-n")...); count() != 403 || !strings.Contains(words, "4 mail names. Left, because they are in use: 0") {
		t.Errorf("%d: %s", count(), words)
	}
	_, err = db.ExecContext(t.Context(), "UPDATE mail SET mbox_quota = 77 WHERE mail_name = 'bert'")
	s.check(err)
	if _, words = s.move(3, "undo", psa...); count() != 101 || !strings.Contains(words, "3 mail names. Left, because they are in use: 1") || !strings.Contains(words, "mail --remove bert@example.com") {
		t.Errorf("%d: %s", count(), words)
	}
	if pop := s.text("new/var/qmail/users/poppasswd"); !strings.HasPrefix(pop, "bert@") || strings.Count(pop, "\n") != 1 {
		t.Errorf("%s", pop)
	}
	// What was in the way is taken away by hand.
	_, err = db.ExecContext(t.Context(), "DELETE FROM mail; DELETE FROM accounts")
	s.check(err)
	s.move(0, "undo", psa...)
	s.diff(before, s.newHost())
}

// What Plesk's tools have made is theirs to take away: the calls are told.
func TestUndoTools(t *testing.T) {
	s := newSite(t)
	bin, _ := s.tools()
	s.move(0, "accounts", append(s.there(), "-plesk-bin", bin, "-run")...)
	s.move(0, "copy")
	_, words := s.move(3, "undo")
	for _, a := range sampleAccounts {
		if !strings.Contains(words, bin+"/mail --remove "+a.name+"@example.com") {
			t.Errorf("%s: %s", a.name, words)
		}
	}
	if !strings.Contains(words, "Taken back: 67 messages, 0 mail names.") || len(s.mailFiles("new")) > 0 {
		t.Errorf("%s", words)
	}
	// Their directories and .qmail files are Plesk's by now.
	if _, err := os.Lstat(s.new("anna/.qmail")); err != nil {
		t.Error(err)
	}
}
