package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// readRecords reads all, and holds that they cover the file without a gap.
func readRecords(t *testing.T, r io.Reader) ([]string, error) {
	t.Helper()
	var all []string
	next := int64(0)
	for recs := NewRecords(r); ; {
		rec, err := recs.Next()
		if err == io.EOF {
			return all, nil
		} else if err != nil {
			return all, err
		}
		if rec.Offset != next {
			t.Errorf("record at %d, want %d", rec.Offset, next)
		}
		next += rec.Size
		if len(rec.Data) > MaxRecord {
			t.Errorf("%d bytes kept", len(rec.Data))
		}
		text := fmt.Sprintf("%.10s %d", rec.Data, rec.Size)
		if rec.Long() {
			text += " long"
		}
		if !rec.Ended {
			text += " cut"
		}
		all = append(all, text)
	}
}

func TestRecords(t *testing.T) {
	fits, tooLong := strings.Repeat("x", MaxRecord), strings.Repeat("y", MaxRecord+1)
	endless := strings.Repeat("z", 3*MaxRecord)
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"\x00", []string{" 1"}},
		{"Fa\x00Tb\x00", []string{"Fa 3", "Tb 3"}},
		{"Fa\x00\x00T", []string{"Fa 3", " 1", "T 1 cut"}},
		{fits + "\x00a", []string{"xxxxxxxxxx 16385", "a 1 cut"}},
		{tooLong + "\x00a\x00", []string{"yyyyyyyyyy 16386 long", "a 2"}},
		{tooLong, []string{"yyyyyyyyyy 16385 long cut"}},
		{"a\x00" + endless + "\x00" + endless, []string{"a 2", "zzzzzzzzzz 49153 long", "zzzzzzzzzz 49152 long cut"}},
	} {
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(tt.text), "bytes": iotest.OneByteReader(strings.NewReader(tt.text)),
			"data and end": iotest.DataErrReader(strings.NewReader(tt.text)),
		} {
			got, err := readRecords(t, r)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%.20q, %s: %q, %v, want %q", tt.text, name, got, err, tt.want)
			}
		}
	}
	broken := errors.New("broken")
	for _, text := range []string{"", "a\x00b", endless} {
		_, err := readRecords(t, io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)))
		if err != broken {
			t.Errorf("%.10q: %v", text, err)
		}
	}
	if _, err := readRecords(t, idle{}); err != io.ErrNoProgress {
		t.Errorf("idle reader: %v", err)
	}
}

// idle gives nothing and no reason.
type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// FuzzRecords holds that the records are the file.
func FuzzRecords(f *testing.F) {
	for _, s := range []string{"", "\x00", "u0\x00p1\x00Fs@example.net\x00Tjoe@example.com\x00", "Fa\x00T", strings.Repeat("x", MaxRecord+5) + "\x00a"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var out bytes.Buffer
		for recs := NewRecords(iotest.HalfReader(bytes.NewReader(b))); ; {
			rec, err := recs.Next()
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if rec.Offset != int64(out.Len()) {
				t.Fatalf("offset %d behind %d bytes", rec.Offset, out.Len())
			}
			if rec.Long() {
				out.Write(b[rec.Offset : rec.Offset+rec.Size])
				continue
			}
			out.Write(rec.Data)
			if rec.Ended {
				out.WriteByte(0)
			}
		}
		if !bytes.Equal(out.Bytes(), b) {
			t.Errorf("records are not the file")
		}
	})
}

func TestParallel(t *testing.T) {
	numbers := func(yield func(int) bool) {
		for i := range 1000 {
			if !yield(i) {
				return
			}
		}
	}
	for _, n := range []int{1, 2, 7} {
		next := 0
		for v := range parallel(n, numbers, func(i int) int { return 2 * i }) {
			if v != 2*next {
				t.Fatalf("%d workers: %d, want %d", n, v, 2*next)
			}
			next++
		}
		if next != 1000 {
			t.Errorf("%d workers: %d results", n, next)
		}
		for v := range parallel(n, numbers, func(i int) int { return i }) {
			if v == 10 {
				break
			}
		}
	}
}
