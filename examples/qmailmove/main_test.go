//go:build unix

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
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/maildir"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"qmailmove": main})
}

// A site is a sample pair of hosts.
type site struct {
	*sample
	t *testing.T
}

func newSite(t *testing.T) *site {
	t.Helper()
	s, err := newSample(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &site{s, t}
}

func (s *site) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// places are the flags that every test gives.
func (s *site) places() []string {
	return []string{"-source-root", s.path("old"), "-source-dump", s.path("old/psa.sql"), "-secret-key", s.path("old/etc/psa/private/secret_key"),
		"-target-root", s.path("new"), "-state", s.path("state"), "-domain", sampleDomain}
}

// move runs the program in this process, compares its exit code, and returns
// what it said.
func (s *site) move(code int, command string, args ...string) (stdout, stderr string) {
	s.t.Helper()
	var out, words bytes.Buffer
	argv := append(append([]string{command}, s.places()...), args...)
	if got := run(s.t.Context(), argv, strings.NewReader(""), &out, &words); got != code {
		s.t.Fatalf("%s %q: exit code %d, want %d\n%s%s", command, args, got, code, &words, &out)
	}
	return out.String(), words.String()
}

// report is the report of a run.
func (s *site) report(code int, command string, args ...string) *report.Report {
	s.t.Helper()
	out, _ := s.move(code, command, append(args, "-json")...)
	var r report.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		s.t.Fatalf("%v: %q", err, out)
	}
	return &r
}

// codes are those of a report's items.
func codes(items []report.Item) (list []string) {
	for _, it := range items {
		list = append(list, it.Code)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// program is the real program with the flags of the site, as a process.
func (s *site) program(command string, args ...string) *exec.Cmd {
	cmd := exec.Command("qmailmove", append(append([]string{command}, s.places()...), args...)...)
	cmd.Stderr = &bytes.Buffer{}
	return cmd
}

// finish runs the program to its end and compares its exit code.
func (s *site) finish(code int, command string, args ...string) {
	s.t.Helper()
	cmd := s.program(command, args...)
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		s.t.Fatalf("%s: exit code %d, want %d:\n%s", command, got, code, cmd.Stderr)
	}
}

// listing is everything below a directory: kind, mode, owner, time, content.
// The journals, which tell the story of runs, are left out.
func (s *site) listing(dir string) map[string]string {
	s.t.Helper()
	list := map[string]string{}
	top := s.path(dir)
	s.check(filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, p)
		if err != nil || d.Name() == "qmailkit-journal" {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		line := fmt.Sprintf("%v %d:%d", fi.Mode(), st.Uid, st.Gid)
		if fi.Mode().IsRegular() {
			text, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %x", sha256.Sum256(text))
			// The times of other files are nobody's concern.
			switch dir := filepath.Base(filepath.Dir(p)); {
			case dir == "new", dir == "cur", dir == "control", dir == "@attachments", strings.HasPrefix(d.Name(), ".qmail"):
				line += fmt.Sprintf(" %d", fi.ModTime().Unix())
			}
		}
		list[rel] = line
		return nil
	}))
	return list
}

// mailFiles are the messages below a host's mailboxes: path and content.
func (s *site) mailFiles(host string) map[string]string {
	s.t.Helper()
	top := s.path(host, "var/qmail/mailnames/example.com")
	list := map[string]string{}
	s.check(filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		switch filepath.Base(filepath.Dir(p)) {
		case "new", "cur":
			text, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fi, err := d.Info()
			rel, _ := filepath.Rel(top, p)
			list[rel] = fmt.Sprintf("%d %s", fi.ModTime().Unix(), text)
			return err
		}
		return nil
	}))
	return list
}

func (s *site) diff(want, got any) {
	s.t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		s.t.Errorf("-want +got\n%s", d)
	}
}

func (s *site) old(parts ...string) string {
	return s.path(append([]string{"old/var/qmail/mailnames/example.com"}, parts...)...)
}

func (s *site) new(parts ...string) string {
	return s.path(append([]string{"new/var/qmail/mailnames/example.com"}, parts...)...)
}

// first is the first name in a directory that matches.
func (s *site) first(pattern string) string {
	s.t.Helper()
	list, err := filepath.Glob(pattern)
	s.check(err)
	if len(list) == 0 {
		s.t.Fatalf("nothing matches %s", pattern)
	}
	return list[0]
}

// Every message with its name, time and flags, every file beside them; the
// source as it was; and a second run changes nothing.
func TestCopy(t *testing.T) {
	s := newSite(t)
	before := s.listing("old")
	r := s.report(0, "copy")
	if r.Outcome != report.Done || r.Totals.Delivered != int64(s.messages) || len(r.NotCarried) != 0 {
		t.Errorf("%+v %+v", r.Totals, r.NotCarried)
	}
	s.diff(before, s.listing("old"))
	s.diff(s.mailFiles("old"), s.mailFiles("new"))
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		uid, gid = sampleUID, sampleGID
	}
	for name, line := range s.listing("new/var/qmail/mailnames/example.com") {
		want := fmt.Sprintf("drwx------ %d:%d", uid, gid)
		if base := filepath.Base(filepath.Dir(name)); base == "new" || base == "cur" || filepath.Base(name) == ".qmail" {
			want = fmt.Sprintf("-rw------- %d:%d ", uid, gid)
		} else if !strings.HasPrefix(line, "d") {
			continue
		}
		if !strings.HasPrefix(line, want) {
			t.Errorf("%s: %s, want %s", name, line, want)
		}
	}
	for _, name := range []string{"anna/Maildir/courierpop3dsizelist", "anna/Maildir/courierimapuiddb", "anna/Maildir/courierimapsubscribed",
		"anna/.qmail", "bert/.qmail", "team/.qmail", "anna/@attachments/map.txt", ".qmail-default"} {
		want, err := os.ReadFile(s.old(name))
		s.check(err)
		if got, err := os.ReadFile(s.new(name)); err != nil || string(got) != string(want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{"anna": "104853504S,0C\n", "bert": "0S,0C\n"} {
		if got, err := os.ReadFile(s.new(name, "Maildir/maildirsize")); err != nil || !strings.HasPrefix(string(got), want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"anna/@mbox.usage", "anna/Maildir/tmp/1100000000.half.old"} {
		if _, err := os.Lstat(s.new(name)); !missing(err) {
			t.Errorf("%s was carried: %v", name, err)
		}
	}
	v := s.report(0, "verify")
	if v.Verification.Equal != int64(s.messages) || !v.Verification.Proven() || v.Verification.MailboxesEqual != int64(len(s.boxes)) {
		t.Errorf("%+v", v.Verification)
	}
	after := s.listing("new")
	r = s.report(0, "copy")
	if r.Totals.Delivered != 0 || r.Totals.AlreadyThere != int64(s.messages) {
		t.Errorf("again: %+v", r.Totals)
	}
	s.diff(after, s.listing("new"))
}

// The source is in use between two runs, and so is the target.
func TestThreeWay(t *testing.T) {
	s := newSite(t)
	s.move(0, "copy")
	// At the source: one message comes, one is read, one is deleted, a forward
	// is made and one is taken away.
	s.write("old/var/qmail/mailnames/example.com/info/Maildir/new/1200000000.M1P1.old", "Subject: new\n\n", 0o600)
	read := s.first(s.old("anna/Maildir/new/*"))
	s.check(os.Rename(read, s.old("anna/Maildir/cur", filepath.Base(read)+":2,S")))
	gone := s.first(s.old("info/Maildir/cur/*"))
	s.check(os.Remove(gone))
	s.write("old/var/qmail/mailnames/example.com/info/.qmail", "| true\n| /usr/bin/deliverquota ./Maildir\n&new@example.org\n", 0o600)
	// At the target: one is deleted, one flagged that the source reads too, a
	// .qmail edited that the source edits too.
	mine := s.first(s.new("bert/Maildir/cur/*"))
	s.check(os.Remove(mine))
	both := s.first(s.new("bert/Maildir/new/*"))
	s.check(os.Rename(both, s.new("bert/Maildir/cur", filepath.Base(both)+":2,F")))
	s.check(os.Rename(s.old("bert/Maildir/new", filepath.Base(both)), s.old("bert/Maildir/cur", filepath.Base(both)+":2,S")))
	for host, line := range map[string]string{"old": "&one@example.org\n", "new": "&two@example.org\n"} {
		s.write(host+"/var/qmail/mailnames/example.com/bert/.qmail", line, 0o600)
	}
	s.check(os.Remove(s.old("anna/@attachments/map.txt")))

	r := s.report(0, "copy")
	if r.Totals.Delivered != 1 {
		t.Errorf("%+v", r.Totals)
	}
	there := func(name string, want bool) {
		t.Helper()
		if _, err := os.Lstat(name); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	there(s.new("info/Maildir/new/1200000000.M1P1.old"), true)
	there(s.new("anna/Maildir/cur", filepath.Base(read)+":2,S"), true)
	there(s.new("anna/Maildir/new", filepath.Base(read)), false)
	there(s.new("info/Maildir/cur", filepath.Base(gone)), false)
	there(mine, false)
	there(s.new("bert/Maildir/cur", filepath.Base(both)+":2,F"), true)
	there(s.new("anna/@attachments/map.txt"), false)
	for name, want := range map[string]string{"info": "&new@example.org\n", "bert": "&two@example.org\n"} {
		if got, err := os.ReadFile(s.new(name, ".qmail")); err != nil || !strings.HasSuffix(string(got), want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	s.diff([]string{"file.kept", "mailbox.followed", "mailbox.unfinished"}, codes(r.Oddities))
	// The message that has gone at the source comes back there.
	s.write("old/var/qmail/mailnames/example.com/info/Maildir/cur/"+filepath.Base(gone), "Subject: back\n\n", 0o600)
	if r := s.report(0, "copy"); r.Totals.Delivered != 1 {
		t.Errorf("%+v", r.Totals)
	}
	there(s.new("info/Maildir/cur", filepath.Base(gone)), true)
	// Asked to, what goes at the source stays here.
	s.check(os.Remove(s.old("info/Maildir/cur", filepath.Base(gone))))
	s.move(0, "copy", "-keep-deleted")
	there(s.new("info/Maildir/cur", filepath.Base(gone)), true)
}

// What verify has to find.
func TestVerifyFinds(t *testing.T) {
	for code, spoil := range map[string]func(s *site){
		"verify.missing": func(s *site) {
			s.write("old/var/qmail/mailnames/example.com/anna/Maildir/cur/1200000000.M1P1.old:2,S", "Subject: new\n\n", 0o600)
		},
		"verify.differs": func(s *site) {
			s.check(os.WriteFile(s.first(s.new("anna/Maildir/cur/*")), []byte("other"), 0o600))
		},
		"verify.time": func(s *site) {
			s.check(os.Chtimes(s.first(s.new("anna/Maildir/cur/*")), time.Unix(1, 0), time.Unix(1, 0)))
		},
		"verify.uidl": func(s *site) {
			s.check(os.WriteFile(s.new("anna/Maildir/courierpop3dsizelist"), []byte("/3 1 1700000000\n"), 0o600))
		},
		"verify.uidvalidity": func(s *site) {
			s.check(os.WriteFile(s.new("anna/Maildir/courierimapuiddb"), []byte("1 1700000000 1\n"), 0o600))
		},
		"verify.uid": func(s *site) {
			s.check(os.WriteFile(s.new("anna/Maildir/courierimapuiddb"), []byte("1 1100000000 1\n"), 0o600))
		},
		"verify.no-maildir": func(s *site) { s.check(os.RemoveAll(s.new("bert"))) },
		"verify.unreadable": func(s *site) {
			s.check(os.Remove(s.new("anna/Maildir", maildir.JournalName)))
			s.check(os.Symlink("/etc/passwd", s.new("anna/Maildir", maildir.JournalName)))
		},
		"verify.password": func(s *site) {
			b, err := os.ReadFile(s.path("new/var/qmail/users/poppasswd"))
			s.check(err)
			s.write("new/var/qmail/users/poppasswd", strings.Replace(string(b), "it's plain", "it's other", 1), 0o600)
		},
		"verify.account": func(s *site) { s.check(os.WriteFile(s.path("new/var/qmail/users/poppasswd"), nil, 0o600)) },
	} {
		t.Run(code, func(t *testing.T) {
			s := newSite(t)
			s.move(0, "copy", "-sync", "none")
			if code == "verify.password" || code == "verify.account" {
				s.move(0, "accounts", "-direct", "-target-id", "40")
				if v := s.report(0, "verify").Verification; v.Hashes != 3 {
					t.Fatalf("%+v", v)
				}
			}
			spoil(s)
			r := s.report(3, "verify")
			if r.Verification.Mailboxes != 3 || !slices.Contains(codes(r.Verification.Failures), code) {
				t.Errorf("%+v", r.Verification)
			}
		})
	}
	// What its reader has done at the target is no fault.
	s := newSite(t)
	s.move(0, "copy")
	s.check(os.Remove(s.first(s.new("anna/Maildir/cur/*"))))
	seen := s.first(s.new("info/Maildir/new/*"))
	s.check(os.Rename(seen, s.new("info/Maildir/.Sent/cur", filepath.Base(seen)+":2,S")))
	if v := s.report(0, "verify").Verification; v.GoneAtTarget != 1 || v.Equal != int64(s.messages-1) {
		t.Errorf("%+v", v)
	}
}

func TestPlan(t *testing.T) {
	s := newSite(t)
	old, young := s.listing("old"), s.listing("new")
	r := s.report(0, "plan", "-target-dump", s.path("new/psa.sql"))
	if r.Outcome != report.Planned || r.Totals.Messages != int64(s.messages) || len(r.Accounts) != len(sampleAccounts) || !r.Needs.Enough() || r.Needs.Bytes < r.Totals.Bytes {
		t.Errorf("%+v %+v", r.Totals, r.Needs)
	}
	if list := codes(r.Oddities); !slices.Contains(list, "mailbox.folder-names") {
		t.Errorf("%q", list)
	}
	s.diff(old, s.listing("old"))
	s.diff(young, s.listing("new"))
	if _, err := os.Lstat(s.path("state")); !missing(err) {
		t.Errorf("a plan has made a state directory: %v", err)
	}
	// Without psa, from the directories alone.
	var out, words bytes.Buffer
	if code := run(context.Background(), []string{"plan", "-source-root", s.path("old"), "-target-root", s.path("new"), "-domain", sampleDomain}, nil, &out, &words); code != 0 {
		t.Errorf("exit code %d: %s", code, &words)
	}
}

// Folder names change their encoding, if that is asked for: in all runs or in
// none, because each folder would be there twice.
func TestUTF8Folders(t *testing.T) {
	s := newSite(t)
	s.move(0, "copy", "-utf8-folders", "-sync", "none")
	if _, err := os.Stat(s.new("anna/Maildir/.Entwürfe/cur")); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(s.new("anna/Maildir/courierimapsubscribed"))
	if err != nil || string(b) != "INBOX\nINBOX.Sent\nINBOX.Entwürfe\n" {
		t.Errorf("%q, %v", b, err)
	}
	s.move(0, "verify", "-utf8-folders")
	after := s.mailFiles("new")
	for _, command := range []string{"copy", "drain", "verify"} {
		if _, words := s.move(2, command); !strings.Contains(words, "were made with it") {
			t.Errorf("%s", words)
		}
	}
	s.diff(after, s.mailFiles("new"))
	s = newSite(t)
	s.move(0, "copy", "-sync", "none")
	s.move(2, "copy", "-utf8-folders")
}

// A mail name with capitals has its directory in small letters, where
// users/assign leads.
func TestCapitals(t *testing.T) {
	s := newSite(t)
	b, err := os.ReadFile(s.path("old/psa.sql"))
	s.check(err)
	s.check(os.Rename(s.old("info"), s.old("Info")))
	s.write("old/psa.sql", strings.Replace(strings.Replace(string(b), "'anna','true'", "'Anna','true'", 1), "'info','true'", "'Info','true'", 1), 0o600)
	s.move(0, "accounts", "-direct", "-target-id", "40")
	s.move(0, "copy", "-sync", "none")
	if v := s.report(0, "verify").Verification; v.Equal != int64(s.messages) || v.Hashes != 3 {
		t.Errorf("%+v", v)
	}
	assign, err := os.ReadFile(s.path("new/var/qmail/users/assign"))
	s.check(err)
	for _, name := range []string{"anna", "info"} {
		if _, err := os.Stat(s.new(name, "Maildir/cur")); err != nil || !strings.Contains(string(assign), ":/var/qmail/mailnames/example.com/"+name+":") {
			t.Errorf("%v: %s", err, assign)
		}
	}
}
