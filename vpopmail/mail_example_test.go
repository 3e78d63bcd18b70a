//go:build unix

package vpopmail_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/qmailkit/qmailkit/vpopmail"
)

// withAnn is an installation with the account ann@example.com.
func withAnn() (store *vpopmail.Store, home *os.Root, done func()) {
	home, qmail, done := host()
	profile := vpopmail.DefaultProfile54()
	profile.UID, profile.GID = max(os.Geteuid(), 1), os.Getegid()
	store, err := vpopmail.Open(home, qmail, &vpopmail.Options{Profile: &profile})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if _, err := store.AddDomain(ctx, vpopmail.DomainSpec{Name: "example.com"}, nil); err != nil {
		log.Fatal(err)
	}
	if _, err := store.AddUser(ctx, "example.com", vpopmail.NewUser{Name: "ann", Clear: "secret"}); err != nil {
		log.Fatal(err)
	}
	return store, home, done
}

// What qmail-popup hands over on descriptor 3 is a login or is not.
func ExampleStore_Login() {
	store, _, done := withAnn()
	defer done()
	for _, fd3 := range []string{"Ann@Example.com\x00secret\x00\x00", "ann@example.com\x00guess\x00\x00", "ann\x00secret\x00\x00"} {
		c, err := vpopmail.ReadCredentials(strings.NewReader(fd3))
		if err != nil {
			log.Fatal(err)
		}
		attempt := vpopmail.NewAttempt(c, "qmail-pop3d", func(string) (string, bool) { return "", false })
		v, err := store.Login(context.Background(), attempt, &vpopmail.LoginOptions{Record: true})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(int(v.Status), v.Status, v.Environ())
	}
	// Output:
	// 0 ok [USER=ann HOME=/home/vpopmail/domains/example.com/ann SHELL=NOLOGIN VPOPUSER=ann@example.com]
	// 3 password or user is wrong []
	// 3 password or user is wrong []
}

// A login is decided without an installation, too.
func ExampleProfile_CheckLogin() {
	profile := vpopmail.DefaultProfile54()
	user := vpopmail.User{Name: "ann", Hash: "$1$abcdefgh$3AnkRq1sCn8avTQ3qEG7k0", Flags: vpopmail.NoIMAP}
	c := vpopmail.Credentials{Name: "ann@example.com", Password: "Secret-1"}
	for _, s := range []vpopmail.Service{vpopmail.ServicePOP, vpopmail.ServiceIMAP} {
		status, method, _, _ := profile.CheckLogin(&user, user.Flags, c, s, nil)
		fmt.Println(s, status, method)
	}
	// Output:
	// pop ok PLAIN
	// imap access denied PLAIN
}

// The line of .qmail-default tells what happens to mail of a domain.
func ExampleStore_DeliveryPlan() {
	store, _, done := withAnn()
	defer done()
	line, ok := vpopmail.ParseDeliveryLine("| /home/vpopmail/bin/vdelivermail '' bounce-no-mailbox")
	if !ok {
		log.Fatal("no vdelivermail")
	}
	word, _ := line.CatchAll()
	for _, name := range []string{"Ann", "nobody"} {
		p, err := store.DeliveryPlan(context.Background(), vpopmail.Incoming{Ext: name, Host: "example.com", CatchAll: word})
		if err != nil {
			log.Fatal(err)
		}
		for _, st := range p.Steps {
			fmt.Println(p.Address, st.Kind, st.Arg)
		}
		if p.Err != nil {
			fmt.Print(p.Address, " ", p.Status, " ", p.Text)
		}
	}
	// Output:
	// ann@example.com maildir /home/vpopmail/domains/example.com/ann/Maildir
	// nobody@example.com 100 Sorry, no mailbox here by that name. (#5.1.1)
}

// A message is delivered as vdelivermail does it; forwards are the caller's.
func ExampleStore_Deliver() {
	store, home, done := withAnn()
	defer done()
	if err := home.WriteFile("domains/example.com/ann/.qmail", []byte("./Maildir/\n&ann@example.org\n"), 0o600); err != nil {
		log.Fatal(err)
	}
	opts := &vpopmail.DeliverOptions{
		Forward: func(_ context.Context, st vpopmail.DeliveryStep, msg io.Reader) error {
			fmt.Println("to", st.Arg)
			return nil
		},
	}
	in := vpopmail.Incoming{Ext: "ann", Host: "example.com", RPLine: "Return-Path: <joe@example.org>\n"}
	d, err := store.Deliver(context.Background(), in, strings.NewReader("Subject: hello\n\nAnn!\n"), opts)
	if err != nil {
		log.Fatal(err)
	}
	for _, box := range d.Boxes {
		size, _ := box.Entry.Name.Size()
		fmt.Println(box.Dir, box.Entry.Sub(), size, "bytes")
	}
	// Output:
	// to ann@example.org
	// /home/vpopmail/domains/example.com/ann/Maildir new 82 bytes
}
