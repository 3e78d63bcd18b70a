//go:build unix

package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A Store is a durable map from keys to JSON values: what a run wrote last
// time. It is a file that only grows until it is compacted; all of it is held
// in memory. Its methods may be called from any goroutine.
type Store struct {
	dir      *safefs.Dir // nil: read only, and not there
	name     string
	readOnly bool
	hook     safefs.Hook
	problems []qmailkit.Problem

	mu      sync.Mutex
	live    map[string]json.RawMessage
	f       *os.File // open for appending; nil before the first
	end     int64    // where the next batch goes
	last    uint64   // number of the last batch
	lines   int      // records in the file, current or not
	size    int64    // bytes of live
	rewrite bool     // the file must be written anew before it can grow
	spoilt  bool     // there are lines in it that say nothing
}

// ErrReadOnly answers a change to state that was opened to be read.
var ErrReadOnly = errors.New("state was opened to be read only")

// Store opens the store name, made of lower-case letters, digits and "-". What
// is damaged in it is told by Problems; the rest is there. An error that wraps
// ErrFormat says that the file is something else.
func (t *Target) Store(name string) (*Store, error) {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return nil, fmt.Errorf("%q cannot name a store", name)
		}
	}
	s := &Store{
		dir: t.dir, name: name + ".journal",
		readOnly: t.state.opts.ReadOnly, hook: t.state.opts.hook,
		live: map[string]json.RawMessage{}, rewrite: true,
	}
	if s.dir != nil {
		if err := s.load(); err != nil {
			return nil, err
		}
	}
	t.stores = append(t.stores, s)
	return s, nil
}

func (s *Store) load() error {
	f, err := s.dir.OpenPlain(s.name, safefs.Expect{Owned: true, UID: os.Geteuid()})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	l := &loader{path: f.Name(), live: s.live}
	if err := l.load(f); err != nil {
		return err
	}
	s.problems, s.end, s.last, s.lines = l.problems, l.end, l.last, l.lines
	s.size, s.spoilt = l.size, len(l.problems) > 0
	// A torn tail must not get new lines behind it, and batches must not run
	// out of numbers.
	s.rewrite = s.end == 0 || s.end != fi.Size() || s.last > 1<<62
	return nil
}

// Problems tells what is wrong with the file: "state.damaged" (Error) for each
// place where a record was lost, "state.torn-tail" (Info) where a run was
// stopped while it wrote.
func (s *Store) Problems() []qmailkit.Problem { return slices.Clone(s.problems) }

// Len is the number of keys.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.live)
}

// Get returns the value of key as it was appended, without insignificant
// space. The caller must not change it.
func (s *Store) Get(key string) (json.RawMessage, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.live[key]
	return v, ok
}

// All yields the records that there were when it began, in the order of their
// keys.
func (s *Store) All() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		s.mu.Lock()
		recs := s.sorted()
		s.mu.Unlock()
		for _, r := range recs {
			if !yield(r) {
				return
			}
		}
	}
}

func (s *Store) sorted() []Record {
	recs := make([]Record, 0, len(s.live))
	for _, k := range slices.Sorted(maps.Keys(s.live)) {
		recs = append(recs, Record{k, s.live[k]})
	}
	return recs
}

// Append sets the records' keys and returns when they are on the disk, with
// one sync for all. After a crash either all of them are there or none. When
// it fails none is in effect, and the next call begins by writing the whole
// file anew: what a failed sync left in the cache is not to be trusted.
func (s *Store) Append(recs ...Record) error {
	if len(recs) == 0 {
		return nil
	}
	if s.readOnly {
		return ErrReadOnly
	}
	recs = slices.Clone(recs)
	for i, r := range recs {
		if r.Value == nil {
			continue
		}
		var b bytes.Buffer
		if err := json.Compact(&b, r.Value); err != nil {
			return fmt.Errorf("record of %q: %w", r.Key, err)
		}
		if recs[i].Value = b.Bytes(); b.String() == "null" {
			recs[i].Value = nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if more := weight(recs); s.size+more > maxLive {
		return fmt.Errorf("%s: %w: more than %d bytes of records", s.name, safefs.ErrTooBig, maxLive)
	}
	if s.rewrite {
		return s.replace(recs)
	}
	lines, err := appendBatch(nil, s.last+1, recs)
	if err != nil {
		return err
	}
	if err := s.grow(lines); err != nil {
		s.rewrite = true
		s.close()
		return err
	}
	s.end += int64(len(lines))
	s.last++
	s.lines += len(recs)
	s.size += apply(s.live, recs)
	return nil
}

// Put is Append of one value in its JSON form.
func (s *Store) Put(key string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("record of %q: %w", key, err)
	}
	return s.Append(Record{key, b})
}

// Load puts the value of key into what value points to. It is false, and
// value as it was, where there is none.
func (s *Store) Load(key string, value any) (bool, error) {
	b, ok := s.Get(key)
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(b, value); err != nil {
		return false, fmt.Errorf("record of %q in %s: %w", key, s.name, err)
	}
	return true, nil
}

// apply puts records into live and returns by how many bytes that grew.
func apply(live map[string]json.RawMessage, recs []Record) (grown int64) {
	for _, r := range recs {
		if old, ok := live[r.Key]; ok {
			grown -= weight([]Record{{r.Key, old}})
		}
		if r.Value == nil {
			delete(live, r.Key)
			continue
		}
		live[r.Key] = r.Value
		grown += weight([]Record{r})
	}
	return grown
}

// weight is about what records take in memory.
func weight(recs []Record) (n int64) {
	const slot = 64 // of the map
	for _, r := range recs {
		n += int64(slot + len(r.Key) + len(r.Value))
	}
	return n
}

// grow appends lines to the file and syncs it.
func (s *Store) grow(lines []byte) error {
	if s.f == nil {
		f, err := s.dir.OpenWrite(s.name)
		if err != nil {
			return err
		}
		s.f = f
	}
	fi, err := s.f.Stat()
	if err != nil {
		return err
	}
	if fi.Size() != s.end {
		return fmt.Errorf("%s: somebody else has written to it", s.f.Name())
	}
	if s.hook != nil {
		if err := s.hook("write", s.f.Name()); err != nil {
			return err
		}
	}
	if _, err := s.f.WriteAt(lines, s.end); err != nil {
		return err
	}
	return s.dir.SyncFile(s.f)
}

// Compact writes the file anew with the current records only, if it holds
// others, or lines that are damaged. The old file stays until the new one is on
// the disk.
func (s *Store) Compact() error {
	if s.readOnly {
		return ErrReadOnly
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := s.lines == len(s.live) && (!s.rewrite || s.lines == 0)
	if s.dir == nil || fresh && !s.spoilt {
		return nil
	}
	return s.replace(nil)
}

// replace writes the file anew with the current records and these.
func (s *Store) replace(more []Record) error {
	s.close()
	next := maps.Clone(s.live)
	size := s.size + apply(next, more)
	all := (&Store{live: next}).sorted()
	var end int64
	err := s.dir.Replace(s.name, safefs.Replacement{Mode: 0o600, Owner: safefs.Keep}, func(f *safefs.File) error {
		out, err := appendBatch([]byte(header), 1, all)
		if err != nil {
			return err
		}
		end = int64(len(out))
		n, err := f.Write(out)
		if err == nil && n < len(out) {
			err = io.ErrShortWrite
		}
		return err
	})
	if err != nil {
		// The rename may have happened before the error.
		s.rewrite = true
		return err
	}
	s.live, s.size, s.lines = next, size, len(all)
	s.end, s.last, s.rewrite, s.spoilt = end, 1, false, false
	return nil
}

// close lets go of the file.
func (s *Store) close() error {
	if s.f == nil {
		return nil
	}
	err := s.f.Close()
	s.f = nil
	return err
}
