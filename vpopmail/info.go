//go:build unix

package vpopmail

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"time"
)

// A UserInfo is what vuserinfo knows of an account. Store.UserInfo gathers one.
type UserInfo struct {
	User
	// Effective are the flags that count: those of the record, and those of
	// the domain's limits unless the record has Override.
	Effective Flags
	Usage     Usage
	// Login is shown if LoginKnown.
	Login      Login
	LoginKnown bool
}

// An InfoFormat says how WriteUserInfo prints.
type InfoFormat struct {
	// Fields are options of vuserinfo without their hyphens: bare values, one
	// a line, in the order n p C u g c d q Q l whatever the order here. Other
	// letters, and empty, are all fields with their names.
	Fields string
	// Location is the time zone of logins; nil is time.Local.
	Location *time.Location
	// NoClear and NoLogins say that the installation was configured without
	// clear passwords, without auth logging: options C and l print nothing,
	// and the lines of the last login are not there.
	NoClear, NoLogins bool
	// NullClear prints "(null)" for the clear password, as vuserinfo -D does
	// of vpasswd files that have none (printf(3) of glibc says so).
	NullClear bool
	// Dashes puts the line of 42 dashes before the user with which
	// vuserinfo -D of 5.6 begins each.
	Dashes bool
}

// userFields are vuserinfo's options in the order in which it prints them.
const userFields = "npCugcdqQl"

// WriteUserInfo prints an account as vuserinfo does, byte for byte
// (vuserinfo.c:display_user), with hash and clear password in full. It asks no
// clock. Control characters in the fields are printed as they stand.
func WriteUserInfo(w io.Writer, i *UserInfo, f *InfoFormat) error {
	if f == nil {
		f = &InfoFormat{}
	}
	b := bufio.NewWriter(w)
	if f.Dashes {
		b.WriteString(strings.Repeat("-", 42) + "\n")
	}
	if strings.ContainsAny(f.Fields, userFields) {
		writeUserFields(b, i, f)
	} else {
		writeWholeUser(b, i, f)
	}
	return b.Flush()
}

// bufio.Writer keeps the first error for Flush, so that the others need not be
// looked at.

func writeUserFields(b *bufio.Writer, i *UserInfo, f *InfoFormat) {
	for _, c := range userFields {
		if !strings.ContainsRune(f.Fields, c) {
			continue
		}
		switch c {
		case 'n':
			b.WriteString(i.Name + "\n")
		case 'p':
			b.WriteString(string(i.Hash) + "\n")
		case 'C':
			if !f.NoClear {
				b.WriteString(f.clear(i) + "\n")
			}
		case 'u':
			b.WriteString(i.uid() + "\n")
		case 'g':
			b.WriteString(number(uint64(i.Flags)) + "\n")
		case 'c':
			b.WriteString(i.Gecos + "\n")
		case 'd':
			b.WriteString(i.Dir + "\n")
		case 'q':
			b.WriteString(i.Quota + "\n")
		case 'Q':
			b.WriteString(i.usage() + "\n")
		case 'l':
			writeLogin(b, i, f)
		}
	}
}

func writeWholeUser(b *bufio.Writer, i *UserInfo, f *InfoFormat) {
	for _, line := range [][2]string{
		{"name:   ", i.Name},
		{"passwd: ", string(i.Hash)},
		{"clear passwd: ", f.clear(i)},
		{"comment/gecos: ", i.Gecos},
		{"uid:    ", i.uid()},
		{"gid:    ", number(uint64(i.Flags))},
		{"flags:  ", number(uint64(i.Effective))},
		{"gecos: ", i.Gecos},
	} {
		b.WriteString(line[0] + line[1] + "\n")
	}
	writeLimits(b, i.Flags, i.Effective)
	b.WriteString("dir:       " + i.Dir + "\n")
	b.WriteString("quota:     " + i.Quota + "\n")
	b.WriteString("usage:     " + i.usage() + "\n")
	writeLogin(b, i, f)
}

// flagWords are vuserinfo's words for the flags, in its order.
var flagWords = []struct {
	flag  Flags
	words string
}{
	{NoPasswordChange, "password can not be changed by user"},
	{NoPOP, "pop access closed"},
	{NoWebmail, "webmail access closed"},
	{NoIMAP, "imap access closed"},
	{NoSMTP, "smtp access is closed"},
	{NoRelay, "user not allowed to relay mail"},
	{NoSpamAssassin, "spamassassin processing disabled"},
	{DeleteSpam, "delete spam"},
	{NoMaildrop, "maildrop processing disabled"},
	{NoDialup, "no dialup flag has been set"},
	{BounceMail, "mail will be bounced back to sender"},
	{QmailAdmin, "has qmailadmin administrator access"},
	{SAAdmin, "has system administrator access"},
	{SAExpert, "has expert access"},
	{User0, "user flag 0 is set"},
	{User1, "user flag 1 is set"},
	{User2, "user flag 2 is set"},
	{User3, "user flag 3 is set"},
	{Override, "user is not subject to domain limits"},
}

// writeLimits prints what the flags forbid; a star is behind those that come
// from the domain alone.
func writeLimits(b *bufio.Writer, own, effective Flags) {
	if effective == 0 {
		b.WriteString("limits: No user limits set.\n")
		return
	}
	b.WriteString("limits:\n")
	for _, w := range flagWords {
		switch {
		case effective&w.flag == 0:
		case own&w.flag != 0:
			b.WriteString("        " + w.words + "\n")
		default:
			b.WriteString("        " + w.words + " (*)\n")
		}
	}
	if own != effective {
		b.WriteString("        * = set by domain-wide limits\n")
	}
}

// writeLogin prints the last login, or when the account was made. A time of 0
// is none (vuserinfo.c:display_lastlogin). For a lastauth file that is empty
// vuserinfo prints its path as the address; here that stays empty.
func writeLogin(b *bufio.Writer, i *UserInfo, f *InfoFormat) {
	if f.NoLogins {
		return
	}
	loc := f.Location
	if loc == nil {
		loc = time.Local
	}
	when := i.Login.Time.In(loc).Format(time.ANSIC) // asctime(3)
	known := i.LoginKnown && i.Login.Time.Unix() != 0
	switch {
	case known && i.Login.IP != lastauthNever:
		b.WriteString("last auth: " + when + "\nlast auth ip: " + i.Login.IP + "\n")
		return
	case known:
		b.WriteString("account created: " + when + "\n")
	}
	b.WriteString("last auth: Never logged in\n")
}

func (f *InfoFormat) clear(i *UserInfo) string {
	if f.NullClear {
		return "(null)"
	}
	return string(i.Clear)
}

// uid is a uid_t in C: 32 bits without a sign.
func (i *UserInfo) uid() string { return number(uint64(uint32(i.UID))) }

func (i *UserInfo) usage() string {
	if i.Quota == NoQuota {
		return NoQuota
	}
	return strconv.Itoa(i.Usage.Percent) + "%"
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

// A DomainInfo is what vdominfo knows of a domain. Store.DomainInfo gathers
// one.
type DomainInfo struct {
	Domain
	// Users is the counter of the hash directories, which nothing ever counts
	// again: see DirControl.
	Users uint64
	// Aliases are the names of the alias domains, in the order of
	// users/assign.
	Aliases []string
}

// domainFields are vdominfo's options in the order in which it prints them.
const domainFields = "nugdtr"

// WriteDomainInfo prints a domain as vdominfo does, byte for byte (vdominfo.c:
// display_domain): the bare values of fields, which are options of vdominfo
// without their hyphens, in the order n u g d t r; or all with their names
// where fields has none of them. The aliases are not printed: vdominfo DOMAIN
// prints them behind, see Store.WriteDomainInfo.
func WriteDomainInfo(w io.Writer, i *DomainInfo, fields string) error {
	b := bufio.NewWriter(w)
	name := i.Name
	if i.Alias() {
		name += " (alias of " + i.Real + ")"
	}
	uid, gid, users := number(uint64(uint32(i.UID))), number(uint64(uint32(i.GID))), number(i.Users)
	if !strings.ContainsAny(fields, domainFields) {
		b.WriteString("domain: " + name + "\n")
		b.WriteString("uid:    " + uid + "\n")
		b.WriteString("gid:    " + gid + "\n")
		b.WriteString("dir:    " + i.Dir + "\n")
		b.WriteString("users:  " + users + "\n")
		return b.Flush()
	}
	for n, value := range []string{name, uid, gid, i.Dir, users, i.Real} {
		if strings.IndexByte(fields, domainFields[n]) >= 0 {
			b.WriteString(value + "\n")
		}
	}
	return b.Flush()
}
