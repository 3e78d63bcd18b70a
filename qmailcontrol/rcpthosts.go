package qmailcontrol

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/qmailkit/qmailkit/internal/cdbfile"
)

// ErrMorercpthosts says that qmail-smtpd would end the connection, because it
// cannot read an answer in morercpthosts.cdb.
var ErrMorercpthosts = errors.New("unable to read morercpthosts.cdb")

// RcptHosts decides which recipients qmail-smtpd and qmail-qmtpd accept
// (rcpthosts.c).
type RcptHosts struct {
	open  bool // no rcpthosts: everything is accepted
	hosts Set
	cdb   *string // nil: none
}

// RcptHosts returns the decisions of the rcpthosts and morercpthosts.cdb that
// c holds now. The error is a *ControlsError: with it qmail-smtpd stops.
func (c *Config) RcptHosts() (*RcptHosts, error) {
	s := controls{program: "qmail-smtpd"}
	r := c.rcptHosts(&s)
	return r, s.err
}

func (c *Config) rcptHosts(s *controls) *RcptHosts {
	set := c.list("rcpthosts")
	r := &RcptHosts{open: set.From == Nowhere, hosts: newSet(take(s, "rcpthosts", set))}
	if r.open {
		return r
	}
	e, found := c.entries["morercpthosts.cdb"]
	if found {
		// A directory can be opened: qmail fails only when it reads there.
		if e.Err != nil && !e.Info.Mode.IsDir() {
			s.stop(e.Name, e.Err)
		}
		r.cdb = &e.Text
	}
	return r
}

// Open says that there is no file rcpthosts: the host relays everything for
// everybody.
func (r *RcptHosts) Open() bool { return r.open }

// Allows says whether a recipient is accepted. An address without '@' is. Of
// any other the host counts, which is the part behind the last '@'; it must
// stand in rcpthosts or morercpthosts.cdb, or the rest of it from one of its
// dots on. An error wraps ErrMorercpthosts.
func (r *RcptHosts) Allows(addr string) (bool, error) {
	at := strings.LastIndexByte(addr, '@')
	if r.open || at < 0 {
		return true, nil
	}
	host := lower(addr[at+1:])
	for i := range len(host) {
		if i == 0 || host[i] == '.' {
			if _, ok := r.hosts.in[host[i:]]; ok {
				return true, nil
			}
		}
	}
	if r.cdb == nil {
		return false, nil
	}
	for i := range len(host) {
		if i == 0 || host[i] == '.' {
			found, err := seek(*r.cdb, host[i:])
			if found || err != nil {
				return found, err
			}
		}
	}
	return false, nil
}

// seek says what cdb_seek.c says of a key, in a broken file too: there the
// answer hangs on what has to be read to find it. Positions wrap at 32 bits,
// as they do there.
func seek(cdb, key string) (bool, error) {
	h := cdbfile.Hash([]byte(key))
	at, slots, err := pair(cdb, h%256*8)
	if err != nil || slots == 0 {
		return false, err
	}
	slot := (h >> 8) % slots
	for range slots {
		hash, pos, err := pair(cdb, at+8*slot)
		if err != nil || pos == 0 {
			return false, err
		}
		if hash == h {
			size, _, err := pair(cdb, pos)
			if err != nil {
				return false, err
			}
			if uint64(size) == uint64(len(key)) {
				same, err := match(cdb, uint64(pos)+8, key)
				if same || err != nil {
					return same, err
				}
			}
		}
		if slot++; slot == slots {
			slot = 0
		}
	}
	return false, nil
}

// pair reads two numbers.
func pair(cdb string, at uint32) (x, y uint32, err error) {
	if uint64(at)+8 > uint64(len(cdb)) {
		return 0, 0, ErrMorercpthosts
	}
	b := []byte(cdb[at:][:8])
	return binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), nil
}

// match compares a key in steps of 32 bytes, each of which has to be there.
func match(cdb string, at uint64, key string) (bool, error) {
	for key != "" {
		n := min(len(key), 32)
		if at+uint64(n) > uint64(len(cdb)) {
			return false, ErrMorercpthosts
		}
		if cdb[at:][:n] != key[:n] {
			return false, nil
		}
		at, key = at+uint64(n), key[n:]
	}
	return true, nil
}
