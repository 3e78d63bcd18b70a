//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/examples/internal/sftptree"
	"github.com/qmailkit/qmailkit/examples/internal/sftptree/sftptest"
)

// The same move with the old host at the other end of SFTP.
func TestSFTP(t *testing.T) {
	s := newSite(t)
	server := sftptest.Start(t)
	far := []string{"-source-root", server.URL(s.path("old")), "-ssh-key", server.Key, "-known-hosts", server.KnownHosts}
	s.move(0, "plan", append(far, "-target-dump", s.path("new/psa.sql"))...)
	if r := s.report(0, "copy", append(far, "-workers", "8")...); r.Totals.Delivered != int64(s.messages) || r.Outcome != report.Done {
		t.Errorf("%+v", r.Totals)
	}
	s.diff(s.mailFiles("old"), s.mailFiles("new"))
	if v := s.report(0, "verify", far...).Verification; v.Equal != int64(s.messages) || !v.Proven() {
		t.Errorf("%+v", v)
	}
	// A run from the directory itself finds nothing new, and the other way round.
	if r := s.report(0, "copy"); r.Totals.Delivered != 0 || r.Totals.AlreadyThere != int64(s.messages) {
		t.Errorf("%+v", r.Totals)
	}
	read := s.first(s.old("anna/Maildir/new/*"))
	s.check(os.Rename(read, s.old("anna/Maildir/cur", filepath.Base(read)+":2,S")))
	s.check(os.Remove(s.first(s.old("info/Maildir/cur/*"))))
	s.move(0, "copy", far...)
	s.diff(s.mailFiles("old"), s.mailFiles("new"))
	// Without the key of the host, or of the user, nothing begins.
	other := sftptest.Start(t)
	_, words := s.move(1, "copy", "-source-root", server.URL(s.path("old")), "-ssh-key", server.Key, "-known-hosts", other.KnownHosts)
	if !strings.Contains(words, sftptree.ErrHostKey.Error()) {
		t.Errorf("%s", words)
	}
	_, words = s.move(1, "copy", "-source-root", server.URL(s.path("old")), "-known-hosts", server.KnownHosts)
	if !strings.Contains(words, "-ssh-key FILE names one") {
		t.Errorf("%s", words)
	}
}

// A connection that breaks in the middle ends the run, takes nothing for
// deleted, and the next run completes it.
func TestSFTPBroken(t *testing.T) {
	s := bigSite(t)
	server := sftptest.Start(t)
	far := append([]string{"-source-root", server.URL(s.path("old")), "-ssh-key", server.Key, "-known-hosts", server.KnownHosts}, directly...)
	s.move(0, "copy", append(far, "-workers", "8")...)
	for i := range 3 {
		s.write("old/var/qmail/mailnames/example.com/anna/Maildir/new/140000000"+string(rune('0'+i))+".M1P1.old", "Subject: new\n\n", 0o600)
	}
	before := s.mailFiles("new")
	ended := make(chan struct{})
	cmd := s.program("copy", far...)
	s.check(cmd.Start())
	go func() {
		cmd.Wait()
		close(ended)
	}()
	time.Sleep(100 * time.Millisecond) // it is connected then, or soon
	for cut := true; cut; {
		select {
		case <-ended:
			cut = false
		case <-time.After(20 * time.Millisecond):
			server.Cut()
		}
	}
	if code := cmd.ProcessState.ExitCode(); code != 1 && code != 3 {
		t.Errorf("exit code %d: %s", code, cmd.Stderr)
	}
	after := s.mailFiles("new")
	for name := range before {
		if _, ok := after[name]; !ok {
			t.Errorf("%s is gone", name)
		}
	}
	s.move(0, "copy", far...)
	s.diff(s.mailFiles("old"), s.mailFiles("new"))
}
