package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// newmrhRefusal is what newmrh prints where it fails, for machines.
type newmrhRefusal struct {
	Error jsonl.Bytes `json:"error"`
}

func newmrhKind() *cli.Command {
	return &cli.Command{
		Name: "newmrh", Args: "TEXT CDB", Min: 2, Max: 2,
		Short: "make the morercpthosts.cdb of a morercpthosts as qmail-newmrh does; this writes CDB",
		Long: `CDB is replaced in one step, durably, with mode 0644. Where that fails CDB stays as
it is, the message of qmail-newmrh goes to standard error, and the exit code is 1.`,
		Setup: func(*flag.FlagSet) cli.Action {
			return printing(func(ctx context.Context, out *lines, args []string) error {
				err := newmrh(args[0], args[1])
				if err == nil {
					return nil
				}
				out.env.Printf("%s\n", qmailcontrol.Fatal(err))
				if err := out.print(newmrhRefusal{jsonl.Bytes(err.Error())}); err != nil {
					return err
				}
				return &cli.Exit{Code: cli.Stopped}
			})
		},
	}
}

// newmrh is qmailcontrol.NewMRH for files of any name.
func newmrh(text, cdb string) error {
	in, _, err := openFile(text)
	if err != nil {
		return fmt.Errorf("%w: %w", qmailcontrol.ErrReadMorercpthosts, err)
	}
	defer in.Close()
	root, err := os.OpenRoot(filepath.Dir(cdb))
	if err != nil {
		return err
	}
	defer root.Close()
	d, err := safefs.OpenDir(root, ".", nil)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Replace(filepath.Base(cdb), safefs.Replacement{Mode: 0o644, Owner: safefs.Keep}, func(f *safefs.File) error {
		return qmailcontrol.WriteMorercpthosts(f, in)
	})
}
