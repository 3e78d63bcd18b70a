package cdbfile

import (
	"fmt"
	"io"
)

// A Writer makes a cdb. Its writes are large and in order, except that the
// header at offset 0 comes last; it keeps about eight bytes a record in memory.
//
// What is written is not a cdb before Finish has returned nil, so a Writer
// belongs over a temporary file that the caller then syncs, closes and renames.
type Writer struct {
	w        io.WriterAt
	buf      []byte
	at       uint64 // where buf goes
	records  uint64
	limit    uint64 // MaxFile, less in tests
	buckets  [tables]bucket
	err      error // what broke the file; every later call returns it
	finished bool
}

// A slot is an entry of a hash table.
type slot struct{ hash, pos uint32 }

// A bucket holds the slots of one table in the order of their records, in
// pieces that are never moved.
type bucket struct {
	full  [][]slot
	last  []slot
	count uint32
}

const (
	firstPiece = 4
	lastPiece  = 1024
	writeSize  = 256 << 10
)

func (b *bucket) add(s slot) {
	if len(b.last) == cap(b.last) {
		n := firstPiece
		if b.last != nil {
			b.full = append(b.full, b.last)
			n = min(2*cap(b.last), lastPiece)
		}
		b.last = make([]slot, 0, n)
	}
	b.last = append(b.last, s)
	b.count++
}

// NewWriter makes a cdb in w, from offset 0 on. What w held before should be
// nothing: bytes behind the new end would stay.
func NewWriter(w io.WriterAt) *Writer {
	return &Writer{w: w, at: headerSize, limit: MaxFile}
}

// Add appends a record. Any bytes may be key and data, and a key may come
// again: a look-up finds the first, and All finds every one of them.
//
// ErrTooLarge says that the finished file would have more than MaxFile bytes;
// the record was then left out and the Writer is as before.
func (c *Writer) Add(key, data []byte) error {
	if c.err != nil {
		return c.err
	}
	if c.finished {
		return ErrFinished
	}
	pos := c.at + uint64(len(c.buf))
	size := 8 + uint64(len(key)) + uint64(len(data))
	if pos+size+16*(c.records+1) > c.limit {
		return fmt.Errorf("cdb: record %d of %d bytes: %w", c.records+1, size-8, ErrTooLarge)
	}
	var head [8]byte
	putPair(head[:], uint32(len(key)), uint32(len(data)))
	c.write(head[:])
	c.write(key)
	c.write(data)
	h := Hash(key)
	c.buckets[h%tables].add(slot{h, uint32(pos)})
	c.records++
	return c.err
}

// write passes b through the buffer, which grows to writeSize and no further.
func (c *Writer) write(b []byte) {
	for len(b) > 0 && c.err == nil {
		if len(c.buf) == writeSize {
			c.flush()
		}
		n := min(len(b), writeSize-len(c.buf))
		c.buf = append(c.buf, b[:n]...)
		b = b[n:]
	}
}

func (c *Writer) flush() {
	c.writeAt(c.buf, c.at)
	c.at += uint64(len(c.buf))
	c.buf = c.buf[:0]
}

func (c *Writer) writeAt(b []byte, at uint64) {
	if c.err != nil || len(b) == 0 {
		return
	}
	n, err := c.w.WriteAt(b, int64(at))
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		c.err = fmt.Errorf("cdb: writing at offset %d: %w", at, err)
	}
}

// Finish writes the hash tables and the header. It neither syncs nor closes
// the file. Only after it has returned nil is the file a cdb.
func (c *Writer) Finish() error {
	if c.err != nil {
		return c.err
	}
	if c.finished {
		return ErrFinished
	}
	c.finished = true
	var header [headerSize]byte
	var table []slot
	var line [8]byte
	for i := range c.buckets {
		b := &c.buckets[i]
		putPair(header[i*8:], uint32(c.at+uint64(len(c.buf))), 2*b.count)
		table = b.table(table)
		for _, s := range table {
			putPair(line[:], s.hash, s.pos)
			c.write(line[:])
		}
		*b = bucket{}
	}
	c.flush()
	c.writeAt(header[:], 0)
	c.buf = nil
	return c.err
}

// table lays the slots out as cdb_make does: twice as many places as records,
// each record at the first free place from (hash >> 8) mod places on. The
// slice t is used again where it is large enough.
func (b *bucket) table(t []slot) []slot {
	n := 2 * int(b.count)
	if cap(t) < n {
		t = make([]slot, n)
	}
	t = t[:n]
	clear(t)
	place := func(part []slot) {
		for _, s := range part {
			i := int(s.hash/tables) % n
			for t[i].pos != 0 {
				if i++; i == n {
					i = 0
				}
			}
			t[i] = s
		}
	}
	for _, part := range b.full {
		place(part)
	}
	place(b.last)
	return t
}
