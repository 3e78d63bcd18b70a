package sendmail

import (
	"fmt"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// A state is what became of a recipient (sendmail.h: QS_*).
type state uint8

const (
	stateOK state = iota
	stateBad
	stateTold // refused, and the reason is told by an address that it leads to
	stateDead // from here on there is no delivery
	stateExpanded
	stateReplaced
	stateIncluded
	stateDuplicate
)

func (s state) dead() bool { return s >= stateDead }

// Mailers that Sendmail has built in.
const (
	localMailer   = "local"
	progMailer    = "prog"
	fileMailer    = "*file*"
	errorMailer   = "*error*"
	includeMailer = "*include*"
)

// A recipient is an address on its way (sendmail.h: ADDRESS).
type recipient struct {
	address            string // as it was given
	mailer, host, user string
	mailerFlags        string
	state              state
	primary, checked   bool // QPRIMARY, QRCPTOK
	notRemote, selfRef bool
	badShell, unsafe   bool
	aliased            bool // an alias stands for it
	hasUID             bool
	uid, gid           int
	shellUser          string // for messages
	account            *Account
	from               *recipient // that led here
	step               *Step      // and how
	owner              string
	status, text       string
	code               int
}

func (r *recipient) has(flag string) bool { return strings.Contains(r.mailerFlags, flag) }

// fail makes a recipient one that mail is sent back for.
func (r *recipient) fail(code int, status, format string, args ...any) {
	r.state, r.code, r.status, r.text = stateBad, code, status, fmt.Sprintf(format, args...)
}

// control is the user in whose name programs run and lists are read
// (getctladdr): whose .forward leads here, or who owns the list that does. An
// alias on the way takes it away, as was measured.
func (r *recipient) control() *recipient {
	for ; r != nil; r = r.from {
		if r.hasUID {
			return r
		}
		if r.aliased {
			return nil
		}
	}
	return nil
}

// recipient expands a recipient, or puts it into the queue (recipient.c).
func (e *expansion) recipient(a *recipient, level int) {
	if e.stop() {
		return
	}
	a.primary = a.primary || level == 0
	if level > e.levels {
		a.fail(554, "5.4.6", "aliasing/forwarding loop broken (%d aliases deep; %d max)", level, e.levels)
		e.errors = append(e.errors, a) // and not in the queue, where it would hide a shorter way
		if a.from != nil {
			a.from.state = stateTold
		}
		return
	}
	name := unquote(a.user)
	quoted := strings.Contains(a.user, `\`)
	if a.mailer == progMailer {
		e.allowed(a, "programs")
	}
	for _, q := range e.queue {
		if !same(q, a) || !q.checked && q.primary {
			continue
		}
		switch {
		case !q.primary:
			if a.state.dead() {
				q.state = stateDuplicate
			}
		case q.selfRef:
			q.state = a.state
		}
		if a.state == stateBad {
			e.errors = append(e.errors, a) // refused before it was found to be a duplicate
		}
		e.done(a, level)
		return
	}
	e.queue = append(e.queue, a)
	if a.state == stateOK {
		e.expandOne(a, name, quoted, level)
	}
	if a.from == nil && a.state.dead() && !slices.ContainsFunc(e.queue, func(q *recipient) bool { return !q.state.dead() }) {
		a.fail(554, "5.4.6", "aliasing/forwarding loop broken")
		e.problem(place{path: e.x.conf.path}, qmailkit.Error, "alias-loop", "%.80q leads back to itself", a.address)
	}
	e.done(a, level)
}

// done marks what counts when the same address comes again.
func (e *expansion) done(a *recipient, level int) {
	if level == 0 {
		var only *recipient
		n := 0
		for _, q := range e.queue {
			if q.state == stateOK {
				only = q
				n++
			}
		}
		if n == 1 {
			only.primary = true
		}
	}
	a.checked = true
}

// allowed refuses programs and files where nobody may name them.
func (e *expansion) allowed(a *recipient, what string) {
	switch f := a.from; {
	case f == nil:
		a.fail(550, "5.7.1", "Cannot mail directly to %s", what)
	case f.badShell && f.shellUser == "":
		a.fail(550, "5.7.1", "UID %d is an unknown user: cannot mail to %s", f.uid, what)
	case f.badShell:
		a.fail(550, "5.7.1", "User %s@%s doesn't have a valid shell for mailing to %s", f.shellUser, e.x.conf.macro("j"), what)
	case f.unsafe:
		a.fail(550, "5.7.1", "Address %s is unsafe for mailing to %s", f.address, what)
	}
}

// expandOne does what a recipient's mailer asks for: lists, aliases, ruleset 5,
// the .forward of a user.
func (e *expansion) expandOne(a *recipient, name string, quoted bool, level int) {
	for fuzzy := 0; ; {
		switch a.mailer {
		case includeMailer:
			e.includeFile(a, level)
		case fileMailer:
			e.allowed(a, "files")
		}
		if !quoted && a.state == stateOK && a.has("A") {
			e.alias(a, level)
		}
		if a.has("5") && !a.notRemote && a.state == stateOK {
			e.ruleset5(a, level+1)
		}
		if a.state != stateOK || !a.has("w") {
			return
		}
		account, isFuzzy := e.x.findUser(name)
		if account == nil {
			a.fail(550, "5.1.1", "User unknown")
			return
		}
		if isFuzzy {
			a.user, name = account.Name, account.Name
			if fuzzy++; fuzzy > 3 {
				a.fail(554, "5.4.6", "aliasing/forwarding loop for %s broken", name)
				return
			}
			continue
		}
		a.account, a.uid, a.gid, a.hasUID, a.shellUser = account, account.UID, account.GID, true, account.Name
		a.badShell = !e.x.shellOK(account.Shell)
		if !quoted {
			e.forward(a, level)
		}
		return
	}
}

// alias looks a recipient up in the alias files (alias.c:alias).
func (e *expansion) alias(a *recipient, level int) {
	entry := e.x.alias(a.user)
	if entry == nil {
		return
	}
	a.selfRef, a.aliased = false, true
	a.state = stateExpanded
	e.list(entry.Text, a, level+1, func() *Step { return &Step{"alias", entry.Name, entry.Path, entry.Line} })
	if a.selfRef && a.state == stateExpanded {
		a.state = stateOK
	}
	owner := "owner-" + a.user
	if strings.HasPrefix(a.user, "owner-") || len(a.user) > maxAddress {
		owner = "owner-owner"
	}
	if o := e.x.alias(owner); o != nil {
		a.owner = o.Text
		if strings.ContainsAny(o.Text, `,:/|"`) {
			a.owner = owner
		}
	}
}

// ruleset5 lets the rules send a local user elsewhere (parseaddr.c:maplocaluser).
func (e *expansion) ruleset5(a *recipient, level int) {
	toks, _, said := e.x.conf.scanner().scan(a.user, 0)
	for _, words := range said {
		e.complain(a, complaint{553, "5.1.3", words})
	}
	if len(toks) == 0 {
		return
	}
	e.macros["h"], e.macros["u"], e.macros["z"] = a.host, a.user, ""
	m := e.machine()
	toks, _ = m.rewrite(toks, "5", 0)
	e.spent(m)
	for _, words := range m.words {
		e.complain(a, complaint{554, "5.3.5", words})
	}
	if m.steps < 0 {
		a.fail(554, "5.3.5", "%s", errRules)
		return
	}
	if len(toks) == 0 || toks[0] != tokMailer {
		return
	}
	b := &recipient{address: a.address, from: a, step: &Step{Kind: "rules", Name: a.user, Path: e.x.conf.path}, primary: a.primary}
	e.build(b, toks)
	if b.state == stateOK && same(a, b) {
		return
	}
	a.state = stateReplaced
	e.recipient(b, level)
}
