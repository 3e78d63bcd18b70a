package passhash

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/GehirnInc/crypt"
	"github.com/GehirnInc/crypt/md5_crypt"
	"github.com/GehirnInc/crypt/sha256_crypt"
	"github.com/GehirnInc/crypt/sha512_crypt"
	"github.com/sergeymakinen/go-crypt/des"
)

var (
	// ErrScheme says that hashes of that scheme are not made here.
	ErrScheme = errors.New("no hashes are made in this scheme")
	// ErrPassword says that crypt(3) would not take the password as it is.
	ErrPassword = errors.New("password cannot be hashed as it is")
	// ErrSalt says that a salt has the wrong length or characters.
	ErrSalt = errors.New("bad salt")
)

// A Maker makes hashes with salts of its own. The zero value is ready.
type Maker struct {
	// Rand is where salts come from; nil is crypto/rand.
	Rand io.Reader
}

// saltLen is the length of vpopmail's salts (vpopmail.c: mkpasswd3).
func saltLen(s Scheme) int {
	switch s {
	case DES:
		return des.SaltLength
	case MD5, SHA256, SHA512:
		return 8
	}
	return 0
}

// Make hashes a password with a fresh salt, as vpopmail does: two characters
// for DES, eight for MD5, SHA256 and SHA512. Other schemes are ErrScheme.
func (m Maker) Make(s Scheme, password string) (string, error) {
	n := saltLen(s)
	if n == 0 {
		return "", fmt.Errorf("%w: %s", ErrScheme, s)
	}
	salt := make([]byte, n)
	source := m.Rand
	if source == nil {
		source = rand.Reader
	}
	if _, err := io.ReadFull(source, salt); err != nil {
		return "", fmt.Errorf("reading random bytes for a salt: %w", err)
	}
	for i, b := range salt {
		salt[i] = alphabet64[b&63]
	}
	return Make(s, password, string(salt))
}

// Make hashes a password with a given salt, of characters ./0-9A-Za-z: two for
// DES, one to eight for MD5, one to sixteen for SHA256 and SHA512. Of a
// password for DES eight characters count. A password with NUL or of more than
// MaxPassword bytes is ErrPassword.
func Make(s Scheme, password, salt string) (string, error) {
	switch {
	case strings.IndexByte(password, 0) >= 0:
		return "", fmt.Errorf("%w: it has a NUL", ErrPassword)
	case len(password) > MaxPassword:
		return "", fmt.Errorf("%w: it has more than %d bytes", ErrPassword, MaxPassword)
	case !is64(salt):
		return "", fmt.Errorf("%w: characters other than ./0-9A-Za-z", ErrSalt)
	}
	var c crypt.Crypter
	prefix, most := "", 16
	switch s {
	case DES:
		return makeDES(password, salt)
	case MD5:
		c, prefix, most = md5_crypt.New(), md5_crypt.MagicPrefix, 8
	case SHA256:
		c, prefix = sha256_crypt.New(), sha256_crypt.MagicPrefix
	case SHA512:
		c, prefix = sha512_crypt.New(), sha512_crypt.MagicPrefix
	default:
		return "", fmt.Errorf("%w: %s", ErrScheme, s)
	}
	if salt == "" || len(salt) > most {
		return "", fmt.Errorf("%w: %d characters", ErrSalt, len(salt))
	}
	return c.Generate([]byte(password), []byte(prefix+salt))
}

func makeDES(password, salt string) (string, error) {
	if len(salt) != des.SaltLength {
		return "", fmt.Errorf("%w: %d characters", ErrSalt, len(salt))
	}
	key, err := des.Key([]byte(password[:min(len(password), des.MaxPasswordLength)]), []byte(salt))
	if err != nil {
		return "", err
	}
	sum := base64.NewEncoding(alphabet64).WithPadding(base64.NoPadding).EncodeToString(key)
	return salt + sum, nil
}
