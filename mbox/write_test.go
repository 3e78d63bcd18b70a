package mbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var someFrom = FromLine{Sender: "a@b", Date: time.Date(2004, 1, 5, 7, 1, 2, 0, time.UTC), HasDate: true}

// write makes a mailbox of msgs, handing each over in pieces of step bytes.
func write(f Format, msgs []string, step int) ([]byte, *Writer, error) {
	var b bytes.Buffer
	w := NewWriter(&b, f)
	for _, m := range msgs {
		mw, err := w.Create(someFrom)
		if err != nil {
			return nil, w, err
		}
		for piece := range slices.Chunk([]byte(m), step) {
			if n, err := mw.Write(piece); err != nil || n != len(piece) {
				return nil, w, err
			}
		}
	}
	err := w.Close()
	return b.Bytes(), w, err
}

func TestWriter(t *testing.T) {
	const msg = "Content-Length: 7\nSubject: x\n folded\n\nFrom a\n>From b\n>>From c\n From d\nFrom: e\nFro"
	const from = "From a@b Mon Jan  5 07:01:02 2004\n"
	for _, c := range []struct {
		f         Format
		msg, want string
	}{
		{O, msg, from + "Content-Length: 7\nSubject: x\n folded\n\n>From a\n>From b\n>>From c\n From d\nFrom: e\nFro\n\n"},
		{RD, msg, from + "Content-Length: 7\nSubject: x\n folded\n\n>From a\n>>From b\n>>>From c\n From d\nFrom: e\nFro\n\n"},
		{CL, msg, from + "Subject: x\n folded\nContent-Length: 45\n\n>From a\n>From b\n>>From c\n From d\nFrom: e\nFro\n\n"},
		{CL2, msg, from + "Subject: x\n folded\nContent-Length: 44\n\nFrom a\n>From b\n>>From c\n From d\nFrom: e\nFro\n\n"},
		{CL2, "A: b\r\n\r\nx\r\n", from + "A: b\r\nContent-Length: 3\r\n\r\nx\r\n\n"},
		{CL, "From x\nContent-Length: 3\n 4\nA: b\n", from + ">From x\nA: b\n\n"},
		{RD, "", from + "\n"},
		{CL2, "", from + "\n"},
		{RD, "From ", from + ">From \n\n"},
		{CL2, "\nx\n", from + "Content-Length: 2\n\nx\n\n"},
	} {
		for step := 1; step < 9; step++ {
			got, w, err := write(c.f, []string{c.msg}, step)
			if err != nil || string(got) != c.want {
				t.Errorf("%v in pieces of %d: %q, %v, want %q", c.f, step, got, err, c.want)
			}
			added := c.msg != "" && !strings.HasSuffix(c.msg, "\n")
			if hasProblem(w.Problems(), "mbox.added-newline") != added {
				t.Errorf("%v: problems %v", c.f, w.Problems())
			}
		}
	}
}

func TestWriterErrors(t *testing.T) {
	if _, err := NewWriter(io.Discard, Auto).Create(someFrom); err == nil {
		t.Error("a Writer without a format writes")
	}
	for _, raw := range []string{"x", "From a\nb", "From: x"} {
		if _, err := NewWriter(io.Discard, RD).Create(FromLine{Raw: []byte(raw)}); !errors.Is(err, ErrFromLine) {
			t.Errorf("From_ line %q: %v", raw, err)
		}
	}
	w := NewWriter(io.Discard, CL2)
	w.MaxBuffer = 10
	mw, err := w.Create(someFrom)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mw.Write(make([]byte, 11)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("large message: %v", err)
	}
	if _, _, err := write(CL2, []string{"From x y\nA: b\n\nx\n"}, 100); !errors.Is(err, ErrUnwritable) {
		t.Errorf("From_ line in an mboxcl2 header: %v", err)
	}
	full := errors.New("no space left")
	w = NewWriter(failingWriter{full}, RD)
	if mw, err = w.Create(someFrom); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(mw, strings.NewReader(strings.Repeat("x\n", 100000))); !errors.Is(err, full) {
		t.Errorf("full disk: %v", err)
	}
	if err := w.Close(); !errors.Is(err, full) {
		t.Errorf("close on a full disk: %v", err)
	}
	w = NewWriter(io.Discard, RD)
	mw, _ = w.Create(someFrom)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := mw.Write([]byte("x")); err == nil {
		t.Error("a message that has ended takes bytes")
	}
	if _, err := w.Create(someFrom); err == nil {
		t.Error("a closed Writer makes messages")
	}
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

// FuzzWriter: what is written is read back byte for byte.
func FuzzWriter(f *testing.F) {
	addSeeds(f, func(data []byte) { f.Add(data, []byte("Subject: x\n\nFrom y\n"), 3) })
	f.Add([]byte(">>>From "), []byte("F"), 1)
	f.Fuzz(func(t *testing.T, a, b []byte, step int) {
		if step < 1 || step > 1<<20 {
			return
		}
		msgs := []string{string(a), string(b), string(a) + string(b)}
		want := make([]string, len(msgs))
		for i, m := range msgs {
			if m != "" && !strings.HasSuffix(m, "\n") {
				m += "\n"
			}
			want[i] = m
		}
		file, _, err := write(RD, msgs, step)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, file, want, &Options{Strict: true, Format: RD})
		// Without a header there is nowhere to put a Content-Length, and a
		// second one would be believed instead.
		for i := range msgs {
			msgs[i] = "X-First: y\n\n" + msgs[i]
			want[i] = "X-First: y\nContent-Length: N\n\n" + want[i]
		}
		if file, _, err = write(CL2, msgs, step); err != nil {
			t.Fatal(err)
		}
		expect(t, file, want, &Options{Format: Auto})
	})
}

func expect(t *testing.T, file []byte, want []string, opts *Options) {
	t.Helper()
	list, err := readStream(bytes.NewReader(file), opts)
	if err != nil || len(list) != len(want) {
		t.Fatalf("%q: %d messages, %v", file, len(list), err)
	}
	for i, m := range list {
		got := m.Body
		if m.ByLength {
			at := strings.Index(got, "Content-Length: ") + len("Content-Length: ")
			end := at + strings.IndexByte(got[at:], '\n')
			got = got[:at] + "N" + got[end:]
		}
		if got != want[i] {
			t.Fatalf("message %d of %q: %q, want %q", i, file, got, want[i])
		}
	}
}

func TestStripState(t *testing.T) {
	long := strings.Repeat("x", 20000)
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"Status: RO\n", ""},
		{"A: b\nStatus: RO\nX-Status:\n A\n\tF\nC: d\n\nStatus: R\n", "A: b\nC: d\n\nStatus: R\n"},
		{"STATUS : RO\r\nA: b\r\n\r\nStatus: R\r\n", "A: b\r\n\r\nStatus: R\r\n"},
		{"X-Mozilla-Status: 0001\nX-Mozilla-Keys: \nX-Mozilla: x\nX-UIDL: 1\nX-UIDs: 2\nLines: 3\nContent-Length: 4", "X-Mozilla: x\nX-UIDs: 2\n"},
		{"X-Keywords: " + long + "\n " + long + "\nA: " + long + "\n Status: x\n", "A: " + long + "\n Status: x\n"},
		{"Status\nX-IMAPbase: 1 2\nno colon\n\n", "Status\nno colon\n\n"},
		{" Status: x\nLines: 1\n\nbody", " Status: x\n\nbody"},
		{"Subject: x\n\n" + long, "Subject: x\n\n" + long},
	} {
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(c.in),
			"bytes": iotest.OneByteReader(strings.NewReader(c.in)),
			"error": iotest.DataErrReader(strings.NewReader(c.in)),
		} {
			got, err := io.ReadAll(StripState(r))
			if err != nil || string(got) != c.want {
				t.Errorf("%s: %.60q: %.60q, %v, want %.60q", name, c.in, got, err, c.want)
			}
		}
	}
	broken := errors.New("broken")
	got, err := io.ReadAll(StripState(io.MultiReader(strings.NewReader("A: b\nSta"), iotest.ErrReader(broken))))
	if string(got) != "A: b\nSta" || err != broken {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzStripState compares with a plain way for whole messages, and what is left
// has nothing to strip.
func FuzzStripState(f *testing.F) {
	addSeeds(f, func(data []byte) { f.Add(data) })
	f.Add([]byte("Status: R\n x\nA: b\n\nStatus: R"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		head, body := splitHeader(msg)
		var want []byte
		drop := false
		for line := range bytes.Lines(head) {
			if name, _, ok := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte{':'}); !isBlank(line[0]) {
				drop = ok && StateHeader(name)
			}
			if !drop {
				want = append(want, line...)
			}
		}
		want = append(want, body...)
		got, err := io.ReadAll(StripState(bytes.NewReader(msg)))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%q: %q, %v, want %q", msg, got, err, want)
		}
		again, err := io.ReadAll(StripState(bytes.NewReader(got)))
		if err != nil || !bytes.Equal(got, again) {
			t.Fatalf("%q was not stripped: %q, %v", got, again, err)
		}
	})
}

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		text string
		want Detection
	}{
		{"", Detection{Format: RD}},
		{fromLine + "\nx\n", Detection{Format: RD, Messages: 1}},
		{fromLine + "\n>From x\n", Detection{Format: O, Messages: 1, Quoted: 1}},
		{fromLine + "\n>From x\n\n" + fromLine + "\n>>From y\n>>Fro\n", Detection{Format: RD, Messages: 2, Quoted: 1, Deep: 1}},
		{fromLine + "\nFrom x y\n", Detection{Format: RD, Messages: 1, Naked: 1}},
		{fromLine + "Content-Length: 2\n\nx\n\n" + fromLine + "Content-Length: 2\n\nx\n", Detection{Format: CL2, Messages: 2, ByLength: 2}},
		{fromLine + "Content-Length: 8\n\n>From x\n\n" + fromLine + "\nx\n", Detection{Format: CL, Messages: 2, ByLength: 1, Quoted: 1}},
		{fromLine + "Content-Length: 15\n\n>From x\nFrom x\n\n" + fromLine + "\nx\n", Detection{Format: CL2, Messages: 2, ByLength: 1, Quoted: 1, Naked: 1}},
		{fromLine + "\n" + strings.Repeat("x", maxLine) + ">From y\n", Detection{Format: RD, Messages: 1}},
	} {
		got, err := Detect(context.Background(), strings.NewReader(c.text), int64(len(c.text)), nil)
		if err != nil || got != c.want {
			t.Errorf("%.60q: %+v, %v, want %+v", c.text, got, err, c.want)
		}
	}
	if _, err := Detect(context.Background(), strings.NewReader("x"), 1, nil); !errors.Is(err, ErrNotMbox) {
		t.Errorf("no mbox: %v", err)
	}
	if _, err := Detect(context.Background(), changing{[]byte(fromLine)}, 1000, nil); !errors.Is(err, ErrChanged) {
		t.Errorf("shrunk: %v", err)
	}
}
