//go:build unix

package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/plesk"
)

func (c *config) undoFlags(fs *flag.FlagSet) {
	c.targetQmailFlag(fs)
	fs.StringVar(&c.cutover.qmail, "source-qmail", "", "`DIR` of the old host's qmail, as for cutover: to see that it does not pass mail on to the new one (default: var/qmail below -source-root)")
	fs.BoolVar(&c.cutover.force, "force", false, "go on although the old host passes mail on to the new one")
}

// An undoing takes back what accounts and copy have written.
type undoing struct {
	*move
	env *cli.Env
	t   *target
	q   *newQmail // nil: there is no qmail
	// stay are the mail names, in small letters, that are in use by now, and
	// why. All that belongs to them stays.
	stay map[string]string
	// foreign are those that a line of users/assign leads to which accounts has
	// not written: Plesk needs their directories.
	foreign  map[string]bool
	others   bool            // there is mail of names that have nothing to do with the move
	names    []string        // of directories at the target
	gone     map[string]bool // mail names of which something is taken back
	messaged int             // messages that are
}

func doUndo(ctx context.Context, c *config, env *cli.Env) (err error) {
	if c.targetRoot == "" {
		return cli.Usagef("-target-root is missing: the new host's file system")
	}
	u := &undoing{move: &move{c: c, domain: strings.ToLower(c.domain)}, env: env, stay: map[string]string{}, foreign: map[string]bool{}, gone: map[string]bool{}}
	if err := u.open(ctx); err != nil {
		u.close()
		return err
	}
	err = errors.Join(u.all(ctx), u.close())
	slices.SortStableFunc(u.problems, func(a, b qmailkit.Problem) int { return cmp.Compare(a.Path, b.Path) })
	for _, p := range u.problems {
		env.Printf("%s\n", p.String())
		if c.json {
			if err := jsonl.NewEncoder(env.Stdout).Encode(jsonl.Problem(p)); err != nil {
				return err
			}
		}
	}
	if err != nil {
		return err
	}
	verb := "Taken back"
	if c.dryRun {
		verb = "Would be taken back"
	}
	env.Printf(verb+": %s, %s. Left, because they are in use: %s.\n", cli.Plural(int64(u.messaged), "message"),
		cli.Plural(int64(len(u.gone)), "mail name"), cli.Plural(int64(len(u.stay)), "mail name"))
	if slices.ContainsFunc(u.problems, func(p qmailkit.Problem) bool { return p.Severity > qmailkit.Info }) {
		return cli.Partialf("not all was taken back")
	}
	return nil
}

// open opens both hosts, and what is remembered.
func (u *undoing) open(ctx context.Context) (err error) {
	c := u.c
	if c.sourceRoot != "" {
		if u.src, err = c.openSource(ctx); err != nil {
			return err
		}
	}
	if u.dst, err = c.openTarget(u.src); err != nil {
		return err
	}
	if err := u.switched(); err != nil {
		return err
	}
	if u.t, err = u.move.open(!c.dryRun); err != nil {
		return err
	}
	u.problem(u.t.files.Problems()...)
	u.q, err = u.openQmail(!c.dryRun)
	if missing(err) && c.accounts.qmail == "" {
		u.q, err = nil, nil
	}
	return err
}

func (u *undoing) close() error {
	if u.q != nil {
		u.q.close()
	}
	var err error
	if u.t != nil {
		err = u.t.close()
	}
	u.move.Close()
	return err
}

var errSwitched = errors.New("the old host passes the domain's mail on to the new one, which would refuse it: nothing was changed")

// switched refuses while a cutover is noted.
func (u *undoing) switched() error {
	dir, err := u.c.controlDir()
	if err != nil || u.c.cutover.force {
		return nil // there is no place of which anything could be noted
	}
	d, mem, err := u.c.openMemory(cutoverID(dir), false)
	if err != nil {
		return err
	}
	defer d.Close()
	defer mem.Close()
	store, err := mem.Store(planStore)
	if err != nil {
		return err
	}
	if _, noted := store.Get(planKey(u.domain)); noted {
		return fmt.Errorf("%w (first cutover -undo; -force does it all the same)", errSwitched)
	}
	return nil
}

// all takes back in an order in which no mail is lost and none bounces:
// messages that the old host still has; then, where nothing shows that a name is
// in use, that the domain is here, who has an account, and the files.
func (u *undoing) all(ctx context.Context) error {
	if err := u.findNames(ctx); err != nil {
		return err
	}
	if err := u.messages(ctx); err != nil {
		return err
	}
	if err := u.judge(ctx); err != nil {
		return err
	}
	if err := u.psaRows(ctx); err != nil {
		return err
	}
	if err := u.control(ctx); err != nil {
		return err
	}
	if err := u.users(); err != nil {
		return err
	}
	if err := u.files(ctx); err != nil {
		return err
	}
	for _, name := range sortedKeys(u.stay) {
		u.warn("undo.stays", name+"@"+u.domain, errors.New(u.stay[name]), "")
	}
	if !u.whole() {
		u.warn("undo.domain-stays", u.domain, errors.New("the new host takes mail for the domain as before, because mail names of it are in use"), "")
	}
	return nil
}

// whole says whether nothing shows that the domain is in use.
func (u *undoing) whole() bool { return len(u.stay) == 0 && !u.others }

// keep notes why a mail name stays; the first reason counts. The committer may
// call it.
func (u *undoing) keep(name, why string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	name = plesk.DirName(name)
	if u.stay[name] == "" {
		u.stay[name] = why
	}
}

// stays says whether a mail name stays.
func (u *undoing) stays(name string) bool { return u.stay[plesk.DirName(name)] != "" }

// findNames lists the directories of mail names at the target.
func (u *undoing) findNames(ctx context.Context) error {
	for e, err := range u.dst.tree.ReadDir(ctx, join(u.dst.mailnames, u.domain)) {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		fi, err := u.dst.tree.Lstat(join(u.dst.mailnames, u.domain, e.Name))
		if err == nil && fi.Mode.IsDir() {
			u.names = append(u.names, e.Name)
		} else if err != nil && !missing(err) {
			return err
		}
	}
	slices.Sort(u.names)
	return nil
}
