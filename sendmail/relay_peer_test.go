//go:build linux

package sendmail

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// checkScript is what "sendmail -bt" is told to find the answer to each
// envelope: macros, and then the three rulesets.
func checkScript(list []envelope) string {
	var b strings.Builder
	for _, e := range list {
		addr, name, resolved := e.addr, e.name, "OK"
		if strings.Contains(addr, ":") {
			addr = "IPv6:" + addr
		}
		if name == "" {
			name, resolved = "["+addr+"]", "FAIL"
		}
		fmt.Fprintf(&b, ".D{client_addr}%s\n.D{client_name}%s\n.D{client_resolve}%s\n.Df%s\n", addr, name, resolved, e.sender)
		fmt.Fprintf(&b, "Translate,check_relay %s $| %s\ncheck_mail <%s>\ncheck_rcpt <%s>\n", name, addr, e.sender, e.rcpt)
	}
	return b.String()
}

// peerAnswers asks the real program about envelopes.
func peerAnswers(t *testing.T, host sampleTree, list []envelope) []string {
	t.Helper()
	out, words := runPeer(t, host, "check", checkScript(list))
	var results [][]string
	for l := range strings.Lines(out) {
		for i, set := range []string{"check_relay", "check_mail", "check_rcpt"} {
			// The ruleset itself comes back last, as often as it was asked for.
			if rest, ok := strings.CutPrefix(l, set); ok && strings.Contains(rest, " returns:") {
				_, result, _ := strings.Cut(rest, "returns:")
				if i == 0 {
					results = append(results, nil)
				}
				n := len(results) - 1
				if n < 0 || len(results[n]) != i {
					t.Fatalf("unexpected %q\n%s", l, out)
				}
				results[n] = append(results[n], strings.TrimSpace(result))
			}
		}
	}
	if len(results) != len(list) {
		t.Fatalf("%d answers to %d envelopes\n%s\n%s", len(results), len(list), out, words)
	}
	var answers []string
	for _, r := range results {
		answers = append(answers, peerAnswer(r))
	}
	return answers
}

// peerAnswer is the first answer that is no consent, without the texts: the
// real program prints them in tokens.
func peerAnswer(results []string) string {
	for i, r := range results {
		switch {
		case strings.HasPrefix(r, "$# discard"):
			return "discard"
		case strings.HasPrefix(r, "$# error $@ quarantine"):
			return "quarantine"
		case strings.HasPrefix(r, "$# error"):
			return Stage(i).String() + " reject"
		}
	}
	return "ok"
}

// shorter is an answer without code and text.
func shorter(answer string) string {
	if words := strings.Fields(answer); len(words) > 2 {
		return strings.Join(words[:2], " ")
	}
	return answer
}

// resolving lets every domain exist, which a host without a name server cannot
// find out, and adds a ruleset that makes of "$|" in a test what it is in a rule.
func resolving(t *testing.T, host sampleTree) sampleTree {
	t.Helper()
	const line = "Kresolve host -a<OKR> -T<TEMP>"
	text := host["etc/mail/sendmail.cf"].text
	if !strings.Contains(text, line) {
		t.Fatal("sendmail.cf has no map resolve")
	}
	host.file("etc/mail/sendmail.cf", strings.ReplaceAll(text, line, "Kresolve regex -m -a<OKR> .")+"STranslate\nR$* $$| $*\t$: $1 $| $2\n")
	return host
}

func TestPeerEnvelope(t *testing.T) {
	needSendmail(t)
	host := newSampleHost(t, "plain")
	relayHost(host)
	x := host.expander(t)
	list := relayEnvelopes()
	for i, real := range peerAnswers(t, resolving(t, host), list) {
		if got := shorter(x.answer(t, list[i])); got != real {
			t.Errorf("%s: %s; the real program says %s", list[i], got, real)
		}
	}
}

// TestPeerEnvelopeRandom compares random tables.
func TestPeerEnvelopeRandom(t *testing.T) {
	needSendmail(t)
	hosts := 3
	if os.Getenv("QMAILKIT_LONG") == "1" {
		hosts = 60
	}
	for seed := range hosts {
		host, list := randomRelayHost(t, uint64(seed))
		x := host.expander(t)
		accepted := 0
		for i, real := range peerAnswers(t, resolving(t, host), list) {
			if real == "ok" {
				accepted++
			}
			if got := shorter(x.answer(t, list[i])); got != real {
				t.Errorf("seed %d: %s: %s; the real program says %s\n%s\n%s", seed, list[i], got, real, host["etc/mail/access"].text, host["etc/mail/relay-domains"].text)
			}
		}
		if accepted == 0 || accepted == len(list) {
			t.Errorf("seed %d: %d of %d are accepted", seed, accepted, len(list))
		}
	}
}

// randomRelayHost makes tables of few names that often meet.
func randomRelayHost(tb testing.TB, seed uint64) (sampleTree, []envelope) {
	r := rand.New(rand.NewPCG(seed, 11))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	domain := func() string {
		return pick("", "", "x.", "y.", "x.y.") + pick("a.example", "b.example", "b.test", "example.com", "v.example")
	}
	addr := func() string {
		return pick("192.4", "192.1", "10.0") + "." + pick("2", "3") + "." + pick("1", "2", "20")
	}
	host := newSampleHost(tb, "plain")
	host.file("etc/mail/local-host-names", "example.com\n")
	host.file("etc/mail/virtuser-domains", "v.example\n")
	var access, relay strings.Builder
	for range r.IntN(8) {
		net := addr()
		fmt.Fprintln(&relay, pick(domain(), net, net[:strings.LastIndexByte(net, '.')], net[:strings.LastIndexByte(net, '.')+1]))
	}
	for range 5 + r.IntN(25) {
		net := addr()
		key := pick("Connect:", "From:", "To:", "", "") + pick(domain(), domain(), "u@"+domain(), "u@", net, net[:strings.LastIndexByte(net, '.')], net[:strings.IndexByte(net, '.')])
		fmt.Fprintf(&access, "%s\t%s\n", key, pick("OK", "RELAY", "RELAY", "REJECT", "REJECT", "DISCARD", "SKIP", "ERROR:5.7.1:550 no", "550 no", "ERROR:4.7.1:450 later", "relay"))
	}
	host.file("etc/mail/access", access.String())
	host.file("etc/mail/relay-domains", relay.String())
	var list []envelope
	for range 60 {
		list = append(list, envelope{addr(), pick("", "", domain()), pick("", "u", "v") + "@" + domain(), pick("u", "v") + "@" + domain()})
		if e := &list[len(list)-1]; e.sender[0] == '@' {
			e.sender = ""
		}
	}
	return host, list
}
