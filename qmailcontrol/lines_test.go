package qmailcontrol

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func parse(t testing.TB, text string) *Lines {
	t.Helper()
	l, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func values(l *Lines) []string {
	var all []string
	for _, v := range l.Values() {
		all = append(all, v)
	}
	return all
}

func TestEdits(t *testing.T) {
	add := func(v string) func(*Lines) error { return func(l *Lines) error { return l.Add(v) } }
	insert := func(n int, v string) func(*Lines) error { return func(l *Lines) error { return l.Insert(n, v) } }
	text := func(n int, v string) func(*Lines) error { return func(l *Lines) error { return l.InsertText(n, v) } }
	remove := func(v string, n int) func(*Lines) error {
		return func(l *Lines) error {
			if got := l.Remove(v); got != n {
				t.Errorf("Remove(%q) = %d, want %d", v, got, n)
			}
			return nil
		}
	}
	order := func(l *Lines) error { l.SortFunc(strings.Compare); return nil }
	for _, c := range []struct {
		before string
		edit   func(*Lines) error
		after  string
		err    error
	}{
		{"", add("a"), "a\n", nil},
		{"a\n", add("b"), "a\nb\n", nil},
		{"a\r\n", add("b"), "a\r\nb\n", nil},
		{"#c\n\n  \na", add("b"), "#c\n\n  \na\nb", nil},
		{"a\nb", insert(2, "c"), "a\nc\nb", nil},
		{"a\nb", insert(1, "c"), "c\na\nb", nil},
		{"a\nb", insert(3, "c"), "a\nb\nc", nil},
		{"a\nb", insert(4, "c"), "a\nb", ErrRange},
		{"a\nb", insert(0, "c"), "a\nb", ErrRange},
		{"a\n", text(1, "# c"), "# c\na\n", nil},
		{"a", text(2, ""), "a\n\n", nil},
		{"a", text(1, "x\ny"), "a", ErrValue},
		{"a\n", add(""), "a\n", ErrValue},
		{"a\n", add("#b"), "a\n", ErrValue},
		{"a\n", add("b "), "a\n", ErrValue},
		{"a\n", add("b\t"), "a\n", ErrValue},
		{"a\n", add("b\nc"), "a\n", ErrValue},
		{"a\n", add("b\x00c"), "a\n", ErrValue},
		{"a\n", add(" b\r"), "a\n b\r\n", nil},
		{"a\nb\na \nA", remove("a", 3), "b\n", nil},
		{"a\nb", remove("b", 1), "a\n", nil},
		{"b\na", remove("b", 1), "a", nil},
		{"#a\n a\na\r\n", remove("a", 0), "#a\n a\na\r\n", nil},
		{"a\x00b\x00A  \n", remove("a", 2), "b\n", nil},
		{"x\x00a\x00#y\n", remove("a", 1), "x\x00#y\n", nil},
		{"a\x00#b\x00\n", remove("a", 1), "", nil},
		{"a \x00a\nb\n", remove("a", 1), "b\n", nil},
		{"x\x00a \x00a\nb\n", remove("a", 2), "x\nb\n", nil},
		{"\na\n\n", remove("a", 1), "\n\n", nil},
		{"a\xc3\x84\n", remove("a\xc3\xa4", 0), "a\xc3\x84\n", nil},
		{"b\n#x\na", order, "#x\na\nb", nil},
		{"b\n\na", order, "\na\nb", nil},
	} {
		l := parse(t, c.before)
		if err := c.edit(l); !errors.Is(err, c.err) {
			t.Errorf("%q: error %v, want %v", c.before, err, c.err)
		}
		if got := string(l.Bytes()); got != c.after {
			t.Errorf("%q became %q, want %q", c.before, got, c.after)
		}
	}
}

func TestRemoveFunc(t *testing.T) {
	l := parse(t, "#one\ntwo\n\nfour")
	var seen []string
	n := l.RemoveFunc(func(line int, text string) bool {
		seen = append(seen, text)
		return line == 1 || text == "four"
	})
	if n != 2 || string(l.Bytes()) != "two\n\n" || !slices.Equal(seen, []string{"#one", "two", "", "four"}) {
		t.Errorf("%d removed, %q left, %q seen", n, l.Bytes(), seen)
	}
}

func TestMapAndSet(t *testing.T) {
	m := parse(t, "A.example:one\na.example:two\n:all\nno colon\nx :y\nz:\n q:r:s\n").Map()
	for key, want := range map[string]string{"a.EXAMPLE": "two", "": "all", "x ": "y", "z": "", " q": "r:s"} {
		if got, ok := m.Lookup(key); !ok || got != want {
			t.Errorf("Lookup(%q) = %q %t, want %q", key, got, ok, want)
		}
	}
	for _, key := range []string{"no colon", "x", "q", "b.example"} {
		if got, ok := m.Lookup(key); ok {
			t.Errorf("Lookup(%q) = %q", key, got)
		}
	}
	if m.Len() != 5 {
		t.Errorf("%d keys", m.Len())
	}
	s := parse(t, "a\nA\nb\r\n").Set()
	if !s.Has("A") || s.Has("b") || !s.Has("B\r") || s.Len() != 2 {
		t.Errorf("set %v", s)
	}
}

func TestInt(t *testing.T) {
	for text, want := range map[string]int{
		"10": 10, "10 local\n": 10, "1e5": 1, "0x10": 0, "1,200": 1, "007": 7, "5\n6": 5, "5\r\n": 5,
		"4294967301": 5, "4294967295": -1, "18446744073709551617": 1,
	} {
		if n, ok := parse(t, text).Int(); !ok || n != want {
			t.Errorf("%q: %d %t, want %d", text, n, ok, want)
		}
	}
	for _, text := range []string{"", "\n5", " 5", "+5", "-5", "five"} {
		if n, ok := parse(t, text).Int(); ok {
			t.Errorf("%q: %d", text, n)
		}
	}
}

func TestTooBig(t *testing.T) {
	line := strings.Repeat("x", 1<<20-1) + "\n"
	endless := &repeat{[]byte(line), 0}
	_, err := ParseLines(endless)
	var pe *ParseError
	if !errors.Is(err, ErrTooBig) || !errors.As(err, &pe) {
		t.Fatalf("error %v", err)
	}
	if pe.Line != 65 || pe.Offset != MaxSize {
		t.Errorf("at line %d, offset %d", pe.Line, pe.Offset)
	}
	if !strings.Contains(err.Error(), "line 65, offset 67108864") {
		t.Errorf("error %q", err)
	}
}

type repeat struct {
	b []byte
	n int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.b[r.n:])
	r.n = (r.n + n) % len(r.b)
	return n, nil
}

func TestReadError(t *testing.T) {
	broken := errors.New("broken")
	_, err := ParseLines(io.MultiReader(strings.NewReader("a\nb\n"), iotest.ErrReader(broken)))
	var pe *ParseError
	if !errors.Is(err, broken) || !errors.As(err, &pe) || pe.Line != 3 || pe.Offset != 4 {
		t.Errorf("error %v", err)
	}
}

// naive is control_readfile as a list of bytes and NULs, told in its own way.
func naive(text []byte) []string {
	var list []byte
	for len(text) > 0 {
		n := bytes.IndexByte(text, '\n') + 1
		if n == 0 {
			n = len(text)
		}
		line := text[:n]
		text = text[n:]
		for len(line) > 0 && strings.IndexByte("\n \t", line[len(line)-1]) >= 0 {
			line = line[:len(line)-1]
		}
		if len(line) == 0 || line[0] == 0 || line[0] == '#' {
			continue
		}
		list = append(append(list, line...), 0)
	}
	var all []string
	for len(list) > 0 {
		n := bytes.IndexByte(list, 0)
		all = append(all, string(list[:n]))
		list = list[n+1:]
	}
	return all
}

func seeds(f *testing.F) {
	texts := []string{
		"", "\n", "a", "a\n", "a\r\n\r\nb", "#c\n \n\t\na \n", "x\x00y\x00\n\x00z\n#\x00q\n", "A:b\na:c\n:d\n",
		".\xe9\n\xff", " # x\n", "a\x00#b", "a\x00\x00\n",
	}
	for i, s := range texts {
		f.Add([]byte(s), texts[(i+5)%len(texts)], i)
	}
}

func FuzzLines(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text []byte, value string, at int) {
		l, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(l.Bytes(), text) {
			t.Fatalf("%q became %q", text, l.Bytes())
		}
		before := values(l)
		if want := naive(text); !slices.Equal(before, want) {
			t.Fatalf("Values = %q, want %q", before, want)
		}
		if line := 1 + uint(at)%uint(l.Len()+1); l.Insert(int(line), value) == nil {
			checkInsert(t, l, text, value, int(line))
		}
		l.Remove(value)
		want := slices.DeleteFunc(before, func(v string) bool { return lower(v) == lower(value) })
		got := values(l)
		if bytes.IndexByte(text, 0) < 0 && !slices.Equal(got, want) {
			t.Fatalf("Remove(%q) left %q, want %q", value, got, want)
		}
		for _, v := range got {
			if lower(v) == lower(value) {
				t.Fatalf("Remove(%q) left %q", value, v)
			}
		}
		again, err := Parse(l.Bytes())
		if err != nil || !slices.Equal(again.text, l.text) || again.open != l.open {
			t.Fatalf("%q is not read back as %q", l.Bytes(), l.text)
		}
	})
}

// checkInsert checks that the new line is all that has changed in the bytes.
func checkInsert(t *testing.T, l *Lines, text []byte, value string, line int) {
	t.Helper()
	if l.Text(line) != value {
		t.Fatalf("line %d is %q, want %q", line, l.Text(line), value)
	}
	got := l.Bytes()
	if len(got) != len(text)+len(value)+1 {
		t.Fatalf("%d bytes became %d", len(text), len(got))
	}
	i := 0
	for i < len(text) && got[i] == text[i] {
		i++
	}
	if !bytes.HasSuffix(got, text[i:]) {
		t.Fatalf("Insert(%d, %q) made %q of %q", line, value, got, text)
	}
	found := false
	for n, v := range l.Values() {
		found = found || n == line && v == value
	}
	if !found {
		t.Fatalf("%q is not among the values", value)
	}
}

func TestAddPair(t *testing.T) {
	l := parse(t, "a:b")
	if err := l.AddPair("example.com", "joe:x"); err != nil {
		t.Fatal(err)
	}
	if err := l.AddPair("", "catch"); err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]string{{"a:b", "c"}, {"a\n", "c"}, {"a", "c\n"}, {"a\x00", "c"}, {"a", "\x00"}, {"#a", "c"}, {"a", "c "}} {
		if err := l.AddPair(pair[0], pair[1]); !errors.Is(err, ErrValue) {
			t.Errorf("%q: %v", pair, err)
		}
	}
	if got := string(l.Bytes()); got != "a:b\nexample.com:joe:x\n:catch" {
		t.Errorf("%q", got)
	}
}
