//go:build unix

package queue

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// ErrJournal says that the record of an interrupted change cannot be read. The
// files that it had taken aside are in lock/qmailkit, named after their places.
var ErrJournal = errors.New("record of an interrupted change is damaged")

// journalHead is the first line of a journal, with its version.
const journalHead = "qmailkit queue 1\n"

// maxJournal bounds a journal: 100 bytes each for some ten million files.
const maxJournal = 1 << 30

// A move takes one file to another place in the queue. The file is known by
// its inode number, which it keeps wherever it goes: so a move can be begun
// again at any moment, and needs no note of how far it got.
type move struct {
	ino      uint64
	from, to string // paths in the queue
}

// staged is the name of the file while it is aside.
func (m move) staged() string { return strings.ReplaceAll(m.to, "/", ".") }

// A journal is the intent of a change: the layout that the queue is to have and
// the files that have to move for it. It is on the disk before the first of
// them moves and until the last one has arrived.
type journal struct {
	layout Layout
	moves  []move
}

// encode writes the journal: a line each, and behind them how many they are and
// a checksum of all before. From may be any bytes, so it is quoted.
func (j *journal) encode() []byte {
	var b bytes.Buffer
	b.WriteString(journalHead)
	fmt.Fprintf(&b, "layout %d %t\n", j.layout.Split, j.layout.BigTodo)
	for _, m := range j.moves {
		fmt.Fprintf(&b, "move %d %s %s\n", m.ino, m.to, strconv.QuoteToASCII(m.from))
	}
	fmt.Fprintf(&b, "end %d %08x\n", len(j.moves), crc32.ChecksumIEEE(b.Bytes()))
	return b.Bytes()
}

// parseJournal reads a journal, which has to be complete: it was put in its
// place by renaming. Nothing is believed that this package would not write, so
// that no journal leads out of the queue.
func parseJournal(b []byte) (*journal, error) {
	bad := func(line int, why string) error {
		return fmt.Errorf("%w: line %d: %s", ErrJournal, line, why)
	}
	if !bytes.HasPrefix(b, []byte(journalHead)) {
		return nil, bad(1, "another version, or no journal")
	}
	j := &journal{}
	n, ended, pos := 1, false, len(journalHead)
	for line := range bytes.Lines(b[pos:]) {
		if n++; ended || line[len(line)-1] != '\n' {
			return nil, bad(n, "text behind the end, or half a line")
		}
		word, rest, _ := strings.Cut(string(line[:len(line)-1]), " ")
		var err error
		switch {
		case word == "layout" && n == 2:
			j.layout, err = parseLayout(rest)
		case word == "move" && n > 2:
			var m move
			if m, err = parseMove(rest, j.layout); err == nil {
				j.moves = append(j.moves, m)
			}
		case word == "end" && n > 2:
			ended = true
			if rest != fmt.Sprintf("%d %08x", len(j.moves), crc32.ChecksumIEEE(b[:pos])) {
				err = errors.New("wrong checksum")
			}
		default:
			err = errors.New("unknown line")
		}
		if err != nil {
			return nil, bad(n, err.Error())
		}
		pos += len(line)
	}
	if !ended {
		return nil, bad(n, "cut off")
	}
	return j, nil
}

func parseLayout(s string) (l Layout, err error) {
	split, big, _ := strings.Cut(s, " ")
	l.Split, err = strconv.Atoi(split)
	l.BigTodo = big == "true"
	if err != nil || l.Split < 1 || l.Split > maxSplit || s != fmt.Sprintf("%d %t", l.Split, l.BigTodo) {
		return Layout{}, errors.New("malformed layout")
	}
	return l, nil
}

func parseMove(s string, l Layout) (m move, err error) {
	ino, rest, _ := strings.Cut(s, " ")
	to, quoted, _ := strings.Cut(rest, " ")
	m.to = to
	m.ino, err = strconv.ParseUint(ino, 10, 64)
	if err == nil {
		m.from, err = strconv.Unquote(quoted)
	}
	if err != nil || s != fmt.Sprintf("%d %s %s", m.ino, m.to, strconv.QuoteToASCII(m.from)) {
		return move{}, errors.New("malformed move")
	}
	if p, id, ok := l.placeOf(m.to); !ok || l.Path(p, id) != m.to {
		return move{}, fmt.Errorf("no file of a message lies at %q", m.to)
	}
	if _, parts := partOf(m.from); parts < 2 || parts > 3 {
		return move{}, fmt.Errorf("no file of a message comes from %q", m.from)
	}
	return m, nil
}

// placeOf reads the path of a message's file.
func (l Layout) placeOf(path string) (Part, ID, bool) {
	p, parts := partOf(path)
	if parts < 2 {
		return 0, 0, false
	}
	_, base := splitPath(path)
	id, err := ParseID(base)
	return p, id, err == nil
}

// partOf tells the part that a path leads into and how many names it has; 0
// where it is no path in a part.
func partOf(path string) (Part, int) {
	names := strings.Split(path, "/")
	for _, n := range names {
		if n == "" || n == "." || n == ".." || strings.IndexByte(n, 0) >= 0 {
			return 0, 0
		}
	}
	for p := range numParts {
		if names[0] == p.String() {
			return p, len(names)
		}
	}
	return 0, 0
}
