package vpopmail

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// vdelivermail reads .qmail files itself, and not as qmail-local does: there
// are no mbox files, no "+list", and a path may begin with any dot.

// A lineKind is what a line of a .qmail file of a user asks vdelivermail for.
type lineKind uint8

const (
	lineComment lineKind = iota
	lineBlank
	lineProgram
	lineMaildir
	lineMbox // refused
	lineForward
)

// An instruction is one line.
type instruction struct {
	kind lineKind
	arg  string // command, path as it stands, or address
	line int    // from 1
}

const (
	// maxDotLine is what vdelivermail reads of a line at once, its LF included
	// (check_forward_deliver); what is longer becomes a second line there.
	maxDotLine = 499
	// maxDotQmail bounds a user's file.
	maxDotQmail = 64 << 10
)

// parseInstruction reads a line without its LF (vdelivermail.c:deliver_mail).
func parseInstruction(l string) instruction {
	in := instruction{arg: l}
	switch {
	case l == "":
		in.kind = lineBlank
	case l[0] == '#':
		in.kind = lineComment
	case l[0] == '|':
		in.kind, in.arg = lineProgram, strings.TrimLeft(l, " |")
	case l[0] != '.' && l[0] != '/':
		in.kind, in.arg = lineForward, strings.TrimPrefix(l, "&")
	case l[len(l)-1] == '/':
		in.kind = lineMaildir
	default:
		in.kind = lineMbox
	}
	return in
}

// instructions reads a .qmail file of a user. A NUL ends its line, as in C. A
// line that vdelivermail would take for two is an error.
func instructions(b []byte) ([]instruction, error) {
	var all []instruction
	n := 0
	for l := range bytes.Lines(b) {
		n++
		if len(l) > maxDotLine {
			return all, fmt.Errorf("line %d: %w: %d bytes, vdelivermail reads %d as one", n, ErrTooLong, len(l), maxDotLine)
		}
		l = bytes.TrimSuffix(l, []byte("\n"))
		if end := bytes.IndexByte(l, 0); end >= 0 {
			l = l[:end]
		}
		in := parseInstruction(string(l))
		in.line = n
		all = append(all, in)
	}
	return all, nil
}

// dotNames are the .qmail files that vdelivermail looks for in a home, in that
// order. ext is what stands behind the first dash of the local part, empty in
// installations without address extensions.
func dotNames(ext string) []string {
	var names []string
	if ext != "" {
		ext = strings.ReplaceAll(ext, ".", ":")
		names = append(names, ".qmail-"+ext)
		for i := len(ext); i >= 0; i-- {
			if i == 0 || ext[i-1] == '-' {
				names = append(names, ".qmail-"+ext[:i]+"default")
			}
		}
	}
	return append(names, ".qmail")
}

// wildAliases are the names under which an SQL alias may serve a local part:
// itself, then each part up to a dash with "default", longest first
// (vdelivermail.c:process_valias).
func wildAliases(user string) []string {
	names := []string{user}
	for i := len(user); i > 0; i-- {
		if user[i-1] == '-' {
			names = append(names, user[:i]+"default")
		}
	}
	return names
}

// maildirAddress is the address that vdelivermail reads out of the path of a
// Maildir (vpopmail.c:maildir_to_email): the directory above the last Maildir,
// and the first one above that with a dot in it. Empty is that it finds none.
func maildirAddress(dir string) string {
	i := strings.LastIndex(dir+"/", "/Maildir/")
	if i <= 0 {
		return ""
	}
	parts := strings.Split(strings.Trim(dir[:i], "/"), "/")
	user := parts[len(parts)-1]
	for n := len(parts) - 2; n >= 0; n-- {
		if strings.Contains(parts[n], ".") {
			return user + "@" + parts[n]
		}
	}
	return ""
}

// A DeliveryLine is a line of .qmail-default that runs vdelivermail.
type DeliveryLine struct {
	Home string   // of vpopmail, as the path of the program tells; may be empty
	Args []string // of vdelivermail; "" and the catch-all where all is well
}

// ParseDeliveryLine reads the command of a .qmail file, with or without the '|'
// before it: HOME/bin/vdelivermail, two single quotes, bounce-no-mailbox. ok is
// false for any other program, and for a command that only a shell could take
// apart.
func ParseDeliveryLine(command string) (l DeliveryLine, ok bool) {
	words, ok := shellWords(strings.TrimLeft(command, "| \t"))
	if !ok || len(words) == 0 || path.Base(words[0]) != "vdelivermail" {
		return DeliveryLine{}, false
	}
	if home, found := strings.CutSuffix(words[0], "/bin/vdelivermail"); found {
		l.Home = home
	}
	l.Args = words[1:]
	return l, true
}

// CatchAll is what the line does with mail for unknown users: "delete",
// "bounce-no-mailbox", a path, or an address. ok is false where vdelivermail
// defers everything, because it was not given two arguments.
func (l *DeliveryLine) CatchAll() (word string, ok bool) {
	if len(l.Args) != 2 {
		return "", false
	}
	return l.Args[1], true
}

// shellWords takes a simple command apart: words and quotes. ok is false where
// a shell would do more with it.
func shellWords(s string) (words []string, ok bool) {
	var word strings.Builder
	in := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'' || c == '"':
			n := strings.IndexByte(s[i+1:], c)
			if n < 0 || c == '"' && strings.ContainsAny(s[i+1:i+1+n], "$`\\") {
				return nil, false
			}
			word.WriteString(s[i+1 : i+1+n])
			i += n + 1
			in = true
		case c == ' ' || c == '\t':
			if in {
				words = append(words, word.String())
				word.Reset()
			}
			in = false
		case c < ' ' || strings.IndexByte("$`\\;&|<>()*?[]{}~#!=", c) >= 0 && !(c == '=' && len(words) > 0):
			return nil, false
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words, true
}

// deliveryProblem is about a .qmail file of a user.
func deliveryProblem(code, file string, line int, format string, args ...any) qmailkit.Problem {
	p := problem(code, qmailkit.Warning, format, args...)
	p.Path, p.Line = file, line
	return p
}
