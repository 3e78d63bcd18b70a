package sendmail_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/sendmail"
)

// Plan a move: who is carried, with which mail, and what stays behind.
func Example() {
	root := oldHost()
	defer os.RemoveAll(root.Name())
	defer root.Close()

	ctx := context.Background()
	host, err := sendmail.Open(qmailkit.NewTree(root), &sendmail.Options{
		Now: func() time.Time { return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC) },
	})
	if err != nil {
		log.Fatal(err)
	}
	for d, err := range sendmail.DefaultPolicy().Judge(host.Accounts(ctx)) {
		if p, ok := sendmail.AsProblem(err); ok {
			fmt.Println(p)
			continue
		} else if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %v, %s\n", d.Account.Name, d.Verdict, d.Account.FullName())
		if d.Verdict == sendmail.NotCarried {
			continue
		}
		for m, err := range host.Mailboxes(ctx, d.Account) {
			if err != nil {
				fmt.Println(err)
				continue
			}
			fmt.Printf("  %d bytes for INBOX/%s\n", m.Size, strings.Join(m.Folder, "/"))
		}
	}
	for d, err := range host.Domains(ctx) {
		fmt.Println("domain", d.Name, err)
	}
	for p, err := range host.NotCarried(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(p)
	}
	// Output:
	// root: not carried, Charlie Root
	// alice: carried, Alice Liddell
	//   42 bytes for INBOX/
	//   42 bytes for INBOX/Work/2004
	// etc/passwd:3: "+@staff" refers to accounts that a network service holds; they are not here (sendmail.nis-line)
	// bob: carried locked, Bob
	// etc/passwd:4: the home directory "/home/bob" of user "bob" does not exist (sendmail.home-missing)
	// domain example.com <nil>
	// etc/mail/aliases: aliases: not carried, 2 entries (sendmail.aliases-not-carried); see to it by hand
}

// oldHost makes the file system of a small host in a temporary directory.
func oldHost() *os.Root {
	dir, err := os.MkdirTemp("", "oldhost")
	if err != nil {
		log.Fatal(err)
	}
	const message = "From a@b Thu Jan  1 00:00:00 2004\n\nbody\n\n\n"
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0:Charlie &:/root:/bin/sh\n" +
			"alice:x:1000:1000:& Liddell,Room 1:/home/alice:/bin/sh\n" +
			"+@staff::::::\n" +
			"bob:x:1001:1001:&:/home/bob:/bin/sh\n",
		"etc/shadow": "root:*:12000:0:99999:7:::\n" +
			"alice:$1$saltsalt$tTWg0JeO/sYmHvtKmZE8c.:12000:0:99999:7:::\n" +
			"bob:!$1$saltsalt$tTWg0JeO/sYmHvtKmZE8c.:12000:0:99999:7:::\n",
		"etc/mail/local-host-names":  "example.com\n",
		"etc/mail/aliases":           "postmaster: root\nroot: alice\n",
		"var/mail/alice":             message,
		"home/alice/mail/Work/2004":  message,
		"home/alice/mail/.mailboxes": "",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			log.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		log.Fatal(err)
	}
	return root
}
