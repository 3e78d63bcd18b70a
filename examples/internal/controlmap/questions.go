package controlmap

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/sendmail"
)

// A Question is one that both hosts can be asked: the way of mail for a domain,
// or whether mail of a sender and for a recipient is taken from a client.
type Question struct {
	Domain       string // of the way; else it is about an envelope
	Client       netip.Addr
	Sender, Rcpt string
	// Known says that the client is one that the old host has an entry for, so
	// that the answer needs tcp.smtp.
	Known bool
	// Want is the answer of the old host.
	Want string
	// Free says that the new host deliberately answers otherwise: an entry has
	// said so.
	Free bool
	Path string
	Line int
}

// String is the question in words.
func (q *Question) String() string {
	if q.Domain != "" {
		return "the way of mail for " + printable(q.Domain)
	}
	return fmt.Sprintf("mail from %s by %s for %s", printable("<"+q.Sender+">"), q.Client, printable("<"+q.Rcpt+">"))
}

// The answers about an envelope.
const (
	taken   = "taken"
	refused = "refused"
)

// A Host answers as qmail and tcpserver do.
type Host struct {
	remote *qmailcontrol.Relaying
	plain  *qmailcontrol.SMTPD
	relay  *qmailcontrol.SMTPD
	rules  *Rules
}

// ErrRules says that an answer needs a tcp.smtp, which is not at hand.
var ErrRules = errors.New("tcp.smtp is not known")

// NewHost makes a Host of its control files; rules may be nil.
func NewHost(c *qmailcontrol.Config, rules *Rules) (*Host, error) {
	h := &Host{rules: rules}
	none := ""
	var err error
	if h.remote, err = c.Remote(); err == nil {
		h.plain, err = c.SMTPD(nil)
	}
	if err == nil {
		h.relay, err = c.SMTPD(&qmailcontrol.SMTPDOptions{RelayClient: &none})
	}
	return h, err
}

// Answer answers a question.
func (h *Host) Answer(q *Question) (string, error) {
	if q.Domain != "" {
		way := h.remote.Route(q.Domain)
		if way.How != qmailcontrol.ByRelay {
			return byMX, nil
		}
		return wayWord(way.Host, fmt.Sprint(way.Port)), nil
	}
	if q.Known && h.rules == nil {
		return "", ErrRules
	}
	d := h.plain
	if h.rules != nil {
		switch v := h.rules.Client(q.Client); {
		case v.Deny:
			return refused, nil
		case v.Relay && v.Suffix == "":
			d = h.relay
		}
	}
	reply, _ := d.Recipient("FROM:<"+q.Sender+">", "TO:<"+q.Rcpt+">")
	if reply == qmailcontrol.ReplyControls {
		return "", qmailcontrol.ErrMorercpthosts
	}
	if reply != qmailcontrol.ReplyOK {
		return refused, nil
	}
	return taken, nil
}

// OpenRelay says whether strangers, wherever they are, may send mail to anybody.
func (h *Host) OpenRelay() bool {
	for _, octet := range strangers {
		q := &Question{Client: stranger(octet), Sender: "a@" + elsewhere, Rcpt: "b@" + elsewhere}
		if a, err := h.Answer(q); err != nil || a != taken {
			return false
		}
	}
	return true
}

// byMX is the way by the records of the domain itself.
const byMX = "by MX"

func wayWord(host, port string) string { return "by " + host + " port " + port }

// questions collects what a proof asks for: what each line and each entry is
// about, and what stands beside it.
func (b *builder) questions() error {
	rules, problems := ParseRules(Clients, b.text(Clients))
	if len(problems) > 0 {
		return problems[0].Err
	}
	h, err := NewHost(b.ideal(), rules)
	if err != nil {
		return err
	}
	for _, ask := range []func() error{b.askWays, b.askNames, b.askSenders, b.askClients} {
		if err := ask(); err != nil {
			return err
		}
	}
	if n := max(len(b.relayed), len(b.access), len(b.nets)); n > maxAsked {
		b.m.Problems = append(b.m.Problems, qmailkit.Problem{Code: "control.sample", Severity: qmailkit.Info,
			Err: fmt.Errorf("a table of relaying has %d entries: all are carried, the proof asks for up to %d of them, from all over it", n, maxAsked)})
	}
	for i := range b.m.Questions {
		q := &b.m.Questions[i]
		if q.Free {
			continue
		}
		got, err := h.Answer(q)
		if err != nil {
			return err
		}
		q.Free = got != q.Want
	}
	return nil
}

// text is a file of the lines of the Map only.
func (b *builder) text(file string) string {
	var text strings.Builder
	for _, l := range b.m.Lines {
		if l.File == file {
			text.WriteString(l.Text + "\n")
		}
	}
	return text.String()
}

// ideal is a new host that has the lines, and mail for the users' domain.
func (b *builder) ideal() *qmailcontrol.Config {
	c := qmailcontrol.NewConfig()
	for name, text := range map[string]string{
		"me": "localhost\n", Routes: b.text(Routes), Senders: b.text(Senders), Hosts: b.text(Hosts) + "localhost\n" + b.o.Domain + "\n",
	} {
		if err := c.SetText(name, text); err != nil {
			return qmailcontrol.NewConfig() // too large: NewHost refuses that
		}
	}
	return c
}

// askWays asks for the ways of domains.
func (b *builder) askWays() error {
	seen := map[string]bool{}
	way := func(domain, path string, line int) error {
		if seen[domain] || b.local(domain) || b.ours(domain) {
			return nil
		}
		seen[domain] = true
		d, err := b.delivery(domain)
		if err != nil {
			return err
		}
		q := Question{Domain: domain, Path: path, Line: line}
		value, why, _ := b.way(domain, d)
		host, port, found := strings.Cut(value, ":")
		if !found {
			port = "25"
		}
		if q.Want = wayWord(host, port); value == "" {
			q.Want = byMX
		}
		q.Free = why != ""
		b.m.Questions = append(b.m.Questions, q)
		return nil
	}
	if err := way(elsewhere, "", 0); err != nil {
		return err
	}
	if t := b.x.Table("mailertable"); t != nil {
		for e := range t.Entries() {
			domain := strings.TrimPrefix(strings.ToLower(e.Key), ".")
			if !plainDomain(domain) {
				continue
			}
			for _, d := range []string{domain, probe + "." + domain} {
				if err := way(d, e.Path, e.Line); err != nil {
					return err
				}
			}
		}
	}
	for _, e := range b.relayed {
		if domain := strings.TrimPrefix(e.Key, "."); plainDomain(domain) {
			if err := way(domain, e.path, e.line); err != nil {
				return err
			}
		}
	}
	return nil
}

// envelope asks about one.
func (b *builder) envelope(e *entry, client netip.Addr, sender, rcpt string) error {
	q := Question{Client: client, Sender: sender, Rcpt: rcpt, Known: client != b.outsider, Want: refused}
	if e != nil {
		q.Path, q.Line = e.path, e.line
	}
	a, err := b.ask(client, sender, rcpt)
	if a.Accepted() {
		q.Want = taken
	}
	b.m.Questions = append(b.m.Questions, q)
	return err
}

// maxAsked bounds the entries of a table that are asked for; of more, some from
// all of the table are.
const maxAsked = 2000

// some says whether the entry i of n is asked for.
func some(i, n int) bool { return i%max(1, (n+maxAsked-1)/maxAsked) == 0 }

// askNames asks whether strangers may send to domains.
func (b *builder) askNames() error {
	if err := b.envelope(nil, b.outsider, "a@"+elsewhere, "b@"+elsewhere); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, list := range [][]entry{b.relayed, b.access} {
		for i := range list {
			e := &list[i]
			domain := strings.TrimPrefix(e.Key[strings.IndexByte(e.Key, '@')+1:], ".")
			if !e.has("to") || e.Network || !plainDomain(domain) || seen[e.Key] || !some(i, len(list)) {
				continue
			}
			seen[e.Key] = true
			rcpts := []string{probe + "@" + domain, probe + "@" + probe + "." + domain, probe + "@x" + domain}
			if strings.Contains(e.Key, "@") {
				rcpts = append(rcpts, e.Key)
			}
			for _, rcpt := range rcpts {
				if _, host, _ := strings.Cut(rcpt, "@"); b.local(host) || b.ours(host) {
					continue // whom the new host knows is asked elsewhere
				}
				if err := b.envelope(e, b.outsider, "a@"+elsewhere, rcpt); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// askSenders asks from whom mail is taken.
func (b *builder) askSenders() error {
	for i := range b.access {
		e := &b.access[i]
		user, domain, isAddress := strings.Cut(e.Key, "@")
		if !e.has("from") || e.Network || !some(i, len(b.access)) {
			continue
		}
		senders := []string{e.Key, probe + "@" + domain}
		switch {
		case !isAddress && plainDomain(user):
			senders = []string{probe + "@" + user, probe + "@" + probe + "." + user}
		case !isAddress:
			continue
		case domain == "":
			senders = []string{user + "@" + elsewhere}
		}
		for _, s := range senders {
			if !plainSender(s) {
				continue
			}
			if err := b.envelope(e, b.outsider, s, probe+"@"+b.o.Domain); err != nil {
				return err
			}
		}
	}
	return nil
}

// askClients asks which clients may connect, and which may relay.
func (b *builder) askClients() error {
	for i, key := range slices.Sorted(maps.Keys(b.nets)) {
		n := b.nets[key]
		if !n.asked || !some(i, len(b.nets)) {
			continue
		}
		for _, rcpt := range []string{"b@" + elsewhere, probe + "@" + b.o.Domain} {
			e := &entry{sendmail.Access{}, n.fates[0]}
			if err := b.envelope(e, n.addr, "a@"+elsewhere, rcpt); err != nil {
				return err
			}
		}
	}
	return nil
}
