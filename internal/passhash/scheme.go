// Package passhash tells what a stored password hash is, checks a clear
// password against it as crypt(3) of libxcrypt would, and makes the hashes that
// vpopmail makes.
//
// Old hosts bring hashes of forty years along, some of them damaged, some of
// them from enemies. So the form of a hash is checked here, byte for byte,
// before any cryptographic code sees it; what it would cost is bounded (see
// Limits); and a hash of which this package is not sure is CannotTell, never a
// guess.
package passhash

import "strings"

// A Scheme is the way in which a hash was made. The words are stable: reports
// and JSON show them.
type Scheme string

// The schemes, after crypt(5) of libxcrypt.
const (
	Empty        Scheme = "empty"         // no hash: whether that lets everybody in or nobody is the reader's choice
	Locked       Scheme = "locked"        // "!", "!!", "*", "*LK*", "*LOCKED*", "NP", "x", with or without a hash behind; see Unlock
	DES          Scheme = "des"           // 13 characters; 8 characters of 7 bits count
	BigCrypt     Scheme = "bigcrypt"      // 11 characters more for every 8 of the password
	BSDi         Scheme = "bsdi"          // _ and 19 characters
	MD5          Scheme = "md5"           // $1$
	Bcrypt       Scheme = "bcrypt"        // $2a$ $2b$ $2x$ $2y$
	NT           Scheme = "nt"            // $3$
	SHA256       Scheme = "sha256"        // $5$
	SHA512       Scheme = "sha512"        // $6$
	Scrypt       Scheme = "scrypt"        // $7$
	SunMD5       Scheme = "sunmd5"        // $md5
	SHA1         Scheme = "sha1"          // $sha1$
	Yescrypt     Scheme = "yescrypt"      // $y$
	GostYescrypt Scheme = "gost-yescrypt" // $gy$
	LDAP         Scheme = "ldap"          // {SSHA} and the like: no crypt(3) knows them
	Unknown      Scheme = "unknown"       // anything else
)

// Checkable says whether Verify knows the scheme. Even then a single hash can
// be CannotTell: where it costs too much, or has a form that is never made.
func (s Scheme) Checkable() bool {
	switch s {
	case DES, BSDi, MD5, Bcrypt, SHA256, SHA512, SunMD5, SHA1, Yescrypt:
		return true
	}
	return false
}

// Crypt says whether some crypt(3) knows the scheme, so that a host that has
// this crypt(3) can check the hash.
func (s Scheme) Crypt() bool {
	switch s {
	case BigCrypt, NT, Scrypt, GostYescrypt:
		return true
	}
	return s.Checkable()
}

// prefixes are tried in this order.
var prefixes = [...]struct {
	prefix string
	scheme Scheme
}{
	{"$1$", MD5}, {"$2a$", Bcrypt}, {"$2b$", Bcrypt}, {"$2x$", Bcrypt}, {"$2y$", Bcrypt}, {"$3$", NT},
	{"$5$", SHA256}, {"$6$", SHA512}, {"$7$", Scrypt}, {"$md5$", SunMD5}, {"$md5,", SunMD5},
	{"$sha1$", SHA1}, {"$y$", Yescrypt}, {"$gy$", GostYescrypt},
}

// Classify tells the scheme of a hash field, as it stands in shadow(5),
// master.passwd(5) or vpasswd. It looks at the beginning, and where there is
// no prefix at length and alphabet; a hash that is damaged further on keeps
// its scheme, and Verify then says that it never matches.
func Classify(hash string) Scheme {
	switch {
	case hash == "":
		return Empty
	case hash[0] == '!', hash[0] == '*', hash == "NP", hash == "x":
		return Locked
	case hash[0] == '$':
		for _, p := range prefixes {
			if strings.HasPrefix(hash, p.prefix) {
				return p.scheme
			}
		}
	case hash[0] == '{':
		if end := strings.IndexByte(hash, '}'); end > 1 {
			return LDAP
		}
	case hash[0] == '_':
		if len(hash) == bsdiLen && is64(hash[1:]) {
			return BSDi
		}
	case is64(hash):
		switch n := len(hash); {
		case n == desLen:
			return DES
		case n > desLen && n <= 178 && (n-2)%11 == 0:
			return BigCrypt
		}
	}
	return Unknown
}

// Unlock takes away the marks with which shadow(5) and pw(8) lock an account,
// and returns what stands behind them: the hash that the account had, or
// nothing where there is none. A field that is not locked comes back as it is.
func Unlock(hash string) (inner string, locked bool) {
	if Classify(hash) != Locked {
		return hash, false
	}
	inner = hash
	for _, mark := range []string{"*LOCKED*", "*LK*"} {
		if rest, found := strings.CutPrefix(hash, mark); found {
			inner = rest
		}
	}
	inner = strings.TrimLeft(inner, "!*")
	if !Classify(inner).Crypt() {
		inner = ""
	}
	return inner, true
}

// alphabet64 is that of all crypt(3) schemes but bcrypt, in the order of its
// values.
const alphabet64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// is64 says whether all of s is in alphabet64.
func is64(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('.' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z') {
			return false
		}
	}
	return true
}
