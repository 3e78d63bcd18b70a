//go:build unix

// Package route follows an address through a qmail: accepted or not, local,
// virtual or remote, the entry of users, the .qmail file, and at last the
// deliveries, or the host that the mail is sent to.
//
// It composes packages that do not know each other: qmailcontrol decides by
// the control files and reads .qmail files, qmailcontrol/users looks the local
// part up. What a program in a .qmail file does with mail, such as vpopmail's
// vdelivermail, is asked of a Hook.
package route

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

var (
	// ErrNoAccounts says that the accounts of the system are not known, which
	// qmail-getpw would ask for a local part.
	ErrNoAccounts = errors.New("the accounts of the system are not known")
	// ErrNoFiles says that the home directories are not at hand.
	ErrNoFiles = errors.New("the home directories are not at hand")
)

// DefaultDelivery is what qmail-start is usually told to do without a .qmail
// file.
const DefaultDelivery = "./Mailbox"

// Options tell of the host around the qmail directory. The nil pointer is the
// zero value.
type Options struct {
	// Getpw asks the accounts of the system; nil answers ErrNoAccounts. See
	// users.Getpw.
	Getpw func(local string) (users.User, error)
	// Files is the host's file system, below which home directories stand. Nil
	// answers ErrNoFiles.
	Files qmailkit.Tree
	// DefaultDelivery is the argument of qmail-start; empty means the constant
	// of that name.
	DefaultDelivery string
	// Sender is the envelope sender, which decides about that of forwards.
	Sender string
	// Hook knows what programs deliver to. It may be nil.
	Hook Hook
}

// A Hook tells what a program in a .qmail file does with the mail. It returns
// nil for a program that it does not know. An error says that it knows the
// program, but cannot tell.
type Hook func(ctx context.Context, p Program) (*Result, error)

// Program is a delivery to a program.
type Program struct {
	Command   string
	Recipient string                  // as qmail-local has it
	User      users.User              // as whom it runs
	Plan      *qmailcontrol.LocalPlan // in which it stands; Environ tells its environment
	Line      qmailcontrol.DotLine    // that names it
}

// Result is what a program does with the mail.
type Result struct {
	// Deliveries are those that it makes itself. They have no line of their
	// own.
	Deliveries []Delivery
	// Exit is its exit code: 99 skips the lines that follow, 100 bounces.
	Exit int
	// Report is what it says about that; empty if nothing.
	Report string
}

// Delivery is a place that mail gets to.
type Delivery struct {
	Kind qmailcontrol.DotKind
	Arg  string // as in qmailcontrol.DotLine
	Line int    // of the .qmail file, or of the default delivery; 0 for one that a program makes
	// Program is, for a DotProgram, what the Hook knows of it; nil if nothing.
	Program *Result
}

// Fate is what becomes of mail.
type Fate uint8

const (
	Unknown   Fate = iota // cannot be told; see Path.Err
	Delivered             // the Deliveries are made, as far as they work
	Sent                  // to the host of Remote
	Deferred              // stays in the queue until its time is over
	Bounced               // goes back to its sender
	Vanished              // qmail-lspawn reports success and delivers nothing
)

// String returns "unknown", "delivered", "sent", "deferred", "bounced" or
// "vanished".
func (f Fate) String() string {
	return [...]string{"unknown", "delivered", "sent", "deferred", "bounced", "vanished", "unknown"}[min(f, Vanished+1)]
}

// Path is the whole way of mail for an address. Fields that the way does not
// reach are nil.
type Path struct {
	Addr string
	// Accepted is what rcpthosts says; AcceptErr why that cannot be told. It
	// decides for mail from other hosts only, so the path goes on without it.
	Accepted  bool
	AcceptErr error
	// Target is what qmail-send makes of the address.
	Target *qmailcontrol.Target
	// User is the entry for the local part of a local Target.
	User *users.Answer
	// Plan is what qmail-local does, and Deliveries are those that are reached.
	Plan       *qmailcontrol.LocalPlan
	Deliveries []Delivery
	// Remote is the way of a remote Target.
	Remote *qmailcontrol.Route
	// Fate is how it ends, and Report in the words of qmail or of a program why
	// mail is not delivered.
	Fate   Fate
	Report string
	// Err says why the rest of the path cannot be told.
	Err error
}

// Class is "local", "virtual" or "remote", and empty where that is not known.
func (p *Path) Class() string {
	switch {
	case p.Target == nil:
		return ""
	case p.Target.Channel == qmailcontrol.Remote:
		return "remote"
	case p.Target.Reason == qmailcontrol.ByVirtualDomains:
		return "virtual"
	}
	return "local"
}

// A Router knows a host. Close it after use.
type Router struct {
	opts   Options
	rcpt   *qmailcontrol.RcptHosts
	send   *qmailcontrol.Sending
	remote *qmailcontrol.Relaying
	lspawn users.Lspawn
	cdb    qmailkit.File

	rcptErr, sendErr, remoteErr, cdbErr error
}

// Open reads control and users/cdb in qmail's own directory, which is dir in a
// tree; links in it lead on from the top of that tree. Its error is about the
// control directory as a whole; programs of qmail that cannot do with it are
// told by each Path.
func Open(ctx context.Context, tree qmailkit.Tree, dir string, opts *Options) (*Router, error) {
	r := &Router{}
	if opts != nil {
		r.opts = *opts
	}
	if r.opts.DefaultDelivery == "" {
		r.opts.DefaultDelivery = DefaultDelivery
	}
	c, err := qmailcontrol.ReadConfig(ctx, tree, path.Join(dir, "control"))
	if err != nil {
		return nil, err
	}
	r.rcpt, r.rcptErr = c.RcptHosts()
	r.send, r.sendErr = c.Send()
	r.remote, r.remoteErr = c.Remote()
	r.lspawn.Getpw = r.opts.Getpw
	if r.lspawn.Getpw == nil {
		r.lspawn.Getpw = func(string) (users.User, error) { return users.User{}, ErrNoAccounts }
	}
	r.cdbErr = r.openCDB(tree, path.Join(dir, "users/cdb"))
	return r, nil
}

// openCDB leaves Lspawn without a DB where there is no users/cdb.
func (r *Router) openCDB(tree qmailkit.Tree, name string) error {
	at, err := qmailkit.Resolve(tree, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no users at all
	}
	if err != nil {
		return err
	}
	f, err := tree.Open(at)
	if errors.Is(err, fs.ErrNotExist) {
		if _, e := tree.Lstat(name); errors.Is(e, fs.ErrNotExist) {
			return nil
		}
	}
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	r.cdb = f
	// A broken file answers each question as it does to qmail.
	r.lspawn.DB, _ = users.OpenDB(f, fi.Size())
	return nil
}

// Close gives users/cdb back.
func (r *Router) Close() error {
	if r.cdb == nil {
		return nil
	}
	return r.cdb.Close()
}

// Route follows an address. The error is that of ctx; what cannot be told of
// the path is told in it.
func (r *Router) Route(ctx context.Context, addr string) (*Path, error) {
	p := &Path{Addr: addr}
	if p.AcceptErr = r.rcptErr; p.AcceptErr == nil {
		p.Accepted, p.AcceptErr = r.rcpt.Allows(addr)
	}
	if r.sendErr != nil {
		p.Err = r.sendErr
		return p, nil
	}
	t := r.send.Rewrite(addr)
	p.Target = &t
	if t.Channel == qmailcontrol.Remote {
		r.away(p)
		return p, nil
	}
	err := r.local(ctx, p)
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	if err != nil {
		p.Fate, p.Err = Unknown, err
	}
	return p, nil
}

// away is what qmail-remote does.
func (r *Router) away(p *Path) {
	if r.remoteErr != nil {
		p.Fate, p.Report = Deferred, "Unable to read control files. (#4.3.0)"
		return
	}
	_, domain := split(p.Target.To)
	way := r.remote.Route(domain)
	p.Remote, p.Fate = &way, Sent
	if way.How == qmailcontrol.ByRelay && way.Host == "" {
		p.Fate, p.Report = Bounced, "smtproutes names no host"
	}
}

// split parts an address at its last '@'.
func split(addr string) (local, domain string) {
	at := strings.LastIndexByte(addr, '@')
	if at < 0 {
		return addr, ""
	}
	return addr[:at], addr[at+1:]
}

// local is what qmail-lspawn and qmail-local do.
func (r *Router) local(ctx context.Context, p *Path) error {
	if r.cdbErr != nil {
		return r.cdbErr
	}
	local, domain := split(p.Target.To)
	a, err := r.lspawn.Find(local)
	p.User = &a
	switch {
	case errors.Is(err, ErrNoAccounts):
		return err
	case err != nil:
		p.Fate, p.Report = Deferred, users.Report(err)
		return nil
	case local == "":
		p.Fate = Vanished
		return nil
	}
	if r.opts.Files == nil {
		return ErrNoFiles
	}
	uid, gid := a.User.IDs()
	p.Plan, err = qmailcontrol.LocalDelivery{
		User: a.User.Name, Home: a.User.Home, Local: local, Dash: a.User.Dash, Ext: a.User.Ext, Host: domain,
		Sender: r.opts.Sender, DefaultDelivery: r.opts.DefaultDelivery,
		Who: &qmailcontrol.Owner{UID: int(uid), GID: int(gid)},
	}.Plan(ctx, r.opts.Files)
	if err != nil {
		return err
	}
	return r.deliver(ctx, p)
}

// deliver goes through the deliveries of the plan, as far as programs let it.
func (r *Router) deliver(ctx context.Context, p *Path) error {
	p.Fate = Delivered
	no := p.Plan.Outcome()
	if p.Plan.Sticky {
		p.refuse(no)
		return nil
	}
	for _, line := range p.Plan.Deliveries {
		d := Delivery{Kind: line.Kind, Arg: line.Arg, Line: line.Line}
		result := qmailcontrol.ProgramDone
		if d.Kind == qmailcontrol.DotProgram && r.opts.Hook != nil {
			var err error
			d.Program, err = r.opts.Hook(ctx, Program{line.Target(), p.Target.To, p.User.User, p.Plan, line})
			if err != nil {
				p.Deliveries = append(p.Deliveries, d)
				return fmt.Errorf("line %d: %w", line.Line, err)
			}
			if d.Program != nil {
				result = qmailcontrol.ProgramExit(d.Program.Exit)
			}
		}
		p.Deliveries = append(p.Deliveries, d)
		switch result {
		case qmailcontrol.ProgramDoneLast:
			return nil
		case qmailcontrol.ProgramBounce, qmailcontrol.ProgramDefer:
			p.fail(result, d.Program.Report)
			return nil
		}
	}
	if no != nil {
		p.refuse(no)
	}
	return nil
}

// refuse ends the path as qmail-local does.
func (p *Path) refuse(r *qmailcontrol.Refusal) {
	result := qmailcontrol.ProgramBounce
	if r.Temporary() {
		result = qmailcontrol.ProgramDefer
	}
	p.fail(result, r.Report)
}

// fail ends the path. Forwards are made at the very end, so there are none
// then, but other deliveries are not undone.
func (p *Path) fail(result qmailcontrol.ProgramResult, report string) {
	p.Fate, p.Report = Deferred, report
	if result == qmailcontrol.ProgramBounce {
		p.Fate = Bounced
	}
	kept := p.Deliveries[:0]
	for _, d := range p.Deliveries {
		if d.Kind != qmailcontrol.DotForward {
			kept = append(kept, d)
		}
	}
	p.Deliveries = kept
}

// Mailbox is the name of the file or Maildir that a Delivery is to, from the
// top of the host's file system.
func (p *Path) Mailbox(d Delivery) string {
	name, _, _ := strings.Cut(d.Arg, "\x00")
	if p.User == nil || strings.HasPrefix(name, "/") {
		return path.Clean(name)
	}
	return path.Join(p.User.User.Home, name)
}

// Reaches says whether mail to a local part is delivered, as far as that shows
// beforehand. It fits qmailcontrol.CheckOptions.
func (r *Router) Reaches(ctx context.Context, local string) (bool, error) {
	p := &Path{Target: &qmailcontrol.Target{Channel: qmailcontrol.Local, To: local + "@"}}
	err := r.local(ctx, p)
	return err == nil && p.Fate == Delivered, err
}
