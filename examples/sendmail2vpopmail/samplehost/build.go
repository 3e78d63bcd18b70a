//go:build unix

package samplehost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Options says how to build. Nil is the zero value.
type Options struct {
	// Owners gives each file to its account, which only root can do. Without
	// it everything belongs to whoever builds, as in a copy made by a plain
	// user.
	Owners bool
}

// ErrNotEmpty says that there is something in the directory already.
var ErrNotEmpty = errors.New("directory is not empty")

// Build makes the sample host in the directory dir, which is created if need
// be and must be empty.
func Build(dir string, opts *Options) (*Manifest, error) {
	if opts == nil {
		opts = &Options{}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(names) > 0 {
		return nil, &fs.PathError{Op: "build", Path: dir, Err: ErrNotEmpty}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	b := &builder{root: root, dir: dir, owners: opts.Owners}
	for _, step := range []func() error{b.system, b.homes, b.mail, b.oddities, b.times} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("sample host: %w", err)
		}
	}
	return manifest(), nil
}

// manifest describes what Build makes.
func manifest() *Manifest {
	m := &Manifest{
		Domains: []string{"wonderland.example", "looking-glass.example", "croquet.example"},
		Reported: []Report{
			{"sendmail.aliases-not-carried", "etc/mail/aliases"},
			{"sendmail.virtusertable-not-carried", "etc/mail/virtusertable"},
			{"sendmail.mailertable-not-carried", "etc/mail/mailertable"},
			{"sendmail.access-not-carried", "etc/mail/access"},
			{"sendmail.relay-domains-not-carried", "etc/mail/relay-domains"},
			{"sendmail.domaintable-not-carried", "etc/mail/domaintable"},
			{"sendmail.forward-not-carried", "home/carol/.forward"},
			{"sendmail.forward-not-carried", "home/dave/.forward"},
			{"sendmail.vacation-not-carried", "home/dave/.vacation.msg"},
			{"sendmail.forward-not-carried", "home/ivan/.forward"},
			{"sendmail.procmailrc-not-carried", "home/ivan/.procmailrc"},
			{"sendmail.forward-not-carried", "home/mike/.forward"},
			{"sendmail.spool-without-account", "var/mail/victor"},
		},
	}
	for i := range users {
		a := users[i].account()
		for _, f := range mailFiles() {
			switch {
			case f.owner != a.Name:
			case f.report != "":
				a.Reported = append(a.Reported, Report{f.report, f.path})
			default:
				a.Mailboxes = append(a.Mailboxes, f.box.mailbox(f.path, f.folder))
			}
		}
		switch a.Name {
		case "alice":
			a.Subscriptions = [][]string{nil, {"Work", "2004"}, {"release.notes"}, {draftsName}}
			a.Reported = append(a.Reported, Report{"sendmail.not-plain", "home/alice/mail/fifo"}, Report{"sendmail.not-plain", "home/alice/mail/shared"})
		case "bob":
			a.Subscriptions = [][]string{{"lists", "qmail"}}
		}
		if a.UID >= firstUser {
			m.Accounts = append(m.Accounts, a)
		} else if len(a.Mailboxes) > 0 {
			m.System = append(m.System, a)
		}
	}
	return m
}

type builder struct {
	root   *os.Root
	dir    string
	owners bool
	made   []string // paths, in the order in which they were made
}

// give makes a path the user's own.
func (b *builder) give(path string, uid, gid int, mode fs.FileMode) error {
	if b.owners {
		if err := b.root.Lchown(path, uid, gid); err != nil {
			return err
		}
	}
	return b.root.Chmod(path, mode)
}

// mkdir makes a directory, and those above it as the system's.
func (b *builder) mkdir(path string, uid, gid int, mode fs.FileMode) error {
	for i, c := range path + "/" {
		if c != '/' {
			continue
		}
		err := b.root.Mkdir(path[:i], 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		b.made = append(b.made, path[:i])
		if err := b.give(path[:i], 0, 0, 0o755); err != nil {
			return err
		}
	}
	return b.give(path, uid, gid, mode)
}

// write makes a file; directories that are missing above it get its owner.
func (b *builder) write(path, text string, uid, gid int, mode fs.FileMode) error {
	parent := filepath.Dir(path)
	if _, err := b.root.Lstat(parent); errors.Is(err, fs.ErrNotExist) {
		up := strings.Split(parent, "/")
		for i := range up {
			dir := strings.Join(up[:i+1], "/")
			if _, err := b.root.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
				if err := b.mkdir(dir, uid, gid, 0o755); err != nil {
					return err
				}
			}
		}
	}
	f, err := b.root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	b.made = append(b.made, path)
	return b.give(path, uid, gid, mode)
}

func (b *builder) link(to, path string) error {
	b.made = append(b.made, path)
	return b.root.Symlink(to, path)
}

// mailGroup is that of the spool directory.
const mailGroup = 8

// system makes what belongs to nobody in particular.
func (b *builder) system() error {
	if err := b.mkdir("var/mail", 0, mailGroup, fs.ModeSetgid|0o775); err != nil {
		return err
	}
	if err := b.mkdir("var/spool", 0, 0, 0o755); err != nil {
		return err
	}
	if err := b.link("../mail", "var/spool/mail"); err != nil {
		return err
	}
	for _, f := range []struct {
		path, text string
		mode       fs.FileMode
	}{
		{"etc/passwd", passwdFile(), 0o644},
		{"etc/shadow", shadowFile(), 0o600},
		{"etc/shells", "/bin/sh\n/bin/bash\n", 0o644},
		{"etc/hostname", "mail.wonderland.example\n", 0o644},
		{"etc/mail/local-host-names", "# the names that this host receives mail for\nwonderland.example\nlooking-glass.example\n\nCroquet.example\nlocalhost\n", 0o644},
		{"etc/mail/aliases", aliasesFile, 0o644},
		{"etc/mail/lists/croquet", "# who plays\nerin, frank\nheidi@wonderland.example\nFlamingo@zoo.example\n", 0o644},
		{"etc/mail/virtusertable", "info@wonderland.example\tcarol\ninfo@looking-glass.example\tcarol\nsales@croquet.example\terin\n" +
			"team@croquet.example\tcroquet-team\nold@croquet.example\terror:nouser 550 Ask the sales department\n" +
			"@croquet.example\terror:nouser 550 No such user here\n", 0o644},
		{"etc/mail/mailertable", routesFile, 0o644},
		{"etc/mail/access", accessFile, 0o644},
		{"etc/mail/relay-domains", "# for whom we take mail in\nhearts.example\n192.0.2\nIPv6:2001:db8:7\n", 0o644},
		{"etc/mail/domaintable", "wonder-land.example\twonderland.example\n", 0o644},
		{"var/mail/victor", plainBox("victor", "frank@stein.example", 1).text.String(), 0o600}, // who has left
	} {
		if err := b.write(f.path, f.text, 0, 0, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// aliasesFile has one of each kind: what is carried, what is written as a
// comment, and what cannot be carried at all.
const aliasesFile = "# who gets the system's mail\nmailer-daemon: postmaster\npostmaster: root\nroot: alice\n" +
	"tea-party: alice, hatter@tea.example,\n\tdormouse@tea.example\narchive: \"|/usr/local/bin/archive -q\"\n" +
	"croquet-team: :include:/etc/mail/lists/croquet\nowner-croquet-team: carol\n" +
	"everyone: tea-party, croquet-team, Alice, mike, ivan\n" +
	"bob: \\bob, erin\nlog: /var/log/mail-archive\nnobody: /dev/null\n" +
	"\"queen of hearts\": heidi\nnight: backup\nround: about\nabout: round\n"

// routesFile and accessFile have one of each kind too.
const (
	routesFile = "hearts.example\tesmtp:[queen.hearts.example]\n.hearts.example\tesmtp:[queen.hearts.example]\n" +
		"tea.example\tsmtp:pot.tea.example\nguillotine.example\terror:5.7.1:550 Off with their heads\n"
	accessFile = "# who may, and who may not\nConnect:127.0.0.1\tRELAY\nConnect:198.51.100\tRELAY\nConnect:198.51.100.13\tOK\n" +
		"Connect:203.0.113.66\tREJECT\nConnect:gryphon.example\tRELAY\nFrom:spam@jabberwock.example\tREJECT\n" +
		"From:bandersnatch.example\t550 We do not like your sort\nTo:backup.hearts.example\tRELAY\nFrom:walrus.example\tDISCARD\n"
)

// homes makes the home directories of people. That of judy is on another disk.
func (b *builder) homes() error {
	if err := b.mkdir("home", 0, 0, 0o755); err != nil {
		return err
	}
	for i := range users {
		u := &users[i]
		if u.uid < firstUser {
			continue
		}
		path := strings.TrimPrefix(u.home(), "/")
		if u.name == "judy" {
			if err := b.link("/export/home/judy", path); err != nil {
				return err
			}
			path = "export/home/judy"
		}
		if err := b.mkdir(path, u.uid, u.group(), 0o711); err != nil {
			return err
		}
	}
	return nil
}

// owner finds a user by name.
func owner(name string) *user {
	return &users[slices.IndexFunc(users, func(u user) bool { return u.name == name })]
}

func (b *builder) mail() error {
	for _, f := range mailFiles() {
		u := owner(f.owner)
		gid := u.group()
		if f.folder == nil {
			gid = mailGroup
		}
		if err := b.write(f.path, f.content(), u.uid, gid, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// oddities makes what is no mail and yet stands in users' directories.
func (b *builder) oddities() error {
	for _, f := range []struct{ owner, path, text string }{
		{"alice", "home/alice/.mailboxlist", "INBOX\nmail/Work/2004\nmail/release.notes\nmail/" + draftsName + "\n"},
		{"alice", "home/alice/mail/.imap/INBOX/dovecot.index", "not for you\n"},
		{"bob", "home/bob/mail/.subscriptions", "lists/qmail\n"},
		{"ivan", "home/ivan/.procmailrc", "MAILDIR=$HOME/mail\n\n:0:\n* ^List-Id:.*throne\nthrone\n"},
		{"niaj", "home/niaj/mail/empty", ""},
		{"dave", "home/dave/.vacation.msg", "Subject: away\n\nI read mail again on Monday.\n"},
	} {
		u := owner(f.owner)
		if err := b.write(f.path, f.text, u.uid, u.group(), 0o600); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{
		"carol": "carol@bells.example\n", "dave": "\\dave, \"|/usr/bin/vacation dave\"\n", "ivan": "\\ivan, ivan@moscow.example\n", "mike": "erin\n",
	} {
		// All may read them, so that a copy in a plain user's hands means the same.
		u := owner(name)
		if err := b.write("home/"+name+"/.forward", text, u.uid, u.group(), 0o644); err != nil {
			return err
		}
	}
	if err := b.link("/var/mail/bob", "home/alice/mail/shared"); err != nil {
		return err
	}
	const fifo = "home/alice/mail/fifo"
	if err := syscall.Mkfifo(filepath.Join(b.dir, fifo), 0o600); err != nil {
		return &fs.PathError{Op: "mkfifo", Path: fifo, Err: err}
	}
	b.made = append(b.made, fifo)
	u := owner("alice")
	return b.give(fifo, u.uid, u.group(), 0o600)
}

// lastChange is when the host was left.
var lastChange = time.Date(2005, 11, 5, 18, 0, 0, 0, time.UTC)

// times sets the time of all files, and of directories after what is in them.
func (b *builder) times() error {
	for _, path := range slices.Backward(b.made) {
		fi, err := b.root.Lstat(path)
		if err != nil {
			return err
		}
		if fi.Mode().Type() == fs.ModeSymlink {
			continue
		}
		if err := b.root.Chtimes(path, lastChange, lastChange); err != nil {
			return err
		}
	}
	return nil
}
