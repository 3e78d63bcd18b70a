//go:build unix

package vpopmail

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
)

func TestInstructions(t *testing.T) {
	text := "# c\n\n|  a | b\n&x@y\nx@y\n./M/\n/a/b/\n.M\n/mbox\n+list\n &x\n&\n|\nnul\x00junk\n./last/"
	want := []string{
		`0 "# c"`, `1 ""`, `2 "a | b"`, `5 "x@y"`, `5 "x@y"`, `3 "./M/"`, `3 "/a/b/"`, `4 ".M"`, `4 "/mbox"`,
		`5 "+list"`, `5 " &x"`, `5 ""`, `2 ""`, `5 "nul"`, `3 "./last/"`,
	}
	all, err := instructions([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, in := range all {
		got = append(got, fmt.Sprintf("%d %q", in.kind, in.arg))
		if in.line != i+1 {
			t.Errorf("line %d is said to be %d", i+1, in.line)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
	if all, err := instructions(nil); len(all) != 0 || err != nil {
		t.Errorf("nothing: %v, %v", all, err)
	}
	for n, want := range map[int]error{498: nil, 499: ErrTooLong} {
		if _, err := instructions([]byte(strings.Repeat("x", n) + "\n")); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestDotNames(t *testing.T) {
	for ext, want := range map[string]string{
		"":      ".qmail",
		"x":     ".qmail-x .qmail-default .qmail",
		"x-y":   ".qmail-x-y .qmail-x-default .qmail-default .qmail",
		"q.r":   ".qmail-q:r .qmail-default .qmail",
		"-":     ".qmail-- .qmail--default .qmail-default .qmail",
		"a--b.": ".qmail-a--b: .qmail-a--default .qmail-a-default .qmail-default .qmail",
	} {
		if got := strings.Join(dotNames(ext), " "); got != want {
			t.Errorf("%q: %s, want %s", ext, got, want)
		}
	}
	for user, want := range map[string]string{
		"ann": "ann", "a-b": "a-b a-default", "a-b-c": "a-b-c a-b-default a-default", "a-": "a- a-default", "": "",
	} {
		if got := strings.Join(wildAliases(user), " "); got != want {
			t.Errorf("%q: %s, want %s", user, got, want)
		}
	}
}

func TestMaildirAddress(t *testing.T) {
	for dir, want := range map[string]string{
		"/home/v/domains/example.com/ann/Maildir":     "ann@example.com",
		"/home/v/domains/example.com/0/Z/ann/Maildir": "ann@example.com",
		"/home/v/domains/example.com/ann/Maildir/.X":  "ann@example.com",
		"/home/v/domains/example.com/a.b/Maildir":     "a.b@example.com",
		"/v/example.com/Maildir/ann/Maildir/.X":       "ann@example.com",
		"/home/v/domains/example.com/ann/Maildirs":    "",
		"/home/v/domains/localhost/ann/Maildir":       "",
		"/srv/v1.2/domains/localhost/ann/Maildir":     "ann@v1.2", // as there
		"/Maildir":                        "",
		"/home/v/domains/example.com/ann": "",
		"":                                "",
		"/home/v/domains/example.com/.hidden/ann/Maildir": "ann@.hidden",
	} {
		if got := maildirAddress(dir); got != want {
			t.Errorf("%s: %q, want %q", dir, got, want)
		}
	}
}

func TestParseDeliveryLine(t *testing.T) {
	for in, want := range map[string]string{
		"| /home/vpopmail/bin/vdelivermail '' bounce-no-mailbox":  `/home/vpopmail ["" "bounce-no-mailbox"]`,
		"|/v/bin/vdelivermail '' delete  ":                        `/v ["" "delete"]`,
		`/v/bin/vdelivermail "" "a b"`:                            `/v ["" "a b"]`,
		"vdelivermail '' catch@example.org":                       ` ["" "catch@example.org"]`,
		"/v/bin/vdelivermail bounce-no-mailbox":                   `/v ["bounce-no-mailbox"]`,
		"/v/bin/vdelivermail":                                     `/v []`,
		"/v/bin/vdelivermail '' a'b'c":                            `/v ["" "abc"]`,
		"/v/bin/vdelivermail\t'' x=y":                             `/v ["" "x=y"]`,
		"/v/bin/vdelivermail '' &x@y":                             "no",
		"X=1 /v/bin/vdelivermail '' delete":                       "no",
		"/v/bin/vdelivermail '' delete; true":                     "no",
		"/v/bin/vdelivermail '' $EXT":                             "no",
		"/v/bin/vdelivermail '' \"$EXT\"":                         "no",
		"/v/bin/vdelivermail '' 'delete":                          "no",
		"preline /v/bin/vdelivermail '' delete":                   "no",
		"/v/bin/vdelivermail.sh '' delete":                        "no",
		"/v/bin/vdelivermail '' delete\n":                         "no",
		"":                                                        "no",
		"|":                                                       "no",
		"/usr/bin/spamc | /v/bin/vdelivermail '' delete":          "no",
		"/v/bin/vdelivermail '' /home/vpopmail/domains/x.com/ann": `/v ["" "/home/vpopmail/domains/x.com/ann"]`,
	} {
		l, ok := ParseDeliveryLine(in)
		got := "no"
		if ok {
			got = fmt.Sprintf("%s %q", l.Home, l.Args)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
		if word, ok := l.CatchAll(); ok != (len(l.Args) == 2) || ok && word != l.Args[1] {
			t.Errorf("%q: catch-all %q, %v", in, word, ok)
		}
	}
}

// What vadddomain writes is read again.
func FuzzDeliveryLine(f *testing.F) {
	for _, s := range []string{"| /v/bin/vdelivermail '' delete", "vdelivermail \"\" 'a b'", "x; y", "'", "a='b'", "| vdelivermail '' /a/b/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, ok := ParseDeliveryLine(s)
		if !ok {
			return
		}
		words := []string{"vdelivermail"}
		if l.Home != "" {
			words[0] = Quote(l.Home) + "/bin/vdelivermail"
		}
		for _, a := range l.Args {
			if strings.Contains(a, "'") {
				return // Quote makes a backslash of it
			}
			words = append(words, "'"+a+"'")
		}
		again, ok := ParseDeliveryLine(strings.Join(words, " "))
		if strings.Contains(l.Home, "'") {
			return
		}
		if !ok || !slices.Equal(again.Args, l.Args) {
			t.Errorf("%q: %q, written again %q, %v", s, l.Args, again.Args, ok)
		}
	})
}

func FuzzInstructions(f *testing.F) {
	for _, s := range []string{"# c\n|p\n&a@b\n./M/\n./m\n", "\n\n", "x\x00y\n", strings.Repeat("x", 600), "/\n.\n|\n&\n", "a\r\nb"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := instructions(b)
		lines := strings.SplitAfter(string(b), "\n")
		for i, in := range all {
			line, _, _ := strings.Cut(strings.TrimSuffix(lines[i], "\n"), "\x00")
			if in.line != i+1 || in.kind != parseInstruction(line).kind || !strings.HasSuffix(line, in.arg) {
				t.Fatalf("line %d %q: %+v", i+1, line, in)
			}
			if (in.kind == lineMaildir) != (line != "" && (line[0] == '/' || line[0] == '.') && strings.HasSuffix(line, "/")) {
				t.Fatalf("%q is kind %d", line, in.kind)
			}
		}
		if err == nil && len(all) != strings.Count(string(b), "\n")+min(1, len(lines[len(lines)-1])) {
			t.Fatalf("%d lines of %q", len(all), b)
		}
	})
}

func FuzzParseCredentials(f *testing.F) {
	for _, s := range []string{"", "a", "a\x00b\x00c\x00", "\x00\x00\x00\x00", strings.Repeat("x", 513), "a@b\x00" + strings.Repeat("p", 300)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCredentials(b)
		if (err != nil) != (len(b) > maxCredentials) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err != nil {
			return
		}
		again := c.Append(nil)
		if !strings.HasPrefix(string(again), string(b)) && !strings.HasPrefix(string(b), string(again)) {
			t.Fatalf("%q: %q", b, again)
		}
		if len(again) <= maxCredentials {
			if d, err := ParseCredentials(again); err != nil || d != c {
				t.Fatalf("%q: written again %q, %v", b, again, err)
			}
		}
	})
}

// An answer is taken where it is the right one, and only then.
func FuzzChallenge(f *testing.F) {
	f.Add("<1896.697170952@mail.example.com>", "clearpw", "9d2012b344e8153ae3ec4dc93d3969bd", uint8(0))
	f.Add("<1.2@mail.example.com>", "clearpw", "e2b4aaf5eb9f7ebd62521c8b7ab9ac57", uint8(1))
	f.Add("", "clearpw", "", uint8(0))
	f.Add("\xff\n", "\xfe", "x", uint8(3))
	p := DefaultProfile54()
	f.Fuzz(func(t *testing.T, challenge, clear, answer string, service uint8) {
		s := Service(service % 4)
		u := &User{Hash: "*", Clear: qmailkit.Secret(clear)}
		right := ""
		if challenge != "" && clear != "" {
			switch s {
			case ServicePOP:
				right = string(apop(challenge, clear))
			case ServiceSMTP:
				right = string(cram(challenge, clear))
			}
		}
		for _, given := range []string{answer, right} {
			status, _, reason, _ := p.CheckLogin(u, 0, Credentials{Name: "u", Password: qmailkit.Secret(given), Challenge: challenge}, s, nil)
			want := LoginFailed
			if given == "" {
				want = LoginNoPassword
			} else if right != "" && given == right {
				want = LoginOK
			}
			if status != want {
				t.Fatalf("%q %q %q %v: %v (%s), want %v", challenge, clear, given, s, status, reason, want)
			}
		}
	})
}
