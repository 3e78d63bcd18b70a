package sendmail

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
)

var (
	queued    = setting{"mqueue-left", "queued messages", qmailkit.Error, nil, nil}
	listMail  = setting{"lists-not-carried", "mailing lists", qmailkit.Error, nil, nil}
	strayMail = setting{"spool-without-account", "mail", qmailkit.Error, nil, nil}
)

// queues reports messages in transit, by their control files qf, hf (held), Qf
// (lost) and in queue groups (Sendmail Operations Guide, "The Mail Queue").
// They are to be flushed, never converted.
func (s *leftovers) queues() bool {
	for _, dir := range []string{"var/spool/mqueue", "var/spool/clientmqueue", "usr/spool/mqueue"} {
		at, _, err := s.host.lookup(dir)
		if missing(err) || s.files[at] {
			continue
		}
		n := 0
		if err == nil {
			s.files[at] = true
			n, err = s.queue(at, 2)
		}
		if err != nil && !s.unreadable(dir, err) {
			return false
		}
		if n > 0 && !s.report(at, &queued, "%d %s in the queue: run \"sendmail -q\" on the old host", n, plural(n, "message is", "messages are")) {
			return false
		}
	}
	return true
}

// queue counts the messages in a queue directory and the given number of levels
// below it.
func (s *leftovers) queue(dir string, levels int) (n int, err error) {
	for e, err := range s.directory(dir) {
		switch {
		case err != nil:
			return n, err
		case e.Type.IsDir() && levels > 0:
			below, err := s.queue(join(dir, e.Name), levels-1)
			if n += below; err != nil {
				return n, err
			}
		case e.Type.IsRegular() && len(e.Name) > 2 && e.Name[1] == 'f' && strings.IndexByte("qQhl", e.Name[0]) >= 0:
			n++
		}
	}
	return n, nil
}

// lists reports Mailman's lists, each a directory.
func (s *leftovers) lists() bool {
	for _, dir := range []string{"var/lib/mailman/lists", "usr/local/mailman/lists"} {
		n := 0
		for e, err := range s.directory(dir) {
			if err != nil {
				if !s.unreadable(dir, err) {
					return false
				}
			} else if e.Type.IsDir() {
				n++
			}
		}
		if n > 0 && !s.report(dir, &listMail, "mailing lists: not carried, %d", n) {
			return false
		}
	}
	return true
}

// homes reports the files of users, and notes the names of all accounts.
func (s *leftovers) homes() bool {
	s.names = map[string]bool{}
	seen := map[string]bool{}
	for a, err := range s.host.Accounts(s.ctx) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return s.end(err)
		}
		if err != nil {
			continue
		}
		s.names[strings.Clone(a.Name)] = true
		home, err := s.host.home(a)
		switch {
		case homeless(err) || seen[home]:
			continue
		case err != nil:
			p, _ := AsProblem(homeError(a, err))
			if !s.yield(p, nil) {
				return false
			}
			continue
		}
		seen[home] = true
		if !s.homeFiles(a, home) {
			return false
		}
	}
	return true
}

// homeFiles reports the files of one home directory, in the order of their
// names.
func (s *leftovers) homeFiles(a *Account, home string) bool {
	type found struct {
		name string
		st   *setting
	}
	var files []found
	looked := 0
	for e, err := range s.host.tree.ReadDir(s.ctx, home) {
		if err == nil && looked == s.host.opts.MaxEntries {
			err = fmt.Errorf("more than %d names", looked)
		}
		if err != nil {
			if !s.unreadable(home, err) {
				return false
			}
			break
		}
		looked++
		if !strings.HasPrefix(e.Name, ".") {
			continue
		}
		for i := range homeFiles {
			if homeFiles[i].named(e.Name) {
				files = append(files, found{e.Name, &homeFiles[i]})
			}
		}
	}
	slices.SortFunc(files, func(a, b found) int { return strings.Compare(a.name, b.name) })
	for _, f := range files {
		if !s.homeFile(a, join(home, f.name), f.st) {
			return false
		}
	}
	return true
}

// named says whether a setting of a user has that file name.
func (st *setting) named(name string) bool {
	for _, p := range st.paths {
		if prefix, open := strings.CutSuffix(p, "*"); p == name || open && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// homeFile reports one file of a user.
func (s *leftovers) homeFile(a *Account, path string, st *setting) bool {
	of := *st
	of.what = fmt.Sprintf("%s of user %.80q", st.what, a.Name)
	if st.entry == nil {
		return s.report(path, &of, "%s: not carried", of.what)
	}
	f, err := s.host.openOwned(path, a.UID)
	if err != nil {
		return s.report(path, &of, "%s: not carried, and cannot be read: %w", of.what, err)
	}
	return s.counted(path, f, maxUserFile, &of)
}

// strayMail reports what is in the spool directories and belongs to no account:
// mail of removed users, or layouts that are not known here.
func (s *leftovers) strayMail() bool {
	for _, dir := range s.host.layout.Spools {
		if !s.strayDir(dir, "", 2) {
			return false
		}
	}
	return true
}

// strayDir looks at the directory dir, which is below a spool directory as the
// prefix tells.
func (s *leftovers) strayDir(dir, prefix string, levels int) bool {
	for e, err := range s.directory(dir) {
		if err != nil {
			return s.unreadable(dir, err)
		}
		path := join(dir, e.Name)
		user := e.Name
		if e.Type.IsRegular() && !s.names[user] {
			user = strings.TrimSuffix(user, ".lock")
		}
		known := s.names[user] && (prefix == "" || slices.Contains(hashedNames(user), prefix+user))
		switch {
		case passedOver(e.Name):
		case e.Type.IsDir() && len(e.Name) <= 2 && levels > 0:
			if !s.strayDir(path, prefix+e.Name+"/", levels-1) {
				return false
			}
		case known:
		case e.Type.IsDir():
			if !s.report(path, &strayMail, "a directory that no account's mail is in") {
				return false
			}
		default:
			if !s.strayFile(path) {
				return false
			}
		}
	}
	return true
}

func (s *leftovers) strayFile(path string) bool {
	fi, err := s.host.tree.Lstat(path)
	switch {
	case gone(err), err == nil && fi.Size == 0:
		return true
	case err != nil:
		return s.unreadable(path, err)
	}
	return s.report(path, &strayMail, "mail of no account, %d bytes, is not carried", fi.Size)
}

// LeftBehind reports the mail of an account that is not carried as one Problem,
// "sendmail.mail-left", with the number of its mailboxes and their bytes: often
// there is mail for root that nobody thought of. It reports nothing (ok is
// false) for accounts that are carried, that were left out on request, or that
// have no mail. An error says that the search ended early.
func (h *Host) LeftBehind(ctx context.Context, d Decision) (p qmailkit.Problem, ok bool, err error) {
	if d.Verdict != NotCarried || d.Reason.Code == codePrefix+codeNotIncluded || d.Reason.Code == codePrefix+codeExcluded {
		return p, false, nil
	}
	boxes, odd := 0, 0
	var size int64
	first := ""
	for m, err := range h.Mailboxes(ctx, d.Account) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return p, false, err
		}
		item, bad := AsProblem(err)
		switch {
		case bad && m.Path == "":
			continue // about the home directory
		case bad && item.Severity == qmailkit.Error:
			odd++
		default:
			boxes++
			size += m.Size
		}
		if first == "" {
			first = m.Path
		}
	}
	if first == "" {
		return p, false, nil
	}
	words := ""
	if odd > 0 {
		words = fmt.Sprintf(", and %d that cannot be taken", odd)
	}
	p = place{path: first}.problem(qmailkit.Error, "mail-left", "mail of user %.80q, who is not carried: %d %s, %d bytes%s",
		d.Account.Name, boxes, plural(boxes, "mailbox", "mailboxes"), size, words)
	return p, true, nil
}
