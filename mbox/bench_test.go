package mbox

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	gombox "github.com/emersion/go-mbox"
)

// The benchmarks compare with what others do in the same run:
//
//	go test -run '^$' -bench . ./mbox
//
// BenchmarkScan/*/floor is one search for "\nFrom " over a mapped file that is
// in memory, the least that a splitter does.

const benchBytes = 128 << 20

// pools makes text and base64 to take bodies from.
func pools(r *rand.Rand, words []string) (text, b64 []byte) {
	var b bytes.Buffer
	for b.Len() < 1<<20 {
		switch r.IntN(9) {
		case 0:
			b.WriteByte('\n')
			continue
		case 1:
			b.WriteString("> ")
		}
		goal := 50 + r.IntN(25)
		b.WriteString("we")
		for n := 2; n < goal; {
			w := words[r.IntN(len(words))]
			b.WriteString(" " + w)
			n += len(w) + 1
		}
		b.WriteByte('\n')
	}
	text = bytes.Clone(b.Bytes())
	b.Reset()
	raw := make([]byte, 57<<12)
	for i := range raw {
		raw[i] = byte(r.Uint32())
	}
	for i := 0; i < len(raw); i += 57 {
		b.WriteString(base64.StdEncoding.EncodeToString(raw[i:i+57]) + "\n")
	}
	return text, b.Bytes()
}

// takeLines writes about want bytes of whole lines out of pool.
func takeLines(b *bytes.Buffer, r *rand.Rand, pool []byte, want int) {
	for want > 0 {
		from := r.IntN(len(pool) / 2)
		from += bytes.IndexByte(pool[from:], '\n') + 1
		to := min(from+want, len(pool)-1)
		to += bytes.IndexByte(pool[to:], '\n') + 1
		b.Write(pool[from:to])
		want -= to - from
	}
}

// sample makes a mailbox of about n bytes: "small" messages of some 4 KB of
// text, or "mixed" ones with a long tail of base64 attachments.
func sample(kind string, n int) []byte {
	r := rand.New(rand.NewPCG(7, 0x6d626f78))
	words := strings.Fields("the of and to in server queue patch meeting invoice quarterly report kernel release review message folder delivery would their we know")
	text, b64 := pools(r, words)
	var b bytes.Buffer
	b.Grow(n + 8<<20)
	t := time.Date(2003, 1, 5, 7, 0, 0, 0, time.UTC)
	for i := 0; b.Len() < n; i++ {
		t = t.Add(time.Duration(r.IntN(3600)) * time.Second)
		body, att := 1500+r.IntN(3600), 0
		if kind == "mixed" {
			body = int(min(200000, math.Exp(math.Log(5200)+1.25*r.NormFloat64())))
			if r.Float64() < 0.03 {
				att = int(min(5<<20, 40000/math.Pow(r.Float64(), 0.9)))
			}
		}
		addr := fmt.Sprintf("user%d@host%d.example.org", r.IntN(4000), r.IntN(90))
		fmt.Fprintf(&b, "From %s %s\nReturn-Path: <%s>\n", addr, t.Format(time.ANSIC), addr)
		for range 2 + r.IntN(4) {
			fmt.Fprintf(&b, "Received: from relay%d.example.net (relay%d.example.net [192.0.2.%d])\n\tby mx%d.example.org (Postfix) with ESMTPS id %X\n\tfor <dest%d@example.org>; %s\n",
				r.IntN(50), r.IntN(50), r.IntN(255), r.IntN(9), r.Uint64(), r.IntN(40), t.Format(time.RFC1123Z))
		}
		fmt.Fprintf(&b, "Message-ID: <%x.%d@host.example.org>\nDate: %s\nFrom: A B <%s>\nTo: dest%d@example.org\nSubject: %s\n",
			r.Uint64(), i, t.Format(time.RFC1123Z), addr, r.IntN(40), words[r.IntN(len(words))])
		b.WriteString([]string{"Status: RO\n", "Status: RO\nX-Status: A\n", "Status: O\nX-Status: F\n", "", "", ""}[r.IntN(6)])
		if att > 0 {
			bnd := fmt.Sprintf("=_%x", r.Uint64())
			fmt.Fprintf(&b, "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"%s\"\n\n--%s\nContent-Type: text/plain; charset=utf-8\n\n", bnd, bnd)
			takeLines(&b, r, text, body)
			fmt.Fprintf(&b, "--%s\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n", bnd)
			takeLines(&b, r, b64, att)
			fmt.Fprintf(&b, "--%s--\n", bnd)
		} else {
			b.WriteString("MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n")
			takeLines(&b, r, text, body)
			if i%40 == 0 {
				b.WriteString(">From the archive of last year we take this line\n")
			}
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// benchFile puts a sample into a file, which then is in memory.
func benchFile(b *testing.B, kind string) (*os.File, int64) {
	name := filepath.Join(b.TempDir(), kind)
	if err := os.WriteFile(name, sample(kind, benchBytes), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	fi, err := f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	return f, fi.Size()
}

var benchKinds = []string{"small", "mixed"}

func BenchmarkScan(b *testing.B) {
	for _, kind := range benchKinds {
		f, size := benchFile(b, kind)
		b.Run(kind+"/floor", func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if mappedCount(b, f, int(size)) == 0 {
					b.Fatal("nothing found")
				}
			}
		})
		for _, boundariesOnly := range []bool{true, false} {
			name := kind + "/full"
			if boundariesOnly {
				name = kind + "/boundaries"
			}
			b.Run(name, func(b *testing.B) {
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					for _, err := range Index(context.Background(), f, size, &Options{BoundariesOnly: boundariesOnly}) {
						if err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}

func mappedCount(b *testing.B, f *os.File, size int) (n int) {
	m, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		b.Fatal(err)
	}
	defer syscall.Munmap(m)
	pattern := []byte("\nFrom ")
	for rest := m; ; n++ {
		i := bytes.Index(rest, pattern)
		if i < 0 {
			return n
		}
		rest = rest[i+len(pattern):]
	}
}

func BenchmarkReader(b *testing.B) {
	for _, kind := range benchKinds {
		f, size := benchFile(b, kind)
		b.Run(kind+"/qmailkit", func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				r := NewReader(io.NewSectionReader(f, 0, size))
				for _, err := range r.All() {
					if err != nil {
						b.Fatal(err)
					}
					if _, err := io.Copy(io.Discard, r); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
		b.Run(kind+"/go-mbox", func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				r := gombox.NewReader(io.NewSectionReader(f, 0, size))
				for {
					m, err := r.NextMessage()
					if err == io.EOF {
						break
					}
					if err != nil {
						b.Fatal(err)
					}
					if _, err := io.Copy(io.Discard, m); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
