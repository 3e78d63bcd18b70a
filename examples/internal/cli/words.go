//go:build unix

package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Printable makes text that holds foreign names safe to show: bytes that are
// not UTF-8 become \xNN, and so do control bytes other than newline and tab;
// other code points that do not print, such as those that turn the direction
// of text, become \uNNNN.
func Printable(s string) string {
	if clean(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1, r != '\n' && r != '\t' && r < ' ', r == 0x7f:
			fmt.Fprintf(&b, "\\x%02x", s[0])
		case shown(r):
			b.WriteString(s[:n])
		case r > 0xffff:
			fmt.Fprintf(&b, "\\U%08x", r)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
		s = s[n:]
	}
	return b.String()
}

// Name is Printable for one name on one line: newline and tab are escaped too.
func Name(s string) string {
	return strings.NewReplacer("\n", `\x0a`, "\t", `\x09`).Replace(Printable(s))
}

func shown(r rune) bool { return r == '\n' || r == '\t' || strconv.IsPrint(r) }

func clean(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return false
			}
		}
		if !shown(r) {
			return false
		}
	}
	return true
}

// Count writes a number with commas: 12,345.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Plural is a count with its noun: "1 message", "2 messages". Nouns that do
// not take an s are given in both forms, parted by "|": "mailbox|mailboxes".
func Plural(n int64, noun string) string {
	one, many, ok := strings.Cut(noun, "|")
	if !ok {
		many = one + "s"
	}
	if n == 1 {
		many = one
	}
	return Count(n) + " " + many
}

// Size writes a number of bytes in binary units: 512 B, 1.5 MiB.
func Size(n int64) string {
	if n > -1024 && n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	units := []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	f, u := float64(n)/1024, 0
	for (f >= 1023.95 || f <= -1023.95) && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + units[u]
}

// Span writes a duration as people say it: 0.8 s, 42 s, 3 min 05 s, 2 h 07 min.
func Span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Span(-d)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Truncate(time.Second).Seconds())
	case d < time.Hour:
		s := int64(d / time.Second)
		return fmt.Sprintf("%d min %02d s", s/60, s%60)
	}
	m := int64(d / time.Minute)
	return fmt.Sprintf("%d h %02d min", m/60, m%60)
}
