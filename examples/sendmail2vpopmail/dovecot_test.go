package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/hosttest"
	"github.com/qmailkit/qmailkit/examples/sendmail2vpopmail/samplehost"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/mbox"
)

// plainText is a message without regard to line ends.
func plainText(s string) string {
	return strings.TrimRight(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
}

// sourceMessages are those of an mbox of the old host: text and IMAP flags.
func (s *site) sourceMessages(path string) (list []hosttest.Served) {
	s.t.Helper()
	text := s.read("old/" + path)
	for h, err := range mbox.NewIndexer(strings.NewReader(text), int64(len(text)), nil).All(s.t.Context()) {
		s.check(err)
		if h.Pseudo {
			continue
		}
		b, err := io.ReadAll(mbox.Body(strings.NewReader(text), h, mbox.Auto))
		s.check(err)
		m := hosttest.Served{UID: int(h.UID), UIDL: h.UIDL, Text: string(b), Flags: slices.Clone(h.Keywords)}
		for _, c := range h.Letters() {
			if f := map[rune]string{'S': `\Seen`, 'R': `\Answered`, 'F': `\Flagged`, 'T': `\Deleted`, 'D': `\Draft`}[c]; f != "" {
				m.Flags = append(m.Flags, f)
			}
		}
		slices.Sort(m.Flags)
		list = append(list, m)
	}
	return list
}

// rows are what must be the same of messages at both ends. The bytes of one
// with NUL are compared on the disk only: IMAP and POP3 cannot say NUL.
func rows(list []hosttest.Served, flags bool) []string {
	var out []string
	for _, m := range list {
		row := fmt.Sprintf("%x", sha256.Sum256([]byte(plainText(m.Text))))
		if i := strings.Index(m.Text, "Subject: Bytes"); i >= 0 && i < 600 {
			row = "Bytes"
		}
		if flags {
			row += fmt.Sprint(m.Flags)
		}
		out = append(out, row)
	}
	slices.Sort(out)
	return out
}

// crypts says whether this system's crypt(3) has the scheme of a hash.
func crypts(t *testing.T, a samplehost.Account) bool {
	t.Helper()
	perl, err := exec.LookPath("perl")
	if err != nil {
		hosttest.Need(t, "perl, which would ask crypt(3), is not installed")
	}
	out, err := exec.Command(perl, "-e", "print crypt($ARGV[0], $ARGV[1])", string(a.Password), string(a.Hash)).Output()
	return err == nil && string(out) == string(a.Hash)
}

// The accounts, mail, flags, folders and subscriptions that were moved, as
// Dovecot serves them.
func TestDovecot(t *testing.T) {
	s := newSite(t)
	s.move(3, "run", "-uidl", "uw")
	d := startDovecot(s, "wonderland.example")
	seen := 0
	wrong := map[string][]string{"postmaster@wonderland.example": {"", "*", "postmaster"}}
	for _, a := range s.man.Accounts {
		addr := a.Target + "@wonderland.example"
		if !a.Login {
			wrong[addr] = []string{string(a.Password), "", "*", string(a.Hash), "!" + string(a.Hash)}
			continue
		}
		if !crypts(t, a) {
			t.Logf("%s: crypt(3) does not know %s", a.Name, a.Scheme)
			continue
		}
		seen++
		wrong[addr] = []string{"x" + string(a.Password), string(a.Hash)}
		if a.Scheme != "des" { // which reads eight bytes only
			wrong[addr] = append(wrong[addr], string(a.Password)+"x")
		}
		k, ok := d.Login(addr, string(a.Password))
		if !ok {
			t.Errorf("%s does not get in with the old password (%s)", addr, a.Scheme)
			continue
		}
		s.account(k, &a)
		list, ok := d.POP(addr, string(a.Password))
		if !ok {
			t.Errorf("%s does not get in by POP3", addr)
		}
		for _, b := range a.Mailboxes {
			if b.Folder == nil {
				diff(t, rows(s.sourceMessages(b.Path), false), rows(list, false))
				list = nil
			}
		}
		if len(list) > 0 {
			t.Errorf("%s: %d messages from nowhere", addr, len(list))
		}
	}
	if seen == 0 {
		t.Error("crypt(3) knows no scheme at all")
	}
	d.Refuse(wrong)
}

// account compares what IMAP shows of an account.
func (s *site) account(k *hosttest.Talk, a *samplehost.Account) {
	t := s.t
	t.Helper()
	names := func(folders [][]string) []string {
		var list []string
		for _, f := range folders {
			dir, _, err := maildir.FolderDir(f, maildir.UTF7)
			s.check(err)
			list = append(list, strings.TrimPrefix(strings.Replace(dir, ".", "", 1), "."))
		}
		for i, n := range list {
			if n == "" {
				list[i] = "INBOX"
			}
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	folders := [][]string{nil}
	for _, b := range a.Mailboxes {
		folders = append(folders, b.Folder)
	}
	list := slices.DeleteFunc(k.Names("LIST"), func(n string) bool { return n == "Work" || n == "lists" }) // levels without mail
	diff(t, names(folders), list)
	diff(t, names(a.Subscriptions), k.Names("LSUB"))
	for _, b := range a.Mailboxes {
		got, validity := k.Folder(names([][]string{b.Folder})[0])
		want := s.sourceMessages(b.Path)
		if len(want) != b.Messages {
			t.Errorf("%s: %d messages, the manifest has %d", b.Path, len(want), b.Messages)
		}
		diff(t, rows(want, true), rows(got, true))
		if b.UIDValidity == 0 {
			continue
		}
		if validity != uint64(b.UIDValidity) {
			t.Errorf("%s: UIDVALIDITY %d, want %d", b.Path, validity, b.UIDValidity)
		}
		var uids []uint32
		for _, m := range got {
			uids = append(uids, uint32(m.UID))
		}
		diff(t, b.UIDs, uids)
	}
}

// With -uidl POP3 programs see the old UIDLs.
func TestDovecotUIDLs(t *testing.T) {
	for style, user := range map[string]string{"uw": "erin", "x-uidl": "judy"} {
		t.Run(style, func(t *testing.T) {
			s := newSite(t)
			s.move(3, "run", "-uidl", style, "-user", user)
			d := startDovecot(s, "wonderland.example")
			a := s.man.Account(user)
			if !crypts(t, *a) {
				hosttest.Need(t, "crypt(3) does not know %s", a.Scheme)
			}
			var want []string
			for _, m := range s.sourceMessages(a.Mailboxes[0].Path) {
				if style == "uw" {
					m.UIDL = fmt.Sprintf("%08x%08x", a.Mailboxes[0].UIDValidity, m.UID)
				}
				want = append(want, m.UIDL)
			}
			var got []string
			list, _ := d.POP(a.Target+"@wonderland.example", string(a.Password))
			for _, m := range list {
				got = append(got, m.UIDL)
			}
			diff(t, want, got)
		})
	}
}

// tinycdb reads what run has written.
func TestTinyCDB(t *testing.T) {
	cdb, err := exec.LookPath("cdb")
	if err != nil {
		hosttest.Need(t, "cdb is not installed (tinycdb)")
	}
	s := newSite(t)
	s.move(3, "run")
	dump := func(name string) map[string]string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, cdb, "-d", s.path(name)).Output()
		s.check(err)
		records := map[string]string{}
		for len(out) > 1 { // "+KLEN,DLEN:KEY->DATA\n", a blank line at the end
			var k, n int
			_, err := fmt.Sscanf(string(out[:bytes.IndexByte(out, ':')]), "+%d,%d", &k, &n)
			s.check(err)
			out = out[bytes.IndexByte(out, ':')+1:]
			records[string(out[:k])] = string(out[k+2 : k+2+n])
			out = out[k+2+n+1:]
		}
		return records
	}
	want := map[string]string{"": "-"}
	for _, d := range append([]string{"wonder-land.example"}, s.man.Domains...) { // an alias domain, by domaintable
		real := "wonderland.example"
		if d == "croquet.example" { // which has addresses of its own
			real = d
		}
		want["!"+d+"-"] = real + "\x0089\x0089\x00" + s.path("new/vpopmail/domains/"+real) + "\x00-\x00"
	}
	diff(t, want, dump("new/qmail/users/cdb"))
	want = map[string]string{}
	for line := range strings.Lines(s.read("new/vpopmail/domains/wonderland.example/vpasswd")) {
		name, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		want[name] = rest
	}
	got := dump("new/vpopmail/domains/wonderland.example/vpasswd.cdb")
	if len(got) != 17 || len(got) != len(want) {
		t.Errorf("%d records of %d accounts", len(got), len(want))
	}
	for name, rest := range want {
		if data := strings.TrimRight(got[name], "\x00\n"); !strings.HasPrefix(data+":", strings.TrimSuffix(rest, ":")+":") {
			t.Errorf("%s: %q, vpasswd has %q", name, got[name], rest)
		}
	}
}
