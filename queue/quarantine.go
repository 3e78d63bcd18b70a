//go:build unix

package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

var (
	// ErrNoItem says that the quarantine has nothing of that name.
	ErrNoItem = errors.New("no such item in the quarantine")
	// ErrOtherDisk says that something cannot be brought to a quarantine on
	// another file system, because it is no plain file.
	ErrOtherDisk = errors.New("quarantine is on another file system than the queue, and only plain files are copied there")
)

// A Quarantine is a directory outside the queue that takes what is removed from
// it. Each item is a directory with the message's files under the names of their
// parts, as they were, with owners, modes and times, and a description,
// about.json.
//
// It should lie on the file system of the queue: then the files are linked,
// which takes no room, and while an item lies there its inode numbers stay
// taken, so that no other message gets them. Elsewhere they are copied.
type Quarantine struct {
	dir *safefs.Dir
	now func() time.Time
}

// QuarantineOptions change how a quarantine is kept. The nil pointer is the
// zero value.
type QuarantineOptions struct {
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	hook safefs.Hook
}

// OpenQuarantine opens the directory root as a quarantine. Nobody but its owner
// should be able to enter it: it holds mail.
func OpenQuarantine(root *os.Root, opts *QuarantineOptions) (*Quarantine, error) {
	z := &Quarantine{now: time.Now}
	var hook safefs.Hook
	if opts != nil {
		hook = opts.hook
		if opts.Now != nil {
			z.now = opts.Now
		}
	}
	dir, err := safefs.OpenDir(root, ".", hook)
	if err != nil {
		return nil, err
	}
	z.dir = dir
	return z, nil
}

// Close gives the descriptor back.
func (z *Quarantine) Close() error { return z.dir.Close() }

// An Item is what was taken out of the queue at a time.
type Item struct {
	// Name of the item's directory.
	Name string `json:"-"`
	// ID is the number that the files had; 0 for something that was no
	// message's file.
	ID ID `json:"id"`
	// Kept is when.
	Kept time.Time `json:"kept"`
	// Reason is why, in words.
	Reason string `json:"reason"`
	// Files are what the item holds.
	Files []ItemFile `json:"files"`
	// Restored is how far bringing the message back got.
	Restored RestoreState `json:"-"`
}

// ItemFile is one file of an Item.
type ItemFile struct {
	// Name in the item's directory: that of the part, or "stray".
	Name string `json:"name"`
	// Path where it was in the queue; any bytes.
	Path []byte `json:"path"`
	// Ino is its inode number, there and here.
	Ino uint64 `json:"inode"`
	// ModTime is when it was last changed.
	ModTime time.Time `json:"modified"`
	// Copied says that the quarantine is on another file system.
	Copied bool `json:"copied,omitempty"`
	// Left says that it was left in the queue as well.
	Left bool `json:"left,omitempty"`
}

// Has says whether the item has a file of this name.
func (it *Item) Has(name string) bool {
	return slices.ContainsFunc(it.Files, func(f ItemFile) bool { return f.Name == name })
}

const (
	aboutName = "about.json"
	maxAbout  = 1 << 20
	newPrefix = ".new."
)

// keep puts links to the files into an item, which is on the disk when it
// returns. An item that holds them already is as good: the removal that should
// have followed was interrupted. Directories, which cannot be linked, are moved.
func (z *Quarantine) keep(ctx context.Context, q *Queue, id ID, reason string, refs, stay []fileRef) error {
	other, err := z.otherDisk(q)
	if err != nil {
		return err
	}
	it := &Item{ID: id, Kept: z.now().UTC(), Reason: reason}
	for i, ref := range slices.Concat(refs, stay) {
		f := ItemFile{Name: it.nameFor(ref.path, id), Path: []byte(ref.path), Ino: ref.ino, Copied: other, Left: i >= len(refs)}
		if fi, err := q.topInfo(ref.path); err == nil {
			f.ModTime = fi.ModTime.UTC()
		}
		it.Files = append(it.Files, f)
	}
	base := fmt.Sprintf("%d.%d", id, refs[0].ino)
	if id == 0 {
		base = fmt.Sprintf("stray.%d", refs[0].ino)
	}
	for n := 1; ; n++ {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		it.Name = base
		if n > 1 {
			it.Name = fmt.Sprintf("%s.%d", base, n)
		}
		old, err := z.Item(it.Name)
		switch {
		case errors.Is(err, ErrNoItem):
			if err := z.build(q, it); err != nil {
				return err
			}
			return z.moveDirs(q, it)
		case err == nil && old.holds(it.Files):
			return z.moveDirs(q, old)
		}
	}
}

// nameFor is the name that a file gets in the item.
func (it *Item) nameFor(path string, id ID) string {
	base := "stray"
	if p, n := partOf(path); n > 0 && id != 0 {
		base = p.String()
	}
	name := base
	for i := 2; it.Has(name); i++ {
		name = fmt.Sprintf("%s.%d", base, i)
	}
	return name
}

// holds says whether the item has all these files already. The inode number of
// a file that was copied may be that of another by now, of another time.
func (it *Item) holds(files []ItemFile) bool {
	for _, f := range files {
		if !slices.ContainsFunc(it.Files, func(o ItemFile) bool {
			return o.Ino == f.Ino && string(o.Path) == string(f.Path) && o.Copied == f.Copied && (!f.Copied || o.ModTime.Equal(f.ModTime))
		}) {
			return false
		}
	}
	return true
}

// otherDisk says whether the quarantine is on another file system.
func (z *Quarantine) otherDisk(q *Queue) (bool, error) {
	a, err := z.dir.Lstat(".")
	if err != nil {
		return false, err
	}
	b, err := q.top.Lstat(".")
	return a.Dev != b.Dev, err
}

// build makes a new item. It has its name only once it is complete.
func (z *Quarantine) build(q *Queue, it *Item) error {
	if err := z.drop(newPrefix + it.Name); err != nil {
		return err
	}
	d, _, err := z.dir.Mkdir(newPrefix+it.Name, 0o700, safefs.Keep)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, f := range it.Files {
		if err := linkInto(q, d, f); err != nil {
			z.drop(newPrefix + it.Name)
			return err
		}
	}
	about, err := json.MarshalIndent(it, "", "\t")
	if err == nil {
		err = d.WriteFile(aboutName, safefs.Replacement{Mode: 0o600, Owner: safefs.Keep, Temp: ".about"}, append(about, '\n'))
	}
	if err == nil {
		err = d.Sync()
	}
	if err == nil {
		err = z.dir.Rename(newPrefix+it.Name, z.dir, it.Name)
	}
	if err != nil {
		z.drop(newPrefix + it.Name)
		return err
	}
	return z.dir.Sync()
}

// linkInto links one file of the queue into an item, if it is still the one.
func linkInto(q *Queue, item *safefs.Dir, f ItemFile) error {
	dir, base := splitPath(string(f.Path))
	d, err := q.openDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if fi, err := d.Lstat(base); err != nil || fi.Ino != f.Ino {
		return errors.Join(fmt.Errorf("%s: %w", plainText(string(f.Path)), ErrGone), err)
	} else if f.Copied && !fi.Mode.IsRegular() {
		return fmt.Errorf("%s: %w", plainText(string(f.Path)), ErrOtherDisk)
	} else if fi.Mode.IsDir() {
		return nil // moveDirs
	}
	if f.Copied {
		return copyInto(d, base, item, f)
	}
	if err := d.Link(base, item, f.Name); err != nil {
		return err
	}
	fi, err := item.Lstat(f.Name)
	if err == nil && fi.Ino != f.Ino {
		err = fmt.Errorf("%s: %w", plainText(string(f.Path)), ErrGone)
	}
	return err
}

// copyInto copies one file of the queue into an item, with owner, mode and time.
func copyInto(d *safefs.Dir, base string, item *safefs.Dir, f ItemFile) error {
	src, err := d.OpenPlain(base, safefs.Expect{})
	if err != nil {
		return err
	}
	defer src.Close()
	fi, err := safefs.Stat(src)
	if err != nil {
		return err
	}
	if fi.Ino != f.Ino {
		return fmt.Errorf("%s: %w", plainText(string(f.Path)), ErrGone)
	}
	dst, err := item.Create(f.Name, fi.Mode.Perm(), safefs.Owner{UID: fi.UID, GID: fi.GID})
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	if err == nil {
		err = dst.SetTime(fi.ModTime)
	}
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}

// moveDirs moves the directories of an item into it, once it is there.
func (z *Quarantine) moveDirs(q *Queue, it *Item) error {
	item, err := z.dir.Sub(it.Name)
	if err != nil {
		return err
	}
	defer item.Close()
	for _, f := range it.Files {
		dir, base := splitPath(string(f.Path))
		d, err := q.openDir(dir)
		if missing(err) {
			continue
		}
		if err != nil {
			return err
		}
		fi, err := d.Lstat(base)
		if err == nil && fi.Mode.IsDir() && fi.Ino == f.Ino {
			err = errors.Join(d.Rename(base, item, f.Name), item.Sync(), d.Sync())
		}
		d.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// drop removes a directory of the quarantine with the files in it.
func (z *Quarantine) drop(name string) error {
	d, err := z.dir.Sub(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = empty(d)
	d.Close()
	if err != nil {
		return err
	}
	return z.dir.RemoveDir(name)
}

// empty removes all that is in a directory. A stray directory may hold others.
func empty(d *safefs.Dir) error {
	for e, err := range d.Entries(context.Background()) {
		if err != nil {
			return err
		}
		if e.IsDir() {
			sub, err := d.Sub(e.Name())
			if err == nil {
				err = empty(sub)
				sub.Close()
			}
			if err == nil {
				err = d.RemoveDir(e.Name())
			}
			if err != nil {
				return err
			}
			continue
		}
		if err := d.Remove(e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// Item reads one item by its name. An error wraps ErrNoItem where there is none.
func (z *Quarantine) Item(name string) (*Item, error) {
	d, err := z.open(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	it := &Item{Name: name}
	b, err := d.ReadFile(aboutName, maxAbout)
	if err == nil {
		err = json.Unmarshal(b, it)
	}
	if err != nil {
		return nil, fmt.Errorf("item %s: %w", plainText(name), err)
	}
	for _, f := range it.Files {
		if f.Name == "" || strings.Contains(f.Name, "/") {
			return nil, fmt.Errorf("item %s: malformed file name %q", plainText(name), f.Name)
		}
	}
	note, err := readNote(d)
	if err != nil {
		return nil, fmt.Errorf("item %s: %w", plainText(name), err)
	}
	it.Restored = note.State
	return it, nil
}

func (z *Quarantine) open(name string) (*safefs.Dir, error) {
	if name == "" || name[0] == '.' {
		return nil, fmt.Errorf("%w: %q", ErrNoItem, name)
	}
	d, err := z.dir.Sub(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, safefs.ErrLink) || errors.Is(err, safefs.ErrName) {
		return nil, fmt.Errorf("%w: %q", ErrNoItem, name)
	}
	return d, err
}

// Items yields what is in the quarantine, in no order.
func (z *Quarantine) Items(ctx context.Context) iter.Seq2[*Item, error] {
	return func(yield func(*Item, error) bool) {
		for e, err := range z.dir.Entries(ctx) {
			if err != nil {
				yield(nil, qmailkit.Incomplete(err))
				return
			}
			if e.Name()[0] == '.' {
				continue // never completed, or half removed
			}
			it, err := z.Item(e.Name())
			if errors.Is(err, ErrNoItem) {
				continue
			}
			if !yield(it, err) {
				return
			}
		}
	}
}

// Discard removes an item for good.
func (z *Quarantine) Discard(name string) error {
	d, err := z.open(name)
	if err != nil {
		return err
	}
	d.Close()
	// Under a name that nobody takes for an item it can be half removed.
	gone := newPrefix + name
	if err := z.drop(gone); err != nil {
		return err
	}
	if err := z.dir.Rename(name, z.dir, gone); err != nil {
		return err
	}
	if err := z.dir.Sync(); err != nil {
		return err
	}
	return z.drop(gone)
}

// OpenFile opens a file of an item for reading, such as "mess".
func (z *Quarantine) OpenFile(item, name string) (*os.File, error) {
	d, err := z.open(item)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.OpenPlain(name, safefs.Expect{})
}
