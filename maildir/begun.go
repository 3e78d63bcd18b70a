package maildir

import (
	"errors"
	"io/fs"
)

// What an import does to messages that are there already, it notes before and
// after. Killed between the two, it must not take its own doing for that of
// the Maildir's owner.

// announce notes which messages are about to get another place. It is not
// synced: after a power cut a message may count as one that its owner has
// moved, and stays as it is.
func (c *Committer) announce(g *group) error {
	lines := map[*Importer][]byte{}
	now := c.now().Unix()
	for _, t := range g.tasks {
		if t.act == actRename {
			r := record{kind: 'R', time: now, folder: t.f.Dir.folder, id: t.result.ID, cur: t.cur, name: t.name}
			lines[t.im] = appendLine(lines[t.im], r.text())
		}
	}
	for im, b := range lines {
		if err := im.j.append(b); err != nil {
			return err
		}
	}
	return nil
}

// begin keeps an 'R' or a 'W' until its end is read.
func (j *journal) begin(r *record) {
	switch {
	case len(j.moving)+len(j.taking) >= maxPending:
	case r.kind == 'R':
		if j.moving == nil {
			j.moving = map[ID]record{}
		}
		j.moving[r.id] = *r
	default:
		if j.taking == nil {
			j.taking = map[ID]bool{}
		}
		j.taking[r.id] = true
	}
}

// begun ends what was noted before and not after, and gives the lines that say
// so. What stands in the place that it was to get has got it.
func (im *Importer) begun(touched map[string]bool) (lines []byte, err error) {
	dirs := map[string]*Dir{}
	defer func() {
		for _, d := range dirs {
			d.Close()
		}
	}()
	for id, r := range im.j.moving {
		if im.j.find(id) == nil {
			continue
		}
		ok, err := im.stands(dirs, &r)
		if err != nil {
			return nil, err
		}
		if ok {
			r.kind = 'F'
			lines, touched[r.folder] = appendLine(lines, r.text()), true
		}
	}
	for id := range im.j.taking {
		k := im.j.find(id)
		if k == nil {
			continue
		}
		r, err := im.j.recorded(k)
		if err != nil {
			return nil, err
		}
		if ok, err := im.stands(dirs, &r); err != nil {
			return nil, err
		} else if ok {
			err := dirs[r.folder].sub(r.entry()).Remove(r.name.String())
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			touched[r.folder] = true
		}
		lines = appendLine(lines, (&record{kind: 'X', id: id}).text())
	}
	return lines, nil
}
