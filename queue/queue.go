//go:build unix

package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

var (
	// ErrNoQueue says that a directory does not look like a queue: the split
	// directories, from which its layout is told, are not there.
	ErrNoQueue = errors.New("not a queue of qmail")
	// ErrNoMessage says that there is no message of that number.
	ErrNoMessage = errors.New("no such message in the queue")
)

// ID is the number of a message, which is the inode number of its file in mess
// and may exceed 2^32.
type ID uint64

// String returns the number as it stands in file names.
func (id ID) String() string { return strconv.FormatUint(uint64(id), 10) }

// ParseID reads a number as qmail writes it into names: decimal digits without
// leading zeros. Names that differ are not the files of a message, even where
// qmail's own readers take them for one (readsubdir.c, scan_ulong.c).
func ParseID(s string) (ID, error) {
	if s == "" || len(s) > 20 || s[0] == '0' && len(s) > 1 {
		return 0, fmt.Errorf("%q is not the number of a message", s)
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, fmt.Errorf("%q is not the number of a message", s)
		}
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not the number of a message: it exceeds 64 bits", s)
	}
	return ID(n), nil
}

// Part is one of the directories that hold files of messages.
type Part uint8

// The parts, in the order in which they are shown.
const (
	Mess   Part = iota // the message, as it was received
	Info               // its sender
	Local              // recipients that qmail-lspawn serves
	Remote             // recipients that qmail-rspawn serves
	Bounce             // failures, which the sender will be told
	Todo               // the envelope as it arrived, until it is preprocessed
	Intd               // the same envelope under construction

	numParts
)

var partNames = [numParts]string{"mess", "info", "local", "remote", "bounce", "todo", "intd"}

// String returns the directory's name.
func (p Part) String() string {
	if p < numParts {
		return partNames[p]
	}
	return fmt.Sprintf("part(%d)", uint8(p))
}

// Layout says how the parts are split into directories.
type Layout struct {
	// Split is conf-split: the number of directories in mess, info, local and
	// remote, named 0 to Split-1.
	Split int
	// BigTodo says that todo and intd are split as well.
	BigTodo bool
}

// IsSplit says whether the files of p lie in numbered directories. Those of
// Bounce never do.
func (l Layout) IsSplit(p Part) bool {
	switch p {
	case Bounce:
		return false
	case Todo, Intd:
		return l.BigTodo
	}
	return true
}

// Dir returns the directory, relative to the queue, in which qmail looks for
// the file of id in p, such as "mess/3" (fmtqfn.c).
func (l Layout) Dir(p Part, id ID) string {
	if !l.IsSplit(p) {
		return p.String()
	}
	return p.String() + "/" + strconv.FormatUint(uint64(id)%uint64(l.Split), 10)
}

// Path returns the file of id in p, relative to the queue, such as
// "mess/3/1234".
func (l Layout) Path(p Part, id ID) string { return l.Dir(p, id) + "/" + id.String() }

// Owners are the numeric users and the group to which the files of a queue
// belong. A zero is found out from the directories of the queue: who owns most
// of them.
type Owners struct {
	Qmailq int // mess, todo, intd, pid, and the directories that hold them
	Qmails int // info, local, remote, bounce, sendmutex, trigger
	Qmailr int // tcpto
	Group  int // qmail
}

// Options change how a queue is read. The zero value, and nil, are right for
// the queue of this machine.
type Options struct {
	// Owners, where the caller knows them, from names or from flags.
	Owners Owners
	// Layout, where Split is not 0, is taken instead of what the directories
	// say.
	Layout Layout
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Inodes tells the inode number of a file, by its path in the queue such
	// as "mess/3/1234", for a queue that was unpacked elsewhere and has other
	// ones here. Where it says false, or is nil, the file system is asked.
	Inodes func(path string) (ino uint64, ok bool)
	// ATimes does the same for times of last access, which reading a queue
	// changes.
	ATimes func(path string) (at time.Time, ok bool)
	// Workers is how many files are read at a time; 0 is as many as the
	// machine has processors, but 2 at least and 8 at most.
	Workers int

	hook safefs.Hook
}

// A Queue is an open queue. Its methods may be used at the same time.
type Queue struct {
	root   *os.Root // the caller's
	top    *safefs.Dir
	opts   Options
	layout Layout
	owners Owners
}

// Open finds out how the queue in root is laid out and who owns it. Nothing is
// changed, and no lock is taken. The root stays open until after Close; it
// remains the caller's.
//
// An error wraps ErrNoQueue where root holds no numbered directories and the
// options do not tell the layout.
func Open(root *os.Root, opts *Options) (*Queue, error) {
	q := &Queue{root: root}
	if opts != nil {
		q.opts = *opts
	}
	if q.opts.Now == nil {
		q.opts.Now = time.Now
	}
	if q.opts.Layout.Split < 0 {
		return nil, fmt.Errorf("queue: split of %d", q.opts.Layout.Split)
	}
	top, err := safefs.OpenDir(root, ".", q.opts.hook)
	if err != nil {
		return nil, err
	}
	q.top = top
	if err := q.detect(); err != nil {
		top.Close()
		return nil, err
	}
	return q, nil
}

// Close gives the descriptors back.
func (q *Queue) Close() error { return q.top.Close() }

// Layout is how the queue is split.
func (q *Queue) Layout() Layout { return q.layout }

// Owners are the users and the group that the files are to belong to. One that
// was neither given nor can be told is 0: the directories belong to root, or
// to nobody in particular.
func (q *Queue) Owners() Owners { return q.owners }

// openDir opens a directory by its path in the queue, following no link.
func (q *Queue) openDir(path string) (*safefs.Dir, error) { return q.top.Walk(path) }

// openFile opens a plain file by its path in the queue.
func (q *Queue) openFile(path string) (*os.File, error) {
	dir, base := splitPath(path)
	d, err := q.openDir(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.OpenPlain(base, safefs.Expect{})
}

// lstat describes a file by its path in the queue, with the inode number and
// the time of access that it had where the queue comes from.
func (q *Queue) lstat(path string) (safefs.Info, error) {
	dir, base := splitPath(path)
	d, err := q.openDir(dir)
	if err != nil {
		return safefs.Info{}, err
	}
	defer d.Close()
	fi, err := d.Lstat(base)
	if err != nil {
		return safefs.Info{}, err
	}
	q.original(path, &fi)
	return fi, nil
}

// original puts what the options know of a file into what Lstat says of it.
func (q *Queue) original(path string, fi *safefs.Info) {
	if q.opts.Inodes != nil {
		if ino, ok := q.opts.Inodes(path); ok {
			fi.Ino = ino
		}
	}
	if q.opts.ATimes != nil {
		if at, ok := q.opts.ATimes(path); ok {
			fi.ATime = at
		}
	}
}

// exists says whether anything stands at path.
func (q *Queue) exists(path string) (bool, error) {
	_, err := q.lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func splitPath(path string) (dir, base string) {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[:i], path[i+1:]
		}
	}
	return ".", path
}
