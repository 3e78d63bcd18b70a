package sendmail

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
)

// An Account is a user of the host, as passwd and shadow tell.
type Account struct {
	Name  string
	UID   int
	GID   int
	Class string // login class, in master.passwd only
	Gecos string
	Home  string // as it stands; it may be anything
	Shell string

	// Hash is the crypt string without lock marks, empty if there is none.
	Hash qmailkit.Secret
	// LockMark is what stands before Hash to lock the account, or the whole
	// field where that is no hash but a mark.
	LockMark string
	// Scheme names the kind of Hash: des, bigcrypt, bsdi, md5, bcrypt, nt,
	// sha256, sha512, scrypt, sunmd5, sha1, yescrypt, gost-yescrypt, or ldap
	// for what crypt(5) does not know. It is empty without Hash.
	Scheme  string
	State   State
	Expires time.Time // end of the account; zero if it has none

	Path     string // file of the account
	Line     int    // its line
	HashPath string // file of the hash
	HashLine int    // its line, 0 if shadow has none for the account

	// Problems are oddities of an account that is nevertheless one.
	Problems []qmailkit.Problem
}

// maxFullName bounds what a field full of "&" can grow to.
const maxFullName = 1024

// FullName is the name in the Gecos field: the part before the first comma, in
// which "&" stands for the login name with a capital letter (passwd(5)). It has
// at most 1,024 bytes.
func (a *Account) FullName() string {
	name, _, _ := strings.Cut(a.Gecos, ",")
	return a.withLogin(name)
}

// withLogin puts the login name in the place of "&".
func (a *Account) withLogin(name string) string {
	login := a.Name
	if login != "" && 'a' <= login[0] && login[0] <= 'z' {
		login = string(login[0]-'a'+'A') + login[1:]
	}
	var b strings.Builder
	for i := 0; i < len(name) && b.Len() < maxFullName; i++ {
		if name[i] == '&' {
			b.WriteString(login)
		} else {
			b.WriteByte(name[i])
		}
	}
	full := b.String()
	return full[:min(len(full), maxFullName)]
}

func (a *Account) place() place     { return place{path: a.Path, line: a.Line} }
func (a *Account) hashPlace() place { return place{path: a.HashPath, line: a.HashLine} }

func (a *Account) addProblem(p qmailkit.Problem) { a.Problems = append(a.Problems, p) }

// Accounts yields the accounts in the order of the account file. A line that
// gives no account is an ItemError: a malformed or over-long one
// ("sendmail.malformed-line", "sendmail.long-line"), a second one of the same
// name ("sendmail.duplicate-user"; getpwnam(3) finds the first), one that
// refers to NIS ("sendmail.nis-line"). Malformed lines of shadow come as
// ItemErrors too. The sequence may be ranged over again and reads the files
// anew.
//
// Both files are read in step, so a large host costs a few dozen bytes for
// each account, and more only if shadow has another order than passwd.
func (h *Host) Accounts(ctx context.Context) iter.Seq2[*Account, error] {
	return func(yield func(*Account, error) bool) {
		r := &accountReader{host: h, now: h.opts.Now(), seen: map[string]int{}}
		defer r.close()
		fields := passwdFields
		if h.layout.Master {
			fields = masterFields
		}
		for l, err := range h.lines(ctx, h.layout.Passwd) {
			var a *Account
			if err == nil {
				if skipped(l.text()) {
					continue
				}
				a, err = r.account(ctx, l, fields)
			}
			for _, e := range r.takeErrors() {
				if !yield(nil, e) || errors.Is(e, qmailkit.ErrIncomplete) {
					return
				}
			}
			if err != nil {
				a = nil
			}
			if !yield(a, err) || errors.Is(err, qmailkit.ErrIncomplete) {
				return
			}
		}
		r.finish(ctx)
		for _, e := range r.takeErrors() {
			if !yield(nil, e) {
				return
			}
		}
	}
}

// An accountReader joins passwd with shadow.
type accountReader struct {
	host   *Host
	now    time.Time
	seen   map[string]int // line of each name
	shadow *shadowReader
	errs   []error // of shadow, to be yielded before the next account
}

func (r *accountReader) close() {
	if r.shadow != nil {
		r.shadow.stop()
	}
}

func (r *accountReader) takeErrors() []error {
	errs := r.errs
	r.errs = nil
	return errs
}

// account makes an Account of a line.
func (r *accountReader) account(ctx context.Context, l line, fields int) (*Account, error) {
	text := l.text()
	if fromNIS(text) {
		name, _, _ := strings.Cut(text, ":") // behind it there may be a hash
		return nil, l.item("nis-line", "%.80q refers to accounts that a network service holds; they are not here", name)
	}
	e, err := parsePasswd(text, fields)
	if err != nil {
		return nil, l.item("malformed-line", "%w", err)
	}
	if first, dup := r.seen[e.name()]; dup {
		return nil, l.item("duplicate-user", "user %.80q has stood in line %d already, and that one counts", e.name(), first)
	}
	// The line also holds the hash; a copy of the name lets go of it.
	r.seen[strings.Clone(e.name())] = l.line

	gecos, home, shell := e.tail()
	a := &Account{
		Name: e.name(), UID: e.uid, GID: e.gid, Gecos: gecos, Home: home, Shell: shell,
		Path: l.path, Line: l.line, HashPath: l.path, HashLine: l.line,
	}
	if e.master() {
		a.Class = e.fields[4]
	}
	field, entry, ok := e.password(), (*shadowEntry)(nil), true
	if field == "x" || strings.HasPrefix(field, "##") {
		field, entry, ok = r.fromShadow(ctx, a)
	}
	if !ok {
		a.State = NoPassword
		return a, nil
	}
	a.setPassword(field)
	if entry != nil {
		a.setShadowDates(entry, r.now)
	} else {
		a.setMasterDates(e, r.now)
	}
	return a, nil
}

// fromShadow gives the password field of a in shadow. Without one nobody can
// log in, and so it stays.
func (r *accountReader) fromShadow(ctx context.Context, a *Account) (string, *shadowEntry, bool) {
	path := r.host.layout.Shadow
	if path == "" {
		a.addProblem(a.place().problem(qmailkit.Warning, "no-shadow",
			"the hash of user %.80q should be in shadow, but there is no such file", a.Name))
		return "", nil, false
	}
	if r.shadow == nil {
		r.shadow = openShadow(r.host.lines(ctx, path))
	}
	a.HashPath, a.HashLine = path, 0
	entry, errs := r.shadow.find(a.Name)
	r.errs = append(r.errs, errs...)
	if entry == nil {
		a.addProblem(a.place().problem(qmailkit.Warning, "no-shadow",
			"user %.80q has no usable line in %s, and so no password", a.Name, path))
		return "", nil, false
	}
	a.HashLine = entry.line
	return entry.fields[1], entry, true
}

// setPassword takes the password field apart.
func (a *Account) setPassword(field string) {
	p := parseField(field)
	a.Hash, a.LockMark, a.Scheme, a.State = qmailkit.Secret(p.hash), p.mark, p.scheme, p.state
	at := a.hashPlace()
	if p.odd {
		a.addProblem(at.problem(qmailkit.Warning, "unknown-hash",
			"the password field of user %.80q is no hash that crypt(5) knows; nobody can log in by it", a.Name))
	}
	if p.aging != "" {
		a.addProblem(at.problem(qmailkit.Info, "password-aging",
			"the password ageing of user %.80q is left out", a.Name))
	}
	if p.state == Empty {
		a.addProblem(at.problem(qmailkit.Error, "empty-password",
			"user %.80q can log in without a password", a.Name))
	}
}

const day = 24 * time.Hour

// maxDays and maxSeconds keep hostile dates within what time can count.
const (
	maxDays    = 1 << 22 // past the year 13000
	maxSeconds = maxDays * 24 * 3600
)

// setShadowDates applies the dates of shadow(5).
func (a *Account) setShadowDates(e *shadowEntry, now time.Time) {
	today := now.Unix() / int64(day/time.Second)
	at := a.hashPlace()
	if e.expire >= 0 && e.expire < maxDays {
		a.end(time.Unix(e.expire*int64(day/time.Second), 0).UTC(), today >= e.expire, at)
	}
	if e.expire == 0 {
		a.addProblem(at.problem(qmailkit.Warning, "expiry-zero",
			"shadow gives user %.80q day 0 as its end, which some systems take for no end at all", a.Name))
	}
	if e.last == 0 {
		a.mustChange(at)
	}
	// By shadow(5) an account whose password is older than "maximum" plus
	// "inactive" days is closed until the administrator opens it.
	if e.last > 0 && e.max >= 0 && e.grace >= 0 &&
		e.last < maxDays && e.max < maxDays && e.grace < maxDays && today >= e.last+e.max+e.grace {
		a.addProblem(at.problem(qmailkit.Warning, "password-inactive",
			"the password of user %.80q was not changed in time, which has closed the account", a.Name))
		a.close()
	}
}

// setMasterDates applies the dates of master.passwd, in seconds.
func (a *Account) setMasterDates(e *passwdEntry, now time.Time) {
	if !e.master() {
		return
	}
	if e.expire > 0 && e.expire < maxSeconds {
		a.end(time.Unix(e.expire, 0).UTC(), now.Unix() >= e.expire, a.place())
	}
	if e.change > 0 && now.Unix() >= e.change {
		a.mustChange(a.place())
	}
}

// end notes when the account ends, and that it has.
func (a *Account) end(at time.Time, over bool, where place) {
	a.Expires = at
	if over {
		a.addProblem(where.problem(qmailkit.Info, "expired",
			"the account of user %.80q ended on %s", a.Name, at.Format(time.DateOnly)))
		a.close()
	}
}

// close makes an account whose password works an expired one.
func (a *Account) close() {
	if a.State == Active {
		a.State = Expired
	}
}

func (a *Account) mustChange(at place) {
	a.addProblem(at.problem(qmailkit.Warning, "password-must-change",
		"user %.80q must change the password at the next log-in, which mail programs do not ask for", a.Name))
}

// finish reads the rest of shadow and says which of its lines have no account.
func (r *accountReader) finish(ctx context.Context) {
	if r.host.layout.Shadow == "" {
		return
	}
	if r.shadow == nil {
		r.shadow = openShadow(r.host.lines(ctx, r.host.layout.Shadow))
	}
	rest, errs := r.shadow.rest()
	r.errs = append(r.errs, errs...)
	for _, e := range rest {
		if first, ok := r.seen[e.name()]; ok {
			r.errs = append(r.errs, &ItemError{e.problem(qmailkit.Warning, "unused-shadow",
				"this line for user %.80q is not used: the account in line %d has its hash elsewhere", e.name(), first)})
			continue
		}
		r.errs = append(r.errs, &ItemError{e.problem(qmailkit.Info, "shadow-without-account",
			"user %.80q is not in %s", e.name(), r.host.layout.Passwd)})
	}
}
