package users

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// Check tells what in users/assign does not work, or not as it looks:
//
//	assign.root        mail is refused, because the uid is 0 or no number
//	assign.id          other text behind the digits of a uid or gid, or no such id
//	assign.home        qmail-local refuses a home that does not begin with '/'
//	assign.upper-case  a wildcard that ends in a capital never matches, or only
//	                   because another one ends in the same small letter
//	assign.duplicate   a line before has the same local part and gets all mail
//	assign.prefix      a wildcard takes mail away from a shorter one of another user
//	assign.first-byte  a line begins with neither '=' nor '+'
//	assign.rest        something stands behind the seventh colon
//	assign.after-dot   lines behind the one with the dot are not read
//
// Memory is that of the entries.
func (a *Assign) Check() iter.Seq[qmailkit.Problem] {
	return func(yield func(qmailkit.Problem) bool) {
		c := assignCheck{first: make(map[string]int, a.Len())}
		for e := range a.Entries() {
			c.survey(e)
		}
		prefixes := c.prefixes()
		for e := range a.Entries() {
			c.found = c.found[:0]
			c.judge(e)
			if by, ok := prefixes[e.Line]; ok {
				c.overlap(e, by)
			}
			for _, p := range c.found {
				p.Path, p.Line, p.Offset = "assign", e.Line, e.Offset
				if !yield(p) {
					return
				}
			}
		}
		if rest := a.tail; strings.TrimRight(rest, "\r\n") != "" {
			if _, rest, _ = strings.Cut(rest, "\n"); rest != "" {
				yield(qmailkit.Problem{
					Code: "assign.after-dot", Severity: qmailkit.Warning, Path: "assign", Line: a.Len() + 2,
					Offset: int64(len(a.Bytes()) - len(rest)),
					Err:    fmt.Errorf("%d bytes behind the line that begins with a dot, which ends the file", len(rest)),
				})
			}
		}
	}
}

// assignCheck is what Check knows of the whole file.
type assignCheck struct {
	first map[string]int // line by key of users/cdb
	ends  [256]bool      // what wildcards end in
	wild  []wildcard
	found []qmailkit.Problem
}

// A wildcard is a line for local parts that begin with local.
type wildcard struct {
	local string // in lower case
	user  string
	line  int
}

func keyOf(e Entry) string {
	key := appendLower([]byte{'!'}, e.Local)
	if !e.Wildcard {
		key = append(key, 0)
	}
	return string(key)
}

func (c *assignCheck) survey(e Entry) {
	key := keyOf(e)
	if _, twice := c.first[key]; twice {
		return
	}
	c.first[key] = e.Line
	if e.Wildcard && e.Local != "" {
		c.ends[e.Local[len(e.Local)-1]] = true
		c.wild = append(c.wild, wildcard{key[1:], e.User, e.Line})
	}
}

func (c *assignCheck) add(code string, s qmailkit.Severity, fix, format string, args ...any) {
	c.found = append(c.found, qmailkit.Problem{Code: "assign." + code, Severity: s, Err: fmt.Errorf(format, args...), Fix: fix})
}

// judge looks at one entry.
func (c *assignCheck) judge(e Entry) {
	if at := c.first[keyOf(e)]; at != e.Line {
		c.add("duplicate", qmailkit.Warning, "remove this line", "%q stands on line %d already, which gets all mail", e.Local, at)
	}
	if e.Wildcard && e.Local != "" {
		if last := e.Local[len(e.Local)-1]; 'A' <= last && last <= 'Z' {
			if c.ends[last+'a'-'A'] {
				c.add("upper-case", qmailkit.Info, "write it in small letters", "%q matches only because another wildcard ends in the small letter", e.Local)
			} else {
				c.add("upper-case", qmailkit.Error, "write it in small letters", "%q never matches, because it ends in a capital letter", e.Local)
			}
		}
	}
	if !e.Wildcard && e.mark() != '=' {
		c.add("first-byte", qmailkit.Warning, "begin the line with '=' or '+'", "the first byte is %q and does not count: the entry is for %q", e.Mark, e.Local)
	}
	if e.Rest != "" {
		c.add("rest", qmailkit.Info, "", "%q behind the seventh colon does not count", e.Rest)
	}
	if !strings.HasPrefix(e.Home, "/") {
		c.add("home", qmailkit.Error, "", "qmail-local refuses the home %q", e.Home)
	}
	c.ids(e)
}

func (c *assignCheck) ids(e Entry) {
	switch err := (User{UID: e.UID, GID: e.GID}).Check(); {
	case errors.Is(err, ErrRoot):
		c.add("root", qmailkit.Error, "", "qmail delivers nothing as uid %q", e.UID)
	case err != nil:
		c.add("id", qmailkit.Error, "", "uid %q, gid %q: %w", e.UID, e.GID, err)
	case !allDigits(e.UID) || !allDigits(e.GID):
		c.add("id", qmailkit.Warning, "", "uid %q, gid %q: only the digits at the start count, cut to 32 bits", e.UID, e.GID)
	}
}

// allDigits says whether text is a number that keeps its value in 32 bits.
func allDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == "" && digits64([]byte(text)) == uint64(digits(text)) && len(text) < 20
}

// prefixes finds for each wildcard the longest other one that it begins with.
// In sorted order the prefixes of a text are a stack.
func (c *assignCheck) prefixes() map[int]wildcard {
	slices.SortFunc(c.wild, func(a, b wildcard) int { return strings.Compare(a.local, b.local) })
	found := map[int]wildcard{}
	var stack []wildcard
	for _, w := range c.wild {
		for len(stack) > 0 && !strings.HasPrefix(w.local, stack[len(stack)-1].local) {
			stack = stack[:len(stack)-1]
		}
		if len(stack) > 0 {
			found[w.line] = stack[len(stack)-1]
		}
		stack = append(stack, w)
	}
	return found
}

// overlap tells that e takes away mail that by would get. Where by ends in a
// dash, e is one of its extensions, and somebody meant it so.
func (c *assignCheck) overlap(e Entry, by wildcard) {
	if e.User == by.user {
		return
	}
	severity := qmailkit.Warning
	if strings.HasSuffix(by.local, "-") {
		severity = qmailkit.Info
	}
	c.add("prefix", severity, "", "%q begins with %q, the wildcard of user %q on line %d, and takes its mail", e.Local, by.local, by.user, by.line)
}
