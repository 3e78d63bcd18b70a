package mbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
)

// generated is a huge file that is made as it is read: head, then fill over and
// over up to size.
type generated struct {
	head, fill []byte
	size       int64
}

// generate is a file of that size. The filling is repeated in memory, because
// copies of one byte each would take most of the time.
func generate(head, fill string, size int64) generated {
	return generated{[]byte(head), []byte(strings.Repeat(fill, 1+(64<<10)/len(fill))), size}
}

func (g generated) ReadAt(p []byte, off int64) (int, error) {
	if off >= g.size {
		return 0, io.EOF
	}
	n := 0
	if off < int64(len(g.head)) {
		n = copy(p, g.head[off:])
	}
	for n < len(p) {
		at := (off + int64(n) - int64(len(g.head))) % int64(len(g.fill))
		n += copy(p[n:], g.fill[at:])
	}
	if rest := g.size - off; int64(n) > rest {
		return int(rest), io.EOF
	}
	return n, nil
}

// peak runs do and returns by how many bytes the heap grew at most, looking at
// each message.
func peak(t *testing.T, do func(look func())) uint64 {
	t.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, m.HeapAlloc
	n := 0
	do(func() {
		if n++; n%1024 == 1 {
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	})
	return most - before
}

// hugeFiles have something in them that must not be taken into memory.
func hugeFiles() map[string]generated {
	const size = 100 << 20
	mime := fromLine + "Content-Type: multipart/mixed; boundary=never\n\n--never\n\n"
	return map[string]generated{
		"header line":    generate(fromLine+"Status: R\nX: ", "x", size),
		"header lines":   generate(fromLine+"Status: R\n", "X: yz\n", size),
		"folded line":    generate(fromLine+"X-Keywords: a\n", " b\n", size),
		"From_ line":     generate("From ", "x", size),
		"blank lines":    generate(fromLine+"\n", "\n", size),
		"leading blanks": generate("", "\n", size),
		"NUL":            generate(fromLine+"Content-Length: 999999999999\n\n", "\x00", size),
		"false landings": generate("", fromLine+"Content-Length: 16777000\n\n"+strings.Repeat("x", 4000)+"\n", size/4),
		"quotes":         generate(fromLine+"\n", ">", size),
		"prologue":       generate("junk\n", "From x y z\n", size),
		"open multipart": generate(mime, "x\n\n"+fromLine+"A: b\n\n", size/4),
	}
}

func TestBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("reads a gigabyte")
	}
	const limit = 60 << 20
	for name, g := range hugeFiles() {
		opts := &Options{SkipPrologue: name == "prologue"}
		got := map[string]hash.Hash64{"indexed": fnv.New64(), "streaming": fnv.New64()}
		for form, read := range map[string]func(look func()) ([]qmailkit.Problem, error){
			"indexed": func(look func()) ([]qmailkit.Problem, error) {
				x := NewIndexer(g, g.size, opts)
				for h, err := range x.All(context.Background()) {
					if err != nil {
						return x.Problems(), err
					}
					look()
					fmt.Fprintf(got["indexed"], "%d+%d %v\n", h.Offset, h.Length, h.State)
				}
				return x.Problems(), nil
			},
			"streaming": func(look func()) ([]qmailkit.Problem, error) {
				r := NewReaderOptions(io.NewSectionReader(g, 0, g.size), opts)
				for h, err := range r.All() {
					if err != nil {
						return r.Problems(), err
					}
					look()
					n, err := io.Copy(io.Discard, r)
					look()
					if err != nil || n > h.Length {
						t.Errorf("%s: %d bytes of a message of %d: %v", name, n, h.Length, err)
					}
					fmt.Fprintf(got["streaming"], "%d+%d %v\n", h.Offset, h.Length, h.State)
				}
				return r.Problems(), nil
			},
		} {
			var problems []qmailkit.Problem
			var err error
			most := peak(t, func(look func()) { problems, err = read(look) })
			if most > limit {
				t.Errorf("%s, %s: %d bytes of memory", name, form, most)
			}
			if (name == "prologue") != errors.Is(err, ErrNotMbox) || err != nil && name != "prologue" {
				t.Errorf("%s, %s: %v", name, form, err)
			}
			if len(problems) > maxProblems+1 {
				t.Errorf("%s, %s: %d problems", name, form, len(problems))
			}
		}
		if got["indexed"].Sum64() != got["streaming"].Sum64() {
			t.Errorf("%s: the forms differ", name)
		}
	}
}

// TestTenGigabytes is the promise for large files; memory may grow by a few
// dozen bytes a message in a caller who keeps that.
func TestTenGigabytes(t *testing.T) {
	if testing.Short() {
		t.Skip("reads ten gigabytes")
	}
	msg := fromLine + "Status: RO\nSubject: x\n\n" + strings.Repeat(strings.Repeat("x", 71)+"\n", 7000) + "\n"
	const count = 20000
	g := generated{fill: []byte(msg), size: count * int64(len(msg))}
	n := 0
	most := peak(t, func(look func()) {
		for h, err := range Index(context.Background(), g, g.size, nil) {
			if err != nil {
				t.Fatal(err)
			}
			if h.FromOffset != int64(n)*int64(len(msg)) || h.State != Read|Old {
				t.Fatalf("message %d: %+v", n, h)
			}
			n++
			look()
		}
	})
	if n != count || g.size < 10e9 || most > 8<<20 {
		t.Errorf("%d messages of %d bytes with %d bytes of memory", n, g.size, most)
	}
}

// TestLookAheadBudget: multiparts without an end are searched for only so long,
// and in time that is a few times that for the file.
func TestLookAheadBudget(t *testing.T) {
	var b bytes.Buffer
	for i := range 4000 {
		fmt.Fprintf(&b, "%sContent-Type: multipart/mixed; boundary=b%dx\n\n--b%dx\n\ntext\n\n", fromLine, i, i)
	}
	x := NewIndexer(bytes.NewReader(b.Bytes()), int64(b.Len()), &Options{LookAhead: 10000})
	n := 0
	for _, err := range x.All(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 4000 {
		t.Errorf("%d messages", n)
	}
	if x.s.wasted > 16*10000+4*int64(b.Len())+10000 {
		t.Errorf("%d bytes were searched in vain in a file of %d", x.s.wasted, b.Len())
	}
	if !hasProblem(x.Problems(), "mbox.look-ahead-budget") {
		t.Errorf("no problem says so: %v", x.Problems())
	}
}

// TestLandingBudget: nor may lengths that lead into one run of blank lines cost
// more.
func TestLandingBudget(t *testing.T) {
	const each, count, blanks = 80, 3000, 300 << 10
	var b bytes.Buffer
	for i := range count {
		m := fmt.Sprintf("%sContent-Length: %07d\n\n", fromLine, (count-i)*each-60+10)
		b.WriteString(m + strings.Repeat("x", each-1-len(m)) + "\n")
	}
	b.WriteString(strings.Repeat("\n", blanks) + "x\n")
	opts := &Options{LookAhead: 1 << 20}
	x := NewIndexer(bytes.NewReader(b.Bytes()), int64(b.Len()), opts)
	n := 0
	for h, err := range x.All(context.Background()) {
		if err != nil || h.ByLength {
			t.Fatalf("message %d: %+v %v", n, h, err)
		}
		n++
	}
	if n != count {
		t.Errorf("%d messages", n)
	}
	if limit := 16*opts.LookAhead + 4*int64(b.Len()) + blanks; x.s.wasted > limit || !hasProblem(x.Problems(), "mbox.look-ahead-budget") {
		t.Errorf("%d bytes were looked at in vain, problems %v", x.s.wasted, x.Problems()[:1])
	}
}

func hasProblem(list []qmailkit.Problem, code string) bool {
	for _, p := range list {
		if p.Code == code {
			return true
		}
	}
	return false
}

func TestProblems(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for _, c := range []struct {
		text string
		opts *Options
		code string
	}{
		{"\xef\xbb\xbf" + fromLine, nil, "mbox.bom"},
		{"\n" + fromLine, nil, "mbox.leading-blank"},
		{"junk\n\n" + fromLine, &Options{SkipPrologue: true}, "mbox.prologue"},
		{"From some prose here\n\n", nil, "mbox.from-line"},
		{"From " + long + "\nA: b\n", nil, "mbox.long-from-line"},
		{fromLine + strings.Repeat("A: "+long+"\n", 20) + "\nx\n", nil, "mbox.long-header"},
		{fromLine + "Content-Length: 5\n\nx\n", nil, "mbox.length-ignored"},
		{fromLine + "Content-Length: 5000\n\nx\n", &Options{LookAhead: 100}, "mbox.look-ahead"},
		{fromLine + "\nx", nil, "mbox.no-final-newline"},
		{fromLine + "A: b", nil, "mbox.no-final-newline"},
	} {
		data := []byte(c.text)
		for form, o := range map[string]outcome{
			"indexed":   indexedOutcome(data, orZero(c.opts), 0),
			"streaming": streamOutcome(bytes.NewReader(data), orZero(c.opts), 0),
		} {
			if o.Err != "" || len(o.Messages) != 1 || len(o.Problems) != 1 || !strings.Contains(o.Problems[0], "("+c.code+")") {
				t.Errorf("%.40q, %s: %d messages, problems %q, %s; want one and %s", c.text, form, len(o.Messages), o.Problems, o.Err, c.code)
			}
		}
	}
	var many strings.Builder
	for range maxProblems + 5 {
		many.WriteString(fromLine + "Content-Length: 3\n\nxxxxx\n\n")
	}
	r := NewReader(strings.NewReader(many.String()))
	for range r.All() {
	}
	if list := r.Problems(); len(list) != maxProblems+1 || list[maxProblems].Code != "mbox.more-problems" {
		t.Errorf("%d problems", len(list))
	}
}

func orZero(o *Options) *Options {
	if o == nil {
		return &Options{}
	}
	return o
}
