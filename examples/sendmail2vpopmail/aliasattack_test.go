package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/examples/internal/aliasmap"
	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// attacks are what users can put into a .forward or a list of theirs.
var attacks = []string{
	"|/bin/evil", "\"|/bin/evil\"", " |/bin/evil", "\"| /bin/evil\"", "\\|/bin/evil", "\"\\|/bin/evil\"", "|/bin/evil@else.example", "\"|/bin/evil\"@else.example",
	"\"x\n|/bin/evil\"", "x\r|/bin/evil", "\"x\x00|/bin/evil\"", "/home/vpopmail/domains/example.org/bob/Maildir/new/evil", "\"/evil\"", "\\/evil", "/evil/",
	"./evil/", "../bob/Maildir/", "\"./evil\"@else.example", "&|/bin/evil", "#|/bin/evil", "+list", "$(evil)@else.example", "`evil`@else.example",
	"x|evil@else.example", "x;evil@else.example", "'|evil'@else.example", "-evil@else.example", "--@else.example", "a@else.example\n|/bin/evil",
	"|vacation ann; evil", "\"|vacation -m ../bob/secret ann\"", "\"|vacation -m /etc/shadow ann\"", "\"|/bin/sh -c vacation\"", ":include:/home/bob/secret", ":include:/etc/shadow",
	"|" + strings.Repeat("x", 5000), strings.Repeat("y", 2000) + "@else.example", "evil@else.example (|/bin/evil)", "<|/bin/evil>", "/dev/null\n/evil",
	"error:nouser 550 '; evil; '", "\"evil\nSubject: x\"@else.example", "evil@[127.0.0.1]", "evil@else.example|/bin/evil", "ann+evil", "\xff|/bin/evil",
}

// TestForwardAttacks: whatever users write into their .forward files, lists and
// vacation texts, no line comes of it that runs a program, writes a file, or
// shows what they may not read.
func TestForwardAttacks(t *testing.T) {
	needOwners(t)
	var users []string
	for i := range attacks {
		users = append(users, fmt.Sprint("u", i))
	}
	s := ownSite(t, append(users, "ann", "bob")...)
	var aliases, virtual strings.Builder
	names := "example.org\n"
	for i, a := range attacks {
		home := "old/home/" + users[i]
		for name, text := range map[string]string{"/.forward": a + "\n", "/list": "\\" + users[i] + "\n" + a + "\n"} {
			s.write(home+name, text)
			s.chown(home+name, 1000+i)
		}
		fmt.Fprintf(&aliases, "l%d: :include:/home/%s/list\n", i, users[i])
		fmt.Fprintf(&virtual, "v%d@example.org\t%s\n", i, users[i])
		if slices.Contains([]string{"x|evil@else.example", "-evil@else.example"}, a) { // a catch-all stands in a command
			fmt.Fprintf(&virtual, "@d%d.example\t%s\n", i, users[i])
			names += fmt.Sprintf("d%d.example\n", i)
		}
	}
	s.write("old/home/bob/secret", "secret@else.example\n")
	s.chown("old/home/bob/secret", 1000+len(users)+1)
	s.check(os.Chmod(s.path("old/home/bob/secret"), 0o600))
	s.write("old/etc/mail/aliases", aliases.String())
	s.write("old/etc/mail/virtusertable", virtual.String())
	s.write("old/etc/mail/local-host-names", names)
	all := [][]string{{"-allow-programs"}}
	if os.Getenv("QMAILKIT_LONG") != "" {
		all = append(all, nil)
	}
	for _, flags := range all {
		r := s.anyway("run", flags...)
		if v := s.anyway("verify", flags...).Verification; !v.Proven() {
			t.Errorf("%+v", v.Failures)
		}
		own := s.path("new/vpopmail/domains")
		for name := range s.list("new/vpopmail/domains") {
			base := name[strings.LastIndexByte(name, '/')+1:]
			if !strings.HasPrefix(base, ".qmail") || strings.HasPrefix(base, ".qmailkit") {
				continue
			}
			content := s.read("new/vpopmail/domains/" + name)
			if strings.Contains(content, "secret@else") {
				t.Errorf("%s shows what only bob may read: %q", name, content)
			}
			q, err := qmailcontrol.ParseDotQmail(strings.NewReader(content))
			s.check(err)
			for l := range q.Lines() {
				fine := true
				switch l.Kind {
				case qmailcontrol.DotProgram:
					d, ok := vpopmail.ParseDeliveryLine(l.Arg)
					home, reply := aliasmap.ReplyHome(l.Arg)
					fine = reply && strings.HasPrefix(home, own+"/example.org/u") && !strings.Contains(home, "'") || ok && len(d.Args) == 2 || l.Arg == "exit 111" || strings.HasPrefix(l.Arg, "bouncesaying '") && strings.Count(l.Arg, "'") == 2
				case qmailcontrol.DotMbox:
					fine = false
				case qmailcontrol.DotMaildir:
					fine = l.Arg == "./Maildir/" || strings.HasPrefix(l.Arg, own+"/example.org/u") && strings.HasSuffix(l.Arg, "/Maildir/")
				}
				if !fine {
					t.Errorf("%s: %+v in %q", name, l, content)
				}
			}
		}
		if !slices.ContainsFunc(r.NotCarried, func(it report.Item) bool { return strings.HasPrefix(it.Code, "alias.program-disabled") }) {
			t.Error("no program is reported")
		}
		s.move(0, "undo")
	}
}
