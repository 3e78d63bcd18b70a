//go:build unix

// Qmailmove moves a domain from one Plesk host with qmail to another: accounts,
// mail, the switch, and what arrives at the old host after it. Without
// arguments it shows how, on a sample pair of hosts of its own.
package main

import (
	"context"
	"io"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
)

func main() { cli.Main(run) }

// program is the name under which it is known, to its state too.
const program = "qmailmove"

const long = `Without arguments: makes a sample pair of hosts in a temporary directory, moves
a domain from one to the other, verifies it, and says where to look.

A move is cut into steps, each of which can be run again at any time:

  plan      what there is, what will be made, what cannot be carried and why
  accounts  mail names, passwords, aliases and forwards
  copy      mailboxes, as often as you like while the old host is in use
  verify    compares both ends: every message, and what POP3 and IMAP programs
            know them by
  probe     asks the new host, and the new one through the old one, whether each
            address is taken (RCPT only: no mail is sent)
  cutover   lets the old host pass the domain's mail on; -undo takes that back
  drain     copies until nothing new comes and the old queue is empty
  undo      takes back what accounts and copy have written, as far as nobody has
            used it since; mail that the old host has no more stays

The source is a host's file system below ROOT, mounted or copied, or
sftp://USER@HOST[:PORT]/PATH. Nothing is ever written there, except by cutover,
which edits the control directory that it is given. ROOT may also be the
directory of the mailboxes itself (PLESK_MAILNAMES_D).

On each run, what has changed at the source only follows; what has changed at
the target stays, and is reported. A message that its owner has deleted at the
source after it was copied is taken away at the target too, if nobody has
touched it there; with -keep-deleted it stays.`

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := cli.App{
		Name: program, Short: "move a domain from one Plesk host with qmail to another", Long: long,
		Root:   &cli.Command{Short: "the demonstration", Setup: setupDemo},
		Common: newConfig().common,
		Commands: []*cli.Command{
			{Name: "plan", Short: "say what would be done; change nothing", Setup: setup(doPlan, (*config).copyFlags)},
			{Name: "accounts", Short: "make the accounts, or write a script that does", Setup: setup(doAccounts, (*config).accountFlags)},
			{Name: "copy", Short: "copy the mailboxes", Setup: setup(doCopy, (*config).copyFlags)},
			{Name: "verify", Short: "compare source and target", Setup: setup(doVerify, (*config).copyFlags)},
			{Name: "probe", Short: "ask both hosts for every address", Setup: setup(doProbe, (*config).probeFlags)},
			{Name: "cutover", Short: "switch the old host over", Setup: setup(doCutover, (*config).cutoverFlags)},
			{Name: "drain", Short: "copy until nothing new comes", Setup: setup(doDrain, (*config).drainFlags)},
			{Name: "undo", Short: "take back what accounts and copy have written", Setup: setup(doUndo, (*config).undoFlags)},
		},
	}
	return app.Run(ctx, args, stdin, stdout, stderr)
}
