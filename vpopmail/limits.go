package vpopmail

import (
	"bytes"
	"fmt"
	"math"
	"strings"
)

// limitsBuffer is how much of a file of limits vpopmail reads
// (vlimits.c:vlimits_read_limits_file). A line that ends behind it is not seen.
const limitsBuffer = 2048

// domainMask are the flags that a domain can take from its users, in the order
// in which .qmailadmin-limits has them.
var domainMask = []struct {
	flag   Flags
	key    string // in .qmailadmin-limits
	title  string // as vmoddomlimits -S says it
	letter byte   // for vmoddomlimits -g
}{
	{NoPOP, "disable_pop", "NO_POP", 'p'},
	{NoIMAP, "disable_imap", "NO_IMAP", 'i'},
	{NoDialup, "disable_dialup", "NO_DIALUP", 'u'},
	{NoPasswordChange, "disable_password_changing", "NO_PASSWD_CHNG", 'd'},
	{NoWebmail, "disable_webmail", "NO_WEBMAIL", 'w'},
	{NoRelay, "disable_external_relay", "NO_RELAY", 'r'},
	{NoSMTP, "disable_smtp", "NO_SMTP", 's'},
	{NoSpamAssassin, "disable_spamassassin", "NO_SPAMASSASSIN", 'c'},
	{DeleteSpam, "delete_spam", "DEL_SPAM", 'x'},
	{NoMaildrop, "disable_maildrop", "NO_MAILDROP", 'm'},
}

// maskOrder is the order in which vmoddomlimits -S shows domainMask.
const maskOrder = "ispwdrucxm"

// Mask are the flags that every user of the domain has in effect
// (vlimits.c:vlimits_get_flag_mask): Disabled, less what is no flag of a domain.
func (l Limits) Mask() Flags {
	var mask Flags
	for _, m := range domainMask {
		mask |= l.Disabled & m.flag
	}
	return mask
}

// Effective are the flags by which vpopmail decides about a user, pw_flags in
// memory: his own and the domain's, or only his own if they have Override
// (vlimits.c:vlimits_setflags).
func (u *User) Effective(l Limits) Flags {
	if u.Flags&Override != 0 {
		return u.Flags
	}
	return u.Flags | l.Mask()
}

// UserQuota is the quota of a new account of the domain, as vpasswd has it.
func (l Limits) UserQuota() string {
	if l.DefaultQuota == 0 && l.DefaultMaxMsg == 0 {
		return NoQuota
	}
	return formatQuota(l.DefaultQuota, l.DefaultMaxMsg)
}

// permAll are the three bits of one permission.
const permAll = 1 | 2 | 4

// limitNumbers are the keys with a number, in the order of the file; bits are
// those of a permission.
var limitNumbers = []struct {
	key  string
	max  func(*Limits) *int    // one of these three
	size func(*Limits) *uint64 //
	perm func(*Limits) *uint16 //
	bits uint16
}{
	{key: "maxpopaccounts", max: func(l *Limits) *int { return &l.MaxAccounts }},
	{key: "maxaliases", max: func(l *Limits) *int { return &l.MaxAliases }},
	{key: "maxforwards", max: func(l *Limits) *int { return &l.MaxForwards }},
	{key: "maxautoresponders", max: func(l *Limits) *int { return &l.MaxResponders }},
	{key: "maxmailinglists", max: func(l *Limits) *int { return &l.MaxLists }},
	{key: "quota", size: func(l *Limits) *uint64 { return &l.Quota }},
	{key: "maxmsgcount", size: func(l *Limits) *uint64 { return &l.MaxMessages }},
	{key: "default_quota", size: func(l *Limits) *uint64 { return &l.DefaultQuota }},
	{key: "default_maxmsgcount", size: func(l *Limits) *uint64 { return &l.DefaultMaxMsg }},
	{key: "perm_account", perm: func(l *Limits) *uint16 { return &l.PermAccount }, bits: permAll},
	{key: "perm_alias", perm: func(l *Limits) *uint16 { return &l.PermAlias }, bits: permAll},
	{key: "perm_forward", perm: func(l *Limits) *uint16 { return &l.PermForward }, bits: permAll},
	{key: "perm_autoresponder", perm: func(l *Limits) *uint16 { return &l.PermResponder }, bits: permAll},
	{key: "perm_maillist", perm: func(l *Limits) *uint16 { return &l.PermLists }, bits: permAll | permAll<<3 | permAll<<6},
	{key: "perm_quota", perm: func(l *Limits) *uint16 { return &l.PermQuota }, bits: permAll},
	{key: "perm_defaultquota", perm: func(l *Limits) *uint16 { return &l.PermDefaultQuota }, bits: permAll},
}

// ParseLimits reads .qmailadmin-limits or vlimits.default as vpopmail does
// (vlimits.c:vlimits_read_limits_file), which takes anything: lines "key value"
// parted by blanks and colons, in any order, the last of a key counts; '#' in
// column 1 is a comment; a blank in column 1 hides the line; a key of Disabled
// counts by its presence, whatever its value; of a number the digits at its
// beginning count. Unknown keys are passed over, and so is all behind the first
// 2,048 bytes or a NUL.
func ParseLimits(b []byte) Limits {
	l := NoLimits()
	whole := len(b) < limitsBuffer
	if !whole {
		b = b[:limitsBuffer]
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	for len(b) > 0 {
		line := b
		if i := bytes.IndexAny(b, "\r\n"); i >= 0 {
			line, b = b[:i], b[i+1:]
		} else if b = nil; !whole {
			break
		}
		if len(line) > 0 && line[0] != '#' {
			l.set(string(line))
		}
	}
	return l
}

// set takes over one line.
func (l *Limits) set(line string) {
	key, value := line, ""
	if i := strings.IndexAny(line, " \t:"); i >= 0 {
		key, value = line[:i], strings.TrimLeft(line[i:], " \t:")
	}
	for _, m := range domainMask {
		if key == m.key {
			l.Disabled |= m.flag
			return
		}
	}
	if key == line {
		return // a key without any value leaves the number as it is
	}
	for _, n := range limitNumbers {
		if key != n.key {
			continue
		}
		v := strtoll(value)
		switch {
		case n.max != nil:
			*n.max(l) = int(int32(v))
		case n.size != nil:
			*n.size(l) = v
		default:
			*n.perm(l) = uint16(v) & n.bits
		}
	}
}

// Bytes is the file as vmoddomlimits writes it, which keeps no comments
// (vlimits.c:vlimits_write_limits_file), but for one thing: vpopmail writes the
// permissions of mailing lists' users and moderators into perm_quota, where it
// does not read them, so that what was forbidden is allowed from then on. Here
// they stand in perm_maillist, where it reads them.
func (l Limits) Bytes() []byte {
	var b bytes.Buffer
	for _, n := range limitNumbers {
		switch {
		case n.max != nil:
			fmt.Fprintf(&b, "%s: %d\n", n.key, *n.max(&l))
		case n.size != nil:
			fmt.Fprintf(&b, "%s: %d\n", n.key, *n.size(&l))
		default:
			fmt.Fprintf(&b, "%s: %d\n", n.key, *n.perm(&l)&n.bits)
		}
		if n.key != "default_maxmsgcount" {
			continue
		}
		for _, m := range domainMask {
			if l.Disabled&m.flag != 0 {
				fmt.Fprintln(&b, m.key)
			}
		}
	}
	return b.Bytes()
}

// check refuses what the file or a reader of it would not hold.
func (l *Limits) check(domain string) error {
	for _, n := range limitNumbers {
		bad := false
		switch {
		case n.max != nil:
			bad = int64(*n.max(l)) != int64(int32(*n.max(l)))
		case n.size != nil:
			bad = *n.size(l) > math.MaxInt64
		default:
			bad = *n.perm(l)&^n.bits != 0
		}
		if bad {
			return &Error{Domain: domain, Field: n.key, Err: ErrLimit}
		}
	}
	if extra := l.Disabled &^ l.Mask(); extra != 0 {
		return &Error{Domain: domain, Field: "disabled", Err: fmt.Errorf("%w: flags %#x are no domain's", ErrLimit, uint32(extra))}
	}
	return nil
}

// Classic is what vmoddomlimits -S prints. The title is "Domain: NAME", with the
// real domain's name, or "Default limits: PATH".
func (l Limits) Classic(title string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n--\nMax Pop Accounts: %d\nMax Aliases: %d\nMax Forwards: %d\n", title, l.MaxAccounts, l.MaxAliases, l.MaxForwards)
	fmt.Fprintf(&b, "Max Autoresponders: %d\nMax Mailinglists: %d\nGID Flags:\n", l.MaxResponders, l.MaxLists)
	letters := ""
	for i := range len(maskOrder) {
		for _, m := range domainMask {
			if m.letter == maskOrder[i] && l.Disabled&m.flag != 0 {
				fmt.Fprintf(&b, "  %s\n", m.title)
				letters += string(rune(m.letter))
			}
		}
	}
	fmt.Fprintf(&b, "Flags (for commandline): %s\nFlags for non postmaster accounts:", letters)
	for _, p := range []struct {
		title string
		perm  uint16
	}{
		{"pop account", l.PermAccount}, {"alias", l.PermAlias}, {"forward", l.PermForward}, {"autoresponder", l.PermResponder},
		{"mailinglist", l.PermLists}, {"mailinglist users", l.PermLists >> 3}, {"mailinglist moderators", l.PermLists >> 6},
		{"quota", l.PermQuota}, {"default quota", l.PermDefaultQuota},
	} {
		fmt.Fprintf(&b, "\n  %-24s", p.title+":")
		for i, what := range []string{"CREATE", "MODIFY", "DELETE"} {
			if p.perm&(1<<i) != 0 {
				b.WriteString("DENY_" + what + "  ")
			} else {
				b.WriteString("ALLOW_" + what + " ")
			}
		}
	}
	fmt.Fprintf(&b, "\nDomain Quota: %d MB\nDefault User Quota: %d bytes\n", l.Quota, l.DefaultQuota)
	fmt.Fprintf(&b, "Max Domain Messages: %d\nDefault Max Messages per User: %d\n", l.MaxMessages, l.DefaultMaxMsg)
	return b.String()
}

// ParseDisabled reads the letters of vmoddomlimits -g. An unknown one, which
// vmoddomlimits passes over, is ErrLimit.
func ParseDisabled(letters string) (Flags, error) {
	var f Flags
	for i := range len(letters) {
		known := false
		for _, m := range domainMask {
			if m.letter == letters[i] {
				f, known = f|m.flag, true
			}
		}
		if !known {
			return 0, &Error{Field: "disabled", Err: fmt.Errorf("%w: no flag %q", ErrLimit, letters[i:i+1])}
		}
	}
	return f, nil
}

// ParsePerm reads the letters of vmoddomlimits -p, -a, -f, -r, -l, -u, -o, -x
// and -z: c, m and d forbid to create, modify and delete, a forbids all. An
// unknown one, which vmoddomlimits passes over, is ErrLimit.
func ParsePerm(letters string) (uint16, error) {
	var p uint16
	for i := range len(letters) {
		switch letters[i] {
		case 'a':
			p |= permAll
		case 'c':
			p |= 1
		case 'm':
			p |= 2
		case 'd':
			p |= 4
		default:
			return 0, &Error{Field: "permission", Err: fmt.Errorf("%w: no permission %q", ErrLimit, letters[i:i+1])}
		}
	}
	return p, nil
}
