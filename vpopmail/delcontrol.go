//go:build unix

package vpopmail

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// unlist takes the names out of qmail's files, in the order in which no mail is
// lost. It can be run again: users/cdb comes last, and until then the domain is
// found.
func (x *deletion) unlist(ctx context.Context) error {
	control, err := x.s.lockControl(ctx)
	if err != nil {
		return err
	}
	defer control.Close()
	if mine, err := x.current(); err != nil || !mine {
		return err
	}
	if err := x.lateAliases(ctx); err != nil {
		return err
	}
	if err := x.edit(ctx, control, "control/rcpthosts", x.isName); err != nil {
		return err
	}
	if err := x.morercpthosts(ctx, control); err != nil {
		return err
	}
	if err := x.edit(ctx, control, "control/virtualdomains", x.isVirtual); err != nil {
		return err
	}
	if x.hup == nil {
		x.res.Problems = append(x.res.Problems, at(problem("control.not-signaled", qmailkit.Warning,
			"qmail-send has to be sent a HUP to forget the domain"), "control/virtualdomains"))
	} else {
		x.res.Signaled = true
		if err := x.hup(ctx); err != nil {
			return err
		}
	}
	if k := x.s.aliasDomainKeeper(); k != nil {
		for _, n := range x.names {
			if err := k.RemoveAliasDomain(ctx, &Domain{Name: n, Real: x.d.Real, UID: x.d.UID, GID: x.d.GID, Dir: x.d.Dir}); err != nil {
				return err
			}
		}
	}
	users, err := x.s.usersDir(false)
	if err != nil {
		return ignoreMissing(err)
	}
	defer users.Close()
	return x.edit(ctx, users, "users/assign", x.isAssign)
}

// current says whether what is live under the name is still what is to be
// removed. Nothing else goes live while the directory control is locked.
func (x *deletion) current() (bool, error) {
	if !x.d.Alias() {
		notes, err := x.s.notes()
		if err != nil {
			return false, err
		}
		note := notes.leaving(x.name)
		return note != nil && note.Token == x.token, nil
	}
	d, err := x.s.liveDomain(x.name)
	return d != nil && *d == *x.d, err
}

// lateAliases looks for aliases that went live between the list of them and the
// lock of control: they would outlive the domain. From now on there can be no
// more, because GoLive sees the note. Without Force the removal ends here, and
// if it has just begun it never was.
func (x *deletion) lateAliases(ctx context.Context) error {
	if x.d.Alias() {
		return nil
	}
	aliases, err := x.check()
	if err != nil {
		return err
	}
	for _, a := range aliases {
		switch {
		case slices.Contains(x.names, a):
		case x.o.Force:
			x.names, x.res.Aliases = append(x.names, a), append(x.res.Aliases, a)
		default:
			err := error(&AliasesError{Domain: x.name, Aliases: aliases})
			if x.fresh {
				err = errors.Join(err, x.noted(ctx, x.forget))
			}
			return err
		}
	}
	return nil
}

// forget drops the note.
func (x *deletion) forget(top *safefs.Dir, notes *pendingNotes, _ *leavingNote) error {
	notes.Leaving = slices.DeleteFunc(notes.Leaving, func(l leavingNote) bool { return string(l.Name) == x.name })
	return x.s.writePending(top, notes)
}

// isName says whether qmail takes a line of rcpthosts for one of the names:
// without case, and with blanks at its end. vpopmail removes those only that
// are equal byte by byte, and qmail-smtpd goes on taking mail for the others.
func (x *deletion) isName(line string) bool {
	return slices.Contains(x.names, lower(strings.TrimRight(line, " \t")))
}

// isVirtual is isName for the lines NAME:NAME of virtualdomains. A line that
// sends the domain elsewhere is somebody else's.
func (x *deletion) isVirtual(line string) bool {
	name, prepend, ok := strings.Cut(strings.TrimRight(line, " \t"), ":")
	return ok && lower(name) == lower(prepend) && slices.Contains(x.names, lower(name))
}

func (x *deletion) isAssign(line string) bool {
	d := parseAssignLine(line)
	return d != nil && slices.Contains(x.names, d.Name)
}

// edit removes lines from a file under its lock. users/cdb follows
// users/assign even if that had no such line, because a removal may have been
// cut short between the two.
func (x *deletion) edit(ctx context.Context, dir *safefs.Dir, file string, is func(string) bool) error {
	base := file[strings.LastIndexByte(file, '/')+1:]
	unlock, err := x.s.lock(ctx, dir, base+".lock", safefs.Keep)
	if err != nil {
		return err
	}
	defer unlock()
	f, err := readLines(dir, base, base == "assign")
	if err != nil || !f.exists {
		return err
	}
	if err := x.drop(dir, file, f, is); err != nil || base != "assign" {
		return err
	}
	db, err := f.compile()
	if err != nil {
		return err
	}
	return x.s.replaceDB(dir, "users/cdb", db)
}

// drop removes lines and writes the file if there were any.
func (x *deletion) drop(dir *safefs.Dir, file string, f *lineFile, is func(string) bool) error {
	before := f.bytes()
	for _, l := range f.remove(-1, is) {
		x.res.Changes = append(x.res.Changes, Change{file, l, false})
	}
	return x.s.replace(dir, file, f.exists, before, f.bytes())
}

// morercpthosts does the same for morercpthosts and compiles it, or removes
// both files when no line is left. vpopmail looks here only if rcpthosts had
// none of the names, and compiles only if exactly one line went: an alias may
// stay, or a name in morercpthosts.cdb, and qmail-smtpd goes on taking its
// mail.
func (x *deletion) morercpthosts(ctx context.Context, control *safefs.Dir) error {
	f, stale, err := x.more(control)
	if err != nil || !stale && !slices.ContainsFunc(f.lines, x.isName) {
		return err
	}
	unlock, err := x.s.lock(ctx, control, "morercpthosts.lock", safefs.Keep)
	if err != nil {
		return err
	}
	defer unlock()
	if f, stale, err = x.more(control); err != nil {
		return err
	}
	if !f.exists && !stale {
		return nil // somebody was quicker
	}
	if !f.exists {
		x.res.Problems = append(x.res.Problems, at(problem("control.morercpthosts-stale", qmailkit.Error,
			"it still has the domain, but there is no morercpthosts to compile it from"), "control/morercpthosts.cdb"))
		return nil
	}
	if err := x.drop(control, "control/morercpthosts", f, x.isName); err != nil {
		return err
	}
	if len(f.lines) == 0 {
		// The cdb first: it is what qmail-smtpd reads, and the text says that
		// there is more to do.
		for _, name := range []string{"morercpthosts.cdb", "morercpthosts"} {
			if err := ignoreMissing(control.Remove(name)); err != nil {
				return err
			}
			if err := control.Sync(); err != nil {
				return err
			}
		}
		return nil
	}
	var db memFile
	if err := qmailcontrol.WriteMorercpthosts(&db, bytes.NewReader(f.bytes())); err != nil {
		return err
	}
	return x.s.replaceDB(control, "control/morercpthosts.cdb", db.b)
}

// more reads morercpthosts and says whether a removal that was cut short has
// left something there: one of the names in the cdb, or an empty text.
func (x *deletion) more(control *safefs.Dir) (f *lineFile, stale bool, err error) {
	if f, err = readLines(control, "morercpthosts", false); err != nil {
		return nil, false, err
	}
	stale = f.exists && len(f.lines) == 0
	for _, n := range x.names {
		_, found, err := lookup(control, "morercpthosts.cdb", n)
		if ignoreMissing(err) != nil {
			return nil, false, err
		}
		stale = stale || found
	}
	return f, stale, nil
}
