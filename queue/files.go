//go:build unix

package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
)

// path is the file of the message in p: that in its place if there is one, and
// the place where there is none at all.
func (m *Message) path(p Part) string {
	if !m.placed.Has(p) {
		for _, x := range m.extras {
			if x.part == p {
				return x.path
			}
		}
	}
	return m.q.layout.Path(p, m.ID)
}

// Paths are the files of the message in p, relative to the queue, ascending.
// There is one, in its place, or none; but a damaged queue may hold several, and
// in other places.
func (m *Message) Paths(p Part) []string {
	var all []string
	if m.placed.Has(p) {
		all = append(all, m.q.layout.Path(p, m.ID))
	}
	for _, x := range m.extras {
		if x.part == p {
			all = append(all, x.path)
		}
	}
	slices.Sort(all)
	return all
}

// Misplaced says that there are files of the message where qmail will not find
// them.
func (m *Message) Misplaced() bool { return len(m.extras) > 0 }

// ModTime is when the file of the message in p, one of info, local, remote,
// todo and intd, was last changed; zero where it was not read.
func (m *Message) ModTime(p Part) time.Time {
	if p < numParts {
		return m.files[p].time
	}
	return time.Time{}
}

// Next is the time of NextLocal and NextRemote that comes first, or zero.
func (m *Message) Next() time.Time {
	if m.NextLocal.IsZero() || !m.NextRemote.IsZero() && m.NextRemote.Before(m.NextLocal) {
		return m.NextRemote
	}
	return m.NextLocal
}

// Open opens the message file, with the Received line of qmail-queue at its
// top. It may be gone meanwhile.
func (m *Message) Open() (*os.File, error) { return m.q.openFile(m.path(Mess)) }

// OpenBounce opens the failures noted for the sender: paragraphs that begin
// with a recipient in angle brackets (qmail-send.c, addbounce).
func (m *Message) OpenBounce() (*os.File, error) { return m.q.openFile(m.path(Bounce)) }

// Records yields the records of the file of the message in p, one of info,
// local, remote, todo and intd; nothing where there is none. Data is valid until
// the next one only. A file that is longer than a few kilobytes is read again,
// so that what it says may have changed.
func (m *Message) Records(p Part) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if !m.Parts.Has(p) {
			return
		}
		r, err := m.reader(p)
		if err != nil {
			yield(Record{}, qmailkit.Incomplete(err))
			return
		}
		defer r.Close()
		for recs := NewRecords(r); ; {
			rec, err := recs.Next()
			if err == io.EOF {
				return
			} else if err != nil {
				yield(Record{}, qmailkit.Incomplete(err))
				return
			}
			if !yield(rec, nil) {
				return
			}
		}
	}
}

// reader reads a file of the envelope from what is kept of it, or else opens it.
func (m *Message) reader(p Part) (io.ReadCloser, error) {
	if m.kept(p) {
		return io.NopCloser(strings.NewReader(m.files[p].data)), nil
	}
	return m.q.openFile(m.path(p))
}

// kept says that all of a file is in memory.
func (m *Message) kept(p Part) bool {
	c := &m.files[p]
	return !c.time.IsZero() && int64(len(c.data)) == c.size
}

// Recipients yields the recipients: of a preprocessed message those of local and
// then of remote, of one that is queued those of todo, and otherwise those of
// intd, which were not yet accepted.
//
// An error that is a *RecordError concerns one record, and the next ones come
// all the same. qmail-qread passes over such a record; but qmail-send goes no
// further than to one of an unknown kind, tries no recipient behind it, and does
// not preprocess the message at all if it is in todo. After a thousand bad records
// the rest of the file is left out, with an error that wraps
// qmailkit.ErrIncomplete too.
func (m *Message) Recipients() iter.Seq2[Recipient, error] {
	return func(yield func(Recipient, error) bool) {
		switch {
		case m.Parts.Has(Todo):
			m.recipients(Todo, Unrouted, yield)
		case m.Parts.Has(Local) || m.Parts.Has(Remote) || m.Parts.Has(Info):
			_ = m.recipients(Local, ToLocal, yield) && m.recipients(Remote, ToRemote, yield)
		default:
			m.recipients(Intd, Unrouted, yield)
		}
	}
}

// recipients yields those of one file, and says whether to go on.
func (m *Message) recipients(p Part, c Channel, yield func(Recipient, error) bool) bool {
	if m.Parts.Has(p) && m.kept(p) {
		return m.keptRecipients(p, c, yield)
	}
	bad := badRecords{path: m.path(p)}
	for rec, err := range m.Records(p) {
		if err != nil {
			yield(Recipient{}, err)
			return false
		}
		r, is, err := recipient(string(rec.Data), rec.Offset, c)
		if wrong := rec.problem(); wrong != nil {
			is, err = true, wrong
		}
		err = bad.at(rec.Offset, err)
		if is && !yield(r, err) || errors.Is(err, errManyBad) {
			return false
		}
	}
	return true
}

// badRecords counts the bad records of a file and gives up on it when they are
// too many.
type badRecords struct {
	path string
	n    int
}

func (b *badRecords) at(off int64, err error) error {
	if err == nil {
		return nil
	}
	if b.n++; b.n > maxBad {
		return qmailkit.Incomplete(&RecordError{b.path, off, errManyBad})
	}
	return &RecordError{b.path, off, err}
}

// keptRecipients does the same for what is in memory, where no byte needs to be
// copied. Nothing there is too long for a Record.
func (m *Message) keptRecipients(p Part, c Channel, yield func(Recipient, error) bool) bool {
	rest := m.files[p].data
	bad := badRecords{path: m.path(p)}
	for off := int64(0); rest != ""; {
		text, next, ended := strings.Cut(rest, "\x00")
		r, is, err := recipient(text, off, c)
		if !ended {
			is, err = true, fmt.Errorf("%w: %s", ErrCut, quoteShort([]byte(text)))
		}
		err = bad.at(off, err)
		if is && !yield(r, err) || errors.Is(err, errManyBad) {
			return false
		}
		off += int64(len(text)) + 1
		rest = next
	}
	return true
}

// recipient reads the text of one record; is says whether it concerns a
// recipient.
func recipient(text string, off int64, c Channel) (r Recipient, is bool, err error) {
	kind := byte(0)
	if text != "" {
		kind = text[0]
	}
	switch {
	case kind == 'T', kind == 'D' && c != Unrouted:
		return Recipient{Channel: c, Done: kind == 'D', Address: text[1:], Offset: off}, true, nil
	case c == Unrouted && (kind == 'u' || kind == 'p' || kind == 'F'):
		return Recipient{}, false, nil
	}
	return Recipient{Channel: c, Offset: off}, true, fmt.Errorf("%w: %s", ErrRecord, quoteShort([]byte(text)))
}

// MaxHeader bounds what Header reads of a message.
const MaxHeader = 1 << 20

// Header reads the header of the message, as it is: up to the first empty line,
// or to MaxHeader. It is the caller's to decide what an odd one means.
func (m *Message) Header() (*Header, error) {
	f, err := m.Open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h, err := ReadHeader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.path(Mess), err)
	}
	return h, nil
}

// ReadHeader reads a header from the start of a message.
func ReadHeader(r io.Reader) (*Header, error) {
	var b bytes.Buffer
	buf := make([]byte, 4<<10)
	for b.Len() < MaxHeader {
		n, err := r.Read(buf[:min(len(buf), MaxHeader-b.Len())])
		from := max(0, b.Len()-3)
		b.Write(buf[:n])
		if end := headerEnd(b.Bytes(), from); end >= 0 {
			b.Truncate(end)
			break
		}
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
	}
	return &Header{raw: b.Bytes()}, nil
}
