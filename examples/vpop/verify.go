//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/vpopmail"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Args: "[DOMAIN...]", Max: -1,
		Short: "tell what is wrong with the installation, or with some domains of it",
		Long: `A problem a line, with its code; -json prints them on standard output. The exit
code is 3 where one of them is an error. Nothing is changed.`,
		Setup: reading("verify", "", func(fs *flag.FlagSet) work {
			o := &vpopmail.CheckOptions{}
			fs.BoolVar(&o.Messages, "messages", false, "count the messages of every Maildir that has a limit")
			fs.BoolVar(&o.Passwords, "passwords", false, "compare each clear password with the hash beside it, which takes as long as so many logins")
			return func(ctx context.Context, j *job, args []string) error {
				o.Domains = args
				return verify(ctx, j, o)
			}
		}),
	}
}

func verify(ctx context.Context, j *job, o *vpopmail.CheckOptions) (err error) {
	for _, name := range o.Domains {
		if _, err := j.store.Domain(ctx, name); err != nil {
			return j.fail(name, err)
		}
	}
	out := bufio.NewWriter(j.env.Stdout)
	defer func() {
		if e := out.Flush(); e != nil {
			err = errors.Join(err, e)
		}
	}()
	enc := jsonl.NewEncoder(out)
	var found [qmailkit.Error + 1]int64
	for p, err := range j.store.Check(ctx, o) {
		if err != nil {
			return err
		}
		if int(p.Severity) < len(found) {
			found[p.Severity]++
		}
		j.env.Printf("%s\n", p.String())
		if !j.json {
			continue
		}
		if err := enc.Encode(jsonl.Problem(p)); err != nil {
			return err
		}
	}
	j.env.Printf("%s, %s, %s\n", cli.Plural(found[qmailkit.Error], "error"), cli.Plural(found[qmailkit.Warning], "warning"), cli.Plural(found[qmailkit.Info], "remark"))
	if found[qmailkit.Error] > 0 {
		return cli.Partialf("%s found", cli.Plural(found[qmailkit.Error], "error was|errors were"))
	}
	return nil
}
