package plesk_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/qmailkit/qmailkit/plesk"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// Read a dump, and open the passwords of type sym with the host's key.
func ExampleReadDump() {
	dump := strings.NewReader("CREATE TABLE domains (id int, name text);\n" +
		"INSERT INTO domains VALUES (12,'example.com');\n" +
		"CREATE TABLE mail (id int, mail_name text, dom_id int, account_id int, postbox text);\n" +
		"INSERT INTO mail VALUES (1,'anna',12,11,'true');\n" +
		"CREATE TABLE accounts (id int, type text, password text);\n" +
		"INSERT INTO accounts VALUES (11,'sym','$AES-128-CBC$MDEyMzQ1Njc4OWFiY2RlZg==$AAAAAAAAAAAAAAAAAAAAAA==');\n" +
		"CREATE TABLE mail_aliases (mn_id int, alias text);\n" +
		"CREATE TABLE mail_redir (mn_id int, address text);\n")
	server, err := plesk.ReadDump(context.Background(), dump, &plesk.Options{Name: "psa.sql"})
	if err != nil {
		log.Fatal(err)
	}
	key, err := plesk.NewSecretKey([]byte("another host key"))
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range server.Domains {
		for _, m := range d.Mailnames {
			_, err := key.Open(m.Password.Stored)
			fmt.Println(d.ID, m.Name+"@"+d.Name, m.Password.Type, errors.Is(err, plesk.ErrKey))
		}
	}
	// Output: 12 anna@example.com sym true
}

// Read a live psa. A program has to import a driver for MySQL.
func ExampleReadDB() {
	db, err := sql.Open("mysql", "admin:password@/psa?charset=utf8mb4")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	server, err := plesk.ReadDB(context.Background(), db, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range server.Problems {
		fmt.Println(p)
	}
	for _, d := range server.Domains {
		for _, m := range d.Mailnames {
			fmt.Println(m.Name+"@"+d.Name, d.QuotaOf(m))
		}
	}
}

// Tell a dump that is cut short from other errors, and say where.
func ExampleDumpError() {
	dump := strings.NewReader("-- MySQL dump 10.13\nCREATE TABLE accounts (id int, type text, password text);\nINSERT INTO accounts VALUES (11,'pla")
	_, err := plesk.ReadDump(context.Background(), dump, &plesk.Options{Name: "psa.sql"})
	var at *plesk.DumpError
	if errors.As(err, &at) {
		fmt.Println(at.Name, at.Line, at.Offset, errors.Is(err, plesk.ErrTruncated))
	}
	// Output: psa.sql 3 114 true
}

// Let Plesk's own tool make a mailbox. The password is in the environment, not
// among the arguments.
func ExampleCommands() {
	domain := &plesk.Domain{ID: 12, Name: "example.com"}
	anna := &plesk.Mailname{Name: "anna", Mailbox: true, Quota: 100_000_000, Aliases: []string{"a.nna"}}
	commands, problems := plesk.Commands(domain, anna, plesk.Credential{Clear: "correct horse"}, nil)
	for _, c := range commands {
		fmt.Printf("%q\n%s=%v\n", c.Argv, c.Env[0].Name, c.Env[0].Value)
	}
	fmt.Println(len(problems), "problems")
	// Output:
	// ["/usr/local/psa/bin/mail" "--create" "anna@example.com" "-mailbox" "true" "-passwd" "" "-mbox_quota" "97657" "-aliases" "add:a.nna"]
	// PSA_PASSWORD=[redacted]
	// 0 problems
}

// Make the lines of users/assign with the number that the domain has on the
// target.
func ExampleAddAssign() {
	domain := &plesk.Domain{ID: 12, Name: "example.com", Mailnames: []*plesk.Mailname{{Name: "anna", Aliases: []string{"a.nna"}}}}
	ids := plesk.DomainIDs{"example.com": 268} // see ReadDomainIDs
	id, err := ids.ID(domain.Name)
	if err != nil {
		log.Fatal(err)
	}
	var assign users.Assign
	if _, err := plesk.AddAssign(&assign, domain, id, &plesk.AssignOptions{User: plesk.PopUser, UID: 110, GID: 31}); err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(assign.Bytes()))
	// Output:
	// +268:popuser:110:31:/var/qmail/mailnames/example.com:::
	// =268-anna:popuser:110:31:/var/qmail/mailnames/example.com/anna:::
	// =268-a.nna:popuser:110:31:/var/qmail/mailnames/example.com/anna:::
	// .
}

// See what cannot be taken to another host, and why.
func ExamplePlanAccounts() {
	source := &plesk.Server{Domains: []*plesk.Domain{{ID: 12, Name: "example.com", Mailnames: []*plesk.Mailname{
		{Name: "anna", Mailbox: true, Password: plesk.Password{Type: "plain", Stored: "secret"}},
		{Name: "bert", Mailbox: true, Password: plesk.Password{Type: "sym", Stored: "$AES-128-CBC$..."}},
	}}}}
	plan, err := plesk.PlanAccounts(source, nil, &plesk.AccountOptions{IDs: plesk.DomainIDs{"example.com": 268}})
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range plan.Domains {
		for _, a := range d.Accounts {
			fmt.Println(a.Mailname.Name, a.Action, a.Problems)
		}
	}
	// Output:
	// anna create []
	// bert refused [bert@example.com: bert@example.com: the source host's secret key is needed (plesk.no-key); set a new password on the target]
}
