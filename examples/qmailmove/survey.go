//go:build unix

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/plesk"
)

// A move is what there is to be moved.
type move struct {
	c        *config
	src, dst *place
	psa      *plesk.Server // nil: only the directories tell
	dom      *plesk.Domain // likewise
	domain   string        // the name of its directory
	boxes    []*box        // in the order of their names

	keepDeleted bool // what has been deleted at the source since it was copied

	mu       sync.Mutex // the committer reports too
	problems []qmailkit.Problem
}

// A box is a mail name: its directory, and what psa says of it.
type box struct {
	name    string
	m       *plesk.Mailname // nil without psa
	dir     string          // in the source's tree
	there   bool            // the directory
	maildir bool            // and a Maildir in it
	res     boxResult
}

// boxResult counts what became of a box.
type boxResult struct {
	messages, bytes                         int64
	delivered, newBytes                     int64
	present, updated, kept, failed, removed int64
	vanished, moved                         int64
	problems                                int64
}

func (m *move) problem(ps ...qmailkit.Problem) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.problems = append(m.problems, ps...)
}

func (m *move) warn(code, path string, err error, fix string) {
	m.problem(qmailkit.Problem{Code: code, Severity: qmailkit.Warning, Path: path, Err: err, Fix: fix})
}

func (m *move) lost(code, path string, err error, fix string) {
	m.problem(qmailkit.Problem{Code: code, Severity: qmailkit.Error, Path: path, Err: err, Fix: fix})
}

// Close gives both hosts back.
func (m *move) Close() { errors.Join(m.src.Close(), m.dst.Close()) }

// survey looks at both hosts, and changes nothing.
func (c *config) survey(ctx context.Context) (m *move, err error) {
	if err := c.needRoots(); err != nil {
		return nil, err
	}
	m = &move{c: c, domain: strings.ToLower(c.domain)}
	defer func(opened *move) {
		if err != nil {
			opened.Close()
		}
	}(m)
	if err = m.readPsa(ctx); err != nil {
		return nil, err
	}
	if m.src, err = c.openSource(ctx); err != nil {
		return nil, err
	}
	if m.dst, err = c.openTarget(m.src); err != nil {
		return nil, err
	}
	if m.src.root != nil && m.src.name == m.dst.name && m.src.mailnames == m.dst.mailnames {
		return nil, errors.New("source and target are the same directory")
	}
	return m, m.findBoxes(ctx)
}

// readPsa reads what the source's database says of the domain.
func (m *move) readPsa(ctx context.Context) (err error) {
	if m.psa, err = m.c.source.read(ctx); err != nil || m.psa == nil {
		return err
	}
	if m.dom = m.psa.Domain(m.c.domain); m.dom == nil {
		return fmt.Errorf("%w: %s", plesk.ErrNoDomain, m.c.domain)
	}
	m.domain = strings.ToLower(m.dom.Name)
	return nil
}

// sourceDir is the domain's directory at the source.
func (m *move) sourceDir() string { return join(m.src.mailnames, m.domain) }

// targetDir is a mail name's directory at the target, where users/assign of
// accounts has it.
func (m *move) targetDir(b *box) string {
	name := b.name
	if b.m != nil {
		name = plesk.DirName(name)
	}
	return join(m.dst.mailnames, m.domain, name)
}

// join makes a name of a Tree.
func join(parts ...string) string {
	parts = slices.DeleteFunc(parts, func(p string) bool { return p == "." })
	if len(parts) == 0 {
		return "."
	}
	return strings.Join(parts, "/")
}

// fileName says whether a mail name can be that of a directory.
func fileName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// findBoxes compares the directories with psa.
func (m *move) findBoxes(ctx context.Context) error {
	dirs := map[string]bool{}
	for e, err := range m.src.tree.ReadDir(ctx, m.sourceDir()) {
		if errors.Is(err, fs.ErrNotExist) && m.dom != nil && !m.anyMailbox() {
			break
		}
		if err != nil {
			return fmt.Errorf("the old host has no mailboxes of %s that can be read: %w", m.domain, err)
		}
		kind := e.Type
		if kind == fs.ModeIrregular {
			fi, err := m.src.tree.Lstat(join(m.sourceDir(), e.Name))
			if err != nil {
				return err
			}
			kind = fi.Mode.Type()
		}
		switch {
		case kind.IsDir():
			dirs[e.Name] = true
		case strings.HasPrefix(e.Name, plesk.DotQmailName):
			// For domainFiles.
		case kind == fs.ModeSymlink:
			m.lost("mailbox.link", join(m.sourceDir(), e.Name), fmt.Errorf("%w: the mailbox that it leads to is not carried", qmailkit.ErrLink), "put the directory itself there, or mount it there")
		default:
			m.warn("domain.file", join(m.sourceDir(), e.Name), errors.New("stands in the domain's directory and is not carried"), "")
		}
	}
	if m.dom == nil {
		for name := range dirs {
			m.boxes = append(m.boxes, &box{name: name})
		}
	} else {
		for _, n := range m.dom.Mailnames {
			if !fileName(n.Name) {
				m.lost("mailname.name", n.Name, errors.New("a mail name that cannot name a directory"), "")
				continue
			}
			m.boxes = append(m.boxes, &box{name: n.Name, m: n})
		}
	}
	slices.SortFunc(m.boxes, func(a, b *box) int { return cmp.Compare(a.name, b.name) })
	for _, b := range m.boxes {
		m.look(b, dirs)
	}
	for _, name := range sortedKeys(dirs) {
		m.orphan(name)
	}
	return nil
}

func (m *move) anyMailbox() bool {
	return slices.ContainsFunc(m.dom.Mailnames, func(n *plesk.Mailname) bool { return n.Mailbox })
}

// look finds the directory of a mail name. Plesk writes it as the name is; in
// old ones capitals may differ.
func (m *move) look(b *box, dirs map[string]bool) {
	at := b.name
	if !dirs[at] {
		at = plesk.DirName(b.name)
	}
	b.dir = join(m.sourceDir(), at)
	b.there = dirs[at]
	delete(dirs, at)
	path := join(b.dir, plesk.MaildirName)
	fi, err := m.src.tree.Lstat(path)
	switch {
	case !b.there, errors.Is(err, fs.ErrNotExist):
		if b.m != nil && b.m.Mailbox {
			m.warn("mailbox.missing", path, fmt.Errorf("psa has the mailbox %s@%s, and there is no Maildir: it is made empty", b.name, m.domain), "")
		}
	case err != nil:
		m.lost("mailbox.unreadable", path, err, readHint(err))
	case !fi.Mode.IsDir():
		m.lost("mailbox.not-maildir", path, fmt.Errorf("%w: no directory stands there", qmailkit.ErrNotPlain), "")
	default:
		b.maildir = true
	}
}

// orphan tells of a directory that belongs to no mail name.
func (m *move) orphan(name string) {
	dir := join(m.sourceDir(), name)
	if _, err := m.src.tree.Lstat(join(dir, plesk.MaildirName)); errors.Is(err, fs.ErrNotExist) {
		m.warn("mailbox.unknown", dir, errors.New("psa has no such mail name; there is no Maildir in it, and it is not carried"), "")
		return
	}
	m.lost("mailbox.unknown", dir, errors.New("psa has no such mail name: its mail is not carried"), "make the mail name in Plesk, or leave -source-db and -source-dump out of copy")
}

// sourceFolders names the folders that a Maildir of the source has, and what
// else stands there.
func (m *move) sourceFolders(ctx context.Context, b *box) (list []string, others []qmailkit.DirEntry, err error) {
	dir := join(b.dir, plesk.MaildirName)
	for e, err := range m.src.tree.ReadDir(ctx, dir) {
		if err != nil {
			return nil, nil, err
		}
		if e.Type == fs.ModeIrregular {
			if fi, err := m.src.tree.Lstat(join(dir, e.Name)); err == nil {
				e.Type = fi.Mode.Type()
			}
		}
		switch _, ok := maildir.FolderLevels(e.Name, maildir.UTF8); {
		case ok && e.Type.IsDir():
			list = append(list, e.Name)
		case e.Name != "new" && e.Name != "cur" && e.Name != "tmp":
			others = append(others, e)
		}
	}
	slices.Sort(list)
	return append([]string{"."}, list...), others, nil
}

// serversFiles begin the names of what POP3 and IMAP servers keep in a Maildir,
// and of what a move leaves there: carried, or made anew by them.
var serversFiles = []string{"courier", ".courier", "dovecot", ".dovecot", "subscriptions", "maildir", "shared", ".customflags", ".nfs", maildir.JournalName, "." + maildir.JournalName}

// others tells of what stands in a Maildir and is not carried. A directory with
// mail in it that is no folder of a Maildir++ is one of another layout.
func (m *move) others(b *box, list []qmailkit.DirEntry) {
	for _, e := range list {
		path := join(b.dir, plesk.MaildirName, e.Name)
		if e.Type.IsDir() && (m.isDir(path+"/cur") || m.isDir(path+"/new")) {
			m.lost("mailbox.folder-name", path, errors.New("has mail in it, and no name that a folder of a Maildir can have: it is not carried"), "rename it, with a dot in front")
			continue
		}
		if e.Type == fs.ModeSymlink && e.Name[0] == '.' {
			m.lost("mailbox.link", path, fmt.Errorf("%w: a folder that it leads to is not carried", qmailkit.ErrLink), "put the directory itself there")
			continue
		}
		if !slices.ContainsFunc(serversFiles, func(p string) bool { return strings.HasPrefix(e.Name, p) }) {
			m.warn("mailbox.file", path, errors.New("is nothing that POP3 and IMAP servers keep there, and is not carried"), "")
		}
	}
}

func (m *move) isDir(name string) bool {
	fi, err := m.src.tree.Lstat(name)
	return err == nil && fi.Mode.IsDir()
}

// folder is the name that a folder gets at the target.
func (m *move) folder() func(dir string) (string, error) {
	if !m.c.utf8 {
		return nil
	}
	return func(dir string) (string, error) {
		levels, ok := maildir.FolderLevels(dir, maildir.UTF7)
		if !ok {
			return dir, nil // no modified UTF-7: it is as its owner made it
		}
		to, _, err := maildir.FolderDir(levels, maildir.UTF8)
		return to, err
	}
}

func sortedKeys[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}
