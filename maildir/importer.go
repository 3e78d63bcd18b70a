package maildir

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
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
	// Flags, and whether the message goes to cur/ although it has none.
	Flags Flags
	Cur   bool
	// Keywords become Dovecot keywords of the folder: letters a to z.
	Keywords []string
	// Time is the message's arrival; it becomes the file's modification time.
	// Zero, and what lies in the future, is now: qmail-pop3d(8) does not show
	// files from the future.
	Time time.Time
	// Size is about the number of bytes that Body gives, and not less.
	Size int64
	// Body opens the message. It may be called more than once, and gives the
	// same bytes each time.
	Body func() io.Reader
	// Done, if not nil, is called once when the message's fate is sure: on the
	// disk, or there already, or failed. All calls of a Committer come one
	// after the other.
	Done func(Result)
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
	c       *Committer
	dir     *Dir
	j       *journal
	probs   []qmailkit.Problem
	sources map[string]*source
	forgot  bool // there was no journal: names tell what was delivered

	mu      sync.Mutex
	folders map[string]*folder
	refs    int // groups that hold messages of it, and one while it is open
	finish  func(*Dir) error
}

// A source counts the messages of one source.
type source struct {
	turn chan struct{} // closed when the message before the next one is counted
	seen map[uint64]uint32
}

// A folder is an open folder of an import.
type folder struct {
	*Dir
	named map[ID]struct{} // delivered by an import whose journal is gone

	mu       sync.Mutex
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
	d, err := c.create(root, name, o)
	if err != nil {
		return nil, err
	}
	j, probs, err := openJournal(d.root, o)
	if err != nil {
		d.Close()
		return nil, err
	}
	im := &Importer{
		c: c, dir: d, j: j, probs: probs, forgot: j.f == nil, refs: 1,
		sources: map[string]*source{}, folders: map[string]*folder{},
	}
	if err := im.recover(); err != nil {
		j.close()
		d.Close()
		return nil, err
	}
	return im, nil
}

// create makes the Maildir's directories, synced one by one only where the
// group's sync will not cover them.
func (c *Committer) create(root *os.Root, name string, o *Options) (*Dir, error) {
	if c.separately() {
		return CreateRoot(root, name, o)
	}
	parent := "."
	base := name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		parent, base = name[:i], name[i+1:]
	}
	if base == "." || base == "" {
		d, err := safefs.OpenDir(root, ".", o.hook)
		if err != nil {
			return nil, err
		}
		return createIn(d, ".", o, false)
	}
	d, err := safefs.OpenDir(root, parent, o.hook)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	sub, _, err := d.Mkdir(base, o.DirMode, o.owner())
	if err != nil {
		return nil, err
	}
	return createIn(sub, ".", o, false)
}

// Problems are the oddities found in the journal.
func (im *Importer) Problems() []qmailkit.Problem { return im.probs }

// recover ends the intents that the journal has open, and takes what is left
// of unfinished imports out of tmp/.
func (im *Importer) recover() error {
	folders := map[string]bool{".": true}
	if !im.forgot {
		for name, err := range im.dir.Folders(context.Background()) {
			if errors.Is(err, qmailkit.ErrIncomplete) {
				return err
			}
			if err == nil {
				folders[name] = true
			}
		}
	}
	groups := map[uint64]bool{}
	var voided []byte
	for i := range im.j.pending {
		r := &im.j.pending[i]
		groups[r.group] = true
		done, err := im.conclude(r)
		if err != nil {
			return err
		}
		if done {
			im.j.done = append(im.j.done, known{id: r.id, place: r.place()})
		} else {
			voided = appendLine(voided, (&record{kind: 'A', group: r.group, id: r.id}).text())
		}
	}
	if err := im.sweep(folders); err != nil {
		return err
	}
	if len(groups) == 0 {
		return nil
	}
	for name := range folders {
		if err := im.syncFolder(name); err != nil {
			return err
		}
	}
	for g := range groups {
		voided = appendLine(voided, (&record{kind: 'D', group: g}).text())
	}
	if err := im.j.append(voided); err != nil {
		return err
	}
	if err := im.j.sync(); err != nil {
		return err
	}
	return im.j.reload()
}

// conclude ends one intent: the file in tmp/, whose data are safe, gets its
// place. done is false where the message must be delivered again.
func (im *Importer) conclude(r *record) (done bool, err error) {
	d, err := im.dir.Folder(r.folder)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotMaildir) {
		return !im.abandoned(r), nil // its reader has taken the folder away
	}
	if err != nil {
		return false, err
	}
	defer d.Close()
	e := Entry{Folder: r.folder, Cur: r.cur, Name: r.name}
	err = d.tmp.RenameExcl(r.name.Base(), d.sub(e), r.name.String())
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrExist):
		return true, d.tmp.Remove(r.name.Base())
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	found, err := d.has(r.name.Base())
	return found || !im.abandoned(r), err
}

// abandoned says whether others may have cleaned the intent's file away.
func (im *Importer) abandoned(r *record) bool {
	return im.c.now().Sub(time.Unix(r.time, 0)) > abandonAfter
}

// has looks for a message by its base, under whatever flags.
func (d *Dir) has(base string) (bool, error) {
	for e, err := range d.Messages(context.Background()) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return false, err
		}
		if e.Name.Base() == base {
			return true, nil
		}
	}
	return false, nil
}

// sweep removes the files of unfinished imports from tmp/; what has an intent
// is gone from there by now.
func (im *Importer) sweep(folders map[string]bool) error {
	for name := range folders {
		d, err := im.dir.Folder(name)
		if err != nil {
			continue
		}
		err = d.sweep()
		d.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) sweep() error {
	for e, err := range d.tmp.Entries(context.Background()) {
		if err != nil {
			return err
		}
		if _, ours := importedID(e.Name()); ours {
			if err := d.tmp.Remove(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func (im *Importer) syncFolder(name string) error {
	d, err := im.dir.Folder(name)
	if err != nil {
		return nil // a reader's doing; its messages are his
	}
	defer d.Close()
	return errors.Join(d.newd.Sync(), d.cur.Sync(), d.tmp.Sync())
}

// importedID finds the ID in a name that importName made.
func importedID(name string) (ID, bool) {
	_, rest, ok := strings.Cut(name, ".R")
	if !ok || len(rest) < 32 {
		return ID{}, false
	}
	id, ok := parseID(rest[:32])
	return id, ok && strings.HasPrefix(rest[32:], importedMark+",S=")
}

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
	d, err := im.dir.createFolder(name, im.c.separately())
	if err != nil {
		return nil, err
	}
	f := &folder{Dir: d}
	if im.forgot {
		if f.named, err = named(d); err != nil {
			d.Close()
			return nil, err
		}
	}
	im.folders[name] = f
	return f, nil
}

// named finds messages of an earlier import by their names: the journal that
// would tell of them is gone.
func named(d *Dir) (map[ID]struct{}, error) {
	var out map[ID]struct{}
	for e, err := range d.Messages(context.Background()) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return nil, err
		}
		if id, ok := importedID(e.Name.String()); ok {
			if out == nil {
				out = map[ID]struct{}{}
			}
			out[id] = struct{}{}
		}
	}
	return out, nil
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
	s := im.sources[m.Source]
	if s == nil {
		s = &source{turn: make(chan struct{}), seen: map[uint64]uint32{}}
		close(s.turn)
		im.sources[m.Source] = s
	}
	t := &task{im: im, f: f, m: m, src: s, turn: s.turn, next: make(chan struct{})}
	t.result.Err = err
	s.turn = t.next
	return im.c.add(t)
}

// planted says that an error comes from what stands in the user's directory,
// and so concerns that folder only.
func planted(err error) bool {
	return errors.Is(err, ErrFolder) || errors.Is(err, qmailkit.ErrLink) || errors.Is(err, qmailkit.ErrNotPlain) ||
		errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}

// Close says that no more messages come. When the last of them is on the disk,
// finish is called if it is not nil, and the descriptors are given back.
func (im *Importer) Close(finish func(*Dir) error) error {
	im.mu.Lock()
	im.finish = finish
	im.mu.Unlock()
	return im.c.closing(im)
}

// release lets go of one reference; the last one ends the importer.
func (im *Importer) release() error {
	im.mu.Lock()
	im.refs--
	last := im.refs == 0
	im.mu.Unlock()
	if !last {
		return nil
	}
	var err error
	if im.finish != nil && im.c.err() == nil {
		err = im.finish(im.dir)
	}
	for _, f := range im.folders {
		f.Close()
	}
	return errors.Join(err, im.j.close(), im.dir.Close())
}
