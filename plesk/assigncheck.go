package plesk

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// CheckAssign tells where the lines of Plesk in users/assign do another thing
// than they look like, as qmail-lspawn(8) and qmail-local(8) read them. The ids
// are those of the host whose file it is; nil leaves out what needs them.
//
//	plesk.assign-prefix   mail for unknown names of a domain goes to another
//	                      whose number begins its own: "+100:" is for 1001-x
//	                      too, for which .qmail1-x and .qmail1-default are
//	                      looked for there, so that it is not even refused
//	plesk.assign-domain   the number is not that of the domain whose directory
//	                      the line names: perhaps it comes from another host
//	plesk.assign-default  mail for unknown names of a domain leaves Plesk: it
//	                      has no line "+N:"
//	plesk.assign-dash     "+N-:" without dash: .qmaildefault is looked for, and
//	                      not .qmail-default
//
// Where the second trap lies, a missing .qmail-default, CheckTree tells. What
// is wrong in any users/assign, users.Check tells.
func CheckAssign(a *users.Assign, ids DomainIDs) iter.Seq[qmailkit.Problem] {
	return func(yield func(qmailkit.Problem) bool) {
		c := &assignChecker{ids: ids, wild: map[string]AssignLine{}, first: map[uint64]AssignLine{}}
		for e := range a.Entries() {
			if line, ok := ParseAssignLine(e); ok {
				c.line(line)
			}
		}
		c.numbers()
		slices.SortStableFunc(c.found, func(a, b qmailkit.Problem) int { return cmp.Compare(a.Line, b.Line) })
		for _, p := range c.found {
			if !yield(p) {
				return
			}
		}
	}
}

type assignChecker struct {
	ids   DomainIDs
	wild  map[string]AssignLine // wildcards of numbers, by the number
	first map[uint64]AssignLine // the first line of each number
	found []qmailkit.Problem
}

func (c *assignChecker) problem(l AssignLine, code string, s qmailkit.Severity, fix, format string, args ...any) {
	c.found = append(c.found, qmailkit.Problem{Code: "plesk." + code, Severity: s, Path: "users/assign", Line: l.Entry.Line, Offset: l.Entry.Offset, Err: fmt.Errorf(format, args...), Fix: fix})
}

// line judges one line, and keeps what numbers needs.
func (c *assignChecker) line(l AssignLine) {
	if l.Entry.Wildcard && l.Dash && l.Entry.Dash == "" && l.Entry.Ext == "" {
		c.problem(l, "assign-dash", qmailkit.Error, "write it without the dash", "%q: qmail looks for .qmaildefault in %s", "+"+l.Entry.Local, l.Entry.Home)
	}
	if l.ID == 0 {
		return
	}
	if _, twice := c.first[l.ID]; !twice {
		c.first[l.ID] = l
		if id, known := c.ids[DirName(l.Domain)]; c.ids != nil && (!known || id != l.ID) {
			what := "which is no domain here"
			if known {
				what = fmt.Sprintf("whose number is %d", id)
			}
			c.problem(l, "assign-domain", qmailkit.Error, "", "number %d with the directory of %s, %s", l.ID, l.Domain, what)
		}
	}
	if l.Entry.Wildcard {
		c.wild[strconv.FormatUint(l.ID, 10)] = l
	}
}

// numbers looks at every number that has a line or is in ids, and has no
// wildcard.
func (c *assignChecker) numbers() {
	all := map[uint64]bool{}
	for id := range c.first {
		all[id] = true
	}
	for _, id := range c.ids {
		all[id] = true
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		number := strconv.FormatUint(id, 10)
		if _, own := c.wild[number]; own {
			continue
		}
		taken := false
		for n := len(number) - 1; n > 0 && !taken; n-- { // the longest one wins
			by, ok := c.wild[number[:n]]
			if taken = ok && !by.Dash; taken {
				c.problem(by, "assign-prefix", qmailkit.Error, "add a line for +"+number, "%q also takes mail for unknown names of number %d, which has no such line of its own; %s does not count for it, so that it gets lost", "+"+by.Entry.Local, id, DefaultName)
			}
		}
		if l, ok := c.first[id]; ok && !taken {
			c.problem(l, "assign-default", qmailkit.Warning, "add a line for +"+number, "number %d has no line for unknown names", id)
		}
	}
}

// MailDomains are the names under which a domain gets mail: its own, and its
// aliases that are switched on for mail.
func MailDomains(d *Domain) []string {
	out := []string{d.Name}
	for _, a := range d.Aliases {
		if a.Mail && a.Status == 0 {
			out = append(out, a.Name)
		}
	}
	return out
}

// Files of Plesk and qmail that EditControl writes to.
const (
	virtualDomains = "virtualdomains"
	rcptHosts      = "rcpthosts"
	rejectNonexist = "rejectnonexist" // Plesk's own: unknown names are refused in SMTP
)

// EditControl makes a domain known to qmail: "domain:N" in virtualdomains, with
// the target's number, and its name in rcpthosts; in rejectnonexist too where
// psa says that mail for unknown names is refused. All names of MailDomains are
// treated so. Other lines stay as they are, and what is there already stays.
// See qmailcontrol.Diff for what to do with the result.
//
// A domain that stands in virtualdomains with something else is an error that
// wraps ErrConflict, and so is one in locals, where virtualdomains does not
// count (qmail-send(8)): c is then unchanged. Where rcpthosts is missing the
// host takes everything; making one would refuse all other domains, so it stays
// missing, with a Problem.
func EditControl(c *qmailcontrol.Config, d *Domain, id uint64) ([]qmailkit.Problem, error) {
	if id == 0 {
		return nil, fmt.Errorf("%s: %w", d.Name, ErrNoDomainID)
	}
	number := strconv.FormatUint(id, 10)
	virtual, _, err := controlLines(c, virtualDomains)
	if err != nil {
		return nil, err
	}
	locals, _, err := controlLines(c, "locals")
	if err != nil {
		return nil, err
	}
	names := MailDomains(d)
	for _, name := range names {
		if locals.Set().Has(name) {
			return nil, fmt.Errorf("control/locals: %s: %w", name, ErrConflict)
		}
		switch old, found := virtual.Map().Lookup(name); {
		case found && old != number:
			return nil, fmt.Errorf("control/virtualdomains: %s: %w: %q, not %q", name, ErrConflict, old, number)
		case !found:
			if err := virtual.AddPair(name, number); err != nil {
				return nil, fmt.Errorf("control/virtualdomains: %w", err)
			}
		}
	}
	edits := map[string]*qmailcontrol.Lines{virtualDomains: virtual}
	lists := []string{rcptHosts}
	if d.Unknown.Action == "reject" {
		lists = append(lists, rejectNonexist)
	}
	var probs []qmailkit.Problem
	for _, file := range lists {
		l, found, err := controlLines(c, file)
		if err != nil {
			return nil, err
		}
		if !found && file == rcptHosts {
			probs = append(probs, qmailkit.Problem{Code: "plesk.no-rcpthosts", Severity: qmailkit.Warning, Path: "control/rcpthosts",
				Err: fmt.Errorf("there is no rcpthosts: the host accepts mail for every domain"), Fix: "make it, with all domains of the host"})
			continue
		}
		if err := addNames(l, names); err != nil {
			return nil, fmt.Errorf("control/%s: %w", file, err)
		}
		edits[file] = l
	}
	for file, l := range edits {
		if err := c.Set(file, l); err != nil {
			return nil, fmt.Errorf("control/%s: %w", file, err)
		}
	}
	return probs, nil
}

// addNames adds those that are missing.
func addNames(l *qmailcontrol.Lines, names []string) error {
	for _, name := range names {
		if !l.Set().Has(name) {
			if err := l.Add(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// controlLines are the lines of a file, none where it is missing.
func controlLines(c *qmailcontrol.Config, file string) (l *qmailcontrol.Lines, found bool, err error) {
	if _, found = c.Entry(file); !found {
		return &qmailcontrol.Lines{}, false, nil
	}
	l, err = c.Lines(file)
	return l, true, err
}

// CheckVirtualDomains tells which lines of control/virtualdomains have a number
// that is not that of the domain, or of the domain whose alias it is, on the host
// whose file and psa they are: plesk.virtual-id.
func CheckVirtualDomains(l *qmailcontrol.Lines, server *Server) iter.Seq[qmailkit.Problem] {
	return func(yield func(qmailkit.Problem) bool) {
		ids := DomainIDs{}
		for _, d := range server.Domains {
			for _, a := range d.Aliases {
				ids[DirName(a.Name)] = d.ID
			}
		}
		maps.Copy(ids, server.IDs())
		for n, text := range l.Values() {
			name, to, _ := strings.Cut(text, ":")
			got, isNumber := domainNumber(to)
			if want, ok := ids[DirName(name)]; ok && isNumber && want != got {
				if !yield(qmailkit.Problem{Code: "plesk.virtual-id", Severity: qmailkit.Error, Path: "control/virtualdomains", Line: n,
					Err: fmt.Errorf("%s has number %d here, not %d", name, want, got), Fix: "the number belongs to another host: look it up in psa"}) {
					return
				}
			}
		}
	}
}
