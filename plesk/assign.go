package plesk

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

var (
	// ErrConflict says that something else stands where a line of Plesk should.
	ErrConflict = errors.New("something else stands there")
	// ErrOwner says that an owner is root or not known.
	ErrOwner = errors.New("mail is not delivered as that user")
)

// An AssignLine is a line of users/assign in Plesk's form.
type AssignLine struct {
	Entry users.Entry
	// ID is the number of the domain; 0 in the older form that has the
	// domain's name, with dashes for its dots.
	ID uint64
	// Domain is the directory of the domain, by the home directory of the line.
	Domain string
	// Name is the mail name or alias; empty for the line of the whole domain.
	Name string
	// Directory is the mail name whose directory it is: not Name, for an alias.
	Directory string
	// Dash says that the wildcard ends in a dash: "+12-:".
	Dash bool
}

// ParseAssignLine recognises both forms that Plesk has used: "=12-user:" and
// "+12:" or "+12-:" with the number of the domain, "=dom-ain-com-user:" and
// "+dom-ain-com:" with its name. Any other line is somebody else's: ok is false.
func ParseAssignLine(e users.Entry) (line AssignLine, ok bool) {
	line = AssignLine{Entry: e}
	local := DirName(e.Local)
	dir, base := path.Split(strings.TrimRight(e.Home, "/"))
	if base == "" || dir == "" {
		return line, false
	}
	if e.Wildcard {
		line.Domain = base
		line.Dash = strings.HasSuffix(local, "-")
		local = strings.TrimSuffix(local, "-")
		if local == dashed(base) {
			return line, true
		}
		line.ID, ok = domainNumber(local)
		return line, ok
	}
	line.Directory, line.Domain = base, path.Base(dir)
	if name, found := strings.CutPrefix(local, dashed(line.Domain)+"-"); found && name != "" {
		line.Name = e.Local[len(local)-len(name):]
		return line, true
	}
	number, name, found := strings.Cut(e.Local, "-")
	if !found || name == "" {
		return line, false
	}
	line.Name = name
	line.ID, ok = domainNumber(number)
	return line, ok
}

// dashed is the name of a domain in the older form.
func dashed(domain string) string { return strings.ReplaceAll(DirName(domain), ".", "-") }

// domainNumber reads the digits of an id, which are written without a zero in
// front.
func domainNumber(s string) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n > 0 && strconv.FormatUint(n, 10) == s
}

// AssignOptions say what lines are made of.
type AssignOptions struct {
	// User, UID and GID are the owner of all mail: popuser, whose numbers the
	// caller finds by that name on the target (see Owner). None may be 0.
	User     string
	UID, GID int
	// Mailnames is the target's PLESK_MAILNAMES_D; DefaultMailnames if empty.
	Mailnames string
}

// AssignEntries returns the lines of a domain in users/assign: one for the whole
// domain, one for each mail name, and one for each alias, which has the
// directory of its mail name. The number is the target's. Dash and ext are
// empty, as Plesk has them: mail for a mail name is delivered by .qmail in its
// directory, all other by .qmail-default in the domain's.
//
// Names that cannot stand there are Problems. The error wraps ErrNoDomainID for
// the number 0, and ErrOwner.
func AssignEntries(d *Domain, id uint64, opts *AssignOptions) ([]users.Entry, []qmailkit.Problem, error) {
	if id == 0 {
		return nil, nil, fmt.Errorf("%s: %w", d.Name, ErrNoDomainID)
	}
	if opts == nil || opts.User == "" || opts.UID <= 0 || opts.GID <= 0 {
		return nil, nil, fmt.Errorf("users/assign: %w", ErrOwner)
	}
	root := opts.Mailnames
	if root == "" {
		root = DefaultMailnames
	}
	if !safePart(d.Name) {
		return nil, nil, fmt.Errorf("users/assign: domain %q: %w", d.Name, users.ErrField)
	}
	home := path.Join(root, DirName(d.Name))
	number := strconv.FormatUint(id, 10)
	base := users.Entry{User: opts.User, UID: strconv.Itoa(opts.UID), GID: strconv.Itoa(opts.GID)}
	whole := base
	whole.Wildcard, whole.Local, whole.Home = true, number, home
	out := []users.Entry{whole}
	var probs []qmailkit.Problem
	for _, m := range d.Mailnames {
		for i, name := range append([]string{m.Name}, m.Aliases...) {
			if !safePart(name) || !safePart(m.Name) {
				probs = append(probs, qmailkit.Problem{Code: "plesk.assign-name", Severity: qmailkit.Error, Path: "users/assign",
					Err: fmt.Errorf("%q of %s cannot stand in users/assign", name, d.Name)})
				if i == 0 {
					break
				}
				continue
			}
			e := base
			e.Local, e.Home = number+"-"+name, home+"/"+DirName(m.Name)
			out = append(out, e)
		}
	}
	return out, probs, nil
}

// DirName is the name of the directory of a domain or a mail name: Plesk makes
// it in small letters. Only those of ASCII count.
func DirName(name string) string {
	b := []byte(name)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// safePart says whether a name can be a part of a path and of a line: psa may
// come from anywhere.
func safePart(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsAny(s, "/:\n\x00")
}

// AddAssign adds the lines of AssignEntries that are not there yet, behind the
// others, which stay as they are. A line for the same local part that says
// something else stays too and is a Problem plesk.assign-conflict: it is the
// administrator's to judge.
func AddAssign(a *users.Assign, d *Domain, id uint64, opts *AssignOptions) ([]qmailkit.Problem, error) {
	entries, probs, err := AssignEntries(d, id, opts)
	if err != nil {
		return nil, err
	}
	there := map[string]users.Entry{}
	for e := range a.Entries() {
		if _, twice := there[assignKey(e)]; !twice {
			there[assignKey(e)] = e
		}
	}
	for _, e := range entries {
		old, found := there[assignKey(e)]
		switch {
		case !found:
			if err := a.Add(e); err != nil {
				return probs, err
			}
			there[assignKey(e)] = e
		case old.Text() != e.Text():
			probs = append(probs, qmailkit.Problem{Code: "plesk.assign-conflict", Severity: qmailkit.Error, Path: "users/assign", Line: old.Line, Offset: old.Offset,
				Err: fmt.Errorf("%w: %q, not %q", ErrConflict, old.Text(), e.Text()), Fix: "correct the line, or remove it"})
		}
	}
	return probs, nil
}

// assignKey is what a line is found by: case does not count.
func assignKey(e users.Entry) string {
	if e.Wildcard {
		return "+" + DirName(e.Local)
	}
	return "=" + DirName(e.Local)
}

// RemoveAssign takes away the lines that AddAssign adds for this domain, and no
// other. It returns how many there were.
func RemoveAssign(a *users.Assign, d *Domain, id uint64, opts *AssignOptions) (int, error) {
	entries, _, err := AssignEntries(d, id, opts)
	if err != nil {
		return 0, err
	}
	ours := map[string]bool{}
	for _, e := range entries {
		ours[e.Text()] = true
	}
	return a.RemoveFunc(func(e users.Entry) bool { return ours[e.Text()] }), nil
}
