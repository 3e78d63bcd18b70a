package sendmail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// A setting is a file of the host whose contents this package finds, but does
// not translate.
type setting struct {
	code  string // of its Problem, without codePrefix
	what  string
	sev   qmailkit.Severity
	entry func(text string) bool // says whether a line begins an entry; nil if entries mean nothing
	paths []string               // where it may stand
}

// settings are the files of the whole host. Their number is what matters: a
// file that nobody reports is a rule that nobody misses until mail is lost.
var settings = []setting{
	{"aliases-not-carried", "aliases", qmailkit.Error, keyLine, []string{"etc/mail/aliases", "etc/aliases"}},
	{"virtusertable-not-carried", "virtual users", qmailkit.Error, keyLine, []string{"etc/mail/virtusertable", "etc/virtusertable"}},
	{"mailertable-not-carried", "mail routes", qmailkit.Error, keyLine, []string{"etc/mail/mailertable", "etc/mailertable"}},
	{"access-not-carried", "access rules", qmailkit.Error, keyLine, []string{"etc/mail/access", "etc/access"}},
	{"relay-domains-not-carried", "relay domains", qmailkit.Error, keyLine, []string{"etc/mail/relay-domains", "etc/sendmail.cR"}},
	{"domaintable-not-carried", "rewritten domains", qmailkit.Error, keyLine, []string{"etc/mail/domaintable", "etc/domaintable"}},
	{"genericstable-not-carried", "rewritten senders", qmailkit.Error, keyLine, []string{"etc/mail/genericstable", "etc/genericstable"}},
	{"genericsdomain-not-carried", "domains of rewritten senders", qmailkit.Error, keyLine, []string{"etc/mail/genericsdomain", "etc/mail/generics-domains"}},
	{"userdb-not-carried", "user database entries", qmailkit.Error, keyLine, []string{"etc/mail/userdb", "etc/userdb"}},
	{"authinfo-not-carried", "log-ins to other hosts", qmailkit.Error, keyLine, []string{"etc/mail/authinfo", "etc/mail/auth-info", "etc/mail/default-auth-info", "etc/mail/auth/client-info"}},
	{"trusted-users-not-carried", "trusted users", qmailkit.Warning, keyLine, []string{"etc/mail/trusted-users", "etc/sendmail.ct"}},
	{"procmailrc-not-carried", "procmail settings", qmailkit.Error, nil, []string{"etc/procmailrc", "usr/local/etc/procmailrc"}},
	{"mailfilter-not-carried", "maildrop settings", qmailkit.Error, nil, []string{"etc/maildroprc", "etc/courier/maildroprc"}},
	{"lists-not-carried", "list software", qmailkit.Error, nil, []string{"etc/majordomo.cf", "etc/mailman/mm_cfg.py", "etc/mailman.cfg"}},
	{"quota-not-carried", "disk quotas", qmailkit.Warning, nil, []string{"aquota.user", "quota.user", "home/aquota.user", "home/quota.user", "home/quotas", "var/aquota.user", "var/quota.user"}},
}

// mapNames are the names of K lines of sendmail.cf whose tables are settings.
var mapNames = map[string]string{
	"virtuser": "virtusertable", "mailertable": "mailertable", "access": "access", "generics": "genericstable",
	"domaintable": "domaintable", "userdb": "userdb", "authinfo": "authinfo",
}

// otherMap is a table of sendmail.cf that is none of the usual ones.
var otherMap = setting{"map-not-carried", "entries of a table of sendmail.cf", qmailkit.Error, keyLine, nil}

// configuration is the source of sendmail.cf, or that file where it has none.
var configuration = setting{"config-not-carried", "Sendmail's configuration", qmailkit.Warning, configLine, nil}

// homeFiles are the files of users, by name; ".forward*" also stands for the
// longer names that ForwardPath can give.
var homeFiles = []setting{
	{"forward-not-carried", "forwarding", qmailkit.Error, entryLine, []string{".forward*"}},
	{"procmailrc-not-carried", "procmail recipes", qmailkit.Error, recipeLine, []string{".procmailrc"}},
	{"mailfilter-not-carried", "maildrop filter", qmailkit.Error, nil, []string{".mailfilter"}},
	{"vacation-not-carried", "vacation message", qmailkit.Error, nil, []string{".vacation.msg", ".vacation.db", ".vacation.pag"}},
	{"preferences-not-carried", "a mail program's preferences", qmailkit.Info, nil, []string{".mailrc", ".signature", ".pinerc", ".addressbook", ".spamassassin", ".muttrc"}},
}

// keyLine says that a line of a table or of aliases begins an entry.
func keyLine(text string) bool {
	return text != "" && !strings.ContainsAny(text[:1], "# \t\r")
}

// entryLine says that a line of a .forward holds addresses.
func entryLine(text string) bool { return !skipped(text) }

// recipeLine says that a line begins a recipe of procmailrc(5).
func recipeLine(text string) bool { return strings.HasPrefix(strings.TrimLeft(text, " \t"), ":0") }

// configLine says that a line of m4 source or of sendmail.cf sets something.
func configLine(text string) bool {
	return !skipped(text) && !strings.HasPrefix(text, "dnl")
}

// NotCarried yields what the host has beside accounts, mailboxes and domains:
// aliases, .forward files, the tables of makemap, filters, queued mail, mail in
// the spool directories that belongs to no account. It is for whoever carries
// none of it; a program that does, by an Expander, passes over the codes of what
// it carries. Each is one Problem that says how many
// entries there are and where; codes end in "-not-carried", besides
// "sendmail.mqueue-left" and "sendmail.spool-without-account". Mail in other
// formats, or that cannot be read, is reported by Mailboxes.
//
// Errors of the accounts do not come again here.
func (h *Host) NotCarried(ctx context.Context) iter.Seq2[qmailkit.Problem, error] {
	return func(yield func(qmailkit.Problem, error) bool) {
		s := &leftovers{host: h, ctx: ctx, yield: yield, files: map[string]bool{}}
		_ = s.hostFiles() && s.config() && s.configSources() && s.queues() && s.lists() && s.homes() && s.strayMail()
	}
}

type leftovers struct {
	host  *Host
	ctx   context.Context
	yield func(qmailkit.Problem, error) bool
	files map[string]bool // paths that were reported, without links
	names map[string]bool // users of the host
}

func (s *leftovers) report(path string, st *setting, format string, args ...any) bool {
	p := place{path: path}.problem(st.sev, st.code, format, args...)
	p.Fix = "see to it by hand"
	return s.yield(p, nil)
}

// hostFiles reports the files of the table, or the databases built from them
// where the text is gone.
func (s *leftovers) hostFiles() bool {
	for i := range settings {
		for _, path := range settings[i].paths {
			if !s.setting(path, &settings[i]) {
				return false
			}
		}
	}
	return true
}

// setting reports one file of the host, if it exists.
func (s *leftovers) setting(name string, st *setting) bool {
	at, fi, err := s.host.lookup(name)
	if missing(err) {
		return s.database(name, st)
	}
	if err != nil {
		return s.report(name, st, "%s cannot be read: %w", st.what, err)
	}
	if s.files[at] {
		return true
	}
	s.files[at] = true
	if !fi.Mode.IsRegular() {
		return s.report(at, st, "%s should be here, but this is no plain file", st.what)
	}
	f, err := s.host.tree.Open(at)
	if err != nil {
		return s.report(at, st, "%s cannot be read: %w", st.what, err)
	}
	return s.counted(at, f, s.host.opts.MaxFile, st)
}

// database reports a table of which only the built form is left.
func (s *leftovers) database(name string, st *setting) bool {
	if st.entry == nil {
		return true
	}
	for _, suffix := range []string{".db", ".pag"} {
		at, _, err := s.host.lookup(name + suffix)
		if !missing(err) && err != nil {
			return s.report(name+suffix, st, "%s cannot be read: %w", st.what, err)
		}
		if err == nil && !s.files[at] {
			s.files[at] = true
			return s.report(at, st, "%s are not carried; only the database is here, without its text", st.what)
		}
	}
	return true
}

// counted reports an open file with the number of entries in its first max
// bytes, and closes it.
func (s *leftovers) counted(path string, f io.ReadCloser, max int64, st *setting) bool {
	defer f.Close()
	if st.entry == nil {
		return s.report(path, st, "%s: not carried", st.what)
	}
	n, err := s.count(path, bounded(f, max), st.entry)
	if cause := context.Cause(s.ctx); cause != nil {
		return s.end(cause)
	}
	if err != nil {
		return s.report(path, st, "%s: not carried, %d %s and more: %w", st.what, n, plural(n, "entry", "entries"), err)
	}
	if n == 0 {
		return true // an empty file has no effect
	}
	return s.report(path, st, "%s: not carried, %d %s", st.what, n, plural(n, "entry", "entries"))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// count gives the number of lines that begin an entry.
func (s *leftovers) count(path string, r io.Reader, entry func(string) bool) (n int, err error) {
	for l, err := range readLines(s.ctx, r, path, s.host.opts.MaxLine) {
		switch {
		case errors.Is(err, ErrLongLine):
			n++
		case err != nil:
			return n, err
		case entry(l.text()):
			n++
		}
	}
	return n, nil
}

// config reports the alias files and tables that sendmail.cf names.
func (s *leftovers) config() bool {
	path := s.host.layout.Config
	if path == "" {
		return true
	}
	for l, err := range s.host.lines(s.ctx, path) {
		if err != nil {
			if errors.Is(err, qmailkit.ErrIncomplete) {
				return s.end(err)
			}
			continue
		}
		for file, st := range configFiles(l.text()) {
			if !s.setting(strings.TrimPrefix(file, "/"), st) {
				return false
			}
		}
	}
	return true
}

// configFiles yields the files that a line of sendmail.cf names: "O
// AliasFile=a,b", its old form "OAa,b", and "Kname class -options /file".
func configFiles(text string) iter.Seq2[string, *setting] {
	return func(yield func(string, *setting) bool) {
		if list, ok := strings.CutPrefix(text, "O AliasFile="); ok || strings.HasPrefix(text, "OA") {
			if !ok {
				list = text[len("OA"):]
			}
			for part := range strings.SplitSeq(list, ",") {
				if i := strings.IndexByte(part, '/'); i >= 0 && !yield(strings.TrimRight(part[i:], " \t\r"), &settings[0]) {
					return
				}
			}
			return
		}
		words := strings.Fields(text)
		if len(words) < 3 || words[0][0] != 'K' || !strings.HasPrefix(words[len(words)-1], "/") {
			return
		}
		st := &otherMap
		if base, ok := mapNames[words[0][1:]]; ok {
			i := slices.IndexFunc(settings, func(s setting) bool { return s.code == base+"-not-carried" })
			st = &settings[i]
		}
		yield(words[len(words)-1], st)
	}
}

// configSources reports the m4 sources of sendmail.cf. That file itself is
// reported only where it has none, since it may have been made by hand.
func (s *leftovers) configSources() bool {
	found := 0
	for name, err := range s.directory("etc/mail") {
		if err != nil {
			if !s.unreadable("etc/mail", err) {
				return false
			}
			break
		}
		if strings.HasSuffix(name.Name, ".mc") {
			found++
			if !s.setting("etc/mail/"+name.Name, &configuration) {
				return false
			}
		}
	}
	if s.host.layout.Config == "" || found > 0 {
		return true
	}
	return s.setting(s.host.layout.Config, &configuration)
}

// maxHostEntries bounds the names of a directory of the host that are held.
const maxHostEntries = 1 << 22

// directory yields the names in a directory of the host in their order, none
// if it does not exist. An error comes alone.
func (s *leftovers) directory(name string) iter.Seq2[qmailkit.DirEntry, error] {
	return func(yield func(qmailkit.DirEntry, error) bool) {
		at, fi, err := s.host.lookup(name)
		if missing(err) || err == nil && !fi.Mode.IsDir() {
			return
		}
		var names []qmailkit.DirEntry
		if err == nil {
			names, err = s.readDir(at)
		}
		if err != nil {
			yield(qmailkit.DirEntry{}, err)
			return
		}
		for _, e := range names {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (s *leftovers) readDir(path string) (names []qmailkit.DirEntry, err error) {
	for e, err := range s.host.tree.ReadDir(s.ctx, path) {
		if err != nil {
			return nil, err
		}
		if len(names) >= maxHostEntries {
			return nil, fmt.Errorf("%s: more than %d names", path, maxHostEntries)
		}
		names = append(names, e)
	}
	slices.SortFunc(names, func(a, b qmailkit.DirEntry) int { return strings.Compare(a.Name, b.Name) })
	return names, nil
}

// unreadable reports a directory in which something might be, unless the
// context has ended, which ends everything.
func (s *leftovers) unreadable(path string, err error) bool {
	if cause := context.Cause(s.ctx); cause != nil {
		return s.end(cause)
	}
	return s.yield(place{path: path}.problem(qmailkit.Error, "unreadable", "what is in it is not known: %w", err), nil)
}

// end yields the error that ends the sequence.
func (s *leftovers) end(err error) bool {
	s.yield(qmailkit.Problem{}, qmailkit.Incomplete(err))
	return false
}
