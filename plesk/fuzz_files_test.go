package plesk

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// FuzzPsaConf reads any text: it comes back as it was, and a path that is given
// out is absolute.
func FuzzPsaConf(f *testing.F) {
	for _, s := range []string{"", "# Plesk\nPLESK_MAILNAMES_D\t/var/qmail/mailnames\r\n", "PRODUCT_ROOT_D='/opt/psa'", "A\nA 1\nA=2", "PLESK_MAILNAMES_D ../x\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParsePsaConf(bytes.NewReader(text))
		if err != nil {
			return
		}
		if !bytes.Equal(c.Bytes(), text) {
			t.Fatalf("%q becomes %q", text, c.Bytes())
		}
		for range c.Check() {
		}
		if dir, err := c.Mailnames(); err == nil && (!strings.HasPrefix(dir, "/") || strings.Contains(dir, "..")) && !strings.Contains(string(text), "..") {
			t.Fatalf("%q: %q", text, dir)
		}
	})
}

// FuzzDotQmail reads any text as both kinds of .qmail: it comes back as it was,
// and of what is understood the same file can be made again.
func FuzzDotQmail(f *testing.F) {
	for _, s := range []string{"| true\n| /usr/bin/deliverquota ./Maildir\n&a@x.org\n", "", "./Maildir/", "|bouncesaying 'it'\\''s gone'", "| bouncesaying \"a b\" x\n&a", "+list\n#\n\n|x", "&a@x.org\x00\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseMailboxDot(strings.NewReader(text))
		if err != nil {
			return
		}
		d, err := ParseDefaultDot(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if string(m.File.Bytes()) != text || string(d.File.Bytes()) != text {
			t.Fatalf("%q becomes %q and %q", text, m.File.Bytes(), d.File.Bytes())
		}
		if len(m.Other) == 0 {
			want := &Mailname{Mailbox: m.Maildir, Forwards: m.Forwards}
			if q, err := NewMailboxDot(want); err == nil {
				again, err := ParseMailboxDot(bytes.NewReader(q.Bytes()))
				if err != nil || len(again.differs(want)) > 0 {
					t.Fatalf("%q becomes %q: %v, %q", text, q.Bytes(), err, again.differs(want))
				}
			}
		}
		if d.Bounce && len(d.Other) == 0 && len(d.Catch) == 0 {
			q, err := NewDefaultDot(Unknown{Action: "bounce", Text: d.Text})
			if err != nil {
				return
			}
			again, err := ParseDefaultDot(bytes.NewReader(q.Bytes()))
			if want := strings.TrimSpace(noControl(d.Text)); err != nil || !again.Bounce || again.Text != want && want != "" {
				t.Fatalf("%q becomes %q", text, q.Bytes())
			}
		}
	})
}

// FuzzQuote hands any text to sh and back.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "plain-word", "it's", "a b\n$x`id`", "\xff\\", "~", "a=b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, ok := shellWords(quote(s)); !ok || !slices.Equal(got, []string{s}) {
			t.Fatalf("%q: %s: %q, %v", s, quote(s), got, ok)
		}
	})
}

// FuzzAssignLine recognises lines that may be Plesk's, and adds a domain to any
// users/assign: other lines stay, what was added is recognised, a second time
// adds nothing, and taking it away leaves what was there.
func FuzzAssignLine(f *testing.F) {
	for _, s := range []string{ours + ".\n", "=example-com-anna:popuser:110:31:/m/example.com/anna:::\n.\n", "+100-:p:1:1:/m/a.org:-::\n=1001-x:p:1:1:/m/b.org/x:::\n.\nrest", ".\n"} {
		f.Add(s, "anna", "example.com", uint64(7))
	}
	f.Add(".\n", "a/b", "../x", uint64(1<<63))
	f.Fuzz(func(t *testing.T, text, name, domain string, id uint64) {
		a, err := users.ParseAssign(strings.NewReader(text))
		if err != nil {
			return
		}
		for e := range a.Entries() {
			if l, ok := ParseAssignLine(e); ok && (l.Domain == "" || l.Entry.Wildcard != (l.Name == "")) {
				t.Fatalf("%q: %+v", e.Text(), l)
			}
		}
		for range CheckAssign(a, DomainIDs{domain: id}) {
		}
		d := &Domain{Name: domain, Mailnames: []*Mailname{{Name: name, Mailbox: true}}}
		before := a.Len()
		if _, err := AddAssign(a, d, id, popOptions); err != nil {
			return
		}
		var lines []string
		for e := range a.Entries() {
			l, ok := ParseAssignLine(e)
			if e.Line > before && (!ok || l.Domain != DirName(domain) && strings.Trim(domain, "/") == domain) {
				t.Fatalf("%q is added, and not recognised: %+v", e.Text(), l)
			}
			lines = append(lines, e.Text())
		}
		if _, err := AddAssign(a, d, id, popOptions); err != nil || a.Len() != len(lines) {
			t.Fatalf("the second time: %v, %d lines, %d before", err, a.Len(), len(lines))
		}
		if !strings.HasPrefix(string(a.Bytes()), strings.Join(strings.SplitAfter(text, "\n")[:before], "")) {
			t.Fatalf("%q became %q", text, a.Bytes())
		}
	})
}

// FuzzCommands makes commands of any name and password: no secret in an
// argument, and sh gets every argument whole.
func FuzzCommands(f *testing.F) {
	f.Add("anna", "secret", "a.nna", "a@x.org", int64(-1))
	f.Add("-x", "\x00", ",", "-", int64(1<<62))
	f.Fuzz(func(t *testing.T, name, password, alias, forward string, quota int64) {
		m := &Mailname{Name: name, Mailbox: true, Quota: quota, Aliases: []string{alias}, Forwards: []string{forward}}
		got, probs := Commands(exampleCom, m, Credential{Clear: qmailkit.Secret(password)}, nil)
		if len(got) == 0 && len(probs) == 0 {
			t.Fatal("nothing, and no word about it")
		}
		for _, c := range got {
			for i, arg := range c.Argv {
				if strings.IndexByte(arg, 0) >= 0 || i == 2 && strings.HasPrefix(arg, "-") {
					t.Fatalf("argument %d of %q", i, c.Argv)
				}
			}
			if len(c.Env) != 1 || string(c.Env[0].Value) != password {
				t.Fatalf("%d variables", len(c.Env))
			}
		}
		if err := CommandScript(&bytes.Buffer{}, &bytes.Buffer{}, seqOf(got)); err != nil {
			t.Fatal(err)
		}
	})
}
