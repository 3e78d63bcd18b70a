package maildir

import (
	"errors"
	"io/fs"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// fewSyncs is the number of files up to which syncing each is quicker than
// syncing their whole file system.
const fewSyncs = 8

// commits takes the sealed groups one after the other.
func (c *Committer) commits() {
	for g := c.sealed(); g != nil; g = c.sealed() {
		g.staged.Wait()
		err := c.err()
		if err == nil {
			err = c.commit(g)
		}
		if err != nil {
			err = c.fatal(err)
			c.drop(g)
		}
		for _, t := range g.tasks {
			t.report(err)
		}
		c.release(g)
		if g.done != nil {
			g.done <- c.err()
		}
	}
}

// release lets go of the group's importers, and ends those that nothing more
// comes for.
func (c *Committer) release(g *group) {
	var ended []*Importer
	for _, im := range slices.AppendSeq(slices.Clone(g.closing), maps.Keys(g.ims)) {
		if im.last() {
			ended = append(ended, im)
			c.fatalIf(im.finished())
		}
	}
	if c.err() == nil && (g.done != nil || len(ended) > 0) {
		c.fatalIf(c.settle(g))
	}
	for _, im := range ended {
		c.fatalIf(im.close())
	}
}

func (c *Committer) fatalIf(err error) {
	if err != nil {
		c.fatal(err)
	}
}

// report tells the fate of one message. What a failed group has done to it may
// not be on the disk: a later run will complete it.
func (t *task) report(fatal error) {
	if fatal != nil && (t.act == actLink || t.act == actRename) {
		t.result.Outcome, t.result.Entry, t.result.Err = Failed, Entry{}, fatal
	}
	if t.m.Done != nil {
		t.m.Done(t.result)
	}
	t.m = nil // lets go of what Body holds
}

// drop takes what a failed group has staged out of tmp/, so that a full disk
// does not stay full. Once an intent may be on the disk its file must stay: an
// intent without file means that a reader was quicker.
func (c *Committer) drop(g *group) {
	if g.begun {
		return
	}
	for _, t := range g.tasks {
		if t.act == actLink {
			t.f.tmp.Remove(t.tmp)
		}
	}
}

// commit makes a group durable and visible.
func (c *Committer) commit(g *group) error {
	links := 0
	for _, t := range g.tasks {
		if t.act == actLink {
			links++
		}
	}
	if err := c.saveKeywords(g, links > 0); err != nil {
		return err
	}
	if links > 0 {
		if err := makeJournals(g); err != nil {
			return err
		}
		if err := c.syncData(g); err != nil {
			return err
		}
		if err := c.intend(g); err != nil {
			return err
		}
	}
	if err := c.announce(g); err != nil {
		return err
	}
	if err := c.place(g); err != nil {
		return err
	}
	if err := c.syncPlaces(g); err != nil {
		return err
	}
	return c.conclude(g)
}

// makeJournals makes those that are missing, so that the sync of the data is
// that of their names too.
func makeJournals(g *group) error {
	for _, t := range g.tasks {
		if t.act == actLink && t.im.j.f == nil {
			if err := t.im.j.create(); err != nil {
				return err
			}
		}
	}
	return nil
}

// syncData makes the staged files durable, with their directories.
func (c *Committer) syncData(g *group) error {
	switch {
	case c.opts.Sync == SyncNone:
		return nil
	case c.opts.Sync == SyncEach:
		return syncTmps(g) // the files were synced when they were written
	case !c.opts.NoSyncFS:
		return c.syncFS(g)
	}
	var eg errgroup.Group
	eg.SetLimit(fewSyncs)
	for _, t := range g.tasks {
		if t.act != actLink {
			continue
		}
		eg.Go(func() error {
			err := syncFile(t.f.tmp, t.tmp)
			if err != nil && planted(err) {
				t.act, t.result.Err = actNone, err
				return nil
			}
			return err
		})
	}
	if err := eg.Wait(); err != nil {
		return err
	}
	return syncTmps(g)
}

// syncTmps makes the staged names durable, before an intent relies on them.
func syncTmps(g *group) error {
	for f := range g.folders {
		if err := f.tmp.Sync(); err != nil {
			return err
		}
	}
	return nil
}

func syncFile(d *safefs.Dir, name string) error {
	f, err := d.OpenPlain(name, safefs.Expect{})
	if err != nil {
		return err
	}
	defer f.Close()
	return d.SyncFile(f)
}

// syncFS syncs each file system that the group writes to: one, as a rule.
func (c *Committer) syncFS(g *group) error {
	dirs := make([]*safefs.Dir, 0, len(g.folders)+len(g.ims)+len(g.closing))
	for f := range g.folders {
		dirs = append(dirs, f.tmp)
	}
	ims := slices.AppendSeq(slices.Clone(g.closing), maps.Keys(g.ims))
	for _, im := range ims {
		dirs = append(dirs, im.dir.root)
		// Before the sync: what is made while it runs may be missed by it.
		im.unsynced.Store(false)
	}
	seen := map[uint64]bool{}
	for _, d := range dirs {
		fi, err := d.Lstat(".")
		if err != nil {
			return err
		}
		if seen[fi.Dev] {
			continue
		}
		seen[fi.Dev] = true
		if err := d.SyncFS(); err != nil {
			return err
		}
	}
	for _, im := range ims {
		im.j.synced()
	}
	return nil
}

// syncMany syncs n things of the group one by one if they are few, else by
// their file system.
func (c *Committer) syncMany(g *group, n int, each func() error) error {
	switch {
	case c.opts.Sync == SyncNone:
		return nil
	case n <= fewSyncs || c.separately():
		return each()
	}
	return c.syncFS(g)
}

// intend records what is about to be linked.
func (c *Committer) intend(g *group) error {
	g.begun = true
	lines := map[*Importer][]byte{}
	now := c.now().Unix()
	for im := range g.ims {
		im.j.group++
	}
	for _, t := range g.tasks {
		if t.act != actLink {
			continue
		}
		r := record{kind: 'I', group: t.im.j.group, time: now, folder: t.f.Dir.folder, id: t.result.ID, cur: t.cur, name: t.name}
		lines[t.im] = appendLine(lines[t.im], r.text())
	}
	for im, b := range lines {
		if err := im.j.append(b); err != nil {
			return err
		}
	}
	return c.syncMany(g, len(lines), func() error {
		for im := range lines {
			if err := im.j.sync(); err != nil {
				return err
			}
		}
		return nil
	})
}

// place renames what was staged, and what gets other flags. A second goroutine
// would only wait: between directories a file system renames one at a time.
func (c *Committer) place(g *group) error {
	for _, t := range g.tasks {
		if err := t.place(); err != nil {
			return err
		}
	}
	return nil
}

func (t *task) place() error {
	if t.act != actLink && t.act != actRename {
		return nil // it may not even have a folder
	}
	to := Entry{Folder: t.f.Dir.folder, Cur: t.cur, Name: t.name}
	switch t.act {
	case actLink:
		err := t.f.tmp.RenameExcl(t.tmp, t.f.sub(to), t.name.String())
		switch {
		case err == nil:
			t.result.Outcome, t.result.Entry = Delivered, to
		case errors.Is(err, fs.ErrExist):
			t.result.Outcome, t.result.Entry = Present, to
			return t.f.tmp.Remove(t.tmp)
		case errors.Is(err, fs.ErrNotExist):
			t.act, t.result.Err = actNone, err // somebody cleaned tmp/
		default:
			return err
		}
	case actRename:
		err := t.fromDir.sub(t.from).RenameExcl(t.from.Name.String(), t.f.sub(to), t.name.String())
		switch {
		case err == nil:
			t.result.Outcome, t.result.Entry = Updated, to
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist):
			t.act, t.result.Outcome = actNone, Kept // its reader was quicker
		default:
			return err
		}
	}
	return nil
}

// syncPlaces makes the renames durable.
func (c *Committer) syncPlaces(g *group) error {
	dirs := map[*safefs.Dir]bool{}
	for _, t := range g.tasks {
		switch t.result.Outcome {
		case Updated:
			dirs[t.fromDir.sub(t.from)] = true
			dirs[t.f.sub(t.result.Entry)] = true
		case Delivered:
			dirs[t.f.sub(t.result.Entry)] = true
		}
	}
	if len(dirs) == 0 {
		return nil
	}
	return c.syncMany(g, len(dirs), func() error {
		for d := range dirs {
			if err := d.Sync(); err != nil {
				return err
			}
		}
		return nil
	})
}

// conclude records that the group is done. The lines reach the disk with the
// next group's, or when the importer is closed: without them recovery finds
// the files in their places.
func (c *Committer) conclude(g *group) error {
	lines := map[*Importer][]byte{}
	linked := map[*Importer]bool{}
	now := c.now().Unix()
	for _, t := range g.tasks {
		switch {
		case t.result.Outcome == Updated, t.act == actRecord:
			r := record{kind: 'F', time: now, folder: t.f.Dir.folder, id: t.result.ID, cur: t.cur, name: t.name}
			lines[t.im] = appendLine(lines[t.im], r.text())
		case t.act == actLink:
			linked[t.im] = true
		case t.result.Err != nil && t.name.IsValid():
			linked[t.im] = true
			r := record{kind: 'A', group: t.im.j.group, id: t.result.ID}
			lines[t.im] = appendLine(lines[t.im], r.text())
		}
	}
	for im := range linked {
		lines[im] = appendLine(lines[im], (&record{kind: 'D', group: im.j.group}).text())
	}
	for im, b := range lines {
		if err := im.j.append(b); err != nil {
			return err
		}
	}
	return nil
}

// settle makes the journals durable that nothing will follow for now, and what
// finishing has written without a sync.
func (c *Committer) settle(g *group) error {
	dirty := map[*Importer]bool{}
	for im := range g.ims {
		dirty[im] = im.j.dirty
	}
	made := false // a Maildir that got no message has to be durable too, and its quota
	for _, im := range g.closing {
		dirty[im] = im.j.dirty
		made = made || im.unsynced.Load()
	}
	if made && c.opts.Sync == SyncGroup && !c.separately() {
		return c.syncFS(g)
	}
	maps.DeleteFunc(dirty, func(_ *Importer, d bool) bool { return !d })
	return c.syncMany(g, len(dirty), func() error {
		for im := range dirty {
			if err := im.j.sync(); err != nil {
				return err
			}
		}
		return nil
	})
}
