//go:build unix

package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// splitParts are the parts that are split in every queue.
var splitParts = [...]Part{Mess, Info, Local, Remote}

// maxSplit bounds the directories that a queue is believed to be split into.
// Real ones have 23 to a few thousand.
const maxSplit = 1 << 20

// detect finds out layout and owners.
func (q *Queue) detect() error {
	q.layout = q.opts.Layout
	q.owners = q.opts.Owners
	var found [numParts]numbered
	var votes ownerVotes
	ctx := context.Background()
	for p := range numParts {
		var err error
		if found[p], err = q.numberedDirs(ctx, p, &votes); err != nil {
			return err
		}
	}
	if q.layout.Split == 0 {
		split, err := q.detectSplit(found)
		if err != nil {
			return err
		}
		q.layout.Split = split
		// Half of them at least: a directory that strayed into todo does not
		// make the queue another one.
		q.layout.BigTodo = len(found[Todo])*2 >= split || len(found[Intd])*2 >= split
	}
	votes.elect(q, &q.owners)
	return nil
}

// numbered is what is known of the directories of one part: their numbers, in
// ascending order.
type numbered []int

// next is the greatest number and 1.
func (n numbered) next() int {
	if len(n) == 0 {
		return 0
	}
	return n[len(n)-1] + 1
}

// unbroken is how many there are from 0 on without a gap.
func (n numbered) unbroken() int {
	for i, num := range n {
		if num != i {
			return i
		}
	}
	return len(n)
}

// faults is how many would be missing and how many too many if there should be
// split.
func (n numbered) faults(split int) int {
	below, _ := slices.BinarySearch(n, split)
	return split - below + len(n) - below
}

// numberedDirs counts the numbered directories of a part, and lets them and
// the part's own directory vote for their owners.
func (q *Queue) numberedDirs(ctx context.Context, p Part, votes *ownerVotes) (n numbered, err error) {
	d, err := q.top.Sub(p.String())
	if missing(err) {
		return n, nil
	} else if err != nil {
		return n, err
	}
	defer d.Close()
	if fi, err := d.Lstat("."); err == nil {
		votes.add(p, fi)
	}
	for e, err := range d.Entries(ctx) {
		if err != nil {
			return n, err
		}
		num, ok := dirNumber(e.Name())
		if !ok || !e.IsDir() {
			continue
		}
		n = append(n, num)
		if fi, err := d.Lstat(e.Name()); err == nil {
			votes.add(p, fi)
		}
	}
	slices.Sort(n)
	return slices.Compact(n), nil
}

// missing says that a directory is not there, or that something stands in its
// place that nobody should enter.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, safefs.ErrLink) || errors.Is(err, errNotDir)
}

// dirNumber reads the name of a split directory.
func dirNumber(name string) (int, bool) {
	id, err := ParseID(name)
	if err != nil || id >= maxSplit {
		return 0, false
	}
	return int(id), true
}

// detectSplit chooses the number by which fewest directories of mess, info,
// local and remote are missing or too many, and where some are equal that by
// which most files are in their places. A directory that strayed into all four
// makes no other queue of it.
func (q *Queue) detectSplit(found [numParts]numbered) (int, error) {
	faults := map[int]int{}
	for _, p := range splitParts {
		for _, split := range [...]int{found[p].next(), found[p].unbroken()} {
			if split > 0 {
				faults[split] = 0
			}
		}
	}
	fewest, tied := math.MaxInt, []int{}
	for split := range faults {
		n := 0
		for _, p := range splitParts {
			if len(found[p]) > 0 {
				n += found[p].faults(split)
			}
		}
		switch {
		case n < fewest:
			fewest, tied = n, []int{split}
		case n == fewest:
			tied = append(tied, split)
		}
	}
	switch len(tied) {
	case 0:
		return 0, fmt.Errorf("%w: no numbered directories in mess, info, local and remote", ErrNoQueue)
	case 1:
		return tied[0], nil
	}
	return q.splitByFiles(tied)
}

// splitByFiles chooses the split by which most files are in their places; the
// smallest of equals.
func (q *Queue) splitByFiles(among []int) (int, error) {
	placed := make([]int, len(among))
	for _, p := range splitParts {
		err := q.eachNumber(p, func(dir int, id ID) {
			for i, split := range among {
				if uint64(id)%uint64(split) == uint64(dir) {
					placed[i]++
				}
			}
		})
		if err != nil {
			return 0, err
		}
	}
	best, most := 0, -1
	for i, split := range among {
		if placed[i] > most || placed[i] == most && split < best {
			best, most = split, placed[i]
		}
	}
	return best, nil
}

// eachNumber calls f for each file in the numbered directories of p.
func (q *Queue) eachNumber(p Part, f func(dir int, id ID)) error {
	d, err := q.top.Sub(p.String())
	if missing(err) {
		return nil
	} else if err != nil {
		return err
	}
	defer d.Close()
	ctx := context.Background()
	for e, err := range d.Entries(ctx) {
		if err != nil {
			return err
		}
		num, ok := dirNumber(e.Name())
		if !ok || !e.IsDir() {
			continue
		}
		sub, err := d.Sub(e.Name())
		if missing(err) {
			continue
		} else if err != nil {
			return err
		}
		for e, err := range sub.Entries(ctx) {
			if err != nil {
				sub.Close()
				return err
			}
			if id, err := ParseID(e.Name()); err == nil {
				f(num, id)
			}
		}
		sub.Close()
	}
	return nil
}

// ownerVotes counts who owns the directories.
type ownerVotes struct {
	qmailq, qmails, group map[int]int
}

func (v *ownerVotes) add(p Part, fi safefs.Info) {
	if v.group == nil {
		v.qmailq, v.qmails, v.group = map[int]int{}, map[int]int{}, map[int]int{}
	}
	switch p {
	case Info, Local, Remote, Bounce:
		v.qmails[fi.UID]++
	default:
		v.qmailq[fi.UID]++
	}
	v.group[fi.GID]++
}

// elect fills what the caller did not say. A queue never belongs to root, who
// owns the directories where somebody copied them without their owners.
func (v *ownerVotes) elect(q *Queue, o *Owners) {
	if o.Qmailq == 0 {
		o.Qmailq = most(v.qmailq)
	}
	if o.Qmails == 0 {
		o.Qmails = most(v.qmails)
	}
	if o.Group == 0 {
		o.Group = most(v.group)
	}
	if o.Qmailr == 0 {
		// One file only belongs to qmailr, and it answers for itself.
		if fi, err := q.lstat("lock/tcpto"); err == nil && fi.Mode.IsRegular() {
			o.Qmailr = fi.UID
		}
	}
}

// most is the number with most votes, the smallest of equals, or 0.
func most(votes map[int]int) int {
	best, n := math.MaxInt, 0
	for id, v := range votes {
		if v > n || v == n && id < best {
			best, n = id, v
		}
	}
	if n == 0 {
		return 0
	}
	return best
}

// dirPath is the path of a numbered directory.
func dirPath(p Part, n int) string { return p.String() + "/" + strconv.Itoa(n) }
