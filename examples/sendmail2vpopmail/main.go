// Sendmail2vpopmail moves a Sendmail host's accounts, domains and mail to qmail
// and vpopmail. Without arguments it shows how, on a sample host of its own.
package main

import (
	"context"
	"io"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
)

func main() { cli.Main(run) }

// program is the name under which it is known, to its state too.
const program = "sendmail2vpopmail"

const long = `Without arguments: makes a sample Sendmail host in a temporary directory, moves
it, verifies it, moves it again to show that nothing changes, and says where to
look.

A move is cut into steps that can be run again at any time, after an
interruption or because mail still arrives at the old host:

  plan      what will be made, what not and why, and what it takes
  run       accounts, mail and addresses; the domains go live when all is there
  verify    reads both ends again, compares every message and every hash, and
            follows every address through both
  commands  the same accounts and addresses as a script for vpopmail's programs
  undo      takes back what run made and nobody has changed since

Aliases, virtual users and .forward files become .qmail files, or rows of valias,
and what comes back from a list goes to its owner. A vacation text is put where
qmailadmin has it. Programs and files are written as comments, unless
-allow-programs enables those of aliases, and autorespond in the place of
vacation, or -allow-user-programs those that users name. A run with -user leaves
all addresses to one without.

Routes and the rules about relaying go into qmail's smtproutes, badmailfrom and
rcpthosts, where plan shows the lines and -no-control leaves them out. Who may
connect and relay is for tcpserver: -tcp-smtp names its file, which else is
listed. Lines of others there stay, and nobody may relay who might not before.

The old host's file system is read below ROOT, mounted or copied. Nothing is
written there, but for the lock beside a spool, as its mailers make it, while
its length is taken (-lock-wait 0 leaves that out). Symbolic links below ROOT
are followed where only root could have made them, and lead to places below
ROOT.`

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := cli.App{
		Name: program, Short: "move a Sendmail host to qmail and vpopmail", Long: long,
		Root: &cli.Command{Short: "the demonstration", Setup: setupDemo},
		Commands: []*cli.Command{
			{Name: "plan", Short: "say what would be done; change nothing", Setup: setup(doPlan, true)},
			{Name: "run", Short: "move accounts, mail and addresses", Setup: setup(doRun, true), Like: "plan"},
			{Name: "verify", Short: "compare source and target", Setup: setup(doVerify, true), Like: "plan"},
			{Name: "commands", Short: "print a script for vpopmail's own programs", Setup: setup(doCommands, true), Like: "plan"},
			{Name: "undo", Short: "take back what run made", Setup: setup(doUndo, false), Like: "plan"},
		},
	}
	return app.Run(ctx, args, stdin, stdout, stderr)
}
