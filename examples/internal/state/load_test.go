//go:build unix

package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// batch is the lines of one batch.
func batch(t testing.TB, n uint64, recs ...Record) []byte {
	t.Helper()
	b, err := appendBatch(nil, n, recs)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// file is a store's file of three batches; it returns where each ends.
func file(t testing.TB) (data []byte, ends []int) {
	data = []byte(header)
	ends = []int{len(data)}
	for n, recs := range [][]Record{
		{rec("a", "1"), rec("b", "1"), rec("c", "1")},
		{rec("b", `{"x":[1,2]}`)},
		{rec("a", ""), rec("d\xff", `"\u00ff"`), rec("c", "3")},
	} {
		data = append(data, batch(t, uint64(n+1), recs...)...)
		ends = append(ends, len(data))
	}
	return data, ends
}

// states is what file holds after each of its batches.
var states = [][]string{
	{},
	{"a=1", "b=1", "c=1"},
	{"a=1", `b={"x":[1,2]}`, "c=1"},
	{`b={"x":[1,2]}`, "c=3", "d\xff=" + `"\u00ff"`},
}

// planted opens a store whose file has these bytes.
func planted(t *testing.T, data []byte) (*Target, *Store, error) {
	t.Helper()
	tg := target(t, t.TempDir(), Options{})
	if err := os.WriteFile(filepath.Join(tg.Name(), "accounts.journal"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := tg.Store("accounts")
	return tg, s, err
}

func TestTornAtEveryByte(t *testing.T) {
	data, ends := file(t)
	for cut := range len(data) + 1 {
		_, s, err := planted(t, data[:cut])
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		n := 0 // batches that are whole
		for n < len(ends)-1 && ends[n+1] <= cut {
			n++
		}
		same(t, s, states[n]...)
		clean := cut == 0 || cut == ends[n] || cut < ends[0]
		if got := s.Problems(); clean && len(got) != 0 || !clean && (len(got) != 1 || got[0].Code != "state.torn-tail" || got[0].Severity != qmailkit.Info) {
			t.Errorf("cut at %d: %v", cut, got)
		}
		// What follows must not stick to the torn tail.
		if err := s.Append(rec("new", "7")); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		back, err := os.ReadFile(filepath.Join(s.dir.Name(), s.name))
		if err != nil {
			t.Fatal(err)
		}
		_, again, err := planted(t, back)
		if err != nil || len(again.Problems()) != 0 {
			t.Fatalf("cut at %d, then appended: %v, %v", cut, err, again.Problems())
		}
		same(t, again, all(s)...)
	}
}

// TestTornInTheMiddleOfABatch has a later page of the last batch on the disk
// and an earlier one not.
func TestTornInTheMiddleOfABatch(t *testing.T) {
	data, ends := file(t)
	for _, hole := range [][2]int{{ends[2], ends[2] + 20}, {ends[2] + 30, ends[2] + 60}} {
		spoilt := bytes.Clone(data)
		clear(spoilt[hole[0]:hole[1]])
		_, s, err := planted(t, spoilt)
		if err != nil {
			t.Fatal(err)
		}
		same(t, s, states[2]...)
		if p := s.Problems(); len(p) != 1 || p[0].Code != "state.torn-tail" || p[0].Offset != int64(ends[2]) {
			t.Errorf("hole at %d: %v", hole[0], p)
		}
	}
}

func TestDamageIsTold(t *testing.T) {
	one := batch(t, 1, rec("a", "1"), rec("b", "1"))
	first, second, _ := bytes.Cut(one, []byte("\n"))
	first = append(first, '\n')
	two := batch(t, 2, rec("c", "2"))
	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)-3] ^= 1
		return b
	}
	long := append(bytes.Repeat([]byte("x"), maxLine+1), '\n')
	for _, tc := range []struct {
		name string
		body [][]byte
		line int
		want []string
	}{
		{"flipped bit in a synced batch", [][]byte{flip(first), second, two}, 2, []string{"b=1", "c=2"}},
		{"flipped bit at its end", [][]byte{first, flip(second), two}, 3, []string{"a=1", "c=2"}},
		{"end is missing", [][]byte{first, two}, 3, []string{"a=1", "c=2"}},
		{"middle is missing", [][]byte{batch(t, 1, rec("a", "1"), rec("x", "1"), rec("b", "1"))[:len(first)], second, two}, 3, []string{"a=1", "b=1", "c=2"}},
		{"garbage line", [][]byte{one, []byte("garbage\n"), two, batch(t, 3, rec("d", "4"))}, 4, []string{"a=1", "b=1", "c=2", "d=4"}},
		{"endless line", [][]byte{one, long, two, batch(t, 3, rec("d", "4"))}, 4, []string{"a=1", "b=1", "c=2", "d=4"}},
		{"batches in disorder", [][]byte{two, one}, 3, []string{"a=1", "b=1", "c=2"}},
		{"batch twice", [][]byte{two, two}, 3, []string{"c=2"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tg, s, err := planted(t, append([]byte(header), bytes.Join(tc.body, nil)...))
			if err != nil {
				t.Fatal(err)
			}
			p := s.Problems()
			if len(p) != 1 || p[0].Code != "state.damaged" || p[0].Severity != qmailkit.Error || p[0].Line != tc.line {
				t.Errorf("problems %v, want one in line %d", p, tc.line)
			}
			same(t, s, tc.want...)
			// The damage does not stop the next run, nor does that hide it.
			if err := s.Append(rec("z", "9")); err != nil {
				t.Fatal(err)
			}
			again := store(t, tg)
			same(t, again, append(tc.want, "z=9")...)
			if len(again.Problems()) != 1 {
				t.Errorf("afterwards: %v", again.Problems())
			}
			if err := again.Compact(); err != nil {
				t.Fatal(err)
			}
			clean := store(t, tg)
			same(t, clean, append(tc.want, "z=9")...)
			if len(clean.Problems()) != 0 {
				t.Errorf("compacted: %v", clean.Problems())
			}
		})
	}
}

func TestManyDamagedLinesAreCounted(t *testing.T) {
	data := []byte(header)
	for n := range 100 {
		data = append(data, "x\n"...)
		data = append(data, batch(t, uint64(n+1), rec(fmt.Sprint(n), "1"))...)
	}
	data = append(data, batch(t, 101, rec("end", "1"))...)
	_, s, err := planted(t, data)
	if err != nil {
		t.Fatal(err)
	}
	p := s.Problems()
	if len(p) != maxProblems+1 || !strings.Contains(p[maxProblems].Err.Error(), "80 more") || s.Len() != 101 {
		t.Errorf("%d problems, the last %v; %d keys", len(p), p[len(p)-1], s.Len())
	}
}

func TestWhatIsNoStore(t *testing.T) {
	for _, data := range []string{"qmailkit-state 2\nx", "qmailkit-state 10\n", strings.Repeat("\x00", 100), "{}\n", "q\n"} {
		if _, _, err := planted(t, []byte(data)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", data, err)
		}
	}
	tg := target(t, t.TempDir(), Options{})
	path := filepath.Join(tg.Name(), "accounts.journal")
	if err := os.Symlink("/etc/passwd", path); err != nil {
		t.Fatal(err)
	}
	if _, err := tg.Store("accounts"); !errors.Is(err, safefs.ErrNotPlain) {
		t.Errorf("a link: %v", err)
	}
}

func TestLastBatchNumber(t *testing.T) {
	_, s, err := planted(t, append([]byte(header), batch(t, 1<<64-1, rec("a", "1"))...))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := s.Append(rec("b", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(filepath.Join(s.dir.Name(), s.name))
	if err != nil {
		t.Fatal(err)
	}
	_, again, err := planted(t, data)
	if err != nil || len(again.Problems()) != 0 {
		t.Fatalf("%v, %v", err, again.Problems())
	}
	same(t, again, "a=1", "b=1")
}

// FuzzLoad reads any file as a store: it never panics, and what it yields can
// be written and read again.
func FuzzLoad(f *testing.F) {
	data, ends := file(f)
	f.Add(data)
	f.Add(data[:ends[3]-5])
	f.Add(append(bytes.Clone(data[:ends[1]]), data[ends[2]:]...))
	f.Add(append([]byte(header), batch(f, 1<<64-1, rec("", `{"<":null}`))...))
	f.Add([]byte(header + "00000000 1 0 {}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := &loader{path: "fuzz", live: map[string]json.RawMessage{}}
		err := l.load(bytes.NewReader(data))
		if l.end < 0 || l.end > int64(len(data)) {
			t.Fatalf("end %d of %d", l.end, len(data))
		}
		if len(l.problems) > maxProblems+2 {
			t.Fatalf("%d problems", len(l.problems))
		}
		if err != nil || l.end == 0 {
			return
		}
		recs := (&Store{live: l.live}).sorted()
		var size int64
		for _, r := range recs {
			size += weight([]Record{r})
		}
		if size != l.size {
			t.Fatalf("counted %d bytes, have %d", l.size, size)
		}
		next := l.last%(1<<62) + 1
		out, err := appendBatch([]byte(header), next, recs)
		if err != nil {
			t.Fatal(err)
		}
		again := &loader{path: "again", live: map[string]json.RawMessage{}}
		if err := again.load(bytes.NewReader(out)); err != nil || len(again.problems) != 0 || again.end != int64(len(out)) {
			t.Fatalf("%v, %v, end %d of %d", err, again.problems, again.end, len(out))
		}
		back, err := appendBatch([]byte(header), next, (&Store{live: again.live}).sorted())
		if err != nil || !bytes.Equal(out, back) {
			t.Fatalf("%v\n%s\n%s", err, out, back)
		}
		for _, p := range l.problems {
			if p.Code == "state.damaged" {
				return // without what follows it may be torn instead
			}
		}
		// Cut behind what took effect, it reads the same.
		short := &loader{path: "short", live: map[string]json.RawMessage{}}
		if err := short.load(bytes.NewReader(data[:l.end])); err != nil || short.end != l.end || len(short.live) != len(l.live) {
			t.Fatalf("%v: end %d, was %d; %d keys, were %d", err, short.end, l.end, len(short.live), len(l.live))
		}
	})
}
