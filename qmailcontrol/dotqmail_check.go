//go:build unix

package qmailcontrol

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// dotFindings collects what is found about one file.
type dotFindings struct {
	path string
	list []qmailkit.Problem
}

func (p *dotFindings) add(d DotLine, code string, s qmailkit.Severity, fix, format string, args ...any) {
	p.list = append(p.list, qmailkit.Problem{
		Code: "dotqmail." + code, Severity: s, Path: p.path, Line: d.Line, Offset: d.Offset, Err: fmt.Errorf(format, args...), Fix: fix,
	})
}

// file adds a problem of the file as a whole.
func (p *dotFindings) file(code string, s qmailkit.Severity, fix, format string, args ...any) {
	p.add(DotLine{}, code, s, fix, format, args...)
}

// homeProblems judges the home directory.
func homeProblems(h *dotHome) []qmailkit.Problem {
	p := dotFindings{path: h.dir}
	mode := h.info.Mode
	switch {
	case mode&0o002 != 0:
		p.file("home-writable", qmailkit.Error, "chmod o-w", "everybody can write the home directory, so qmail defers all its mail")
	case mode&0o020 != 0:
		p.file("home-group-writable", qmailkit.Warning, "chmod g-w", "the group can write the home directory, and thus its .qmail files; qmail takes that")
	}
	if mode&fs.ModeSticky != 0 {
		p.file("home-sticky", qmailkit.Error, "chmod -t", "the home directory is sticky, so qmail defers all its mail")
	}
	if !h.owns(h.info) && h.info.UID != 0 {
		p.file("home-owner", qmailkit.Warning, "", "the home directory belongs to user %d instead of %d; qmail-local does not look", h.info.UID, h.who.UID)
	}
	return p.list
}

// dotProblems judges a .qmail file. Without q only its owner and mode are.
func dotProblems(name string, q *DotQmail, h *dotHome, f found) []qmailkit.Problem {
	p := dotFindings{path: joined(append(parts(h.dir), parts(name)...))}
	mode := f.info.Mode
	switch {
	case mode&0o002 != 0:
		p.file("writable", qmailkit.Error, "chmod o-w", "everybody can write the file, so qmail defers its mail")
	case mode&0o020 != 0:
		p.file("group-writable", qmailkit.Warning, "chmod g-w", "the group can write the file, and thus run programs as its user; qmail takes that")
	}
	if !h.may(f.info, 4) {
		p.file("unreadable", qmailkit.Error, "", "user %d may not read the file, so qmail defers its mail", h.who.UID)
	}
	if !h.owns(f.info) && f.info.UID != 0 {
		p.file("owner", qmailkit.Warning, "", "the file belongs to user %d instead of %d; qmail-local does not look", f.info.UID, h.who.UID)
	}
	if f.link {
		p.file("link", qmailkit.Info, "", "a symbolic link leads to %s", f.at)
	}
	if q != nil {
		p.lines(q, h, mode&0o100 != 0)
	}
	return p.list
}

// lines judges the content.
func (p *dotFindings) lines(q *DotQmail, h *dotHome, only bool) {
	if only {
		p.file("x-bit", qmailkit.Info, "", "the x bit is set: the file may only forward")
	}
	any := q.Len() == 0
	for d := range q.Lines() {
		any = any || d.Kind.Delivers()
		switch {
		case d.Kind == DotBlank && d.Line == 1:
			p.add(d, "blank-first", qmailkit.Error, "remove the line", "the first line is blank, so qmail defers the mail")
		case d.Kind == DotList:
			only = true
		case d.Kind == DotIgnored:
			p.add(d, "ignored", qmailkit.Warning, "", "%q is no delivery and is passed over", "+"+d.Arg)
		case only && d.Kind.Delivers() && d.Kind != DotForward:
			p.add(d, "not-forward", qmailkit.Error, "", "a delivery to a %s where only forwards are allowed: qmail defers the mail", d.Kind)
		}
		p.line(d, h)
	}
	if !any {
		p.file("nothing", qmailkit.Info, "", "no line delivers: the mail is thrown away")
	}
}

// line judges what one line delivers to.
func (p *dotFindings) line(d DotLine, h *dotHome) {
	if strings.HasSuffix(d.Arg, "\r") && d.Kind != DotComment {
		p.add(d, "cr", qmailkit.Error, "end the line in LF alone", "the CR at the end is part of the %s", d.Kind)
	}
	if d.Target() != d.Arg {
		p.add(d, "nul", qmailkit.Warning, "", "a NUL ends the line")
	}
	switch d.Kind {
	case DotForward:
		p.forward(d)
	case DotMaildir:
		if h != nil {
			p.maildir(d, h)
		}
	}
}

// forward judges an address. qmail-local takes anything for one.
func (p *dotFindings) forward(d DotLine) {
	switch to := d.Target(); {
	case to == "":
		p.add(d, "forward", qmailkit.Error, "", "a forward to the empty address")
	case strings.ContainsAny(to, " \t<>(),\""):
		p.add(d, "forward", qmailkit.Warning, "", "%q is taken as the address as it stands", to)
	case !strings.Contains(to, "@"):
		p.add(d, "forward", qmailkit.Info, "", "%q has no host; control/envnoathost is added", to)
	}
}

// maildir tells of a Maildir that is none: qmail-local makes no directories.
func (p *dotFindings) maildir(d DotLine, h *dotHome) {
	start := h.dir
	if strings.HasPrefix(d.Target(), "/") {
		start = "."
	}
	for _, sub := range []string{"tmp", "new"} {
		f, err := h.walk(start, d.Target()+"/"+sub)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !f.info.Mode.IsDir() {
			p.add(d, "no-maildir", qmailkit.Error, "maildirmake", "%s is no Maildir, so qmail defers the mail", d.Target())
			return
		}
		if errors.Is(err, errAccess) || err == nil && !h.may(f.info, 3) {
			p.add(d, "maildir-access", qmailkit.Error, "", "user %d may not write to %s, so qmail defers the mail", h.who.UID, path.Join(d.Target(), sub))
			return
		}
	}
}

// Check tells what in the file does not work, or not as it looks, as far as it
// shows without the file system. CheckDotQmail lists the codes.
func (q *DotQmail) Check() []qmailkit.Problem {
	var p dotFindings
	p.lines(q, nil, false)
	return p.list
}

// CheckDotQmail tells the hazards of a home directory and of all .qmail files
// in it; home is taken from the top of the tree. Who is the user, nil if not
// known. Extensions that stand in subdirectories are left out.
//
//	dotqmail.home-writable, .home-sticky        all mail is deferred
//	dotqmail.home-group-writable, .home-owner   others can change the files; qmail takes it
//	dotqmail.writable, .unreadable              the mail is deferred
//	dotqmail.group-writable, .owner             as for the home
//	dotqmail.x-bit, .not-forward                forwards only, and a line that is none
//	dotqmail.blank-first                        the mail is deferred
//	dotqmail.cr, .nul                           a name that is not what it looks like
//	dotqmail.forward                            an odd address
//	dotqmail.ignored                            a '+' line that says nothing
//	dotqmail.nothing                            all mail is thrown away
//	dotqmail.no-maildir, .maildir-access        the Maildir cannot be delivered to
//	dotqmail.link                               a symbolic link
//	dotqmail.type, .dangling                    no plain file: passed over in the search
//	dotqmail.name                               a name that no address leads to
//	dotqmail.unknown                            a file that cannot be judged, and why
//
// An error wraps qmailkit.ErrIncomplete.
func CheckDotQmail(ctx context.Context, tree qmailkit.Tree, home string, who *Owner) iter.Seq2[qmailkit.Problem, error] {
	return func(yield func(qmailkit.Problem, error) bool) {
		h := &dotHome{tree: tree, who: who}
		f, err := h.walk(".", home)
		if err == nil && !f.info.Mode.IsDir() {
			err = fs.ErrNotExist
		}
		if err != nil {
			yield(qmailkit.Problem{}, qmailkit.Incomplete(&fs.PathError{Op: "check", Path: home, Err: err}))
			return
		}
		h.dir, h.info = f.at, f.info
		names, err := h.names(ctx)
		if err != nil {
			yield(qmailkit.Problem{}, qmailkit.Incomplete(err))
			return
		}
		found := homeProblems(h)
		for _, name := range names {
			if err := context.Cause(ctx); err != nil {
				yield(qmailkit.Problem{}, qmailkit.Incomplete(err))
				return
			}
			found = append(found, h.check(name)...)
			for _, p := range found {
				if !yield(p, nil) {
					return
				}
			}
			found = nil
		}
		for _, p := range found {
			if !yield(p, nil) {
				return
			}
		}
	}
}

// names are those of the .qmail files, in alphabetical order.
func (h *dotHome) names(ctx context.Context) (names []string, err error) {
	for e, err := range h.tree.ReadDir(ctx, h.dir) {
		if err != nil {
			return nil, err
		}
		if e.Name == ".qmail" || strings.HasPrefix(e.Name, ".qmail-") {
			names = append(names, e.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// check judges one file of the home.
func (h *dotHome) check(name string) []qmailkit.Problem {
	p := dotFindings{path: joined(append(parts(h.dir), name))}
	if safe := "." + strings.ReplaceAll(lower(name[1:]), ".", ":"); safe != name {
		p.file("name", qmailkit.Warning, "rename it to "+safe,
			"no address leads to this name: qmail-local asks for small letters, and for ':' in place of '.'")
	}
	f, err := h.walk(h.dir, name)
	var q *DotQmail
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.file("dangling", qmailkit.Warning, "", "a symbolic link that leads nowhere is passed over in the search")
		return p.list
	case errors.Is(err, errAccess):
		p.file("unreadable", qmailkit.Error, "", "user %d may not read the file, so qmail defers its mail", h.who.UID)
		return p.list
	case err == nil && !f.info.Mode.IsRegular():
		p.file("type", qmailkit.Warning, "", "this is no plain file and is passed over in the search")
		return p.list
	case err == nil && h.may(f.info, 4):
		q, err = h.read(name, f)
	}
	if err != nil {
		p.file("unknown", qmailkit.Error, "", "%w", err)
		return p.list
	}
	return append(p.list, dotProblems(name, q, h, f)...)
}
