// Mbox2maildir brings the messages of an mbox, or of a tree of them, into a
// Maildir: durably, and again without duplicates.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/mailcopy"
	"github.com/qmailkit/qmailkit/maildir"
)

func main() { cli.Main(run) }

const long = `SRC is an mbox file, or with -r a directory of them: each file becomes a
Maildir++ folder, a/b becomes .a.b, and a file named INBOX at the top (in any
case) goes to the INBOX itself. Empty files become empty folders; names that
begin with a dot are passed over; what is no mbox is reported.

A message is carried byte for byte, and its state (read, answered, flagged ...)
from the headers in which mail programs keep it. Messages that were read or
flagged go to cur/, others to new/; the file's time is that of its arrival.

When the program says that it is done, all is on the disk. It can be cut off
anywhere and run again, also on a spool that has changed since: nothing comes
twice, and what its reader has moved or deleted does not come back. The file
` + maildir.JournalName + ` in MAILDIR remembers that; remove it when the move is over.`

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := cli.App{
		Name:  "mbox2maildir",
		Short: "bring an mbox into a Maildir",
		Root:  &cli.Command{Args: "SRC MAILDIR", Short: "convert", Long: long, Min: 2, Max: 2, Setup: setup},
	}
	return app.Run(ctx, args, stdin, stdout, stderr)
}

// config is the command line.
type config struct {
	recursive   bool
	dryRun      bool
	json        bool
	sourceID    string
	uidl        mailcopy.UIDLStyle
	encoding    maildir.Encoding
	copy        mailcopy.Options
	commit      maildir.CommitOptions
	owner       cli.Owner
	src, target string
}

func setup(fs *flag.FlagSet) cli.Action {
	c := &config{}
	fs.BoolVar(&c.recursive, "r", false, "SRC is a directory of mboxes")
	fs.BoolVar(&c.dryRun, "n", false, "only read SRC, and say what would be done")
	fs.BoolVar(&c.json, "json", false, "print an object a line for each mbox and each problem on stdout")
	mailcopy.Flags(fs, &c.copy, &c.commit, &c.encoding, &c.uidl)
	fs.Var(&c.owner, "owner", "`UID:GID` that owns what is made (default: who runs this)")
	fs.StringVar(&c.sourceID, "source-id", "", "`ID` of SRC in the identity of its messages, in place of its file name below SRC")
	return func(ctx context.Context, env *cli.Env, args []string) error {
		c.src, c.target = args[0], args[1]
		return c.run(ctx, env)
	}
}

// errNothing is the answer where SRC holds no mbox at all.
var errNothing = errors.New("nothing was converted: there is no mbox in it")

// outcome turns what happened into words and an exit code.
func (c *config) outcome(env *cli.Env, s *summary) error {
	verb := "delivered"
	if c.dryRun {
		verb = "to deliver"
	}
	env.Printf("%s in %s: %s %s, %s there already, %s not carried\n",
		cli.Plural(s.Messages, "message"), cli.Plural(int64(s.Boxes), "mbox|mboxes"),
		cli.Count(s.Delivered), verb, cli.Count(s.Present+s.Updated+s.Kept), cli.Count(s.Failed))
	switch {
	case s.Boxes == 0 && s.Problems > 0:
		return cli.Partialf("%v", errNothing)
	case s.Boxes == 0:
		return fmt.Errorf("%s: %w", c.src, errNothing)
	case s.Errors > 0:
		return cli.Partialf("%s not carried; the lines above say which", cli.Plural(int64(s.Errors), "item was|items were"))
	}
	return nil
}
