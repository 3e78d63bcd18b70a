package plesk

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/qmailkit/qmailkit"
)

var (
	// ErrArgument says that a text cannot be handed to Plesk's tools.
	ErrArgument = errors.New("cannot be an argument of Plesk's tools")
	// ErrRefused says that Plesk's tools take no such password in clear.
	ErrRefused = errors.New("a password that Plesk's tools refuse")
)

// Tool is the form of Plesk's tools mail and autoresponder.
type Tool uint8

const (
	// ToolForwarding is that of Plesk 10 and later: -forwarding to any number
	// of addresses, one autoresponder for each name.
	ToolForwarding Tool = iota
	// ToolRedirect is that of Plesk 7.5 to 9: -redirect to one address, groups,
	// several autoresponders with conditions.
	ToolRedirect
)

// CommandOptions of Commands. The nil pointer is the zero value.
type CommandOptions struct {
	Tool Tool
	// Bin is the directory of the target's tools; "/usr/local/psa/bin" if
	// empty. On systems of the Debian kind it is "/opt/psa/bin".
	Bin string
	// Suffix ends the tools' names: ".sh" in Plesk 7.5.
	Suffix string
	// Update says that the name is there already and gets these settings.
	Update bool
	// Mailnames is the target's PLESK_MAILNAMES_D, below which attachments of
	// autoresponders will lie; "/var/qmail/mailnames" if empty.
	Mailnames string
	// Hash makes a hash of a clear password that the tool would refuse, so that
	// its owner can keep it. Nil leaves such names out, with a Problem.
	Hash func(clear qmailkit.Secret) (qmailkit.Secret, error)
}

func (o *CommandOptions) or() CommandOptions {
	out := CommandOptions{}
	if o != nil {
		out = *o
	}
	if out.Bin == "" {
		out.Bin = "/usr/local/psa/bin"
	}
	if out.Mailnames == "" {
		out.Mailnames = DefaultMailnames
	}
	return out
}

// A Command is one call of a tool of Plesk.
type Command struct {
	// Argv begins with the path of the program. It holds no secret.
	Argv []string
	// Env is what the program needs in its environment, which, unlike its
	// arguments, other users of the host cannot see.
	Env []EnvVar
	// Unless is a program with its arguments whose success says that the
	// command has been run before, and is to be left out: nil is none. It tells
	// a name that is there (exit 0) from one that is not.
	Unless []string
	// Comment says in one line what it is for.
	Comment string
	// AfterCopy says that the files of the mailbox must be there first.
	AfterCopy bool
}

// EnvVar is a secret variable of the environment.
type EnvVar struct {
	Name  string // PSA_PASSWORD or PSA_CRYPTED_PASSWORD
	Value qmailkit.Secret
}

// Environ returns the variables in the form of os.Environ, secrets in clear.
func (c Command) Environ() []string {
	var out []string
	for _, v := range c.Env {
		out = append(out, v.Name+"="+string(v.Value))
	}
	return out
}

// Rules of Plesk's tool mail for passwords in clear (usage of Plesk 7.5): at
// least 5 characters, without the name of the account.
const minPassword = 5

// RefusedPassword says why Plesk's tool would refuse a clear password for a
// name, with an error that wraps ErrRefused; nil is that it would not. Newer versions have further rules, which the
// administrator sets (Security Policy), and which nobody can know here.
func RefusedPassword(name string, clear qmailkit.Secret) error {
	switch {
	case utf8.RuneCountInString(string(clear)) < minPassword:
		return fmt.Errorf("%w: fewer than %d characters", ErrRefused, minPassword)
	case name != "" && strings.Contains(strings.ToLower(string(clear)), strings.ToLower(name)):
		return fmt.Errorf("%w: it contains the name of the account", ErrRefused)
	}
	return nil
}

// commander collects the commands of one mail name.
type commander struct {
	o     CommandOptions
	d     *Domain
	m     *Mailname
	addr  string
	probs []qmailkit.Problem
}

func (c *commander) problem(code string, s qmailkit.Severity, fix, format string, args ...any) {
	c.probs = append(c.probs, qmailkit.Problem{Code: "plesk." + code, Severity: s, Path: c.addr, Err: fmt.Errorf(format, args...), Fix: fix})
}

// Commands returns the calls of Plesk's own tools that make a mail name on the
// target, with its aliases, forwards, group members and autoresponders. The
// password is handed over in the environment: PSA_PASSWORD in clear,
// PSA_CRYPTED_PASSWORD for a hash (docs.plesk.com, command line, 37894). Quotas
// are in KB there, rounded up from the bytes of psa; -1 is none.
//
// Run in their order, and again after a failure, they have the same result: see
// Command.Unless. What the tools cannot do, or would refuse, is a Problem. If there is one of
// Severity Error about the name or the password there are no commands at all.
func Commands(d *Domain, m *Mailname, password Credential, opts *CommandOptions) ([]Command, []qmailkit.Problem) {
	c := &commander{o: opts.or(), d: d, m: m, addr: m.Name + "@" + d.Name}
	if err := checkArg(c.addr); err != nil {
		c.problem("argument", qmailkit.Error, "make it by hand", "%q: %w", c.addr, err)
		return nil, c.probs
	}
	env, ok := c.password(password)
	if !ok {
		return nil, c.probs
	}
	argv := []string{c.program("mail"), "--create", c.addr, "-mailbox", yesNo(m.Mailbox)}
	comment := "make " + c.addr
	unless := []string{argv[0], "--info", c.addr}
	if c.o.Update {
		argv[1], comment, unless = "--update", "change "+c.addr, nil
	}
	if len(env) > 0 {
		argv = append(argv, "-passwd", "")
	}
	if m.Mailbox {
		argv = append(argv, "-mbox_quota", fmt.Sprint(c.quota()))
	}
	if names := c.list("alias", m.Aliases); names != "" {
		argv = append(argv, "-aliases", "add:"+names)
	}
	argv = append(argv, c.forwards()...)
	if m.NoDelivery {
		c.problem("delivery-off", qmailkit.Warning, "switch delivery off in the panel", "%s: delivery to the mailbox is switched off, for which the tool has no option", c.addr)
	}
	for _, x := range []struct{ what, text string }{{"the description", m.Description}, {"the address outside", m.External}} {
		if x.text != "" {
			c.problem("panel-only", qmailkit.Info, "set it in the panel", "%s: %s %q is not handed over", c.addr, x.what, x.text)
		}
	}
	out := []Command{{Argv: argv, Env: env, Unless: unless, Comment: comment}}
	return append(out, c.responders()...), c.probs
}

func (c *commander) program(name string) string { return path.Join(c.o.Bin, name+c.o.Suffix) }

func yesNo(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// password chooses the variable. A name without a mailbox has no login, and
// needs no password.
func (c *commander) password(p Credential) (env []EnvVar, ok bool) {
	if !c.m.Mailbox {
		return nil, true
	}
	if strings.IndexByte(string(p.Clear)+string(p.Hash), 0) >= 0 {
		c.problem("password-refused", qmailkit.Error, "set a new password", "%s: the password holds a NUL, which no environment can", c.addr)
		return nil, false
	}
	switch {
	case p.Clear != "":
		refused := RefusedPassword(c.m.Name, p.Clear)
		if refused == nil && !utf8.ValidString(string(p.Clear)) {
			refused = fmt.Errorf("%w: not UTF-8", ErrRefused)
		}
		if refused == nil {
			return []EnvVar{{"PSA_PASSWORD", p.Clear}}, true
		}
		if c.o.Hash == nil {
			c.problem("password-refused", qmailkit.Error, "set a new password, or hand over a hash", "%s: %w", c.addr, refused)
			return nil, false
		}
		hash, err := c.o.Hash(p.Clear)
		if err != nil {
			c.problem("password-refused", qmailkit.Error, "set a new password", "%s: %w; and no hash: %w", c.addr, refused, err)
			return nil, false
		}
		c.problem("password-hashed", qmailkit.Warning, "", "%s: %w; it is handed over as a hash, with which CRAM-MD5 and APOP do not work", c.addr, refused)
		return []EnvVar{{"PSA_CRYPTED_PASSWORD", hash}}, true
	case p.Hash != "":
		return []EnvVar{{"PSA_CRYPTED_PASSWORD", p.Hash}}, true
	}
	c.problem("no-password", qmailkit.Error, "set a new password", "%s: %w", c.addr, ErrNoPassword)
	return nil, false
}

// quota is in KB. A quota of 0 is none, in a maildirsize and for Plesk's own
// program for backups; to the tool it could be a mailbox that takes nothing.
func (c *commander) quota() int64 {
	if c.m.Quota == 0 {
		return -1
	}
	return QuotaKB(c.m.Quota)
}

// QuotaKB makes of mail.mbox_quota, which is in bytes, what Plesk's tool takes:
// KB, rounded up. Negative numbers, which are no quota, become -1.
func QuotaKB(bytes int64) int64 {
	if bytes < 0 {
		return -1
	}
	kb := bytes / 1024
	if bytes%1024 != 0 {
		kb++
	}
	return kb
}

// checkArg refuses what no program, or not Plesk's, can be given.
func checkArg(s string) error {
	switch {
	case strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("%w: NUL", ErrArgument)
	case !utf8.ValidString(s):
		return fmt.Errorf("%w: not UTF-8", ErrArgument)
	case strings.HasPrefix(s, "-"):
		return fmt.Errorf("%w: it would be taken for an option", ErrArgument)
	}
	return nil
}

// list joins the items of an option whose values are parted by commas. Items
// that cannot stand there are reported and left out.
func (c *commander) list(kind string, items []string) string {
	var ok []string
	for _, s := range items {
		err := checkArg(s)
		if err == nil && strings.Contains(s, ",") {
			err = fmt.Errorf("%w: a comma would part it", ErrArgument)
		}
		if err != nil {
			c.problem("argument", qmailkit.Error, "add it in the panel", "%s: %s %q is left out: %w", c.addr, kind, s, err)
			continue
		}
		if !slices.Contains(ok, s) {
			ok = append(ok, s)
		}
	}
	return strings.Join(ok, ",")
}

// forwards are the options for forwards and groups.
func (c *commander) forwards() []string {
	to := c.list("forward to", c.m.Forwards)
	if c.o.Tool == ToolForwarding {
		if to == "" {
			return nil
		}
		if c.m.Group && len(c.m.Forwards) > 1 { // in a new psa any forward is a group
			c.problem("group-forwards", qmailkit.Info, "", "%s: the members of the group become forwards, to which mail goes as before", c.addr)
		}
		return []string{"-forwarding", "true", "-forwarding-addresses", "add:" + to}
	}
	switch {
	case to == "" && !c.m.Group:
		return nil
	case c.m.Group || strings.Contains(to, ","):
		if !c.m.Group {
			c.problem("forwards-group", qmailkit.Info, "", "%s: there is room for one forward, so that they become a group", c.addr)
		}
		argv := []string{"-group", "true"}
		if to != "" {
			argv = append(argv, "-groupmem", "add:"+to)
		}
		return argv
	}
	return []string{"-redirect", "true", "-rediraddr", to}
}
