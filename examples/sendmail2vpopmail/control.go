package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/controlmap"
	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// findControl decides what becomes of routes and of the rules about relaying.
// They are the whole host's, so that a run of some accounts leaves them.
func (m *move) findControl(ctx context.Context) error {
	if m.c.noControl || len(m.c.users) > 0 {
		m.problem(qmailkit.Problem{Code: "control.left-out", Severity: qmailkit.Info,
			Err: errors.New("routes and rules about relaying are carried by a run of all accounts without -no-control")})
		return nil
	}
	x, err := m.host.Expander(ctx)
	if err != nil {
		return err
	}
	ours := map[string]bool{m.domain: true}
	for _, d := range m.aliases {
		ours[d] = true
	}
	m.control, err = controlmap.Build(ctx, x, &controlmap.Options{
		Domain: m.domain, Ours: func(d string) bool { return ours[d] }, AliasOK: m.aliasOK,
	})
	if err != nil {
		return err
	}
	m.problem(m.control.Problems...)
	for _, a := range m.control.Aliases {
		if a.Of == m.domain {
			m.aliases = append(m.aliases, a.Name)
			m.known = append(m.known, a.Name)
		}
	}
	return nil
}

// aliasOK says why a domain cannot be an alias domain.
func (m *move) aliasOK(domain string) error {
	switch {
	case m.c.noAlias:
		return errors.New("-no-alias-domains")
	case len(m.c.aliases) > 0:
		return errors.New("the command line names all alias domains, and not this one")
	}
	_, err := m.profile.AliasDomain(domain)
	return err
}

// lateAliases makes alias domains of the domains that are not the users', when
// it is known what these become. The proof asks for their addresses too.
func (m *move) lateAliases() {
	if m.control == nil || m.addresses == nil {
		return
	}
	for _, a := range m.control.Aliases {
		if a.Of == m.domain {
			continue
		}
		m.aliases = append(m.aliases, a.Name)
		if !slices.Contains(m.addresses.Aliases, a.Of) {
			if m.aliasOf == nil {
				m.aliasOf = map[string]string{}
			}
			m.aliasOf[a.Name] = a.Of
		}
		m.addresses.AddAlias(a.Name, a.Of, a.Path, a.Line)
	}
}

// realOf is the domain that an alias domain is an alias of.
func (m *move) realOf(alias string) string {
	if of, ok := m.aliasOf[alias]; ok {
		return of
	}
	return m.domain
}

// controlSettled says whether a Problem tells of what findControl has decided
// about.
func (m *move) controlSettled(p qmailkit.Problem) bool {
	return m.control != nil && m.control.Settled[p.Path]
}

// A controlDir is qmail's control directory, or that of a tcp.smtp, and the
// files in it that are edited.
type controlDir struct {
	root  *os.Root // nil where there is none yet
	files []string // names in it
	now   *qmailcontrol.Config
	// kind is the file of controlmap that each is.
	kind map[string]string
	// path is that of tcp.smtp; empty for qmail's own.
	path string
}

func (d *controlDir) close() {
	if d.root != nil {
		d.root.Close()
	}
}

// key is under which the state remembers what was written to a file.
func (d *controlDir) key(domain, name string) string {
	if d.path != "" {
		name = controlmap.Clients + " " + d.path
	}
	return controlKey(domain) + name
}

func controlKey(domain string) string { return "control " + domain + " " }

// place is a file's name for people.
func (d *controlDir) place(name string) string {
	if d.path != "" {
		return d.path
	}
	return "control/" + name
}

// openControl reads qmail's control directory, of which qmail is the parent; it
// may be nil.
func openControl(ctx context.Context, qmail *os.Root) (*controlDir, error) {
	d := &controlDir{files: []string{controlmap.Routes, controlmap.Senders, controlmap.Hosts}, now: qmailcontrol.NewConfig(), kind: map[string]string{}}
	for _, name := range d.files {
		d.kind[name] = name
	}
	if qmail == nil {
		return d, nil
	}
	var err error
	d.root, err = qmail.OpenRoot("control")
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err == nil {
		d.now, err = qmailcontrol.LoadConfig(ctx, d.root)
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// openRules reads the file that tcprules makes its database of.
func openRules(path string) (*controlDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(path)
	d := &controlDir{path: path, files: []string{name}, now: qmailcontrol.NewConfig(), kind: map[string]string{name: controlmap.Clients}}
	d.root, err = os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("-tcp-smtp: %w", err)
	}
	l, err := qmailcontrol.Load(d.root, name)
	if err == nil {
		err = d.now.Set(name, l)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		d.close()
		return nil, fmt.Errorf("-tcp-smtp: %w", err)
	}
	return d, nil
}

// rules are those that tcp.smtp will have; nil where it is not known.
func (d *controlDir) rules(c *qmailcontrol.Config) (*controlmap.Rules, []qmailkit.Problem) {
	e, _ := c.Entry(d.files[0])
	return controlmap.ParseRules(d.path, e.Text)
}

// lineKey is what a file has one line for.
func lineKey(kind, text string) string {
	if kind == controlmap.Routes || kind == controlmap.Clients {
		text, _, _ = strings.Cut(text, ":")
	}
	return strings.ToLower(text)
}

// rulesNotice says what is left to do about tcp.smtp.
func (m *move) rulesNotice() []report.Notice {
	if m.control == nil {
		return nil
	}
	var lines []string
	for _, l := range m.control.Lines {
		if l.File == controlmap.Clients {
			lines = append(lines, l.Text)
		}
	}
	switch {
	case len(lines) == 0:
		return nil
	case m.c.tcpSMTP != "":
		return []report.Notice{{Code: "notice.tcp-smtp", Title: "tcpserver reads a database made of " + cli.Name(m.c.tcpSMTP),
			Words: fmt.Sprintf("%s in it came by run. They count when it is made anew: tcprules FILE.cdb FILE.tmp <FILE, with the FILE.cdb that tcpserver -x names.",
				cli.Plural(int64(len(lines)), "rule"))}}
	}
	const most = 100
	words := strings.Join(lines[:min(len(lines), most)], "; ")
	if n := len(lines) - most; n > 0 {
		words += fmt.Sprintf("; and %d more, which the command commands prints", n)
	}
	return []report.Notice{{Code: "notice.tcp-smtp", Title: "Who may connect and relay is for tcp.smtp, which was not named (-tcp-smtp FILE)", Words: "Rules for it: " + words}}
}
