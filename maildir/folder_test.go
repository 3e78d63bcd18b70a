package maildir

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// utf7 are names in modified UTF-7. The first is RFC 3501's own; what the others
// are in UTF-16 can be worked out by hand.
var utf7 = []struct{ text, enc string }{
	{"~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"},
	{"&", "&-"},
	{"Hi Mom -☺-!", "Hi Mom -&Jjo--!"},
	{"Entwürfe", "Entw&APw-rfe"},
	{"A&B", "A&-B"},
	{"&&", "&-&-"},
	{"😀", "&2D3eAA-"},
	{"\x7f", "&AH8-"},
	{"a\tb", "a&AAk-b"},
	{"", ""},
}

func TestUTF7(t *testing.T) {
	for _, c := range utf7 {
		if got, err := EncodeUTF7(c.text); err != nil || got != c.enc {
			t.Errorf("encode %q: %q, %v; want %q", c.text, got, err, c.enc)
		}
		if got, err := DecodeUTF7(c.enc); err != nil || got != c.text {
			t.Errorf("decode %q: %q, %v; want %q", c.enc, got, err, c.text)
		}
	}
	for _, bad := range []string{
		"&Jjo!", "&U,BTFw-&ZeVnLIqe-", // RFC 3501's own two
		"&", "a&b", "&AGE-", "&AGE", "&APw", "&APx-", "&AP-", "&A-", "&APw=-", "&APw/-", "&U/BTFw-",
		"&APw-&APw-", "&Jjo-&Jjo-", "&2D0-", "&3gA-", "&3gDYPQ-", "ü", "\x1f", "\x7f", "a\x00", "&,,8A-", "&ACY-",
	} {
		if got, err := DecodeUTF7(bad); !errors.Is(err, ErrFolder) {
			t.Errorf("%q is read as %q, %v", bad, got, err)
		}
	}
	if _, err := EncodeUTF7("\xff"); !errors.Is(err, ErrFolder) {
		t.Errorf("bytes that are not UTF-8: %v", err)
	}
}

func TestFolderDir(t *testing.T) {
	long := strings.Repeat("x", 254)
	for _, c := range []struct {
		levels  []string
		enc     Encoding
		dir     string
		changed bool
	}{
		{nil, UTF7, ".", false},
		{[]string{"Sent"}, UTF7, ".Sent", false},
		{[]string{"A", "B", "C"}, UTF7, ".A.B.C", false},
		{[]string{"Entwürfe"}, UTF7, ".Entw&APw-rfe", false},
		{[]string{"Entwürfe"}, UTF8, ".Entwürfe", false},
		{[]string{"Entw&APw-rfe"}, UTF7, ".Entw&APw-rfe", false},
		{[]string{"Entw&APw-rfe"}, UTF8, ".Entwürfe", false},
		{[]string{"Entw\xfcrfe"}, UTF7, ".Entw&APw-rfe", true},
		{[]string{"Entw\xfcrfe"}, UTF8, ".Entwürfe", true},
		{[]string{"A&B"}, UTF7, ".A&-B", false},
		{[]string{"v1.2"}, UTF7, ".v1_2", true},
		{[]string{"a/b"}, UTF8, ".a_b", true},
		{[]string{".."}, UTF7, ".__", true},
		{[]string{"new\nline", "nul\x00"}, UTF8, ".new_line.nul_", true},
		{[]string{"&AC4-"}, UTF7, ".&-AC4-", false}, // not canonical: its own text
		{[]string{long}, UTF8, "." + long, false},
	} {
		dir, changed, err := FolderDir(c.levels, c.enc)
		if err != nil || dir != c.dir || changed != c.changed {
			t.Errorf("%q: %q, %v, %v; want %q, %v", c.levels, dir, changed, err, c.dir, c.changed)
		}
	}
	for _, bad := range [][]string{{""}, {"A", ""}, {long + "x"}, {strings.Repeat("ü", 100)}} {
		if dir, _, err := FolderDir(bad, UTF7); !errors.Is(err, ErrFolder) {
			t.Errorf("%q: %q, %v", bad, dir, err)
		}
	}
}

func TestFolderLevels(t *testing.T) {
	for _, c := range []struct {
		dir  string
		enc  Encoding
		want []string
		ok   bool
	}{
		{".", UTF7, nil, true},
		{".Sent", UTF7, []string{"Sent"}, true},
		{".A.Entw&APw-rfe", UTF7, []string{"A", "Entwürfe"}, true},
		{".A.Entw&APw-rfe", UTF8, []string{"A", "Entw&APw-rfe"}, true},
		{".bad&", UTF7, []string{"bad&"}, true},
		{".\xff", UTF7, []string{"\xff"}, true},
		{"..", UTF7, nil, false},
		{"..A", UTF7, nil, false},
		{"", UTF7, nil, false},
		{"cur", UTF7, nil, false},
		{".A/../../x", UTF8, nil, false},
		{".A\x00", UTF8, nil, false},
	} {
		got, ok := FolderLevels(c.dir, c.enc)
		if ok != c.ok || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, %v", c.dir, got, ok)
		}
	}
}

func FuzzUTF7(f *testing.F) {
	for _, c := range utf7 {
		f.Add(c.text)
		f.Add(c.enc)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if enc, err := EncodeUTF7(s); err == nil {
			if back, err := DecodeUTF7(enc); err != nil || back != s {
				t.Fatalf("%q: %q comes back as %q, %v", s, enc, back, err)
			}
		} else if utf8.ValidString(s) {
			t.Fatalf("%q: %v", s, err)
		}
		if text, err := DecodeUTF7(s); err == nil {
			if again := encodeUTF7(text); again != s {
				t.Fatalf("%q is %q, which is written %q", s, text, again)
			}
		}
	})
}

func FuzzFolderDir(f *testing.F) {
	f.Add("A", "Entw\xfcrfe", true)
	f.Add("..", "x/y", false)
	f.Add("Entw&APw-rfe", "日本語", true)
	f.Fuzz(func(t *testing.T, a, b string, utf8Names bool) {
		enc := UTF7
		if utf8Names {
			enc = UTF8
		}
		dir, changed, err := FolderDir([]string{a, b}, enc)
		if err != nil {
			return
		}
		if strings.ContainsAny(dir, "/\x00\n") || len(dir) > maxFolder || strings.HasPrefix(dir, "..") {
			t.Fatalf("%q, %q: %q", a, b, dir)
		}
		levels, ok := FolderLevels(dir, enc)
		if !ok || len(levels) != 2 {
			t.Fatalf("%q: %q, %v", dir, levels, ok)
		}
		for i, l := range []string{a, b} {
			want := l
			if text, err := DecodeUTF7(l); err == nil {
				want = text
			}
			if !changed && levels[i] != want {
				t.Fatalf("%q becomes %q and back %q", l, dir, levels[i])
			}
		}
	})
}
