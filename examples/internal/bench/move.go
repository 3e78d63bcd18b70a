//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	moveBoxes = 40
	moveEach  = 2500
	mailnames = "var/qmail/mailnames"
)

// move copies the mailboxes of a Plesk host, against the programs that copy
// trees; none of them is durable without the sync behind it.
func (h *hall) move() (*race, error) {
	r, copyTo, err := h.plesk("move", "qmailmove copy")
	if err != nil {
		return nil, err
	}
	src := filepath.Join(h.dir, "plesk", mailnames)
	r.goals = []goal{
		{name: "qmailmove", than: "cp -a; sync", factor: 1.25, disk: true},
		{name: "qmailmove", than: "rsync -a", factor: 2, faster: true, disk: true},
	}
	r.entrants = []entrant{
		{name: "qmailmove", durable: true, prepare: emptyMailnames, maildirs: h.moved, command: copyTo},
		{name: "cp -a; sync", durable: true, prepare: emptyMailnames, maildirs: h.moved, command: func(ctx context.Context, dir string) *exec.Cmd {
			return exec.CommandContext(ctx, "sh", "-c", `cp -a "$0"/. "$1" && sync`, src, filepath.Join(dir, mailnames))
		}},
	}
	if rsync, err := exec.LookPath("rsync"); h.peers && err == nil {
		r.entrants = append(r.entrants, entrant{name: "rsync -a", prepare: emptyMailnames, maildirs: h.moved, command: func(ctx context.Context, dir string) *exec.Cmd {
			return exec.CommandContext(ctx, rsync, "-a", src+"/", filepath.Join(dir, mailnames)+"/")
		}})
	}
	return r, nil
}

// again is a second copy that finds nothing to do, against a look at all names.
func (h *hall) again() (*race, error) {
	r, copyTo, err := h.plesk("again", "qmailmove copy, when nothing has changed")
	if err != nil {
		return nil, err
	}
	src := filepath.Join(h.dir, "plesk", mailnames)
	first := func(dir string) error {
		if err := emptyMailnames(dir); err != nil {
			return err
		}
		if out, err := copyTo(context.Background(), dir).CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	}
	r.goals = []goal{{name: "qmailmove", than: "find", factor: 1.5}}
	r.entrants = []entrant{
		{name: "qmailmove", durable: true, prepare: first, maildirs: h.moved, command: copyTo},
		{name: "find", prepare: first, maildirs: h.moved, command: func(ctx context.Context, dir string) *exec.Cmd {
			return exec.CommandContext(ctx, "find", src, filepath.Join(dir, mailnames), "-printf", `%p %s %T@\n`)
		}},
	}
	return r, nil
}

// plesk makes the old host once, and says how qmailmove copies it below a
// directory.
func (h *hall) plesk(name, what string) (*race, func(ctx context.Context, dir string) *exec.Cmd, error) {
	host := filepath.Join(h.dir, "plesk")
	each := max(int(moveEach/h.scale), 1)
	r := &race{name: name, what: what, messages: moveBoxes * each}
	if _, err := os.Stat(host); err != nil {
		if err := h.call("plesk", "-messages", fmt.Sprint(each), host); err != nil {
			return nil, nil, err
		}
	}
	fi, err := os.Stat(filepath.Join(host, "bytes"))
	if err != nil {
		return nil, nil, err
	}
	r.bytes = fi.Size()
	return r, func(ctx context.Context, dir string) *exec.Cmd {
		return exec.CommandContext(ctx, filepath.Join(h.bin, "qmailmove"), "copy", "-source-root", host, "-source-dump", filepath.Join(host, "psa.sql"),
			"-target-root", dir, "-domain", benchDomain, "-state", filepath.Join(dir, "state"), "-target-id", "5",
			"-owner", fmt.Sprintf("%d:%d", os.Geteuid(), os.Getegid()))
	}, nil
}

func emptyMailnames(dir string) error { return makeDirs(dir, mailnames, "state") }

// moved are the Maildirs of a copy.
func (h *hall) moved(dir string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(dir, mailnames, benchDomain, "u????", "Maildir"))
	if err == nil && len(found) != moveBoxes {
		err = fmt.Errorf("%d Maildirs below %s, want %d", len(found), dir, moveBoxes)
	}
	return found, err
}

// makePlesk makes the tree of a Plesk host, a dump of its psa, and a file as
// long as all messages together.
func makePlesk(dir string, each int) error {
	var psa strings.Builder
	psa.WriteString("CREATE TABLE domains (id int, name text);\nINSERT INTO domains VALUES (7,'" + benchDomain + "');\n" +
		"CREATE TABLE mail_aliases (mn_id int, alias text);\nCREATE TABLE mail_redir (mn_id int, address text);\n" +
		"CREATE TABLE accounts (id int, type text, password text);\n" +
		"CREATE TABLE mail (id int, mail_name text, dom_id int, account_id int, postbox text);\n")
	g, err := newGenerator(small, 11)
	if err != nil {
		return err
	}
	var total int64
	for i := range moveBoxes {
		user := fmt.Sprintf("u%04d", i)
		fmt.Fprintf(&psa, "INSERT INTO accounts VALUES (%d,'plain','secret%d');\nINSERT INTO mail VALUES (%d,'%s',7,%d,'true');\n", i+1, i, i+1, user, i+1)
		box := filepath.Join(dir, mailnames, benchDomain, user, "Maildir")
		if err := makeDirs(box, "new", "cur", "tmp"); err != nil {
			return err
		}
		for n := range each {
			_, body := g.next()
			at := time.Unix(1_100_000_000+int64(n), 0)
			path := filepath.Join(box, "cur", fmt.Sprintf("%d.M%dP%d.old,S=%d:2,S", at.Unix(), n, i, len(body)))
			if n%10 == 0 {
				path = filepath.Join(box, "new", fmt.Sprintf("%d.M%dP%d.old", at.Unix(), n, i))
			}
			if err := os.WriteFile(path, body, 0o600); err != nil {
				return err
			}
			if err := os.Chtimes(path, at, at); err != nil {
				return err
			}
			total += int64(len(body))
		}
	}
	if err := writeFiles(dir, map[string]string{"psa.sql": psa.String(), "bytes": ""}); err != nil {
		return err
	}
	return os.Truncate(filepath.Join(dir, "bytes"), total)
}
