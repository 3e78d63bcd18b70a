package sendmail

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// maxSubscriptions bounds the names that are kept of one account.
const maxSubscriptions = 100_000

// Subscriptions returns the folders that an account has subscribed to, in the
// form of Mailbox.Folder: UW-IMAP's .mailboxlist in the home directory, whose
// names are paths below it, and Dovecot's .subscriptions there and in the
// directories of folders. Nil among the names is the inbox. A folder need not
// exist.
//
// Lines that name no folder here are Problems ("sendmail.subscription-name"),
// as are files that cannot be read ("sendmail.subscriptions-unreadable"). The
// error is one of ctx, or of a read that failed. An account without a usable
// home directory has no subscriptions; Mailboxes says why.
func (h *Host) Subscriptions(ctx context.Context, a *Account) (names [][]string, problems []qmailkit.Problem, err error) {
	home, err := h.home(a)
	if homeless(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, homeError(a, err)
	}
	s := &subscriptions{host: h, account: a, seen: map[string]bool{}}
	files := []string{".mailboxlist", ".subscriptions"}
	for _, f := range h.opts.Folders {
		if f != "." {
			files = append(files, f+"/.subscriptions")
		}
	}
	for _, f := range files {
		if err := s.file(ctx, join(home, f), !strings.Contains(f, "/")); err != nil {
			return s.names, s.problems, err
		}
	}
	return s.names, s.problems, nil
}

type subscriptions struct {
	host     *Host
	account  *Account
	names    [][]string
	seen     map[string]bool
	problems []qmailkit.Problem
}

func (s *subscriptions) addProblem(at place, code, format string, args ...any) {
	s.problems = append(s.problems, at.problem(qmailkit.Warning, code, format, args...))
}

// file reads one list. fromHome says that its names are paths below the home
// directory.
func (s *subscriptions) file(ctx context.Context, path string, fromHome bool) error {
	f, err := s.host.openOwned(path, s.account.UID)
	if err != nil {
		if !missing(err) {
			s.addProblem(place{path: path}, "subscriptions-unreadable", "%w", err)
		}
		return nil
	}
	defer f.Close()
	tabs := false
	for l, err := range readLines(ctx, bounded(f, maxUserFile), path, s.host.opts.MaxLine) {
		var item *ItemError
		switch {
		case errors.As(err, &item):
			s.problems = append(s.problems, item.Problem)
			continue
		case errors.Is(err, ErrTooBig):
			s.addProblem(l.place, "subscriptions-unreadable", "%w", err)
			return nil
		case err != nil:
			return err
		case len(s.names) >= maxSubscriptions:
			s.addProblem(l.place, "subscriptions-too-many", "only the first %d names are read", maxSubscriptions)
			return nil
		}
		text := strings.TrimSuffix(l.text(), "\r")
		// Dovecot's second version says so in its first line.
		if l.line == 1 && text == "V\t2" {
			tabs = true
			continue
		}
		if text != "" {
			s.name(l.place, text, tabs, fromHome)
		}
	}
	return nil
}

// name adds one name of a list.
func (s *subscriptions) name(at place, text string, tabs, fromHome bool) {
	if strings.EqualFold(text, "INBOX") {
		s.add(nil)
		return
	}
	var parts []string
	if tabs {
		for part := range strings.SplitSeq(text, "\t") {
			parts = append(parts, unescapeTabs(part))
		}
	} else {
		parts = strings.Split(strings.TrimPrefix(text, "~/"), "/")
	}
	parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" })
	for _, p := range parts {
		// An escaped newline would become two lines in the lists of the new host.
		if p == ".." || p == "." || strings.ContainsAny(p, "/\x00\n") {
			parts = nil
			break
		}
	}
	// "#mh/inbox", "{host}inbox" and absolute paths are not below the home.
	if len(parts) == 0 || strings.ContainsAny(text[:1], "#{/~") && !strings.HasPrefix(text, "~/") {
		s.addProblem(at, "subscription-name", "%.200q is no folder of this account", text)
		return
	}
	if fromHome {
		parts = s.belowRoot(parts)
	}
	s.add(parts)
}

// belowRoot takes the name of a directory of folders off.
func (s *subscriptions) belowRoot(parts []string) []string {
	for _, root := range s.host.opts.Folders {
		if root == "." {
			return parts
		}
	}
	for _, root := range s.host.opts.Folders {
		r := strings.Split(root, "/")
		if len(parts) > len(r) && slices.Equal(parts[:len(r)], r) {
			return parts[len(r):]
		}
	}
	return parts
}

func (s *subscriptions) add(parts []string) {
	key := strings.Join(parts, "/")
	if !s.seen[key] {
		s.seen[key] = true
		s.names = append(s.names, parts)
	}
}

// unescapeTabs undoes Dovecot's escapes: a byte 1 and then 0, 1, t, r or n
// for NUL, byte 1, tab, return and newline.
func unescapeTabs(s string) string {
	if strings.IndexByte(s, 1) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != 1 || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if at := strings.IndexByte("01trn", s[i]); at >= 0 {
			b.WriteByte("\x00\x01\t\r\n"[at])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
