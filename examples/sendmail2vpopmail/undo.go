package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// An undoing takes back what runs made.
type undoing struct {
	c       *config
	t       *target
	domain  string
	made    record // of the domain
	users   []record
	stay    map[string]error // accounts that cannot go, and why
	counts  struct{ Messages, Users, Kept int }
	problem []qmailkit.Problem
}

func doUndo(ctx context.Context, c *config, env *cli.Env) error {
	t, err := c.openTarget(!c.dryRun)
	if err != nil {
		return err
	}
	defer t.close()
	u := &undoing{c: c, t: t, stay: map[string]error{}}
	if err := u.load(); err != nil {
		return err
	}
	if err := u.all(ctx); err != nil {
		return err
	}
	for _, p := range u.problem {
		env.Printf("%s\n", p.String())
		if c.json {
			if err := jsonl.NewEncoder(env.Stdout).Encode(jsonl.Problem(p)); err != nil {
				return err
			}
		}
	}
	verb := "Taken back"
	if c.dryRun {
		verb = "Would be taken back"
	}
	env.Printf(verb+": %s, %s. Left, because they were used or changed since: %s.\n",
		cli.Plural(int64(u.counts.Messages), "message"), cli.Plural(int64(u.counts.Users), "account"), cli.Plural(int64(u.counts.Kept), "account"))
	if len(u.problem) > 0 {
		return cli.Partialf("not all was taken back")
	}
	return nil
}

// load finds what runs remembered.
func (u *undoing) load() error {
	u.domain = strings.ToLower(u.c.domain)
	for rec := range u.t.records.All() {
		name, ok := strings.CutPrefix(rec.Key, "domain ")
		if ok && u.domain == "" {
			u.domain = name
		}
	}
	if u.domain == "" {
		return errors.New("nothing to take back: no run has recorded anything for this target")
	}
	if _, err := u.t.records.Load(domainKey(u.domain), &u.made); err != nil {
		return err
	}
	for rec := range u.t.records.All() {
		if !strings.HasPrefix(rec.Key, "user ") || !strings.HasSuffix(rec.Key, "@"+u.domain) {
			continue
		}
		var r record
		if _, err := u.t.records.Load(rec.Key, &r); err != nil {
			return err
		}
		if r.Made && r.User != nil {
			u.users = append(u.users, r)
		}
	}
	return nil
}

// all takes messages back first, then what is empty by that. A domain whose
// accounts all go is taken from qmail before them, so that nothing bounces.
func (u *undoing) all(ctx context.Context) error {
	for _, r := range u.users {
		if err := u.judge(ctx, r.User.user()); err != nil {
			return err
		}
	}
	whole, err := u.whole(ctx)
	if err != nil {
		return err
	}
	if !whole && u.stay["postmaster"] == nil {
		u.stay["postmaster"] = errors.New("its domain stays")
	}
	if u.c.dryRun {
		return u.count(ctx)
	}
	if whole {
		hup, err := u.c.hupFunc()
		if err != nil {
			return err
		}
		if err := u.t.store.Revert(ctx, u.made.Changes, hup); err != nil {
			return err
		}
	} else if len(u.made.Changes) > 0 {
		u.report("undo.domain-stays", u.domain, errors.New("the domain stays: it has accounts that stay"))
	}
	var gone []vpopmail.User
	for _, r := range u.users {
		user := r.User.user()
		if err := u.messages(ctx, user); err != nil {
			return err
		}
		if why := u.stay[user.Name]; why != nil {
			u.counts.Kept++
			u.report("undo.account-stays", user.Dir, fmt.Errorf("account %s stays: %w", user.Name, why))
			continue
		}
		gone = append(gone, *user)
	}
	return u.accounts(ctx, gone, whole)
}

// count only says what would be taken back.
func (u *undoing) count(ctx context.Context) error {
	for _, r := range u.users {
		user := r.User.user()
		if err := u.messages(ctx, user); err != nil {
			return err
		}
		if why := u.stay[user.Name]; why != nil {
			u.counts.Kept++
			u.report("undo.account-stays", user.Dir, fmt.Errorf("account %s stays: %w", user.Name, why))
			continue
		}
		u.counts.Users++
	}
	return nil
}

func (u *undoing) report(code, path string, err error) {
	u.problem = append(u.problem, qmailkit.Problem{Code: code, Severity: qmailkit.Warning, Path: path, Err: err})
}

var errNotOurs = errors.New("it holds mail that did not come by run, or that its reader has touched")

// judge says whether an account is as run left it, but for the messages that
// run brought.
func (u *undoing) judge(ctx context.Context, user *vpopmail.User) error {
	now, err := u.t.store.User(ctx, user.Name+"@"+u.domain)
	switch {
	case errors.Is(err, vpopmail.ErrNoUser), errors.Is(err, vpopmail.ErrNoDomain):
		return nil // taken back before, or by somebody else
	case err != nil:
		return err
	case now != *user:
		u.stay[user.Name] = errors.New("its password, name, quota or flags were changed")
		return nil
	}
	d, err := u.maildir(user)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		u.stay[user.Name] = err
		return nil
	}
	defer d.Close()
	ours, err := u.ours(d)
	if err != nil {
		return err
	}
	return eachMessage(ctx, d, func(_ *maildir.Dir, e maildir.Entry) error {
		if !ours[e] {
			u.stay[user.Name] = errNotOurs
		}
		return nil
	})
}

func (u *undoing) maildir(user *vpopmail.User) (*maildir.Dir, error) {
	root, name, err := u.t.store.Place(user.Dir + "/Maildir")
	if err != nil {
		return nil, err
	}
	return maildir.OpenRoot(root, name, nil)
}

// ours are the places where run put its messages.
func (u *undoing) ours(d *maildir.Dir) (map[maildir.Entry]bool, error) {
	h, err := d.History()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	ours := make(map[maildir.Entry]bool, h.Len())
	for e, err := range h.All() {
		if err != nil {
			return nil, err
		}
		ours[e] = true
	}
	return ours, nil
}

// eachMessage goes through a Maildir and its folders.
func eachMessage(ctx context.Context, d *maildir.Dir, do func(*maildir.Dir, maildir.Entry) error) error {
	dirs := []string{"."}
	for name, err := range d.Folders(ctx) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return err
		}
		if err == nil {
			dirs = append(dirs, name)
		}
	}
	for _, name := range dirs {
		f, err := d.Folder(name)
		if err != nil {
			return err
		}
		for e, err := range f.Messages(ctx) {
			if errors.Is(err, qmailkit.ErrIncomplete) {
				f.Close()
				return err
			}
			if e.Folder = name; err == nil {
				err = do(f, e)
			} else {
				err = nil
			}
			if err != nil {
				f.Close()
				return err
			}
		}
		f.Close()
	}
	return nil
}

// messages removes those that stand just as run put them.
func (u *undoing) messages(ctx context.Context, user *vpopmail.User) error {
	if u.c.dryRun {
		return u.countMessages(ctx, user)
	}
	root, name, err := u.t.store.Place(user.Dir + "/Maildir")
	if err != nil {
		return err
	}
	if d, err := u.maildir(user); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			u.report("undo.maildir", user.Dir, err)
		}
		return nil
	} else {
		d.Close()
	}
	p := u.t.store.Profile()
	o := u.t.store.Owner(p.UID, p.GID)
	com := maildir.NewCommitter(&u.c.commit)
	im, err := com.Import(root, name, &maildir.Options{Owner: &maildir.Owner{UID: o.UID, GID: o.GID}})
	if err != nil {
		return errors.Join(err, com.Close())
	}
	n, err := im.TakeBack(ctx)
	u.counts.Messages += n
	return errors.Join(err, im.Close(nil), com.Close())
}

// countMessages only says how many would go.
func (u *undoing) countMessages(ctx context.Context, user *vpopmail.User) error {
	d, err := u.maildir(user)
	if err != nil {
		return nil // there is nothing to take back
	}
	defer d.Close()
	ours, err := u.ours(d)
	if err != nil {
		return err
	}
	return eachMessage(ctx, d, func(_ *maildir.Dir, e maildir.Entry) error {
		if ours[e] {
			u.counts.Messages++
		}
		return nil
	})
}

// whole says whether no account of the domain stays.
func (u *undoing) whole(ctx context.Context) (bool, error) {
	if !u.made.Made {
		return false, nil
	}
	mine := map[string]bool{}
	for _, r := range u.users {
		mine[string(r.User.Name)] = true
	}
	for user, err := range u.t.store.Users(ctx, u.domain) {
		if errors.Is(err, vpopmail.ErrNoDomain) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if !mine[user.Name] || u.stay[user.Name] != nil {
			return false, nil
		}
	}
	return true, nil
}

// accounts removes the records, then the directories, then the domain's.
func (u *undoing) accounts(ctx context.Context, gone []vpopmail.User, whole bool) error {
	removed, err := u.t.store.RemoveUsers(ctx, u.domain, gone)
	switch {
	case errors.Is(err, vpopmail.ErrNoDomain):
		removed = gone // with their domain
	case err != nil:
		return err
	}
	u.counts.Users = len(removed)
	var forget []state.Record
	for _, user := range gone {
		if err := u.takeDown(user.Dir, accountFile); err != nil {
			u.report("undo.directory", user.Dir, err)
			continue
		}
		forget = append(forget, state.Record{Key: userKey(u.domain, user.Name)})
	}
	if whole {
		dir := u.t.store.Profile().Home + "/" + u.t.store.Profile().DomainsDir + "/" + u.domain
		if len(gone) > 0 {
			dir = gone[0].Dir[:strings.LastIndexByte(gone[0].Dir, '/')]
		}
		if d, err := u.t.store.Domain(ctx, u.domain); err == nil {
			dir = d.Dir
		}
		if err := u.takeDown(dir, domainFile); err != nil {
			u.report("undo.directory", dir, err)
		} else {
			forget = append(forget, state.Record{Key: domainKey(u.domain)})
		}
	}
	if len(forget) == 0 {
		return nil
	}
	return u.t.records.Append(forget...)
}

// accountFile names the files that stand in an account's directory without
// being anybody's data.
func accountFile(path string) bool {
	base := path[strings.LastIndexByte(path, '/')+1:]
	return path == "lastauth" || strings.HasPrefix(path, "Maildir/") && slices.Contains([]string{
		maildir.JournalName, maildir.QuotaName, maildir.KeywordsName, maildir.UIDListName,
		maildir.CourierSubscribed, maildir.DovecotSubscribed, "maildirfolder",
	}, base)
}

// domainFile does the same for a domain's.
func domainFile(path string) bool {
	return slices.Contains([]string{
		"vpasswd", "vpasswd.cdb", ".vpasswd.lock", ".dir-control", ".dir_control_free", ".qmail-default",
	}, path)
}

// takeDown removes a directory that holds nothing but what known accepts.
func (u *undoing) takeDown(path string, known func(string) bool) error {
	root, name, err := u.t.store.Place(path)
	if err != nil {
		return err
	}
	up, base := ".", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		up, base = name[:i], name[i+1:]
	}
	parent, err := safefs.OpenDir(root, up, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	d, err := parent.Sub(base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	if err := empty(d, "", known, false); err != nil {
		return err
	}
	if err := empty(d, "", known, true); err != nil {
		return err
	}
	if err := parent.RemoveDir(base); err != nil {
		return err
	}
	return parent.Sync()
}

// empty goes through a directory: first only to see that all of it is known,
// then to remove it.
func empty(d *safefs.Dir, rel string, known func(string) bool, remove bool) error {
	for e, err := range d.Entries(context.Background()) {
		if err != nil {
			return err
		}
		path := rel + e.Name()
		if !e.IsDir() {
			if !known(path) {
				return fmt.Errorf("%s did not come by run: the directory stays", path)
			}
			if remove {
				if err := d.Remove(e.Name()); err != nil {
					return err
				}
			}
			continue
		}
		sub, err := d.Sub(e.Name())
		if err != nil {
			return err
		}
		err = empty(sub, path+"/", known, remove)
		sub.Close()
		if err == nil && remove {
			err = d.RemoveDir(e.Name())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
