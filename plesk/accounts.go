package plesk

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// AccountAction is what is to be done for a mail name on the target.
type AccountAction uint8

const (
	// AccountCreate makes a name that the target does not have.
	AccountCreate AccountAction = iota
	// AccountSame does nothing: the target's is as the source's.
	AccountSame
	// AccountDiffers does nothing either: the target has the name with other
	// settings, which somebody may have chosen. Differences tells them.
	AccountDiffers
	// AccountRefused cannot be made; its Problems tell why.
	AccountRefused
)

// String returns "create", "same", "differs" or "refused".
func (a AccountAction) String() string {
	switch a {
	case AccountCreate:
		return "create"
	case AccountSame:
		return "same"
	case AccountDiffers:
		return "differs"
	case AccountRefused:
		return "refused"
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// MarshalText gives the same words as String.
func (a AccountAction) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// AccountOptions of PlanAccounts. The nil pointer is the zero value.
type AccountOptions struct {
	// Domains are those to be moved; nil is all of the source.
	Domains []string
	// SourceKey opens the source's passwords of type sym, TargetKey the
	// target's, where those are to be compared. A host without such passwords
	// needs none.
	SourceKey, TargetKey *SecretKey
	// IDs are the target's domain ids, where Target is nil.
	IDs DomainIDs
	// Poppasswd is the source's users/poppasswd: it has the password in clear
	// for some whose psa has a hash only, or nothing. Nil is none.
	Poppasswd *users.Poppasswd
	// NeedClear says that the target needs passwords in clear, for CRAM-MD5
	// and APOP: a hash is then reported as an Error.
	NeedClear bool
	// FolderNames says that the source has folder names in modified UTF-7 and
	// the target in UTF-8 (Courier before and from 1.0): it is told once.
	FolderNames bool
}

// An AccountPlan is what will be done on the target.
type AccountPlan struct {
	Domains  []*DomainPlan
	Problems []qmailkit.Problem // of the host
}

// A DomainPlan is the plan of one domain.
type DomainPlan struct {
	Domain   *Domain
	TargetID uint64
	Accounts []*Account         // in the order of the mail names
	Problems []qmailkit.Problem // of the domain; those of names are in Accounts
}

// An Account is the plan for one mail name.
type Account struct {
	Mailname *Mailname
	Action   AccountAction
	// Password is what the target gets. A name without a mailbox has no login,
	// but psa may have a password for it all the same, which is kept.
	Password    Credential
	Differences []string // in words, without passwords
	Problems    []qmailkit.Problem
}

// All are the Problems of host, domains and names, in this order.
func (p *AccountPlan) All() []qmailkit.Problem {
	out := slices.Clone(p.Problems)
	for _, d := range p.Domains {
		out = append(out, d.Problems...)
		for _, a := range d.Accounts {
			out = append(out, a.Problems...)
		}
	}
	return out
}

// planner makes an AccountPlan.
type planner struct {
	o    AccountOptions
	dst  *Server
	plan *AccountPlan
	pop  map[string]users.PopEntry // by login in lower case, as DirName has it
}

// PlanAccounts compares the source with the target and says what is to be
// created, and what cannot be carried and why. target may be nil: every name is
// then to be created, and the ids are those of the options. Nothing is changed.
//
// A domain of the options that the source does not have is an error that wraps
// ErrNoDomain. One that the target does not have wraps ErrNoDomainID: it has to
// be made there first, in Plesk. A source key that opens none of several
// passwords is an error that wraps ErrKey; where it opens others, those names
// are refused.
func PlanAccounts(source, target *Server, opts *AccountOptions) (*AccountPlan, error) {
	p := &planner{dst: target, plan: &AccountPlan{}, pop: map[string]users.PopEntry{}}
	if opts != nil {
		p.o = *opts
	}
	ids := p.o.IDs
	if target != nil {
		ids = target.IDs()
	}
	domains := source.Domains
	if p.o.Domains != nil {
		domains = nil
		for _, name := range p.o.Domains {
			d := source.Domain(name)
			if d == nil {
				return nil, fmt.Errorf("%s: %w", name, ErrNoDomain)
			}
			domains = append(domains, d)
		}
	}
	if err := checkKey(domains, p.o.SourceKey); err != nil {
		return nil, err
	}
	if p.o.Poppasswd != nil {
		for e := range p.o.Poppasswd.Entries() {
			if _, twice := p.pop[DirName(e.Login)]; !twice {
				p.pop[DirName(e.Login)] = e
			}
		}
	}
	p.host(source)
	for _, d := range domains {
		id, err := ids.ID(d.Name)
		if err != nil {
			return nil, err
		}
		p.plan.Domains = append(p.plan.Domains, p.domain(d, id))
	}
	return p.plan, nil
}

// checkKey notices a key that belongs to another host before anything is done:
// it opens nothing of what is kept under sym.
func checkKey(domains []*Domain, key *SecretKey) error {
	if key == nil {
		return nil
	}
	opened, failed := 0, 0
	for _, d := range domains {
		for _, m := range d.Mailnames {
			if m.Password.Type != "sym" || !m.Mailbox {
				continue
			}
			if _, err := key.Open(m.Password.Stored); err == nil {
				opened++
			} else if errors.Is(err, ErrKey) {
				failed++
			}
		}
	}
	if failed > 0 && opened == 0 {
		return fmt.Errorf("none of %d passwords can be opened: %w", failed, ErrKey)
	}
	return nil
}

func (p *planner) host(source *Server) {
	add := func(code string, s qmailkit.Severity, fix, format string, args ...any) {
		p.plan.Problems = append(p.plan.Problems, qmailkit.Problem{Code: "plesk." + code, Severity: s, Err: fmt.Errorf(format, args...), Fix: fix})
	}
	if source.ShortNames && (p.dst == nil || !p.dst.ShortNames) {
		add("short-names", qmailkit.Warning, "switch them on there, or tell the users to log in with the whole address", "the source takes POP3 and IMAP logins without the domain; the target does not, or it is not known")
	}
	if p.o.FolderNames {
		add("folder-names", qmailkit.Warning, "convert them while copying", "names of IMAP folders are kept in modified UTF-7 on the source and in UTF-8 on the target")
	}
}

// domain plans one domain.
func (p *planner) domain(d *Domain, id uint64) *DomainPlan {
	out := &DomainPlan{Domain: d, TargetID: id}
	add := func(code string, s qmailkit.Severity, fix, format string, args ...any) {
		out.Problems = append(out.Problems, qmailkit.Problem{Code: "plesk." + code, Severity: s, Path: d.Name, Err: fmt.Errorf(format, args...), Fix: fix})
	}
	if d.Status&^statusWeb != 0 || d.MailStatus != 0 || d.ClientStatus != 0 {
		add("suspended", qmailkit.Warning, "suspend it in the panel too, if it is to stay so", "the source has suspended %s (status %d, mail %d, client %d); what it has is planned all the same", d.Name, d.Status, d.MailStatus, d.ClientStatus)
	}
	for _, list := range d.Lists {
		add("mailing-list", qmailkit.Error, "move it with Mailman's own tools", "mailing list %s@%s is not carried", list, d.Name)
	}
	var there *Domain
	if p.dst != nil {
		there = p.dst.Domain(d.Name)
	}
	if there != nil {
		for _, a := range d.Aliases {
			if !slices.ContainsFunc(there.Aliases, func(b DomainAlias) bool { return DirName(a.Name) == DirName(b.Name) }) && a.Mail {
				add("alias-domain", qmailkit.Error, "make it in the panel", "the target does not know %s as another name of %s", a.Name, d.Name)
			}
		}
		if there.Unknown != d.Unknown {
			add("unknown-names", qmailkit.Warning, "set it in the panel", "mail for unknown names: source %q %s, target %q %s", d.Unknown.Action, d.Unknown.Address, there.Unknown.Action, there.Unknown.Address)
		}
	} else if d.Unknown.Action != "" {
		add("unknown-names", qmailkit.Info, "set it in the panel", "mail for unknown names: %q %s", d.Unknown.Action, d.Unknown.Address)
	}
	index := there.index()
	for _, m := range d.Mailnames {
		out.Accounts = append(out.Accounts, p.account(d, index, m))
	}
	return out
}

// account plans one name.
func (p *planner) account(d *Domain, there *nameIndex, m *Mailname) *Account {
	a := &Account{Mailname: m}
	addr := m.Name + "@" + d.Name
	add := func(code string, s qmailkit.Severity, fix, format string, args ...any) {
		a.Problems = append(a.Problems, qmailkit.Problem{Code: "plesk." + code, Severity: s, Path: addr, Err: fmt.Errorf(format, args...), Fix: fix})
	}
	if m.Mailbox {
		var err error
		if a.Password, err = p.password(addr, m, a); err != nil {
			add(passwordCode(err), qmailkit.Error, "set a new password on the target", "%s: %w", addr, err)
			a.Action = AccountRefused
		} else if a.Password.Clear == "" {
			s := qmailkit.Info
			if p.o.NeedClear {
				s = qmailkit.Error
			}
			add("password-hash", s, "", "%s: only the hash of the password is known: CRAM-MD5 and APOP do not work with it", addr)
		}
	}
	notCarried(m, add)
	if !safePart(m.Name) {
		add("name", qmailkit.Error, "rename it on the source", "%q can be no directory", m.Name)
		a.Action = AccountRefused
	}
	old := there.name(m.Name)
	if old == nil {
		for _, name := range append([]string{m.Name}, m.Aliases...) {
			if owner := there.taken(name); owner != nil {
				add("alias-conflict", qmailkit.Error, "rename one of the two", "%s: the name %s belongs to %s on the target", addr, name, owner.Name)
				a.Action = AccountRefused
			}
		}
		return a
	}
	a.Differences = p.differences(a, m, old)
	switch {
	case len(a.Differences) > 0:
		a.Action = AccountDiffers
		add("differs", qmailkit.Warning, "set it in the panel, if the source is right", "%s is on the target with other settings, which stay: %s", addr, strings.Join(a.Differences, ", "))
	case a.Action == AccountCreate:
		a.Action = AccountSame
	}
	return a
}

// notCarried reports what no account of another host can have.
func notCarried(m *Mailname, add func(code string, s qmailkit.Severity, fix, format string, args ...any)) {
	if m.SpamFilter == "true" {
		add("mail-handler", qmailkit.Warning, "switch it on in the panel", "the spam filter is a mail handler of the source")
	}
	if m.VirusFilter != "" && m.VirusFilter != "none" {
		add("mail-handler", qmailkit.Warning, "switch it on in the panel", "the virus filter (%s) is a mail handler of the source", m.VirusFilter)
	}
	if m.NoDelivery {
		add("delivery-off", qmailkit.Warning, "switch it off in the panel, unless it was written to psa", "delivery to the mailbox is switched off")
	}
	if len(m.Responders) > 1 {
		add("responders", qmailkit.Warning, "choose the one that is to stay", "%d autoresponders: Plesk from 10 on has one for each name", len(m.Responders))
	}
	if len(m.Off) > 0 {
		add("forward-off", qmailkit.Info, "set it in the panel, if it is to come back one day", "forwarding to %s is switched off and not carried", strings.Join(m.Off, ", "))
	}
	if !m.Mailbox && len(m.Forwards) == 0 && len(m.Responders) == 0 {
		add("no-delivery", qmailkit.Info, "", "neither a mailbox nor a forward: mail goes nowhere")
	}
}

// passwordCode names an error of Credential.
func passwordCode(err error) string {
	for code, is := range map[string]error{"no-password": ErrNoPassword, "no-key": ErrNoKey, "key": ErrKey, "sym": ErrSym, "password-type": ErrPasswordType} {
		if errors.Is(err, is) {
			return code
		}
	}
	return "password-form"
}

// password takes what psa has, and what users/poppasswd has in clear where that
// is more.
func (p *planner) password(addr string, m *Mailname, a *Account) (Credential, error) {
	c, err := m.Password.Credential(p.o.SourceKey)
	if err == nil && c.Clear != "" {
		return c, nil
	}
	e, ok := p.pop[DirName(addr)]
	if !ok {
		return c, err
	}
	pop, probs := PopCredential(e)
	if pop.IsZero() || err == nil && pop.Clear == "" {
		return c, err
	}
	if err == nil && pop.Clear != "" && !fits(c.Hash, pop.Clear) {
		a.Problems = append(a.Problems, qmailkit.Problem{Code: "plesk.pop-differs", Severity: qmailkit.Warning, Path: "users/poppasswd", Line: e.Line, Offset: e.Offset,
			Err: fmt.Errorf("%s: the password does not fit the hash in psa, which counts", addr)})
		return c, nil
	}
	a.Problems = append(a.Problems, probs...)
	return pop, nil
}
