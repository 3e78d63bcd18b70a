package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// lookup is a line of the kind usercdb.
type lookup struct {
	Local  jsonl.Bytes  `json:"local"`
	Via    users.Via    `json:"via"`
	Key    *jsonl.Bytes `json:"key,omitempty"` // that matched
	Status string       `json:"status,omitempty"`
	*recipient
	Report *jsonl.Bytes `json:"report,omitempty"` // what qmail-lspawn says instead of delivering
	Exit   int          `json:"exit,omitempty"`   // of its child, where that failed
	Nughde *jsonl.Bytes `json:"nughde,omitempty"` // the six fields, each with a NUL behind it
	// Probes are the keys that were looked up, in order.
	Probes []jsonl.Bytes `json:"probes"`
}

// recipient is what qmail-lspawn hands to qmail-local.
type recipient struct {
	UID     uint32      `json:"uid"`
	GID     uint32      `json:"gid"`
	User    jsonl.Bytes `json:"user"`
	Home    jsonl.Bytes `json:"home"`
	Dash    jsonl.Bytes `json:"dash"`
	Ext     jsonl.Bytes `json:"ext"`
	UIDText jsonl.Bytes `json:"uid_text"`
	GIDText jsonl.Bytes `json:"gid_text"`
}

// errNoAccounts is the answer of qmail-getpw where nobody gave us a passwd.
var errNoAccounts = errors.New("the accounts of the system are not known: give -passwd FILE")

// exitCDB is the exit code of qmail-lspawn's child where users/cdb is trouble
// (qlx.h: QLX_CDB).
const exitCDB = 117

// usercdb is the command line of that kind.
type usercdb struct {
	passwd string
	homes  string
	lspawn users.Lspawn
}

func usercdbKind() *cli.Command {
	return &cli.Command{
		Name: "usercdb", Args: "CDB LOCAL...", Min: 2, Max: -1,
		Short: "who gets the mail for a local part, by users/cdb and qmail-getpw",
		Long: `The answer is that of qmail-lspawn: status K and what qmail-local is told, or Z
and the report. Local parts that users/cdb does not know are for the accounts of
the system; without -passwd nothing is said of those, and the exit code is 4.

The homes of these accounts count as their own, except /nonexistent and homes
that several users share; -homes looks at the directories themselves. Without a
file CDB there is no users/cdb, and all local parts are for the accounts.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			c := &usercdb{}
			fs.StringVar(&c.passwd, "passwd", "", "passwd(5) `FILE` of the host")
			fs.StringVar(&c.homes, "homes", "", "look for home directories below `ROOT`, the host's file system (/ is this one)")
			return printing(c.run)
		},
	}
}

func (c *usercdb) run(ctx context.Context, out *lines, args []string) error {
	if c.homes != "" && c.passwd == "" {
		return cli.Usagef("-homes needs -passwd")
	}
	f, size, err := openFile(args[0])
	switch {
	case errors.Is(err, fs.ErrNotExist):
		out.env.Printf("%s does not exist: qmail would ask qmail-getpw alone\n", args[0])
	case err != nil:
		return err
	default:
		defer f.Close()
		// A broken file answers each question as it does to qmail.
		if c.lspawn.DB, err = users.OpenDB(f, size); err != nil {
			out.env.Printf("%s: %v\n", args[0], err)
		}
	}
	done, err := c.accounts()
	if err != nil {
		return err
	}
	defer done()
	unknown := int64(0)
	for local, err := range out.items(args[1:]) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		line, known := c.find(local)
		if !known {
			unknown++
		}
		if err := out.print(line); err != nil {
			return err
		}
	}
	if unknown > 0 {
		return &cli.Exit{Code: cli.CannotTell, Err: fmt.Errorf("%s: %w", cli.Plural(unknown, "local part"), errNoAccounts)}
	}
	return nil
}

// accounts prepares qmail-getpw.
func (c *usercdb) accounts() (done func(), err error) {
	done = func() {}
	if c.passwd == "" {
		c.lspawn.Getpw = func(string) (users.User, error) { return users.User{}, errNoAccounts }
		return done, nil
	}
	f, _, err := openFile(c.passwd)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	accounts, err := users.ReadPasswd(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.passwd, err)
	}
	var tree qmailkit.Tree
	if c.homes != "" {
		root, err := os.OpenRoot(c.homes)
		if err != nil {
			return nil, err
		}
		done = func() { root.Close() }
		tree = qmailkit.NewTree(root)
	}
	c.lspawn.Getpw = (&users.Getpw{Accounts: accounts, HomeOwner: homes(accounts, tree)}).Lookup
	return done, nil
}

// find is false where the answer is up to accounts that are not known.
func (c *usercdb) find(local string) (lookup, bool) {
	a, err := c.lspawn.Find(local)
	line := lookup{Local: jsonl.Bytes(local), Via: a.Via, Probes: jsonl.List(a.Probes)}
	if a.Key != "" {
		line.Key = ptr(jsonl.Bytes(a.Key))
	}
	switch {
	case errors.Is(err, errNoAccounts):
		line.Via = users.ViaGetpw
		return line, false
	case err != nil:
		line.Status = "Z"
		line.Report = ptr(jsonl.Bytes(users.Report(err) + "\n"))
		if errors.Is(err, users.ErrDB) {
			line.Exit = exitCDB
		}
		if a.Text != "" {
			line.Nughde = ptr(jsonl.Bytes(a.Text))
		}
	case local == "": // qmail-lspawn reports success and delivers nothing
		line.Status = "K"
		line.Report, line.Nughde = new(jsonl.Bytes), ptr(jsonl.Bytes(a.Text))
	default:
		line.Status = "K"
		line.recipient = recipientOf(a.User)
	}
	return line, true
}

func recipientOf(u users.User) *recipient {
	uid, gid := u.IDs()
	return &recipient{
		UID: uid, GID: gid, User: jsonl.Bytes(u.Name), Home: jsonl.Bytes(u.Home), Dash: jsonl.Bytes(u.Dash),
		Ext: jsonl.Bytes(u.Ext), UIDText: jsonl.Bytes(u.UID), GIDText: jsonl.Bytes(u.GID),
	}
}

func ptr[T any](v T) *T { return &v }
