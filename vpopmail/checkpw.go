package vpopmail

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/passhash"
)

// A LoginStatus is the exit status of vchkpw for a login. What vchkpw fails
// with when the login is right (4 to 10) has no place in a decision.
type LoginStatus int

const (
	LoginOK         LoginStatus = 0   // let in
	LoginDenied     LoginStatus = 1   // a flag forbids this service
	LoginFailed     LoginStatus = 3   // wrong password, no such user, no such domain
	LoginNoName     LoginStatus = 12  // an empty name was given
	LoginNoPassword LoginStatus = 13  // an empty password was given
	LoginNoHome     LoginStatus = 14  // the account has no directory
	LoginNoHash     LoginStatus = 15  // none is stored
	LoginBadByte    LoginStatus = 20  // in the name
	LoginCannotTell LoginStatus = 111 // not of vchkpw: the hash is one that cannot be checked here
)

// String returns words for a log.
func (s LoginStatus) String() string {
	switch s {
	case LoginOK:
		return "ok"
	case LoginDenied:
		return "access denied"
	case LoginFailed:
		return "password or user is wrong"
	case LoginNoHome:
		return "account has no directory"
	case LoginNoName:
		return "null user name given"
	case LoginNoPassword:
		return "null password given"
	case LoginNoHash:
		return "user has no password"
	case LoginBadByte:
		return "invalid user or domain characters"
	case LoginCannotTell:
		return "cannot tell"
	}
	return fmt.Sprintf("status %d", int(s))
}

// How a password was accepted.
const (
	MethodPlain = "PLAIN"    // the password itself
	MethodAPOP  = "APOP"     // MD5 of challenge and password (RFC 1939)
	MethodCRAM  = "CRAM-MD5" // HMAC-MD5 of the challenge (RFC 2195)
)

// CryptFunc checks a password against a hash of a scheme that this package
// does not know, as crypt(3) of the host would.
type CryptFunc func(hash, password qmailkit.Secret) (match bool, err error)

// CheckLogin decides on a login as vchkpw does, for an account u with these
// effective flags (see User.Effective); nil is no account. Nothing but the
// arguments is looked at. reason says why in words for a log, without secrets;
// it may be empty.
//
// The answer to a challenge is compared where the account has a clear
// password: APOP's for POP, CRAM-MD5's for SMTP. Else, and if that is not it,
// the password is checked against the hash. Digests are compared in constant
// time, and where there is no account, or one without a hash, a hash of the
// installation's kind is computed all the same, so that the time does not tell
// which names exist. (It can tell accounts whose hash is of another kind.)
//
// These hashes are checked: DES, BSDi, $1$, $2a$, $2b$, $2x$, $2y$, $5$, $6$,
// $sha1$, $md5, $y$. These never match: none, locked ones ("*", "!..."), and
// what crypt(3) does not take ("{SSHA}..."; in 5.6 one "{...}" before a hash is
// passed over). For $3$, $7$, $gy$, bigcrypt, and hashes that cost more than a
// few seconds or 256 MiB, crypt is asked; nil answers LoginCannotTell.
//
// Beyond vchkpw an empty challenge has no answer, because MD5 of the bare
// password would be one, and what an account learns is never the answer to a
// challenge. learn says that a LearnPasswords installation stores the password
// now.
func (p *Profile) CheckLogin(u *User, flags Flags, c Credentials, s Service, crypt CryptFunc) (status LoginStatus, method, reason string, learn bool) {
	switch {
	case c.Name == "":
		return LoginNoName, "", "", false
	case c.Password == "":
		return LoginNoPassword, "", "", false
	}
	if u == nil {
		p.spendTime(c.Password)
		return LoginFailed, "", "no such account", false
	}
	if strings.IndexByte(string(c.Password), 0) >= 0 {
		// crypt(3) would not look at what stands behind it.
		p.spendTime(c.Password)
		return LoginFailed, "", "the password holds a NUL", false
	}
	clear := u.Clear
	if !p.ClearPasswords {
		clear = "" // a field that nobody reads there
	}
	method = MethodPlain
	if answer, name := expected(clear, c.Challenge, s); answer != "" && sameText(answer, string(c.Password)) {
		method = name
	}
	switch {
	case u.Hash == "":
		p.spendTime(c.Password)
		if !p.LearnPasswords {
			return LoginNoHash, "", "", false
		}
		if reason := p.mayLearn(clear, c); reason != "" {
			return LoginFailed, "", reason, false
		}
		method, learn = MethodPlain, true
	case method == MethodPlain:
		match, why, err := p.matches(u.Hash, c.Password, crypt)
		if err != nil {
			return LoginCannotTell, "", err.Error(), false
		}
		if !match {
			return LoginFailed, "", why, false
		}
		learn = p.LearnPasswords && p.ClearPasswords && u.Clear == "" && p.storable(c.Password)
	}
	if flags&forbids[s] != 0 {
		return LoginDenied, method, s.String(), false
	}
	return LoginOK, method, "", learn
}

// forbids are the flags that keep a user out of each service.
var forbids = [...]Flags{ServicePOP: NoPOP, ServiceSMTP: NoSMTP, ServiceIMAP: NoIMAP, ServiceWebmail: NoWebmail}

// expected is the answer that a challenge wants (vchkpw.c:authapop, authcram);
// empty where there is none.
func expected(clear qmailkit.Secret, challenge string, s Service) (answer, method string) {
	switch {
	case clear == "" || challenge == "":
	case s == ServicePOP:
		sum := md5.Sum([]byte(challenge + string(clear)))
		return hex.EncodeToString(sum[:]), MethodAPOP
	case s == ServiceSMTP:
		mac := hmac.New(md5.New, []byte(clear))
		mac.Write([]byte(challenge))
		return hex.EncodeToString(mac.Sum(nil)), MethodCRAM
	}
	return "", ""
}

func sameText(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// mayLearn says why the first password that an account is tried with must not
// become its own; empty is that it may. clear is the account's clear password.
func (p *Profile) mayLearn(clear qmailkit.Secret, c Credentials) string {
	switch {
	case c.Challenge != "":
		return "the answer to a challenge cannot be learnt"
	case clear != "" && !sameText(string(clear), string(c.Password)):
		return "the account has a clear password, and it is another"
	case !p.storable(c.Password):
		return "the password cannot be stored"
	}
	return ""
}

// storable says whether a password may stand in vpasswd.
func (p *Profile) storable(password qmailkit.Secret) bool {
	return len(password) <= p.MaxClear && !strings.ContainsAny(string(password), "\n\x00")
}

// matches checks a password against a hash.
func (p *Profile) matches(hash, password qmailkit.Secret, crypt CryptFunc) (match bool, why string, err error) {
	h := string(hash)
	if p.Release == Release56 && strings.HasPrefix(h, "{") {
		if _, rest, ok := strings.Cut(h, "}"); ok {
			h = rest
		}
	}
	switch scheme := passhash.Classify(h); scheme {
	case passhash.LDAP, passhash.Unknown:
		p.spendTime(password)
		return false, fmt.Sprintf("no crypt(3) knows a hash of scheme %q", scheme), nil
	case passhash.Empty, passhash.Locked:
		p.spendTime(password)
		return false, fmt.Sprintf("the hash is %s", scheme), nil
	}
	r := passhash.Verify(h, string(password))
	if r.Verdict != passhash.CannotTell {
		return r.Verdict == passhash.Match, r.Reason, nil
	}
	if crypt == nil {
		return false, "", errors.New(r.Reason)
	}
	match, err = crypt(qmailkit.Secret(h), password)
	return match, r.Reason, err
}

// spendTime computes a hash of the kind that the installation makes, for
// nothing but the time that it takes.
func (p *Profile) spendTime(password qmailkit.Secret) {
	passhash.Verify(idleHash[p.Hash], string(password))
}

// idleHash are hashes that no password is known for.
var idleHash = map[HashKind]string{
	HashMD5:    "$1$qmailkit$" + strings.Repeat(".", 22),
	HashDES:    "qk" + strings.Repeat(".", 11),
	HashSHA512: "$6$qmailkit$" + strings.Repeat(".", 86),
}
