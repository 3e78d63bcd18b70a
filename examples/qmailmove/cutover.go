//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/plesk"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// cutoverConfig is what cutover is told besides.
type cutoverConfig struct {
	qmail   string
	route   string
	dns     string
	clients cli.Strings
	old     cli.Strings
	undo    bool
	force   bool
}

func (c *config) cutoverFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.cutover.qmail, "source-qmail", "", "`DIR` of the old host's qmail, with control in it, or that directory itself (default: var/qmail below -source-root)")
	fs.StringVar(&c.cutover.route, "smtproute", "", "`HOST[:PORT]` of the new host, to which the old one passes the domain's mail on; it is asked for every address first, if psa is given")
	fs.StringVar(&c.cutover.dns, "dns", "", "`SERVER` to ask for the domain's names; best the one that has the zone")
	fs.Var(&c.cutover.clients, "client-name", "`NAME` that POP3 and IMAP programs use; may be repeated (default: mail, pop, pop3, imap and smtp of the domain)")
	fs.Var(&c.cutover.old, "old-address", "`IP` of the old host, for the lines that let it in at the new one; may be repeated (default: what -dns says of control/me)")
	fs.BoolVar(&c.cutover.undo, "undo", false, "take back what cutover has done")
	fs.BoolVar(&c.cutover.force, "force", false, "switch although the new host refuses an address, or cannot be asked")
	c.smtpFlags(fs)
}

// A switching is a cutover under way.
type switching struct {
	*move
	env     *cli.Env
	root    *os.Root // the control directory
	dir     string   // its absolute name
	old     *qmailcontrol.Config
	domains []string
	mem     *state.Target
	store   *state.Store
	close   []func() error
}

func doCutover(ctx context.Context, c *config, env *cli.Env) (err error) {
	s := &switching{move: &move{c: c, domain: strings.ToLower(c.domain)}, env: env}
	if c.cutover.route == "" && !c.cutover.undo {
		return cli.Usagef("-smtproute HOST[:PORT] is missing: the new host")
	}
	if err := checkRoute(c.cutover.route); err != nil {
		return err
	}
	if err := s.readPsa(ctx); err != nil {
		return err
	}
	s.domains = []string{s.domain}
	if s.dom != nil {
		s.domains = plesk.MailDomains(s.dom)
	}
	defer func() {
		for _, f := range slices.Backward(s.close) {
			err = errors.Join(err, f())
		}
	}()
	if err := s.open(ctx); err != nil {
		return err
	}
	if c.cutover.undo {
		return s.undo(ctx)
	}
	return s.run(ctx)
}

// checkRoute finds what qmail-remote would take in another way than it looks:
// it knows no IPv6, and takes a port that is no number for 0.
func checkRoute(route string) error {
	if route == "" {
		return nil
	}
	host, port, found := strings.Cut(route, ":")
	if host == "" || strings.ContainsAny(route, " \t\r\n\x00") || strings.Count(route, ":") > 1 {
		return cli.Usagef("-smtproute %q is not HOST or HOST:PORT; qmail knows no IPv6", route)
	}
	if n, err := strconv.ParseUint(port, 10, 16); found && (err != nil || n == 0) {
		return cli.Usagef("-smtproute %q: its port is no number from 1 to 65535", route)
	}
	return nil
}

// open opens the control directory, and what is remembered of it.
func (s *switching) open(ctx context.Context) error {
	dir := s.c.cutover.qmail
	if dir == "" {
		if s.c.sourceRoot == "" || strings.Contains(s.c.sourceRoot, "://") {
			return cli.Usagef("-source-qmail is missing: the directory of the old host's qmail")
		}
		dir = filepath.Join(s.c.sourceRoot, "var/qmail")
	}
	if fi, err := os.Stat(filepath.Join(dir, "control")); err == nil && fi.IsDir() {
		dir = filepath.Join(dir, "control")
	}
	var err error
	if s.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if s.root, err = os.OpenRoot(dir); err != nil {
		return fmt.Errorf("the old host's control directory: %w", err)
	}
	s.close = append(s.close, s.root.Close)
	if s.old, err = qmailcontrol.LoadConfig(ctx, s.root); err != nil {
		return err
	}
	d, mem, err := s.c.openMemory("cutover "+s.dir, !s.c.dryRun)
	if err != nil {
		return err
	}
	s.mem = mem
	s.close = append(s.close, d.Close, mem.Close)
	s.store, err = mem.Store("plans")
	return err
}

func (s *switching) key() string { return "plan " + s.domain }

// run switches over.
func (s *switching) run(ctx context.Context) error {
	next, err := s.edit()
	if err != nil {
		return err
	}
	plan := qmailcontrol.Diff(s.old, next)
	s.names(ctx, len(plan) == 0)
	if len(plan) == 0 {
		s.env.Printf("%s passes the mail for %s on already: there is nothing to change.\n", s.dir, strings.Join(s.domains, ", "))
		return s.whitelist(ctx)
	}
	s.env.Printf("In %s:\n\n%s\n", s.dir, plan)
	if err := s.ask(ctx); err != nil {
		return err
	}
	if s.c.dryRun {
		s.env.Printf("Nothing was changed.\n")
		return s.whitelist(ctx)
	}
	if err := s.apply(ctx, plan); err != nil {
		return err
	}
	s.remind(plan, "switched over")
	return s.whitelist(ctx)
}

// edit makes the old host a relay for the domain, and checks that qmail would
// decide so.
func (s *switching) edit() (*qmailcontrol.Config, error) {
	c := s.old.Clone()
	for _, d := range s.domains {
		if err := s.editDomain(c, d); err != nil {
			return nil, err
		}
	}
	send, err := c.Send()
	if err != nil {
		return nil, err
	}
	remote, err := c.Remote()
	if err != nil {
		return nil, err
	}
	hosts, err := c.RcptHosts()
	if err != nil {
		return nil, err
	}
	for _, d := range s.domains {
		if t := send.Rewrite("x@" + d); t.Channel != qmailcontrol.Remote {
			return nil, fmt.Errorf("%s would still be local, by %s: it cannot be switched over here", d, t.Reason)
		}
		host, port, _ := strings.Cut(s.c.cutover.route, ":")
		if port == "" {
			port = strconv.Itoa(qmailcontrol.DefaultPort)
		}
		if r := remote.Route(d); r.How != qmailcontrol.ByRelay || !strings.EqualFold(r.Host, host) || strconv.Itoa(int(r.Port)) != port {
			return nil, fmt.Errorf("mail for %s would go to %s port %d and not to %s", d, r.Host, r.Port, s.c.cutover.route)
		}
		if ok, err := hosts.Allows("x@" + d); err != nil || !ok {
			return nil, errors.Join(err, fmt.Errorf("%s would be refused by the old host", d))
		}
	}
	return c, nil
}

// editDomain edits the lines of one domain.
func (s *switching) editDomain(c *qmailcontrol.Config, domain string) error {
	err := editLines(c, "locals", false, func(l *qmailcontrol.Lines) error {
		l.Remove(domain)
		return nil
	})
	if err != nil {
		return err
	}
	// Entries for single addresses of the domain would keep those here.
	own := func(_ int, text string) bool {
		key, _, found := strings.Cut(text, ":")
		if at := strings.LastIndexByte(key, '@'); at >= 0 {
			key = key[at+1:]
		}
		return found && !strings.HasPrefix(text, "#") && strings.EqualFold(key, domain)
	}
	exception := func(text string) bool { return strings.EqualFold(text, domain+":") }
	err = editLines(c, "virtualdomains", false, func(l *qmailcontrol.Lines) error {
		l.RemoveFunc(func(n int, text string) bool { return own(n, text) && !exception(text) })
		return nil
	})
	if err != nil {
		return err
	}
	if send, err := c.Send(); err == nil && send.Rewrite("x@"+domain).Reason == qmailcontrol.ByVirtualDomains {
		// A line for a whole suffix takes it: an empty value is an exception.
		if err := editLines(c, "virtualdomains", false, func(l *qmailcontrol.Lines) error { return l.AddPair(domain, "") }); err != nil {
			return err
		}
	}
	line := domain + ":" + s.c.cutover.route
	err = editLines(c, "smtproutes", true, func(l *qmailcontrol.Lines) error {
		kept := false
		l.RemoveFunc(func(n int, text string) bool {
			if own(n, text) && strings.EqualFold(strings.TrimRight(text, " \t"), line) && !kept {
				kept = true
				return false
			}
			key, _, _ := strings.Cut(text, ":")
			return own(n, text) && strings.EqualFold(key, domain)
		})
		if kept {
			return nil
		}
		return l.Add(line)
	})
	if err != nil {
		return err
	}
	hosts, err := c.RcptHosts()
	if err != nil {
		return err
	}
	if ok, err := hosts.Allows("x@" + domain); err != nil || ok {
		return err
	}
	return editLines(c, "rcpthosts", true, func(l *qmailcontrol.Lines) error { return l.Add(domain) })
}

// editLines edits a file; one that is missing is made only where make says so.
func editLines(c *qmailcontrol.Config, name string, create bool, edit func(l *qmailcontrol.Lines) error) error {
	l, err := c.Lines(name)
	if errors.Is(err, fs.ErrNotExist) {
		if !create {
			return nil
		}
		l, err = &qmailcontrol.Lines{}, nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	before := string(l.Bytes())
	if err := edit(l); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if string(l.Bytes()) == before {
		return nil
	}
	return c.Set(name, l)
}

var errRefused = errors.New("the new host does not take every address: nothing was changed")

// ask tries every address at the new host.
func (s *switching) ask(ctx context.Context) error {
	if s.dom == nil {
		s.env.Printf("No psa is given, so the new host was not asked for the addresses (probe does that).\n\n")
		if s.c.cutover.force || s.c.dryRun {
			return nil
		}
		return cli.Usagef("-source-db or -source-dump is missing, which tells the addresses that the new host must take; -force goes on without")
	}
	a, err := s.c.ask(ctx, s.c.cutover.route, s.domain, s.addresses())
	if err != nil {
		return err
	}
	if err := a.show(s.env, s.c.json, s.c.cutover.route); err != nil {
		return err
	}
	s.env.Printf("\n")
	if a.refused+a.unknown == 0 || s.c.cutover.force || s.c.dryRun {
		return nil
	}
	return fmt.Errorf("%w (-force does it all the same)", errRefused)
}

// apply notes the plan, so that undo knows it even if this run is killed, and
// carries it out.
func (s *switching) apply(ctx context.Context, plan qmailcontrol.Plan) error {
	var was qmailcontrol.Plan
	if _, err := s.store.Load(s.key(), &was); err != nil {
		return err
	}
	if err := s.store.Put(s.key(), merge(was, plan)); err != nil {
		return err
	}
	_, err := plan.Apply(ctx, s.root, &qmailcontrol.ApplyOptions{Backup: s.backup})
	return err
}

// backup keeps a file that is about to be replaced.
func (s *switching) backup(_ context.Context, c qmailcontrol.Change) error {
	o := state.Original{Path: filepath.Join(s.dir, c.Name), Missing: !c.Old.Exists, Mode: c.Old.Mode}
	if c.Old.Owner != nil {
		o.UID, o.GID = c.Old.Owner.UID, c.Old.Owner.GID
	}
	_, err := s.mem.Backup(o, c.Old.Text)
	return err
}

// merge adds a plan to one that was carried out before: each file as it was
// before the first, and as it is after the last.
func merge(was, now qmailcontrol.Plan) qmailcontrol.Plan {
	out := slices.Clone(was)
	for _, c := range now {
		i := slices.IndexFunc(out, func(o qmailcontrol.Change) bool { return o.Name == c.Name })
		if i < 0 {
			out = append(out, c)
			continue
		}
		out[i].New = c.New
	}
	return out
}

// undo takes back the lines that cutover changed. What others have changed in
// the files since stays.
func (s *switching) undo(ctx context.Context) error {
	var was qmailcontrol.Plan
	found, err := s.store.Load(s.key(), &was)
	if err != nil {
		return err
	}
	if !found {
		s.env.Printf("Nothing to take back: no cutover of %s is noted for %s.\n", s.domain, s.dir)
		return nil
	}
	next := s.old.Clone()
	for _, c := range was {
		if err := takeBack(next, c); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	plan := qmailcontrol.Diff(s.old, next)
	s.env.Printf("In %s:\n\n%s\n", s.dir, plan)
	if s.c.dryRun {
		s.env.Printf("Nothing was changed.\n")
		return nil
	}
	if _, err := plan.Apply(ctx, s.root, &qmailcontrol.ApplyOptions{Backup: s.backup}); err != nil {
		return err
	}
	if err := s.store.Append(state.Record{Key: s.key()}); err != nil {
		return err
	}
	s.remind(plan, "switched back")
	return nil
}

// takeBack reverses one change: the whole file if nobody has touched it since,
// else its lines.
func takeBack(c *qmailcontrol.Config, ch qmailcontrol.Change) error {
	e, there := c.Entry(ch.Name)
	if there == ch.New.Exists && e.Text == string(ch.New.Text) {
		if !ch.Old.Exists {
			_, err := c.Remove(ch.Name)
			return err
		}
		return c.SetText(ch.Name, string(ch.Old.Text))
	}
	if there == ch.Old.Exists && e.Text == string(ch.Old.Text) {
		return nil // it was not reached
	}
	return editLines(c, ch.Name, true, func(l *qmailcontrol.Lines) error {
		var text []string
		for i := range l.Len() {
			text = append(text, l.Text(i+1))
		}
		for e := range ch.Edits() {
			if e.Binary {
				return qmailcontrol.ErrChanged
			}
			if e.Added {
				left := 1 // of equal lines only one is ours
				l.RemoveFunc(func(_ int, t string) bool {
					if t == e.Text && left > 0 {
						left--
						return true
					}
					return false
				})
			} else if !slices.Contains(text, e.Text) {
				if err := l.InsertText(l.Len()+1, e.Text); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// remind says what the running qmail needs.
func (s *switching) remind(plan qmailcontrol.Plan, done string) {
	s.env.Printf("%s: %s.\n", strings.Join(s.domains, ", "), done)
	switch plan.Reload() {
	case qmailcontrol.ReloadHUP:
		s.env.Printf("Now send HUP to the old host's qmail-send, which reads locals and virtualdomains again:\n  svc -h /service/qmail-send    or    kill -HUP $(pidof qmail-send)\nUntil then it delivers as before. smtproutes and rcpthosts are read for each message.\n")
	case qmailcontrol.ReloadRestart:
		s.env.Printf("Now restart the old host's qmail:\n  svc -t /service/qmail-send    or    /etc/init.d/qmail restart\n")
	}
	if c, found := s.old.Entry("rejectnonexist"); found {
		if l, err := qmailcontrol.Parse([]byte(c.Text)); err == nil && l.Set().Has(s.domain) {
			s.env.Printf("%s stands in rejectnonexist: the old host refuses addresses that it does not have itself. One that is made on the new host only will be refused by the old one.\n", s.domain)
		}
	}
}

// names checks the DNS.
func (s *switching) names(ctx context.Context, switched bool) {
	if s.c.cutover.dns == "" {
		s.env.Printf("The DNS was not looked at: -dns SERVER does.\n")
		return
	}
	d := &dnsCheck{resolver: newResolver(s.c.cutover.dns), switched: switched}
	host, _, _ := strings.Cut(s.c.cutover.route, ":")
	var err error
	if d.hosts, err = d.find(ctx, host); err != nil {
		d.warn("new-host", host, fmt.Errorf("the new host's address is not known, so nothing is compared with it: %w", err), "")
	}
	for _, name := range s.domains {
		d.domain(ctx, name)
	}
	clients := []string(s.c.cutover.clients)
	if len(clients) == 0 {
		for _, n := range []string{"mail", "pop", "pop3", "imap", "smtp"} {
			clients = append(clients, n+"."+s.domain)
		}
	}
	for _, name := range clients {
		d.name(ctx, name, true)
	}
	s.env.Printf("The DNS, as %s has it:\n", d.server)
	for _, l := range d.lines {
		s.env.Printf("  %s\n", cli.Name(l))
	}
	if d.cached {
		s.env.Printf("  It is not the zone's own server: a TTL may be what is left of a longer one.\n")
	}
	enc := jsonl.NewEncoder(s.env.Stdout)
	for _, p := range d.probs {
		s.env.Printf("  WARNING: %s\n", p.String())
		if s.c.json {
			enc.Encode(jsonl.Problem(p))
		}
	}
	s.env.Printf("\n")
}

// whitelist prints the lines that let the old host in at the new one.
func (s *switching) whitelist(ctx context.Context) error {
	var list []netip.Addr
	for _, a := range s.c.cutover.old {
		ip, err := netip.ParseAddr(a)
		if err != nil {
			return cli.Usagef("-old-address %q is no address", a)
		}
		list = append(list, ip.Unmap())
	}
	if len(list) == 0 && s.c.cutover.dns != "" {
		if me, err := s.old.Lines("me"); err == nil {
			list, _ = newResolver(s.c.cutover.dns).find(ctx, me.First())
		}
	}
	if len(list) == 0 {
		s.env.Printf("Where the new host runs qpsmtpd, let the old one in: -old-address IP prints the lines.\n")
		return nil
	}
	s.env.Printf("Where the new host runs qpsmtpd, its plugin whitelist lets the old one in by these lines in config/whitelisthosts:\n")
	for _, l := range whitelistHosts(list) {
		s.env.Printf("  %s\n", l)
	}
	s.env.Printf("An entry is the beginning of an address there: 192.0.2.1 stands for 192.0.2.10 too.\n")
	return nil
}

// whitelistHosts are lines of qpsmtpd's config/whitelisthosts: an address as
// text, or its beginning (plugins/whitelist, check_host).
func whitelistHosts(list []netip.Addr) (lines []string) {
	for _, a := range list {
		lines = append(lines, a.String())
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}
