package vpopmail

import (
	"errors"
	"strings"
	"testing"
)

// TestParseLimits has the odd rules of vlimits_read_limits_file.
func TestParseLimits(t *testing.T) {
	none := NoLimits()
	with := func(edit func(*Limits)) Limits {
		l := NoLimits()
		edit(&l)
		return l
	}
	long := strings.Repeat("#2345678\n", limitsBuffer/9)
	for _, c := range []struct {
		name, text string
		want       Limits
	}{
		{"empty", "", none},
		{"comments", "# maxaliases 5\n#maxaliases 5\n\n", none},
		{"a blank hides", " maxaliases 5\n\tmaxaliases 5\n:maxaliases 5\n", none},
		{"separators", "maxaliases \t: 5\nmaxforwards:6\nmaxmailinglists\t7", with(func(l *Limits) { l.MaxAliases, l.MaxForwards, l.MaxLists = 5, 6, 7 })},
		{"case", "MaxAliases 5\nDISABLE_POP\n", none},
		{"the last counts", "maxaliases 5\nmaxaliases 6\n", with(func(l *Limits) { l.MaxAliases = 6 })},
		{"no value", "maxaliases 5\nmaxaliases\nquota\n", with(func(l *Limits) { l.MaxAliases = 5 })},
		{"an empty value", "maxaliases 5\nmaxaliases:\n", with(func(l *Limits) { l.MaxAliases = 0 })},
		{"presence is enough", "disable_pop:0\ndisable_imap no\ndelete_spam\n", with(func(l *Limits) { l.Disabled = NoPOP | NoIMAP | DeleteSpam })},
		{"carriage returns", "maxaliases 5\rdisable_smtp\r\n", with(func(l *Limits) { l.MaxAliases, l.Disabled = 5, NoSMTP })},
		{"permissions", "perm_account 15\nperm_maillist: 511\nperm_quota: 511\n", with(func(l *Limits) { l.PermAccount, l.PermLists, l.PermQuota = 7, 511, 7 })},
		{"digits first", "quota 12x\nmaxmsgcount x\ndefault_quota 10M\ndefault_maxmsgcount -1\n",
			with(func(l *Limits) { l.Quota, l.DefaultQuota, l.DefaultMaxMsg = 12, 10, 1<<64-1 })},
		{"wraps", "maxaliases 4294967301\n", with(func(l *Limits) { l.MaxAliases = 5 })},
		{"a NUL ends it", "maxaliases 5\nmaxforwards 6\x007\nmaxmailinglists 7\n", with(func(l *Limits) { l.MaxAliases, l.MaxForwards = 5, 6 })},
		{"behind 2,048 bytes", long + "maxaliases 5\n", none},
		{"cut at 2,048 bytes", long + "quota 5\n"[:limitsBuffer-len(long)-1], none},
		{"unknown keys", "maxpopaccount 5\nfrobnicate\n", none},
	} {
		if got := ParseLimits([]byte(c.text)); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// FuzzLimits holds that what was read and can be stored is read again as it
// was.
func FuzzLimits(f *testing.F) {
	for _, seed := range []string{"", vlimitsDefault, "disable_pop:0\nperm_maillist 511\nquota -5\n", "a\x00b\rdelete_spam", strings.Repeat("x", 2050)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l := ParseLimits(b)
		if l.Mask() != l.Disabled {
			t.Errorf("mask %#x of %#x", l.Mask(), l.Disabled)
		}
		if err := l.check(""); err != nil {
			if l.Quota <= 1<<63-1 && l.MaxMessages <= 1<<63-1 && l.DefaultQuota <= 1<<63-1 && l.DefaultMaxMsg <= 1<<63-1 {
				t.Errorf("%q: %v", b, err)
			}
			return
		}
		if again := ParseLimits(l.Bytes()); again != l {
			t.Errorf("%q: %+v, then %+v", b, l, again)
		}
	})
}

// TestEffective has vlimits_setflags.
func TestEffective(t *testing.T) {
	l := Limits{Disabled: NoPOP | NoSMTP | BounceMail | QmailAdmin}
	if l.Mask() != NoPOP|NoSMTP {
		t.Errorf("mask %#x", l.Mask())
	}
	u := User{Flags: NoIMAP}
	if got := u.Effective(l); got != NoIMAP|NoPOP|NoSMTP {
		t.Errorf("%#x", got)
	}
	if u.Flags |= Override; u.Effective(l) != u.Flags {
		t.Errorf("override: %#x", u.Effective(l))
	}
}

// TestLimitLetters has the options of vmoddomlimits.
func TestLimitLetters(t *testing.T) {
	all, err := ParseDisabled("udpswircxm")
	if err != nil || all != (Limits{Disabled: 1<<32 - 1}).Mask() {
		t.Errorf("%#x, %v", all, err)
	}
	if p, err := ParsePerm("cd"); p != 5 || err != nil {
		t.Error(p, err)
	}
	if p, err := ParsePerm("a"); p != 7 || err != nil {
		t.Error(p, err)
	}
	for _, bad := range []string{"z", "pB"} {
		if _, err := ParseDisabled(bad); !errors.Is(err, ErrLimit) {
			t.Errorf("%q: %v", bad, err)
		}
		if _, err := ParsePerm(bad); !errors.Is(err, ErrLimit) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	l := NoLimits()
	l.Disabled, l.PermAccount, l.PermLists = NoPOP|NoIMAP|DeleteSpam, 5, 7<<3|2<<6
	got := l.Classic("Domain: x")
	for _, want := range []string{"GID Flags:\n  NO_IMAP\n  NO_POP\n  DEL_SPAM\nFlags (for commandline): ipx\n",
		"  pop account:            DENY_CREATE  ALLOW_MODIFY DENY_DELETE  \n",
		"  mailinglist:            ALLOW_CREATE ALLOW_MODIFY ALLOW_DELETE \n",
		"  mailinglist users:      DENY_CREATE  DENY_MODIFY  DENY_DELETE  \n",
		"  mailinglist moderators: ALLOW_CREATE DENY_MODIFY  ALLOW_DELETE \n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q misses %q", got, want)
		}
	}
}
