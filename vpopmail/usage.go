//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/maildir"
)

// A Usage is what a user's Maildir holds against his quota, as vuserinfo sees
// it. The zero value is that of an account without a limit.
type Usage struct {
	// Bytes and Messages are unsigned for vpopmail: a maildirsize whose lines
	// add up to less than nothing says very much.
	Bytes, Messages uint64
	// Percent is the larger of both parts, rounded down; 100 where Over.
	Percent int
	// Over says that one of the limits is exceeded; to reach it is allowed.
	Over bool
	// Counted says that the messages were counted, else maildirsize was
	// believed.
	Counted bool
}

// Usage says how full a user's Maildir is, and writes nothing: vuserinfo
// writes maildirsize anew where it does not believe it. Nothing is looked at
// where there is no limit. A user without a Maildir uses nothing.
//
// maildirsize is believed if it has fewer than 5120 bytes and is at most 15
// minutes old, and what it says is not over the quota; or if it is over the
// quota with one line of sums and is younger than that (maildirquota.c:
// docheckquota). Else the messages are counted: see maildir.Dir.Usage.
func (s *Store) Usage(ctx context.Context, d *Domain, u *User) (Usage, error) {
	quota := ClassicQuota(u.Quota)
	if quota == "" || quota == NoQuota || !strings.HasPrefix(u.Dir, "/") {
		return Usage{}, context.Cause(ctx)
	}
	root, name, err := s.place(u.Dir + "/Maildir")
	if err != nil {
		return Usage{}, err
	}
	dir, err := safefs.OpenDir(root, name, s.o.hook)
	if errors.Is(err, fs.ErrNotExist) {
		return Usage{}, nil
	}
	if err != nil {
		return Usage{}, err
	}
	size, err := readMaildirsize(dir, s.owner(d.UID, d.GID).UID)
	dir.Close()
	if err != nil {
		return Usage{}, err
	}
	if use, ok := size.believe(quota, s.o.Now()); ok {
		return use, nil
	}
	return countUsage(ctx, root, name, quota)
}

// countUsage counts the messages of a Maildir.
func countUsage(ctx context.Context, root *os.Root, name, quota string) (Usage, error) {
	md, err := maildir.OpenRoot(root, name, nil)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, maildir.ErrNotMaildir) {
		return Usage{Counted: true}, nil
	}
	if err != nil {
		return Usage{}, err
	}
	defer md.Close()
	bytes, messages, err := md.Usage(ctx)
	if err != nil {
		return Usage{}, err
	}
	use := Usage{Bytes: uint64(bytes), Messages: uint64(messages), Counted: true}
	use.Percent, use.Over = quotaPercent(use.Bytes, use.Messages, quota)
	return use, nil
}

// RecountQuota counts what a user's Maildir holds and writes maildirsize as
// vsetuserquota leaves it: the quota of the record and one line of sums, or no
// file where there is no limit. A file that is there keeps its mode; a new one
// has 0600. A user without a Maildir has nothing to count.
func (s *Store) RecountQuota(ctx context.Context, d *Domain, u *User) error {
	root, name, err := s.place(u.Dir + "/Maildir")
	if err != nil {
		return err
	}
	o := s.Owner(d.UID, d.GID)
	md, err := maildir.OpenRoot(root, name, &maildir.Options{Owner: &maildir.Owner{UID: o.UID, GID: o.GID}})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, maildir.ErrNotMaildir) {
		return nil
	}
	if err != nil {
		return err
	}
	defer md.Close()
	return md.RebuildQuota(ctx, u.Quota)
}

const (
	// maxMaildirsize and maildirsizeAge are what Maildir++ believes at most.
	maxMaildirsize = 5120
	maildirsizeAge = 15 * 60 // seconds
)

// A maildirsize is the file as vpopmail reads it (maildirquota.c:
// maildirsize_read).
type maildirsize struct {
	exists bool
	size   int64     // of the file
	time   time.Time // of its last change

	limit           string // first line
	bytes, messages uint64 // sums modulo 2^64 of the others
	lines           int    // of sums
}

// readMaildirsize reads the maildirsize of an open Maildir. A missing one is no
// error. Of one that is too large for anybody only the size is told.
func readMaildirsize(dir *safefs.Dir, uid int) (maildirsize, error) {
	f, err := again(func() (*os.File, error) {
		return dir.OpenPlain(maildir.QuotaName, safefs.Expect{Owned: true, UID: uid})
	})
	if errors.Is(err, fs.ErrNotExist) {
		return maildirsize{}, nil
	}
	if err != nil {
		return maildirsize{}, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return maildirsize{}, err
	}
	m := maildirsize{exists: true, size: fi.Size(), time: fi.ModTime()}
	if m.size >= maxMaildirsize {
		return m, nil
	}
	b, err := io.ReadAll(io.LimitReader(f, maxMaildirsize))
	if err != nil {
		return maildirsize{}, err
	}
	m.size = int64(len(b))
	m.parse(string(b))
	return m, nil
}

// parse sums the lines up. A NUL ends the file, as a C string.
func (m *maildirsize) parse(text string) {
	text, _, _ = strings.Cut(text, "\x00")
	first := true
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if first {
			m.limit, first = line, false
			continue
		}
		n, rest, ok := scanUnsigned(line)
		c := uint64(0)
		if ok {
			c, _, _ = scanUnsigned(rest)
		}
		m.bytes, m.messages, m.lines = m.bytes+n, m.messages+c, m.lines+1
	}
}

// negative says that the sums are less than nothing, as far as that shows.
func (m *maildirsize) negative() bool { return int64(m.bytes) < 0 || int64(m.messages) < 0 }

// scanUnsigned reads a number as scanf's %llu does: blanks, a sign, digits. A
// negative number is taken modulo 2^64, one too large is the largest.
func scanUnsigned(s string) (n uint64, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	negative := strings.HasPrefix(s, "-")
	if negative || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	digits, rest := splitQuota(s)
	if digits == "" {
		return 0, rest, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return math.MaxUint64, rest, true
	}
	if negative {
		n = -n
	}
	return n, rest, true
}

// believe says what the file says of a quota, if vpopmail would believe it.
func (m *maildirsize) believe(quota string, now time.Time) (Usage, bool) {
	age := now.Unix() - m.time.Unix()
	if !m.exists || m.size >= maxMaildirsize || age > maildirsizeAge {
		return Usage{}, false
	}
	use := Usage{Bytes: m.bytes, Messages: m.messages}
	use.Percent, use.Over = quotaPercent(m.bytes, m.messages, quota)
	return use, !use.Over || m.lines == 1 && age < maildirsizeAge
}

// quotaPercent says how much of a quota is used, and whether it is exceeded
// (maildirquota.c:qcalc). A number with a C behind it counts messages, any
// other bytes. Products wrap, and the result is a C int, as there.
func quotaPercent(bytes, messages uint64, quota string) (percent int, over bool) {
	var ofBytes, ofMessages int
	for quota != "" {
		if quota[0] < '0' || quota[0] > '9' {
			quota = quota[1:]
			continue
		}
		limit := uint64(0)
		for quota != "" && quota[0] >= '0' && quota[0] <= '9' {
			limit = limit*10 + uint64(quota[0]-'0')
			quota = quota[1:]
		}
		used, to := bytes, &ofBytes
		if strings.HasPrefix(quota, "C") {
			used, to = messages, &ofMessages
		}
		switch {
		case limit < used:
			return 100, true
		case limit == 0:
			*to = 100
		default:
			*to = int(int32(used * 100 / limit))
		}
	}
	return max(ofBytes, ofMessages), false
}
