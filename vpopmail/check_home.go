//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/maildir"
)

// home looks at a user's directory, which is rel below the domain's.
func (k *domainCheck) home(ctx context.Context, u *User, rel string) error {
	home, err := k.dir.Walk(rel)
	if errors.Is(err, fs.ErrNotExist) {
		k.add(finding{"vpopmail.user-dir-missing", qmailkit.Warning, u.Dir, 0, ""}, "%q has no directory; the next login or delivery makes one", u.Name)
		return nil
	}
	if err != nil {
		k.trouble(u.Dir, err)
		return nil
	}
	defer home.Close()
	if fi, err := home.Lstat("."); err == nil {
		k.ownerMode(u.Dir, fi, k.d)
	}
	for _, name := range []string{lastauthName, tempLastauth} {
		fi, err := home.Lstat(name)
		switch {
		case err != nil:
		case name == tempLastauth:
			k.leftOver(u.Dir + "/" + name)
		case !fi.Mode.IsRegular():
			k.odd(u.Dir+"/"+name, fi)
		}
	}
	k.dotqmail(u, home)
	md, err := home.Sub("Maildir")
	at := u.Dir + "/Maildir"
	if errors.Is(err, fs.ErrNotExist) {
		k.add(finding{"vpopmail.maildir-missing", qmailkit.Error, at, 0, "make it with cur, new and tmp"}, "mail for %q is deferred", u.Name)
		return nil
	}
	if err != nil {
		k.trouble(at, err)
		return nil
	}
	defer md.Close()
	return k.maildir(ctx, u, md, at)
}

// odd reports what stands in the place of a file.
func (k *domainCheck) odd(path string, fi safefs.Info) {
	if fi.Mode.Type() == fs.ModeSymlink {
		k.trouble(path, safefs.ErrLink)
		return
	}
	k.trouble(path, safefs.ErrNotPlain)
}

// dotqmail looks at a user's .qmail. For vdelivermail a file that says
// anything replaces the mailbox, and a comment says something (vdelivermail.c:
// check_forward_deliver).
func (k *domainCheck) dotqmail(u *User, home *safefs.Dir) {
	b, err := home.ReadFile(".qmail", maxDotQmail)
	path := u.Dir + "/.qmail"
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		k.trouble(path, err)
		return
	}
	list, err := instructions(b)
	comments := 0
	for _, in := range list {
		switch in.kind {
		case lineComment:
			comments++
		case lineBlank:
		default:
			return
		}
	}
	if err == nil && comments > 0 {
		k.add(finding{"vpopmail.dotqmail-discards", qmailkit.Warning, path, 0, "remove it, unless that is meant"}, "only comments: mail for %q is thrown away", u.Name)
	}
}

// maildir looks at a user's Maildir and its maildirsize.
func (k *domainCheck) maildir(ctx context.Context, u *User, md *safefs.Dir, at string) error {
	if fi, err := md.Lstat("."); err == nil {
		k.ownerMode(at, fi, k.d)
	}
	count := k.o.Messages
	for _, part := range maildirParts {
		path := at + "/" + part
		fi, err := md.Lstat(part)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			k.add(finding{"vpopmail.maildir-missing", qmailkit.Error, path, 0, "make it"}, "mail for %q is deferred", u.Name)
		case err != nil:
			k.trouble(path, err)
		case fi.Mode.Type() == fs.ModeSymlink:
			k.trouble(path, safefs.ErrLink)
		case !fi.Mode.IsDir():
			k.trouble(path, safefs.ErrNotPlain)
		default:
			k.ownerMode(path, fi, k.d)
			continue
		}
		count = false
	}
	return k.maildirsize(ctx, u, md, at, count)
}

func (k *domainCheck) maildirsize(ctx context.Context, u *User, md *safefs.Dir, at string, count bool) error {
	f := finding{path: at + "/" + maildir.QuotaName, fix: "vsetuserquota " + u.Name + "@" + k.d.Name + " with the same quota"}
	m, err := readMaildirsize(md, k.s.owner(k.d.UID, k.d.GID).UID)
	if err != nil {
		k.trouble(f.path, err)
		return nil
	}
	limited := u.Quota != "" && u.Quota != NoQuota
	switch {
	case m.exists && m.size < maxMaildirsize && m.negative():
		f.code, f.sev = "vpopmail.maildirsize-negative", qmailkit.Warning
		k.add(f, "the sums are %d bytes in %d messages, which count as very many", int64(m.bytes), int64(m.messages))
	case m.exists && m.size < maxMaildirsize && m.limit != u.Quota:
		f.code, f.sev = "vpopmail.maildirsize-stale", qmailkit.Info
		k.add(f, "it has the quota %s, the record of %q has %s", quotaWord(m.limit), u.Name, quotaWord(u.Quota))
	}
	if !limited {
		return nil
	}
	quota := ClassicQuota(u.Quota)
	use, believed := m.believe(quota, k.s.o.Now())
	if count {
		root, name, err := k.s.place(at)
		if err != nil {
			return nil
		}
		if err := k.counted(ctx, root, name, quota, &m, f, &use); err != nil {
			return err
		}
		believed = true
	}
	if believed && use.Over {
		f.code, f.sev, f.path, f.fix = "vpopmail.over-quota", qmailkit.Info, at, ""
		k.add(f, "%q is over the quota %s: %d bytes in %d messages", u.Name, quota, use.Bytes, use.Messages)
	}
	return nil
}

// counted compares the sums with the messages.
func (k *domainCheck) counted(ctx context.Context, root *os.Root, name, quota string, m *maildirsize, f finding, use *Usage) error {
	real, err := countUsage(ctx, root, name, quota)
	if err != nil {
		k.trouble(f.path, err)
		return k.on(ctx)
	}
	if m.exists && m.size < maxMaildirsize && !m.negative() && (m.bytes != real.Bytes || m.messages != real.Messages) {
		f.code, f.sev = "vpopmail.maildirsize-stale", qmailkit.Info
		k.add(f, "it says %d bytes in %d messages, there are %d in %d", m.bytes, m.messages, real.Bytes, real.Messages)
	}
	*use = real
	return nil
}
