package sendmail

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Client is a host that connects by SMTP.
type Client struct {
	// Addr is its address; the zero value is the host itself.
	Addr netip.Addr
	// Name is the name that its address resolves to and that resolves to its
	// address again; empty if there is none.
	Name string
}

// addr is the macro client_addr.
func (c Client) addr() string {
	switch {
	case !c.Addr.IsValid():
		return ""
	case c.Addr.Is4() || c.Addr.Is4In6():
		return c.Addr.Unmap().String()
	}
	return "IPv6:" + c.Addr.String()
}

// Stage is a command of SMTP.
type Stage uint8

// The stages, in their order.
const (
	StageConnect Stage = iota
	StageMail
	StageRcpt
)

// String returns "connect", "mail" or "rcpt".
func (s Stage) String() string {
	return [...]string{"connect", "mail", "rcpt", "unknown"}[min(s, StageRcpt+1)]
}

// An Answer is what Sendmail makes of the envelope of a message.
type Answer struct {
	// Action is AccessOK, AccessReject, AccessDiscard or AccessQuarantine.
	Action AccessAction
	// Stage is the command that decided, of anything but AccessOK.
	Stage Stage
	// Code (550), Status ("5.7.1") and Text are those of a reject.
	Code   int
	Status string
	Text   string
}

// Accepted says that the mail is taken, be it to be thrown away.
func (a Answer) Accepted() bool { return a.Action != AccessReject }

// Temporary says that the client is to try again.
func (a Answer) Temporary() bool { return a.Action == AccessReject && strings.HasPrefix(a.Status, "4") }

// Envelope says whether the host takes mail of this sender and for this
// recipient from a client: what the rulesets check_relay, check_mail and
// check_rcpt decide with the class R and the access map. An empty sender is
// that of a bounce. Every domain of a sender counts as one that exists, nobody
// has logged in, and what a rule would ask a name server for, a list of bad
// addresses for one, is not there.
//
// The error is one of ctx, or of rules that do not come to an end.
func (x *Expander) Envelope(ctx context.Context, c Client, sender, recipient string) (Answer, error) {
	if err := context.Cause(ctx); err != nil {
		return Answer{}, err
	}
	name, resolved := c.Name, "OK"
	if name == "" {
		name, resolved = "["+c.addr()+"]", "FAIL"
	}
	p := &policyRun{x: x, e: x.expansion(ctx)}
	p.e.macros = map[string]string{
		"client_addr": c.addr(), "client_name": name, "client_resolve": resolved, "f": sender, "addr_type": "e r",
	}
	p.m = p.e.machine()
	p.m.maps = p.lookup
	s := x.conf.scanner()
	client, _, _ := s.scan(name, 0)
	addr, _, _ := s.scan(c.addr(), 0)
	for _, stage := range []struct {
		stage   Stage
		ruleset string
		toks    []string
	}{
		{StageConnect, "check_relay", slices.Concat(client, []string{tokElse}, addr)},
		{StageMail, "check_mail", p.address(sender)},
		{StageRcpt, "check_rcpt", p.address(recipient)},
	} {
		a, err := p.ask(stage.ruleset, stage.toks)
		if err != nil {
			return Answer{}, fmt.Errorf("%s: %w", stage.ruleset, err)
		}
		if a.Stage = stage.stage; a.Action != AccessOK {
			return a, nil
		}
	}
	return Answer{}.ok(), nil
}

func (a Answer) ok() Answer { return Answer{Action: AccessOK} }

// A policyRun asks the rules about one envelope.
type policyRun struct {
	x *Expander
	e *expansion
	m *machine
}

// address is an argument of MAIL or RCPT as the rules get it.
func (p *policyRun) address(text string) []string {
	toks, _, _ := p.x.conf.scanner().scan("<"+text+">", 0)
	return toks
}

// lookup answers for the maps of the check rules.
func (p *policyRun) lookup(name, key string, args []string) (string, bool) {
	spec := p.x.conf.maps[lower(name)]
	switch {
	case spec == nil:
	case spec.class == "host":
		return key + spec.suffix, true
	}
	return p.x.lookup(name, key, args)
}

// ask runs one ruleset. One that does not exist has nothing against it.
func (p *policyRun) ask(ruleset string, toks []string) (Answer, error) {
	if len(p.x.conf.rulesets[p.x.conf.rulesetName(ruleset)]) == 0 {
		return Answer{}.ok(), nil
	}
	toks, _ = p.m.rewrite(toks, p.x.conf.rulesetName(ruleset), 0)
	if p.m.steps < 0 {
		return Answer{}, errRules
	}
	if len(toks) < 2 || toks[0] != tokMailer {
		return Answer{}.ok(), nil
	}
	host, user := []string(nil), toks[2:]
	if len(user) > 0 && user[0] == tokHost {
		end := slices.Index(user, tokUser)
		if end < 0 {
			end = len(user)
		}
		host, user = user[1:end], user[end:]
	}
	if len(user) > 0 && user[0] == tokUser {
		user = user[1:]
	}
	s, sub := p.x.conf.scanner(), p.x.conf.spaceSub
	switch mailer := lower(toks[1]); {
	case mailer == "discard":
		return Answer{Action: AccessDiscard}, nil
	case mailer != "error": // such as $# OK
		return Answer{}.ok(), nil
	case lower(s.join(host, sub)) == "quarantine":
		return Answer{Action: AccessQuarantine, Text: unquote(s.join(user, ' '))}, nil
	}
	r := &recipient{}
	r.refusedByRules(s.join(host, sub), s.join(user, ' '))
	return Answer{Action: AccessReject, Code: r.code, Status: r.status, Text: r.text}, nil
}
