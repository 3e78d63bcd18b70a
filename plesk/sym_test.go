package plesk

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
)

var testKey = []byte("\x00key of 16 byte\xff")

func secretKey(t testing.TB, b []byte) *SecretKey {
	t.Helper()
	k, err := NewSecretKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestSymOpenssl lets openssl encrypt, as administrators do it by hand, and
// decrypt what Seal made.
func TestSymOpenssl(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("QMAILKIT_REQUIRE_PEERS") != "" {
			t.Fatal(err)
		}
		t.Skip("no openssl: ", err)
	}
	run := func(iv, in []byte, args ...string) []byte {
		t.Helper()
		c := exec.CommandContext(t.Context(), openssl, append([]string{"enc", "-aes-128-cbc", "-nopad", "-K", hex.EncodeToString(testKey), "-iv", hex.EncodeToString(iv)}, args...)...)
		c.Stdin = bytes.NewReader(in)
		out, err := c.Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	k := secretKey(t, testKey)
	for _, pw := range []string{"short", "exactly 16 bytes", "grün & weiß: ~", strings.Repeat("forty bytes ", 4)[:40], "x"} {
		iv := make([]byte, 16)
		rand.Read(iv)
		padded := append([]byte(pw), make([]byte, (16-len(pw)%16)%16)...)
		text := run(iv, padded)
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding} {
			stored := fmt.Sprintf("$AES-128-CBC$%s$%s", enc.EncodeToString(iv), enc.EncodeToString(text))
			if got, err := k.Open(qmailkit.Secret(stored)); err != nil || string(got) != pw {
				t.Errorf("%q: %q, %v", pw, string(got), err)
			}
		}
		sealed, err := k.Seal(rand.Reader, qmailkit.Secret(pw))
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Split(string(sealed), "$")
		iv, _ = base64.StdEncoding.DecodeString(f[2])
		text, _ = base64.StdEncoding.DecodeString(f[3])
		if got := strings.TrimRight(string(run(iv, text, "-d")), "\x00"); got != pw {
			t.Errorf("openssl opens %q as %q", pw, got)
		}
	}
}

// TestSymForm takes base64 with its padding or without any, and nothing else.
func TestSymForm(t *testing.T) {
	k := secretKey(t, testKey)
	sealed, err := k.Seal(rand.Reader, "secret")
	if err != nil {
		t.Fatal(err)
	}
	iv, text, _ := strings.Cut(strings.TrimPrefix(string(sealed), symPrefix), "$")
	iv, text = strings.TrimRight(iv, "="), strings.TrimRight(text, "=")
	for stored, good := range map[string]bool{
		symPrefix + iv + "==$" + text + "==":   true,
		symPrefix + iv + "$" + text + "==":     true,
		symPrefix + iv + "$" + text:            true,
		symPrefix + iv + "=$" + text + "==":    false,
		symPrefix + iv + "==$" + text + "===":  false,
		symPrefix + iv + "\n==$" + text + "==": false,
		symPrefix + iv + "==$" + text + "==\n": false,
		symPrefix + iv + "==$" + text + "==$":  false,
		symPrefix + iv[:5] + "==$" + text:      false,
		symPrefix + "$" + text:                 false,
		symPrefix + iv + "$":                   false,
		symPrefix + iv + "==$-_" + text[2:]:    false,
		"$AES-256-CBC$" + iv + "==$" + text:    false,
		strings.ToLower(symPrefix) + iv + text: false,
		symPrefix + iv + "==$" + text[:20]:     false,
		symPrefix + iv + "==$" + text + text:   false,
	} {
		got, err := k.Open(qmailkit.Secret(stored))
		if good && (err != nil || got != "secret") || !good && !errors.Is(err, ErrSym) {
			t.Errorf("%s: %v", stored, err)
		}
	}
}

// TestSymKey tries wrong keys and damaged texts.
func TestSymKey(t *testing.T) {
	k := secretKey(t, testKey)
	for n := range 64 {
		if n != 16 {
			if _, err := NewSecretKey(make([]byte, n)); !errors.Is(err, ErrKeySize) {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
	}
	sealed, err := k.Seal(rand.Reader, "correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		b := make([]byte, 16)
		rand.Read(b)
		if got, err := secretKey(t, b).Open(sealed); !errors.Is(err, ErrKey) {
			t.Fatalf("a wrong key gives %q, %v", string(got), err)
		}
	}
	for i := range len(strings.TrimRight(string(sealed), "=")) { // the padding may be missing
		if i == len(symPrefix)+len("0123456789012345678901==$")+22 {
			continue // one whole block, which nothing tells from a shorter password
		}
		if _, err := k.Open(sealed[:i]); err == nil {
			t.Errorf("cut at %d: no error", i)
		}
	}
	for _, bad := range []qmailkit.Secret{"", "plain", "$AES-128-CBC$", "$AES-128-CBC$AAAA$AAAA", "$1$abc$def", sealed + "$", sealed + "!"} {
		if _, err := k.Open(bad); !errors.Is(err, ErrSym) {
			t.Errorf("%q: %v", string(bad), err)
		}
	}
	for _, bad := range []qmailkit.Secret{"", "ends in\x00"} {
		if _, err := k.Seal(rand.Reader, bad); !errors.Is(err, ErrSym) {
			t.Errorf("sealing %q: %v", string(bad), err)
		}
	}
	if _, err := k.Seal(bytes.NewReader(nil), "x"); err == nil {
		t.Error("sealed without randomness")
	}
}

func FuzzSym(f *testing.F) {
	k := secretKey(f, testKey)
	for _, pw := range []qmailkit.Secret{"a", "sixteen bytes ..", "longer than one block"} {
		s, err := k.Seal(rand.Reader, pw)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(s))
	}
	f.Fuzz(func(t *testing.T, stored string) {
		pw, err := k.Open(qmailkit.Secret(stored))
		if err != nil {
			return
		}
		again, err := k.Seal(rand.Reader, pw)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.Open(again); err != nil || got != pw {
			t.Fatalf("%q became %q, %v", string(pw), string(got), err)
		}
	})
}
