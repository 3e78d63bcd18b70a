package maildir

import (
	"context"
	"errors"
	"io/fs"
)

// takeBackBatch is how many messages are taken back with one sync.
const takeBackBatch = 1000

// TakeBack removes the messages that stand just as imports put them, and
// forgets them, so that they can be delivered again. What a reader has moved,
// flagged or deleted since is left alone, and stays known. It is called on a
// fresh Importer. The removal is on the disk when TakeBack returns; cut off, it
// can be called again.
func (im *Importer) TakeBack(ctx context.Context) (n int, err error) {
	n, err = im.Withdraw(ctx, func(Entry) bool { return true })
	if err == nil {
		im.j.done = nil // stale; an Importer that went on would look by names
	}
	return n, err
}

// Withdraw is TakeBack for the messages of earlier imports for which gone is
// true: those that have been deleted at the source since. It is called by the
// function given to Close, when no more messages come. What a reader has moved,
// flagged or deleted here stays as it is. Should the source have one of them
// again later, it comes again.
func (im *Importer) Withdraw(ctx context.Context, gone func(Entry) bool) (n int, err error) {
	dirs := map[string]*Dir{}
	defer func() {
		for _, d := range dirs {
			d.Close()
		}
	}()
	var batch []record
	for r, err := range im.j.records() {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return n, err
		}
		if !gone(r.entry()) {
			continue
		}
		if ok, err := im.stands(dirs, &r); err != nil {
			return n, err
		} else if ok {
			batch = append(batch, r)
		}
		if len(batch) == takeBackBatch {
			if err := im.takeBack(dirs, batch); err != nil {
				return n, err
			}
			n += len(batch)
			batch = batch[:0]
		}
	}
	if err := im.takeBack(dirs, batch); err != nil {
		return n, err
	}
	return n + len(batch), nil
}

// stands says whether a message is where and as the import put it.
func (im *Importer) stands(dirs map[string]*Dir, r *record) (bool, error) {
	d := dirs[r.folder]
	if d == nil {
		var err error
		d, err = im.dir.Folder(r.folder)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotMaildir) || planted(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		dirs[r.folder] = d
	}
	fi, err := d.sub(r.entry()).Lstat(r.name.String())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && fi.Mode.IsRegular(), err
}

// takeBack notes first what it is about to do, and forgets last: cut off between
// the two, the next import ends it.
func (im *Importer) takeBack(dirs map[string]*Dir, batch []record) error {
	if len(batch) == 0 {
		return nil
	}
	note := func(kind byte) error {
		var lines []byte
		for i := range batch {
			lines = appendLine(lines, (&record{kind: kind, id: batch[i].id}).text())
		}
		return im.j.append(lines)
	}
	if err := errors.Join(note('W'), im.j.sync()); err != nil {
		return err
	}
	touched := map[string]bool{}
	for i := range batch {
		r := &batch[i]
		err := dirs[r.folder].sub(r.entry()).Remove(r.name.String())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		touched[r.folder] = true
	}
	for name := range touched {
		if err := errors.Join(dirs[name].newd.Sync(), dirs[name].cur.Sync()); err != nil {
			return err
		}
	}
	return errors.Join(note('X'), im.j.sync())
}
