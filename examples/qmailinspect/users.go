package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// assignEntry is a line of the kind assign.
type assignEntry struct {
	Line     int         `json:"line"`
	Offset   int64       `json:"offset"`
	Wildcard bool        `json:"wildcard"`
	Local    jsonl.Bytes `json:"local"`
	User     jsonl.Bytes `json:"user"`
	UIDText  jsonl.Bytes `json:"uid_text"`
	GIDText  jsonl.Bytes `json:"gid_text"`
	Home     jsonl.Bytes `json:"home"`
	Dash     jsonl.Bytes `json:"dash"`
	Ext      jsonl.Bytes `json:"ext"`
	Rest     jsonl.Bytes `json:"rest,omitempty"` // behind the seventh colon; qmail ignores it
}

func assignKind() *cli.Command {
	return &cli.Command{
		Name: "assign", Args: "FILE", Min: 1, Max: 1,
		Short: "the entries of users/assign, up to the first line that qmail-newu refuses",
		Long: `uid_text and gid_text are as they stand: qmail-newu checks neither. A file that
qmail-newu would refuse ends in exit code 1.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			check := fs.Bool("check", false, "report what does not work as it looks, one problem a line")
			cdb := fs.String("cdb", "", "with -check, whether `FILE` is what qmail-newu makes of it")
			return printing(func(ctx context.Context, out *lines, args []string) error {
				if *cdb != "" && !*check {
					return cli.Usagef("-cdb needs -check")
				}
				f, _, err := openFile(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				if *check {
					return checkAssign(out, args[0], f, *cdb)
				}
				return printEntries(ctx, out, args[0], f)
			})
		},
	}
}

// checkAssign prints the problems of a users/assign and of its cdb, if that is
// named.
func checkAssign(out *lines, name string, f io.Reader, cdb string) error {
	a, err := users.ParseAssign(f)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	found := false
	for p := range a.Check() {
		found = found || p.Severity == qmailkit.Error
		if err := out.print(jsonl.Problem(p)); err != nil {
			return err
		}
	}
	if cdb != "" {
		stale, err := staleCDB(cdb, a)
		if err != nil {
			return fmt.Errorf("%s: %w", cdb, err)
		}
		if stale {
			found = true
			p := qmailkit.Problem{
				Code: "usercdb.stale", Severity: qmailkit.Error, Path: cdb,
				Err: errors.New("this is not what qmail-newu makes of users/assign"), Fix: "run qmail-newu",
			}
			if err := out.print(jsonl.Problem(p)); err != nil {
				return err
			}
		}
	}
	if found {
		return &cli.Exit{Code: cli.Partial, Err: errors.New("mail breaks on the errors above")}
	}
	return nil
}

func staleCDB(name string, a *users.Assign) (bool, error) {
	f, size, err := openFile(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	return users.Stale(f, size, bytes.NewReader(a.Bytes()))
}

// newuRefusal is what newu prints of a refused file, for machines.
type newuRefusal struct {
	Line   int         `json:"line,omitempty"`
	Offset int64       `json:"offset"`
	Error  jsonl.Bytes `json:"error"`
}

func newuKind() *cli.Command {
	return &cli.Command{
		Name: "newu", Args: "ASSIGN CDB", Min: 2, Max: 2,
		Short: "make the users/cdb of a users/assign as qmail-newu does; this writes CDB",
		Long: `CDB is replaced in one step, durably, with mode 0644. A users/assign that
qmail-newu refuses leaves CDB as it is: its message goes to standard error, the
place as JSON to standard output, and the exit code is 1.`,
		Setup: func(*flag.FlagSet) cli.Action {
			return printing(func(ctx context.Context, out *lines, args []string) error {
				err := newu(args[0], args[1])
				if err == nil {
					return nil
				}
				out.env.Printf("%s\n", users.Fatal(err))
				refusal := newuRefusal{Error: jsonl.Bytes(err.Error())}
				var at *users.ParseError
				if errors.As(err, &at) {
					refusal.Line, refusal.Offset = at.Line, at.Offset
				}
				if err := out.print(refusal); err != nil {
					return err
				}
				return &cli.Exit{Code: cli.Stopped}
			})
		},
	}
}

// newu is users.NewU for files of any name. Its error wraps the one of package
// users that tells the step.
func newu(assign, cdb string) error {
	in, _, err := openFile(assign)
	if err != nil {
		return fmt.Errorf("%w: %w", users.ErrOpenAssign, err)
	}
	defer in.Close()
	root, err := os.OpenRoot(filepath.Dir(cdb))
	if err != nil {
		return fmt.Errorf("%w: %w", users.ErrOpenTemp, err)
	}
	defer root.Close()
	d, err := safefs.OpenDir(root, ".", nil)
	if err != nil {
		return fmt.Errorf("%w: %w", users.ErrOpenTemp, err)
	}
	defer d.Close()
	step := users.ErrOpenTemp
	err = d.Replace(filepath.Base(cdb), safefs.Replacement{Mode: 0o644, Owner: safefs.Keep}, func(f *safefs.File) error {
		step = users.ErrWriteTemp
		return users.WriteCDB(f, in)
	})
	var at *fs.PathError
	var parse *users.ParseError
	switch {
	case err == nil || errors.Is(err, users.ErrFormat):
		return err
	case errors.As(err, &parse):
		step = users.ErrReadAssign
	case errors.As(err, &at) && at.Op == "rename":
		step = users.ErrMoveTemp
	}
	return fmt.Errorf("%w: %w", step, err)
}

// homes says whose a home directory is, for qmail-getpw.
func homes(accounts users.Accounts, tree qmailkit.Tree) func(string) (uint32, bool, error) {
	if tree == nil {
		return believedHomes(accounts)
	}
	return func(home string) (uint32, bool, error) {
		name, err := qmailkit.Resolve(tree, home)
		if err == nil {
			var fi qmailkit.FileInfo
			if fi, err = tree.Lstat(name); err == nil {
				return uint32(fi.UID), true, nil
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return 0, false, nil
		}
		return 0, false, err
	}
}

// believedHomes takes a home for its account's own, where the file system is
// not at hand: but for /nonexistent, and for one that several users share,
// which can belong to one of them at most.
func believedHomes(accounts users.Accounts) func(string) (uint32, bool, error) {
	owner := map[string]uint32{}
	shared := map[string]bool{"/nonexistent": true}
	for _, a := range accounts {
		if uid, found := owner[a.Home]; found && uid != a.UID {
			shared[a.Home] = true
		}
		owner[a.Home] = a.UID
	}
	return func(home string) (uint32, bool, error) {
		return owner[home], !shared[home], nil
	}
}
