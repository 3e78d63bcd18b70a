package main

import (
	"context"
	"flag"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/examples/internal/route"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// dotLine is a line of the kind dotqmail.
type dotLine struct {
	Line   int         `json:"line"`
	Offset int64       `json:"offset"`
	Kind   string      `json:"kind"`
	Arg    jsonl.Bytes `json:"arg"`
}

// dotTrial is a line of the kind dotqmail with -home.
type dotTrial struct {
	Local      jsonl.Bytes   `json:"local"`
	Dash       jsonl.Bytes   `json:"dash"`
	Ext        jsonl.Bytes   `json:"ext"`
	File       *jsonl.Bytes  `json:"file"`              // the name that is used; null where there is none
	Tried      []jsonl.Bytes `json:"tried"`             // names, up to that
	Default    *jsonl.Bytes  `json:"default,omitempty"` // $DEFAULT
	NewSender  jsonl.Bytes   `json:"new_sender"`
	Deliveries []dotLine     `json:"deliveries"`
	RC         int           `json:"rc"` // of qmail-local -n
	Stdout     jsonl.Bytes   `json:"stdout"`
	Stderr     jsonl.Bytes   `json:"stderr"`
}

// dotqmail is the command line of that kind.
type dotqmail struct {
	home  bool
	check bool
	dash  string
	root  string
	as    cli.Owner
	call  qmailcontrol.LocalDelivery
}

func dotqmailKind() *cli.Command {
	return &cli.Command{
		Name: "dotqmail", Args: "FILE | -home HOME EXT...", Min: 1, Max: -1,
		Short: "what the lines of a .qmail file deliver to; with -home what qmail-local does in a home directory",
		Long: `With -home the ITEMs are extensions, "" for the user itself, and the answer is
what qmail-local -n prints, the file that it uses and the names that it tries.
With -check it is the hazards of the home and of every .qmail file in it, and
there are no ITEMs.

What is odd in a file goes to standard error.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			c := &dotqmail{}
			fs.BoolVar(&c.home, "home", false, "the argument is a home directory")
			fs.BoolVar(&c.check, "check", false, "the argument is a home directory: print its hazards")
			fs.StringVar(&c.call.User, "user", "user", "`NAME` of the user")
			fs.StringVar(&c.call.Host, "host", "localhost", "domain of the address: `HOST`")
			fs.StringVar(&c.call.Sender, "sender", "", "envelope sender `ADDRESS`, which decides about new_sender")
			fs.StringVar(&c.call.DefaultDelivery, "delivery", route.DefaultDelivery, "what qmail-start is told to do without a .qmail file: `LINES`")
			fs.StringVar(&c.dash, "dash", "-", "what stands between .qmail and the extension: `DASH`")
			fs.StringVar(&c.root, "root", "/", "the host's file system, mounted at `ROOT`: links are taken from there")
			fs.Var(&c.as, "as", "run as `UID:GID`, which decides about permissions; without it all can be read")
			return printing(c.run)
		},
	}
}

func (c *dotqmail) run(ctx context.Context, out *lines, args []string) error {
	switch {
	case !c.home && len(args) > 1:
		return cli.Usagef("one FILE or, with -check, one home is enough; extensions need -home")
	case c.home && len(args) < 2:
		return cli.Usagef("arguments are missing; wanted: -home HOME EXT...")
	case c.home && c.check:
		return cli.Usagef("-home or -check, not both")
	case c.home, c.check:
		return c.inHome(ctx, out, args)
	}
	f, _, err := openFile(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	q, err := qmailcontrol.ParseDotQmail(f)
	if err != nil {
		return err
	}
	for _, p := range q.Check() {
		out.note(args[0], p)
	}
	for d := range q.Lines() {
		if err := out.print(dotLineOf(d)); err != nil {
			return err
		}
	}
	return nil
}

func dotLineOf(d qmailcontrol.DotLine) dotLine {
	return dotLine{d.Line, d.Offset, d.Kind.String(), jsonl.Bytes(d.Arg)}
}

func (c *dotqmail) inHome(ctx context.Context, out *lines, args []string) error {
	_, tree, name, done, err := trees(c.root, args[0])
	if err != nil {
		return err
	}
	defer done()
	c.call.Home = "/" + name
	if c.as.Given {
		c.call.Who = &qmailcontrol.Owner{UID: c.as.UID, GID: c.as.GID}
	}
	if c.check {
		for p, err := range qmailcontrol.CheckDotQmail(ctx, tree, c.call.Home, c.call.Who) {
			if err == nil {
				err = out.print(jsonl.Problem(p))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	for ext, err := range out.items(args[1:]) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		l := c.call
		l.Local = l.User
		if ext != "" {
			l.Dash, l.Ext = c.dash, ext
			l.Local += "-" + ext
		}
		p, err := l.Plan(ctx, tree)
		if err != nil {
			out.skip(ext, err)
			continue
		}
		for _, q := range p.Problems {
			out.note("", q)
		}
		if err := out.print(trialOf(l, p)); err != nil {
			return err
		}
	}
	return nil
}

func trialOf(l qmailcontrol.LocalDelivery, p *qmailcontrol.LocalPlan) dotTrial {
	t := dotTrial{
		Local: jsonl.Bytes(l.Local), Dash: jsonl.Bytes(l.Dash), Ext: jsonl.Bytes(l.Ext), File: given(p.Name.Name),
		Tried: jsonl.List(p.Tried), NewSender: jsonl.Bytes(p.NewSender), Deliveries: []dotLine{},
	}
	if p.Name.IsDefault {
		t.Default = ptr(jsonl.Bytes(p.Name.Default))
	}
	for _, d := range p.Deliveries {
		t.Deliveries = append(t.Deliveries, dotLineOf(d))
	}
	stdout, stderr, rc := p.Trial()
	t.RC, t.Stdout, t.Stderr = rc, jsonl.Bytes(stdout), jsonl.Bytes(stderr)
	return t
}
