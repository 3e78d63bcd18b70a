//go:build unix

package samplehost_test

import (
	"fmt"
	"log"
	"os"

	"github.com/qmailkit/qmailkit/examples/sendmail2vpopmail/samplehost"
)

// Build the host and ask the Manifest what a migration of it must bring.
func ExampleBuild() {
	dir, err := os.MkdirTemp("", "samplehost")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	m, err := samplehost.Build(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(m.Accounts), "accounts,", m.Messages(), "messages,", m.Domains)
	for _, b := range m.Account("alice").Mailboxes {
		fmt.Printf("%q %d messages, pseudo %v\n", b.Folder, b.Messages, b.Pseudo)
	}
	// Output:
	// 16 accounts, 92 messages, [wonderland.example looking-glass.example croquet.example]
	// [] 12 messages, pseudo false
	// ["Entwürfe"] 1 messages, pseudo false
	// ["Work" "2004"] 6 messages, pseudo true
	// ["Work" "2005"] 3 messages, pseudo false
	// ["release.notes"] 2 messages, pseudo false
	// ["sent-mail"] 4 messages, pseudo false
}
