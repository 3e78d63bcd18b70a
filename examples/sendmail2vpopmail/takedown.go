package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/aliasmap"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/maildir"
)

// accountFile names the files that stand in an account's directory without
// being anybody's data, and what a killed run has left of them.
func accountFile(path string) bool {
	base := path[strings.LastIndexByte(path, '/')+1:]
	if temp, ok := strings.CutPrefix(base, "."); ok {
		base = strings.TrimSuffix(strings.TrimSuffix(temp, ".qmailkit"), ".seed")
		base = strings.TrimPrefix(base, ".") // the temporary file of a temporary file
	}
	// Of .qmail files and vacation texts.
	if path == dotQmail+".qmailkit" || path == aliasmap.ReplyDir+"/"+replyTemp {
		return true
	}
	return path == "lastauth" || strings.HasPrefix(path, "Maildir/") && slices.Contains([]string{
		maildir.JournalName, maildir.QuotaName, maildir.KeywordsName, maildir.UIDListName, maildir.CourierUIDs,
		maildir.CourierSubscribed, maildir.DovecotSubscribed, "maildirfolder",
	}, base)
}

// domainFile does the same for a domain's.
func domainFile(path string) bool {
	return strings.HasPrefix(path, ".qmailkit") && !strings.Contains(path, "/") || slices.Contains([]string{
		"vpasswd", "vpasswd.cdb", ".vpasswd.lock", ".dir-control", ".dir_control_free", ".qmail-default",
	}, path)
}

// strange finds a file in a directory that known does not accept.
func (u *undoing) strange(path string, known func(string) bool) error {
	parent, d, _, err := u.openPath(path)
	if err != nil || d == nil {
		return err
	}
	defer parent.Close()
	defer d.Close()
	return empty(d, "", known, false)
}

// openPath opens a directory and the one that it is in; both are nil where it
// does not exist.
func (u *undoing) openPath(path string) (parent, d *safefs.Dir, base string, err error) {
	root, name, err := u.t.Store.Place(path)
	if err != nil {
		return nil, nil, "", err
	}
	up, base := ".", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		up, base = name[:i], name[i+1:]
	}
	if parent, err = safefs.OpenDir(root, up, nil); err == nil {
		if d, err = parent.Sub(base); err == nil {
			return parent, d, base, nil
		}
		parent.Close()
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return nil, nil, "", err
}

// takeDown removes a directory that holds nothing but what known accepts.
func (u *undoing) takeDown(path string, known func(string) bool) error {
	parent, d, base, err := u.openPath(path)
	if err != nil || d == nil {
		return err
	}
	defer parent.Close()
	defer d.Close()
	if err := empty(d, "", known, false); err != nil {
		return err
	}
	if err := empty(d, "", known, true); err != nil {
		return err
	}
	if err := parent.RemoveDir(base); err != nil {
		return err
	}
	return parent.Sync()
}

// empty goes through a directory: first only to see that all of it is known,
// then to remove it.
func empty(d *safefs.Dir, rel string, known func(string) bool, remove bool) error {
	for e, err := range d.Entries(context.Background()) {
		if err != nil {
			return err
		}
		path := rel + e.Name()
		if !e.IsDir() {
			if !known(path) {
				return fmt.Errorf("%s did not come by run", path)
			}
			if remove {
				if err := d.Remove(e.Name()); err != nil {
					return err
				}
			}
			continue
		}
		sub, err := d.Sub(e.Name())
		if err != nil {
			return err
		}
		err = empty(sub, path+"/", known, remove)
		sub.Close()
		if err == nil && remove {
			err = d.RemoveDir(e.Name())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
