//go:build unix

package qmailcontrol

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/qmailkit/qmailkit"
)

// ErrReadMorercpthosts says that morercpthosts cannot be read: it is missing,
// perhaps.
var ErrReadMorercpthosts = errors.New("unable to read control/morercpthosts")

// Fatal returns the line, without its newline, that qmail-newmrh writes to
// standard error before it exits 111 where NewMRH returns err.
func Fatal(err error) string {
	const fatal = "qmail-newmrh: fatal: "
	var pe *ParseError
	var at *fs.PathError
	switch {
	case errors.Is(err, ErrReadMorercpthosts) || errors.As(err, &pe):
		return fatal + ErrReadMorercpthosts.Error() + ": " + errorText(err)
	case errors.As(err, &at) && at.Op == "rename":
		// The only one of its messages that ends before the cause.
		return fatal + "unable to move control/morercpthosts.tmp to control/morercpthosts.cdb" + errorText(err)
	}
	return fatal + "unable to write to control/morercpthosts.tmp: " + errorText(err)
}

// errorTexts are qmail's words for what is likely here (error_str.c).
var errorTexts = [...]struct {
	err  error
	text string
}{
	{qmailkit.ErrLink, "symbolic link loop"},
	{qmailkit.ErrNotPlain, "is a directory"},
	{syscall.ENOENT, "file does not exist"},
	{fs.ErrNotExist, "file does not exist"},
	{syscall.EACCES, "access denied"},
	{syscall.EPERM, "permission denied"},
	{syscall.EIO, "input/output error"},
	{syscall.ENOSPC, "out of disk space"},
	{syscall.EDQUOT, "disk quota exceeded"},
	{syscall.EROFS, "read-only file system"},
	{syscall.EISDIR, "is a directory"},
	{syscall.ENOTDIR, "not a directory"},
	{syscall.EMFILE, "process cannot open more files"},
	{syscall.ENFILE, "system cannot open more files"},
	{syscall.ENOMEM, "out of memory"},
	{syscall.EINVAL, "invalid argument"},
}

func errorText(err error) string {
	for _, e := range errorTexts {
		if errors.Is(err, e.err) {
			return e.text
		}
	}
	return err.Error()
}

// NewMRH does the job of qmail-newmrh(8) in the control directory root:
// morercpthosts.cdb is made anew from morercpthosts, in one step and durably,
// by way of morercpthosts.tmp. Unlike that program it leaves no temporary file
// behind when it fails, and a symbolic link is followed as Load follows it.
//
// With nil options the file gets mode 0644, as there, and keeps its owner.
func NewMRH(root *os.Root, opts *SaveOptions) error {
	tree := qmailkit.NewTree(root)
	at, err := resolve(tree, "morercpthosts")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrReadMorercpthosts, err)
	}
	text, err := tree.Open(at)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrReadMorercpthosts, unmissed(tree, "morercpthosts", err))
	}
	defer text.Close()
	o := SaveOptions{Mode: 0o644}
	if opts != nil {
		o = *opts
	}
	return replace(root, "morercpthosts.cdb", "morercpthosts.tmp", &o, func(w target) error {
		return WriteMorercpthosts(w, text)
	})
}
