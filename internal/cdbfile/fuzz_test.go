package cdbfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// allocated runs f and returns the bytes that it allocated in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// readAll asks everything that a Reader can be asked.
func readAll(t *testing.T, file []byte) {
	r, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		return
	}
	bytesSeen := headerSize
	for rec, err := range r.Records() {
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			break
		}
		bytesSeen += 8 + len(rec.Key) + len(rec.Data)
		if bytesSeen > len(file) {
			t.Fatalf("records of %d bytes in a file of %d", bytesSeen, len(file))
		}
	}
	for _, key := range []string{"", "!", "!joe\x00", hashZero[0]} {
		if _, _, err := r.Get([]byte(key)); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	}
}

// TestHostileNumbers puts every large number in every place of a small file.
func TestHostileNumbers(t *testing.T) {
	file := build(t, someRecords[:6])
	var places []int
	for at, slots := range headerPairs(file) {
		if slots > 0 {
			places = append(places, at*8, at*8+4)
		}
	}
	for at := headerSize; at+4 <= len(file); at++ {
		places = append(places, at)
	}
	worst := uint64(0)
	for _, at := range places {
		for _, n := range []uint32{0, 1, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff, uint32(len(file)), headerSize} {
			bad := bytes.Clone(file)
			binary.LittleEndian.PutUint32(bad[at:], n)
			if at+8 <= len(bad) && n >= 1<<31 {
				twice := bytes.Clone(bad)
				binary.LittleEndian.PutUint32(twice[at+4:], n)
				worst = max(worst, allocated(func() { readAll(t, twice) }))
			}
			worst = max(worst, allocated(func() { readAll(t, bad) }))
		}
	}
	if worst > 1<<20 {
		t.Errorf("%d bytes allocated over a file of %d", worst, len(file))
	}
}

func headerPairs(file []byte) []uint32 {
	var slots []uint32
	for i := range tables {
		_, n := pair(file[i*8:])
		slots = append(slots, n)
	}
	return slots
}

// holeFile reads as zeros behind its start, as a sparse file does.
type holeFile struct{ start []byte }

func (h holeFile) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(h.start)) {
		copy(p, h.start[off:])
	}
	return len(p), nil
}

// TestLongRecordInSparseFile has a record whose length is true, in a file that
// costs its maker nothing.
func TestLongRecordInSparseFile(t *testing.T) {
	start := make([]byte, headerSize+32)
	for i := range tables {
		putPair(start[i*8:], MaxFile, 0)
	}
	h := Hash([]byte("k"))
	putPair(start[h%tables*8:], headerSize+16, 1)
	putPair(start[headerSize:], 1, 1<<31)
	start[headerSize+8] = 'k'
	putPair(start[headerSize+16:], h, headerSize)
	r, err := Open(holeFile{start}, MaxFile)
	if err != nil {
		t.Fatal(err)
	}
	used := allocated(func() {
		n := 0
		for _, err := range r.Records() {
			if n++; !errors.Is(err, ErrTooLarge) {
				t.Errorf("Records: %v", err)
			}
		}
		if n != 1 {
			t.Errorf("Records yields %d times", n)
		}
		if _, _, err := r.Get([]byte("k")); !errors.Is(err, ErrTooLarge) {
			t.Errorf("Get: %v", err)
		}
	})
	if used > 1<<20 {
		t.Errorf("%d bytes allocated", used)
	}
}

type failingFile struct{}

func (failingFile) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

func TestReadErrorIsNotCorruption(t *testing.T) {
	_, err := Open(failingFile{}, headerSize)
	if errors.Is(err, ErrCorrupt) || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Open: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	for _, file := range golden(f) {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) { readAll(t, file) })
}

// FuzzRoundTrip cuts its input into records: a length byte and a key, a length
// byte and data.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("\x03key\x05value\x03key\x00\x00\x00"))
	f.Add([]byte("\x0a!tr5jukba\x00\x01x"))
	f.Fuzz(func(t *testing.T, in []byte) {
		next := func() string {
			n := min(int(in[0]), len(in)-1)
			s := string(in[1 : 1+n])
			in = in[1+n:]
			return s
		}
		var recs []pairKV
		for len(in) > 0 {
			rec := pairKV{K: next()}
			if len(in) > 0 {
				rec.V = next()
			}
			recs = append(recs, rec)
		}
		file := build(t, recs)
		r := open(t, file)
		got := records(t, r)
		if diff := cmp.Diff(recs, got); diff != "" {
			t.Fatal(diff)
		}
		if !bytes.Equal(build(t, got), file) {
			t.Fatal("written again, the file differs")
		}
		for _, rec := range recs {
			n := 0
			for hit, err := range r.All([]byte(rec.K)) {
				if err != nil || string(hit.Key) != rec.K {
					t.Fatalf("All(%q): %q, %v", rec.K, hit.Key, err)
				}
				n++
			}
			for _, other := range recs {
				if other.K == rec.K {
					n--
				}
			}
			if n != 0 {
				t.Fatalf("%q: %d records too many", rec.K, n)
			}
		}
	})
}
