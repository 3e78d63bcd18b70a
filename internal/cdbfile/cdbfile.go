// Package cdbfile reads and writes constant databases in the layout of D. J.
// Bernstein's cdb: users/cdb, morercpthosts.cdb and vpasswd.cdb are such files.
//
// A file is a header of 256 pairs (position of a hash table, number of its
// slots), the records from offset 2048 on in the order in which they were
// added, then the 256 tables of pairs (hash of a key, position of its record).
// All numbers are 32 bits, little-endian. A slot is free when its position is
// 0; a hash of 0 is as good as any other.
//
// The reader believes nothing that the file says: every position is checked
// against the size that the caller gave, in 64 bits, before it is used, and a
// length before anything is allocated. The writer gives the bytes that cdbmake
// of the same author gives for the same records.
package cdbfile

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	tables     = 256
	headerSize = tables * 8

	// MaxFile is the largest cdb: its positions are 32 bits wide.
	MaxFile = 1<<32 - 1

	// MaxRecord is the longest key and data together that the reader hands
	// out. No file of qmail or vpopmail comes near it.
	MaxRecord = 16 << 20
)

var (
	// ErrCorrupt is wrapped by every error that the content of a file causes.
	ErrCorrupt = errors.New("not a sound cdb")
	// ErrTooLarge says that a record does not fit: into a file of MaxFile
	// bytes when writing, into MaxRecord when reading.
	ErrTooLarge = errors.New("too large for a cdb")
	// ErrFinished says that a Writer was used after Finish.
	ErrFinished = errors.New("cdb is finished already")
)

// A FormatError tells where a file is broken. It matches ErrCorrupt.
type FormatError struct {
	Offset int64  // in the file, in bytes
	What   string // what is wrong there
}

// Error puts the place before the words.
func (e *FormatError) Error() string {
	return fmt.Sprintf("cdb: offset %d: %s", e.Offset, e.What)
}

// Is makes every FormatError an ErrCorrupt.
func (e *FormatError) Is(target error) bool { return target == ErrCorrupt }

func corrupt(offset uint64, format string, args ...any) error {
	return &FormatError{Offset: int64(offset), What: fmt.Sprintf(format, args...)}
}

// Hash is the hash function of cdb.
func Hash(key []byte) uint32 {
	h := uint32(5381)
	for _, c := range key {
		h = h*33 ^ uint32(c)
	}
	return h
}

// pair reads two numbers.
func pair(b []byte) (uint32, uint32) {
	return binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
}

// putPair writes two numbers.
func putPair(b []byte, x, y uint32) {
	binary.LittleEndian.PutUint32(b, x)
	binary.LittleEndian.PutUint32(b[4:], y)
}
