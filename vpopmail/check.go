//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// CheckOptions tell Check how much to do. The nil pointer is the zero value.
type CheckOptions struct {
	// Domains, if there are any, are the only ones whose users and directories
	// are looked at. What concerns all is checked all the same.
	Domains []string
	// Messages counts the messages of every Maildir that has a limit, and
	// compares maildirsize with that.
	Messages bool
	// Passwords compares each clear password with the hash beside it. That
	// takes as long as so many logins.
	Passwords bool
}

// Check tells what is wrong with an installation. Nothing is changed, no lock
// is taken and no link followed; what a running program changes meanwhile may
// be told. Memory is that of users/assign and of the records of one domain.
// What cannot be read is a Problem too, so that a broken domain does not hold
// up the others; an error is the end, and wraps qmailkit.ErrIncomplete.
//
// The Path of a Problem is as in files, "users/..." and "control/..." for
// qmail's own. The codes, with those of users.Check and Vpasswd.Problems:
//
//	vpopmail.link               a symbolic link, where vpopmail wants a file or directory
//	vpopmail.not-plain          a directory, FIFO or device in the place of a file, or the other way round
//	vpopmail.unreadable         anything else that could not be read, and so was not checked
//	vpopmail.owner              not the uid, or not the gid, that users/assign gives the domain
//	vpopmail.mode               others can write there (error), or look in; or the owner cannot
//	vpopmail.left-over          an unfinished file of vpopmail's programs or of this package
//	vpopmail.interrupted        a note of a change that was cut short; the next change completes it
//
//	control.long-line           a line that vpopmail's programs would cut in two
//	vpopmail.control            a control file cannot be read as qmail reads it
//	vpopmail.domain-twice       a second line in users/assign for a domain
//	vpopmail.alias-orphan       an alias of a domain that is not there
//	vpopmail.alias-differs      an alias with another directory or uid than its domain
//	vpopmail.domain-shared      two domains with one directory
//	vpopmail.domain-dotless     a name that vdominfo and vdeldomain do not see
//	vpopmail.domain-outside     a directory outside all given roots: not checked
//	vpopmail.domain-missing     no such directory
//	vpopmail.domain-orphan      a directory of a domain without a line in users/assign
//	vpopmail.domain-pending     a prepared domain that is not live yet
//	vpopmail.local              qmail-send takes the domain for local: locals comes first
//	vpopmail.not-virtual        not in virtualdomains: mail for it leaves this host
//	vpopmail.virtual-elsewhere  virtualdomains gives its mail to somebody else
//	vpopmail.virtual-orphan     virtualdomains names a domain that is not there
//	vpopmail.not-accepted       rcpthosts and morercpthosts refuse its mail
//
//	vpopmail.vpasswd-missing    a domain without the file of its users
//	vpopmail.passwords-readable others can read vpasswd or vpasswd.cdb
//	vpopmail.cdb-missing        no vpasswd.cdb; the next look-up of vpopmail makes it
//	vpopmail.cdb-damaged        vpasswd.cdb is no sound cdb
//	vpopmail.cdb-lacks          a user of vpasswd is not in vpasswd.cdb and cannot log in
//	vpopmail.cdb-extra          vpasswd.cdb has a user whom vpasswd has not
//	vpopmail.cdb-differs        vpasswd.cdb says something else of a user
//	vpopmail.cdb-stale          vpasswd.cdb is not what vmkpasswd makes, though it answers the same
//	vpopmail.default-missing    no .qmail-default: users get no mail
//	vpopmail.default-odd        .qmail-default does something else than vpopmail makes it do
//	vpopmail.catch-all-nowhere  mail for unknown users goes to somebody who is not there
//	vpopmail.catch-all-delete   mail for unknown users is thrown away
//	vpopmail.qmail-writable     a .qmail file, or its directory, that all can write: qmail-local defers
//	vpopmail.alias-shadows      a .qmail-NAME takes the mail of the user NAME
//	vpopmail.counter            the counter is not the number of users or domains
//	vpopmail.counter-damaged    .dir-control cannot be read: nobody can be added
//	vpopmail.free-stale         a line of .dir_control_free that is no hash directory that is there
//	vpopmail.no-postmaster      a domain without the user postmaster (RFC 5321, 4.5.1)
//
//	vpopmail.user-name          a name that vpopmail refuses, or that leads elsewhere
//	vpopmail.user-damaged       fields of a record that cannot be as they were meant
//	vpopmail.user-dir-shared    two users with one directory
//	vpopmail.user-dir-outside   a directory outside that of the domain
//	vpopmail.user-dir-missing   no such directory; vpopmail makes it when it is needed
//	vpopmail.user-orphan        a directory with a Maildir that is no user's
//	vpopmail.maildir-missing    no Maildir, or one without cur, new or tmp: mail is deferred
//	vpopmail.dotqmail-discards  a user's .qmail of comments only throws his mail away
//	vpopmail.no-password        an empty hash
//	vpopmail.hash-scheme        a hash that crypt(3) does not know
//	vpopmail.hash-damaged       a hash of a wrong length: no password opens it
//	vpopmail.clear-differs      the clear password is not that of the hash; APOP and CRAM take it
//	vpopmail.quota-other        a quota that counts as something else than it says
//	vpopmail.quota-tiny         a quota of less than a kilobyte, as 10G becomes
//	vpopmail.maildirsize-negative  sums below nothing, which count as over quota
//	vpopmail.maildirsize-stale  another quota than the user's; or other sums than the messages'
//	vpopmail.over-quota         mail for the user bounces
func (s *Store) Check(ctx context.Context, opts *CheckOptions) iter.Seq2[qmailkit.Problem, error] {
	return func(yield func(qmailkit.Problem, error) bool) {
		c := &checker{s: s, yield: yield, live: map[string]*Domain{}, pending: map[string]*Domain{}}
		if opts != nil {
			c.o = *opts
		}
		_, c.files = s.backend.(files)
		if err := c.run(ctx); err != nil && !c.done {
			yield(qmailkit.Problem{}, qmailkit.Incomplete(err))
		}
	}
}

// checker is a Check on its way.
type checker struct {
	s     *Store
	o     CheckOptions
	files bool // the Backend is the one of vpasswd
	yield func(qmailkit.Problem, error) bool
	done  bool // the caller wants no more

	domains []*Domain          // of users/assign, in its order
	lines   []int              // theirs
	live    map[string]*Domain // by name
	pending map[string]*Domain
}

// errDone ends a check that the caller has ended.
var errDone = errors.New("check: nobody listens")

// on says whether to go on.
func (c *checker) on(ctx context.Context) error {
	if c.done {
		return errDone
	}
	return context.Cause(ctx)
}

func (c *checker) run(ctx context.Context) error {
	steps := []func(context.Context) error{c.assign, c.control, c.domainsTop, c.each, c.counters}
	for _, step := range steps {
		if err := c.on(ctx); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return c.on(ctx)
}

// each looks at every domain that has its own line.
func (c *checker) each(ctx context.Context) error {
	seen := map[string]bool{}
	for i, d := range c.domains {
		if d.Alias() || seen[d.Name] || !c.wanted(d) {
			continue
		}
		seen[d.Name] = true
		if err := c.on(ctx); err != nil {
			return err
		}
		if err := c.domain(ctx, d, c.lines[i]); err != nil {
			return err
		}
	}
	return nil
}

// wanted says whether a domain, or an alias of it, is to be looked at.
func (c *checker) wanted(d *Domain) bool {
	return len(c.o.Domains) == 0 || slices.ContainsFunc(c.o.Domains, func(n string) bool {
		a := c.live[lower(n)]
		return lower(n) == d.Name || a != nil && a.Real == d.Name
	})
}

// A finding is a Problem without its words.
type finding struct {
	code string
	sev  qmailkit.Severity
	path string
	line int
	fix  string
}

func (c *checker) add(f finding, format string, args ...any) {
	p := problem(f.code, f.sev, format, args...)
	p.Path, p.Line, p.Fix = f.path, f.line, f.fix
	c.pass(p)
}

func (c *checker) pass(p qmailkit.Problem) {
	if !c.done {
		c.done = !c.yield(p, nil)
	}
}

// trouble reports what could not be opened or read.
func (c *checker) trouble(path string, err error) {
	f := finding{code: "vpopmail.unreadable", sev: qmailkit.Error, path: path}
	switch {
	case errors.Is(err, safefs.ErrLink):
		f.code, f.fix = "vpopmail.link", "put a file or directory of the domain's owner in its place"
	case errors.Is(err, safefs.ErrNotPlain), errors.Is(err, unix.ENOTDIR):
		f.code = "vpopmail.not-plain"
	}
	c.add(f, "%w", plainError(err))
}

// plainError takes the path of the mounted tree out of an error: the Problem
// has that of the installation.
func plainError(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("%s: %w", at.Op, at.Err)
	}
	return err
}

// dirMode is what vpopmail gives to directories.
const dirMode = fs.FileMode(0o700)

// ownerMode compares owner and mode of a directory of a domain.
func (c *checker) ownerMode(path string, fi safefs.Info, d *Domain) {
	c.owner(path, fi, d)
	f := finding{code: "vpopmail.mode", path: path, fix: "chmod 0700"}
	switch mode := fi.Mode.Perm(); {
	case mode&0o022 != 0:
		f.sev = qmailkit.Error
		c.add(f, "mode %04o: others can write there", mode)
	case mode&dirMode != dirMode:
		f.sev = qmailkit.Error
		c.add(f, "mode %04o: the owner cannot use it", mode)
	case mode != dirMode:
		f.sev = qmailkit.Warning
		c.add(f, "mode %04o: others can look in", mode)
	}
}

// owner compares who owns something of a domain with users/assign. Who is not
// root made his trees with his own ids.
func (c *checker) owner(path string, fi safefs.Info, d *Domain) {
	self := c.s.Owner(d.UID, d.GID)
	if fi.UID == self.UID && fi.GID == self.GID {
		return
	}
	f := finding{code: "vpopmail.owner", sev: qmailkit.Error, path: path, fix: fmt.Sprintf("chown %d:%d", d.UID, d.GID)}
	switch {
	case fi.UID != d.UID:
		c.add(f, "it belongs to uid %d, the domain to %d", fi.UID, d.UID)
	case fi.GID != d.GID:
		f.sev = qmailkit.Warning
		c.add(f, "it belongs to gid %d, the domain to %d", fi.GID, d.GID)
	}
}

// leftOver reports a name that only an interrupted program leaves.
func (c *checker) leftOver(path string) {
	c.add(finding{code: "vpopmail.left-over", sev: qmailkit.Info, path: path, fix: "remove it when no program of vpopmail runs"},
		"unfinished file of a program that was interrupted or is at work")
}

// ownTemp and ownNote say whether a name is an unfinished file, or a note, of
// this package.
func ownTemp(name string) bool { return strings.HasPrefix(name, tempPrefix) }

func ownNote(name string) bool { return strings.HasPrefix(name, ".qmailkit_") && !ownTemp(name) }

// interrupted reports a note.
func (c *checker) interrupted(path string) {
	c.add(finding{code: "vpopmail.interrupted", sev: qmailkit.Warning, path: path, fix: "change something in the same place: that completes it first"},
		"a change by this package was cut short or is at work")
}
