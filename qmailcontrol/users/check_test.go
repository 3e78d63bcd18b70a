package users_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// shown is what a test compares of a Problem.
func shown(p qmailkit.Problem) string {
	return fmt.Sprintf("%s %s %s:%d", p.Code, p.Severity, p.Path, p.Line)
}

func TestAssignCheck(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"all is well", "+:alias:7:8:/a:-::\n+ex.com-:v:89:89:/v:-::\n=joe:joe:1:1:/h:::\n.\n", nil},
		{"empty", ".\n", nil},
		{"uids", "=a:a:0:1:/h:::\n=b:b:x:1:/h:::\n=c:c:4294967296:1:/h:::\n=d:d:4294967295:1:/h:::\n=e:e:1:x:/h:::\n=f:f:1 :1:/h:::\n=g:g:4294967297:1:/h:::\n.\n",
			[]string{"assign.root error assign:1", "assign.root error assign:2", "assign.root error assign:3", "assign.id error assign:4",
				"assign.id warning assign:5", "assign.id warning assign:6", "assign.id warning assign:7"}},
		{"homes", "=a:a:1:1:h:::\n=b:b:1:1::::\n.\n", []string{"assign.home error assign:1", "assign.home error assign:2"}},
		{"capitals", "+Tear:a:1:1:/h:-::\n+TeaM:a:1:1:/h:-::\n=JoE:j:1:1:/h:::\n.\n", []string{"assign.upper-case error assign:2"}},
		{"a capital with help", "+TeaM:a:1:1:/h:-::\n+x-m:a:1:1:/h:-::\n.\n", []string{"assign.upper-case info assign:1"}},
		{"duplicates", "=joe:a:1:1:/h:::\n+joe:a:1:1:/h:::\n=JOE:b:2:2:/i:::\n+joe:a:1:1:/h:::\n.\n", []string{"assign.duplicate warning assign:3", "assign.duplicate warning assign:4"}},
		{"ids that are prefixes", "+10:b:1:1:/b:::\n+1:a:1:1:/a:::\n+100:b:1:1:/b:::\n+2:a:1:1:/a:::\n.\n", []string{"assign.prefix warning assign:1"}},
		{"prefix with dash", "+joe-:joe:1:1:/h:-::\n+joe-list-:list:2:2:/l:-::\n+joe-own-:joe:1:1:/h:-::\n+:alias:7:7:/a:-::\n.\n", []string{"assign.prefix info assign:2"}},
		{"first bytes", "xjoe:a:1:1:/h:::\n#joe:a:1:1:/h:::\n.\n", []string{"assign.first-byte warning assign:1", "assign.first-byte warning assign:2", "assign.duplicate warning assign:2"}},
		{"CRLF", "=joe:a:1:1:/h:::\r\n.\r\n", []string{"assign.rest info assign:1"}},
		{"behind the dot", "=joe:a:1:1:/h:::\n.x\n=ann:a:1:1:/h:::\n", []string{"assign.after-dot warning assign:3"}},
	} {
		a, err := users.ParseAssign(strings.NewReader(c.text))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var got []string
		for p := range a.Check() {
			got = append(got, shown(p))
			if p.Err == nil || int(p.Offset) != offsetOf(c.text, p.Line) {
				t.Errorf("%s: %v at offset %d", c.name, p, p.Offset)
			}
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		for range a.Check() {
			break
		}
	}
}

func offsetOf(text string, line int) int {
	return len(strings.Join(strings.SplitAfter(text, "\n")[:line-1], ""))
}

// What Check says of look-ups is what they do: an entry that it calls dead is
// found by no local part of its own, and the others are.
func TestCheckAgainstLookup(t *testing.T) {
	cases, _ := filepath.Glob("testdata/cases/*/assign")
	if len(cases) < 13 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, name := range cases {
		a, err := users.ParseAssign(bytes.NewReader(readFile(t, name)))
		if err != nil {
			t.Fatal(err)
		}
		dead := map[int]bool{}
		for p := range a.Check() {
			if p.Code == "assign.duplicate" || p.Code == "assign.upper-case" && p.Severity == qmailkit.Error {
				dead[p.Line] = true
			}
		}
		cdb := readFile(t, filepath.Join(filepath.Dir(name), "cdb"))
		db, err := users.OpenDB(bytes.NewReader(cdb), int64(len(cdb)))
		if err != nil {
			t.Fatal(err)
		}
		for e := range a.Entries() {
			local, ext := e.Local, e.Ext
			if e.Wildcard {
				local, ext = local+"\x01", ext+"\x01"
			}
			u, found, err := db.Lookup(local)
			if err != nil {
				t.Fatal(err)
			}
			hit := found && u == users.User{Name: e.User, UID: e.UID, GID: e.GID, Home: e.Home, Dash: e.Dash, Ext: ext}
			if hit == dead[e.Line] {
				t.Errorf("%s:%d: %q found %t, dead %t", name, e.Line, local, hit, dead[e.Line])
			}
		}
	}
}

func TestStale(t *testing.T) {
	text := readFile(t, "testdata/cases/wildcards/assign")
	cdb := readFile(t, "testdata/cases/wildcards/cdb")
	is := func(cdb, text []byte) bool {
		t.Helper()
		stale, err := users.Stale(bytes.NewReader(cdb), int64(len(cdb)), bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return stale
	}
	if is(cdb, text) {
		t.Error("the cdb of qmail-newu is stale")
	}
	for i := range cdb {
		other := bytes.Clone(cdb)
		other[i] ^= 1
		if !is(other, text) {
			t.Errorf("byte %d changed, and nobody sees it", i)
		}
	}
	if !is(append(bytes.Clone(cdb), 0), text) || !is(cdb[:len(cdb)-1], text) || !is(nil, text) {
		t.Error("another length is not seen")
	}
	if _, err := users.Stale(bytes.NewReader(cdb), int64(len(cdb)), strings.NewReader("x\n")); !errors.Is(err, users.ErrFormat) {
		t.Errorf("refused assign: %v", err)
	}
	boom := errors.New("boom")
	if _, err := users.Stale(failing{boom}, 9999, bytes.NewReader(text)); !errors.Is(err, boom) || !errors.Is(err, users.ErrDB) {
		t.Errorf("unreadable cdb: %v", err)
	}
	if _, err := users.Stale(bytes.NewReader(cdb), int64(len(cdb)), iotest.ErrReader(boom)); !errors.Is(err, boom) {
		t.Errorf("unreadable assign: %v", err)
	}
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestCheckDirectory(t *testing.T) {
	good, err := os.ReadFile("testdata/cases/basic/assign")
	if err != nil {
		t.Fatal(err)
	}
	cdb := readFile(t, "testdata/cases/basic/cdb")
	for _, c := range []struct {
		name        string
		assign, cdb []byte
		want        string
	}{
		{"neither", nil, nil, ""},
		{"both", good, cdb, ""},
		{"no cdb", good, nil, "usercdb.missing error cdb:0"},
		{"no assign", nil, cdb, "usercdb.no-assign warning cdb:0"},
		{"broken cdb", good, cdb[:99], "usercdb.broken error cdb:0"},
		{"cdb without its list", good, readFile(t, "testdata/badcdb/no-empty-key/cdb"), "usercdb.broken error cdb:0"},
		{"stale", append([]byte("=new:n:9:9:/n:::\n"), good...), cdb, "usercdb.stale error cdb:0"},
		{"refused", []byte("=joe\n.\n"), cdb, "assign.format error assign:1"},
	} {
		dir := t.TempDir()
		for name, b := range map[string][]byte{"assign": c.assign, "cdb": c.cdb} {
			if b != nil {
				if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		var got []string
		for p, err := range users.Check(context.Background(), root) {
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if !strings.HasPrefix(p.Code, "assign.") || p.Code == "assign.format" {
				got = append(got, shown(p))
			}
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s: %s, want %s", c.name, s, c.want)
		}
	}
}

func TestCheckDirectoryTrouble(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	last := func(ctx context.Context) (err error) {
		for _, err = range users.Check(ctx, root) {
		}
		return err
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "assign")); err != nil {
		t.Fatal(err)
	}
	if err := last(context.Background()); !errors.Is(err, qmailkit.ErrIncomplete) {
		t.Errorf("dangling link: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "assign")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "assign"), []byte("=a:a:0:0:h:::\n=b:b:0:0:h:::\n.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := last(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, qmailkit.ErrIncomplete) {
		t.Errorf("cancelled: %v", err)
	}
	for range users.Check(context.Background(), root) {
		break
	}
	if err := os.Mkdir(filepath.Join(dir, "cdb"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := last(context.Background()); !errors.Is(err, qmailkit.ErrNotPlain) {
		t.Errorf("cdb is a directory: %v", err)
	}
}
