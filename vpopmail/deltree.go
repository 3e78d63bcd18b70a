//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

const (
	// treeDepth is how deep removeTree goes down before it lifts what is
	// deeper: the owner of a tree may have made it as deep as he likes, and
	// each level costs two descriptors.
	treeDepth = 64
	// treeBatch is how many names of a directory are held at once.
	treeBatch = 1024
	// treeTries is how often a directory is gone through again because somebody
	// puts things into it while it is removed.
	treeTries = 100
)

// removeTree removes the directory name in parent and all that it holds; what
// is no directory is removed as such, so that a link never leads anywhere. A
// name that is gone is no error. The caller syncs parent.
func removeTree(ctx context.Context, parent *safefs.Dir, name string) error {
	t := &treeRemoval{ctx: ctx}
	return t.remove(parent, name, 0)
}

type treeRemoval struct {
	ctx    context.Context
	top    *safefs.Dir // the directory that is removed; where deep ones are lifted to
	lifted int
}

func (t *treeRemoval) remove(parent *safefs.Dir, name string, depth int) error {
	dir, err := parent.Sub(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, safefs.ErrLink), errors.Is(err, unix.ENOTDIR), errors.Is(err, safefs.ErrNotPlain):
		return ignoreMissing(parent.Remove(name))
	case err != nil:
		return err
	}
	defer dir.Close()
	if t.top == nil {
		t.top = dir
	}
	for range treeTries {
		if err := t.empty(dir, depth); err != nil {
			return err
		}
		err = ignoreMissing(parent.RemoveDir(name))
		if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return err
}

// empty goes through a directory until it finds nothing more in it. Names are
// taken in batches, because removing while reading may pass over some.
func (t *treeRemoval) empty(dir *safefs.Dir, depth int) error {
	for {
		var batch []fs.DirEntry
		for e, err := range dir.Entries(t.ctx) {
			if err != nil {
				return err
			}
			if batch = append(batch, e); len(batch) == treeBatch {
				break
			}
		}
		for _, e := range batch {
			if err := context.Cause(t.ctx); err != nil {
				return err
			}
			if err := t.entry(dir, e, depth); err != nil {
				return err
			}
		}
		if len(batch) < treeBatch {
			return nil
		}
	}
}

func (t *treeRemoval) entry(dir *safefs.Dir, e fs.DirEntry, depth int) error {
	name := e.Name()
	if !e.IsDir() {
		err := ignoreMissing(dir.Remove(name))
		if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM) {
			// It was exchanged since, or this system has no types in its
			// directories.
			return t.remove(dir, name, depth+1)
		}
		return err
	}
	if depth < treeDepth {
		return t.remove(dir, name, depth+1)
	}
	for {
		t.lifted++
		err := dir.RenameExcl(name, t.top, fmt.Sprintf("%s_deep_%d", tempPrefix, t.lifted))
		if !errors.Is(err, fs.ErrExist) {
			return ignoreMissing(err)
		}
	}
}
