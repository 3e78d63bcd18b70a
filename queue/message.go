//go:build unix

package queue

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const errNotDir = unix.ENOTDIR

// State is how far a message has come, told by which of its files exist
// (INTERNALS, section 2).
type State uint8

// The states. Illegal is a set of files that no qmail program leaves behind.
const (
	Illegal State = iota
	S1            // nothing is there
	S2            // mess only: arriving, or left behind
	S3            // mess and intd: arriving, or left behind
	S4            // queued: mess and todo
	S5            // preprocessed: mess and info
)

// String returns "S1" to "S5", and "bad" for Illegal.
func (s State) String() string {
	switch s {
	case Illegal:
		return "bad"
	case S1, S2, S3, S4, S5:
		return "S" + string(rune('0'+s))
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Parts is a set of parts.
type Parts uint8

// Has says whether p is in the set.
func (s Parts) Has(p Part) bool { return s&(1<<p) != 0 }

// With returns the set with p in it.
func (s Parts) With(p Part) Parts { return s | 1<<p }

// State is the state of a message that has these files and no others.
func (s Parts) State() State {
	const (
		mess   = 1 << Mess
		info   = 1 << Info
		chans  = 1<<Local | 1<<Remote
		bounce = 1 << Bounce
		todo   = 1 << Todo
		intd   = 1 << Intd
	)
	switch {
	case s == 0:
		return S1
	case s == mess:
		return S2
	case s == mess|intd:
		return S3
	case s&^(intd|info|chans) == mess|todo:
		return S4
	case s&^(chans|bounce) == mess|info:
		return S5
	}
	return Illegal
}

// Channel says who delivers to a recipient.
type Channel uint8

// A recipient is Unrouted until qmail-send has preprocessed the message.
const (
	Unrouted Channel = iota
	ToLocal
	ToRemote
)

// String returns "todo", "local" or "remote".
func (c Channel) String() string {
	switch c {
	case Unrouted:
		return "todo"
	case ToLocal:
		return "local"
	case ToRemote:
		return "remote"
	}
	return fmt.Sprintf("channel(%d)", uint8(c))
}

// Recipient is one address that a message is to reach.
type Recipient struct {
	Channel Channel
	// Done says that the recipient has the message, or that the failure was
	// noted for the sender.
	Done bool
	// Address is what the record holds: for ToLocal with the prefix that
	// virtualdomains puts before it. Any bytes but NUL.
	Address string
	// Offset is where the record begins in its file.
	Offset int64
}

// A Message is what the queue holds of one number. It was true when it was
// read.
type Message struct {
	ID    ID
	State State
	// Parts are the files that were found, in their places or elsewhere.
	Parts Parts
	// Size is that of the message file in bytes, with the Received line of
	// qmail-queue; -1 where there is none.
	Size int64
	// Inode is the inode number of the message file, which has to be ID; 0
	// where there is none.
	Inode uint64
	// Sender of the envelope: empty for a bounce, "#@[]" for a bounce of a
	// bounce, "x-@host-@[]" for one that tells each recipient apart. It is
	// not known where HasSender is false: the envelope is missing, broken or
	// not yet written.
	Sender    string
	HasSender bool
	// UID and PID are who ran qmail-queue, and its process number, from todo
	// or intd; -1 once the message is preprocessed.
	UID, PID int64
	// Birth is the time from which qmail-send counts the age of the message:
	// when it was preprocessed, and before that when it was written.
	Birth time.Time
	// NextLocal and NextRemote are the times written on the lists of
	// recipients: when qmail-send, if it were started now, would try them
	// again. While it runs it keeps the times in memory and writes them when
	// it ends, so that those in the past mean nothing then. Zero where there
	// is no such list.
	NextLocal, NextRemote time.Time
	// BounceSize is that of the failures noted for the sender; -1 where there
	// are none.
	BounceSize int64

	q      *Queue
	placed Parts   // files that are in their places
	extras []extra // files that are not
	files  [numParts]content
}

// chanSkip is the head start of each channel in square roots of seconds
// (qmail-send.c, chanskip).
func chanSkip(c Channel) int64 {
	if c == ToRemote {
		return 20
	}
	return 10
}

// NextRetry is when qmail-send tries a message again on channel c if it tries
// at the time now and fails: its age grows in squares (qmail-send.c,
// nextretry). Times count in whole seconds; a birth in the future has age 0.
func NextRetry(birth, now time.Time, c Channel) time.Time {
	b := birth.Unix()
	n := squareRoot(now.Unix()-b) + chanSkip(c)
	return time.Unix(b+n*n, 0)
}

// squareRoot is the whole part of the root of x, as qmail-send computes it: of
// at most 16 bits, which an age of 136 years exceeds.
func squareRoot(x int64) int64 {
	if x < 0 {
		return 0
	}
	var y, yy int64
	for j := 15; j >= 0; j-- {
		step := y<<(j+1) + 1<<(2*j)
		if step <= x-yy {
			y += 1 << j
			yy += step
		}
	}
	return y
}
