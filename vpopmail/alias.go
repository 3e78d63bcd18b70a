package vpopmail

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// maxAliasLine is the longest line that valias puts into a .qmail file
// (vpopmail.h:MAX_ALIAS_LINE, with its NUL).
const maxAliasLine = 159

// maxAliasName bounds the name of an alias that valias cannot be given: that of
// the owner of a list has its domain in it (qmail-local(8) makes the sender of
// what it forwards of its own local part).
const maxAliasName = 200

// aliasPrefix begins the names of the .qmail files of aliases.
const aliasPrefix = ".qmail-"

// aliasFile is the file of an alias: qmail-local looks for the name with colons
// in place of its dots.
func aliasFile(name string) string { return aliasPrefix + strings.ReplaceAll(name, ".", ":") }

// aliasOf is the alias of a file; ok is false for .qmail-default, which is the
// catch-all, and for other files.
func aliasOf(file string) (name string, ok bool) {
	name, ok = strings.CutPrefix(file, aliasPrefix)
	return strings.ReplaceAll(name, ":", "."), ok && name != "default" && name != ""
}

// ParseAliasLines takes a .qmail file apart. A last line without LF is one too;
// a NUL is a byte like others.
func ParseAliasLines(b []byte) []string {
	var lines []string
	for l := range bytes.Lines(b) {
		lines = append(lines, string(bytes.TrimSuffix(l, []byte("\n"))))
	}
	return lines
}

// Classic is what valias -s prints of an alias: a line for each of its lines.
// The domain is the one that stands in the output: the real one for .qmail
// files, the one that was typed for a database.
func (a *Alias) Classic(domain string) string {
	var b strings.Builder
	for _, l := range a.Lines {
		b.WriteString(a.Name + "@" + domain + " -> " + l + "\n")
	}
	return b.String()
}

// Problems says what qmail-local makes of the lines that their writer may not
// have meant (dot-qmail(5)). path is the file that they stand in.
func (a *Alias) Problems(path string) []qmailkit.Problem {
	var all []qmailkit.Problem
	add := func(line int, code string, s qmailkit.Severity, words string) {
		p := at(problem(code, s, "%s: %s", a.Name, words), path)
		p.Line = line
		all = append(all, p)
	}
	deliveries := 0
	for i, l := range a.Lines {
		l = strings.TrimRight(l, " \t")
		if l != "" && l[0] != '#' {
			deliveries++
		}
		switch {
		case l == "" && i == 0:
			add(1, "alias.blank-first-line", qmailkit.Error, "qmail-local puts all mail off and bounces it in the end, because the first line is blank")
		case l == "":
		case l[0] == ' ' || l[0] == '\t':
			add(i+1, "alias.leading-blank", qmailkit.Error, "a blank at the beginning is part of the address")
		case strings.IndexByte(l, 0) >= 0:
			add(i+1, "alias.nul", qmailkit.Error, "qmail-local reads the line up to its NUL")
		case len(l) > maxAliasLine:
			add(i+1, "alias.long-line", qmailkit.Warning, fmt.Sprintf("%d bytes; vpopmail's own programs show this line in pieces", len(l)))
		}
	}
	switch {
	case len(a.Lines) == 0:
		add(0, "alias.empty", qmailkit.Error, "the file is empty, and mail is delivered as if there were none into the domain's own directory")
	case deliveries == 0:
		add(0, "alias.discards", qmailkit.Error, "there are comments only, and mail is thrown away")
	}
	return all
}

// aliasName checks the name of an alias as valias does (vpopmail.c:
// is_username_valid), and beyond it refuses a slash, which would lead out of
// the domain's directory.
func (p *Profile) aliasName(name string, max int) error {
	fail := func(err error) error { return &Error{User: name, Field: "user", Err: err} }
	if name == "" {
		return fail(fmt.Errorf("%w: it is empty", ErrBadUser))
	}
	if len(name) > max {
		return fail(fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLong, len(name), max))
	}
	for i := range len(name) {
		if !alnum(name[i]) && strings.IndexByte(userBytes, name[i]) < 0 {
			return fail(fmt.Errorf("%w: byte %q", ErrBadUser, name[i:i+1]))
		}
	}
	return nil
}

// checkAliasLine refuses a line that would not be read as it was meant.
func checkAliasLine(name, line string, max int) error {
	fail := func(err error) error { return &Error{User: name, Field: "alias line", Err: err} }
	switch {
	case strings.ContainsAny(line, "\n\x00"):
		return fail(ErrBadByte)
	case strings.Trim(line, " \t") == "":
		return fail(fmt.Errorf("%w: it is blank", ErrBadAlias))
	case line[0] == ' ' || line[0] == '\t':
		return fail(fmt.Errorf("%w: it begins with a blank", ErrBadAlias))
	case max > 0 && len(line) > max:
		return fail(fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLong, len(line), max))
	}
	return nil
}

// An aliasExistsError is ErrAliasExists with the words of valias.
type aliasExistsError struct{ addr, line string }

func (e *aliasExistsError) Error() string {
	return fmt.Sprintf("alias %s -> %s already exists.", e.addr, e.line)
}

func (e *aliasExistsError) Is(target error) bool { return target == ErrAliasExists }

// A noAliasError is ErrNoAlias with the words of valias.
type noAliasError struct{ words string }

func (e *noAliasError) Error() string { return e.words }

func (e *noAliasError) Is(target error) bool { return target == ErrNoAlias }
