package qmailkit_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/mbox"
)

// What a loop over any sequence of this library looks like: an item's error is
// a matter of policy, one that wraps ErrIncomplete is not.
func ExampleIncomplete() {
	notMail := strings.NewReader("Dear diary,\n")
	for h, err := range mbox.Index(context.Background(), notMail, notMail.Size(), nil) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			fmt.Println("not all was seen:", err)
			break
		} else if err != nil {
			fmt.Println("skipped:", err)
			continue
		}
		fmt.Println(h.From.Sender)
	}
	// Output: not all was seen: mbox:1: offset 0: not an mbox: no From_ line at the start
}

// A Tree follows no link; Resolve follows those that only an administrator can
// have made.
func ExampleTree() {
	dir, err := os.MkdirTemp("", "host")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := errors.Join(os.MkdirAll(dir+"/data/home/ann", 0o755), os.Symlink("/data/home", dir+"/home"),
		os.WriteFile(dir+"/data/home/ann/mbox", nil, 0o600)); err != nil {
		log.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()

	host := qmailkit.NewTree(root)
	_, err = host.Open("home/ann/mbox")
	fmt.Println(errors.Is(err, qmailkit.ErrLink))
	name, err := qmailkit.Resolve(host, "home/ann/mbox")
	fmt.Println(name, err)
	// Output:
	// true
	// data/home/ann/mbox <nil>
}
