//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/internal/mariadbtest"
)

// program is the real program on the site, as a process.
func (s *site) program(stdin, cmd string, args ...string) *exec.Cmd {
	p := exec.Command("vpop", slices.Concat([]string{cmd}, places(s.dir, s.dsn), args)...)
	p.Stdin, p.Stderr = strings.NewReader(stdin), &bytes.Buffer{}
	return p
}

// kills is how many rounds each job is killed in. There are eight jobs or more.
func kills(t *testing.T) int {
	switch {
	case os.Getenv("QMAILKIT_LONG") == "1":
		return 50
	case testing.Short():
		return 1
	}
	return 2
}

// sequence are jobs, each of which can be run again after it was
// killed. done is what it says if it was done already.
var sequence = []struct {
	stdin string
	argv  []string
	done  string
}{
	{"", []string{"adddomain", "-locked", "example.com"}, "domain already exists"},
	{accounts(120), []string{"adduser", "-batch", "-"}, ""},
	{"", []string{"addalias", "example.com", "example.net"}, "domain already exists"},
	{"", []string{"setquota", "example.com", "5M"}, ""},
	{"", []string{"moduser", "-x", "-p", "-c", "Somebody", "example.com"}, ""},
	{"", []string{"alias", "-i", "&ann@example.org", "team@example.com"}, "already exists"},
	{"", []string{"limits", "-P", "5", "-g", "i", "example.com"}, ""},
	{"", []string{"deluser", "user007@example.com"}, "user does not exist"},
	{"", []string{"adddomain", "-locked", "gone.example.org"}, "domain already exists"},
	{"", []string{"deldomain", "gone.example.org"}, "domain does not exist"},
}

func accounts(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "user%03d@example.com:$1$abcdefgh$Z9Nk6p3yFkLRWBq0sNtjs.\n", i)
	}
	return b.String()
}

// state is all of the host but locks, which stay, and the program's own state.
func (s *site) state() string {
	s.t.Helper()
	text, err := listing(s.dir, "vpopmail", "qmail")
	if err != nil {
		s.t.Fatal(err)
	}
	// The path of the host stands in files.
	var b strings.Builder
	for line := range strings.Lines(text) {
		if name, _, _ := strings.Cut(line, " "); !strings.HasSuffix(name, ".lock") && !strings.HasSuffix(name, "/.qmailkit_lock") {
			b.WriteString(line)
		}
	}
	if s.dsn != "" {
		fields := []string{"-secrets", "-D", "-n", "-p", "-C", "-u", "-g", "-c", "-d", "-q", "example.com"} // not the time
		b.WriteString(s.must("", "userinfo", fields...))
		for _, args := range [][]string{{"dominfo"}, {"alias", "example.com"}, {"limits", "example.com"}} {
			b.WriteString(s.must("", args[0], args[1:]...))
		}
	}
	return b.String()
}

// finish runs a job to its end; if it says that it was done before, it was.
func (s *site) finish(stdin, done string, argv []string) {
	s.t.Helper()
	p := s.program(stdin, argv[0], argv[1:]...)
	err := p.Run()
	words := p.Stderr.(*bytes.Buffer).String()
	if err != nil && (done == "" || p.ProcessState.ExitCode() != 1 || !strings.Contains(words, done)) {
		s.t.Fatalf("%q: %v\n%s", argv, err, words)
	}
}

func testKilled(t *testing.T, fresh func(t *testing.T, dir string) *site) {
	dir := filepath.Join(t.TempDir(), "host") // the same path for all, because it stands in files
	clean := fresh(t, dir)
	took := make([]time.Duration, len(sequence))
	for i, job := range sequence {
		began := time.Now()
		clean.finish(job.stdin, "", job.argv)
		took[i] = time.Since(began)
	}
	want := clean.state()
	if !strings.Contains(want, "user119") || strings.Contains(want, "user007") || strings.Contains(want, "gone.example.org") {
		t.Fatal("the clean run has not done its work")
	}
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	for round := range kills(t) {
		s := fresh(t, dir)
		killed := 0
		for i, job := range sequence {
			p := s.program(job.stdin, job.argv[0], job.argv[1:]...)
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Duration(rng.Int64N(int64(took[i])+1)), func() { p.Process.Kill() })
			p.Wait()
			if p.ProcessState.ExitCode() < 0 {
				killed++
			}
			s.finish(job.stdin, job.done, job.argv)
		}
		if d := differences(want, s.state()); d != "" {
			t.Fatalf("seed %d, round %d, %d of %d killed: want - got +:\n%s", seed, round, killed, len(sequence), d)
		}
	}
}

// differences are some of the lines that are in one text only.
func differences(a, b string) string {
	only := func(sign, x, y string) (list []string) {
		for line := range strings.Lines(x) {
			if !strings.Contains("\n"+y, "\n"+line) {
				list = append(list, sign+" "+line)
			}
		}
		return list[:min(len(list), 5)]
	}
	return strings.Join(append(only("-", a, b), only("+", b, a)...), "")
}

// TestKilled kills each job at some point and runs it again: the result is that
// of one clean run.
func TestKilled(t *testing.T) {
	testKilled(t, func(t *testing.T, dir string) *site {
		return renew(t, dir, "")
	})
}

// TestKilledMySQL does so with a database.
func TestKilledMySQL(t *testing.T) {
	server := mariadbtest.Start(t)
	testKilled(t, func(t *testing.T, dir string) *site {
		name := server.NewDatabase(t)
		db := server.Open(t, name)
		// A site that keeps aliases there too.
		if _, err := db.Exec("create table valias (alias char(32) not null, domain char(96) not null, valias_line text not null, index (alias, domain))"); err != nil {
			t.Fatal(err)
		}
		return renew(t, dir, server.DSN(name))
	})
}

// renew empties the host.
func renew(t *testing.T, dir, dsn string) *site {
	t.Helper()
	if err := errors.Join(os.RemoveAll(dir), newHost(dir)); err != nil {
		t.Fatal(err)
	}
	return &site{t, dir, dsn}
}

// TestAtOnce has several processes add and change accounts of one domain at
// once, beside one that reads: nothing is lost.
func TestAtOnce(t *testing.T) {
	s := newSite(t)
	s.must("", "adddomain", "-locked", "example.com")
	const writers, each = 4, 5
	var wg sync.WaitGroup
	errs := make([]error, writers+1)
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				addr := fmt.Sprintf("u%d-%d@example.com", w, i)
				for _, p := range []*exec.Cmd{s.program("secret\n", "adduser", addr), s.program("", "moduser", "-p", addr)} {
					if err := p.Run(); err != nil {
						errs[w] = errors.Join(errs[w], fmt.Errorf("%q: %w: %s", p.Args[1], err, p.Stderr))
					}
				}
			}
		})
	}
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := s.program("", "userinfo", "-D", "-n", "example.com").Run(); err != nil {
				errs[writers] = err
				return
			}
		}
	})
	wg.Wait()
	close(stop)
	reader.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(s.must("", "userinfo", "-D", "-n", "example.com"))
	if len(names) != writers*each+1 {
		t.Errorf("%d accounts: %q", len(names), names)
	}
	for w := range writers {
		for i := range each {
			if out := s.must("", "userinfo", "-g", fmt.Sprintf("u%d-%d@example.com", w, i)); out != "2\n" {
				t.Errorf("u%d-%d: flags %q", w, i, out)
			}
		}
	}
	if out := s.must("", "dominfo", "-t", "example.com"); out != strconv.Itoa(writers*each+1)+"\n" {
		t.Errorf("the counter says %s", out)
	}
}
