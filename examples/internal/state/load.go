//go:build unix

package state

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A Store's file is text:
//
//	qmailkit-state 1
//	CCCCCCCC BATCH LEFT {"key":"...","value":...}
//
// CCCCCCCC is the CRC-32C of the rest of its line in hex. The records of one
// Append share a BATCH number, which grows; LEFT counts how many of the batch
// follow. A batch is begun only when the one before it is on the disk. So a
// bad line in the last batch is what a crash leaves, before anybody was told
// that the batch is kept: the whole batch never was. A bad line before that is
// damage, and is told.
const header = "qmailkit-state 1\n"

// ErrFormat says that a file is not a Store, or one of a later version.
var ErrFormat = errors.New("not a state file of a version that is known here")

const (
	maxLine     = 4 << 20   // bytes of one line
	maxLive     = 256 << 20 // bytes of keys and values held in memory
	maxProblems = 20        // damaged places that are told one by one
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Record is one key with its latest value. A nil Value takes the key away.
type Record struct {
	Key   string // any bytes
	Value json.RawMessage
}

// stored is the JSON form of a Record.
type stored struct {
	Key   jsonl.Bytes     `json:"key"`
	Value json.RawMessage `json:"value"`
}

// entry is a line that is well-formed.
type entry struct {
	batch, left uint64
	rec         Record
}

// appendBatch writes records as the lines of one batch.
func appendBatch(to []byte, batch uint64, recs []Record) ([]byte, error) {
	for i, r := range recs {
		var b bytes.Buffer
		fmt.Fprintf(&b, "%d %d ", batch, len(recs)-1-i)
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(stored{jsonl.Bytes(r.Key), r.Value}); err != nil {
			return nil, fmt.Errorf("record of %q: %w", r.Key, err)
		}
		body := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
		if len(body)+10 > maxLine {
			return nil, fmt.Errorf("record of %q: %w: %d bytes", r.Key, safefs.ErrTooBig, len(body))
		}
		to = fmt.Appendf(to, "%08x %s\n", crc32.Checksum(body, castagnoli), body)
	}
	return to, nil
}

// parse reads one line without its newline.
func parse(line []byte) (e entry, err error) {
	sum, body, ok := bytes.Cut(line, []byte(" "))
	if !ok || len(sum) != 8 {
		return e, errors.New("no checksum")
	}
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if err != nil || crc32.Checksum(body, castagnoli) != uint32(want) {
		return e, errors.New("wrong checksum")
	}
	batch, body, _ := bytes.Cut(body, []byte(" "))
	left, body, _ := bytes.Cut(body, []byte(" "))
	if e.batch, err = strconv.ParseUint(string(batch), 10, 64); err != nil || e.batch == 0 {
		return e, errors.New("no batch number")
	}
	if e.left, err = strconv.ParseUint(string(left), 10, 64); err != nil {
		return e, errors.New("no count of the records that follow")
	}
	var s stored
	if err := json.Unmarshal(body, &s); err != nil {
		return e, err
	}
	e.rec = Record{Key: string(s.Key)}
	if !bytes.Equal(s.Value, []byte("null")) {
		e.rec.Value = s.Value
	}
	return e, nil
}

// loader reads a Store's file.
type loader struct {
	path     string
	live     map[string]json.RawMessage
	size     int64 // of live, see weight
	held     int64 // of pending, likewise
	lines    int   // that hold records
	problems []qmailkit.Problem
	hidden   int // problems beyond maxProblems

	// The batch that is being read. It takes effect when it is known to have
	// been on the disk.
	batch   uint64 // 0: not known yet
	next    uint64 // LEFT of the line that should follow
	pending []Record
	bad     []qmailkit.Problem // its bad lines
	start   int64              // offset of its first line
	whole   bool               // LEFT has come to 0

	last uint64 // the greatest batch number
	end  int64  // offset behind the last batch that took effect
}

// load reads all lines. The error is one of reading, or that there is too much
// in the file: what is wrong with single lines is in the problems.
func (l *loader) load(r io.Reader) error {
	br := bufio.NewReaderSize(r, 64<<10)
	first := make([]byte, len(header))
	n, err := io.ReadFull(br, first)
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		if string(first[:n]) != header[:n] {
			return fmt.Errorf("%s: %w", l.path, ErrFormat)
		}
		return nil // it never held anything
	case err != nil:
		return err
	case string(first) != header:
		return fmt.Errorf("%s: %w", l.path, ErrFormat)
	}
	at := int64(len(header))
	l.whole = true
	for number := 2; ; number++ {
		line, n, err := readLine(br)
		if err != nil && err != io.EOF {
			return err
		}
		if n == 0 {
			return l.finish(at)
		}
		e, perr := entry{}, errors.New("line is cut off")
		switch {
		case err == io.EOF: // no newline
		case line == nil:
			perr = fmt.Errorf("line has more than %d bytes", maxLine)
		default:
			e, perr = parse(line)
		}
		if perr != nil {
			l.spoilt(perr, number, at)
		} else {
			l.add(e, number, at)
		}
		if l.size+l.held > maxLive {
			return fmt.Errorf("%s: %w: more than %d bytes of records", l.path, safefs.ErrTooBig, maxLive)
		}
		at += n
	}
}

// readLine returns a line without its newline, and the bytes that it took. A
// line that is too long is read over and nil. The error io.EOF comes with the
// rest that has no newline.
func readLine(br *bufio.Reader) (line []byte, n int64, err error) {
	for long := false; ; {
		part, err := br.ReadSlice('\n')
		n += int64(len(part))
		if long = long || len(line)+len(part) > maxLine; long {
			line = nil
		} else {
			line = append(line, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
		case err != nil:
			return line, n, err
		case long:
			return nil, n, nil
		default:
			return line[:len(line)-1], n, nil
		}
	}
}

// spoilt notes a bad line. Behind a whole batch it is the first of the next.
func (l *loader) spoilt(err error, line int, at int64) {
	if l.whole {
		l.settle(at)
		l.begin(0, at)
	}
	if len(l.bad) > maxProblems {
		return // enough to know
	}
	l.bad = append(l.bad, l.damage(err, line, at))
}

// add takes a good line.
func (l *loader) add(e entry, line int, at int64) {
	fresh := l.whole || l.batch != 0 && l.batch != e.batch
	if fresh {
		if !l.whole && len(l.bad) == 0 {
			l.bad = append(l.bad, l.damage(fmt.Errorf("batch %d lacks its end", l.batch), line, at))
		}
		l.settle(at)
		l.begin(e.batch, at)
	}
	if fresh && e.batch <= l.last {
		l.tell(l.damage(fmt.Errorf("batch %d follows batch %d", e.batch, l.last), line, at))
	}
	if !fresh && len(l.bad) == 0 && e.left != l.next {
		l.bad = append(l.bad, l.damage(fmt.Errorf("batch %d lacks a line", e.batch), line, at))
	}
	l.batch, l.last = e.batch, max(l.last, e.batch)
	l.whole = e.left == 0
	l.next = e.left - 1
	l.lines++
	l.held += weight([]Record{e.rec})
	l.pending = append(l.pending, e.rec)
}

func (l *loader) begin(batch uint64, at int64) {
	l.batch, l.start, l.whole = batch, at, false
}

// settle lets the batch take effect that has been read up to at: another
// follows it, so it was on the disk, and its bad lines are damage.
func (l *loader) settle(at int64) {
	l.end = at
	for _, p := range l.bad {
		l.tell(p)
	}
	l.size += apply(l.live, l.pending)
	l.held = 0
	l.pending, l.bad = nil, nil
}

// finish decides on the last batch; at is the end of the file.
func (l *loader) finish(at int64) error {
	if l.whole && len(l.bad) == 0 {
		l.settle(at)
	} else {
		p := l.damage(errors.New("what a run was writing when it was stopped is left out"), 0, l.start)
		p.Code, p.Severity, p.Fix = "state.torn-tail", qmailkit.Info, ""
		l.problems = append(l.problems, p)
		l.pending, l.bad = nil, nil
	}
	if l.hidden > 0 {
		l.problems = append(l.problems, l.damage(fmt.Errorf("%d more places are damaged", l.hidden), 0, 0))
	}
	return nil
}

func (l *loader) tell(p qmailkit.Problem) {
	if len(l.problems) >= maxProblems {
		l.hidden++
		return
	}
	l.problems = append(l.problems, p)
}

func (l *loader) damage(err error, line int, at int64) qmailkit.Problem {
	return qmailkit.Problem{
		Code: "state.damaged", Severity: qmailkit.Error, Path: l.path, Line: line, Offset: at, Err: err,
		Fix: "what it said about one thing is not known any more; check what the run says about that",
	}
}
