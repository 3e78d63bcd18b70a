package qmailcontrol

import (
	"errors"
	"fmt"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// files looks at each file for itself.
func (k *checker) files() {
	for e := range k.c.Entries() {
		f, known := FileNamed(e.Name)
		at := place{file: e.Name}
		if e.Link != "" {
			k.add("link", qmailkit.Info, at, "", "a symbolic link to %q", e.Link)
		}
		if e.Err != nil {
			s := qmailkit.Warning
			if !known && errors.Is(e.Err, qmailkit.ErrNotPlain) {
				s = qmailkit.Info // somebody's directory
			}
			k.add("unreadable", s, at, "", "cannot be read: %w", e.Err)
			continue
		}
		if !known || f.Kind == KindCDB {
			continue
		}
		l := parseText(e.Text)
		k.bytes(f, l)
		switch f.Kind {
		case KindLine:
			k.oneLine(f, l)
		case KindInt:
			k.number(f, l)
		case KindList:
			for at, v := range k.values(e.Name) {
				k.blanks(at, v)
			}
		case KindMap:
			k.mapping(e.Name)
		}
	}
}

// bytes looks for CR and NUL. One Problem tells of all lines.
func (k *checker) bytes(f File, l *Lines) {
	var cr, nul place
	crs, nuls := 0, 0
	at := place{file: f.Name}
	for i, text := range l.text {
		if f.Kind <= KindInt && i > 0 {
			break // qmail reads the first line
		}
		at.line = i + 1
		if strings.HasSuffix(strings.TrimRight(text, blanks), "\r") {
			if crs++; crs == 1 {
				cr = at
			}
		}
		if strings.Contains(text, "\x00") {
			if nuls++; nuls == 1 {
				nul = at
			}
		}
		at.offset += int64(len(text)) + 1
	}
	if crs > 0 {
		s := qmailkit.Error
		if f.Kind == KindInt {
			s = qmailkit.Info
		}
		k.add("crlf", s, cr, "write the file with bare newlines", "%d lines end in CR, which is part of their value to qmail", crs)
	}
	if nuls > 0 {
		k.add("nul", qmailkit.Warning, nul, "", "NUL in %d lines", nuls)
	}
}

func (k *checker) oneLine(f File, l *Lines) {
	at := place{file: f.Name, line: 1}
	v := l.First()
	switch {
	case v == "":
		k.add("empty", qmailkit.Error, at, "remove the file or fill it", "the empty value counts, no default steps in")
	case v[0] == '#':
		k.add("comment", qmailkit.Warning, at, "", "%q is a value: this file has no comments", v)
	case f.Name != "smtpgreeting" && strings.ContainsAny(v, " \t"):
		k.add("blank", qmailkit.Warning, at, "", "blank in %q", v)
	}
}

func (k *checker) number(f File, l *Lines) {
	at := place{file: f.Name, line: 1}
	text := l.First()
	n, ok := l.Int()
	switch {
	case !ok:
		k.add("number", qmailkit.Warning, at, "", "%q does not begin with a digit: the default %s stands", text, f.Default)
		return
	case strings.TrimRight(text, "\r") != fmt.Sprint(n):
		k.add("number", qmailkit.Warning, at, "", "%q counts as %d", text, n)
	}
	if n == 0 && strings.HasPrefix(f.Name, "concurrency") {
		k.add("no-delivery", qmailkit.Warning, at, "", "mail is taken and never delivered")
	}
}

// blanks looks for blanks that keep a name from ever matching.
func (k *checker) blanks(at place, name string) {
	if strings.TrimSpace(name) != name && strings.Trim(name, " \t") != name {
		k.add("blank", qmailkit.Warning, at, "", "the blanks around %q are part of it", name)
	}
}

func (k *checker) mapping(name string) {
	seen := map[string]string{}
	for at, v := range k.values(name) {
		key, value, ok := strings.Cut(v, ":")
		if !ok {
			k.add("no-colon", qmailkit.Warning, at, "", "%q has no colon and does not count", v)
			continue
		}
		k.blanks(at, key)
		k.blanks(at, value)
		if before, again := seen[lower(key)]; again && before != value {
			k.add("duplicate", qmailkit.Warning, at, "", "%q again: the last line answers", key)
		}
		seen[lower(key)] = value
	}
}
