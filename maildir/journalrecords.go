package maildir

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"iter"
	"slices"
)

// recorded reads the record that k came from.
func (j *journal) recorded(k *known) (record, error) {
	p := page{j: j, buf: make([]byte, maxJournalLine)}
	return p.record(k)
}

// records yields those of all messages that are done, in the order in which
// they stand in the journal: most lie in the page that was read last.
func (j *journal) records() iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		order := make([]*known, len(j.done))
		for i := range j.done {
			order[i] = &j.done[i]
		}
		slices.SortFunc(order, func(a, b *known) int { return cmp.Compare(a.line(), b.line()) })
		p := page{j: j, buf: make([]byte, 16*maxJournalLine)}
		for _, k := range order {
			if r, err := p.record(k); !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// A page is a part of the journal in memory.
type page struct {
	j    *journal
	buf  []byte
	have []byte // of buf
	off  int64  // where have begins in the journal
}

func (p *page) record(k *known) (record, error) {
	line, ok := p.line(k.line())
	if !ok {
		n, err := p.j.f.ReadAt(p.buf, k.line())
		if err != nil && err != io.EOF {
			return record{}, err
		}
		p.have, p.off = p.buf[:n], k.line()
		line, ok = p.line(k.line())
	}
	if ok {
		if text, good := checkLine(line); good {
			r, err := parseRecord(text)
			if err == nil && r.id == k.id {
				return r, nil
			}
		}
	}
	return record{}, errors.New("maildir: journal changed while it was in use")
}

// line gives the line that begins at off, if all of it is here.
func (p *page) line(off int64) ([]byte, bool) {
	if off < p.off || off >= p.off+int64(len(p.have)) {
		return nil, false
	}
	rest := p.have[off-p.off:]
	n := bytes.IndexByte(rest, '\n') + 1
	return rest[:n], n > 0
}
