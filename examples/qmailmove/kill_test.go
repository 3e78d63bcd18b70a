//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/hosttest"
)

// bigSite has some thousand messages in one more mailbox, and many mailboxes
// that psa does not have: it is moved by the directories alone.
func bigSite(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	for i := range 16 {
		a := sampleAccount{name: fmt.Sprintf("user%02d", i), mailbox: true, quota: int64(i) << 20, messages: 40 + 10*i, forwards: []string{fmt.Sprintf("f%d@example.org", i)}}
		s.account(&a)
	}
	s.give("old/var/qmail/mailnames")
	s.check(s.err)
	return s
}

// directly leaves psa out.
var directly = []string{"-source-dump", ""}

// renew empties the new host.
func (s *site) renew() {
	s.t.Helper()
	s.check(os.RemoveAll(s.path("new/var/qmail/mailnames")))
	s.check(os.RemoveAll(s.path("state")))
	s.check(os.Mkdir(s.path("new/var/qmail/mailnames"), 0o755))
	s.give("new/var/qmail/mailnames")
	s.check(s.err)
}

// Killed at any moment and run again, copy and drain have made what one clean
// run makes.
func TestKill(t *testing.T) {
	s := bigSite(t)
	rng := hosttest.Seeded(t)
	for _, command := range [][]string{{"copy"}, {"drain", "-wait", "0"}} {
		args := append(append([]string{}, command[1:]...), directly...)
		s.renew()
		started := time.Now()
		s.finish(0, command[0], args...)
		took := time.Since(started)
		clean := s.listing("new/var/qmail/mailnames/example.com")
		s.diff(s.mailFiles("old"), s.mailFiles("new"))
		for cut := 0; cut < hosttest.Kills(t); {
			s.renew()
			cmd := s.program(command[0], args...)
			s.check(cmd.Start())
			after := time.Duration(rng.Int64N(int64(took)))
			time.Sleep(after)
			s.check(cmd.Process.Kill())
			if cmd.Wait() == nil {
				took = after // it was quicker than the clean run: again, and earlier
				continue
			}
			cut++
			// Its owner deletes one that has come already.
			gone := ""
			if list, _ := filepath.Glob(s.new("user*/Maildir/cur/*")); len(list) > 0 {
				gone = list[rng.IntN(len(list))]
				s.check(os.Remove(gone))
			}
			s.finish(0, command[0], args...)
			t.Logf("%s killed after %v of %v; %q deleted", command[0], after, took, filepath.Base(gone))
			got, want := s.listing("new/var/qmail/mailnames/example.com"), map[string]string{}
			for name, line := range clean {
				want[name] = line
			}
			if gone != "" {
				rel, err := filepath.Rel(s.new(), gone)
				s.check(err)
				delete(want, rel)
				// What the mailbox holds is another sum now.
				for _, m := range []map[string]string{want, got} {
					delete(m, strings.SplitN(rel, "/", 2)[0]+"/Maildir/maildirsize")
				}
			}
			s.diff(want, got)
			s.finish(0, "verify", directly...)
			if t.Failed() {
				return
			}
		}
	}
}

// What a run has made that was killed before it could give it away gets its
// owner from the next.
func TestHalfMade(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives directories away")
	}
	s := newSite(t)
	s.move(0, "copy")
	clean := s.listing("new/var/qmail/mailnames")
	s.renew()
	for _, dir := range []string{"", "bert", "info", "info/Maildir"} { // these were given away before
		s.check(os.Mkdir(s.new(dir), 0o700))
		s.check(os.Chown(s.new(dir), sampleUID, sampleGID))
	}
	for _, dir := range []string{"anna", "bert/Maildir", "info/Maildir/cur"} {
		s.check(os.Mkdir(s.new(dir), 0o700))
	}
	s.move(0, "copy")
	s.diff(clean, s.listing("new/var/qmail/mailnames"))
}

// copying waits until a run has brought the first messages.
func (s *site) copying() {
	s.t.Helper()
	for range 20_000 {
		list, err := filepath.Glob(s.new("*/Maildir/cur/*"))
		s.check(err)
		if len(list) > 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	s.t.Fatal("nothing is copied")
}

// Two runs at once: the second gives way. A signal stops the first cleanly.
func TestTwoAtOnce(t *testing.T) {
	s := bigSite(t)
	first := s.program("copy", append([]string{"-sync", "each"}, directly...)...)
	s.check(first.Start())
	s.copying()
	for _, command := range []string{"copy", "drain"} {
		if _, words := s.move(1, command); !strings.Contains(words, "another run is at work") {
			t.Errorf("%s", words)
		}
	}
	s.check(first.Process.Signal(syscall.SIGTERM))
	first.Wait()
	words := first.Stderr.(*bytes.Buffer).String()
	if code := first.ProcessState.ExitCode(); code != 1 || !strings.Contains(words, "interrupted by a signal: terminated") {
		t.Errorf("exit code %d: %s", code, words)
	}
	s.finish(0, "copy", directly...)
	s.diff(s.mailFiles("old"), s.mailFiles("new"))
}
