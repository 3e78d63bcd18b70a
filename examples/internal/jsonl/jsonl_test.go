package jsonl

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
)

func TestBytesAreCodePoints(t *testing.T) {
	var all []byte
	for c := range 256 {
		all = append(all, byte(c))
	}
	b, err := json.Marshal(Bytes(all))
	if err != nil {
		t.Fatal(err)
	}
	var runes string
	if err := json.Unmarshal(b, &runes); err != nil {
		t.Fatal(err)
	}
	for i, r := range []rune(runes) {
		if int(r) != i {
			t.Fatalf("byte %d is written as %q", i, r)
		}
	}
	var back Bytes
	if err := json.Unmarshal(b, &back); err != nil || string(back) != string(all) {
		t.Errorf("read back as %q, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`"\u0100"`), &back); !errors.Is(err, ErrBytes) {
		t.Errorf("U+0100: %v", err)
	}
}

func FuzzBytes(f *testing.F) {
	f.Add("caf\xe9 \x00\"\\<&>\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := json.Marshal(Bytes(s))
		if err != nil {
			t.Fatal(err)
		}
		var back Bytes
		if err := json.Unmarshal(b, &back); err != nil || string(back) != s {
			t.Errorf("%q came back as %q, %v", s, back, err)
		}
	})
}

func TestProblemIsOneLine(t *testing.T) {
	var out bytes.Buffer
	err := NewEncoder(&out).Encode(Problem(qmailkit.Problem{Code: "a.b", Severity: qmailkit.Error, Path: "x\xff", Line: 3, Err: errors.New("two\nlines <&>")}))
	want := `{"problem":"a.b","severity":"error","path":"xÿ","line":3,"error":"two\nlines <&>"}` + "\n"
	if err != nil || out.String() != want || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("got %s want %s (%v)", &out, want, err)
	}
}
