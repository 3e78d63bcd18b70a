package passhash_test

import (
	"fmt"

	"github.com/qmailkit/qmailkit/internal/passhash"
)

func ExampleVerify() {
	const hash = "$1$abcdefgh$Z9Nk6p3yFkLRWBq0sNtjs."
	fmt.Println(passhash.Classify(hash), passhash.Verify(hash, "alice pass").Verdict)
	fmt.Println(passhash.Verify("!"+hash, "alice pass"))
	fmt.Println(passhash.Verify("{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "alice pass"))
	// Output:
	// md5 match
	// {mismatch the hash is locked}
	// {cannot tell scheme "ldap" is not supported}
}

func ExampleMake() {
	hash, err := passhash.Make(passhash.DES, "bobspass", "aZ")
	fmt.Println(hash, err)
	// Output: aZ7TclHTjdVbY <nil>
}
