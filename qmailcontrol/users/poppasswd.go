package users

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/passhash"
)

// ErrPop says that a login or password cannot stand in users/poppasswd: the
// login is empty, begins with '#' or holds a colon, or there is a newline or
// a NUL in one of them.
var ErrPop = errors.New("field cannot stand in users/poppasswd")

// PopEntry is a line of users/poppasswd.
type PopEntry struct {
	// Login is the whole address.
	Login string
	// Password is all that follows the first colon, and thus the password
	// where that is in clear and holds colons itself.
	Password qmailkit.Secret
	// Line, from 1, and Offset, in bytes, tell where the line stands.
	Line   int
	Offset int64
}

// Fields parts the password from what follows the next colon. No source says
// what may follow, so a clear password with a colon and a password with more
// fields look the same: where more is true, both readings are possible.
func (e PopEntry) Fields() (password qmailkit.Secret, rest string, more bool) {
	p, rest, more := strings.Cut(string(e.Password), ":")
	return qmailkit.Secret(p), rest, more
}

// Crypted says whether the password, up to the next colon, has the form of a
// hash that some crypt(3) makes. A clear password may look like one: that of
// DES is any 13 letters, digits, dots and slashes.
func (e PopEntry) Crypted() bool {
	p, _, _ := e.Fields()
	return passhash.Classify(string(p)).Crypt()
}

// Poppasswd is Plesk's users/poppasswd in memory: a line "login:password" for
// each mailbox. Sources contradict each other as to whether the password is in
// clear or a hash, and whether more fields may follow, so nothing is taken for
// granted: what was read is written again byte for byte, comments, odd lines
// and a missing last newline too. The zero value is an empty file.
type Poppasswd struct {
	line []string // without newlines
	open bool     // the last one has no newline

	first map[string]int // number of the first line of a login, in small letters
	// offset has where each line begins; it is stale when a line has changed
	// its length since.
	offset []int64
	stale  bool
}

// ParsePoppasswd reads users/poppasswd. Any bytes are one, so the error is
// that of r, or one that wraps ErrTooBig beyond MaxSize.
func ParsePoppasswd(r io.Reader) (*Poppasswd, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err == nil && len(b) > MaxSize {
		b = b[:MaxSize]
		err = fmt.Errorf("users/poppasswd: %w: more than %d bytes", ErrTooBig, MaxSize)
	}
	if err != nil {
		return nil, &ParseError{bytes.Count(b, []byte{'\n'}) + 1, int64(len(b)), err}
	}
	p := &Poppasswd{}
	for rest := string(b); rest != ""; {
		line, after, ended := strings.Cut(rest, "\n")
		p.add(line)
		p.open = !ended
		rest = after
	}
	return p, nil
}

// add puts a line behind the last one.
func (p *Poppasswd) add(line string) {
	at := int64(0)
	if n := len(p.line); n > 0 {
		at = p.offset[n-1] + int64(len(p.line[n-1])) + 1
	}
	if e, ok := popEntry(line); ok {
		if p.first == nil {
			p.first = map[string]int{}
		}
		key := string(appendLower(nil, e.Login))
		if _, twice := p.first[key]; !twice {
			p.first[key] = len(p.line)
		}
	}
	p.line, p.offset = append(p.line, line), append(p.offset, at)
}

// Entries yields the lines that have a login and a colon. What else there is,
// and what is doubtful, Check tells.
func (p *Poppasswd) Entries() iter.Seq[PopEntry] {
	return func(yield func(PopEntry) bool) {
		offset := int64(0)
		for i, line := range p.line {
			e, ok := popEntry(line)
			e.Line, e.Offset = i+1, offset
			if ok && !yield(e) {
				return
			}
			offset += int64(len(line)) + 1
		}
	}
}

func popEntry(line string) (PopEntry, bool) {
	login, password, ok := strings.Cut(line, ":")
	if !ok || login == "" || login[0] == '#' {
		return PopEntry{}, false
	}
	return PopEntry{Login: login, Password: qmailkit.Secret(password)}, true
}

// Lookup returns the first entry of that login. The case of ASCII letters does
// not count.
func (p *Poppasswd) Lookup(login string) (PopEntry, bool) {
	i, ok := p.first[string(appendLower(nil, login))]
	if !ok {
		return PopEntry{}, false
	}
	e, _ := popEntry(p.line[i])
	e.Line, e.Offset = i+1, p.offset[i]
	if p.stale {
		e.Offset = 0
		for _, line := range p.line[:i] {
			e.Offset += int64(len(line)) + 1
		}
	}
	return e, true
}

// Set gives a login its password, with all that may follow it: in its line if
// it has one, else in a new last line. An error wraps ErrPop and tells no
// password.
func (p *Poppasswd) Set(login string, password qmailkit.Secret) error {
	e, ok := popEntry(login + ":" + string(password))
	if !ok || e.Login != login || strings.ContainsAny(login+string(password), "\n\x00") {
		return fmt.Errorf("%w: %q", ErrPop, login)
	}
	i, ok := p.first[string(appendLower(nil, login))]
	if !ok {
		p.add(login + ":" + string(password))
		p.open = false
		return nil
	}
	old, _ := popEntry(p.line[i])
	p.line[i] = old.Login + ":" + string(password)
	p.stale = p.stale || len(old.Password) != len(password)
	return nil
}

// Remove takes away all lines of that login and returns how many there were.
// The case of ASCII letters does not count. It reads through the whole file.
func (p *Poppasswd) Remove(login string) int {
	want := string(appendLower(nil, login))
	return p.RemoveFunc(func(e PopEntry) bool { return string(appendLower(nil, e.Login)) == want })
}

// RemoveFunc takes away every entry for which drop is true and returns how many
// those were. The entries that drop sees have their line numbers.
func (p *Poppasswd) RemoveFunc(drop func(PopEntry) bool) int {
	old, offset, removed := p.line, int64(0), 0
	kept := Poppasswd{}
	for i, line := range old {
		e, ok := popEntry(line)
		e.Line, e.Offset = i+1, offset
		offset += int64(len(line)) + 1
		if ok && drop(e) {
			removed++
			continue
		}
		kept.add(line)
		// The line that is the last one now had a newline, unless it still is
		// the old last one.
		kept.open = p.open && i == len(old)-1
	}
	if removed > 0 {
		*p = kept
	}
	return removed
}

// Bytes returns the whole file.
func (p *Poppasswd) Bytes() []byte {
	text := strings.Join(p.line, "\n")
	if len(p.line) > 0 && !p.open {
		text += "\n"
	}
	return []byte(text)
}

// WriteTo writes the whole file.
func (p *Poppasswd) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(p.Bytes())
	return int64(n), err
}

// Check tells what a reader of users/poppasswd may take in another way than
// its writer meant it. No Problem shows a password.
func (p *Poppasswd) Check() iter.Seq[qmailkit.Problem] {
	return func(yield func(qmailkit.Problem) bool) {
		first := map[string]int{}
		offset := int64(0)
		for i, line := range p.line {
			for _, q := range checkPop(line, i+1, first) {
				q.Path, q.Line, q.Offset = "poppasswd", i+1, offset
				if !yield(q) {
					return
				}
			}
			offset += int64(len(line)) + 1
		}
	}
}

// checkPop judges one line; first has the lines of the logins before it.
func checkPop(line string, n int, first map[string]int) (found []qmailkit.Problem) {
	add := func(code string, s qmailkit.Severity, format string, args ...any) {
		found = append(found, qmailkit.Problem{Code: "poppasswd." + code, Severity: s, Err: fmt.Errorf(format, args...)})
	}
	e, ok := popEntry(line)
	switch {
	case !ok && (line == "" || line[0] == '#'):
		return nil
	case !ok:
		add("line", qmailkit.Warning, "a line without login and colon")
		return found
	}
	key := string(appendLower(nil, e.Login))
	if at, twice := first[key]; twice {
		add("duplicate", qmailkit.Warning, "%q stands on line %d already", e.Login, at)
	} else {
		first[key] = n
	}
	password, _, more := e.Fields()
	switch {
	case more && !e.Crypted():
		add("colon", qmailkit.Warning, "%q: a colon is part of the password or ends it", e.Login)
	case password == "":
		add("empty", qmailkit.Error, "%q has no password", e.Login)
	}
	if strings.HasSuffix(line, "\r") {
		add("cr", qmailkit.Warning, "%q: the line ends in CRLF", e.Login)
	}
	if !strings.Contains(e.Login, "@") {
		add("login", qmailkit.Info, "%q is no whole address", e.Login)
	}
	return found
}
