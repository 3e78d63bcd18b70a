package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPsa looks into the samples of package plesk.
func TestPsa(t *testing.T) {
	const sample = "../../plesk/testdata/psa-new.sql"
	code, out, words := inspect("", "psa", sample)
	if code != 3 || strings.Count(out, `"type":"domain"`) != 2 || !strings.Contains(out, `"name":"anna"`) || !strings.Contains(words, "plesk.no-domain") {
		t.Errorf("exit code %d\n%s%s", code, out, words)
	}
	if strings.Contains(out, "it's") || strings.Contains(out, "stored") {
		t.Errorf("a secret is shown:\n%s", out)
	}
	if _, out, _ := inspect("", "psa", "-secrets", sample); !strings.Contains(out, `"stored":"it's \"quoted\"\\ ; -- no\ncomment"`) {
		t.Errorf("-secrets:\n%s", out)
	}
	b, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	if code, out, words := inspect(string(b), "psa", "-"); code != 3 || strings.Count(out, `"type":"domain"`) != 2 || !strings.Contains(words, "standard input:") {
		t.Errorf("standard input: exit code %d\n%s%s", code, out, words)
	}
	cut := filepath.Join(t.TempDir(), "cut.sql")
	if err := os.WriteFile(cut, b[:len(b)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, words := inspect("", "psa", cut); code != 1 || out != "" || !strings.Contains(words, "cut.sql:") {
		t.Errorf("cut: exit code %d\n%s%s", code, out, words)
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("another host key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, words := inspect("", "psa", "-secrets", "-secret-key", key, sample); code != 3 || !strings.Contains(words, "plesk.secret-key") || strings.Contains(out, `"password":`) {
		t.Errorf("the key of another host: exit code %d\n%s", code, words)
	}
	if code, _, words := inspect("", "psa", "-secret-key", "main.go", sample); code != 1 || !strings.Contains(words, "secret key") {
		t.Errorf("a key that is none: exit code %d\n%s", code, words)
	}
}
