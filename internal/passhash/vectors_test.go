package passhash

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/vectors.tsv with what crypt(3) says, through perl")

const vectorFile = "testdata/vectors.tsv"

// A vector is a password, what crypt(3) was asked with, and what it said.
type vector struct{ password, setting, hash string }

// refused are the results with which crypt(3) says no.
func (v vector) refused() bool { return v.hash == "" || strings.HasPrefix(v.hash, "*") }

// passwords of every kind: empty, at the limits of each scheme, 8-bit, binary,
// and those that tell the variants of bcrypt apart.
func passwords(rnd *rand.Rand) []string {
	all := []string{
		"", "a", "secret", "correct horse battery staple", "gr\u00fc\u00dfe", "p\xe4ss", "\x01\x7f\x80\xff", "12345678", "123456789",
		"\xff\xff\xa3", "\xa3", "\xff\xa334\xff\xff\xff\xa3345", "1\xa3345", "\xff\xa3345", "\xa3ab", "\xff\xa334", "\xff", "\xff\xff\xff\xff",
		strings.Repeat("0123456789abcdef", 5)[:72], strings.Repeat("0123456789abcdef", 5)[:73],
	}
	for _, n := range []int{7, 15, 16, 17, 31, 32, 33, 55, 63, 64, 65, 71, 100, 127, 128, 255, 256, 511} {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(1 + rnd.IntN(255))
		}
		all = append(all, string(b))
	}
	return all
}

// salted draws n characters.
func salted(rnd *rand.Rand, alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[rnd.IntN(len(alphabet))]
	}
	return string(b)
}

// settings are what crypt(3) is asked with: every scheme with salts of every
// length and the costs that are quick, and forms that it refuses or changes.
func settings(rnd *rand.Rand) []string {
	s := func(n int) string { return salted(rnd, alphabet64, n) }
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for range 12 {
		add("%s", s(2))
	}
	for i := range 12 {
		add("_%c%c..%s", alphabet64[1+i*5], alphabet64[i%3], s(4))
	}
	add("_....%s", s(4))
	for n := range 10 {
		add("$1$%s$", s(n))
	}
	add(`$1$a"b<>'$`)
	for _, id := range []string{"5", "6"} {
		for n := range 19 {
			add("$%s$%s$", id, s(n))
			add("$%s$rounds=%d$%s$", id, 1000+n*37, s(n))
		}
		add("$%s$rounds=5000$%s$", id, s(8))
		add("$%s$a_b-~'$", id)
		for _, bad := range []string{"999", "01000", "+1000", "1e3", "", "1000000000", "99999999999999999999"} {
			add("$%s$rounds=%s$%s$", id, bad, s(8))
		}
		add("$%s$rounds=1000", id)
		add("$%s$roundsx$", id)
	}
	for _, v := range "abxy" {
		for range 8 {
			add("$2%c$04$%s%c", v, salted(rnd, bcryptAlphabet, 21), ".Oeu"[rnd.IntN(4)])
		}
		add("$2%c$05$%s.", v, salted(rnd, bcryptAlphabet, 21))
		add("$2%c$04$%s", v, "abcdefghijklmnopqrstuv") // bits behind the salt
		for _, bad := range []string{"03", "32", "4", "0x", "99"} {
			add("$2%c$%s$abcdefghijklmnopqrstuu", v, bad)
		}
	}
	for n := range 20 {
		add("$sha1$%d$%s$", n*n, s(n))
	}
	add("$sha1$05$%s$", s(8))
	add("$sha1$7$%s$", s(64))
	for n := range 10 {
		add("$md5$%s", s(n))
		add("$md5$%s$$", s(n))
		add("$md5,rounds=%d$%s", n, s(n))
		add("$md5,rounds=%d$%s$$", n*17, s(n))
	}
	add("$md5$%s$$", s(20))
	add("$md5,rounds=05$%s$$", s(8))
	for _, params := range []string{"j75", "j65", "j7T", "j1.", "j2/", "j43"} {
		for _, salt := range []string{"", "..", "ab.", "abcd", s(21) + "/", s(42) + "/"} {
			add("$y$%s$%s$", params, salt)
		}
	}
	add("$y$j75$abcde$")
	return all
}

// wanted lists what crypt(3) is asked: every setting with some passwords, and
// every password with some settings of each scheme.
func wanted() []vector {
	rnd := rand.New(rand.NewPCG(3, 4))
	pws, sets := passwords(rnd), settings(rnd)
	var all []vector
	seen := map[vector]bool{}
	ask := func(pw, set string) {
		if v := (vector{pw, set, ""}); !seen[v] {
			seen[v] = true
			all = append(all, v)
		}
	}
	for i, set := range sets {
		for n := range 3 {
			ask(pws[(i*3+n)%(len(pws)-8)], set)
		}
	}
	for i, pw := range pws {
		for _, like := range []string{
			"ab", "_J9..rasm", "$1$saltsalt$", "$5$saltsalt$", "$6$saltsalt$", "$5$rounds=1003$s$", "$6$rounds=1007$salt$",
			"$2a$04$abcdefghijklmnopqrstuu", "$2b$04$abcdefghijklmnopqrstuu", "$2x$04$abcdefghijklmnopqrstuu", "$2y$04$abcdefghijklmnopqrstuu",
			"$sha1$11$salt$", "$md5$salt$$", "$md5,rounds=3$salt$$",
		} {
			ask(pw, like)
		}
		if i%3 == 0 {
			ask(pw, "$y$j75$saltsalt$")
		}
	}
	return all
}

// askCrypt lets one perl call crypt(3) for each vector. What perl cannot ask
// stays empty.
func askCrypt(t *testing.T, all []vector) []vector {
	t.Helper()
	perl, err := exec.LookPath("perl")
	if err != nil {
		missing(t, "perl is not installed")
	}
	var in bytes.Buffer
	for _, v := range all {
		fmt.Fprintf(&in, "%x\t%s\n", v.password, v.setting)
	}
	cmd := exec.Command(perl, "-e", `while (<STDIN>) { chomp; my ($p, $s) = split /\t/, $_, 2; my $r = crypt(pack("H*", $p), $s); print defined $r ? $r : "*", "\n"; }`)
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatal("perl:", err)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(all) {
		t.Fatalf("perl answered %d of %d", len(lines), len(all))
	}
	done := make([]vector, len(all))
	for i, v := range all {
		done[i] = vector{v.password, v.setting, lines[i]}
	}
	return done
}

// missing skips a test whose peer is not there, or fails it where peers are
// required.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("QMAILKIT_REQUIRE_PEERS") == "1" {
		t.Fatal("QMAILKIT_REQUIRE_PEERS=1, but", what)
	}
	t.Skip(what)
}

// checkVectors wants a match with the password, a mismatch with another one,
// and no match with a hash that differs in its last character.
func checkVectors(t *testing.T, all []vector) {
	t.Helper()
	for i, v := range all {
		if v.refused() {
			continue
		}
		if got := Verify(v.hash, v.password); got.Verdict != Match && !narrow(v) {
			t.Errorf("password %q, hash %s: %v", v.password, v.hash, got)
		}
		if i%4 != 0 { // the rest costs twice as much again
			continue
		}
		wrong := "x" + v.password
		if got := Verify(v.hash, wrong); got.Verdict == Match && len(wrong) <= MaxPassword {
			t.Errorf("password %q, hash %s: %v, but it is that of %q", wrong, v.hash, got, v.password)
		}
		damaged := v.hash[:len(v.hash)-1] + string('.'+('/'-v.hash[len(v.hash)-1])&1)
		if damaged != v.hash && Verify(damaged, v.password).Verdict == Match {
			t.Errorf("hash %s with another last character: it matches", v.hash)
		}
	}
}

// enough checks that there are vectors of every scheme.
func enough(t *testing.T, all []vector) {
	t.Helper()
	if len(all) < 1000 {
		t.Fatalf("%d vectors", len(all))
	}
	count := map[Scheme]int{}
	for _, v := range all {
		if !v.refused() {
			count[Classify(v.hash)]++
		}
	}
	for _, s := range []Scheme{DES, BSDi, MD5, Bcrypt, SHA256, SHA512, SHA1, SunMD5, Yescrypt} {
		if count[s] < 30 {
			t.Errorf("only %d vectors of %s", count[s], s)
		}
	}
}

// narrow names the one form that is not checked whole: the old one of $md5
// without rounds, or with a long salt or password.
func narrow(v vector) bool {
	return strings.HasPrefix(v.hash, "$md5") && strings.Count(v.hash, "$") == 3 &&
		(strings.HasPrefix(v.hash, "$md5$") || len(v.password) > 255 || len(v.hash) > len("$md5,rounds=9$12345678$")+22) &&
		Verify(v.hash, v.password).Verdict == CannotTell
}

// TestVectors compares with what libxcrypt said when the file was made.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t, askCrypt(t, wanted()))
	}
	all := readVectors(t)
	enough(t, all)
	checkVectors(t, all)
}

// TestAgainstCrypt compares with the crypt(3) of this machine. What it answers
// as the recorded vectors have it, TestVectors has seen.
func TestAgainstCrypt(t *testing.T) {
	probe := askCrypt(t, []vector{{"x", "$y$j75$abcd$", ""}, {"x", "$sha1$5$abcd$", ""}, {"x", "$2x$04$abcdefghijklmnopqrstuu", ""}})
	for _, v := range probe {
		if v.refused() {
			missing(t, "this crypt(3) is not the full libxcrypt: it refuses "+v.setting)
		}
	}
	known := map[vector]bool{}
	for _, v := range readVectors(t) {
		known[v] = true
	}
	asked := askCrypt(t, wanted())
	enough(t, asked)
	checkVectors(t, slices.DeleteFunc(asked, func(v vector) bool { return known[v] }))
}

// TestRefusedSettings takes what crypt(3) refuses and puts the sum of a
// neighbour behind it: that must never match.
func TestRefusedSettings(t *testing.T) {
	sums := map[Scheme]string{
		SHA256: strings.Repeat("a", 42) + ".", SHA512: strings.Repeat("a", 85) + ".", Bcrypt: strings.Repeat("a", 30) + ".",
		SunMD5: strings.Repeat("a", 21) + ".", Yescrypt: strings.Repeat("a", 42) + ".",
	}
	n := 0
	for _, v := range readVectors(t) {
		if !v.refused() || v.password == "" {
			continue
		}
		n++
		hash := v.setting + sums[Classify(v.setting)]
		if got := Verify(hash, v.password); got.Verdict != Mismatch {
			t.Errorf("%s, which crypt(3) refuses: %v", hash, got)
		}
	}
	if n < 20 {
		t.Errorf("only %d refusals", n)
	}
}

func writeVectors(t *testing.T, all []vector) {
	t.Helper()
	var b bytes.Buffer
	for _, v := range all {
		fmt.Fprintf(&b, "%x\t%s\t%s\n", v.password, v.setting, strings.TrimPrefix(v.hash, v.setting))
	}
	if err := os.WriteFile(vectorFile, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// readVectors reads "hex of the password, setting, result", where the result
// leaves out the setting if it begins with it.
func readVectors(t testing.TB) []vector {
	t.Helper()
	f, err := os.Open(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []vector
	for in := bufio.NewScanner(f); in.Scan(); {
		field := strings.Split(in.Text(), "\t")
		if len(field) != 3 {
			t.Fatalf("vector %d has %d fields", len(all)+1, len(field))
		}
		pw, err := hex.DecodeString(field[0])
		if err != nil {
			t.Fatal(err)
		}
		hash := field[2]
		if hash != "" && !strings.HasPrefix(hash, "*") && (hash[0] != '$' || strings.HasPrefix(field[1], "$md5")) {
			hash = field[1] + hash
		}
		all = append(all, vector{string(pw), field[1], hash})
	}
	return all
}
