package sendmail

import (
	"fmt"
	"strings"

	"github.com/qmailkit/qmailkit/internal/passhash"
)

// A State says whether its owner can log in to an account by password.
type State uint8

const (
	// Active accounts have a crypt hash in force.
	Active State = iota
	// Locked accounts have a hash behind a lock mark: "!" (shadow(5)),
	// "*LOCKED*" (FreeBSD pw(8)), "*LK*" (Solaris passwd(1)) or "*".
	Locked
	// NoPassword accounts hold something that no password gives: "!", "!!",
	// "*", "*LK*", "NP", "x", a word that is no crypt hash, or no shadow line.
	NoPassword
	// Empty accounts let anybody in without a password.
	Empty
	// Expired accounts have a hash, but their end has come.
	Expired
)

var stateNames = [...]string{"active", "locked", "no-password", "empty", "expired"}

// String returns "active", "locked", "no-password", "empty" or "expired".
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText gives the same words as String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// lockMarks are put in front of a hash to lock an account. Longer ones come
// before their own beginnings.
var lockMarks = [...]string{"*LOCKED*", "*LK*", "!", "*"}

// A passwordField is the second field of passwd or shadow taken apart.
type passwordField struct {
	mark   string // lock marks, as they stand
	hash   string // crypt string, or empty
	scheme string // scheme of hash
	aging  string // SVR4's ",..." behind a DES hash
	state  State
	odd    bool // not empty, no mark, and yet no crypt string
}

// parseField applies the table of shadow(5) and its kin to a password field.
func parseField(field string) passwordField {
	if field == "" {
		return passwordField{state: Empty}
	}
	rest := field
	for again := true; again; {
		again = false
		for _, m := range lockMarks {
			if strings.HasPrefix(rest, m) {
				rest, again = rest[len(m):], true
				break
			}
		}
	}
	p := passwordField{mark: field[:len(field)-len(rest)], state: NoPassword}
	switch rest {
	case "", "x", "NP":
		return p
	}
	hash, aging := cutAging(rest)
	scheme := passhash.Classify(hash)
	switch scheme {
	case passhash.Empty, passhash.Locked, passhash.Unknown:
		p.odd = true
		return p
	}
	p.hash, p.scheme, p.aging, p.state = hash, string(scheme), aging, Active
	if p.mark != "" {
		p.state = Locked
	}
	return p
}

// desLength is the length of a traditional crypt string: two bytes of salt and
// eleven of hash.
const desLength = 13

// cutAging parts the ageing that old System V hosts append to a DES hash as a
// comma and up to four bytes. No other scheme has a comma there.
func cutAging(s string) (hash, aging string) {
	if len(s) > desLength && s[desLength] == ',' && s[0] != '$' && s[0] != '_' {
		return s[:desLength], s[desLength:]
	}
	return s, ""
}
