package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/hosttest"
)

// bigHost has 40 accounts with some thousand messages, in spools and folders.
// Some messages come more than once, and some are large.
func bigHost(t *testing.T) (s *site, messages int) {
	t.Helper()
	var users []string
	for i := range 40 {
		users = append(users, fmt.Sprintf("user%02d", i))
	}
	s = ownSite(t, users...)
	for i, u := range users {
		n := 20 + 3*i
		box := letters(u, n)
		if i%5 == 0 { // all twice, and one of 300 kB
			box += letters(u, n) + "From ann@example.org Mon Jan  5 09:00:00 2004\nStatus: RO\n\n" + strings.Repeat(u+" says the same in every line\n", 10_000) + "\n"
			messages += n + 1
		}
		s.write("old/var/mail/"+u, box)
		s.chown("old/var/mail/"+u, 1000+i)
		messages += n
		if i%4 == 1 {
			s.write("old/home/"+u+"/mail/sent/2004", letters("sent by "+u, 10+i))
			messages += 10 + i
		}
	}
	return s, messages
}

// program is the real program with the flags of the site, as a process.
func (s *site) program(command string, args ...string) *exec.Cmd {
	argv := append(append([]string{command}, places(s.dir)...), args...)
	cmd := exec.Command("sendmail2vpopmail", argv...)
	cmd.Stderr = &bytes.Buffer{}
	return cmd
}

// finish runs the program to its end and compares its exit code.
func (s *site) finish(code int, command string, args ...string) {
	s.t.Helper()
	cmd := s.program(command, args...)
	err := cmd.Run()
	exit := (*exec.ExitError)(nil)
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		s.t.Fatalf("%s: exit code %d, want %d:\n%s", command, got, code, cmd.Stderr)
	}
}

// renew empties the new host.
func (s *site) renew() {
	s.t.Helper()
	for _, p := range []string{"new/vpopmail", "state"} {
		s.check(os.RemoveAll(s.path(p)))
	}
	s.mkdir("new/vpopmail")
	for name, text := range map[string]string{
		"locals": "localhost\nmail.example.com\n", "rcpthosts": "localhost\nmail.example.com\n", "virtualdomains": "", "../users/assign": ".\n",
	} {
		s.write("new/qmail/control/"+name, text)
	}
	s.check(os.RemoveAll(s.path("new/qmail/users/cdb")))
}

// mail is what each folder of each account holds, as digests; it fails where
// something stands in tmp/.
func (s *site) mail(domain string) map[string][]string {
	s.t.Helper()
	out := map[string][]string{}
	top := s.path("new/vpopmail/domains/" + domain)
	for name := range s.list("new/vpopmail/domains/" + domain) {
		switch dir := filepath.Dir(name); filepath.Base(dir) {
		case "tmp":
			s.t.Errorf("%s is left over", name)
		case "new", "cur":
			text, err := os.ReadFile(filepath.Join(top, name))
			s.check(err)
			box := filepath.Dir(dir)
			out[box] = append(out[box], fmt.Sprintf("%x", sha256.Sum256(text)))
		}
	}
	for _, list := range out {
		slices.Sort(list)
	}
	return out
}

// settings are the files that say who has an account and where mail goes.
func (s *site) settings(domain string) map[string]string {
	s.t.Helper()
	out := map[string]string{}
	for _, name := range []string{
		"vpopmail/domains/" + domain + "/vpasswd", "vpopmail/domains/" + domain + "/vpasswd.cdb", "vpopmail/domains/" + domain + "/.dir-control",
		"vpopmail/domains/.dir-control", "qmail/users/assign", "qmail/users/cdb",
		"qmail/control/rcpthosts", "qmail/control/virtualdomains", "qmail/control/locals", "qmail/control/me",
	} {
		out[name] = s.read("new/" + name)
	}
	return out
}

// A reader uses the mail on the new host between two runs.
type reader struct {
	s    *site
	rng  *rand.Rand
	gone map[string][]string // digests of what was deleted or moved away, by box
	kept map[string]string   // files that must stay as they are, by path
}

// use reads some messages, moves some to another folder and deletes some.
func (r *reader) use(domain string) {
	top := r.s.path("new/vpopmail/domains/" + domain)
	boxes, err := filepath.Glob(top + "/user*/Maildir")
	r.s.check(err)
	for _, box := range boxes {
		for _, name := range entries(r.s.t, box) {
			p := filepath.Join(box, name)
			if _, mine := r.kept[p]; mine || r.rng.IntN(12) != 0 {
				continue
			}
			text, err := os.ReadFile(p)
			r.s.check(err)
			sum := fmt.Sprintf("%x", sha256.Sum256(text))
			from, err := filepath.Rel(top, filepath.Join(box, filepath.Dir(filepath.Dir(name))))
			r.s.check(err)
			switch r.rng.IntN(3) {
			case 0:
				r.kept[filepath.Join(box, seen(r.s.t, box, name))] = string(text)
			case 1:
				r.s.check(os.Remove(p))
				r.gone[from] = append(r.gone[from], sum)
			case 2:
				dir := filepath.Join(box, ".Kept")
				for _, sub := range []string{"new", "cur", "tmp"} {
					r.s.check(os.MkdirAll(filepath.Join(dir, sub), 0o700))
				}
				base, _, _ := strings.Cut(filepath.Base(name), ":")
				to := filepath.Join(dir, "cur", base+":2,FS")
				r.s.check(os.Rename(p, to))
				r.kept[to] = string(text)
				r.gone[from] = append(r.gone[from], sum)
			}
		}
	}
}

// expect compares the mail with that of a clean run, less what the reader has
// done.
func (r *reader) expect(clean map[string][]string, domain string) {
	r.s.t.Helper()
	want := map[string][]string{}
	for box, list := range clean {
		list = slices.Clone(list)
		for _, sum := range r.gone[box] {
			i, ok := slices.BinarySearch(list, sum)
			if !ok {
				r.s.t.Fatalf("%s: the reader took what was not there", box)
			}
			list = slices.Delete(list, i, i+1)
		}
		want[box] = list
	}
	got := r.s.mail(domain)
	for box := range got {
		if strings.HasSuffix(box, "/.Kept") {
			delete(got, box)
		}
	}
	diff(r.s.t, want, got)
	for p, text := range r.kept {
		if now, err := os.ReadFile(p); err != nil || string(now) != text {
			r.s.t.Errorf("what the reader has kept: %v", err)
		}
	}
}

// Killed at any moment and run again, the program has made what one clean run
// makes, and what the mail's owners did meanwhile stays done. Every third time
// undo follows the kill instead, and leaves nothing.
func TestKill(t *testing.T) {
	s, n := bigHost(t)
	rng := hosttest.Seeded(t)
	started := time.Now()
	s.finish(0, "run")
	took := time.Since(started)
	clean, settings := s.mail("example.org"), s.settings("example.org")
	total := 0
	for _, list := range clean {
		total += len(list)
	}
	if total != n {
		t.Fatalf("a clean run brought %d of %d messages", total, n)
	}
	for i := 0; i < hosttest.Kills(t); {
		s.renew()
		cmd := s.program("run")
		s.check(cmd.Start())
		after := time.Duration(rng.Int64N(int64(took)))
		time.Sleep(after)
		s.check(cmd.Process.Kill())
		if cmd.Wait() == nil {
			took = after // it was quicker than the clean run: again, and earlier
			continue
		}
		if i++; i%3 == 0 {
			s.finish(0, "undo")
			undone(s)
			continue
		}
		r := &reader{s, rng, map[string][]string{}, map[string]string{}}
		r.use("example.org")
		s.finish(0, "run")
		t.Logf("killed after %v of %v; the reader took %d and kept %d", after, took, len(r.gone), len(r.kept))
		r.expect(clean, "example.org")
		diff(t, settings, s.settings("example.org"))
		if len(r.gone) == 0 {
			s.finish(0, "verify")
		}
		if t.Failed() {
			return
		}
	}
}

// undone checks that nothing of the domain is left.
func undone(s *site) {
	s.t.Helper()
	for name := range s.list("new/vpopmail") {
		if name != "." && name != "domains" && name != "domains/.dir-control" {
			s.t.Errorf("left after undo: %s", name)
		}
	}
	for _, name := range []string{"users/assign", "control/rcpthosts", "control/virtualdomains"} {
		if text := s.read("new/qmail/" + name); strings.Contains(text, "example.org") {
			s.t.Errorf("%s after undo:\n%s", name, text)
		}
	}
}

// A signal stops the program cleanly, and it can be run again.
func TestTerminated(t *testing.T) {
	s, _ := bigHost(t)
	s.finish(0, "run")
	clean, settings := s.mail("example.org"), s.settings("example.org")
	s.renew()
	cmd := s.program("run", "-sync", "each") // slow, so that it is in the middle
	s.check(cmd.Start())
	s.delivering()
	s.check(cmd.Process.Signal(syscall.SIGTERM))
	cmd.Wait()
	words := cmd.Stderr.(*bytes.Buffer).String()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(words, "stopping cleanly") ||
		!strings.Contains(words, "interrupted by a signal: terminated") {
		t.Errorf("exit code %d: %s", code, words)
	}
	if strings.Contains(s.read("new/qmail/control/rcpthosts"), "example.org") {
		t.Error("the domain is live before its mail is there")
	}
	s.mail("example.org") // nothing in tmp/
	s.finish(0, "run")
	diff(t, clean, s.mail("example.org"))
	diff(t, settings, s.settings("example.org"))
}

// delivering waits until a run has brought the first messages.
func (s *site) delivering() {
	s.t.Helper()
	for range 100_000 {
		list, err := filepath.Glob(s.path("new/vpopmail/domains/example.org/user*/Maildir/new/*"))
		s.check(err)
		if len(list) > 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	s.t.Fatal("nothing is delivered")
}

// Two runs at once: one of them gives way.
func TestTwoAtOnce(t *testing.T) {
	s, _ := bigHost(t)
	first := s.program("run", "-sync", "each")
	s.check(first.Start())
	s.delivering()
	_, words := s.move(1, "run")
	if !strings.Contains(words, "another run is at work") {
		t.Errorf("%s", words)
	}
	_, words = s.move(1, "undo")
	if !strings.Contains(words, "another run is at work") {
		t.Errorf("%s", words)
	}
	s.check(first.Process.Signal(syscall.SIGTERM))
	first.Wait()
	s.move(0, "run")
}

// Undo after a kill at any moment of the making of the accounts.
func TestUndoAfterKill(t *testing.T) {
	var users []string
	for i := range 130 { // some in hash directories
		users = append(users, fmt.Sprintf("user%03d", i))
	}
	s := ownSite(t, users...)
	started := time.Now()
	s.finish(0, "run")
	took := time.Since(started)
	rng := hosttest.Seeded(t)
	for range hosttest.Kills(t) {
		s.renew()
		cmd := s.program("run")
		s.check(cmd.Start())
		after := time.Duration(rng.Int64N(int64(took)))
		time.Sleep(after)
		s.check(cmd.Process.Kill())
		cmd.Wait()
		t.Logf("killed after %v of %v", after, took)
		s.finish(0, "undo")
		undone(s)
		if text, err := os.ReadFile(s.path("new/vpopmail/domains/.dir-control")); err == nil && !strings.HasPrefix(string(text), "0\n") {
			t.Errorf("the domains are counted as\n%s", text)
		}
		if t.Failed() {
			return
		}
	}
}
