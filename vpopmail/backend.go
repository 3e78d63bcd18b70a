//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/cdbfile"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A Backend keeps the records of the users of each domain and the counter of
// its hash directories. The directories themselves, users/assign and the
// control files are the Store's. The file form is the one of a Store whose
// options name no other.
type Backend interface {
	// User returns one record without reading the others. No such user is
	// ErrNoUser.
	User(ctx context.Context, d *Domain, name string) (User, error)
	// Users yields all records in the order in which they are kept.
	Users(ctx context.Context, d *Domain) iter.Seq2[User, error]
	// Edit locks the records of the domain. The caller must Close the Records.
	Edit(ctx context.Context, d *Domain) (Records, error)
}

// Records are the records of one domain under its lock. Nothing of what Put,
// Remove and SetCounter do is seen by anybody before Commit.
type Records interface {
	// Get returns a record as it will be. A look-up that failed is no record;
	// Records for which that can happen are LookupErrors too.
	Get(name string) (User, bool)
	// Put adds a record, or replaces that of the same name in its place.
	Put(u User) error
	// Remove takes a record out and says whether there was one.
	Remove(name string) bool
	// Counter returns the counter of the hash directories, and the
	// directories that removed users have left free.
	Counter() (c DirControl, free []string, err error)
	// SetCounter stores the counter and takes used lines from the free ones.
	SetCounter(c DirControl, used int)
	// Commit makes the change durable. The Store calls begin and built around
	// the making of directories: see commitSteps.
	Commit(ctx context.Context, steps CommitSteps) error
	// Close lets go of the lock. What was not committed is forgotten.
	Close() error
}

// LookupErrors is what Records are that do not have everything in memory. Err
// says that a look-up failed: then nothing is known of who is there, and Put
// and Commit fail.
type LookupErrors interface {
	// Err is the first error of a look-up, or nil.
	Err() error
}

// lookupError is the error of Records' look-ups so far.
func lookupError(rec Records) error {
	if r, ok := rec.(LookupErrors); ok {
		return r.Err()
	}
	return nil
}

// CommitSteps are what the Store does while a Backend commits: Made lists the
// directories about to be made, so that the Backend can note them durably
// first, and Build makes them. Either may be empty.
type CommitSteps struct {
	Made  []MadeUser
	Build func(dir *safefs.Dir) error
}

// MadeUser is a directory that a commit makes for a user.
type MadeUser struct {
	Name string // of the user
	Dir  string // below the domain's directory, as plain parts
}

// files is the Backend of vpasswd and vpasswd.cdb.
type files struct{ s *Store }

// lookup finds a key in a cdb without reading the rest of it.
func lookup(dir *safefs.Dir, name, key string) ([]byte, bool, error) {
	f, err := again(func() (*os.File, error) { return dir.OpenPlain(name, safefs.Expect{}) })
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	db, err := cdbfile.Open(f, fi.Size())
	if err != nil {
		return nil, false, err
	}
	return db.Get([]byte(key))
}

// User asks vpasswd.cdb (vcdb.c:vauth_getpw). Where that is missing, which
// vpopmail would mend by making it, vpasswd is read instead.
func (b files) User(ctx context.Context, d *Domain, name string) (User, error) {
	if err := context.Cause(ctx); err != nil {
		return User{}, err
	}
	dir, err := b.s.openDomain(d)
	if err != nil {
		return User{}, err
	}
	defer dir.Close()
	none := &Error{Domain: d.Name, User: name, Err: ErrNoUser}
	data, found, err := lookup(dir, "vpasswd.cdb", name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		text, _, err := readFile(dir, "vpasswd")
		if err != nil {
			return User{}, err
		}
		if u, ok := ParseVpasswd(text).Get(name); ok {
			return u, nil
		}
		return User{}, none
	case err != nil:
		return User{}, err
	case !found:
		return User{}, none
	}
	u, err := ParseLine(append([]byte(name+":"), data...))
	if err != nil {
		return User{}, &Error{Domain: d.Name, User: name, Err: err}
	}
	return u, nil
}

// Users reads vpasswd.
func (b files) Users(ctx context.Context, d *Domain) iter.Seq2[User, error] {
	return func(yield func(User, error) bool) {
		dir, err := b.s.openDomain(d)
		if err != nil {
			yield(User{}, qmailkit.Incomplete(err))
			return
		}
		text, _, err := readFile(dir, "vpasswd")
		dir.Close()
		if err != nil {
			yield(User{}, qmailkit.Incomplete(err))
			return
		}
		for u, err := range ParseVpasswd(text).Users() {
			if c := context.Cause(ctx); c != nil {
				yield(User{}, qmailkit.Incomplete(c))
				return
			}
			if !yield(u, err) {
				return
			}
		}
	}
}

// User returns the account addr (USER@DOMAIN, any case, the domain may be an
// alias) by one look-up. ErrNoDomain and ErrNoUser say what is missing.
func (s *Store) User(ctx context.Context, addr string) (User, error) {
	name, domain, err := SplitAddress(addr)
	if err != nil {
		return User{}, err
	}
	d, err := s.Domain(ctx, domain)
	if err != nil {
		return User{}, err
	}
	return s.backend.User(ctx, d, name)
}

// Users yields the accounts of a domain in the order of vpasswd. An error
// concerns one line, unless it wraps qmailkit.ErrIncomplete.
func (s *Store) Users(ctx context.Context, domain string) iter.Seq2[User, error] {
	return func(yield func(User, error) bool) {
		d, err := s.Domain(ctx, domain)
		if err != nil {
			yield(User{}, qmailkit.Incomplete(err))
			return
		}
		s.backend.Users(ctx, d)(yield)
	}
}

// Domains yields the domains and alias domains in the order of users/assign.
// Other lines of that file, and domains that are prepared only, are left out.
func (s *Store) Domains(ctx context.Context) iter.Seq2[*Domain, error] {
	return func(yield func(*Domain, error) bool) {
		dir, err := s.usersDir(false)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(nil, qmailkit.Incomplete(err))
			return
		}
		f, err := readLines(dir, "assign", true)
		dir.Close()
		if err != nil {
			yield(nil, qmailkit.Incomplete(err))
			return
		}
		for _, l := range f.lines {
			if err := context.Cause(ctx); err != nil {
				yield(nil, qmailkit.Incomplete(err))
				return
			}
			if d := parseAssignLine(l); d != nil && s.p.domainLine(d) && !yield(d, nil) {
				return
			}
		}
	}
}
