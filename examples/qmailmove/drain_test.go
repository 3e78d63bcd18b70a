//go:build unix

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/queue"
)

// enqueue puts a message for an address into the old host's queue.
func (s *site) enqueue(to string) {
	s.t.Helper()
	root, err := os.OpenRoot(s.path("old/var/qmail/queue"))
	s.check(err)
	defer root.Close()
	q, err := queue.Open(root, nil)
	s.check(err)
	defer q.Close()
	var env bytes.Buffer
	_, err = queue.Envelope{Sender: "friend@example.org", Recipients: []string{to}}.WriteTo(&env)
	s.check(err)
	_, err = q.Enqueue(s.t.Context(), strings.NewReader("Subject: late\n\n"), &env, nil)
	s.check(err)
}

// emptyQueue takes all messages away, as if they had been delivered.
func (s *site) emptyQueue() {
	s.t.Helper()
	for _, pattern := range []string{"todo/*", "intd/*", "mess/*/*"} {
		list, err := filepath.Glob(s.path("old/var/qmail/queue", pattern))
		s.check(err)
		for _, p := range list {
			s.check(os.Remove(p))
		}
	}
}

func TestDrain(t *testing.T) {
	s := newSite(t)
	out, words := s.move(0, "drain", "-wait", "0", "-json")
	if strings.Count(out, `"type":"pass"`) != 3 || !strings.Contains(words, "Done: 2 passes in a row found nothing new for example.com and the old host's queue holds no mail for it") {
		t.Errorf("%s%s", out, words)
	}
	s.diff(s.mailFiles("old"), s.mailFiles("new"))
	s.enqueue("joe@elsewhere.example")
	s.move(0, "drain", "-wait", "0")
	s.enqueue("Anna@Example.COM")
	out, words = s.move(1, "drain", "-wait", "0", "-passes", "3", "-json")
	if strings.Count(out, `"queue":1}`) != 3 || !strings.Contains(out, `"outcome":"stopped"`) || !strings.Contains(words, "waits for Anna@Example.COM") || !strings.Contains(words, "not done after 3 passes") {
		t.Errorf("%s%s", out, words)
	}
	s.move(0, "drain", "-wait", "0", "-no-queue")
	s.move(1, "drain", "-wait", "0", "-source-queue", s.path("none"))

	// It is delivered while drain waits.
	cmd := s.program("drain", "-wait", "50ms")
	s.check(cmd.Start())
	time.Sleep(300 * time.Millisecond)
	s.write("old/var/qmail/mailnames/example.com/anna/Maildir/new/1300000000.M1P1.old", "Subject: late\n\n", 0o600)
	s.emptyQueue()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, cmd.Stderr)
	}
	s.diff(s.mailFiles("old"), s.mailFiles("new"))
}

// Once drain is done the old host may be emptied: the copies stay, unless it is
// asked that they follow.
func TestEmptiedAfterDrain(t *testing.T) {
	s := newSite(t)
	s.move(0, "copy")
	gone := s.old("anna/Maildir/new/1300000000.M1P1.old")
	s.check(os.WriteFile(gone, []byte("Subject: late\n\n"), 0o600))
	s.give("old/var/qmail/mailnames")
	s.move(0, "drain", "-wait", "0")
	all := s.mailFiles("new")
	s.check(os.Remove(gone))
	if _, words := s.move(0, "copy"); !strings.Contains(words, "source.drained") {
		t.Errorf("%s", words)
	}
	s.diff(all, s.mailFiles("new"))
	s.move(0, "drain", "-wait", "0", "-follow-deleted")
	s.diff(s.mailFiles("old"), s.mailFiles("new"))
	if len(s.mailFiles("new")) >= len(all) {
		t.Error("nothing was taken away")
	}
}
