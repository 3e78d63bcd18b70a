package qmailcontrol

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/qmailkit/qmailkit"
)

func TestSettings(t *testing.T) {
	c := inMemory(t, map[string]string{"me": "a\x00b\nc\n", "helohost": "", "concurrencylocal": "x", "databytes": "7\n", "virtualdomains": "k:v\n"})
	s := c.Settings()
	if s.HeloHost != (Setting[string]{From: FromFile}) {
		t.Errorf("an empty file counts: %+v", s.HeloHost)
	}
	if s.IDHost != (Setting[string]{Value: "a\x00b", From: FromMe}) || s.BounceFrom != (Setting[string]{Value: "MAILER-DAEMON", From: FromDefault}) {
		t.Errorf("%+v %+v", s.IDHost, s.BounceFrom)
	}
	if s.ConcurrencyLocal != (Setting[int]{Value: 10, From: FromDefault}) || s.DataBytes != (Setting[int]{Value: 7, From: FromFile}) {
		t.Errorf("%+v %+v", s.ConcurrencyLocal, s.DataBytes)
	}
	if l := s.Locals; l.From != FromMe || strings.Join(l.Value, ",") != "a,b" {
		t.Errorf("me in the place of locals: %+v", l)
	}
	if s.RcptHosts.From != Nowhere || s.VirtualDomains.Value.Len() != 1 || s.SMTPRoutes.Value.Len() != 0 {
		t.Errorf("%+v", s)
	}
	empty := NewConfig().Settings()
	if empty.SMTPGreeting.From != Nowhere || empty.Locals.From != Nowhere || empty.DefaultHost.Value != "defaulthost" {
		t.Errorf("%+v", empty)
	}
	for source, want := range map[Source]string{Nowhere: "nowhere", FromFile: "file", FromMe: "me", FromDefault: "default", 9: "unknown"} {
		if source.String() != want {
			t.Errorf("%d: %s", source, source)
		}
	}
}

func TestProgramsStop(t *testing.T) {
	c := inMemory(t, map[string]string{"locals": "x\n"})
	if _, err := c.Send(); err != nil {
		t.Errorf("qmail-send needs locals only: %v", err)
	}
	_, err := c.Remote()
	var stop *ControlsError
	if !errors.As(err, &stop) || stop.Program != "qmail-remote" || stop.File != "helohost" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := c.Inject(nil); err != nil {
		t.Errorf("qmail-inject needs nothing: %v", err)
	}
	bad := "a(b"
	if _, err := c.Inject(&InjectOptions{PlusDomain: &bad}); !errors.Is(err, ErrHeader) {
		t.Errorf("%v", err)
	}
}

// Address literals of this host, the sender's source route, quotes, lengths.
func TestParseAddress(t *testing.T) {
	c := inMemory(t, map[string]string{"me": "mx.example\n", "rcpthosts": "mx.example\n", "badmailfrom": "@bad.example\n"})
	mine := netip.MustParseAddr("192.0.2.7")
	d, err := c.SMTPD(&SMTPDOptions{IsMe: func(ip netip.Addr) bool { return ip == mine }})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", maxAddress)
	for arg, want := range map[string]string{
		"TO:<a@[192.0.2.7]>":           "a@mx.example",
		"TO:<a@[0.0.0.0]>":             "a@mx.example",
		"TO:<a@[256.0.0.256]>":         "a@mx.example", // numbers are cut to bytes
		"TO:<a@[192.0.2.7]x>":          "a@[192.0.2.7]x",
		"TO:<a@[192.0.2.8]>":           "a@[192.0.2.8]",
		"TO:<a@[127.0.0.1]>":           "a@[127.0.0.1]",
		"TO:<@x,@y:@z:a@b>":            "@z:a@b",
		"TO:<@nocolon>":                "",
		"TO:   a@b c":                  "a@b",
		"nothing":                      "",
		`TO:<"a b>"\>\"@c>`:            `a b>>"@c`,
		"TO:<a@b\x00c>":                "a@b",
		"TO:<" + long[:maxAddress-1]:   long[:maxAddress-1],
		"TO:<" + long + ">":            "-",
		"TO:<" + `""` + long[1:] + ">": long[1:],
	} {
		got, ok := d.ParseAddress(arg)
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("%.40q: %.40q, want %.40q", arg, got, want)
		}
	}
	for _, test := range []struct{ mail, rcpt, reply, addr string }{
		{"FROM:<>", "TO:<a@MX.example>", ReplyOK, "a@MX.example"},
		{"FROM:<x@sub.bad.example>", "TO:<a>", ReplyOK, "a"},
		{"FROM:<x@BAD.example>", "TO:<a>", ReplyBadSender, ""},
		{"FROM:<" + long + ">", "TO:<a>", ReplySyntax, ""},
		{"FROM:<>", "TO:<" + long + ">", ReplySyntax, ""},
		{"FROM:<>", "TO:<a@other.example>", ReplyNotAllowed, ""},
	} {
		if reply, addr := d.Recipient(test.mail, test.rcpt); reply != test.reply || addr != test.addr {
			t.Errorf("%.40s %.40s: %q %q", test.mail, test.rcpt, reply, addr)
		}
	}
	suffix := ".relayed"
	d, err = c.SMTPD(&SMTPDOptions{RelayClient: &suffix})
	if err != nil {
		t.Fatal(err)
	}
	if reply, addr := d.Recipient("FROM:<>", "TO:<a@other.example>"); reply != ReplyOK || addr != "a@other.example.relayed" {
		t.Errorf("%q %q", reply, addr)
	}
}

func TestSMTPDLimits(t *testing.T) {
	env, junk := "12 bytes", "many"
	for _, test := range []struct {
		databytes, timeout string
		env                *string
		size               uint32
		seconds            int
	}{
		{"5\n", "9\n", nil, 5, 9},
		{"4294967295\n", "0\n", nil, 4294967294, 1},
		{"x", "4294967295", nil, 0, 1},
		{"5\n", "", &env, 12, 1200},
		{"5\n", "", &junk, 0, 1200},
	} {
		c := inMemory(t, map[string]string{"me": "m\n", "databytes": test.databytes, "timeoutsmtpd": test.timeout})
		d, err := c.SMTPD(&SMTPDOptions{DataBytes: test.env})
		if err != nil || d.DataBytes != test.size || d.Timeout != test.seconds {
			t.Errorf("%+v: %d %d %v", test, d.DataBytes, d.Timeout, err)
		}
	}
}

func TestRoutePorts(t *testing.T) {
	c := inMemory(t, map[string]string{"me": "mx\n", "smtproutes": "a:h:70000\nb:h:18446744073709551641\nc:[1.2.3.4\nd:1.2.3.4.5\ne::26\n"})
	r, err := c.Remote()
	if err != nil {
		t.Fatal(err)
	}
	for domain, want := range map[string]Route{
		"x.a":       {How: ByRelay, Host: "h", Port: 4464, Key: ".a"},
		"a":         {How: ByRelay, Host: "h", Port: 4464, Key: "a", Found: true},
		"b":         {How: ByRelay, Host: "h", Port: 25, Key: "b", Found: true},
		"c":         {How: ByRelay, Host: "[1.2.3.4", Port: 25, Key: "c", Found: true},
		"d":         {How: ByRelay, Host: "1.2.3.4.5", Port: 25, Key: "d", Found: true},
		"e":         {How: ByRelay, Port: 26, Key: "e", Found: true},
		"":          {Port: 25},
		"[1.2.3.4]": {How: ByLiteral, Host: "[1.2.3.4]", Addr: netip.MustParseAddr("1.2.3.4"), Port: 25},
	} {
		if domain == "x.a" { // only ".a" would match
			want = Route{Host: "x.a", Port: 25}
		}
		if got := r.Route(domain); got != want {
			t.Errorf("%q: %+v, want %+v", domain, got, want)
		}
	}
}

func TestReasons(t *testing.T) {
	c := inMemory(t, map[string]string{"locals": "l.example\n", "virtualdomains": "v.example:joe\nno.v.example:\n.v.example:wild\nann@x.example:ann\n"})
	s, err := c.Send()
	if err != nil {
		t.Fatal(err)
	}
	for recip, want := range map[string]Target{
		"a@L.example":    {Local, "a@L.example", "a@L.example", ByLocals, "", ""},
		"a@v.example":    {Local, "joe-a@v.example", "a@v.example", ByVirtualDomains, "joe", "v.example"},
		"a@b.v.example":  {Local, "wild-a@b.v.example", "a@b.v.example", ByVirtualDomains, "wild", ".v.example"},
		"a@no.v.example": {Remote, "a@no.v.example", "a@no.v.example", ByException, "", "no.v.example"},
		"Ann@x.example":  {Local, "ann-Ann@x.example", "Ann@x.example", ByVirtualDomains, "ann", "Ann@x.example"},
		"a@x.example":    {Remote, "a@x.example", "a@x.example", ByNothing, "", ""},
	} {
		got := s.Rewrite(recip)
		if got != want {
			t.Errorf("%s: %+v, want %+v", recip, got, want)
		}
		if local := got.Local(); local+recip[strings.LastIndexByte(recip, '@'):] != got.To {
			t.Errorf("%s: local part %q", recip, local)
		}
	}
}

func TestCompleteOddities(t *testing.T) {
	c := inMemory(t, map[string]string{"me": "me.example\n"})
	j, err := c.Inject(nil)
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"":                             "",
		"<>":                           "<>",
		"<joe@[]>":                     "<joe@[]>",
		"<@relay,@x:joe@h>":            "<joe@h.me.example>",
		"joe@":                         "joe@me.example",
		"joe@h.":                       "joe@h.me.example",
		"(c) joe (d) , ann":            "joe@me.example (c) (d), ann@me.example", // comments move
		"a) b]":                        `"a\)"@me.example, "b\]"@me.example`,
		"team: joe, ann@h;":            "team: joe@me.example, ann@h.me.example;",
		"joe ann":                      "joe@me.example, ann@me.example",
		"Joe Doe <joe> ann":            "Joe Doe <joe@me.example>, ann@me.example",
		`"a b"@h`:                      `"a b"@h.me.example`,
		`a\"b`:                         `a\"b@me.example`,
		"caf\xe9@x.y":                  "\"caf\xe9\"@x.y",
		"j@+":                          "j@.me.example",
		"a\\":                          "\"a\\\n\"@me.example",
		`"joe+"`:                       `"joe+"@me.example`,
		"<joe@a.b.>, (nested (c)) x@y": "<joe@a.b>, x@y.me.example (nested c)",
	} {
		got, _, err := j.Complete(field)
		if err != nil || got != want {
			t.Errorf("%q: %q %v, want %q", field, got, err, want)
		}
	}
	for _, field := range []string{`"a`, "(a", "[a", ") a", "] a", `"\`, "a>", "b:", ";;"} {
		if _, _, err := j.Complete(field); !errors.Is(err, ErrHeader) {
			t.Errorf("%q: %v", field, err)
		}
	}
}

// What qmail-showctl says of trouble.
func TestShowCtlTrouble(t *testing.T) {
	show := func(c *Config) (string, error) {
		var b strings.Builder
		err := c.ShowCtl(&b, DefaultInstallation())
		return b.String(), err
	}
	unreadable := func(names ...string) *Config {
		c := NewConfig()
		for _, name := range names {
			c.put(Entry{Name: name, Err: fs.ErrPermission})
		}
		return c
	}
	text, err := show(unreadable("me"))
	if !errors.Is(err, ErrControls) || !strings.HasSuffix(text, "0, 0.\nOops! Trouble reading control/me.") {
		t.Errorf("%v, %q", err, text)
	}
	text, err = show(unreadable("helohost", "databytes", "rcpthosts"))
	for _, name := range []string{"helohost", "databytes", "rcpthosts"} {
		if err != nil || !strings.Contains(text, "\n"+name+": Oops! Trouble reading this file.\n") {
			t.Errorf("%s: %v, %q", name, err, text)
		}
	}
	text, err = show(inMemory(t, map[string]string{"morercpthosts": "x\n", "databytes": "4294967295\n"}))
	if err != nil || !strings.Contains(text, "\nNo rcpthosts; doesn't matter that morercpthosts has x.\n") ||
		!strings.Contains(text, "\ndatabytes: SMTP DATA limit is 0 bytes.\n") {
		t.Errorf("%v, %q", err, text)
	}
}

// qmail-newmrh's words for each step at which it can fail.
func TestFatal(t *testing.T) {
	for want, err := range map[string]error{
		"unable to read control/morercpthosts: is a directory":                               fmt.Errorf("%w: %w", ErrReadMorercpthosts, qmailkit.ErrNotPlain),
		"unable to read control/morercpthosts: input/output error":                           &ParseError{Err: syscall.EIO},
		"unable to write to control/morercpthosts.tmp: out of disk space":                    &fs.PathError{Op: "write", Err: syscall.ENOSPC},
		"unable to move control/morercpthosts.tmp to control/morercpthosts.cdbaccess denied": &fs.PathError{Op: "rename", Err: syscall.EACCES},
	} {
		if got := Fatal(err); got != "qmail-newmrh: fatal: "+want {
			t.Errorf("%v: %q", err, got)
		}
	}
}

// A cdb cut at any place answers or fails, and never differs from the whole
// one in what it answers.
func TestCutCDB(t *testing.T) {
	var b buffer
	if err := WriteMorercpthosts(&b, strings.NewReader("one.example\n.two.example\nthree.example\n")); err != nil {
		t.Fatal(err)
	}
	failed, answered := 0, 0
	for size := range b.data {
		cut := string(b.data[:size])
		for _, key := range []string{"one.example", ".two.example", "three.example", "four.example"} {
			want, err := seek(string(b.data), key)
			if err != nil || want == strings.HasPrefix(key, "four") {
				t.Fatal(key, want, err)
			}
			got, err := seek(cut, key)
			switch {
			case err != nil:
				failed++
			case got != want:
				t.Errorf("%d bytes, %s: %t", size, key, got)
			default:
				answered++
			}
		}
	}
	if failed == 0 || answered == 0 {
		t.Errorf("%d failed, %d answered", failed, answered)
	}
}
