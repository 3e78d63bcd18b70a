package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRouteAccounts asks for local parts that users does not know: the
// accounts of the host get them, whose homes must be their own.
func TestRouteAccounts(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"qmail/control/me": "example.com\n", "home/own/.qmail-x": "./box\n", "home/other/.qmail-x": "./never\n", "alias/.qmail-default": "&own\n",
	} {
		full := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	me := os.Geteuid()
	if me == 0 {
		me = 4711
		if err := os.Chown(filepath.Join(root, "home/own"), me, -1); err != nil {
			t.Fatal(err)
		}
	}
	passwd := filepath.Join(root, "passwd")
	text := fmt.Sprintf("alias:x:7:7::/alias:\nown:x:%d:1::/home/own:\nother:x:%d:1::/home/other:\n", me, me+1)
	if err := os.WriteFile(passwd, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, words := inspect("", "route", "-root", root, "-passwd", passwd, "-delivery", "./Maildir/", filepath.Join(root, "qmail"),
		"own-x@example.com", "Own@example.com", "other-x@example.com")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, words)
	}
	var got []string
	for _, o := range objects(t, out) {
		delivery := o["deliveries"].([]any)[0].(map[string]any)
		got = append(got, fmt.Sprint(o["via"], " ", o["user"], " ", o["dotqmail"], " ", delivery["kind"], " ", delivery["mailbox"], " ", o["fate"]))
	}
	want := "getpw own /home/own/.qmail-x mbox /home/own/box delivered\n" +
		"getpw own <nil> maildir /home/own/Maildir delivered\n" +
		"getpw alias /alias/.qmail-default forward <nil> delivered"
	if strings.Join(got, "\n") != want {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
}
