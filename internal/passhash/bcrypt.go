package passhash

import (
	"crypto/subtle"
	"strings"

	"github.com/go-crypt/crypt/algorithm/bcrypt"
	xbcrypt "github.com/go-crypt/x/bcrypt"
	//lint:ignore SA1019 bcrypt is what this cipher is still for.
	"github.com/go-crypt/x/blowfish"
)

// bcryptAlphabet is bcrypt's own, in the order of its values.
const bcryptAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// bcryptKey is the part of a password that counts: 18 words of 4 bytes, the
// password over and over with a NUL behind each.
const bcryptKey = 72

// bcrypt checks "$2V$CC$" + 22 characters of salt + 31 of the sum.
func (l Limits) bcrypt(hash, password string) Result {
	const head = len("$2b$04$")
	if len(hash) != head+22+31 || hash[6] != '$' {
		return errForm
	}
	for i := head; i < len(hash); i++ {
		if strings.IndexByte(bcryptAlphabet, hash[i]) < 0 {
			return errForm
		}
	}
	if hash[4] < '0' || hash[4] > '9' || hash[5] < '0' || hash[5] > '9' {
		return errForm
	}
	cost := int(hash[4]-'0')*10 + int(hash[5]-'0')
	if cost < xbcrypt.MinCost || cost > xbcrypt.MaxCost {
		return never("crypt(3) refuses that cost")
	}
	if strings.IndexByte(bcryptAlphabet, hash[head+21])&0xf != 0 {
		return never("the salt has bits behind its end")
	}
	if cost > l.BcryptCost {
		return dear("cost", cost, l.BcryptCost)
	}
	right, wrong, signs := bcryptKeys(password)
	key := right
	switch hash[2] {
	case 'x':
		key = wrong
	case 'a':
		if right == wrong && signs {
			return bcryptSafety(hash[head:], right, cost)
		}
	}
	// The module knows one variant; which key it gets makes the others.
	return digest(bcrypt.DecodeVariant(bcrypt.VariantStandard), "$2b"+hash[3:], string(key[:]))
}

// bcryptKeys spreads a password over the key. The wrong key is that of the
// program that took bytes from 128 on for negative numbers, and so filled the
// upper bytes of their word with ones; $2x$ keeps it alive. signs says whether
// a word met such a byte behind its first one.
func bcryptKeys(password string) (right, wrong [bcryptKey]byte, signs bool) {
	cycle := password + "\x00"
	for word := 0; word < bcryptKey; word += 4 {
		var good, bad uint32
		for i := range 4 {
			c := cycle[(word+i)%len(cycle)]
			good = good<<8 | uint32(c)
			bad = bad<<8 | uint32(int32(int8(c)))
			if i > 0 && c >= 0x80 {
				signs = true
			}
		}
		for i := range 4 {
			right[word+i] = byte(good >> (24 - 8*i))
			wrong[word+i] = byte(bad >> (24 - 8*i))
		}
	}
	return right, wrong, signs
}

// bcryptSafety computes $2a$ for the few passwords where the right and the
// wrong key are one although bytes from 128 on occur. So that nobody can use
// such a pair, crypt(3) flips one bit of the first key word then, in the first
// of the many key schedules.
func bcryptSafety(saltAndSum string, key [bcryptKey]byte, cost int) Result {
	salt, err := xbcrypt.Base64Decode([]byte(saltAndSum[:22]))
	if err != nil {
		return Result{CannotTell, "the hash cannot be decoded"}
	}
	first := key
	first[1] ^= 1
	c, err := blowfish.NewSaltedCipher(first[:], salt)
	if err != nil {
		return Result{CannotTell, "the hash cannot be computed"}
	}
	for range 1 << cost {
		blowfish.ExpandKey(key[:], c)
		blowfish.ExpandKey(salt, c)
	}
	text := []byte("OrpheanBeholderScryDoubt")
	for i := 0; i < len(text); i += blowfish.BlockSize {
		for range 64 {
			c.Encrypt(text[i:], text[i:])
		}
	}
	sum := xbcrypt.Base64Encode(text[:23])
	return verdict(subtle.ConstantTimeCompare(sum, []byte(saltAndSum[22:])) == 1)
}
