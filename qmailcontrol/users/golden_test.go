package users_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/qmailcontrol/users"
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

// lookup is a line of lookup.jsonl.
type lookup struct {
	Local   latin1
	Via     string
	Key     latin1
	Probes  []latin1
	Status  string
	Report  *latin1
	User    latin1
	UID     *uint32
	GID     *uint32
	UIDText latin1 `json:"uid_text"`
	GIDText latin1 `json:"gid_text"`
	Home    latin1
	Dash    latin1
	Ext     latin1
	Nughde  *latin1
}

func lookups(t *testing.T, r io.Reader) []lookup {
	t.Helper()
	var all []lookup
	for d := json.NewDecoder(r); ; {
		var l lookup
		err := d.Decode(&l)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	if len(all) == 0 {
		t.Fatal("no look-ups")
	}
	return all
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func gunzip(t *testing.T, name string) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(readFile(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// getpw is the system on which the golden look-ups were made.
func getpw(t *testing.T) *users.Getpw {
	t.Helper()
	text := readFile(t, "testdata/passwd")
	accounts, err := users.ReadPasswd(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	owner := map[string]uint32{}
	for _, a := range accounts {
		owner[a.Home] = a.UID
	}
	delete(owner, accounts["gone"].Home)
	delete(owner, "/nonexistent")
	owner["/var/qmail"] = 0
	owner[accounts["web"].Home]++
	return &users.Getpw{
		Accounts: accounts,
		HomeOwner: func(home string) (uint32, bool, error) {
			uid, ok := owner[home]
			return uid, ok, nil
		},
	}
}

// compare asks what the real qmail-lspawn was asked.
func compare(t *testing.T, l users.Lspawn, want lookup) {
	t.Helper()
	a, err := l.Find(string(want.Local))
	var probes []latin1
	for _, p := range a.Probes {
		probes = append(probes, latin1(p))
	}
	if string(a.Via) != want.Via || a.Key != string(want.Key) || !slices.Equal(probes, want.Probes) {
		t.Errorf("%q: via %s, key %q, probes %q; want %s, %q, %q", want.Local, a.Via, a.Key, probes, want.Via, want.Key, want.Probes)
	}
	if (err == nil) != (want.Status == "K") {
		t.Errorf("%q: error %v, status %s", want.Local, err, want.Status)
	}
	if err != nil && users.Report(err)+"\n" != string(*want.Report) {
		t.Errorf("%q: report %q, want %q", want.Local, users.Report(err), *want.Report)
	}
	if want.Nughde != nil && a.Text != string(*want.Nughde) {
		t.Errorf("%q: text %q, want %q", want.Local, a.Text, *want.Nughde)
	}
	if want.UID == nil {
		return
	}
	u := users.User{
		Name: string(want.User), UID: string(want.UIDText), GID: string(want.GIDText),
		Home: string(want.Home), Dash: string(want.Dash), Ext: string(want.Ext),
	}
	if a.User != u {
		t.Errorf("%q: %+v, want %+v", want.Local, a.User, u)
	}
	if uid, gid := a.User.IDs(); uid != *want.UID || gid != *want.GID {
		t.Errorf("%q: ids %d %d, want %d %d", want.Local, uid, gid, *want.UID, *want.GID)
	}
}

// What NewU makes of every golden assign is the cdb of qmail-newu, and every
// look-up in it gives the answer of qmail-lspawn, with the same probes.
func TestGolden(t *testing.T) {
	cases, _ := filepath.Glob("testdata/cases/*/assign")
	if len(cases) < 13 {
		t.Fatalf("%d cases", len(cases))
	}
	system := getpw(t)
	for _, assign := range cases {
		from := filepath.Dir(assign)
		t.Run(filepath.Base(from), func(t *testing.T) {
			text := readFile(t, assign)
			cdb := newu(t, text)
			if want := readFile(t, filepath.Join(from, "cdb")); !bytes.Equal(cdb, want) {
				t.Errorf("cdb differs: %q, want %q", cdb[2048:], want[2048:])
			}
			a, err := users.ParseAssign(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a.Bytes(), text) {
				t.Errorf("assign became %q", a.Bytes())
			}
			var mem buffer
			if err := a.WriteCDB(&mem); err != nil || !bytes.Equal(mem, cdb) {
				t.Errorf("WriteCDB of Assign differs: %v", err)
			}
			rows := lookups(t, bytes.NewReader(readFile(t, filepath.Join(from, "lookup.jsonl"))))
			ask(t, cdb, system, rows)
		})
	}
}

func TestGolden10k(t *testing.T) {
	cdb := newu(t, gunzip(t, "testdata/big10k/assign.gz"))
	sum := sha256.Sum256(cdb)
	if want, _, _ := strings.Cut(string(readFile(t, "testdata/big10k/cdb.sha256")), " "); hex.EncodeToString(sum[:]) != want {
		t.Errorf("cdb has the hash %x, want %s", sum, want)
	}
	ask(t, cdb, getpw(t), lookups(t, bytes.NewReader(gunzip(t, "testdata/big10k/lookup.jsonl.gz"))))
}

func TestBadCDB(t *testing.T) {
	cases, _ := filepath.Glob("testdata/badcdb/*")
	if len(cases) < 5 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, from := range cases {
		t.Run(filepath.Base(from), func(t *testing.T) {
			rows := lookups(t, bytes.NewReader(readFile(t, filepath.Join(from, "lookup.jsonl"))))
			ask(t, readFile(t, filepath.Join(from, "cdb")), getpw(t), rows)
		})
	}
}

func TestNoCDB(t *testing.T) {
	f, err := os.Open("testdata/cases-nocdb/lookup.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := users.Lspawn{Getpw: getpw(t).Lookup}
	for _, want := range lookups(t, f) {
		compare(t, l, want)
	}
}

func ask(t *testing.T, cdb []byte, system *users.Getpw, rows []lookup) {
	t.Helper()
	db, err := users.OpenDB(bytes.NewReader(cdb), int64(len(cdb)))
	for _, want := range rows {
		if (err != nil) != (len(want.Probes) == 1) {
			t.Errorf("OpenDB: %v, probes %q", err, want.Probes)
		}
		compare(t, users.Lspawn{DB: db, Getpw: system.Lookup}, want)
		u, found, err := db.Lookup(string(want.Local))
		if found != (want.Via == "cdb") || (err != nil) != (want.Via == "none") || want.UID != nil && found && u.Home != string(want.Home) {
			t.Errorf("Lookup(%q) = %+v %t, %v", want.Local, u, found, err)
		}
	}
}

// newu runs NewU in a directory of its own and returns users/cdb.
func newu(t *testing.T, assign []byte) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "assign"), assign, 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := users.NewU(root, nil); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 2 {
		t.Errorf("left behind: %v, %v", list, err)
	}
	return readFile(t, filepath.Join(dir, "cdb"))
}

// buffer is a file in memory.
type buffer []byte

func (b *buffer) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p) - len(*b); need > 0 {
		*b = append(*b, make([]byte, need)...)
	}
	return copy((*b)[off:], p), nil
}

// What qmail-newu refuses is refused in its words, and users/cdb stays.
func TestRefusals(t *testing.T) {
	cases, _ := filepath.Glob("testdata/invalid/*/stderr")
	if len(cases) < 15 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, stderr := range cases {
		from := filepath.Dir(stderr)
		t.Run(filepath.Base(from), func(t *testing.T) {
			dir := t.TempDir()
			text, missing := os.ReadFile(filepath.Join(from, "assign"))
			if missing == nil {
				if err := os.WriteFile(filepath.Join(dir, "assign"), text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "cdb"), []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			err = users.NewU(root, nil)
			if err == nil {
				t.Fatal("no error")
			}
			if got, want := users.Fatal(err)+"\n", string(readFile(t, stderr)); got != want {
				t.Errorf("%q, want %q", got, want)
			}
			if got := string(readFile(t, filepath.Join(dir, "cdb"))); got != "old" {
				t.Errorf("cdb became %q", got)
			}
			if _, err := os.Stat(filepath.Join(dir, "cdb.tmp")); err == nil {
				t.Error("cdb.tmp was left")
			}
			if missing != nil {
				return
			}
			var pe *users.ParseError
			if !errors.As(err, &pe) || !errors.Is(err, users.ErrFormat) {
				t.Fatalf("error %v", err)
			}
			if want := 1 + bytes.Count(text[:pe.Offset], []byte("\n")); pe.Line != want {
				t.Errorf("line %d at offset %d, want %d", pe.Line, pe.Offset, want)
			}
			if _, err := users.ParseAssign(bytes.NewReader(text)); !errors.Is(err, users.ErrFormat) {
				t.Errorf("ParseAssign: %v", err)
			}
		})
	}
}
