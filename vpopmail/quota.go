package vpopmail

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// NoQuota is the word for an account without a limit.
const NoQuota = "NOQUOTA"

// ParseQuota checks a quota word ("10M", "5242880S,1000C", "NOQUOTA") and
// returns the form that vpopmail stores: bytes with an S, then messages with a
// C, "NOQUOTA", or nothing for a limit of zero, which means no limit.
//
// Words that vpopmail stores as something nobody means are refused with
// ErrQuota: "10G" (ten bytes), "1000c" (bytes, not messages), "1.5M", "-5",
// "junk", two sizes in one word. ClassicQuota is what vpopmail does with them.
func ParseQuota(word string) (string, error) {
	if word == NoQuota {
		return word, nil
	}
	fail := func(why string) (string, error) {
		return "", &Error{Field: "quota", Err: fmt.Errorf("%w: %q: %s", ErrQuota, word, why)}
	}
	var size, count uint64
	var haveSize, haveCount bool
	for part := range strings.SplitSeq(word, ",") {
		digits, unit := splitQuota(part)
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil {
			return fail("not a whole number from 0 to 9223372036854775807")
		}
		switch {
		case unit == "C" && !haveCount:
			count, haveCount = n, true
		case unit == "C" || haveSize:
			return fail("one limit of a kind")
		default:
			mult, ok := quotaUnits[strings.ToUpper(unit)]
			if !ok {
				return fail("units are S, K, M and C for messages")
			}
			if n > math.MaxInt64/mult {
				return fail("too large")
			}
			size, haveSize = n*mult, true
		}
	}
	return formatQuota(size, count), nil
}

var quotaUnits = map[string]uint64{
	"": 1, "S": 1, "B": 1, "BS": 1, "K": 1 << 10, "KB": 1 << 10, "KS": 1 << 10, "KBS": 1 << 10,
	"M": 1 << 20, "MB": 1 << 20, "MS": 1 << 20, "MBS": 1 << 20,
}

func splitQuota(part string) (digits, unit string) {
	i := 0
	for i < len(part) && part[i] >= '0' && part[i] <= '9' {
		i++
	}
	return part[:i], part[i:]
}

func formatQuota(size, count uint64) string {
	var parts []string
	if size != 0 {
		parts = append(parts, strconv.FormatUint(size, 10)+"S")
	}
	if count != 0 {
		parts = append(parts, strconv.FormatUint(count, 10)+"C")
	}
	return strings.Join(parts, ",")
}

// ClassicQuota returns what vpopmail 5.4 and 5.6 store for a word
// (vpopmail.c:format_maildirquota), whatever it may mean: "10G" is "10S".
// Checkers use it to say what an installation made of a word.
func ClassicQuota(word string) string {
	if word == NoQuota {
		return word
	}
	var size, count uint64
	for part := range strings.SplitSeq(word, ",") {
		if strings.HasSuffix(part, "C") {
			count = strtoll(part)
			continue
		}
		part = cutSuffixFold(part, 's')
		part = cutSuffixFold(part, 'b')
		mult := uint64(1)
		if rest := cutSuffixFold(part, 'm'); rest != part {
			part, mult = rest, 1<<20
		} else if rest := cutSuffixFold(part, 'k'); rest != part {
			part, mult = rest, 1<<10
		}
		size = strtoll(part) * mult
	}
	return formatQuota(size, count)
}

func cutSuffixFold(s string, c byte) string {
	if n := len(s); n > 0 && s[n-1]|0x20 == c {
		return s[:n-1]
	}
	return s
}

// strtoll reads as the C function does: spaces, a sign, digits, the rest is
// not looked at; too large is the largest. The result is its bits.
func strtoll(s string) uint64 {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	negative := strings.HasPrefix(s, "-")
	if negative || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	digits, _ := splitQuota(s)
	if digits == "" {
		return 0
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	switch {
	case err == nil && negative:
		return -n
	case err == nil:
		return n
	case negative:
		return 1 << 63
	}
	return math.MaxInt64
}
