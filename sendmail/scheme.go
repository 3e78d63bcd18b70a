package sendmail

import "strings"

// classify names the scheme of a crypt string, by the prefixes of crypt(5);
// known is false for a string that is none.
func classify(hash string) (scheme string, known bool) {
	for _, s := range [...]struct{ prefix, scheme string }{
		{"$1$", "md5"}, {"$2a$", "bcrypt"}, {"$2b$", "bcrypt"}, {"$2x$", "bcrypt"}, {"$2y$", "bcrypt"},
		{"$3$", "nt"}, {"$5$", "sha256"}, {"$6$", "sha512"}, {"$7$", "scrypt"}, {"$md5", "sunmd5"},
		{"$sha1$", "sha1"}, {"$y$", "yescrypt"}, {"$gy$", "gost-yescrypt"}, {"{", "ldap"},
	} {
		if strings.HasPrefix(hash, s.prefix) && len(hash) > len(s.prefix) {
			return s.scheme, true
		}
	}
	const alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	if rest, ok := strings.CutPrefix(hash, "_"); ok && len(rest) == 19 && strings.Trim(rest, alphabet) == "" {
		return "bsdi", true
	}
	if strings.Trim(hash, alphabet) == "" {
		switch n := len(hash); {
		case n == 13:
			return "des", true
		case n > 13 && n <= 178 && (n-2)%11 == 0:
			return "bigcrypt", true
		}
	}
	return "", false
}
