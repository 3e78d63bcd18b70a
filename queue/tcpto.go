//go:build unix

package queue

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// A Timeout is what qmail-remote remembers of a host that did not answer, in
// lock/tcpto (tcpto.c).
type Timeout struct {
	Addr netip.Addr
	// Last is when it did not answer, to the second, in the range of 32 bits.
	Last time.Time
	// Count is how often, up to 10. From 2 on qmail-remote does not try the
	// host for an hour or so.
	Count int
}

// tcptoRecord is the size of the record of one host.
const tcptoRecord = 16

// Timeouts reads the hosts that lately did not answer. No lock is taken, unlike
// qmail-tcpto does: a record is written at a stretch.
func (q *Queue) Timeouts() ([]Timeout, error) {
	f, err := q.openFile("lock/tcpto")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, tcptoSize))
	if err != nil {
		return nil, err
	}
	return parseTcpto(b), nil
}

// parseTcpto reads the records that have a count. A piece of one at the end is
// none.
func parseTcpto(b []byte) []Timeout {
	var all []Timeout
	for ; len(b) >= tcptoRecord; b = b[tcptoRecord:] {
		// The count is a signed char where qmail-tcpto asks whether there is one.
		if count := int8(b[4]); count >= 1 {
			all = append(all, Timeout{
				Addr:  netip.AddrFrom4([4]byte(b[:4])),
				Last:  time.Unix(int64(binary.LittleEndian.Uint32(b[8:12])), 0),
				Count: int(count),
			})
		}
	}
	return all
}

// WriteTcpto writes what qmail-tcpto prints, at the time that the options give.
// A time in the future wraps there, as it does here.
func (q *Queue) WriteTcpto(w io.Writer) error {
	all, err := q.Timeouts()
	if err != nil {
		return err
	}
	now := q.opts.Now().Unix()
	for _, t := range all {
		_, err := fmt.Fprintf(w, "%s timed out %d seconds ago; # recent timeouts: %d\n", t.Addr, uint64(now-t.Last.Unix()), t.Count)
		if err != nil {
			return err
		}
	}
	return nil
}
