//go:build unix

package vpopmail

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/qmailkit/qmailkit"
)

var (
	// ErrLooping says that a message has been here before: its header has a
	// Delivered-To line of the address.
	ErrLooping = errors.New("mail is looping")
	// ErrOverQuota says that a message does not fit into a mailbox.
	ErrOverQuota = errors.New("user is over quota")
	// ErrLocked says that an account has the flag BounceMail.
	ErrLocked = errors.New("account is locked")
	// ErrDelivery says that a delivery cannot be made as it is asked for.
	ErrDelivery = errors.New("delivery is not possible")
)

// Exit statuses of vdelivermail, as qmail-local understands them.
const (
	DeliveryOK     = 0
	DeliveryStop   = 99  // done, and what stands behind vdelivermail is skipped
	DeliveryBounce = 100 // back to the sender
	DeliveryDefer  = 111 // tried again later
)

// A DeliveryError says why a message was not delivered. It matches the reason
// with errors.Is.
type DeliveryError struct {
	Status int    // DeliveryBounce or DeliveryDefer
	Text   string // what vdelivermail prints about it, for the bounce
	Err    error
}

// Error is the reason.
func (e *DeliveryError) Error() string {
	what := "deferred"
	if e.Status == DeliveryBounce {
		what = "bounced"
	}
	return what + ": " + e.Err.Error()
}

// Unwrap returns the reason.
func (e *DeliveryError) Unwrap() error { return e.Err }

func bounce(err error, text string) *DeliveryError { return &DeliveryError{DeliveryBounce, text, err} }
func deferred(err error, text string) *DeliveryError {
	return &DeliveryError{DeliveryDefer, text, err}
}

// Incoming is what qmail-local tells vdelivermail of a message.
type Incoming struct {
	Ext, Host string // local part and domain of the recipient, as in $EXT, $HOST
	// RPLine and DTLine are whole header lines with their LF: Return-Path,
	// which the message gets, and Delivered-To of qmail-local, by which loops
	// are found. Both may be empty.
	RPLine, DTLine string
	// CatchAll is the last argument in .qmail-default.
	CatchAll string
}

// NewIncoming fills an Incoming in from the arguments of vdelivermail, without
// its name, and its environment; lookup is os.LookupEnv. The error is a
// *DeliveryError.
func NewIncoming(args []string, lookup func(name string) (string, bool)) (Incoming, error) {
	catchAll, ok := (&DeliveryLine{Args: args}).CatchAll()
	if !ok {
		return Incoming{}, deferred(fmt.Errorf("%w: %d arguments", ErrDelivery, len(args)), "vdelivermail: invalid syntax in .qmail-default file\n")
	}
	in := Incoming{CatchAll: catchAll}
	for _, v := range []struct {
		name string
		to   *string
	}{{"EXT", &in.Ext}, {"HOST", &in.Host}} {
		if *v.to, ok = lookup(v.name); !ok {
			return Incoming{}, bounce(fmt.Errorf("%w: no $%s", ErrDelivery, v.name), "vdelivermail: no "+v.name+" environment varilable\n")
		}
	}
	in.RPLine, _ = lookup("RPLINE")
	in.DTLine, _ = lookup("DTLINE")
	return in, nil
}

// headerLine checks one of the lines that go into the message.
func headerLine(l, name string) error {
	if l == "" || strings.HasPrefix(l, name+": ") && strings.IndexByte(l, '\n') == len(l)-1 {
		return nil
	}
	return fmt.Errorf("%w: %s line %q", ErrBadByte, name, l)
}

// A StepKind is what a DeliveryStep does.
type StepKind uint8

const (
	DeliverMaildir StepKind = iota // to the Maildir Arg, an absolute path as files have it
	DeliverForward                 // to the address Arg, through qmail-inject
	DeliverProgram                 // to the standard input of the shell command Arg
)

// String returns "maildir", "forward" or "program".
func (k StepKind) String() string {
	return [...]string{"maildir", "forward", "program", "unknown"}[min(k, DeliverProgram+1)]
}

// A DeliveryStep is one thing that is done with a message.
type DeliveryStep struct {
	Kind StepKind
	Arg  string
	Line int // of DeliveryPlan.File; 0 where there is none
	// Header is put before the message, whole lines; empty for a program.
	Header string
	// Quota of the mailbox if it is the user's own, else the first line of its
	// maildirsize counts.
	Quota string

	warning string // header of a quota warning
}

// A DeliveryPlan is what vdelivermail does with mail for a recipient: the
// Steps in their order, as far as they work, and then Status and Text.
type DeliveryPlan struct {
	// Address is USER@DOMAIN in lower case with the real domain, by whose
	// Delivered-To line a loop is found. Empty where it has bad bytes.
	Address string
	Domain  *Domain // nil if there is none of that name
	// User is whose mail it is; nil for an alias, a catch-all, or nobody.
	User *User
	// By says whose instructions the Steps are: "user", "extension" (of his
	// address), "alias", or "catch-all".
	By string
	// File is the .qmail file they come from, as an absolute path; empty if
	// there is none.
	File string
	// Home is the directory that the programs of File run in.
	Home string
	// MakeHome says that the user's directory is missing and made first.
	MakeHome bool
	// Notice is printed before all else.
	Notice string
	Steps  []DeliveryStep
	// Status and Text are the end if every step works; Err says why if Status is
	// not DeliveryOK.
	Status int
	Text   string
	Err    error
	// Problems are the hazards of the .qmail file: "delivery.discard",
	// "delivery.blank-line".
	Problems []qmailkit.Problem
}

// maxText bounds a text that goes into a bounce.
const maxText = 64 << 10

// domainText is the text of a domain, else that for all domains, else the one
// that is built in.
func (s *Store) domainText(d *Domain, name, deflt string) (string, error) {
	dirs := []string{s.p.domainsPath(s.p.Home)}
	if d != nil {
		dirs = []string{d.Dir, dirs[0]}
	}
	for _, at := range dirs {
		dir, err := s.openPath(at)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotMounted) {
			continue
		}
		if err != nil {
			return deflt, err
		}
		b, err := again(func() ([]byte, error) { return dir.ReadFile(name, maxText) })
		dir.Close()
		if err == nil {
			return string(b), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return deflt, err
		}
	}
	return deflt, nil
}
