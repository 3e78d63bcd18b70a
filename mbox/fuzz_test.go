package mbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// addSeeds gives the golden mailboxes to f.
func addSeeds(f *testing.F, add func(data []byte)) {
	files, err := filepath.Glob("testdata/cases/*.mbox")
	if err != nil || len(files) < 30 {
		f.Fatalf("%d seeds, want 30 or more: %v", len(files), err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		add(data)
	}
}

// outcome is all that a reading tells.
type outcome struct {
	Messages []message
	Problems []string
	Err      string
}

func outcomeOf(s *splitter, list []message, err error) (o outcome) {
	o.Messages = list
	for _, p := range s.problems.all() {
		o.Problems = append(o.Problems, p.String())
	}
	if err != nil {
		o.Err = err.Error()
	}
	return o
}

func indexedOutcome(data []byte, opts *Options, buffer int) outcome {
	r := bytes.NewReader(data)
	x := NewIndexer(r, int64(len(data)), opts)
	x.s.w.init = buffer
	var list []message
	for h, err := range x.All(context.Background()) {
		if err != nil {
			return outcomeOf(x.s, list, err)
		}
		b, err := io.ReadAll(Body(r, h, opts.Format))
		if err != nil {
			return outcomeOf(x.s, list, err)
		}
		list = append(list, message{*h, string(b)})
	}
	return outcomeOf(x.s, list, nil)
}

func streamOutcome(in io.Reader, opts *Options, buffer int) outcome {
	r := NewReaderOptions(in, opts)
	r.s.w.init = buffer
	var list []message
	for {
		h, err := r.Next()
		if err == io.EOF {
			return outcomeOf(r.s, list, nil)
		}
		if err != nil {
			return outcomeOf(r.s, list, err)
		}
		b, err := io.ReadAll(struct{ io.Reader }{r})
		if err != nil {
			return outcomeOf(r.s, list, err)
		}
		list = append(list, message{*h, string(b)})
	}
}

// fuzzOptions takes the options from one number.
func fuzzOptions(n uint16) *Options {
	o := &Options{
		Format:       Format(n % 5),
		Strict:       n&0x100 != 0 && n&0x200 != 0,
		SkipPrologue: n&0x400 != 0,
	}
	switch n >> 12 & 3 {
	case 1:
		o.LookAhead = -1
	case 2:
		o.LookAhead = 100
	}
	return o
}

// FuzzForms holds the two forms of reading, with buffers of all sizes, against
// each other, and both against what must be true of any split.
func FuzzForms(f *testing.F) {
	addSeeds(f, func(data []byte) {
		f.Add(data, uint16(0))
		f.Add(data, uint16(0x2402))
	})
	f.Fuzz(func(t *testing.T, data []byte, n uint16) {
		opts := fuzzOptions(n)
		want := indexedOutcome(data, opts, 0)
		for name, got := range map[string]outcome{
			"indexed with a small buffer": indexedOutcome(data, opts, 7),
			"streaming":                   streamOutcome(bytes.NewReader(data), opts, 0),
			"streaming by bytes":          streamOutcome(iotest.OneByteReader(bytes.NewReader(data)), opts, 1),
			"streaming, end with data":    streamOutcome(iotest.DataErrReader(bytes.NewReader(data)), opts, 100),
		} {
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s, options %+v: %s", name, *opts, cmp.Diff(got, want, cmp.AllowUnexported(Header{})))
			}
		}
		checkSplit(t, data, opts, want)
	})
}

// checkSplit knows that From_ lines, messages and the blank lines between make
// up the file, and that BoundariesOnly changes no boundary.
func checkSplit(t *testing.T, data []byte, opts *Options, o outcome) {
	var at int64
	for i, m := range o.Messages {
		if m.Index != i || m.FromOffset < at || m.Offset < m.FromOffset+5 || m.Length < 0 || m.Offset+m.Length > int64(len(data)) {
			t.Fatalf("message %d is out of place: %+v", i, m.Header)
		}
		gap := data[at:m.FromOffset]
		if i > 0 && len(bytes.Trim(gap, "\r\n")) > 0 {
			t.Fatalf("bytes before message %d belong to none: %q", i, gap)
		}
		if i > 0 && len(gap) > 2 && !o.Messages[i-1].ByLength {
			t.Fatalf("more than one blank line before message %d: %q", i, gap)
		}
		line := data[m.FromOffset:m.Offset]
		if len(line) < maxLine && !bytes.Equal(bytes.TrimRight(line, "\r\n"), bytes.TrimRight(m.From.Raw, "\r")) {
			t.Fatalf("From_ line %q was read as %q", line, m.From.Raw)
		}
		if m.Line != int64(1+bytes.Count(data[:m.FromOffset], []byte{'\n'})) {
			t.Fatalf("message %d is not on line %d", i, m.Line)
		}
		if opts.Format == CL2 && m.Body != string(data[m.Offset:m.Offset+m.Length]) {
			t.Fatalf("message %d is not as stored", i)
		}
		at = m.Offset + m.Length
	}
	if o.Err == "" && len(o.Messages) > 0 && len(bytes.Trim(data[at:], "\r\n")) > 0 {
		t.Fatalf("bytes behind the last message: %q", data[at:])
	}
	fast := *opts
	fast.BoundariesOnly = true
	i := 0
	for h, err := range Index(context.Background(), bytes.NewReader(data), int64(len(data)), &fast) {
		if err != nil {
			if o.Err == "" || !errors.Is(err, ErrNotMbox) {
				t.Fatalf("BoundariesOnly: %v, else %q", err, o.Err)
			}
			return
		}
		m := o.Messages[i].Header
		if h.FromOffset != m.FromOffset || h.Offset != m.Offset || h.Length != m.Length || h.ByLength != m.ByLength {
			t.Fatalf("BoundariesOnly: %+v, else %+v", h, m)
		}
		i++
	}
	if i != len(o.Messages) {
		t.Fatalf("BoundariesOnly finds %d messages of %d", i, len(o.Messages))
	}
}
