package users_test

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

const assign = `+:alias:7790:2108:/var/qmail/alias:-::
+example.com-:example.com:89:89:/home/vpopmail/domains/example.com:-::
=joe:joe:1201:1200:/home/joe:::
.
`

// NewU makes users/cdb of users/assign, as qmail-newu does.
func ExampleNewU() {
	dir, err := os.MkdirTemp("", "users")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "assign"), []byte(assign), 0o644); err != nil {
		log.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()
	if err := users.NewU(root, nil); err != nil {
		log.Fatal(users.Fatal(err))
	}
	cdb, err := os.ReadFile(filepath.Join(dir, "cdb"))
	if err != nil {
		log.Fatal(err)
	}
	db, err := users.OpenDB(bytes.NewReader(cdb), int64(len(cdb)))
	if err != nil {
		log.Fatal(err)
	}
	u, _, err := db.Lookup("Example.com-Info")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(u.Home, u.Dash, u.Ext)
	// Output: /home/vpopmail/domains/example.com - Info
}

// A domain gets its line, and every other byte stays.
func ExampleAssign_Insert() {
	a, err := users.ParseAssign(strings.NewReader(assign))
	if err != nil {
		log.Fatal(err)
	}
	err = a.Insert(2, users.Entry{
		Wildcard: true, Local: "example.net-", User: "example.net", UID: "89", GID: "89",
		Home: "/home/vpopmail/domains/example.net", Dash: "-",
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := a.WriteTo(os.Stdout); err != nil {
		log.Fatal(err)
	}
	// Output:
	// +:alias:7790:2108:/var/qmail/alias:-::
	// +example.com-:example.com:89:89:/home/vpopmail/domains/example.com:-::
	// +example.net-:example.net:89:89:/home/vpopmail/domains/example.net:-::
	// =joe:joe:1201:1200:/home/joe:::
	// .
}

// What qmail-newu refuses is refused, with its place.
func ExampleParseAssign() {
	_, err := users.ParseAssign(strings.NewReader("=joe:joe:1201:1200:/home/joe:::\n# comment\n.\n"))
	fmt.Println(err)
	fmt.Println(users.Fatal(err))
	// Output:
	// line 2, offset 32: bad format in users/assign: 0 colons instead of 7
	// qmail-newu: fatal: bad format in users/assign
}

// Lspawn tells who gets the mail, and why.
func ExampleLspawn() {
	passwd, err := users.ReadPasswd(strings.NewReader("alias:x:7790:2108::/var/qmail/alias:/bin/false\nann:x:1202:1200::/home/ann:/bin/sh\n"))
	if err != nil {
		log.Fatal(err)
	}
	getpw := &users.Getpw{Accounts: passwd} // every home counts as its user's own
	a, err := users.Lspawn{Getpw: getpw.Lookup}.Find("ann-list")
	if err != nil {
		log.Fatal(users.Report(err))
	}
	fmt.Println(a.Via, a.User.Name, a.User.Dash, a.User.Ext)
	// Output: getpw ann - list
}

// What qmail-pw2u writes of two accounts, one of which has another mail name.
func ExamplePW2U() {
	passwd := "alias:x:7790:2108::/var/qmail/alias:/bin/false\njoe:x:1201:1200:Joe Shmoe:/home/joe:/bin/sh\n"
	p := users.PW2U{
		Home: users.HomeIgnored,
		Mailnames: func(name string) (string, bool) {
			return "joe.shmoe", name == "joe"
		},
	}
	if err := p.WriteAssign(os.Stdout, strings.NewReader(passwd)); err != nil {
		log.Fatal(err)
	}
	// Output:
	// +:alias:7790:2108:/var/qmail/alias:-::
	// =alias:alias:7790:2108:/var/qmail/alias:::
	// +alias-:alias:7790:2108:/var/qmail/alias:-::
	// =joe.shmoe:joe:1201:1200:/home/joe:::
	// +joe.shmoe-:joe:1201:1200:/home/joe:-::
	// .
}

// Wildcards that take each other's mail away, or get none.
func ExampleAssign_Check() {
	a, err := users.ParseAssign(strings.NewReader("+1:ann:1001:100:/home/ann:::\n+10:joe:1002:100:/home/joe:::\n+Sales-A:joe:1002:100:/home/joe:-::\n.\n"))
	if err != nil {
		log.Fatal(err)
	}
	for p := range a.Check() {
		fmt.Println(p)
	}
	// Output:
	// assign:2: "10" begins with "1", the wildcard of user "ann" on line 1, and takes its mail (assign.prefix)
	// assign:3: "Sales-A" never matches, because it ends in a capital letter (assign.upper-case); write it in small letters
}

// A password is changed, and every other byte stays.
func ExamplePoppasswd_Set() {
	p, err := users.ParsePoppasswd(strings.NewReader("# mailboxes\njoe@example.com:old\nann@example.com:$1$salt$0123456789012345678901\n"))
	if err != nil {
		log.Fatal(err)
	}
	if err := p.Set("joe@example.com", "new"); err != nil {
		log.Fatal(err)
	}
	for e := range p.Entries() {
		fmt.Println(e.Line, e.Login, e.Password, e.Crypted())
	}
	// Output:
	// 2 joe@example.com [redacted] false
	// 3 ann@example.com [redacted] true
}
