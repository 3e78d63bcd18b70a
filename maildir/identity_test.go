package maildir

import (
	"bytes"
	"crypto/sha256"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// stateHeaders are the headers that readers rewrite, as ContentOf names them.
var stateHeaders = []string{
	"Status", "X-Status", "X-Keywords", "X-UID", "X-UIDL", "X-IMAP", "X-IMAPbase", "X-Mozilla-Status",
	"X-Mozilla-Status2", "X-Mozilla-Keys", "X-Evolution", "X-Evolution-Source", "Content-Length", "Lines",
}

func contentOf(t testing.TB, s string) Content {
	t.Helper()
	c, n, err := ContentOf(strings.NewReader(s))
	if err != nil || n != int64(len(s)) {
		t.Fatalf("%d of %d bytes, %v", n, len(s), err)
	}
	return c
}

func TestContentOf(t *testing.T) {
	const plain = "From: a\nSubject: s\n\nbody\n"
	want := contentOf(t, plain)
	if sum := sha256.Sum256([]byte(plain)); Content(sum) != want {
		t.Fatal("without state headers it is the SHA-256 of the bytes")
	}
	for _, h := range stateHeaders {
		for _, line := range []string{
			h + ": RO\n", strings.ToUpper(h) + ":RO\n", strings.ToLower(h) + ": \n", h + " : RO\n",
			h + ": a\n b\n\tc\n", h + ": RO\r\n",
		} {
			for _, m := range []string{line + plain, "From: a\n" + line + "Subject: s\n\nbody\n", "From: a\nSubject: s\n" + line + "\nbody\n"} {
				if contentOf(t, m) != want {
					t.Errorf("%q counts", m)
				}
			}
			if contentOf(t, plain+line) == want || contentOf(t, "From: a\nSubject: s\n\n"+line+"body\n") == want {
				t.Errorf("%q in the body does not count", line)
			}
		}
	}
	for _, line := range []string{
		"Statu: RO\n", "Statuss: RO\n", "X-Mozilla: x\n", "X-Evolutionary: x\n", "XStatus: x\n", " Status: folded\n",
		"Status\n", "status " + strings.Repeat("x", 100) + ": y\n", strings.Repeat("x", 100) + ": y\n",
	} {
		if contentOf(t, "From: a\n"+line+"Subject: s\n\nbody\n") == want {
			t.Errorf("%q does not count", line)
		}
	}
	// A message without its blank line, or cut off in a name, still counts.
	for _, pair := range [][2]string{{"Status", "Statu"}, {"A: b\nStatus", "A: b\nX"}, {"\r", "\r\n"}, {"\n", ""}, {"\r\n\r\n", "\r\n"}} {
		if contentOf(t, pair[0]) == contentOf(t, pair[1]) {
			t.Errorf("%q equals %q", pair[0], pair[1])
		}
	}
	if _, _, err := ContentOf(io.MultiReader(strings.NewReader("a"), iotest.ErrReader(io.ErrUnexpectedEOF))); err != io.ErrUnexpectedEOF {
		t.Errorf("read error: %v", err)
	}
}

func TestMakeID(t *testing.T) {
	a, b := contentOf(t, "a"), contentOf(t, "b")
	seen := map[ID]bool{}
	for _, c := range []Content{a, b} {
		for _, source := range []string{"", "ann", "bob"} {
			for _, n := range []uint32{0, 1, 256} {
				id := MakeID(c, source, n)
				if seen[id] || id != MakeID(c, source, n) {
					t.Errorf("ID %s is given twice, or is not stable", id)
				}
				seen[id] = true
				if back, ok := parseID(id.String()); !ok || back != id {
					t.Errorf("%s reads back as %s", id, back)
				}
			}
		}
	}
	for _, bad := range []string{"", "00", strings.Repeat("g", 32), strings.Repeat("0", 33)} {
		if _, ok := parseID(bad); ok {
			t.Errorf("%q is an ID", bad)
		}
	}
}

// slowContent cuts a message into lines first.
func slowContent(b []byte) Content {
	h := sha256.New()
	header, drop := true, false
	for n, line := range bytes.SplitAfter(b, []byte("\n")) {
		switch {
		case !header:
		case string(line) == "\n" || string(line) == "\r\n":
			header, drop = false, false
		case n > 0 && len(line) > 0 && (line[0] == ' ' || line[0] == '\t'):
		default:
			name, _, colon := bytes.Cut(line, []byte(":"))
			s := strings.ToLower(strings.TrimRight(string(name), " \t"))
			drop = colon && len(name) <= maxNameLen && slowState(s)
		}
		if !drop {
			h.Write(line)
		}
	}
	return Content(h.Sum(nil))
}

func slowState(s string) bool {
	for _, h := range stateHeaders {
		h = strings.ToLower(h)
		if s == h {
			return true
		}
	}
	return strings.HasPrefix(s, "x-mozilla-") || strings.HasPrefix(s, "x-evolution-")
}

func FuzzContentOf(f *testing.F) {
	for _, s := range []string{
		"", "\n", "From: a\n\nbody", "Status: RO\n X\nTo: b\r\n\r\nStatus: x\n", " Status: x\nStatus : y\n\tz\n\n",
		"x-mozilla-status: 0001\nX-Evolution: 1\nLines: 5\n\n", "no colon\nStatus: R\n", "Status", "\r", "\rx: y\n\r\n",
		strings.Repeat("n", 63) + ": x\n", strings.Repeat("n", 64) + ": x\n", "status" + strings.Repeat(" ", 58) + ": x\n", "status" + strings.Repeat(" ", 59) + ": x\n",
	} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		want := slowContent(b)
		whole, _, _ := ContentOf(bytes.NewReader(b))
		if whole != want {
			t.Fatalf("%q: the digest is not that of the lines", b)
		}
		for _, n := range []int{1, int(step)%7 + 2} {
			h := newContentHash()
			for rest := b; len(rest) > 0; rest = rest[min(n, len(rest)):] {
				h.Write(rest[:min(n, len(rest))])
			}
			if h.sum() != want {
				t.Fatalf("%q: in steps of %d the digest is another", b, n)
			}
		}
	})
}
