package vpopmail

import (
	"context"
	"iter"
	"time"
)

// What vpopmail's SQL modules keep in tables beside the users' records. A
// Backend may keep each of these too; where it does not, or the Profile says
// that the installation does not, the Store uses the files that vpopmail uses
// then.

// An AliasKeeper keeps aliases in a table (--enable-valias, see
// Profile.SQLAliases) instead of .qmail files. The domain's Name is what the
// caller typed: valias does not look alias domains up.
type AliasKeeper interface {
	// Aliases yields every alias of a domain, sorted by name, its lines in the
	// order in which they are kept.
	Aliases(ctx context.Context, d *Domain) iter.Seq2[Alias, error]
	// Alias returns the lines of one alias; none are nil.
	Alias(ctx context.Context, d *Domain, name string) ([]string, error)
	// AddAlias adds one line behind those that are there.
	AddAlias(ctx context.Context, d *Domain, name, line string) error
	// SetAlias gives an alias exactly these lines, of which there is at least
	// one. At no moment is it without a line.
	SetAlias(ctx context.Context, d *Domain, name string, lines []string) error
	// RemoveAlias removes all lines of an alias and says whether there were any.
	RemoveAlias(ctx context.Context, d *Domain, name string) (bool, error)
}

// A LimitsKeeper keeps the limits of domains in a table (--enable-mysql-limits,
// see Profile.SQLLimits) instead of .qmailadmin-limits.
type LimitsKeeper interface {
	// Limits returns the limits of a domain; ok is false where it has none of
	// its own.
	Limits(ctx context.Context, d *Domain) (l Limits, ok bool, err error)
	// SetLimits stores the limits of a domain.
	SetLimits(ctx context.Context, d *Domain, l Limits) error
	// RemoveLimits removes them. That there were none is no error.
	RemoveLimits(ctx context.Context, d *Domain) error
}

// A LoginKeeper keeps the time of the last login in a table instead of the file
// lastauth in the user's directory.
type LoginKeeper interface {
	// LastLogin returns the last login of a user; ok is false if nothing is
	// known.
	LastLogin(ctx context.Context, d *Domain, u *User) (l Login, ok bool, err error)
	// SetLastLogin notes a login.
	SetLastLogin(ctx context.Context, d *Domain, u *User, l Login) error
}

// A DomainKeeper keeps what a database knows of domains themselves: their
// tables and the counters of the hash directories of domains (rows "dom_UID"
// of dir_control instead of domains/.dir-control).
type DomainKeeper interface {
	// MakeDomain makes what a new domain needs before its first user. That it
	// is there is no error.
	MakeDomain(ctx context.Context, d *Domain) error
	// RemoveDomain removes every row of a domain: users, aliases, logins,
	// limits, log, counter.
	RemoveDomain(ctx context.Context, d *Domain) error
	// SetAliasDomain and RemoveAliasDomain keep the table of alias domains
	// (5.6; see Profile.SQLAliasDomains).
	SetAliasDomain(ctx context.Context, d *Domain) error
	// RemoveAliasDomain forgets an alias domain.
	RemoveAliasDomain(ctx context.Context, d *Domain) error
	// DomainCounter returns the counter of the domains of a uid.
	DomainCounter(ctx context.Context, uid int) (DirControl, error)
	// SetDomainCounter stores it.
	SetDomainCounter(ctx context.Context, uid int, c DirControl) error
}

// An Alias is a name of a domain whose mail goes where its lines say, as in a
// .qmail file (dot-qmail(5)).
type Alias struct {
	Name  string // in lower case, without the domain
	Lines []string
}

// A Login says when a user was last let in, and from where.
type Login struct {
	// IP is the client's address as text; "0.0.0.0" says never, and Time is
	// then when the account was made.
	IP   string
	Time time.Time
}

// Limits are what a domain's administrators may do, and the defaults of new
// accounts (vlimits.h). The zero value is no limit at all except that the Max
// fields want -1 for none: see NoLimits.
type Limits struct {
	// MaxAccounts (maxpopaccounts) to MaxLists: -1 is no limit. vpopmail's own
	// programs enforce none of them.
	MaxAccounts, MaxAliases, MaxForwards, MaxResponders, MaxLists int

	Quota         uint64 // of the domain, in megabytes
	MaxMessages   uint64 // of the domain
	DefaultQuota  uint64 // of a new account, in bytes; 0 is none
	DefaultMaxMsg uint64 // of a new account, in messages; 0 is none

	// Disabled is what no user of the domain may do unless his own record has
	// the flag Override. Only the flags of the domain mask count: NoPOP, NoIMAP,
	// NoDialup, NoPasswordChange, NoRelay, NoSMTP, NoWebmail, NoSpamAssassin,
	// DeleteSpam, NoMaildrop.
	Disabled Flags

	// Perm* are bits: 1 create, 2 modify, 4 delete is forbidden to the domain's
	// administrators. PermLists has those of its users from bit 3 and of its
	// moderators from bit 6 on.
	PermAccount, PermAlias, PermForward, PermResponder, PermLists, PermQuota, PermDefaultQuota uint16
}

// NoLimits are the limits of a domain that has none.
func NoLimits() Limits {
	return Limits{MaxAccounts: -1, MaxAliases: -1, MaxForwards: -1, MaxResponders: -1, MaxLists: -1}
}

// domainKeeper is the Backend where it keeps something of domains; nil where it
// does not.
func (s *Store) domainKeeper() DomainKeeper {
	k, _ := s.backend.(DomainKeeper)
	return k
}

// aliasDomainKeeper is the one that has the table of alias domains.
func (s *Store) aliasDomainKeeper() DomainKeeper {
	if !s.p.SQLAliasDomains {
		return nil
	}
	return s.domainKeeper()
}

// keepsLogins says whether the last login of a user is kept by the Backend and
// not in the file lastauth.
func (s *Store) keepsLogins() bool {
	_, is := s.backend.(LoginKeeper)
	return is
}
