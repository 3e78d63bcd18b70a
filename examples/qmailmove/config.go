//go:build unix

package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/examples/internal/sftptree"
	"github.com/qmailkit/qmailkit/examples/internal/vpoptarget"
	"github.com/qmailkit/qmailkit/maildir"
)

// config is the command line.
type config struct {
	sourceRoot, targetRoot           string
	sourceMailnames, targetMailnames string
	keys, knownHosts                 cli.Strings
	source, target                   psaFlags
	domain                           string
	owner                            cli.Owner
	state                            string
	targetID                         uint64

	commit      maildir.CommitOptions
	keepDeleted bool

	followDeleted bool
	spam          bool
	utf8          bool

	hup      string // a process, or none
	accounts accountConfig
	probe    probeConfig
	cutover  cutoverConfig
	drain    drainConfig

	reports report.Files
	json    bool
	quiet   bool // no summary for people
	dryRun  bool
	now     func() time.Time
	// beforeChange is called before each control file is changed: tests stop
	// there.
	beforeChange func(name string) error
}

// action is what a subcommand does.
type action func(ctx context.Context, c *config, env *cli.Env) error

func newConfig() *config {
	return &config{source: psaFlags{side: "source"}, target: psaFlags{side: "target"}, probe: probeConfig{timeout: time.Minute}, now: time.Now}
}

// setup declares the flags that all subcommands have, and a subcommand's own.
func setup(do action, own func(c *config, fs *flag.FlagSet)) func(fs *flag.FlagSet) cli.Action {
	return func(fs *flag.FlagSet) cli.Action {
		c := newConfig()
		c.common(fs)
		own(c, fs)
		return func(ctx context.Context, env *cli.Env, args []string) error {
			if err := c.check(); err != nil {
				return err
			}
			return do(ctx, c, env)
		}
	}
}

// common are the flags that say what is moved from where to where.
func (c *config) common(fs *flag.FlagSet) {
	fs.StringVar(&c.sourceRoot, "source-root", "", "`ROOT` of the old host's file system, or sftp://USER@HOST[:PORT]/PATH")
	fs.StringVar(&c.sourceMailnames, "source-mailnames", "", "`DIR` below ROOT that holds the old host's mailboxes (default: as etc/psa/psa.conf says, else var/qmail/mailnames if there is a var/qmail, else ROOT itself)")
	fs.Var(&c.keys, "ssh-key", "`FILE` with a private key for SFTP, without a passphrase; may be repeated")
	fs.Var(&c.knownHosts, "known-hosts", "`FILE` with the keys of SFTP hosts; may be repeated (default: those of ssh)")
	c.source.declare(fs)
	fs.StringVar(&c.targetRoot, "target-root", "", "`ROOT` of the new host's file system")
	fs.StringVar(&c.targetMailnames, "target-mailnames", "", "`DIR` below ROOT that holds the new host's mailboxes (default: likewise, else as at the source)")
	c.target.declare(fs)
	fs.Uint64Var(&c.targetID, "target-id", 0, "`N` is the number of the domain at the target (psa.domains.id), where its psa is not given")
	fs.StringVar(&c.domain, "domain", "", "`D` is the domain to move")
	fs.Var(&c.owner, "owner", "`UID:GID` of the mail at the target (default: popuser, as etc/passwd there says, else the owner of its mailboxes; oneself for any user but root)")
	fs.StringVar(&c.state, "state", "", "`DIR` for what must be remembered (default: /var/lib/qmailkit for root, else the user's state directory)")
	fs.Var(&c.reports, "report", "write a report to `FILE.json` or FILE.html; may be repeated")
	fs.BoolVar(&c.json, "json", false, "print an object a line on stdout")
	fs.BoolVar(&c.dryRun, "n", false, "change nothing, say what would be done")
}

// hupFlag is for commands that edit a host's control files.
func (c *config) hupFlag(fs *flag.FlagSet, host string) {
	fs.StringVar(&c.hup, "hup", "none", "send HUP to the "+host+" host's qmail-send, process `PID|none`, when it has to read its files again; none prints a reminder")
}

// hupFunc sends it; nil is none.
func (c *config) hupFunc() (func(context.Context) error, error) {
	f := vpoptarget.Flags{Hup: c.hup}
	return f.HupFunc()
}

// copyFlags say how mail is written.
func (c *config) copyFlags(fs *flag.FlagSet) {
	fs.Func("sync", "`each|group|none`: sync each message, groups of about 4,000, or nothing (default group)", func(s string) (err error) {
		c.commit.Sync, err = maildir.ParseSyncPolicy(s)
		return err
	})
	fs.BoolVar(&c.commit.NoSyncFS, "no-syncfs", false, "sync file by file: for network and busy file systems")
	c.commit.Writers = 2
	fs.Func("workers", "how many messages are read and written at once, `N` from 1 to 64 (default 2; more help over SFTP)", func(s string) error {
		if _, err := fmt.Sscanf(s, "%d", &c.commit.Writers); err != nil || fmt.Sprint(c.commit.Writers) != s || c.commit.Writers < 1 || c.commit.Writers > 64 {
			return fmt.Errorf("not a number from 1 to 64")
		}
		return nil
	})
	fs.BoolVar(&c.keepDeleted, "keep-deleted", false, "keep at the target what has been deleted at the source since it was copied")
	fs.BoolVar(&c.followDeleted, "follow-deleted", false, "take it away even where drain is done: without this nothing is, since the old host may be emptied then")
	fs.BoolVar(&c.spam, "spamassassin", false, "carry .spamassassin too")
	fs.BoolVar(&c.utf8, "utf8-folders", false, "write folder names in UTF-8 in place of modified UTF-7: for a move to Courier 1.0 or later (Plesk Obsidian) from an earlier one")
}

func (c *config) check() error {
	if c.domain == "" {
		return cli.Usagef("-domain is missing")
	}
	if strings.ContainsAny(c.domain, "/\x00") || strings.HasPrefix(c.domain, ".") {
		return cli.Usagef("-domain %q is not a domain", c.domain)
	}
	if strings.HasPrefix(c.sourceRoot, sftptree.Scheme) {
		if _, _, _, err := sftptree.Place(c.sourceRoot); err != nil {
			return cli.Usagef("-source-root: %w", err)
		}
	}
	if _, err := c.hupFunc(); err != nil {
		return err
	}
	if err := c.source.check(); err != nil {
		return err
	}
	return c.target.check()
}

// needRoots is for the commands that look at both file systems.
func (c *config) needRoots() error {
	switch {
	case c.sourceRoot == "":
		return cli.Usagef("-source-root is missing: the old host's file system")
	case c.targetRoot == "":
		return cli.Usagef("-target-root is missing: the new host's file system")
	}
	return nil
}
