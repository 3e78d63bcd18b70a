//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
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
		if err := doCutover(t.Context(), c, env); !errors.Is(err, errStop) {
			t.Fatal(err)
		}
		c.beforeChange = nil
		s.check(doCutover(t.Context(), c, env))
		s.diff(before, s.controls("old"))
	}
}

// What somebody has edited between two cutovers survives taking both back.
func TestCutoverTwice(t *testing.T) {
	s := newSite(t)
	for i, route := range []string{"one.example.net", "two.example.net"} {
		s.move(0, "cutover", "-smtproute", route, "-force", "-timeout", "1s")
		s.write("old/var/qmail/control/smtproutes", s.control("smtproutes")+fmt.Sprintf("mine%d.example:x\n", i), 0o644)
	}
	s.diff("backup.example:mx.example.net\nmine0.example:x\nexample.com:two.example.net\nmine1.example:x\n", s.control("smtproutes"))
	s.move(0, "cutover", "-undo")
	s.diff("backup.example:mx.example.net\nmine0.example:x\nmine1.example:x\n", s.control("smtproutes"))
	s.diff("other.example:11\nexample.com:12\n", s.control("virtualdomains"))
}
