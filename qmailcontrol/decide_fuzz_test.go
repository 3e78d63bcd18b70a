package qmailcontrol

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/internal/cdbfile"
)

// FuzzSeek compares with the reader of all cdb files, which sees more errors.
func FuzzSeek(f *testing.F) {
	cdbs, _ := filepath.Glob("testdata/newmrh/*/morercpthosts.cdb")
	if len(cdbs) < 6 {
		f.Fatalf("%d seeds", len(cdbs))
	}
	for _, name := range cdbs {
		for _, key := range []string{"example.com", ".example.com", "a", ""} {
			f.Add([]byte(slurp(f, name)), key)
		}
	}
	f.Fuzz(func(t *testing.T, cdb []byte, key string) {
		got, err := seek(string(cdb), key)
		if err != nil && (got || !errors.Is(err, ErrMorercpthosts)) {
			t.Fatal(got, err)
		}
		c, e := cdbfile.Open(strings.NewReader(string(cdb)), int64(len(cdb)))
		if e != nil {
			return
		}
		_, want, e := c.Get([]byte(key))
		if e == nil && (err != nil || got != want) {
			t.Fatalf("%t %v, want %t", got, err, want)
		}
	})
}

// FuzzDecisions: any files, any address; nothing panics, and what is decided
// holds together.
func FuzzDecisions(f *testing.F) {
	dirs, _ := filepath.Glob("testdata/control/*/control")
	if len(dirs) < 10 {
		f.Fatalf("%d seeds", len(dirs))
	}
	names := []string{"me", "locals", "virtualdomains", "percenthack", "rcpthosts", "smtproutes", "badmailfrom", "morercpthosts.cdb"}
	for _, dir := range dirs {
		var texts [8]string
		for i, name := range names {
			texts[i] = slurp(f, filepath.Join(dir, name))
		}
		for _, addr := range []string{"joe", "joe%a%b@hack.example.com", "\"J Oe\" <joe@h>, b@c+", "a@[127.0.0.1]"} {
			f.Add(addr, texts[0], texts[1], texts[2], texts[3], texts[4], texts[5], texts[6], texts[7])
		}
	}
	f.Fuzz(func(t *testing.T, addr, me, locals, vdoms, hack, rcpt, routes, bad, cdb string) {
		files := map[string]string{}
		for i, text := range []string{me, locals, vdoms, hack, rcpt, routes, bad, cdb} {
			files[names[i]] = text
		}
		c := inMemory(t, files)
		checked(t, c, nil)
		if err := c.ShowCtl(&strings.Builder{}, DefaultInstallation()); err != nil {
			t.Fatal(err)
		}
		decideAll(t, c, addr)
	})
}

func decideAll(t *testing.T, c *Config, addr string) {
	t.Helper()
	send, err := c.Send()
	if err != nil {
		t.Fatal(err)
	}
	target := send.Rewrite(addr)
	if target.Prepend == "" && target.To != target.Address || !strings.HasSuffix(target.To, target.Address) {
		t.Fatalf("%+v", target)
	}
	if target.Channel == Remote && target.Prepend != "" || !strings.Contains(target.Address, "@") {
		t.Fatalf("%+v", target)
	}
	if name := send.BounceName(target.To); !strings.HasSuffix(target.To, name) {
		t.Fatalf("%+v bounces as %q", target, name)
	}
	remote, err := c.Remote()
	if err != nil {
		t.Fatal(err)
	}
	if way := remote.Route(addr); way.How == ByRelay && !way.Found {
		t.Fatalf("%+v", way)
	}
	smtpd, err := c.SMTPD(nil)
	if err != nil {
		t.Fatal(err)
	}
	reply, got := smtpd.Recipient("FROM:<"+addr+">", "TO:<"+addr+">")
	if allowed, err := smtpd.Hosts.Allows(got); reply == ReplyOK && (err != nil || !allowed) {
		t.Fatalf("%q: %s, yet %t %v", addr, reply, allowed, err)
	}
	inject, err := c.Inject(nil)
	if err != nil {
		return
	}
	text, _, err := inject.Complete(addr)
	if err != nil {
		return
	}
	if _, err := parseTokens(text); err != nil {
		t.Fatalf("%q becomes %q: %v", addr, text, err)
	}
}
