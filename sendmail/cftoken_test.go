package sendmail

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestScan(t *testing.T) {
	s := scanner{".:%@!^/[]+"}
	for _, c := range []struct {
		text  string
		delim byte
		want  string // tokens, bytes, complaints
	}{
		{`a@b.c`, 0, `["a" "@" "b" "." "c"] 5 []`},
		{`a b, c`, ',', `["a" "b"] 4 []`},
		{"a\tb", ' ', `["a"] 2 []`},
		{`a\, b`, ',', `["a"] 3 []`},
		{`a\ b\`, 0, `["a\\ b"] 5 []`},
		{`"a, b"c`, ',', `["\"a, b\"" "c"] 7 []`},
		{`<a, b>`, ',', `["<" "a" ">"] 3 [Unbalanced '<']`},
		{`<@a,@b:c@d>`, ',', `["<" "@" "a" "," "@" "b" ":" "c" "@" "d" ">"] 11 []`},
		{`a(b(c)d)e`, 0, `["a" "e"] 9 []`},
		{`a)b))`, 0, `["ab"] 5 [Unbalanced ')' Unbalanced ')' Unbalanced ')']`},
		{`(a`, 0, `[] 2 [Unbalanced '(']`},
		{`"a`, 0, `["\"a\""] 2 [Unbalanced '"']`},
		{`a\!b`, 0, `["a" "!" "b"] 4 []`},
		{"\xff\x00b", 0, `["\x7f"] 1 []`},
		{``, ',', `[] 0 []`},
		{strings.Repeat("x", 257) + "@y", 0, `[] 257 [prescan: token too long]`},
	} {
		toks, used, said := s.scan(c.text, c.delim)
		if got := fmt.Sprintf("%q %d %s", toks, used, said); got != c.want {
			t.Errorf("%.20q: %s, want %s", c.text, got, c.want)
		}
	}
}

// FuzzScan asks that a scan gets on, that it is bounded, and that tokens put
// together again are the same tokens.
func FuzzScan(f *testing.F) {
	for _, text := range []string{`Name <a@b> (c), "d, e"@f`, `\a\,b\`, `<@a,@b:c>`, "a))((<<>>\"", "\xff\x80\t;", strings.Repeat("a.", 700)} {
		f.Add(text, byte(','))
	}
	f.Fuzz(func(t *testing.T, text string, delim byte) {
		if !strings.ContainsRune(",: \x00", rune(delim)) {
			delim = ','
		}
		s := scanner{".:%@!^/[]+"}
		toks, used, said := s.scan(text, delim)
		if used > len(text) || used == 0 && text != "" && text[0] != 0 || len(toks) > maxTokens {
			t.Fatalf("%q: %d bytes used, %d tokens", text, used, len(toks))
		}
		for _, tok := range toks {
			if tok == "" || len(tok) > maxToken || strings.IndexByte(tok, 0) >= 0 {
				t.Fatalf("%q: token %q", text, tok)
			}
		}
		if len(said) > 0 || len(toks) == 0 {
			return
		}
		if again, _, said := s.scan(s.join(toks, ' '), 0); !slices.Equal(again, toks) {
			t.Errorf("%q: %q, and then %q %q", text, toks, again, said)
		}
	})
}
