//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// NoLogin is a hash that no password matches: the account of somebody who is
// locked out. An empty hash would not do, because an installation may learn the
// first password that it is tried with.
const NoLogin qmailkit.Secret = "*"

// NewUser is an account as a caller wants it. Exactly one of Hash, Clear and
// NoPassword says how its owner gets in.
type NewUser struct {
	Name string // the part before '@', any case
	// Hash is stored as it is (vadduser -e); no clear password is stored.
	Hash qmailkit.Secret
	// Clear is hashed, and stored as well where the profile says so.
	Clear qmailkit.Secret
	// NoPassword makes an empty hash (vadduser -n, 5.4 only).
	NoPassword bool
	Gecos      string // empty is the name
	// Quota is a word for ParseQuota; empty is the domain's default, or none.
	Quota string
	Flags Flags // 0 for vadduser; what vmoduser would set afterwards
}

// Put is an account for PutUsers: as its source has it now, and as it was
// stored the last time.
type Put struct {
	NewUser
	// Base is what UserResult.User said when this account was put before; nil
	// if it never was.
	Base *User
}

// Outcome says what became of one account.
type Outcome int

const (
	Refused Outcome = iota // Err says why
	Added                  // new
	Same                   // nothing to do
	Updated                // what changed at the source was stored
	Kept                   // changed on the target since; that stays, whatever the source says
	Gone                   // removed on the target since; it stays away
)

// String returns the word in lower case.
func (o Outcome) String() string {
	if o < Refused || o > Gone {
		return fmt.Sprintf("outcome(%d)", int(o))
	}
	return [...]string{"refused", "added", "same", "updated", "kept", "gone"}[o]
}

// A UserResult is what became of one account.
type UserResult struct {
	Name    string
	Outcome Outcome
	// User is the account as it is stored now: the Base of the next Put. After
	// Refused and Gone it is zero; after Kept its kept fields are those of the
	// old Base, so that the target's change is seen as one again.
	User User
	// Fields that were stored or kept: "password", "gecos", "quota", "flags".
	Updated, Kept []string
	Err           error
}

// A UsersResult is what became of a batch.
type UsersResult struct {
	Users    []UserResult // in the order given
	Owner    Owner        // who got the directories
	Problems []qmailkit.Problem

	domain string // the real one
}

// AddUser adds one account to a domain, which may be an alias or pending, as
// vadduser does. ErrUserExists, ErrUserDir and others say why not.
func (s *Store) AddUser(ctx context.Context, domain string, n NewUser) (User, error) {
	res, err := s.AddUsers(ctx, domain, []NewUser{n})
	if res == nil {
		return User{}, err
	}
	if e := res.Users[0].Err; e != nil {
		return User{}, e
	}
	return res.Users[0].User, err
}

// AddUsers adds any number of accounts with one rewrite of the domain's
// records, as that many vadduser would in that order. An account that is
// refused does not hold up the others; the error is that of the whole batch,
// of which then nothing was done.
func (s *Store) AddUsers(ctx context.Context, domain string, list []NewUser) (*UsersResult, error) {
	puts := make([]Put, len(list))
	for i := range list {
		puts[i].NewUser = list[i]
	}
	res, err := s.put(ctx, domain, puts, true)
	if err != nil {
		return nil, err
	}
	return res, s.tell(ctx, res)
}

// tell calls OnChange for what a batch has done.
func (s *Store) tell(ctx context.Context, res *UsersResult) error {
	if s.o.OnChange == nil {
		return nil
	}
	for i := range res.Users {
		var err error
		switch addr := res.Users[i].Name + "@" + res.domain; {
		case res.Users[i].Outcome == Added:
			err = s.changed(ctx, "add_user", addr, "")
		case len(res.Users[i].Updated) > 0:
			err = s.changed(ctx, "mod_user", addr, "")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// PutUsers brings any number of accounts of a domain to what their source says,
// with one rewrite of its records, and can be run again: an account is added if
// it is new; what the source changed since Base follows; what was changed on
// the target since Base stays, and is reported. An account that exists and was
// never put (no Base) is Same if it is just as wanted, else Refused with
// ErrUserExists.
func (s *Store) PutUsers(ctx context.Context, domain string, list []Put) (*UsersResult, error) {
	res, err := s.put(ctx, domain, list, false)
	if err != nil {
		return nil, err
	}
	return res, s.tell(ctx, res)
}

// batch is a put on its way.
type batch struct {
	s       *Store
	d       *Domain
	dir     *safefs.Dir
	rec     Records
	res     *UsersResult
	counter DirControl
	counted bool
	free    []string
	used    int
	quota   string // default of the domain
	made    []MadeUser
	makes   map[string]User // of made, by directory
	// The directory that was looked into last; nil where it is missing.
	look     *safefs.Dir
	lookPath string
	looked   bool
	// Whose maildirsize, and whose sqwebmail-pass, have to follow.
	requota, rehashed []User
}

func (s *Store) put(ctx context.Context, domain string, list []Put, onlyNew bool) (*UsersResult, error) {
	d, err := s.Domain(ctx, domain)
	if err != nil {
		return nil, err
	}
	ready, res, err := s.ready(ctx, d, list)
	if err != nil {
		return nil, err
	}
	dir, err := s.openDomain(d)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	b := &batch{s: s, d: d, dir: dir, res: res, makes: map[string]User{}}
	defer b.unlook()
	limits, _, err := s.limits(ctx, d)
	if err != nil {
		return nil, err
	}
	b.quota = limits.UserQuota()
	if b.rec, err = s.edit(ctx, d); err != nil {
		return nil, err
	}
	defer b.rec.Close()
	if b.counter, b.free, err = b.rec.Counter(); err != nil {
		return nil, err
	}
	for i := range ready {
		if res.Users[i].Err != nil {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		if err := b.one(&ready[i], &res.Users[i], onlyNew); err != nil {
			return nil, err
		}
	}
	if err := b.commit(ctx); err != nil {
		return nil, err
	}
	return res, nil
}

// readyUser is a checked Put.
type readyUser struct {
	Put
	want User // Name, Hash, Clear, Flags, Gecos, Quota (normalised) as wanted
}

// ready checks every account and hashes the clear passwords of those who are
// not there yet, before the lock is taken.
func (s *Store) ready(ctx context.Context, d *Domain, list []Put) ([]readyUser, *UsersResult, error) {
	res := &UsersResult{Users: make([]UserResult, len(list)), Owner: s.Owner(d.UID, d.GID), domain: d.Real}
	out := make([]readyUser, len(list))
	var hashing []*readyUser
	for i := range list {
		out[i].Put = list[i]
		res.Users[i].Name = list[i].Name
		err := s.p.checkNew(&out[i])
		if err != nil {
			var e *Error
			if errors.As(err, &e) {
				e.Domain = d.Name
			}
			res.Users[i].Err = err
			continue
		}
		res.Users[i].Name = out[i].want.Name
		if out[i].Clear != "" {
			if _, err := s.backend.User(ctx, d, out[i].want.Name); err != nil {
				hashing = append(hashing, &out[i])
			}
		}
	}
	return out, res, s.hashAll(ctx, hashing)
}

// checkNew checks the fields of a new account and fills in what is wanted.
func (p *Profile) checkNew(r *readyUser) error {
	name, err := p.User(r.Name)
	if err != nil {
		return err
	}
	r.want = User{Name: name, UID: 1, Flags: r.Flags, Hash: r.Hash, Gecos: r.Gecos}
	if r.Gecos == "" {
		r.want.Gecos = name
	}
	if p.ClearPasswords {
		r.want.Clear = r.Clear
	}
	fail := func(field string, err error) error { return &Error{User: name, Field: field, Err: err} }
	given := 0
	for _, is := range []bool{r.Hash != "", r.Clear != "", r.NoPassword && p.NoPassword} {
		if is {
			given++
		}
	}
	switch {
	case given == 0:
		return fail("", ErrNoPassword)
	case given > 1:
		return fail("password", errors.New("a hash, a clear password or none, not two of them"))
	case len(r.Hash) > p.MaxHash, len(r.Clear) > p.MaxClear:
		return fail("password", fmt.Errorf("%w: %d bytes", ErrTooLong, max(len(r.Hash), len(r.Clear))))
	case len(r.want.Gecos) > p.MaxGecos:
		return fail("gecos", fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLong, len(r.want.Gecos), p.MaxGecos))
	case strings.ContainsAny(string(r.Hash), ":\n\x00"), strings.ContainsAny(string(r.Clear), "\n\x00"):
		return fail("password", ErrBadByte)
	case strings.ContainsAny(r.Gecos, ":\n\x00"):
		return fail("gecos", ErrBadByte)
	}
	return p.checkQuota(r)
}

func (p *Profile) checkQuota(r *readyUser) error {
	if r.Quota == "" {
		return nil
	}
	q, err := ParseQuota(r.Quota)
	if err != nil {
		return &Error{User: r.want.Name, Field: "quota", Err: errors.Unwrap(err)}
	}
	if max(len(q), len(r.Quota)) > p.MaxQuota {
		return &Error{User: r.want.Name, Field: "quota", Err: fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLong, max(len(q), len(r.Quota)), p.MaxQuota)}
	}
	r.want.Quota = q
	return nil
}

// one decides about one account. The error is that of the batch.
func (b *batch) one(r *readyUser, res *UserResult, onlyNew bool) error {
	cur, exists := b.rec.Get(r.want.Name)
	switch {
	case exists && onlyNew:
		res.Err = &Error{Domain: b.d.Name, User: r.want.Name, Err: ErrUserExists}
	case exists:
		return b.merge(r, cur, res)
	case r.Base != nil:
		res.Outcome = Gone
		b.report("vpopmail.user-gone", r.want.Name, "account was removed on the target and is not made again")
	default:
		return b.add(r, res)
	}
	return nil
}

func (b *batch) report(code, user, words string) {
	p := problem(code, qmailkit.Warning, "%s@%s: %s", user, b.d.Name, words)
	b.res.Problems = append(b.res.Problems, at(p, b.d.Dir+"/vpasswd"))
}

// add finds the new account's directory and keeps it for the commit.
func (b *batch) add(r *readyUser, res *UserResult) error {
	u := r.want
	u.UID = b.s.newUID
	if u.Hash == "" && r.Clear != "" {
		// Removed by somebody between the look-up and the lock.
		h, err := b.s.hash(r.Clear)
		if err != nil {
			return err
		}
		u.Hash = h
	}
	if r.Quota == "" {
		u.Quota = b.quota
	}
	counter, free := b.counter, b.free
	sub, backfilled := b.place(&counter, &free)
	below := strings.Trim(strings.ReplaceAll(sub, "//", "/")+"/"+u.Name, "/")
	u.Dir = b.d.Dir + "/" + u.Name
	if sub != "" {
		u.Dir = b.d.Dir + "/" + sub + "/" + u.Name
	}
	if len(u.Dir) > b.s.p.MaxDir {
		res.Err = &Error{Domain: b.d.Name, User: u.Name, Field: "dir", Err: fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLong, len(u.Dir), b.s.p.MaxDir)}
		return nil
	}
	below = strings.ReplaceAll(below, "//", "/")
	switch there, err := b.there(below); {
	case err != nil:
		return err
	case there:
		res.Err = &Error{Domain: b.d.Name, User: u.Name, Err: ErrUserDir}
		return nil
	}
	if err := b.rec.Put(u); err != nil {
		var e *Error
		if errors.As(err, &e) {
			res.Err = err
			return nil
		}
		return err
	}
	b.counter, b.free, b.counted = counter, free, true
	if backfilled {
		b.used++
	}
	b.made = append(b.made, MadeUser{u.Name, below})
	b.makes[below] = u
	res.Outcome, res.User = Added, u
	return nil
}

// place counts an account and says which hash directory it goes into: one that
// a removed account has left free, else the counter's (backfill.c, bigdir.c).
func (b *batch) place(c *DirControl, free *[]string) (sub string, backfilled bool) {
	if !b.s.p.BigDir {
		return "", false
	}
	if b.counted && b.s.domainKeeper() == nil {
		c.Reread()
	}
	if len(*free) > 0 {
		sub, *free = (*free)[0], (*free)[1:]
		if c.Users != 0 {
			c.Users++
		}
		return sub, true
	}
	return c.Next(), false
}

// there asks about a path below the domain's directory without following
// links. Hundreds of accounts in a row have the same hash directory, so that
// stays open.
func (b *batch) there(path string) (bool, error) {
	above, name := splitLast(path)
	if !b.looked || b.lookPath != above {
		b.unlook()
		d, err := b.dir.Walk(above)
		if ignoreMissing(err) != nil {
			return false, err
		}
		b.looked, b.lookPath, b.look = true, above, d
	}
	if b.look == nil {
		return false, nil
	}
	_, err := b.look.Lstat(name)
	return err == nil, ignoreMissing(err)
}

func (b *batch) unlook() {
	if b.look != nil {
		b.look.Close()
	}
	b.look, b.looked = nil, false
}

func (b *batch) commit(ctx context.Context) error {
	if len(b.made) > 0 && b.s.p.BigDir {
		b.rec.SetCounter(b.counter, b.used)
	}
	own := b.s.owner(b.d.UID, b.d.GID)
	return b.s.commitPass(ctx, b.d, b.rec, b.rehashed, CommitSteps{Made: b.made, Build: func(dir *safefs.Dir) error {
		bd := &builder{top: dir, own: own, noLogin: !b.s.p.AuthLogging || b.s.keepsLogins(), pass: b.s.p.SqwebmailPass}
		defer bd.close()
		for _, m := range b.made {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if err := bd.user(m.Dir, b.makes[m.Dir]); err != nil {
				return err
			}
		}
		odd, err := b.s.recountQuotas(ctx, b.d, b.requota)
		b.res.Problems = append(b.res.Problems, odd...)
		return err
	}})
}
