package sendmail

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
)

func notCarried(t *testing.T, h *Host) []string {
	t.Helper()
	var got []string
	for p, err := range h.NotCarried(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, show(p)+": "+p.Err.Error())
	}
	return got
}

func TestNotCarried(t *testing.T) {
	passwd := "root:*:0:0::/root:/bin/sh\nalice:x:" + itoa(os.Getuid()) + ":1::/home/alice:/bin/sh\nbob:*:7:1::/home/alice:/bin/sh\nevil:*:8:1::/home/../etc:/bin/sh\n"
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"tables", map[string]string{
			"etc/aliases":                "# comment\npostmaster: root\n\nlist: a,\n\tb,\n c\nroot: alice\n",
			"etc/mail/aliases":           "->../aliases",
			"etc/mail/virtusertable":     "a@b.example\talice\n",
			"etc/mail/virtusertable.db":  "built",
			"etc/mail/mailertable.db":    "built",
			"etc/mail/access":            "# nothing\n",
			"etc/mail/genericstable/":    "",
			"etc/mail/relay-domains":     "->/etc/mail/relay-domains",
			"etc/procmailrc":             ":0\n/dev/null\n",
			"aquota.user":                "binary",
			"etc/mail/sendmail.mc":       "divert(0)dnl\ndnl comment\nFEATURE(`virtusertable')dnl\n\n",
			"etc/mail/sendmail.cf":       "O AliasFile=/etc/aliases,hash:-o /etc/lists/aliases,/etc/none\nKvirtuser hash -o /etc/mail/virtusertable\nKmailertable hash -o /etc/routes\nKown btree /etc/own\nKseq sequence a b\nKx\n",
			"etc/lists/aliases":          "l: x\n",
			"etc/routes":                 "a b\nc d\n",
			"etc/own":                    "k v\n",
			"var/lib/mailman/lists/one/": "",
			"var/lib/mailman/lists/two/": "",
			"var/lib/mailman/lists/file": "",
		}, []string{
			"etc/aliases aliases-not-carried error: aliases: not carried, 3 entries",
			"etc/mail/virtusertable virtusertable-not-carried error: virtual users: not carried, 1 entry",
			"etc/mail/mailertable.db mailertable-not-carried error: mail routes are not carried; only the database is here, without its text",
			"etc/mail/relay-domains relay-domains-not-carried error: relay domains cannot be read: resolve etc/mail/relay-domains: symbolic link: too many of them",
			"etc/mail/genericstable genericstable-not-carried error: rewritten senders should be here, but this is no plain file",
			"etc/procmailrc procmailrc-not-carried error: procmail settings: not carried",
			"aquota.user quota-not-carried warning: disk quotas: not carried",
			"etc/lists/aliases aliases-not-carried error: aliases: not carried, 1 entry",
			"etc/routes mailertable-not-carried error: mail routes: not carried, 2 entries",
			"etc/own map-not-carried error: entries of a table of sendmail.cf: not carried, 1 entry",
			"etc/mail/sendmail.mc config-not-carried warning: Sendmail's configuration: not carried, 2 entries",
			"var/lib/mailman/lists lists-not-carried error: mailing lists: not carried, 2",
		}},
		{"old configuration", map[string]string{
			"etc/sendmail.cf": "OA/usr/lib/aliases\n\n# x\nDSrelay\n",
			"usr/lib/aliases": "a: b\n",
		}, []string{
			"usr/lib/aliases aliases-not-carried error: aliases: not carried, 1 entry",
			"etc/sendmail.cf config-not-carried warning: Sendmail's configuration: not carried, 2 entries",
		}},
		{"homes", map[string]string{
			"home/alice/.forward":          "# mine\n\\alice, bob@c.example\n",
			"home/alice/.forward+work":     "x@y\nz@y\n",
			"home/alice/.procmailrc":       "A=b\n:0\n* ^x\nlists\n :0:\nmore\n",
			"home/alice/.vacation.msg":     "Subject: away\n",
			"home/alice/.mailfilter":       "to x\n",
			"home/alice/.spamassassin/x":   "",
			"home/alice/.forwarded/x":      "",
			"home/alice/forward":           "not it\n",
			"root/.forward":                "->/etc/passwd",
			"home/alice/.vacation.db.lock": "",
		}, []string{
			"root/.forward forward-not-carried error: forwarding of user \"root\": not carried, and cannot be read: open root/.forward: not a plain file: symbolic link",
			"home/alice/.forward forward-not-carried error: forwarding of user \"alice\": not carried, 1 entry",
			"home/alice/.forward+work forward-not-carried error: forwarding of user \"alice\": not carried, 2 entries",
			"home/alice/.forwarded forward-not-carried error: forwarding of user \"alice\": not carried, and cannot be read: open home/alice/.forwarded: not a plain file: a directory",
			"home/alice/.mailfilter mailfilter-not-carried error: maildrop filter of user \"alice\": not carried",
			"home/alice/.procmailrc procmailrc-not-carried error: procmail recipes of user \"alice\": not carried, 2 entries",
			"home/alice/.spamassassin preferences-not-carried info: a mail program's preferences of user \"alice\": not carried",
			"home/alice/.vacation.msg vacation-not-carried error: vacation message of user \"alice\": not carried",
		}},
		{"queue and stray mail", map[string]string{
			"var/spool/mqueue/qfAAA":        "x",
			"var/spool/mqueue/dfAAA":        "x",
			"var/spool/mqueue/q1/qf/hfBBB":  "x",
			"var/spool/mqueue/q1/df/dfBBB":  "x",
			"var/spool/clientmqueue/dfCCC":  "x",
			"var/mail/alice":                oneMessage,
			"var/mail/alice.lock":           "1",
			"var/mail/a/l/alice":            oneMessage,
			"var/mail/x/y/alice":            oneMessage,
			"var/mail/gone":                 oneMessage,
			"var/mail/empty":                "",
			"var/mail/.hidden":              oneMessage,
			"var/mail/old-spools/gone":      oneMessage,
			"var/mail/bob/x":                oneMessage,
			"var/mail/z":                    oneMessage,
			"var/mail/gone.lock":            "",
			"var/mail/a/stray":              oneMessage,
			"home/alice/mail/not-for-here":  oneMessage,
			"var/spool/mqueue/q1/xf/xfBBB":  "x",
			"var/spool/clientmqueue/qf":     "x",
			"var/spool/clientmqueue/core/x": "x",
		}, []string{
			"var/spool/mqueue mqueue-left error: 2 messages are in the queue: run \"sendmail -q\" on the old host",
			"var/mail/a/stray spool-without-account error: mail of no account, 52 bytes, is not carried",
			"var/mail/gone spool-without-account error: mail of no account, 52 bytes, is not carried",
			"var/mail/old-spools spool-without-account error: a directory that no account's mail is in",
			"var/mail/x/y/alice spool-without-account error: mail of no account, 52 bytes, is not carried",
			"var/mail/z spool-without-account error: mail of no account, 52 bytes, is not carried",
		}},
		{"nothing", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, tt.files)
			f.write("etc/passwd", passwd)
			diff(t, tt.want, notCarried(t, f.open()))
		})
	}
}

func TestNotCarriedStops(t *testing.T) {
	f := newFixture(t, map[string]string{"etc/passwd": plainPasswd, "etc/aliases": "a: b\n", "var/mail/x": oneMessage})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var last error
	for _, err := range f.open().NotCarried(ctx) {
		last = err
	}
	if !errors.Is(last, qmailkit.ErrIncomplete) {
		t.Errorf("error %v", last)
	}
	n := 0
	for range f.open().NotCarried(context.Background()) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d items", n)
	}
}

func TestSubscriptions(t *testing.T) {
	f := newFixture(t, map[string]string{
		"etc/passwd": plainPasswd,
		"home/alice/.mailboxlist": "INBOX\nmail/Work/2004\nmail/caf\xe9\r\nmbox\n~/mail/sent\n#mh/inbox\n{imap.example}x\n/etc/passwd\n../bob\n~bob/x\n" +
			"mail/a.b\n\n" + "elsewhere/x\nmail/Work/2004\nMail/x\nmail//double\n",
		"home/alice/mail/.subscriptions": "sent\nTrash\nWork/2005\nmail/inner\n",
		"home/alice/Mail/.subscriptions": "V\t2\n\nWork\t2006\na\x01tb\nno\x010NUL\n",
		"home/alice/.subscriptions":      "Inbox\n" + strings.Repeat("x", 300) + "\nDrafts",
	})
	f.opts.MaxLine = 200
	names, problems, err := f.open().Subscriptions(context.Background(), testAccount())
	if err != nil {
		t.Fatal(err)
	}
	diff(t, [][]string{
		nil, {"Work", "2004"}, {"caf\xe9"}, {"mbox"}, {"sent"}, {"a.b"}, {"elsewhere", "x"}, {"x"}, {"double"},
		{"Drafts"}, {"Trash"}, {"Work", "2005"}, {"mail", "inner"}, {"Work", "2006"}, {"a\tb"},
	}, names)
	var got []string
	for _, p := range problems {
		got = append(got, show(p))
	}
	diff(t, []string{
		"home/alice/.mailboxlist:6 subscription-name warning",
		"home/alice/.mailboxlist:7 subscription-name warning",
		"home/alice/.mailboxlist:8 subscription-name warning",
		"home/alice/.mailboxlist:9 subscription-name warning",
		"home/alice/.mailboxlist:10 subscription-name warning",
		"home/alice/.subscriptions:2 long-line error",
		"home/alice/Mail/.subscriptions:5 subscription-name warning",
	}, got)

	f.opts.Folders = []string{"."}
	names, _, err = f.open().Subscriptions(context.Background(), testAccount())
	if err != nil || len(names) < 2 {
		t.Fatal(names, err)
	}
	diff(t, []string{"mail", "Work", "2004"}, names[1])

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := f.open().Subscriptions(ctx, testAccount()); !errors.Is(err, qmailkit.ErrIncomplete) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestHoles reads files of users that have no end worth waiting for.
func TestHoles(t *testing.T) {
	f := newFixture(t, map[string]string{
		"etc/passwd":              "alice:x:" + itoa(os.Getuid()) + ":1::/home/alice:/bin/sh\n",
		"home/alice/.forward":     "bob@a.example\n",
		"home/alice/.mailboxlist": "mbox\n",
		"home/alice/mail/sparse":  "",
		"etc/aliases":             "a: b\nb: c\n",
	})
	for _, name := range []string{"home/alice/.forward", "home/alice/.mailboxlist", "home/alice/mail/sparse", "etc/aliases"} {
		if err := os.Truncate(f.path(name), 1<<42); err != nil {
			t.Skip(err) // not on this file system
		}
	}
	f.opts.MaxFile = 1 << 20
	h := f.open()
	diff(t, []string{
		"etc/aliases aliases-not-carried error: aliases: not carried, 2 entries and more: etc/aliases:3: offset 1048576: file too large: more than 1048576 bytes",
		"home/alice/.forward forward-not-carried error: forwarding of user \"alice\": not carried, 1 entry and more: home/alice/.forward:2: offset 4194304: file too large: more than 4194304 bytes",
	}, notCarried(t, h))
	names, problems, err := h.Subscriptions(context.Background(), testAccount())
	if err != nil || len(names) != 1 || len(problems) != 1 || problems[0].Code != "sendmail.subscriptions-unreadable" {
		t.Errorf("%q %v %v", names, problems, err)
	}
	diff(t, []string{"home/alice/mail/sparse mailbox-too-big error"}, mailboxes(t, h, testAccount()))
}

func FuzzSubscriptions(f *testing.F) {
	for _, s := range []string{"INBOX\nmail/a/b\n~/mail/c\n", "V\t2\n\na\tb\nc\x01t\n", "../x\n/etc/passwd\n#mh/x\n{h}y\n~bob/z\n", "\x00\r\n//\n."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := Open(memTree{"etc/passwd": plainPasswd, "home/alice/.mailboxlist": text, "home/alice/mail/.subscriptions": text, "home/alice/mail/x": oneMessage}, nil)
		if err != nil {
			t.Fatal(err)
		}
		a := testAccount()
		a.UID = 0
		names, _, err := h.Subscriptions(context.Background(), a)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, parts := range names {
			key := strings.Join(parts, "/")
			if seen[key] {
				t.Fatalf("%q comes twice", key)
			}
			seen[key] = true
			for _, p := range parts {
				if p == "" || p == "." || p == ".." || strings.ContainsAny(p, "/\x00\n") {
					t.Fatalf("%q out of %q", parts, text)
				}
			}
		}
	})
}
