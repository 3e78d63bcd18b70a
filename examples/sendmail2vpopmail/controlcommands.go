package main

import (
	"bufio"
	"fmt"
	"io"

	"github.com/qmailkit/qmailkit/examples/internal/controlmap"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// putFunction adds a line to a file, if it is not in it, on a line of its own.
const putFunction = `
# Lines for qmail, each only where it is not there yet. See first that no other
# line stands for the same domain or address: of two, qmail takes the last of
# smtproutes, and tcprules the first of tcp.smtp.
put() {
	if grep -qxF -e "$2" -- "$1" 2>/dev/null; then return 0; fi
	if [ -s "$1" ] && [ -n "$(tail -c 1 -- "$1")" ]; then echo >>"$1"; fi
	printf '%s\n' "$2" >>"$1"
}
`

// controlCommands writes the equivalent of what run does to qmail's control
// files and to tcp.smtp, rcpthosts behind all that decides about mail that is
// let in.
func (m *move) controlCommands(w io.Writer) error {
	if m.control == nil || len(m.control.Lines) == 0 {
		return nil
	}
	b := bufio.NewWriter(w)
	b.WriteString(putFunction)
	for _, file := range []string{controlmap.Routes, controlmap.Senders, controlmap.Hosts, controlmap.Clients} {
		path := m.c.target.Qmail + "/control/" + file
		if file == controlmap.Clients {
			path = m.c.tcpSMTP
		}
		for _, l := range m.control.Lines {
			switch {
			case l.File != file:
			case path == "":
				fmt.Fprintf(b, "# for tcp.smtp: put FILE %s\n", vpopmail.Quote(l.Text))
			default:
				fmt.Fprintf(b, "put %s %s\n", vpopmail.Quote(path), vpopmail.Quote(l.Text))
			}
		}
	}
	return b.Flush()
}
