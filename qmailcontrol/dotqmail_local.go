//go:build unix

package qmailcontrol

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// LocalDelivery is a call of qmail-local(8): what qmail-lspawn tells it about
// a recipient. As C does, it ends each field at a NUL.
type LocalDelivery struct {
	User, Home, Local, Dash, Ext, Host, Sender string
	// DefaultDelivery are the lines of a .qmail file that stand where there is
	// none, or an empty one: the argument of qmail-start(8), such as
	// "./Mailbox".
	DefaultDelivery string
	// Who is the user and group as which qmail-local runs; it has no other
	// group. Where this program is not root, its own files count as those of
	// the user, because a copy of a host has lost the owners. Nil takes it for somebody who may read everything, and follows
	// links that users can have made nowhere.
	Who *Owner
}

// A Refusal says that qmail-local delivers nothing, and why.
type Refusal struct {
	Code   int    // exit code: 100 bounces, 111 defers
	Report string // its words, without the newline
}

// Error is the report.
func (r *Refusal) Error() string { return r.Report }

// Temporary says that the mail stays in the queue and is tried again.
func (r *Refusal) Temporary() bool { return r.Code != 100 }

// LocalPlan is what qmail-local does with a message for a recipient. Refused
// comes after the Deliveries, which may be some all the same: qmail-local goes
// through the file once and stops at what it does not like, but forwards only
// at the very end. Whether a delivery works, and whether a program makes it
// skip the rest, shows only in doing it.
type LocalPlan struct {
	Home  string    // the home directory in the tree, without links
	Tried []string  // names of .qmail files, up to the one that is there
	Name  DotName   // of the file; empty where there is none
	File  string    // the file in the tree, without links
	Dot   *DotQmail // its content, or the default delivery
	// UsesDefault says that the default delivery decides, because there is no
	// .qmail file, or an empty one.
	UsesDefault bool
	// ForwardOnly says that the x bit of the file allows forwards only.
	ForwardOnly bool
	// Sticky says that the home is sticky. Then everything is deferred, but
	// qmail-local -n only warns.
	Sticky bool
	// NewSender is the envelope sender of forwards.
	NewSender  string
	Deliveries []DotLine
	Refused    *Refusal
	// Problems are the hazards of the home and the file.
	Problems []qmailkit.Problem

	call LocalDelivery
}

// Outcome is nil if the Deliveries are made, as far as they work. Other than
// Refused it knows of a sticky home.
func (p *LocalPlan) Outcome() *Refusal {
	if p.Sticky {
		return refuse(111, "Home directory is sticky: user is editing his .qmail file. (#4.2.1)")
	}
	return p.Refused
}

func refuse(code int, format string, args ...any) *Refusal {
	return &Refusal{code, fmt.Sprintf(format, args...)}
}

const localUsage = "qmail-local: usage: qmail-local [ -nN ] user homedir local dash ext domain sender aliasempty"

// Plan decides what qmail-local does for a message, from the files below tree,
// which is the host's file system: Home and links are taken from its top. The
// loop check, which needs the message, is left out.
//
// An error says that it cannot be told. One that wraps qmailkit.ErrLink is
// about a link that users may have made; see LocalDelivery.Who.
func (l LocalDelivery) Plan(ctx context.Context, tree qmailkit.Tree) (*LocalPlan, error) {
	for _, s := range []*string{&l.User, &l.Home, &l.Local, &l.Dash, &l.Ext, &l.Host, &l.Sender, &l.DefaultDelivery} {
		*s = cString(*s)
	}
	p := &LocalPlan{call: l, NewSender: l.Sender}
	if !strings.HasPrefix(l.Home, "/") {
		p.Refused = refuse(100, "%s", localUsage)
		return p, nil
	}
	h := &dotHome{tree: tree, who: l.Who}
	err := p.plan(ctx, h)
	var r *Refusal
	if errors.As(err, &r) {
		p.Refused, err = r, nil
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// plan is qmail-local.c:main. A *Refusal ends it.
func (p *LocalPlan) plan(ctx context.Context, h *dotHome) error {
	if err := p.enter(h); err != nil {
		return err
	}
	f, err := p.search(ctx, h)
	if err != nil {
		return err
	}
	if p.File == "" && p.call.Dash != "" {
		return refuse(100, "Sorry, no mailbox here by that name. (#5.1.1)")
	}
	if err := p.owner(h); err != nil {
		return err
	}
	p.Dot = &DotQmail{}
	if p.File != "" {
		if p.Dot, err = h.read(p.Name.Name, f); err != nil {
			return err
		}
		p.Problems = append(p.Problems, dotProblems(p.Name.Name, p.Dot, h, f)...)
	}
	if p.Dot.Len() == 0 {
		p.UsesDefault, p.ForwardOnly = true, false
		text := p.call.DefaultDelivery
		if text == "" {
			text = "\n"
		}
		p.Dot = &DotQmail{*parseText(text)}
	}
	return p.deliver()
}

// enter is qmail-local's chdir and checkhome.
func (p *LocalPlan) enter(h *dotHome) error {
	f, err := h.walk(".", p.call.Home)
	if err == nil && f.info.Mode.IsDir() && !h.may(f.info, 1) {
		err = errAccess
	}
	switch {
	case errors.Is(err, errAccess):
		return refuse(111, "Unable to switch to %s: access denied. (#4.3.0)", p.call.Home)
	case errors.Is(err, fs.ErrNotExist):
		return refuse(111, "Unable to switch to %s: file does not exist. (#4.3.0)", p.call.Home)
	case err != nil:
		return err
	case !f.info.Mode.IsDir():
		return refuse(111, "Unable to switch to %s: not a directory. (#4.3.0)", p.call.Home)
	}
	h.dir, h.info = f.at, f.info
	p.Home = f.at
	p.Problems = append(p.Problems, homeProblems(h)...)
	if f.info.Mode&0o002 != 0 {
		return refuse(111, "Uh-oh: home directory is writable. (#4.7.0)")
	}
	p.Sticky = f.info.Mode&fs.ModeSticky != 0
	return nil
}

// search is qmail-local.c:qmesearch.
func (p *LocalPlan) search(ctx context.Context, h *dotHome) (found, error) {
	for name := range DotNames(p.call.Dash, p.call.Ext) {
		if err := context.Cause(ctx); err != nil {
			return found{}, err
		}
		p.Tried = append(p.Tried, name.Name)
		f, err := h.walk(h.dir, name.Name)
		if err == nil && !h.may(f.info, 4) {
			err = errAccess
		}
		switch {
		case errors.Is(err, errAccess):
			return f, refuse(111, "Unable to open %s: access denied. (#4.3.0)", name.Name)
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return f, err
		case !f.info.Mode.IsRegular():
			continue
		}
		p.Name, p.File = name, f.at
		if f.info.Mode&0o002 != 0 {
			p.Problems = append(p.Problems, dotProblems(name.Name, nil, h, f)...)
			return f, refuse(111, "Uh-oh: .qmail file is writable. (#4.7.0)")
		}
		p.ForwardOnly = f.info.Mode&0o100 != 0
		return f, nil
	}
	return found{}, nil
}

// owner decides about the sender of forwards: the owner of a list gets the
// bounces, if there is a .qmail file of any type for him.
func (p *LocalPlan) owner(h *dotHome) error {
	l := p.call
	if l.Sender == "" || l.Sender == "#@[]" {
		return nil
	}
	name := ".qmail" + l.Dash + strings.ReplaceAll(lower(l.Ext), ".", ":")
	there, err := h.exists(name + "-owner")
	if !there || err != nil {
		return err
	}
	p.NewSender = l.Local + "-owner@" + l.Host
	if there, err = h.exists(name + "-owner-default"); there {
		p.NewSender = l.Local + "-owner-@" + l.Host + "-@[]"
	}
	return err
}

func (h *dotHome) exists(name string) (bool, error) {
	if len(name) >= maxPath {
		return false, nil
	}
	_, err := h.walk(h.dir, name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errAccess) {
		return false, nil
	}
	return err == nil, err
}

// deliver goes through the lines.
func (p *LocalPlan) deliver() error {
	only := p.ForwardOnly
	for d := range p.Dot.Lines() {
		switch {
		case d.Kind == DotBlank && d.Line == 1:
			return refuse(111, "Uh-oh: first line of .qmail file is blank. (#4.2.1)")
		case d.Kind == DotList:
			only = true
		case !d.Kind.Delivers():
		case only && (d.Kind == DotMbox || d.Kind == DotMaildir):
			return refuse(111, "Uh-oh: .qmail has file delivery but has x bit set. (#4.7.0)")
		case only && d.Kind == DotProgram:
			return refuse(111, "Uh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)")
		default:
			p.Deliveries = append(p.Deliveries, d)
		}
	}
	return nil
}

// Counts returns how many Deliveries are to files, to other addresses and to
// programs.
func (p *LocalPlan) Counts() (files, forwards, programs int) {
	for _, d := range p.Deliveries {
		switch d.Kind {
		case DotForward:
			forwards++
		case DotProgram:
			programs++
		default:
			files++
		}
	}
	return files, forwards, programs
}

// Trial returns what qmail-local -n prints, and its exit code.
func (p *LocalPlan) Trial() (stdout, stderr string, code int) {
	var out strings.Builder
	for _, d := range p.Deliveries {
		fmt.Fprintf(&out, "%s %s\n", d.Kind, d.Arg)
	}
	if p.Sticky {
		stderr = "Warning: home directory is sticky.\n"
	}
	if p.Refused != nil {
		return out.String(), stderr + p.Refused.Report + "\n", p.Refused.Code
	}
	files, forwards, programs := p.Counts()
	fmt.Fprintf(&out, "did %d+%d+%d\n", files, forwards, programs)
	return out.String(), stderr, 0
}
