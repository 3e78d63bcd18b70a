package maildir

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
)

// recover ends the intents that the journal has open, and takes what is left
// of unfinished imports out of tmp/.
func (im *Importer) recover() error {
	folders := []string{"."}
	for name, err := range im.dir.Folders(context.Background()) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return err
		}
		if err == nil {
			folders = append(folders, name)
		}
	}
	var lines []byte
	touched := map[string]bool{}
	groups := map[uint64]bool{}
	names := map[string]map[ID]Name{}
	for i := range im.j.pending {
		r := &im.j.pending[i]
		groups[r.group], touched[r.folder] = true, true
		done, err := im.conclude(r, names)
		if err != nil {
			return err
		}
		if !done {
			lines = appendLine(lines, (&record{kind: 'A', group: r.group, id: r.id}).text())
		}
	}
	if err := im.sweep(folders); err != nil {
		return err
	}
	begun, err := im.begun(touched)
	if err != nil {
		return err
	}
	lines = append(lines, begun...)
	if len(groups) == 0 && len(lines) == 0 {
		return nil
	}
	for name := range touched {
		if err := im.syncFolder(name); err != nil {
			return err
		}
	}
	for g := range groups {
		lines = appendLine(lines, (&record{kind: 'D', group: g}).text())
	}
	if err := im.j.append(lines); err != nil {
		return err
	}
	if err := im.j.sync(); err != nil {
		return err
	}
	return im.j.reload()
}

// conclude ends one intent: the file in tmp/, whose data are safe, gets its
// place. done is false where the message must be delivered again.
func (im *Importer) conclude(r *record, names map[string]map[ID]Name) (done bool, err error) {
	d, err := im.dir.Folder(r.folder)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrNotMaildir):
		return !im.abandoned(r), nil // its reader has taken the folder away
	case err != nil && planted(err):
		return false, nil // delivering it again will say what is wrong
	case err != nil:
		return false, err
	}
	defer d.Close()
	e := Entry{Folder: r.folder, Cur: r.cur, Name: r.name}
	err = d.tmp.RenameExcl(r.staged(), d.sub(e), r.name.String())
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrExist):
		return true, d.tmp.Remove(r.staged())
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	if !im.abandoned(r) {
		return true, nil // its reader was quicker
	}
	if r.named() {
		_, found, err := d.withBase(r.name.Base())
		return found, err
	}
	if names[r.folder] == nil {
		if names[r.folder], err = d.imported(nil); err != nil {
			return false, err
		}
	}
	_, found := names[r.folder][r.id]
	return found, nil
}

// abandoned says whether others may have cleaned the intent's file away.
func (im *Importer) abandoned(r *record) bool {
	return im.c.now().Sub(time.Unix(r.time, 0)) > abandonAfter
}

// imported finds the messages of earlier imports by their names, but for those
// that the journal tells of.
func (d *Dir) imported(j *journal) (map[ID]Name, error) {
	out := map[ID]Name{}
	for e, err := range d.Messages(context.Background()) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return nil, err
		}
		id, ok := importedID(e.Name.String())
		if ok && (j == nil || j.find(id) == nil) {
			out[id] = e.Name
		}
	}
	return out, nil
}

// earlier finds a message that the journal does not tell of, because it was
// removed or damaged: it may have been delivered all the same.
func (f *folder) earlier(j *journal, id ID) (Name, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.named == nil {
		var err error
		if f.named, err = f.imported(j); err != nil {
			return Name{}, false, err
		}
	}
	n, ok := f.named[id]
	return n, ok, nil
}

// sweep removes the files of unfinished imports from tmp/; what has an intent
// is gone from there by now.
func (im *Importer) sweep(folders []string) error {
	for _, name := range folders {
		d, err := im.dir.Folder(name)
		if err != nil {
			continue // no message can be delivered there either
		}
		err = d.sweep()
		d.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) sweep() error {
	for e, err := range d.tmp.Entries(context.Background()) {
		if err != nil {
			return err
		}
		if _, ours := importedID(e.Name()); ours && !e.IsDir() {
			if err := d.tmp.Remove(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func (im *Importer) syncFolder(name string) error {
	d, err := im.dir.Folder(name)
	if err != nil {
		return nil // a reader's doing; its messages are his
	}
	defer d.Close()
	return errors.Join(d.newd.Sync(), d.cur.Sync(), d.tmp.Sync())
}

// importedID finds the ID in a name that importName made.
func importedID(name string) (ID, bool) {
	_, rest, ok := strings.Cut(name, ".R")
	if !ok || len(rest) < 32 {
		return ID{}, false
	}
	id, ok := parseID(rest[:32])
	return id, ok && strings.HasPrefix(rest[32:], importedMark+",S=")
}
