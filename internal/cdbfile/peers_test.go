package cdbfile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/colinmarc/cdb"
	"github.com/google/go-cmp/cmp"
)

// golden returns the sound databases of testdata by name.
func golden(t testing.TB) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	names, err := filepath.Glob("testdata/*.cdb")
	if err != nil || len(names) == 0 {
		t.Fatalf("no samples in testdata: %v", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if base := filepath.Base(name); !strings.HasPrefix(base, "bad-") {
			files[base] = b
		}
	}
	return files
}

// TestGolden rewrites what qmail-newu, qmail-newmrh and vpopmail wrote, and
// wants the same bytes.
func TestGolden(t *testing.T) {
	for name, file := range golden(t) {
		r := open(t, file)
		recs := records(t, r)
		if !bytes.Equal(build(t, recs), file) {
			t.Errorf("%s: rewritten, it has other bytes", name)
		}
		seen := map[string]bool{}
		for _, rec := range recs {
			if seen[rec.K] {
				continue
			}
			seen[rec.K] = true
			data, found, err := r.Get([]byte(rec.K))
			if err != nil || !found || string(data) != rec.V {
				t.Errorf("%s: Get(%q) = %q, %v, %v; want %q", name, rec.K, data, found, err, rec.V)
			}
		}
	}
}

// TestBroken wants the answers that qmail-lspawn gave for each file: an error,
// a record, or none.
func TestBroken(t *testing.T) {
	const fails, found, absent = "fails", "found", "absent"
	for _, c := range []struct{ file, key, want string }{
		{"bad-empty-file.cdb", "", fails},
		{"bad-truncated-header.cdb", "", fails},
		{"bad-zeros-2048.cdb", "", absent},
		{"bad-no-empty-key.cdb", "", absent},
		{"bad-truncated-tables.cdb", "", found},
		{"bad-truncated-tables.cdb", "!joe\x00", found},
		{"bad-truncated-tables.cdb", "!ann\x00", found},
		{"bad-truncated-tables.cdb", "!joe-", fails},
		{"bad-truncated-tables.cdb", "!bill\x00", absent},
		{"bad-truncated-tables.cdb", "!", fails},
	} {
		file, err := os.ReadFile("testdata/" + c.file)
		if err != nil {
			t.Fatal(err)
		}
		got := absent
		r, err := Open(bytes.NewReader(file), int64(len(file)))
		if err == nil {
			var ok bool
			if _, ok, err = r.Get([]byte(c.key)); ok {
				got = found
			}
		}
		if err != nil {
			got = fails
		}
		if got != c.want {
			t.Errorf("%s, key %q: %s (%v), qmail-lspawn: %s", c.file, c.key, got, err, c.want)
		}
	}
}

// manyRecords are pseudo-random, with keys that come again and the keys of
// hash 0.
func manyRecords(n int) []pairKV {
	rnd := rand.New(rand.NewPCG(1, 2))
	recs := []pairKV{{hashZero[0], "zero"}, {hashZero[1], "nought"}}
	for i := range n {
		k := fmt.Sprintf("!user%d\x00", rnd.IntN(n))
		v := strings.Repeat("x", rnd.IntN(60)) + fmt.Sprint(i)
		recs = append(recs, pairKV{k, v})
	}
	return recs
}

// TestColinmarc compares with an independent implementation in both
// directions.
func TestColinmarc(t *testing.T) {
	recs := manyRecords(5000)
	dir := t.TempDir()
	theirs, err := cdb.Create(filepath.Join(dir, "theirs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range recs {
		if err := theirs.Put([]byte(r.K), []byte(r.V)); err != nil {
			t.Fatal(err)
		}
	}
	if err := theirs.Close(); err != nil {
		t.Fatal(err)
	}
	made, err := os.ReadFile(filepath.Join(dir, "theirs"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(recs, records(t, open(t, made))); diff != "" {
		t.Errorf("records of their file: %s", diff)
	}
	ours := build(t, recs)
	read, err := cdb.New(bytes.NewReader(ours), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, ours)
	for _, rec := range recs {
		got, found, err := r.Get([]byte(rec.K))
		if err != nil || !found {
			t.Fatalf("Get(%q): %v, %v", rec.K, found, err)
		}
		if Hash([]byte(rec.K)) == 0 {
			continue // theirs takes a hash of 0 for a free slot
		}
		want, err := read.Get([]byte(rec.K))
		if err != nil || want == nil || !bytes.Equal(got, want) {
			t.Fatalf("%q: ours has %q, theirs %q (%v)", rec.K, got, want, err)
		}
	}
}

// tinycdb finds the cdb program of the Debian package tinycdb.
func tinycdb(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("cdb")
	if err != nil {
		if os.Getenv("QMAILKIT_REQUIRE_PEERS") == "1" {
			t.Fatal("QMAILKIT_REQUIRE_PEERS=1, but tinycdb is not installed:", err)
		}
		t.Skip("tinycdb is not installed: nothing to compare with")
	}
	return path
}

// dump prints records as cdbdump does.
func dump(recs []pairKV) []byte {
	var b bytes.Buffer
	for _, r := range recs {
		fmt.Fprintf(&b, "+%d,%d:%s->%s\n", len(r.K), len(r.V), r.K, r.V)
	}
	b.WriteByte('\n')
	return b.Bytes()
}

func TestTinycdb(t *testing.T) {
	tool := tinycdb(t)
	for _, recs := range [][]pairKV{nil, someRecords, manyRecords(20000)} {
		dir := t.TempDir()
		theirs, ours := filepath.Join(dir, "theirs"), filepath.Join(dir, "ours")
		make := exec.Command(tool, "-c", "-t", filepath.Join(dir, "tmp"), theirs)
		make.Stdin = bytes.NewReader(dump(recs))
		if out, err := make.CombinedOutput(); err != nil {
			t.Fatalf("cdb -c: %v: %s", err, out)
		}
		want, err := os.ReadFile(theirs)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(build(t, recs), want) {
			t.Errorf("%d records: cdb -c makes other bytes", len(recs))
		}
		if err := os.WriteFile(ours, build(t, recs), 0o600); err != nil {
			t.Fatal(err)
		}
		text, err := exec.Command(tool, "-d", ours).Output()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text, dump(recs)) {
			t.Errorf("%d records: cdb -d prints other records", len(recs))
		}
	}
}

// benchRecords are those that qmail-newu makes of the assign file of its
// benchmark, without the wildcard list.
func benchRecords(n int, add func(k, v []byte)) {
	var k, v []byte
	for i := range n / 2 {
		k = fmt.Appendf(k[:0], "!user%d\x00", i)
		v = fmt.Appendf(v[:0], "user%d\x00%d\x001000\x00/home/user%d\x00\x00", i, 10000+i, i)
		add(k, v)
		k = append(k[:len(k)-1], '-')
		v = append(v[:len(v)-1], '-', 0)
		add(k, v)
	}
}

// BenchmarkWrite makes a synced file of a million records; compare with
// BenchmarkTinycdb.
func BenchmarkWrite(b *testing.B) {
	for b.Loop() {
		f, err := os.Create(filepath.Join(b.TempDir(), "cdb"))
		if err != nil {
			b.Fatal(err)
		}
		w := NewWriter(f)
		benchRecords(1e6, func(k, v []byte) {
			if err := w.Add(k, v); err != nil {
				b.Fatal(err)
			}
		})
		if err := w.Finish(); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

// BenchmarkTinycdb is the peer of BenchmarkWrite: the whole of cdb -c.
func BenchmarkTinycdb(b *testing.B) {
	tool := tinycdb(b)
	in := filepath.Join(b.TempDir(), "in")
	f, err := os.Create(in)
	if err != nil {
		b.Fatal(err)
	}
	var text bytes.Buffer
	benchRecords(1e6, func(k, v []byte) {
		fmt.Fprintf(&text, "+%d,%d:%s->%s\n", len(k), len(v), k, v)
	})
	text.WriteByte('\n')
	if _, err := f.Write(text.Bytes()); err != nil {
		b.Fatal(err)
	}
	f.Close()
	for b.Loop() {
		dir := b.TempDir()
		cmd := exec.Command(tool, "-c", "-t", filepath.Join(dir, "tmp"), filepath.Join(dir, "cdb"), in)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	var m memFile
	w := NewWriter(&m)
	benchRecords(1e5, func(k, v []byte) { w.Add(k, v) })
	if err := w.Finish(); err != nil {
		b.Fatal(err)
	}
	name := filepath.Join(b.TempDir(), "cdb")
	if err := os.WriteFile(name, m.b, 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	r, err := Open(f, int64(len(m.b)))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, found, err := r.Get([]byte("!user4711\x00")); !found || err != nil {
			b.Fatal(found, err)
		}
	}
}
