//go:build unix

package queue

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A planner turns an inventory into a plan.
type planner struct {
	*inventory
	plan *Plan
	// bearer is the number that a message file is to be taken for where it has
	// names of several: hard links.
	bearer map[uint64]ID
}

func (pl *planner) add(a Action) { pl.plan.Actions = append(pl.plan.Actions, a) }

// quarantine keeps files together; first of them, so that the item is named
// after it, the message.
func (pl *planner) quarantine(id ID, reason string, stay *held, files ...held) {
	a := Action{Op: OpQuarantine, ID: id, Reason: reason}
	for _, h := range files {
		a.Paths = append(a.Paths, h.path)
		a.refs = append(a.refs, h.ref())
	}
	if stay != nil {
		a.stay = append(a.stay, stay.ref())
	}
	a.Path = a.Paths[0]
	pl.add(a)
}

// message decides about the files of one number.
func (pl *planner) message(id ID) error {
	one, doubles := pl.pick(id, pl.groups[id])
	for _, h := range doubles {
		pl.quarantine(id, "the message has this file twice", nil, h)
	}
	mess := one[Mess]
	var files []held
	for _, h := range one {
		if h != nil {
			files = append(files, *h)
		}
	}
	if mess == nil {
		pl.quarantine(id, "there is no message of this number", nil, files...)
		return nil
	}
	if other := pl.bearer[mess.ino]; other != id {
		pl.quarantine(id, fmt.Sprintf("the message file is that of %d, under a second name", other), nil, files...)
		return nil
	}
	set := parts(files)
	if state := set.State(); state != S4 && state != S5 {
		young, err := pl.young(id, mess)
		if err != nil {
			return err
		}
		if !young && ID(mess.ino) == id && state != Illegal {
			pl.quarantine(id, "it was left behind by a qmail-queue or qmail-send that ended", nil, files...)
			return nil
		}
		if state == Illegal {
			gone := pl.illegal(id, set, one, young)
			files = slices.DeleteFunc(files, func(h held) bool { return gone.Has(h.part) })
			if set = parts(files); set == 0 {
				return nil
			}
		}
	}
	reason, err := pl.broken(set, one)
	if err != nil {
		return err
	}
	if reason != "" {
		pl.quarantine(id, reason, nil, files...)
		return nil
	}
	if set.Has(Info) && set.Has(Bounce) {
		older, err := pl.older(one[Bounce], mess)
		if err != nil {
			return err
		}
		if older {
			pl.quarantine(id, "these failures were noted before the message came: they are another's", mess, *one[Bounce])
			files = slices.DeleteFunc(files, func(h held) bool { return h.part == Bounce })
		}
	}
	pl.place(id, ID(mess.ino), files)
	return nil
}

// place plans owners and moves for the files of a message that is to be called
// now.
func (pl *planner) place(id, now ID, files []held) {
	for _, h := range files {
		want := pl.q.fileShape(h.part)
		if !want.fits(safefs.Info{Mode: h.mode, UID: h.uid, GID: h.gid}) {
			pl.add(Action{Op: OpOwn, ID: id, Path: h.path, refs: []fileRef{h.ref()}, want: want,
				Reason: fmt.Sprintf("it is %04o %d:%d", h.mode.Perm(), h.uid, h.gid)})
		}
		to := pl.layout.Path(h.part, now)
		if h.path == to {
			continue
		}
		reason := "qmail looks for it there"
		if now != id {
			reason = fmt.Sprintf("the message file is inode %d", now)
		}
		pl.add(Action{Op: OpMove, ID: id, Path: h.path, To: to, refs: []fileRef{h.ref()}, Reason: reason})
	}
}

// young says whether a message may be just arriving: it has its right number,
// and was read or written in the last 36 hours.
func (pl *planner) young(id ID, mess *held) (bool, error) {
	if ID(mess.ino) != id {
		return false, nil
	}
	fi, err := pl.q.topInfo(mess.path)
	if err != nil {
		return false, err
	}
	return !pl.q.opts.Now().After(fi.ATime.Add(leftBehind)), nil
}

// illegal takes what should not be there away from a message in no legal state.
// It returns the parts that are gone.
func (pl *planner) illegal(id ID, set Parts, one [numParts]*held, young bool) (gone Parts) {
	take := func(reason string, stay *held, ps ...Part) {
		var files []held
		for _, p := range ps {
			if one[p] != nil {
				files = append(files, *one[p])
				gone = gone.With(p)
			}
		}
		if len(files) > 0 {
			pl.quarantine(id, reason, stay, files...)
		}
	}
	mess := one[Mess]
	switch {
	case set.Has(Todo):
		take("failures cannot have been noted before the message was preprocessed", mess, Bounce)
	case set.Has(Info):
		take("the message is preprocessed already", mess, Intd)
	case young:
		// The message may be just arriving, under a number whose last bearer
		// left files behind. So it stays, and is kept as well: if it has lost
		// its sender, qmail will take it for dead and remove it.
		take("there is no sender", mess, Local, Remote, Bounce)
	default:
		take("there is no sender", nil, Mess, Local, Remote, Bounce, Intd)
	}
	return gone
}

// older says whether a was written before b.
func (pl *planner) older(a, b *held) (bool, error) {
	fa, err := pl.q.topInfo(a.path)
	if err != nil {
		return false, err
	}
	fb, err := pl.q.topInfo(b.path)
	return err == nil && fa.ModTime.Before(fb.ModTime), err
}

// broken says why qmail could not read the envelope that counts in a message's
// state.
func (pl *planner) broken(set Parts, one [numParts]*held) (string, error) {
	var look []Part
	switch set.State() {
	case S4:
		look = []Part{Todo}
	case S5:
		look = []Part{Info, Local, Remote}
	}
	for _, p := range look {
		if one[p] == nil {
			continue
		}
		f, err := pl.q.openFile(one[p].path)
		if errors.Is(err, fs.ErrPermission) {
			// Whoever runs this as a plain user sees it when the owner is right.
			continue
		}
		if err != nil {
			return "", err
		}
		err = checkRecords(f, p)
		f.Close()
		if errors.Is(err, ErrRecord) || errors.Is(err, ErrCut) {
			return fmt.Sprintf("%s: %v", one[p].path, err), nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", nil
}

// checkRecords says what qmail would not understand in a file of part p. A
// record that is only too long it would try to deliver.
func checkRecords(r io.Reader, p Part) error {
	letters := "TD"
	switch p {
	case Info:
		letters = "F"
	case Todo, Intd:
		letters = "upFT"
	}
	recs := NewRecords(r)
	senders := 0
	for {
		rec, err := recs.Next()
		if err == io.EOF {
			break
		}
		switch {
		case err != nil:
		case len(rec.Data) == 0 || strings.IndexByte(letters, rec.Data[0]) < 0:
			err = fmt.Errorf("%w: %s", ErrRecord, quoteShort(rec.Data))
		case !rec.Ended:
			err = fmt.Errorf("%w: %s", ErrCut, quoteShort(rec.Data))
		}
		if err != nil {
			return err
		}
		if rec.Data[0] == 'F' {
			senders++
		}
		if p == Info {
			break // qmail reads no further
		}
	}
	if senders == 0 && (p == Info || p == Todo) {
		return fmt.Errorf("%w: there is no sender", ErrRecord)
	}
	return nil
}

// dirs plans the directories that are missing or not as they have to be.
func (pl *planner) dirs() error {
	check := func(path, name string) error {
		want := pl.q.dirShape(name)
		fi, err := pl.q.topInfo(path)
		reason := "it is missing"
		switch {
		case missing(err):
		case err != nil:
			return err
		case fi.Mode.IsDir() && want.fits(fi):
			return nil
		case fi.Mode.IsDir():
			reason = fmt.Sprintf("it is %04o %d:%d", fi.Mode.Perm(), fi.UID, fi.GID)
		}
		pl.add(Action{Op: OpMake, Path: path, want: want, Reason: reason})
		return nil
	}
	if err := check(".", "."); err != nil {
		return err
	}
	for _, name := range flatDirs {
		if err := check(name, name); err != nil {
			return err
		}
		p, n := partOf(name)
		if n == 0 || !pl.layout.IsSplit(p) {
			continue
		}
		for i := range pl.layout.Split {
			path := dirPath(p, i)
			if pl.plan.convert {
				// Those of a new layout are made once its journal is written:
				// half of them could not be told from a damaged queue.
				_, err := pl.q.topInfo(path)
				pl.plan.lacks = pl.plan.lacks || missing(err)
				continue
			}
			if err := check(path, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// topInfo describes a file as it is here, "." too.
func (q *Queue) topInfo(path string) (safefs.Info, error) {
	dir, base := splitPath(path)
	d, err := q.openDir(dir)
	if err != nil {
		return safefs.Info{}, err
	}
	defer d.Close()
	return d.Lstat(base)
}

// locks plans the files in lock.
func (pl *planner) locks() error {
	for _, name := range lockFiles {
		path := "lock/" + name
		want := pl.q.lockShape(name)
		fi, err := pl.q.topInfo(path)
		reason := ""
		switch {
		case missing(err):
			reason = "it is missing"
		case err != nil:
			return err
		case fi.Mode.Type() != want.mode.Type():
			reason = "it is of the wrong type"
		case !want.fits(fi):
			reason = fmt.Sprintf("it is %04o %d:%d", fi.Mode.Perm(), fi.UID, fi.GID)
		case name == "tcpto" && fi.Size != tcptoSize:
			reason = fmt.Sprintf("it has %d bytes", fi.Size)
		}
		if reason != "" {
			pl.add(Action{Op: OpMake, Path: path, want: want, Reason: reason})
		}
	}
	return nil
}
