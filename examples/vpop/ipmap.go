//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/vpopmail"
)

func ipMapCommand() *cli.Command {
	return &cli.Command{
		Name: "ipmap", Args: "[IP DOMAIN]", Max: 2,
		Short: "show or change which domain a login without one belongs to, by the address it came in at (vipmap)",
		Long:  `Without -a and -d, and with -p, the map is printed as vipmap -p prints it.`,
		Setup: changing("ipmap", "vipmap", func(fs *flag.FlagSet) work {
			m := &ipMap{}
			fs.BoolVar(&m.add, "a", false, "add a line at the end of the map")
			fs.BoolVar(&m.remove, "d", false, "remove a line")
			fs.BoolVar(&m.print, "p", false, "print the map")
			return m.run
		}),
	}
}

// ipMap is a call of ipmap.
type ipMap struct{ add, remove, print bool }

// ipRow is a line of the map for programs.
type ipRow struct {
	IP     jsonl.Bytes `json:"ip"`
	Domain jsonl.Bytes `json:"domain"`
}

func (m *ipMap) run(ctx context.Context, j *job, args []string) error {
	change := m.add || m.remove
	switch {
	case m.add && m.remove, change && m.print:
		return cli.Usagef("-a, -d and -p exclude each other")
	case change && len(args) != 2, !change && len(args) != 0:
		return cli.Usagef("-a and -d want an IP and a DOMAIN, -p wants nothing")
	case !change:
		return m.list(ctx, j)
	}
	a := vpopmail.IPAlias{IP: args[0], Domain: args[1]}
	item := args[0] + " " + args[1]
	if j.plan {
		verb := "add"
		if m.remove {
			verb = "remove"
		}
		return j.would(item, "%s the line", verb)
	}
	if m.add {
		if err := j.store.AddIPAlias(ctx, a); err != nil {
			return j.fail(item, err)
		}
		return j.tell(row{Item: jsonl.Bytes(item), Outcome: "added"})
	}
	gone, err := j.store.RemoveIPAlias(ctx, a)
	if err == nil && !gone {
		err = errors.New("there is no such line")
	}
	if err != nil {
		return j.fail(item, fmt.Errorf("%s: %w", item, err))
	}
	return j.tell(row{Item: jsonl.Bytes(item), Outcome: "removed"})
}

func (m *ipMap) list(ctx context.Context, j *job) error {
	all, err := j.store.IPAliases(ctx)
	if err != nil {
		return err
	}
	for _, a := range all {
		if j.json {
			err = j.enc.Encode(ipRow{jsonl.Bytes(a.IP), jsonl.Bytes(a.Domain)})
		} else {
			_, err = io.WriteString(j.env.Stdout, a.Classic())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
