//go:build unix

package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// held is a plain file of a message, as a repair found it.
type held struct {
	path     string
	part     Part
	ino      uint64
	uid, gid int
	mode     fs.FileMode
}

// fileRef is a file by its path and by the inode number that it has to have.
type fileRef struct {
	path string
	ino  uint64
	typ  fs.FileMode
}

func (h held) ref() fileRef { return fileRef{h.path, h.ino, 0} }

// oddity is something that is no file of a message and has no business where
// it is.
type oddity struct {
	fileRef
	reason string
}

// inventory is all that a repair looks at: every file, by the number that its
// name says. It is made anew for each plan, from what the file system says and
// not from what Options tell of a queue that was unpacked elsewhere.
type inventory struct {
	q      *Queue
	layout Layout // what the queue is to have
	groups map[ID][]held
	odd    []oddity
	// dirs are the numbered directories that the layout has no place for.
	dirs []string
	dev  uint64
}

// scanOrder has what qmail-queue makes last first: so a message that arrives
// meanwhile is seen without its envelope, never an envelope without its
// message.
var scanOrder = [...]Part{Todo, Intd, Info, Local, Remote, Bounce, Mess}

// takeInventory lists the queue.
func (q *Queue) takeInventory(ctx context.Context, layout Layout) (*inventory, error) {
	inv := &inventory{q: q, layout: layout, groups: map[ID][]held{}}
	fi, err := q.top.Lstat(".")
	if err != nil {
		return nil, err
	}
	inv.dev = fi.Dev
	if err := inv.top(ctx); err != nil {
		return nil, err
	}
	var loose []held
	for _, p := range scanOrder {
		more, err := inv.part(ctx, p)
		if err != nil {
			return nil, err
		}
		loose = append(loose, more...)
	}
	inv.adopt(loose)
	return inv, nil
}

// top looks at what lies beside the parts: unknown names, and those in lock
// and pid.
func (inv *inventory) top(ctx context.Context) error {
	err := inv.eachIn(ctx, ".", func(name string, fi safefs.Info) {
		switch {
		case !slices.Contains(flatDirs[:], name):
			inv.oddly(name, fi, "does not belong in a queue")
		case !fi.Mode.IsDir():
			inv.oddly(name, fi, "is no directory")
		}
	})
	if err != nil {
		return err
	}
	err = inv.eachIn(ctx, "lock", func(name string, fi safefs.Info) {
		switch {
		case name == mendName && fi.Mode.IsDir():
		case !slices.Contains(lockFiles[:], name):
			inv.oddly("lock/"+name, fi, "does not belong in lock")
		case name == mutexName && !fi.Mode.IsRegular():
			// Lock has renamed it when the plan is carried out.
			inv.oddly("lock/"+oddMutex, fi, "stood in the place of "+mutexName)
		case fi.Mode.Type() != inv.q.lockShape(name).mode.Type():
			inv.oddly("lock/"+name, fi, "is of the wrong type")
		}
	})
	if err != nil {
		return err
	}
	now := inv.q.opts.Now()
	return inv.eachIn(ctx, "pid", func(name string, fi safefs.Info) {
		begun, ok := parsePidName(name)
		switch {
		case !ok || !fi.Mode.IsRegular() || fi.ModTime.Before(begun.Add(-death)) || fi.ModTime.After(begun.Add(2*death)):
			inv.oddly("pid/"+name, fi, "does not belong in pid")
		case now.After(fi.ATime.Add(leftBehind)):
			inv.oddly("pid/"+name, fi, "was left behind by a qmail-queue that ended")
		}
	})
}

func (inv *inventory) oddly(path string, fi safefs.Info, reason string) {
	inv.odd = append(inv.odd, oddity{fileRef{path, fi.Ino, fi.Mode.Type()}, reason})
}

// eachIn calls f for each entry of a directory, if there is one.
func (inv *inventory) eachIn(ctx context.Context, dir string, f func(name string, fi safefs.Info)) error {
	d, err := inv.q.openDir(dir)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	for e, err := range d.Entries(ctx) {
		if err != nil {
			return err
		}
		fi, err := d.Lstat(e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if fi.Dev != inv.dev {
			return fmt.Errorf("queue: %s/%q lies on another file system", dir, e.Name())
		}
		f(e.Name(), fi)
	}
	return nil
}

// part lists a part and its numbered directories. The result are files whose
// names are no numbers.
func (inv *inventory) part(ctx context.Context, p Part) (loose []held, err error) {
	var subs []string
	err = inv.eachIn(ctx, p.String(), func(name string, fi safefs.Info) {
		n, numbered := dirNumber(name)
		wanted := inv.layout.IsSplit(p) && n < inv.layout.Split
		switch {
		case numbered && fi.Mode.IsDir():
			subs = append(subs, name)
			if !wanted {
				inv.dirs = append(inv.dirs, p.String()+"/"+name)
			}
		case numbered && wanted:
			inv.oddly(p.String()+"/"+name, fi, "stands where a directory has to be")
		default:
			loose = inv.file(p, p.String()+"/"+name, name, fi, loose)
		}
	})
	for _, sub := range subs {
		if err != nil {
			return nil, err
		}
		dir := p.String() + "/" + sub
		err = inv.eachIn(ctx, dir, func(name string, fi safefs.Info) {
			loose = inv.file(p, dir+"/"+name, name, fi, loose)
		})
	}
	return loose, err
}

// file puts an entry where it belongs.
func (inv *inventory) file(p Part, path, name string, fi safefs.Info, loose []held) []held {
	if !fi.Mode.IsRegular() {
		inv.oddly(path, fi, "is no plain file")
		return loose
	}
	h := held{path, p, fi.Ino, fi.UID, fi.GID, fi.Mode}
	if id, err := ParseID(name); err == nil {
		inv.groups[id] = append(inv.groups[id], h)
		return loose
	}
	return append(loose, h)
}

// adopt finds the messages of files whose names are not quite numbers: zeros
// too many, or blanks. Such files are adopted where exactly they are missing,
// several of a message together; a message file may also be known by its inode
// number. The rest does not belong.
func (inv *inventory) adopt(loose []held) {
	claims := map[ID][]held{}
	for _, h := range loose {
		_, base := splitPath(h.path)
		id, ok := meantID(base)
		if h.part == Mess && (!ok || ID(h.ino) != id && len(inv.groups[id]) == 0) {
			id, ok = ID(h.ino), true
		}
		if ok {
			claims[id] = append(claims[id], h)
		}
	}
	taken := map[string]bool{}
	for id, files := range claims {
		have, all := inv.groups[id], parts(files)
		set := parts(have)
		// One alone is decided about below.
		whole := set | all
		if len(files) < 2 || bits.OnesCount(uint(all)) != len(files) || set&all != 0 || !whole.Has(Mess) || whole.State() == Illegal {
			continue
		}
		inv.groups[id] = append(have, files...)
		for _, h := range files {
			taken[h.path] = true
		}
	}
	for _, h := range loose {
		if taken[h.path] {
			continue
		}
		_, base := splitPath(h.path)
		id, ok := meantID(base)
		ok = ok && inv.lacks(id, h.part)
		if !ok && h.part == Mess {
			id = ID(h.ino)
			ok = inv.lacks(id, Mess)
		}
		if !ok {
			inv.odd = append(inv.odd, oddity{h.ref(), "is not named as a file of a message"})
			continue
		}
		inv.groups[id] = append(inv.groups[id], h)
	}
}

// meantID reads the number that a name was meant to be.
func meantID(name string) (ID, bool) {
	name = strings.Trim(name, " \t\r\n")
	if rest := strings.TrimLeft(name, "0"); rest != "" {
		name = rest
	}
	id, err := ParseID(name)
	return id, err == nil
}

// lacks says whether a message has files, but not this one, and would be
// complete with it.
func (inv *inventory) lacks(id ID, p Part) bool {
	have := parts(inv.groups[id])
	return have != 0 && !have.Has(p) && have.With(p).State() != Illegal
}

func parts(files []held) (set Parts) {
	for _, h := range files {
		set = set.With(h.part)
	}
	return set
}

// pick parts the files of one number into those that count, one of each part,
// and the doubles. Of message files that with the right inode number counts, of
// others that in the place where qmail looks.
func (inv *inventory) pick(id ID, files []held) (one [numParts]*held, doubles []held) {
	slices.SortFunc(files, func(a, b held) int { return strings.Compare(a.path, b.path) })
	rank := func(h *held) int {
		n := 0
		if h.part == Mess && ID(h.ino) == id {
			n += 4
		}
		if h.path == inv.q.layout.Path(h.part, id) {
			n += 2
		}
		if h.path == inv.layout.Path(h.part, id) {
			n++
		}
		return n
	}
	for i := range files {
		h := &files[i]
		if old := one[h.part]; old == nil || rank(h) > rank(old) {
			one[h.part] = h
		}
	}
	for i := range files {
		if h := &files[i]; one[h.part] != h {
			doubles = append(doubles, *h)
		}
	}
	return one, doubles
}
