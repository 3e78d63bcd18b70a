package sendmail

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// Bounds of one expansion.
const (
	maxRecipients = 10_000
	maxLevels     = 50
	maxReads      = 2_000 // .forward files and lists
	maxProblems   = 1_000
	maxText       = 64 << 10 // bytes of what is asked for
)

// An expansion is the work on one address.
type expansion struct {
	x        *Expander
	ctx      context.Context
	queue    []*recipient
	errors   []*recipient // what was complained about
	problems []qmailkit.Problem
	told     map[string]bool   // the same, by their words
	macros   map[string]string // that Sendmail sets on the way
	levels   int               // MaxAliasRecursion
	reads    int
	steps    int
	full     bool
	err      error // of ctx, or of a read
}

func (x *Expander) expansion(ctx context.Context) *expansion {
	e := &expansion{x: x, ctx: ctx, macros: map[string]string{}, told: map[string]bool{}, levels: 10, steps: 20 * maxSteps}
	if n, err := strconv.Atoi(x.conf.options["maxaliasrecursion"]); err == nil {
		e.levels = min(max(n, 0), maxLevels)
	}
	return e
}

func (e *expansion) problem(at place, sev qmailkit.Severity, code, format string, args ...any) {
	p := at.problem(sev, code, format, args...)
	if words := p.String(); !e.told[words] && len(e.problems) < maxProblems {
		e.told[words] = true
		e.problems = append(e.problems, p)
	}
}

// complain makes an error of what was said about a recipient.
func (e *expansion) complain(about *recipient, c complaint) {
	bad := &recipient{address: about.address, from: about.from, step: about.step}
	bad.fail(c.code, c.status, "%s", c.words)
	e.errors = append(e.errors, bad)
}

// Expand says where mail to an address is delivered in the end: what
// "sendmail -bv" says, without a name server, and with the way there. The
// address is one that a command line could give, with or without a domain; as
// there, commas part several addresses, and so do blanks where nothing but them
// could (main.c, recipient.c:sendtolist).
//
// Loops, files that are refused and what cannot be read are errors among the
// Deliveries, Problems, or both. The error is one of ctx or of a file that
// could not be read to its end.
func (x *Expander) Expand(ctx context.Context, address string) (*Expansion, error) {
	e := x.expansion(ctx)
	if len(address) > maxText {
		e.complain(&recipient{address: address}, complaint{553, "5.1.1", badLength})
	} else {
		e.list(address, nil, 0, nil)
	}
	if e.err != nil {
		return nil, e.err
	}
	out := &Expansion{Address: address}
	for _, r := range slices.Concat(e.errors, e.queue) {
		if !r.state.dead() && r.state != stateTold {
			out.Deliveries = append(out.Deliveries, e.delivery(r))
		}
	}
	e.checkOwners(out.Deliveries)
	out.Problems = e.problems
	return out, nil
}

// checkOwners reports owners of lists that cannot be a sender. Sendmail says so
// too, and delivers with another sender.
func (e *expansion) checkOwners(deliveries []Delivery) {
	seen := map[string]bool{"": true}
	for _, d := range deliveries {
		if seen[d.Sender] || d.Kind == DeliverError {
			continue
		}
		seen[d.Sender] = true
		r, _, said := e.parse(d.Sender, 0)
		if r != nil && r.state == stateBad {
			said = append(said, complaint{r.code, r.status, r.text})
		}
		for _, c := range said {
			e.problem(place{path: e.x.conf.path}, qmailkit.Warning, "owner-refused", "%.80q, the owner of a list, is refused as a sender: %s", d.Sender, c.words)
		}
	}
}

// list puts all addresses of a list into the queue (sendtolist). It came by the
// recipient from, unless that is nil, in that step.
func (e *expansion) list(text string, from *recipient, level int, step func() *Step) int {
	text, _, _ = strings.Cut(text, "\x00")
	delim := byte(',')
	if from == nil && optionSet(e.x.conf.options["oldstyleheaders"]) && !strings.ContainsAny(text, ",;<(") {
		delim = ' '
	}
	var found []*recipient
	for text != "" && !e.stop() {
		if isBlank(text[0]) || text[0] == ',' {
			text = text[1:]
			continue
		}
		r, used, said := e.parse(text, delim)
		about := &recipient{address: trimBlanks(strings.TrimSuffix(text[:used], ",")), from: from}
		if step != nil {
			about.step = step()
		}
		for _, c := range said {
			e.complain(about, c)
		}
		text = text[used:]
		if r == nil {
			continue
		}
		if r.from, r.step = from, about.step; from == nil || !e.turnsBack(r) {
			found = append(found, r)
		}
	}
	// Sendmail keeps the list as a stack.
	for _, r := range slices.Backward(found) {
		e.recipient(r, level)
	}
	return len(found)
}

// turnsBack says whether an address is one that it came by, which then gets the
// mail instead.
func (e *expansion) turnsBack(r *recipient) bool {
	if same(r.from, r) {
		r.from.selfRef = true
	}
	b := e.selfReference(r)
	if b == nil {
		return false
	}
	b.selfRef = true
	if b == r {
		return false
	}
	r.state = stateDead
	b.notRemote = b.notRemote || r.notRemote
	return true
}

// optionSet says whether a boolean option is on (readcf.c:atobool): it is where
// it has no value.
func optionSet(value string) bool {
	return value != "" && strings.ContainsAny(value[:1], "tTyY1")
}

// stop says that the expansion has grown too large, or was told to end.
func (e *expansion) stop() bool {
	if e.err == nil {
		e.err = context.Cause(e.ctx)
	}
	if e.err != nil {
		return true
	}
	if len(e.queue)+len(e.errors) < maxRecipients && e.reads < maxReads && e.steps > 0 {
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
