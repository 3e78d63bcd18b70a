//go:build unix

package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// leftBehind is the age by the time of access from which qmail takes for left
// behind what no program has finished (qmail-send.c and qmail-clean.c,
// OSSIFIED).
const leftBehind = 36 * time.Hour

// death is how long a qmail-queue lives at most (qmail-queue.c, DEATH).
const death = 24 * time.Hour

// checker yields the faults of one queue.
type checker struct {
	q     *Queue
	ctx   context.Context
	yield func(fault, error) bool
	now   time.Time
	dev   uint64 // file system of the queue
	ix    *index
}

func (c *checker) fault(f fault) error {
	if !c.yield(f, nil) {
		return errStop
	}
	return nil
}

// trouble yields an error that concerns one file or directory.
func (c *checker) trouble(err error) error {
	if ctxErr := context.Cause(c.ctx); ctxErr != nil {
		return ctxErr
	}
	if !c.yield(fault{}, err) {
		return errStop
	}
	return nil
}

// old says that the time of access is as long ago as qmail wants it to be.
func (c *checker) old(fi safefs.Info) bool { return c.now.After(fi.ATime.Add(leftBehind)) }

// tree checks all that is no message, and makes the index of what is.
func (c *checker) tree() error {
	top, err := c.q.top.Lstat(".")
	if err != nil {
		return err
	}
	c.dev = top.Dev
	o := c.q.owners
	if !ownersKnown(o) {
		f := newFault(codeNoOwners, qmailkit.Error, "", "the directories of the queue belong to root, so that nothing tells who should own them").
			toFix("give the users and the group to the program, by name or number")
		if err := c.fault(f); err != nil {
			return err
		}
	}
	dir := c.q.wantOf(o.Qmailq, o.Group, 0o750)
	if err := c.checkWanted(fault{path: "."}, top, dir, qmailkit.Error); err != nil {
		return err
	}
	for e, err := range c.q.top.Entries(c.ctx) {
		if err != nil {
			return err
		}
		if !isTopName(e.Name()) {
			if err := c.stray(e.Name(), e.Type()); err != nil {
				return err
			}
		}
	}
	if err := c.lockDir(dir); err != nil {
		return err
	}
	if err := c.pidDir(); err != nil {
		return err
	}
	return c.parts()
}

// isTopName says whether name has a place in the queue directory.
func isTopName(name string) bool {
	for p := range numParts {
		if name == p.String() {
			return true
		}
	}
	return name == "lock" || name == "pid"
}

func (c *checker) stray(path string, typ fs.FileMode) error {
	return c.fault(newFault(codeStray, qmailkit.Warning, path, "%s that has no place in a queue", typeOf(typ)).
		toFix("repair moves it out of the queue"))
}

// subdir opens a directory of the queue and checks it; nil where it cannot be
// entered, which was told then.
func (c *checker) subdir(in *safefs.Dir, name, path string, want wanted) (*safefs.Dir, error) {
	fi, err := in.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, c.fault(newFault(codeMissingDir, qmailkit.Error, path, "directory is missing").toFix("repair makes it"))
	} else if err != nil {
		return nil, c.trouble(err)
	}
	if !fi.Mode.IsDir() {
		return nil, c.fault(newFault(codeType, qmailkit.Error, path, "%s in the place of a directory", typeOf(fi.Mode)).
			toFix("repair moves it out of the queue and makes the directory"))
	}
	if fi.Dev != c.dev {
		f := newFault(codeDevice, qmailkit.Error, path, "directory lies on another file system than the queue").
			toFix("no repair: qmail-queue links between the directories, so they have to be on one")
		if err := c.fault(f); err != nil {
			return nil, err
		}
	}
	if err := c.checkWanted(fault{path: path}, fi, want, qmailkit.Error); err != nil {
		return nil, err
	}
	d, err := in.Sub(name)
	if err != nil {
		return nil, c.trouble(err)
	}
	return d, nil
}

// lockFiles are the files of lock.
func (q *Queue) lockFiles() map[string]wanted {
	o := q.owners
	return map[string]wanted{
		mutexName: q.wantOf(o.Qmails, o.Group, 0o600),
		"tcpto":   q.wantOf(o.Qmailr, o.Group, 0o644),
		"trigger": q.wantOf(o.Qmails, o.Group, 0o622),
	}
}

func (c *checker) lockDir(want wanted) error {
	d, err := c.subdir(c.q.top, "lock", "lock", want)
	if d == nil {
		return err
	}
	defer d.Close()
	files := c.q.lockFiles()
	for e, err := range d.Entries(c.ctx) {
		if err != nil {
			return c.trouble(err)
		}
		_, known := files[e.Name()]
		switch {
		case known:
		case e.Name() == mendName:
			err = c.fault(newFault(codeUnfinished, qmailkit.Error, "lock/"+mendName, "a change of the queue was interrupted").
				toFix("repair goes on with it"))
		default:
			err = c.stray("lock/"+e.Name(), e.Type())
		}
		if err != nil {
			return err
		}
	}
	for _, name := range []string{mutexName, "tcpto", "trigger"} {
		if err := c.lockFile(d, name, files[name]); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) lockFile(d *safefs.Dir, name string, want wanted) error {
	path := "lock/" + name
	fi, err := d.Lstat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c.trouble(err)
	}
	typ, words := fs.FileMode(0), "a plain file"
	if name == "trigger" {
		typ, words = fs.ModeNamedPipe, "a FIFO"
	}
	f := fault{}
	switch {
	case err != nil:
		f = newFault(codeMissingFile, qmailkit.Error, path, "%s is missing", words).toFix("repair makes it")
	case fi.Mode.Type() != typ:
		f = newFault(codeType, qmailkit.Error, path, "%s in the place of %s", typeOf(fi.Mode), words).
			toFix("repair puts %s in its place", words)
	case name == "tcpto" && fi.Size != tcptoSize:
		f = newFault(codeTcpto, qmailkit.Warning, path, "%d bytes instead of %d", fi.Size, tcptoSize).
			toFix("repair fills or cuts it; it only remembers hosts that did not answer")
	default:
		return c.checkWanted(fault{path: path}, fi, want, qmailkit.Error)
	}
	if err := c.fault(f); err != nil || f.code != codeTcpto {
		return err
	}
	return c.checkWanted(fault{path: path}, fi, want, qmailkit.Error)
}

// pidDir checks the files in which messages begin: they are gone, or have a
// second name in mess, before anything is in them.
func (c *checker) pidDir() error {
	d, err := c.subdir(c.q.top, "pid", "pid", c.q.wantOf(c.q.owners.Qmailq, c.q.owners.Group, 0o700))
	if d == nil {
		return err
	}
	defer d.Close()
	for e, err := range d.Entries(c.ctx) {
		if err != nil {
			return c.trouble(err)
		}
		path := "pid/" + e.Name()
		fi, err := d.Lstat(e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return c.trouble(err)
		}
		c.q.original(path, &fi)
		begun, ok := parsePidName(e.Name())
		switch {
		case !ok || !fi.Mode.IsRegular() || fi.ModTime.Before(begun.Add(-death)) || fi.ModTime.After(begun.Add(2*death)):
			// No qmail-queue gave it this name at that time.
			err = c.stray(path, fi.Mode)
		case c.old(fi):
			err = c.fault(newFault(codeLeftOver, qmailkit.Warning, path, "left behind by a qmail-queue that was killed").
				toFix("repair removes it; else qmail-clean will"))
		default:
			// One that is made this moment has neither owner nor mode yet, and
			// nobody ever reads it.
			told := &checker{yield: func(f fault, err error) bool {
				f.fix = "none is needed: it is of no use to anybody, and qmail-clean will remove it"
				return c.yield(f, err)
			}}
			err = told.checkWanted(fault{path: path}, fi, c.q.wantOf(c.q.owners.Qmailq, -1, 0o644), qmailkit.Info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parsePidName reads PID.TIME.SEQ (qmail-queue.c, pidfmt): when it was made.
func parsePidName(name string) (time.Time, bool) {
	f := strings.Split(name, ".")
	if len(f) != 3 {
		return time.Time{}, false
	}
	var n [3]uint64
	for i, s := range f {
		id, err := ParseID(s)
		if err != nil || id >= 1<<62 {
			return time.Time{}, false
		}
		n[i] = uint64(id)
	}
	return time.Unix(int64(n[1]), 0), n[2] >= 1 && n[2] < 10
}

// parts checks the directories of the parts and all names in them that are no
// messages.
func (c *checker) parts() error {
	c.ix = c.q.newIndex()
	s := &scanner{q: c.q, ix: c.ix, odd: c.odd}
	for p := range numParts {
		want := c.q.wantDir(p)
		d, err := c.subdir(c.q.top, p.String(), p.String(), want)
		if err != nil {
			return err
		}
		if d == nil {
			continue
		}
		err = c.part(s, d, p, want)
		d.Close()
		if err != nil {
			return err
		}
	}
	c.ix.sort()
	return nil
}

func (c *checker) part(s *scanner, d *safefs.Dir, p Part, want wanted) error {
	subs, err := s.part(c.ctx, p)
	if err != nil {
		return c.trouble(err)
	}
	if c.q.layout.IsSplit(p) {
		subs = withAll(subs, c.q.layout.Split)
	}
	for _, n := range subs {
		if n >= c.q.layout.Split || !c.q.layout.IsSplit(p) {
			err := c.fault(newFault(codeExtraDir, qmailkit.Error, dirPath(p, n), "directory outside the split of %s", c.splitWords(p)).
				toFix("repair moves the messages in it to their places and removes it"))
			if err != nil {
				return err
			}
		} else {
			sub, err := c.subdir(d, strconv.Itoa(n), dirPath(p, n), want)
			if err != nil {
				return err
			}
			if sub == nil {
				continue
			}
			sub.Close()
		}
		if err := s.dir(c.ctx, p, n); err == errStop {
			return err
		} else if err != nil {
			if err := c.trouble(err); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) splitWords(p Part) string {
	if c.q.layout.IsSplit(p) {
		return fmt.Sprintf("%d", c.q.layout.Split)
	}
	return p.String() + ", which has none"
}

// withAll is the ascending subs and all numbers below n.
func withAll(subs []int, n int) []int {
	all := make([]int, 0, n)
	for i := range n {
		all = append(all, i)
	}
	for _, s := range subs {
		if s >= n {
			all = append(all, s)
		}
	}
	return all
}

// odd is told of each name that is no message's.
func (c *checker) odd(s stray) error {
	path := s.dir + "/" + s.name
	if n, ok := dirNumber(s.name); ok && s.num < 0 {
		if s.typ.IsDir() || c.q.layout.IsSplit(s.part) && n < c.q.layout.Split {
			return nil // a numbered directory, or what stands in its place
		}
	}
	return c.stray(path, s.typ)
}
