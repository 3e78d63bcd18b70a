package main

import (
	"context"
	"flag"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
)

// rewritten is a line of the kind rewrite.
type rewritten struct {
	Recip    jsonl.Bytes `json:"recip"`
	Chan     string      `json:"chan"`
	To       jsonl.Bytes `json:"to"`
	BounceAs jsonl.Bytes `json:"bounce_as"`
	// By names the file that decided.
	By string `json:"by"`
	// File is the record of the queue, where a NUL has got into it.
	File *jsonl.Bytes `json:"file,omitempty"`
}

// notStarted is the only line where qmail-send does not start.
type notStarted struct {
	QmailSend string `json:"qmail-send"`
}

func rewriteKind() *cli.Command {
	return &cli.Command{
		Name: "rewrite", Args: "DIR RECIP...", Min: 2, Max: -1,
		Short: "where qmail-send sends recipients, and under which name",
		Long: `DIR is qmail's control directory. chan is local or remote, to the recipient as
qmail-local or qmail-remote gets it, bounce_as its name in a bounce.`,
		Setup: func(*flag.FlagSet) cli.Action {
			return printing(func(ctx context.Context, out *lines, args []string) error {
				c, err := readControl(ctx, args[0])
				if err != nil {
					return err
				}
				send, err := c.Send()
				if stopped(out, err) {
					return out.print(notStarted{"alert: cannot start: unable to read controls\n"})
				}
				for recip, err := range out.items(args[1:]) {
					if err == nil {
						err = context.Cause(ctx)
					}
					if err != nil {
						return err
					}
					t := send.Rewrite(recip)
					// The queue's record ends at a NUL.
					to, _, broken := strings.Cut(t.To, "\x00")
					line := rewritten{
						Recip: jsonl.Bytes(recip), Chan: t.Channel.String(), To: jsonl.Bytes(to),
						BounceAs: jsonl.Bytes(send.BounceName(to)), By: t.Reason.String(),
					}
					if broken {
						line.File = ptr(jsonl.Bytes("T" + t.To + "\x00"))
					}
					if err := out.print(line); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}
