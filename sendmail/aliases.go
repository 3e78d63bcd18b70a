package sendmail

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// TargetType is what one address of an alias, a .forward or a list is.
type TargetType uint8

const (
	TargetLocal     TargetType = iota // a name without a domain: a user or another alias
	TargetBackslash                   // \user: the user's mailbox, whatever aliases and .forward say
	TargetAddress                     // user@domain, and other forms with a host in them
	TargetProgram                     // |command
	TargetFile                        // /path
	TargetInclude                     // :include:/path
	TargetMalformed                   // quotes, brackets or parentheses that do not end
)

// String returns "local", "backslash", "address", "program", "file",
// "include" or "malformed".
func (t TargetType) String() string {
	names := [...]string{"local", "backslash", "address", "program", "file", "include", "malformed"}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("target(%d)", uint8(t))
}

// MarshalText gives the same words as String.
func (t TargetType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// A Target is one address of a list.
type Target struct {
	Type TargetType
	// Value is what the type is about: the command without "|", the path, the
	// user without backslash, the address without comments and quotes around
	// all of it.
	Value string
	Raw   string // as it stands, without blanks around it
	Path  string // of the file that it stands in
	Line  int
}

// targetScanner takes lists apart where there is no sendmail.cf to ask.
var targetScanner = scanner{".:%@!^/[]+"}

// ParseTargets takes a list of addresses apart: the right side of an alias, or
// a line of a .forward. Commas part them, but for those in quotes, comments
// and angle brackets (parseaddr.c:prescan, recipient.c:sendtolist).
func ParseTargets(list string) []Target {
	var out []Target
	list, _, _ = strings.Cut(list, "\x00")
	for list != "" {
		for list != "" && (isBlank(list[0]) || list[0] == ',') {
			list = list[1:]
		}
		if list == "" {
			break
		}
		toks, used, bad := targetScanner.scan(list, ',')
		raw := trimBlanks(strings.TrimSuffix(list[:used], ","))
		list = list[used:]
		if len(bad) == 0 && len(toks) == 0 {
			continue // a comment only
		}
		t := Target{Type: TargetMalformed, Value: raw, Raw: raw}
		if len(bad) == 0 {
			t.classify(toks)
		}
		out = append(out, t)
	}
	return out
}

// classify says what a target is, as buildaddr does for the local mailer.
func (t *Target) classify(toks []string) {
	// <address> and "name" <address>.
	for i, tok := range toks {
		if tok == "<" && toks[len(toks)-1] == ">" {
			toks = toks[i+1 : len(toks)-1]
			break
		}
	}
	text := targetScanner.join(toks, ' ')
	t.Value = text
	if len(toks) == 1 && strings.HasPrefix(text, `"`) {
		t.Value = unquote(text)
	}
	host := false
	for _, tok := range toks {
		host = host || tok == "@" || tok == "!" || tok == "%"
	}
	switch {
	case strings.HasPrefix(t.Value, "|"):
		t.Type, t.Value = TargetProgram, t.Value[1:]
		if len(toks) > 1 {
			t.Value = strings.TrimSpace(trimPipe(t.Raw))
		}
	case len(t.Value) >= len(includePrefix) && lower(t.Value[:len(includePrefix)]) == includePrefix:
		t.Type, t.Value = TargetInclude, trimBlanks(t.Value[len(includePrefix):])
	case host:
		t.Type = TargetAddress
	case strings.HasPrefix(t.Value, "/"):
		t.Type = TargetFile
	case strings.Contains(t.Value, `\`):
		t.Type, t.Value = TargetBackslash, strings.ReplaceAll(t.Value, `\`, "")
	default:
		t.Type = TargetLocal
	}
}

const includePrefix = ":include:"

// trimPipe takes the bar off a command, and quotes around what is behind it.
func trimPipe(raw string) string {
	raw = trimBlanks(strings.TrimPrefix(raw, "|"))
	if len(raw) > 1 && raw[0] == '"' && strings.IndexByte(raw[1:], '"') == len(raw)-2 {
		raw = raw[1 : len(raw)-1]
	}
	return raw
}

// unquote takes quotes away and what a backslash protects (util.c:stripquotes).
func unquote(s string) string {
	if strings.IndexByte(s, '"') < 0 && strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case c != '"' && c != '\\':
			b.WriteByte(c)
		}
	}
	return b.String()
}

// An Alias is one entry of an alias file.
type Alias struct {
	Name    string // left side, without blanks, quotes and comments; its case is kept
	Text    string // right side, its lines joined as Sendmail joins them
	Targets []Target
	Raw     string // the lines as they stand
	Path    string
	Line    int // first line
	Lines   int // number of lines
	Offset  int64
	lhs     string
}

func (a *Alias) place() place { return place{a.Path, a.Line, a.Offset} }

// Aliases is an alias file (aliases(5)). What was read is written again byte
// for byte.
type Aliases struct {
	parts []aliasPart
	names map[string]int // part of the last entry of each name, in lower case
}

type aliasPart struct {
	raw   string
	entry *Alias // nil for comments, blank lines and what is refused
}

// AliasOptions bounds what is read of an alias file. Nil and the zero value
// take the defaults.
type AliasOptions struct {
	Path     string // of the file, for problems
	MaxBytes int64  // in the file; 0 is 256 MiB
	MaxEntry int    // bytes of one entry, its lines joined; 0 is what Sendmail takes, 8191
}

// maxAlias is the longest alias that Sendmail 8.17 takes, with its newline
// (BUFSIZ less the NUL, measured).
const maxAlias = 8191

// ReadAliases reads an alias file, as alias.c:readaliases does: lines that begin
// with "#" and empty ones are nothing, one that begins with a blank goes on
// with the entry before it, and so does one behind a backslash.
//
// What is refused is a Problem: "sendmail.alias-long-line",
// "sendmail.alias-no-colon", "sendmail.alias-stray-continuation",
// "sendmail.alias-nul", "sendmail.alias-name" and "sendmail.alias-empty". A name that stands twice is
// "sendmail.alias-duplicate", and the last of its entries counts. The entries
// that were read are there when the error is not nil.
func ReadAliases(ctx context.Context, r io.Reader, opts *AliasOptions) (*Aliases, []qmailkit.Problem, error) {
	p := aliasReader{file: &Aliases{names: map[string]int{}}}
	if opts != nil {
		p.opts = *opts
	}
	setDefault(&p.opts.MaxBytes, 256<<20)
	setDefault(&p.opts.MaxEntry, maxAlias)
	offset, n := int64(0), 0
	for raw, err := range rawLines(ctx, bounded(r, p.opts.MaxBytes)) {
		if err != nil {
			p.flush()
			return p.file, p.problems, fmt.Errorf("%s:%d: offset %d: %w", p.opts.Path, n+1, offset, err)
		}
		n++
		p.line(raw, place{p.opts.Path, n, offset})
		offset += int64(len(raw))
	}
	p.flush()
	return p.file, p.problems, nil
}

// An aliasReader gathers the lines of an entry.
type aliasReader struct {
	opts     AliasOptions
	file     *Aliases
	problems []qmailkit.Problem
	held     []string // lines of the entry at hand
	size     int      // bytes of them when they are joined
	at       place    // the first of them
	stray    bool     // the entry before began with a blank
	swallow  bool     // this entry is taken for the rest of one that holds a NUL
}

func (p *aliasReader) problem(at place, sev qmailkit.Severity, code, format string, args ...any) {
	p.problems = addProblem(p.problems, at.problem(sev, code, format, args...))
}

// line adds a line to the entry at hand, or begins another (alias.c:contline).
func (p *aliasReader) line(raw string, at place) {
	if len(p.held) > 0 {
		last := p.held[len(p.held)-1]
		switch {
		case strings.HasSuffix(last, "\\\n") && strings.IndexByte(last, 0) < 0:
			p.size--
			fallthrough
		case raw[0] == ' ', raw[0] == '\t':
			p.held, p.size = append(p.held, raw), p.size+len(raw)-1
			return
		}
	}
	p.flush()
	p.held, p.size, p.at = append(p.held[:0], raw), len(raw), at
}

// flush makes an entry of the lines that were gathered.
func (p *aliasReader) flush() {
	if len(p.held) == 0 {
		return
	}
	part := aliasPart{raw: strings.Join(p.held, "")}
	last := p.held[len(p.held)-1]
	switch {
	case p.swallow:
		p.swallow = false
	case p.size > p.opts.MaxEntry:
		p.problem(p.at, qmailkit.Error, "alias-long-line", "%w: an alias of %d bytes, of which Sendmail takes %d", ErrLongLine, p.size, p.opts.MaxEntry)
	case strings.IndexByte(last, 0) >= 0 && strings.HasSuffix(last, "\n"):
		p.swallow = true
		p.problem(p.at, qmailkit.Error, "alias-nul", "a NUL, behind which Sendmail does not find the end of the line: it leaves this entry out and the next one too")
	default:
		part.entry = p.entry(joinLines(p.held), part.raw)
	}
	if a := part.entry; a != nil {
		name := lower(a.Name)
		if first, dup := p.file.names[name]; dup {
			p.problem(p.at, qmailkit.Warning, "alias-duplicate", "alias %.80q has stood in line %d already; this one counts",
				a.Name, p.file.parts[first].entry.Line)
		}
		p.file.names[name] = len(p.file.parts)
	}
	p.file.parts = append(p.file.parts, part)
	p.held = p.held[:0]
}

// joinLines gives an entry in one line. What is behind a NUL is lost.
func joinLines(lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		whole, ended := strings.CutSuffix(l, "\n")
		whole, _, cut := strings.Cut(whole, "\x00")
		if ended && !cut {
			whole = strings.TrimSuffix(whole, `\`)
		}
		b.WriteString(whole)
	}
	return b.String()
}

// entry takes an entry apart; nil is a comment, or what is refused.
func (p *aliasReader) entry(text, raw string) *Alias {
	stray := p.stray
	p.stray = false
	switch {
	case text == "" || text[0] == '#':
		return nil
	case text[0] == ' ' || text[0] == '\t':
		p.stray = true
		if !stray && trimBlanks(text) != "" {
			at := p.at
			if p.held[0] == "\n" { // to Sendmail the text goes on with the empty line
				at.line, at.offset = at.line+1, at.offset+1
			}
			p.problem(at, qmailkit.Error, "alias-stray-continuation", "a line begins with a blank, but goes on with no alias")
		}
		return nil
	}
	colon := strings.IndexByte(text, ':')
	if colon < 0 {
		p.problem(p.at, qmailkit.Error, "alias-no-colon", "no colon behind the name in %.80q", text)
		return nil
	}
	toks, used, bad := targetScanner.scan(text, ':')
	if len(toks) == 0 {
		p.problem(p.at, qmailkit.Error, "alias-name", "%.80q is no name of an alias", text[:colon])
		return nil
	}
	lhs := strings.TrimSuffix(text[:used], ":")
	for _, words := range bad {
		p.problem(p.at, qmailkit.Warning, "alias-name", "%.80q: %s", lhs, words)
	}
	if used > colon+1 {
		p.problem(p.at, qmailkit.Warning, "alias-name", "the right side of %.80q begins behind the first colon, in the quotes", lhs)
	}
	value := strings.TrimLeft(text[colon+1:], " \t\v\f\r")
	if value == "" {
		p.problem(p.at, qmailkit.Error, "alias-empty", "alias %.80q has no value; Sendmail leaves it out", lhs)
		return nil
	}
	a := &Alias{
		Name: targetScanner.join(toks, '.'), Text: value, Raw: raw, lhs: lhs,
		Path: p.at.path, Line: p.at.line, Lines: len(p.held), Offset: p.at.offset,
	}
	if len(toks) == 1 && toks[0][0] == '"' {
		a.Name = unquote(toks[0])
	}
	a.Targets = ParseTargets(a.Text)
	for i := range a.Targets {
		a.Targets[i].Path, a.Targets[i].Line = a.Path, a.Line
	}
	return a
}

// WriteTo writes the file as it was read.
func (f *Aliases) WriteTo(w io.Writer) (n int64, err error) {
	for _, part := range f.parts {
		k, err := io.WriteString(w, part.raw)
		if n += int64(k); err != nil {
			return n, err
		}
	}
	return n, nil
}

// Entries yields all entries in the order of the file, those too of a name that
// stands again.
func (f *Aliases) Entries() iter.Seq[*Alias] {
	return func(yield func(*Alias) bool) {
		for _, part := range f.parts {
			if part.entry != nil && !yield(part.entry) {
				return
			}
		}
	}
}

// Lookup gives the entry that counts for a name, whatever its case, or nil.
func (f *Aliases) Lookup(name string) *Alias {
	i, ok := f.names[lower(name)]
	if !ok {
		return nil
	}
	return f.parts[i].entry
}
