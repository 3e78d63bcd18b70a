//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/plesk"
	"github.com/qmailkit/qmailkit/queue"
)

// A sample is a pair of hosts, made in code: old has a domain with mail, new
// has the domain without.
type sample struct {
	dir      string
	messages int
	boxes    []string // names of the mailboxes
	err      error
}

const (
	sampleDomain = "example.com"
	sampleOldKey = "0123456789abcdef"
	sampleNewKey = "fedcba9876543210"
	sampleUID    = 110
	sampleGID    = 31
)

// sampleAccount is a mail name of the sample.
type sampleAccount struct {
	name, kind, password string // kind of the password
	mailbox              bool
	quota                int64
	messages             int
	aliases, forwards    []string
}

var sampleAccounts = []sampleAccount{
	{name: "anna", kind: "sym", password: "Löwe \"7\" & $x; ", mailbox: true, quota: 104853504, messages: 42, aliases: []string{"a.miller"}},
	{name: "bert", kind: "crypt", password: "$1$saltsalt$tTWg0JeO/sYmHvtKmZE8c.", mailbox: true, quota: -1, messages: 7, forwards: []string{"copy@example.org"}},
	{name: "info", kind: "plain", password: "it's plain", mailbox: true, quota: -1, messages: 18},
	{name: "team", kind: "plain", password: "", forwards: []string{"anna@example.com", "bert@example.com"}},
}

// newSample builds both hosts in dir.
func newSample(dir string) (*sample, error) {
	s := &sample{dir: dir}
	s.host("old", sampleOldKey)
	s.host("new", sampleNewKey)
	for _, a := range sampleAccounts {
		s.account(&a)
	}
	s.write("old/var/qmail/mailnames/example.com/.qmail-default", "| bouncesaying 'This address no longer accepts mail.'\n", 0o600)
	s.control()
	s.dump()
	s.queue()
	s.give("old/var/qmail/mailnames")
	s.give("new/var/qmail/mailnames")
	return s, s.err
}

func (s *sample) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

func (s *sample) write(name, text string, mode os.FileMode) {
	if s.err == nil {
		s.err = os.MkdirAll(filepath.Dir(s.path(name)), 0o755)
	}
	if s.err == nil {
		s.err = os.WriteFile(s.path(name), []byte(text), mode)
	}
}

// host makes what every Plesk host has.
func (s *sample) host(name, key string) {
	s.write(name+"/etc/psa/psa.conf", "# Plesk\nPRODUCT_ROOT_D /usr/local/psa\nPLESK_MAILNAMES_D /var/qmail/mailnames\nQMAIL_ROOT_D /var/qmail\n", 0o644)
	s.write(name+"/etc/psa/private/secret_key", key, 0o600)
	s.write(name+"/etc/passwd", fmt.Sprintf("root:x:0:0::/root:/bin/sh\npopuser:x:%d:%d:POP3 service user:/var/qmail/popuser:/bin/false\n", sampleUID, sampleGID), 0o644)
	s.write(name+"/var/qmail/users/assign", ".\n", 0o644)
	s.write(name+"/var/qmail/control/me", name+".example.net\n", 0o644)
	if s.err == nil {
		s.err = os.MkdirAll(s.path(name, "var/qmail/mailnames"), 0o755)
	}
}

// account makes a directory of the old host.
func (s *sample) account(a *sampleAccount) {
	home := "old/var/qmail/mailnames/example.com/" + a.name
	lines := "| true\n"
	if a.mailbox {
		lines += "| /usr/bin/deliverquota ./Maildir\n"
	}
	for _, f := range a.forwards {
		lines += "&" + f + "\n"
	}
	s.write(home+"/.qmail", lines, 0o600)
	if !a.mailbox {
		return
	}
	s.boxes = append(s.boxes, a.name)
	s.write(home+"/@attachments/map.txt", "turn left at the mill\n", 0o600)
	s.write(home+"/@mbox.usage", "123456\n", 0o600)
	m := home + "/Maildir"
	for _, folder := range []string{"", "/.Sent", "/.Entw&APw-rfe"} {
		for _, sub := range []string{"new", "cur", "tmp"} {
			if s.err == nil {
				s.err = os.MkdirAll(s.path(m+folder, sub), 0o700)
			}
		}
		if folder != "" {
			s.write(m+folder+"/maildirfolder", "", 0o644)
		}
	}
	sizes, uids := "/3 100 1100000000\n", "1 1100000000 100\n"
	for i := range a.messages {
		text := sampleMessage(a.name, i)
		base := fmt.Sprintf("%d.M%dP%d.old.example.net,S=%d", 1100000000+1000*i, 17*i, 4000+i, len(text))
		place := "/cur/" + base + ":2," + []string{"S", "RS", "", "FS", "ST"}[i%5]
		switch {
		case i%7 == 3:
			place = "/new/" + base
		case i%6 == 4:
			place = "/.Sent/cur/" + base + ":2,S"
		}
		s.write(m+place, text, 0o600)
		at := time.Unix(int64(1100000000+1000*i), 0)
		if s.err == nil {
			s.err = os.Chtimes(s.path(m+place), at, at)
		}
		if !strings.HasPrefix(place, "/.Sent") {
			sizes += fmt.Sprintf("%s %d %d:1100000000:0\n", base, len(text), i+1)
			uids += fmt.Sprintf("%d %s\n", i+1, base)
		}
		s.messages++
	}
	s.write(m+"/courierpop3dsizelist", sizes, 0o600)
	s.write(m+"/courierimapuiddb", uids, 0o600)
	s.write(m+"/courierimapsubscribed", "INBOX\nINBOX.Sent\nINBOX.Entw&APw-rfe\n", 0o644)
	s.write(m+"/maildirsize", fmt.Sprintf("%dS,0C\n   12345     7\n", max(a.quota, 0)), 0o644)
	s.write(m+"/tmp/1100000000.half.old", "half a mess", 0o600)
}

func sampleMessage(to string, i int) string {
	return fmt.Sprintf("Return-Path: <friend%d@example.org>\nTo: %s@example.com\nSubject: message %d\nMessage-ID: <%d.%s@example.org>\n\n%s",
		i, to, i, i, to, strings.Repeat(fmt.Sprintf("Line of message %d for %s.\n", i, to), 1+i%9*5))
}

// control makes the old host's control files.
func (s *sample) control() {
	for name, text := range map[string]string{
		"locals":         "localhost\nold.example.net\n",
		"rcpthosts":      "# who we take mail for\nlocalhost\nold.example.net\nexample.com\nother.example\n",
		"virtualdomains": "other.example:11\nexample.com:12\n",
		"smtproutes":     "backup.example:mx.example.net\n",
	} {
		s.write("old/var/qmail/control/"+name, text, 0o644)
	}
	s.write("new/var/qmail/control/locals", "localhost\n", 0o644)
	s.write("new/var/qmail/control/rcpthosts", "localhost\n", 0o644)
	s.write("new/var/qmail/control/virtualdomains", "", 0o644)
}

// sampleSchema are the tables of psa that have to do with mail.
const sampleSchema = "CREATE TABLE `domains` (\n  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,\n  `name` varchar(255) NOT NULL,\n  `displayName` varchar(255) NOT NULL,\n  `status` bigint(20) unsigned NOT NULL DEFAULT 0,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;\n" +
	"CREATE TABLE `mail` (\n  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,\n  `mail_name` varchar(245) CHARACTER SET ascii NOT NULL,\n  `postbox` enum('false','true') NOT NULL DEFAULT 'false',\n  `account_id` int(10) unsigned NOT NULL DEFAULT 0,\n  `mail_group` enum('false','true') NOT NULL DEFAULT 'false',\n  `autoresponder` enum('false','true') NOT NULL DEFAULT 'false',\n  `mbox_quota` bigint(20) NOT NULL DEFAULT -1,\n  `dom_id` int(10) unsigned NOT NULL,\n  PRIMARY KEY (`id`),\n  UNIQUE KEY `dom_id` (`dom_id`,`mail_name`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;\n" +
	"CREATE TABLE `accounts` (\n  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,\n  `type` varchar(32) NOT NULL DEFAULT 'plain',\n  `password` text,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;\n" +
	"CREATE TABLE `mail_aliases` (\n  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,\n  `mn_id` int(10) unsigned NOT NULL,\n  `alias` varchar(245) NOT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;\n" +
	"CREATE TABLE `mail_redir` (\n  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,\n  `mn_id` int(10) unsigned NOT NULL,\n  `address` varchar(255) NOT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;\n"

// dump writes psa of both hosts, as mysqldump would.
func (s *sample) dump() {
	key, err := plesk.NewSecretKey([]byte(sampleOldKey))
	if err != nil && s.err == nil {
		s.err = err
	}
	if s.err != nil {
		return
	}
	quoted := func(t string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`).Replace(t) + "'"
	}
	text := sampleSchema + "INSERT INTO `domains` VALUES (12,'example.com','example.com',0),(11,'other.example','other.example',0);\n"
	flag := map[bool]string{true: "'true'", false: "'false'"}
	alias, redir := 0, 0
	for i, a := range sampleAccounts {
		stored := a.password
		if a.kind == "sym" {
			sealed, err := key.Seal(strings.NewReader("sixteen bytes iv"), qmailkit.Secret(a.password))
			if err != nil {
				s.err = err
				return
			}
			stored = string(sealed)
		}
		text += fmt.Sprintf("INSERT INTO `accounts` VALUES (%d,'%s',%s);\n", i+1, a.kind, quoted(stored))
		text += fmt.Sprintf("INSERT INTO `mail` VALUES (%d,%s,%s,%d,%s,'false',%d,12);\n", i+1, quoted(a.name), flag[a.mailbox], i+1, flag[len(a.forwards) > 0], a.quota)
		for _, n := range a.aliases {
			alias++
			text += fmt.Sprintf("INSERT INTO `mail_aliases` VALUES (%d,%d,%s);\n", alias, i+1, quoted(n))
		}
		for _, f := range a.forwards {
			redir++
			text += fmt.Sprintf("INSERT INTO `mail_redir` VALUES (%d,%d,%s);\n", redir, i+1, quoted(f))
		}
	}
	const head, tail = "-- MySQL dump 10.13  Distrib 5.0.95\n", "-- Dump completed\n"
	s.write("old/psa.sql", head+text+tail, 0o600)
	s.write("new/psa.sql", head+sampleSchema+"INSERT INTO `domains` VALUES (40,'example.com','example.com',0);\n"+tail, 0o600)
}

// queue makes the old host's queue, empty.
func (s *sample) queue() {
	dir := s.path("old/var/qmail/queue")
	if s.err == nil {
		s.err = os.Mkdir(dir, 0o750)
	}
	if s.err != nil {
		return
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		s.err = err
		return
	}
	defer root.Close()
	s.err = queue.Create(context.Background(), root, nil)
}

// give makes all of it popuser's, where that is possible.
func (s *sample) give(name string) {
	if s.err != nil || os.Geteuid() != 0 {
		return
	}
	s.err = filepath.WalkDir(s.path(name), func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, sampleUID, sampleGID)
	})
}
