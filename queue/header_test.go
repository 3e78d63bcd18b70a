package queue

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func TestHeader(t *testing.T) {
	const text = "Received: (qmail 1 invoked by uid 0); 21 Nov 2026 19:55:17 -0000\n" +
		"From bob Sat Nov 21 20:05:37 2026\n" +
		"Subject: =?iso-8859-1?Q?J=F6rg?=\n =?utf-8?B?w6Q=?=\n\t folded\n" +
		"X-Odd : a\xff\r\n" +
		"subject: second\n" +
		"no colon\n"
	for _, end := range []string{"", "\nbody: x\n", "\r\nbody\n\n"} {
		h, err := ReadHeader(iotest.OneByteReader(strings.NewReader(text + end)))
		if err != nil || string(h.Raw()) != text {
			t.Fatalf("%q, %v", h.Raw(), err)
		}
		var all strings.Builder
		for name, value := range h.Fields() {
			all.WriteString(name + "|" + value + "\n")
		}
		want := "Received|(qmail 1 invoked by uid 0); 21 Nov 2026 19:55:17 -0000\n|From bob Sat Nov 21 20:05:37 2026\n" +
			"Subject|=?iso-8859-1?Q?J=F6rg?=\n =?utf-8?B?w6Q=?=\n\t folded\nX-Odd|a\xff\nsubject|second\n|no colon\n"
		if all.String() != want {
			t.Errorf("fields %q, want %q", all.String(), want)
		}
		if got := h.Text("SUBJECT", nil); got != "Jörgä\t folded" {
			t.Errorf("subject %q", got)
		}
		if v, ok := h.Get("x-odd"); v != "a\xff" || !ok || h.Text("x-odd", nil) != "a\ufffd" {
			t.Errorf("x-odd %q", v)
		}
		if v, ok := h.Get("body"); ok {
			t.Errorf("body %q", v)
		}
	}
}

func TestHeaderEnds(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "\nx": "", "\r\nx": "", "a": "a", "a\n": "a\n", "a\n\n": "a\n", "a\r\n\r\n": "a\r\n", "a\n\r\nb": "a\n", "a\nb\n\nc\n\n": "a\nb\n", "a\n\rb\n\n": "a\n\rb\n",
	} {
		h, err := ReadHeader(strings.NewReader(text))
		if err != nil || string(h.Raw()) != want {
			t.Errorf("%q: %q, %v", text, h.Raw(), err)
		}
	}
	endless := io.MultiReader(strings.NewReader("Subject: x\n"), zeros{})
	h, err := ReadHeader(endless)
	if err != nil || len(h.Raw()) != MaxHeader || h.Text("Subject", nil) != "x" {
		t.Errorf("endless: %d bytes, %v", len(h.Raw()), err)
	}
	broken := errors.New("broken")
	if _, err := ReadHeader(io.MultiReader(strings.NewReader("a"), iotest.ErrReader(broken))); err != broken {
		t.Errorf("broken: %v", err)
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestDecodeText(t *testing.T) {
	rot := func(charset string, r io.Reader) (io.Reader, error) {
		if charset != "x-upper" {
			return nil, errors.New("unknown")
		}
		b, err := io.ReadAll(r)
		return bytes.NewReader(bytes.ToUpper(b)), err
	}
	for value, want := range map[string]string{
		"plain":                               "plain",
		"=?x-upper?Q?abc?=":                   "ABC",
		"a =?x-none?Q?abc?= b":                "a =?x-none?Q?abc?= b",
		"=?utf-8?Q?=C3=A4?= =?x-none?Q?a?= b": "ä =?x-none?Q?a?= b",
		"=?x-none?Q?a?= =?x-upper?B?YWJj?=":   "=?x-none?Q?a?= ABC",
		"=?utf-8?B?!!?=":                      "=?utf-8?B?!!?=",
		"=?utf-8?B?":                          "=?utf-8?B?",
		"=? =?x-none?Q?x":                     "=? =?x-none?Q?x",
		"x\r\n\ty":                            "x\ty",
		"\xe4":                                "\ufffd",
		"=?utf-8?Q?=E4?=":                     "\ufffd",
		"\x1b[31m":                            "\x1b[31m",
	} {
		if got := DecodeText(value, rot); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
	if got := DecodeText("=?x-upper?Q?abc?=", nil); got != "=?x-upper?Q?abc?=" {
		t.Errorf("without charsets: %q", got)
	}
}

func FuzzHeader(f *testing.F) {
	for _, s := range []string{"", "Subject: =?iso-8859-1?Q?J=F6rg?=\n x\n\nbody", "a\r\n\r\n", "\n", ": x\n", "From x\nTo: y\n z\n\n", "=?x?Q?=\n=?"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, err := ReadHeader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		slow, err := ReadHeader(iotest.OneByteReader(bytes.NewReader(b)))
		if err != nil || !bytes.Equal(whole.Raw(), slow.Raw()) || !bytes.HasPrefix(b, whole.Raw()) {
			t.Fatalf("%q, and byte by byte %q, %v", whole.Raw(), slow.Raw(), err)
		}
		length := 0
		for rest := whole.Raw(); len(rest) > 0; {
			n := fieldLen(rest)
			if n == 0 {
				t.Fatal("a field of no length")
			}
			length += n
			rest = rest[n:]
		}
		if length != len(whole.Raw()) {
			t.Errorf("fields of %d bytes of %d", length, len(whole.Raw()))
		}
		for name, value := range whole.Fields() {
			if !utf8.ValidString(DecodeText(value, nil)) {
				t.Errorf("%q: not UTF-8", name)
			}
		}
	})
}
