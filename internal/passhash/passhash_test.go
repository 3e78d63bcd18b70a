package passhash

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

func TestClassify(t *testing.T) {
	a := strings.Repeat("a", 200)
	for hash, want := range map[string]Scheme{
		"": Empty, "!": Locked, "!!": Locked, "*": Locked, "*LK*": Locked, "*LOCKED*$1$a$b": Locked, "!$6$a$b": Locked,
		"NP": Locked, "x": Locked, "*0": Locked, "*NP*": Locked,
		"abNANd1rDfiNc": DES, "abNANd1rDfiN": Unknown, "abNANd1rDfiNcc": Unknown, "abNANd1rDfi-c": Unknown,
		"ab1iBa.N.U2C6L/YRXS3klt2": BigCrypt, a[:178]: BigCrypt, a[:189]: Unknown,
		"_J9..rasmz0.F/jqjWck": BSDi, "_J9..rasmz0.F/jqjWc": Unknown, "_J9..rasmz0.F/jqjWc-": Unknown,
		"$1$": MD5, "$2a$": Bcrypt, "$2b$": Bcrypt, "$2x$": Bcrypt, "$2y$": Bcrypt, "$2$04$": Unknown, "$3$$": NT,
		"$5$": SHA256, "$6$rounds=1$": SHA512, "$7$": Scrypt, "$md5$": SunMD5, "$md5,rounds=1$": SunMD5, "$md5": Unknown,
		"$sha1$": SHA1, "$y$": Yescrypt, "$gy$": GostYescrypt, "{SSHA}abc": LDAP, "{}": Unknown, "{": Unknown,
		"$argon2id$v=19$": Unknown, "$apr1$a$b": Unknown, "secret": Unknown, "\x00": Unknown, "\xff": Unknown,
	} {
		if got := Classify(hash); got != want {
			t.Errorf("Classify(%q) = %s, want %s", hash, got, want)
		}
	}
}

func TestUnlock(t *testing.T) {
	const h = "$1$ab$NM4FR4Dl/CzoTSJTd3YJ3."
	for _, c := range []struct {
		hash, inner string
		locked      bool
	}{
		{h, h, false}, {"", "", false}, {"secret", "secret", false},
		{"!" + h, h, true}, {"!!" + h, h, true}, {"*" + h, h, true}, {"*LOCKED*" + h, h, true}, {"*LK*" + h, h, true},
		{"*LK*!" + h, h, true}, {"!*", "", true}, {"*LK*", "", true}, {"*LOCKED*", "", true}, {"*LOCKED**", "", true}, {"NP", "", true},
		{"x", "", true}, {"!x", "", true}, {"!secret", "", true}, {"!abNANd1rDfiNc", "abNANd1rDfiNc", true},
	} {
		if inner, locked := Unlock(c.hash); inner != c.inner || locked != c.locked {
			t.Errorf("Unlock(%q) = %q, %v", c.hash, inner, locked)
		}
	}
}

// TestVerifyEdges has what the vectors cannot have.
func TestVerifyEdges(t *testing.T) {
	const md5ab = "$1$ab$NM4FR4Dl/CzoTSJTd3YJ3." // of "a"
	for _, c := range []struct {
		name, hash, password string
		want                 Verdict
	}{
		{"plain", md5ab, "a", Match},
		{"a C string ends at NUL", md5ab, "a\x00b", Match},
		{"only behind NUL", md5ab, "\x00a", Mismatch},
		{"locked", "!" + md5ab, "a", Mismatch},
		{"BSD locked", "*LOCKED*" + md5ab, "a", Mismatch},
		{"empty", "", "", Mismatch},
		{"failure of crypt(3)", "*0", "a", Mismatch},
		{"hash cut short", md5ab[:len(md5ab)-1], "a", Mismatch},
		{"hash with a newline", md5ab + "\n", "a", Mismatch},
		{"hash with more behind", md5ab + "x", "a", Mismatch},
		{"prefix only", "$1$", "a", Mismatch},
		{"prefix only", "$5$", "a", Mismatch},
		{"prefix only", "$6$rounds=", "a", Mismatch},
		{"prefix only", "$2b$", "a", Mismatch},
		{"prefix only", "$sha1$", "a", Mismatch},
		{"prefix only", "$md5$", "a", Mismatch},
		{"prefix only", "$md5,", "a", CannotTell},
		{"prefix only", "$y$", "a", Mismatch},
		{"other schemes", "{SSHA}xxxx", "a", CannotTell},
		{"other schemes", "$3$$878d8014606cda29677a44efa1353fc7", "secret", CannotTell},
		{"other schemes", "$gy$j75$abcd$ElLoQsbvG6VzaG8FhgjniahJJXjGjZaZ4lIYhbWGP7A", "secret", CannotTell},
		{"other schemes", "$7$CU..../....abcd$QxDUCn6gp/./qDMeQRQr.V0apj1LxDDglRdXXTde7R8", "secret", CannotTell},
		{"other schemes", "ab1iBa.N.U2C6L/YRXS3klt2", "123456789", CannotTell},
		{"no scheme", "clear", "clear", CannotTell},
		{"other flavour", "$y$.75$ab..$9BsMBKLyDuftg9fI8XTygfZzN6ehnVJFw5ZuNhGmjYB", "secret", CannotTell},
		{"two characters of cost", "$y$jz175$ab..$9BsMBKLyDuftg9fI8XTygfZzN6ehnVJFw5ZuNhGmjYB", "secret", CannotTell},
		{"a byte of block size that continues", "$y$j7z$ab..$9BsMBKLyDuftg9fI8XTygfZzN6ehnVJFw5ZuNhGmjYB", "secret", CannotTell},
	} {
		if got := Verify(c.hash, c.password); got.Verdict != c.want {
			t.Errorf("%s: Verify(%q, %q) = %v, want %v", c.name, c.hash, c.password, got, c.want)
		}
	}
	long := strings.Repeat("x", MaxPassword)
	hash, err := Make(SHA512, long, "salt")
	if err != nil {
		t.Fatal(err)
	}
	if got := Verify(hash, long); got.Verdict != Match {
		t.Errorf("password of %d bytes: %v", len(long), got)
	}
	if got := Verify("abzDJoqKYZJww", long+"x"); got.Verdict != Mismatch { // DES would look at 8 of them
		t.Errorf("password of %d bytes: %v", len(long)+1, got)
	}
}

// TestLimits asks for what would take hours.
func TestLimits(t *testing.T) {
	sum := func(n int) string { return strings.Repeat("a", n-1) + "." }
	for _, hash := range []string{
		"$5$rounds=999999999$salt$" + sum(43), "$6$rounds=2000001$salt$" + sum(86), "$sha1$4294967295$salt$" + sum(28),
		"$md5,rounds=4294963199$salt$$" + sum(22), "$md5,rounds=4294963199$salt$" + sum(22),
		"$2b$31$" + sum(22) + sum(31), "$2a$16$" + sum(22) + sum(31),
		"$y$jFT$" + sum(22) + "$" + sum(43), "$y$jX.$" + sum(22) + "$" + sum(43), "$y$jjj$" + sum(22) + "$" + sum(43),
	} {
		start := time.Now()
		if got := Verify(hash, "secret"); got.Verdict != CannotTell || !strings.Contains(got.Reason, errDear.Error()) {
			t.Errorf("%s: %v", hash, got)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("%s: %v", hash, took)
		}
	}
	tight := Limits{BSDiRounds: 100}
	if got := tight.Verify("_J9..rasmz0.F/jqjWck", "secret"); got.Verdict != CannotTell {
		t.Errorf("BSDi: %v", got)
	}
}

// TestReasonsAreSilent looks for the hash and the password in the reasons.
func TestReasonsAreSilent(t *testing.T) {
	const secret = "swordfish"
	for _, hash := range []string{"swordfish", "{CLEAR}swordfish", "!swordfish", "$1$swordfish", "$5$rounds=swordfish$", "$y$swordfish$", "$2b$swordfish"} {
		if got := Verify(hash, secret); strings.Contains(got.Reason, secret) || got.Reason == "" {
			t.Errorf("%q: reason %q", hash, got.Reason)
		}
	}
}

// TestVpopmail checks vpopmail's hashes and makes them again.
func TestVpopmail(t *testing.T) {
	text, err := os.ReadFile("testdata/vpopmail.tsv")
	if err != nil {
		t.Fatal(err)
	}
	made := map[Scheme]int{}
	for line := range strings.Lines(string(text)) {
		password, hash, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if got := Verify(hash, password); got.Verdict != Match {
			t.Errorf("%q, %s: %v", password, hash, got)
		}
		if got := Verify(hash, password+"?"); got.Verdict != Mismatch && Classify(hash) != DES {
			t.Errorf("%q?, %s: %v", password, hash, got)
		}
		scheme := Classify(hash)
		salt := hash[:2]
		if scheme != DES {
			salt = strings.Split(hash, "$")[2]
		}
		if saltLen(scheme) == 0 {
			continue
		}
		again, err := Make(scheme, password, salt)
		if err != nil || again != hash {
			t.Errorf("Make(%s, %q, %q) = %q, %v, want %q", scheme, password, salt, again, err, hash)
		}
		made[scheme]++
	}
	if made[MD5] < 100 || made[SHA512] < 1 || made[SHA256] < 1 || made[DES] < 1 {
		t.Errorf("too few samples: %v", made)
	}
}

func TestMake(t *testing.T) {
	for scheme, length := range map[Scheme]int{DES: 13, MD5: 34, SHA256: 3 + 8 + 1 + 43, SHA512: 3 + 8 + 1 + 86} {
		fixed := Maker{Rand: bytes.NewReader([]byte("\x00\x3f\x40\xff\x01\x02\x03\x04"))}
		hash, err := fixed.Make(scheme, "pass w\xf6rd")
		if err != nil || len(hash) != length || Classify(hash) != scheme {
			t.Fatalf("%s: %q, %v", scheme, hash, err)
		}
		if !strings.Contains(hash, ".z") {
			t.Errorf("%s: salt of the first random bytes is not in %q", scheme, hash)
		}
		if got := Verify(hash, "pass w\xf6rd"); got.Verdict != Match {
			t.Errorf("%s: %v", scheme, got)
		}
		one, err1 := Maker{}.Make(scheme, "x")
		two, err2 := Maker{}.Make(scheme, "x")
		if err := errors.Join(err1, err2); err != nil || scheme != DES && one == two {
			t.Errorf("%s: %q, then %q (%v)", scheme, one, two, err)
		}
	}
	if _, err := (Maker{Rand: bytes.NewReader(nil)}).Make(MD5, "x"); !errors.Is(err, io.EOF) {
		t.Errorf("no random bytes: %v", err)
	}
	for _, c := range []struct {
		scheme         Scheme
		password, salt string
		want           error
	}{
		{Yescrypt, "x", "abc", ErrScheme}, {Locked, "x", "abc", ErrScheme}, {MD5, "a\x00b", "abc", ErrPassword},
		{MD5, strings.Repeat("x", 512), "abc", ErrPassword}, {MD5, "x", "", ErrSalt}, {MD5, "x", "123456789", ErrSalt},
		{DES, "x", "abc", ErrSalt}, {DES, "x", "a$", ErrSalt}, {SHA512, "x", "12345678901234567", ErrSalt}, {SHA512, "x", "a$b", ErrSalt},
		{SHA256, "x", "a\nb", ErrSalt},
	} {
		if hash, err := Make(c.scheme, c.password, c.salt); !errors.Is(err, c.want) {
			t.Errorf("Make(%s, %q, %q) = %q, %v; want %v", c.scheme, c.password, c.salt, hash, err, c.want)
		}
	}
	if _, err := (Maker{}).Make(Bcrypt, "x"); !errors.Is(err, ErrScheme) {
		t.Errorf("bcrypt: %v", err)
	}
}

// FuzzVerify gives any text as a hash. What is allowed to run is quick.
func FuzzVerify(f *testing.F) {
	vectors := readVectors(f)
	if len(vectors) == 0 {
		f.Fatal("no seeds")
	}
	for i := 0; i < len(vectors); i += 7 {
		f.Add(vectors[i].hash, vectors[i].password)
	}
	quick := Limits{SHARounds: 5000, SHA1Rounds: 5000, SunRounds: 100, BcryptCost: 5, YescryptMB: 1, BSDiRounds: 5000}
	f.Fuzz(func(t *testing.T, hash, password string) {
		start := time.Now()
		got := quick.Verify(hash, password)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%v", took)
		}
		scheme := Classify(hash)
		switch {
		case got.Verdict == CannotTell && got.Reason == "":
			t.Error("cannot tell, without a reason")
		case got.Verdict == Match && !scheme.Checkable():
			t.Errorf("%s matches", scheme)
		case got.Verdict == Match && (len(hash) < desLen || badSetting(hash)):
			t.Errorf("%q matches", hash)
		}
		if inner, locked := Unlock(hash); locked && inner != "" && !Classify(inner).Crypt() {
			t.Errorf("Unlock(%q) = %q", hash, inner)
		}
	})
}
