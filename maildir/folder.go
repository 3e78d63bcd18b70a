package maildir

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Encoding says how the directory names of folders carry characters outside
// ASCII.
type Encoding uint8

const (
	// UTF7 is IMAP's modified UTF-7 (RFC 3501 section 5.1.3), which Courier
	// and Dovecot use by default.
	UTF7 Encoding = iota
	// UTF8 writes the bytes as they are, as Dovecot does with ":UTF-8".
	UTF8
)

// ErrFolder says that a folder name cannot be written as a Maildir++ folder.
var ErrFolder = errors.New("maildir: folder name cannot be used")

// maxFolder leaves the directory name within NAME_MAX of all file systems.
const maxFolder = 255

// FolderDir gives the directory name of the folder with these levels:
// "A", "B" becomes ".A.B" (Maildir++). No level at all is the INBOX, ".".
//
// A level is bytes. If they are UTF-8 they are encoded; a level that is valid
// modified UTF-7 already, as UW-IMAP stores it, is taken as such; other bytes
// are read as Latin-1. A "." inside a level, which Maildir++ cannot write, and
// "/" become "_". changed says that the folder will be seen under another name.
func FolderDir(levels []string, enc Encoding) (dir string, changed bool, err error) {
	if len(levels) == 0 {
		return ".", false, nil
	}
	var b strings.Builder
	for _, l := range levels {
		text, exact := levelText(l)
		clean := strings.Map(func(r rune) rune {
			if r == '.' || r == '/' || r < ' ' || r == 0x7f {
				return '_'
			}
			return r
		}, text)
		if clean == "" {
			return "", false, fmt.Errorf("%w: %q has an empty level", ErrFolder, levels)
		}
		changed = changed || !exact || clean != text
		b.WriteByte('.')
		if enc == UTF8 {
			b.WriteString(clean)
		} else {
			b.WriteString(encodeUTF7(clean))
		}
	}
	if b.Len() > maxFolder {
		return "", false, fmt.Errorf("%w: %q is longer than %d bytes", ErrFolder, levels, maxFolder)
	}
	return b.String(), changed, nil
}

// levelText gives the characters of a level's bytes; exact is false where they
// had to be guessed.
func levelText(l string) (text string, exact bool) {
	if t, err := DecodeUTF7(l); err == nil {
		return t, true
	}
	if utf8.ValidString(l) {
		return l, true
	}
	r := make([]rune, len(l))
	for i := range len(l) {
		r[i] = rune(l[i])
	}
	return string(r), false
}

// FolderLevels is the reverse of FolderDir: the levels of the directory
// ".A.B", as UTF-8 where the name is well encoded and as its bytes elsewhere.
// ok is false for a name that is no folder's.
func FolderLevels(dir string, enc Encoding) (levels []string, ok bool) {
	if dir == "." {
		return nil, true
	}
	if len(dir) < 2 || dir[0] != '.' || dir[1] == '.' || strings.ContainsAny(dir, "/\x00") {
		return nil, false
	}
	for l := range strings.SplitSeq(dir[1:], ".") {
		if enc == UTF7 {
			if t, err := DecodeUTF7(l); err == nil {
				l = t
			}
		}
		levels = append(levels, l)
	}
	return levels, true
}

// EncodeUTF7 writes text in IMAP's modified UTF-7. Bytes that are not UTF-8
// are an error.
func EncodeUTF7(text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", fmt.Errorf("%w: %q is not UTF-8", ErrFolder, text)
	}
	return encodeUTF7(text), nil
}

var base64UTF7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

func encodeUTF7(text string) string {
	var out strings.Builder
	var run []rune
	flush := func() {
		if len(run) == 0 {
			return
		}
		var be []byte
		for _, u := range utf16.Encode(run) {
			be = append(be, byte(u>>8), byte(u))
		}
		out.WriteByte('&')
		out.WriteString(base64UTF7.EncodeToString(be))
		out.WriteByte('-')
		run = run[:0]
	}
	for _, r := range text {
		if r < 0x20 || r > 0x7e {
			run = append(run, r)
			continue
		}
		flush()
		if r == '&' {
			out.WriteString("&-")
		} else {
			out.WriteByte(byte(r))
		}
	}
	flush()
	return out.String()
}

// DecodeUTF7 reads IMAP's modified UTF-7. It refuses what is not the one
// canonical form: 8-bit bytes, "&" without "-", encoded ASCII, lone
// surrogates, two shifts side by side.
func DecodeUTF7(s string) (string, error) {
	bad := func() (string, error) { return "", fmt.Errorf("%w: %q is not modified UTF-7", ErrFolder, s) }
	var out strings.Builder
	for i := 0; i < len(s); {
		c := s[i]
		if c < 0x20 || c > 0x7e {
			return bad()
		}
		if c != '&' {
			out.WriteByte(c)
			i++
			continue
		}
		end := strings.IndexByte(s[i:], '-')
		if end < 0 {
			return bad()
		}
		body := s[i+1 : i+end]
		i += end + 1
		if body == "" {
			out.WriteByte('&')
			continue
		}
		be, err := base64UTF7.Strict().DecodeString(body)
		if err != nil || len(be)%2 != 0 {
			return bad()
		}
		u := make([]uint16, len(be)/2)
		for k := range u {
			u[k] = uint16(be[2*k])<<8 | uint16(be[2*k+1])
		}
		out.WriteString(string(utf16.Decode(u)))
	}
	text := out.String()
	// Whatever another writer could have written shorter, or with a broken
	// surrogate, does not come back as it was.
	if encodeUTF7(text) != s {
		return bad()
	}
	return text, nil
}
