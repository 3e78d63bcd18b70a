package hosttest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Talk is a connection to a server of lines.
type Talk struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

func (d *Dovecot) dial(addr string) *Talk {
	d.t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	k := &Talk{d.t, c, bufio.NewReader(c)}
	k.line()
	return k
}

func (k *Talk) line() string {
	k.t.Helper()
	s, err := k.r.ReadString('\n')
	if err != nil {
		k.t.Fatal(err)
	}
	return strings.TrimRight(s, "\r\n")
}

func (k *Talk) send(format string, args ...any) {
	k.t.Helper()
	if _, err := fmt.Fprintf(k.c, format+"\r\n", args...); err != nil {
		k.t.Fatal(err)
	}
}

// A Served message is one as a server gives it.
type Served struct {
	UID   int
	UIDL  string
	Flags []string
	Text  string
}

// Login says whether IMAP lets somebody in.
func (d *Dovecot) Login(user, password string) (*Talk, bool) {
	d.t.Helper()
	k := d.dial(d.imap)
	_, ok := k.do("%s", loginCommand(user, password))
	return k, ok
}

func loginCommand(user, password string) string {
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	return fmt.Sprintf(`LOGIN "%s" "%s"`, quote.Replace(user), quote.Replace(password))
}

// Refuse checks that nobody gets in with these passwords, by user. Dovecot
// lets each wait half a second, so they come together.
func (d *Dovecot) Refuse(wrong map[string][]string) {
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
func (d *Dovecot) ask(command string) (string, error) {
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
func (k *Talk) do(format string, args ...any) (answers []string, ok bool) {
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

// Folder gives the messages of a folder and its UIDVALIDITY.
func (k *Talk) Folder(name string) (list []Served, validity uint64) {
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
		list = append(list, Served{UID: uid, Flags: flags, Text: m[3]})
	}
	return list, validity
}

// Names are the folders that LIST or LSUB tells of.
func (k *Talk) Names(command string) []string {
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

// POP gives all messages by POP3, or false where the login is refused.
func (d *Dovecot) POP(user, password string) ([]Served, bool) {
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
	list := make([]Served, n)
	for i := range list {
		s, _ := ask("UIDL %d", i+1)
		list[i].UIDL = strings.Fields(s)[2]
		ask("RETR %d", i+1)
		var text strings.Builder
		for s := k.line2(); s != ".\r\n"; s = k.line2() {
			text.WriteString(strings.TrimPrefix(s, "."))
		}
		list[i].Text = text.String()
	}
	ask("QUIT")
	return list, true
}

func (k *Talk) line2() string {
	k.t.Helper()
	s, err := k.r.ReadString('\n')
	if err != nil {
		k.t.Fatal(err)
	}
	return s
}
