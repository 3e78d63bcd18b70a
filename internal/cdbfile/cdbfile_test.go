package cdbfile

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit"
)

// memFile is an io.WriterAt that grows.
type memFile struct {
	b      []byte
	writes int
	failAt int // the write that fails, from 1
	short  bool
}

var errDisk = errors.New("disk full")

func (m *memFile) WriteAt(p []byte, off int64) (int, error) {
	m.writes++
	if m.writes == m.failAt {
		if m.short {
			return len(p) - 1, nil
		}
		return 0, errDisk
	}
	if end := int(off) + len(p); end > len(m.b) {
		m.b = append(m.b, make([]byte, end-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}

type pairKV struct{ K, V string }

func build(t testing.TB, recs []pairKV) []byte {
	t.Helper()
	var m memFile
	w := NewWriter(&m)
	for _, r := range recs {
		if err := w.Add([]byte(r.K), []byte(r.V)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	return m.b
}

func open(t testing.TB, file []byte) *Reader {
	t.Helper()
	r, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func records(t testing.TB, r *Reader) []pairKV {
	t.Helper()
	var all []pairKV
	for rec, err := range r.Records() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pairKV{string(rec.Key), string(rec.Data)})
	}
	return all
}

// hashZero are local parts whose users/cdb keys hash to 0, which some readers
// take for a free slot.
var hashZero = []string{"!tr5jukba\x00", "!1batfada\x00"}

var someRecords = []pairKV{
	{"", "-"}, {"!joe\x00", "joe\x001000"}, {"!joe-", "wild"}, {"!joe\x00", "second"}, {"!joe\x00", ""},
	{hashZero[0], "zero"}, {hashZero[1], "nought"}, {"\xff\x00\n", string(bytes.Repeat([]byte("long"), 1000))},
}

func TestRoundTrip(t *testing.T) {
	r := open(t, build(t, someRecords))
	if diff := cmp.Diff(someRecords, records(t, r)); diff != "" {
		t.Errorf("records differ: %s", diff)
	}
	first := map[string][]string{}
	for _, rec := range someRecords {
		first[rec.K] = append(first[rec.K], rec.V)
	}
	for k, want := range first {
		got, found, err := r.Get([]byte(k))
		if err != nil || !found || string(got) != want[0] {
			t.Errorf("Get(%q) = %q, %v, %v; want %q", k, got, found, err, want[0])
		}
		var all []string
		for rec, err := range r.All([]byte(k)) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(rec.Data))
		}
		if diff := cmp.Diff(want, all); diff != "" {
			t.Errorf("All(%q): %s", k, diff)
		}
	}
	if _, found, err := r.Get([]byte("!nobody\x00")); found || err != nil {
		t.Errorf("absent key: %v, %v", found, err)
	}
}

func TestHashZero(t *testing.T) {
	for _, k := range hashZero {
		if h := Hash([]byte(k)); h != 0 {
			t.Errorf("Hash(%q) = %#x, the test is about 0", k, h)
		}
	}
}

func TestWriterRefusesBeyondLimit(t *testing.T) {
	var m memFile
	w := NewWriter(&m)
	w.limit = headerSize + (8 + 8 + 16) + (8 + 2 + 16)
	if err := w.Add([]byte("key"), []byte("value")); err != nil {
		t.Fatal(err)
	}
	if err := w.Add([]byte("x"), []byte("yy")); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one byte beyond the limit: %v", err)
	}
	if err := w.Add([]byte("x"), []byte("y")); err != nil {
		t.Errorf("a record that just fits: %v", err)
	}
	if err := w.Add(nil, nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an empty record, one too many: %v", err)
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	if uint64(len(m.b)) != w.limit {
		t.Errorf("%d bytes, limit %d", len(m.b), w.limit)
	}
	if diff := cmp.Diff([]pairKV{{"key", "value"}, {"x", "y"}}, records(t, open(t, m.b))); diff != "" {
		t.Error(diff)
	}
	if err := w.Add(nil, nil); !errors.Is(err, ErrFinished) {
		t.Errorf("Add after Finish: %v", err)
	}
	if err := w.Finish(); !errors.Is(err, ErrFinished) {
		t.Errorf("second Finish: %v", err)
	}
}

func TestWriterFaults(t *testing.T) {
	big := make([]byte, writeSize)
	write := func(m *memFile) error {
		w := NewWriter(m)
		var errs []error
		for range 3 {
			errs = append(errs, w.Add([]byte("k"), big))
		}
		err := w.Finish()
		if again := w.Finish(); err != nil && again == nil {
			t.Error("a broken file finished at the second try")
		}
		if e := errors.Join(errs...); e != nil && err == nil {
			t.Errorf("Add failed (%v), Finish did not", e)
		}
		return err
	}
	var clean memFile
	if err := write(&clean); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= clean.writes; n++ {
		if err := write(&memFile{failAt: n}); !errors.Is(err, errDisk) {
			t.Errorf("write %d of %d fails: %v", n, clean.writes, err)
		}
		if err := write(&memFile{failAt: n, short: true}); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("write %d of %d is short: %v", n, clean.writes, err)
		}
	}
}

func TestTruncated(t *testing.T) {
	file := build(t, someRecords)
	for n := range len(file) {
		r, err := Open(bytes.NewReader(file[:n]), int64(n))
		if n < headerSize {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%d bytes: Open gives %v", n, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for _, err := range r.Records() {
			if err == nil {
				seen++
			} else if !errors.Is(err, ErrCorrupt) || !errors.Is(err, qmailkit.ErrIncomplete) {
				t.Fatalf("%d bytes: Records gives %v", n, err)
			}
		}
		if end := int(r.end()); seen < len(someRecords) && n >= end {
			t.Fatalf("%d bytes: %d records, all %d are there", n, seen, len(someRecords))
		}
		for _, rec := range someRecords {
			data, found, err := r.Get([]byte(rec.K))
			if err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			if err == nil && !found {
				t.Fatalf("%d bytes: %q is not found, without an error", n, rec.K)
			}
			if found && rec.K != "!joe\x00" && string(data) != rec.V {
				t.Fatalf("%d bytes: %q has other data", n, rec.K)
			}
		}
	}
}

// TestSizeIsALie gives the reader a size that the file has not, as when it
// shrinks under a reader.
func TestSizeIsALie(t *testing.T) {
	file := build(t, someRecords)
	r, err := Open(bytes.NewReader(file[:headerSize]), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Get(nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Get: %v", err)
	}
	for _, err := range r.Records() {
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("Records: %v", err)
		}
	}
}

func TestBreakEarly(t *testing.T) {
	r := open(t, build(t, someRecords))
	n := 0
	for range r.Records() {
		if n++; n == 2 {
			break
		}
	}
	for range r.All([]byte("!joe\x00")) {
		if n++; n == 4 {
			break
		}
	}
	if n != 4 {
		t.Errorf("saw %d", n)
	}
}
