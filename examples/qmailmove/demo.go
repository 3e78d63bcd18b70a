//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// setupDemo is the program without a subcommand.
func setupDemo(fs *flag.FlagSet) cli.Action {
	dir := fs.String("dir", "", "make everything in `DIR`, which must not exist (default: a new temporary directory)")
	return func(ctx context.Context, env *cli.Env, args []string) error {
		if len(args) > 0 {
			return cli.Usagef("%q is not a command", args[0])
		}
		return demo(ctx, env, *dir)
	}
}

// A demonstration is the sample pair of hosts and what it says.
type demonstration struct {
	*sample
	env *cli.Env
}

// demo moves the sample domain by all steps.
func demo(ctx context.Context, env *cli.Env, dir string) (err error) {
	if dir == "" {
		dir, err = os.MkdirTemp("", "qmailkit-move-")
	} else {
		err = os.Mkdir(dir, 0o755)
	}
	if err != nil {
		return err
	}
	s, err := newSample(dir)
	if err != nil {
		return err
	}
	d := &demonstration{s, env}
	env.Printf("Two sample Plesk hosts stand in %s: old has the domain %s, with %s in %s; new has the domain without.\n",
		dir, sampleDomain, cli.Plural(int64(s.messages), "message"), cli.Plural(int64(len(s.boxes)), "mailbox|mailboxes"))
	l, err := d.newHost()
	if err != nil {
		return err
	}
	defer l.Close()
	steps := []struct {
		name string
		do   action
		set  func(c *config)
	}{
		{"plan", doPlan, nil},
		{"accounts -direct", doAccounts, func(c *config) { c.accounts.direct = true }},
		{"copy", doCopy, nil},
		{"verify", doVerify, nil},
		{"probe", doProbe, func(c *config) { c.probe.direct = l.Addr().String() }},
		{"cutover", doCutover, func(c *config) { c.cutover.route = l.Addr().String() }},
		{"drain", doDrain, func(c *config) {
			// Meanwhile mail has come to the old host, and somebody has read some.
			s.write("old/var/qmail/mailnames/example.com/anna/Maildir/new/1200000000.M1P1.old.example.net", sampleMessage("anna", 99), 0o600)
			s.give("old/var/qmail/mailnames")
			c.drain.queue.Dir = s.path("old/var/qmail/queue")
		}},
		{"verify", doVerify, func(c *config) { c.reports = []string{s.path("verify.html"), s.path("verify.json")} }},
	}
	for _, st := range steps {
		env.Printf("\n== qmailmove %s\n", st.name)
		c := d.config()
		if st.set != nil {
			st.set(c)
		}
		if err := errors.Join(s.err, st.do(ctx, c, env)); err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
	}
	d.where()
	return nil
}

func (d *demonstration) config() *config {
	c := newConfig()
	c.sourceRoot, c.targetRoot, c.domain, c.state = d.path("old"), d.path("new"), sampleDomain, d.path("state")
	c.source.dump, c.source.keyFile = d.path("old/psa.sql"), d.path("old/etc/psa/private/secret_key")
	c.target.dump, c.target.keyFile = d.path("new/psa.sql"), d.path("new/etc/psa/private/secret_key")
	c.commit.Writers = 2
	return c
}

// newHost answers RCPT as the new host would, by its files. It takes no mail.
func (d *demonstration) newHost() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go d.talk(c)
		}
	}()
	return l, nil
}

func (d *demonstration) talk(c net.Conn) {
	defer c.Close()
	fmt.Fprint(c, "220 new.example.net\r\n")
	for in := bufio.NewScanner(c); in.Scan(); {
		line := in.Text()
		switch {
		case strings.HasPrefix(line, "RCPT TO:<"):
			fmt.Fprintf(c, "%s\r\n", d.takes(strings.TrimSuffix(strings.TrimPrefix(line, "RCPT TO:<"), ">")))
		case strings.HasPrefix(line, "DATA"):
			fmt.Fprint(c, "554 no\r\n")
		case line == "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return
		default:
			fmt.Fprint(c, "250 ok\r\n")
		}
	}
}

// takes is the reply to RCPT: rcpthosts and virtualdomains decide, and whether
// users/assign has a line for just this name.
func (d *demonstration) takes(addr string) string {
	const no = "550 sorry, no mailbox here by that name (#5.1.1)"
	root, err := os.OpenRoot(d.path("new/var/qmail"))
	if err != nil {
		return "451 " + err.Error()
	}
	defer root.Close()
	control, err := root.OpenRoot("control")
	if err != nil {
		return "451 " + err.Error()
	}
	defer control.Close()
	c, err := qmailcontrol.LoadConfig(context.Background(), control)
	if err != nil {
		return "451 " + err.Error()
	}
	hosts, err := c.RcptHosts()
	if err != nil {
		return qmailcontrol.ReplyControls
	}
	if ok, _ := hosts.Allows(addr); !ok {
		return qmailcontrol.ReplyNotAllowed
	}
	send, err := c.Send()
	if err != nil {
		return qmailcontrol.ReplyControls
	}
	to := send.Rewrite(addr).To
	b, err := root.ReadFile("users/assign")
	if err != nil {
		return "451 " + err.Error()
	}
	a, err := users.ParseAssign(strings.NewReader(string(b)))
	if err != nil {
		return "451 " + err.Error()
	}
	local := to[:strings.LastIndexByte(to, '@')]
	for e := range a.Entries() {
		if !e.Wildcard && e.Local == local {
			return qmailcontrol.ReplyOK
		}
	}
	return no
}

// where says what there is to look at.
func (d *demonstration) where() {
	e := d.env
	e.Printf("\nLook at:\n")
	for _, row := range [][2]string{
		{"old", "the old host; its control files now pass the domain's mail on"},
		{"new", "the new one, with accounts, users/cdb and the mailboxes"},
		{"verify.html", "the report, for a browser; verify.json is the same for programs"},
		{"state", "what a later run, undo, or cutover -undo, has to remember"},
	} {
		e.Printf("  %-50s %s\n", d.path(row[0]), row[1])
	}
	e.Printf("\nAll of it is in %s, and nothing else was touched.\n", d.dir)
}
