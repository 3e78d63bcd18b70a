//go:build unix

package queue

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A file's place in an index is the bucket of its number, which is the number
// divided by the split, whatever directory it was found in: so all files of a
// message meet in one bucket.

// index knows the numbers in a queue: 8 bytes for each file in its place, some
// dozens for each other one. It holds what was there while it was made.
type index struct {
	layout Layout
	placed [numParts][][]ID // by bucket, ascending once sorted
	extras []extra          // files in wrong places, by bucket and number
}

// extra is a file of a message outside its place.
type extra struct {
	id   ID
	part Part
	path string
}

// entry is what an index knows of one number.
type entry struct {
	id     ID
	placed Parts // files in their places
	extras []extra
}

// parts are all parts of which there is a file, in place or not.
func (e entry) parts() Parts {
	all := e.placed
	for _, x := range e.extras {
		all = all.With(x.part)
	}
	return all
}

// stray is a directory entry that is not the file of a message, or is one of
// the directories that files lie in.
type stray struct {
	part Part
	dir  string // path
	num  int    // number of the directory, or -1
	name string
	typ  fs.FileMode
}

// scanner fills an index.
type scanner struct {
	q  *Queue
	ix *index
	mu sync.Mutex // guards ix.extras
	// odd, if not nil, is told of all that is no message's file.
	odd func(stray) error
}

func (q *Queue) newIndex() *index {
	ix := &index{layout: q.layout}
	for p := range numParts {
		ix.placed[p] = make([][]ID, q.layout.Split)
	}
	return ix
}

// scan lists all parts, several directories at a time. A directory that is
// missing has no files; one that vanishes neither.
func (q *Queue) scan(ctx context.Context) (*index, error) {
	s := &scanner{q: q, ix: q.newIndex()}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(q.workers() + 1)
	for p := range numParts {
		subs, err := s.part(ctx, p)
		if err != nil {
			g.Wait()
			return nil, err
		}
		for _, n := range subs {
			g.Go(func() error { return s.dir(ctx, p, n) })
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	s.ix.sort()
	return s.ix, nil
}

func (q *Queue) workers() int {
	if q.opts.Workers > 0 {
		return q.opts.Workers
	}
	return min(max(2, runtime.GOMAXPROCS(0)), 8)
}

// part lists the directory of a part, and returns the numbered directories in
// it.
func (s *scanner) part(ctx context.Context, p Part) (subs []int, err error) {
	d, err := s.q.top.Sub(p.String())
	if missing(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer d.Close()
	err = s.entries(ctx, d, p, -1, func(name string) bool {
		n, ok := dirNumber(name)
		if ok {
			subs = append(subs, n)
		}
		return ok
	})
	slices.Sort(subs)
	return subs, err
}

// dir lists a numbered directory.
func (s *scanner) dir(ctx context.Context, p Part, n int) error {
	d, err := s.q.openDir(dirPath(p, n))
	if missing(err) {
		return nil
	} else if err != nil {
		return err
	}
	defer d.Close()
	return s.entries(ctx, d, p, n, func(string) bool { return false })
}

// entries sorts what is in one directory: files of messages into the index,
// directories for which sub says true to it, and all else to odd.
func (s *scanner) entries(ctx context.Context, d *safefs.Dir, p Part, num int, sub func(name string) bool) error {
	dir := p.String()
	if num >= 0 {
		dir = dirPath(p, num)
	}
	inPlace := s.ix.layout.IsSplit(p) == (num >= 0) && num < s.ix.layout.Split
	for e, err := range d.Entries(ctx) {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		id, err := ParseID(e.Name())
		switch {
		case e.IsDir():
			if sub(e.Name()) && s.odd == nil {
				continue
			}
		case err != nil:
			if id, ok := s.misnamed(e.Name()); ok {
				s.extra(extra{id, p, dir + "/" + e.Name()})
				continue
			}
		case num < 0 && s.ix.layout.IsSplit(p) && id < ID(s.ix.layout.Split):
			// It stands in the place of a directory.
		case inPlace && (num < 0 || s.ix.bucketOf(id) == uint64(num)):
			s.place(p, id)
			continue
		default:
			s.extra(extra{id, p, dir + "/" + e.Name()})
			continue
		}
		if s.odd != nil {
			if err := s.odd(stray{p, dir, num, e.Name(), e.Type()}); err != nil {
				return err
			}
		}
	}
	return nil
}

// place keeps the number of a file where it belongs. Each list is filled by
// one directory, and so by one goroutine.
func (s *scanner) place(p Part, id ID) {
	bucket := &s.ix.placed[p][s.ix.bucketOf(id)]
	*bucket = append(*bucket, id)
}

func (s *scanner) extra(x extra) {
	s.mu.Lock()
	s.ix.extras = append(s.ix.extras, x)
	s.mu.Unlock()
}

// misnamed reads a number that is not written as qmail writes it. A checker also
// takes one between blanks, which qmail does not.
func (s *scanner) misnamed(name string) (ID, bool) {
	if s.odd != nil {
		trimmed := strings.Trim(name, " \t\r\n")
		if id, err := ParseID(trimmed); err == nil {
			return id, true
		}
		name = trimmed
	}
	return zeroPadded(name)
}

// zeroPadded reads a number behind zeros too many, which qmail reads as that
// number and then looks for it under its plain name.
func zeroPadded(name string) (ID, bool) {
	rest := strings.TrimLeft(name, "0")
	if rest == name || len(name) > 64 {
		return 0, false
	}
	if rest == "" {
		rest = "0"
	}
	id, err := ParseID(rest)
	return id, err == nil
}

func (ix *index) sort() {
	for p := range numParts {
		for _, bucket := range ix.placed[p] {
			slices.Sort(bucket)
		}
	}
	slices.SortFunc(ix.extras, func(a, b extra) int {
		return cmp.Or(cmp.Compare(ix.bucketOf(a.id), ix.bucketOf(b.id)), cmp.Compare(a.id, b.id),
			cmp.Compare(a.part, b.part), strings.Compare(a.path, b.path))
	})
}

func (ix *index) bucketOf(id ID) uint64 { return uint64(id) % uint64(ix.layout.Split) }

// extrasOf are the extras of one bucket.
func (ix *index) extrasOf(n uint64) []extra {
	by := func(x extra, n uint64) int { return cmp.Compare(ix.bucketOf(x.id), n) }
	from, _ := slices.BinarySearchFunc(ix.extras, n, by)
	to, _ := slices.BinarySearchFunc(ix.extras, n+1, by)
	return ix.extras[from:to]
}

// bucket yields what is known of each number that belongs into the directories
// n, in ascending order.
func (ix *index) bucket(n int) iter.Seq[entry] {
	return func(yield func(entry) bool) {
		var lists [numParts][]ID
		for p := range numParts {
			lists[p] = ix.placed[p][n]
		}
		extras := ix.extrasOf(uint64(n))
		for {
			var e entry
			found := false
			if len(extras) > 0 {
				e.id, found = extras[0].id, true
			}
			for _, l := range lists {
				if len(l) > 0 && (!found || l[0] < e.id) {
					e.id, found = l[0], true
				}
			}
			if !found {
				return
			}
			for p, l := range lists {
				// A name can show twice while a directory changes.
				for len(l) > 0 && l[0] == e.id {
					e.placed = e.placed.With(Part(p))
					l = l[1:]
				}
				lists[p] = l
			}
			k := 0
			for k < len(extras) && extras[k].id == e.id {
				k++
			}
			e.extras, extras = extras[:k:k], extras[k:]
			if !yield(e) {
				return
			}
		}
	}
}

// chunkSize is how many messages are read at a stretch: enough to make opening
// their directories cheap, few enough to keep little waiting.
const chunkSize = 64

// chunk is a stretch of one bucket.
type chunk struct {
	bucket  int
	entries []entry
}

// chunks yields all numbers, bucket by bucket, in stretches.
func (ix *index) chunks() iter.Seq[chunk] {
	return func(yield func(chunk) bool) {
		for n := range ix.layout.Split {
			c := chunk{bucket: n}
			for e := range ix.bucket(n) {
				if c.entries = append(c.entries, e); len(c.entries) == chunkSize {
					if !yield(c) {
						return
					}
					c = chunk{bucket: n}
				}
			}
			if len(c.entries) > 0 && !yield(c) {
				return
			}
		}
	}
}
