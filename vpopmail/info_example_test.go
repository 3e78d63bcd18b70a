//go:build unix

package vpopmail_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/qmailkit/qmailkit/vpopmail"
)

func ExampleWriteUserInfo() {
	err := vpopmail.WriteUserInfo(os.Stdout, &vpopmail.UserInfo{
		User: vpopmail.User{
			Name: "ann", Hash: "*", Clear: "sesame", UID: 1, Flags: vpopmail.NoIMAP, Gecos: "Ann O'Hara",
			Dir: "/home/vpopmail/domains/example.com/ann", Quota: "10485760S",
		},
		Effective:  vpopmail.NoIMAP | vpopmail.NoRelay, // NoRelay is the domain's
		Usage:      vpopmail.Usage{Bytes: 5242880, Percent: 50},
		Login:      vpopmail.Login{IP: "192.0.2.7", Time: time.Unix(1700000000, 0)},
		LoginKnown: true,
	}, &vpopmail.InfoFormat{Location: time.UTC})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// name:   ann
	// passwd: *
	// clear passwd: sesame
	// comment/gecos: Ann O'Hara
	// uid:    1
	// gid:    8
	// flags:  40
	// gecos: Ann O'Hara
	// limits:
	//         imap access closed
	//         user not allowed to relay mail (*)
	//         * = set by domain-wide limits
	// dir:       /home/vpopmail/domains/example.com/ann
	// quota:     10485760S
	// usage:     50%
	// last auth: Tue Nov 14 22:13:20 2023
	// last auth ip: 192.0.2.7
}

func ExampleStore_Check() {
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
	for p, err := range store.Check(ctx, nil) {
		if err != nil {
			log.Fatal(err) // the rest was not checked
		}
		fmt.Println(p.Severity, p)
	}
	// Output:
	// info /home/vpopmail/domains/example.com: domain "example.com" is prepared and not live (vpopmail.domain-pending)
}
