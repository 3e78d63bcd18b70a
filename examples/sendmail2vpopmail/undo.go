package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/examples/internal/state"
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
	some    bool             // not all accounts are to be taken back
	stay    map[string]error // accounts that cannot go, and why
	counts  struct{ Messages, Users, Kept, Lines int }
	problem []qmailkit.Problem

	dots     []dot           // what run wrote for addresses and .forward files
	written  map[string]bool // their files, as run left them
	late     []state.Record  // to be forgotten when their domain is gone
	separate []record        // domains of addresses
	used     bool            // one of these cannot go
}

func doUndo(ctx context.Context, c *config, env *cli.Env) error {
	t, err := c.openTarget(ctx, !c.dryRun)
	if err != nil {
		return err
	}
	defer t.close()
	u := &undoing{c: c, t: t, stay: map[string]error{}, written: map[string]bool{}}
	found, err := u.load(ctx)
	if err != nil {
		return err
	}
	if !found {
		env.Printf("Nothing to take back: no run has recorded anything for this target.\n")
		return nil
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
	if n := u.counts.Lines; n > 0 {
		env.Printf(verb+" too: %s about routes and relaying.\n", cli.Plural(int64(n), "line"))
	}
	if len(u.problem) > 0 {
		return cli.Partialf("not all was taken back")
	}
	return nil
}

// all takes messages back first, then what is empty by that. A domain whose
// accounts all go is taken from qmail before them, so that nothing bounces.
func (u *undoing) all(ctx context.Context) error {
	if err := u.findDots(ctx); err != nil {
		return err
	}
	if err := u.findSeparate(ctx); err != nil {
		return err
	}
	for _, r := range u.users {
		if err := u.messages(ctx, r.User.user()); err != nil {
			return err
		}
	}
	for _, r := range u.users {
		if err := u.judge(ctx, r.User.user()); err != nil {
			return err
		}
	}
	whole, err := u.whole(ctx)
	if err != nil {
		return err
	}
	if !whole && u.made.Made && u.stay["postmaster"] == nil {
		u.stay["postmaster"] = errors.New("its domain stays")
	}
	off := whole || !u.stays()
	if u.c.dryRun {
		u.count(whole)
		return u.takeControl(ctx, off)
	}
	if err := u.takeControl(ctx, off); err != nil {
		return err
	}
	if err := u.revert(ctx, whole); err != nil {
		return err
	}
	if err := u.takeDots(ctx, whole, off); err != nil {
		return err
	}
	if off {
		if err := u.takeSeparate(ctx, whole); err != nil {
			return err
		}
	}
	var gone []vpopmail.User
	for _, r := range u.users {
		user := r.User.user()
		if why := u.stay[user.Name]; why != nil {
			u.counts.Kept++
			u.report("undo.account-stays", user.Dir, fmt.Errorf("account %s stays: %w", user.Name, why))
			continue
		}
		gone = append(gone, *user)
	}
	return u.accounts(ctx, gone, whole)
}

// stays says whether the lines that tell qmail stay, where not all of the
// domain goes.
func (u *undoing) stays() bool { return u.made.Made || u.some || u.used || len(u.stay) > 0 }

// revert takes the lines back that tell qmail. Those of alias domains of a
// domain that run did not make go as soon as no account of run's stays.
func (u *undoing) revert(ctx context.Context, whole bool) error {
	switch {
	case len(u.made.Changes) == 0:
		return nil
	case !whole && u.stays():
		if !u.some {
			u.report("undo.domain-stays", u.domain, errors.New("the domain stays: it has accounts, or files, that stay"))
		}
		return nil
	}
	hup, err := u.c.target.HupFunc()
	if err != nil {
		return err
	}
	if err := u.t.Store.Revert(ctx, u.made.Changes, hup); err != nil || whole {
		return err
	}
	return u.t.records.Append(state.Record{Key: domainKey(u.domain)})
}

// count only says what would be taken back.
func (u *undoing) count(whole bool) {
	for _, r := range u.users {
		user := r.User.user()
		if why := u.stay[user.Name]; why != nil {
			u.counts.Kept++
			u.report("undo.account-stays", user.Dir, fmt.Errorf("account %s stays: %w", user.Name, why))
			continue
		}
		u.counts.Users++
	}
	if !whole && !u.some && len(u.made.Changes) > 0 && u.made.Made {
		u.report("undo.domain-stays", u.domain, errors.New("the domain stays: it has accounts, or files, that stay"))
	}
}

func (u *undoing) report(code, path string, err error) {
	u.problem = append(u.problem, qmailkit.Problem{Code: code, Severity: qmailkit.Warning, Path: path, Err: err})
}

var errNotOurs = errors.New("it holds mail that did not come by run, or that its reader has touched")

// judge says whether an account is as run left it, now that the messages that
// run brought are gone.
func (u *undoing) judge(ctx context.Context, user *vpopmail.User) error {
	if u.stay[user.Name] != nil {
		return nil
	}
	now, err := u.t.Store.User(ctx, user.Name+"@"+u.domain)
	switch {
	case errors.Is(err, vpopmail.ErrNoUser), errors.Is(err, vpopmail.ErrNoDomain):
		return nil // taken back before, or by somebody else
	case err != nil:
		return err
	case now != *user:
		u.stay[user.Name] = errors.New("its password, name, quota or flags were changed")
		return nil
	}
	ours := map[maildir.Entry]bool{}
	d, err := u.maildir(user)
	if err == nil {
		defer d.Close()
		if u.c.dryRun {
			ours, err = u.ours(d)
		}
	}
	if err == nil {
		err = eachMessage(ctx, d, func(_ *maildir.Dir, e maildir.Entry) error {
			if !ours[e] {
				return errNotOurs
			}
			return nil
		})
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		// Files that would keep the directory, a server's indexes for one.
		err = u.strange(user.Dir, func(p string) bool {
			return accountFile(p) || u.c.dryRun && message(p) || u.written[user.Dir+"/"+p]
		})
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		u.stay[user.Name] = err
	}
	return nil
}

// message says whether a path in an account's directory is one of a message.
func message(p string) bool {
	sub := path.Base(path.Dir(p))
	return strings.HasPrefix(p, "Maildir/") && (sub == "new" || sub == "cur" || sub == "tmp")
}

func (u *undoing) maildir(user *vpopmail.User) (*maildir.Dir, error) {
	root, name, err := u.t.Store.Place(user.Dir + "/Maildir")
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
	root, name, err := u.t.Store.Place(user.Dir + "/Maildir")
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
	p := u.t.Store.Profile()
	o := u.t.Store.Owner(p.UID, p.GID)
	com := maildir.NewCommitter(&u.c.commit)
	im, err := com.Import(root, name, &maildir.Options{Owner: &maildir.Owner{UID: o.UID, GID: o.GID}})
	if err != nil { // by what stands there, a journal that is none
		u.stay[user.Name] = err
		return com.Close()
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

// whole says whether no account of the domain stays, and nothing else that did
// not come by run.
func (u *undoing) whole(ctx context.Context) (bool, error) {
	if !u.made.Made || u.some || u.used {
		return false, nil
	}
	mine := map[string]bool{}
	for _, r := range u.users {
		mine[string(r.User.Name)] = true
	}
	d, err := u.t.Store.Domain(ctx, u.domain)
	if errors.Is(err, vpopmail.ErrNoDomain) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	u.made.Dir = []byte(d.Dir)
	for user, err := range u.t.Store.Users(ctx, u.domain) {
		if err != nil {
			return false, err
		}
		if !mine[user.Name] || u.stay[user.Name] != nil {
			return false, nil
		}
	}
	var homes []string
	for _, r := range u.users {
		if rel, ok := strings.CutPrefix(string(r.User.Dir), d.Dir+"/"); ok {
			homes = append(homes, strings.ReplaceAll(rel, "//", "/")+"/")
		}
	}
	slices.Sort(homes)
	err = u.strange(d.Dir, func(p string) bool {
		i, _ := slices.BinarySearch(homes, p) // the greatest that p may begin with stands before
		return domainFile(p) || u.written[d.Dir+"/"+p] || i > 0 && strings.HasPrefix(p, homes[i-1])
	})
	if err != nil {
		u.report("undo.domain-file", d.Dir, err)
	}
	return err == nil, nil
}

// accounts removes the records, then the directories, then the domain's.
func (u *undoing) accounts(ctx context.Context, gone []vpopmail.User, whole bool) error {
	removed, err := u.t.Store.RemoveUsers(ctx, u.domain, gone)
	switch {
	case errors.Is(err, vpopmail.ErrNoDomain):
		removed, err = gone, nil // with their domain
	case err != nil:
		return err
	}
	u.counts.Users = len(removed)
	var forget []state.Record
	for _, user := range gone {
		if err := u.takeDown(user.Dir, func(p string) bool { return accountFile(p) || u.written[user.Dir+"/"+p] }); err != nil {
			u.report("undo.directory", user.Dir, err)
			continue
		}
		forget = append(forget, state.Record{Key: userKey(u.domain, user.Name)})
	}
	if whole {
		if len(u.made.Dir) > 0 {
			dir := string(u.made.Dir)
			err = u.takeDown(dir, func(p string) bool { return domainFile(p) || u.written[dir+"/"+p] })
		}
		if err := errors.Join(err, u.t.Store.ForgetDomain(ctx, u.domain)); err != nil {
			return err
		}
		forget = append(append(forget, u.late...), state.Record{Key: domainKey(u.domain)})
	}
	if len(forget) == 0 {
		return nil
	}
	return u.t.records.Append(forget...)
}
