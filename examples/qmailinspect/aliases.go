package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/sendmail"
)

// alias is a line of the kind aliases.
type alias struct {
	Name   jsonl.Bytes   `json:"name"`
	Line   int           `json:"line"`
	Lines  int           `json:"lines"` // that the entry takes
	Offset int64         `json:"offset"`
	Values []aliasTarget `json:"values"`
	Raw    jsonl.Bytes   `json:"raw"`
}

// aliasTarget is one address of an alias or a list.
type aliasTarget struct {
	Type  sendmail.TargetType `json:"type"`
	Value jsonl.Bytes         `json:"value"`
	Raw   jsonl.Bytes         `json:"raw"`
}

// forwardLine is a line of the kind aliases with -forward.
type forwardLine struct {
	Line int `json:"line"`
	aliasTarget
}

func aliasesKind() *cli.Command {
	return &cli.Command{
		Name: "aliases", Args: "FILE", Min: 1, Max: 1,
		Short: "the entries of a Sendmail alias file, and what each address in them is",
		Long: `type is local, backslash, address, program, file, include or malformed. A name
that stands twice is shown twice; the last one counts. Lines that Sendmail
refuses are reported, and the exit code is 3.

With -forward FILE is a .forward or a list of an :include:, and the answer is
one address a line.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			forward := fs.Bool("forward", false, "FILE is a .forward or an included list")
			return printing(func(ctx context.Context, out *lines, args []string) error {
				f, _, err := openFile(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				if *forward {
					list, problems, err := sendmail.ReadList(ctx, f, nil)
					out.problems(args[0], problems)
					for t := range list.Targets() {
						if err := out.print(forwardLine{t.Line, aliasTargetOf(t)}); err != nil {
							return err
						}
					}
					return inFile(args[0], err)
				}
				file, problems, err := sendmail.ReadAliases(ctx, f, nil)
				out.problems(args[0], problems)
				for a := range file.Entries() {
					line := alias{jsonl.Bytes(a.Name), a.Line, a.Lines, a.Offset, []aliasTarget{}, jsonl.Bytes(a.Raw)}
					for _, t := range a.Targets {
						line.Values = append(line.Values, aliasTargetOf(t))
					}
					if err := out.print(line); err != nil {
						return err
					}
				}
				return inFile(args[0], err)
			})
		},
	}
}

// inFile puts the file in front of an error that names only the line.
func inFile(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s%w", cli.Name(name), err)
}

func aliasTargetOf(t sendmail.Target) aliasTarget {
	return aliasTarget{t.Type, jsonl.Bytes(t.Value), jsonl.Bytes(t.Raw)}
}

// problems tells people what is odd in a file; errors are lines that are not
// shown.
func (l *lines) problems(path string, problems []qmailkit.Problem) {
	for _, p := range problems {
		l.note(path, p)
		if p.Severity == qmailkit.Error {
			l.skipped++
		}
	}
}
