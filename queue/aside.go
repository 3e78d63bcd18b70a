//go:build unix

package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

const journalName = "journal"

// readJournal reads the record of an interrupted change; nil says that there is
// none. Where the directory is there without it, the change had not begun or
// was over; files in it tell by their names where they belong.
func (q *Queue) readJournal() (*journal, error) {
	d, err := q.openDir("lock/" + mendName)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	b, err := d.ReadFile(journalName, maxJournal)
	if err == nil {
		return parseJournal(b)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	j := &journal{layout: q.layout}
	for e, err := range d.Entries(context.Background()) {
		if err != nil {
			return nil, err
		}
		to := strings.ReplaceAll(e.Name(), ".", "/")
		if p, id, ok := q.layout.placeOf(to); ok && q.layout.Path(p, id) == to {
			fi, err := d.Lstat(e.Name())
			if err != nil {
				return nil, err
			}
			j.moves = append(j.moves, move{fi.Ino, to, to})
		}
	}
	return j, nil
}

// finishOld finishes an interrupted change.
func (l *Lock) finishOld(ctx context.Context) error {
	j, err := l.q.readJournal()
	if err != nil || j == nil {
		return err
	}
	return l.finish(ctx, j)
}

// begin writes a change down, and does it.
func (l *Lock) begin(ctx context.Context, j *journal) error {
	lock, err := l.q.openDir("lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	mend, _, err := lock.Mkdir(mendName, 0o700, safefs.Keep)
	if err != nil {
		return err
	}
	defer mend.Close()
	if err := lock.Sync(); err != nil {
		return err
	}
	r := safefs.Replacement{Mode: 0o600, Owner: safefs.Keep, Temp: "journal.new"}
	if err := mend.WriteFile(journalName, r, j.encode()); err != nil {
		return err
	}
	return l.finish(ctx, j)
}

// finish does what a journal says, from wherever it was left. Between the
// steps everything can be cut off: each file is looked for in its old place,
// aside, and in its new place.
func (l *Lock) finish(ctx context.Context, j *journal) error {
	lock, err := l.q.openDir("lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	mend, err := lock.Sub(mendName)
	if err != nil {
		return err
	}
	defer mend.Close()
	if err := park(lock, mend); err != nil {
		return err
	}
	if err := l.q.ensureDirs(ctx, j.layout); err != nil {
		return err
	}
	gone, err := l.q.takeAside(ctx, mend, j.moves)
	if err != nil {
		return err
	}
	if err := l.q.putBack(ctx, mend, j.moves); err != nil {
		return err
	}
	if err := l.q.pruneDirs(ctx, j.layout); err != nil {
		return err
	}
	if err := l.unpark(lock, mend); err != nil {
		return err
	}
	return gone
}

// park keeps sendmutex aside, without which qmail-send does not start
// (qmail-send.c, main). The lock holds for the file and not for its name.
func park(lock, mend *safefs.Dir) error {
	err := lock.Rename(mutexName, mend, mutexName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(mend.Sync(), lock.Sync())
}

// unpark ends a change: the journal goes first, and sendmutex is put back last.
func (l *Lock) unpark(lock, mend *safefs.Dir) error {
	for _, name := range []string{journalName, "journal.new"} {
		if err := mend.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := mend.Sync(); err != nil {
		return err
	}
	err := mend.RenameExcl(mutexName, lock, mutexName)
	if errors.Is(err, fs.ErrExist) {
		// Somebody made another one.
		err = mend.Remove(mutexName)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := lock.Sync(); err != nil {
		return err
	}
	if err := lock.RemoveDir(mendName); err != nil {
		return err
	}
	return lock.Sync()
}

// eachIn calls f for the moves in turn, with the directory that dir names for
// each, which is synced behind the last one. The moves are sorted by it.
func (q *Queue) eachIn(ctx context.Context, moves []move, path func(move) string, f func(d *safefs.Dir, base string, m move) error) error {
	sorted := slices.Clone(moves)
	slices.SortFunc(sorted, func(a, b move) int { return strings.Compare(path(a), path(b)) })
	var d *safefs.Dir
	at := ""
	done := func() error {
		if d == nil {
			return nil
		}
		err := d.Sync()
		d.Close()
		d = nil
		return err
	}
	for _, m := range sorted {
		if err := context.Cause(ctx); err != nil {
			return errors.Join(err, done())
		}
		dir, base := splitPath(path(m))
		if d == nil || dir != at {
			if err := done(); err != nil {
				return err
			}
			next, err := q.openDir(dir)
			if missing(err) {
				// Then the file is not there any more.
				next, err = nil, nil
			}
			if err != nil {
				return err
			}
			d, at = next, dir
		}
		if err := f(d, base, m); err != nil {
			return errors.Join(err, done())
		}
	}
	return done()
}

// takeAside takes all files out of their old places.
func (q *Queue) takeAside(ctx context.Context, mend *safefs.Dir, moves []move) (gone, err error) {
	var lost []error
	err = q.eachIn(ctx, moves, func(m move) string { return m.from }, func(d *safefs.Dir, base string, m move) error {
		if is, err := isInode(mend, m.staged(), m.ino); is || err != nil {
			return err
		}
		if d != nil {
			is, err := isInode(d, base, m.ino)
			if err != nil {
				return err
			}
			if is {
				return d.RenameExcl(base, mend, m.staged())
			}
		}
		if fi, err := q.topInfo(m.to); err == nil && fi.Ino == m.ino {
			return nil
		}
		lost = append(lost, fmt.Errorf("%s: %w", plainText(m.from), ErrGone))
		return nil
	})
	if err == nil {
		err = mend.Sync()
	}
	return errors.Join(lost...), err
}

// putBack puts all files into their new places.
func (q *Queue) putBack(ctx context.Context, mend *safefs.Dir, moves []move) error {
	err := q.eachIn(ctx, moves, func(m move) string { return m.to }, func(d *safefs.Dir, base string, m move) error {
		is, err := isInode(mend, m.staged(), m.ino)
		if err != nil || !is {
			return err
		}
		if d == nil {
			return fmt.Errorf("%s: %w", m.to, fs.ErrNotExist)
		}
		return mend.RenameExcl(m.staged(), d, base)
	})
	if err != nil {
		return err
	}
	return mend.Sync()
}

// isInode says whether a plain file of this name and inode number is there.
func isInode(d *safefs.Dir, name string, ino uint64) (bool, error) {
	fi, err := d.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && fi.Ino == ino && fi.Mode.IsRegular(), err
}

// pruneDirs removes the numbered directories that the layout has no place for,
// where they are empty.
func (q *Queue) pruneDirs(ctx context.Context, l Layout) error {
	for p := range numParts {
		d, err := q.openDir(p.String())
		if err != nil {
			return err
		}
		var extra []string
		for e, err := range d.Entries(ctx) {
			if err != nil {
				d.Close()
				return err
			}
			if n, ok := dirNumber(e.Name()); ok && e.IsDir() && (!l.IsSplit(p) || n >= l.Split) {
				extra = append(extra, e.Name())
			}
		}
		for _, name := range extra {
			if err = d.RemoveDir(name); errors.Is(err, unix.ENOTEMPTY) {
				err = nil
			}
			if err != nil {
				break
			}
		}
		if err == nil && len(extra) > 0 {
			err = d.Sync()
		}
		d.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
