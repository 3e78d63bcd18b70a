package maildir

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A Message is one message on its way into a Maildir by an Importer.
type Message struct {
	// Folder is the directory name of the folder (see FolderDir); empty or "."
	// is the INBOX. It is made if it is missing.
	Folder string
	// Source names where the message comes from: a path relative to the move's
	// root, say. It is part of the message's ID; messages of one source must
	// be added in the source's order by one goroutine.
	Source string
	// Name, where it is valid, is the name that the message has in the Maildir
	// that it comes from, and keeps: its base is what POP3 and IMAP servers
	// know it by. It is then the message's ID, in place of its bytes, which a
	// later run need not read again; Flags, if other than the name's, go into
	// the name. A message with the same base may be in the Maildir already: it
	// is taken for this one.
	Name Name
	// Flags, and whether the message goes to cur/ although it has none.
	Flags Flags
	Cur   bool
	// Keywords become Dovecot keywords of the folder: letters a to z.
	Keywords []string
	// Time is the message's arrival; it becomes the file's modification time.
	// Zero, and what lies in the future, is now: qmail-pop3d(8) does not show
	// files from the future.
	Time time.Time
	// Size is about the number of bytes that Body gives, and not less. Of a
	// message with a Name it is exact.
	Size int64
	// Look, if not nil, is called before a message with a Name is read, and
	// gives its Size and Time. It is not called for one that is there already.
	Look func() (size int64, modTime time.Time, err error)
	// Body opens the message. It may be called more than once, and gives the
	// same bytes each time. A reader that is an io.Closer is closed, if the
	// message has a Name.
	Body func() io.Reader
	// Done, if not nil, is called once when the message's fate is sure: on the
	// disk, or there already, or failed. All calls of a Committer come one
	// after the other.
	Done func(Result)

	from *sourceDir // where it is read from; only Transfer sets it
}

// An Outcome is what became of a Message.
type Outcome uint8

const (
	// Failed: not delivered; Result.Err says why. A later run will try again.
	Failed Outcome = iota
	// Delivered: new in the Maildir, on the disk.
	Delivered
	// Present: an earlier run delivered it. It may have been moved or deleted
	// by its reader since, and is left alone.
	Present
	// Updated: an earlier run delivered it, only its source's flags have
	// changed since, and the Maildir's followed.
	Updated
	// Kept: an earlier run delivered it, its flags changed on both sides, and
	// the Maildir's stay.
	Kept
)

// String gives the word for reports.
func (o Outcome) String() string {
	return [...]string{"failed", "delivered", "present", "updated", "kept"}[o]
}

// A Result tells what became of a Message.
type Result struct {
	Outcome Outcome
	Entry   Entry // where it was put; only for Delivered and Updated
	ID      ID
	Size    int64 // bytes of the message, where it was read
	Err     error
	// KeywordsLost counts keywords for which no letter was left.
	KeywordsLost int
}

// An Importer brings messages into one Maildir. Its Committer makes them
// durable in groups.
type Importer struct {
	c     *Committer
	dir   *Dir
	j     *journal
	probs []qmailkit.Problem

	// unsynced says that something beside the messages was made that no sync
	// has covered.
	unsynced atomic.Bool

	mu      sync.Mutex
	sources map[string]*source
	folders map[string]*folder
	refs    int // groups that hold messages of it, and one while it is open
	finish  func(*Dir) error
}

// A source counts the messages of one source: those without a name in their
// turn, when their digest is known.
type source struct {
	turn  chan struct{} // closed when the message before the next one is counted
	seen  map[uint64]uint32
	bases map[uint64]uint32
}

func newSource() *source {
	s := &source{turn: make(chan struct{}), seen: map[uint64]uint32{}, bases: map[uint64]uint32{}}
	close(s.turn)
	return s
}

// A folder is an open folder of an import.
type folder struct {
	*Dir

	mu       sync.Mutex
	named    map[ID]Name         // delivered by earlier imports, but not in the journal
	bases    map[uint64]struct{} // hashes of the bases that it held before this import
	seed     maphash.Seed
	keywords *Keywords
	dirty    bool // has keywords that are not in the file yet
}

// Import opens the Maildir name below root for import, makes what is missing
// of it and finishes what an earlier run left unfinished. Nobody else may
// import into it meanwhile: the programs see to that by a lock.
func (c *Committer) Import(root *os.Root, name string, opts *Options) (*Importer, error) {
	o := opts.or()
	if c.opts.hook != nil {
		o.hook = c.opts.hook
	}
	d, err := createRoot(root, name, o, c.separately())
	if err != nil {
		return nil, err
	}
	j, probs, err := openJournal(d.root, o)
	if err != nil {
		d.Close()
		return nil, err
	}
	im := &Importer{
		c: c, dir: d, j: j, probs: probs, refs: 1,
		sources: map[string]*source{}, folders: map[string]*folder{},
	}
	im.unsynced.Store(d.made)
	if !c.separately() {
		d.later = &im.unsynced
	}
	if err := im.recover(); err != nil {
		j.close()
		d.Close()
		return nil, err
	}
	return im, nil
}

// Problems are the oddities found in the journal.
func (im *Importer) Problems() []qmailkit.Problem { return im.probs }

// folder opens or makes a folder once.
func (im *Importer) folder(name string) (*folder, error) {
	if name == "" {
		name = "."
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	if f := im.folders[name]; f != nil {
		return f, nil
	}
	d := im.dir // its descriptors serve the INBOX too
	if name != "." {
		var err error
		if d, err = im.dir.createFolder(name, im.c.separately()); err != nil {
			return nil, err
		}
		if d.made {
			im.unsynced.Store(true)
		}
	}
	f := &folder{Dir: d}
	im.folders[name] = f
	return f, nil
}

// Add hands a message over. Errors of this message go to its Done; an error
// that Add returns, disk full for one, ends the import: nothing more will be
// taken, and a later run completes it.
func (im *Importer) Add(ctx context.Context, m *Message) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	f, err := im.folder(m.Folder)
	if err != nil && !planted(err) {
		return im.c.fatal(err)
	}
	t := &task{im: im, f: f, m: m}
	t.result.Err = err
	im.mu.Lock()
	src := im.sources[m.Source]
	if src == nil {
		src = newSource()
		im.sources[m.Source] = src
	}
	if m.Name.IsValid() {
		t.result.ID = src.named(m)
	} else {
		t.src, t.next = src, make(chan struct{})
		t.turn, src.turn = src.turn, t.next
	}
	im.mu.Unlock()
	return im.c.add(t)
}

// MakeFolder makes an empty folder, durably, where it is missing.
func (im *Importer) MakeFolder(name string) error {
	f, err := im.dir.createFolder(name, im.c.opts.Sync != SyncNone)
	if err != nil {
		return err
	}
	return f.Close()
}

// planted says that an error comes from what stands in the user's directory,
// and so concerns that folder only.
func planted(err error) bool {
	return errors.Is(err, ErrFolder) || errors.Is(err, qmailkit.ErrLink) || errors.Is(err, qmailkit.ErrNotPlain) ||
		errors.Is(err, safefs.ErrForeign) || errors.Is(err, safefs.ErrTooBig) || errors.Is(err, fs.ErrNotExist) ||
		errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}

// Close says that no more messages come. When the last of them is on the disk,
// finish is called if it is not nil, and the descriptors are given back. An
// error that finish returns ends the import of all Maildirs.
func (im *Importer) Close(finish func(*Dir) error) error {
	im.mu.Lock()
	im.finish = finish
	im.mu.Unlock()
	return im.c.closing(im)
}

// last lets go of one reference, and says whether it was the last one.
func (im *Importer) last() bool {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.refs--
	return im.refs == 0
}

// finished calls what is to be called in the end.
func (im *Importer) finished() error {
	if im.finish == nil || im.c.err() != nil {
		return nil
	}
	return im.finish(im.dir)
}

// close gives the descriptors back.
func (im *Importer) close() error {
	for _, f := range im.folders {
		if f.Dir != im.dir {
			f.Close()
		}
	}
	return errors.Join(im.j.close(), im.dir.Close())
}
