//go:build unix

package main

import (
	"io/fs"
	"os"
	"testing"
)

// Files beside the messages have the modes that they have on a Plesk host: its
// own for what is made, the source's for what is carried, without write for
// others.
func TestModes(t *testing.T) {
	s := newSite(t)
	s.check(os.Chmod(s.old("bert/Maildir/courierimapsubscribed"), 0o666))
	s.check(os.Chmod(s.old("info/Maildir/courierimapsubscribed"), 0o600))
	s.move(0, "copy")
	for name, want := range map[string]fs.FileMode{
		"anna/Maildir/maildirsize": 0o644, "anna/Maildir/courierimapsubscribed": 0o644, "bert/Maildir/courierimapsubscribed": 0o644,
		"info/Maildir/courierimapsubscribed": 0o600, "anna/Maildir/courierpop3dsizelist": 0o600, "anna/Maildir/courierimapuiddb": 0o600,
		"anna/.qmail": 0o600, "anna/Maildir": 0o700 | fs.ModeDir, "anna/@attachments/map.txt": 0o600,
	} {
		fi, err := os.Lstat(s.new(name))
		s.check(err)
		if fi.Mode() != want {
			t.Errorf("%s: %v, want %v", name, fi.Mode(), want)
		}
	}
	// One that is there keeps its own.
	s.check(os.Chmod(s.new("anna/Maildir/maildirsize"), 0o640))
	s.write("old/var/qmail/mailnames/example.com/anna/Maildir/new/1200000000.M1P1.old", "Subject: new\n\n", 0o600)
	s.move(0, "copy")
	if fi, err := os.Lstat(s.new("anna/Maildir/maildirsize")); err != nil || fi.Mode() != 0o640 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
}
