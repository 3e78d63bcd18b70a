package sendmail

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
)

func domains(t *testing.T, h *Host) []string {
	t.Helper()
	var got []string
	for d, err := range h.Domains(context.Background()) {
		s := ""
		if d.Raw != "" {
			name := d.Name
			if err != nil {
				name += d.Raw // which is all that there is
			}
			s = fmt.Sprintf("%s:%d %s %s", d.Path, d.Line, name, d.Class)
			if d.Host {
				s += " host"
			}
		}
		if p, ok := AsProblem(err); ok {
			s += " ! " + show(p)
		} else if err != nil {
			t.Fatal(err)
		}
		got = append(got, s)
	}
	return got
}

func TestDomains(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"local-host-names", map[string]string{
			"etc/hostname": "# name\nOld.example.com\n",
			"etc/mail/local-host-names": "# names of this host\n\nexample.com\n  Example.ORG\t# our other name\nexample.com\nEXAMPLE.com.\n" +
				"old.example.com\nlocalhost\nlocalhost.localdomain\n*.example.net\n.example.net\n[192.0.2.1]\n192.0.2.2\n2001:db8::1\n" +
				"../x\na..b\n-a.example\na:b.example\ncaf\xe9.example\ntwo.example words\n" + strings.Repeat("l", 64) + ".example\nshort\n$m\nlast.example",
		}, []string{
			"etc/mail/local-host-names:3 example.com w",
			"etc/mail/local-host-names:4 example.org w",
			"etc/mail/local-host-names:7 old.example.com w host",
			"etc/mail/local-host-names:8 localhost w host",
			"etc/mail/local-host-names:9 localhost.localdomain w host",
			"etc/mail/local-host-names:10 *.example.net w ! etc/mail/local-host-names:10 domain-wildcard error",
			"etc/mail/local-host-names:11 .example.net w ! etc/mail/local-host-names:11 domain-wildcard error",
			"etc/mail/local-host-names:12 [192.0.2.1] w ! etc/mail/local-host-names:12 domain-literal error",
			"etc/mail/local-host-names:13 192.0.2.2 w ! etc/mail/local-host-names:13 domain-literal error",
			"etc/mail/local-host-names:14 2001:db8::1 w ! etc/mail/local-host-names:14 domain-literal error",
			"etc/mail/local-host-names:15 ../x w ! etc/mail/local-host-names:15 domain-malformed error",
			"etc/mail/local-host-names:16 a..b w ! etc/mail/local-host-names:16 domain-malformed error",
			"etc/mail/local-host-names:17 -a.example w ! etc/mail/local-host-names:17 domain-malformed error",
			"etc/mail/local-host-names:18 a:b.example w ! etc/mail/local-host-names:18 domain-malformed error",
			"etc/mail/local-host-names:19 caf\xe9.example w ! etc/mail/local-host-names:19 domain-malformed error",
			"etc/mail/local-host-names:20 two.example w",
			" ! etc/mail/local-host-names:20 domain-words warning",
			"etc/mail/local-host-names:21 " + strings.Repeat("l", 64) + ".example w ! etc/mail/local-host-names:21 domain-malformed error",
			"etc/mail/local-host-names:22 short w host",
			"etc/mail/local-host-names:23 $m w ! etc/mail/local-host-names:23 domain-wildcard error",
			"etc/mail/local-host-names:24 last.example w",
		}},
		{"older places", map[string]string{
			"etc/sendmail.cw":      "a.example\nb.example\n",
			"etc/mail/sendmail.cw": "->/etc/sendmail.cw",
			"etc/sendmail.cf": "# V8\nDjmail.c.example\nCwc.example\td.example\nCw mail.c.example\nFw/etc/mail/more %[^\\#]\nFw-o /etc/mail/none\n" +
				"Fw/etc/sendmail.cw\nFw|/bin/hosts\nFw/etc/mail/missing\nC{VirtHost}v.example a.example\nF{VirtHost}/etc/mail/virtual-hosts\nCPw x\nFa/etc/other\n",
			"etc/mail/more":          "e.example\n",
			"etc/mail/virtual-hosts": "w.example\n",
		}, []string{
			"etc/sendmail.cw:1 a.example w",
			"etc/sendmail.cw:2 b.example w",
			"etc/sendmail.cf:3 c.example w",
			"etc/sendmail.cf:3 d.example w",
			"etc/sendmail.cf:4 mail.c.example w host",
			"etc/mail/more:1 e.example w",
			" ! etc/sendmail.cf:8 domains-unreadable error",
			" ! etc/sendmail.cf:9 domains-unreadable error",
			"etc/sendmail.cf:10 v.example VirtHost",
			"etc/mail/virtual-hosts:1 w.example VirtHost",
		}},
		{"no plain file", map[string]string{"etc/mail/local-host-names/": "", "etc/sendmail.cw": "a.example\n"}, []string{
			" ! etc/mail/local-host-names domains-unreadable error",
			"etc/sendmail.cw:1 a.example w",
		}},
		{"nothing", map[string]string{}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, tt.files)
			f.write("etc/passwd", plainPasswd)
			diff(t, tt.want, domains(t, f.open()))
		})
	}
}

func TestDomainsLongLine(t *testing.T) {
	f := newFixture(t, map[string]string{"etc/passwd": plainPasswd, "etc/mail/local-host-names": strings.Repeat("x", 300) + "\na.example\n"})
	f.opts.MaxLine = 100
	diff(t, []string{" ! etc/mail/local-host-names:1 long-line error", "etc/mail/local-host-names:2 a.example w"}, domains(t, f.open()))
	f.opts.MaxFile = 200
	var last error
	for _, err := range f.open().Domains(context.Background()) {
		last = err
	}
	if !errors.Is(last, qmailkit.ErrIncomplete) {
		t.Errorf("a file past its bound: %v", last)
	}
}

func FuzzDomains(f *testing.F) {
	for _, s := range []string{"example.com\n", "# c\n*.x\n[1.2.3.4]\n", "Cwa b c\nFw-o /etc/mail/x\nDjme\n", "Fw\nC\nF{VirtHost}\n", "\x00\xff\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := Open(memTree{"etc/passwd": plainPasswd, "etc/mail/local-host-names": text, "etc/mail/sendmail.cf": text, "etc/mail/x": text}, nil)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for d, err := range h.Domains(context.Background()) {
			if errors.Is(err, qmailkit.ErrIncomplete) {
				t.Fatal(err)
			}
			if err != nil {
				continue
			}
			if seen[d.Name] || d.Line == 0 || domainName(d.Name) != nil || strings.ContainsAny(d.Name, "/:\n\x00") {
				t.Fatalf("domain %+v", d)
			}
			seen[d.Name] = true
		}
		for p, err := range h.NotCarried(context.Background()) {
			if err != nil || p.Path == "" || p.Code == "" {
				t.Fatalf("%v %v", p, err)
			}
		}
	})
}
