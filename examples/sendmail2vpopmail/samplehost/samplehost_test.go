//go:build unix

package samplehost

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/passhash"
	"github.com/qmailkit/qmailkit/mbox"
	"github.com/qmailkit/qmailkit/sendmail"
)

// owners says whether these tests can give files away.
func owners() bool { return os.Geteuid() == 0 }

func build(t *testing.T) (string, *Manifest) {
	t.Helper()
	dir := t.TempDir()
	m, err := Build(dir, &Options{Owners: owners()})
	if err != nil {
		t.Fatal(err)
	}
	return dir, m
}

func open(t *testing.T, dir string) (*sendmail.Host, qmailkit.Tree) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	tree := qmailkit.NewTree(root)
	h, err := sendmail.Open(tree, &sendmail.Options{Now: Now})
	if err != nil {
		t.Fatal(err)
	}
	return h, tree
}

func diff(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("want - got +:\n%s", d)
	}
}

// listing is all of a tree: names, modes, times, links and contents.
func listing(t *testing.T, dir string) (list []string, size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		s := strings.TrimPrefix(path, dir) + " " + fi.Mode().String()
		switch {
		case fi.Mode().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			size += fi.Size()
			s += fmt.Sprintf(" %x %d", sha256.Sum256(text), fi.ModTime().Unix())
		case fi.Mode().Type() == fs.ModeSymlink:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			s += " -> " + to
		case path != dir:
			s += fmt.Sprint(" ", fi.ModTime().Unix())
		}
		list = append(list, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list, size
}

func TestBuildTwice(t *testing.T) {
	dir, m := build(t)
	first, size := listing(t, dir)
	dir2, m2 := build(t)
	second, _ := listing(t, dir2)
	diff(t, first, second)
	diff(t, m, m2)
	if n := m.Messages(); size > 8<<20 || n < 60 || n > 120 {
		t.Errorf("%d bytes, %d messages", size, n)
	}
	if _, err := Build(dir, nil); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("built over a host: %v", err)
	}
}

// TestPlainUser builds without giving anything away.
func TestPlainUser(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "host")
	m, err := Build(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	h, _ := open(t, dir)
	diff(t, m.Messages(), total(t, h, m))
}

// total counts what sendmail finds, by the Manifest's numbers.
func total(t *testing.T, h *sendmail.Host, m *Manifest) int {
	t.Helper()
	n := 0
	for a, err := range h.Accounts(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		want := m.Account(a.Name)
		if want == nil {
			continue
		}
		for box, err := range h.Mailboxes(context.Background(), a) {
			if err != nil {
				continue
			}
			for _, b := range want.Mailboxes {
				if b.Path == box.Path {
					n += b.Messages
				}
			}
		}
	}
	return n
}

func TestAccounts(t *testing.T) {
	dir, m := build(t)
	h, _ := open(t, dir)
	diff(t, sendmail.Layout{Passwd: "etc/passwd", Shadow: "etc/shadow", Spools: []string{"var/mail"}}, h.Layout())
	i := 0
	schemes := map[string]bool{}
	for d, err := range sendmail.DefaultPolicy().Judge(h.Accounts(context.Background())) {
		if err != nil {
			t.Fatal(err)
		}
		a := d.Account
		if a.UID < firstUser {
			if d.Verdict != sendmail.NotCarried {
				t.Errorf("%s: %v", a.Name, d.Verdict)
			}
			continue
		}
		want := m.Accounts[i]
		i++
		got := Account{
			Name: a.Name, Target: d.Name, UID: a.UID, GID: a.GID, Password: want.Password, Login: d.Verdict == sendmail.Carried,
			Hash: a.Hash, Scheme: a.Scheme, State: a.State,
			Mailboxes: want.Mailboxes, Subscriptions: want.Subscriptions, Reported: want.Reported,
		}
		diff(t, want, got)
		if string(a.Hash) != string(want.Hash) {
			t.Errorf("%s: the hash differs", a.Name)
		}
		if want.Login && d.Reason.Code != "" {
			t.Errorf("%s: %v", a.Name, d.Reason)
		}
		schemes[a.Scheme] = true
	}
	if i != len(m.Accounts) || i < 12 || i > 16 {
		t.Errorf("%d of %d accounts", i, len(m.Accounts))
	}
	for _, s := range []passhash.Scheme{passhash.DES, passhash.BSDi, passhash.MD5, passhash.Bcrypt, passhash.SHA256, passhash.SHA512, passhash.Yescrypt, passhash.SHA1, passhash.SunMD5} {
		if !schemes[string(s)] {
			t.Errorf("no hash of scheme %s", s)
		}
	}
}

func TestPasswords(t *testing.T) {
	for _, a := range manifest().Accounts {
		if a.Hash == "" {
			continue
		}
		if r := passhash.Verify(string(a.Hash), string(a.Password)); r.Verdict != passhash.Match {
			t.Errorf("%s: %+v", a.Name, r)
		}
		if r := passhash.Verify(string(a.Hash), string(a.Password[:1])); r.Verdict == passhash.Match {
			t.Errorf("%s: any password will do", a.Name)
		}
	}
}

func TestMailboxes(t *testing.T) {
	dir, m := build(t)
	h, tree := open(t, dir)
	for a, err := range h.Accounts(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		want := m.Account(a.Name)
		if want == nil {
			continue
		}
		var boxes []Mailbox
		var reports []Report
		for box, err := range h.Mailboxes(context.Background(), a) {
			if p, ok := sendmail.AsProblem(err); ok {
				reports = append(reports, Report{p.Code, p.Path})
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			boxes = append(boxes, count(t, tree, box))
		}
		diff(t, want.Mailboxes, boxes)
		diff(t, want.Reported, reports)
		names, problems, err := h.Subscriptions(context.Background(), a)
		diff(t, want.Subscriptions, names)
		if problems != nil || err != nil {
			t.Errorf("%s: %v %v", a.Name, problems, err)
		}
	}
}

// count reads a mailbox with package mbox.
func count(t *testing.T, tree qmailkit.Tree, box sendmail.Mailbox) Mailbox {
	t.Helper()
	f, err := tree.Open(box.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := Mailbox{Path: box.Path, Folder: box.Folder, Bytes: box.Size}
	for msg, err := range mbox.Index(context.Background(), f, box.Size, nil) {
		if err != nil {
			t.Fatalf("%s: %v", box.Path, err)
		}
		if msg.Base != nil {
			got.UIDValidity = msg.Base.UIDValidity
		}
		if msg.Pseudo {
			got.Pseudo = true
			continue
		}
		got.Messages++
		if msg.UID != 0 {
			got.UIDs = append(got.UIDs, msg.UID)
		}
		if msg.From.Date.Year() != 2004 {
			t.Errorf("%s: message %d is of %v", box.Path, got.Messages, msg.From.Date)
		}
	}
	return got
}

// TestSystem asks that the mail of those who are not carried is seen.
func TestSystem(t *testing.T) {
	dir, m := build(t)
	h, _ := open(t, dir)
	var want, got []string
	for _, a := range m.System {
		want = append(want, a.Mailboxes[0].Path)
	}
	for d, err := range sendmail.DefaultPolicy().Judge(h.Accounts(context.Background())) {
		if err != nil {
			t.Fatal(err)
		}
		p, ok, err := h.LeftBehind(context.Background(), d)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			got = append(got, p.Path)
		}
	}
	diff(t, []string{"var/mail/root"}, want)
	diff(t, want, got)
}

func TestReported(t *testing.T) {
	dir, m := build(t)
	h, _ := open(t, dir)
	var got []Report
	for p, err := range h.NotCarried(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, Report{p.Code, p.Path})
	}
	diff(t, m.Reported, got)
	var domains []string
	for d, err := range h.Domains(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		if !d.Host {
			domains = append(domains, d.Name)
		}
	}
	diff(t, m.Domains, domains)
}

func TestOwners(t *testing.T) {
	if !owners() {
		t.Skip("only root can give files to others")
	}
	dir, _ := build(t)
	_, tree := open(t, dir)
	for path, want := range map[string][2]int{
		"etc": {0, 0}, "etc/shadow": {0, 0}, "home": {0, 0}, "var/mail": {0, 8}, "var/mail/Grace": {1007, 8},
		"home/alice": {1001, 1001}, "home/alice/mail": {1001, 1001}, "home/alice/mail/Work": {1001, 1001},
		"home/alice/mail/Work/2004": {1001, 1001}, "export/home/judy/mail/kept": {1010, 1010}, "export": {0, 0},
	} {
		fi, err := tree.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if fi.UID != want[0] || fi.GID != want[1] {
			t.Errorf("%s: %d:%d", path, fi.UID, fi.GID)
		}
		if !fi.ModTime.Equal(lastChange) {
			t.Errorf("%s: %v", path, fi.ModTime.Format(time.RFC3339))
		}
	}
}
