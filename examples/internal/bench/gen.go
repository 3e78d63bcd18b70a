//go:build unix

package main

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

// A kind is the shape of generated mail.
type kind string

const (
	// small messages are text of 1.5 to 5 KB, as on mailing lists.
	small kind = "small"
	// mixed messages have a median of about 6 KB, and one in thirty has an
	// attachment of 40 KB to 5 MB.
	mixed kind = "mixed"
	// huge messages have an attachment of 20 to 30 MB each.
	huge kind = "huge"
)

// A span is where a message lies in its mbox: what follows the From_ line,
// without the blank line that ends it.
type span struct{ off, size int64 }

// A generator makes mail. The same seed gives the same messages, byte for
// byte, on every machine.
type generator struct {
	kind kind
	r    *rand.Rand
	text pool
	b64  pool
	at   time.Time
	n    int
	buf  []byte
}

// A pool is text of many lines, and where each begins. Bodies are cut out of
// it, because making each word anew would take longer than what is measured.
type pool struct {
	text  string
	lines []int
}

const (
	textPool = 4 << 20
	b64Pool  = 8 << 20
)

func newGenerator(k kind, seed uint64) (*generator, error) {
	switch k {
	case small, mixed, huge:
	default:
		return nil, fmt.Errorf("no kind of mail is called %q: small, mixed or huge", k)
	}
	g := &generator{kind: k, r: rand.New(rand.NewPCG(seed, seed^0x716d61696c)), at: time.Date(2001, 9, 9, 1, 46, 40, 0, time.UTC)}
	g.text = makePool(textPool, g.prose)
	if k != small {
		g.b64 = makePool(b64Pool, g.base64Line)
	}
	return g, nil
}

func makePool(size int, line func(b *strings.Builder)) pool {
	var p pool
	var b strings.Builder
	for b.Len() < size {
		p.lines = append(p.lines, b.Len())
		line(&b)
		b.WriteByte('\n')
	}
	p.text = b.String()
	return p
}

var vocabulary = strings.Fields(`mail the server and spool of queue that to folder letter sender in
with bounce header for it letters was quota virtual host domains be every as relay users not by night
archive when they local delivery is reply his list from their subject disk where which attached report
meeting we would monday price number have this budget or but offer`)

// prose writes a line of words, sometimes a quoted or an empty one.
func (g *generator) prose(b *strings.Builder) {
	switch g.r.IntN(16) {
	case 0, 1:
		return
	case 2, 3:
		b.WriteString("> ")
	}
	for room := 48 + g.r.IntN(26); room > 0; {
		w := vocabulary[g.r.IntN(len(vocabulary))]
		b.WriteString(w)
		b.WriteByte(' ')
		room -= len(w) + 1
	}
}

func (g *generator) base64Line(b *strings.Builder) {
	var raw [57]byte // 76 characters, as RFC 2045 has it
	for i := range raw {
		raw[i] = byte(g.r.Uint32())
	}
	b.WriteString(base64.StdEncoding.EncodeToString(raw[:]))
}

// lines appends whole lines of p until size bytes have come.
func (g *generator) lines(b []byte, p pool, size int) []byte {
	for size > 0 {
		from := p.lines[g.r.IntN(len(p.lines))]
		part := p.text[from:]
		if len(part) > size {
			part = part[:size+strings.IndexByte(part[size:], '\n')+1]
		}
		b = append(b, part...)
		size -= len(part)
	}
	return b
}

// sizes draws the bytes of text and of attachment of the next message.
func (g *generator) sizes() (text, attachment int) {
	switch g.kind {
	case huge:
		return 3000, 20<<20 + g.r.IntN(10<<20)
	case mixed:
		text = int(min(200_000, 5000*math.Exp(1.25*g.r.NormFloat64())))
		if g.r.IntN(33) == 0 {
			attachment = int(min(5<<20, 40_000*math.Pow(g.r.Float64(), -0.9)))
		}
		return text, attachment
	}
	return 1500 + g.r.IntN(3600), 0
}

var states = []string{"", "", "", "Status: O\n", "Status: RO\n", "Status: RO\nX-Status: A\n", "Status: O\nX-Status: F\n"}

// next makes a message: its From_ line, and its bytes as they are stored. They
// hold until the next call.
func (g *generator) next() (from string, body []byte) {
	g.n++
	g.at = g.at.Add(time.Duration(1+g.r.IntN(3600)) * time.Second)
	text, attachment := g.sizes()
	sender := fmt.Sprintf("writer%d@site%d.example.net", g.r.IntN(5000), g.r.IntN(120))
	date := g.at.Format(time.RFC1123Z)

	b := g.buf[:0]
	b = fmt.Appendf(b, "Return-Path: <%s>\n", sender)
	for hop := range 2 + g.r.IntN(4) {
		b = fmt.Appendf(b, "Received: from gate%d.example.net (gate%d.example.net [192.0.2.%d])\n\tby mx%d.example.org with ESMTP id %016x\n\tfor <reader@example.org>; %s\n",
			hop, hop, g.r.IntN(256), g.r.IntN(4), g.r.Uint64(), date)
	}
	b = fmt.Appendf(b, "Message-ID: <%d.%x@site.example.net>\nDate: %s\nFrom: %s\nTo: reader@example.org\nSubject: %s %s, %s\n",
		g.n, g.r.Uint64(), date, sender, g.word(), g.word(), g.word())
	b = append(b, states[g.r.IntN(len(states))]...)
	b = append(b, "MIME-Version: 1.0\n"...)
	if attachment > 0 {
		boundary := fmt.Sprintf("=-%016x", g.r.Uint64())
		b = fmt.Appendf(b, "Content-Type: multipart/mixed; boundary=\"%s\"\n\n--%s\nContent-Type: text/plain\n\n", boundary, boundary)
		b = g.lines(b, g.text, text)
		b = fmt.Appendf(b, "--%s\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n", boundary)
		b = g.lines(b, g.b64, attachment)
		b = fmt.Appendf(b, "--%s--\n", boundary)
	} else {
		b = append(b, "Content-Type: text/plain; charset=utf-8\n\n"...)
		b = g.lines(b, g.text, text)
		if g.r.IntN(3) == 0 {
			b = append(b, ">From here on it is the same as last year.\n"...)
		}
	}
	g.buf = b
	return "From " + sender + " " + g.at.Format(time.ANSIC) + "\n", b
}

func (g *generator) word() string { return vocabulary[g.r.IntN(len(vocabulary))] }

// write writes an mbox of at least limit bytes, or of count messages if that
// is not 0, and returns where each lies.
func (g *generator) write(w io.Writer, limit int64, count int) (spans []span, size int64, err error) {
	out := bufio.NewWriterSize(w, 1<<20)
	for (count > 0 && len(spans) < count) || (count == 0 && size < limit) {
		from, body := g.next()
		out.WriteString(from)
		out.Write(body)
		if err := out.WriteByte('\n'); err != nil {
			return nil, 0, err
		}
		spans = append(spans, span{size + int64(len(from)), int64(len(body))})
		size += int64(len(from)+len(body)) + 1
	}
	return spans, size, out.Flush()
}

// file writes an mbox, and beside it NAME.spans for the floor: 16 bytes for
// each message, offset and length in little-endian order.
func (g *generator) file(name string, limit int64, count int) (spans []span, size int64, err error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	spans, size, err = g.write(f, limit, count)
	if err != nil {
		return nil, 0, err
	}
	table := make([]byte, 0, 16*len(spans))
	for _, s := range spans {
		table = binary.LittleEndian.AppendUint64(table, uint64(s.off))
		table = binary.LittleEndian.AppendUint64(table, uint64(s.size))
	}
	if err := os.WriteFile(name+spansSuffix, table, 0o600); err != nil {
		return nil, 0, err
	}
	return spans, size, f.Close()
}

// The floor is the least that a durable converter has to do: it is told where
// each message lies, looks at none of them and records nothing. In groups of
// 1,000 messages or 64 MiB it writes the files under tmp/ with two writers,
// makes one syncfs(2), renames them to new/ without replacing, and syncs both
// directories.
const (
	floorWriters = 2
	groupCount   = 1000
	groupBytes   = 64 << 20
)

const spansSuffix = ".spans"

// readSpans reads the table that file writes.
func readSpans(name string) ([]span, error) {
	table, err := os.ReadFile(name + spansSuffix)
	if err != nil {
		return nil, err
	}
	if len(table)%16 != 0 {
		return nil, fmt.Errorf("%s%s: %d bytes, not a multiple of 16", name, spansSuffix, len(table))
	}
	spans := make([]span, 0, len(table)/16)
	for ; len(table) > 0; table = table[16:] {
		spans = append(spans, span{int64(binary.LittleEndian.Uint64(table)), int64(binary.LittleEndian.Uint64(table[8:]))})
	}
	return spans, nil
}
