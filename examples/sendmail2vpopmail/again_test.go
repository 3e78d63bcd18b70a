package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// spoolOf is an mbox of messages with these subjects and header lines more.
func spoolOf(list ...[2]string) string {
	var b strings.Builder
	for i, m := range list {
		fmt.Fprintf(&b, "From ann@example.org Mon Jan  5 07:00:%02d 2004\nSubject: %s\n%s\nbody of %[2]s\n\n", i, m[0], m[1])
	}
	return b.String()
}

// flags are those of each message of a Maildir, by subject.
func flags(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range entries(t, dir) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		subject, _, _ := strings.Cut(strings.TrimPrefix(string(text), "Subject: "), "\n")
		if _, twice := out[subject]; twice {
			t.Errorf("%s came twice", subject)
		}
		_, info, _ := strings.Cut(name, ":")
		out[subject] = filepath.Dir(name) + info
	}
	return out
}

// A second pass over a spool that lives on: what is new is added, and flags
// that changed at the source only follow.
func TestLiveSpool(t *testing.T) {
	s := ownSite(t, "ann")
	const spool = "old/var/mail/ann"
	s.write(spool, spoolOf([2]string{"one", ""}, [2]string{"two", ""}, [2]string{"three", "Status: O\n"}, [2]string{"four", "Status: RO\n"}, [2]string{"five", ""}))
	s.chown(spool, 1000)
	s.move(0, "run")
	dir := s.maildir("example.org", "ann")
	diff(t, map[string]string{"one": "new", "two": "new", "three": "cur2,", "four": "cur2,S", "five": "new"}, flags(t, dir))
	s.move(0, "verify")

	// On the new host: five is read, three answered.
	for _, name := range entries(t, dir) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		s.check(err)
		switch {
		case strings.HasPrefix(string(text), "Subject: five"):
			seen(t, dir, name)
		case strings.HasPrefix(string(text), "Subject: three"):
			s.check(os.Rename(filepath.Join(dir, name), filepath.Join(dir, name+"RS")))
		}
	}
	// On the old one: one is deleted, two read, three flagged, four unread
	// again, and two messages came, one of them equal to one that is there.
	s.write(spool, spoolOf([2]string{"two", "Status: RO\n"}, [2]string{"three", "Status: RO\nX-Status: F\n"}, [2]string{"four", "Status: O\n"},
		[2]string{"five", ""}, [2]string{"six", "Status: R\n"}, [2]string{"seven", ""}))
	r := s.report(0, "run")
	m := r.Mailboxes[0]
	if m.Delivered != 2 || m.AlreadyThere != 4 || m.Messages != 6 {
		t.Errorf("%+v", m)
	}
	diff(t, map[string]string{"one": "new", "two": "cur2,S", "three": "cur2,RS", "four": "cur2,", "five": "cur2,S", "six": "cur2,S", "seven": "new"}, flags(t, dir))
	v := s.report(0, "verify").Verification
	if v.Missing != 0 || v.Equal+v.EqualIdentity != 6 || v.EqualIdentity != 3 || v.Extra != 1 {
		t.Errorf("%+v", v)
	}
	before := s.list("new")
	s.move(0, "run")
	diff(t, before, s.list("new"))
}

// setShadow changes a user's hash on the old host.
func (s *site) setShadow(user, hash string) {
	s.t.Helper()
	var lines []string
	for line := range strings.Lines(s.read("old/etc/shadow")) {
		if f := strings.Split(line, ":"); f[0] == user {
			f[1] = hash
			line = strings.Join(f, ":")
		}
		lines = append(lines, line)
	}
	s.write("old/etc/shadow", strings.Join(lines, ""))
}

// Passwords that change on one side or both.
func TestChangedPasswords(t *testing.T) {
	const first, second, third = "$1$PeggySue$PSB4QyuZ6Wl/sNnW.D5NY.", "$1$Changed0$abcdefghijklmnopqrstu.", "$1$Changed1$abcdefghijklmnopqrstu."
	s := newSite(t)
	s.move(3, "run")
	state := func(r *report.Report, user string) string {
		i := slices.IndexFunc(r.Accounts, func(a report.Account) bool { return string(a.Name) == user })
		return string(r.Accounts[i].State) + " " + string(r.Accounts[i].HashUnchanged)
	}
	hash := func(user string) string { return string(s.user(user + "@wonderland.example").Hash) }

	s.setShadow("alice", first)    // at the source
	s.setHash("bob", second)       // at the target
	s.setHash("carol", second)     // at both
	s.setShadow("carol", first)    //
	s.setHash("dave", second)      // at both, to the same
	s.setShadow("dave", second)    //
	s.setShadow("erin", "!"+first) // locked since
	r := s.report(3, "run")
	diff(t, []string{first, second, second, second, "!" + first}, []string{hash("alice"), hash("bob"), hash("carol"), hash("dave"), hash("erin")})
	diff(t, []string{"updated yes", "kept as it is here no", "kept as it is here no", "already there yes", "updated yes", "already there yes"},
		[]string{state(r, "alice"), state(r, "bob"), state(r, "carol"), state(r, "dave"), state(r, "erin"), state(r, "heidi")})
	kept := itemPlaces(r.Oddities)
	for _, line := range []string{"etc/passwd:6", "etc/passwd:7"} {
		if !slices.Contains(kept, "account.kept "+line) {
			t.Errorf("no word of %s: %q", line, kept)
		}
	}
	// It stays so, and a later change at the source follows where the target
	// was left alone.
	before := s.list("new")
	s.move(3, "run")
	diff(t, before, s.list("new"))
	s.setShadow("alice", third)
	s.setShadow("bob", third)
	s.move(3, "run")
	diff(t, []string{third, second}, []string{hash("alice"), hash("bob")})
	v := s.report(3, "verify").Verification
	if len(v.Failures) > 0 || !v.Proven() {
		t.Errorf("%+v", v)
	}
}

// An account that was removed on the new host stays away, with its mail.
func TestRemovedAccount(t *testing.T) {
	s := newSite(t)
	s.move(3, "run")
	_, err := s.store().RemoveUsers(t.Context(), "wonderland.example", []vpopmail.User{s.user("heidi@wonderland.example")})
	s.check(err)
	s.check(os.RemoveAll(filepath.Dir(s.maildir("wonderland.example", "heidi"))))
	r := s.report(3, "run")
	if !slices.Contains(itemPlaces(r.Oddities), "account.gone etc/passwd:12") {
		t.Errorf("%q", itemPlaces(r.Oddities))
	}
	if _, err := os.Stat(s.maildir("wonderland.example", "heidi")); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
}

// What its owner has unsubscribed, and the mail of a folder that was removed,
// does not come back.
func TestUnsubscribed(t *testing.T) {
	s := newSite(t)
	s.move(3, "run")
	dir := s.maildir("wonderland.example", "alice")
	s.check(os.RemoveAll(filepath.Join(dir, ".Work.2005")))
	for _, sub := range []string{"new", "cur", "tmp"} {
		s.mkdir("new/vpopmail/domains/wonderland.example/alice/Maildir/.Work.2005/" + sub)
	}
	var left []string
	for line := range strings.Lines(s.read("new/vpopmail/domains/wonderland.example/alice/Maildir/subscriptions")) {
		if !strings.HasPrefix(line, "Work") {
			left = append(left, line)
		}
	}
	s.write("new/vpopmail/domains/wonderland.example/alice/Maildir/subscriptions", strings.Join(left, ""))
	before := s.mail("wonderland.example")
	s.move(3, "run")
	diff(t, before, s.mail("wonderland.example"))
	diff(t, strings.Join(left, ""), s.read("new/vpopmail/domains/wonderland.example/alice/Maildir/subscriptions"))
	// What is subscribed at the source later is added.
	s.write("old/home/alice/.mailboxlist", s.read("old/home/alice/.mailboxlist")+"mail/sent-mail\n")
	s.move(3, "run")
	diff(t, strings.Join(left, "")+"sent-mail\n", s.read("new/vpopmail/domains/wonderland.example/alice/Maildir/subscriptions"))
}
