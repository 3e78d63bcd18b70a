package vpopmail

import (
	"fmt"
	"strings"
)

// Release is the family of vpopmail that an installation belongs to.
type Release int

const (
	// Release54 is 5.4.33, with MD5 hashes and clear passwords by default.
	Release54 Release = 54
	// Release56 is 5.6, with SHA-512 hashes and no clear passwords by default.
	Release56 Release = 56
)

// HashKind is the crypt scheme of the hashes that an installation makes. What
// it accepts is up to the system's crypt(3).
type HashKind int

const (
	HashMD5    HashKind = iota + 1 // $1$ and eight characters of salt
	HashDES                        // two characters of salt, eight bytes of the password count
	HashSHA512                     // $6$ and eight characters of salt
)

// saltLen is the number of random characters in a salt (vpopmail.c:mkpasswd3).
func (k HashKind) saltLen() int {
	if k == HashDES {
		return 2
	}
	return 8
}

// A Profile says what an installation of vpopmail is: what was decided when it
// was configured, as far as it shows in files. Start from DefaultProfile54 or
// DefaultProfile56, or let DetectProfile look.
type Profile struct {
	Release Release

	// Home is vpopmail's home directory as it stands in files, such as
	// "/home/vpopmail". It may be mounted anywhere now.
	Home string
	// DomainsDir is the directory of the domains below Home
	// (--enable-domains-dir).
	DomainsDir string
	// UID and GID are the vpopmail user and group (89 and 89 by habit).
	UID, GID int

	ClearPasswords bool     // vpasswd has an eighth field
	Hash           HashKind // what new clear passwords become
	BigDir         bool     // users are spread over hash directories; names of one byte are refused
	NoPassword     bool     // vadduser has -n, an account with an empty hash

	// Largest lengths in bytes (vpopmail.h).
	MaxUser, MaxDomain, MaxGecos, MaxHash, MaxClear, MaxDir, MaxQuota int

	// LineBuffer is the longest vpasswd line, without its LF, that the
	// installation's own programs read in one piece: 254 in 5.4, 510 in 5.6.
	LineBuffer int
	// AssignBuffer is the same for users/assign and the control files.
	AssignBuffer int

	// What else configure decided. The switches of SQL modules say nothing for
	// an installation with vpasswd files.
	AuthLogging       bool // the last login of each user is kept (on)
	AddressExtensions bool // NAME-EXT goes to NAME (--enable-qmail-ext)
	LearnPasswords    bool // an empty hash becomes that of the first password tried
	SqwebmailPass     bool // Maildir/sqwebmail-pass follows every new password
	RoamingUsers      bool // etc/open-smtp lets relay who has logged in
	SQLAliases        bool // table valias, not .qmail files
	SQLLimits         bool // table limits, not .qmailadmin-limits
	SQLLog            bool // table vlog
	SQLAliasDomains   bool // table aliasdomains (5.6)
	TablePerDomain    bool // --disable-many-domains

	// CatchAll is what .qmail-default says for unknown users unless a domain
	// has a catch-all: "bounce-no-mailbox" in 5.4, "delete" in 5.6.
	CatchAll string
}

// DefaultProfile54 is vpopmail 5.4.33 as configured by default.
func DefaultProfile54() Profile {
	return Profile{
		Release: Release54, Home: "/home/vpopmail", DomainsDir: "domains", UID: 89, GID: 89,
		ClearPasswords: true, Hash: HashMD5, BigDir: true, NoPassword: true,
		MaxUser: 32, MaxDomain: 96, MaxGecos: 48, MaxHash: 128, MaxClear: 128, MaxDir: 160, MaxQuota: 20,
		LineBuffer: 254, AssignBuffer: 298, CatchAll: "bounce-no-mailbox", AuthLogging: true,
	}
}

// DefaultProfile56 is vpopmail 5.6 as configured by default.
func DefaultProfile56() Profile {
	p := DefaultProfile54()
	p.Release, p.ClearPasswords, p.Hash, p.NoPassword = Release56, false, HashSHA512, false
	p.MaxUser, p.MaxGecos = 64, 64
	p.LineBuffer, p.CatchAll = 510, "delete"
	return p
}

// check refuses a Profile that no installation can have. Home and DomainsDir
// are put into a shell command by every .qmail-default.
func (p *Profile) check() error {
	switch {
	case p.Release != Release54 && p.Release != Release56:
		return fmt.Errorf("vpopmail: profile: release %d is not known", p.Release)
	case !strings.HasPrefix(p.Home, "/") || !shellSafe(p.Home):
		return fmt.Errorf("vpopmail: profile: home %q is not an absolute path of plain characters", p.Home)
	case p.DomainsDir == "" || !shellSafe(p.DomainsDir) || strings.Contains(p.DomainsDir, "/") || p.DomainsDir[0] == '.':
		return fmt.Errorf("vpopmail: profile: domains directory %q is not one plain name", p.DomainsDir)
	case p.UID <= 0 || p.GID < 0:
		return fmt.Errorf("vpopmail: profile: uid %d, gid %d", p.UID, p.GID)
	case p.Hash < HashMD5 || p.Hash > HashSHA512:
		return fmt.Errorf("vpopmail: profile: hash kind %d is not known", p.Hash)
	case p.CatchAll == "" || !shellSafe(p.CatchAll):
		return fmt.Errorf("vpopmail: profile: catch-all %q", p.CatchAll)
	}
	for _, n := range []int{p.MaxUser, p.MaxDomain, p.MaxGecos, p.MaxHash, p.MaxClear, p.MaxDir, p.MaxQuota, p.LineBuffer, p.AssignBuffer} {
		if n < 1 {
			return fmt.Errorf("vpopmail: profile: a limit is %d", n)
		}
	}
	return nil
}

// domainsPath is the directory of the domains of a home, as text.
func (p *Profile) domainsPath(home string) string { return home + "/" + p.DomainsDir }

// shellSafe says whether a word means itself to sh without quotes.
func shellSafe(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !alnum(c) && !strings.ContainsRune("._-+=@/,", rune(c)) {
			return false
		}
	}
	return s != ""
}

func alnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
