//go:build unix

package queue

import (
	"errors"
	"io/fs"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// found is one file of a message.
type found struct {
	part   Part
	path   string
	placed bool
	info   safefs.Info
}

// verdict is what was found out about one number.
type verdict struct {
	faults []fault
	err    error
}

// messages checks each message, several at a time.
func (c *checker) messages() error {
	t, err := c.q.openTops()
	if err != nil {
		return err
	}
	defer t.close()
	type batch struct {
		all []verdict
		err error
	}
	for b := range parallel(c.q.workers(), c.ix.chunks(), func(ch chunk) batch {
		if err := c.ctx.Err(); err != nil {
			return batch{err: err}
		}
		dirs, err := c.q.openBucket(&t, ch.bucket)
		if err != nil {
			return batch{err: err}
		}
		defer dirs.close()
		x := &examiner{c: c, dirs: &dirs}
		b := batch{all: make([]verdict, len(ch.entries))}
		for i, e := range ch.entries {
			b.all[i] = x.look(e)
		}
		return b
	}) {
		if b.err != nil {
			return b.err
		}
		for _, v := range b.all {
			if err := c.deliver(v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) deliver(v verdict) error {
	for _, f := range v.faults {
		if err := c.fault(f); err != nil {
			return err
		}
	}
	if v.err != nil {
		return c.trouble(v.err)
	}
	return nil
}

// examiner checks messages. It serves one goroutine.
type examiner struct {
	c    *checker
	dirs *bucketDirs
	buf  []byte
	recs Records

	id     ID
	files  []found
	faults []fault
	arrive bool // the message may be arriving: nothing about it is damage
}

// look checks one message. As long as its files change it is looked at again;
// one that never comes to rest has nothing said of it.
func (x *examiner) look(e entry) verdict {
	name := e.id.String()
	for range looks {
		x.faults = nil
		err := x.examine(e, name)
		state := e.parts().State()
		steady := (state == S4 || state == S5) && len(x.faults) == 0
		if steady && err == nil {
			return verdict{}
		}
		// A fault counts where the files are the same after it as before.
		now, lookErr := x.dirs.look(name)
		if lookErr != nil {
			return verdict{x.faults, lookErr}
		}
		left, lookErr := x.c.q.remaining(e.extras)
		if lookErr != nil {
			return verdict{x.faults, lookErr}
		}
		if now == e.placed && len(left) == len(e.extras) && !errors.Is(err, fs.ErrNotExist) {
			return verdict{x.faults, err}
		}
		if e.placed, e.extras = now, left; e.parts() == 0 {
			return verdict{}
		}
	}
	return verdict{}
}

func (x *examiner) add(f fault) {
	if x.arrive {
		f.severity = qmailkit.Info
	}
	x.faults = append(x.faults, f)
}

// examine gathers the files of one number and tells what is wrong with them.
func (x *examiner) examine(e entry, name string) error {
	x.id, x.files, x.arrive = e.id, x.files[:0], false
	for p := range numParts {
		if !e.placed.Has(p) {
			continue
		}
		fi, err := x.dirs.lstat(p, name)
		if err != nil {
			return err
		}
		path := x.c.q.layout.Path(p, e.id)
		x.c.q.original(path, &fi)
		x.files = append(x.files, found{p, path, true, fi})
	}
	for _, xt := range e.extras {
		fi, err := x.c.q.lstat(xt.path)
		if err != nil {
			return err
		}
		x.files = append(x.files, found{xt.part, xt.path, false, fi})
	}
	x.plain()
	x.places()
	mess := x.file(Mess)
	state := x.parts().State()
	young := mess != nil && mess.placed && !x.c.old(mess.info)
	x.arrive = state == S2 && young
	x.owners(state == S3 && young)
	if mess != nil {
		x.inode(mess)
	}
	x.state(state)
	x.arrive = false
	return x.contents()
}

// file is the file of the message in p, nil where there is none. Of several it
// is the message file that has its right number, and else that in its place.
func (x *examiner) file(p Part) *found {
	var best *found
	for i := range x.files {
		f := &x.files[i]
		if f.part == p && (best == nil || x.rank(f) > x.rank(best)) {
			best = f
		}
	}
	return best
}

func (x *examiner) rank(f *found) int {
	switch {
	case f.part == Mess && f.info.Ino == uint64(x.id):
		return 2
	case f.placed:
		return 1
	}
	return 0
}

func (x *examiner) parts() Parts {
	var all Parts
	for _, f := range x.files {
		all = all.With(f.part)
	}
	return all
}

// plain takes away what only has the name of a file.
func (x *examiner) plain() {
	files := x.files[:0]
	for _, f := range x.files {
		if f.info.Mode.IsRegular() {
			files = append(files, f)
			continue
		}
		x.add(newFault(codeType, qmailkit.Error, f.path, "%s in the place of a file of message %d", typeOf(f.info.Mode), x.id).
			of(x.id).toFix("repair moves it out of the queue"))
	}
	x.files = files
}

// places says which files are not where qmail looks for them.
func (x *examiner) places() {
	for i := range x.files {
		f := &x.files[i]
		_, base := splitPath(f.path)
		to := x.c.q.layout.Path(f.part, x.id)
		switch {
		case x.file(f.part) != f:
			x.add(newFault(codeDuplicate, qmailkit.Error, f.path, "second file of message %d in %v", x.id, f.part).
				of(x.id).toFix("repair moves it out of the queue"))
		case f.placed:
		case base != x.id.String():
			x.add(newFault(codeName, qmailkit.Error, f.path, "name is not that of message %d", x.id).
				of(x.id).toFix("repair moves it to %s", to))
		default:
			x.add(newFault(codeWrongSplit, qmailkit.Error, f.path, "qmail looks for this file in %s", x.c.q.layout.Dir(f.part, x.id)).
				of(x.id).toFix("repair moves it to %s", to))
		}
	}
}

// owners checks owners, modes and links. While a message is arriving its intd may
// just have been made by somebody who has yet to give it away, and nobody reads
// it then.
func (x *examiner) owners(arriving bool) {
	for _, f := range x.files {
		// No yield is behind this checker: faults gather in x.
		gather := &checker{yield: func(f fault, _ error) bool {
			x.add(f)
			return true
		}}
		most := qmailkit.Error
		if arriving && f.part == Intd {
			most = qmailkit.Info
		}
		_ = gather.checkWanted(fault{path: f.path, id: x.id}, f.info, x.c.q.wantFile(f.part), most)
		switch f.part {
		case Info, Local, Remote, Bounce:
			if f.info.Nlink > 1 {
				x.add(newFault(codeHardLink, qmailkit.Info, f.path, "file has %d names", f.info.Nlink).
					of(x.id).toFix("no repair: what is written under one name shows under the other"))
			}
		}
	}
}

func (x *examiner) inode(mess *found) {
	ino := ID(mess.info.Ino)
	if ino == x.id {
		return
	}
	x.add(newFault(codeInode, qmailkit.Error, mess.path, "inode number is %d", ino).
		of(x.id).toFix("repair gives the message the number %d", ino))
}

// state says what the set of files means.
func (x *examiner) state(s State) {
	parts := x.parts()
	switch {
	case parts == 0:
	case !parts.Has(Mess):
		x.noMess(parts)
	case s == S2 || s == S3:
		if x.c.old(x.file(Mess).info) {
			x.leftOver()
		}
	case s == S4:
	case s == S5:
		x.bounceAge()
		if !parts.Has(Local) && !parts.Has(Remote) {
			x.add(newFault(codeNoRecipient, qmailkit.Info, x.file(Info).path, "preprocessed message without recipients").
				of(x.id).toFix("none is needed: qmail-send ends the message when it is started"))
		}
	default:
		x.illegal(parts)
	}
}

// noMess tells of files whose message is not there.
func (x *examiner) noMess(parts Parts) {
	for _, p := range [...]Part{Todo, Info} {
		if !parts.Has(p) {
			continue
		}
		x.add(newFault(codeNoMess, qmailkit.Error, x.file(p).path, "the message file is missing").of(x.id).
			toFix("repair moves the files of message %d out of the queue: there is nothing to deliver", x.id))
		return
	}
	for _, f := range x.files {
		x.orphan(f, "there is no message of that number")
	}
}

func (x *examiner) orphan(f found, why string) {
	x.add(newFault(codeOrphan, qmailkit.Warning, f.path, "%s", why).of(x.id).toFix("repair moves it out of the queue"))
}

func (x *examiner) leftOver() {
	x.add(newFault(codeLeftOver, qmailkit.Warning, x.file(Mess).path, "message that qmail-queue did not finish, last read more than 36 hours ago").
		of(x.id).toFix("repair moves it out of the queue; else qmail-send will remove it"))
}

// bounceAge tells of failures noted before the message was written.
func (x *examiner) bounceAge() {
	bounce, mess := x.file(Bounce), x.file(Mess)
	if bounce != nil && bounce.info.ModTime.Before(mess.info.ModTime) {
		x.staleBounce(bounce, "the failures noted here are older than the message")
	}
}

func (x *examiner) staleBounce(f *found, why string) {
	x.add(newFault(codeStaleBounce, qmailkit.Error, f.path, "%s: its sender would get those of another one", why).
		of(x.id).toFix("repair moves it out of the queue"))
}

// illegal tells what is too much, or missing, of a message that has its file in
// mess and is in none of the states.
func (x *examiner) illegal(parts Parts) {
	if bounce := x.file(Bounce); bounce != nil && !parts.Has(Info) || parts.Has(Todo) && parts.Has(Bounce) {
		x.staleBounce(bounce, "failures are noted of a message that was not yet tried")
	}
	lists := parts.Has(Local) || parts.Has(Remote)
	switch {
	case parts.Has(Todo): // nothing else is too much
	case parts.Has(Info):
		intd := x.file(Intd)
		words := "envelope under construction beside a preprocessed one"
		if x.file(Info).info.ModTime.Before(x.file(Mess).info.ModTime) {
			words = "the preprocessed envelope is older than the message, whose own is not complete"
		}
		x.add(newFault(codeState, qmailkit.Error, intd.path, "%s", words).of(x.id).
			toFix("repair moves this file out of the queue"))
	case lists && parts.Has(Intd):
		for _, p := range [...]Part{Local, Remote} {
			if f := x.file(p); f != nil {
				x.orphan(*f, "recipients of an earlier message of a number that is arriving")
			}
		}
	case lists:
		x.add(newFault(codeNoInfo, qmailkit.Error, x.file(Mess).path, "the sender is missing: qmail-send will remove the message undelivered").
			of(x.id).toFix("repair keeps its files outside the queue, from where it can be queued again with another sender"))
	default: // a bounce only, of which was told
		if mess := x.file(Mess); x.c.old(mess.info) {
			x.leftOver()
		}
	}
}
