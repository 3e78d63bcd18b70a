package users

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxName is the longest account name that qmail-getpw asks for, in bytes.
const maxName = 31

// An Account is what qmail-getpw needs of a line of /etc/passwd.
type Account struct {
	Name     string
	UID, GID uint32
	Home     string
}

// Accounts are the accounts of a system by name.
type Accounts map[string]Account

// ReadPasswd reads a file in the format of passwd(5), or of BSD's
// master.passwd(5). Lines that getpwnam(3) would pass over are passed over: too
// few fields, a uid or gid that is no number, a name that begins with '+' or
// '-' (NIS). Of two lines with one name the first counts. The error is the
// reader's, or bufio.ErrTooLong for a line of more than 64 KiB.
func ReadPasswd(r io.Reader) (Accounts, error) {
	accounts := Accounts{}
	s := bufio.NewScanner(r)
	line := 1
	for ; s.Scan(); line++ {
		f := strings.Split(s.Text(), ":")
		a, ok := account(f)
		if !ok {
			continue
		}
		if _, twice := accounts[a.Name]; !twice {
			accounts[a.Name] = a
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("passwd: line %d: %w", line, err)
	}
	return accounts, nil
}

// account takes the fields of a line: name, password, uid, gid, gecos, home,
// shell, with class, change and expire behind the gid in master.passwd.
func account(f []string) (Account, bool) {
	home := 5
	switch {
	case len(f) == 10:
		home = 8
	case len(f) < 6:
		return Account{}, false
	}
	if f[0] == "" || f[0][0] == '+' || f[0][0] == '-' {
		return Account{}, false
	}
	uid, err1 := strconv.ParseUint(f[2], 10, 32)
	gid, err2 := strconv.ParseUint(f[3], 10, 32)
	if err1 != nil || err2 != nil {
		return Account{}, false
	}
	return Account{f[0], uint32(uid), uint32(gid), f[home]}, true
}

// Getpw answers as qmail-getpw(8) does.
type Getpw struct {
	Accounts Accounts
	// HomeOwner says who owns a directory; ok is false if it does not exist. An
	// error says that it cannot be told now, and becomes ErrHome. Nil takes
	// every home for its user's own.
	HomeOwner func(home string) (uid uint32, ok bool, err error)
	// Alias is the account that gets the mail for nobody else; empty means
	// "alias". Break parts a user from an extension; 0 means '-'.
	Alias string
	Break byte
}

// Lookup finds the longest name in local, whole or up to a Break, that is an
// account: its name has at most 31 bytes and no capital letter, its uid is not
// 0, and its home exists and is its own. All other mail is for Alias.
//
// An error wraps ErrNoAlias or ErrHome.
func (g *Getpw) Lookup(local string) (User, error) {
	local, _, _ = strings.Cut(local, "\x00")
	stop := g.Break
	if stop == 0 {
		stop = '-'
	}
	for n := len(local); n >= 0; n-- {
		if n > maxName || n < len(local) && local[n] != stop {
			continue
		}
		a, ok := g.Accounts[string(appendLower(nil, local[:n]))]
		if !ok || a.UID == 0 {
			continue
		}
		own, err := g.ownsHome(a)
		if err != nil {
			return User{}, err
		}
		if !own {
			continue
		}
		if n == len(local) {
			return a.user("", ""), nil
		}
		return a.user("-", local[n+1:]), nil
	}
	name := g.Alias
	if name == "" {
		name = "alias"
	}
	a, ok := g.Accounts[name]
	if !ok {
		return User{}, fmt.Errorf("%w %q", ErrNoAlias, name)
	}
	return a.user("-", local), nil
}

func (g *Getpw) ownsHome(a Account) (bool, error) {
	if g.HomeOwner == nil {
		return true, nil
	}
	uid, ok, err := g.HomeOwner(a.Home)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrHome, err)
	}
	return ok && uid == a.UID, nil
}

func (a Account) user(dash, ext string) User {
	return User{
		Name: a.Name,
		UID:  strconv.FormatUint(uint64(a.UID), 10),
		GID:  strconv.FormatUint(uint64(a.GID), 10),
		Home: a.Home,
		Dash: dash,
		Ext:  ext,
	}
}
