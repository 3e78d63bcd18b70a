// Qmailinspect looks inside the formats that the library knows, and decides
// what qmail would decide, one JSON object a line.
package main

import (
	"context"
	"io"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
)

func main() { cli.Main(run) }

const long = `KIND says what the file is. The answer is one JSON object a line on standard
output; words for people, among them what is odd in the file, go to standard
error. Nothing is changed, except by the kinds that say so.

Names, addresses and lines are bytes and need not be UTF-8: each byte stands
as one code point U+0000 to U+00FF, so that nothing is lost. Decoded text has a
key that ends in _text. A lone - in place of ITEMs reads them from standard
input, one JSON string of that form a line.`

// kinds lists what can be looked at. A new kind is a file of its own and a
// line here.
func kinds() []*cli.Command {
	return []*cli.Command{
		mboxKind(),
		maildirKind(),
		assignKind(),
		newuKind(),
		usercdbKind(),
		pw2uKind(),
		dotqmailKind(),
		cdbKind(),
		controlKind(),
		rcptKind(),
		rewriteKind(),
		smtprouteKind(),
		routeKind(),
		newmrhKind(),
		vpasswdKind(),
		vpopmailKind(),
		psaKind(),
		queueKind(),
		aliasesKind(),
		passhashKind(),
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := cli.App{
		Name:     "qmailinspect",
		Short:    "look inside the files of mail systems",
		Long:     long,
		Commands: kinds(),
	}
	return app.Run(ctx, args, stdin, stdout, stderr)
}
