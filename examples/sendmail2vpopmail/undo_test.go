package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// remains are the files of the new host that no undo takes away: locks, and
// the files of qmail and vpopmail that may be empty now.
func (s *site) remains() []string {
	var list []string
	for name := range s.list("new") {
		if !strings.HasSuffix(name, ".lock") && name != "." {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

var emptyHost = []string{
	"qmail", "qmail/control", "qmail/control/locals", "qmail/control/me", "qmail/control/rcpthosts", "qmail/control/virtualdomains",
	"qmail/users", "qmail/users/assign", "qmail/users/cdb",
	"vpopmail", "vpopmail/domains", "vpopmail/domains/.dir-control",
}

// clean checks that nothing of a run is left.
func (s *site) clean() {
	s.t.Helper()
	diff(s.t, emptyHost, s.remains())
	diff(s.t, ".\n", s.read("new/qmail/users/assign"))
	diff(s.t, "", s.read("new/qmail/control/virtualdomains"))
	diff(s.t, "localhost\nmail.example.com\n", s.read("new/qmail/control/locals"))
	hosts := strings.Fields(s.read("new/qmail/control/rcpthosts"))
	slices.Sort(hosts)
	diff(s.t, []string{"localhost", "mail.example.com"}, hosts)
	diff(s.t, "0\n", strings.Join(strings.SplitAfter(s.read("new/vpopmail/domains/.dir-control"), "\n")[:1], ""))
}

// entries are the messages of a Maildir and its folders, as FOLDER/SUB/NAME.
func entries(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if sub := filepath.Base(filepath.Dir(p)); err == nil && !d.IsDir() && (sub == "new" || sub == "cur") {
			p, err = filepath.Rel(dir, p)
			list = append(list, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// seen moves a message to cur, as a reader does; it returns the new name.
func seen(t *testing.T, dir, name string) string {
	t.Helper()
	base, _, _ := strings.Cut(filepath.Base(name), ":")
	to := filepath.Join(filepath.Dir(filepath.Dir(name)), "cur", base+":2,S")
	if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, to)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestUndo(t *testing.T) {
	s := newSite(t)
	s.move(0, "undo") // nothing yet
	s.move(3, "run", "-uidl", "uw", "-quota", "100M")
	before := s.list("new")

	out, words := s.move(0, "undo", "-n")
	if out != "" || !strings.Contains(words, "Would be taken back: 92 messages, 17 accounts.") {
		t.Errorf("%q %q", out, words)
	}
	diff(t, before, s.list("new"))

	if _, words := s.move(0, "undo"); !strings.Contains(words, "Taken back: 92 messages, 17 accounts.") {
		t.Errorf("%q", words)
	}
	s.clean()
	if _, words := s.move(0, "undo"); !strings.Contains(words, "Nothing to take back") {
		t.Errorf("%q", words)
	}
	// And all of it can come again.
	r := s.report(3, "run")
	if r.Totals.Delivered != 92 || r.Totals.AccountsMade != 16 {
		t.Errorf("%+v", r.Totals)
	}
	s.move(3, "verify")
	s.move(0, "undo")
	s.clean()
}

// What somebody has used or changed since stays, and undo says so.
func TestUndoLeavesWhatIsUsed(t *testing.T) {
	s := newSite(t)
	s.move(3, "run")
	dir := func(user string) string { return s.maildir("wonderland.example", user) }

	var unread string
	for _, name := range entries(t, dir("heidi")) {
		if strings.HasPrefix(name, "new/") {
			unread = name
		}
	}
	read := seen(t, dir("heidi"), unread)
	s.setHash("carol", "$1$Changed0$abcdefghijklmnopqrstu.")
	foreign := filepath.Join(dir("ivan"), "new/1.2.example")
	s.check(os.WriteFile(foreign, []byte("Subject: from elsewhere\n\n"), 0o600))
	index := filepath.Join(dir("judy"), "dovecot.index.log")
	s.check(os.WriteFile(index, nil, 0o600))

	out, words := s.move(3, "undo", "-json")
	for user, why := range map[string]string{
		"heidi": "holds mail that did not come by run, or that its reader has touched",
		"carol": "its password, name, quota or flags were changed",
		"ivan":  "holds mail that did not come by run",
		"judy":  "dovecot.index.log did not come by run",
	} {
		if !strings.Contains(words, "account "+user+" stays: ") || !strings.Contains(words, why) {
			t.Errorf("no word of %s: %s", user, words)
		}
		if _, err := os.Stat(dir(user)); err != nil {
			t.Error(err)
		}
	}
	if n := strings.Count(out, "\n"); n != strings.Count(out, `{"problem":"undo.`) || n < 5 {
		t.Errorf("JSON: %s", out)
	}
	if !strings.Contains(words, "12 accounts. Left, because they were used or changed since: 5 accounts.") {
		t.Errorf("%s", words)
	}
	diff(t, []string{read}, entries(t, dir("heidi")))
	diff(t, []string{"new/1.2.example"}, entries(t, dir("ivan")))
	for _, user := range []string{"alice", "bob", "sybil"} {
		if _, err := os.Stat(filepath.Dir(dir(user))); !os.IsNotExist(err) {
			t.Errorf("%s: %v", user, err)
		}
	}
	if !strings.Contains(s.read("new/qmail/users/assign"), "+wonderland.example-:") || !strings.Contains(s.read("new/qmail/control/rcpthosts"), "croquet.example") {
		t.Error("the domain went, and has accounts")
	}
	before := s.list("new/vpopmail/domains/wonderland.example")
	s.move(3, "undo")
	diff(t, before, s.list("new/vpopmail/domains/wonderland.example"))

	// The accounts that went come again, those that stayed get their messages
	// back, and what their owners did stays.
	r := s.report(3, "run")
	if r.Totals.AccountsMade != 12 || r.Totals.Delivered+r.Totals.AlreadyThere != 92 || r.Totals.AlreadyThere != 1 {
		t.Errorf("%+v", r.Totals)
	}
	if !slices.Contains(entries(t, dir("heidi")), read) {
		t.Error("a message that was read came again")
	}
	if u := s.user("carol@wonderland.example"); u.Hash != "$1$Changed0$abcdefghijklmnopqrstu." {
		t.Errorf("carol's new password: %q", string(u.Hash))
	}
	s.move(3, "verify")
}

// setHash changes a password on the new host, as vmoduser -e does.
func (s *site) setHash(user, hash string) {
	s.t.Helper()
	u := s.user(user + "@wonderland.example")
	res, err := s.store().PutUsers(s.t.Context(), "wonderland.example", []vpopmail.Put{{Base: &u, NewUser: vpopmail.NewUser{
		Name: user, Hash: qmailkit.Secret(hash), Gecos: u.Gecos, Quota: u.Quota, Flags: u.Flags,
	}}})
	s.check(err)
	if res.Users[0].Outcome != vpopmail.Updated {
		s.t.Fatalf("%+v", res.Users[0])
	}
}

// Only some accounts: the domain, and its postmaster, stay without a word.
func TestUndoSome(t *testing.T) {
	s := newSite(t)
	s.move(3, "run")
	_, words := s.move(0, "undo", "-user", "[g]race", "-user", "BOB", "-user", "ivan", "-exclude", "ivan")
	if !strings.Contains(words, "Taken back: 20 messages, 2 accounts.") {
		t.Errorf("%s", words)
	}
	for user, there := range map[string]bool{"grace": false, "bob": false, "ivan": true, "alice": true, "postmaster": true} {
		if _, err := os.Stat(s.maildir("wonderland.example", user)); (err == nil) != there {
			t.Errorf("%s: %v", user, err)
		}
	}
	if r := s.report(3, "run"); r.Totals.Delivered != 20 || r.Totals.AccountsMade != 2 {
		t.Errorf("%+v", r.Totals)
	}
	s.move(0, "undo")
	s.clean()
}

// A domain that was there before stays, with its accounts; what run added goes.
func TestUndoInForeignDomain(t *testing.T) {
	s := newSite(t)
	st := s.store()
	_, err := st.AddDomain(t.Context(), vpopmail.DomainSpec{Name: "wonderland.example"}, nil)
	s.check(err)
	_, err = st.PutUsers(t.Context(), "wonderland.example", []vpopmail.Put{{NewUser: vpopmail.NewUser{Name: "bob", Hash: "$1$Other000$abcdefghijklmnopqrstu.", Gecos: "Another Bob"}}})
	s.check(err)
	// vpopmail's files, without times, and without the counters, which go up and down.
	files := func() map[string]string {
		list := map[string]string{}
		for name, what := range s.list("new") {
			if f := strings.Fields(what); len(f) > 2 && !strings.HasSuffix(name, ".lock") && !strings.HasSuffix(name, ".dir-control") {
				list[name] = strings.Join(slices.Delete(f, 2, 3), " ")
			}
		}
		return list
	}
	before := files()
	r := s.report(3, "run")
	if !slices.Contains(itemPlaces(r.NotCarried), "account.refused etc/passwd:6") {
		t.Errorf("%q", itemPlaces(r.NotCarried))
	}
	if u := s.user("bob@wonderland.example"); u.Gecos != "Another Bob" {
		t.Errorf("%+v", u)
	}
	s.move(0, "undo")
	diff(t, before, files())
}

// Accounts in hash directories go with their domain, too.
func TestUndoBigDir(t *testing.T) {
	var users []string
	for i := range 120 {
		users = append(users, fmt.Sprintf("user%03d", i))
	}
	s := ownSite(t, users...)
	s.write("old/var/mail/user110", letters("user110", 2))
	s.move(0, "run")
	if _, err := os.Stat(s.path("new/vpopmail/domains/example.org/0")); err != nil {
		t.Fatal(err)
	}
	if _, words := s.move(0, "undo"); !strings.Contains(words, "2 messages, 121 accounts") {
		t.Errorf("%s", words)
	}
	s.clean()
}

// With two domains it must be told which.
func TestUndoTwoDomains(t *testing.T) {
	s := newSite(t)
	s.move(3, "run", "-no-alias-domains", "-user", "bob")
	s.move(3, "run", "-no-alias-domains", "-user", "ivan", "-domain", "croquet.example")
	if _, words := s.move(2, "undo"); !strings.Contains(words, "croquet.example and wonderland.example") {
		t.Errorf("%s", words)
	}
	s.move(0, "undo", "-domain", "croquet.example")
	s.move(0, "undo")
	s.clean()
}
