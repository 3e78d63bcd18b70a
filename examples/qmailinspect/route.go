package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/examples/internal/route"
	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// routed is a line of the kind route. A part of the path that is not reached
// has no keys.
type routed struct {
	Addr     jsonl.Bytes `json:"addr"`
	Accepted *bool       `json:"accepted,omitempty"` // none: the connection ends
	Class    string      `json:"class,omitempty"`    // local, virtual, remote
	*rewrittenTo
	Via *users.Via   `json:"via,omitempty"`
	Key *jsonl.Bytes `json:"key,omitempty"` // of users/cdb
	*recipient
	*dotPath
	*sentTo
	Fate   string       `json:"fate"`
	Report *jsonl.Bytes `json:"report,omitempty"` // of qmail, why mail is not delivered
	Error  *jsonl.Bytes `json:"error,omitempty"`  // why the rest cannot be told

	// With -follow, of the address that was asked for only.
	Ends    []routeEnd `json:"ends,omitempty"`    // where its mail comes to rest
	Follows []routed   `json:"follows,omitempty"` // the paths of the addresses that it is forwarded to
	Cut     bool       `json:"cut,omitempty"`     // there are more of these
}

type routeEnd struct {
	Kind  string      `json:"kind"` // mbox, maildir, program, remote, discarded, again, or a fate
	Where jsonl.Bytes `json:"where"`
	Addr  jsonl.Bytes `json:"addr"` // of the path there
}

type rewrittenTo struct {
	Chan    string       `json:"chan"`
	To      jsonl.Bytes  `json:"to"`
	By      string       `json:"by"`
	Virtual *jsonl.Bytes `json:"virtualdomain,omitempty"` // the key that decided
}

type dotPath struct {
	DotQmail   *jsonl.Bytes     `json:"dotqmail"`          // the file, absolute and without links; null where there is none
	Tried      []jsonl.Bytes    `json:"tried"`             // names, up to the one that is there
	Default    *jsonl.Bytes     `json:"default,omitempty"` // $DEFAULT
	NewSender  jsonl.Bytes      `json:"new_sender"`
	Deliveries []routedDelivery `json:"deliveries"`
	Problems   []any            `json:"problems,omitempty"` // hazards of the home and the file
}

type routedDelivery struct {
	Kind    string       `json:"kind"`
	Arg     jsonl.Bytes  `json:"arg"`
	Line    int          `json:"line,omitempty"`
	Mailbox *jsonl.Bytes `json:"mailbox,omitempty"` // the file or Maildir, absolute
	Does    any          `json:"does,omitempty"`    // what is known of a program
}

type programDoes struct {
	Deliveries []routedDelivery `json:"deliveries"`
	Exit       int              `json:"exit"`
	Report     *jsonl.Bytes     `json:"report,omitempty"`
}

type sentTo struct {
	Route     string       `json:"route"`
	Relay     *jsonl.Bytes `json:"relay,omitempty"`
	Port      *uint16      `json:"port,omitempty"`
	SMTPRoute *jsonl.Bytes `json:"smtproute,omitempty"` // the key that decided
}

// routing is the command line of that kind.
type routing struct {
	usercdb
	root, delivery, sender string
	extensions             bool
	follow                 int
}

func routeKind() *cli.Command {
	return &cli.Command{
		Name: "route", Args: "QMAILDIR ADDR...", Min: 2, Max: -1,
		Short: "the whole path of an address: rcpthosts, virtualdomains, users, .qmail, deliveries or smtproutes",
		Long: `QMAILDIR has control and users, as /var/qmail has. accepted is what rcpthosts
says, and concerns mail from other hosts only. fate is delivered (the deliveries
are made, as far as they work), sent (to the host that qmail-remote finds),
deferred, bounced, vanished (qmail-lspawn drops mail to an empty local part), or
unknown: error then says why, and the exit code is 4. What a program does with
mail is not known here, except where the delivery has a key does: that is
vpopmail's vdelivermail, whose home the line in .qmail-default names. With
-follow, forwards are followed too, each address once: ends says where the mail
comes to rest, and follows how it gets there.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			c := &routing{}
			fs.StringVar(&c.passwd, "passwd", "", "passwd(5) `FILE` of the host, for what users/cdb does not know")
			fs.StringVar(&c.root, "root", "/", "the host's file system, mounted at `ROOT`: homes and links are taken from there")
			fs.StringVar(&c.delivery, "delivery", route.DefaultDelivery, "what qmail-start is told to do without a .qmail file: `LINES`")
			fs.StringVar(&c.sender, "sender", "", "envelope sender `ADDRESS`, which decides about new_sender")
			fs.BoolVar(&c.extensions, "vpopmail-ext", false, "vpopmail was built with address extensions")
			fs.IntVar(&c.follow, "follow", 0, "follow forwards, to at most `N` further addresses")
			return printing(c.run)
		},
	}
}

// trees opens the host's file system, and QMAILDIR as a name in a tree: in that
// of the host if it lies there, so that links out of it lead on.
func trees(root, dir string) (host, qmail qmailkit.Tree, name string, done func(), err error) {
	hostRoot, err := os.OpenRoot(root)
	if err != nil {
		return nil, nil, "", nil, err
	}
	host = qmailkit.NewTree(hostRoot)
	full, err := absolute(dir)
	if err == nil {
		var top string
		if top, err = absolute(root); err == nil {
			if rel, e := filepath.Rel(top, full); e == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
				return host, host, rel, func() { hostRoot.Close() }, nil
			}
		}
	}
	var own *os.Root
	if err == nil {
		own, err = os.OpenRoot(dir)
	}
	if err != nil {
		hostRoot.Close()
		return nil, nil, "", nil, err
	}
	return host, qmailkit.NewTree(own), ".", func() { own.Close(); hostRoot.Close() }, nil
}

// absolute follows the links of a name on the command line, because whoever
// typed it means where it leads.
func absolute(name string) (string, error) {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", err
	}
	return filepath.Abs(name)
}

func (c *routing) run(ctx context.Context, out *lines, args []string) error {
	host, qmail, name, done, err := trees(c.root, args[0])
	if err != nil {
		return err
	}
	defer done()
	opts := &route.Options{Files: host, DefaultDelivery: c.delivery, Sender: c.sender}
	if c.passwd != "" {
		c.homes = c.root
		closeHomes, err := c.accounts()
		if err != nil {
			return err
		}
		defer closeHomes()
		opts.Getpw = c.lspawn.Getpw
	}
	v, closeVpopmail, err := c.openVpopmail(qmail, name, args[0])
	if err != nil {
		return err
	}
	defer closeVpopmail()
	opts.Hook = v.Hook
	router, err := route.Open(ctx, qmail, name, opts)
	if err != nil {
		return err
	}
	defer router.Close()
	unknown := int64(0)
	for addr, err := range out.items(args[1:]) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		w, err := router.Follow(ctx, addr, c.follow)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(w.Paths, func(p *route.Path) bool { return p.Fate == route.Unknown }) {
			unknown++
		}
		for _, p := range w.Paths {
			if p.AcceptErr != nil {
				out.env.Printf("%s: %v\n", cli.Name(p.Addr), p.AcceptErr)
			}
			if p.Plan != nil {
				for _, q := range p.Plan.Problems {
					out.note("", q)
				}
			}
		}
		if err := out.print(c.wayLine(w)); err != nil {
			return err
		}
	}
	if unknown > 0 {
		return &cli.Exit{Code: cli.CannotTell, Err: fmt.Errorf("the path of %s cannot be told to its end", cli.Plural(unknown, "address|addresses"))}
	}
	return nil
}

// openVpopmail opens what vdelivermail's deliveries are told by. Directories
// that are not there tell nothing.
func (c *routing) openVpopmail(qmail qmailkit.Tree, name, dir string) (*route.Vpopmail, func(), error) {
	v := &route.Vpopmail{Extensions: c.extensions}
	var opened []*os.Root
	done := func() {
		v.Close()
		for _, r := range opened {
			r.Close()
		}
	}
	open := func(path string, to **os.Root) error {
		r, err := os.OpenRoot(path)
		if err == nil {
			*to, opened = r, append(opened, r)
		}
		return err
	}
	err := errors.Join(open(c.root, &v.Host), open(dir, &v.Qmail))
	if at, e := qmailkit.Resolve(qmail, path.Join(name, "users")); err == nil && e == nil && at != path.Join(name, "users") {
		// A link, which leads on from the top of the host's file system.
		if users, e := v.Host.OpenRoot(at); e == nil {
			v.Users, opened = users, append(opened, users)
		}
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return v, done, nil
}

// wayLine is the line of an address with what is told of its forwards.
func (c *routing) wayLine(w *route.Way) routed {
	line := routedLine(w.Paths[0])
	if c.follow <= 0 {
		return line
	}
	for _, p := range w.Paths[1:] {
		line.Follows = append(line.Follows, routedLine(p))
	}
	for _, e := range w.Ends {
		line.Ends = append(line.Ends, routeEnd{e.Kind, jsonl.Bytes(e.Where), jsonl.Bytes(e.Path.Addr)})
	}
	line.Cut = w.Cut
	return line
}

// given is a pointer to text that is not empty.
func given(text string) *jsonl.Bytes {
	if text == "" {
		return nil
	}
	return ptr(jsonl.Bytes(text))
}

func routedLine(p *route.Path) routed {
	line := routed{Addr: jsonl.Bytes(p.Addr), Class: p.Class(), Fate: p.Fate.String(), Report: given(p.Report)}
	if p.AcceptErr == nil {
		line.Accepted = &p.Accepted
	}
	if p.Err != nil {
		line.Error = ptr(jsonl.Bytes(p.Err.Error()))
	}
	if t := p.Target; t != nil {
		line.rewrittenTo = &rewrittenTo{Chan: t.Channel.String(), To: jsonl.Bytes(t.To), By: t.Reason.String()}
		if t.Reason == qmailcontrol.ByVirtualDomains || t.Reason == qmailcontrol.ByException {
			line.Virtual = ptr(jsonl.Bytes(t.Key))
		}
	}
	if a := p.User; a != nil {
		line.Via, line.Key = &a.Via, given(a.Key)
		if a.Via != users.ViaNone {
			line.recipient = recipientOf(a.User)
		}
	}
	if p.Plan != nil {
		line.dotPath = dotPathOf(p)
	}
	if way := p.Remote; way != nil {
		var s smtpRoute
		s.way(*way)
		line.sentTo = &sentTo{Route: s.Route, Relay: s.Relay, Port: s.Port, SMTPRoute: s.Key}
	}
	return line
}

func dotPathOf(p *route.Path) *dotPath {
	d := &dotPath{
		Tried: jsonl.List(p.Plan.Tried), NewSender: jsonl.Bytes(p.Plan.NewSender),
		Deliveries: routedDeliveries(p, p.Deliveries),
	}
	if p.Plan.File != "" {
		d.DotQmail = ptr(jsonl.Bytes("/" + p.Plan.File))
	}
	for _, q := range p.Plan.Problems {
		d.Problems = append(d.Problems, jsonl.Problem(q))
	}
	if p.Plan.Name.IsDefault {
		d.Default = ptr(jsonl.Bytes(p.Plan.Name.Default))
	}
	return d
}

func routedDeliveries(p *route.Path, list []route.Delivery) []routedDelivery {
	out := []routedDelivery{}
	for _, d := range list {
		r := routedDelivery{Kind: d.Kind.String(), Arg: jsonl.Bytes(d.Arg), Line: d.Line}
		if d.Kind == qmailcontrol.DotMbox || d.Kind == qmailcontrol.DotMaildir {
			r.Mailbox = ptr(jsonl.Bytes(p.Mailbox(d)))
		}
		if d.Program != nil {
			r.Does = programDoes{routedDeliveries(p, d.Program.Deliveries), d.Program.Exit, given(d.Program.Report)}
		}
		out = append(out, r)
	}
	return out
}
