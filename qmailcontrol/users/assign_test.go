package users

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/qmailkit/qmailkit"
)

const sample = "+example.com-:example.com:89:89:/home/vpopmail/domains/example.com:-::\n" +
	"=joe:joe:1201:1200:/home/joe:::\r\n" +
	"xodd:joe:abc::~:/:e:more:and more\n" +
	".end\nwhat stands behind the dot\x00"

func parseAssign(t testing.TB, text string) *Assign {
	t.Helper()
	a, err := ParseAssign(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestEntries(t *testing.T) {
	want := []Entry{
		{Wildcard: true, Local: "example.com-", User: "example.com", UID: "89", GID: "89",
			Home: "/home/vpopmail/domains/example.com", Dash: "-", Line: 1},
		{Mark: '=', Local: "joe", User: "joe", UID: "1201", GID: "1200", Home: "/home/joe", Rest: "\r", Line: 2, Offset: 71},
		{Mark: 'x', Local: "odd", User: "joe", UID: "abc", Home: "~", Dash: "/", Ext: "e", Rest: "more:and more", Line: 3, Offset: 104},
	}
	a := parseAssign(t, sample)
	if got := slices.Collect(a.Entries()); !slices.Equal(got, want) {
		t.Errorf("Entries: %+v", got)
	}
	var got []Entry
	for e, err := range Scan(strings.NewReader(sample)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	if !slices.Equal(got, want) {
		t.Errorf("Scan: %+v", got)
	}
	for i, e := range want {
		if e.Text() != a.Text(i) {
			t.Errorf("Text %q, want %q", e.Text(), a.Text(i))
		}
	}
	if a.Len() != 3 {
		t.Errorf("Len %d", a.Len())
	}
}

func TestEdit(t *testing.T) {
	a := parseAssign(t, sample)
	e := Entry{Wildcard: true, Local: "example.net-", User: "example.net", UID: "89", GID: "89", Home: "/d", Dash: "-"}
	if err := a.Insert(1, e); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(sample, "\n")
	want := strings.Join(slices.Insert(slices.Clone(lines), 1, "+example.net-:example.net:89:89:/d:-::\n"), "")
	if got := string(a.Bytes()); got != want {
		t.Errorf("Insert made %q", got)
	}
	if n := a.Remove(e); n != 1 || string(a.Bytes()) != sample {
		t.Errorf("Remove took %d and left %q", n, a.Bytes())
	}
	if n := a.Remove(Entry{Local: "joe"}); n != 0 {
		t.Errorf("Remove took %d of nobody's", n)
	}
	n := a.RemoveFunc(func(e Entry) bool { return e.Line == 2 && e.Offset == 71 && e.Local == "joe" })
	if want := lines[0] + strings.Join(lines[2:], ""); n != 1 || string(a.Bytes()) != want {
		t.Errorf("RemoveFunc took %d and left %q", n, a.Bytes())
	}
	if err := a.Add(Entry{Local: "last", User: "u", UID: "1", GID: "1", Home: "/"}); err != nil {
		t.Fatal(err)
	}
	a.SortFunc(func(x, y string) int { return strings.Compare(y, x) })
	if got := []string{a.Text(0), a.Text(1), a.Text(2)}; got[0][0] != 'x' || got[1] != "=last:u:1:1:/:::" || got[2][0] != '+' {
		t.Errorf("SortFunc made %q", got)
	}
	for _, i := range []int{-1, 4} {
		if err := a.Insert(i, e); !errors.Is(err, ErrRange) {
			t.Errorf("Insert at %d: %v", i, err)
		}
	}
}

func TestNewFile(t *testing.T) {
	var a Assign
	if got := string(a.Bytes()); got != ".\n" {
		t.Errorf("empty file is %q", got)
	}
	if err := a.Add(Entry{Wildcard: true, User: "alias", UID: "1", GID: "2", Home: "/a", Dash: "-"}); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if n, err := a.WriteTo(&b); err != nil || n != int64(b.Len()) || b.String() != "+:alias:1:2:/a:-::\n.\n" {
		t.Errorf("%q, %d, %v", b.String(), n, err)
	}
}

func TestFieldsRefused(t *testing.T) {
	for _, e := range []Entry{
		{Local: "a:b"}, {Local: "a\nb"}, {User: "a\x00"}, {UID: "1:"}, {GID: "\n"}, {Home: "/a:b"}, {Dash: ":"}, {Ext: "x\n"},
		{Rest: "\n"}, {Rest: "\x00"}, {Mark: '.'}, {Mark: ':'}, {Mark: '\n'}, {Mark: '+'},
	} {
		var a Assign
		if err := a.Add(e); !errors.Is(err, ErrField) {
			t.Errorf("%+v: %v", e, err)
		}
		if a.Len() != 0 {
			t.Errorf("%+v was added", e)
		}
	}
}

func TestReadTrouble(t *testing.T) {
	broken := errors.New("broken")
	in := func() io.Reader {
		return io.MultiReader(strings.NewReader("=a:b:1:1:/:::\n=c:"), iotest.ErrReader(broken))
	}
	var pe *ParseError
	var out discard
	if err := WriteCDB(out, in()); !errors.Is(err, broken) || !errors.As(err, &pe) || pe.Line != 2 || pe.Offset != 14 {
		t.Errorf("WriteCDB: %v", err)
	} else if Fatal(err) != "qmail-newu: fatal: unable to read users/assign" {
		t.Errorf("Fatal: %q", Fatal(err))
	}
	if _, err := ParseAssign(in()); !errors.Is(err, broken) {
		t.Errorf("ParseAssign: %v", err)
	}
	n := 0
	for e, err := range Scan(in()) {
		n++
		if n == 1 && (err != nil || e.Local != "a") || n == 2 && (!errors.Is(err, broken) || !errors.Is(err, qmailkit.ErrIncomplete)) {
			t.Errorf("Scan: %+v, %v", e, err)
		}
	}
	if n != 2 {
		t.Errorf("Scan gave %d", n)
	}
	if err := WriteCDB(errWriter{broken}, strings.NewReader(sample)); !errors.Is(err, broken) {
		t.Errorf("WriteCDB: %v", err)
	} else if Fatal(err) != "qmail-newu: fatal: unable to write users/cdb.tmp" {
		t.Errorf("Fatal: %q", Fatal(err))
	}
}

type discard struct{}

func (discard) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

type errWriter struct{ err error }

func (w errWriter) WriteAt([]byte, int64) (int, error) { return 0, w.err }

func TestLongLines(t *testing.T) {
	for _, n := range []int{256<<10 - 20, 256 << 10, 3 << 20} {
		long := "=" + strings.Repeat("l", n) + ":u:1:1:/:::\n=b:u:1:1:/:::\n.\n"
		a := parseAssign(t, long)
		if a.Len() != 2 || string(a.Bytes()) != long {
			t.Errorf("%d: %d entries", n, a.Len())
		}
	}
	text := "=b:u:1:1:/:::\n=" + strings.Repeat("l", MaxLine) + ":u:1:1:/:::\n.\n"
	var pe *ParseError
	if _, err := ParseAssign(strings.NewReader(text)); !errors.Is(err, ErrTooBig) || !errors.As(err, &pe) || pe.Line != 2 || pe.Offset != 14 {
		t.Errorf("line of more than MaxLine: %v", err)
	}
	// Behind the dot anything may stand.
	text = "." + strings.Repeat("x", MaxLine+1)
	if a := parseAssign(t, text); string(a.Bytes()) != text {
		t.Error("long text behind the dot was lost")
	}
	endless := io.MultiReader(strings.NewReader(".\n"), zeros{})
	if _, err := ParseAssign(endless); !errors.Is(err, ErrTooBig) {
		t.Errorf("endless file: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// accepts is qmail-newu's judgement, told in another way than the scanner's.
func accepts(text string) bool {
	for text != "" {
		if text[0] == '.' {
			return true
		}
		line, rest, ended := strings.Cut(text, "\n")
		if !ended || strings.Contains(line, "\x00") || strings.Index(line, ":") < 1 || strings.Count(line, ":") < 7 {
			return false
		}
		text = rest
	}
	return false
}

func assignSeeds(f *testing.F) {
	for _, s := range []string{
		sample, "", ".", ".\n", "\n.\n", "=a:b:c:d:e:f:g:\n", "=a:b:c:d:e:f:g:", ":::::::\n.\n", "+:::::::\n=:::::::x:y\n.",
		"=a:b:c:d:e:f:g\n.\n", "=a:b\x00:c:d:e:f:g:\n.\n", " .\n", "+Team-:a:1:2:/:-:pre-:\n+X:a:1:2:/:-::\n.\r\n",
	} {
		f.Add([]byte(s), "local", "+")
	}
}

func FuzzAssign(f *testing.F) {
	assignSeeds(f)
	f.Fuzz(func(t *testing.T, text []byte, local, mark string) {
		a, err := ParseAssign(bytes.NewReader(text))
		if ok := accepts(string(text)); ok != (err == nil) {
			t.Fatalf("%q: %v, want accepted %t", text, err, ok)
		}
		var cdb, again memory
		if e := WriteCDB(&cdb, bytes.NewReader(text)); (e == nil) != (err == nil) {
			t.Fatalf("WriteCDB: %v, ParseAssign: %v", e, err)
		}
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(a.Bytes(), text) {
			t.Fatalf("%q became %q", text, a.Bytes())
		}
		if err := a.WriteCDB(&again); err != nil || !bytes.Equal(cdb, again) {
			t.Fatalf("the two ways to write a cdb differ: %v", err)
		}
		e := Entry{Wildcard: mark == "+", Local: local, User: mark, Rest: mark}
		if len(mark) > 0 && !e.Wildcard {
			e.Mark = mark[0]
		}
		at := a.Len() / 2
		if a.Insert(at, e) != nil {
			return
		}
		b, err := ParseAssign(bytes.NewReader(a.Bytes()))
		if err != nil || b.Len() != a.Len() {
			t.Fatalf("%q is read back with %v", a.Bytes(), err)
		}
		got := slices.Collect(b.Entries())[at]
		e.Mark, e.Line, e.Offset = e.mark(), got.Line, got.Offset
		if e.Wildcard {
			e.Mark = 0
		}
		if got != e {
			t.Fatalf("%+v is read back as %+v", e, got)
		}
		if bytes.Contains(append([]byte{'\n'}, text...), []byte("\n"+e.Text()+"\n")) {
			return
		}
		if n := a.Remove(e); n != 1 || !bytes.Equal(a.Bytes(), text) {
			t.Fatalf("Remove took %d and left %q of %q", n, a.Bytes(), text)
		}
	})
}

// memory is a file in memory.
type memory []byte

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p) - len(*m); need > 0 {
		*m = append(*m, make([]byte, need)...)
	}
	return copy((*m)[off:], p), nil
}
