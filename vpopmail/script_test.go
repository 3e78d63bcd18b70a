package vpopmail

import (
	"bytes"
	"errors"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func sequence(list []Command) iter.Seq2[Command, error] {
	return func(yield func(Command, error) bool) {
		for _, c := range list {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// TestScript lets sh run a script of commands, each of which writes down what it
// was given.
func TestScript(t *testing.T) {
	home := filepath.Join(t.TempDir(), "it's; $HOME")
	if err := os.MkdirAll(home+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"vadddomain", "vaddaliasdomain", "vadduser", "vmoduser"} {
		tool := "#!/bin/sh\nprintf '%s\\0' \"${0##*/}\" \"$@\" >>\"$OUT\"\nprintf '\\1\\0' >>\"$OUT\"\n"
		if err := os.WriteFile(home+"/bin/"+name, []byte(tool), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	every := make([]byte, 0, 255)
	for b := 1; b < 256; b++ {
		every = append(every, byte(b))
	}
	uid := 500
	var list []Command
	list = append(list, DomainCommand(DomainSpec{Name: "example.com", CatchAll: "x", Optimize: true, UID: &uid, Base: "/srv",
		Postmaster: NewUser{Clear: "-'\"$(id)`id`\\", Quota: "1M"}}))
	list = append(list, DomainCommand(DomainSpec{Name: "example.org"}), AliasCommand("example.com", "-x.example.net"))
	list = append(list, UserCommands("example.com", NewUser{Name: "a'b", Hash: "$1$it's$x;rm", Gecos: string(every), Flags: NoPOP | SAExpert})...)
	list = append(list, UserCommands("example.com", NewUser{Name: "-n", NoPassword: true, Quota: NoQuota})...)
	list = append(list, UserCommands("example.com", NewUser{Name: "c", Clear: "\n\n"})...)
	list = append(list, Command{Argv: []string{"vadduser", "", "=", "a=b", "~", "#", "*"}, Comment: "two\nlines"})
	var script bytes.Buffer
	if err := CommandScript(&script, home, sequence(list)); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	sh := exec.Command("sh")
	sh.Stdin = &script
	sh.Env = []string{"OUT=" + out, "PATH=/usr/bin:/bin"}
	if b, err := sh.CombinedOutput(); err != nil || len(b) > 0 {
		t.Fatalf("%v: %s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for part := range strings.SplitSeq(strings.TrimSuffix(string(b), "\x01\x00"), "\x01\x00") {
		got = append(got, strings.Split(strings.TrimSuffix(part, "\x00"), "\x00"))
	}
	if len(got) != len(list) {
		t.Fatalf("%d commands ran, want %d", len(got), len(list))
	}
	for i := range list {
		if !slices.Equal(got[i], list[i].Argv) {
			t.Errorf("%q, want %q", got[i], list[i].Argv)
		}
	}
	err = CommandScript(&script, home, sequence([]Command{{Argv: []string{"vadduser", "a\x00b"}}}))
	if !errors.Is(err, ErrBadByte) {
		t.Errorf("NUL: %v", err)
	}
}
