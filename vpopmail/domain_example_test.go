//go:build unix

package vpopmail_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/qmailkit/qmailkit/vpopmail"
)

// domainStore is an installation with the domain example.com.
func domainStore(ctx context.Context) (store *vpopmail.Store, done func()) {
	home, qmail, done := host()
	profile := vpopmail.DefaultProfile54()
	store, err := vpopmail.Open(home, qmail, &vpopmail.Options{Profile: &profile})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := store.AddDomain(ctx, vpopmail.DomainSpec{Name: "example.com"}, nil); err != nil {
		log.Fatal(err)
	}
	return store, done
}

// A domain with alias domains goes only if that is said.
func ExampleStore_DeleteDomain() {
	ctx := context.Background()
	store, done := domainStore(ctx)
	defer done()
	if _, err := store.AddAliasDomain(ctx, "example.com", "example.net", nil); err != nil {
		log.Fatal(err)
	}
	hup := func(context.Context) error { fmt.Println("qmail-send reads its files again"); return nil }
	_, err := store.DeleteDomain(ctx, "example.com", nil, hup)
	var aliases *vpopmail.AliasesError
	if errors.As(err, &aliases) {
		fmt.Println("aliases:", aliases.Aliases)
	}
	res, err := store.DeleteDomain(ctx, "example.com", &vpopmail.DeleteDomainOptions{Force: true}, hup)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(res.Classic())
	// Output:
	// aliases: [example.net]
	// qmail-send reads its files again
	// Warning: Alias domains deleted:
	//    example.net
}

// An alias is a name whose mail goes where its lines say.
func ExampleStore_AddAlias() {
	ctx := context.Background()
	store, done := domainStore(ctx)
	defer done()
	for _, line := range []string{"ann@example.org", "&bob@example.org", "ann@example.org"} {
		if err := store.AddAlias(ctx, "team@example.com", line); err != nil {
			fmt.Println(err)
		}
	}
	out, err := store.ClassicAliases(ctx, "example.com")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(out)
	// Output:
	// alias team@example.com -> ann@example.org already exists.
	// team@example.com -> ann@example.org
	// team@example.com -> &bob@example.org
}

// Limits of a domain start as those of the installation.
func ExampleStore_EditLimits() {
	ctx := context.Background()
	store, done := domainStore(ctx)
	defer done()
	err := store.EditLimits(ctx, "example.com", func(l *vpopmail.Limits) error {
		l.DefaultQuota = 10 << 20
		l.Disabled |= vpopmail.NoPOP
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	limits, own, err := store.Limits(ctx, "example.com")
	if err != nil {
		log.Fatal(err)
	}
	user := vpopmail.User{Flags: vpopmail.NoIMAP}
	fmt.Println(limits.UserQuota(), own, user.Effective(limits) == vpopmail.NoIMAP|vpopmail.NoPOP)
	// Output:
	// 10485760S true true
}
