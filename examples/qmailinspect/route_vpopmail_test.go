package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/vpopmail"
)

// TestRouteVpopmail follows addresses through vdelivermail's line and a user's
// own .qmail file to the Maildir, and the host's directories may be links.
func TestRouteVpopmail(t *testing.T) {
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"data/vpopmail/etc", "var/qmail/control", "var/qmail/users"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"me", "locals", "rcpthosts"} {
		if err := os.WriteFile(filepath.Join(root, "var/qmail/control", name), []byte("mx.example.net\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	open := func(name string) *os.Root {
		r, err := os.OpenRoot(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	p := vpopmail.DefaultProfile54()
	s, err := vpopmail.Open(open("data/vpopmail"), open("var/qmail"), &vpopmail.Options{Profile: &p})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddDomain(t.Context(), vpopmail.DomainSpec{Name: "example.com"}, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ann", "bob"} {
		if _, err := s.AddUser(t.Context(), "example.com", vpopmail.NewUser{Name: name, Hash: vpopmail.NoLogin}); err != nil {
			t.Fatal(err)
		}
	}
	dot := filepath.Join(root, "data/vpopmail/domains/example.com/bob/.qmail")
	if err := os.WriteFile(dot, []byte("&ann@example.com\n&x@example.org\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	route := func(args ...string) (int, []map[string]any, string) {
		code, out, words := inspect("", append([]string{"route", "-root", root}, args...)...)
		return code, objects(t, out), words
	}
	qmail := filepath.Join(root, "var/qmail")
	for _, link := range [][2]string{{"/data", "home"}, {"/etc/users", "var/qmail/users"}} {
		if link[1] != "home" {
			if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(root, link[1]), filepath.Join(root, link[0])); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(link[0], filepath.Join(root, link[1])); err != nil {
			t.Fatal(err)
		}
		code, got, words := route("-follow", "9", qmail, "bob@example.com", "nobody@example.com")
		if code != 0 || len(got) != 2 {
			t.Fatalf("exit code %d, %v, %s", code, got, words)
		}
		var ends []string
		for _, e := range got[0]["ends"].([]any) {
			end := e.(map[string]any)
			ends = append(ends, fmt.Sprint(end["kind"], " ", end["where"], " ", end["addr"]))
		}
		want := "maildir /home/vpopmail/domains/example.com/ann/Maildir ann@example.com, remote x@example.org x@example.org"
		if s := strings.Join(ends, ", "); s != want {
			t.Errorf("%s\nwant %s", s, want)
		}
		if n := len(got[0]["follows"].([]any)); n != 2 {
			t.Errorf("%d further paths", n)
		}
		if got[1]["fate"] != "bounced" || got[1]["report"] != "Sorry, no mailbox here by that name. (#5.1.1)" {
			t.Errorf("%v", got[1])
		}
	}
	code, got, words := route("-vpopmail-ext", qmail, "ann-x@example.com")
	if code != 0 || got[0]["fate"] != "delivered" || got[0]["ends"] != nil {
		t.Errorf("exit code %d, %v, %s", code, got, words)
	}
	does := got[0]["deliveries"].([]any)[0].(map[string]any)["does"].(map[string]any)["deliveries"].([]any)[0].(map[string]any)
	if does["mailbox"] != "/home/vpopmail/domains/example.com/ann/Maildir" {
		t.Errorf("%v", does)
	}
}
