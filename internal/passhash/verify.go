package passhash

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/GehirnInc/crypt"
	"github.com/GehirnInc/crypt/md5_crypt"
	"github.com/GehirnInc/crypt/sha256_crypt"
	"github.com/GehirnInc/crypt/sha512_crypt"
	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/md5crypt"
	"github.com/go-crypt/crypt/algorithm/scrypt"
	"github.com/go-crypt/crypt/algorithm/sha1crypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"github.com/sergeymakinen/go-crypt/des"
	"github.com/sergeymakinen/go-crypt/desext"
	"github.com/sergeymakinen/go-crypt/sunmd5"
)

// A Verdict is the answer of Verify.
type Verdict uint8

const (
	// CannotTell means that this package cannot check the hash. It says
	// nothing about the password.
	CannotTell Verdict = iota
	// Match means that crypt(3) would let the password in.
	Match
	// Mismatch means that it would not: the password is wrong, or the hash is
	// one that no password matches.
	Mismatch
)

// String returns "cannot tell", "match" or "mismatch".
func (v Verdict) String() string {
	switch v {
	case Match:
		return "match"
	case Mismatch:
		return "mismatch"
	}
	return "cannot tell"
}

// A Result is a Verdict and, unless a plain comparison decided, the reason for
// it. The reason quotes neither hash nor password.
type Result struct {
	Verdict Verdict
	Reason  string
}

// Limits bounds what one Verify may cost. A dearer hash is CannotTell.
type Limits struct {
	SHARounds  int // of $5$ and $6$
	SHA1Rounds int // of $sha1$
	SunRounds  int // of $md5,rounds=
	BcryptCost int // binary logarithm of the rounds
	YescryptMB int // memory, in MiB; the time grows with it
	BSDiRounds int
}

// DefaultLimits lets everything pass that a distribution's passwd(1) or a
// cautious administrator makes, and stops at a few seconds and 256 MiB.
func DefaultLimits() Limits {
	return Limits{
		SHARounds:  2_000_000,
		SHA1Rounds: 4_000_000,
		SunRounds:  1_000_000,
		BcryptCost: 15,
		YescryptMB: 256,
		BSDiRounds: 1<<24 - 1,
	}
}

// MaxPassword is the longest password, in bytes, that crypt(3) of libxcrypt
// takes (CRYPT_MAX_PASSPHRASE_SIZE less one).
const MaxPassword = 511

// Verify says whether password opens hash, within DefaultLimits.
//
// It decides as a program does that calls crypt(3) of libxcrypt and compares
// the result with the hash byte for byte. So the password ends at its first
// NUL, as every C string does; one of more than MaxPassword bytes matches
// nothing; and so does a hash that crypt(3) would not have written just so
// (rounds below 1000 or with a leading zero, a salt that is too long, bits
// behind the end). A locked or empty hash matches nothing.
func Verify(hash, password string) Result { return DefaultLimits().Verify(hash, password) }

// Verify is the function Verify within the given limits.
func (l Limits) Verify(hash, password string) Result {
	scheme := Classify(hash)
	switch {
	case scheme == Empty:
		return Result{Mismatch, "there is no hash"}
	case scheme == Locked:
		return Result{Mismatch, "the hash is locked"}
	case !scheme.Checkable():
		return Result{CannotTell, fmt.Sprintf("scheme %q is not supported", scheme)}
	case badSetting(hash):
		return never("the hash has characters that crypt(3) refuses")
	}
	if end := strings.IndexByte(password, 0); end >= 0 {
		password = password[:end]
	}
	if len(password) > MaxPassword {
		return Result{Mismatch, fmt.Sprintf("the password is longer than the %d bytes that crypt(3) takes", MaxPassword)}
	}
	switch scheme {
	case DES:
		return verdict(des.Check(hash, password[:min(len(password), des.MaxPasswordLength)]) == nil)
	case BSDi:
		return l.bsdi(hash, password)
	case MD5:
		return verifyMD5(hash, password)
	case SHA256, SHA512:
		return l.sha2(scheme, hash, password)
	case SHA1:
		return l.sha1(hash, password)
	case SunMD5:
		return l.sunMD5(hash, password)
	case Bcrypt:
		return l.bcrypt(hash, password)
	case Yescrypt:
		return l.yescrypt(hash, password)
	}
	return Result{CannotTell, "no such scheme"}
}

func verdict(match bool) Result {
	if match {
		return Result{Verdict: Match}
	}
	return Result{Verdict: Mismatch}
}

// never is the result for a hash that crypt(3) cannot have written.
func never(reason string) Result { return Result{Mismatch, "no password matches: " + reason} }

var errDear = errors.New("costs more than the limit")

func dear(what string, has, limit int) Result {
	return Result{CannotTell, fmt.Sprintf("%s %d: %v of %d", what, has, errDear, limit)}
}

// badSetting is the check that libxcrypt makes of every setting.
func badSetting(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f || strings.IndexByte("!*:;\\", s[i]) >= 0 {
			return true
		}
	}
	return false
}

// digest compares through one of go-crypt's decoders. The hash has been
// checked, so that a decoder that refuses it is a surprise.
func digest(decode func(string) (algorithm.Digest, error), hash, password string) Result {
	d, err := decode(hash)
	if err != nil {
		return Result{CannotTell, "the hash cannot be decoded"}
	}
	match, err := d.MatchBytesAdvanced([]byte(password))
	if err != nil {
		return Result{CannotTell, "the hash cannot be computed"}
	}
	return verdict(match)
}

// compare compares through one of GehirnInc's crypters.
func compare(c crypt.Crypter, hash, password string) Result {
	err := c.Verify(hash, []byte(password))
	if err != nil && !errors.Is(err, crypt.ErrKeyMismatch) {
		return Result{CannotTell, "the hash cannot be computed"}
	}
	return verdict(err == nil)
}

const (
	desLen  = 2 + 11
	bsdiLen = 1 + 4 + 4 + 11
)

func (l Limits) bsdi(hash, password string) Result {
	rounds := 0
	for i := 4; i >= 1; i-- {
		rounds = rounds<<6 | strings.IndexByte(alphabet64, hash[i])
	}
	if rounds > l.BSDiRounds {
		return dear("rounds", rounds, l.BSDiRounds)
	}
	if rounds == 0 { // crypt(3) makes one round then
		hash = "_/..." + hash[5:]
	}
	return verdict(desext.Check(hash, password) == nil)
}

// splitSalt parts "SALT$SUM". The salt may be empty.
func splitSalt(s string, maxSalt, sumLen int) (salt, sum string, ok bool) {
	salt, sum, ok = strings.Cut(s, "$")
	return salt, sum, ok && len(salt) <= maxSalt && len(sum) == sumLen && is64(sum)
}

var errForm = never("the hash has not the form of its scheme")

func verifyMD5(hash, password string) Result {
	if _, _, ok := splitSalt(hash[len("$1$"):], md5_crypt.SaltLenMax, 22); !ok {
		return errForm
	}
	return compare(md5_crypt.New(), hash, password)
}

// number reads a decimal number as crypt(3) writes it: no sign and no leading
// zero.
func number(s string, most uint64) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n <= most && s == strconv.FormatUint(n, 10)
}

func (l Limits) sha2(scheme Scheme, hash, password string) Result {
	sumLen, plain, variant := 43, sha256_crypt.New(), shacrypt.VariantSHA256
	if scheme == SHA512 {
		sumLen, plain, variant = 86, sha512_crypt.New(), shacrypt.VariantSHA512
	}
	rest := hash[len("$5$"):]
	given, custom := strings.CutPrefix(rest, "rounds=")
	rounds := uint64(sha256_crypt.RoundsDefault)
	if custom {
		var text string
		var ok bool
		text, rest, _ = strings.Cut(given, "$")
		if rounds, ok = number(text, sha256_crypt.RoundsMax); !ok || rounds < sha256_crypt.RoundsMin {
			return never("crypt(3) refuses that number of rounds")
		}
	}
	if _, _, ok := splitSalt(rest, sha256_crypt.SaltLenMax, sumLen); !ok {
		return errForm
	}
	if rounds > uint64(l.SHARounds) {
		return dear("rounds", int(rounds), l.SHARounds)
	}
	if custom {
		return digest(shacrypt.DecodeVariant(variant), hash, password)
	}
	return compare(plain, hash, password)
}

// sha1Salt is the longest salt of $sha1$ that anything makes.
const sha1Salt = 64

func (l Limits) sha1(hash, password string) Result {
	text, rest, _ := strings.Cut(hash[len("$sha1$"):], "$")
	salt, _, ok := splitSalt(rest, len(rest), 28)
	rounds, good := number(text, 1<<32-1)
	switch {
	case !ok, !good, salt == "", !is64(salt):
		return errForm
	case len(salt) > sha1Salt:
		return Result{CannotTell, "the salt is longer than any program makes it"}
	case rounds > uint64(l.SHA1Rounds):
		return dear("rounds", int(rounds), l.SHA1Rounds)
	}
	return digest(sha1crypt.Decode, hash, password)
}

// sunMD5 knows "$md5$SALT$$SUM", the same with ",rounds=N" after md5, and the
// latter with one "$" before the sum.
func (l Limits) sunMD5(hash, password string) Result {
	const none, some = "$md5$", "$md5,rounds="
	rest := strings.TrimPrefix(hash, none)
	given, counted := strings.CutPrefix(hash, some)
	if counted {
		text, after, _ := strings.Cut(given, "$")
		rounds, ok := number(text, 1<<32-1-4096)
		if !ok || rounds == 0 {
			return never("crypt(3) refuses that number of rounds")
		}
		if rounds > uint64(l.SunRounds) {
			return dear("rounds", int(rounds), l.SunRounds)
		}
		rest = after
	} else if !strings.HasPrefix(hash, none) {
		return Result{CannotTell, "this variant of $md5 is not supported"}
	}
	salt, sum, _ := strings.Cut(rest, "$")
	sum, two := strings.CutPrefix(sum, "$")
	if !is64(salt) || len(sum) != 22 || !is64(sum) {
		return errForm
	}
	if two {
		return digest(md5crypt.DecodeVariant(md5crypt.VariantSun), hash, password)
	}
	// The form with one "$" is old and rare, and its module narrower: without
	// rounds it is wrong.
	if !counted || len(salt) > sunmd5.MaxSaltLength || len(password) > sunmd5.MaxPasswordLength {
		return Result{CannotTell, "this old form of $md5 is not supported"}
	}
	return verdict(sunmd5.Check(hash, password) == nil)
}

// yescrypt knows the flavour that every passwd(1) makes ("j"), with single
// characters for the cost and the block size.
func (l Limits) yescrypt(hash, password string) Result {
	params, rest, _ := strings.Cut(hash[len("$y$"):], "$")
	salt, sum, ok := splitSalt(rest, 86, 43)
	if !ok || !canonical64(salt) || !canonical64(sum) {
		return errForm
	}
	if len(params) != 3 || params[0] != 'j' {
		return Result{CannotTell, "these parameters of yescrypt are not supported"}
	}
	n, r := strings.IndexByte(alphabet64, params[1]), strings.IndexByte(alphabet64, params[2])
	if n < 0 || r < 0 || n >= 48 || r >= 48 { // from 48 on a second character would follow
		return Result{CannotTell, "these parameters of yescrypt are not supported"}
	}
	if n < 1 {
		return Result{CannotTell, "these parameters of yescrypt are not supported"}
	}
	// 128 bytes times 2^(n+1) times r+1.
	if n >= 24 || (r+1)<<(n+8)>>20 > l.YescryptMB {
		return Result{CannotTell, fmt.Sprintf("yescrypt: %v of %d MiB", errDear, l.YescryptMB)}
	}
	return digest(scrypt.DecodeVariant(scrypt.VariantYescrypt), hash, password)
}

// canonical64 says whether s is what the encoding of whole bytes looks like,
// lowest bits first: no stray character at the end and no stray bits.
func canonical64(s string) bool {
	if !is64(s) {
		return false
	}
	if s == "" {
		return true
	}
	last := strings.IndexByte(alphabet64, s[len(s)-1])
	switch len(s) % 4 {
	case 1:
		return false
	case 2:
		return last < 1<<2
	case 3:
		return last < 1<<4
	}
	return true
}
