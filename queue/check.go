//go:build unix

package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// The codes of Check.
const (
	codeMissingDir  = "queue.missing-dir"
	codeMissingFile = "queue.missing-file"
	codeType        = "queue.type"
	codeOwner       = "queue.owner"
	codeGroup       = "queue.group"
	codeMode        = "queue.mode"
	codeNoOwners    = "queue.owners-unknown"
	codeDevice      = "queue.device"
	codeHardLink    = "queue.hard-link"
	codeTcpto       = "queue.tcpto-size"
	codeUnfinished  = "queue.unfinished"
	codeExtraDir    = "queue.extra-dir"
	codeStray       = "queue.stray"
	codeName        = "queue.name"
	codeWrongSplit  = "queue.wrong-split"
	codeDuplicate   = "queue.duplicate"
	codeInode       = "queue.inode"
	codeNoMess      = "queue.no-mess"
	codeNoInfo      = "queue.no-info"
	codeOrphan      = "queue.orphan"
	codeStaleBounce = "queue.stale-bounce"
	codeState       = "queue.state"
	codeBadInfo     = "queue.bad-info"
	codeInfoTail    = "queue.info-tail"
	codeBadRecord   = "queue.bad-record"
	codeCutRecord   = "queue.cut-record"
	codeLongRecord  = "queue.long-record"
	codeNoSender    = "queue.no-sender"
	codeNoRecipient = "queue.no-recipients"
	codeLeftOver    = "queue.left-over"
)

// A fault is a Problem as it is found.
type fault struct {
	code     string
	severity qmailkit.Severity
	path     string // where it is, relative to the queue
	offset   int64
	words    string // what is wrong
	fix      string // what a repair does about it
	id       ID     // the message that has it, if any
}

func newFault(code string, sev qmailkit.Severity, path, format string, args ...any) fault {
	return fault{code: code, severity: sev, path: path, words: fmt.Sprintf(format, args...)}
}

// toFix adds what a repair does.
func (f fault) toFix(format string, args ...any) fault {
	f.fix = fmt.Sprintf(format, args...)
	return f
}

// of adds which message has the fault.
func (f fault) of(id ID) fault {
	f.id = id
	return f
}

func (f fault) problem() qmailkit.Problem {
	return qmailkit.Problem{
		Code: f.code, Severity: f.severity, Path: f.path, Offset: f.offset,
		Err: errors.New(f.words), Fix: f.fix,
	}
}

// Check yields what is wrong with the queue, in the words of the table below.
// It only reads, so that qmail-send may run: what is on its way from one state
// to the next is looked at twice, and is no damage. Reading moves the times of
// access, though, by which qmail counts the age of what was left behind.
//
// A queue that qmail's programs made, killed at whatever moment, has no Problem
// above Info.
//
//	code                  severity  what, and what comes of it
//	queue.missing-dir     error     a directory is missing; qmail-send waits for one of the split for ever
//	queue.missing-file    error     sendmutex, trigger or tcpto is missing
//	queue.type            error     something else stands where a directory, a file or the trigger should: a
//	                                link, a FIFO, a device
//	queue.owner           error     wrong owner; messages of others than qmailq are refused by the spawn programs
//	queue.group           warning   wrong group
//	queue.mode            error     wrong permissions (a warning where they hinder nobody)
//	queue.owners-unknown  error     the directories belong to root: name the owners in the options
//	queue.device          error     a directory lies on another file system: qmail-queue cannot link into it
//	queue.hard-link       info      a file of qmail-send has a second name
//	queue.tcpto-size      warning   tcpto is not 1024 bytes long
//	queue.unfinished      error     a change of the queue by this package was interrupted
//	queue.extra-dir       error     a numbered directory outside the split: qmail reads nothing in it
//	queue.stray           warning   something that has no place in a queue
//	queue.name            error     a file's name is a number with zeros or blanks too many
//	queue.wrong-split     error     a file is where qmail does not look. Where that is local or remote, qmail-send
//	                                ends the message without delivering it
//	queue.duplicate       error     a second file of one number
//	queue.inode           error     the message file has not the inode number that is its name; a new message may
//	                                get that number
//	queue.no-mess         error     an envelope without message: it is tried for ever
//	queue.no-info         error     recipients and message without sender: never tried, and removed after 36 hours
//	queue.orphan          warning   a file without a message; a new one of that number may get it
//	queue.stale-bounce    error     noted failures older than the message, or before it was tried: its sender will
//	                                get those of another one
//	queue.state           error     another combination of files that no program leaves
//	queue.bad-info        error     the sender cannot be read: the message is tried for ever
//	queue.info-tail       info      something behind the sender, which qmail-send ignores
//	queue.bad-record      error     a record of unknown kind: qmail-send goes no further
//	queue.cut-record      error     a last record without its end: qmail-send does not see that recipient
//	queue.long-record     info      an address that qmail-queue would not have taken
//	queue.no-sender       error     todo without sender
//	queue.no-recipients   info      a preprocessed message without recipients: it was delivered, or ended early;
//	                                qmail-send removes it when it is started
//	queue.left-over       warning   what qmail-queue left behind more than 36 hours ago: qmail-send and qmail-clean
//	                                will remove it
//
// A message file alone, or with intd, that was read in the last 36 hours is one
// that is arriving; then no oddity of it is above Info, as long as it is in its
// place. (So a message that lost its info without a trace cannot be told from
// one that never came.)
//
// Errors concern a directory or a message that could not be read.
func (q *Queue) Check(ctx context.Context) iter.Seq2[qmailkit.Problem, error] {
	return func(yield func(qmailkit.Problem, error) bool) {
		for f, err := range q.faults(ctx) {
			p := qmailkit.Problem{}
			if err == nil {
				p = f.problem()
			}
			if !yield(p, err) {
				return
			}
		}
	}
}

// errStop ends a check whose caller has heard enough.
var errStop = errors.New("stopped")

// faults is Check before the words are put together.
func (q *Queue) faults(ctx context.Context) iter.Seq2[fault, error] {
	return func(yield func(fault, error) bool) {
		c := &checker{q: q, ctx: ctx, yield: yield, now: q.opts.Now()}
		err := c.tree()
		if err == nil {
			err = c.messages()
		}
		if err != nil && err != errStop {
			yield(fault{}, qmailkit.Incomplete(fmt.Errorf("queue: %w", err)))
		}
	}
}

// ownersKnown says whether o can be checked against. A queue of root's is a
// copy made without its owners.
func ownersKnown(o Owners) bool { return o.Qmailq > 0 && o.Qmails > 0 && o.Group > 0 }

// wanted is the owner and the mode of a file, as instcheck.c has them for those
// of the installation and the programs for those that they make. A negative
// number is anything.
type wanted struct {
	uid, gid int
	mode     fs.FileMode
}

func (q *Queue) wantOf(uid, gid int, mode fs.FileMode) wanted {
	if uid <= 0 {
		uid = -1
	}
	if gid <= 0 {
		gid = -1
	}
	return wanted{uid, gid, mode}
}

// wantDir is what the directory of a part, and those in it, have to have.
func (q *Queue) wantDir(p Part) wanted {
	o := q.owners
	switch p {
	case Mess, Todo:
		return q.wantOf(o.Qmailq, o.Group, 0o750)
	case Intd:
		return q.wantOf(o.Qmailq, o.Group, 0o700)
	}
	return q.wantOf(o.Qmails, o.Group, 0o700)
}

// wantFile is what the files of messages have to have. Those of qmail-queue
// have the group of whoever ran it.
func (q *Queue) wantFile(p Part) wanted {
	switch p {
	case Mess, Todo, Intd:
		return q.wantOf(q.owners.Qmailq, -1, 0o644)
	}
	return q.wantOf(q.owners.Qmails, q.owners.Group, 0o600)
}

// checkWanted yields what of fi is not as it has to be. Severities are lowered
// to at most most.
func (c *checker) checkWanted(f fault, fi safefs.Info, want wanted, most qmailkit.Severity) error {
	const bits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	if want.uid >= 0 && fi.UID != want.uid {
		err := c.fault(newFault(codeOwner, min(qmailkit.Error, most), f.path, "owner is %d and has to be %d", fi.UID, want.uid).
			of(f.id).toFix("repair gives it to %d", want.uid))
		if err != nil {
			return err
		}
	}
	if want.gid >= 0 && fi.GID != want.gid {
		err := c.fault(newFault(codeGroup, min(qmailkit.Warning, most), f.path, "group is %d and has to be %d", fi.GID, want.gid).
			of(f.id).toFix("repair gives it to group %d", want.gid))
		if err != nil {
			return err
		}
	}
	if have := fi.Mode & bits; have != want.mode {
		sev := qmailkit.Warning
		if have&want.mode != want.mode {
			sev = qmailkit.Error // somebody lacks what he needs
		}
		return c.fault(newFault(codeMode, min(sev, most), f.path, "mode is %04o and has to be %04o", modeBits(have), modeBits(want.mode)).
			of(f.id).toFix("repair sets it to %04o", modeBits(want.mode)))
	}
	return nil
}

// modeBits is a mode as chmod(1) takes it.
func modeBits(m fs.FileMode) uint32 {
	n := uint32(m.Perm())
	for bit, is := range map[uint32]bool{0o4000: m&fs.ModeSetuid != 0, 0o2000: m&fs.ModeSetgid != 0, 0o1000: m&fs.ModeSticky != 0} {
		if is {
			n |= bit
		}
	}
	return n
}

// typeOf names what stands where something else should.
func typeOf(m fs.FileMode) string {
	switch m.Type() {
	case 0:
		return "a plain file"
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeNamedPipe:
		return "a FIFO"
	case fs.ModeSocket:
		return "a socket"
	}
	return "a device"
}
