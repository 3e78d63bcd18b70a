package users

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"

	"github.com/qmailkit/qmailkit"
)

// Stale says whether cdb, of size bytes, is something else than what
// qmail-newu makes of assign. An assign that qmail-newu refuses is a
// *ParseError that wraps ErrFormat, unless a difference was found before the
// line in question. Memory is that of WriteCDB.
func Stale(cdb io.ReaderAt, size int64, assign io.Reader) (bool, error) {
	c := &comparer{r: cdb}
	err := WriteCDB(c, assign)
	switch {
	case c.err != nil:
		return false, fmt.Errorf("%w: %w", ErrDB, c.err)
	case err != nil && !c.differs:
		return false, err
	}
	return c.differs || c.size != size, nil
}

var errDiffers = errors.New("another file")

// A comparer is written to and compares.
type comparer struct {
	r       io.ReaderAt
	size    int64
	differs bool
	err     error
	buf     []byte
}

func (c *comparer) WriteAt(p []byte, off int64) (int, error) {
	c.size = max(c.size, off+int64(len(p)))
	c.buf = slices.Grow(c.buf[:0], len(p))[:len(p)]
	n, err := c.r.ReadAt(c.buf, off)
	switch {
	case n < len(p) && err != io.EOF:
		c.err = err
		return 0, err
	case !bytes.Equal(c.buf[:n], p):
		c.differs = true
		return 0, errDiffers
	}
	return len(p), nil
}

// Check tells what is wrong in qmail's directory users: the Problems of
// Assign.Check, and these:
//
//	assign.format      qmail-newu refuses users/assign, and why
//	usercdb.broken     qmail-lspawn defers all mail
//	usercdb.missing    users/assign counts for nothing
//	usercdb.no-assign  users/cdb counts, but there is no text for it
//	usercdb.stale      qmail-newu would make another users/cdb
//
// Nothing at all is in order: qmail-getpw then decides alone. An error wraps
// qmailkit.ErrIncomplete.
func Check(ctx context.Context, root *os.Root) iter.Seq2[qmailkit.Problem, error] {
	return func(yield func(qmailkit.Problem, error) bool) {
		err := checkFiles(ctx, qmailkit.NewTree(root), func(p qmailkit.Problem) bool { return yield(p, nil) })
		if err != nil && err != errStopped {
			yield(qmailkit.Problem{}, qmailkit.Incomplete(err))
		}
	}
}

// errStopped says that the caller wants no more.
var errStopped = errors.New("stopped")

// openPlain opens a file of the directory users; nil says that it is missing.
func openPlain(tree qmailkit.Tree, name string) (qmailkit.File, int64, error) {
	at, err := qmailkit.Resolve(tree, name)
	if err != nil {
		return nil, 0, err
	}
	f, err := tree.Open(at)
	if errors.Is(err, fs.ErrNotExist) {
		if _, e := tree.Lstat(name); errors.Is(e, fs.ErrNotExist) {
			return nil, 0, nil
		}
	}
	if err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, fi.Size(), nil
}

func checkFiles(ctx context.Context, tree qmailkit.Tree, yield func(qmailkit.Problem) bool) error {
	assign, _, err := openPlain(tree, "assign")
	if err != nil {
		return err
	}
	good := assign != nil
	if assign != nil {
		defer assign.Close()
		if good, err = checkText(ctx, assign, yield); err != nil {
			return err
		}
	}
	cdb, size, err := openPlain(tree, "cdb")
	if err != nil {
		return err
	}
	if cdb != nil {
		defer cdb.Close()
	}
	p, err := checkCDB(cdb, size, assign, good)
	if err == nil && p.Code != "" && !yield(p) {
		err = errStopped
	}
	return err
}

// checkText is false for an assign that qmail-newu refuses.
func checkText(ctx context.Context, assign io.Reader, yield func(qmailkit.Problem) bool) (bool, error) {
	a, err := ParseAssign(assign)
	var pe *ParseError
	if errors.Is(err, ErrFormat) && errors.As(err, &pe) {
		p := qmailkit.Problem{Code: "assign.format", Severity: qmailkit.Error, Path: "assign", Line: pe.Line, Offset: pe.Offset, Err: pe.Err}
		if !yield(p) {
			return false, errStopped
		}
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for p := range a.Check() {
		if err := context.Cause(ctx); err != nil {
			return true, err
		}
		if !yield(p) {
			return true, errStopped
		}
	}
	return true, nil
}

// checkCDB compares the two; a nil File is missing, and good says that assign
// is well formed. A Problem without a code is none.
func checkCDB(cdb qmailkit.File, size int64, assign qmailkit.File, good bool) (qmailkit.Problem, error) {
	p := qmailkit.Problem{Path: "cdb", Fix: "run qmail-newu"}
	if cdb == nil {
		if assign == nil {
			return qmailkit.Problem{}, nil
		}
		p.Code, p.Severity, p.Err = "usercdb.missing", qmailkit.Error, errors.New("without users/cdb qmail does not look at users/assign")
		return p, nil
	}
	if _, err := OpenDB(cdb, size); err != nil {
		p.Code, p.Severity, p.Err = "usercdb.broken", qmailkit.Error, err
		return p, nil
	}
	switch {
	case assign == nil:
		p.Code, p.Severity, p.Err = "usercdb.no-assign", qmailkit.Warning, errors.New("there is no users/assign of which users/cdb could be made again")
		p.Fix = ""
		return p, nil
	case !good:
		return qmailkit.Problem{}, nil
	}
	stale, err := Stale(cdb, size, io.NewSectionReader(assign, 0, MaxSize+1))
	if err == nil && stale {
		p.Code, p.Severity, p.Err = "usercdb.stale", qmailkit.Error, errors.New("users/cdb is not what qmail-newu makes of users/assign")
		return p, nil
	}
	return qmailkit.Problem{}, err
}
