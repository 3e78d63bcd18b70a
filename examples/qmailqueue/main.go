// Qmailqueue looks into the queue of qmail, mends and cleans it, and loses no
// message: what qmail-qread, qmail-qstat, qmHandle, qmqtool and queue_repair
// do, as one program.
//
// # From the older programs
//
// Every option of theirs, and what does the same here. SEL is a selection:
// -sender, -recipient, -subject, -header, -body, -id and others, which mean
// their text literally unless -regexp is given.
//
//	qmHandle 1.3.2                  qmailqueue
//	-l, -L, -R                      list, list -local, list -remote
//	-N (with a list)                list -ids
//	-c                              list -color always (a terminal has colours anyhow)
//	-s                              stat -long
//	-mN                             show N; show -raw N for its bytes
//	-dN                             delete -id N, or quarantine -id N
//	-fSENDER, -F're'                quarantine -sender SENDER, -regexp -sender RE
//	-Stext                          quarantine -subject TEXT
//	-h're', -H're'                  quarantine -regexp -header 'NAME: RE', with -case;
//	                                -body looks through all fields
//	-b're', -B're'                  quarantine -regexp -body RE, with -case
//	-t're'                          retry -renew -regexp -recipient RE
//	-D                              quarantine -all
//	-a                              retry -all -pid PID, or kill -ALRM
//	-V                              none
//
//	qmqtool 1.13                    qmailqueue
//	-l, -L, -R, -T                  list, list -local, list -remote, list -state S4
//	-s, -Q                          stat -long, stat -json
//	-c, -r                          check, repair
//	-i [-nN]                        top -by ip [-n N]
//	-S                              list -sort size
//	-e, -u                          expire SEL, retry -renew SEL
//	-E, -U (A, R or L)              expire or retry -renew with -all, -remote or -local
//	-d N,N; -d -f TEXT; -d -o H     delete -id N -id N; quarantine -body TEXT; quarantine -older Hh
//	-vN [-w]                        show N
//	-f TEXT                         list -body TEXT
//	-oN                             list -older Nh
//	-Bb, -Br                        cp -Rp or tar; repair gives the copy its numbers
//	-V                              none
//
//	queue_repair 0.9.0              qmailqueue
//	-t, --test                      check; repair -n shows the plan
//	-r, --repair                    repair
//	-b, -n (--bigtodo, --no-)       convert -bigtodo yes or no
//	-s N, --split N                 convert -split N
//	-c, --create                    create -split N -bigtodo no
//	--i-want-a-broken-conf-split    convert -any-split
//	-h; last argument               -h; -queue DIR
package main

import (
	"context"
	"io"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
)

func main() { cli.Main(run) }

const long = `stat, list, show, top and check only read, and may run while qmail-send does.
expire and retry change times only, and may as well. All others change the
queue: they take the lock of qmail-send (lock/sendmutex) and keep it until they
are done, and stop where it is taken. Stop qmail-send first, and whatever brings
mail in: nothing locks qmail-queue out.

A selection is any number of its flags. Of a flag that is repeated one value has
to fit, and each flag has to. Text is meant literally: of -sender and -recipient
the whole address, "@example.com" for all of a domain, "<>" for the empty one; of
-subject, -header and -body a part of it. Capitals do not matter unless -case is
given; -regexp makes regular expressions of all of them (RE2, not anchored).`

// commands are what the program can do, in the order in which help lists them.
func commands() []*cli.Command {
	return []*cli.Command{
		statCommand(), listCommand(), showCommand(), topCommand(), checkCommand(),
		repairCommand(), createCommand(), convertCommand(),
		deleteCommand(), quarantineCommand(), restoreCommand(), expireCommand(), retryCommand(), submitCommand(),
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := cli.App{Name: "qmailqueue", Short: "look into qmail's queue, mend it, clean it", Long: long, Commands: commands()}
	return app.Run(ctx, args, stdin, stdout, stderr)
}
