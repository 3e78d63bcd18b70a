package maildir

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"
)

// An ID tells a message from all others of a move: the digest of its bytes
// without the headers that readers rewrite, of its occurrence number among
// equals in its source, and of the source's key. Its offset plays no part,
// because a live spool shifts.
type ID [16]byte

// String is the ID in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// parseID reads what String wrote.
func parseID(s string) (ID, bool) {
	var id ID
	if len(s) != 2*len(id) {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(s))
	return id, err == nil
}

// MakeID gives the ID of the message with these contents that is number
// occurrence, from 0, among those with equal contents in source.
func MakeID(c Content, source string, occurrence uint32) ID {
	h := sha256.New()
	h.Write(c[:])
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], occurrence)
	h.Write(n[:])
	io.WriteString(h, source)
	return ID(h.Sum(nil)[:16])
}

// Content is the digest of a message's bytes without its state headers.
type Content [sha256.Size]byte

// ContentOf reads a message and gives the digest of its bytes without the
// state headers, which mail readers rewrite in an mbox: Status, X-Status,
// X-Keywords, X-UID, X-UIDL, X-IMAP, X-IMAPbase, X-Mozilla-*, X-Evolution*,
// Content-Length and Lines, with their folded lines, in the message's own
// header only. n is the number of bytes read.
func ContentOf(r io.Reader) (c Content, n int64, err error) {
	h := newContentHash()
	n, err = io.Copy(h, r)
	return h.sum(), n, err
}

// contentHash is a writer that leaves state headers out. It keeps at most the
// longest name's length of a line.
type contentHash struct {
	h     hash.Hash
	part  headerPart
	start []byte // the line's beginning, while its name is not known
}

type headerPart uint8

const (
	lineStart  headerPart = iota // at the first byte of a header line
	inName                       // collecting a name
	keepLine                     // in a line that counts
	dropLine                     // in a line of a state header
	afterKeep                    // behind a line that counts: a folded line would too
	afterDrop                    // behind one that does not
	inBody                       // all counts
	maxNameLen = 64
)

func newContentHash() *contentHash {
	return &contentHash{h: sha256.New(), start: make([]byte, 0, maxNameLen)}
}

func (c *contentHash) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		switch c.part {
		case inBody:
			c.h.Write(p)
			return n, nil
		case lineStart, afterKeep, afterDrop:
			p = c.begin(p)
		case inName:
			p = c.name(p)
		case keepLine, dropLine:
			p = c.line(p)
		}
	}
	return n, nil
}

// begin looks at the first byte of a header line.
func (c *contentHash) begin(p []byte) []byte {
	folded := p[0] == ' ' || p[0] == '\t'
	switch {
	case folded && c.part == afterDrop:
		c.part = dropLine
	case folded && c.part == afterKeep:
		c.part = keepLine
	default:
		c.start = c.start[:0]
		c.part = inName
	}
	return p
}

// name collects bytes until the name is known, or cannot be a state header's.
func (c *contentHash) name(p []byte) []byte {
	for i, b := range p {
		switch {
		case b == '\n' && (len(c.start) == 0 || len(c.start) == 1 && c.start[0] == '\r'):
			c.flush()
			c.part = inBody
			return p[i:]
		case b == ':':
			if isStateHeader(c.start) {
				c.part = dropLine
				return p[i:]
			}
			c.flush()
			return p[i:]
		case b == '\n' || len(c.start) == maxNameLen:
			c.flush()
			return p[i:]
		}
		c.start = append(c.start, b)
	}
	return nil
}

// flush lets the collected bytes count.
func (c *contentHash) flush() {
	c.h.Write(c.start)
	c.part = keepLine
}

// line goes to the end of a line.
func (c *contentHash) line(p []byte) []byte {
	k := bytes.IndexByte(p, '\n') + 1
	end := k
	if k == 0 {
		end = len(p)
	}
	if c.part == keepLine {
		c.h.Write(p[:end])
	}
	if k > 0 {
		if c.part == keepLine {
			c.part = afterKeep
		} else {
			c.part = afterDrop
		}
	}
	return p[end:]
}

// sum ends the message.
func (c *contentHash) sum() Content {
	if c.part == inName {
		c.flush()
	}
	var out Content
	c.h.Sum(out[:0])
	return out
}

func (c *contentHash) reset() {
	c.h.Reset()
	c.part = lineStart
	c.start = c.start[:0]
}

// isStateHeader says whether readers rewrite the header of this name. Blanks
// before the colon do not count.
func isStateHeader(name []byte) bool {
	name = bytes.TrimRight(name, " \t")
	var low [maxNameLen]byte
	if len(name) > len(low) {
		return false
	}
	n := copy(low[:], name)
	for i := range n {
		if 'A' <= low[i] && low[i] <= 'Z' {
			low[i] += 'a' - 'A'
		}
	}
	switch s := string(low[:n]); s {
	case "status", "x-status", "x-keywords", "x-uid", "x-uidl", "x-imap", "x-imapbase", "content-length", "lines", "x-evolution":
		return true
	default:
		return bytes.HasPrefix(low[:n], []byte("x-mozilla-")) || bytes.HasPrefix(low[:n], []byte("x-evolution-"))
	}
}
