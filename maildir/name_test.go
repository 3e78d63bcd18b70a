package maildir

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	gomaildir "github.com/emersion/go-maildir"
)

// names are file names as real programs leave them, and what they say.
var names = []struct {
	in           string
	base, unique string
	flags        string
	size, vsize  int64 // -1: not given
}{
	{"1167609600.M1P2.host,S=1234:2,FS", "1167609600.M1P2.host,S=1234", "1167609600.M1P2.host", "FS", 1234, -1},
	{"1167609600.M1P2.host,S=1234,W=1300:2,", "1167609600.M1P2.host,S=1234,W=1300", "1167609600.M1P2.host", "", 1234, 1300},
	{"1167609600.M1P2.host,W=1300,S=1234:2,DFPRST", "1167609600.M1P2.host,W=1300,S=1234", "1167609600.M1P2.host", "DFPRST", 1234, 1300},
	{"1167609600.12.host", "1167609600.12.host", "1167609600.12.host", "", -1, -1},
	{"1.a.b:2,SFa", "1.a.b", "1.a.b", "FSa", -1, -1},
	{"1.a.b:2,SS", "1.a.b", "1.a.b", "S", -1, -1},
	{"1.a.b:2,QSz", "1.a.b", "1.a.b", "QSz", -1, -1},
	{"1.a.b:2,S1é", "1.a.b", "1.a.b", "S", -1, -1},
	{"1.a.b:2,S,more", "1.a.b", "1.a.b", "S", -1, -1},
	{"1.a.b:1,S", "1.a.b", "1.a.b", "", -1, -1},
	{"1.a.b:1,x:2,S", "1.a.b", "1.a.b", "S", -1, -1},
	{"1.a.b:2,:2,S", "1.a.b", "1.a.b", "S", -1, -1},
	{"1.a.b!2,F:A2,", "1.a.b", "1.a.b", "F", -1, -1},
	{"1.a.b:", "1.a.b", "1.a.b", "", -1, -1},
	{"1.a.b:2", "1.a.b", "1.a.b", "", -1, -1},
	{"1.a.b;2,RS", "1.a.b", "1.a.b", "RS", -1, -1},
	{"1.a.b!2,RS", "1.a.b", "1.a.b", "RS", -1, -1},
	{"1.a;b", "1.a;b", "1.a;b", "", -1, -1},
	{"1.a.b,S=12x:2,", "1.a.b,S=12x", "1.a.b", "", -1, -1},
	{"1.a.b,S=:2,", "1.a.b,S=", "1.a.b", "", -1, -1},
	{"1.a.b,S=-5", "1.a.b,S=-5", "1.a.b", "", -1, -1},
	{"1.a.b,S=+5", "1.a.b,S=+5", "1.a.b", "", -1, -1},
	{"1.a.b,S=99999999999999999999", "1.a.b,S=99999999999999999999", "1.a.b", "", -1, -1},
	{"1.a.b:2,S,S=9", "1.a.b", "1.a.b", "S", -1, -1},
	{"\xff\xfe name:2,S", "\xff\xfe name", "\xff\xfe name", "S", -1, -1},
	{"new\nline", "new\nline", "new\nline", "", -1, -1},
}

func TestParseName(t *testing.T) {
	for _, c := range names {
		n, err := ParseName(c.in)
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
			continue
		}
		if n.String() != c.in || n.Base() != c.base || n.Unique() != c.unique || n.Flags().String() != c.flags {
			t.Errorf("%q: string %q base %q unique %q flags %q", c.in, n, n.Base(), n.Unique(), n.Flags())
		}
		if n.Base()+n.Info() != c.in || n.Bare().String() != c.base || !n.IsValid() {
			t.Errorf("%q: info %q, bare %q", c.in, n.Info(), n.Bare())
		}
		for key, want := range map[string]int64{"S": c.size, "W": c.vsize} {
			got, ok := n.number(key)
			if ok != (want >= 0) || ok && got != want {
				t.Errorf("%q: %s is %d, %v; want %d", c.in, key, got, ok, want)
			}
		}
	}
	for _, bad := range []string{"", ".", "..", ".dot", "a/b", "a\x00b"} {
		if n, err := ParseName(bad); !errors.Is(err, ErrName) || n.IsValid() {
			t.Errorf("%q: %v, %v", bad, n, err)
		}
	}
}

func TestWithFlags(t *testing.T) {
	for _, c := range []struct{ in, flags, want string }{
		{"1.a.b", "", "1.a.b:2,"},
		{"1.a.b,S=5", "SF", "1.a.b,S=5:2,FS"},
		{"1.a.b:2,FS", "S", "1.a.b:2,S"},
		{"1.a.b:2,FS", "", "1.a.b:2,"},
		{"1.a.b:2,S1", "F", "1.a.b:2,F1"},
		{"1.a.b!2,F:A2,", "S", "1.a.b!2,S:A2,"},
		{"1.a.b:2,S,more", "FT", "1.a.b:2,FT,more"},
		{"1.a.b;2,S", "F", "1.a.b;2,F"},
		{"1.a.b!2,S", "F", "1.a.b!2,F"},
		{"1.a.b:1,x", "S", "1.a.b:1,x:2,S"},
		{"1.a.b:2", "S", "1.a.b:2:2,S"},
		{"1.a.b:2,:2,S", "T", "1.a.b:2,:2,T"},
		{"1.a.b:2,Sa", "Sb", "1.a.b:2,Sb"},
	} {
		n, err := ParseName(c.in)
		if err != nil {
			t.Fatal(err)
		}
		got := n.WithFlags(ParseFlags(c.flags))
		if got.String() != c.want || got.Base() != n.Base() {
			t.Errorf("%q with %q: %q, want %q", c.in, c.flags, got, c.want)
		}
		again, err := ParseName(got.String())
		if err != nil || again != got || again.Flags() != ParseFlags(c.flags) {
			t.Errorf("%q: read back as %q with %q: %v", c.want, again, again.Flags(), err)
		}
	}
}

func TestNameTime(t *testing.T) {
	for in, want := range map[string]int64{
		"1167609600.M1P2.host": 1167609600, "0.x": 0, "99999999999.x": 99999999999,
		"host": -1, "x.1": -1, "+5.x": -1, "-5.x": -1, ".": -1, "99999999999999999999.x": -1,
	} {
		n := Name{s: in, sep: len(in)}
		got, ok := n.Time()
		if ok != (want >= 0) || ok && !got.Equal(time.Unix(want, 0)) {
			t.Errorf("%q: %v, %v", in, got, ok)
		}
	}
}

func TestNameText(t *testing.T) {
	var v struct{ N Name }
	if err := json.Unmarshal([]byte(`{"N":"1.a.b:2,S"}`), &v); err != nil || v.N.Flags() != Seen {
		t.Errorf("%v, %v", v, err)
	}
	if b, err := json.Marshal(v); err != nil || string(b) != `{"N":"1.a.b:2,S"}` {
		t.Errorf("%s, %v", b, err)
	}
	if err := json.Unmarshal([]byte(`{"N":"a/b"}`), &v); !errors.Is(err, ErrName) || v.N.Flags() != Seen {
		t.Errorf("a bad name was taken, or changed the old one: %v, %v", v, err)
	}
}

func TestFlags(t *testing.T) {
	all := ParseFlags("TSRPFDzAa,1é")
	if s := all.String(); s != "ADFPRSTaz" {
		t.Errorf("letters %q", s)
	}
	if !all.Has(Draft|Flagged|Passed|Replied|Seen|Trashed|Keyword(0)|Keyword(25)) || all.Has(Keyword(1)) || Keyword(26) != 0 || Keyword(-1) != 0 {
		t.Error("a flag is another letter")
	}
	given := []gomaildir.Flag{gomaildir.FlagSeen, gomaildir.FlagFlagged, gomaildir.FlagReplied, gomaildir.FlagPassed, gomaildir.FlagTrashed, gomaildir.FlagDraft, 'é'}
	f := FromGoMaildir(given)
	if f != Draft|Flagged|Passed|Replied|Seen|Trashed {
		t.Errorf("from go-maildir: %q", f)
	}
	if back := FromGoMaildir(f.GoMaildir()); back != f || len(f.GoMaildir()) != 6 {
		t.Errorf("to go-maildir and back: %q", back)
	}
}

func FuzzName(f *testing.F) {
	for _, c := range names {
		f.Add(c.in, uint64(Seen|Keyword(3)))
	}
	f.Fuzz(func(t *testing.T, s string, bits uint64) {
		n, err := ParseName(s)
		if err != nil {
			if s != "" && s[0] != '.' && !strings.ContainsAny(s, "/\x00") {
				t.Fatalf("%q refused: %v", s, err)
			}
			return
		}
		if n.String() != s || n.Base()+n.Info() != s {
			t.Fatalf("%q comes back as %q", s, n)
		}
		flags := Flags(bits & (1<<52 - 1))
		m := n.WithFlags(flags)
		if m.Flags() != flags || m.Base() != n.Base() || m.WithFlags(flags) != m {
			t.Fatalf("%q with %q: %q", s, flags, m)
		}
		if again, err := ParseName(m.String()); err != nil || again != m {
			t.Fatalf("%q with %q: %q reads back as %q, %v", s, flags, m, again, err)
		}
		// What is no letter stays, in its order.
		if a, b := notLetters(n.Info()), notLetters(m.Info()); a != b && a+":2," != b {
			t.Fatalf("%q with %q: %q loses something", s, flags, m)
		}
		if a, ok := n.Size(); ok {
			if b, _ := m.Size(); a != b || a < 0 {
				t.Fatalf("%q with %q: size %d became %d", s, flags, a, b)
			}
		}
	})
}

func notLetters(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if flagOf(s[i]) == 0 {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
