package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/examples/internal/hosttest"
)

// smallDisk puts a file system of that many kilobytes under the new host's
// mailboxes. It holds another file, of fill kilobytes, that can be removed.
func (s *site) smallDisk(kb, fill int) (ballast string) {
	s.t.Helper()
	return hosttest.SmallDisk(s.t, s.path("new/var/qmail/mailnames"), kb, fill)
}

// A disk that gets full stops the run with a clear error, wherever in the run
// that is, and a rerun with more room completes it.
func TestDiskFull(t *testing.T) {
	const size = 4096
	for _, free := range []int{4, 40, 120, 200} { // of the 330 or so that it takes
		t.Run(fmt.Sprint(free), func(t *testing.T) {
			s := newSite(t)
			ballast := s.smallDisk(size, size-free)
			if r := s.report(3, "plan"); !slices.Contains(codes(r.NotCarried), "target.full") {
				t.Errorf("%+v", r.Needs)
			}
			if _, words := s.move(1, "copy"); !strings.Contains(words, "no space left on device") {
				t.Errorf("%s", words)
			}
			s.move(1, "drain", "-wait", "0") // which is no better
			s.check(os.Remove(ballast))
			s.move(0, "copy")
			s.diff(s.mailFiles("old"), s.mailFiles("new"))
			s.move(0, "verify")
		})
	}
}
