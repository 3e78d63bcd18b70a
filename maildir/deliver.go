package maildir

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// pathParts yields the parts of a slash-separated name.
func pathParts(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for p := range strings.SplitSeq(name, "/") {
			if p != "" && p != "." && !yield(p) {
				return
			}
		}
	}
}

// A Namer makes unique names as maildir(5) asks: seconds, then microseconds,
// process, counter and 32 random bits, then the host. The zero Namer is ready;
// its fields are for tests.
type Namer struct {
	Host string           // os.Hostname if empty
	PID  int              // os.Getpid if 0
	Now  func() time.Time // time.Now if nil
	Rand io.Reader        // crypto/rand if nil

	count atomic.Uint64
}

// maxHost keeps a name within the 70 bytes that a POP3 UIDL may have.
const maxHost = 24

// Unique makes the unique part of a new name.
func (n *Namer) Unique() (string, error) {
	now, host, pid := time.Now, n.Host, n.PID
	if n.Now != nil {
		now = n.Now
	}
	if host == "" {
		h, err := os.Hostname()
		if err != nil {
			h = "localhost"
		}
		host = h
	}
	if pid == 0 {
		pid = os.Getpid()
	}
	src := n.Rand
	if src == nil {
		src = rand.Reader
	}
	var r [4]byte
	if _, err := io.ReadFull(src, r[:]); err != nil {
		return "", err
	}
	t := now()
	return fmt.Sprintf("%d.M%dP%dQ%dR%s.%s", t.Unix(), t.Nanosecond()/1000, pid, n.count.Add(1), hex.EncodeToString(r[:]), cleanHost(host)), nil
}

// cleanHost writes the bytes that would look like another part of a name in
// octal, as maildir(5) does with "/" and ":".
func cleanHost(h string) string {
	var b strings.Builder
	for i := 0; i < len(h); i++ {
		s := string(h[i])
		switch c := h[i]; {
		case c <= ' ' || c >= 0x7f || c == '/' || c == ':' || c == ',' || c == ';' || c == '!' || c == '\\':
			s = fmt.Sprintf(`\%03o`, c)
		}
		if b.Len()+len(s) > maxHost {
			break
		}
		b.WriteString(s)
	}
	return b.String()
}

// A Delivery is one message on its way in. Write it, then Commit or Cancel.
type Delivery struct {
	d      *Dir
	f      *safefs.File
	unique string
	size   int64
	err    error
}

// Deliver begins a delivery: a file in tmp/ that nobody else has.
func (d *Dir) Deliver() (*Delivery, error) {
	for range 3 {
		u, err := d.opts.Namer.Unique()
		if err != nil {
			return nil, err
		}
		f, err := d.tmp.Create(u, d.opts.FileMode, d.opts.owner())
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return &Delivery{d: d, f: f, unique: u}, nil
	}
	return nil, fmt.Errorf("maildir: no free name in %s", d.tmp.Name())
}

// Write adds to the message, byte for byte.
func (m *Delivery) Write(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	n, err := m.f.Write(p)
	m.size += int64(n)
	m.err = err
	return n, err
}

// Cancel takes the delivery back.
func (m *Delivery) Cancel() {
	if m.f != nil {
		m.f.Abandon()
		m.f = nil
	}
}

// Arrival says how a delivered message appears.
type Arrival struct {
	Flags   Flags
	Cur     bool      // into cur/ although it has no flag
	ModTime time.Time // its arrival; zero is now
}

// Commit makes the message appear: in cur/ if it has flags or is asked there,
// else in new/. The name gets the size as ",S=". When Commit returns without
// an error the message is on the disk. It never replaces a file.
func (m *Delivery) Commit(ctx context.Context, a Arrival) (Entry, error) {
	if m.f == nil {
		return Entry{}, errors.New("maildir: delivery was committed or cancelled")
	}
	e := Entry{Folder: m.d.folder, Cur: a.Cur || a.Flags != 0}
	err := m.err
	if err == nil {
		err = context.Cause(ctx)
	}
	if err == nil && !a.ModTime.IsZero() {
		err = m.f.SetTime(a.ModTime)
	}
	if err == nil {
		err = m.f.Sync()
	}
	if err != nil {
		m.Cancel()
		return Entry{}, err
	}
	f := m.f
	m.f = nil
	if err := f.Close(); err != nil {
		m.d.tmp.Remove(m.unique)
		return Entry{}, err
	}
	e.Name, err = ParseName(fmt.Sprintf("%s,S=%d", m.unique, m.size))
	if err == nil && e.Cur {
		e.Name = e.Name.WithFlags(a.Flags)
	}
	if err == nil {
		err = m.d.tmp.RenameExcl(m.unique, m.d.sub(e), e.Name.String())
	}
	if err != nil {
		m.d.tmp.Remove(m.unique)
		return Entry{}, err
	}
	return e, m.d.sub(e).Sync()
}
