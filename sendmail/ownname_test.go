package sendmail

import (
	"slices"
	"testing"
)

// TestOwnNames asks what a host takes for itself, by the files of several
// systems.
func TestOwnNames(t *testing.T) {
	for name, c := range map[string]struct {
		file, text, hosts, full string
		local, remote           []string
	}{
		"whole":   {"etc/hostname", "mail.example.com\n", "", "mail.example.com", []string{"mail", "localhost"}, []string{"example.com"}},
		"short":   {"etc/hostname", "mail\n", "127.0.0.1 localhost\n192.0.2.7\tmail.example.com mail www.example.com # us\n192.0.2.8 MAIL.\n", "mail.example.com", []string{"mail", "www.example.com", "[192.0.2.7]"}, []string{"[127.0.0.1]", "[192.0.2.8]"}},
		"alias":   {"etc/nodename", "mail\n", "192.0.2.7 mail loghost mail.example.com\n", "mail.example.com", []string{"loghost", "mail"}, nil},
		"unknown": {"etc/hostname", "mail\n", "192.0.2.9 other.example.com other\n", "mail", []string{"mail"}, []string{"other"}},
		"redhat":  {"etc/sysconfig/network", "NETWORKING=yes\nHOSTNAME=\"mail.example.com\"\n", "", "mail.example.com", nil, []string{"yes"}},
		"freebsd": {"etc/rc.conf", "sshd_enable=YES\nhostname='mail.example.com' # us\n", "", "mail.example.com", nil, nil},
		"nothing": {"etc/rc.conf", "sshd_enable=YES\n", "", "localhost", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			host := newSampleHost(t, "")
			delete(host, "etc/hostname")
			host.file(c.file, c.text)
			host.file("etc/hosts", c.hosts)
			x := host.expander(t)
			if got := x.Macro("j"); got != c.full {
				t.Errorf("the host is %q, want %q", got, c.full)
			}
			for _, n := range append(c.local, c.full) {
				if !x.InClass("w", n) {
					t.Errorf("%s is not local", n)
				}
			}
			if slices.ContainsFunc(c.remote, func(n string) bool { return x.InClass("w", n) }) {
				t.Errorf("one of %v is local", c.remote)
			}
		})
	}
}
