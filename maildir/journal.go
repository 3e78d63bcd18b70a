package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// JournalName is the file in a Maildir's root that records what imports did
// there. It may be removed when a move is over; before that, removing it makes
// messages come back that their readers have deleted.
//
// Each line ends in a checksum. After the first, which names the version:
//
//	I GROUP TIME FOLDER ID SUB NAME   a file under tmp/ of FOLDER, whose data are on
//	                                  the disk, is about to become SUB/NAME. It is
//	                                  called as the base of NAME where that has the
//	                                  ID in it, else 0.RID.qmailkit,S=0
//	A GROUP ID                        this intent of GROUP is void: its file was gone
//	D GROUP                           all else of GROUP is done
//	W ID                              the message is about to be taken back
//	X ID                              the message was taken back: it may come again
//	R TIME FOLDER ID SUB NAME         the message is about to be given other flags, or
//	                                  another folder, by an import
//	F TIME FOLDER ID SUB NAME         it was given them
//	S FOLDER FILE SUM                 the file beside the messages was brought, with
//	                                  contents of that checksum
//
// Bytes of names that are not printable ASCII, and "%", stand as %XX.
const JournalName = "qmailkit-journal"

const (
	journalVersion = "qmailkit-journal 1"
	maxJournalLine = 4096
	// A journal lies where its user can write. One of this size, with so many
	// intents that no group has ended, or with such group numbers is no import's.
	maxJournal   = 8 << 30
	maxPending   = 1 << 20
	maxGroup     = 1 << 62
	journalProbs = 100 // damaged lines that are reported one by one
	// abandonAfter is the age at which others clean tmp/ (maildir(5)): an
	// older intent whose file is nowhere may have lost it to them.
	abandonAfter = 36 * time.Hour
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendLine adds one line of the journal with its checksum.
func appendLine(b []byte, text string) []byte {
	sum := crc32.Checksum([]byte(text), castagnoli)
	b = append(b, text...)
	return fmt.Appendf(b, " %08x\n", sum)
}

// A record is one line of the journal.
type record struct {
	kind   byte // 'I', 'A', 'D', 'R', 'F', 'W', 'X' or 'S'
	group  uint64
	time   int64
	folder string
	id     ID
	cur    bool
	name   Name
	side   string // file of an 'S', whose id is the checksum
}

func (r *record) text() string {
	sub := "new"
	if r.cur {
		sub = "cur"
	}
	switch r.kind {
	case 'I':
		return fmt.Sprintf("I %d %d %s %s %s %s", r.group, r.time, escape(r.folder), r.id, sub, escape(r.name.String()))
	case 'R', 'F':
		return fmt.Sprintf("%c %d %s %s %s %s", r.kind, r.time, escape(r.folder), r.id, sub, escape(r.name.String()))
	}
	switch r.kind {
	case 'A':
		return fmt.Sprintf("A %d %s", r.group, r.id)
	case 'W', 'X':
		return fmt.Sprintf("%c %s", r.kind, r.id)
	case 'S':
		return fmt.Sprintf("S %s %s %s", escape(r.folder), escape(r.side), r.id)
	}
	return fmt.Sprintf("D %d", r.group)
}

// place sums up where a record says the message stands.
func (r *record) place() uint32 {
	return placeSum(r.folder, r.cur, r.name.Flags())
}

// placeSum is what the import's wish for a message comes to, in 32 bits.
func placeSum(folder string, cur bool, f Flags) uint32 {
	s := uint64(f) << 1
	if cur {
		s |= 1
	}
	b := strconv.AppendUint(make([]byte, 0, 64), s, 16)
	return crc32.Checksum(append(append(b, ' '), folder...), castagnoli)
}

// parseRecord reads a line without its checksum. The journal lies in a
// directory that its user can write: nothing in it is believed unseen.
func parseRecord(text string) (record, error) {
	f := strings.Split(text, " ")
	var r record
	var err error
	bad := errors.New("malformed record")
	number := func(s string) uint64 {
		n, e := strconv.ParseUint(s, 10, 63)
		err = errors.Join(err, e)
		return n
	}
	switch {
	case len(f) == 2 && f[0] == "D":
		r.kind = 'D'
		r.group = number(f[1])
		return r, err
	case len(f) == 2 && (f[0] == "W" || f[0] == "X"):
		r.kind = f[0][0]
		id, ok := parseID(f[1])
		if r.id = id; !ok {
			return r, bad
		}
		return r, nil
	case len(f) == 3 && f[0] == "A":
		r.kind = 'A'
		r.group = number(f[1])
		id, ok := parseID(f[2])
		if r.id = id; !ok {
			return r, bad
		}
		return r, err
	case len(f) == 4 && f[0] == "S":
		return parseSide(f)
	case len(f) == 7 && f[0] == "I":
		r.kind = 'I'
		r.group = number(f[1])
		f = f[2:]
	case len(f) == 6 && (f[0] == "R" || f[0] == "F"):
		r.kind = f[0][0]
		f = f[1:]
	default:
		return r, bad
	}
	r.time = int64(number(f[0]))
	var ok [3]bool
	r.folder, ok[0] = unescape(f[1])
	r.id, ok[1] = parseID(f[2])
	var name string
	name, ok[2] = unescape(f[4])
	if err != nil || !ok[0] || !ok[1] || !ok[2] || f[3] != "new" && f[3] != "cur" {
		return r, bad
	}
	if _, fine := FolderLevels(r.folder, UTF8); !fine {
		return r, bad
	}
	r.cur = f[3] == "cur"
	if r.name, err = ParseName(name); err != nil {
		return r, bad
	}
	return r, nil
}

// parseSide reads an 'S'.
func parseSide(f []string) (r record, err error) {
	var ok [3]bool
	r.kind = 'S'
	r.folder, ok[0] = unescape(f[1])
	r.side, ok[1] = unescape(f[2])
	r.id, ok[2] = parseID(f[3])
	if !ok[0] || !ok[1] || !ok[2] || strings.ContainsAny(r.side, "/\x00") {
		return r, errors.New("malformed record")
	}
	if _, fine := FolderLevels(r.folder, UTF8); !fine {
		return r, errors.New("malformed record")
	}
	return r, nil
}

func escape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func unescape(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, s != ""
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), b.Len() > 0
}

// known is what is kept in memory of a message in the journal: 28 bytes.
type known struct {
	id    ID
	place uint32 // placeSum of what the import made last
	// line is the number of the journal's byte where its last record begins,
	// cut to 40 bits; a journal of a terabyte is none.
	lineHi uint8
	gone   bool // taken back: it may be delivered again
	_      [2]byte
	lineLo uint32
}

func (k *known) line() int64 { return int64(k.lineHi)<<32 | int64(k.lineLo) }

func (k *known) set(r *record, off int64) {
	k.id, k.place, k.lineHi, k.lineLo = r.id, r.place(), uint8(off>>32), uint32(off)
}

// A journal is the open journal of one Maildir.
type journal struct {
	dir     *safefs.Dir
	f       *os.File
	opts    *Options
	size    int64   // bytes that are good
	done    []known // sorted by id
	pending []record
	moving  map[ID]record  // were about to get another place, perhaps did
	taking  map[ID]bool    // were about to be taken back, perhaps were
	sides   map[sideKey]ID // what files beside the messages were brought as
	group   uint64         // last group number used
	look    bool           // only looked at: nothing is mended
	fresh   bool           // made by this open
	dirty   bool           // has lines that are not synced
}

// openJournal opens the journal in dir; a missing one is made when there is
// something to write. It refuses a link, a FIFO and a file with more than one
// name, which a user could have put there to make root write into it.
func openJournal(dir *safefs.Dir, o *Options) (*journal, []qmailkit.Problem, error) {
	j := &journal{dir: dir, opts: o}
	f, err := dir.OpenWrite(JournalName, o.Owner.UID)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	j.f = f
	probs, err := j.read()
	if err != nil {
		f.Close()
		return nil, probs, err
	}
	return j, probs, nil
}

// create makes a journal of one line, whole or not at all.
func (j *journal) create() error {
	first := appendLine(nil, journalVersion)
	err := j.dir.WriteFile(JournalName, safefs.Replacement{
		Mode: j.opts.FileMode, Owner: j.opts.owner(), Undurable: true, Temp: "." + JournalName,
	}, first)
	if err != nil {
		return err
	}
	if j.f, err = j.dir.OpenWrite(JournalName, j.opts.Owner.UID); err != nil {
		return err
	}
	j.size = int64(len(first))
	j.fresh = true
	_, err = j.f.Seek(j.size, io.SeekStart)
	return err
}

// maxSides is far more than a Maildir has of files that are carried.
const maxSides = 1 << 20

// side notes an 'S'.
func (j *journal) side(r *record) {
	if j.sides == nil {
		j.sides = map[sideKey]ID{}
	}
	if len(j.sides) < maxSides {
		j.sides[sideKey{r.folder, r.side}] = r.id
	}
}

// find looks a message up among those that are done.
func (j *journal) find(id ID) *known {
	i, ok := slices.BinarySearchFunc(j.done, id, func(k known, id ID) int { return bytes.Compare(k.id[:], id[:]) })
	if !ok {
		return nil
	}
	return &j.done[i]
}

// append writes lines; sync makes them durable.
func (j *journal) append(lines []byte) error {
	if j.f == nil {
		if err := j.create(); err != nil {
			return err
		}
	}
	n, err := j.opts.hook.Write(j.f, JournalName, lines)
	j.dirty = true
	if err != nil {
		return err
	}
	j.size += int64(n)
	return nil
}

func (j *journal) sync() error {
	if !j.dirty {
		return nil
	}
	if j.opts.hook != nil {
		if err := j.opts.hook("sync", JournalName); err != nil {
			return err
		}
	}
	if err := j.f.Sync(); err != nil {
		return err
	}
	if j.fresh {
		if err := j.dir.Sync(); err != nil {
			return err
		}
		j.fresh = false
	}
	j.dirty = false
	return nil
}

// synced notes that a sync of the whole file system covered the journal.
func (j *journal) synced() { j.fresh, j.dirty = false, false }

func (j *journal) close() error {
	if j.f == nil {
		return nil
	}
	return j.f.Close()
}

// reload reads the journal again after recovery has ended its intents.
func (j *journal) reload() error {
	j.done, j.pending, j.moving, j.taking = nil, nil, nil, nil
	if _, err := j.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := j.read()
	return err
}
