package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// surroundings are everything beside the new host and the state.
func (s *site) surroundings() map[string]string {
	s.t.Helper()
	list := s.list(".")
	for name := range list {
		if strings.HasPrefix(name, "new") || strings.HasPrefix(name, "state") {
			delete(list, name)
		}
	}
	return list
}

// A badCase is trouble at the source: the rest must go on.
type badCase struct {
	name  string
	make  func(s *site)
	codes []string // "CODE PLACE" of all that is not carried
	odd   []string // of oddities that matter
	words string   // what one of them says
	mail  map[string]int
	gone  []string // accounts that are not there
}

var badMailboxes = []badCase{
	{name: "truncated in the first header", make: func(s *site) { s.write("old/var/mail/ann", "From ann@example.org Mon Jan  5 07:00:00 2004\nSubj") },
		odd: []string{"mbox.no-final-newline var/mail/ann at byte 50"}, mail: map[string]int{"ann": 1}},
	{name: "binary", make: func(s *site) { s.write("old/var/mail/ann", "\x7fELF\x00\x00\x01\xff\xfe") },
		codes: []string{"sendmail.spool-not-mbox var/mail/ann"}},
	{name: "zeros of a crash in the middle", make: func(s *site) {
		s.write("old/var/mail/ann", letters("ann", 2)+strings.Repeat("\x00", 5000)+"\n\n"+letters("ann later", 2))
	}, mail: map[string]int{"ann": 4}},
	{name: "empty", make: func(s *site) { s.write("old/var/mail/ann", "") }},
	{name: "a line of a megabyte", make: func(s *site) {
		s.write("old/var/mail/ann", letters("ann", 1)+"From x Mon Jan  5 07:00:00 2004\nX: "+strings.Repeat("y", 1<<20)+"\n\nbody\n\n"+letters("ann later", 1))
	}, mail: map[string]int{"ann": 3}},
	{name: "spool is a symlink", make: func(s *site) {
		s.write("old/etc/secret", letters("root", 3))
		s.check(os.Symlink("/etc/secret", s.path("old/var/mail/ann")))
	}, codes: []string{"sendmail.not-plain var/mail/ann"}, words: "symbolic link"},
	{name: "spool is a symlink out of the root", make: func(s *site) {
		s.write("outside/secret", letters("root", 3))
		s.check(os.Symlink("../../../outside/secret", s.path("old/var/mail/ann")))
	}, codes: []string{"sendmail.not-plain var/mail/ann"}},
	{name: "spool is a FIFO", make: func(s *site) { s.check(syscall.Mkfifo(s.path("old/var/mail/ann"), 0o600)) },
		codes: []string{"sendmail.not-plain var/mail/ann"}, words: "FIFO"},
	{name: "spool is a directory", make: func(s *site) { s.mkdir("old/var/mail/ann/new") },
		codes: []string{"sendmail.not-plain var/mail/ann"}},
	{name: "spool is a hard link to what is not hers", make: func(s *site) {
		if os.Geteuid() != 0 {
			s.t.Skip("only root can give files away")
		}
		s.write("old/etc/secret", letters("root", 3))
		s.check(os.Link(s.path("old/etc/secret"), s.path("old/var/mail/ann")))
	}, codes: []string{"sendmail.foreign-file var/mail/ann"}},
	{name: "a folder is a FIFO, and one a link", make: func(s *site) {
		s.mkdir("old/home/ann/mail")
		s.check(syscall.Mkfifo(s.path("old/home/ann/mail/fifo"), 0o600))
		s.check(os.Symlink("/var/mail/bob", s.path("old/home/ann/mail/his")))
		s.write("old/home/ann/mail/real", letters("ann", 2))
	}, codes: []string{"sendmail.not-plain home/ann/mail/fifo", "sendmail.not-plain home/ann/mail/his"}, mail: map[string]int{"ann": 2}},
	{name: "folder names of any bytes", make: func(s *site) {
		for _, n := range []string{"new\nline", "\xff\xfe", "a.b", "*", "x:2,S", "~", "con\x01trol"} {
			s.write("old/home/ann/mail/"+n, letters("ann "+fmt.Sprintf("%x", n), 1))
		}
	}, mail: map[string]int{"ann": 7}},
}

func TestBadMailboxes(t *testing.T) { testBad(t, badMailboxes) }

// lines adds accounts to passwd and shadow.
func (s *site) lines(passwd, shadow string) {
	s.write("old/etc/passwd", s.read("old/etc/passwd")+passwd)
	s.write("old/etc/shadow", s.read("old/etc/shadow")+shadow)
}

const hashField = ":$1$PeggySue$PSB4QyuZ6Wl/sNnW.D5NY.:12600:0:99999:7:::\n"

var badAccounts = []badCase{
	{name: "names that lead elsewhere", make: func(s *site) {
		for i, n := range []string{"../../../outside", "a/b", "..", ".", "/etc/passwd"} {
			s.lines(fmt.Sprintf("%s:x:%d:1::/home/ann:/bin/sh\n", n, 2000+i), n+hashField)
		}
	}, codes: []string{
		"sendmail.policy-name etc/passwd:3", "sendmail.policy-name etc/passwd:4", "sendmail.policy-name etc/passwd:5",
		"sendmail.policy-name etc/passwd:6", "sendmail.policy-name etc/passwd:7",
	}, gone: []string{"outside", "a", "b"}},
	{name: "names with bytes that no name has", make: func(s *site) {
		for i, n := range []string{"nul\x00byte", "cr\r", "sp ace", "per%cent", "\xe4", "quote\"", "semi;colon", "$(id)", "vert\vtab"} {
			s.lines(fmt.Sprintf("%s:x:%d:1::/home/ann:/bin/sh\n", n, 2000+i), n+hashField)
		}
	}, codes: []string{
		"sendmail.policy-name etc/passwd:10", "sendmail.policy-name etc/passwd:11", "sendmail.policy-name etc/passwd:3",
		"sendmail.policy-name etc/passwd:4", "sendmail.policy-name etc/passwd:5", "sendmail.policy-name etc/passwd:6",
		"sendmail.policy-name etc/passwd:7", "sendmail.policy-name etc/passwd:8", "sendmail.policy-name etc/passwd:9",
	}},
	{name: "names of vpopmail's and qmail's own files", make: func(s *site) {
		for i, n := range []string{"vpasswd", "vpasswd.cdb", ".qmail-x", ".dir-control", "x", strings.Repeat("l", 33)} {
			s.lines(fmt.Sprintf("%s:x:%d:1::/home/ann:/bin/sh\n", n, 2000+i), n+hashField)
		}
	}, codes: []string{
		"sendmail.policy-name etc/passwd:3", "sendmail.policy-name etc/passwd:4", "sendmail.policy-name etc/passwd:5",
		"sendmail.policy-name etc/passwd:6", "sendmail.policy-name etc/passwd:7", "sendmail.policy-name etc/passwd:8",
	}},
	{name: "a colon too many, one too few", make: func(s *site) {
		s.lines("ex:tra:x:2000:1::/home/ann:/bin/sh\nfew:x:2001\n", "")
	}, codes: []string{"sendmail.malformed-line etc/passwd:3", "sendmail.malformed-line etc/passwd:4"}},
	{name: "a hash with a colon", make: func(s *site) {
		s.lines("cyd:x:2000:1::/home/ann:/bin/sh\n", "cyd:$1$a:b$PSB4QyuZ6Wl/sNnW.D5NY.:12600:0:99999:7:::\n")
	}, codes: []string{"sendmail.malformed-line etc/shadow:3"}, odd: []string{"sendmail.no-shadow etc/passwd:3"}},
	{name: "a hash with a quote", make: func(s *site) {
		s.lines("cyd:x:2000:1::/home/cyd:/bin/sh\n", "cyd:$1$it's$PSB4QyuZ6Wl/sNnW.D5NY.:12600:0:99999:7:::\n")
		s.mkdir("old/home/cyd")
	}},
	{name: "a user twice", make: func(s *site) {
		s.lines("ann:x:2000:1::/home/bob:/bin/sh\n", "ann"+hashField)
	}, codes: []string{"sendmail.duplicate-user etc/passwd:3"}},
	{name: "two users of one name", make: func(s *site) {
		s.lines("ANN:x:2000:1::/home/bob:/bin/sh\n", "ANN"+hashField)
	}, codes: []string{"sendmail.policy-collision etc/passwd:3"}},
	{name: "a line of a megabyte", make: func(s *site) {
		s.lines("cyd:x:2000:1:"+strings.Repeat("y", 1<<20)+":/home/ann:/bin/sh\n", "cyd"+hashField)
	}, codes: []string{"sendmail.long-line etc/passwd:3"}},
	{name: "a hash that is too long", make: func(s *site) {
		s.lines("cyd:x:2000:1::/home/cyd:/bin/sh\n", "cyd:$6$"+strings.Repeat("y", 300)+":12600:0:99999:7:::\n")
		s.mkdir("old/home/cyd")
	}, codes: []string{"account.hash-too-long etc/shadow:3"}, words: "has 303 bytes, of which the new host keeps 128", gone: []string{"cyd"}},
	{name: "a home that is a link to /etc", make: func(s *site) {
		s.check(os.Symlink("/etc", s.path("old/home/cyd")))
		s.lines("cyd:x:2000:2000::/home/cyd:/bin/sh\n", "cyd"+hashField)
		s.write("old/etc/mbox", letters("root", 2))
	}, codes: []string{"sendmail.home-unsafe etc/passwd:3"}, mail: map[string]int{"cyd": 0}},
	{name: "homes that lead elsewhere", make: func(s *site) {
		s.lines("cyd:x:2000:2000::/home/../../outside:/bin/sh\ndot:x:2001:2001::/:/bin/sh\neve:x:2002:2002::relative:/bin/sh\n",
			"cyd"+hashField+"dot"+hashField+"eve"+hashField)
		s.write("outside/mbox", letters("nobody", 2))
		s.write("old/mbox", letters("nobody", 2))
	}, codes: []string{"sendmail.home-unsafe etc/passwd:3", "sendmail.home-unsafe etc/passwd:4", "sendmail.home-unsafe etc/passwd:5"}},
	{name: "an absolute link that only root could make", make: func(s *site) {
		s.check(os.Rename(s.path("old/home"), s.path("old/data")))
		s.check(os.Symlink("/data", s.path("old/home")))
		s.write("old/data/ann/mbox", letters("ann", 3))
		s.chown("old/data/ann/mbox", 1000)
	}, mail: map[string]int{"ann": 3}},
	{name: "domains that vpopmail refuses", make: func(s *site) {
		s.write("old/etc/mail/local-host-names", "example.org\n../../outside\nunder_score.example\n"+strings.Repeat("l", 97)+".example\n")
	}, codes: []string{
		"domain.refused etc/mail/local-host-names:3", "sendmail.domain-malformed etc/mail/local-host-names:2", "sendmail.domain-malformed etc/mail/local-host-names:4",
	}},
}

func TestBadAccounts(t *testing.T) { testBad(t, badAccounts) }

func testBad(t *testing.T, cases []badCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := ownSite(t, "ann", "bob")
			s.write("old/var/mail/bob", letters("bob", 3))
			s.chown("old/var/mail/bob", 1001)
			c.make(s)
			if p := s.path("old/var/mail/ann"); os.Geteuid() == 0 {
				if fi, err := os.Lstat(p); err == nil && fi.Sys().(*syscall.Stat_t).Nlink == 1 {
					s.chown("old/var/mail/ann", 1000)
				}
			}
			around := s.surroundings()
			code := 0
			if len(c.codes) > 0 {
				code = 3
			}
			r := s.report(code, "run", "-lock-wait", "0s")
			diff(t, c.codes, itemPlaces(r.NotCarried))
			words := ""
			for _, it := range r.NotCarried {
				words += it.Words + "\n"
			}
			if !strings.Contains(words, c.words) {
				t.Errorf("it says %q", words)
			}
			for _, want := range c.odd {
				if !slices.Contains(itemPlaces(r.Oddities), want) {
					t.Errorf("no %q in %q", want, itemPlaces(r.Oddities))
				}
			}
			diff(t, around, s.surroundings())
			// The rest has gone on.
			mail := s.mail("example.org")
			if n := len(mail["bob/Maildir"]); n != 3 {
				t.Errorf("bob has %d messages", n)
			}
			for user, want := range c.mail {
				n := 0
				for box, list := range mail {
					if strings.HasPrefix(box, user+"/Maildir") {
						n += len(list)
					}
				}
				if n != want {
					t.Errorf("%s has %d messages, want %d", user, n, want)
				}
			}
			for _, user := range c.gone {
				if strings.Contains(s.read("new/vpopmail/domains/example.org/vpasswd"), "\n"+user+":") {
					t.Errorf("account %s is there", user)
				}
			}
			// The same again, and verified, and planned before.
			before := s.list("new")
			r = s.report(code, "run", "-lock-wait", "0s")
			diff(t, c.codes, itemPlaces(r.NotCarried))
			diff(t, before, s.list("new"))
			s.move(code, "verify", "-lock-wait", "0s")
			s.move(0, "undo")
		})
	}
}

// What stands where a Maildir should be, on the new host, concerns one account.
func TestBadTarget(t *testing.T) {
	for _, c := range []struct {
		name  string
		plant func(s *site, home string) error
	}{
		{"a Maildir that is a link", func(s *site, home string) error {
			return os.Symlink(s.path("outside"), filepath.Join(home, "Maildir"))
		}},
		{"a Maildir that is a FIFO", func(s *site, home string) error {
			return syscall.Mkfifo(filepath.Join(home, "Maildir"), 0o600)
		}},
		{"a Maildir that is a file", func(s *site, home string) error {
			return os.WriteFile(filepath.Join(home, "Maildir"), nil, 0o600)
		}},
		{"new is a link", func(s *site, home string) error {
			if err := os.Mkdir(filepath.Join(home, "Maildir"), 0o700); err != nil {
				return err
			}
			return os.Symlink(s.path("outside"), filepath.Join(home, "Maildir/new"))
		}},
		{"a journal that is a FIFO", func(s *site, home string) error {
			if err := os.Mkdir(filepath.Join(home, "Maildir"), 0o700); err != nil {
				return err
			}
			return syscall.Mkfifo(filepath.Join(home, "Maildir/qmailkit-journal"), 0o600)
		}},
		{"a journal that is a link", func(s *site, home string) error {
			if err := os.Mkdir(filepath.Join(home, "Maildir"), 0o700); err != nil {
				return err
			}
			return os.Symlink(s.path("outside/file"), filepath.Join(home, "Maildir/qmailkit-journal"))
		}},
		{"a home that is a link", func(s *site, home string) error {
			if err := os.Remove(home); err != nil {
				return err
			}
			return os.Symlink(s.path("outside"), home)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := ownSite(t, "ann", "bob")
			s.write("old/var/mail/ann", letters("ann", 2))
			s.write("old/var/mail/bob", letters("bob", 2))
			s.chown("old/var/mail/ann", 1000)
			s.chown("old/var/mail/bob", 1001)
			s.write("outside/file", "mine\n")
			s.move(0, "run", "-user", "none")
			s.move(0, "run", "-user", "ann")
			home := filepath.Dir(s.maildir("example.org", "ann"))
			s.check(os.RemoveAll(s.maildir("example.org", "ann")))
			s.check(os.RemoveAll(filepath.Join(home, "lastauth")))
			s.check(c.plant(s, home))
			s.write("old/var/mail/ann", letters("ann", 3))
			around := s.surroundings()
			r := s.report(3, "run", "-lock-wait", "0s")
			for _, p := range itemPlaces(r.NotCarried) {
				if !strings.Contains(p, "/ann/Maildir") && !strings.Contains(p, "var/mail/ann") {
					t.Errorf("%s", p)
				}
			}
			if n := len(s.mail("example.org")["bob/Maildir"]); n != 2 {
				t.Errorf("bob has %d messages", n)
			}
			diff(t, around, s.surroundings())
			s.move(3, "verify", "-lock-wait", "0s")
			diff(t, around, s.surroundings())
			s.move(3, "undo")
			diff(t, around, s.surroundings())
		})
	}
}

// A header of 100 MB is one message, in bounded memory and time.
func TestHugeHeader(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 100 MB")
	}
	s := ownSite(t, "ann", "bob")
	f, err := os.Create(s.path("old/var/mail/ann"))
	s.check(err)
	_, err = f.WriteString(letters("ann", 1) + "From ann@example.org Mon Jan  5 08:00:00 2004\n")
	s.check(err)
	line := []byte("X-Filler: " + strings.Repeat("z", 1000) + "\n")
	block := []byte(strings.Repeat(string(line), 1000))
	for range 100 {
		_, err = f.Write(block)
		s.check(err)
	}
	_, err = f.WriteString("\nbody\n\n" + letters("ann later", 1))
	s.check(err)
	s.check(f.Close())
	s.chown("old/var/mail/ann", 1000)
	s.write("old/var/mail/bob", letters("bob", 2))
	cmd := s.program("run")
	debug.FreeOSMemory() // what a program takes begins with what this process has
	s.check(cmd.Run())
	if kb := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss; runtime.GOOS == "linux" && kb > memoryFactor*100<<10 {
		t.Errorf("it took %d MB", kb>>10)
	}
	mail := s.mail("example.org")
	if len(mail["ann/Maildir"]) != 3 || len(mail["bob/Maildir"]) != 2 {
		t.Errorf("%d and %d messages", len(mail["ann/Maildir"]), len(mail["bob/Maildir"]))
	}
	s.move(0, "verify")
}
