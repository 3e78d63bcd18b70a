package qmailcontrol_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// latin1 is a string of the golden files: one code point is one byte.
type latin1 string

func (l *latin1) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	var raw []byte
	for _, r := range s {
		if r > 0xff {
			return errors.New("not a byte")
		}
		raw = append(raw, byte(r))
	}
	*l = latin1(raw)
	return nil
}

type parsed struct {
	File     string
	Readline struct {
		RC    int
		Value latin1
	}
	Readint struct {
		RC    int
		Value int
	}
	Readfile struct {
		RC      int
		Entries []latin1
	}
	Map []struct {
		Key    latin1
		Answer *latin1
	}
}

func jsonLines[T any](t *testing.T, name string) []T {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []T
	for d := json.NewDecoder(f); ; {
		var v T
		err := d.Decode(&v)
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, v)
	}
}

func root(t *testing.T, dir string) *os.Root {
	t.Helper()
	r, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// Every file of the golden control directories is read as control.c read it.
func TestReadsAsQmail(t *testing.T) {
	tables, _ := filepath.Glob("testdata/control/*/parse.jsonl")
	if len(tables) < 10 {
		t.Fatalf("%d tables", len(tables))
	}
	checked := 0
	for _, table := range tables {
		dir := root(t, filepath.Join(filepath.Dir(table), "control"))
		for _, want := range jsonLines[parsed](t, table) {
			l, err := qmailcontrol.Load(dir, want.File)
			if err != nil {
				t.Errorf("%s: %v", table, err)
				continue
			}
			checked++
			compare(t, dir.Name()+"/"+want.File, l, want)
		}
	}
	if checked < 140 {
		t.Errorf("only %d files", checked)
	}
}

func compare(t *testing.T, name string, l *qmailcontrol.Lines, want parsed) {
	t.Helper()
	if got := l.First(); got != string(want.Readline.Value) {
		t.Errorf("%s: First = %q, want %q", name, got, want.Readline.Value)
	}
	if n, ok := l.Int(); ok != (want.Readint.RC == 1) || ok && n != want.Readint.Value {
		t.Errorf("%s: Int = %d %t, want %+v", name, n, ok, want.Readint)
	}
	var got []latin1
	for _, v := range l.Values() {
		got = append(got, latin1(v))
	}
	if !slices.Equal(got, want.Readfile.Entries) {
		t.Errorf("%s: Values = %q, want %q", name, got, want.Readfile.Entries)
	}
	set := l.Set()
	for _, v := range got {
		if !set.Has(upper(string(v))) {
			t.Errorf("%s: %q is not in the Set", name, v)
		}
	}
	m := l.Map()
	for _, w := range want.Map {
		answer, ok := m.Lookup(string(w.Key))
		if w.Answer == nil {
			t.Fatalf("%s: the table has no answer for %q", name, w.Key)
		}
		if !ok || answer != string(*w.Answer) {
			t.Errorf("%s: Lookup(%q) = %q %t, want %q", name, w.Key, answer, ok, *w.Answer)
		}
	}
}

// upper is strings.ToUpper for ASCII.
func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// The table of files has the defaults that qmail-showctl prints, without and
// with control/me.
func TestDefaults(t *testing.T) {
	for name, me := range map[string]string{"empty": "", "minimal": "mx1.example.com"} {
		text, err := os.ReadFile("testdata/control/" + name + "/showctl.txt")
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for line := range strings.Lines(string(text)) {
			file, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": (Default.) ")
			if !ok {
				continue
			}
			seen++
			f, ok := qmailcontrol.FileNamed(file)
			if !ok {
				t.Errorf("%s is not in the table", file)
				continue
			}
			if me != "" && f.Me && f.Kind == qmailcontrol.KindLine {
				f.Default = me
			}
			if f.Default != "" && !strings.Contains(rest, " "+f.Default) {
				t.Errorf("%s: default %q, qmail-showctl says %q", file, f.Default, rest)
			}
			if f.Kind == qmailcontrol.KindInt && f.Default == "" {
				t.Errorf("%s: no default, qmail-showctl says %q", file, rest)
			}
		}
		if all := len(qmailcontrol.Files()); seen < all-1 {
			t.Errorf("%s: %d defaults for %d files", name, seen, all)
		}
	}
	if !slices.IsSortedFunc(qmailcontrol.Files(), func(a, b qmailcontrol.File) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not in order")
	}
	if _, ok := qmailcontrol.FileNamed("defaultdelivery"); ok {
		t.Error("defaultdelivery is no file of qmail")
	}
}

// qmail-newmrh made the same bytes.
func TestNewMRH(t *testing.T) {
	cases, _ := filepath.Glob("testdata/newmrh/*")
	if len(cases) < 8 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, from := range cases {
		t.Run(filepath.Base(from), func(t *testing.T) {
			dir := t.TempDir()
			text, refused := readMaybeGzip(t, filepath.Join(from, "morercpthosts"))
			if !refused {
				if err := os.WriteFile(filepath.Join(dir, "morercpthosts"), text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			err := qmailcontrol.NewMRH(root(t, dir), nil)
			stderr, e := os.ReadFile(filepath.Join(from, "stderr"))
			if e != nil || refused != (len(stderr) > 0) {
				t.Fatalf("stderr %q, %v", stderr, e)
			}
			if refused {
				if !errors.Is(err, fs.ErrNotExist) || qmailcontrol.Fatal(err)+"\n" != string(stderr) {
					t.Errorf("error %v, %q, want %q", err, qmailcontrol.Fatal(err), stderr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(dir, "morercpthosts.cdb"))
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(filepath.Join(from, "morercpthosts.cdb"))
			if err == nil && !bytes.Equal(got, want) {
				t.Errorf("cdb differs: %q, want %q", got[2048:], want[2048:])
			}
			if err != nil {
				sum := sha256.Sum256(got)
				line, err := os.ReadFile(filepath.Join(from, "morercpthosts.cdb.sha256"))
				if err != nil || !strings.HasPrefix(string(line), hex.EncodeToString(sum[:])) {
					t.Errorf("cdb differs: %v", err)
				}
			}
			if names := names(t, dir); !slices.Equal(names, []string{"morercpthosts", "morercpthosts.cdb"}) {
				t.Errorf("left behind: %q", names)
			}
		})
	}
}

func readMaybeGzip(t *testing.T, name string) (text []byte, missing bool) {
	t.Helper()
	if text, err := os.ReadFile(name); err == nil {
		return text, false
	}
	f, err := os.Open(name + ".gz")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, true
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return text, false
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}
