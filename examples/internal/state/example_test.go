//go:build unix

package state_test

import (
	"fmt"
	"log"
	"os"

	"github.com/qmailkit/qmailkit/examples/internal/state"
)

func Example() {
	path, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(path)
	d, err := state.Open(path, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	target, err := d.Target("vpopmail /home/vpopmail")
	if err != nil {
		log.Fatal(err)
	}
	defer target.Close()
	if err := target.Lock(); err != nil {
		log.Fatal(err)
	}

	// Keep what is about to be replaced, and note what was written.
	_, err = target.Backup(state.Original{Path: "control/rcpthosts", Mode: 0o644}, []byte("example.org\n"))
	if err != nil {
		log.Fatal(err)
	}
	accounts, err := target.Store("accounts")
	if err != nil {
		log.Fatal(err)
	}
	if err := accounts.Put("ann@example.org", map[string]string{"quota": "100MB"}); err != nil {
		log.Fatal(err)
	}

	backups, err := target.Backups()
	if err != nil {
		log.Fatal(err)
	}
	old, err := target.Content(backups[0])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %q\n", backups[0].Path, old)
	for r := range accounts.All() {
		fmt.Printf("%s: %s\n", r.Key, r.Value)
	}
	// Output:
	// control/rcpthosts: "example.org\n"
	// ann@example.org: {"quota":"100MB"}
}
