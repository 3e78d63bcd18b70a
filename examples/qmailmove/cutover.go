//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
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
	c.hupFlag(fs, "old")
	c.smtpFlags(fs)
}

// A switching is a cutover under way.
type switching struct {
	*move
	env     *cli.Env
	book    *controlBook // of the old host
	old     *qmailcontrol.Config
	domains []string
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

// controlDir is the control directory of the old host.
func (c *config) controlDir() (string, error) {
	dir := c.cutover.qmail
	if dir == "" {
		if c.sourceRoot == "" || strings.Contains(c.sourceRoot, "://") {
			return "", cli.Usagef("-source-qmail is missing: the directory of the old host's qmail")
		}
		dir = filepath.Join(c.sourceRoot, "var/qmail")
	}
	if fi, err := os.Stat(filepath.Join(dir, "control")); err == nil && fi.IsDir() {
		dir = filepath.Join(dir, "control")
	}
	return filepath.Abs(dir)
}

// open opens the control directory, and what is remembered of it.
func (s *switching) open(ctx context.Context) error {
	dir, err := s.c.controlDir()
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("the old host's control directory: %w", err)
	}
	s.close = append(s.close, root.Close)
	if s.old, err = qmailcontrol.LoadConfig(ctx, root); err != nil {
		return err
	}
	d, mem, err := s.c.openMemory(cutoverID(dir), !s.c.dryRun)
	if err != nil {
		return err
	}
	s.close = append(s.close, d.Close, mem.Close)
	store, err := mem.Store(planStore)
	s.book = &controlBook{root: root, dir: dir, mem: mem, store: store, key: planKey(s.domain), before: s.c.beforeChange, remind: s.remindHUP}
	if err == nil {
		s.book.hup, err = s.c.hupFunc()
	}
	return err
}

// cutoverID names the state of an old host's control directory.
func cutoverID(dir string) string { return "cutover " + dir }

// planStore is where edits of control directories are noted, by planKey.
const planStore = "plans"

func planKey(domain string) string { return "plan " + domain }

// run switches over.
func (s *switching) run(ctx context.Context) error {
	next, err := s.edit()
	if err != nil {
		return err
	}
	plan := routeTo(qmailcontrol.Diff(s.old, next), true)
	s.names(ctx, len(plan) == 0)
	s.stays()
	if len(plan) == 0 {
		s.env.Printf("%s passes the mail for %s on already: there is nothing to change.\n", s.book.dir, strings.Join(s.domains, ", "))
		if !s.c.dryRun {
			if err := s.book.apply(ctx, nil); err != nil { // a run that was killed may not have sent HUP
				return err
			}
		}
		return s.whitelist(ctx)
	}
	s.env.Printf("In %s:\n\n%s\n", s.book.dir, plan)
	if err := s.ask(ctx); err != nil {
		return err
	}
	if s.c.dryRun {
		s.env.Printf("Nothing was changed.\n")
		return s.whitelist(ctx)
	}
	if err := s.book.apply(ctx, plan); err != nil {
		return err
	}
	s.told(plan, "switched over")
	return s.whitelist(ctx)
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
	if err := s.itself(a.greeting); err != nil && !s.c.cutover.force {
		return err
	}
	if a.refused+a.unknown == 0 || s.c.cutover.force || s.c.dryRun {
		return nil
	}
	return fmt.Errorf("%w (-force does it all the same)", errRefused)
}

var errItself = errors.New("the mail would go round in a circle")

// itself says whether the host that was asked is the old one, going by the
// name with which it greets.
func (s *switching) itself(greeting string) error {
	name, _, _ := strings.Cut(greeting, " ")
	for _, file := range []string{"smtpgreeting", "me"} {
		l, err := s.old.Lines(file)
		if err != nil {
			continue // it need not be there
		}
		if own, _, _ := strings.Cut(l.First(), " "); own != "" && strings.EqualFold(own, name) {
			return fmt.Errorf("%w: %s greets as %s, as the old host does by its control/%s (-force does it all the same)", errItself, s.c.cutover.route, own, file)
		}
	}
	return nil
}

// undo takes back the lines that cutover changed. The route to the new host goes
// last, when qmail-send knows that the domain is here again: without it, mail for
// the domain that is remote for a qmail-send which has not read the files yet
// would come back to this host, and bounce. Until then it does no harm.
func (s *switching) undo(ctx context.Context) error {
	plan, found, err := s.book.reverse(s.old)
	if err != nil {
		return err
	}
	if !found {
		s.env.Printf("Nothing to take back: no cutover of %s is noted for %s.\n", s.domain, s.book.dir)
		return nil
	}
	plan = routeTo(plan, false)
	s.env.Printf("In %s:\n\n%s\n", s.book.dir, plan)
	if s.c.dryRun {
		s.env.Printf("Nothing was changed.\n")
		return nil
	}
	if err := s.book.answered(); err != nil {
		return err
	}
	route := len(plan)
	if route > 0 && plan[route-1].Name == "smtproutes" {
		route--
	}
	if err := s.book.change(ctx, plan[:route]); err != nil {
		return err
	}
	known, err := s.book.reload(ctx)
	if err != nil {
		return err
	}
	if !known && route < len(plan) {
		s.env.Printf("Then run cutover -undo again: it takes the route in smtproutes away, which has to stay until qmail-send has read the files.\n")
		return nil
	}
	if err := s.book.change(ctx, plan[route:]); err != nil {
		return err
	}
	if err := s.book.forget(); err != nil {
		return err
	}
	s.told(plan, "switched back")
	s.env.Printf("Mail for it that still waits in the old host's queue for the new one goes where the DNS says from now on.\n")
	return nil
}
