package mbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/qmailkit/qmailkit"
)

const two = fromLine + "Subject: one\n\n>From here\n>>From there\n\n" + fromLine + "Subject: two\n\nx\n"

func TestReaderSkips(t *testing.T) {
	big := fromLine + "A: b\n\n" + strings.Repeat("line\n", 200000) + "\n" + two
	r := NewReader(strings.NewReader(big))
	var lengths []int64
	var last *Header
	for h, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		if h.Length != -1 && h.Index == 0 {
			t.Errorf("length %d is known before the message was read", h.Length)
		}
		if last != nil {
			lengths = append(lengths, last.Length)
		}
		last = h
	}
	if len(lengths) != 2 || lengths[0] != 6+200000*5 || last.Index != 2 {
		t.Errorf("lengths %v, last message %d", lengths, last.Index)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read after the end: %d %v", n, err)
	}
}

// TestReaderResumes takes reading up at an offset that InputOffset gave.
func TestReaderResumes(t *testing.T) {
	r := NewReader(strings.NewReader(two))
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	h, err := r.Next()
	if err != nil || r.InputOffset() != h.Offset {
		t.Fatalf("offset %d in message %+v: %v", r.InputOffset(), h, err)
	}
	list, err := readStream(strings.NewReader(two[h.FromOffset:]), nil)
	if err != nil || len(list) != 1 || list[0].Body != "Subject: two\n\nx\n" {
		t.Errorf("resumed: %+v, %v", list, err)
	}
}

func TestUnquoting(t *testing.T) {
	const cl2 = fromLine + "Content-Length: 31\n\n>From a\nFrom b@c\n>>From d\n>e\nF\n\n" + fromLine
	for _, c := range []struct {
		text string
		f    Format
		want string
	}{
		{two, Auto, "Subject: one\n\nFrom here\n>From there\n"},
		{two, RD, "Subject: one\n\nFrom here\n>From there\n"},
		{two, O, "Subject: one\n\nFrom here\n>>From there\n"},
		{two, CL, "Subject: one\n\nFrom here\n>>From there\n"},
		{two, CL2, "Subject: one\n\n>From here\n>>From there\n"},
		{cl2, Auto, "Content-Length: 31\n\n>From a\nFrom b@c\n>>From d\n>e\nF\n"},
		{cl2, O, "Content-Length: 31\n\nFrom a\nFrom b@c\n>>From d\n>e\nF\n"},
		{cl2, RD, "Content-Length: 31\n\nFrom a\nFrom b@c\n>From d\n>e\nF\n"},
		{fromLine + ">From x\nA: b\n\n >From y\n>From\n>Fromage\n", RD, "From x\nA: b\n\n >From y\n>From\n>Fromage\n"},
	} {
		opts := &Options{Format: c.f}
		a, err1 := readIndexed([]byte(c.text), opts)
		b, err2 := readStream(iotest.OneByteReader(strings.NewReader(c.text)), opts)
		if err1 != nil || err2 != nil || len(a) == 0 || len(b) == 0 || a[0].Body != c.want || b[0].Body != c.want {
			t.Errorf("%q as %v: %+v, %+v, %v, %v, want %q", c.text, c.f, a, b, err1, err2, c.want)
		}
	}
}

// TestCopyErrors: a writer that fails is reported, by both forms.
func TestCopyErrors(t *testing.T) {
	full := errors.New("no space left")
	r := NewReader(strings.NewReader(two))
	h, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	for form, in := range map[string]io.WriterTo{
		"streaming": r,
		"indexed":   Body(strings.NewReader(two), &Header{Offset: h.Offset, Length: 30}, RD).(io.WriterTo),
	} {
		if n, err := in.WriteTo(failingWriter{full}); n != 0 || err != full {
			t.Errorf("%s: %d, %v", form, n, err)
		}
		if n, err := in.WriteTo(shortWriter{}); n != 1 || err != io.ErrShortWrite {
			t.Errorf("%s, short: %d, %v", form, n, err)
		}
	}
}

type shortWriter struct{}

func (shortWriter) Write([]byte) (int, error) { return 1, nil }

// changing is a file that has another length than its reader was told.
type changing struct{ data []byte }

func (c changing) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(c.data).ReadAt(p, off)
}

func TestIndexOfChangingFile(t *testing.T) {
	data := []byte(strings.Repeat(two+"\n", 20000))
	size := int64(len(data))
	read := func(r io.ReaderAt, opts *Options) (n int, err error) {
		for _, err := range Index(context.Background(), r, size, opts) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	wants := func(what string, n int, err error, offset int64) {
		t.Helper()
		var pe *ParseError
		if !errors.Is(err, qmailkit.ErrIncomplete) || !errors.Is(err, ErrChanged) || !errors.As(err, &pe) || pe.Offset != offset {
			t.Errorf("%s: %d messages, error %v; want one at %d", what, n, err, offset)
		}
	}
	for _, opts := range []*Options{nil, {BoundariesOnly: true}} {
		for _, at := range []int64{0, 1, size / 2, size - 1} {
			n, err := read(changing{data[:at]}, opts)
			wants("shrunk", n, err, at)
		}
	}
	grown := changing{append(bytes.Clone(data), 'F')}
	n, err := read(grown, nil)
	wants("grown", n, err, size)
	if n, err := read(grown, &Options{Prefix: true}); n != 40000 || err != nil {
		t.Errorf("grown, with Prefix: %d messages, %v", n, err)
	}
	for h, err := range Index(context.Background(), bytes.NewReader(data), size, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, Body(changing{data[:h.Offset+3]}, h, RD)); !errors.Is(err, ErrChanged) {
			t.Fatalf("body of a shrunk file: %v", err)
		}
		if b, err := AppendBody([]byte("x"), changing{data[:h.Offset+3]}, h, RD); !errors.Is(err, ErrChanged) || string(b) != "x" {
			t.Fatalf("AppendBody of a shrunk file: %q %v", b, err)
		}
		break
	}
}

func TestReadErrors(t *testing.T) {
	broken := errors.New("disk on fire")
	data := two[:60]
	for form, read := range map[string]func() error{
		"streaming": func() error {
			r := NewReader(io.MultiReader(strings.NewReader(data), iotest.ErrReader(broken)))
			for _, err := range r.All() {
				if err != nil {
					return err
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					if _, again := r.Next(); again != err {
						t.Errorf("Next after %v: %v", err, again)
					}
					return qmailkit.Incomplete(err)
				}
			}
			return nil
		},
		"indexed": func() error {
			for _, err := range Index(context.Background(), failing{[]byte(data), broken}, 1000, nil) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"stuck": func() error {
			_, err := NewReader(stuck{}).Next()
			if errors.Is(err, io.ErrNoProgress) {
				return qmailkit.Incomplete(errors.Join(err, broken))
			}
			return err
		},
	} {
		if err := read(); !errors.Is(err, broken) || !errors.Is(err, qmailkit.ErrIncomplete) {
			t.Errorf("%s: %v", form, err)
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(broken)
	for _, opts := range []*Options{nil, {SkipPrologue: true}} {
		text := strings.Repeat("x\n", 3*block)
		if opts == nil {
			text = fromLine + text
		}
		for _, err := range Index(ctx, strings.NewReader(text), int64(len(text)), opts) {
			if !errors.Is(err, broken) || !errors.Is(err, qmailkit.ErrIncomplete) {
				t.Errorf("cancelled: %v", err)
			}
		}
	}
}

type failing struct {
	data []byte
	err  error
}

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	return copy(p, f.data[min(off, int64(len(f.data))):]), f.err
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestNotMbox(t *testing.T) {
	for _, c := range []struct {
		text     string
		prologue int // messages with SkipPrologue; -1: an error as well
		line     int64
	}{
		{"Subject: x\n\n", -1, 1},
		{"\n\nSubject: x\n\nFrom this and that\n", -1, 3},
		{"From a@b Mon Jan  5 07:01:02 2004\rSubject: x\r\rx\r", -1, 1},
		{">" + fromLine + "A: b\n", -1, 1},
		{"x\n" + fromLine + "A: b\n\n" + fromLine, 2, 1},
		{"x\nFrom -\nA: b\nC: d\n\nx\nFrom -\nA: b\nC: d\n", 2, 1},
		{"x\nFrom -\nA: b\n", 1, 1},
		{"x\nFrom -\nprose\n", -1, 1},
		{"\x00\x01\x02\nFrom me\n" + strings.Repeat("\xff", 100000), -1, 1},
	} {
		for form, read := range map[string]func(o *Options) ([]message, error){
			"indexed":   func(o *Options) ([]message, error) { return readIndexed([]byte(c.text), o) },
			"streaming": func(o *Options) ([]message, error) { return readStream(strings.NewReader(c.text), o) },
		} {
			_, err := read(nil)
			var pe *ParseError
			if !errors.Is(err, ErrNotMbox) || !errors.As(err, &pe) || pe.Line != c.line {
				t.Errorf("%.40q, %s: %v, want line %d", c.text, form, err, c.line)
			}
			list, err := read(&Options{SkipPrologue: true})
			if c.prologue < 0 != errors.Is(err, ErrNotMbox) || c.prologue >= 0 && (err != nil || len(list) != c.prologue) {
				t.Errorf("%.40q, %s, prologue skipped: %d messages, %v", c.text, form, len(list), err)
			}
		}
	}
	for _, text := range []string{"", "\n", "\r\n\n", "\xef\xbb\xbf", "\xef\xbb\xbf\n"} {
		if list, err := readIndexed([]byte(text), nil); len(list) != 0 || err != nil {
			t.Errorf("%q: %d messages, %v", text, len(list), err)
		}
	}
}

func TestIndexerFormat(t *testing.T) {
	for text, want := range map[string]Format{
		"":                                    RD,
		two:                                   RD,
		fromLine + "Content-Length: 2\n\nx\n": CL2,
		fromLine + "Content-Length: 2\n\nx\n\n" + two: RD,
	} {
		x := NewIndexer(strings.NewReader(text), int64(len(text)), nil)
		for _, err := range x.All(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if got := x.Format(); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestFormatNames(t *testing.T) {
	for f := Auto; f <= CL2; f++ {
		if got, err := ParseFormat(f.String()); got != f || err != nil {
			t.Errorf("%v: %v %v", f, got, err)
		}
	}
	if f, err := ParseFormat("mboxcl2"); f != CL2 || err != nil {
		t.Errorf("mboxcl2: %v %v", f, err)
	}
	for _, s := range []string{"", "mbox", "mboxauto", "RD"} {
		if f, err := ParseFormat(s); err == nil {
			t.Errorf("%q is %v", s, f)
		}
	}
}

func TestParseErrorWords(t *testing.T) {
	for _, c := range []struct {
		err  ParseError
		want string
	}{
		{ParseError{Offset: 5, Err: ErrChanged}, "mbox: offset 5: file changed while it was read"},
		{ParseError{Path: "var/mail/x", Line: 2, Offset: 5, Err: ErrChanged}, "var/mail/x:2: offset 5: file changed while it was read"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
