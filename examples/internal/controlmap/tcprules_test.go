package controlmap

import (
	"net/netip"
	"strings"
	"testing"
)

func TestRules(t *testing.T) {
	r, problems := ParseRules("tcp.smtp", "# who may\n127.:allow,RELAYCLIENT=\"\"\n192.0.2.5-7:deny\n192.0.2.6:allow\n192.0.2.:allow,RELAYCLIENT=//,X='a,b'\n"+
		"10.:allow,RELAYCLIENT=\"@x.example\"\n=.example.com:allow\n198.51.100.9:deny  \n198.51.:deny,RELAYCLIENT=\"\"\n:allow,QMAILQUEUE=\"/bin/q\"\nbad\nworse:permit\n203.:allow,RELAYCLIENT\n")
	if len(problems) != 3 || problems[0].Line != 11 || problems[2].Line != 13 {
		t.Errorf("problems %v", problems)
	}
	for addr, want := range map[string]Verdict{
		"127.0.0.1":    {Relay: true, Found: true},
		"192.0.2.5":    {Deny: true, Found: true},
		"192.0.2.6":    {Deny: true, Found: true}, // the first line counts
		"192.0.2.8":    {Relay: true, Found: true},
		"192.0.20.8":   {Found: true},
		"10.1.2.3":     {Relay: true, Suffix: "@x.example", Found: true},
		"198.51.100.9": {Deny: true, Found: true},
		"198.51.1.9":   {Deny: true, Found: true},
		"203.0.113.1":  {Found: true},
		"2001:db8::1":  {Found: true},
	} {
		if got := r.Client(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %+v, want %+v", addr, got, want)
		}
	}
}

func FuzzParseRules(f *testing.F) {
	seeds := []string{"", "127.:allow,RELAYCLIENT=\"\"\n", "1.2.3.4-9:deny\n:allow\n", "a-b:deny\n=x.:allow,A=\n", "1-999.2:deny\n", "\x00:allow,\xff=1x1,B=2y2"}
	if len(seeds) < 5 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, problems := ParseRules("x", text)
		if n := strings.Count(text, "\n") + 1; len(r.rules) > 256*n || len(problems) > n {
			t.Errorf("%d rules and %d problems of %d lines", len(r.rules), len(problems), n)
		}
		for _, a := range []string{"1.2.3.4", "192.0.2.5", "::1"} {
			r.Client(netip.MustParseAddr(a))
		}
	})
}
