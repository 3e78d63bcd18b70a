package vpopmail

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// A User is one account as it is stored.
type User struct {
	Name  string
	Hash  qmailkit.Secret // empty: no password
	UID   int             // 1, or 2 for APOP; never the owner of the files. 0 in MySQL
	Flags Flags
	Gecos string
	Dir   string // absolute, as text
	Quota string // "NOQUOTA", "<bytes>S,<n>C" or empty
	Clear qmailkit.Secret
}

// AppendLine appends the account's vpasswd line without its LF. The line of an
// installation without clear passwords has seven fields.
func (u *User) AppendLine(dst []byte, clear bool) []byte {
	dst = append(dst, u.Name...)
	dst = append(append(dst, ':'), u.Hash...)
	dst = strconv.AppendInt(append(dst, ':'), int64(u.UID), 10)
	dst = strconv.AppendUint(append(dst, ':'), uint64(u.Flags), 10)
	dst = append(append(dst, ':'), u.Gecos...)
	dst = append(append(dst, ':'), u.Dir...)
	dst = append(append(dst, ':'), u.Quota...)
	if clear {
		dst = append(append(dst, ':'), u.Clear...)
	}
	return dst
}

// ParseLine reads a vpasswd line without its LF. Everything behind the seventh
// colon is the clear password. A line with fewer than six colons is
// ErrFewColons: for vpopmail such a line ends the file (vpopmail.c:vgetent).
func ParseLine(line []byte) (User, error) {
	f := strings.SplitN(string(line), ":", 8)
	if len(f) < 7 {
		return User{}, fmt.Errorf("%w: %d", ErrFewColons, len(f)-1)
	}
	u := User{
		Name: f[0], Hash: qmailkit.Secret(f[1]), UID: atoi(f[2]), Flags: Flags(atoi(f[3])),
		Gecos: f[4], Dir: f[5], Quota: f[6],
	}
	if len(f) == 8 {
		u.Clear = qmailkit.Secret(f[7])
	}
	return u, nil
}

// atoi reads leading digits as C does; no digits are 0.
func atoi(s string) int {
	digits, _ := splitQuota(strings.TrimLeft(s, " \t"))
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil && digits != "" {
		return 1<<31 - 1
	}
	return int(n)
}

// A Vpasswd is a vpasswd file, line by line. Lines that are not edited are
// written as they were read.
type Vpasswd struct {
	lines [][]byte // with their LF
}

// ParseVpasswd takes a whole file. It keeps b.
func ParseVpasswd(b []byte) *Vpasswd {
	v := &Vpasswd{lines: make([][]byte, 0, bytes.Count(b, []byte("\n"))+1)}
	for line := range bytes.Lines(b) {
		v.lines = append(v.lines, line)
	}
	return v
}

// WriteTo writes the file.
func (v *Vpasswd) WriteTo(w io.Writer) (int64, error) {
	var n int64
	for _, l := range v.lines {
		m, err := w.Write(l)
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Bytes is the file's content.
func (v *Vpasswd) Bytes() []byte { return bytes.Join(v.lines, nil) }

// Len is the number of lines.
func (v *Vpasswd) Len() int { return len(v.lines) }

// nameOf is what stands before the first colon: the key of the line.
func nameOf(line []byte) []byte {
	if i := bytes.IndexByte(line, ':'); i >= 0 {
		return line[:i]
	}
	return bytes.TrimSuffix(line, []byte("\n"))
}

// Users yields every line as a User, with its number from 1 in an error for a
// line that is none. vpopmail's own readers stop at such a line.
func (v *Vpasswd) Users() iter.Seq2[User, error] {
	return func(yield func(User, error) bool) {
		for i, l := range v.lines {
			u, err := ParseLine(bytes.TrimSuffix(l, []byte("\n")))
			if err != nil {
				err = fmt.Errorf("vpasswd: line %d: %w", i+1, err)
			}
			if !yield(u, err) {
				return
			}
		}
	}
}

// Get returns the first line under a name.
func (v *Vpasswd) Get(name string) (User, bool) {
	if i := v.find(name); i >= 0 {
		u, err := ParseLine(bytes.TrimSuffix(v.lines[i], []byte("\n")))
		return u, err == nil
	}
	return User{}, false
}

func (v *Vpasswd) find(name string) int {
	for i, l := range v.lines {
		if string(nameOf(l)) == name && bytes.IndexByte(l, ':') >= 0 {
			return i
		}
	}
	return -1
}

// index maps every name to its first line. It costs a pass over the file and
// serves batches.
func (v *Vpasswd) index() map[string]int {
	m := make(map[string]int, len(v.lines))
	for i, l := range v.lines {
		if bytes.IndexByte(l, ':') < 0 {
			continue
		}
		if _, dup := m[string(nameOf(l))]; !dup {
			m[string(nameOf(l))] = i
		}
	}
	return m
}

// insert puts new lines, which are sorted by name and not in the file, where
// vpopmail puts each: before the first line whose name is greater as bytes
// (vcdb.c:vauth_adduser). Nothing that is there changes its place, so one pass
// serves any number.
func (v *Vpasswd) insert(sorted [][]byte) {
	out := make([][]byte, 0, len(v.lines)+len(sorted))
	for _, l := range v.lines {
		name := nameOf(l)
		for len(sorted) > 0 && bytes.Compare(nameOf(sorted[0]), name) < 0 {
			out = append(out, sorted[0])
			sorted = sorted[1:]
		}
		out = append(out, l)
	}
	if n := len(out); n > 0 && len(sorted) > 0 && !bytes.HasSuffix(out[n-1], []byte("\n")) {
		out[n-1] = append(bytes.Clone(out[n-1]), '\n')
	}
	v.lines = append(out, sorted...)
}

// set replaces line i and keeps a missing LF missing.
func (v *Vpasswd) set(i int, line []byte) {
	if bytes.HasSuffix(v.lines[i], []byte("\n")) {
		line = append(line, '\n')
	}
	v.lines[i] = line
}

// remove takes out the lines whose numbers are in gone.
func (v *Vpasswd) remove(gone map[int]bool) {
	out := make([][]byte, 0, len(v.lines))
	for i, l := range v.lines {
		if !gone[i] {
			out = append(out, l)
		}
	}
	v.lines = out
}

// records yields what vpasswd.cdb holds: the name, and the rest of the line
// behind the first colon. A line without a colon has no record.
func (v *Vpasswd) records() iter.Seq2[[]byte, []byte] {
	return func(yield func(key, data []byte) bool) {
		for _, l := range v.lines {
			key, data, ok := bytes.Cut(bytes.TrimSuffix(l, []byte("\n")), []byte(":"))
			if ok && !yield(key, data) {
				return
			}
		}
	}
}

// Problems names the lines that vpopmail reads otherwise than they stand, for
// an installation of profile p. Path of each is empty.
func (v *Vpasswd) Problems(p *Profile) iter.Seq[qmailkit.Problem] {
	return func(yield func(qmailkit.Problem) bool) {
		seen := make(map[string]int, len(v.lines))
		var offset int64
		for i, l := range v.lines {
			body := bytes.TrimSuffix(l, []byte("\n"))
			for _, q := range lineProblems(p, body, len(body) == len(l)) {
				q.Line, q.Offset = i+1, offset
				if !yield(q) {
					return
				}
			}
			name := string(nameOf(l))
			if first, dup := seen[name]; dup {
				q := problem("vpasswd.duplicate", qmailkit.Warning, "name stands in line %d too, where it is found first", first)
				q.Line, q.Offset = i+1, offset
				if !yield(q) {
					return
				}
			} else {
				seen[name] = i + 1
			}
			offset += int64(len(l))
		}
	}
}

func lineProblems(p *Profile, body []byte, noLF bool) []qmailkit.Problem {
	var out []qmailkit.Problem
	if n := len(body); n > p.LineBuffer {
		out = append(out, problem("vpasswd.long-line", qmailkit.Error,
			"%d bytes, vpopmail reads %d in one piece and makes a second record of the rest", n, p.LineBuffer))
	}
	if n := bytes.Count(body, []byte(":")); n < 6 {
		out = append(out, problem("vpasswd.few-colons", qmailkit.Error, "%d colons of 6: vpopmail takes this line for the end of the file", n))
	} else if p.ClearPasswords != (n > 6) {
		out = append(out, problem("vpasswd.fields", qmailkit.Warning, "%d fields, the installation writes %d", min(n, 7)+1, p.fields()))
	}
	if bytes.IndexByte(body, 0) >= 0 {
		out = append(out, problem("vpasswd.nul", qmailkit.Error, "NUL ends the line for vpopmail"))
	}
	if noLF {
		out = append(out, problem("vpasswd.no-newline", qmailkit.Warning, "last line has no newline"))
	}
	return out
}

func (p *Profile) fields() int {
	if p.ClearPasswords {
		return 8
	}
	return 7
}

func problem(code string, s qmailkit.Severity, format string, args ...any) qmailkit.Problem {
	return qmailkit.Problem{Code: code, Severity: s, Err: fmt.Errorf(format, args...)}
}
