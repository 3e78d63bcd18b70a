package main

import (
	"context"
	"flag"
	"path"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/mailcopy"
	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/examples/internal/vpoptarget"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/sendmail"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// config is the command line.
type config struct {
	source string
	target vpoptarget.Flags

	domain  string
	aliases cli.Strings
	noAlias bool
	// allowPrograms enables the programs and files of aliases, allowUsers those
	// that users name.
	allowPrograms, allowUsers bool
	// noControl leaves routes and the rules about relaying; tcpSMTP is the file
	// that tcprules reads.
	noControl bool
	tcpSMTP   string

	policy     sendmail.Policy
	users      cli.Strings
	excludes   cli.Strings
	folders    cli.Strings
	quota      string
	postmaster string

	copy     mailcopy.Options
	commit   maildir.CommitOptions
	encoding maildir.Encoding
	uidl     mailcopy.UIDLStyle

	reports report.Files
	json    bool
	quiet   bool // no summary for people
	dryRun  bool
	now     func() time.Time
	hook    safefs.Hook // for tests: see target
}

// action is what a subcommand does.
type action func(ctx context.Context, c *config, env *cli.Env) error

// setup declares the flags, which all subcommands share: what a plan was made
// with, a run takes as it is.
func setup(do action, needsSource bool) func(fs *flag.FlagSet) cli.Action {
	return func(fs *flag.FlagSet) cli.Action {
		c := newConfig()
		c.flags(fs)
		return func(ctx context.Context, env *cli.Env, args []string) error {
			if err := c.check(needsSource); err != nil {
				return err
			}
			if c.dryRun && needsSource {
				return doPlan(ctx, c, env)
			}
			return do(ctx, c, env)
		}
	}
}

func newConfig() *config {
	c := &config{policy: *sendmail.DefaultPolicy(), now: time.Now}
	c.copy.LockWait = 30 * time.Second
	c.uidl, c.copy.UIDs = mailcopy.NoUIDL, true
	return c
}

func (c *config) flags(fs *flag.FlagSet) {
	fs.StringVar(&c.source, "source", "", "`ROOT` of the old host's file system")
	c.target.Declare(fs)
	fs.StringVar(&c.domain, "domain", "", "`D` is the domain that gets the accounts (default: the first in local-host-names)")
	fs.Var(&c.aliases, "alias-domain", "`D` becomes an alias of the domain; may be repeated (default: all others in local-host-names)")
	fs.BoolVar(&c.noAlias, "no-alias-domains", false, "make no alias domains")
	fs.BoolVar(&c.allowPrograms, "allow-programs", false, "enable the programs and files of aliases, which else are written as comments")
	fs.BoolVar(&c.allowUsers, "allow-user-programs", false, "enable those in .forward files and lists too: on the new host all run as vpopmail's user, who can read everybody's mail")
	fs.BoolVar(&c.noControl, "no-control", false, "leave qmail's smtproutes, badmailfrom and rcpthosts as they are, but for the domains that move: report mailertable, access and relay-domains")
	fs.StringVar(&c.tcpSMTP, "tcp-smtp", "", "`FILE` that tcprules makes tcpserver's database of, often /etc/tcp.smtp: who may connect and relay is written there (default: it is listed)")
	c.accountFlags(fs)
	c.mailFlags(fs)
	fs.Var(&c.reports, "report", "write a report to `FILE.json` or FILE.html; may be repeated")
	fs.BoolVar(&c.json, "json", false, "print an object a line on stdout")
	fs.BoolVar(&c.dryRun, "n", false, "change nothing: plan, or with undo say what it would take back")
}

func (c *config) accountFlags(fs *flag.FlagSet) {
	fs.Var(&c.users, "user", "only accounts whose name matches `PATTERN`, as in a shell; may be repeated")
	fs.Var(&c.excludes, "exclude", "no accounts whose name matches `PATTERN`; may be repeated")
	fs.IntVar(&c.policy.MinUID, "min-uid", c.policy.MinUID, "accounts with a smaller `UID` stay")
	fs.IntVar(&c.policy.MaxUID, "max-uid", c.policy.MaxUID, "accounts with a larger `UID` stay")
	fs.StringVar(&c.quota, "quota", "", "quota of each account, as vadduser -q takes it: `10485760S,1000C` (default none)")
	fs.StringVar(&c.postmaster, "postmaster-password", "", "`FILE` whose first line is the password of postmaster (default: nobody can log in as postmaster)")
}

func (c *config) mailFlags(fs *flag.FlagSet) {
	fs.Var(&c.folders, "folders", "`NAME` in each home directory that is or holds mail folders; may be repeated (default mbox, mail, Mail)")
	mailcopy.Flags(fs, &c.copy, &c.commit, &c.encoding, &c.uidl)
}

func (c *config) check(needsSource bool) error {
	c.policy.Include, c.policy.Exclude = c.users, c.excludes
	switch {
	case c.source == "" && needsSource:
		return cli.Usagef("-source is missing: the root of the old host's file system")
	case c.noAlias && len(c.aliases) > 0:
		return cli.Usagef("-no-alias-domains and -alias-domain exclude each other")
	}
	for _, p := range append(c.users[:len(c.users):len(c.users)], c.excludes...) {
		if _, err := path.Match(p, ""); err != nil {
			return cli.Usagef("pattern %q: %w", p, err)
		}
	}
	if c.quota != "" {
		if _, err := vpopmail.ParseQuota(c.quota); err != nil {
			return cli.Usagef("-quota: %w", err)
		}
	}
	return c.target.Check()
}
