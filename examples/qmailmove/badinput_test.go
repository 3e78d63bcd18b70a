//go:build unix

package main

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/plesk"
)

// What is wrong with the input is named, and nothing is changed.
func TestBadInput(t *testing.T) {
	s := newSite(t)
	dump, err := os.ReadFile(s.path("old/psa.sql"))
	s.check(err)
	s.write("cut.sql", string(dump[:len(dump)/2]), 0o600)
	s.write("table.sql", strings.ReplaceAll(string(dump), "`mail`", "`post`"), 0o600)
	s.write("short.key", "short", 0o600)
	s.write("wrong.key", "0000000000000000", 0o600)
	s.write("nodomain.sql", strings.ReplaceAll(string(dump), "example.com", "example.nowhere"), 0o600)
	old, young := s.listing("old"), s.listing("new")
	for name, c := range map[string]struct {
		command string
		args    []string
		code    int
		want    error
	}{
		"truncated dump":     {"copy", []string{"-source-dump", s.path("cut.sql")}, 1, plesk.ErrTruncated},
		"no table":           {"copy", []string{"-source-dump", s.path("table.sql")}, 1, plesk.ErrNoTable},
		"domain not in psa":  {"copy", []string{"-source-dump", s.path("nodomain.sql")}, 1, plesk.ErrNoDomain},
		"cutover, likewise":  {"cutover", []string{"-smtproute", "x", "-source-dump", s.path("nodomain.sql")}, 1, plesk.ErrNoDomain},
		"no dump":            {"copy", []string{"-source-dump", s.path("none")}, 1, errors.New("no such file")},
		"key too short":      {"plan", []string{"-secret-key", s.path("short.key")}, 1, plesk.ErrKeySize},
		"wrong key":          {"plan", []string{"-secret-key", s.path("wrong.key")}, 1, plesk.ErrKey},
		"domain not there":   {"copy", []string{"-source-dump", "", "-domain", "example.nowhere"}, 1, errors.New("has no mailboxes of example.nowhere")},
		"source not there":   {"copy", []string{"-source-root", s.path("none")}, 1, errors.New("the old host")},
		"target not there":   {"copy", []string{"-target-root", s.path("none")}, 1, errors.New("the new host")},
		"same host":          {"copy", []string{"-target-root", s.path("old")}, 1, errors.New("same directory")},
		"password in DSN":    {"copy", []string{"-source-dump", "", "-source-db", "me:secret@tcp(h:1)/psa"}, 2, errors.New("every user of this machine can read it")},
		"two kinds of psa":   {"copy", []string{"-source-db", "me@tcp(h:1)/psa"}, 2, errors.New("exclude each other")},
		"password in place":  {"copy", []string{"-source-root", "sftp://me:secret@h/"}, 2, errors.New("every user of this machine can read it")},
		"no domain":          {"copy", []string{"-domain", ""}, 2, errors.New("-domain is missing")},
		"domain with slash":  {"copy", []string{"-domain", "../x"}, 2, errors.New("is not a domain")},
		"sftp without a key": {"copy", []string{"-source-root", "sftp://me@127.0.0.1:1/", "-known-hosts", s.path("old/psa.sql")}, 1, errors.New("known hosts")},
	} {
		t.Run(name, func(t *testing.T) {
			s := &site{s.sample, t}
			_, words := s.move(c.code, c.command, c.args...)
			if !strings.Contains(words, c.want.Error()) || strings.Contains(words, "secret@") {
				t.Errorf("%s", words)
			}
		})
	}
	s.diff(old, s.listing("old"))
	s.diff(young, s.listing("new"))
}

// Things that stand where messages and mailboxes should are told, and the rest
// goes on.
func TestPlanted(t *testing.T) {
	s := newSite(t)
	secret := s.path("secret")
	s.write("secret", "not for the world", 0o600)
	s.check(os.Symlink(secret, s.old("anna/Maildir/new/1.M1P1.link")))
	s.check(unix.Mkfifo(s.old("anna/Maildir/cur/1.M2P1.fifo"), 0o600))
	swapped := s.first(s.old("info/Maildir/cur/*"))
	s.check(os.Remove(swapped))
	s.check(os.Symlink(secret, swapped))
	s.check(os.Remove(s.old("info/.qmail")))
	s.check(os.Symlink(secret, s.old("info/.qmail")))
	s.check(os.RemoveAll(s.old("bert/Maildir")))
	s.check(os.Symlink(s.old("anna/Maildir"), s.old("bert/Maildir")))
	s.check(os.MkdirAll(s.old("stranger/Maildir/new"), 0o700))
	r := s.report(3, "copy")
	want := []string{"file.unreadable", "mailbox.not-maildir", "mailbox.unknown", "maildir.not-plain"}
	s.diff(want, codes(r.NotCarried))
	for name, text := range s.mailFiles("new") {
		if strings.Contains(text, "not for the world") || strings.HasPrefix(name, "bert") {
			t.Errorf("%s was carried", name)
		}
	}
	if r.Totals.Failed != 0 || r.Totals.Delivered < int64(s.messages)-10 {
		t.Errorf("%+v", r.Totals)
	}
}

// At the target a user has planted links where mail should go.
func TestPlantedAtTarget(t *testing.T) {
	s := newSite(t)
	s.check(os.MkdirAll(s.new("anna"), 0o700))
	s.check(os.Mkdir(s.path("victim"), 0o700))
	s.check(os.Symlink(s.path("victim"), s.new("anna/Maildir")))
	s.write("victim.txt", "mine\n", 0o600)
	s.check(os.MkdirAll(s.new("info"), 0o700))
	s.check(os.Symlink(s.path("victim.txt"), s.new("info/.qmail")))
	r := s.report(3, "copy")
	if list := codes(r.NotCarried); !slices.Contains(list, "target.unusable") || !slices.Contains(list, "file.blocked") {
		t.Errorf("%q", list)
	}
	if b, err := os.ReadFile(s.path("victim.txt")); err != nil || string(b) != "mine\n" {
		t.Errorf("%q, %v", b, err)
	}
	if list := s.listing("victim"); len(list) != 1 {
		t.Errorf("%q", list)
	}
}

// vanishing is a tree whose messages go when they are opened.
type vanishing struct {
	qmailkit.Tree
	when func(name string) bool
	do   func(name string)
}

func (v *vanishing) Open(name string) (qmailkit.File, error) {
	if v.when(name) {
		v.do(name)
	}
	return v.Tree.Open(name)
}

// A message that goes between its listing and its reading is no fault; one that
// becomes a link is.
func TestVanishing(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(s *site, path string)
		code string
		lost bool
	}{
		"deleted": {func(s *site, path string) { s.check(os.Remove(path)) }, "message.vanished", false},
		"swapped": {func(s *site, path string) {
			s.check(os.Remove(path))
			s.check(os.Symlink("/etc/passwd", path))
		}, "message.failed", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			victim := s.first(s.old("info/Maildir/cur/*"))
			cfg := newConfig()
			cfg.sourceRoot, cfg.targetRoot, cfg.domain, cfg.state, cfg.quiet = s.path("old"), s.path("new"), sampleDomain, s.path("state"), true
			m, err := cfg.survey(t.Context())
			s.check(err)
			defer m.Close()
			m.src.tree = &vanishing{m.src.tree, func(n string) bool { return strings.HasSuffix(n, "/info/Maildir/cur/"+filepath.Base(victim)) }, func(string) { c.do(s, victim) }}
			tg, err := m.open(true)
			s.check(err)
			defer tg.close()
			p := &pass{move: m, t: tg}
			s.check(p.all(t.Context()))
			rep := m.report("copy", cfg.now(), nil)
			items := rep.Oddities
			if c.lost {
				items = rep.NotCarried
			}
			if !slices.Contains(codes(items), c.code) || rep.Totals.Delivered != int64(s.messages-1) || (len(rep.NotCarried) > 0) != c.lost {
				t.Errorf("%+v %+v", rep.NotCarried, rep.Oddities)
			}
			if err := leftBehind(rep); (cli.Code(err) == cli.Partial) != c.lost {
				t.Errorf("%v", err)
			}
		})
	}
}

// A mailbox that cannot be read leaves the others to be copied.
func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	s := newSite(t)
	s.check(os.Chmod(s.old("anna/Maildir/cur"), 0))
	t.Cleanup(func() { os.Chmod(s.old("anna/Maildir/cur"), 0o700) })
	r := s.report(3, "copy")
	if !slices.Contains(codes(r.NotCarried), "mailbox.unreadable") || r.Totals.Delivered < 20 {
		t.Errorf("%+v %+v", r.NotCarried, r.Totals)
	}
	s.check(os.Chmod(s.old("anna/Maildir/cur"), 0o700))
	s.report(0, "copy")
	s.diff(s.mailFiles("old"), s.mailFiles("new"))
}

// unreadable is a tree of which a directory cannot be listed.
type unreadable struct {
	qmailkit.Tree
	name string
}

// ReadDir fails for it, and for what it was made to fail.
func (u *unreadable) ReadDir(ctx context.Context, dir string) iter.Seq2[qmailkit.DirEntry, error] {
	if dir != u.name {
		return u.Tree.ReadDir(ctx, dir)
	}
	return func(yield func(qmailkit.DirEntry, error) bool) {
		yield(qmailkit.DirEntry{}, qmailkit.Incomplete(&fs.PathError{Op: "readdir", Path: dir, Err: fs.ErrPermission}))
	}
}

// What could not be listed is not taken for deleted.
func TestUnlistedIsNotDeleted(t *testing.T) {
	s := newSite(t)
	s.move(0, "copy", directly...)
	before := s.mailFiles("new")
	for _, dir := range []string{"anna/Maildir/cur", "anna/Maildir/.Sent/cur", "anna/Maildir"} {
		cfg := newConfig()
		cfg.sourceRoot, cfg.targetRoot, cfg.domain, cfg.state, cfg.quiet = s.path("old"), s.path("new"), sampleDomain, s.path("state"), true
		m, err := cfg.survey(t.Context())
		s.check(err)
		m.src.tree = &unreadable{m.src.tree, join(m.sourceDir(), dir)}
		tg, err := m.open(true)
		s.check(err)
		s.check((&pass{move: m, t: tg}).all(t.Context()))
		if rep := m.report("copy", cfg.now(), nil); len(rep.NotCarried) == 0 {
			t.Errorf("%s: nothing is reported", dir)
		}
		s.check(tg.close())
		m.Close()
		s.diff(before, s.mailFiles("new"))
	}
}

// TestNothingInSilence puts mail where no Maildir++ has it: plan, copy and
// verify say so. The .qmail files of a domain, and lists of UIDs of any usual
// size, are carried.
func TestNothingInSilence(t *testing.T) {
	s := newSite(t)
	domain := "old/var/qmail/mailnames/example.com"
	anna := domain + "/anna/Maildir"
	s.write(anna+"/Archive/cur/1.odd:2,S", "of another layout\n", 0o600)
	s.write(anna+"/..two/new/2.odd", "two dots\n", 0o600)
	s.write(anna+"/.mailfilter", "to somewhere\n", 0o600)
	s.check(os.Symlink(".Sent", s.path(anna, ".Linked")))
	s.check(os.Rename(s.path(domain, "info"), s.path(domain, "really")))
	s.check(os.Symlink("really", s.path(domain, "info")))
	s.write(domain+"/.qmail-sales", "&anna@example.com\n", 0o600)
	long := "1 1100000000 100\n" + strings.Repeat("1 "+strings.Repeat("x", 98)+"\n", 60_000)
	s.write(anna+"/.Sent/courierimapuiddb", long, 0o600)
	s.give("old/var/qmail/mailnames")
	s.check(s.err)
	for _, command := range []string{"plan", "copy", "verify"} {
		r := s.report(3, command, map[string][]string{"copy": {"-sync", "none"}}[command]...)
		link := map[string]string{"plan": "mailbox.link", "copy": "maildir.not-plain", "verify": "mailbox.link"}[command]
		if command == "verify" && (!slices.Contains(codes(r.Oddities), "mailbox.file") || len(r.Verification.Failures) != 0) {
			t.Errorf("%q, %v", codes(r.Oddities), r.Verification.Failures)
		}
		got := codes(r.NotCarried)
		for _, code := range []string{"mailbox.folder-name", "mailbox.link", "mailbox.unknown", link} {
			if !slices.Contains(got, code) {
				t.Errorf("%s: %q is not told: %q", command, code, got)
			}
		}
	}
	for name, want := range map[string]string{".qmail-sales": "&anna@example.com\n", "anna/Maildir/.Sent/courierimapuiddb": long} {
		if b, err := os.ReadFile(s.new(name)); err != nil || string(b) != want {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}
