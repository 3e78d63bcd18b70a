package plesk

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// compatible begins the SQL mode of a dump made with --compatible, which is in
// latin1 without saying so.
const compatible = "NO_AUTO_VALUE_ON_ZERO,"

// text is a string of a dump as the server gives it out: in UTF-8. The bytes of
// a string are in the character set of its introducer, or of the session; where
// that is "binary", and in a hexadecimal literal, they are those of the column, and
// so they probably are where the session's is not told. What is in another character
// set than UTF-8 and latin1 is kept as it stands, and told.
func (d *dumpReader) text(t *table, p place, introducer, s string) string {
	if p.at < 0 || p.c.binary || isASCII(s) {
		return s
	}
	charset := introducer
	if charset == "" {
		charset = d.s.charset
	}
	if charset == "binary" {
		charset = p.c.charset
	}
	switch {
	case charset == "latin1":
		return fromLatin1(s)
	case slices.Contains([]string{"", "utf8", "utf8mb3", "utf8mb4", "ascii"}, charset) && utf8.ValidString(s):
	case charset == "" && (strings.HasPrefix(d.s.mode, compatible) || p.c.charset == "latin1"):
		return fromLatin1(s)
	case charset == "":
		t.charset = "unknown"
	default:
		t.charset = charset
	}
	return s
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// cp1252 are the characters 0x80 to 0x9f of what MySQL calls latin1, which is
// Microsoft's code page 1252 with control characters where that has none.
var cp1252 = [32]rune{
	0x20ac, 0x81, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8d, 0x017d, 0x8f,
	0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x9d, 0x017e, 0x0178,
}

func fromLatin1(s string) string {
	b := make([]byte, 0, len(s)+len(s)/8+8)
	for i := range len(s) {
		r := rune(s[i])
		if r >= 0x80 && r < 0xa0 {
			r = cp1252[r-0x80]
		}
		b = utf8.AppendRune(b, r)
	}
	return string(b)
}
