//go:build unix

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// dovecotConf serves POP3 with the base of the file name as UIDL, which is what
// qmail-pop3d and Courier without a list do.
const dovecotConf = `base_dir = %[1]s/run
log_path = %[1]s/log
protocols = pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:~/Maildir
pop3_uidl_format = %%f
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%%u %[1]s/passwd
}
userdb {
  driver = passwd-file
  args = username_format=%%u %[1]s/passwd
}
namespace inbox {
  inbox = yes
}
service pop3-login {
  inet_listener pop3 {
    port = %[2]d
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

// startDovecot serves the new host's mailboxes; it gives the server's address.
func startDovecot(s *site) string {
	t := s.t
	t.Helper()
	bin, err := exec.LookPath("dovecot")
	if err != nil {
		if _, err := os.Stat("/usr/sbin/dovecot"); err != nil {
			need(t, "dovecot is not installed (dovecot-core, dovecot-pop3d)")
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
	var passwd strings.Builder
	for _, b := range s.boxes {
		fmt.Fprintf(&passwd, "%s@example.com:{PLAIN}pass:%d:%d::%s::\n", b, sampleUID, sampleGID, s.new(b))
	}
	s.check(os.WriteFile(filepath.Join(dir, "passwd"), []byte(passwd.String()), 0o644))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.check(err)
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	conf := filepath.Join(dir, "conf")
	s.check(os.WriteFile(conf, fmt.Appendf(nil, dovecotConf, dir, addr.Port), 0o644))
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
		c, err := net.Dial("tcp", addr.String())
		if err == nil {
			c.Close()
			return addr.String()
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("dovecot does not answer")
	return ""
}

// pop gives the messages of a mailbox by UIDL, as POP3 does, with line ends of
// files.
func (s *site) pop(addr, user string) map[string]string {
	s.t.Helper()
	c, err := net.Dial("tcp", addr)
	s.check(err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(c)
	line := func() string {
		s.t.Helper()
		l, err := r.ReadString('\n')
		s.check(err)
		return strings.TrimRight(l, "\r\n")
	}
	ask := func(format string, args ...any) string {
		s.t.Helper()
		fmt.Fprintf(c, format+"\r\n", args...)
		l := line()
		if !strings.HasPrefix(l, "+OK") {
			s.t.Fatalf("%s: %s", fmt.Sprintf(format, args...), l)
		}
		return l
	}
	line()
	ask("USER %s@example.com", user)
	ask("PASS pass")
	var n int
	fmt.Sscanf(ask("STAT"), "+OK %d", &n)
	list := map[string]string{}
	for i := range n {
		uidl := strings.Fields(ask("UIDL %d", i+1))[2]
		ask("RETR %d", i+1)
		var text strings.Builder
		for l := line(); l != "."; l = line() {
			text.WriteString(strings.TrimPrefix(l, ".") + "\n")
		}
		list[uidl] = text.String()
	}
	ask("QUIT")
	return list
}

// Dovecot serves what was moved under the UIDLs that the source had, so that no
// POP3 program fetches it again; after a second pass too.
func TestDovecotUIDLs(t *testing.T) {
	s := newSite(t)
	s.move(0, "copy")
	addr := startDovecot(s)
	compare := func() {
		t.Helper()
		for _, box := range s.boxes {
			want := map[string]string{}
			for _, sub := range []string{"new", "cur"} {
				entries, err := os.ReadDir(s.old(box, "Maildir", sub))
				s.check(err)
				for _, e := range entries {
					text, err := os.ReadFile(s.old(box, "Maildir", sub, e.Name()))
					s.check(err)
					base, _, _ := strings.Cut(e.Name(), ":")
					want[base] = string(text)
				}
			}
			if len(want) == 0 {
				t.Errorf("%s has no messages", box)
			}
			s.diff(want, s.pop(addr, box))
		}
	}
	compare()
	// Dovecot has moved new mail to cur/ and has its own lists now.
	s.write("old/var/qmail/mailnames/example.com/anna/Maildir/new/1200000000.M1P1.old", "Subject: new\n\nlate\n", 0o600)
	if r := s.report(0, "copy"); r.Totals.Delivered != 1 {
		t.Errorf("%+v", r.Totals)
	}
	compare()
	s.move(0, "verify")
}

// What Courier has noted is read in each of its forms.
func TestCourierUIDLs(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"/3 9 1100000000\na.M1.host,S=5 5 3:1100000000:0\nb 7 4:0:1\nc 8 0:0:0\n": {"a.M1.host,S=5": "UID3-1100000000", "b": "UID4", "c": "c"},
		"/2 9 1100000000\na 5 3:1100000000\n":                                     {"a": "UID3-1100000000"},
		"/1 9\na 5 3\nwith blank 5 4\n":                                           {"a": "UID3", "with blank": "UID4"},
		"a 5\nb:2,S 6\nnonsense\n":                                                {"a": "a", "b": "b"},
		"":                                                                        {},
	} {
		got := courierUIDLs([]byte(text))
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
