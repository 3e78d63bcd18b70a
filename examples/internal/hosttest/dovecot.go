package hosttest

import (
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

// A Dovecot is a running server.
type Dovecot struct {
	t          *testing.T
	imap, pop3 string // addresses
}

// A DovecotUser is somebody whose Maildir is served.
type DovecotUser struct {
	Name     string
	Password string // in Dovecot's form: {CRYPT} and a hash, {PLAIN} and the password
	UID, GID int
	Home     string // the Maildir is in it
}

// The configuration for base directory, lines of the test, and two ports.
const dovecotConf = `base_dir = %[1]s/run
log_path = %[1]s/log
protocols = imap pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
auth_mechanisms = plain
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:~/Maildir
%[2]s
passdb {
  driver = passwd-file
  args = username_format=%%u %[1]s/passwd
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
    port = %[3]d
  }
  inet_listener imaps {
    port = 0
  }
}
service pop3-login {
  inet_listener pop3 {
    port = %[4]d
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

// StartDovecot serves mailboxes below a directory of the test, by IMAP and
// POP3 on this machine only, until the test ends. Settings are lines for its
// configuration. Where Dovecot cannot be started the test is skipped.
func StartDovecot(t *testing.T, below string, users []DovecotUser, settings string) *Dovecot {
	t.Helper()
	bin, err := exec.LookPath("dovecot")
	if err != nil {
		if bin = "/usr/sbin/dovecot"; !exists(bin) {
			Need(t, "dovecot is not installed (dovecot-core, dovecot-imapd, dovecot-pop3d)")
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("dovecot is started by root only")
	}
	// The paths of its sockets must be short, and its users must get there.
	dir, err := os.MkdirTemp("", "dc")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	check(t, os.Chmod(dir, 0o755))
	for p := below; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		check(t, os.Chmod(p, 0o755))
	}
	var passwd strings.Builder
	for _, u := range users {
		fmt.Fprintf(&passwd, "%s:%s:%d:%d::%s::\n", u.Name, u.Password, u.UID, u.GID, u.Home)
	}
	check(t, os.WriteFile(filepath.Join(dir, "passwd"), []byte(passwd.String()), 0o644))
	var ports [2]int
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(t, err)
		ports[i] = l.Addr().(*net.TCPAddr).Port
		check(t, l.Close())
	}
	conf := fmt.Appendf(nil, dovecotConf, dir, settings, ports[0], ports[1])
	check(t, os.WriteFile(filepath.Join(dir, "conf"), conf, 0o644))
	d := &Dovecot{t, fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])}
	d.run(bin, dir)
	return d
}

// run starts the server and waits until it answers.
func (d *Dovecot) run(bin, dir string) {
	t := d.t
	t.Helper()
	cmd := exec.Command(bin, "-F", "-c", filepath.Join(dir, "conf"))
	var words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &words, &words
	check(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		stuck := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		defer stuck.Stop()
		cmd.Wait()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("dovecot: %s%s", &words, log)
		}
	})
	for range 200 {
		if answers(d.imap) && answers(d.pop3) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("dovecot does not answer")
}

func answers(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
