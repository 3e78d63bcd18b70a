package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/aliasmap"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// aliasScript writes what makes the lines of addresses, the .qmail files of
// users and the vacation texts, as run does: with valias where that takes the
// name, else with a file. vpopmail decides where users' directories are, so the
// script asks it.
func (m *move) aliasScript(w io.Writer) error {
	if m.addresses == nil {
		return nil
	}
	s := &aliasShell{m: m, w: bufio.NewWriter(w), dirs: map[string]string{}}
	s.printf("umask 077\n")
	for i := range m.replies {
		s.reply(&m.replies[i])
	}
	for i := range m.addresses.Homes {
		e := &m.addresses.Homes[i]
		s.file(e, s.ask("vuserinfo", e.Name+"@"+m.domain), dotQmail, s.words(e, e.Name))
	}
	for i := range m.addresses.Entries {
		s.entry(&m.addresses.Entries[i])
	}
	return s.w.Flush()
}

type aliasShell struct {
	m    *move
	w    *bufio.Writer
	dirs map[string]string // variables of directories
}

func (s *aliasShell) printf(format string, args ...any) { fmt.Fprintf(s.w, format, args...) }

// ask is a shell word for the directory of a user or a domain. The script stops
// where there is none: a path must not begin with nothing.
func (s *aliasShell) ask(program, of string) string {
	name := s.dirs[program+" "+of]
	if name == "" {
		name = fmt.Sprintf("d%d", len(s.dirs)+1)
		s.dirs[program+" "+of] = name
		s.printf("%s=$(%s -d %s)\ntest -d \"$%[1]s\"\n", name, program, vpopmail.Quote(of))
	}
	return `"$` + name + `"`
}

// entry writes the lines of one address.
func (s *aliasShell) entry(e *aliasmap.Entry) {
	words := s.words(e, "")
	if !s.m.profile.SQLAliases && (len(e.Name) > s.m.profile.MaxUser || slices.ContainsFunc(words, tooLong)) {
		s.file(e, s.ask("vdominfo", e.Domain), ".qmail-"+strings.ReplaceAll(e.Name, ".", ":"), words)
		return
	}
	for _, word := range words {
		s.printf("valias -i %s -- %s\n", word, vpopmail.Quote(e.Name+"@"+e.Domain))
	}
}

// tooLong says whether a line can be longer than valias takes: it drops such a
// line without a word.
func tooLong(word string) bool { return len(word) > 159 || strings.Contains(word, `"$`) }

// file writes a file into a directory, which is a shell word, and gives it to
// the domain's owner.
func (s *aliasShell) file(e *aliasmap.Entry, dir, name string, words []string) {
	if len(words) == 0 {
		return
	}
	path := dir + "/" + vpopmail.Quote(name)
	s.printf("printf '%%s\\n' %s >%s\n", strings.Join(words, " "), path)
	s.give(e.Domain, path)
}

func (s *aliasShell) give(domain, words string) {
	d := vpopmail.Quote(domain)
	s.printf("owner=$(vdominfo -u %s):$(vdominfo -g %s)\nchown \"$owner\" %s\n", d, d, words)
}

// mark stands around the name of a user whose directory the script asks for.
const mark = "\x00"

// words are the lines of an entry as words of sh.
func (s *aliasShell) words(e *aliasmap.Entry, own string) []string {
	var list []string
	for _, l := range e.Lines {
		text, ok := l.Text(s.m.domain, own, func(user string) (string, bool) { return mark + user + mark + "/Maildir", true })
		if !ok {
			s.m.problem(qmailkit.Problem{Code: "alias.not-in-script", Severity: qmailkit.Error, Path: e.Path, Line: e.Line,
				Err: fmt.Errorf("%s@%s: the script lacks a line of kind %s", e.Name, e.Domain, l.Kind)})
			continue
		}
		word := ""
		for i, part := range strings.Split(text, mark) {
			switch {
			case i%2 == 1 && strings.Contains(part, "@"): // postmaster of a domain of addresses
				word += s.ask("vuserinfo", part)
			case i%2 == 1:
				word += s.ask("vuserinfo", part+"@"+s.m.domain)
			case part != "":
				word += vpopmail.Quote(part)
			}
		}
		list = append(list, word)
	}
	return list
}

// reply writes a vacation text.
func (s *aliasShell) reply(r *reply) {
	if bytes.IndexByte(r.text, 0) >= 0 {
		s.m.problem(qmailkit.Problem{Code: "vacation.not-in-script", Severity: qmailkit.Error, Path: r.path,
			Err: fmt.Errorf("a NUL in the vacation text of %s: the script lacks it", r.name)})
		return
	}
	dir := s.ask("vuserinfo", r.name+"@"+s.m.domain) + "/" + aliasmap.ReplyDir
	s.printf("mkdir -p %s\n", dir)
	s.printf("printf '%%s' %s >%s\n", vpopmail.Quote(string(r.text)), dir+"/"+aliasmap.ReplyFile)
	s.give(s.m.domain, dir+" "+dir+"/"+aliasmap.ReplyFile)
}
