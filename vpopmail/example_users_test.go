//go:build unix

package vpopmail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/qmailkit/qmailkit/vpopmail"
)

// exampleStore is an installation with a domain and one account.
func exampleStore(opts vpopmail.Options) (store *vpopmail.Store, done func()) {
	home, qmail, done := host()
	profile := vpopmail.DefaultProfile54()
	opts.Profile = &profile
	store, err := vpopmail.Open(home, qmail, &opts)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if _, err := store.AddDomain(ctx, vpopmail.DomainSpec{Name: "example.com"}, nil); err != nil {
		log.Fatal(err)
	}
	if _, err := store.AddUser(ctx, "example.com", vpopmail.NewUser{Name: "ann", Clear: "swordfish"}); err != nil {
		log.Fatal(err)
	}
	return store, done
}

// All accounts of a domain are changed at once, as vmoduser does with a domain.
func ExampleStore_ModifyUser() {
	store, done := exampleStore(vpopmail.Options{})
	defer done()
	res, err := store.ModifyUser(context.Background(), "example.com", vpopmail.Modify{
		Quota: "10M", SetFlags: vpopmail.NoPOP | vpopmail.NoSMTP,
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, u := range res.Users {
		fmt.Println(u.Name, u.Quota, u.Flags.Letters())
	}
	// Output:
	// ann 10485760S ps
	// postmaster 10485760S ps
}

// The word may be in small letters, as vsetuserquota takes it.
func ExampleStore_SetQuota() {
	store, done := exampleStore(vpopmail.Options{})
	defer done()
	ctx := context.Background()
	res, err := store.SetQuota(ctx, "ann@example.com", "5mb,1000c")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Users[0].Quota)
	_, err = store.SetQuota(ctx, "ann@example.com", "10G")
	fmt.Println(errors.Is(err, vpopmail.ErrQuota))
	// Output:
	// 5242880S,1000C
	// true
}

func ExampleStore_ChangePassword() {
	store, done := exampleStore(vpopmail.Options{})
	defer done()
	ctx := context.Background()
	fmt.Println(store.ChangePassword(ctx, "ann@example.com", "guess", "new"))
	fmt.Println(store.ChangePassword(ctx, "ann@example.com", "swordfish", "new"))
	// Output:
	// user "ann@example.com": authentication failed
	// <nil>
}

// A random password is stored for an account that has lost its own.
func ExampleStore_SetPassword() {
	store, done := exampleStore(vpopmail.Options{Rand: bytes.NewReader(make([]byte, 99))})
	defer done()
	clear, err := store.RandomPassword(10)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.SetPassword(context.Background(), "ann@example.com", clear); err != nil {
		log.Fatal(err)
	}
	fmt.Println(clear, len(clear))
	// Output:
	// [redacted] 10
}

func ExampleStore_DeleteUser() {
	var told []string
	store, done := exampleStore(vpopmail.Options{OnChange: func(_ context.Context, argv []string) error {
		told = argv
		return nil
	}})
	defer done()
	ctx := context.Background()
	if _, err := store.DeleteUser(ctx, "ann@example.com"); err != nil {
		log.Fatal(err)
	}
	_, err := store.DeleteUser(ctx, "ann@example.com")
	fmt.Println(err)
	status, words := vpopmail.ClassicStatus("vdeluser", err)
	fmt.Print(status, " ", words)
	fmt.Println(told)
	// Output:
	// "ann"@"example.com": user does not exist
	// 246 Error: User does not exist
	// [del_user ann@example.com]
}

// vpasswd was edited by hand; what looks accounts up reads vpasswd.cdb.
func ExampleStore_RebuildCDB() {
	store, done := exampleStore(vpopmail.Options{})
	defer done()
	fmt.Println(store.RebuildCDB(context.Background(), "example.com"))
	// Output:
	// <nil>
}
