package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/hosttest"
)

// awaySite has users whose .forward files and vacation texts are carried.
func awaySite(t *testing.T) *site {
	t.Helper()
	s := ownSite(t, "ann", "bob")
	for i, u := range []string{"ann"} {
		s.write("old/home/"+u+"/.forward", "\\"+u+", far@else.example\n")
		s.write("old/home/"+u+"/.vacation.msg", "Subject: away\n\n"+u+"\n")
		s.chown("old/home/"+u+"/.forward", 1000+i)
		s.chown("old/home/"+u+"/.vacation.msg", 1000+i)
	}
	return s
}

// action runs a command in this process, with a hook in users' directories.
func (s *site) action(do action, hook func(op, name string) error) error {
	c := (&demonstration{dir: s.dir}).config()
	c.hook = hook
	var out bytes.Buffer
	err := do(s.t.Context(), c, &cli.Env{Stdout: &out, Stderr: &out})
	if exit := (*cli.Exit)(nil); errors.As(err, &exit) && exit.Code == cli.Partial {
		return nil
	}
	return err
}

// texts are the files that a run writes for addresses.
func (s *site) texts() map[string]string {
	s.t.Helper()
	out := s.dots()
	for name := range s.list("new/vpopmail/domains") {
		if strings.Contains(name, "/vacation/") {
			out[name] = s.read("new/vpopmail/domains/" + name)
		}
	}
	return out
}

// TestAliasFaults fails each step of the writing in users' directories once:
// the run stops, and run again it ends as a clean run, whatever the step was.
func TestAliasFaults(t *testing.T) {
	needOwners(t)
	s := awaySite(t)
	s.check(s.action(doRun, nil))
	clean := s.texts()
	if len(clean) != 2 {
		t.Fatalf("%q", clean)
	}
	failed := 0
	for n := 1; ; n++ {
		s.renew()
		steps, what := 0, ""
		err := s.action(doRun, func(op, name string) error {
			if steps++; steps == n {
				what = op + " " + name
				return &os.PathError{Op: op, Path: name, Err: syscall.EIO}
			}
			return nil
		})
		if what == "" {
			s.check(err)
			break
		}
		failed++
		if err == nil { // such as a temporary file that cannot be removed, and is not there
			diff(t, clean, s.texts())
		}
		s.check(s.action(doRun, nil))
		diff(t, clean, s.texts())
		if t.Failed() {
			t.Fatalf("after step %d: %s", n, what)
		}
	}
	if failed < 8 {
		t.Errorf("%d steps", failed)
	}
}

// TestKillAliases kills the program while it writes hundreds of addresses; the
// next run, or undo, ends as after a clean one.
func TestKillAliases(t *testing.T) {
	needOwners(t)
	s := awaySite(t)
	const lists = 15
	var aliases strings.Builder
	for i := range lists {
		fmt.Fprintf(&aliases, "list%d: ann, far%[1]d@else.example\nowner-list%[1]d: bob\n", i)
	}
	s.write("old/etc/mail/aliases", aliases.String())
	started := time.Now()
	s.finish(0, "run")
	took := time.Since(started)
	clean := s.texts()
	if len(clean) != 2+4*lists {
		t.Fatalf("%d files", len(clean))
	}
	rng := hosttest.Seeded(t)
	kills := hosttest.Kills(t)
	if os.Getenv("QMAILKIT_LONG") == "" {
		kills = min(kills, 2)
	}
	for i := range kills {
		s.renew()
		cmd := s.program("run")
		s.check(cmd.Start())
		after := time.Duration(rng.Int64N(int64(took)))
		time.Sleep(after)
		s.check(cmd.Process.Kill())
		cmd.Wait() // that it was quicker is a run as well
		if i%3 == 1 {
			s.finish(0, "undo")
			undone(s)
		} else {
			made := 0
			if _, err := os.Stat(s.path("new/vpopmail/domains")); err == nil {
				made = len(s.texts())
			}
			s.finish(0, "run")
			t.Logf("killed after %v of %v, at %d of %d files", after, took, made, len(clean))
			diff(t, clean, s.texts())
		}
		if t.Failed() {
			return
		}
	}
}
