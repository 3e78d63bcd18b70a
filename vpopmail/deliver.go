//go:build unix

package vpopmail

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// DeliverOptions are what Deliver needs of the world. A nil *DeliverOptions
// can deliver to Maildirs only.
type DeliverOptions struct {
	// Program runs a shell command (st.Arg) in the directory home with the
	// message on its standard input, and returns its exit code. An error defers.
	Program func(ctx context.Context, st DeliveryStep, home string, msg io.Reader) (exit int, err error)
	// Forward sends a message on to the address st.Arg, with st.Header before
	// it, as qmail-inject does: Return-Path becomes the envelope sender. An
	// error defers.
	Forward func(ctx context.Context, st DeliveryStep, msg io.Reader) error
	// Namer makes the names of the files; nil is a maildir.Namer of Now.
	Namer *maildir.Namer
}

// A DeliveredBox says where a message is.
type DeliveredBox struct {
	Dir   string // of the Maildir, absolute, as files have it
	Entry maildir.Entry
	// Warning says that it is no copy of the message but a warning that the
	// quota is nearly used up.
	Warning bool
}

// Delivered is what became of a message.
type Delivered struct {
	Plan   *DeliveryPlan
	Status int    // exit status of vdelivermail
	Text   string // what it prints
	Boxes  []DeliveredBox
	// Dropped says that the message has no byte. vdelivermail accepts such a
	// message and delivers nothing.
	Dropped bool
	// Problems are those of the plan, and "delivery.no-warning" where a quota
	// warning could not be made.
	Problems []qmailkit.Problem
}

// Deliver delivers a message as vdelivermail does: see DeliveryPlan. Copies in
// Maildirs get the headers Return-Path and Delivered-To, mode 0600, the owner of
// the domain, and the size in their names; they are on the disk when Deliver
// returns. The names have a part of their own, so that two deliveries of one
// process in one second are two files. A Maildir is delivered to only if it
// belongs to the domain's owner.
//
// The quota is looked at before a copy is stored, by the size of the message
// without those headers. maildirsize is read, rebuilt and appended to as there:
// it is believed as Store.Usage says, except that sums of less than nothing are
// counted anew, which bounce all mail there. From 90 percent on a warning is
// put into the mailbox too, at most one a day. Quotas of whole domains, maildrop
// and SpamAssassin, which vdelivermail can be configured for, are not looked at.
//
// The result says what was done, also where the error says that the rest was
// not. The error is a *DeliveryError, or that of ctx. Steps for which the
// options have no function defer the message before anything is done. When a
// message is deferred in the middle, its next delivery makes the first steps
// again, as with vdelivermail.
func (s *Store) Deliver(ctx context.Context, in Incoming, msg io.ReadSeeker, opts *DeliverOptions) (*Delivered, error) {
	x := &delivering{s: s, msg: msg, out: &Delivered{}}
	if opts != nil {
		x.o = *opts
	}
	if x.o.Namer == nil {
		x.o.Namer = &maildir.Namer{Now: s.o.Now}
	}
	err := x.run(ctx, in)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return x.out, cause
	}
	var why *DeliveryError
	if err != nil && !errors.As(err, &why) {
		why = deferred(err, "system error\n")
	}
	if why != nil {
		x.out.Status = why.Status
		x.out.Text += why.Text
		return x.out, why
	}
	return x.out, nil
}

// delivering is a Deliver on its way.
type delivering struct {
	s    *Store
	o    DeliverOptions
	msg  io.ReadSeeker
	size int64
	out  *Delivered
}

func (x *delivering) run(ctx context.Context, in Incoming) error {
	p, err := x.s.DeliveryPlan(ctx, in)
	if err != nil {
		return err
	}
	x.out.Plan, x.out.Problems = p, p.Problems
	if x.size, err = x.msg.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	looping, err := x.loops(in.DTLine, p)
	if err != nil {
		return err
	}
	if p.Address != "" && looping[p.Address] {
		return bounce(ErrLooping, "mail is looping\n")
	}
	for _, st := range p.Steps {
		if st.Kind == DeliverProgram && x.o.Program == nil || st.Kind == DeliverForward && x.o.Forward == nil {
			return deferred(fmt.Errorf("%w: nothing is given for a %s", ErrDelivery, st.Kind), "system error\n")
		}
	}
	if p.MakeHome {
		if err := x.s.makeHome(p.Domain, p.User); err != nil {
			return err
		}
	}
	x.out.Text += p.Notice
	for _, st := range p.Steps {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if st.Kind == DeliverForward && looping[lower(st.Arg)] {
			return bounce(ErrLooping, "mail is looping\n")
		}
		if x.size == 0 {
			x.out.Dropped = true
			continue
		}
		stop, err := x.step(ctx, st)
		if stop || err != nil {
			return err
		}
	}
	x.out.Status = p.Status
	if p.Err != nil {
		return &DeliveryError{p.Status, p.Text, p.Err}
	}
	x.out.Text += p.Text
	return nil
}

// step carries one step out; stop says that a program wants no more.
func (x *delivering) step(ctx context.Context, st DeliveryStep) (stop bool, err error) {
	if _, err := x.msg.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	switch st.Kind {
	case DeliverMaildir:
		return false, x.maildir(ctx, st)
	case DeliverForward:
		if err := x.o.Forward(ctx, st, x.msg); err != nil {
			return false, deferred(err, "system error calling qmail-inject\n")
		}
		return false, nil
	}
	exit, err := x.o.Program(ctx, st, x.out.Plan.Home, x.msg)
	if err != nil {
		return false, deferred(err, "")
	}
	switch qmailcontrol.ProgramExit(exit) {
	case qmailcontrol.ProgramDone:
		return false, nil
	case qmailcontrol.ProgramDoneLast:
		x.out.Status = DeliveryStop
		return true, nil
	case qmailcontrol.ProgramBounce:
		return false, bounce(fmt.Errorf("%w: the program's exit code is %d", ErrDelivery, exit), "")
	}
	return false, deferred(fmt.Errorf("%w: the program's exit code is %d", ErrDelivery, exit), "")
}

// loops says by which of the plan's addresses a message has come before, as
// its header and DTLINE tell.
func (x *delivering) loops(dtLine string, p *DeliveryPlan) (map[string]bool, error) {
	want, found := map[string]bool{p.Address: true}, map[string]bool{}
	for _, st := range p.Steps {
		if st.Kind == DeliverForward {
			want[lower(st.Arg)] = true
		}
	}
	look := func(line string) {
		if a, ok := deliveredTo(line); ok && want[a] {
			found[a] = true
		}
	}
	look(dtLine)
	if _, err := x.msg.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r := bufio.NewReader(x.msg)
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 && (line[0] == '\n' || line[0] == '\r') {
			return found, nil // the end of the header
		}
		look(string(line))
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// deliveredTo is the address of a whole Delivered-To line, in lower case.
func deliveredTo(line string) (addr string, ok bool) {
	const field = "delivered-to: "
	if len(line) < len(field) || lower(line[:len(field)]) != field {
		return "", false
	}
	addr, ok = strings.CutSuffix(line[len(field):], "\n")
	return lower(addr), ok
}
