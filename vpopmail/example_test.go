//go:build unix

package vpopmail_test

import (
	"context"
	"fmt"
	"iter"
	"log"
	"os"
	"strings"

	"github.com/qmailkit/qmailkit/vpopmail"
)

// host makes an empty vpopmail and an empty qmail in a temporary directory.
func host() (home, qmail *os.Root, done func()) {
	dir, err := os.MkdirTemp("", "vpopmail")
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"/vpopmail", "/qmail", "/qmail/control", "/qmail/users"} {
		if err := os.Mkdir(dir+name, 0o755); err != nil {
			log.Fatal(err)
		}
	}
	if home, err = os.OpenRoot(dir + "/vpopmail"); err != nil {
		log.Fatal(err)
	}
	if qmail, err = os.OpenRoot(dir + "/qmail"); err != nil {
		log.Fatal(err)
	}
	return home, qmail, func() {
		home.Close()
		qmail.Close()
		os.RemoveAll(dir)
	}
}

// A domain and its accounts are prepared where nobody sees them, and then go
// live at once. All of it can be run again.
func ExampleStore_GoLive() {
	home, qmail, done := host()
	defer done()
	ctx := context.Background()

	profile := vpopmail.DefaultProfile54()
	store, err := vpopmail.Open(home, qmail, &vpopmail.Options{Profile: &profile})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := store.PrepareDomain(ctx, vpopmail.DomainSpec{Name: "example.com"}); err != nil {
		log.Fatal(err)
	}
	made, err := store.AddUsers(ctx, "example.com", []vpopmail.NewUser{
		{Name: "Ann", Hash: "$1$saltsalt$tTWg0JeO/sYmHvtKmZE8c.", Quota: "10M"},
		{Name: "not/ok", Hash: vpopmail.NoLogin},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, u := range made.Users {
		fmt.Println(u.Name, u.User.Quota, u.Err)
	}

	ok := func(context.Context) error { return nil } // would send HUP to qmail-send
	live, err := store.GoLive(ctx, []vpopmail.Live{
		{Name: "example.com"},
		{Name: "example.net", AliasOf: "example.com"},
	}, ok)
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range live.Changes {
		fmt.Println(c.File, c.Line)
	}
	u, err := store.User(ctx, "ANN@example.net")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(u.Name, u.Hash, u.Dir)
	// Output:
	// ann 10485760S <nil>
	// not/ok  "not/ok"@"example.com": user: illegal user name: byte "/"
	// users/assign +example.com-:example.com:89:89:/home/vpopmail/domains/example.com:-::
	// users/assign +example.net-:example.com:89:89:/home/vpopmail/domains/example.com:-::
	// control/virtualdomains example.com:example.com
	// control/virtualdomains example.net:example.net
	// control/rcpthosts example.com
	// control/rcpthosts example.net
	// ann [redacted] /home/vpopmail/domains/example.com/ann
}

// The same accounts as a script for vpopmail's own programs; any byte may stand
// in a name.
func ExampleCommandScript() {
	n := vpopmail.NewUser{Name: "ann", Hash: "$1$saltsalt$tTWg0JeO/sYmHvtKmZE8c.", Gecos: "Ann O'Hara"}
	err := vpopmail.CommandScript(os.Stdout, "/home/vpopmail", commands(vpopmail.UserCommands("example.com", n)))
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// #!/bin/sh
	// # Run as root on the vpopmail host. It stops at the first command that fails.
	// #
	// # This file holds password hashes, and perhaps passwords: keep it to yourself.
	// # The programs take them as arguments and have no other way, so that while one
	// # runs every user of the host can see them in the list of processes.
	// set -e
	// PATH=/home/vpopmail/bin:$PATH
	// export PATH
	// vadduser -c 'Ann O'\''Hara' -e '$1$saltsalt$tTWg0JeO/sYmHvtKmZE8c.' -- ann@example.com
}

// commands makes a sequence of a list.
func commands(list []vpopmail.Command) iter.Seq2[vpopmail.Command, error] {
	return func(yield func(vpopmail.Command, error) bool) {
		for _, c := range list {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// Lines that nobody edits stay as they are, and those that vpopmail reads
// otherwise than they stand are named.
func ExampleParseVpasswd() {
	profile := vpopmail.DefaultProfile54()
	v := vpopmail.ParseVpasswd([]byte("ann:$1$x:1:0:Ann:/home/vpopmail/domains/example.com/ann:NOQUOTA:\n" +
		strings.Repeat("b", 300) + ":*:1:0:::NOQUOTA:\n"))
	for p := range v.Problems(&profile) {
		fmt.Println(p.Line, p.Severity, p.Code)
	}
	u, ok := v.Get("ann")
	fmt.Println(u.Gecos, u.Hash, ok)
	// Output:
	// 2 error vpasswd.long-line
	// Ann [redacted] true
}
