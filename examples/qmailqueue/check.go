//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
)

// problemLine is a line of check -json.
type problemLine struct {
	Code     string            `json:"code"`
	Severity qmailkit.Severity `json:"severity"`
	Path     jsonl.Bytes       `json:"path"`
	Offset   int64             `json:"offset,omitempty"`
	Words    string            `json:"words_text"`
	Fix      string            `json:"fix_text,omitempty"`
}

func checkCommand() *cli.Command {
	j := &job{}
	return &cli.Command{
		Name:  "check",
		Short: "say what is wrong with the queue",
		Long: `Nothing is changed, and qmail-send may run. Exit code 0 says that nothing is
wrong, 3 that something is; what is worth knowing only, such as messages that
are arriving, does not count.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			j.flags(fs)
			return j.action(func(ctx context.Context, args []string) error {
				found := int64(0)
				for p, err := range j.q.Check(ctx) {
					if errors.Is(err, qmailkit.ErrIncomplete) {
						return err
					}
					if err != nil {
						j.trouble(nil, err)
						continue
					}
					if p.Severity > qmailkit.Info {
						found++
					}
					if err := j.problem(p); err != nil {
						return err
					}
				}
				if found > 0 {
					return cli.Partialf("%s found; repair -n shows what would mend them", cli.Plural(found, "fault"))
				}
				if !j.json {
					fmt.Fprintln(j.out, "nothing is wrong")
				}
				return nil
			})
		},
	}
}

func (j *job) problem(p qmailkit.Problem) error {
	if !j.json {
		_, err := fmt.Fprintf(j.out, "%s: %s\n", p.Severity, cli.Name(p.String()))
		return err
	}
	line := problemLine{Code: p.Code, Severity: p.Severity, Path: jsonl.Bytes(p.Path), Offset: p.Offset, Fix: cli.Printable(p.Fix)}
	if p.Err != nil {
		line.Words = cli.Printable(p.Err.Error())
	}
	return j.enc.Encode(line)
}
