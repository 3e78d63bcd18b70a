package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Programs of vpopmail that do as little as the script needs to be true.
var fakeVpopmail = map[string]string{
	"vadddomain": `catch=bounce-no-mailbox
if [ "$1" = -e ]; then catch=$2; shift 2; fi
mkdir -p "$TREE/$2/postmaster"
printf '| %s/bin/vdelivermail '"''"' %s\n' "$HOME" "$catch" >"$TREE/$2/.qmail-default"`,
	"vaddaliasdomain": `[ -d "$TREE/$2" ]`,
	"vmoduser":        ":",
	"vadduser": `for a; do :; done
mkdir -p "$TREE/${a#*@}/${a%%@*}"`,
	"valias": `[ "$1" = -i ] && [ "$3" = -- ] && [ ${#2} -lt 160 ]
name=$(printf %s "${4%@*}" | tr . :)
printf '%s\n' "$2" >>"$TREE/${4##*@}/.qmail-$name"`,
	"vuserinfo": `[ "$1" = -d ]
printf '%s\n' "$TREE/${2##*@}/${2%@*}"`,
	"vdominfo": `case $1 in
-d) printf '%s\n' "$TREE/$2";;
-u) id -u;;
-g) id -g;;
esac`,
}

// The script that commands prints makes the same lines, files and catch-alls
// as run, whatever stands in them.
func TestCommandsAliases(t *testing.T) {
	needOwners(t)
	all := [][]string{{"-allow-programs", "-allow-user-programs"}}
	if os.Getenv("QMAILKIT_LONG") != "" {
		all = append(all, nil)
	}
	for _, flags := range all {
		s := newSite(t)
		s.write("old/etc/mail/aliases", s.read("old/etc/mail/aliases")+"odd: \"|/bin/sh -c 'echo $HOME `id` \\\\\\\\ > x; # %s' \"\n"+
			"o'dd: erin, \\alice\nteam-a: \\bob, frank\nowner-team-a: far@else.example\n")
		s.write("old/etc/mail/virtusertable", s.read("old/etc/mail/virtusertable")+"@wonderland.example frank\n")
		s.write("old/home/erin/.vacation.msg", "Subject: 100% 'away' $HOME `id`\n\n\\n%s\n")
		script, _ := s.move(3, "commands", flags...)
		tree, bin := s.path("script"), s.path("new/vpopmail/bin")
		for name, text := range fakeVpopmail {
			s.write("new/vpopmail/bin/"+name, "#!/bin/sh\nset -e\n"+text+"\n")
			s.check(os.Chmod(bin+"/"+name, 0o755))
		}
		s.write("script.sh", script)
		cmd := exec.Command("sh", s.path("script.sh"))
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "TREE="+tree, "HOME="+s.path("new/vpopmail"))
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%v: %s\n%s", err, out, script)
		}
		if list, err := os.ReadDir(cmd.Dir); err != nil || len(list) > 0 {
			t.Errorf("the shell ran a line: %v %v", list, err)
		}
		s.check(os.RemoveAll(bin))
		s.report(3, "run", flags...)
		files := func(top string) map[string]string {
			out := map[string]string{}
			for name, what := range s.list(top) {
				base := name[strings.LastIndexByte(name, '/')+1:]
				if !strings.HasPrefix(base, ".qmail") && base != "message" || strings.HasSuffix(base, "kit_lock") {
					continue
				}
				out[name] = strings.Fields(what)[0] + " " + strings.ReplaceAll(s.read(top+"/"+name), s.path(top), "~")
			}
			return out
		}
		want := files("new/vpopmail/domains")
		if len(want) < 30 {
			t.Errorf("run has made %d files", len(want))
		}
		got := files("script")
		for name, text := range got { // valias leaves the mode to the umask, and vadddomain is not the matter
			if strings.HasSuffix(name, "/.qmail-default") {
				got[name] = "-rw-------" + strings.TrimPrefix(text, text[:10])
			}
		}
		diff(t, want, got)
	}
}

// A script whose vpopmail cannot say where a user is stops before it writes
// anything anywhere.
func TestCommandsNoDirectory(t *testing.T) {
	needOwners(t)
	s := awaySite(t)
	script, _ := s.move(0, "commands")
	for name, text := range fakeVpopmail {
		if name == "vuserinfo" {
			text = "exit 1"
		}
		s.write("new/vpopmail/bin/"+name, "#!/bin/sh\nset -e\n"+text+"\n")
		s.check(os.Chmod(s.path("new/vpopmail/bin/"+name), 0o755))
	}
	s.write("script.sh", script)
	cmd := exec.Command("sh", s.path("script.sh"))
	cmd.Env = append(os.Environ(), "TREE="+s.path("script"), "HOME="+s.path("new/vpopmail"))
	if err := cmd.Run(); err == nil {
		t.Error("the script went on")
	}
	for name := range s.list("script") {
		if strings.HasSuffix(name, "/.qmail") || strings.HasSuffix(name, "/message") {
			t.Errorf("it wrote %s", name)
		}
	}
}
