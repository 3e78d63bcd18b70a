//go:build unix

package queue

import (
	"cmp"
	"context"
	"fmt"
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
	lacks   bool // directories of a new layout are still to be made
}

// Empty says that there is nothing to do. A conversion may have nothing to move
// and still have to make directories.
func (p *Plan) Empty() bool { return len(p.Actions) == 0 && !p.lacks }

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
// It goes by the inode numbers of the files as they are here, whatever
// Options.Inodes says of a queue that was unpacked elsewhere.
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
