//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A domainCheck is the look at one domain.
type domainCheck struct {
	*checker
	d    *Domain
	dir  *safefs.Dir
	mode fs.FileMode // of the directory

	names map[string]bool   // of the users
	dirs  map[string]string // users by directory below the domain's
	above map[string]bool   // directories in which those are
	count uint64            // of the records
}

// domain looks at the directory and the users of a domain, whose line in
// users/assign is line.
func (c *checker) domain(ctx context.Context, d *Domain, line int) error {
	root, rel, err := c.s.place(d.Dir)
	if err != nil {
		c.add(finding{"vpopmail.domain-outside", qmailkit.Warning, "users/assign", line, ""}, "%w: not checked", err)
		return nil
	}
	dir, err := safefs.OpenDir(root, rel, c.s.o.hook)
	if errors.Is(err, fs.ErrNotExist) {
		c.add(finding{"vpopmail.domain-missing", qmailkit.Error, d.Dir, 0, "restore the directory, or remove the domain"}, "domain %q has no directory", d.Name)
		return nil
	}
	if err != nil {
		c.trouble(d.Dir, err)
		return nil
	}
	defer dir.Close()
	fi, err := dir.Lstat(".")
	if err != nil {
		c.trouble(d.Dir, err)
		return nil
	}
	c.ownerMode(d.Dir, fi, d)
	if fi.Mode.Perm()&0o002 != 0 {
		c.add(finding{"vpopmail.qmail-writable", qmailkit.Error, d.Dir, 0, "chmod 0700"}, "qmail-local defers all mail: home directory is writable")
	}
	k := &domainCheck{checker: c, d: d, dir: dir, mode: fi.Mode.Perm(),
		names: map[string]bool{}, dirs: map[string]string{}, above: map[string]bool{}}
	for _, step := range []func(context.Context) error{k.records, k.defaults, k.counter, k.entries} {
		if err := c.on(ctx); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// at is the path of a file of the domain.
func (k *domainCheck) at(name string) string { return k.d.Dir + "/" + name }

// file describes a file of the domain, whose owner it must have; missing ones
// are told by ok.
func (k *domainCheck) file(name string) (fi safefs.Info, ok bool) {
	fi, err := k.dir.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fi, false
	case err != nil:
		k.trouble(k.at(name), err)
		return fi, false
	case fi.Mode.IsRegular():
		k.owner(k.at(name), fi, k.d)
	}
	return fi, true
}

// defaults looks at .qmail-default.
func (k *domainCheck) defaults(ctx context.Context) error {
	const name = ".qmail-default"
	b, err := k.dir.ReadFile(name, maxDotQmail)
	f := finding{path: k.at(name)}
	switch {
	case errors.Is(err, safefs.ErrExchanged): // by vadddomain -e, say
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		k.trouble(f.path, err)
		return nil
	case err != nil:
		f.code, f.sev = "vpopmail.default-missing", qmailkit.Error
		f.fix = fmt.Sprintf("write %q into it", k.s.deliverLine(k.s.p.CatchAll))
		k.add(f, "mail for the users of %q is not given to vdelivermail", k.d.Name)
		return nil
	}
	k.file(name)
	f.code, f.sev = "vpopmail.default-odd", qmailkit.Warning
	word, lines, home := deliverWord(string(b))
	switch {
	case word == "":
		k.add(f, "no line is a vdelivermail: users of %q get no mail by it", k.d.Name)
		return nil
	case home != k.s.p.Home:
		k.add(f, "vdelivermail is that of %q, not of %q", home, k.s.p.Home)
	case lines > 1:
		k.add(f, "%d lines; vpopmail writes one", lines)
	}
	k.catchAll(ctx, f.path, word)
	return k.on(ctx)
}

// deliverLine is what vadddomain writes into .qmail-default.
func (s *Store) deliverLine(word string) string {
	return fmt.Sprintf("| %s/bin/vdelivermail '' %s\n", s.p.Home, word)
}

// deliverWord finds the last word of the vdelivermail in a .qmail-default, the
// home that it stands in, and the number of lines that are no comments.
func deliverWord(text string) (word string, lines int, home string) {
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		if l == "" || l[0] == '#' {
			continue
		}
		lines++
		f := strings.Fields(strings.TrimPrefix(l, "|"))
		if l[0] != '|' || len(f) != 3 || f[1] != "''" {
			continue
		}
		if h, ok := strings.CutSuffix(f[0], "/bin/vdelivermail"); ok {
			word, home = f[2], h
		}
	}
	return word, lines, home
}

// catchAll asks whether what gets the mail for unknown users is there.
func (k *domainCheck) catchAll(ctx context.Context, at, word string) {
	f := finding{code: "vpopmail.catch-all-nowhere", sev: qmailkit.Error, path: at, fix: "set another catch-all"}
	switch user, domain, addr := strings.Cut(word, "@"); {
	case word == "bounce-no-mailbox":
	case word == "delete":
		f.code, f.sev, f.fix = "vpopmail.catch-all-delete", qmailkit.Info, ""
		k.add(f, "mail for unknown users of %q is thrown away", k.d.Name)
	case addr && k.live[lower(domain)] == nil: // of another host, or a system user's
	case addr:
		if !k.known(ctx, lower(user), k.live[lower(domain)]) {
			k.add(f, "mail for unknown users goes to %q, which is no user", word)
		}
	case strings.HasPrefix(word, "/"):
		root, rel, err := k.s.place(word + "/Maildir")
		if err == nil {
			var dir *safefs.Dir
			if dir, err = safefs.OpenDir(root, rel, nil); err == nil {
				dir.Close()
				return
			}
		}
		k.add(f, "mail for unknown users goes to %q: %w", word, plainError(err))
	default:
		f.code, f.sev = "vpopmail.default-odd", qmailkit.Warning
		k.add(f, "%q is neither an address nor a directory nor a word of vdelivermail", word)
	}
}

// known says whether an address of this installation gets mail: as a user, by a
// .qmail file or an alias of the table. What cannot be asked counts as there.
func (k *domainCheck) known(ctx context.Context, user string, d *Domain) bool {
	if d.Real == k.d.Name && k.names[user] {
		return true
	}
	_, err := k.s.backend.User(ctx, d, user)
	if !errors.Is(err, ErrNoUser) {
		return true
	}
	if a, ok := k.s.backend.(AliasKeeper); ok && k.s.p.SQLAliases {
		if lines, err := a.Alias(ctx, d, user); err != nil || lines != nil {
			return true
		}
	}
	dir, err := k.s.openDomain(d)
	if err != nil {
		return true
	}
	defer dir.Close()
	name := ".qmail-" + strings.ReplaceAll(user, ".", ":")
	if strings.Contains(name, "/") {
		return false
	}
	_, err = dir.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// counter compares the counter of the hash directories with the users.
func (k *domainCheck) counter(ctx context.Context) error {
	if !k.s.p.BigDir || k.count == 0 {
		return nil
	}
	n, err := k.s.countedUsers(ctx, k.d)
	f := finding{path: k.at(".dir-control")}
	switch {
	case errors.Is(err, ErrDirControl):
		f.code, f.sev, f.fix = "vpopmail.counter-damaged", qmailkit.Error, "remove it when nobody adds users: counting begins again"
		k.add(f, "%w", err)
	case err != nil:
		k.trouble(f.path, err)
	case n != k.count:
		f.code, f.sev = "vpopmail.counter", qmailkit.Info
		k.add(f, "it says %d users, there are %d", n, k.count)
	}
	k.free()
	return k.on(ctx)
}

// free looks at the directories that the next users are put into.
func (k *domainCheck) free() {
	b, _, err := readFile(k.dir, ".dir_control_free")
	if err != nil {
		k.trouble(k.at(".dir_control_free"), err)
		return
	}
	n := 0
	for l := range strings.Lines(string(b)) {
		n++
		l = strings.TrimSuffix(l, "\n")
		text, _, _ := strings.Cut(l, "#")
		if strings.TrimSpace(text) == "" {
			continue
		}
		f := finding{"vpopmail.free-stale", qmailkit.Warning, k.at(".dir_control_free"), n, "remove the line"}
		sub := freeDir(l)
		switch {
		case sub == "":
			k.add(f, "%q leads elsewhere", l)
		case !hashDir(sub):
			k.add(f, "%q is no hash directory: the next user is put there", sub)
		default:
			if there, err := exists(k.dir, sub); err == nil && !there {
				f.sev = qmailkit.Info
				k.add(f, "there is no directory %q", sub)
			}
		}
	}
}

// hashDir says whether a path is made of single characters of the alphabet.
func hashDir(p string) bool {
	parts := 0
	for part := range strings.SplitSeq(p, "/") {
		if parts++; len(part) != 1 || !alnum(part[0]) || parts > 3 {
			return false
		}
	}
	return true
}

// entries goes through the names in the domain's directory and in its hash
// directories.
func (k *domainCheck) entries(ctx context.Context) error { return k.scan(ctx, k.dir, "", 0) }

// maxHash is how deep hash directories go.
const maxHash = 3

func (k *domainCheck) scan(ctx context.Context, dir *safefs.Dir, below string, depth int) error {
	for e, err := range dir.Entries(ctx) {
		if err := k.on(ctx); err != nil {
			return err
		}
		if err != nil {
			k.trouble(path.Join(k.d.Dir, below), err)
			return nil
		}
		name := e.Name()
		rel := strings.TrimPrefix(below+"/"+name, "/")
		switch {
		case depth == 0 && !e.IsDir():
			k.entry(name, e.Type())
		case !e.IsDir() || k.dirs[rel] != "":
		case k.above[rel], depth < maxHash && len(name) == 1 && alnum(name[0]):
			if err := k.deeper(ctx, dir, rel, name, depth); err != nil {
				return err
			}
		default:
			k.stranger(dir, name, rel)
		}
	}
	return nil
}

// deeper looks into a hash directory.
func (k *domainCheck) deeper(ctx context.Context, dir *safefs.Dir, rel, name string, depth int) error {
	sub, err := dir.Sub(name)
	if err != nil {
		k.trouble(k.at(rel), err)
		return nil
	}
	defer sub.Close()
	if fi, err := sub.Lstat("."); err == nil {
		k.ownerMode(k.at(rel), fi, k.d)
	}
	return k.scan(ctx, sub, rel, depth+1)
}

// stranger reports a directory that is no user's and looks like one.
func (k *domainCheck) stranger(dir *safefs.Dir, name, rel string) {
	sub, err := dir.Sub(name)
	if err != nil {
		return
	}
	defer sub.Close()
	if fi, err := sub.Lstat("Maildir"); err == nil && fi.Mode.IsDir() {
		k.add(finding{"vpopmail.user-orphan", qmailkit.Warning, k.at(rel), 0, "see what mail is there, then remove it"}, "no user of %q has this directory", k.d.Name)
	}
}

// entry looks at a name beside the users.
func (k *domainCheck) entry(name string, mode fs.FileMode) {
	alias, isAlias := strings.CutPrefix(name, ".qmail-")
	_, bak := strings.CutPrefix(name, "vpasswd.bak.")
	_, counter := strings.CutPrefix(name, ".dir-control.")
	switch {
	case ownTemp(name), bak, counter, name == "cdb.tmp", name == ".dir_control_free.bak":
		k.leftOver(k.at(name))
	case ownNote(name):
		k.interrupted(k.at(name))
	case !isAlias || !mode.IsRegular():
		return
	}
	if !isAlias {
		return
	}
	user := strings.ReplaceAll(alias, ":", ".")
	if k.names[user] {
		k.add(finding{"vpopmail.alias-shadows", qmailkit.Warning, k.at(name), 0, "remove one of the two"}, "it takes all mail for the user %q", user)
	}
	if fi, err := k.dir.Lstat(name); err == nil && fi.Mode.Perm()&0o002 != 0 {
		k.add(finding{"vpopmail.qmail-writable", qmailkit.Error, k.at(name), 0, "chmod o-w"}, "qmail-local defers mail: .qmail file is writable")
	}
}
