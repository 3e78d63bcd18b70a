//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/plesk"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// config is what the flags of the site say.
func (s *site) config() *config { return (&demonstration{sample: s.sample}).config() }

// controls is everything in a host's control directory: kind, mode, owner,
// content; not the times.
func (s *site) controls(host string) map[string]string {
	s.t.Helper()
	list := map[string]string{}
	dir := s.path(host, "var/qmail/control")
	names, err := os.ReadDir(dir)
	s.check(err)
	for _, e := range names {
		fi, err := e.Info()
		s.check(err)
		text, err := os.ReadFile(dir + "/" + e.Name())
		s.check(err)
		st := fi.Sys().(*syscall.Stat_t)
		list[e.Name()] = fmt.Sprintf("%v %d:%d %q", fi.Mode(), st.Uid, st.Gid, text)
	}
	return list
}

var errStop = errors.New("stopped by the test")

// stopAt stops a run before the n-th change of a file.
func stopAt(c *config, n int) *int {
	count := 0
	c.beforeChange = func(string) error {
		if count++; count == n {
			return errStop
		}
		return nil
	}
	return &count
}

// Stopped between any two control files and run again, cutover has done what one
// run does; taken back instead, it leaves what there was before it. Owners,
// modes and comments stay.
func TestCutoverStopped(t *testing.T) {
	env := &cli.Env{Stdout: io.Discard, Stderr: io.Discard}
	var clean map[string]string
	for n := 0; ; n++ {
		s := newSite(t)
		s.write("old/var/qmail/control/virtualdomains", "# ours\nother.example:11\n\nexample.com:12\n", 0o640)
		s.write("old/var/qmail/control/locals", "localhost\n# here by mistake\nexample.com", 0o604)
		s.check(os.Chmod(s.path("old/var/qmail/control/virtualdomains"), 0o640))
		s.check(os.Chmod(s.path("old/var/qmail/control/locals"), 0o604))
		if os.Geteuid() == 0 {
			s.check(os.Chown(s.path("old/var/qmail/control/smtproutes"), 7, 8))
		}
		before := s.controls("old")
		c := s.config()
		c.cutover.route, c.cutover.force, c.probe.timeout = "127.0.0.1:1", true, 1
		changes := stopAt(c, n)
		stop := c.beforeChange
		c.beforeChange = func(name string) error { // the route leads to the new host as long as the domain is not here
			now := s.controls("old")
			if here := strings.Contains(now["locals"], "example.com") || strings.Contains(now["virtualdomains"], "example.com:"); !here && !strings.Contains(now["smtproutes"], "example.com:") {
				t.Errorf("before %s: %v", name, now)
			}
			return stop(name)
		}
		err := doCutover(t.Context(), c, env)
		if n == 0 {
			s.check(err)
			clean = s.controls("old")
			for name, line := range before {
				if cut := strings.IndexByte(line, '"'); clean[name] == "" || clean[name][:cut] != line[:cut] {
					t.Errorf("%s: %s, was %s", name, clean[name], line)
				}
			}
			if got := clean["virtualdomains"]; !strings.HasSuffix(got, `"# ours\nother.example:11\n\n"`) {
				t.Errorf("%s", got)
			}
		}
		if n > 0 && err == nil {
			if n != *changes+1 || n < 4 {
				t.Errorf("%d changes, and the one numbered %d was to be stopped", *changes, n)
			}
			return
		}
		if n > 0 && !errors.Is(err, errStop) {
			t.Fatal(err)
		}
		c.beforeChange = nil
		if n > 0 {
			s.check(doCutover(t.Context(), c, env))
			s.diff(clean, s.controls("old"))
		}
		// Taking back is stopped too.
		c.cutover.undo = true
		stopAt(c, max(n, 1))
		if err = doCutover(t.Context(), c, env); err == nil {
			err = doCutover(t.Context(), c, env)
		}
		if !errors.Is(err, errStop) {
			t.Fatal(err)
		}
		// Without -hup it takes a second run, by which qmail-send has been told;
		// a stopped one may have asked for that already.
		c.beforeChange = func(name string) error {
			if now := s.controls("old"); name == "smtproutes" && !strings.Contains(now["virtualdomains"], "example.com:") {
				t.Errorf("the route goes before the domain is here: %v", now)
			}
			return nil
		}
		for range 2 {
			s.check(doCutover(t.Context(), c, env))
		}
		s.diff(before, s.controls("old"))
	}
}

// switchBack takes a cutover back, in as many runs as it asks for.
func (s *site) switchBack() {
	s.t.Helper()
	for n := 1; ; n++ {
		_, words := s.move(0, "cutover", "-undo")
		if strings.Contains(words, "switched back") {
			return
		}
		if n > 2 || !strings.Contains(words, "send HUP") || !strings.Contains(words, "run cutover -undo again") || !strings.Contains(s.control("smtproutes"), "example.com:") {
			s.t.Fatalf("run %d: %s", n, words)
		}
	}
}

// qmail-send is told between the file that says where mail goes and the one that
// lets it in, and before the way to the new host is closed. A run that was
// stopped before that tells it the next time.
func TestHUP(t *testing.T) {
	s := newSite(t)
	hups := make(chan os.Signal, 10)
	signal.Notify(hups, syscall.SIGHUP)
	defer signal.Stop(hups)
	pid := fmt.Sprint(os.Getpid())
	hup := func(n int) {
		t.Helper()
		for range n {
			select {
			case <-hups:
			case <-time.After(10 * time.Second):
				t.Fatal("no HUP")
			}
		}
		if len(hups) > 0 {
			t.Error("more than one HUP")
		}
	}
	s.move(2, "cutover", "-smtproute", "new.example.net", "-force", "-hup", "qmail-send")
	s.move(0, "accounts", append(s.there(), "-direct", "-hup", pid)...)
	hup(1)
	s.move(0, "accounts", append(s.there(), "-direct", "-hup", pid)...)
	hup(0)
	before := s.controls("old")
	s.move(0, "cutover", "-smtproute", "new.example.net", "-force", "-timeout", "1s", "-hup", pid)
	hup(1)
	if _, words := s.move(0, "cutover", "-undo", "-hup", pid); !strings.Contains(words, "switched back") {
		t.Errorf("%s", words)
	}
	hup(1)
	s.diff(before, s.controls("old"))

	// The order, and a process that is not there.
	c, env := s.config(), &cli.Env{Stdout: io.Discard, Stderr: io.Discard}
	s.move(0, "undo")
	q := func(do func(b *controlBook, plan qmailcontrol.Plan)) {
		t.Helper()
		m := &move{c: c, domain: sampleDomain, dst: &place{name: s.path("new")}}
		q, err := m.openQmail(true)
		s.check(err)
		defer q.close()
		b, err := q.book(c, env, sampleDomain)
		s.check(err)
		defer b.root.Close()
		old, err := qmailcontrol.LoadConfig(t.Context(), b.root)
		s.check(err)
		next := old.Clone()
		_, err = plesk.EditControl(next, &plesk.Domain{Name: sampleDomain}, 40)
		s.check(err)
		do(b, qmailcontrol.Diff(old, next))
	}
	gone := errors.New("no such process")
	q(func(b *controlBook, plan qmailcontrol.Plan) {
		b.hup = func(context.Context) error {
			if now := s.controls("new"); !strings.Contains(now["virtualdomains"], sampleDomain) || strings.Contains(now["rcpthosts"], sampleDomain) {
				t.Errorf("%v", now)
			}
			return gone
		}
		if err := b.apply(t.Context(), plan); !errors.Is(err, gone) {
			t.Error(err)
		}
	})
	q(func(b *controlBook, plan qmailcontrol.Plan) {
		told := 0
		b.hup = func(context.Context) error { told++; return nil }
		if err := b.apply(t.Context(), plan); err != nil || told != 1 || !strings.Contains(s.controls("new")["rcpthosts"], sampleDomain) {
			t.Errorf("%v, %d", err, told)
		}
		if err := b.apply(t.Context(), nil); err != nil || told != 1 {
			t.Errorf("%v, %d", err, told)
		}
	})
}

// What somebody has edited between two cutovers survives taking both back.
func TestCutoverTwice(t *testing.T) {
	s := newSite(t)
	for i, route := range []string{"one.example.net", "two.example.net"} {
		s.move(0, "cutover", "-smtproute", route, "-force", "-timeout", "1s")
		s.write("old/var/qmail/control/smtproutes", s.control("smtproutes")+fmt.Sprintf("mine%d.example:x\n", i), 0o644)
	}
	s.diff("backup.example:mx.example.net\nmine0.example:x\nexample.com:two.example.net\nmine1.example:x\n", s.control("smtproutes"))
	s.switchBack()
	s.diff("backup.example:mx.example.net\nmine0.example:x\nmine1.example:x\n", s.control("smtproutes"))
	s.diff("other.example:11\nexample.com:12\n", s.control("virtualdomains"))
}
