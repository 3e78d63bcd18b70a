package main

import (
	"context"
	"io/fs"
	"iter"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// A homeTree is the new host's file system as far as it is known: vpopmail's
// home, under the path that the files of qmail have for it.
type homeTree struct {
	qmailkit.Tree        // the home
	prefix        string // its path, without the first slash
}

// in is a path's name in the home.
func (t *homeTree) in(name string) (string, error) {
	rest, ok := strings.CutPrefix(name, t.prefix)
	switch {
	case ok && (rest == "" || rest == "/"):
		return ".", nil
	case ok && rest[0] == '/':
		return rest[1:], nil
	}
	return "", &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// above says whether a path leads to the home.
func (t *homeTree) above(name string) bool {
	return name == "." || strings.HasPrefix(t.prefix, name+"/")
}

func (t *homeTree) ReadDir(ctx context.Context, dir string) iter.Seq2[qmailkit.DirEntry, error] {
	name, err := t.in(dir)
	if err != nil {
		return func(yield func(qmailkit.DirEntry, error) bool) { yield(qmailkit.DirEntry{}, qmailkit.Incomplete(err)) }
	}
	return t.Tree.ReadDir(ctx, name)
}

// Lstat shows the directories on the way to the home as the home itself.
func (t *homeTree) Lstat(name string) (qmailkit.FileInfo, error) {
	in, err := t.in(name)
	if err != nil && t.above(name) {
		in, err = ".", nil
	}
	if err != nil {
		return qmailkit.FileInfo{}, err
	}
	return t.Tree.Lstat(in)
}

func (t *homeTree) Readlink(name string) (string, error) {
	in, err := t.in(name)
	if err != nil {
		return "", err
	}
	return t.Tree.Readlink(in)
}

func (t *homeTree) Open(name string) (qmailkit.File, error) {
	in, err := t.in(name)
	if err != nil {
		return nil, err
	}
	return t.Tree.Open(in)
}
