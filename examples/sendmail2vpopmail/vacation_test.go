package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestReplyText(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"Subject: away\n\nbody\n", "From: ann@x\nSubject: away\n\nbody\n"},
		{"From: A <a@x>\nSubject: away\n from here\nX: y\n\nbody", "From: A <a@x>\nSubject: away\n from here\nX: y\n\nbody"},
		{"Subject: Re: $SUBJECT\r\n\r\nbody\r\n", "From: ann@x\nSubject: Re: your mail\r\n\nbody\r\n"},
		{"I am away.\nReally: so.\n", "From: ann@x\n\nI am away.\nReally: so.\n"},
		{"Subject: away\nno blank line\n", "From: ann@x\nSubject: away\n\nno blank line\n"},
		{"\nbody\n", "From: ann@x\n\nbody\n"},
		{"", "From: ann@x\n\n"},
		{" blank: first\n", "From: ann@x\n\n blank: first\n"},
		{"Subject: away", "From: ann@x\nSubject: away\n\n"},
	} {
		got, changed := replyText([]byte(c.in), "ann@x")
		if string(got) != c.want || changed != strings.Contains(c.in, "$SUBJECT") {
			t.Errorf("%q: %q, %v", c.in, got, changed)
		}
	}
}

// TestVacation carries the texts of vacation(1): what is changed at the source
// follows, what is changed on the new host stays, and undo takes them back.
func TestVacation(t *testing.T) {
	needOwners(t)
	s := newSite(t)
	const dave, erin = "new/vpopmail/domains/wonderland.example/dave/vacation/message", "new/vpopmail/domains/wonderland.example/erin/vacation/message"
	s.write("old/home/erin/.vacation.msg", "Subject: Re: $SUBJECT\n\nnot active\n")
	s.write("old/home/frank/.vacation.msg", "Subject: other\n\nnot sent\n")
	s.write("old/home/frank/.away", "Subject: away\n\nsent\n")
	s.write("old/home/frank/.vacation.db", "binary")
	s.write("old/home/frank/.forward", "\\frank, \"|vacation -m .away -r 1 frank\"\n")
	s.check(os.Symlink("/etc/shadow", s.path("old/home/heidi/.vacation.msg")))
	s.chown("old/home/frank/.forward", 1006)
	r := s.report(3, "run")
	diff(t, "From: dave@wonderland.example\nSubject: away\n\nI read mail again on Monday.\n", s.read(dave))
	diff(t, "From: erin@wonderland.example\nSubject: Re: your mail\n\nnot active\n", s.read(erin))
	diff(t, []string{"vacation.carried home/dave/.vacation.msg", "vacation.carried home/frank/.away", "vacation.changed home/erin/.vacation.msg"}, about(r.Oddities, "vacation."))
	diff(t, []string{"sendmail.vacation-not-carried home/frank/.vacation.db", "sendmail.vacation-not-carried home/frank/.vacation.msg", "sendmail.vacation-not-carried home/heidi/.vacation.msg"},
		about(r.NotCarried, "sendmail.vacation"))
	if text := s.dots()["wonderland.example/frank/.qmail"]; !strings.HasPrefix(text, "# |autorespond 86400 1 '~/wonderland.example/frank/vacation/message' ") {
		t.Errorf("%q", text)
	}
	fi, err := os.Stat(s.path(dave))
	s.check(err)
	if fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", fi.Mode())
	}

	s.write("old/home/dave/.vacation.msg", "Subject: back\n\n\n")
	s.write("old/home/erin/.vacation.msg", "Subject: new\n\n\n")
	s.check(os.Remove(s.path("old/home/frank/.away")))
	s.write(erin, "by erin\n")
	r = s.report(3, "run")
	diff(t, "From: dave@wonderland.example\nSubject: back\n\n\n", s.read(dave))
	diff(t, "by erin\n", s.read(erin))
	diff(t, []string{"vacation.no-text home/frank/.away"}, about(r.NotCarried, "vacation."))
	if _, err := os.Stat(s.path("new/vpopmail/domains/wonderland.example/frank/vacation")); err == nil {
		t.Error("the text of frank is still there")
	}
	before := s.list("new")
	s.move(3, "run")
	diff(t, before, s.list("new"))
	if v := s.report(3, "verify").Verification; !v.Proven() {
		t.Errorf("%+v", v.Failures)
	}
	if _, words := s.move(3, "undo"); !strings.Contains(words, "undo.alias-stays") {
		t.Errorf("%s", words)
	}
	if text, err := os.ReadFile(s.path(erin)); err != nil || string(text) != "by erin\n" {
		t.Errorf("%q, %v", text, err)
	}
	if left := s.remains(); slices.ContainsFunc(left, func(name string) bool { return strings.Contains(name, "/dave") }) {
		t.Errorf("%q", left)
	}
}

// What a .qmail file calls is a command that a shell understands, and a reply
// that fails does not fail the delivery.
func TestReplyCommand(t *testing.T) {
	needOwners(t)
	s := awaySite(t)
	s.write("old/home/ann/.forward", "\\ann, \"|/usr/bin/vacation ann\"\n")
	s.move(0, "run", "-allow-programs")
	lines := strings.Split(s.read("new/vpopmail/domains/example.org/ann/.qmail"), "\n")
	command := strings.TrimPrefix(lines[1], "|")
	bin := t.TempDir()
	for _, script := range []string{"#!/bin/sh\nprintf '%s\\n' \"$@\" >$OUT\nexit 100\n", ""} {
		if script != "" {
			s.check(os.WriteFile(bin+"/autorespond", []byte(script), 0o755))
		} else {
			s.check(os.Remove(bin + "/autorespond"))
		}
		cmd := exec.Command("/bin/sh", "-c", command)
		cmd.Env = []string{"PATH=" + bin, "OUT=" + bin + "/out"}
		if err := cmd.Run(); err != nil {
			t.Errorf("%q: %v", command, err)
		}
	}
	got, err := os.ReadFile(bin + "/out")
	s.check(err)
	dir := s.path("new/vpopmail/domains/example.org/ann/vacation")
	diff(t, "604800\n1\n"+dir+"/message\n"+dir+"\n0\n+\n", string(got))
}
