package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/examples/sendmail2vpopmail/samplehost"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/mbox"
)

// need skips a test for want of another program, unless peers are required.
func need(t *testing.T, why string, args ...any) {
	t.Helper()
	if os.Getenv("QMAILKIT_REQUIRE_PEERS") == "1" {
		t.Fatalf(why, args...)
	}
	t.Skipf(why, args...)
}

// A dovecot is a running server.
type dovecot struct {
	t          *testing.T
	imap, pop3 string // addresses
}

const dovecotConf = `base_dir = %[1]s/run
log_path = %[1]s/log
protocols = imap pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
auth_mechanisms = plain
first_valid_uid = 1
mail_location = maildir:~/Maildir
passdb {
  driver = passwd-file
  args = scheme=CRYPT username_format=%%u %[1]s/passwd
}
userdb {
  driver = passwd-file
  args = username_format=%%u %[1]s/passwd
}
namespace inbox {
  inbox = yes
}
service imap-login {
  inet_listener imap {
    port = %[2]d
  }
  inet_listener imaps {
    port = 0
  }
}
service pop3-login {
  inet_listener pop3 {
    port = %[3]d
  }
  inet_listener pop3s {
    port = 0
  }
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
`

// startDovecot serves the accounts of the new host, by what vpasswd says.
func startDovecot(s *site, domain string) *dovecot {
	t := s.t
	t.Helper()
	bin, err := exec.LookPath("dovecot")
	if err != nil {
		if _, err := os.Stat("/usr/sbin/dovecot"); err != nil {
			need(t, "dovecot is not installed (dovecot-core, dovecot-imapd, dovecot-pop3d)")
		}
		bin = "/usr/sbin/dovecot"
	}
	if os.Geteuid() != 0 {
		need(t, "dovecot is started by root only")
	}
	// The paths of its sockets must be short, and its users must get there.
	dir, err := os.MkdirTemp("", "dc")
	s.check(err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s.check(os.Chmod(dir, 0o755))
	for p := s.dir; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		s.check(os.Chmod(p, 0o755))
	}
	d := &dovecot{t: t}
	var passwd strings.Builder
	for u, err := range s.store().Users(t.Context(), domain) {
		s.check(err)
		fmt.Fprintf(&passwd, "%s@%s:{CRYPT}%s:89:89::%s::\n", u.Name, domain, string(u.Hash), u.Dir)
	}
	s.check(os.WriteFile(filepath.Join(dir, "passwd"), []byte(passwd.String()), 0o644))
	var ports [2]int
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		s.check(err)
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
		l.Close()
	}
	d.imap, d.pop3 = fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])
	conf := filepath.Join(dir, "conf")
	s.check(os.WriteFile(conf, fmt.Appendf(nil, dovecotConf, dir, ports[0], ports[1]), 0o644))
	cmd := exec.Command(bin, "-F", "-c", conf)
	var words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &words, &words
	s.check(cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("dovecot: %s%s", &words, log)
		}
	})
	for range 200 {
		c, err := net.Dial("tcp", d.pop3)
		if err == nil {
			c.Close()
			return d
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("dovecot does not answer")
	return nil
}

// A talk is a connection to a server of lines.
type talk struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

func (d *dovecot) dial(addr string) *talk {
	d.t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	k := &talk{d.t, c, bufio.NewReader(c)}
	k.line()
	return k
}

func (k *talk) line() string {
	k.t.Helper()
	s, err := k.r.ReadString('\n')
	if err != nil {
		k.t.Fatal(err)
	}
	return strings.TrimRight(s, "\r\n")
}

func (k *talk) send(format string, args ...any) {
	k.t.Helper()
	if _, err := fmt.Fprintf(k.c, format+"\r\n", args...); err != nil {
		k.t.Fatal(err)
	}
}

// A served message is one as a server gives it.
type served struct {
	uid   int
	uidl  string
	flags []string
	text  string
}

// login says whether IMAP lets somebody in.
func (d *dovecot) login(user, password string) (*talk, bool) {
	d.t.Helper()
	k := d.dial(d.imap)
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	_, ok := k.do(`LOGIN "%s" "%s"`, quote.Replace(user), quote.Replace(password))
	return k, ok
}

var literal = regexp.MustCompile(`\{(\d+)\}$`)

// do is an IMAP command; each answer is its line with the literals in it.
func (k *talk) do(format string, args ...any) (answers []string, ok bool) {
	k.t.Helper()
	k.send("x "+format, args...)
	for {
		s := k.line()
		for m := literal.FindStringSubmatch(s); m != nil; m = literal.FindStringSubmatch(s) {
			n, _ := strconv.Atoi(m[1])
			buf := make([]byte, n)
			if _, err := io.ReadFull(k.r, buf); err != nil {
				k.t.Fatal(err)
			}
			s += "\r\n" + string(buf)
			if rest := k.line(); rest != "" {
				s += "\x00" + rest // what stands behind the literal
			}
			break
		}
		if strings.HasPrefix(s, "x ") {
			return answers, strings.HasPrefix(s, "x OK")
		}
		answers = append(answers, s)
	}
}

var fetched = regexp.MustCompile(`(?s)^\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\) BODY\[\] \{\d+\}\r\n(.*)\x00\)$`)

// folder gives the messages of a folder and its UIDVALIDITY.
func (k *talk) folder(name string) (list []served, validity uint64) {
	k.t.Helper()
	answers, ok := k.do(`EXAMINE "%s"`, name)
	if !ok {
		k.t.Fatalf("no folder %s: %q", name, answers)
	}
	for _, a := range answers {
		if _, v, found := strings.Cut(a, "[UIDVALIDITY "); found {
			v, _, _ = strings.Cut(v, "]")
			validity, _ = strconv.ParseUint(v, 10, 32)
		}
	}
	answers, ok = k.do("UID FETCH 1:* (UID FLAGS BODY.PEEK[])")
	if !ok {
		k.t.Fatalf("%s: %q", name, answers)
	}
	for _, a := range answers {
		m := fetched.FindStringSubmatch(a)
		if m == nil {
			k.t.Fatalf("not understood: %.200q", a)
		}
		uid, _ := strconv.Atoi(m[1])
		flags := slices.DeleteFunc(strings.Fields(m[2]), func(f string) bool { return f == `\Recent` })
		slices.Sort(flags)
		list = append(list, served{uid: uid, flags: flags, text: m[3]})
	}
	return list, validity
}

// names are the folders that LIST or LSUB tells of.
func (k *talk) names(command string) []string {
	k.t.Helper()
	answers, _ := k.do(`%s "" "*"`, command)
	var list []string
	for _, a := range answers {
		if _, name, ok := strings.Cut(a, `"." `); ok {
			list = append(list, strings.Trim(name, `"`))
		}
	}
	slices.Sort(list)
	return list
}

// pop gives all messages by POP3, or false where the login is refused.
func (d *dovecot) pop(user, password string) ([]served, bool) {
	d.t.Helper()
	k := d.dial(d.pop3)
	ask := func(format string, args ...any) (string, bool) {
		k.send(format, args...)
		s := k.line()
		return s, strings.HasPrefix(s, "+OK")
	}
	ask("USER %s", user)
	if _, ok := ask("PASS %s", password); !ok {
		return nil, false
	}
	stat, _ := ask("STAT")
	var n int
	fmt.Sscanf(stat, "+OK %d", &n)
	list := make([]served, n)
	for i := range list {
		s, _ := ask("UIDL %d", i+1)
		list[i].uidl = strings.Fields(s)[2]
		ask("RETR %d", i+1)
		var text strings.Builder
		for s := k.line2(); s != ".\r\n"; s = k.line2() {
			text.WriteString(strings.TrimPrefix(s, "."))
		}
		list[i].text = text.String()
	}
	ask("QUIT")
	return list, true
}

func (k *talk) line2() string {
	k.t.Helper()
	s, err := k.r.ReadString('\n')
	if err != nil {
		k.t.Fatal(err)
	}
	return s
}

// plainText is a message without regard to line ends.
func plainText(s string) string {
	return strings.TrimRight(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
}

// sourceMessages are those of an mbox of the old host: text and IMAP flags.
func (s *site) sourceMessages(path string) (list []served) {
	s.t.Helper()
	text := s.read("old/" + path)
	for h, err := range mbox.NewIndexer(strings.NewReader(text), int64(len(text)), nil).All(s.t.Context()) {
		s.check(err)
		if h.Pseudo {
			continue
		}
		b, err := io.ReadAll(mbox.Body(strings.NewReader(text), h, mbox.Auto))
		s.check(err)
		m := served{uid: int(h.UID), uidl: h.UIDL, text: string(b), flags: slices.Clone(h.Keywords)}
		for _, c := range h.Letters() {
			if f := map[rune]string{'S': `\Seen`, 'R': `\Answered`, 'F': `\Flagged`, 'T': `\Deleted`, 'D': `\Draft`}[c]; f != "" {
				m.flags = append(m.flags, f)
			}
		}
		slices.Sort(m.flags)
		list = append(list, m)
	}
	return list
}

// rows are what must be the same of messages at both ends. The bytes of one
// with NUL are compared on the disk only: IMAP and POP3 cannot say NUL.
func rows(list []served, flags bool) []string {
	var out []string
	for _, m := range list {
		row := fmt.Sprintf("%x", sha256.Sum256([]byte(plainText(m.text))))
		if i := strings.Index(m.text, "Subject: Bytes"); i >= 0 && i < 600 {
			row = "Bytes"
		}
		if flags {
			row += fmt.Sprint(m.flags)
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
		need(t, "perl, which would ask crypt(3), is not installed")
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
	for _, a := range s.man.Accounts {
		addr := a.Target + "@wonderland.example"
		if !a.Login {
			for _, pw := range []string{string(a.Password), "", "*", string(a.Hash), "!" + string(a.Hash)} {
				if _, ok := d.login(addr, pw); ok {
					t.Errorf("%s, who cannot log in, gets in with %q", addr, pw)
				}
			}
			continue
		}
		if !crypts(t, a) {
			t.Logf("%s: crypt(3) does not know %s", a.Name, a.Scheme)
			continue
		}
		seen++
		if _, ok := d.login(addr, string(a.Password)+"x"); ok && a.Scheme != "des" { // which reads eight bytes
			t.Errorf("%s gets in with a wrong password", addr)
		}
		if _, ok := d.login(addr, "x"+string(a.Password)); ok {
			t.Errorf("%s gets in with a wrong password", addr)
		}
		k, ok := d.login(addr, string(a.Password))
		if !ok {
			t.Errorf("%s does not get in with the old password (%s)", addr, a.Scheme)
			continue
		}
		d.account(s, k, &a)
		list, ok := d.pop(addr, string(a.Password))
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
	if _, ok := d.pop("postmaster@wonderland.example", "*"); ok {
		t.Error("postmaster gets in")
	}
}

// account compares what IMAP shows of an account.
func (d *dovecot) account(s *site, k *talk, a *samplehost.Account) {
	t := d.t
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
	list := slices.DeleteFunc(k.names("LIST"), func(n string) bool { return n == "Work" || n == "lists" }) // levels without mail
	diff(t, names(folders), list)
	diff(t, names(a.Subscriptions), k.names("LSUB"))
	for _, b := range a.Mailboxes {
		got, validity := k.folder(names([][]string{b.Folder})[0])
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
			uids = append(uids, uint32(m.uid))
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
				need(t, "crypt(3) does not know %s", a.Scheme)
			}
			var want []string
			for _, m := range s.sourceMessages(a.Mailboxes[0].Path) {
				if style == "uw" {
					m.uidl = fmt.Sprintf("%08x%08x", a.Mailboxes[0].UIDValidity, m.uid)
				}
				want = append(want, m.uidl)
			}
			var got []string
			list, _ := d.pop(a.Target+"@wonderland.example", string(a.Password))
			for _, m := range list {
				got = append(got, m.uidl)
			}
			diff(t, want, got)
		})
	}
}

// tinycdb reads what run has written.
func TestTinyCDB(t *testing.T) {
	cdb, err := exec.LookPath("cdb")
	if err != nil {
		need(t, "cdb is not installed (tinycdb)")
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
	dir := s.path("new/vpopmail/domains/wonderland.example")
	want := map[string]string{"": "-"}
	for _, d := range s.man.Domains {
		want["!"+d+"-"] = "wonderland.example\x0089\x0089\x00" + dir + "\x00-\x00"
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
