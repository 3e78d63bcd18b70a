//go:build unix

package qmailcontrol

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// ApplyOptions say how a Plan is carried out. The nil pointer is the zero
// value.
type ApplyOptions struct {
	// Backup is called with each Change right before it is made, and must have
	// it on the disk when it returns: Old is then what the file holds. Its
	// error stops Apply. Keep backups elsewhere than in the control directory,
	// where qmail's tools would see them.
	Backup func(ctx context.Context, c Change) error

	hook safefs.Hook
}

// Apply carries out a Plan in the control directory root, file by file, each
// in one step and durably as Save does: owner and mode stay, a link that Load
// follows stays a link. Only one Apply at a time works on a directory; another
// is refused with an error.
//
// A file that is already as the plan leaves it is left alone, so that Apply may
// be repeated, after it was killed too. If any file is neither so nor as the
// plan finds it, nothing is changed and the error wraps ErrChanged. When Apply
// stops half-way the files before stay changed; the same Plan finishes it, and
// its Reverse takes it back.
//
// The result is the Plan that takes back what this call has done.
func (p Plan) Apply(ctx context.Context, root *os.Root, opts *ApplyOptions) (undo Plan, err error) {
	if opts == nil {
		opts = &ApplyOptions{}
	}
	top, err := safefs.OpenDir(root, ".", opts.hook)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	if err := top.TryLock(); err != nil {
		return nil, err
	}
	for _, c := range p {
		top.Remove(c.temp()) // what a kill has left
	}
	tree := qmailkit.NewTree(root)
	todo := make([]bool, len(p))
	for i, c := range p {
		if todo[i], err = c.open(tree); err != nil {
			return nil, err
		}
	}
	var done Plan
	for i, c := range p {
		if !todo[i] {
			continue
		}
		// Once more, because the changes before have taken their time.
		if _, err = c.open(tree); err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return done.Reverse(), err
		}
		if opts.Backup != nil {
			err = opts.Backup(ctx, c)
		}
		if err == nil {
			err = c.apply(root, opts.hook)
		}
		if err != nil {
			// Whether the file of this change has changed is for the same test
			// to find out that starts the next Apply.
			done = append(done, c)
			return done.Reverse(), fmt.Errorf("%s: %w", c.Name, err)
		}
		done = append(done, c)
	}
	return done.Reverse(), nil
}

// open says whether a change is still to be made.
func (c Change) open(tree qmailkit.Tree) (bool, error) {
	now, err := current(tree, c.Name)
	switch {
	case err != nil:
		return false, err
	case now.same(c.New):
		return false, nil
	case !now.same(c.Old):
		return false, fmt.Errorf("%s: %w", c.Name, ErrChanged)
	}
	return true, nil
}

// temp is the name under which a file is written. It is fixed, so that the
// next try sweeps what a kill has left.
func (c Change) temp() string { return "." + c.Name + ".qmailkit" }

// current is what a file holds now.
func current(tree qmailkit.Tree, name string) (State, error) {
	if err := checkName(name); err != nil {
		return State{}, err
	}
	c := NewConfig()
	e, err := c.read(tree, name, name)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	return State{Exists: true, Text: []byte(e.Text)}, err
}

// apply makes one change.
func (c Change) apply(root *os.Root, hook safefs.Hook) error {
	if !c.New.Exists {
		return c.remove(root, hook)
	}
	opts := &SaveOptions{hook: hook}
	if !c.Old.Exists {
		opts.Mode, opts.Owner = c.New.Mode, c.New.Owner
	}
	return replace(root, c.Name, c.temp(), opts, func(w target) error {
		_, err := w.Write(c.New.Text)
		return err
	})
}

// remove takes a file away. A link is refused: it would come back as a file.
func (c Change) remove(root *os.Root, hook safefs.Hook) error {
	d, err := safefs.OpenDir(root, ".", hook)
	if err != nil {
		return err
	}
	defer d.Close()
	fi, err := d.Lstat(c.Name)
	if err != nil {
		return err
	}
	if fi.Mode.Type() == fs.ModeSymlink {
		return &fs.PathError{Op: "remove", Path: c.Name, Err: qmailkit.ErrLink}
	}
	if err := d.Remove(c.Name); err != nil {
		return err
	}
	return d.Sync()
}
