package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/examples/sendmail2vpopmail/samplehost"
	"github.com/qmailkit/qmailkit/vpopmail"
)

func TestMain(m *testing.M) {
	if signal.Ignored(syscall.SIGHUP) {
		// Under nohup(1) children would be deaf to it as well; one that is
		// handled here is as usual for them.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	testscript.Main(m, map[string]func(){"sendmail2vpopmail": main})
}

// places are the flags that every test gives.
func places(dir string) []string {
	return []string{
		"-source", filepath.Join(dir, "old"), "-vpopmail", filepath.Join(dir, "new/vpopmail"),
		"-qmail", filepath.Join(dir, "new/qmail"), "-state", filepath.Join(dir, "state"),
	}
}

// The commands of the scripts:
//
//	samplehost            makes old/, and an empty new host in new/
//	exits CODE PROG ARG... runs a program and compares its exit code
//	move CODE CMD ARG...  runs CMD of the program between old/ and new/
//	snapshot FILE DIR...  lists files with all that can be seen of them
var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"samplehost": func(ts *testscript.TestScript, _ bool, _ []string) {
		ts.Check((&demonstration{dir: ts.MkAbs(".")}).build())
	},
	"exits": func(ts *testscript.TestScript, _ bool, args []string) { exits(ts, args[0], args[1:]) },
	"move": func(ts *testscript.TestScript, _ bool, args []string) {
		argv := append([]string{"sendmail2vpopmail", args[1]}, places(ts.MkAbs("."))...)
		exits(ts, args[0], append(argv, args[2:]...))
	},
	"snapshot": func(ts *testscript.TestScript, _ bool, args []string) {
		var b strings.Builder
		for _, dir := range args[1:] {
			list, err := listing(ts.MkAbs(dir))
			ts.Check(err)
			for _, name := range slices.Sorted(keys(list)) {
				fmt.Fprintf(&b, "%s/%s %s\n", dir, name, list[name])
			}
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o666))
	},
}

func exits(ts *testscript.TestScript, code string, argv []string) {
	want, err := strconv.Atoi(code)
	ts.Check(err)
	got := 0
	err = ts.Exec(argv[0], argv[1:]...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Cmds: scriptCommands, RequireExplicitExec: true})
}

// keys is maps.Keys for listings.
func keys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// listing is everything below a directory: kind, mode, owner, time, content.
func listing(dir string) (map[string]string, error) {
	list := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		s := fmt.Sprintf("%v %d:%d", fi.Mode(), st.Uid, st.Gid)
		switch {
		case fi.Mode().IsRegular():
			text, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			s += fmt.Sprintf(" %d %x", fi.ModTime().UnixNano(), sha256.Sum256(text))
		case fi.Mode().Type() == fs.ModeSymlink:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			s += " " + to
		}
		rel, err := filepath.Rel(dir, p)
		list[rel] = s
		return err
	})
	return list, err
}

// A site is an old host and a new one in a temporary directory.
type site struct {
	t   *testing.T
	dir string
	man *samplehost.Manifest
}

// newSite has the sample host.
func newSite(t *testing.T) *site {
	t.Helper()
	d := &demonstration{dir: t.TempDir()}
	if err := d.build(); err != nil {
		t.Fatal(err)
	}
	return &site{t, d.dir, d.man}
}

// ownSite has an old host that the test makes itself, of these lines of
// passwd: NAME UID HOME.
func ownSite(t *testing.T, users ...string) *site {
	t.Helper()
	s := newSite(t)
	if err := os.RemoveAll(s.path("old")); err != nil {
		t.Fatal(err)
	}
	s.man = nil
	var passwd, shadow strings.Builder
	for i, u := range users {
		fmt.Fprintf(&passwd, "%s:x:%d:%d::/home/%s:/bin/sh\n", u, 1000+i, 1000+i, u)
		fmt.Fprintf(&shadow, "%s:$1$PeggySue$PSB4QyuZ6Wl/sNnW.D5NY.:12600:0:99999:7:::\n", u)
		s.mkdir("old/home/" + u)
		s.chown("old/home/"+u, 1000+i)
	}
	s.write("old/etc/passwd", passwd.String())
	s.write("old/etc/shadow", shadow.String())
	s.write("old/etc/mail/local-host-names", "example.org\n")
	s.mkdir("old/var/mail")
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) mkdir(name string) { s.t.Helper(); s.check(os.MkdirAll(s.path(name), 0o755)) }

func (s *site) write(name, text string) {
	s.t.Helper()
	s.mkdir(filepath.Dir(name))
	s.check(os.WriteFile(s.path(name), []byte(text), 0o644))
}

// chown gives a file away where that can be done.
func (s *site) chown(name string, id int) {
	s.t.Helper()
	if os.Geteuid() == 0 {
		s.check(os.Lchown(s.path(name), id, id))
	}
}

func (s *site) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.path(name))
	s.check(err)
	return string(b)
}

func (s *site) list(name string) map[string]string {
	s.t.Helper()
	list, err := listing(s.path(name))
	s.check(err)
	return list
}

// move runs a command in this process and compares its exit code.
func (s *site) move(code int, command string, args ...string) (stdout, stderr string) {
	s.t.Helper()
	argv := append(append([]string{command}, places(s.dir)...), args...)
	var out, words bytes.Buffer
	if got := run(context.Background(), argv, strings.NewReader(""), &out, &words); got != code {
		s.t.Fatalf("%s: exit code %d, want %d:\n%s", command, got, code, words.String())
	}
	return out.String(), words.String()
}

// report runs a command for its report.
func (s *site) report(code int, command string, args ...string) *report.Report {
	s.t.Helper()
	out, _ := s.move(code, command, append([]string{"-json"}, args...)...)
	r := &report.Report{}
	s.check(json.Unmarshal([]byte(out), r))
	return r
}

// places are "CODE PATH" of items, sorted.
func itemPlaces(items []report.Item) []string {
	var list []string
	for _, it := range items {
		list = append(list, it.Code+" "+it.Place())
	}
	slices.Sort(list)
	return list
}

// maildir is the place of an account's mail.
func (s *site) maildir(domain, user string) string {
	return s.path("new/vpopmail/domains/" + domain + "/" + user + "/Maildir")
}

// store opens the new host as the library sees it.
func (s *site) store() *vpopmail.Store {
	s.t.Helper()
	home, err := os.OpenRoot(s.path("new/vpopmail"))
	s.check(err)
	s.t.Cleanup(func() { home.Close() })
	qmail, err := os.OpenRoot(s.path("new/qmail"))
	s.check(err)
	s.t.Cleanup(func() { qmail.Close() })
	p := vpopmail.DefaultProfile54()
	p.Home = s.path("new/vpopmail")
	st, err := vpopmail.Open(home, qmail, &vpopmail.Options{Profile: &p})
	s.check(err)
	return st
}

// user is an account as it is stored.
func (s *site) user(addr string) vpopmail.User {
	s.t.Helper()
	u, err := s.store().User(s.t.Context(), addr)
	s.check(err)
	return u
}

func diff(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("want - got +:\n%s", d)
	}
}

// letters is an mbox of n messages of a user.
func letters(user string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "From ann@example.org Mon Jan  5 07:%02d:%02d 2004\nTo: %s\nSubject: letter %d\n\n%s\n",
			i/60%60, i%60, user, i, strings.Repeat("some text\n", 1+i%7))
	}
	return b.String()
}
