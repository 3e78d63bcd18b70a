package maildir

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// SyncPolicy says how an import gets onto the disk.
type SyncPolicy uint8

const (
	// SyncGroup syncs about 1,000 messages, or 64 MiB, at once.
	SyncGroup SyncPolicy = iota
	// SyncEach syncs each message by itself, five times as slow.
	SyncEach
	// SyncNone leaves it to the system: a power cut may lose everything.
	SyncNone
)

// ParseSyncPolicy reads "group", "each" or "none".
func ParseSyncPolicy(s string) (SyncPolicy, error) {
	for p, name := range []string{"group", "each", "none"} {
		if s == name {
			return SyncPolicy(p), nil
		}
	}
	return 0, fmt.Errorf("sync policy %q is none of group, each, none", s)
}

// CommitOptions are the options of a Committer. A nil *CommitOptions is the
// zero CommitOptions.
type CommitOptions struct {
	Sync        SyncPolicy
	Writers     int   // goroutines that write messages; 0 is 2
	MaxMessages int   // messages of a group; 0 is 1,000
	MaxBytes    int64 // bytes of a group; 0 is 64 MiB
	// NoSyncFS syncs the files of a group one by one, eight at a time: for
	// network file systems, and busy ones where syncfs(2) would have to wait
	// for everybody else's data. It is always so where there is no syncfs.
	NoSyncFS bool
	// MaxDirs is how many folders a group holds open, with six descriptors
	// each; 0 is 512, or less where the process may not open so many files. A
	// Maildir with more folders is a group by itself.
	MaxDirs int
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	hook safefs.Hook
}

// groupDirs is the default of MaxDirs: one group is filled, two wait, one is
// committed.
func groupDirs() int {
	const most, each, groups, others = 512, 7, 4, 64
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return most
	}
	return int(min(most, (max(uint64(r.Cur), others+each*groups)-others)/(each*groups)))
}

// inlineSize is the size up to which a message is read once and kept in memory
// while it is named; a larger one is read twice.
const inlineSize = 256 << 10

// A Committer makes the messages of many Importers durable together, in
// groups, so that thousands of small mailboxes do not cost thousands of syncs:
//
//  1. write the group's messages under tmp/, sync their file system
//  2. record in each journal what is about to be linked, sync
//  3. rename without replacing, sync the directories
//  4. record that it is done
//
// Killed anywhere, the next import into the same Maildirs completes it.
type Committer struct {
	opts CommitOptions
	work work
	all  errgroup.Group
	fail atomic.Pointer[error]

	mu    sync.Mutex
	cur   *group
	queue []*group   // sealed ones, first in first out
	ended bool       // none will follow
	moved *sync.Cond // queue or ended has changed
}

// A task is a message on its way.
type task struct {
	im *Importer
	g  *group
	f  *folder
	m  *Message
	// Of a message without a name:
	src  *source
	turn <-chan struct{} // closed when the one before it is counted
	next chan struct{}   // to be closed when it is counted

	act  action
	tmp  string // what it is called under tmp/
	name Name   // the place it gets
	cur  bool
	from Entry // where it stands, for a change of flags
	// fromDir is the folder of from.
	fromDir *Dir
	result  Result
}

type action uint8

const (
	actNone   action = iota
	actLink          // staged under tmp/: to be linked
	actRename        // flags follow the source's
	actRecord        // is as it should be, but the journal does not know
)

// A group is what is committed at once.
type group struct {
	tasks   []*task
	bytes   int64
	ims     map[*Importer]bool
	folders map[*folder]bool
	dirs    int         // folders of those in closing
	closing []*Importer // to be released after it
	staged  sync.WaitGroup
	begun   bool       // intents were written, perhaps in part
	done    chan error // set for a flush
}

func newGroup() *group {
	return &group{ims: map[*Importer]bool{}, folders: map[*folder]bool{}}
}

// NewCommitter starts a committer. It must be closed.
func NewCommitter(opts *CommitOptions) *Committer {
	c := &Committer{cur: newGroup()}
	c.work.init()
	c.moved = sync.NewCond(&c.mu)
	if opts != nil {
		c.opts = *opts
	}
	if c.opts.Writers <= 0 {
		c.opts.Writers = 2
	}
	if c.opts.MaxMessages <= 0 {
		c.opts.MaxMessages = 1000
	}
	if c.opts.MaxBytes <= 0 {
		c.opts.MaxBytes = 64 << 20
	}
	if c.opts.MaxDirs <= 0 {
		c.opts.MaxDirs = groupDirs()
	}
	if !safefs.HasSyncFS {
		c.opts.NoSyncFS = true
	}
	if c.opts.Sync == SyncEach {
		c.opts.MaxMessages = 1
	}
	for range c.opts.Writers {
		c.all.Go(func() error {
			w := writer{hash: newContentHash()}
			for batch := c.work.take(c.opts.Writers, nil); batch != nil; batch = c.work.take(c.opts.Writers, batch) {
				for _, t := range batch {
					w.stage(c, t)
				}
			}
			return nil
		})
	}
	go c.commits()
	return c
}

func (c *Committer) now() time.Time {
	if c.opts.Now != nil {
		return c.opts.Now()
	}
	return time.Now()
}

// separately says that there is no sync of a whole file system to rely on.
func (c *Committer) separately() bool {
	return c.opts.Sync == SyncEach || c.opts.Sync == SyncGroup && c.opts.NoSyncFS
}

func (c *Committer) err() error {
	if p := c.fail.Load(); p != nil {
		return *p
	}
	return nil
}

// fatal keeps the first error that ends the import.
func (c *Committer) fatal(err error) error {
	c.fail.CompareAndSwap(nil, &err)
	return c.err()
}

func (c *Committer) add(t *task) error {
	if err := c.err(); err != nil {
		if t.next != nil {
			close(t.next)
		}
		return err
	}
	c.mu.Lock()
	g := c.cur
	t.g = g
	t.m.from.hold()
	g.tasks = append(g.tasks, t)
	g.bytes += t.m.Size
	g.staged.Add(1)
	if !g.ims[t.im] {
		g.ims[t.im] = true
		t.im.mu.Lock()
		t.im.refs++
		t.im.mu.Unlock()
	}
	if t.f != nil {
		g.folders[t.f] = true
	}
	full := len(g.tasks) >= c.opts.MaxMessages || g.bytes >= c.opts.MaxBytes || len(g.folders) >= c.opts.MaxDirs
	if full {
		c.seal()
	}
	c.mu.Unlock()
	c.work.put(t)
	if full {
		c.wait()
	}
	return c.err()
}

// wait lets no more than one group wait for its commit.
func (c *Committer) wait() {
	c.mu.Lock()
	for len(c.queue) > 1 {
		c.moved.Wait()
	}
	c.mu.Unlock()
}

// seal closes the group that is being filled and begins the next. The caller
// holds c.mu, so that groups are committed in the order of their messages.
func (c *Committer) seal() {
	c.queue = append(c.queue, c.cur)
	c.cur = newGroup()
	c.moved.Broadcast()
}

// sealed waits for the next group to commit; nil is the end.
func (c *Committer) sealed() *group {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) == 0 {
		if c.ended {
			return nil
		}
		c.moved.Wait()
	}
	g := c.queue[0]
	c.queue = c.queue[1:]
	c.moved.Broadcast()
	return g
}

func (c *Committer) closing(im *Importer) error {
	c.mu.Lock()
	g := c.cur
	g.closing = append(g.closing, im)
	g.dirs += max(len(im.folders), 1)
	full := g.dirs >= c.opts.MaxDirs
	if full {
		c.seal()
	}
	c.mu.Unlock()
	if full {
		c.wait()
	}
	return c.err()
}

// Flush returns when all that was added before is on the disk.
func (c *Committer) Flush() error {
	c.mu.Lock()
	g := c.cur
	g.done = make(chan error, 1)
	c.seal()
	c.mu.Unlock()
	return <-g.done
}

// Close flushes and ends the committer. Importers that are still open are not
// closed.
func (c *Committer) Close() error {
	err := c.Flush()
	c.work.end()
	c.all.Wait()
	c.mu.Lock()
	c.ended = true
	c.moved.Broadcast()
	c.mu.Unlock()
	return err
}
