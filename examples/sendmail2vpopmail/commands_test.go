package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fakes are programs that write their arguments, each ended by a NUL, and then
// another NUL.
const fake = `#!/bin/sh
printf '%s\0' "${0##*/}" "$@" >>"$CALLS"
printf '\0' >>"$CALLS"
`

// The script that commands prints, run by a real shell under programs that
// only note how they were called, makes exactly the accounts of run.
func TestCommands(t *testing.T) {
	s := ownSite(t, "ann", "bob", "cyd")
	s.write("old/etc/passwd", "ann:x:1000:1000:Ann \"$HOME\" `id` 'O\\Neil',Room 1:/home/ann:/bin/sh\n"+
		"bob:x:1001:1001::/home/bob:/bin/sh\n"+
		"cyd:x:1002:1002:\xe9 * ? ~ #  two  blanks:/home/cyd:/bin/sh\n"+
		"o'hara:x:1003:1003:-e:/home/bob:/bin/sh\n")
	s.write("old/etc/shadow", "ann:$1$it's$PSB4QyuZ6Wl/sNnW.D5NY.:1::::::\n"+
		"bob:!$6$`touch x`$\\n%s:1::::::\n"+
		"cyd:*:1::::::\n"+
		"o'hara:$1$PeggySue$PSB4QyuZ6Wl/sNnW.D5NY.:1::::::\n")
	s.write("old/etc/mail/local-host-names", "example.org\nexample.net\n")
	script, _ := s.move(0, "commands", "-quota", "10M")

	sh := filepath.Join(t.TempDir(), "sh")
	s.check(os.WriteFile(sh, []byte(script), 0o600))
	if out, err := exec.Command("sh", "-n", sh).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, script)
	}
	// The programs stand where the script looks for them.
	for _, name := range []string{"vadddomain", "vaddaliasdomain", "vadduser", "vmoduser"} {
		s.write("new/vpopmail/bin/"+name, fake)
		s.check(os.Chmod(s.path("new/vpopmail/bin/"+name), 0o755))
	}
	calls := filepath.Join(t.TempDir(), "calls")
	cmd := exec.Command("sh", sh)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "CALLS="+calls)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s\n%s", err, out, script)
	}
	if list, err := os.ReadDir(cmd.Dir); err != nil || len(list) > 0 {
		t.Errorf("the shell ran a name: %v %v", list, err)
	}
	b, err := os.ReadFile(calls)
	s.check(err)
	want := [][]string{
		{"vadddomain", "--", "example.org"},
		{"vaddaliasdomain", "--", "example.org", "example.net"},
		{"vadduser", "-q", "10M", "-c", "Ann \"$HOME\" `id` 'O\\Neil'", "-e", "$1$it's$PSB4QyuZ6Wl/sNnW.D5NY.", "--", "ann@example.org"},
		{"vadduser", "-q", "10M", "-e", "!$6$`touch x`$\\n%s", "--", "bob@example.org"},
		{"vadduser", "-q", "10M", "-c", "\xe9 * ? ~ #  two  blanks", "-e", "*", "--", "cyd@example.org"},
		{"vadduser", "-q", "10M", "-c", "-e", "-e", "$1$PeggySue$PSB4QyuZ6Wl/sNnW.D5NY.", "--", "o'hara@example.org"},
	}
	var got [][]string
	for call := range strings.SplitSeq(strings.TrimSuffix(string(b), "\x00\x00"), "\x00\x00") {
		got = append(got, strings.Split(call, "\x00"))
	}
	diff(t, want, got)
	// Nothing but the script is on stdout, and run stores the same.
	if !strings.HasPrefix(script, "#!/bin/sh\n") {
		t.Errorf("%.40q", script)
	}
	s.move(0, "run")
	for name, hash := range map[string]string{"ann": want[2][6], "bob": want[3][4], "cyd": "*", "o'hara": want[5][6]} {
		if u := s.user(name + "@example.org"); string(u.Hash) != hash {
			t.Errorf("%s: the hash is %q", name, string(u.Hash))
		}
	}
}

// The postmaster is there as soon as vadddomain has run.
func TestCommandsPostmaster(t *testing.T) {
	s := ownSite(t, "ann", "postmaster")
	script, _ := s.move(0, "commands")
	if strings.Contains(script, "vadduser -e '$1$PeggySue$PSB4QyuZ6Wl/sNnW.D5NY.' -- postmaster@") ||
		!strings.Contains(script, "vmoduser -e '$1$PeggySue$PSB4QyuZ6Wl/sNnW.D5NY.' -- postmaster@example.org\n") {
		t.Errorf("%s", script)
	}
}
