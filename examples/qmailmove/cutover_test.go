//go:build unix

package main

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"github.com/qmailkit/qmailkit/examples/internal/hosttest"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// A mailHost is an SMTP server that knows some addresses. It takes no mail.
type mailHost struct {
	addr string

	mu       sync.Mutex
	takes    func(addr string) string // the reply to RCPT
	commands []string
}

func newMailHost(t *testing.T, takes func(addr string) string) *mailHost {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &mailHost{addr: l.Addr().String(), takes: takes}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { h.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return h
}

func (h *mailHost) serve(c net.Conn) {
	defer c.Close()
	fmt.Fprint(c, "220 new.example.net ESMTP\r\n")
	for in := bufio.NewScanner(c); in.Scan(); {
		line := in.Text()
		h.mu.Lock()
		h.commands = append(h.commands, line)
		h.mu.Unlock()
		switch verb, rest, _ := strings.Cut(line, ":"); {
		case strings.HasPrefix(line, "EHLO"):
			fmt.Fprint(c, "250-new.example.net\r\n250 8BITMIME\r\n")
		case verb == "RCPT TO":
			fmt.Fprintf(c, "%s\r\n", h.takes(strings.Trim(rest, "<>")))
		case line == "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return
		default:
			fmt.Fprint(c, "250 ok\r\n")
		}
	}
}

func (h *mailHost) said() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.commands, "\n")
}

// knows takes just these.
func knows(names ...string) func(string) string {
	return func(addr string) string {
		for _, n := range names {
			if addr == n+"@"+sampleDomain {
				return "250 ok"
			}
		}
		return "550 sorry, no mailbox here by that name (#5.1.1)"
	}
}

func TestProbe(t *testing.T) {
	s := newSite(t)
	all := []string{"anna", "a.miller", "bert", "info", "team"}
	good := newMailHost(t, knows(all...))
	out, words := s.move(0, "probe", "-smtproute", good.addr, "-via", good.addr, "-json")
	if n := strings.Count(out, `"taken":"yes"`); n != 2*len(all) {
		t.Errorf("%s%s", out, words)
	}
	if said := good.said(); strings.Contains(said, "DATA") || !strings.Contains(said, "QUIT") || !strings.Contains(said, "RCPT TO:<a.miller@example.com>") {
		t.Errorf("%s", said)
	}
	bad := newMailHost(t, knows("anna", "bert", "info", "team"))
	if out, words = s.move(3, "probe", "-smtproute", bad.addr, "-json"); strings.Count(out, `"taken":"no"`) != 1 || !strings.Contains(words, "a.miller@example.com: REFUSED: sorry, no mailbox") {
		t.Errorf("%s%s", out, words)
	}
	busy := newMailHost(t, func(string) string { return "451 try again later" })
	if out, _ = s.move(4, "probe", "-smtproute", busy.addr, "-json"); strings.Count(out, `"taken":"unknown"`) != len(all) {
		t.Errorf("%s", out)
	}
	open := newMailHost(t, func(string) string { return "250 ok" })
	if _, words = s.move(0, "probe", "-smtproute", open.addr); !strings.Contains(words, "takes a name that nobody has") {
		t.Errorf("%s", words)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.check(err)
	nobody := l.Addr().String()
	l.Close()
	if _, words = s.move(4, "probe", "-smtproute", nobody); !strings.Contains(words, "connection refused") {
		t.Errorf("%s", words)
	}
	s.move(2, "probe")
}

func TestSMTPPath(t *testing.T) {
	for addr, want := range map[string]string{
		"joe@x.org": "<joe@x.org>", "a b@x.org": `<"a b"@x.org>`, `q"\q@x.org`: `<"q\"\\q"@x.org>`, "a..b@x.org": `<"a..b"@x.org>`,
		"j\xf6@x.org": "<\"j\xf6\"@x.org>", "a@b@x.org": `<"a@b"@x.org>`, "joe": "", "j\r\nDATA@x.org": "", "j@x.org>\nDATA": "", "j@": "",
	} {
		if got, err := smtpPath(addr); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", addr, got, err)
		}
	}
}

// control reads a file of the old host.
func (s *site) control(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.path("old/var/qmail/control", name))
	s.check(err)
	return string(b)
}

func TestCutover(t *testing.T) {
	s := newSite(t)
	h := newMailHost(t, knows("anna", "bert", "info", "team"))
	before := s.listing("old")
	// The new host refuses an address.
	if _, words := s.move(1, "cutover", "-smtproute", h.addr); !strings.Contains(words, errRefused.Error()) || !strings.Contains(words, "a.miller@example.com: REFUSED") {
		t.Errorf("%s", words)
	}
	s.diff(before, s.listing("old"))
	h.mu.Lock()
	h.takes = knows("anna", "a.miller", "bert", "info", "team")
	h.mu.Unlock()
	_, words := s.move(0, "cutover", "-smtproute", h.addr, "-n")
	if !strings.Contains(words, "example.com:12") || !strings.Contains(words, "Nothing was changed") {
		t.Errorf("%s", words)
	}
	s.diff(before, s.listing("old"))
	_, words = s.move(0, "cutover", "-smtproute", h.addr, "-old-address", "192.0.2.1")
	if !strings.Contains(words, "HUP") || !strings.Contains(words, "\n  192.0.2.1\n") {
		t.Errorf("%s", words)
	}
	s.diff("other.example:11\n", s.control("virtualdomains"))
	s.diff("backup.example:mx.example.net\nexample.com:"+h.addr+"\n", s.control("smtproutes"))
	s.diff(before["var/qmail/control/rcpthosts"], s.listing("old")["var/qmail/control/rcpthosts"])
	if _, words = s.move(0, "cutover", "-smtproute", h.addr); !strings.Contains(words, "nothing to change") {
		t.Errorf("%s", words)
	}
	// Another edits a file, then it is taken back.
	s.write("old/var/qmail/control/smtproutes", s.control("smtproutes")+"late.example:x\n", 0o644)
	s.switchBack()
	s.diff("other.example:11\nexample.com:12\n", s.control("virtualdomains"))
	s.diff("backup.example:mx.example.net\nlate.example:x\n", s.control("smtproutes"))
	if _, words = s.move(0, "cutover", "-undo"); !strings.Contains(words, "Nothing to take back") {
		t.Errorf("%s", words)
	}
}

// What stands in the files in other ways than one line a domain.
func TestCutoverDecides(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"locals":         {"locals": "localhost\nEXAMPLE.com\n", "virtualdomains": ""},
		"single address": {"virtualdomains": "joe@example.com:joe\nexample.com:12\nother.example:11\n"},
		"suffix":         {"virtualdomains": ".com:all\n"},
		"catch-all":      {"virtualdomains": ":all\n"},
		"no files":       {"virtualdomains": "-", "smtproutes": "-"},
		"two routes":     {"smtproutes": "example.com:a\n# comment\nEXAMPLE.COM:b\n:everything\n"},
		"not accepted":   {"rcpthosts": "localhost\n"},
		"open":           {"rcpthosts": "-"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			for f, text := range files {
				if text == "-" {
					s.check(os.Remove(s.path("old/var/qmail/control", f)))
					continue
				}
				s.write("old/var/qmail/control/"+f, text, 0o644)
			}
			before := s.listing("old")
			s.move(0, "cutover", "-smtproute", "mail.example.net:2525", "-force", "-timeout", "1s")
			root, err := os.OpenRoot(s.path("old/var/qmail/control"))
			s.check(err)
			defer root.Close()
			c, err := qmailcontrol.LoadConfig(t.Context(), root)
			s.check(err)
			send, err := c.Send()
			s.check(err)
			remote, err := c.Remote()
			s.check(err)
			hosts, err := c.RcptHosts()
			s.check(err)
			ok, err := hosts.Allows("joe@Example.com")
			s.check(err)
			r := remote.Route("example.com")
			if send.Rewrite("joe@example.com").Channel != qmailcontrol.Remote || r.Host != "mail.example.net" || r.Port != 2525 || !ok {
				t.Errorf("%v, %+v, %v", send.Rewrite("joe@example.com"), r, ok)
			}
			s.switchBack()
			after := s.listing("old")
			for name, line := range before {
				if cut := strings.LastIndexByte(line, ' '); cut > 0 && after[name][:strings.LastIndexByte(after[name], ' ')] != line[:cut] {
					t.Errorf("%s after undo: %s, was %s", name, after[name], line)
				}
			}
			if len(after) != len(before) {
				t.Errorf("%d files after undo, were %d", len(after), len(before))
			}
		})
	}
	s := newSite(t)
	s.write("old/var/qmail/control/virtualdomains", "#x:12\nother.example:11\nexample.com:12\n.Example.com:12\nexample.org:12\njoe@example.com:12\n", 0o644)
	if _, words := s.move(0, "cutover", "-n", "-smtproute", "mail.example.net", "-timeout", "1s"); strings.Count(words, "WARNING: ") != 2 ||
		!strings.Contains(words, "example.org leads to the same mailboxes as example.com by line 5") || !strings.Contains(words, "WARNING: .Example.com leads") {
		t.Errorf("%s", words)
	}
	for _, route := range []string{"", ":25", "host:", "host:smtp", "host:70000", "::1", "[::1]:25", "a b"} {
		s.move(2, "cutover", "-force", "-smtproute", route)
	}
	s.move(2, "cutover", "-smtproute", "host", "-source-dump", "") // nobody knows the addresses
}

// zone answers from records.
func zone(t *testing.T, text string) string {
	t.Helper()
	var records []dns.RR
	for line := range strings.Lines(text) {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, rr)
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	s := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		m.Authoritative = true
		name, known := q.Question[0].Name, false
		for range 3 { // aliases
			next := ""
			for _, rr := range records {
				if !strings.EqualFold(rr.Header().Name, name) {
					continue
				}
				known = true
				if rr.Header().Rrtype == q.Question[0].Qtype {
					m.Answer = append(m.Answer, rr)
				} else if c, ok := rr.(*dns.CNAME); ok {
					m.Answer = append(m.Answer, rr)
					if strings.HasSuffix(c.Target, ".com.") { // the server's own
						next = c.Target
					}
				}
			}
			if next == "" {
				break
			}
			name = next
		}
		if !known {
			m.Rcode = dns.RcodeNameError
		}
		w.WriteMsg(m)
	})}
	go s.ActivateAndServe()
	<-started
	t.Cleanup(func() { s.Shutdown() })
	return pc.LocalAddr().String()
}

func TestCutoverDNS(t *testing.T) {
	s := newSite(t)
	slow := zone(t, `example.com. 86400 IN MX 10 mx.example.com.
mx.example.com. 600 IN A 192.0.2.1
mail.example.com. 3600 IN CNAME mx.example.com.
webmail.example.com. 60 IN A 192.0.2.1
new.example.net. 60 IN A 192.0.2.2
old.example.net. 60 IN A 192.0.2.1
`)
	route := []string{"-smtproute", "new.example.net", "-force", "-timeout", "1s"}
	out, words := s.move(0, "cutover", append(route, "-dns", slow, "-n", "-json")...)
	for _, want := range []string{"its MX has a TTL of 86400", "its CNAME has a TTL of 3600", "pop.example.com is not in the DNS", "mx.example.com A 192.0.2.1, TTL 600 (elsewhere)",
		"\n  192.0.2.1\n"} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q in %s", want, words)
		}
	}
	if strings.Count(out, `"problem":"dns.ttl"`) != 2 || strings.Contains(out, "dns.mx") {
		t.Errorf("%s", out)
	}
	// After the switch it counts where they lead.
	s.move(0, "cutover", route...)
	out, _ = s.move(0, "cutover", append(route, "-dns", slow, "-json", "-client-name", "webmail.example.com")...)
	if !strings.Contains(out, "dns.mx") || !strings.Contains(out, "dns.client-name") {
		t.Errorf("%s", out)
	}
	done := zone(t, `example.com. 300 IN MX 10 new.example.net.
new.example.net. 300 IN A 192.0.2.2
mail.example.com. 300 IN A 192.0.2.2
`)
	out, words = s.move(0, "cutover", append(route, "-dns", done, "-json")...)
	if out != "" || !strings.Contains(words, "mail.example.com A 192.0.2.2, TTL 300 (the new host)") {
		t.Errorf("%s%s", out, words)
	}
	// A server that knows its own zone only names an alias and no more; nobody
	// may take the name for one that is not used.
	own := zone(t, `example.com. 300 IN MX 0 .
mail.example.com. 7200 IN CNAME mail.provider.example.
pop.example.com. 60 IN CNAME pop3.example.com.
pop3.example.com. 60 IN CNAME pop.example.com.
`)
	out, words = s.move(0, "cutover", append(route, "-dns", own, "-json")...)
	for _, want := range []string{"its MX says that it takes no mail", "its CNAME has a TTL of 7200", "is an alias of mail.provider.example, which this server cannot tell", "more than 8 aliases"} {
		if !strings.Contains(words, want) || strings.Contains(words, "mail.example.com is not in the DNS") {
			t.Errorf("no %q in %s%s", want, words, out)
		}
	}
	// A server that does not answer is no reason to stop.
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	s.check(err)
	dead := l.LocalAddr().String()
	l.Close()
	if out, _ = s.move(0, "cutover", append(route, "-dns", dead, "-json")...); !strings.Contains(out, "dns.unknown") {
		t.Errorf("%s", out)
	}
}

// The lines for qpsmtpd, judged by its own plugin.
func TestWhitelist(t *testing.T) {
	plugin := "/usr/share/qpsmtpd/plugins/whitelist"
	if _, err := os.Stat(plugin); err != nil {
		hosttest.Need(t, "qpsmtpd is not installed")
	}
	lines := whitelistHosts([]netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")})
	config := filepath.Join(t.TempDir(), "whitelisthosts")
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for ip, want := range map[string]string{"192.0.2.7": "OK", "2001:db8::7": "OK", "192.0.2.8": "DECLINED", "10.192.0.2": "DECLINED", "192.0.2.70": "OK"} {
		out, err := exec.Command("perl", "-e", whitelistPerl, plugin, config, ip).CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("%s: %s, %v, want %s", ip, out, err, want)
		}
	}
}

// whitelistPerl loads the plugin as Qpsmtpd::Plugin does, with a connection of
// its own, and prints what check_host returns. The configuration is read as
// Qpsmtpd reads it: without comments and blank lines.
const whitelistPerl = `
use strict; use warnings;
my ($plugin, $config, $ip) = @ARGV;
package Conn; sub remote_ip { $ip } sub notes { 1 }
package QP; sub connection { bless {}, "Conn" } sub config { open(my $f, "<", $config) or die; grep { /\S/ && !/^#/ } map { s/\s+$//r } <$f> }
package W; use Qpsmtpd::Constants; sub qp { bless {}, "QP" } sub log { 1 } sub adjust_karma { 1 }
my $text = do { open(my $f, "<", $plugin) or die; local $/; <$f> };
eval "package W; no warnings; $text\n1" or die $@;
my $r = W::check_host(bless {}, "W");
print $r == OK() ? "OK" : $r == DECLINED() ? "DECLINED" : $r;
`
