//go:build unix

package vpopmail

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

func benchUsers(n int) []NewUser {
	list := make([]NewUser, n)
	for i := range list {
		list[i] = NewUser{Name: fmt.Sprintf("u%d", i), Hash: qmailkit.Secret(fmt.Sprintf("$1$bench$%022d", i))}
	}
	return list
}

// benchHost lies in TMPDIR, on a real disk if that is one, in a fresh directory
// each time.
func benchHost(b *testing.B) (*host, *Store) {
	h := &host{t: b, dir: b.TempDir(), profile: DefaultProfile54()}
	for _, d := range []string{"VPOPMAIL/domains", "QMAIL/control", "QMAIL/users"} {
		if err := os.MkdirAll(filepath.Join(h.dir, d), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	s := h.open()
	if _, err := s.AddDomain(b.Context(), DomainSpec{Name: "bench.example.com"}, nil); err != nil {
		b.Fatal(err)
	}
	return h, s
}

// BenchmarkAddUsers adds n users as one batch, durably.
func BenchmarkAddUsers(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			list := benchUsers(n)
			for b.Loop() {
				b.StopTimer()
				h, s := benchHost(b)
				b.StartTimer()
				res, err := s.AddUsers(b.Context(), "bench.example.com", list)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if u := res.Users[n-1]; u.Err != nil {
					b.Fatal(u.Err)
				}
				os.RemoveAll(h.dir)
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/user")
		})
	}
}

// BenchmarkBareLoop makes the same directories with the same owners and one
// sync: what nobody can do without.
func BenchmarkBareLoop(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				h, s := benchHost(b)
				o := s.Owner(89, 89)
				b.StartTimer()
				if err := bareLoop(filepath.Join(h.dir, "VPOPMAIL/domains/bench.example.com"), n, o); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				os.RemoveAll(h.dir)
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/user")
		})
	}
}

// BenchmarkAgainstBareLoop adds 1,000 users as a batch and by the bare loop, in
// turns, and reports the ratio of their times: the median of all rounds. What
// is wanted is at most 1.5.
func BenchmarkAgainstBareLoop(b *testing.B) {
	const n = 1000
	list := benchUsers(n)
	var ratios []float64
	for b.Loop() {
		var took [2]time.Duration
		for turn := range 2 {
			which := (turn + len(ratios)) % 2
			h, s := benchHost(b)
			start := time.Now()
			var err error
			if which == 0 {
				_, err = s.AddUsers(b.Context(), "bench.example.com", list)
			} else {
				err = bareLoop(filepath.Join(h.dir, "VPOPMAIL/domains/bench.example.com"), n, s.Owner(89, 89))
			}
			took[which] = time.Since(start)
			if err != nil {
				b.Fatal(err)
			}
			os.RemoveAll(h.dir)
		}
		ratios = append(ratios, float64(took[0])/float64(took[1]))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(ratios[0], "ratio-least")
	b.ReportMetric(ratios[len(ratios)-1], "ratio-most")
}

func bareLoop(top string, n int, o Owner) error {
	c := NewDirControl()
	c.Users = 1
	for i := range n {
		at := top
		if sub := c.Next(); sub != "" {
			at += "/" + sub
			if c.Users%perDir == 0 {
				if err := os.Mkdir(at, 0o700); err != nil {
					return err
				}
			}
		}
		at = fmt.Sprintf("%s/u%d", at, i)
		for _, sub := range []string{"", "/Maildir", "/Maildir/cur", "/Maildir/new", "/Maildir/tmp"} {
			if err := os.Mkdir(at+sub, 0o700); err != nil {
				return err
			}
			if err := os.Chown(at+sub, o.UID, o.GID); err != nil {
				return err
			}
		}
		if err := os.WriteFile(at+"/lastauth", []byte(lastauthNever), 0o600); err != nil {
			return err
		}
		if err := os.Chown(at+"/lastauth", o.UID, o.GID); err != nil {
			return err
		}
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return err
	}
	defer root.Close()
	d, err := safefs.OpenDir(root, ".", nil)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.SyncFS()
}

// BenchmarkUser looks one of 10,000 users up.
func BenchmarkUser(b *testing.B) {
	_, s := benchHost(b)
	if _, err := s.AddUsers(b.Context(), "bench.example.com", benchUsers(10_000)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.User(b.Context(), "u9999@bench.example.com"); err != nil {
			b.Fatal(err)
		}
	}
}
