package sendmail

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"path"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/passhash"
)

// A Policy says which accounts of the old host are carried to the new one, and
// under which names. Start from DefaultPolicy. The package documentation has
// the table of its rules, and Rules yields the same for a plan.
type Policy struct {
	// Include and Exclude are patterns of path.Match for user names. Nil
	// Include takes all.
	Include []string
	Exclude []string
	// MinUID and MaxUID bound the user numbers that are carried.
	MinUID int
	MaxUID int
	// FoldCase makes A-Z in names lower-case, as the new host compares them.
	FoldCase bool
	// NameOK says why the new host refuses a user name; nil refuses none
	// beyond those that could not name a directory.
	NameOK func(name string) error
	// SchemeOK says why the new host cannot check hashes of a scheme, by the
	// names of Account.Scheme; nil takes all that crypt(5) has.
	SchemeOK func(scheme string) error
	// MaxHash is the number of bytes that the new host keeps of a hash; 0 is
	// no limit.
	MaxHash int
}

// DefaultPolicy carries user numbers 1000 to 60000, whatever the shell, and
// folds case.
func DefaultPolicy() *Policy {
	return &Policy{MinUID: 1000, MaxUID: 60000, FoldCase: true}
}

// A Rule is one row of the table of the policy.
type Rule struct {
	Name    string // "uid"
	Setting string // what is set: "1000 to 60000"
	Effect  string // what it does
	Code    string // of the Problem in a Decision; empty if there is none
}

// Rules yields the table of the policy with its present settings, in the order
// in which the rules are asked.
func (p *Policy) Rules() []Rule {
	list := func(patterns []string, none string) string {
		if len(patterns) == 0 {
			return none
		}
		return strings.Join(patterns, " ")
	}
	choose := func(set bool, yes, no string) string {
		if set {
			return yes
		}
		return no
	}
	rules := []Rule{
		{"include", list(p.Include, "all"), "other names are not carried", codeNotIncluded},
		{"exclude", list(p.Exclude, "none"), "these names are not carried", codeExcluded},
		{"uid", fmt.Sprintf("%d to %d", p.MinUID, p.MaxUID), "accounts outside are not carried", codeUID},
		{"shell", "no filter", "an account is carried whatever its shell", ""},
		{"case", choose(p.FoldCase, "folded", "kept"), "of names that become equal one is carried: that in lower case, else the first", codeCollision},
		{"name", choose(p.NameOK != nil, "the new host's rule", "file names only"), "names that the new host refuses are not carried", codeName},
		{"empty", "never", "without a password an account is carried locked", codeEmpty},
		{"locked", "kept locked", "the hash stays behind its mark", codeLocked},
		{"expired", "kept locked", "the hash is put behind \"!\"", codeExpired},
		{"no password", "kept locked", "nobody can log in until a password is set", codeNoPassword},
		{"scheme", choose(p.SchemeOK != nil, "the new host's crypt", "those of crypt(5)"), "the hash is carried unchanged, and who cannot log in by it is reported", codeScheme},
		{"postmaster", "no usable password", "unless one is given, or the old host has an account of that name", ""},
	}
	for i, r := range rules {
		if r.Code != "" {
			rules[i].Code = codePrefix + r.Code
		}
	}
	return rules
}

// Codes of the Problems in Decisions, without codePrefix.
const (
	codeNotIncluded = "policy-not-included"
	codeExcluded    = "policy-excluded"
	codeUID         = "policy-uid"
	codeCollision   = "policy-collision"
	codeName        = "policy-name"
	codeEmpty       = "policy-empty"
	codeLocked      = "policy-locked"
	codeExpired     = "policy-expired"
	codeNoPassword  = "policy-no-password"
	codeScheme      = "policy-scheme"
)

// A Verdict says what becomes of an account.
type Verdict uint8

const (
	// NotCarried accounts stay behind.
	NotCarried Verdict = iota
	// CarriedLocked accounts come with their mail, but nobody can log in.
	CarriedLocked
	// Carried accounts come with their mail and their hash.
	Carried
)

// String returns "not carried", "carried locked" or "carried".
func (v Verdict) String() string {
	switch v {
	case NotCarried:
		return "not carried"
	case CarriedLocked:
		return "carried locked"
	case Carried:
		return "carried"
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// MarshalText gives the same words as String.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// A Decision is the policy's answer for one account.
type Decision struct {
	Account *Account
	Verdict Verdict
	// Name is the user name on the new host. It is also set where that name is
	// the reason not to carry the account.
	Name string
	// Reason says why an account is not simply carried. Its Code is empty if
	// it is. System accounts and what the caller left out are of severity
	// Info; people who lose something by it are errors.
	Reason qmailkit.Problem
}

// PasswordField is what the new host's password field should hold: the hash
// for a carried account, the hash behind its lock mark (or "!") for a locked
// one, and "*" where there is no hash. It is never empty, and what stands for a
// locked account is no output of any crypt function.
func (d Decision) PasswordField() qmailkit.Secret {
	a := d.Account
	switch {
	case a.Hash == "":
		return "*"
	case d.Verdict == Carried:
		return a.Hash
	}
	return qmailkit.Secret(cmp.Or(a.LockMark, "!")) + a.Hash
}

// Judge yields a Decision for each account, in their order, and passes errors
// on. It ranges over the accounts twice, the first time to see which names
// become equal, and keeps the names that are carried in memory. A malformed
// pattern ends the sequence.
//
//	for d, err := range policy.Judge(host.Accounts(ctx)) {
func (p *Policy) Judge(accounts iter.Seq2[*Account, error]) iter.Seq2[Decision, error] {
	return func(yield func(Decision, error) bool) {
		if err := p.check(); err != nil {
			yield(Decision{}, qmailkit.Incomplete(err))
			return
		}
		winner := map[string]string{} // old name of each new one
		if p.FoldCase {
			for a, err := range accounts {
				if errors.Is(err, qmailkit.ErrIncomplete) {
					yield(Decision{}, err)
					return
				}
				if err != nil {
					continue // it comes again
				}
				d := p.judge(a)
				if d.Verdict == NotCarried {
					continue
				}
				if _, taken := winner[d.Name]; !taken || a.Name == d.Name {
					winner[d.Name] = strings.Clone(a.Name)
				}
			}
		}
		for a, err := range accounts {
			if err != nil {
				if !yield(Decision{}, err) {
					return
				}
				continue
			}
			d := p.judge(a)
			if first, taken := winner[d.Name]; taken && d.Verdict != NotCarried && first != a.Name {
				d.refuse(qmailkit.Error, codeCollision, "users %.80q and %.80q would have one name, %.80q", a.Name, first, d.Name)
			}
			if !yield(d, nil) {
				return
			}
		}
	}
}

// check says whether the patterns are well formed.
func (p *Policy) check() error {
	for _, list := range [][]string{p.Include, p.Exclude} {
		for _, pattern := range list {
			if _, err := path.Match(pattern, ""); err != nil {
				return fmt.Errorf("sendmail: pattern %q: %w", pattern, err)
			}
		}
	}
	return nil
}

func matches(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if ok, _ := path.Match(pattern, name); ok {
			return true
		}
	}
	return false
}

// refuse makes d a Decision not to carry.
func (d *Decision) refuse(sev qmailkit.Severity, code, format string, args ...any) {
	d.Verdict = NotCarried
	d.Reason = d.Account.place().problem(sev, code, format, args...)
}

// lock makes d a Decision to carry locked.
func (d *Decision) lock(sev qmailkit.Severity, code, format string, args ...any) {
	d.Verdict = CarriedLocked
	d.Reason = d.Account.hashPlace().problem(sev, code, format, args...)
}

// judge applies all rules but that of collisions.
func (p *Policy) judge(a *Account) Decision {
	d := Decision{Account: a, Name: a.Name, Verdict: Carried}
	if p.FoldCase {
		d.Name = lower(a.Name)
	}
	switch {
	case len(p.Include) > 0 && !matches(p.Include, a.Name):
		d.refuse(qmailkit.Info, codeNotIncluded, "user %.80q is not among those asked for", a.Name)
		return d
	case matches(p.Exclude, a.Name):
		d.refuse(qmailkit.Info, codeExcluded, "user %.80q was left out on request", a.Name)
		return d
	case a.UID < p.MinUID || a.UID > p.MaxUID:
		d.refuse(qmailkit.Info, codeUID, "user %.80q has number %d, outside %d to %d", a.Name, a.UID, p.MinUID, p.MaxUID)
		return d
	}
	if err := p.nameOK(d.Name); err != nil {
		d.refuse(qmailkit.Error, codeName, "user name %.80q is refused: %w", d.Name, err)
		return d
	}
	p.judgePassword(&d)
	return d
}

// judgePassword applies the rules about passwords.
func (p *Policy) judgePassword(d *Decision) {
	a := d.Account
	switch a.State {
	case Empty:
		d.lock(qmailkit.Error, codeEmpty, "user %.80q has no password, and gets none that works", a.Name)
	case Locked:
		d.lock(qmailkit.Info, codeLocked, "user %.80q is locked", a.Name)
	case Expired:
		d.lock(qmailkit.Info, codeExpired, "the account of user %.80q has expired", a.Name)
	case NoPassword:
		d.lock(qmailkit.Info, codeNoPassword, "user %.80q has no password that works", a.Name)
	case Active:
		err := p.schemeOK(a.Scheme)
		if err == nil && p.MaxHash > 0 && len(a.Hash) > p.MaxHash {
			err = fmt.Errorf("%d bytes, of which the new host keeps %d", len(a.Hash), p.MaxHash)
		}
		if err != nil {
			d.Reason = a.hashPlace().problem(qmailkit.Error, codeScheme,
				"user %.80q cannot log in by a hash of scheme %s: %w", a.Name, a.Scheme, err)
		}
	}
}

var errScheme = errors.New("crypt(3) does not know it")

// schemeOK asks what no crypt(3) could check before it asks the new host.
func (p *Policy) schemeOK(scheme string) error {
	if !passhash.Scheme(scheme).Crypt() {
		return errScheme
	}
	if p.SchemeOK != nil {
		return p.SchemeOK(scheme)
	}
	return nil
}

var errName = errors.New("it cannot name a directory")

// nameOK asks what no host could take before it asks the new one.
func (p *Policy) nameOK(name string) error {
	if !plainName(name) || strings.ContainsAny(name, ":\n") {
		return errName
	}
	if p.NameOK != nil {
		return p.NameOK(name)
	}
	return nil
}

// lower folds A-Z; other bytes are not letters to the programs concerned.
func lower(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if 'A' <= b[j] && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
