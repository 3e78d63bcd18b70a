package plesk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/qmailkit/qmailkit/plesk"
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
