package main

import (
	"context"
	"flag"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
)

// acceptance is a line of the kind rcpt.
type acceptance struct {
	Addr      jsonl.Bytes `json:"addr"`
	Rcpthosts int         `json:"rcpthosts"`
}

// initFailed is the only line where qmail-smtpd does not come to recipients.
type initFailed struct {
	Init int `json:"init"`
}

func rcptKind() *cli.Command {
	return &cli.Command{
		Name: "rcpt", Args: "DIR ADDR...", Min: 2, Max: -1,
		Short: "whether qmail-smtpd accepts recipients, by rcpthosts and morercpthosts.cdb",
		Long: `DIR is qmail's control directory. rcpthosts is 1 for yes, 0 for no, and -1 where
qmail-smtpd cannot read morercpthosts.cdb and ends the connection. The one line
{"init":-1} means that it cannot even begin.`,
		Setup: func(*flag.FlagSet) cli.Action {
			return printing(func(ctx context.Context, out *lines, args []string) error {
				c, err := readControl(ctx, args[0])
				if err != nil {
					return err
				}
				hosts, err := c.RcptHosts()
				if stopped(out, err) {
					return out.print(initFailed{-1})
				}
				if hosts.Open() {
					out.env.Printf("there is no rcpthosts: everything is accepted\n")
				}
				for addr, err := range out.items(args[1:]) {
					if err == nil {
						err = context.Cause(ctx)
					}
					if err != nil {
						return err
					}
					line := acceptance{Addr: jsonl.Bytes(addr)}
					allowed, err := hosts.Allows(addr)
					switch {
					case err != nil:
						line.Rcpthosts = -1
					case allowed:
						line.Rcpthosts = 1
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
