package cdbfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/qmailkit/qmailkit"
)

// A Reader looks records up in a cdb. It holds the header and nothing else, so
// that any number of goroutines may use one Reader, as far as its io.ReaderAt
// lets them.
type Reader struct {
	r      io.ReaderAt
	size   uint64
	header [headerSize]byte
}

// A Record is one key with its data. The slices belong to the receiver.
type Record struct {
	Offset    int64 // of the record in the file
	Key, Data []byte
}

// Open reads the header of a cdb of size bytes. A file that ends before its
// header does is ErrCorrupt; a file that ends later is not noticed here,
// because such a file still answers some questions, to qmail too.
func Open(r io.ReaderAt, size int64) (*Reader, error) {
	if size < headerSize {
		return nil, corrupt(uint64(max(size, 0)), "file ends inside the header")
	}
	c := &Reader{r: r, size: uint64(size)}
	if err := c.readAt(c.header[:], 0); err != nil {
		return nil, err
	}
	return c, nil
}

// readAt fills b. The caller has checked that the size allows it; a file that
// has shrunk since is corrupt all the same.
func (c *Reader) readAt(b []byte, at uint64) error {
	n, err := c.r.ReadAt(b, int64(at))
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return corrupt(at+uint64(n), "file ends before its size")
	}
	return fmt.Errorf("cdb: offset %d: %w", at, err)
}

// within says whether n bytes at a position lie in the file.
func (c *Reader) within(at, n uint64) bool { return at <= c.size && n <= c.size-at }

// Get returns the data of the first record under key, as cdb_seek finds it.
// The error of an absent key is nil.
func (c *Reader) Get(key []byte) (data []byte, found bool, err error) {
	for rec, err := range c.All(key) {
		return rec.Data, err == nil, err
	}
	return nil, false, nil
}

// slotsAtOnce is how many slots are fetched in one read: enough for nearly
// every search in a table that is half full.
const slotsAtOnce = 16

// All yields the records under key in the order in which they were added. An
// error ends the sequence and wraps qmailkit.ErrIncomplete.
func (c *Reader) All(key []byte) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		h := Hash(key)
		at32, slots32 := pair(c.header[h%tables*8:])
		at, slots := uint64(at32), uint64(slots32)
		if slots == 0 {
			return
		}
		buf := make([]byte, slotsAtOnce*8)
		slot := uint64(h/tables) % slots
		for tried := uint64(0); tried < slots; {
			n, err := c.readSlots(buf, at, slot, slots)
			if err != nil {
				yield(Record{}, qmailkit.Incomplete(err))
				return
			}
			for i := uint64(0); i < n && tried < slots; i, tried = i+1, tried+1 {
				hash, pos := pair(buf[i*8:])
				if pos == 0 {
					return
				}
				if hash != h {
					continue
				}
				rec, same, err := c.match(uint64(pos), key)
				if err != nil {
					yield(Record{}, qmailkit.Incomplete(err))
					return
				}
				if same && !yield(rec, nil) {
					return
				}
			}
			slot = (slot + n) % slots
		}
	}
}

// readSlots fetches slots from the given one on, up to the end of the table or
// of the file, and returns their number.
func (c *Reader) readSlots(buf []byte, at, slot, slots uint64) (uint64, error) {
	from := at + slot*8
	if !c.within(from, 8) {
		return 0, corrupt(from, "hash table lies beyond the end of the file")
	}
	n := min(slots-slot, uint64(len(buf)/8), (c.size-from)/8)
	return n, c.readAt(buf[:n*8], from)
}

// dataAtOnce is how many bytes of data are fetched along with a key.
const dataAtOnce = 256

// match reads the record at a position if it has this key. What a record with
// another key says of its length is never asked, as in cdb_seek.
func (c *Reader) match(at uint64, key []byte) (Record, bool, error) {
	if !c.within(at, 8) {
		return Record{}, false, corrupt(at, "record lies beyond the end of the file")
	}
	n := uint64(len(key))
	b := make([]byte, min(8+n+dataAtOnce, c.size-at))
	if err := c.readAt(b, at); err != nil {
		return Record{}, false, err
	}
	klen, _ := pair(b)
	if uint64(klen) != n {
		return Record{}, false, nil
	}
	if uint64(len(b)) < 8+n {
		return Record{}, false, corrupt(at, "key of %d bytes ends beyond the end of the file", n)
	}
	if !bytes.Equal(b[8:8+n], key) {
		return Record{}, false, nil
	}
	_, dlen, err := c.checkLengths(at, b)
	if err != nil {
		return Record{}, false, err
	}
	data := b[8+n:]
	if have := uint64(len(data)); have < dlen {
		data = make([]byte, dlen)
		copy(data, b[8+n:])
		if err := c.readAt(data[have:], at+8+n+have); err != nil {
			return Record{}, false, err
		}
	}
	return Record{int64(at), b[8 : 8+n : 8+n], data[:dlen:dlen]}, true, nil
}

// checkLengths reads the head of a record and checks that the record lies in
// the file.
func (c *Reader) checkLengths(at uint64, head []byte) (klen, dlen uint64, err error) {
	k, d := pair(head)
	klen, dlen = uint64(k), uint64(d)
	if !c.within(at+8, klen+dlen) {
		return 0, 0, corrupt(at, "record of %d + %d bytes ends beyond the end of the file", klen, dlen)
	}
	if klen+dlen > MaxRecord {
		return 0, 0, fmt.Errorf("cdb: offset %d: record of %d bytes: %w", at, klen+dlen, ErrTooLarge)
	}
	return klen, dlen, nil
}

// end is where the records stop. The first table begins there; a writer that
// leaves the positions of empty tables at 0 is understood as well.
func (c *Reader) end() uint64 {
	if at, _ := pair(c.header[:]); at >= headerSize {
		return uint64(at)
	}
	end := uint64(0)
	for i := range tables {
		if at, slots := pair(c.header[i*8:]); slots > 0 && (end == 0 || uint64(at) < end) {
			end = uint64(at)
		}
	}
	return end
}

// readAhead is the size of the reads of Records.
const readAhead = 64 << 10

// Records yields every record in file order, found or not by a look-up. An
// error ends the sequence and wraps qmailkit.ErrIncomplete.
func (c *Reader) Records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		end := c.end()
		s := scanner{c: c}
		for at := uint64(headerSize); at < end; {
			rec, err := s.record(at)
			if err == nil && at+8+uint64(len(rec.Key)+len(rec.Data)) > end {
				err = corrupt(at, "record runs into the hash tables at %d", end)
			}
			if err != nil {
				yield(Record{}, qmailkit.Incomplete(err))
				return
			}
			at += 8 + uint64(len(rec.Key)+len(rec.Data))
			if !yield(rec, nil) {
				return
			}
		}
	}
}

// A scanner reads records one behind the other through a buffer.
type scanner struct {
	c   *Reader
	buf []byte // bytes of the file from pos on
	pos uint64
}

// bytes returns n bytes at a position, which the caller has found to lie in the
// file. They hold until the next call.
func (s *scanner) bytes(at, n uint64) ([]byte, error) {
	if at < s.pos || at+n > s.pos+uint64(len(s.buf)) {
		want := min(max(n, readAhead), s.c.size-at)
		if uint64(cap(s.buf)) < want {
			s.buf = make([]byte, want)
		}
		s.buf, s.pos = s.buf[:want], at
		if err := s.c.readAt(s.buf, at); err != nil {
			s.buf = s.buf[:0]
			return nil, err
		}
	}
	return s.buf[at-s.pos:][:n], nil
}

func (s *scanner) record(at uint64) (Record, error) {
	if !s.c.within(at, 8) {
		return Record{}, corrupt(at, "file ends before its last record")
	}
	head, err := s.bytes(at, 8)
	if err != nil {
		return Record{}, err
	}
	klen, dlen, err := s.c.checkLengths(at, head)
	if err != nil {
		return Record{}, err
	}
	body, err := s.bytes(at+8, klen+dlen)
	if err != nil {
		return Record{}, err
	}
	own := bytes.Clone(body)
	return Record{int64(at), own[:klen:klen], own[klen:]}, nil
}
