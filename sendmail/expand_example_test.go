package sendmail_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/sendmail"
)

// Ask where the mail to an address of the old host ends.
func ExampleHost_Expand() {
	root := oldHost()
	defer os.RemoveAll(root.Name())
	defer root.Close()

	host, err := sendmail.Open(qmailkit.NewTree(root), nil)
	if err != nil {
		log.Fatal(err)
	}
	e, err := host.Expand(context.Background(), "postmaster@example.com")
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range e.Deliveries {
		fmt.Println(d.Kind, d.Target())
		for _, s := range d.Via {
			fmt.Printf("  by %s %s, %s:%d\n", s.Kind, s.Name, s.Path, s.Line)
		}
	}
	// Output:
	// mailbox alice
	//   by alias postmaster, etc/mail/aliases:1
	//   by alias root, etc/mail/aliases:2
}

func ExampleReadAliases() {
	file := strings.NewReader("list: bob, \\alice,\n  \"|/usr/bin/archive -l list\"\n")
	aliases, problems, err := sendmail.ReadAliases(context.Background(), file, nil)
	if err != nil || len(problems) > 0 {
		log.Fatal(problems, err)
	}
	for a := range aliases.Entries() {
		for _, t := range a.Targets {
			fmt.Println(a.Name, t.Type, t.Value)
		}
	}
	// Output:
	// list local bob
	// list backslash alice
	// list program /usr/bin/archive -l list
}

func ExampleReadTable() {
	file := strings.NewReader("info@example.com\tbob\n@example.org\t%1@example.com\n")
	table, _, err := sendmail.ReadTable(context.Background(), file, nil)
	if err != nil {
		log.Fatal(err)
	}
	for e := range table.Entries() {
		v, _ := sendmail.ParseVirtUser(e)
		fmt.Printf("%d: %q in %s goes to %s\n", e.Line, v.User, v.Domain, v.Target)
	}
	// Output:
	// 1: "info" in example.com goes to bob
	// 2: "" in example.org goes to %1@example.com
}

func ExampleReadList() {
	file := strings.NewReader("\\carol, \"|/usr/bin/vacation carol\"\n# off\n")
	list, _, err := sendmail.ReadList(context.Background(), file, nil)
	if err != nil {
		log.Fatal(err)
	}
	for t := range list.Targets() {
		fmt.Println(t.Line, t.Type, t.Value)
	}
	// Output:
	// 1 backslash carol
	// 1 program /usr/bin/vacation carol
}
