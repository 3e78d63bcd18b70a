//go:build unix

package users

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// What can go wrong for NewU, in the words of qmail-newu. ErrFormat is another.
var (
	ErrOpenAssign = errors.New("unable to open users/assign")
	ErrReadAssign = errors.New("unable to read users/assign")
	ErrOpenTemp   = errors.New("unable to open users/cdb.tmp")
	ErrWriteTemp  = errors.New("unable to write users/cdb.tmp")
	ErrMoveTemp   = errors.New("unable to move users/cdb.tmp to users/cdb")
)

const fatal = "qmail-newu: fatal: "

// Fatal returns the line, without its newline, that qmail-newu writes to
// standard error before it exits 111 where NewU or WriteCDB returns err.
func Fatal(err error) string {
	for _, step := range [...]error{ErrFormat, ErrOpenAssign, ErrReadAssign, ErrOpenTemp, ErrMoveTemp} {
		if errors.Is(err, step) {
			return fatal + step.Error()
		}
	}
	// An assign that WriteCDB could not read is told by its place.
	var pe *ParseError
	if errors.As(err, &pe) {
		return fatal + ErrReadAssign.Error()
	}
	return fatal + ErrWriteTemp.Error()
}

// NewUOptions say how NewU writes users/cdb. The nil pointer is the zero value.
type NewUOptions struct {
	// Mode of users/cdb; zero is 0644, qmail-newu's.
	Mode fs.FileMode
	// Owner of users/cdb, a negative number meaning oneself; nil is oneself,
	// as for qmail-newu.
	Owner *Owner

	hook safefs.Hook
}

// Owner is a numeric user and group.
type Owner struct{ UID, GID int }

// NewU does the job of qmail-newu(8) in the directory root, qmail's "users":
// cdb is made anew from assign, in one step and durably, by way of cdb.tmp. An
// error wraps ErrFormat or the one of ErrOpenAssign to ErrMoveTemp that tells
// the step, and the old cdb is then as it was, unless it is the directory that
// could not be synced after the rename. Unlike qmail-newu it leaves no cdb.tmp
// behind when it fails.
//
// There is no lock, here as there: of two at the same time one may fail.
func NewU(root *os.Root, opts *NewUOptions) error {
	if opts == nil {
		opts = &NewUOptions{}
	}
	r := safefs.Replacement{Mode: 0o644, Owner: safefs.Keep, Temp: "cdb.tmp"}
	if opts.Mode != 0 {
		r.Mode = opts.Mode
	}
	if opts.Owner != nil {
		r.Owner = safefs.Owner(*opts.Owner)
	}
	assign, err := openAssign(root)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOpenAssign, err)
	}
	defer assign.Close()
	d, err := safefs.OpenDir(root, ".", opts.hook)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrOpenTemp, err)
	}
	defer d.Close()
	step := ErrOpenTemp
	err = d.Replace("cdb", r, func(f *safefs.File) error {
		step = ErrWriteTemp
		return WriteCDB(f, assign)
	})
	var pe *ParseError
	var at *fs.PathError
	switch {
	case err == nil || errors.Is(err, ErrFormat):
		return err
	case errors.As(err, &pe):
		step = ErrReadAssign
	case errors.As(err, &at) && at.Op == "rename":
		step = ErrMoveTemp
	}
	return fmt.Errorf("%w: %w", step, err)
}

func openAssign(root *os.Root) (io.ReadCloser, error) {
	tree := qmailkit.NewTree(root)
	at, err := qmailkit.Resolve(tree, "assign")
	if err != nil {
		return nil, err
	}
	return tree.Open(at)
}
