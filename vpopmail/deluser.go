//go:build unix

package vpopmail

import (
	"context"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A DeleteResult is what became of an account that was to be removed.
type DeleteResult struct {
	User User // as it was
	// Kept says that the directory is still there, for the reason in Problems.
	Kept     bool
	Problems []qmailkit.Problem
}

// DeleteUser does the job of vdeluser: it removes the account addr with its
// directory and all mail in it. No link in there is followed. A directory that
// does not lie below the domain's, or in which another account's lies, is kept,
// with a Problem: vpopmail removes whatever the record says, as root.
//
// The account that gets the mail for unknown users is ErrCatchAll, whether
// .qmail-default names it by address or, unlike vpopmail 5.4, by path. Nothing
// protects postmaster.
//
// What was begun is completed by the next change of the domain.
func (s *Store) DeleteUser(ctx context.Context, addr string) (*DeleteResult, error) {
	d, name, err := s.account(ctx, addr)
	if err != nil {
		return nil, err
	}
	rec, err := s.edit(ctx, d)
	if err != nil {
		return nil, err
	}
	defer rec.Close()
	u, ok := rec.Get(name)
	if err := lookupError(rec); err != nil {
		return nil, err
	}
	if !ok {
		return nil, &Error{Domain: d.Real, User: name, Err: ErrNoUser}
	}
	dir, err := s.openDomain(d)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if is, err := s.isCatchAll(ctx, d, dir, &u); err != nil {
		return nil, err
	} else if is {
		return nil, &Error{Domain: d.Real, User: name, Err: ErrCatchAll}
	}
	res := &DeleteResult{User: u}
	note := &afterNote{Gone: &madeNote{Name: text(name)}}
	if err := s.planGone(ctx, d, res, note); err != nil {
		return nil, err
	}
	if line := s.p.freed(d, &u); s.p.BigDir && line != "" {
		if note.Side, err = freeSide(dir, line); err != nil {
			return nil, err
		}
	}
	if err := s.countDown(rec, 1); err != nil {
		return nil, err
	}
	nobody := func(string) (User, bool) { return User{}, false }
	err = s.commitAfter(ctx, d, note, nobody, func() error {
		rec.Remove(name)
		return rec.Commit(ctx, CommitSteps{})
	})
	if err != nil {
		return nil, err
	}
	if note.kept != nil {
		res.keep("%s@%s: %v: what is left of the directory was not removed", name, d.Real, note.kept)
	}
	return res, s.changed(ctx, "del_user", name+"@"+d.Real, "")
}

func (r *DeleteResult) keep(why string, args ...any) {
	r.Kept = true
	r.Problems = append(r.Problems, at(problem("vpopmail.directory-kept", qmailkit.Warning, why, args...), r.User.Dir))
}

// planGone decides about the directory.
func (s *Store) planGone(ctx context.Context, d *Domain, res *DeleteResult, note *afterNote) error {
	path := belowDomain(d, res.User.Dir)
	if path == "" {
		res.keep("%s@%s: the directory does not lie below the domain's and was not removed", res.User.Name, d.Real)
		return nil
	}
	other, err := s.dirInUse(ctx, d, path, res.User.Name)
	if err != nil {
		return err
	}
	if other != "" {
		res.keep("%s@%s: the directory is also that of %s and was not removed", res.User.Name, d.Real, other)
		return nil
	}
	note.Gone.Dir = text(path)
	return nil
}

// countDown takes n users off the counter of the domain's directories.
func (s *Store) countDown(rec Records, n int) error {
	if !s.p.BigDir {
		return nil
	}
	c, _, err := rec.Counter()
	if err != nil {
		return err
	}
	c.Users -= min(c.Users, uint64(n))
	rec.SetCounter(c, 0)
	return nil
}

// isCatchAll says whether the mail for unknown users goes to an account
// (vpopmail.c:isCatchall).
func (s *Store) isCatchAll(ctx context.Context, d *Domain, dir *safefs.Dir, u *User) (bool, error) {
	b, _, err := readFile(dir, ".qmail-default")
	if err != nil {
		return false, err
	}
	w := catchAllWord(string(b))
	if w == "" {
		return false, nil
	}
	if w[0] == '/' {
		w = strings.TrimSuffix(strings.TrimRight(w, "/"), "/Maildir")
		at := belowDomain(d, w)
		return w == u.Dir || at != "" && (at == u.Name || at == belowDomain(d, u.Dir)), nil
	}
	user, domain, err := SplitAddress(w)
	if err != nil || user != u.Name {
		return false, nil
	}
	if domain == d.Real || domain == d.Name {
		return true, nil
	}
	other, err := s.Domain(ctx, domain)
	return err == nil && other.Real == d.Real, nil
}

// catchAllWord is what stands behind vdelivermail and its empty argument in the
// first line of .qmail-default; empty if it is another program.
func catchAllWord(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	_, line, ok := strings.Cut(line, "vdelivermail")
	if !ok {
		return ""
	}
	_, line, _ = strings.Cut(line, "''")
	return strings.Trim(line, " \t\r'\"")
}
