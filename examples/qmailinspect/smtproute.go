package main

import (
	"context"
	"flag"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// smtpRoute is a line of the kind smtproute.
type smtpRoute struct {
	Domain jsonl.Bytes  `json:"domain"`
	Route  string       `json:"route"`
	Relay  *jsonl.Bytes `json:"relay,omitempty"`
	Port   *uint16      `json:"port,omitempty"` // none where qmail-remote connects to nothing
	Key    *jsonl.Bytes `json:"key,omitempty"`  // in smtproutes, that decided
}

func smtprouteKind() *cli.Command {
	return &cli.Command{
		Name: "smtproute", Args: "DIR DOMAIN...", Min: 2, Max: -1,
		Short: "where qmail-remote connects to for a domain, by smtproutes",
		Long: `DIR is qmail's control directory. route is mx, relay (smtproutes names the host),
literal (the domain is an address), or none: qmail-remote cannot read its
control files and puts the mail off. No name server is asked.`,
		Setup: func(*flag.FlagSet) cli.Action {
			return printing(func(ctx context.Context, out *lines, args []string) error {
				c, err := readControl(ctx, args[0])
				if err != nil {
					return err
				}
				remote, err := c.Remote()
				if err != nil {
					stopped(out, err)
				}
				for domain, err := range out.items(args[1:]) {
					if err == nil {
						err = context.Cause(ctx)
					}
					if err != nil {
						return err
					}
					line := smtpRoute{Domain: jsonl.Bytes(domain), Route: "none"}
					if remote != nil {
						line.way(remote.Route(domain))
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

// way fills in what is known of a route.
func (l *smtpRoute) way(r qmailcontrol.Route) {
	l.Route = r.How.String()
	if r.Found {
		l.Key = ptr(jsonl.Bytes(r.Key))
	}
	if r.How == qmailcontrol.ByRelay {
		host := r.Host
		if r.Addr.IsValid() {
			host = r.Addr.String()
		}
		l.Relay = ptr(jsonl.Bytes(host))
	}
	if r.How != qmailcontrol.ByRelay || r.Host != "" {
		l.Port = &r.Port
	}
}
