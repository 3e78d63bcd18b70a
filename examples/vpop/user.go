//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/vpopmail"
)

func delUserCommand() *cli.Command {
	return &cli.Command{
		Name: "deluser", Args: "ADDRESS", Min: 1, Max: 1,
		Short: "remove an account with its directory and all mail in it (vdeluser)",
		Setup: changing("deluser", "vdeluser", func(*flag.FlagSet) work { return delUser }),
	}
}

func delUser(ctx context.Context, j *job, args []string) error {
	if j.plan {
		u, err := j.store.User(ctx, args[0])
		if err != nil {
			return j.fail(args[0], err)
		}
		return j.would(args[0], "remove the account and all of %s", u.Dir)
	}
	res, err := j.store.DeleteUser(ctx, args[0])
	if res == nil {
		return j.fail(args[0], err)
	}
	err = errors.Join(err, j.problems(res.Problems...), j.tell(row{Item: jsonl.Bytes(args[0]), Outcome: "removed", Dir: jsonl.Bytes(res.User.Dir)}))
	if err == nil && res.Kept {
		err = cli.Partialf("the account is removed, its directory is not")
	}
	return err
}

func modUserCommand() *cli.Command {
	return &cli.Command{
		Name: "moduser", Args: "ADDRESS|DOMAIN", Min: 1, Max: 1,
		Short: "change an account, or all accounts of a domain (vmoduser)",
		Long: `The letters are vmoduser's; -x clears all flags before the others are set,
wherever it stands. With -e the clear password goes, in which vmoduser has
CRAM-MD5 and APOP go on believing.`,
		Setup: changing("moduser", "vmoduser", func(fs *flag.FlagSet) work {
			m := &modifyFlags{set: map[string]*bool{}}
			m.declare(fs)
			return m.run
		}),
	}
}

// modifyFlags are those of moduser.
type modifyFlags struct {
	m   vpopmail.Modify
	pw  passwordFlags
	set map[string]*bool // by letter
}

// flagWords say what each letter of vmoduser does.
var flagWords = []struct{ letter, words string }{
	{"d", "the user may not change the password"},
	{"p", "no POP"},
	{"s", "no SMTP AUTH"},
	{"w", "no webmail"},
	{"i", "no IMAP"},
	{"b", "all mail bounces"},
	{"o", "the domain's limits do not count"},
	{"r", "no relaying"},
	{"a", "grant qmailadmin administrator privileges"},
	{"S", "grant system administrator privileges (root only)"},
	{"E", "grant expert privileges (root only)"},
	{"f", "no spamassassin"},
	{"F", "delete spam"},
	{"m", "no maildrop"},
	{"u", "no dialup"},
	{"0", "set user flag 0"},
	{"1", "set user flag 1"},
	{"2", "set user flag 2"},
	{"3", "set user flag 3"},
}

func (m *modifyFlags) declare(fs *flag.FlagSet) {
	fs.StringVar(&m.m.Quota, "q", "", "`QUOTA`: 10M, 10485760S,1000C or NOQUOTA")
	fs.StringVar(&m.m.Gecos, "c", "", "`COMMENT`: the full name")
	fs.StringVar(&m.m.Dir, "D", "", "`DIR` of the account from now on, absolute; nothing is made or moved")
	m.pw.declare(fs, "e", "C")
	fs.BoolVar(&m.m.ClearFlags, "x", false, "clear all flags")
	for _, f := range flagWords {
		m.set[f.letter] = fs.Bool(f.letter, false, f.words)
	}
}

func (m *modifyFlags) run(ctx context.Context, j *job, args []string) error {
	for letter, set := range m.set {
		if *set {
			m.m.SetFlags |= flagOf(letter)
		}
	}
	given := m.pw.given()
	if !given && m.m == (vpopmail.Modify{}) {
		return cli.Usagef("no flag says what to change")
	}
	if err := errors.Join(m.pw.check(), checkQuota(j, m.m.Quota)); err != nil {
		return j.fail(args[0], err)
	}
	if j.plan {
		return m.wouldChange(ctx, j, args[0])
	}
	if given {
		w, err := m.pw.read(j, args[0])
		if err != nil {
			return err
		}
		m.m.Clear, m.m.Hash = w.clear, w.hash
	}
	res, err := j.store.ModifyUser(ctx, args[0], m.m)
	return j.changed(args[0], res, err)
}

// wouldChange is -n of moduser.
func (m *modifyFlags) wouldChange(ctx context.Context, j *job, target string) error {
	users, err := j.targets(ctx, target)
	if err != nil {
		return j.fail(target, err)
	}
	for _, u := range users {
		var what []string
		add := func(name string, differs bool) {
			if differs {
				what = append(what, name)
			}
		}
		quota, err := vpopmail.ParseQuota(m.m.Quota)
		add("quota", m.m.Quota != "" && err == nil && quota != u.Quota)
		add("comment", m.m.Gecos != "" && m.m.Gecos != u.Gecos)
		add("directory", m.m.Dir != "" && m.m.Dir != u.Dir)
		add("password", m.pw.given())
		flags := u.Flags
		if m.m.ClearFlags {
			flags = 0
		}
		add("flags", flags|m.m.SetFlags != u.Flags)
		if len(what) == 0 {
			what = []string{"nothing"}
		}
		if err := j.would(u.Name+"@"+domainOf(target), "change %s", strings.Join(what, ", ")); err != nil {
			return err
		}
	}
	return nil
}

// targets are the accounts that USER@DOMAIN or DOMAIN means.
func (j *job) targets(ctx context.Context, target string) ([]vpopmail.User, error) {
	if strings.Contains(target, "@") {
		u, err := j.store.User(ctx, target)
		return []vpopmail.User{u}, err
	}
	var list []vpopmail.User
	for u, err := range j.store.Users(ctx, target) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return nil, err
		}
		if err == nil {
			list = append(list, u)
		}
	}
	return list, nil
}

// domainOf is the domain in USER@DOMAIN or DOMAIN.
func domainOf(target string) string {
	if _, domain, ok := strings.Cut(target, "@"); ok {
		return domain
	}
	return target
}

// changed tells which accounts were changed.
func (j *job) changed(target string, res *vpopmail.ChangeResult, err error) error {
	if res == nil {
		return j.fail(target, err)
	}
	errs := []error{err, j.problems(res.Problems...)}
	for _, u := range res.Users {
		errs = append(errs, j.tell(row{Item: jsonl.Bytes(u.Name + "@" + domainOf(target)), Outcome: "changed"}))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, p := range res.Problems {
		if p.Severity == qmailkit.Error {
			return cli.Partialf("not every line of the records is an account")
		}
	}
	return nil
}

func passwdCommand() *cli.Command {
	return &cli.Command{
		Name: "passwd", Args: "ADDRESS", Min: 1, Max: 1,
		Short: "set an account's password (vpasswd, vchangepw)",
		Long: `The new password is the first line of standard input unless a flag says
otherwise. With -old it is the second, and the first is the old password, which
must be right: that is vchangepw. A user who may not change the password is
refused either way; moduser asks nobody.`,
		Setup: changing("passwd", "vpasswd", func(fs *flag.FlagSet) work {
			p := &passwdFlags{}
			fs.StringVar(&p.pw.clear, "password-file", "", "`FILE` whose first line is the password; - is standard input")
			p.pw.declareRandom(fs)
			fs.BoolVar(&p.old, "old", false, "ask for the old password too")
			return p.run
		}),
	}
}

// passwdFlags are those of passwd.
type passwdFlags struct {
	pw  passwordFlags
	old bool
}

func (p *passwdFlags) run(ctx context.Context, j *job, args []string) error {
	if _, _, err := address(args[0]); err != nil {
		return err
	}
	if j.plan {
		if _, err := j.store.User(ctx, args[0]); err != nil {
			return j.fail(args[0], err)
		}
		return j.would(args[0], "set the password")
	}
	var old qmailkit.Secret
	var err error
	if p.old {
		if old, err = j.ask("the old password of "+args[0], false); err != nil {
			return err
		}
	}
	w, err := p.pw.read(j, args[0])
	if err != nil {
		return err
	}
	if p.old {
		err = j.store.ChangePassword(ctx, args[0], old, w.clear)
	} else {
		err = j.store.SetPassword(ctx, args[0], w.clear)
	}
	if !made(err) {
		return j.fail(args[0], err)
	}
	r := row{Item: jsonl.Bytes(args[0]), Outcome: "changed"}
	if w.random {
		r.Password = jsonl.Bytes(string(w.clear))
	}
	return errors.Join(err, j.tell(r))
}

func setQuotaCommand() *cli.Command {
	return &cli.Command{
		Name: "setquota", Args: "ADDRESS|DOMAIN QUOTA", Min: 2, Max: 2,
		Short: "set the quota of an account, or of all accounts of a domain (vsetuserquota)",
		Long: `QUOTA is a size (10M, 2048K, 1000000S), a count of messages (50C), both with a
comma between, or NOQUOTA. Words that vpopmail would store as something that
nobody means, such as 10G, are refused.`,
		Setup: changing("setquota", "vsetuserquota", func(*flag.FlagSet) work { return setQuota }),
	}
}

func setQuota(ctx context.Context, j *job, args []string) error {
	if err := checkQuota(j, strings.ToUpper(args[1])); err != nil {
		return j.fail(args[0], err)
	}
	if !j.plan {
		res, err := j.store.SetQuota(ctx, args[0], args[1])
		return j.changed(args[0], res, err)
	}
	users, err := j.targets(ctx, args[0])
	if err != nil {
		return j.fail(args[0], err)
	}
	for _, u := range users {
		if err := j.would(u.Name+"@"+domainOf(args[0]), "change the quota %s to %s", u.Quota, args[1]); err != nil {
			return err
		}
	}
	return nil
}

func rebuildCommand() *cli.Command {
	return &cli.Command{
		Name: "rebuild", Args: "DOMAIN", Min: 1, Max: 1,
		Short: "make vpasswd.cdb anew from vpasswd (vmkpasswd)",
		Setup: changing("rebuild", "vmkpasswd", func(*flag.FlagSet) work {
			return func(ctx context.Context, j *job, args []string) error {
				if j.plan {
					if _, err := j.store.Domain(ctx, args[0]); err != nil {
						return j.fail(args[0], err)
					}
					return j.would(args[0], "make vpasswd.cdb anew")
				}
				if err := j.store.RebuildCDB(ctx, args[0]); err != nil {
					return j.fail(args[0], err)
				}
				return j.tell(row{Item: jsonl.Bytes(args[0]), Outcome: "rebuilt"})
			}
		}),
	}
}
