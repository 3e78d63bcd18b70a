package maildir

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
)

// newDir makes a Maildir in a temporary directory.
func newDir(t testing.TB, opts *Options) (*Dir, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "M")
	d, err := Create(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, path
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestQuotaGolden counts the mailboxes that vpopmail has counted.
func TestQuotaGolden(t *testing.T) {
	f, err := os.Open("testdata/quota.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cases, filled := 0, 0
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var c struct {
			Step  int
			Files []string
			Text  string `json:"maildirsize"`
			Mode  string
		}
		if err := json.Unmarshal(sc.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		cases++
		filled += len(c.Files)
		d, path := newDir(t, nil)
		for _, name := range c.Files {
			write(t, filepath.Join(path, name), "")
		}
		limit, _, _ := strings.Cut(c.Text, "\n")
		if err := d.RebuildQuota(context.Background(), limit); err != nil {
			t.Fatal(err)
		}
		if got := read(t, filepath.Join(path, QuotaName)); got != c.Text {
			t.Errorf("step %d: %q, vpopmail wrote %q", c.Step, got, c.Text)
		}
		fi, _ := os.Stat(filepath.Join(path, QuotaName))
		if got := fmt.Sprintf("%04o", fi.Mode().Perm()); got != c.Mode {
			t.Errorf("step %d: mode %s, vpopmail's is %s", c.Step, fi.Mode(), c.Mode)
		}
		if got, err := d.QuotaLimit(); err != nil || got != limit {
			t.Errorf("step %d: limit %q, %v", c.Step, got, err)
		}
	}
	if cases < 10 || filled < 10 {
		t.Fatalf("only %d cases with %d files", cases, filled)
	}
}

func TestUsage(t *testing.T) {
	ctx := context.Background()
	d, path := newDir(t, nil)
	for _, name := range []string{".Work", ".Work.Old", ".Trash"} {
		f, err := d.CreateFolder(name)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	os.Mkdir(filepath.Join(path, ".nomaildir"), 0o700)
	os.Symlink(".Work", filepath.Join(path, ".Link"))
	for name, size := range map[string]int{
		"new/1.a.b,S=100": 5, "cur/2.a.b:2,S": 20, "cur/3.a.b,S=1000:2,ST": 1000, "cur/.hidden": 7, "cur/4.a.b,S=x:2,": 3,
		".Work/cur/5.a.b,S=40:2,": 40, ".Work.Old/new/6.a.b": 4, ".Trash/cur/7.a.b,S=500:2,": 500,
	} {
		write(t, filepath.Join(path, name), strings.Repeat("x", size))
	}
	os.Symlink("2.a.b:2,S", filepath.Join(path, "cur/8.a.b,S=50:2,"))
	os.Mkdir(filepath.Join(path, "cur/9.a.b,S=50:2,"), 0o700)
	if b, n, err := d.Usage(ctx); err != nil || b != 100+20+3+40+4 || n != 5 {
		t.Errorf("%d bytes, %d messages, %v", b, n, err)
	}
	write(t, filepath.Join(path, "new/a,S=9223372036854775807"), "")
	if b, _, err := d.Usage(ctx); err != nil || b != math.MaxInt64 {
		t.Errorf("a huge size gives %d, %v", b, err)
	}
	stop, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := d.Usage(stop); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestRebuildQuota(t *testing.T) {
	ctx := context.Background()
	d, path := newDir(t, nil)
	file := filepath.Join(path, QuotaName)
	if err := d.RebuildQuota(ctx, "NOQUOTA"); err != nil {
		t.Errorf("no file, no limit: %v", err)
	}
	if limit, err := d.QuotaLimit(); limit != "" || err != nil {
		t.Errorf("no file: %q, %v", limit, err)
	}
	write(t, file, "5S\n1 1\n")
	if err := d.RebuildQuota(ctx, "5S"); err != nil || read(t, file) != "5S\n0 0\n" {
		t.Errorf("%q, %v", read(t, file), err)
	}
	before, _ := os.Stat(file)
	if err := d.RebuildQuota(ctx, "5S"); err != nil {
		t.Error(err)
	}
	if after, _ := os.Stat(file); !os.SameFile(before, after) {
		t.Error("a file that says the same was replaced")
	}
	if err := d.RebuildQuota(ctx, ""); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no limit leaves the file: %v", err)
	}
	victim := filepath.Join(path, "victim")
	write(t, victim, "keep")
	os.Symlink("victim", file)
	if err := d.RebuildQuota(ctx, "5S"); !errors.Is(err, qmailkit.ErrNotPlain) || read(t, victim) != "keep" {
		t.Errorf("through a link: %v, %q", err, read(t, victim))
	}
}

func TestParseQuota(t *testing.T) {
	for in, want := range map[string]Quota{
		"": {}, "1000S": {1000, 0}, "3C": {0, 3}, "5000S,2C": {5000, 2}, "2C,5000S": {5000, 2}, "NOQUOTA": {},
		"S": {}, "-5S": {}, "5S,,7X": {5, 0}, "99999999999999999999S": {}, "1S,2S": {2, 0},
	} {
		q := ParseQuota(in)
		if q != want {
			t.Errorf("%q: %+v", in, q)
		}
		if again := ParseQuota(q.String()); again != q {
			t.Errorf("%q: %q reads back as %+v", in, q, again)
		}
	}
}

// dovecotUIDs is a list as Dovecot 2.3 writes it.
const dovecotUIDs = "3 V1795289587 N4 G0123456789abcdef0123456789abcdef\n" +
	"1 S120 W130 :1795289587.M1P2.vm,S=120,W=130\n2 G00112233445566778899aabbccddeeff Pold uidl :1795289588.M1P2.vm\n3 :name with blank\n"

func TestUIDList(t *testing.T) {
	u, err := ParseUIDList([]byte(strings.Replace(dovecotUIDs, "Pold uidl", "Pold-uidl O1", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if u.Validity != 1795289587 || u.Next != 4 || len(u.Records) != 3 || u.Records[2].Base != "name with blank" {
		t.Errorf("%+v", u)
	}
	if p, ok := u.Records[1].Field('P'); !ok || p != "old-uidl" {
		t.Errorf("UIDL %q, %v", p, ok)
	}
	if _, ok := u.Records[2].Field('P'); ok {
		t.Error("a UIDL from nowhere")
	}
	if want := "1 1795289587 4\n1 1795289587.M1P2.vm,S=120,W=130\n2 1795289588.M1P2.vm\n3 name with blank\n"; string(u.CourierBytes()) != want {
		t.Errorf("Courier's: %q", u.CourierBytes())
	}
	one, err := ParseUIDList(u.CourierBytes())
	if err != nil || one.Next != 4 || len(one.Records) != 3 || one.Records[0].Base != u.Records[0].Base {
		t.Errorf("Courier's read back: %+v, %v", one, err)
	}
	for _, bad := range []string{
		"", "\n", "2 V1 N1\n", "3 Vx N1\n", "3 V99999999999 N1\n", "1 5\n", "3 V1 N1\nx :a\n", "3 V1 N1\n1\n", "3 V1 N1\n1 :\n",
		"3 V1 N1\n1 :" + strings.Repeat("x", maxUIDLine) + "\n", "3 V1 N1\n1 S5\n", "1 1 1\n5 \n",
	} {
		if u, err := ParseUIDList([]byte(bad)); err == nil {
			t.Errorf("%.40q: %+v", bad, u)
		}
	}
}

func TestSeedUIDList(t *testing.T) {
	d, path := newDir(t, nil)
	if _, err := d.UIDList(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no list: %v", err)
	}
	record := func(f []string, base string) *UIDList {
		return &UIDList{Validity: 1, Next: 9, Records: []UIDRecord{{UID: 3, Fields: f, Base: base}}}
	}
	for _, bad := range []*UIDList{
		record(nil, ""), record(nil, "a:2,S"), record(nil, "a\nb"), record([]string{""}, "a"), record([]string{"Pa b"}, "a"),
		record([]string{"a b"}, "a b"), record([]string{":x"}, "a"), {Fields: []string{"V5"}},
	} {
		if err := d.SeedUIDList(bad); err == nil {
			t.Errorf("%+v was written as %q", bad, bad.Bytes())
		}
	}
	fields := append(make([]string, 0, 9), "Pold")
	u := record(fields, "1.a.b")
	if err := d.SeedUIDList(u); err != nil {
		t.Fatal(err)
	}
	if fields[:2][1] != "" {
		t.Error("the caller's memory was written to")
	}
	back, err := d.UIDList()
	if err != nil || !bytes.Equal(back.Bytes(), u.Bytes()) {
		t.Errorf("%+v, %v", back, err)
	}
	if err := d.SeedUIDList(record(nil, "2.a.b")); err != nil || read(t, filepath.Join(path, UIDListName)) != "3 V1 N9\n3 :2.a.b\n" {
		t.Errorf("over a list that no server has read: %v", err)
	}
	const served = "3 V1 N9 G0123456789abcdef\n3 :2.a.b\n"
	write(t, filepath.Join(path, UIDListName), served)
	if err := d.SeedUIDList(u); !errors.Is(err, fs.ErrExist) || read(t, filepath.Join(path, UIDListName)) != served {
		t.Errorf("over a server's list: %v", err)
	}
	if list, _ := os.ReadDir(path); len(list) != 4 {
		t.Errorf("something is left: %v", list)
	}
	// Courier's, which shows only by what it says whether it is still the seed.
	courier := filepath.Join(path, CourierUIDs)
	for _, list := range []*UIDList{u, record(nil, "2.a.b")} {
		if err := d.SeedCourierUIDs(list, u); err != nil || read(t, courier) != string(list.CourierBytes()) {
			t.Errorf("%v: %s", err, read(t, courier))
		}
	}
	if err := d.SeedCourierUIDs(u, u); !errors.Is(err, fs.ErrExist) || read(t, courier) != "1 1 9\n3 2.a.b\n" {
		t.Errorf("over a list of Courier's: %v", err)
	}
	// A server makes its own list at the last moment.
	d2, path2 := newDir(t, &Options{hook: func(op, name string) error {
		if op == "rename" && strings.HasSuffix(name, ".seed") {
			write(t, filepath.Join(filepath.Dir(name), UIDListName), "server's")
		}
		return nil
	}})
	if err := d2.SeedUIDList(u); !errors.Is(err, fs.ErrExist) || read(t, filepath.Join(path2, UIDListName)) != "server's" {
		t.Errorf("the server's list: %v", err)
	}
}

func FuzzUIDList(f *testing.F) {
	f.Add([]byte(dovecotUIDs))
	f.Add([]byte("1 5 6\n1 a:2,S\n2 b\n"))
	f.Add([]byte("3 V1 N2 G \n5  S1 :a\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := ParseUIDList(b)
		if err != nil {
			return
		}
		one := u.Bytes()
		v, err := ParseUIDList(one)
		if err != nil || !bytes.Equal(v.Bytes(), one) || len(v.Records) != len(u.Records) {
			t.Fatalf("%q becomes %q: %v", b, one, err)
		}
	})
}

func TestKeywords(t *testing.T) {
	k := ParseKeywords([]byte("0 NonJunk\n2 $Forwarded\nbad\n-1 x\n99999 far\n3\n5 \n30 beyond\n"))
	if got := string(k.Bytes()); got != "0 NonJunk\n2 $Forwarded\n30 beyond\n" {
		t.Errorf("%q", got)
	}
	if got := k.Names(ParseFlags("SabcZ")); !slices.Equal(got, []string{"NonJunk", "$Forwarded"}) {
		t.Errorf("names %q", got)
	}
	for _, c := range []struct {
		name      string
		letter    string
		added, ok bool
	}{
		{"nonjunk", "a", false, true}, {"Work", "b", true, true}, {"Work", "b", false, true}, {"beyond", "", false, false},
		{"", "", false, false}, {"two words", "", false, false}, {"new\nline", "", false, false}, {"More", "d", true, true},
	} {
		f, added, ok := k.Letter(c.name)
		if f.String() != c.letter || added != c.added || ok != c.ok {
			t.Errorf("%q: %q, %v, %v", c.name, f, added, ok)
		}
	}
	full := &Keywords{}
	for i := range 26 {
		if f, _, ok := full.Letter(strings.Repeat("k", i+1)); !ok || f != Keyword(i) {
			t.Fatalf("keyword %d: %q, %v", i, f, ok)
		}
	}
	if _, added, ok := full.Letter("one more"[:3]); added || ok {
		t.Error("a letter behind z")
	}
}

func TestKeywordsFile(t *testing.T) {
	d, path := newDir(t, nil)
	k, err := d.Keywords()
	if err != nil || len(k.Bytes()) != 0 {
		t.Fatalf("missing file: %q, %v", k.Bytes(), err)
	}
	k.Letter("Junk")
	if err := d.SetKeywords(k); err != nil {
		t.Fatal(err)
	}
	os.Chmod(filepath.Join(path, KeywordsName), 0o640)
	k.Letter("Work")
	if err := d.SetKeywords(k); err != nil || read(t, filepath.Join(path, KeywordsName)) != "0 Junk\n1 Work\n" {
		t.Errorf("%v", err)
	}
	if fi, _ := os.Stat(filepath.Join(path, KeywordsName)); fi.Mode().Perm() != 0o640 {
		t.Errorf("mode became %s", fi.Mode())
	}
	os.Truncate(filepath.Join(path, KeywordsName), maxSideFile+1)
	if _, err := d.Keywords(); !planted(err) {
		t.Errorf("huge file: %v", err)
	}
}

func FuzzKeywords(f *testing.F) {
	f.Add([]byte("0 NonJunk\n1 $Forwarded\n"))
	f.Add([]byte("5 a\n5 b\n\n 1 c\n+1 d\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		one := ParseKeywords(b).Bytes()
		if two := ParseKeywords(one).Bytes(); !bytes.Equal(one, two) {
			t.Fatalf("%q becomes %q, then %q", b, one, two)
		}
	})
}

func TestSubscribe(t *testing.T) {
	d, path := newDir(t, nil)
	courier, dovecot := filepath.Join(path, CourierSubscribed), filepath.Join(path, DovecotSubscribed)
	if err := d.Subscribe(nil); err != nil {
		t.Error(err)
	}
	if err := d.Subscribe([]string{".", ".A.B", ".Entw&APw-rfe", ".A.B"}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, courier); got != "INBOX\nINBOX.A.B\nINBOX.Entw&APw-rfe\n" {
		t.Errorf("Courier: %q", got)
	}
	if got := read(t, dovecot); got != "V\t2\n\nINBOX\nA\tB\nEntw&APw-rfe\n" {
		t.Errorf("Dovecot: %q", got)
	}
	write(t, courier, "INBOX.Own")
	before, _ := os.Stat(dovecot)
	if err := d.Subscribe([]string{".A.B"}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, courier); got != "INBOX.Own\nINBOX.A.B\n" {
		t.Errorf("what stood there: %q", got)
	}
	if after, _ := os.Stat(dovecot); !os.SameFile(before, after) {
		t.Error("a file that says the same was replaced")
	}
	for _, bad := range []string{"A", "..A", ".A\nB", ".A\tB", ""} {
		if err := d.Subscribe([]string{bad}); !errors.Is(err, ErrFolder) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	write(t, dovecot, "Old\n")
	if err := d.Subscribe([]string{".New"}); err == nil || read(t, dovecot) != "Old\n" {
		t.Errorf("another version was written to: %v", err)
	}
}
