//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/plesk"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// accountConfig is what accounts is told besides.
type accountConfig struct {
	script    string
	run       bool
	direct    bool
	psa       bool
	qmail     string
	bin       string
	redirect  bool
	afterCopy bool
	clear     bool
}

func (c *config) accountFlags(fs *flag.FlagSet) {
	a := &c.accounts
	fs.StringVar(&a.script, "script", "", "write the calls of Plesk's own tools to `FILE`, and the passwords to FILE.secrets, for the new host")
	fs.BoolVar(&a.run, "run", false, "run Plesk's own tools, on this host")
	fs.BoolVar(&a.direct, "direct", false, "write users/assign, users/cdb, users/poppasswd and the control files of the new host's qmail, without Plesk's tools")
	fs.BoolVar(&a.psa, "write-psa", false, "with -direct: write the rows of the new host's psa too (-target-db, and -target-secret-key for passwords of type sym)")
	fs.StringVar(&a.qmail, "target-qmail", "", "`DIR` of the new host's qmail (default: var/qmail below -target-root)")
	fs.StringVar(&a.bin, "plesk-bin", "", "`DIR` of Plesk's tools on the new host (default /usr/local/psa/bin)")
	fs.BoolFunc("redirect", "the tools are those of Plesk 7.5 to 9: -redirect to one address, and groups", func(string) error {
		a.redirect = true
		return nil
	})
	fs.BoolVar(&a.afterCopy, "after-copy", false, "only the calls that need the mailboxes' files: autoresponders with attachments")
	fs.BoolVar(&a.clear, "need-clear", false, "the new host needs passwords in clear, for CRAM-MD5 and APOP")
}

// A making is a run of accounts.
type making struct {
	*move
	env     *cli.Env
	plan    *plesk.AccountPlan
	started time.Time
	rep     *report.Report
}

func doAccounts(ctx context.Context, c *config, env *cli.Env) (err error) {
	a := &c.accounts
	switch {
	case !c.source.given():
		return cli.Usagef("-source-db or -source-dump is missing: it tells the accounts")
	case a.psa && !a.direct:
		return cli.Usagef("-write-psa goes with -direct")
	case a.run && a.direct, a.script != "" && (a.run || a.direct):
		return cli.Usagef("-script, -run and -direct exclude each other")
	}
	m := &making{move: &move{c: c, domain: strings.ToLower(c.domain)}, env: env, started: c.now()}
	if err := m.readPsa(ctx); err != nil {
		return err
	}
	if c.sourceRoot != "" {
		if m.src, err = c.openSource(ctx); err != nil {
			return err
		}
	}
	if c.targetRoot != "" {
		if m.dst, err = c.openTarget(m.src); err != nil {
			m.Close()
			return err
		}
	}
	defer m.Close()
	if m.plan, err = m.accountPlan(ctx, false); err != nil {
		return err
	}
	m.problem(m.plan.All()...)
	m.rep = m.newReport("accounts", m.started)
	err = m.do(ctx)
	m.fill(m.rep)
	switch {
	case err != nil:
		m.rep.Outcome, m.rep.Why = report.Stopped, err.Error()
	case m.rep.Outcome == "" && len(m.rep.NotCarried) > 0:
		m.rep.Outcome = report.Partial
	case m.rep.Outcome == "":
		m.rep.Outcome = report.Done
	}
	if err := errors.Join(err, c.emit(env, m.rep)); err != nil {
		return err
	}
	return leftBehind(m.rep)
}

// do makes the accounts in the way that is asked for.
func (m *making) do(ctx context.Context) error {
	a := &m.c.accounts
	switch {
	case m.c.dryRun || !a.run && !a.direct && a.script == "":
		m.rep.Outcome = report.Planned
		m.rep.Accounts = accountRows(m.plan, report.ToMake)
		for c := range m.commands() {
			m.env.Printf("%s\n", strings.Join(c.Argv, " "))
		}
		return nil
	case a.script != "":
		m.rep.Accounts = accountRows(m.plan, report.ToMake)
		return m.script()
	case a.run:
		m.rep.Accounts = accountRows(m.plan, report.Made)
		return m.run(ctx)
	}
	m.rep.Accounts = accountRows(m.plan, report.Made)
	return m.direct(ctx)
}

// commands are the calls of Plesk's tools for what is to be created. What the
// tools cannot do becomes a problem, once.
func (m *making) commands() iter.Seq2[plesk.Command, error] {
	opts := &plesk.CommandOptions{Bin: m.c.accounts.bin}
	if m.c.accounts.redirect {
		opts.Tool = plesk.ToolRedirect
	}
	if m.dst != nil {
		opts.Mailnames = "/" + m.dst.mailnames
	}
	var list []plesk.Command
	held := 0
	for _, d := range m.plan.Domains {
		for _, a := range d.Accounts {
			if a.Action != plesk.AccountCreate {
				continue
			}
			commands, probs := plesk.Commands(d.Domain, a.Mailname, a.Password, opts)
			m.problem(probs...)
			for _, c := range commands {
				if c.AfterCopy != m.c.accounts.afterCopy {
					held++
					continue
				}
				list = append(list, c)
			}
		}
	}
	if held > 0 && !m.c.accounts.afterCopy {
		m.problem(qmailkit.Problem{Code: "accounts.after-copy", Severity: qmailkit.Info,
			Err: fmt.Errorf("%s the mailboxes' files first", cli.Plural(int64(held), "call needs|calls need")), Fix: "accounts -after-copy, when copy is done"})
	}
	return func(yield func(plesk.Command, error) bool) {
		for _, c := range list {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// script writes them down.
func (m *making) script() error {
	root, err := os.OpenRoot(filepath.Dir(m.c.accounts.script))
	if err != nil {
		return err
	}
	defer root.Close()
	name := filepath.Base(m.c.accounts.script)
	if err := plesk.WriteScript(root, name, m.commands(), nil); err != nil {
		return err
	}
	m.env.Printf("Written: %s and %s%s. On the new host, as root:\n  sh %s %s%s\n", m.c.accounts.script, m.c.accounts.script, plesk.SecretsSuffix, name, name, plesk.SecretsSuffix)
	return nil
}

// run calls the tools, without a shell. What has succeeded once is not called
// again.
func (m *making) run(ctx context.Context) error {
	d, mem, err := m.c.openMemory("accounts "+m.domain, true)
	if err != nil {
		return err
	}
	defer d.Close()
	defer mem.Close()
	done, err := mem.Store("commands")
	if err != nil {
		return err
	}
	for c := range m.commands() {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		key := commandKey(c)
		if _, ok := done.Get(key); ok {
			continue
		}
		cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
		cmd.Env = append(os.Environ(), c.Environ()...)
		var words bytes.Buffer
		cmd.Stdout, cmd.Stderr = &words, &words
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w: %s", c.Comment, err, bytes.TrimSpace(words.Bytes()))
		}
		if err := done.Append(state.Record{Key: key, Value: []byte("true")}); err != nil {
			return err
		}
	}
	return nil
}

// commandKey is the digest of a call, without its secrets.
func commandKey(c plesk.Command) string {
	sum := sha256.Sum256([]byte(strings.Join(c.Argv, "\x00")))
	return hex.EncodeToString(sum[:])
}

// direct writes the files of the new host's qmail, in an order in which nothing
// can bounce: who has an account, then that the domain is here.
func (m *making) direct(ctx context.Context) error {
	dir := m.c.accounts.qmail
	if dir == "" {
		if m.dst == nil {
			return cli.Usagef("-target-root or -target-qmail is missing: the new host")
		}
		dir = filepath.Join(m.dst.name, "var/qmail")
	}
	if m.dst == nil {
		return cli.Usagef("-target-root is missing: it tells whose the mail is to be")
	}
	if m.c.accounts.psa {
		if err := m.writePsa(ctx); err != nil {
			return err
		}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("the new host's qmail: %w", err)
	}
	defer root.Close()
	d, mem, err := m.c.openMemory("accounts "+abs, true)
	if err != nil {
		return err
	}
	defer d.Close()
	defer mem.Close()
	if err := m.users(root, abs, mem); err != nil {
		return err
	}
	return m.control(ctx, root, abs, mem)
}

// users writes who has an account.
func (m *making) users(root *os.Root, abs string, mem *state.Target) error {
	uid, gid, err := plesk.FindPopUser(m.dst.tree)
	if m.c.owner.Given {
		uid, gid, err = m.c.owner.UID, m.c.owner.GID, nil
	}
	if err != nil {
		return fmt.Errorf("the new host: %w (-owner UID:GID)", err)
	}
	dir, err := root.OpenRoot("users")
	if err != nil {
		return err
	}
	defer dir.Close()
	opts := &plesk.AssignOptions{User: "popuser", UID: uid, GID: gid, Mailnames: "/" + m.dst.mailnames}
	backup := func(name string, old []byte) error {
		o := state.Original{Path: filepath.Join(abs, "users", name), Missing: old == nil, Mode: 0o600}
		_, err := mem.Backup(o, old)
		return err
	}
	return plesk.UpdateUsers(dir, &plesk.UsersOptions{Backup: backup}, func(f *plesk.UsersFiles) error {
		for _, d := range m.plan.Domains {
			probs, err := plesk.AddAssign(f.Assign, d.Domain, d.TargetID, opts)
			m.problem(probs...)
			if err != nil {
				return err
			}
			for _, a := range d.Accounts {
				_, there := f.Poppasswd.Lookup(a.Mailname.Name + "@" + d.Domain.Name)
				if !a.Mailname.Mailbox || there || a.Action == plesk.AccountRefused || a.Password.IsZero() {
					continue // one that is there may have been changed since
				}
				probs, err := plesk.SetPop(f.Poppasswd, d.Domain.Name, a.Mailname.Name, a.Password)
				m.problem(probs...)
				if err != nil {
					m.lost("accounts.poppasswd", a.Mailname.Name+"@"+d.Domain.Name, err, "")
				}
			}
		}
		return nil
	})
}

// control makes the domain known to the new host's qmail.
func (m *making) control(ctx context.Context, root *os.Root, abs string, mem *state.Target) error {
	dir, err := root.OpenRoot("control")
	if err != nil {
		return err
	}
	defer dir.Close()
	old, err := qmailcontrol.LoadConfig(ctx, dir)
	if err != nil {
		return err
	}
	next := old.Clone()
	for _, d := range m.plan.Domains {
		probs, err := plesk.EditControl(next, d.Domain, d.TargetID)
		m.problem(probs...)
		if err != nil {
			return err
		}
	}
	plan := qmailcontrol.Diff(old, next)
	if len(plan) == 0 {
		return nil
	}
	m.env.Printf("In %s:\n\n%s\n", filepath.Join(abs, "control"), plan)
	_, err = plan.Apply(ctx, dir, &qmailcontrol.ApplyOptions{Backup: func(_ context.Context, c qmailcontrol.Change) error {
		o := state.Original{Path: filepath.Join(abs, "control", c.Name), Missing: !c.Old.Exists, Mode: c.Old.Mode}
		if c.Old.Owner != nil {
			o.UID, o.GID = c.Old.Owner.UID, c.Old.Owner.GID
		}
		_, err := mem.Backup(o, c.Old.Text)
		return err
	}})
	if err == nil && plan.Reload() == qmailcontrol.ReloadHUP {
		m.env.Printf("Now send HUP to the new host's qmail-send: it reads virtualdomains again.\n")
	}
	return err
}

// writePsa writes the rows of the new host's database.
func (m *making) writePsa(ctx context.Context) error {
	db, err := m.c.target.connect(ctx)
	if err != nil {
		return err
	}
	if db == nil {
		return cli.Usagef("-target-db is missing, which -write-psa needs")
	}
	defer db.Close()
	key, err := m.c.target.key()
	if err != nil {
		return err
	}
	w, err := plesk.WriteAccounts(ctx, db, m.plan, &plesk.WriteOptions{Key: key})
	if w != nil {
		m.problem(w.Problems...)
	}
	return err
}
