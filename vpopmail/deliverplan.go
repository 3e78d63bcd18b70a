//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
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

func (p *DeliveryPlan) end(e *DeliveryError) { p.Status, p.Text, p.Err = e.Status, e.Text, e.Err }

// DeliveryPlan decides what vdelivermail does with mail for a recipient, and
// does nothing. First come aliases in a table (those in .qmail files are
// qmail-local's business), then the user, with AddressExtensions the user whose
// name stands before the first '-', then the catch-all. The instructions in a
// user's .qmail file are read as vdelivermail reads them.
//
// What is wrong with the recipient's account or files is told in the plan,
// whose Status then defers or bounces. The error is about reading them.
func (s *Store) DeliveryPlan(ctx context.Context, in Incoming) (*DeliveryPlan, error) {
	b := &planner{s: s, in: in, p: &DeliveryPlan{}}
	if err := b.plan(ctx); err != nil {
		return nil, err
	}
	return b.p, nil
}

// planner is a DeliveryPlan on its way.
type planner struct {
	s    *Store
	in   Incoming
	p    *DeliveryPlan
	user string // local part
	ext  string // what stands behind the first dash of it
}

func (b *planner) plan(ctx context.Context) error {
	if err := b.recipient(ctx); err != nil || b.p.Err != nil {
		return err
	}
	if done, err := b.alias(ctx); done || err != nil {
		return err
	}
	base, ext, dashed := strings.Cut(b.user, "-")
	names := []string{b.user}
	if b.s.p.AddressExtensions && dashed {
		names, b.ext = append(names, base), ext
	}
	for i, name := range names {
		if b.p.Domain == nil || name == "" {
			continue
		}
		u, err := b.s.backend.User(ctx, b.p.Domain, name)
		if errors.Is(err, ErrNoUser) {
			continue
		}
		if err != nil {
			return err
		}
		b.p.User, b.p.By = &u, [...]string{"user", "extension"}[i]
		return b.toUser()
	}
	b.p.By = "catch-all"
	return b.catchAll()
}

// recipient checks the address and finds its domain.
func (b *planner) recipient(ctx context.Context) error {
	b.user = lower(b.in.Ext)
	host := lower(b.in.Host)
	_, _, ok := splitLogin("@" + host)
	switch {
	case !userChars(b.user):
		b.p.end(bounce(ErrBadUser, "invalid username\n"))
		return nil
	case !ok:
		b.p.end(bounce(ErrBadDomain, "invalid domain name\n"))
		return nil
	}
	if err := errors.Join(headerLine(b.in.RPLine, "Return-Path"), headerLine(b.in.DTLine, "Delivered-To")); err != nil {
		b.p.end(deferred(err, "system error\n"))
		return nil
	}
	d, err := b.s.Domain(ctx, host)
	switch {
	case err == nil:
		b.p.Domain, host = d, d.Real
	case !errors.Is(err, ErrNoDomain) && !errors.Is(err, ErrBadDomain):
		return err
	}
	b.p.Address = b.user + "@" + host
	return nil
}

// alias asks the table of aliases, of the real domain.
func (b *planner) alias(ctx context.Context) (done bool, err error) {
	k, ok := b.s.backend.(AliasKeeper)
	if !ok || !b.s.p.SQLAliases || b.p.Domain == nil {
		return false, nil
	}
	real := *b.p.Domain
	real.Name = real.Real
	names := wildAliases(b.user)
	if base, _, dashed := strings.Cut(b.user, "-"); b.s.p.AddressExtensions && dashed {
		names = append(names, base)
	}
	for _, name := range names {
		lines, err := k.Alias(ctx, &real, name)
		if err != nil {
			return false, err
		}
		if len(lines) == 0 {
			continue
		}
		b.p.By, b.p.Home = "alias", real.Dir
		for i, l := range lines {
			in := parseInstruction(l)
			in.line = i + 1
			if !b.step(in) {
				return true, nil
			}
		}
		b.p.Text = "vdelivermail: valiases processed\n"
		return true, nil
	}
	return false, nil
}

// toUser is checkuser.
func (b *planner) toUser() error {
	u := b.p.User
	switch {
	case u.Flags&BounceMail != 0:
		b.p.end(bounce(ErrLocked, "vdelivermail: account is locked email bounced "+b.p.Address+"\n"))
		return nil
	case !strings.HasPrefix(u.Dir, "/"):
		// vdelivermail makes a directory, does not store it, and bounces.
		b.p.end(deferred(&Error{Domain: b.p.Domain.Name, User: u.Name, Field: "dir", Err: ErrDelivery}, "system error\n"))
		return nil
	}
	done, err := b.dotQmail(u.Dir)
	if done || err != nil {
		return err
	}
	box := strings.TrimRight(u.Dir, "/") + "/Maildir"
	b.p.Steps = append(b.p.Steps, DeliveryStep{Kind: DeliverMaildir, Arg: box, Quota: u.Quota, Header: b.header(box), warning: b.warning(box)})
	return nil
}

// dotQmail follows the .qmail file in a directory; done says that it decides.
func (b *planner) dotQmail(home string) (done bool, err error) {
	home = path.Clean(home)
	b.p.Home = home
	dir, err := b.s.openPath(home)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		b.p.MakeHome = b.p.User != nil
		return false, nil
	case refusedPath(err):
		b.p.end(deferred(err, "system error\n"))
		return true, nil
	case err != nil:
		return false, err
	}
	defer dir.Close()
	for _, name := range dotNames(b.ext) {
		text, err := again(func() ([]byte, error) { return dir.ReadFile(name, maxDotQmail) })
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, safefs.ErrName) {
			continue // a name with a slash is no file of this directory
		}
		b.p.File = home + "/" + name
		if err != nil {
			b.p.end(deferred(err, "system error\n"))
			return true, nil
		}
		return b.lines(text), nil
	}
	return false, nil
}

// refusedPath says whether a directory is one that nothing is delivered to.
func refusedPath(err error) bool {
	return errors.Is(err, ErrNotMounted) || errors.Is(err, safefs.ErrLink) || errors.Is(err, safefs.ErrNotPlain) || errors.Is(err, safefs.ErrName)
}

// lines makes steps of a .qmail file; done says that it has any line.
func (b *planner) lines(text []byte) (done bool) {
	all, err := instructions(text)
	if err != nil {
		b.p.end(deferred(fmt.Errorf("%s: %w", b.p.File, err), "system error\n"))
		return true
	}
	for _, in := range all {
		if !b.step(in) {
			return true
		}
	}
	if len(all) > 0 && len(b.p.Steps) == 0 {
		b.p.Problems = append(b.p.Problems, deliveryProblem("delivery.discard", b.p.File, 0, "no line delivers: all mail is thrown away"))
	}
	return len(all) > 0
}

// step adds what an instruction asks for; false ends the plan.
func (b *planner) step(in instruction) bool {
	st := DeliveryStep{Arg: in.arg, Line: in.line}
	switch in.kind {
	case lineComment:
		return true
	case lineBlank:
		b.p.Problems = append(b.p.Problems, deliveryProblem("delivery.blank-line", b.p.File, in.line, "blank line, which vdelivermail gives to qmail-inject as an address"))
		return true
	case lineProgram:
		st.Kind = DeliverProgram
	case lineForward:
		st.Kind, st.Header = DeliverForward, b.in.RPLine+b.forwardedTo(in.arg)
	case lineMbox:
		b.p.end(deferred(fmt.Errorf("%w: mbox %q", ErrDelivery, in.arg), "can't handle mbox delivery for "+in.arg))
		return false
	case lineMaildir:
		dir, err := dotPath(b.p.Home, in.arg)
		if err != nil {
			b.p.end(deferred(err, "system error\n"))
			return false
		}
		st.Kind, st.Arg, st.Header, st.warning = DeliverMaildir, dir, b.header(dir), b.warning(dir)
	}
	b.p.Steps = append(b.p.Steps, st)
	return true
}

// dotPath makes a path of a .qmail file absolute. A ".." is refused.
func dotPath(home, arg string) (string, error) {
	full := arg
	if !strings.HasPrefix(arg, "/") {
		full = home + "/" + arg
	}
	for part := range strings.SplitSeq(full, "/") {
		if part == ".." {
			return "", fmt.Errorf("%w: %q leads upward", ErrNotMounted, arg)
		}
	}
	return path.Clean(full), nil
}

// header is what a message in a Maildir begins with. vdelivermail writes
// "(null)" where it was given no Return-Path.
func (b *planner) header(dir string) string {
	return b.in.RPLine + "Delivered-To: " + b.owner(dir) + "\n"
}

func (b *planner) warning(dir string) string { return "Delivered-To: " + b.owner(dir) + "\n" }

// owner is the address whose mailbox a directory is.
func (b *planner) owner(dir string) string {
	if a := maildirAddress(dir); a != "" {
		return a
	}
	return b.p.Address
}

// forwardedTo is the Delivered-To line of a message that is sent on: that of
// qmail-local less the domain before the local part.
func (b *planner) forwardedTo(to string) string {
	l, ok := strings.CutPrefix(b.in.DTLine, "Delivered-To: ")
	if !ok {
		return "Delivered-To: " + to + "\n"
	}
	if _, domain, found := strings.Cut(l, "@"); found && len(domain) <= len(l) {
		l = l[len(domain):]
	}
	return "Delivered-To: " + l
}

// catchAll is usernotfound.
func (b *planner) catchAll() error {
	switch word := b.in.CatchAll; {
	case word == "delete":
		return nil
	case word == "bounce-no-mailbox":
		text, err := b.s.domainText(b.p.Domain, ".no-user.msg", "Sorry, no mailbox here by that name. (#5.1.1)\n")
		b.p.end(bounce(ErrNoUser, text))
		return err
	case strings.HasPrefix(word, "/"):
		dir := strings.TrimSuffix(word, "/")
		b.p.Notice = "user does not exist, but will deliver to " + dir + "/\n"
		if b.p.Domain == nil {
			b.p.end(deferred(ErrNoDomain, "system error\n"))
			return nil
		}
		done, err := b.dotQmail(dir)
		if done || err != nil {
			return err
		}
		st := DeliveryStep{Kind: DeliverMaildir, Arg: path.Clean(dir) + "/Maildir", Header: b.in.RPLine + "Delivered-To: " + b.p.Address + "\n", warning: b.in.DTLine}
		b.p.Steps = append(b.p.Steps, st)
	default:
		if b.p.Domain != nil {
			b.p.Home = b.p.Domain.Dir
		}
		b.step(parseInstruction(word))
	}
	return nil
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
