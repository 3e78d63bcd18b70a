//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

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
