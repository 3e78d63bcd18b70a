package qmailkit

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A TreeDir is one directory of a Tree, for those who read very many small
// files of it. Its methods take plain names without "/"; their errors name the
// files as the Tree does. They may be used from several goroutines.
type TreeDir struct {
	tree Tree
	dir  string
	held *safefs.Dir // nil where the Tree is no local directory
}

// OpenDir opens the directory dir of t. A local one is held open, so that no
// file in it costs a walk there; of any other Tree, OpenDir asks nothing yet.
func OpenDir(t Tree, dir string) (*TreeDir, error) {
	d := &TreeDir{tree: t, dir: dir}
	if local, ok := t.(dirTree); ok {
		var err error
		if d.held, err = safefs.OpenDir(local.root, dir, nil); err != nil {
			return nil, local.named("open", dir, err)
		}
	}
	return d, nil
}

// Close gives the descriptor back.
func (d *TreeDir) Close() error {
	if d.held == nil {
		return nil
	}
	return d.held.Close()
}

// Path is the name of a file in the Tree.
func (d *TreeDir) Path(name string) string {
	if d.dir == "." {
		return name
	}
	return d.dir + "/" + name
}

func (d *TreeDir) named(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return dirTree{}.named(op, d.Path(name), err)
}

// ReadDir yields the entries in no order.
func (d *TreeDir) ReadDir(ctx context.Context) iter.Seq2[DirEntry, error] {
	if d.held == nil {
		return d.tree.ReadDir(ctx, d.dir)
	}
	return func(yield func(DirEntry, error) bool) {
		yieldEntries(ctx, d.held, d.dir, yield)
	}
}

// Lstat describes what stands under name.
func (d *TreeDir) Lstat(name string) (FileInfo, error) {
	if d.held == nil {
		return d.tree.Lstat(d.Path(name))
	}
	fi, err := d.held.Lstat(name)
	return fileInfo(name, fi), d.named("lstat", name, err)
}

// Open opens a plain file for reading, as Tree.Open does.
func (d *TreeDir) Open(name string) (File, error) {
	if d.held == nil {
		return d.tree.Open(d.Path(name))
	}
	f, err := d.held.OpenPlain(name, safefs.Expect{})
	if err != nil {
		return nil, d.named("open", name, err)
	}
	return f, nil
}

// Read fills buf from the start of a plain file, as Open would find it, and
// describes the file; n is less than len(buf) if that is all.
func (d *TreeDir) Read(name string, buf []byte) (n int, fi FileInfo, err error) {
	if d.held != nil {
		n, fi, err := d.held.ReadPlain(name, buf)
		return n, fileInfo(name, fi), d.named("read", name, err)
	}
	if fi, err = d.Lstat(name); err != nil {
		return 0, fi, err
	}
	f, err := d.Open(name)
	if err != nil {
		return 0, fi, err
	}
	defer f.Close()
	n, err = io.ReadFull(f, buf)
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, fi, err
}
