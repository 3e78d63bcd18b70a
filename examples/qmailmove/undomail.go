//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/plesk"
)

// messages takes back those that stand just as copy put them and that the old
// host still has: nothing is lost by that.
func (u *undoing) messages(ctx context.Context) (err error) {
	commit := u.c.commit
	commit.Now = u.c.now
	com := maildir.NewCommitter(&commit)
	defer func() { err = errors.Join(err, com.Close()) }()
	for _, name := range u.names {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := u.mailbox(ctx, com, name); err != nil {
			return err
		}
	}
	return nil
}

// mailbox takes back the messages of one mail name.
func (u *undoing) mailbox(ctx context.Context, com *maildir.Committer, name string) error {
	dir := join(u.dst.mailnames, u.domain, name, plesk.MaildirName)
	d, err := maildir.OpenRoot(u.dst.root, dir, nil)
	if missing(err) {
		return nil
	}
	if err != nil {
		u.keep(name, fmt.Sprintf("its Maildir cannot be read: %v", err))
		return nil
	}
	defer d.Close()
	if _, err := u.dst.tree.Lstat(join(dir, maildir.JournalName)); missing(err) {
		return u.remaining(ctx, d, name, false, nil)
	}
	here, err := u.atSource(ctx, name)
	if err != nil {
		return err
	}
	old := func(e maildir.Entry) bool { return here[e.Name.Base()] }
	if u.c.dryRun {
		return u.wouldGo(ctx, d, name, old)
	}
	im, err := com.Import(u.dst.root, dir, &maildir.Options{Owner: (*maildir.Owner)(&u.t.owner), QuotaMode: quotaMode})
	if err != nil {
		u.keep(name, fmt.Sprintf("its Maildir cannot be used: %v", err))
		return nil
	}
	u.problem(im.Problems()...)
	return im.Close(func(d *maildir.Dir) error {
		n, err := im.Withdraw(ctx, old)
		u.count(n)
		if err != nil {
			return err
		}
		if limit, err := d.QuotaLimit(); err == nil && limit != "" && n > 0 {
			if err := d.RebuildQuota(ctx, limit); err != nil {
				return err
			}
		}
		return u.remaining(ctx, d, name, true, nil)
	})
}

// atSource are the bases of the messages that the old host has of a mail name.
func (u *undoing) atSource(ctx context.Context, name string) (map[string]bool, error) {
	here := map[string]bool{}
	if u.src == nil {
		u.keep(name, "-source-root is missing: nobody knows whether the old host still has its mail")
		return here, nil
	}
	b := u.sourceBox(ctx, name)
	folders, _, err := u.sourceFolders(ctx, b)
	for _, dir := range folders {
		if err != nil {
			break
		}
		for _, sub := range []string{"new", "cur"} {
			for e, rerr := range u.src.tree.ReadDir(ctx, join(b.dir, plesk.MaildirName, dir, sub)) {
				if rerr != nil {
					err = rerr
					break
				}
				if n, perr := maildir.ParseName(e.Name); perr == nil {
					here[n.Base()] = true
				}
			}
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil && !missing(err) {
		u.keep(name, fmt.Sprintf("the old host's mailbox cannot be read: %v", err))
		return map[string]bool{}, nil
	}
	return here, nil
}

// sourceBox is where the old host has a mail name: its capitals may differ.
func (u *undoing) sourceBox(ctx context.Context, name string) *box {
	b := &box{name: name, dir: join(u.sourceDir(), name)}
	if _, err := u.src.tree.Lstat(b.dir); !missing(err) {
		return b
	}
	for e, err := range u.src.tree.ReadDir(ctx, u.sourceDir()) {
		if err == nil && strings.EqualFold(e.Name, name) {
			b.dir = join(u.sourceDir(), e.Name)
		}
	}
	return b
}

// wouldGo counts what a withdrawal would take.
func (u *undoing) wouldGo(ctx context.Context, d *maildir.Dir, name string, old func(maildir.Entry) bool) error {
	h, err := d.History()
	if err != nil {
		u.keep(name, fmt.Sprintf("its journal cannot be read: %v", err))
		return nil
	}
	defer h.Close()
	ours := map[maildir.Entry]bool{}
	for e, err := range h.All() {
		if err != nil {
			return err
		}
		if old(e) {
			ours[e] = true
		}
	}
	return u.remaining(ctx, d, name, true, ours)
}

// count counts messages that go.
func (u *undoing) count(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.messaged += n
}

// remaining looks for messages that are not to go: their mail name stays, if
// anything of the move has to do with it.
func (u *undoing) remaining(ctx context.Context, d *maildir.Dir, name string, journal bool, going map[maildir.Entry]bool) error {
	dirs := []string{"."}
	for dir, err := range d.Folders(ctx) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return err
		}
		if err == nil {
			dirs = append(dirs, dir)
		}
	}
	left := int64(0)
	for _, dir := range dirs {
		f, err := d.Folder(dir)
		if err != nil {
			return err
		}
		for e, err := range f.Messages(ctx) {
			if errors.Is(err, qmailkit.ErrIncomplete) {
				f.Close()
				return err
			}
			e.Folder = dir
			if err == nil && going[e] {
				u.count(1)
			} else {
				left++
			}
		}
		f.Close()
	}
	switch {
	case left == 0:
	case !journal && len(u.madeDirs(name)) == 0:
		u.mu.Lock()
		u.others = true
		u.mu.Unlock()
	default:
		u.keep(name, fmt.Sprintf("it holds %s that came in other ways, that a reader has touched, or that the old host has no more", cli.Plural(left, "message")))
	}
	return nil
}

// sideFile names what stands in a Maildir without being anybody's mail, and what
// a killed run has left of it. The path is that below the mail name.
func sideFile(p string) bool {
	rest, ok := strings.CutPrefix(p, plesk.MaildirName+"/")
	if !ok {
		return false
	}
	base := path.Base(rest)
	if path.Base(path.Dir(rest)) == "courierimapkeywords" {
		return true
	}
	if temp, ok := strings.CutPrefix(base, "."); ok {
		base = strings.TrimSuffix(strings.TrimSuffix(temp, ".qmailkit"), ".seed")
		base = strings.TrimPrefix(base, ".") // the temporary file of a temporary file
	}
	return slices.Contains([]string{
		maildir.JournalName, maildir.QuotaName, maildir.KeywordsName, maildir.UIDListName, maildir.CourierUIDs, maildir.CourierSizes, maildir.CourierACL,
		maildir.CourierSubscribed, maildir.DovecotSubscribed, "maildirfolder",
	}, base)
}
