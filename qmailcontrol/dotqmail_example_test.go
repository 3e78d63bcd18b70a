//go:build unix

package qmailcontrol_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// What mail for joe-lists-go@example.com gets to, from the files of a host.
func ExampleLocalDelivery_Plan() {
	dir, err := os.MkdirTemp("", "host")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	home := filepath.Join(dir, "home/joe")
	if err := os.MkdirAll(home, 0o755); err != nil {
		log.Fatal(err)
	}
	text := "# all lists\n./lists\n|filter \"$DEFAULT\"\n&archive@example.net\n"
	if err := os.WriteFile(filepath.Join(home, ".qmail-lists-default"), []byte(text), 0o644); err != nil {
		log.Fatal(err)
	}

	root, err := os.OpenRoot(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()
	plan, err := qmailcontrol.LocalDelivery{
		User: "joe", Home: "/home/joe", Local: "joe-lists-go", Dash: "-", Ext: "lists-go", Host: "example.com",
		DefaultDelivery: "./Mailbox",
	}.Plan(context.Background(), qmailkit.NewTree(root))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(plan.Tried)
	fmt.Println("DEFAULT is", plan.Name.Default)
	for _, d := range plan.Deliveries {
		fmt.Println(d.Kind, d.Target())
	}
	if no := plan.Outcome(); no != nil {
		fmt.Println(no.Code, no)
	}
	// Output:
	// [.qmail-lists-go .qmail-lists-default]
	// DEFAULT is go
	// mbox ./lists
	// program filter "$DEFAULT"
	// forward archive@example.net
}

// A forward is taken away, and every other byte stays.
func ExampleDotQmail_RemoveFunc() {
	q, err := qmailcontrol.ParseDotQmail(strings.NewReader("# mine\n./Maildir/\n&old@example.net\n"))
	if err != nil {
		log.Fatal(err)
	}
	q.RemoveFunc(func(d qmailcontrol.DotLine) bool {
		return d.Kind == qmailcontrol.DotForward && d.Target() == "old@example.net"
	})
	if err := q.Add(qmailcontrol.DotForward, "new@example.net"); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", q.Bytes())
	// Output:
	// # mine
	// ./Maildir/
	// &new@example.net
}

// What is wrong in a .qmail file that came from another system.
func ExampleDotQmail_Check() {
	q, err := qmailcontrol.ParseDotQmail(strings.NewReader("./Maildir/\r\njoe\n"))
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range q.Check() {
		fmt.Printf("line %d: %s: %v\n", p.Line, p.Code, p.Err)
	}
	// Output:
	// line 1: dotqmail.cr: the CR at the end is part of the mbox
	// line 2: dotqmail.forward: "joe" has no host; control/envnoathost is added
}
