//go:build unix

package vpopmail

import (
	"errors"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
)

func TestParseCredentials(t *testing.T) {
	long := strings.Repeat("p", 400)
	for in, want := range map[string]Credentials{
		"":                               {},
		"ann":                            {Name: "ann"},
		"ann\x00":                        {Name: "ann"},
		"ann\x00pw":                      {Name: "ann", Password: "pw"},
		"ann\x00pw\x00<1@x>":             {Name: "ann", Password: "pw", Challenge: "<1@x>"},
		"ann\x00pw\x00<1@x>\x00more\x00": {Name: "ann", Password: "pw", Challenge: "<1@x>"},
		"\x00pw\x00\x00":                 {Password: "pw"},
		"ann\x00\x00<1@x>\x00":           {Name: "ann", Challenge: "<1@x>"},
		"\xff\n\x00\xfe\x00":             {Name: "\xff\n", Password: "\xfe"},
		"ann\x00" + long + "\x00":        {Name: "ann", Password: qmailkit.Secret(long)},
	} {
		got, err := ParseCredentials([]byte(in))
		if err != nil || got != want {
			t.Errorf("%q: %q %q %q, %v", in, got.Name, string(got.Password), got.Challenge, err)
		}
	}
	if _, err := ParseCredentials(make([]byte, maxCredentials+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("513 bytes: %v", err)
	}
	if _, err := ParseCredentials(make([]byte, maxCredentials)); err != nil {
		t.Errorf("512 bytes: %v", err)
	}
	if _, err := ReadCredentials(strings.NewReader(strings.Repeat("x", 10_000))); !errors.Is(err, ErrTooLong) {
		t.Errorf("read: %v", err)
	}
	c, err := ReadCredentials(strings.NewReader("ann\x00pw\x00"))
	if err != nil || c != (Credentials{Name: "ann", Password: "pw"}) {
		t.Errorf("read: %v, %v", c, err)
	}
}

func TestServiceOf(t *testing.T) {
	for _, c := range []struct {
		port        int
		program, ip string
		want        Service
	}{
		{25, "imapd", "127.0.0.1", ServiceSMTP}, {465, "", "", ServiceSMTP}, {587, "", "", ServiceSMTP},
		{110, "/bin/true", "", ServicePOP}, {995, "imapd", "192.0.2.1", ServicePOP},
		{143, "true", "", ServiceIMAP}, {993, "", "", ServiceIMAP},
		{0, "", "", ServicePOP}, {4110, "/bin/true", "", ServiceSMTP}, {4110, "/x/imapd", "", ServiceIMAP},
		{4110, "true-imap", "", ServiceSMTP}, {0, "", "127.0.0.1", ServiceWebmail}, {143, "", "127.0.0.1", ServiceWebmail},
		{0, "true", "127.0.0.1", ServiceSMTP}, {110, "", "127.0.0.2", ServicePOP},
	} {
		if got := ServiceOf(c.port, c.program, c.ip); got != c.want {
			t.Errorf("%d %q %q: %v, want %v", c.port, c.program, c.ip, got, c.want)
		}
	}
	if s := Service(9).String(); s != "service(9)" {
		t.Error(s)
	}
}

func TestCleanIP(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "::FFFF:192.0.2.1": "192.0.2.1",
		"::1": "::1", "2001:db8::1%eth0": "2001:db8::1_eth0", "::ffff:1": "::ffff:1",
		"192.0.2.1\nx:allow": "192.0.2.1_x:allow", "a b\xff": "a_b_", "::ffff:1.2\n3": "1.2_3",
	} {
		if got := CleanIP(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestNewAttempt(t *testing.T) {
	env := map[string]string{"REMOTE_HOST": "::ffff:192.0.2.9", "TCPLOCALIP": "192.0.2.1", "VPOPMAIL_DOMAIN": "a_b.example/x", "TCPLOCALPORT": "143x"}
	look := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	a := NewAttempt(Credentials{Name: "n"}, "", look)
	want := Attempt{Credentials: Credentials{Name: "n"}, Service: ServiceIMAP, ClientIP: "192.0.2.9", ServerIP: "192.0.2.1", DefaultDomain: "a_b.example_x"}
	if a != want {
		t.Errorf("%+v", a)
	}
	env["TCPREMOTEIP"] = "" // set, and so REMOTE_HOST is not asked
	if a := NewAttempt(Credentials{}, "", look); a.ClientIP != "" {
		t.Errorf("%+v", a)
	}
}

func TestSplitLogin(t *testing.T) {
	for in, want := range map[string][3]string{
		"Ann@Example.COM": {"ann", "example.com", "ok"}, "ann%example.com": {"ann", "example.com", "ok"},
		"ann/example.com": {"ann", "example.com", "ok"}, "ann": {"ann", "", "ok"}, "": {"", "", "ok"}, "@x": {"", "x", "ok"},
		"a/b%c@x": {"a/b%c", "x", ""}, "a/b@x": {"a/b", "x", "ok"}, "a@b@x": {"a", "b@x", ""}, "a%b/x": {"a", "b/x", ""},
		"a b@x": {"a b", "x", ""}, "a@x_y": {"a", "x_y", ""}, "\xe4@x": {"\xe4", "x", ""}, "a:b@x": {"a:b", "x", ""},
		"a@-.": {"a", "-.", "ok"}, "!#$&'*+-.=?^_`{|}~@x": {"!#$&'*+-.=?^_`{|}~", "x", "ok"},
	} {
		user, domain, ok := splitLogin(in)
		word := ""
		if ok {
			word = "ok"
		}
		if got := [3]string{user, domain, word}; got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
