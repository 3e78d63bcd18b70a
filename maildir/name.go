package maildir

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Name is the file name of a message:
//
//	unique [ "," field ]* [ info ]      1167609600.M1P2.host,S=1234:2,FS
//
// It keeps the name as it was read, whatever it holds: names without info in
// cur/, with info in new/, experimental ":1,", unknown letters. It is
// comparable. The zero Name is invalid.
type Name struct {
	s   string
	sep int // index of the byte that begins the info, or len(s)
}

// ErrName says that no file of a Maildir can be called so.
var ErrName = errors.New("maildir: not a message name")

// ParseName takes a file name apart. It fails only on what cannot be the name
// of a message: an empty one, one that begins with a dot, holds "/" or NUL.
func ParseName(s string) (Name, error) {
	if s == "" || s[0] == '.' || strings.ContainsAny(s, "/\x00") {
		return Name{}, fmt.Errorf("%w: %q", ErrName, s)
	}
	return Name{s, infoStart(s)}, nil
}

// infoStart finds where the info begins: at the first ":", which no unique
// part may hold, or at a ";" or "!" before "2,", as systems write it whose
// file names cannot have a colon.
func infoStart(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ':':
			return i
		case ';', '!':
			if strings.HasPrefix(s[i+1:], "2,") {
				return i
			}
		}
	}
	return len(s)
}

// IsValid tells a parsed Name from the zero Name.
func (n Name) IsValid() bool { return n.s != "" }

// String is the whole name, byte for byte as it was parsed.
func (n Name) String() string { return n.s }

// MarshalText is String.
func (n Name) MarshalText() ([]byte, error) { return []byte(n.s), nil }

// UnmarshalText is ParseName.
func (n *Name) UnmarshalText(b []byte) error {
	m, err := ParseName(string(b))
	if err == nil {
		*n = m
	}
	return err
}

// Base is the name without the info. It never changes while a message lives,
// and is what qmail-pop3d and vpopmail give as the message's UIDL.
func (n Name) Base() string { return n.s[:n.sep] }

// Unique is the base without the fields.
func (n Name) Unique() string {
	u, _, _ := strings.Cut(n.Base(), ",")
	return u
}

// Info is what follows the base, separator included.
func (n Name) Info() string { return n.s[n.sep:] }

// Field is the value of a field of the base, such as "S" or "W".
func (n Name) Field(key string) (string, bool) {
	_, rest, _ := strings.Cut(n.Base(), ",")
	for f := range strings.SplitSeq(rest, ",") {
		if k, v, ok := strings.Cut(f, "="); ok && k == key {
			return v, true
		}
	}
	return "", false
}

// Size is the size in bytes that the field S gives.
func (n Name) Size() (int64, bool) { return n.number("S") }

// VirtualSize is the size with CRLF line ends that the field W gives.
func (n Name) VirtualSize() (int64, bool) { return n.number("W") }

func (n Name) number(key string) (int64, bool) {
	v, ok := n.Field(key)
	if !ok || v == "" || v[0] < '0' || v[0] > '9' {
		return 0, false
	}
	i, err := strconv.ParseInt(v, 10, 64)
	return i, err == nil
}

// Time is the time that the name begins with.
func (n Name) Time() (time.Time, bool) {
	sec, _, ok := strings.Cut(n.s, ".")
	if !ok {
		return time.Time{}, false
	}
	i, err := strconv.ParseInt(sec, 10, 64)
	if err != nil || i < 0 || sec[0] == '+' {
		return time.Time{}, false
	}
	return time.Unix(i, 0), true
}

// flagPart finds the letters of the last ":2," in the info, as Dovecot reads
// it; two of them are what a careless writer leaves.
func (n Name) flagPart() (start, end int, ok bool) {
	info := n.Info()
	for i := len(info) - 3; i >= 0; i-- {
		if info[i+1] != '2' || info[i+2] != ',' || (info[i] != ':' && i != 0) {
			continue
		}
		start = n.sep + i + 3
		end = len(n.s)
		if c := strings.IndexAny(n.s[start:], ",:"); c >= 0 {
			end = start + c
		}
		return start, end, true
	}
	return 0, 0, false
}

// Flags are the letters after ":2,".
func (n Name) Flags() Flags {
	a, b, ok := n.flagPart()
	if !ok {
		return 0
	}
	return ParseFlags(n.s[a:b])
}

// WithFlags gives the same message other flags. What else stands in the info,
// unknown bytes among the letters included, is kept.
func (n Name) WithFlags(f Flags) Name {
	a, b, ok := n.flagPart()
	if !ok {
		sep := ":"
		return Name{n.s + sep + "2," + f.String(), n.sep}
	}
	var odd []byte
	for i := a; i < b; i++ {
		if flagOf(n.s[i]) == 0 {
			odd = append(odd, n.s[i])
		}
	}
	return Name{n.s[:a] + f.String() + string(odd) + n.s[b:], n.sep}
}

// Bare is the name as it stands in new/: without any info.
func (n Name) Bare() Name { return Name{n.Base(), n.sep} }
