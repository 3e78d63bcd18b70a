package sendmail

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/qmailkit/qmailkit"
)

const oneMessage = "From a@b Thu Jan  1 00:00:00 2004\nSubject: x\n\nbody\n\n"

// mailboxes lists the mail of an account: "path [folder parts]", and errors as
// show gives them.
func mailboxes(t *testing.T, h *Host, a *Account) []string {
	t.Helper()
	var got []string
	for m, err := range h.Mailboxes(context.Background(), a) {
		p, ok := AsProblem(err)
		switch {
		case ok:
			if errors.Is(err, qmailkit.ErrIncomplete) {
				got = append(got, "end: "+show(p))
				continue
			}
			got = append(got, show(p))
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, m.Path+" ["+strings.Join(m.Folder, "|")+"]")
		}
	}
	return got
}

// account is that of the plain fixture; its files belong to whoever tests.
func testAccount() *Account {
	return &Account{Name: "alice", UID: os.Getuid(), GID: os.Getgid(), Home: "/home/alice", Path: "etc/passwd", Line: 1}
}

func TestMailboxes(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		opts  Options
		want  []string
	}{
		{"spool and folders", map[string]string{
			"var/mail/alice":                  oneMessage,
			"home/alice/mbox":                 oneMessage,
			"home/alice/mail/sent":            oneMessage,
			"home/alice/mail/a.b":             oneMessage,
			"home/alice/mail/caf\xe9":         oneMessage,
			"home/alice/mail/Work/2004":       oneMessage,
			"home/alice/mail/Work/2005":       oneMessage,
			"home/alice/Mail/Drafts":          oneMessage,
			"home/alice/mail/empty":           "",
			"home/alice/mail/blank":           "\n\r\n\n",
			"home/alice/mail/sent.lock":       "123",
			"home/alice/mail/.imap/x":         "index",
			"home/alice/mail/.subscriptions":  "sent\n",
			"home/alice/mail/late":            "\xef\xbb\xbf\r\n\n" + oneMessage,
			"home/alice/mail/Work/.dir/inner": oneMessage,
		}, Options{}, []string{
			"var/mail/alice []",
			"home/alice/mbox [mbox]",
			"home/alice/mail/Work/2004 [Work|2004]",
			"home/alice/mail/Work/2005 [Work|2005]",
			"home/alice/mail/a.b [a.b]",
			"home/alice/mail/caf\xe9 [caf\xe9]",
			"home/alice/mail/late [late]",
			"home/alice/mail/sent [sent]",
			"home/alice/Mail/Drafts [Drafts]",
		}},
		{"foreign formats", map[string]string{
			"var/mail/alice":                     "\nrubbish\n" + oneMessage,
			"home/alice/mail/old.mbx":            "*mbx*\r\n0000",
			"home/alice/mail/mmdf":               "\x01\x01\x01\x01\nSubject: x\n",
			"home/alice/mail/rmail":              "BABYL OPTIONS: -*- rmail -*-\n",
			"home/alice/mail/note":               "Dear diary\n",
			"home/alice/mail/one.lock":           "not a lock of anything",
			"home/alice/mail/md/cur/1":           "x",
			"home/alice/mail/md/new/":            "",
			"home/alice/mail/md/tmp/":            "",
			"home/alice/mail/mix/.mixmeta":       "",
			"home/alice/mail/dbox/dbox-Mails/u":  "",
			"home/alice/mail/mh/.mh_sequences":   "",
			"home/alice/mail/mh/1":               "Subject: x\n\n",
			"home/alice/mail/mh/below/9":         oneMessage,
			"home/alice/mail/numbers/1":          "Subject: x\n\n",
			"home/alice/mail/numbers/2":          "Subject: x\n\n",
			"home/alice/mail/numbers/2004":       oneMessage,
			"home/alice/Maildir/cur/1":           "x",
			"home/alice/sent":                    oneMessage,
			"home/alice/text":                    "no mail",
			"home/alice/.hidden":                 oneMessage,
			"home/alice/mail/blanks-then-binary": strings.Repeat("\n", sniffSize) + oneMessage,
		}, Options{}, []string{
			"var/mail/alice spool-not-mbox error",
			"home/alice/mail/blanks-then-binary folder-not-mbox error",
			"home/alice/mail/dbox foreign-format error",
			"home/alice/mail/md foreign-format error",
			"home/alice/mail/mh foreign-format error",
			"home/alice/mail/mh/below/9 [mh|below|9]",
			"home/alice/mail/mix foreign-format error",
			"home/alice/mail/mmdf foreign-format error",
			"home/alice/mail/note folder-not-mbox error",
			"home/alice/mail/numbers foreign-format error",
			"home/alice/mail/numbers/2004 [numbers|2004]",
			"home/alice/mail/old.mbx foreign-format error",
			"home/alice/mail/one.lock folder-not-mbox error",
			"home/alice/mail/rmail foreign-format error",
			"home/alice/Maildir foreign-format error",
			"home/alice/sent mail-in-home error",
		}},
		{"hashed spools", map[string]string{
			"var/mail/a/alice":         oneMessage,
			"var/spool/mail/a/l/alice": oneMessage,
			"usr/mail/a/al/alice":      oneMessage,
			"usr/spool/mail/alice":     "",
			"home/alice/":              "",
		}, Options{}, []string{
			"var/mail/a/alice []",
			"var/spool/mail/a/l/alice folder-twice warning",
			"usr/mail/a/al/alice folder-twice warning",
		}},
		{"the same name twice", map[string]string{
			"home/alice/mbox":      oneMessage,
			"home/alice/mail/mbox": oneMessage,
			"home/alice/Mail/x":    oneMessage,
			"home/alice/mail/x":    oneMessage,
		}, Options{}, []string{
			"home/alice/mbox [mbox]",
			"home/alice/mail/mbox folder-twice warning",
			"home/alice/mail/x [x]",
			"home/alice/Mail/x folder-twice warning",
		}},
		{"whole home", map[string]string{
			"home/alice/mbox":        oneMessage,
			"home/alice/src/main.c":  "int main",
			"home/alice/src/notes":   oneMessage,
			"home/alice/mail/x":      oneMessage,
			"home/alice/link":        "->/etc/passwd",
			"home/alice/.secret/sub": oneMessage,
		}, Options{Folders: []string{"."}}, []string{
			"home/alice/mail/x [mail|x]",
			"home/alice/mbox [mbox]",
			"home/alice/src/notes [src|notes]",
		}},
		{"other roots", map[string]string{
			"home/alice/imap/mail/x": oneMessage,
			"home/alice/imap/inbox":  oneMessage,
		}, Options{Folders: []string{"imap/mail", "imap/inbox"}}, []string{
			"home/alice/imap/mail/x [x]",
			"home/alice/imap/inbox [inbox]",
		}},
		{"not plain", map[string]string{
			"etc/secret":               oneMessage,
			"var/mail/alice":           "->/etc/secret",
			"home/alice/mbox/":         "",
			"home/alice/mail":          "->/etc",
			"home/alice/Mail/link":     "->../mbox",
			"home/alice/Mail/dangling": "->nowhere",
		}, Options{}, []string{
			"var/mail/alice not-plain error",
			"home/alice/mail not-plain error",
			"home/alice/Mail/dangling not-plain error",
			"home/alice/Mail/link not-plain error",
		}},
		{"limits", map[string]string{
			"var/mail/alice":            oneMessage + oneMessage,
			"home/alice/mail/a/b/c/d/e": oneMessage,
			"home/alice/mail/f":         oneMessage,
		}, Options{MaxDepth: 3, MaxMailbox: int64(len(oneMessage))}, []string{
			"var/mail/alice mailbox-too-big error",
			"home/alice/mail/a/b/c too-deep error",
			"home/alice/mail/f [f]",
		}},
		{"too many names", map[string]string{
			"home/alice/mail/a":     oneMessage,
			"home/alice/mail/b/c/1": "x",
			"home/alice/mail/b/c/2": "x",
		}, Options{MaxEntries: 4}, []string{
			"home/alice/mail/a [a]",
			"end: home/alice/mail/b/c too-many-entries error",
		}},
		{"no home", map[string]string{"var/mail/alice": oneMessage}, Options{}, []string{
			"var/mail/alice []",
			"etc/passwd:1 home-missing warning",
		}},
		{"a spool that is a directory", map[string]string{"var/mail/alice/x": oneMessage, "home/alice/": ""}, Options{}, []string{
			"var/mail/alice not-plain error",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, tt.files)
			f.write("etc/passwd", plainPasswd)
			f.opts = tt.opts
			diff(t, tt.want, mailboxes(t, f.open(), testAccount()))
		})
	}
}

func TestMailboxFields(t *testing.T) {
	f := newFixture(t, map[string]string{"etc/passwd": plainPasswd, "var/mail/alice": oneMessage, "home/alice/": ""})
	if err := os.Chtimes(f.path("var/mail/alice"), testNow, testNow); err != nil {
		t.Fatal(err)
	}
	h, a := f.open(), testAccount()
	for m, err := range h.Mailboxes(context.Background(), a) {
		if err != nil || m.Size != int64(len(oneMessage)) || !m.ModTime.Equal(testNow) || m.UID != os.Getuid() || m.Folder != nil {
			t.Errorf("%+v %v", m, err)
		}
		file, err := h.OpenMailbox(a, m)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(file)
		if string(text) != oneMessage || err != nil {
			t.Errorf("%q %v", text, err)
		}
		file.Close()
		// Between finding and opening, the file becomes something else.
		os.Remove(f.path(m.Path))
		os.Symlink("/etc/passwd", f.path(m.Path))
		if _, err := h.OpenMailbox(a, m); !errors.Is(err, qmailkit.ErrNotPlain) {
			t.Errorf("opened what was exchanged: %v", err)
		}
	}
}

// TestFIFO must not wait for a writer.
func TestFIFO(t *testing.T) {
	f := newFixture(t, map[string]string{"etc/passwd": plainPasswd, "var/mail/": "", "home/alice/mail/x": oneMessage})
	for _, name := range []string{"var/mail/alice", "home/alice/mbox", "home/alice/mail/fifo", "home/alice/.mailboxlist", "home/alice/.forward"} {
		if err := syscall.Mkfifo(f.path(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := f.open()
	diff(t, []string{
		"var/mail/alice not-plain error",
		"home/alice/mbox not-plain error",
		"home/alice/mail/fifo not-plain error",
		"home/alice/mail/x [x]",
	}, mailboxes(t, h, testAccount()))
	_, problems, err := h.Subscriptions(context.Background(), testAccount())
	if err != nil || len(problems) != 1 || problems[0].Code != "sendmail.subscriptions-unreadable" {
		t.Errorf("%v %v", problems, err)
	}
}

func TestHostileAccounts(t *testing.T) {
	f := newFixture(t, map[string]string{
		"etc/passwd": plainPasswd, "etc/mail/sendmail.cf": "", "var/mail/alice": oneMessage, "home/alice/mbox": oneMessage,
		"home/sneaky": "->/etc", "home/top": "->/", "home/spool": "->/var/mail", "home/good": "->/data/alice", "data/alice/mbox": oneMessage,
		"home/root": "->/root", "root/mbox": oneMessage, "usr/home/bsd/mbox": oneMessage, "usr/games/mbox": oneMessage, "lib64/mbox": oneMessage,
		"home/bsd": "->/usr/home/bsd", "home/file": "", "home/alice/planted": "->/home/alice",
	})
	if err := os.Chmod(f.path("home/alice"), 0o777); err != nil { // a directory that others can write
		t.Fatal(err)
	}
	h := f.open()
	tests := []struct{ name, home, want string }{
		{"../alice", "/home/alice", "etc/passwd:1 user-unsafe error, home/alice/mbox [mbox]"},
		{"..", "/nowhere", "etc/passwd:1 user-unsafe error, etc/passwd:1 home-missing warning"},
		{".", "/nowhere", "etc/passwd:1 user-unsafe error, etc/passwd:1 home-missing warning"},
		{"a\x00b", "/nowhere", "etc/passwd:1 user-unsafe error, etc/passwd:1 home-missing warning"},
		{"a:b\nc", "/nowhere", "etc/passwd:1 home-missing warning"},
		{"x", "", "etc/passwd:1 home-unsafe error"},
		{"x", "home/alice", "etc/passwd:1 home-unsafe error"},
		{"x", "/home/../home/alice", "etc/passwd:1 home-unsafe error"},
		{"x", "/home/alice\x00", "etc/passwd:1 home-unsafe error"},
		{"x", "/home/al\nice", "etc/passwd:1 home-missing warning"},
		{"x", "/home/file", "etc/passwd:1 home-unsafe error"},
		{"x", "/home/alice/mbox/below", "etc/passwd:1 home-missing warning"},
		{"x", "//home/./alice/", "home/alice/mbox [mbox]"},
		{"x", "/home/sneaky", "etc/passwd:1 home-unsafe error"},
		{"x", "/home/top", "etc/passwd:1 home-unsafe error"},
		{"x", "/home/spool", "etc/passwd:1 home-unsafe error"},
		{"x", "/var/mail", "etc/passwd:1 home-unsafe error"},
		{"x", "/home/root", "etc/passwd:1 home-unsafe error"},
		{"x", "/home/good", "data/alice/mbox [mbox]"},
		{"x", "/home/bsd", "usr/home/bsd/mbox [mbox]"},
		{"x", "/home/alice/planted", "etc/passwd:1 home-unsafe error"},
	}
	for _, tt := range tests {
		a := &Account{Name: tt.name, UID: os.Getuid(), Home: tt.home, Path: "etc/passwd", Line: 1}
		if got := strings.Join(mailboxes(t, h, a), ", "); got != tt.want {
			t.Errorf("%q %q: %s, want %s", tt.name, tt.home, got, tt.want)
		}
		names, problems, err := h.Subscriptions(context.Background(), a)
		if names != nil || problems != nil || err != nil {
			t.Errorf("%q: subscriptions %v %v %v", tt.home, names, problems, err)
		}
	}
	// A system directory as it stands in passwd is the account's only if it
	// owns it.
	for uid, want := range map[int]string{os.Getuid(): "usr/games/mbox [mbox]", 12345: "etc/passwd:1 home-unsafe error"} {
		a := &Account{Name: "x", UID: uid, Home: "/usr/games", Path: "etc/passwd", Line: 1}
		if got := strings.Join(mailboxes(t, h, a), ", "); got != want {
			t.Errorf("uid %d: %s, want %s", uid, got, want)
		}
	}
}

func TestSystemDir(t *testing.T) {
	for _, path := range []string{".", "etc", "etc/mail", "bin", "lib", "lib64/x", "libexec", "usr", "usr/games", "usr/home", "boot", "dev/shm", "proc/1", "sys", "root", "root/x", "var", "var/mail", "var/spool", "var/spool/mqueue"} {
		if !systemDir(path) {
			t.Errorf("%s is none", path)
		}
	}
	for _, path := range []string{"home", "home/etc", "etcetera", "var/home/x", "var/www", "usr/home/x", "data", "usr2/x", "rooted", "export/home/x"} {
		if systemDir(path) {
			t.Errorf("%s is one", path)
		}
	}
}

// TestOwners needs root, to make files of several users.
func TestOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to others")
	}
	const alice, mallory = 1000, 1001
	f := newFixture(t, map[string]string{
		"etc/passwd": plainPasswd, "var/mail/alice": oneMessage, "home/alice/mail/own": oneMessage, "home/alice/mail/roots": oneMessage,
		"home/alice/mail/mallorys": oneMessage, "etc/shadow.mbox": oneMessage, "data/mallory/mbox": oneMessage, "data/alice/mbox": oneMessage,
		"home/link-own": "->/data/alice", "home/link-other": "->/data/mallory", "home/link-root": "->/data/rooted", "data/rooted/mbox": oneMessage,
		"home/mallory/shared/mbox": oneMessage, "home/planted/in": "->/data/alice",
	})
	link := func(old, new string) {
		if err := os.Link(f.path(old), f.path(new)); err != nil {
			t.Fatal(err)
		}
	}
	link("etc/shadow.mbox", "home/alice/mail/hard-root")
	link("data/mallory/mbox", "home/alice/mail/hard-mallory")
	link("home/alice/mail/own", "home/alice/mail/own-too")
	link("etc/shadow.mbox", "home/alice/mbox")
	for name, uid := range map[string]int{
		"var/mail/alice": alice, "home/alice": alice, "home/alice/mail": alice, "home/alice/mail/own": alice,
		"home/alice/mail/mallorys": mallory, "data/mallory": mallory, "data/mallory/mbox": mallory, "data/alice": alice,
		"home/mallory": mallory, "home/mallory/shared": mallory, "home/planted": mallory,
	} {
		if err := os.Chown(f.path(name), uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	h := f.open()
	tests := []struct {
		home string
		want []string
	}{
		{"/home/alice", []string{
			"home/alice/mbox foreign-file error",
			"home/alice/mail/hard-mallory foreign-file error",
			"home/alice/mail/hard-root foreign-file error",
			"home/alice/mail/mallorys [mallorys]",
			"home/alice/mail/own [own]",
			"home/alice/mail/own-too [own-too]",
			"home/alice/mail/roots [roots]",
		}},
		{"/home/link-own", []string{"data/alice/mbox [mbox]"}},
		{"/home/link-root", []string{"data/rooted/mbox [mbox]"}},
		{"/home/link-other", []string{"etc/passwd:1 home-unsafe error"}},
		{"/home/mallory/shared", []string{"home/mallory/shared/mbox [mbox]"}},
		{"/home/planted/in", []string{"etc/passwd:1 home-unsafe error"}},
	}
	for _, tt := range tests {
		a := &Account{Name: "alice", UID: alice, Home: tt.home, Path: "etc/passwd", Line: 1}
		diff(t, append([]string{"var/mail/alice []"}, tt.want...), mailboxes(t, h, a))
	}
}

// TestUncountedLinks reads a tree that cannot count links.
func TestUncountedLinks(t *testing.T) {
	h, err := Open(memTree{"etc/passwd": plainPasswd, "var/mail/alice": oneMessage, "home/alice/mbox": oneMessage}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := testAccount()
	a.UID = 0 // whom all in a memTree belongs to
	diff(t, []string{"var/mail/alice []", "home/alice/mbox [mbox]"}, mailboxes(t, h, a))
	a.UID = 1000
	diff(t, []string{"var/mail/alice foreign-file error", "home/alice/mbox foreign-file error"}, mailboxes(t, h, a))
}

func TestMailboxesCancelled(t *testing.T) {
	f := newFixture(t, map[string]string{"etc/passwd": plainPasswd, "home/alice/mail/x": oneMessage})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var last error
	for _, err := range f.open().Mailboxes(ctx, testAccount()) {
		last = err
	}
	if !errors.Is(last, qmailkit.ErrIncomplete) || !errors.Is(last, context.Canceled) {
		t.Errorf("error %v", last)
	}
}

func TestLeftBehind(t *testing.T) {
	f := newFixture(t, map[string]string{
		"etc/passwd":    "root:*:0:0::/root:/bin/sh\ndaemon:*:1:1::/usr/sbin:/bin/sh\nout:*:2000:1::/none:/bin/sh\nin:*:2001:1::/none:/bin/sh\nodd:*:2:1::/none:/bin/sh\n",
		"var/mail/root": oneMessage, "root/mbox": oneMessage, "root/mail/broken": "no mbox",
		"var/mail/out": oneMessage, "var/mail/in": oneMessage, "var/mail/odd": "no mbox", "usr/sbin/mbox": oneMessage,
	})
	h := f.open()
	p := DefaultPolicy()
	p.Exclude = []string{"out"}
	var got []string
	for d, err := range p.Judge(h.Accounts(context.Background())) {
		if err != nil {
			t.Fatal(err)
		}
		left, ok, err := h.LeftBehind(context.Background(), d)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			got = append(got, left.String())
		}
	}
	diff(t, []string{
		`var/mail/root: mail of user "root", who is not carried: 2 mailboxes, 104 bytes, and 1 that cannot be taken (sendmail.mail-left)`,
		`var/mail/odd: mail of user "odd", who is not carried: 0 mailboxes, 0 bytes, and 1 that cannot be taken (sendmail.mail-left)`,
	}, got)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	d := Decision{Account: &Account{Name: "root", UID: os.Getuid(), Home: "/root"}}
	if _, ok, err := h.LeftBehind(ctx, d); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
