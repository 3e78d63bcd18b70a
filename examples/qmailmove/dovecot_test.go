//go:build unix

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/examples/internal/hosttest"
)

// startDovecot serves the new host's mailboxes, with the base of the file name
// as UIDL, which is what qmail-pop3d and Courier without a list do.
func startDovecot(s *site) *hosttest.Dovecot {
	s.t.Helper()
	var users []hosttest.DovecotUser
	for _, b := range s.boxes {
		users = append(users, hosttest.DovecotUser{Name: b + "@example.com", Password: "{PLAIN}pass", UID: sampleUID, GID: sampleGID, Home: s.new(b)})
	}
	return hosttest.StartDovecot(s.t, s.dir, users, "pop3_uidl_format = %f")
}

// served gives the messages of a mailbox by UIDL, with line ends of files.
func served(d *hosttest.Dovecot, t *testing.T, box string) map[string]string {
	t.Helper()
	list, ok := d.POP(box+"@example.com", "pass")
	if !ok {
		t.Fatalf("%s does not get in", box)
	}
	byUIDL := map[string]string{}
	for _, m := range list {
		byUIDL[m.UIDL] = strings.ReplaceAll(m.Text, "\r\n", "\n")
	}
	return byUIDL
}

// Dovecot serves what was moved under the UIDLs that the source had, so that no
// POP3 program fetches it again; after a second pass too.
func TestDovecotUIDLs(t *testing.T) {
	s := newSite(t)
	s.move(0, "copy")
	d := startDovecot(s)
	compare := func() {
		t.Helper()
		for _, box := range s.boxes {
			want := map[string]string{}
			for _, sub := range []string{"new", "cur"} {
				entries, err := os.ReadDir(s.old(box, "Maildir", sub))
				s.check(err)
				for _, e := range entries {
					text, err := os.ReadFile(s.old(box, "Maildir", sub, e.Name()))
					s.check(err)
					base, _, _ := strings.Cut(e.Name(), ":")
					want[base] = string(text)
				}
			}
			if len(want) == 0 {
				t.Errorf("%s has no messages", box)
			}
			s.diff(want, served(d, t, box))
		}
	}
	compare()
	// Dovecot has moved new mail to cur/ and has its own lists now.
	s.write("old/var/qmail/mailnames/example.com/anna/Maildir/new/1200000000.M1P1.old", "Subject: new\n\nlate\n", 0o600)
	if r := s.report(0, "copy"); r.Totals.Delivered != 1 {
		t.Errorf("%+v", r.Totals)
	}
	compare()
	s.move(0, "verify")
}

// What Courier has noted is read in each of its forms.
func TestCourierUIDLs(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"/3 9 1100000000\na.M1.host,S=5 5 3:1100000000:0\nb 7 4:0:1\nc 8 0:0:0\n": {"a.M1.host,S=5": "UID3-1100000000", "b": "UID4", "c": "c"},
		"/2 9 1100000000\na 5 3:1100000000\n":                                     {"a": "UID3-1100000000"},
		"/1 9\na 5 3\nwith blank 5 4\n":                                           {"a": "UID3", "with blank": "UID4"},
		"a 5\nb:2,S 6\nnonsense\n":                                                {"a": "a", "b": "b"},
		"":                                                                        {},
	} {
		got := courierUIDLs([]byte(text))
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
