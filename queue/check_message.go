//go:build unix

package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

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
	x.arrive = state == S2 && mess.placed && !x.c.old(mess.info)
	x.owners()
	if mess != nil {
		x.inode(mess)
	}
	x.state(state)
	x.arrive = false
	return x.contents()
}

// file is the file of the message in p, the one in its place first; nil where
// there is none.
func (x *examiner) file(p Part) *found {
	var f *found
	for i := range x.files {
		if x.files[i].part == p && (f == nil || x.files[i].placed && !f.placed) {
			f = &x.files[i]
		}
	}
	return f
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
			of(x.id, f.part).toFix("repair moves it out of the queue"))
	}
	x.files = files
}

// places says which files are not where qmail looks for them.
func (x *examiner) places() {
	var seen Parts
	for _, f := range x.files {
		if f.placed {
			seen = seen.With(f.part)
		}
	}
	for _, f := range x.files {
		if f.placed {
			continue
		}
		_, base := splitPath(f.path)
		to := x.c.q.layout.Path(f.part, x.id)
		switch {
		case seen.Has(f.part):
			d := newFault(codeDuplicate, qmailkit.Error, f.path, "second file of message %d in %v", x.id, f.part).of(x.id, f.part)
			x.add(d.toFix("repair moves it out of the queue"))
			continue
		case base != x.id.String():
			n := newFault(codeName, qmailkit.Error, f.path, "name is not that of message %d", x.id).of(x.id, f.part)
			n.to = to
			x.add(n.toFix("repair moves it to %s", to))
		default:
			w := newFault(codeWrongSplit, qmailkit.Error, f.path, "qmail looks for this file in %s", x.c.q.layout.Dir(f.part, x.id)).of(x.id, f.part)
			w.to = to
			x.add(w.toFix("repair moves it to %s", to))
		}
		seen = seen.With(f.part)
	}
}

// owners checks owners, modes and links.
func (x *examiner) owners() {
	for _, f := range x.files {
		// No yield is behind this checker: faults gather in x.
		gather := &checker{yield: func(f fault, _ error) bool {
			x.add(f)
			return true
		}}
		_ = gather.checkWanted(fault{path: f.path, id: x.id, part: f.part}, f.info, x.c.q.wantFile(f.part), qmailkit.Error)
		switch f.part {
		case Info, Local, Remote, Bounce:
			if f.info.Nlink > 1 {
				x.add(newFault(codeHardLink, qmailkit.Warning, f.path, "file has %d names", f.info.Nlink).
					of(x.id, f.part).toFix("no repair: what is written under one name shows under the other"))
			}
		}
	}
}

func (x *examiner) inode(mess *found) {
	ino := ID(mess.info.Ino)
	if ino == x.id {
		return
	}
	to := x.c.q.layout.Path(Mess, ino)
	f := newFault(codeInode, qmailkit.Error, mess.path, "inode number is %d", ino).of(x.id, Mess)
	f.to = to
	x.add(f.toFix("repair gives the message the number %d", ino))
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
				of(x.id, Info).toFix("none is needed: qmail-send ends the message when it is started"))
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
		f := newFault(codeNoMess, qmailkit.Error, x.file(p).path, "the message file is missing").of(x.id, p)
		for _, other := range x.files {
			if other.path != f.path {
				f.paths = append(f.paths, other.path)
			}
		}
		x.add(f.toFix("repair moves the files of message %d out of the queue: there is nothing to deliver", x.id))
		return
	}
	for _, f := range x.files {
		x.orphan(f, "there is no message of that number")
	}
}

func (x *examiner) orphan(f found, why string) {
	x.add(newFault(codeOrphan, qmailkit.Warning, f.path, "%s", why).of(x.id, f.part).toFix("repair moves it out of the queue"))
}

func (x *examiner) leftOver() {
	mess := x.file(Mess)
	f := newFault(codeLeftOver, qmailkit.Warning, mess.path, "message that qmail-queue did not finish, last read more than 36 hours ago").of(x.id, Mess)
	if intd := x.file(Intd); intd != nil {
		f.paths = append(f.paths, intd.path)
	}
	x.add(f.toFix("repair moves it out of the queue; else qmail-send will remove it"))
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
		of(x.id, Bounce).toFix("repair moves it out of the queue"))
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
		x.add(newFault(codeState, qmailkit.Error, intd.path, "%s", words).of(x.id, Intd).
			toFix("repair moves this file out of the queue"))
	case lists && parts.Has(Intd):
		for _, p := range [...]Part{Local, Remote} {
			if f := x.file(p); f != nil {
				x.orphan(*f, "recipients of an earlier message of a number that is arriving")
			}
		}
	case lists:
		f := newFault(codeNoInfo, qmailkit.Error, x.file(Mess).path, "the sender is missing: qmail-send will remove the message undelivered").of(x.id, Mess)
		for _, p := range [...]Part{Local, Remote, Bounce} {
			if l := x.file(p); l != nil {
				f.paths = append(f.paths, l.path)
			}
		}
		x.add(f.toFix("repair moves the message out of the queue, from where it can be queued again with another sender"))
	default: // a bounce only, of which was told
		if mess := x.file(Mess); x.c.old(mess.info) {
			x.leftOver()
		}
	}
}

// contents checks the records of the envelope that counts.
func (x *examiner) contents() error {
	if x.file(Mess) == nil {
		return nil
	}
	if todo := x.file(Todo); todo != nil {
		// What preprocessing has written until now will be written again.
		return x.records(todo)
	}
	if info := x.file(Info); info != nil {
		if err := x.infoFile(info); err != nil {
			return err
		}
	}
	for _, p := range [...]Part{Local, Remote} {
		if f := x.file(p); f != nil {
			if err := x.records(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// head reads the beginning of a file.
func (x *examiner) head(f *found) ([]byte, error) {
	if x.buf == nil {
		x.buf = make([]byte, keep)
	}
	if f.placed {
		n, _, err := x.dirs.read(f.part, x.id.String(), x.buf)
		return x.buf[:n], err
	}
	file, err := x.c.q.openFile(f.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	n, err := io.ReadFull(file, x.buf)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return x.buf[:n], err
}

func (x *examiner) infoFile(f *found) error {
	b, err := x.head(f)
	if err != nil {
		return err
	}
	bad := (*RecordError)(nil)
	if _, err := parseInfo(f.path, string(b)); errors.As(err, &bad) {
		x.add(newFault(codeBadInfo, qmailkit.Error, f.path, "%v", bad.Err).of(x.id, Info).
			toFix("repair moves the message out of the queue, from where it can be queued again with a sender"))
		return nil
	}
	if n := int64(bytes.IndexByte(b, 0)) + 1; f.info.Size > n {
		t := newFault(codeInfoTail, qmailkit.Info, f.path, "%d bytes behind the sender", f.info.Size-n).of(x.id, Info)
		t.offset = n
		x.add(t.toFix("none is needed: qmail ignores them"))
	}
	return nil
}

// recordCount counts the records of one kind that are wrong.
type recordCount struct {
	n     int64
	first int64 // offset
	err   error
}

func (c *recordCount) add(off int64, err error) {
	if c.n++; c.n == 1 {
		c.first, c.err = off, err
	}
}

func (c *recordCount) words() string {
	if c.n == 1 {
		return c.err.Error()
	}
	if c.n > maxBad {
		return fmt.Sprintf("%v, and at least %d more", c.err, maxBad)
	}
	return fmt.Sprintf("%v, and %d more", c.err, c.n-1)
}

// records checks local, remote or todo from beginning to end.
func (x *examiner) records(f *found) error {
	b, err := x.head(f)
	if err != nil {
		return err
	}
	var r io.Reader = bytes.NewReader(b)
	if len(b) == keep {
		file, err := x.c.q.openFile(f.path)
		if err != nil {
			return err
		}
		defer file.Close()
		r = file
	}
	kinds, longest := "TD", MaxRecord+1
	if f.part == Todo {
		kinds, longest = "upFT", MaxAddress+2
	}
	var bad, cut, long recordCount
	sender := false
	for x.recs.reset(r); ; {
		rec, err := x.recs.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		switch {
		case len(rec.Data) == 0 || !strings.Contains(kinds, string(rec.Data[:1])):
			bad.add(rec.Offset, fmt.Errorf("%w: %s", ErrRecord, quoteShort(rec.Data)))
		case !rec.Ended:
			cut.add(rec.Offset, fmt.Errorf("%w: %s", ErrCut, quoteShort(rec.Data)))
		case rec.Size > int64(longest):
			long.add(rec.Offset, fmt.Errorf("%w: %d bytes", ErrLong, rec.Size))
		}
		if bad.n > maxBad {
			break // it may be gigabytes of this
		}
		sender = sender || rec.Ended && len(rec.Data) > 0 && rec.Data[0] == 'F'
	}
	x.recordFault(f, codeBadRecord, qmailkit.Error, &bad, "repair moves the message out of the queue, from where it can be queued again")
	x.recordFault(f, codeCutRecord, qmailkit.Error, &cut, "repair moves the message out of the queue, from where it can be queued again")
	x.recordFault(f, codeLongRecord, qmailkit.Warning, &long, "no repair: it will be tried, and fail")
	if f.part == Todo && !sender && bad.n <= maxBad {
		x.add(newFault(codeNoSender, qmailkit.Error, f.path, "envelope without sender").of(x.id, Todo).
			toFix("repair moves the message out of the queue, from where it can be queued again with a sender"))
	}
	return nil
}

func (x *examiner) recordFault(f *found, code string, sev qmailkit.Severity, c *recordCount, fix string) {
	if c.n == 0 {
		return
	}
	r := newFault(code, sev, f.path, "%s", c.words()).of(x.id, f.part)
	r.offset = c.first
	x.add(r.toFix("%s", fix))
}
