package controlmap

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/sendmail"
)

// A randomHost makes tables of few names that often meet.
type randomHost struct{ *rand.Rand }

func (r randomHost) pick(list ...string) string { return list[r.IntN(len(list))] }

func (r randomHost) domain() string {
	return r.pick("", "", "x.", "y.", "x.y.") + r.pick("a.example", "b.example", "b.test", "example.com", "v.example")
}

func (r randomHost) address() string {
	return r.pick("192.4", "192.1", "10.0") + "." + r.pick("2", "3") + "." + r.pick("1", "2", "20")
}

// network is some of an address.
func (r randomHost) network() string {
	parts := strings.Split(r.address(), ".")
	return strings.Join(parts[:1+r.IntN(4)], ".") + r.pick("", "", ".")
}

func (r randomHost) host() host {
	var access, relay, routes strings.Builder
	for range r.IntN(6) {
		fmt.Fprintln(&relay, r.pick(r.domain(), r.network()))
	}
	for range 3 + r.IntN(20) {
		key := r.pick("Connect:", "From:", "To:", "", "") + r.pick(r.domain(), r.domain(), "u@"+r.domain(), "u@", r.network(), r.network())
		fmt.Fprintf(&access, "%s\t%s\n", key, r.pick("OK", "RELAY", "RELAY", "RELAY", "REJECT", "REJECT", "DISCARD", "SKIP", "ERROR:5.7.1:550 no", "550 no", "ERROR:4.7.1:450 later", "relay", "QUARANTINE:x"))
	}
	for range r.IntN(8) {
		key := r.pick("", "", ".") + r.domain()
		if r.IntN(10) == 0 {
			key = "."
		}
		fmt.Fprintf(&routes, "%s\t%s\n", key, r.pick("smtp:[h1.test]", "esmtp:h2.test", "relay:[192.0.2.1]", "smtp:"+strings.TrimPrefix(key, "."), "local:carol", "local:",
			"error:5.1.1:550 no", "smtp:[h1.test]:h2.test", "h3.test", "smtp:u@h1.test", "esmtp:[%1.h.test]", "smtp:[IPv6:2001:db8::1]"))
	}
	return host{"local-host-names": "example.com\nexample.org\n", "virtuser-domains": "v.example\n", "relay-domains": relay.String(), "access": access.String(), "mailertable": routes.String()}
}

// A trial asks both hosts about one random host.
type trial struct {
	t    *testing.T
	name string
	x    *sendmail.Expander
	m    *Map
	h    *Host
	// untold are differences of which no entry has said anything.
	asked, differ, untold int
}

func newTrial(t *testing.T, seed uint64, h host, config string) *trial {
	x := h.expander(t, config)
	m, err := Build(t.Context(), x, options())
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	c := qmailcontrol.NewConfig()
	for name, text := range map[string]string{"me": "localhost\n", Routes: "", Senders: "", Hosts: "example.com\nexample.org\nv.example\n"} {
		for _, l := range m.Lines {
			if l.File == name {
				text += l.Text + "\n"
			}
		}
		for _, a := range m.Aliases {
			if name == Hosts {
				text += a.Name + "\n"
			}
		}
		if err := c.SetText(name, text); err != nil {
			t.Fatal(err)
		}
	}
	text := strings.Join(m.texts(Clients), "\n") + "\n"
	rules, problems := ParseRules(Clients, text)
	if len(problems) > 0 {
		t.Fatalf("seed %d: %v", seed, problems)
	}
	hs, err := NewHost(c, rules)
	if err != nil {
		t.Fatal(err)
	}
	return &trial{t: t, name: fmt.Sprintf("seed %d, %s", seed, config), x: x, m: m, h: hs}
}

// told says whether an entry that speaks of one of these names, or of one above
// them, has said that it is not carried as it is.
func (tr *trial) told(names ...string) bool {
	for _, p := range tr.m.Problems {
		if p.Severity == qmailkit.Info {
			continue
		}
		words := p.Err.Error()
		_, key, _ := strings.Cut(words, `"`)
		key, _, _ = strings.Cut(key, `"`)
		key = strings.ToLower(key)
		for _, tag := range []string{"connect:", "from:", "to:"} {
			key = strings.TrimPrefix(key, tag)
		}
		key = strings.Trim(key, ".")
		for _, name := range names {
			if strings.HasSuffix("."+name, "."+key) || strings.HasSuffix("@"+name, "@"+key) || strings.HasPrefix(name+".", key+".") || strings.HasSuffix(key, "@") && strings.HasPrefix(name, key) || key == "" {
				return true
			}
		}
	}
	return false
}

// envelope compares what both do with one. Whatever was said, nobody relays who
// might not before.
func (tr *trial) envelope(client netip.Addr, sender, rcpt string) {
	q := &Question{Client: client, Sender: sender, Rcpt: rcpt}
	got, err := tr.h.Answer(q)
	if err != nil {
		tr.t.Fatalf("%s: %v", tr.name, err)
	}
	want := refused
	a, err := tr.ask(q)
	if err != nil {
		tr.t.Fatalf("%s: %v", tr.name, err)
	}
	if a.Accepted() {
		want = taken
	}
	tr.asked++
	if got == want {
		return
	}
	tr.differ++
	_, domain, _ := strings.Cut(rcpt, "@")
	if got == taken && a.Action == sendmail.AccessReject && a.Stage == sendmail.StageRcpt && !options().Ours(domain) && domain != "v.example" && !aliased(tr.m, domain) {
		tr.t.Errorf("%s: %s: relayed, and Sendmail says %d %s", tr.name, q, a.Code, a.Text)
	}
	_, host, _ := strings.Cut(sender, "@")
	if strings.HasSuffix(domain, ".v.example") && got == refused {
		return // which is said of all such domains at once
	}
	if !tr.told(client.String(), sender, host, rcpt, domain) {
		tr.untold++
		tr.t.Errorf("%s: %s: %s, and Sendmail %s %q, of which nothing was said", tr.name, q, got, a.Action, a.Text)
	}
}

// ask asks the rules of the old host.
func (tr *trial) ask(q *Question) (sendmail.Answer, error) {
	return tr.x.Envelope(tr.t.Context(), sendmail.Client{Addr: q.Client, Name: "client." + elsewhere}, q.Sender, q.Rcpt)
}

func aliased(m *Map, domain string) bool {
	for _, a := range m.Aliases {
		if a.Name == domain {
			return true
		}
	}
	return false
}

// way compares the ways of mail for a domain.
func (tr *trial) way(domain string) {
	if tr.x.InClass("w", domain) || tr.x.InClass("VirtHost", domain) || aliased(tr.m, domain) {
		return
	}
	b := &builder{ctx: tr.t.Context(), x: tr.x, o: options()}
	d, err := b.delivery(domain)
	if err != nil {
		tr.t.Fatal(err)
	}
	value, why, _ := b.way(domain, d)
	host, port, found := strings.Cut(value, ":")
	if !found {
		port = "25"
	}
	want := wayWord(host, port)
	if value == "" {
		want = byMX
	}
	q := &Question{Domain: domain}
	got, err := tr.h.Answer(q)
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.asked++
	switch {
	case why == "" && got == want:
	case !tr.told(domain):
		tr.t.Errorf("%s: %s: %s, and Sendmail %s%s, of which nothing was said", tr.name, q, got, want, why)
	default:
		tr.differ++
	}
}

// TestRandom asks both hosts about random tables.
func TestRandom(t *testing.T) {
	hosts := 25
	if os.Getenv("QMAILKIT_LONG") == "1" {
		hosts = 1000
	}
	asked, differ := 0, 0
	for seed := range uint64(hosts) {
		r := randomHost{rand.New(rand.NewPCG(seed, 5))}
		tr := newTrial(t, seed, r.host(), r.pick("plain", "relay", ""))
		for range 40 {
			client := netip.MustParseAddr(r.pick(r.address(), r.address(), "100.64.0.1"))
			sender := r.pick("", "u@"+r.domain(), "v@"+r.domain())
			tr.envelope(client, sender, r.pick("u", "v")+"@"+r.domain())
		}
		for range 15 {
			tr.way(r.domain())
		}
		if tr.h.OpenRelay() {
			t.Errorf("seed %d: an open relay", seed)
		}
		for _, q := range tr.m.Questions {
			if got, err := tr.h.Answer(&q); err != nil || !q.Free && got != q.Want {
				t.Errorf("seed %d: %s: %s %v, want %s", seed, q.String(), got, err, q.Want)
			}
		}
		asked += tr.asked
		differ += tr.differ
		if t.Failed() {
			for name, text := range r.files(seed) {
				t.Logf("%s:\n%s", name, text)
			}
			return
		}
	}
	if differ == 0 || differ > asked/3 {
		t.Errorf("%d of %d answers differ", differ, asked)
	}
	t.Logf("%d answers, of which %d differ as was said", asked, differ)
}

// files are those of a seed.
func (r randomHost) files(seed uint64) host {
	return randomHost{rand.New(rand.NewPCG(seed, 5))}.host()
}
