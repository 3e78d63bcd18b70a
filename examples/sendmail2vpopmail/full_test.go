//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/examples/internal/hosttest"
)

// smallDisk puts a file system of that many kilobytes under the new host's
// domains. It holds another file, of fill kilobytes, that can be removed.
func (s *site) smallDisk(kb, fill int) (ballast string) {
	s.t.Helper()
	return hosttest.SmallDisk(s.t, s.path("new/vpopmail"), kb, fill)
}

// A disk that gets full stops the run with a clear error, wherever in the run
// that is, and a rerun with more room completes it.
func TestDiskFull(t *testing.T) {
	const size = 4096
	for _, free := range []int{8, 64, 300, 700, 1000} { // of the 1,600 or so that it takes
		t.Run(fmt.Sprint(free), func(t *testing.T) {
			s := ownSite(t, "ann", "bob", "cyd")
			for i, u := range []string{"ann", "bob", "cyd"} {
				s.write("old/var/mail/"+u, letters(u, 120))
				s.chown("old/var/mail/"+u, 1000+i)
			}
			ballast := s.smallDisk(size, size-free)
			_, words := s.move(1, "run")
			if !strings.Contains(words, "no space left on device") {
				t.Errorf("%s", words)
			}
			if strings.Contains(s.read("new/qmail/control/rcpthosts"), "example.org") {
				t.Error("the domain is live without its mail")
			}
			s.move(1, "run") // which is no better
			s.check(os.Remove(ballast))
			s.move(0, "run")
			mail := s.mail("example.org")
			for _, u := range []string{"ann", "bob", "cyd"} {
				if n := len(mail[u+"/Maildir"]); n != 120 {
					t.Errorf("%s has %d messages", u, n)
				}
			}
			s.move(0, "verify")
		})
	}
}

// A plan says that there is not enough room.
func TestPlanWithoutRoom(t *testing.T) {
	s := newSite(t)
	s.smallDisk(1024, 900)
	r := s.report(3, "plan")
	if r.Needs.Enough() || r.Needs.FreeBytes > 1<<20 {
		t.Errorf("%+v", r.Needs)
	}
	found := false
	for _, it := range r.NotCarried {
		found = found || it.Code == "target.full" && strings.Contains(it.Words, "not enough room")
	}
	if !found {
		t.Error("not a word of it")
	}
}
