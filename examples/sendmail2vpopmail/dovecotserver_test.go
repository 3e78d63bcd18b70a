package main

import (
	"bufio"
	"bytes"
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
	"sync"
	"testing"
	"time"
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
		t.Skip("dovecot is started by root only")
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
	_, ok := k.do("%s", loginCommand(user, password))
	return k, ok
}

func loginCommand(user, password string) string {
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	return fmt.Sprintf(`LOGIN "%s" "%s"`, quote.Replace(user), quote.Replace(password))
}

// refuse checks that nobody gets in with these passwords, by user. Dovecot
// lets each wait half a second, so they come together.
func (d *dovecot) refuse(wrong map[string][]string) {
	var all sync.WaitGroup
	for user, list := range wrong {
		for _, password := range list {
			all.Go(func() {
				answer, err := d.ask(loginCommand(user, password))
				if err != nil || !strings.HasPrefix(answer, "x NO ") {
					d.t.Errorf("%s with password %q: %q, %v", user, password, answer, err)
				}
			})
		}
	}
	all.Wait()
}

// ask sends one IMAP command on a connection of its own.
func (d *dovecot) ask(command string) (string, error) {
	c, err := net.Dial("tcp", d.imap)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(c)
	if _, err := r.ReadString('\n'); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "x "+command+"\r\n"); err != nil {
		return "", err
	}
	return r.ReadString('\n')
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
