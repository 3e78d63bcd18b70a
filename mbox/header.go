package mbox

import "time"

// Flags is the state of a message, gathered from the headers that mail
// programs keep it in.
type Flags uint16

const (
	Read      Flags = 1 << iota // Status: R; X-Mozilla-Status 0001; X-Evolution 10
	Old                         // Status: O: seen by a mail program, so not recent
	Answered                    // X-Status: A; Status: r; X-Mozilla-Status 0002; X-Evolution 01
	Flagged                     // X-Status: F; X-Mozilla-Status 0004; X-Evolution 08
	Draft                       // X-Status: T; X-Evolution 04
	Deleted                     // X-Status or Status: D; X-Mozilla-Status 0008; X-Evolution 02
	Forwarded                   // X-Mozilla-Status 1000
)

// maildirLetters pairs the flags with those of Maildir, in ASCII order.
var maildirLetters = [...]struct {
	flag   Flags
	letter byte
}{{Draft, 'D'}, {Flagged, 'F'}, {Forwarded, 'P'}, {Answered, 'R'}, {Read, 'S'}, {Deleted, 'T'}}

// Letters returns the Maildir letters of the flags, "DFPRST", in this order.
// Old has none: it says only that the message belongs into cur/.
func (f Flags) Letters() string {
	var b [len(maildirLetters)]byte
	n := 0
	for _, m := range maildirLetters {
		if f&m.flag != 0 {
			b[n] = m.letter
			n++
		}
	}
	return string(b[:n])
}

// A Header describes one message of a mailbox.
type Header struct {
	Index      int   // from 0; the pseudo message counts
	Line       int64 // line of the From_ line, from 1; 0 with BoundariesOnly
	FromOffset int64 // where the From_ line begins
	// Offset and Length are the message as stored: what follows the From_
	// line, without the one blank line before the next. A Reader does not
	// know the Length before it has read the message to its end; until then
	// it is -1.
	Offset, Length int64
	// ByLength says that a Content-Length found the end.
	ByLength bool

	From     FromLine
	State    Flags
	Keywords []string // X-Keywords, parted at blanks
	UID      uint32   // X-UID; 0 where there is none
	UIDL     string   // X-UIDL
	// Pseudo marks the message in which the UW tools (c-client, pine) keep the
	// folder's data. It is the first or none, and must not be delivered.
	Pseudo bool
	// Base is what X-IMAPbase or X-IMAP says of the folder, or nil.
	Base *IMAPBase

	arrival    time.Time // from Received or Date, looked for only where From has no date
	hasArrival bool
}

// IMAPBase is the folder's state for IMAP, kept in its first message.
type IMAPBase struct {
	UIDValidity uint32
	LastUID     uint32
	Keywords    []string
}

// Letters returns the Maildir letters of State.
func (h *Header) Letters() string { return h.State.Letters() }

// Cur says whether the message belongs into a Maildir's cur/: a mail program
// has seen it, or it has a flag. Else it is new.
func (h *Header) Cur() bool { return h.State != 0 }

// Arrival is when the message came: the date of the From_ line, which is when
// it was delivered and what IMAP calls INTERNALDATE; else that of the first
// Received header; else of Date. ok is false where none can be read.
func (h *Header) Arrival() (t time.Time, ok bool) {
	if h.From.HasDate {
		return h.From.Date, true
	}
	return h.arrival, h.hasArrival
}
