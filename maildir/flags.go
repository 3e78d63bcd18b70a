package maildir

import (
	"math/bits"

	gomaildir "github.com/emersion/go-maildir"
)

// Flags is a set of the letters A to Z and a to z that stand in a name after
// ":2,". The capitals are defined by maildir(5); the small letters are
// Dovecot's keywords, numbered by the file dovecot-keywords.
type Flags uint64

// The flags of maildir(5).
const (
	Draft   = Flags(1) << ('D' - 'A')
	Flagged = Flags(1) << ('F' - 'A')
	Passed  = Flags(1) << ('P' - 'A') // resent, forwarded or bounced
	Replied = Flags(1) << ('R' - 'A')
	Seen    = Flags(1) << ('S' - 'A')
	Trashed = Flags(1) << ('T' - 'A')
)

// Keyword is the flag of Dovecot keyword n, 0 to 25.
func Keyword(n int) Flags {
	if n < 0 || n > 25 {
		return 0
	}
	return Flags(1) << (26 + n)
}

// ParseFlags collects the letters of s; other bytes are left out.
func ParseFlags(s string) Flags {
	var f Flags
	for i := 0; i < len(s); i++ {
		f |= flagOf(s[i])
	}
	return f
}

func flagOf(c byte) Flags {
	switch {
	case 'A' <= c && c <= 'Z':
		return Flags(1) << (c - 'A')
	case 'a' <= c && c <= 'z':
		return Flags(1) << (26 + c - 'a')
	}
	return 0
}

// String gives the letters in ASCII order, as names want them.
func (f Flags) String() string {
	b := make([]byte, 0, bits.OnesCount64(uint64(f)))
	for i := range 52 {
		if f&(1<<i) == 0 {
			continue
		}
		if i < 26 {
			b = append(b, 'A'+byte(i))
		} else {
			b = append(b, 'a'+byte(i-26))
		}
	}
	return string(b)
}

// Has says whether all of g is set.
func (f Flags) Has(g Flags) bool { return f&g == g }

// GoMaildir gives the flags as github.com/emersion/go-maildir writes them.
func (f Flags) GoMaildir() []gomaildir.Flag {
	var out []gomaildir.Flag
	for _, r := range f.String() {
		out = append(out, gomaildir.Flag(r))
	}
	return out
}

// FromGoMaildir takes over flags of github.com/emersion/go-maildir.
func FromGoMaildir(flags []gomaildir.Flag) Flags {
	var f Flags
	for _, r := range flags {
		if r < 0x80 {
			f |= flagOf(byte(r))
		}
	}
	return f
}
