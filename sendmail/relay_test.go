package sendmail

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// An envelope is a question to a host.
type envelope struct{ addr, name, sender, rcpt string }

func (e envelope) String() string {
	return fmt.Sprintf("%s %s from <%s> to <%s>", e.addr, e.name, e.sender, e.rcpt)
}

// relayHost has a rule of each kind.
func relayHost(t sampleTree) {
	t.file("etc/mail/local-host-names", "example.com\nexample.org\n")
	t.file("etc/mail/virtuser-domains", "v.example\n")
	t.file("etc/mail/relay-domains", "# for whom we relay\nrelayed.example\n192.0.2\n198.51.100.7\nIPv6:2001:db8:1\n")
	t.file("etc/mail/domaintable", "old.example\texample.com\n")
	t.file("etc/mail/access", `Connect:203.0.113	RELAY
Connect:203.0.113.9	OK
Connect:203.0.113.66	REJECT
Connect:192.0.2.66	REJECT
198.18	REJECT
Connect:198.18.5	RELAY
198.18.6	ERROR:421 later
Connect:198.18.7	DISCARD
Connect:IPv6:2001:db8:2	RELAY
Connect:friend.example	RELAY
enemy.example	REJECT
From:spam@bad.example	REJECT
From:good@enemy.example	OK
From:worse.example	550 No mail from there
From:slow.example	ERROR:4.7.1:450 later
From:spammer@	REJECT
From:sink.example	DISCARD
From:quiet.example	QUARANTINE:look
To:backup.example	RELAY
To:sub.backup.example	REJECT
both.example	RELAY
skipped.both.example	SKIP
To:closed@example.com	REJECT
TLS_Srv:x.example	VERIFY
`)
}

func relayEnvelopes() []envelope {
	var list []envelope
	for _, addr := range []string{"203.0.113.1", "203.0.113.9", "203.0.113.66", "192.0.2.1", "192.0.20.1", "192.0.2.66", "198.51.100.7", "198.51.100.70",
		"198.18.1.1", "198.18.5.1", "198.18.6.1", "198.18.7.1", "2001:db8:1::1", "2001:db8:2::1", "2001:db8:3::1", "127.0.0.1", "100.64.0.1"} {
		list = append(list, envelope{addr, "", "a@b.example", "x@else.example"}, envelope{addr, "", "a@b.example", "x@example.com"})
	}
	for _, name := range []string{"friend.example", "a.friend.example", "enemy.example", "a.enemy.example", "both.example", "x.relayed.example", "mail.example.com"} {
		list = append(list, envelope{"100.64.0.2", name, "a@b.example", "x@else.example"})
	}
	for _, sender := range []string{"spam@bad.example", "ham@bad.example", "Spam@BAD.example", "good@enemy.example", "x@enemy.example", "x@a.enemy.example", "x@worse.example",
		"x@a.worse.example", "x@slow.example", "spammer@any.example", "x@sink.example", "x@quiet.example", "", "x@example.com"} {
		list = append(list, envelope{"100.64.0.3", "", sender, "x@example.com"})
	}
	for _, rcpt := range []string{"x@relayed.example", "x@a.relayed.example", "x@xrelayed.example", "x@backup.example", "x@sub.backup.example", "x@other.backup.example", "x@both.example",
		"x@a.both.example", "x@skipped.both.example", "x@example.com", "x@a.example.com", "x@EXAMPLE.org", "x@v.example", "x@a.v.example", "x@old.example", "x@else.example", "postmaster",
		"x%else.example@example.com", "x@[192.0.2.9]", "closed@example.com"} {
		list = append(list, envelope{"100.64.0.4", "", "a@b.example", rcpt})
	}
	return list
}

// word is an answer as the real program's is read too.
func (a Answer) word() string {
	if a.Action == AccessReject {
		return fmt.Sprintf("%s reject %d %s", a.Stage, a.Code, a.Text)
	}
	return a.Action.String()
}

func (x *Expander) answer(tb testing.TB, e envelope) string {
	tb.Helper()
	c := Client{Name: e.name}
	if e.addr != "" {
		c.Addr = netip.MustParseAddr(e.addr)
	}
	a, err := x.Envelope(context.Background(), c, e.sender, e.rcpt)
	if err != nil {
		tb.Fatalf("%s: %v", e, err)
	}
	return a.word()
}

// TestEnvelope asks the rules of a host without sendmail.cf and those that m4
// has made: both decide alike, but for what the small ones leave out.
func TestEnvelope(t *testing.T) {
	plain, small := newSampleHost(t, "plain"), newSampleHost(t, "")
	relayHost(plain)
	relayHost(small)
	px, sx := plain.expander(t), small.expander(t)
	accepted := 0
	for _, e := range relayEnvelopes() {
		p, s := px.answer(t, e), sx.answer(t, e)
		if p == "ok" {
			accepted++
		}
		cut := func(s string) string {
			words := strings.Fields(s)
			return strings.Join(words[:min(len(words), 2)], " ")
		}
		if cut(p) != cut(s) {
			t.Errorf("%s: %s, and with the small rules %s", e, p, s)
		}
	}
	if n := len(relayEnvelopes()); accepted < n/4 || accepted > n*3/4 {
		t.Errorf("%d of %d are accepted", accepted, n)
	}
	for e, want := range map[envelope]string{
		{"100.64.0.1", "", "a@b.example", "x@else.example"}:     "rcpt reject 550 Relaying denied. IP name lookup failed [100.64.0.1]",
		{"203.0.113.66", "", "a@b.example", "x@example.com"}:    "connect reject 550 Access denied",
		{"100.64.0.1", "", "x@slow.example", "x@example.com"}:   "mail reject 450 later",
		{"100.64.0.1", "", "x@worse.example", "x@example.com"}:  "mail reject 550 No mail from there",
		{"100.64.0.1", "", "x@quiet.example", "x@example.com"}:  "quarantine",
		{"203.0.113.1", "", "x@b.example", "x@else.example"}:    "ok",
		{"203.0.113.9", "", "x@b.example", "x@else.example"}:    "rcpt reject 550 Relaying denied. IP name lookup failed [203.0.113.9]",
		{"", "", "x@b.example", "x@else.example"}:               "ok",
		{"100.64.0.1", "", "a@b.example", "x@a.backup.example"}: "ok",
	} {
		if got := px.answer(t, e); got != want {
			t.Errorf("%s: %q, want %q", e, got, want)
		}
	}
}

func TestMailers(t *testing.T) {
	host := newSampleHost(t, "plain")
	text := host["etc/mail/sendmail.cf"].text
	host.file("etc/mail/sendmail.cf", text+"Mport,\tP=[IPC], F=mDFMuX, A=TCP $h 587\nMnamed,\tP=[IPC], F=m, A=TCP $h submission\nMfixed,\tP=[IPC], F=m, A=TCP hub.example\n"+
		"Mlmtp,\tP=[IPC], F=zm, A=TCP $h\nMsock,\tP=[IPC], F=m, A=FILE /var/run/s\nModd,\tP=[IPC], F=m, A=TCP $h smtp-alt\n")
	x := host.expander(t)
	for name, want := range map[string]string{
		"esmtp": "25 true", "SMTP": "25 true", "relay": "25 true", "port": "587 true", "named": "587 true",
		"fixed": " false", "lmtp": " false", "sock": " false", "odd": "smtp-alt false", "local": " false", "prog": " false",
	} {
		m, ok := x.Mailer(name)
		port, smtp := m.SMTP()
		if got := fmt.Sprint(port, " ", smtp); !ok || got != want {
			t.Errorf("%s: %v %s, want %s", name, ok, got, want)
		}
	}
	if _, ok := x.Mailer("nosuch"); ok {
		t.Error("there is a mailer nosuch")
	}
	if path, line := newSampleHost(t, "relay").expander(t).MacroPlace("S"); path != "etc/mail/sendmail.cf" || line == 0 {
		t.Errorf("SMART_HOST stands in %q:%d", path, line)
	}
}

// TestStandardRoutes compares the ways that the small rules find with those of
// m4's.
func TestStandardRoutes(t *testing.T) {
	plain, small := newSampleHost(t, "plain"), newSampleHost(t, "")
	for _, host := range []sampleTree{plain, small} {
		host.file("etc/mail/mailertable", "a.example\tsmtp:[h1.test]\n.a.example\tsmtp:[%1.h2.test]\n.y.a.example\tesmtp:h3.test\nno.example\th4.test\n.\trelay:[h5.test]\n")
	}
	px, sx := plain.expander(t), small.expander(t)
	for _, domain := range []string{"a.example", "x.a.example", "x.z.a.example", "y.a.example", "x.y.a.example", "b.x.y.a.example", "b.example", "no.example", "xa.example"} {
		p, s := verdict(t, px, "u@"+domain), verdict(t, sx, "u@"+domain)
		if strings.Join(p, "\n") != strings.Join(s, "\n") {
			t.Errorf("%s: %q, and by the small rules %q", domain, p, s)
		}
	}
}
