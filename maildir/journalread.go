package maildir

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"

	"github.com/qmailkit/qmailkit"
)

// A journalReader goes through a journal.
type journalReader struct {
	j       *journal
	br      *bufio.Reader
	off     int64 // of the next line
	line    int   // number of the last one
	open    map[uint64]*intents
	pending int
	bad     int
	probs   []qmailkit.Problem
}

// intents are those of a group that is not known to be done.
type intents struct {
	list []intent
	void map[ID]bool
}

type intent struct {
	r   record
	off int64
}

// read loads the journal and cuts a torn tail off.
func (j *journal) read() ([]qmailkit.Problem, error) {
	fi, err := j.f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Size() > maxJournal {
		return nil, j.fail(fmt.Errorf("%d bytes are too many for a journal", fi.Size()))
	}
	jr := &journalReader{j: j, br: bufio.NewReaderSize(j.f, maxJournalLine), open: map[uint64]*intents{}}
	for {
		more, err := jr.next()
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
	}
	if jr.bad > len(jr.probs) {
		jr.probs = append(jr.probs, qmailkit.Problem{Code: "maildir.journal-line", Severity: qmailkit.Warning, Path: j.path(),
			Err: fmt.Errorf("%d more damaged lines in the journal are left out", jr.bad-len(jr.probs))})
	}
	if j.size == 0 && !j.look {
		return jr.probs, j.rewrite()
	}
	jr.settle()
	if j.look {
		return jr.probs, nil
	}
	if fi.Size() > j.size { // truncate(2) would touch the file's time in any case
		if err := j.f.Truncate(j.size); err != nil {
			return jr.probs, err
		}
	}
	_, err = j.f.Seek(j.size, io.SeekStart)
	return jr.probs, err
}

func (j *journal) path() string { return j.dir.Name() + "/" + JournalName }

func (j *journal) fail(err error) error {
	return &fs.PathError{Op: "read", Path: j.path(), Err: err}
}

// next takes one line; what stands at the end without a newline was torn off.
func (jr *journalReader) next() (more bool, err error) {
	j := jr.j
	line, err := jr.br.ReadSlice('\n')
	if err == io.EOF {
		// Nothing but the beginning of the first line may be taken away.
		first := appendLine(nil, journalVersion)
		if jr.line == 0 && !bytes.HasPrefix(first, line) && len(bytes.Trim(line, "\x00")) > 0 {
			return false, j.fail(errJournalVersion)
		}
		return false, nil
	}
	if err != nil && err != bufio.ErrBufferFull {
		return false, err
	}
	jr.line++
	here := jr.off
	jr.off += int64(len(line))
	text, ok := checkLine(line)
	if err == bufio.ErrBufferFull {
		ok = false
		n, err := skipLine(jr.br)
		jr.off += n
		if err != nil && err != io.EOF {
			return false, err
		}
	}
	if jr.line == 1 {
		if !ok || text != journalVersion {
			return false, j.fail(errJournalVersion)
		}
		j.size = jr.off
		return true, nil
	}
	var r record
	if ok {
		r, err = parseRecord(text)
		ok = err == nil
	}
	if !ok {
		if jr.bad++; jr.bad <= journalProbs {
			jr.probs = append(jr.probs, qmailkit.Problem{Code: "maildir.journal-line", Severity: qmailkit.Warning, Path: j.path(),
				Line: jr.line, Offset: here, Err: errors.New("damaged line in the journal is left out")})
		}
		return true, nil
	}
	j.size = jr.off
	return true, jr.take(r, here)
}

var errJournalVersion = errors.New("not a journal of a version known here")

// rewrite begins an empty file anew: its making was cut off.
func (j *journal) rewrite() error {
	if err := j.f.Truncate(0); err != nil {
		return err
	}
	if _, err := j.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return j.append(appendLine(nil, journalVersion))
}

func (jr *journalReader) take(r record, off int64) error {
	jr.j.group = max(jr.j.group, r.group)
	if jr.j.group >= maxGroup {
		return jr.j.fail(fmt.Errorf("line %d: group number %d is no import's", jr.line, r.group))
	}
	g := jr.open[r.group]
	switch r.kind {
	case 'S':
		jr.j.side(&r)
	case 'R':
		jr.j.begin(&r)
	case 'F':
		delete(jr.j.moving, r.id)
		jr.j.add(&r, off)
	case 'W':
		jr.j.begin(&r)
	case 'X':
		delete(jr.j.taking, r.id)
		jr.j.add(&r, off)
		jr.j.done[len(jr.j.done)-1].gone = true
	case 'I':
		if g == nil {
			g = &intents{}
			jr.open[r.group] = g
		}
		g.list = append(g.list, intent{r, off})
		if jr.pending++; jr.pending > maxPending {
			return jr.j.fail(fmt.Errorf("more than %d intents are open", maxPending))
		}
	case 'A':
		if g == nil {
			return nil
		}
		if g.void == nil {
			g.void = map[ID]bool{}
		}
		if len(g.void) < len(g.list) {
			g.void[r.id] = true
		}
	case 'D':
		if g == nil {
			return nil
		}
		for _, o := range g.list {
			if !g.void[o.r.id] {
				jr.j.add(&o.r, o.off)
			}
		}
		jr.pending -= len(g.list)
		delete(jr.open, r.group)
	}
	return nil
}

func (j *journal) add(r *record, off int64) {
	var k known
	k.set(r, off)
	j.done = append(j.done, k)
}

// settle sorts what is done, the last record of an ID winning, and keeps the
// open intents for recovery.
func (jr *journalReader) settle() {
	j := jr.j
	slices.SortStableFunc(j.done, func(a, b known) int {
		if c := bytes.Compare(a.id[:], b.id[:]); c != 0 {
			return c
		}
		return cmp.Compare(b.line(), a.line())
	})
	j.done = slices.CompactFunc(j.done, func(a, b known) bool { return a.id == b.id })
	j.done = slices.DeleteFunc(j.done, func(k known) bool { return k.gone })
	j.done = slices.Clip(j.done)
	for _, n := range slices.Sorted(maps.Keys(jr.open)) {
		g := jr.open[n]
		for _, o := range g.list {
			if !g.void[o.r.id] {
				j.pending = append(j.pending, o.r)
			}
		}
	}
}

// checkLine takes the checksum off a line.
func checkLine(line []byte) (string, bool) {
	n := len(line) - 10 // blank, eight digits, newline
	if n < 1 || line[n] != ' ' {
		return "", false
	}
	sum, err := strconv.ParseUint(string(line[n+1:n+9]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(line[:n], castagnoli) {
		return "", false
	}
	return string(line[:n]), true
}

// skipLine reads to the end of a line that is too long to be ours.
func skipLine(br *bufio.Reader) (n int64, err error) {
	for {
		b, err := br.ReadSlice('\n')
		n += int64(len(b))
		if err != bufio.ErrBufferFull {
			return n, err
		}
	}
}
