//go:build unix

package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// Op is what an Action does.
type Op uint8

// The operations, in the order in which Apply does them.
const (
	// OpFinish goes on with a change that was interrupted. It stands alone:
	// what else there is to do shows in the next plan.
	OpFinish Op = iota
	// OpQuarantine takes files out of the queue, into the quarantine.
	OpQuarantine
	// OpMake makes a directory or a file in lock, or makes it right: type,
	// owner, mode, size.
	OpMake
	// OpOwn gives a file of a message its owner and mode.
	OpOwn
	// OpMove takes a file of a message to its place.
	OpMove
	// OpRemoveDir removes a directory that the layout has no place for.
	OpRemoveDir
)

var opNames = [...]string{"finish", "quarantine", "make", "own", "move", "rmdir"}

// String returns one word.
func (o Op) String() string { return opNames[min(int(o), len(opNames)-1)] }

// An Action is one step of a Plan.
type Action struct {
	Op Op
	// Path is what it concerns, relative to the queue. For OpQuarantine it is
	// the first of Paths.
	Path string
	// To is where OpMove takes the file.
	To string
	// Paths are the files that OpQuarantine keeps together.
	Paths []string
	// ID is the number of the message, as it stands in its file names; 0 where
	// there is none.
	ID ID
	// Reason is why, in words.
	Reason string

	refs []fileRef // of Paths, or of the one file
	stay []fileRef // kept as well, but not removed
	want shape
}

// String shows the action for reading, on one line and without control bytes.
func (a Action) String() string {
	s := fmt.Sprintf("%-10s %s", a.Op, plainText(a.Path))
	if a.To != "" {
		s += " to " + a.To
	}
	for _, p := range a.Paths[min(1, len(a.Paths)):] {
		s += " " + plainText(p)
	}
	switch a.Op {
	case OpMake, OpOwn:
		s += fmt.Sprintf(" %04o", a.want.mode.Perm())
		if a.want.owner != safefs.Keep {
			s += fmt.Sprintf(" %d:%d", a.want.owner.UID, a.want.owner.GID)
		}
	}
	return s + ": " + plainText(a.Reason)
}

// plainText escapes what a terminal must not see.
func plainText(s string) string {
	q := fmt.Sprintf("%+q", s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// A Plan is what a repair or a conversion will do. It holds for the queue as it
// was when it was made; Apply leaves files alone that are no longer the same.
type Plan struct {
	// Layout that the queue has afterwards.
	Layout  Layout
	Actions []Action

	convert bool // the layout differs from what the queue has
}

// Empty says that there is nothing to do.
func (p *Plan) Empty() bool { return len(p.Actions) == 0 }

// Moves says whether files get other names or places. Then mail should not
// arrive meanwhile: qmail-queue is locked out by nothing, and although no
// message is lost, one whose number is still taken by a wrong name is refused
// with a temporary error, and after a conversion a qmail-queue that was not
// replaced goes on to use the old layout.
func (p *Plan) Moves() bool {
	return p.convert || slices.ContainsFunc(p.Actions, func(a Action) bool { return a.Op == OpMove || a.Op == OpFinish })
}

// stopMail tells an administrator how nothing arrives.
const stopMail = `stop qmail-send (svc -d, or its TERM signal) and wait until it has ended
stop what queues mail: qmail-smtpd and qmail-qmtpd under their servers, cron jobs, and for local users
  chmod 0 bin/qmail-queue (4711 afterwards), which makes qmail-inject and sendmail fail for the moment
`

// String shows the plan, one line for each action. Before those that need it
// stands how to keep mail from arriving.
func (p *Plan) String() string {
	var b strings.Builder
	if p.Moves() {
		b.WriteString(stopMail)
	}
	if p.convert {
		fmt.Fprintf(&b, "layout     split %d, big todo %t\n", p.Layout.Split, p.Layout.BigTodo)
	}
	for _, a := range p.Actions {
		b.WriteString(a.String() + "\n")
	}
	return b.String()
}

// PlanRepair finds out what would make the queue whole: every message under
// the inode number of its file and where qmail looks for it, owners and modes as
// the installer gives them, all directories, the files in lock, and nothing
// else. It changes nothing and needs no lock.
//
// Messages are mended where it is plain what they were: a wrong number, a wrong
// directory, a name with blanks. What is not sent as it was meant goes to the
// quarantine, with all that belongs to it: a message without its sender, one
// whose envelope holds records that qmail does not understand, envelopes without
// a message, files that belong nowhere. A message that may be just arriving is
// left alone, and so are left-overs of one, which qmail removes after 36 hours.
//
// Where a change was interrupted the plan is to finish that, and nothing else.
func (q *Queue) PlanRepair(ctx context.Context) (*Plan, error) { return q.plan(ctx, q.layout) }

// PlanConvert is PlanRepair for a queue that is to be split in another way: into
// layout.Split directories, which should be a prime, with or without todo and
// intd (the big-todo patch). All programs of qmail have to be those built for it
// before they start again. The queue has to be opened anew after Apply.
func (q *Queue) PlanConvert(ctx context.Context, layout Layout) (*Plan, error) {
	if layout.Split < 1 || layout.Split > maxSplit {
		return nil, fmt.Errorf("queue: split of %d", layout.Split)
	}
	return q.plan(ctx, layout)
}

func (q *Queue) plan(ctx context.Context, layout Layout) (*Plan, error) {
	j, err := q.readJournal()
	if err != nil {
		return nil, err
	}
	if j != nil {
		return &Plan{Layout: j.layout, convert: j.layout != q.layout, Actions: []Action{{
			Op: OpFinish, Path: "lock/" + mendName, Reason: fmt.Sprintf("a change was interrupted, with %d files to move", len(j.moves)),
		}}}, nil
	}
	inv, err := q.takeInventory(ctx, layout)
	if err != nil {
		return nil, err
	}
	pl := &planner{inventory: inv, plan: &Plan{Layout: layout, convert: layout != q.layout}, bearer: map[uint64]ID{}}
	for id, files := range inv.groups {
		for _, h := range files {
			if old, ok := pl.bearer[h.ino]; h.part == Mess && (!ok || id == ID(h.ino) || old != ID(h.ino) && id < old) {
				pl.bearer[h.ino] = id
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(inv.groups)) {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		if err := pl.message(id); err != nil {
			return nil, err
		}
	}
	for _, o := range inv.odd {
		pl.add(Action{Op: OpQuarantine, Path: o.path, Paths: []string{o.path}, refs: []fileRef{o.fileRef}, Reason: o.reason})
	}
	if err := pl.dirs(); err != nil {
		return nil, err
	}
	if err := pl.locks(); err != nil {
		return nil, err
	}
	for _, dir := range inv.dirs {
		pl.add(Action{Op: OpRemoveDir, Path: dir, Reason: "the queue is not split that far"})
	}
	slices.SortStableFunc(pl.plan.Actions, func(a, b Action) int { return cmp.Compare(a.Op, b.Op) })
	return pl.plan, nil
}

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
		if n == 0 || !pl.layout.IsSplit(p) || pl.plan.convert {
			// Those of a new layout are made once its journal is written: half
			// of them could not be told from a damaged queue.
			continue
		}
		for i := range pl.layout.Split {
			if err := check(dirPath(p, i), name); err != nil {
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
