//go:build unix

package vpopmail

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A leavingNote is a domain that is being removed. It is what is known of the
// domain once users/cdb has forgotten it.
type leavingNote struct {
	Name    text   `json:"name"`
	UID     int    `json:"uid"`
	GID     int    `json:"gid"`
	Dir     text   `json:"dir"`
	Aliases []text `json:"aliases,omitempty"`
	// Token is the directory's inode and the time of its last change, by which
	// this removal is told from a later one of another domain of that name.
	Token string `json:"token"`
	// Side or Row is the counter of the domains around the removal, noted when
	// all but that is done.
	Side *sideFile   `json:"side,omitempty"`
	Row  *counterRow `json:"row,omitempty"`
}

func (n *leavingNote) domain() *Domain {
	return &Domain{Name: string(n.Name), Real: string(n.Name), UID: n.UID, GID: n.GID, Dir: string(n.Dir)}
}

// leaving finds the note of a domain that is being removed; nil is none.
func (n *pendingNotes) leaving(name string) *leavingNote {
	for i := range n.Leaving {
		if string(n.Leaving[i].Name) == name {
			return &n.Leaving[i]
		}
	}
	return nil
}

// noted does a step of the removal while the note of it is there, which keeps
// the name from being used again. Without it somebody else has finished the
// removal, and what is there now is another domain.
func (x *deletion) noted(ctx context.Context, step func(top *safefs.Dir, notes *pendingNotes, note *leavingNote) error) error {
	return x.s.editPending(ctx, func(top *safefs.Dir, notes *pendingNotes) error {
		note := notes.leaving(x.name)
		if note == nil || note.Token != x.token {
			return nil
		}
		return step(top, notes, note)
	})
}

// identity tells the domain's directory from others that will have its name.
func (x *deletion) identity() (string, error) {
	at := strings.LastIndexByte(x.d.Dir, '/')
	parent, err := x.s.openPath(x.d.Dir[:at])
	if err != nil {
		return "", ignoreMissing(err)
	}
	defer parent.Close()
	fi, err := parent.Lstat(x.d.Dir[at+1:])
	if err != nil {
		return "", ignoreMissing(err)
	}
	return fmt.Sprintf("%d.%d", fi.Ino, fi.CTime.UnixNano()), nil
}

// finish counts one domain less and drops the notes. The counter before and
// after is noted first, so that it goes down once.
func (x *deletion) finish(ctx context.Context) error {
	return x.noted(ctx, func(top *safefs.Dir, notes *pendingNotes, note *leavingNote) error {
		var err error
		if k := x.s.domainKeeper(); k != nil {
			err = x.uncountRow(ctx, k, top, notes, note)
		} else {
			err = x.uncountFile(top, notes, note)
		}
		if err != nil {
			return err
		}
		notes.Leaving = slices.DeleteFunc(notes.Leaving, func(l leavingNote) bool { return string(l.Name) == x.name })
		if !x.elsewhere {
			notes.Domains = slices.DeleteFunc(notes.Domains, func(d pendingNote) bool { return string(d.Name) == x.name })
		}
		return x.s.writePending(top, notes)
	})
}

func (x *deletion) uncountRow(ctx context.Context, k DomainKeeper, top *safefs.Dir, notes *pendingNotes, note *leavingNote) error {
	c, err := k.DomainCounter(ctx, x.d.UID)
	if err != nil {
		return err
	}
	if note.Row == nil {
		note.Row = &counterRow{Before: c, After: c}
		note.Row.After.Users -= min(c.Users, 1)
		if err := x.s.writePending(top, notes); err != nil {
			return err
		}
	}
	if c != note.Row.Before {
		return nil
	}
	return k.SetDomainCounter(ctx, x.d.UID, note.Row.After)
}

// uncountFile leaves .dir-control as vdeldomain does, readable to all
// (bigdir.c:dec_dir_control). One that is missing stays so.
func (x *deletion) uncountFile(top *safefs.Dir, notes *pendingNotes, note *leavingNote) error {
	home := x.s.p.Home
	if x.d.UID != x.s.p.UID {
		if home = strings.TrimRight(x.o.OwnerHome, "/"); home == "" {
			return nil
		}
	}
	dir, err := x.s.openPath(x.s.p.domainsPath(home))
	if err != nil {
		return ignoreMissing(err)
	}
	defer dir.Close()
	b, ok, err := readFile(dir, ".dir-control")
	if err != nil || !ok {
		return err
	}
	if note.Side == nil {
		c, err := ParseDirControl(b)
		if err != nil {
			return fmt.Errorf("%s/.dir-control: %w", dir.Name(), err)
		}
		c.Users -= min(c.Users, 1)
		side := sideOf(".dir-control", b, true, c.Bytes())
		note.Side = &side
		if err := x.s.writePending(top, notes); err != nil {
			return err
		}
	}
	if note.Side.Before == nil || string(b) != string(*note.Side.Before) {
		return nil
	}
	rep := safefs.Replacement{Mode: 0o644, Owner: x.s.owner(x.d.UID, x.d.GID), Temp: tempSide}
	return dir.WriteFile(".dir-control", rep, []byte(note.Side.After))
}
