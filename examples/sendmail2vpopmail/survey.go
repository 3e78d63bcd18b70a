package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sort"
	"strings"
	"sync"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/aliasmap"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/controlmap"
	"github.com/qmailkit/qmailkit/examples/internal/mailcopy"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/sendmail"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// A move is what is to be done: the old host as it stands, judged.
type move struct {
	c       *config
	root    *os.Root
	host    *sendmail.Host
	profile vpopmail.Profile
	there   bool // of a plan: vpopmail and qmail are there already

	domain  string
	aliases []string
	// addresses is nil where aliases are not carried.
	addresses *aliasmap.Map
	// control is nil where routes and rules about relaying are not carried.
	control *controlmap.Map
	// known are alias domains that only tables of the old host speak of, and
	// aliasOf those of other domains than the users'.
	known    []string
	aliasOf  map[string]string
	replies  []reply // vacation texts
	accounts []*account
	// postmaster is set where the old host has an account of that name.
	postmaster bool
	left       []sendmail.Decision // accounts that are not carried
	mu         sync.Mutex          // of problems: Maildirs are finished beside the reading
	problems   []qmailkit.Problem
}

// An account is one that is carried, with its mail.
type account struct {
	sendmail.Decision
	gecos string
	boxes []mailcopy.Box
	sizes []int64
	subs  []string // directory names of folders
	added bool     // subs were subscribed
	// readable is false where the search for its mail ended early.
	readable bool
}

func (m *move) problem(p ...qmailkit.Problem) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.problems = append(m.problems, p...)
}

// errProblem notes an item's error; a fatal one is returned.
func (m *move) errProblem(err error) error {
	if p, ok := sendmail.AsProblem(err); ok {
		m.problem(p)
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return err
		}
		return nil
	}
	return err
}

// survey reads the old host. The profile is the target's.
func (c *config) survey(ctx context.Context, profile vpopmail.Profile) (*move, error) {
	root, err := os.OpenRoot(c.source)
	if err != nil {
		return nil, err
	}
	m := &move{c: c, root: root, profile: profile}
	var folders []string
	if len(c.folders) > 0 {
		folders = c.folders
	}
	if word, err := vpopmail.ParseQuota(c.quota); c.quota != "" && err == nil && len(word) > profile.MaxQuota {
		root.Close()
		return nil, cli.Usagef("-quota: vpopmail keeps %d bytes of a quota, and %s has %d", profile.MaxQuota, word, len(word))
	}
	m.host, err = sendmail.Open(qmailkit.NewTree(root), &sendmail.Options{Folders: folders, Now: c.now})
	if err == nil {
		err = m.findDomains(ctx)
	}
	if err == nil {
		err = m.findAccounts(ctx)
	}
	if err == nil {
		err = m.findControl(ctx)
	}
	if err == nil {
		err = m.findAliases(ctx)
	}
	if err == nil {
		m.lateAliases()
		err = m.findLeftovers(ctx)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return m, nil
}

func (m *move) close() { m.root.Close() }

// findDomains decides which domain gets the accounts. Sendmail's local host
// names all have the same users, so the others become its aliases.
func (m *move) findDomains(ctx context.Context) error {
	var found []sendmail.Domain
	for d, err := range m.host.Domains(ctx) {
		if err != nil {
			if err := m.errProblem(err); err != nil {
				return err
			}
			if d.Name == "" {
				continue
			}
		}
		found = append(found, d)
	}
	m.domain = strings.ToLower(m.c.domain)
	for _, d := range found {
		if m.domain == "" && !d.Host {
			m.domain = d.Name
		}
	}
	if m.domain == "" {
		return errors.New("no domain: local-host-names has none, and -domain is missing")
	}
	if _, err := m.profile.Domain(m.domain); err != nil {
		return m.named(m.c.domain, err)
	}
	seen := map[string]bool{m.domain: true}
	for _, a := range m.c.aliases {
		name, err := m.profile.AliasDomain(a)
		if err != nil {
			return m.named(a, err)
		}
		if !seen[name] {
			seen[name] = true
			m.aliases = append(m.aliases, name)
		}
	}
	for _, d := range found {
		if !seen[d.Name] {
			seen[d.Name] = true
			m.otherDomain(d)
		}
	}
	return nil
}

// named makes the refusal of a name that the command line gives a wrong usage.
func (m *move) named(arg string, err error) error {
	if arg == "" {
		return err
	}
	return cli.Usagef("%w", err)
}

// ownPassword says whether an account gets the password that the command line
// points to, in place of its own.
func (m *move) ownPassword(a *account) bool { return a.Name == "postmaster" && m.c.postmaster != "" }

// otherDomain takes a local host name that the command line does not name.
func (m *move) otherDomain(d sendmail.Domain) {
	p := qmailkit.Problem{Path: d.Path, Line: d.Line}
	switch {
	case d.Host:
		p.Code, p.Severity = "domain.host", qmailkit.Info
		p.Err = fmt.Errorf("%s is the old host itself: it stays there", d.Name)
	case m.c.noAlias:
		p.Code, p.Severity = "domain.left-out", qmailkit.Info
		p.Err = fmt.Errorf("domain %s is left out, as asked", d.Name)
	case len(m.c.aliases) > 0:
		p.Code, p.Severity = "domain.not-carried", qmailkit.Error
		p.Err = fmt.Errorf("domain %s is not carried: the command line does not name it", d.Name)
		p.Fix = "-alias-domain " + d.Name
	default:
		name, err := m.profile.AliasDomain(d.Name)
		if err == nil {
			m.aliases = append(m.aliases, name)
			return
		}
		p.Code, p.Severity, p.Err = "domain.refused", qmailkit.Error, err
	}
	m.problem(p)
}

// findAccounts judges the accounts and finds the mail of those that move.
func (m *move) findAccounts(ctx context.Context) error {
	policy := m.c.policy
	policy.NameOK = m.nameOK
	var fatal error
	for d, err := range policy.Judge(m.noted(m.host.Accounts(ctx), &fatal)) {
		if err != nil {
			if err := m.errProblem(err); err != nil {
				return err
			}
			continue
		}
		m.problem(d.Account.Problems...)
		m.judgeLength(&d)
		if d.Reason.Code != "" {
			m.problem(d.Reason)
		}
		if d.Verdict == sendmail.NotCarried {
			m.left = append(m.left, d)
			left, ok, err := m.host.LeftBehind(ctx, d)
			if err != nil && ctx.Err() != nil {
				return err
			}
			if err != nil { // of this account only
				m.problem(qmailkit.Problem{Code: "account.mail-unknown", Severity: qmailkit.Error, Path: d.Account.Path, Line: d.Account.Line, Err: err})
			} else if ok {
				m.problem(left)
			}
			continue
		}
		a := &account{Decision: d, readable: true}
		a.gecos = m.gecos(a)
		if d.Name == "postmaster" {
			m.postmaster = true
		}
		if err := m.findMail(ctx, a); err != nil {
			return err
		}
		m.accounts = append(m.accounts, a)
	}
	if fatal != nil {
		return fatal
	}
	sort.SliceStable(m.accounts, func(i, j int) bool { return m.accounts[i].Name < m.accounts[j].Name })
	return nil
}

// nameOK says why the new host has no account of this name.
func (m *move) nameOK(name string) error {
	_, err := m.profile.User(name)
	return err
}

// judgeLength leaves an account behind whose hash the target cannot hold: no
// account is better than one that nobody can log in to, and the owner of which
// finds that out.
func (m *move) judgeLength(d *sendmail.Decision) {
	n := len(d.PasswordField())
	if d.Verdict == sendmail.NotCarried || n <= m.profile.MaxHash || d.Name == "postmaster" && m.c.postmaster != "" {
		return
	}
	d.Verdict = sendmail.NotCarried
	d.Reason = qmailkit.Problem{
		Code: "account.hash-too-long", Severity: qmailkit.Error, Path: d.Account.HashPath, Line: d.Account.HashLine,
		Err: fmt.Errorf("the hash of %s (%s) has %d bytes, of which the new host keeps %d: the account is not carried", d.Name, d.Account.Scheme, n, m.profile.MaxHash),
		Fix: "where it is a database, make the column pw_passwd wider; or give the account a new password on the old host",
	}
}

// noted passes a sequence on and keeps the error that ends it.
func (m *move) noted(seq iter.Seq2[*sendmail.Account, error], fatal *error) iter.Seq2[*sendmail.Account, error] {
	return func(yield func(*sendmail.Account, error) bool) {
		for a, err := range seq {
			if err != nil && errors.Is(err, qmailkit.ErrIncomplete) {
				*fatal = err
			}
			if !yield(a, err) {
				return
			}
		}
	}
}

// gecos is the full name, cut to what the target keeps.
func (m *move) gecos(a *account) string {
	g := a.Account.FullName()
	clean := strings.Map(func(r rune) rune {
		if r == ':' || r == '\n' || r == 0 {
			return ' '
		}
		return r
	}, g)
	if strings.ContainsRune(clean, '\uFFFD') {
		clean = g // not UTF-8: passwd cannot hold what would have to go
	}
	if n := m.profile.MaxGecos; len(clean) > n {
		m.problem(qmailkit.Problem{Code: "account.gecos-cut", Severity: qmailkit.Warning, Path: a.Account.Path, Line: a.Account.Line,
			Err: fmt.Errorf("the full name of %s has %d bytes and is cut to %d", a.Name, len(clean), n)})
		clean = strings.TrimRight(clean[:n], " ")
	}
	return clean
}

// findMail collects an account's boxes and subscriptions.
func (m *move) findMail(ctx context.Context, a *account) error {
	for mb, err := range m.host.Mailboxes(ctx, a.Account) {
		if err != nil {
			if e := m.errProblem(err); e != nil {
				if errors.Is(e, qmailkit.ErrIncomplete) && ctx.Err() == nil {
					a.readable = false // this account's only
					break
				}
				return e
			}
			if p, _ := sendmail.AsProblem(err); p.Severity == qmailkit.Error || mb.Path == "" {
				continue
			}
		}
		m.addBox(a, mb)
	}
	subs, probs, err := m.host.Subscriptions(ctx, a.Account)
	m.problem(probs...)
	if err != nil {
		return err
	}
	for _, s := range subs {
		dir, _, err := maildir.FolderDir(s, m.c.encoding)
		if err == nil {
			a.subs = append(a.subs, dir)
		}
	}
	return nil
}

func (m *move) addBox(a *account, mb sendmail.Mailbox) {
	dir, changed, err := maildir.FolderDir(mb.Folder, m.c.encoding)
	if err != nil {
		m.problem(qmailkit.Problem{Code: "folder.name", Severity: qmailkit.Error, Path: mb.Path, Err: err})
		return
	}
	if changed {
		m.problem(qmailkit.Problem{Code: "folder.renamed", Severity: qmailkit.Warning, Path: mb.Path,
			Err: fmt.Errorf("its name cannot be written in a Maildir; the folder is %s", dir)})
	}
	b := mailcopy.Box{
		Path: mb.Path, Source: mb.Path, Folder: dir,
		Open: func() (qmailkit.File, error) { return m.host.OpenMailbox(a.Account, mb) },
	}
	if dir == "." {
		b.SpoolDir, b.SpoolName = m.root, mb.Path
	}
	a.boxes = append(a.boxes, b)
	a.sizes = append(a.sizes, mb.Size)
}

// findLeftovers collects what the old host has beside accounts and mail.
func (m *move) findLeftovers(ctx context.Context) error {
	for p, err := range m.host.NotCarried(ctx) {
		if err != nil {
			if err := m.errProblem(err); err != nil {
				return err
			}
			continue
		}
		if !m.settled(p) && !m.controlSettled(p) {
			m.problem(p)
		}
	}
	return nil
}

// postmasterPassword reads the password that the command line points to.
func (c *config) postmasterPassword() (qmailkit.Secret, error) {
	if c.postmaster == "" {
		return "", nil
	}
	f, err := os.Open(c.postmaster)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line == "" {
		return "", fmt.Errorf("%s: its first line is empty", c.postmaster)
	}
	return qmailkit.Secret(line), nil
}
