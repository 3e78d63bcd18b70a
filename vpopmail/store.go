//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// Options of Open. The zero value is right for an installation under its own
// paths.
type Options struct {
	// Profile of the installation; nil lets DetectProfile look.
	Profile *Profile

	// Mounts say where directories outside vpopmail's home are, for domains
	// that lie elsewhere (vadddomain -d, -u).
	Mounts []Mount

	// Control and Users stand in for the directories control and users of
	// qmail where those are links that lead out of its root.
	Control, Users *os.Root

	// Owner of what is made below vpopmail's home instead of the profile's or
	// the domain's uid and gid. Nil is those for root, and oneself for anybody
	// else: see Store.Owner.
	Owner *Owner

	// Backend keeps the users' records; nil is vpasswd and vpasswd.cdb.
	Backend Backend

	// Backup is given the old content of a file of qmail (such as
	// "control/rcpthosts", "users/assign") before it is replaced; an error
	// stops the change. It is not called where there was no file. nil keeps no
	// copy.
	Backup func(name string, old []byte) error

	// OnChange is called after each change with the arguments that vpopmail's
	// etc/onchange gets (--enable-onchange-script): a word such as "add_domain",
	// "del_domain", "add_alias_domain", "add_user", "mod_user", "del_user",
	// "valias_insert", "valias_remove", "valias_delete", then what changed. It
	// is called once for an account that is added, whatever was given with it,
	// and not for the postmaster of a new domain. vpopmail 5.4 calls its script
	// for removals before they are done; this is always called afterwards. An
	// error becomes that of the call, whose change is made all the same. Any
	// bytes may stand in the arguments: quote them for a shell. nil does
	// nothing.
	OnChange func(ctx context.Context, argv []string) error

	// Rand is where salts and random passwords come from; nil is the system's generator.
	Rand io.Reader
	// Salt, if not nil, makes the n characters of salt for a new hash instead.
	Salt func(n int) string

	// LockWait is how long a lock of another program is waited for; 0 means
	// 20 seconds, as vpopmail. LockPoll is the pause between two tries; 0
	// means 50 milliseconds.
	LockWait, LockPoll time.Duration

	// Now is the clock that says how old a file is; nil is time.Now.
	Now func() time.Time

	hook    safefs.Hook // makes steps fail, in tests
	ownRand bool        // Rand is the caller's
}

// A Mount says that the directory that files call Path is open as Root.
type Mount struct {
	Path string
	Root *os.Root
}

// Owner is who gets what is made below vpopmail's home.
type Owner struct {
	UID, GID int
	// Self says that these are the ids of whoever runs this program, because
	// only root can give files away: the tree has to be chowned before it is
	// used.
	Self bool
}

// A Store is one installation of vpopmail: its home, and qmail's directory.
// Any number of goroutines may use one.
type Store struct {
	home, qmail *os.Root
	p           Profile
	o           Options
	backend     Backend
	newUID      int      // of a new record: vpopmail's SQL modules make it 0
	locks       sync.Map // of lock name to chan struct{}: fcntl locks of BSD do not part goroutines
}

// Open opens the vpopmail installation whose home directory is home and whose
// qmail is in the directory qmail. Nothing is changed. A nil opts is the zero
// Options.
func Open(home, qmail *os.Root, opts *Options) (*Store, error) {
	s := &Store{home: home, qmail: qmail}
	if opts != nil {
		s.o = *opts
	}
	if s.o.Profile != nil {
		s.p = *s.o.Profile
	} else {
		d, err := DetectProfile(home, qmail)
		if err != nil {
			return nil, err
		}
		s.p = d.Profile
	}
	if err := s.p.check(); err != nil {
		return nil, err
	}
	s.o.ownRand = s.o.Rand != nil
	if s.o.LockWait == 0 {
		s.o.LockWait = 20 * time.Second
	}
	if s.o.LockPoll <= 0 {
		s.o.LockPoll = 50 * time.Millisecond
	}
	if s.o.Now == nil {
		s.o.Now = time.Now
	}
	s.backend = s.o.Backend
	s.newUID = 1
	switch b := s.backend.(type) {
	case nil:
		s.backend = files{s}
	case interface{ bind(*Store) Backend }:
		s.backend, s.newUID = b.bind(s), 0
	}
	return s, nil
}

// Profile returns what the Store takes the installation for.
func (s *Store) Profile() Profile { return s.p }

// Backend returns what keeps the users' records: Options.Backend as it works
// with this Store, or the file form. What it changes is the records alone; the
// methods of the Store keep directories, quotas and notes in step.
func (s *Store) Backend() Backend { return s.backend }

// Owner returns who gets what is made for a domain whose own ids are uid and
// gid, as the options and one's own rights have it.
func (s *Store) Owner(uid, gid int) Owner {
	if s.o.Owner != nil {
		return *s.o.Owner
	}
	if os.Geteuid() != 0 {
		return Owner{os.Geteuid(), os.Getegid(), true}
	}
	return Owner{uid, gid, false}
}

func (s *Store) owner(uid, gid int) safefs.Owner {
	o := s.Owner(uid, gid)
	return safefs.Owner{UID: o.UID, GID: o.GID}
}

// A Domain is a virtual domain, or an alias of one.
type Domain struct {
	Name string // as in users/assign, in lower case
	// Real is the domain whose users these are: Name, unless it is an alias.
	Real     string
	UID, GID int
	Dir      string // absolute, as text
	// Pending says that the domain is prepared but not live: qmail does not
	// know it.
	Pending bool
}

// Alias says whether the domain is an alias of another.
func (d *Domain) Alias() bool { return d.Name != d.Real }

// Domain looks a domain up in users/cdb as vpopmail does (vpopmail.c:
// vget_assign), in users/assign if there is no users/cdb, and among those that
// PrepareDomain has made. The name may have capitals. A domain that is nowhere
// is ErrNoDomain.
func (s *Store) Domain(ctx context.Context, name string) (*Domain, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	n, err := s.p.domainBytes(name)
	if errors.Is(err, ErrTooLong) {
		return nil, &Error{Domain: name, Err: ErrNoDomain}
	}
	if err != nil {
		return nil, err
	}
	d, err := s.liveDomain(n)
	if err == nil && d == nil {
		d, err = s.pendingDomain(n)
	}
	if err == nil && d == nil {
		err = &Error{Domain: name, Err: ErrNoDomain}
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// liveDomain asks users/cdb; no domain is nil without an error.
func (s *Store) liveDomain(name string) (*Domain, error) {
	dir, err := s.usersDir(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	data, found, err := lookup(dir, "cdb", "!"+name+"-")
	if errors.Is(err, fs.ErrNotExist) {
		return s.assignDomain(dir, name)
	}
	if err != nil || !found {
		return nil, err
	}
	f := strings.Split(string(data), "\x00")
	if len(f) < 4 {
		return nil, &Error{Domain: name, Err: errors.New("users/cdb: record has fewer than four fields")}
	}
	return &Domain{Name: name, Real: f[0], UID: atoi(f[1]), GID: atoi(f[2]), Dir: f[3]}, nil
}

// assignDomain is the look-up where qmail-newu has not run yet.
func (s *Store) assignDomain(dir *safefs.Dir, name string) (*Domain, error) {
	f, err := readLines(dir, "assign", true)
	if err != nil {
		return nil, err
	}
	for _, l := range f.lines {
		if d := parseAssignLine(l); d != nil && d.Name == name {
			return d, nil
		}
	}
	return nil, nil
}

// parseAssignLine reads a line of a domain: "+NAME-:REAL:UID:GID:DIR:-::". Any
// other line is nil.
func parseAssignLine(l string) *Domain {
	f := strings.Split(l, ":")
	if len(f) < 7 || !strings.HasPrefix(f[0], "+") || !strings.HasSuffix(f[0], "-") || len(f[0]) < 3 || f[5] != "-" {
		return nil
	}
	return &Domain{Name: lower(f[0][1 : len(f[0])-1]), Real: f[1], UID: atoi(f[2]), GID: atoi(f[3]), Dir: f[4]}
}

// domainLine says whether a line is vpopmail's: the extensions of a user of the
// system (qmail-pw2u), "+joe-:joe:500:500:/home/joe:-::", look the same.
func (p *Profile) domainLine(d *Domain) bool {
	return strings.Contains(d.Real, ".") || strings.Contains(d.Dir, "/"+p.DomainsDir+"/")
}

// assignLine is the line of a domain in users/assign.
func assignLine(d *Domain) string {
	return fmt.Sprintf("+%s-:%s:%d:%d:%s:-::", d.Name, d.Real, d.UID, d.GID, d.Dir)
}

// place finds the root under which the directory that files call path is open,
// and its name there.
func (s *Store) place(path string) (*os.Root, string, error) {
	root, rel, best := (*os.Root)(nil), "", -1
	try := func(m Mount) {
		at := strings.TrimRight(m.Path, "/")
		if rest, ok := strings.CutPrefix(path, at); ok && len(at) > best && (rest == "" || rest[0] == '/') {
			root, rel, best = m.Root, strings.Trim(rest, "/"), len(at)
		}
	}
	try(Mount{s.p.Home, s.home})
	for _, m := range s.o.Mounts {
		try(m)
	}
	if root == nil {
		return nil, "", fmt.Errorf("%w: %q", ErrNotMounted, path)
	}
	for part := range strings.SplitSeq(rel, "/") {
		if part == ".." {
			return nil, "", fmt.Errorf("%w: %q", ErrNotMounted, path)
		}
	}
	if rel == "" {
		rel = "."
	}
	return root, rel, nil
}

// openPath opens the directory that files call path.
func (s *Store) openPath(path string) (*safefs.Dir, error) {
	root, rel, err := s.place(path)
	if err != nil {
		return nil, err
	}
	return safefs.OpenDir(root, rel, s.o.hook)
}

// openDomain opens a domain's directory.
func (s *Store) openDomain(d *Domain) (*safefs.Dir, error) { return s.openPath(d.Dir) }

// Place returns where a directory that files name by an absolute path is: an
// open root and the name below it. It is how a caller finds a user's Maildir:
// Place(user.Dir + "/Maildir"). The error of a path outside all roots is
// ErrNotMounted.
func (s *Store) Place(path string) (root *os.Root, name string, err error) { return s.place(path) }

func (s *Store) usersDir(create bool) (*safefs.Dir, error) {
	return s.qmailDir(s.o.Users, "users", create)
}

func (s *Store) controlDir() (*safefs.Dir, error) { return s.qmailDir(s.o.Control, "control", false) }

func (s *Store) qmailDir(root *os.Root, name string, create bool) (*safefs.Dir, error) {
	if root != nil {
		return safefs.OpenDir(root, ".", s.o.hook)
	}
	d, err := safefs.OpenDir(s.qmail, name, s.o.hook)
	if !create || !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	top, err := safefs.OpenDir(s.qmail, ".", s.o.hook)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	return mkdirWhole(top, name, 0o755, safefs.Keep)
}

// mkdirWhole makes a directory that is never seen without its owner and mode,
// durably, and opens it.
func mkdirWhole(top *safefs.Dir, name string, perm fs.FileMode, o safefs.Owner) (*safefs.Dir, error) {
	tmp := tempPrefix + "_" + name
	if err := ignoreMissing(top.RemoveDir(tmp)); err != nil {
		return nil, err
	}
	d, _, err := top.Mkdir(tmp, perm, o)
	if err != nil {
		return nil, err
	}
	d.Close()
	if err := top.RenameExcl(tmp, top, name); err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = top.RemoveDir(tmp) // somebody was quicker
		}
		if err != nil {
			return nil, err
		}
	}
	if err := top.Sync(); err != nil {
		return nil, err
	}
	return top.Sub(name)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// maxFile bounds what is read into memory of one text file: a million accounts
// fit.
const maxFile = 512 << 20

// readFile reads a whole file of dir; a missing one is nil.
func readFile(dir *safefs.Dir, name string) ([]byte, bool, error) {
	b, err := again(func() ([]byte, error) { return dir.ReadFile(name, maxFile) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	return b, err == nil, err
}

// again repeats what fails because a file was replaced at that moment: readers
// take no lock.
func again[T any](read func() (T, error)) (v T, err error) {
	for range 100 {
		if v, err = read(); !errors.Is(err, safefs.ErrExchanged) {
			break
		}
	}
	return v, err
}

func readLines(dir *safefs.Dir, name string, assign bool) (*lineFile, error) {
	b, exists, err := readFile(dir, name)
	if err != nil {
		return nil, err
	}
	return parseLines(b, exists, assign), nil
}

// at puts the place into a Problem.
func at(p qmailkit.Problem, path string) qmailkit.Problem {
	p.Path = path
	return p
}
