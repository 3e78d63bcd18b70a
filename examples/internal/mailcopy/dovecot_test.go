package mailcopy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/hosttest"
	"github.com/qmailkit/qmailkit/maildir"
)

// pseudo is the message that UW-IMAP puts first.
const pseudo = "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1000000000 0000000020\nStatus: RO\n\nThis text is part of the internal format of your mail folder.\n"

// Dovecot serves the mbox itself, and the Maildir that was made of it: clients
// see the same UIDVALIDITY and the same UIDs, also where the numbers in the mbox
// are odd.
func TestDovecotServesBoth(t *testing.T) {
	boxes := [][]string{
		{uwMessage("a", 3, base), uwMessage("b", 5, ""), uwMessage("c", 20, "")},
		{pseudo, uwMessage("a", 3, ""), uwMessage("b", 5, ""), "Subject: c\n\nnew\n"},
		{uwMessage("a", 9, base), uwMessage("b", 3, ""), uwMessage("c", 15, "")},
		{uwMessage("a", 3, base), uwMessage("b", 3, ""), uwMessage("c", 4, "")},
		{uwMessage("a", 3, base), "Subject: b\n\nnew\n", uwMessage("c", 5, "")},
		{uwMessage("a", 21, base), uwMessage("b", 22, ""), uwMessage("c", 23, "")},
		{uwMessage("a", 3, base), uwMessage("b", 2147483647, ""), uwMessage("c", 9, "")},
		{uwMessage("a", 0, base), uwMessage("b", 4, ""), uwMessage("c", 5, "")},
		{"Subject: a\n" + base + "\na\n", "Subject: b\n\nb\n"},
		{"Subject: a\n\na\n", uwMessage("b", 3, base), uwMessage("c", 5, "")}, // the base must be in the first message
	}
	dir := t.TempDir()
	var users []hosttest.DovecotUser
	for i, list := range boxes {
		b := newBench(t)
		b.write("box", letters(list...))
		b.opts.UIDs = true
		if _, err := b.tryCopy(t.Context(), func(d *maildir.Dir, results []*Result) error {
			_, err := SeedUIDs(d, results, NoUIDL, time.Unix(seedTime, 0))
			return err
		}, b.box("box", ".")); err != nil {
			t.Fatal(err)
		}
		home := filepath.Join(dir, fmt.Sprint("u", i))
		if err := os.Mkdir(home, 0o755); err != nil {
			t.Fatal(err)
		}
		for from, to := range map[string]string{"box": "box", "md": "Maildir"} {
			if err := os.Rename(filepath.Join(b.root.Name(), from), filepath.Join(home, to)); err != nil {
				t.Fatal(err)
			}
		}
		users = append(users, hosttest.DovecotUser{Name: fmt.Sprint("u", i), Password: "{PLAIN}secret", UID: 4711, GID: 4711, Home: home})
	}
	if os.Geteuid() == 0 {
		err := filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
			if err != nil || p == dir {
				return err
			}
			return os.Lchown(p, 4711, 4711)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	before := hosttest.StartDovecot(t, dir, users, "mail_location = mbox:~/mail:INBOX=~/box")
	after := hosttest.StartDovecot(t, dir, users, "mail_privileged_group =")
	seen := func(d *hosttest.Dovecot, user string) (uids []string, validity uint64) {
		k, ok := d.Login(user, "secret")
		if !ok {
			t.Fatalf("%s does not get in", user)
		}
		list, validity := k.Folder("INBOX")
		for _, m := range list {
			subject, _, _ := strings.Cut(m.Text, "\n")
			uids = append(uids, fmt.Sprint(m.UID, " ", strings.TrimSpace(subject)))
		}
		return uids, validity
	}
	for i, list := range boxes {
		got, now := seen(after, users[i].Name)
		if i == len(boxes)-1 {
			if now == 1000000000 {
				t.Errorf("box %d: UIDVALIDITY %d out of the second message", i, now)
			}
			continue
		}
		want, validity := seen(before, users[i].Name)
		diff(t, want, got)
		if validity != 1000000000 || now != validity || len(want) == 0 {
			t.Errorf("box %d: UIDVALIDITY %d, was %d:\n%s", i, now, validity, letters(list...))
		}
		// From here on the list is the server's.
		text, err := os.ReadFile(filepath.Join(users[i].Home, "Maildir", maildir.UIDListName))
		if err != nil || !strings.Contains(string(text[:strings.IndexByte(string(text), '\n')]), " G") {
			t.Errorf("box %d: %v: %s", i, err, text)
		}
	}
}
