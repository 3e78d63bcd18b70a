//go:build unix

package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// oddHost is an SMTP server that misbehaves.
func oddHost(t *testing.T, serve func(in *bufio.Scanner, c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(bufio.NewScanner(c), c)
			}()
		}
	}()
	return l.Addr().String()
}

// smtp answers each command, but for odd ones.
func smtp(in *bufio.Scanner, c net.Conn, odd func(line string) (reply string, more bool)) {
	fmt.Fprint(c, "220 odd\r\n")
	for in.Scan() {
		line := in.Text()
		reply, more := odd(line)
		switch {
		case reply != "":
		case line == "QUIT":
			reply = "221 bye\r\n"
		case strings.HasPrefix(line, "RCPT TO:<yes"):
			reply = "250 ok\r\n"
		case strings.HasPrefix(line, "RCPT"):
			reply = "550 no\r\n"
		default:
			reply = "250 ok\r\n"
		}
		if fmt.Fprint(c, reply); !more || line == "QUIT" {
			return
		}
	}
}

// TestProbeOddHosts asks servers that cut off, hang, never end a reply, or say
// more than they were asked: no address counts as taken that was not.
func TestProbeOddHosts(t *testing.T) {
	var list []string
	for i := range 2*perMail + 10 {
		list = append(list, fmt.Sprintf("%s%d@example.com", []string{"yes", "no"}[i%2], i))
	}
	half := len(list) / 2
	quiet := func(string) (string, bool) { return "", true }
	for name, tc := range map[string]struct {
		serve            func(in *bufio.Scanner, c net.Conn)
		refused, unknown int
	}{
		"well": {func(in *bufio.Scanner, c net.Conn) { smtp(in, c, quiet) }, half, 0},
		"cuts off at RSET": {func(in *bufio.Scanner, c net.Conn) {
			smtp(in, c, func(line string) (string, bool) { return "", line != "RSET" })
		}, half, 0},
		"cuts off at the second MAIL": {func(in *bufio.Scanner, c net.Conn) {
			mails := 0
			smtp(in, c, func(line string) (string, bool) {
				if strings.HasPrefix(line, "MAIL") {
					mails++
				}
				if mails == 2 {
					return "421 enough\r\n", false
				}
				return "", true
			})
		}, half, 0},
		"hangs": {func(in *bufio.Scanner, c net.Conn) {
			smtp(in, c, func(line string) (string, bool) {
				if strings.HasPrefix(line, "RCPT") {
					in.Scan()
					return "250 ok\r\n", false
				}
				return "", true
			})
		}, 0, len(list)},
		"no end": {func(in *bufio.Scanner, c net.Conn) {
			for fmt.Fprint(c, "220-"+strings.Repeat("x", 1000)+"\r\n"); ; {
				if _, err := fmt.Fprint(c, "220-x\r\n"); err != nil {
					return
				}
			}
		}, 0, len(list)},
		"says all at once": {func(in *bufio.Scanner, c net.Conn) {
			smtp(in, c, func(line string) (string, bool) {
				if strings.HasPrefix(line, "EHLO") {
					return "250 ok\r\n250 ok\r\n", true
				}
				return "", true
			})
		}, 0, len(list)},
		"one reply behind": {func(in *bufio.Scanner, c net.Conn) {

			fmt.Fprint(c, "220 odd\r\n")
			last := "250 ok\r\n" // each reply is that to the command before
			for in.Scan() {
				fmt.Fprint(c, last)
				switch line := in.Text(); {
				case line == "QUIT":
					return
				case strings.HasPrefix(line, "RCPT TO:<no"):
					last = "550 no\r\n"
				default:
					last = "250 ok\r\n"
				}
			}
		}, 0, len(list)},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConfig()
			c.probe.timeout = 10 * time.Second
			if name == "hangs" {
				c.probe.timeout = 20 * time.Millisecond
			}
			a, err := c.ask(t.Context(), oddHost(t, tc.serve), "example.com", list)
			if err != nil || len(a.list) != len(list) || a.refused != tc.refused || a.unknown != tc.unknown {
				t.Fatalf("%v: %d addresses, %d refused, %d unknown; %+v", err, len(a.list), a.refused, a.unknown, a.list[0])
			}
			for _, x := range a.list {
				if x.Taken == "yes" && !strings.HasPrefix(string(x.Address), "yes") {
					t.Errorf("%+v", x)
				}
			}
		})
	}
}

// TestCutoverItself gives the old host as the new one: mail would go round.
func TestCutoverItself(t *testing.T) {
	s := newSite(t)
	h := oddHost(t, func(in *bufio.Scanner, c net.Conn) {
		fmt.Fprint(c, "220 OLD.example.net ESMTP\r\n")
		for in.Scan() {
			if in.Text() == "QUIT" {
				fmt.Fprint(c, "221 bye\r\n")
				return
			}
			fmt.Fprint(c, "250 ok\r\n")
		}
	})
	before := s.listing("old/var/qmail/control")
	if _, words := s.move(1, "cutover", "-smtproute", h); !strings.Contains(words, "round in a circle") {
		t.Errorf("%s", words)
	}
	s.diff(before, s.listing("old/var/qmail/control"))
}
