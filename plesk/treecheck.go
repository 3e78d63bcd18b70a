package plesk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// CheckTree compares the tree of mailboxes with psa and tells what does not work
// or will not be carried:
//
//	plesk.unreadable        something that cannot be read, and why
//	plesk.tree-entry        something that is no directory of a domain
//	plesk.orphan-domain     a directory whose domain is not in psa
//	plesk.no-domain-dir     a domain with mail names that has no directory
//	plesk.no-default        no .qmail-default: with Plesk's users/assign mail
//	                        for unknown names is not refused, but gets lost
//	plesk.default-differs   .qmail-default does not what psa says
//	plesk.orphan-mailbox    a directory whose mail name is not in psa
//	plesk.no-mailbox-dir    a mail name without a directory
//	plesk.no-maildir        a mailbox without a Maildir
//	plesk.dotqmail-differs  .qmail does not what psa says
//	plesk.no-dotqmail       there is none: nothing gives mail to the mailbox
//
// Besides those of ReadMailnames, and those of qmailcontrol.CheckDotQmail for
// each directory: the owner's x-bit on .qmail, the sticky bit, files that others
// can write. who owns all mail (popuser), nil where that is not known. An error
// is about one domain, or ends the sequence and wraps qmailkit.ErrIncomplete.
func CheckTree(ctx context.Context, tree qmailkit.Tree, dir string, server *Server, who *qmailcontrol.Owner) iter.Seq2[qmailkit.Problem, error] {
	return func(yield func(qmailkit.Problem, error) bool) {
		c := &treeChecker{ctx: ctx, tree: tree, who: who, yield: yield, seen: map[*Domain]bool{}}
		if !c.strangers(dir) {
			return
		}
		for d, err := range ReadMailnames(ctx, tree, dir) {
			if err != nil {
				if !yield(qmailkit.Problem{}, err) || errors.Is(err, qmailkit.ErrIncomplete) {
					return
				}
				if known := server.Domain(d.Name); known != nil {
					c.seen[known] = true
				}
				continue
			}
			if !c.domain(d, server.Domain(d.Name)) {
				return
			}
		}
		for _, d := range server.Domains {
			if !c.seen[d] && len(d.Mailnames) > 0 && !c.add("no-domain-dir", qmailkit.Error, dir+"/"+d.Name, "", "%s has %d mail names and no directory", d.Name, len(d.Mailnames)) {
				return
			}
		}
	}
}

type treeChecker struct {
	ctx   context.Context
	tree  qmailkit.Tree
	who   *qmailcontrol.Owner
	yield func(qmailkit.Problem, error) bool
	seen  map[*Domain]bool
}

func (c *treeChecker) add(code string, s qmailkit.Severity, path, fix, format string, args ...any) bool {
	return c.yield(qmailkit.Problem{Code: "plesk." + code, Severity: s, Path: path, Err: fmt.Errorf(format, args...), Fix: fix}, nil)
}

func (c *treeChecker) all(list []qmailkit.Problem) bool {
	for _, p := range list {
		if !c.yield(p, nil) {
			return false
		}
	}
	return true
}

// strangers tells what is no directory at the top.
func (c *treeChecker) strangers(dir string) bool {
	names, err := listDir(c.ctx, c.tree, dir)
	if err != nil {
		c.yield(qmailkit.Problem{}, qmailkit.Incomplete(err))
		return false
	}
	for _, name := range names {
		fi, err := c.tree.Lstat(dir + "/" + name)
		ok := true
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			ok = c.add("unreadable", qmailkit.Error, dir+"/"+name, "", "%w", err)
		case !fi.Mode.IsDir():
			ok = c.add("tree-entry", qmailkit.Warning, dir+"/"+name, "", "%s among the directories of domains", kindOf(fi.Mode))
		}
		if !ok {
			return false
		}
	}
	return true
}

// dots tells the hazards of a directory's .qmail files.
func (c *treeChecker) dots(dir string) bool {
	for p, err := range qmailcontrol.CheckDotQmail(c.ctx, c.tree, dir, c.who) {
		if err != nil {
			if cause := context.Cause(c.ctx); cause != nil {
				c.yield(qmailkit.Problem{}, qmailkit.Incomplete(cause))
				return false
			}
			return c.add("unreadable", qmailkit.Error, dir, "", "%w", err)
		}
		if !c.yield(p, nil) {
			return false
		}
	}
	return true
}

// domain judges the directory of a domain; known is nil for one not in psa.
func (c *treeChecker) domain(d *DomainDir, known *Domain) bool {
	if !c.all(d.Problems) {
		return false
	}
	if known == nil {
		return c.add("orphan-domain", qmailkit.Warning, d.Path, "remove it, or make the domain", "%s, with %d mail names, is no domain of psa", d.Name, len(d.Mailboxes))
	}
	c.seen[known] = true
	if !c.dots(d.Path) || !c.defaultDot(d, known) {
		return false
	}
	index, found := known.index(), map[*Mailname]bool{}
	for _, b := range d.Mailboxes {
		m := index.name(b.Name)
		found[m] = true
		if !c.all(b.Problems) || !c.dots(b.Path) || !c.mailbox(b, m) {
			return false
		}
	}
	for _, m := range known.Mailnames {
		if !found[m] && !c.add("no-mailbox-dir", qmailkit.Error, d.Path+"/"+m.Name, "", "%s@%s has no directory", m.Name, known.Name) {
			return false
		}
	}
	return true
}

func (c *treeChecker) defaultDot(d *DomainDir, known *Domain) bool {
	at := d.Path + "/" + DefaultName
	if d.Default == nil {
		if _, err := c.tree.Lstat(at); err == nil {
			return true // it cannot be read, which is told already
		} else if !errors.Is(err, fs.ErrNotExist) {
			return c.add("unreadable", qmailkit.Error, at, "", "%w", err)
		}
		return c.add("no-default", qmailkit.Error, at, "write it", "%s has no %s: mail for unknown names is not refused, and gets lost", d.Name, DefaultName)
	}
	u := known.Unknown
	catches := len(d.Default.Catch) == 1 && strings.EqualFold(d.Default.Catch[0], u.Address)
	switch {
	case u.Action == "catch" && !catches:
		return c.add("default-differs", qmailkit.Warning, at, "", "psa has mail for unknown names go to %q, and this file has not", u.Address)
	case u.Action == "" && len(d.Default.Catch) > 0:
		return c.add("default-differs", qmailkit.Warning, at, "", "psa has nothing for unknown names, by which their mail bounces, and this file sends it to %q", d.Default.Catch)
	case (u.Action == "bounce" || u.Action == "reject") && !d.Default.Bounce:
		return c.add("default-differs", qmailkit.Warning, at, "", "psa has mail for unknown names bounce, and this file has not")
	}
	return true
}

// mailbox judges the directory of a mail name; m is nil for one not in psa.
func (c *treeChecker) mailbox(b *Mailbox, m *Mailname) bool {
	if m == nil {
		return c.add("orphan-mailbox", qmailkit.Warning, b.Path, "remove it, or make the mail name", "%s@%s is no mail name of psa", b.Name, b.Domain)
	}
	if _, ok := b.Maildir(); !ok && m.Mailbox {
		if !c.add("no-maildir", qmailkit.Error, b.Path, "", "%s@%s has no Maildir", b.Name, b.Domain) {
			return false
		}
	}
	if b.Dot == nil {
		if (m.Mailbox && !m.NoDelivery || len(m.Forwards) > 0) && !c.add("no-dotqmail", qmailkit.Error, b.Path+"/"+DotQmailName, "have Plesk write it (mchk)", "%s@%s has no readable %s", b.Name, b.Domain, DotQmailName) {
			return false
		}
		return true
	}
	for _, what := range b.Dot.differs(m) {
		if !c.add("dotqmail-differs", qmailkit.Warning, b.Path+"/"+DotQmailName, "", "%s@%s: %s", b.Name, b.Domain, what) {
			return false
		}
	}
	return true
}
