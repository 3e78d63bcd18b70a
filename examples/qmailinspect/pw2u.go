package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// pw2u is the command line of that kind.
type pw2u struct {
	rule           string
	sep            string
	users          string
	homes          string
	text           bool
	owned, ignored bool // -o, -H
	p              users.PW2U
}

func pw2uKind() *cli.Command {
	return &cli.Command{
		Name: "pw2u", Args: "PASSWD [ASSIGN]", Min: 1, Max: 2,
		Short: "the users/assign that qmail-pw2u makes of a passwd file; this writes ASSIGN, if given",
		Long: `Without ASSIGN the entries are printed as the kind assign prints them, or with
-text as qmail-pw2u does. A PASSWD of - is standard input. Where qmail-pw2u would
stop, its message goes to standard error, ASSIGN stays as it is, and the exit
code is 1.

The homes of the accounts count as their own, except /nonexistent and homes that
several users share; -homes looks at the directories themselves. What is called
-o, -h and -H there is -home owned, exists and ignored here; -o and -H do as
well.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			c := &pw2u{}
			fs.StringVar(&c.rule, "home", "owned", "leave out users whose home is not their own, stop at missing ones (exists), or do not look (ignored): `RULE`")
			fs.StringVar(&c.homes, "homes", "", "look for home directories below `ROOT`, the host's file system (/ is this one)")
			fs.StringVar(&c.users, "users", "", "`DIR` with include, exclude, mailnames, subusers and append, as /var/qmail/users")
			fs.BoolVar(&c.p.Upper, "u", false, "names with capital letters too")
			fs.BoolVar(&c.p.Slash, "/", false, "extensions are in .qmail-/ext")
			fs.StringVar(&c.sep, "c", "-", "the `CHARACTER` that parts a user from an extension")
			fs.BoolVar(&c.p.NoBreak, "C", false, "no extensions")
			fs.BoolVar(&c.owned, "o", false, "the same as -home owned")
			fs.BoolVar(&c.ignored, "H", false, "the same as -home ignored")
			fs.BoolVar(&c.text, "text", false, "print the text")
			return printing(c.run)
		},
	}
}

func (c *pw2u) run(ctx context.Context, out *lines, args []string) error {
	if c.owned {
		c.rule = "owned"
	}
	if c.ignored {
		c.rule = "ignored"
	}
	switch c.rule {
	case "owned":
	case "exists":
		c.p.Home = users.HomeExists
	case "ignored":
		c.p.Home = users.HomeIgnored
	default:
		return cli.Usagef("-home: %q is not owned, exists or ignored", c.rule)
	}
	if c.sep == "" {
		c.p.NoBreak = true // as in C, where the first byte is then a NUL
	} else {
		c.p.Break = c.sep[0]
	}
	if c.users != "" {
		if err := c.files(); err != nil {
			return err
		}
	}
	passwd, err := c.passwd(out, args[0])
	if err != nil {
		return err
	}
	done, err := c.owners(passwd)
	if err != nil {
		return err
	}
	defer done()
	if len(args) == 2 {
		err = c.save(args[1], passwd)
	} else {
		err = c.show(ctx, out, passwd)
	}
	var stop *users.PW2UError
	if errors.As(err, &stop) {
		out.env.Printf("%s\n%v\n", stop.Fatal(), stop)
		return &cli.Exit{Code: cli.Stopped}
	}
	return err
}

// passwd reads the accounts, which are needed twice.
func (c *pw2u) passwd(out *lines, name string) ([]byte, error) {
	if name != "-" {
		return readFile(name, users.MaxSize)
	}
	b, err := io.ReadAll(io.LimitReader(out.env.Stdin, users.MaxSize+1))
	if err == nil && len(b) > users.MaxSize {
		err = fmt.Errorf("standard input: %w", errTooBig)
	}
	return b, err
}

// owners says whose homes are.
func (c *pw2u) owners(passwd []byte) (done func(), err error) {
	accounts, err := users.ReadPasswd(bytes.NewReader(passwd))
	if err != nil {
		return nil, err
	}
	done = func() {}
	var tree qmailkit.Tree
	if c.homes != "" {
		root, err := os.OpenRoot(c.homes)
		if err != nil {
			return nil, err
		}
		done = func() { root.Close() }
		tree = qmailkit.NewTree(root)
	}
	c.p.HomeOwner = homes(accounts, tree)
	return done, nil
}

// files reads the directory users.
func (c *pw2u) files() error {
	root, err := os.OpenRoot(c.users)
	if err != nil {
		return err
	}
	defer root.Close()
	for name, use := range map[string]func(*qmailcontrol.Lines){
		"include":   func(l *qmailcontrol.Lines) { c.p.Include = l.Set().Has },
		"exclude":   func(l *qmailcontrol.Lines) { c.p.Exclude = l.Set().Has },
		"mailnames": func(l *qmailcontrol.Lines) { c.p.Mailnames = l.Map().Lookup },
		"subusers":  func(l *qmailcontrol.Lines) { c.p.Subusers = bytes.NewReader(l.Bytes()) },
		"append":    func(l *qmailcontrol.Lines) { c.p.Append = bytes.NewReader(l.Bytes()) },
	} {
		l, err := qmailcontrol.Load(root, name)
		switch {
		case err == nil:
			use(l)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return nil
}

// save replaces a users/assign; its owner and mode stay.
func (c *pw2u) save(name string, passwd []byte) error {
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer root.Close()
	d, err := safefs.OpenDir(root, ".", nil)
	if err != nil {
		return err
	}
	defer d.Close()
	r := safefs.Replacement{Mode: 0o644, Owner: safefs.Keep, Inherit: true}
	return d.Replace(filepath.Base(name), r, func(f *safefs.File) error { return c.p.WriteAssign(f, bytes.NewReader(passwd)) })
}

// show prints the text or the entries. What qmail-pw2u prints before it stops
// is printed too.
func (c *pw2u) show(ctx context.Context, out *lines, passwd []byte) error {
	if c.text {
		return c.p.WriteAssign(out.buf, bytes.NewReader(passwd))
	}
	var text bytes.Buffer
	if err := c.p.WriteAssign(&text, bytes.NewReader(passwd)); err != nil {
		return err
	}
	return printEntries(ctx, out, "what qmail-pw2u writes", &text)
}

// printEntries prints the entries of a users/assign.
func printEntries(ctx context.Context, out *lines, name string, r io.Reader) error {
	for e, err := range users.Scan(r) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		err = out.print(assignEntry{
			Line: e.Line, Offset: e.Offset, Wildcard: e.Wildcard, Local: jsonl.Bytes(e.Local),
			User: jsonl.Bytes(e.User), UIDText: jsonl.Bytes(e.UID), GIDText: jsonl.Bytes(e.GID),
			Home: jsonl.Bytes(e.Home), Dash: jsonl.Bytes(e.Dash), Ext: jsonl.Bytes(e.Ext), Rest: jsonl.Bytes(e.Rest),
		})
		if err != nil {
			return err
		}
	}
	return nil
}
