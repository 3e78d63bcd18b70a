package sendmail

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// A state is what became of a recipient (sendmail.h: QS_*).
type state uint8

const (
	stateOK state = iota
	stateBad
	stateQueue
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

func (r *recipient) flags() string { return r.mailerFlags }

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

// Bounds of one expansion.
const (
	maxRecipients = 10_000
	maxLevels     = 50
	maxReads      = 2_000 // .forward files and lists
)

// An expansion is the work on one address.
type expansion struct {
	x        *Expander
	ctx      context.Context
	queue    []*recipient
	errors   []*recipient // what could not be parsed
	problems []qmailkit.Problem
	levels   int // MaxAliasRecursion
	reads    int
	steps    int
	full     bool
	tooDeep  bool  // MaxAliasRecursion was reached
	err      error // of ctx, or of a read
}

func (x *Expander) expansion(ctx context.Context) *expansion {
	e := &expansion{x: x, ctx: ctx, levels: 10, steps: 20 * maxSteps}
	if n, err := strconv.Atoi(x.conf.options["maxaliasrecursion"]); err == nil {
		e.levels = min(max(n, 0), maxLevels)
	}
	return e
}

func (e *expansion) problem(at place, sev qmailkit.Severity, code, format string, args ...any) {
	p := at.problem(sev, code, format, args...)
	for _, q := range e.problems {
		if q.String() == p.String() {
			return
		}
	}
	e.problems = append(e.problems, p)
}

// Expand says where mail to an address is delivered in the end: what
// "sendmail -bv" says, without a name server, and with the way there. The
// address is one that a command line or an SMTP client could give, with or
// without a domain.
//
// Loops, files that are refused and what cannot be read are errors among the
// Deliveries, Problems, or both. The error is one of ctx or of a file that
// could not be read to its end.
func (x *Expander) Expand(ctx context.Context, address string) (*Expansion, error) {
	e := x.expansion(ctx)
	r, _, err := e.parse(address, 0)
	if r != nil {
		e.recipient(r, 0)
	}
	if err != nil {
		bad := &recipient{address: address}
		bad.fail(553, "5.1.3", "%s", sentence(err))
		e.errors = append(e.errors, bad)
	}
	if e.err != nil {
		return nil, e.err
	}
	out := &Expansion{Address: address, Problems: e.problems}
	for _, r := range slices.Concat(e.errors, e.queue) {
		if !r.state.dead() {
			out.Deliveries = append(out.Deliveries, e.delivery(r))
		}
	}
	return out, nil
}

// parse makes a recipient of the first address in text (parseaddr.c). It may
// be there beside an error, and is nil where there is no address.
func (e *expansion) parse(text string, delim byte) (*recipient, int, error) {
	s := e.x.conf.scanner()
	toks, used, bad := s.scan(text, delim)
	if len(toks) == 0 {
		return nil, used, bad
	}
	r := &recipient{address: trimBlanks(text[:used])}
	if delim != 0 && used > 0 && text[used-1] == delim {
		r.address = trimBlanks(text[:used-1])
	}
	if len(r.address) > 8*maxAddress {
		r.fail(553, "5.1.3", "Address too long")
		return r, used, nil
	}
	m := e.machine(map[string]string{"addr_type": "e r"})
	for _, set := range []string{"3", "0"} {
		var err error
		if toks, err = m.rewrite(toks, set, 0); err != nil {
			r.fail(554, "5.3.5", "%s", err)
			return r, used, bad
		}
	}
	e.steps -= maxSteps - m.steps
	e.build(r, toks)
	return r, used, bad
}

func (e *expansion) machine(macros map[string]string) *machine {
	return &machine{conf: e.x.conf, maps: e.x.lookup, macros: macros, steps: min(maxSteps, e.steps)}
}

// build reads mailer, host and user out of the result of the rules
// (parseaddr.c:buildaddr).
func (e *expansion) build(r *recipient, toks []string) {
	s := e.x.conf.scanner()
	if len(toks) < 2 || toks[0] != tokMailer {
		r.fail(554, "5.3.5", "buildaddr: no mailer in parsed address")
		return
	}
	mailerName, rest := lower(toks[1]), toks[2:]
	var host, user []string
	if len(rest) > 0 && rest[0] == tokHost {
		end := slices.Index(rest, tokUser)
		if end < 0 {
			end = len(rest)
		}
		host, rest = rest[1:end], rest[end:]
	}
	if len(rest) > 0 && rest[0] == tokUser {
		user = rest[1:]
	}
	if mailerName == "error" {
		e.buildError(r, s.join(host, 0), s.join(user, ' '))
		return
	}
	if len(user) > 0 && user[0] == "@" {
		user, r.notRemote = user[1:], true
	}
	m, ok := e.x.conf.mailers[mailerName]
	if !ok {
		r.fail(554, "5.3.5", "buildaddr: unknown mailer %s", mailerName)
		return
	}
	r.mailer, r.mailerFlags, r.host = mailerName, m.flags, s.join(host, 0)
	if len(user) > 0 {
		up := strings.TrimPrefix(user[0], `"`)
		switch {
		case r.has("|") && strings.HasPrefix(up, "|"):
			r.mailer = progMailer
			m = e.x.conf.mailers[progMailer]
			r.mailerFlags = m.flags
		case r.has("/") && strings.HasPrefix(up, "/"):
			r.mailer, m, r.mailerFlags = fileMailer, mailer{}, "u"
		case r.has(":") && strings.HasPrefix(up, ":"):
			text := strings.TrimPrefix(s.join(user, 0), `"`)
			if len(text) >= len(includePrefix) && lower(text[:len(includePrefix)]) == includePrefix {
				r.mailer, m, r.mailerFlags = includeMailer, mailer{}, "u"
				user = []string{trimBlanks(strings.TrimSuffix(text[len(includePrefix):], `"`))}
			}
		}
	}
	if r.mailer != includeMailer {
		ma := e.machine(map[string]string{"addr_type": "e r", "h": r.host})
		sets := []string{"2", e.x.conf.rulesetName(m.recipients), "4"}
		for _, set := range sets {
			if set == "" {
				continue
			}
			out, err := ma.rewrite(user, set, 0)
			if err != nil {
				r.fail(554, "5.3.5", "%s", err)
				return
			}
			user = out
		}
	}
	r.user = s.join(user, e.x.conf.spaceSub)
	if !r.has("h") {
		r.host = lower(r.host)
	}
	if !r.has("u") {
		r.user = lower(r.user)
	}
}

// exitStatus are the names of sysexits(3) that rules use, with their codes.
var exitStatus = map[string]struct {
	status string
	code   int
}{
	"nouser": {"5.1.1", 550}, "nohost": {"5.1.2", 550}, "unavailable": {"5.0.0", 553}, "usage": {"5.1.3", 553},
	"tempfail": {"4.0.0", 450}, "protocol": {"5.5.0", 553}, "config": {"5.3.5", 553},
}

// buildError takes "$#error $@ status $: 550 text" apart.
func (e *expansion) buildError(r *recipient, status, text string) {
	code := 553
	if s, ok := exitStatus[lower(status)]; ok {
		status, code = s.status, s.code
	}
	text = unquote(text)
	if len(text) >= 4 && text[3] == ' ' {
		if n, err := strconv.Atoi(text[:3]); err == nil && n >= 200 && n < 600 {
			code, text = n, text[4:]
		}
	}
	if first, rest, ok := strings.Cut(text, " "); ok && isStatus(first) {
		status, text = first, rest
	}
	if status == "" {
		status = "5.0.0"
	}
	r.fail(code, status, "%s", text)
	r.mailer = "error"
}

// isStatus says whether a word is "D.S.N" (RFC 3463).
func isStatus(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || parts[0] != "2" && parts[0] != "4" && parts[0] != "5" {
		return false
	}
	for _, p := range parts {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}

// same says whether two recipients are one (parseaddr.c:sameaddr).
func same(a, b *recipient) bool {
	if a.mailer != b.mailer || a.user != b.user || a.host != b.host {
		return false
	}
	if a.mailer == progMailer {
		ca, cb := a.control(), b.control()
		return (ca == nil) == (cb == nil) && (ca == nil || ca.uid == cb.uid)
	}
	return true
}

// list puts all addresses of a list into the queue (sendtolist).
func (e *expansion) list(text string, from *recipient, level int, step func() *Step) int {
	var found []*recipient
	for text != "" {
		for text != "" && (isBlank(text[0]) || text[0] == ',') {
			text = text[1:]
		}
		if text == "" || e.stop() {
			break
		}
		r, used, err := e.parse(text, ',')
		raw := text[:used]
		text = text[used:]
		if err != nil {
			bad := &recipient{address: trimBlanks(strings.TrimSuffix(raw, ",")), from: from, step: step()}
			bad.fail(553, "5.1.3", "%s", sentence(err))
			e.errors = append(e.errors, bad)
		}
		if r == nil {
			continue
		}
		r.from, r.step = from, step()
		if same(from, r) {
			from.selfRef = true
		}
		if b := e.selfReference(r); b != nil {
			b.selfRef = true
			if b != r {
				r.state = stateDead
				b.notRemote = b.notRemote || r.notRemote
				continue
			}
		}
		found = append(found, r)
	}
	// Sendmail keeps the list as a stack.
	for _, r := range slices.Backward(found) {
		e.recipient(r, level)
	}
	return len(found)
}

// stop says that the expansion has grown too large, or was told to end.
func (e *expansion) stop() bool {
	if e.err == nil {
		e.err = context.Cause(e.ctx)
	}
	if e.err != nil {
		return true
	}
	if len(e.queue) < maxRecipients && e.reads < maxReads && e.steps > 0 {
		return false
	}
	if !e.full {
		e.full = true
		bad := &recipient{}
		bad.fail(452, "4.5.3", "Too many recipients")
		e.queue = append(e.queue, bad)
		e.problem(place{path: e.x.conf.path}, qmailkit.Error, "expansion-too-large",
			"an address stands for more than %d others, or is too hard to expand", maxRecipients)
	}
	return true
}

// selfReference finds the recipient at which a loop is cut, or nil.
func (e *expansion) selfReference(a *recipient) *recipient {
	b := a.from
	for b != nil && !same(a, b) {
		b = b.from
	}
	if b == nil {
		return nil
	}
	for c := a; c != nil; c = c.from {
		real := c.has("l") && c.mailer == b.mailer
		if c.has("w") {
			real = e.x.users[c.user] != nil
		}
		if real {
			if same(b, c) {
				return b
			}
			return c
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
		e.tooDeep = true
		return
	}
	name := unquote(a.user)
	quoted := strings.Contains(a.user, `\`)
	if a.mailer == progMailer {
		e.allowed(a, "programs")
	}
	for _, q := range e.queue {
		if !same(q, a) || !q.checked && q.primary || q.mailer == "error" || q.mailer == "" {
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
		if a.mailer == progMailer && a.state == stateBad {
			e.errors = append(e.errors, a) // refused before it was found to be a duplicate
		}
		e.done(a, level)
		return
	}
	e.queue = append(e.queue, a)
	if a.state == stateOK {
		e.expandOne(a, name, quoted, level)
	}
	if a.from == nil && a.state.dead() && !e.tooDeep && !slices.ContainsFunc(e.queue, func(q *recipient) bool { return !q.state.dead() }) {
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
	s := e.x.conf.scanner()
	toks, _, err := s.scan(a.user, 0)
	if err != nil || len(toks) == 0 {
		return
	}
	m := e.machine(map[string]string{"addr_type": "e r", "h": a.host, "u": a.user})
	toks, err = m.rewrite(toks, "5", 0)
	e.steps -= maxSteps - m.steps
	if err != nil {
		a.fail(554, "5.3.5", "%s", err)
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

// findUser finds an account by its name, by that in lower case, or, where
// MatchGecos is set, by the full name (recipient.c:finduser).
func (x *Expander) findUser(name string) (a *Account, fuzzy bool) {
	if a = x.users[name]; a != nil {
		return a, false
	}
	folded := lower(name)
	if a = x.users[folded]; a != nil {
		return a, true
	}
	if v := lower(x.conf.options["matchgecos"]); v == "" || v[0] != 't' && v[0] != 'y' {
		return nil, false
	}
	folded = strings.ReplaceAll(strings.ReplaceAll(folded, string([]byte{x.conf.spaceSub}), " "), "_", " ")
	for _, a := range x.order {
		if full := a.FullName(); strings.Contains(full, " ") && lower(full) == folded {
			return a, true
		}
	}
	return nil, false
}

// shellOK says whether a user with this shell may name programs.
func (x *Expander) shellOK(shell string) bool {
	return shell == "" || x.shells[shell] || x.shells["/SENDMAIL/ANY/SHELL/"]
}

// delivery makes the answer of a recipient that is left.
func (e *expansion) delivery(r *recipient) Delivery {
	d := Delivery{
		Mailer: r.mailer, Host: r.host, User: r.user, Address: r.address, Quoted: strings.Contains(r.user, `\`),
		Status: r.status, Code: r.code, Text: r.text,
	}
	switch {
	case r.state != stateOK:
		d.Kind = DeliverError
	case r.mailer == progMailer:
		d.Kind, d.Program = DeliverProgram, trimPipe(unquoteWhole(r.user))
	case r.mailer == fileMailer:
		d.Kind, d.File = DeliverFile, unquote(r.user)
	case r.has("w"):
		d.Kind, d.Account, d.Detail = DeliverMailbox, r.account, r.host
	default:
		d.Kind = DeliverRemote
		if r.has("l") {
			d.Kind = DeliverMailbox
			d.Account, d.Detail = e.x.users[r.user], r.host
		}
	}
	if c := r.control(); c != nil && (d.Kind == DeliverProgram || d.Kind == DeliverFile) {
		d.As = c.account
	}
	for p := r; p != nil; p = p.from {
		if p.owner != "" && d.Sender == "" && p != r {
			d.Sender = p.owner
		}
		if p.step != nil {
			d.Via = append(d.Via, *p.step)
		}
	}
	slices.Reverse(d.Via)
	return d
}

// unquoteWhole takes off the quotes around a whole text.
func unquoteWhole(s string) string {
	if len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"' {
		return unquote(s)
	}
	return s
}
