//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// LoginOptions are the ways of Store.Login. A nil *LoginOptions only decides.
type LoginOptions struct {
	// Record notes what vchkpw changes when it lets somebody in: see Login.
	Record bool
	// Crypt checks hashes that this package cannot: see Profile.CheckLogin.
	Crypt CryptFunc
}

// A Verdict is what a login came to.
type Verdict struct {
	Status LoginStatus
	// Method is how the password was accepted: MethodPlain, MethodAPOP or
	// MethodCRAM.
	Method string
	Reason string // in words for a log, without secrets; may be empty

	// What vchkpw would go on with, if Status is LoginOK. It becomes the
	// domain's owner and goes to the user's directory, except for SMTP.
	Domain  *Domain
	User    User
	Name    string // the address as it was typed, in lower case
	Service Service

	// What Record has changed.
	Learnt   bool // the password is the account's own now
	HomeMade bool // the user's directory was missing
	// NewRelay says that the client's address is new in etc/open-smtp: the
	// caller has tcprules make tcp.smtp.cdb anew.
	NewRelay bool
}

// Environ is what the program that vchkpw runs finds in its environment beside
// what was there: USER without domain, HOME, SHELL and VPOPUSER. vpopmail cuts
// each at 99 bytes (199 in 5.6); here they are whole.
func (v *Verdict) Environ() []string {
	if v.Status != LoginOK {
		return nil
	}
	return []string{"USER=" + v.User.Name, "HOME=" + v.User.Dir, "SHELL=NOLOGIN", "VPOPUSER=" + v.Name}
}

// Login decides on a login as vchkpw does: it takes the name apart (at '@', '%'
// or '/'), finds a domain for one without, looks the account up, and asks
// Profile.CheckLogin. Accounts of the system (--enable-passwd) are not looked
// at.
//
// With Record a login that succeeds is noted: the password is stored where the
// installation learns it and the account has none, lastauth gets address and
// time, with RoamingUsers the address stands in etc/open-smtp, and the user's
// directory is made if it is missing, the last two not for SMTP. vpopmail
// learns a password even if it then refuses the service, and from anybody
// whatever bytes it has, so that a line feed in it makes another line of
// vpasswd.
//
// The error says that the decision could not be made, and is never about the
// login; the Verdict is then LoginCannotTell. If Status is LoginOK the login is
// right, and something of it could not be noted.
func (s *Store) Login(ctx context.Context, a Attempt, o *LoginOptions) (Verdict, error) {
	if o == nil {
		o = &LoginOptions{}
	}
	v := Verdict{Status: LoginCannotTell, Name: lower(a.Name), Service: a.Service}
	if a.Service > ServiceWebmail {
		return v, fmt.Errorf("vpopmail: %v is not known", a.Service)
	}
	d, u, err := s.loginAccount(ctx, &a)
	if errors.Is(err, errLoginBytes) {
		v.Status = LoginBadByte
		return v, nil
	}
	if err != nil {
		return v, err
	}
	learn, err := s.decide(ctx, &v, d, u, &a, o.Crypt)
	if err != nil || v.Status != LoginOK {
		return v, err
	}
	if u.Dir == "" {
		v.Status = LoginNoHome
		return v, nil
	}
	v.Domain, v.User = d, *u
	if o.Record {
		err = s.recordLogin(ctx, &v, &a, learn)
	}
	return v, err
}

// decide fills the verdict in.
func (s *Store) decide(ctx context.Context, v *Verdict, d *Domain, u *User, a *Attempt, crypt CryptFunc) (learn bool, err error) {
	var flags Flags
	if u != nil {
		l, _, err := s.limits(ctx, d)
		if err != nil {
			return false, err
		}
		flags = u.Effective(l)
	}
	v.Status, v.Method, v.Reason, learn = s.p.CheckLogin(u, flags, a.Credentials, a.Service, crypt)
	return learn, nil
}

var errLoginBytes = errors.New("bytes that no address has")

// loginAccount looks the account of a login up; none is nil.
func (s *Store) loginAccount(ctx context.Context, a *Attempt) (*Domain, *User, error) {
	if a.Name == "" || a.Password == "" {
		return nil, nil, context.Cause(ctx)
	}
	user, domain, ok := splitLogin(a.Name)
	if !ok {
		return nil, nil, errLoginBytes
	}
	if domain == "" {
		var err error
		if domain, err = s.defaultDomain(a); err != nil {
			return nil, nil, err
		}
	}
	d, err := s.Domain(ctx, domain)
	if errors.Is(err, ErrNoDomain) || errors.Is(err, ErrBadDomain) {
		return nil, nil, nil
	}
	if err != nil || user == "" {
		// The empty key of vpasswd.cdb is what is left of a line that was too
		// long.
		return nil, nil, err
	}
	u, err := s.backend.User(ctx, d, user)
	if errors.Is(err, ErrNoUser) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return d, &u, nil
}

// maxDefaults bounds the small files that name a domain.
const maxDefaults = 1 << 20

// defaultDomain is the domain of a name without one (vpopmail.c:
// vset_default_domain): the one given, that of the server's address, that in
// etc/defaultdomain. Empty is none.
func (s *Store) defaultDomain(a *Attempt) (string, error) {
	if a.DefaultDomain != "" {
		return lower(a.DefaultDomain), nil
	}
	etc, err := s.openPath(s.p.Home + "/etc")
	if err != nil {
		return "", ignoreMissing(err)
	}
	defer etc.Close()
	read := func(name string) (string, error) {
		b, err := again(func() ([]byte, error) { return etc.ReadFile(name, maxDefaults) })
		return string(b), ignoreMissing(err)
	}
	text, err := read("ip_alias_map")
	if err != nil {
		return "", err
	}
	if a.ServerIP != "" {
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); len(f) >= 2 && f[0] == a.ServerIP {
				return lower(f[1]), nil
			}
		}
	}
	text, err = read("defaultdomain")
	text, _, _ = strings.Cut(text, "\n")
	return lower(text), err
}

// recordLogin changes what a login changes.
func (s *Store) recordLogin(ctx context.Context, v *Verdict, a *Attempt, learn bool) error {
	if learn {
		if err := s.learn(ctx, v, a); err != nil || v.Status != LoginOK {
			return err
		}
	}
	there, err := s.hasHome(&v.User)
	if err != nil {
		return err
	}
	// vpopmail notes nothing for a user without a directory, even if it makes
	// it afterwards.
	var failed []error
	if _, inTable := s.backend.(LoginKeeper); there || inTable {
		err := s.SetLastLogin(ctx, v.Domain, &v.User, Login{IP: a.ClientIP, Time: s.o.Now()})
		failed = append(failed, ignoreMissing(err))
	}
	if v.Service == ServiceSMTP {
		return errors.Join(failed...)
	}
	l, _, err := s.limits(ctx, v.Domain)
	if err == nil && s.p.RoamingUsers && v.User.Effective(l)&NoRelay == 0 {
		v.NewRelay, err = s.openRelay(ctx, a.ClientIP)
	}
	failed = append(failed, err)
	if !there {
		err := s.makeHome(v.Domain, &v.User)
		v.HomeMade = err == nil
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// learn makes the password that was let in the account's own. Another login
// may have been quicker: then that one decides.
func (s *Store) learn(ctx context.Context, v *Verdict, a *Attempt) error {
	hash, err := s.hash(a.Password)
	if err != nil {
		return err
	}
	c := &change{s: s, d: v.Domain, name: v.User.Name}
	c.to = func(u *User) error {
		if u.Hash == "" {
			if s.p.ClearPasswords && s.p.mayLearn(u.Clear, a.Credentials) != "" {
				return errNotLearnt
			}
			u.Hash = hash
		} else if v.User.Hash != u.Hash {
			return errNotLearnt
		}
		if s.p.ClearPasswords && u.Clear == "" {
			u.Clear = a.Password
		}
		return nil
	}
	res, err := c.run(ctx)
	if errors.Is(err, errNotLearnt) {
		v.Status, v.Reason, v.Method = LoginFailed, "another login was quicker", ""
		return nil
	}
	if res != nil && len(res.Users) == 1 {
		v.User, v.Learnt = res.Users[0], true
	}
	return err
}

var errNotLearnt = errors.New("account has another password now")

// ReadCredentials reads descriptor 3 to its end, or to more than it may hold.
func ReadCredentials(r io.Reader) (Credentials, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxCredentials+1))
	if err != nil {
		return Credentials{}, err
	}
	return ParseCredentials(b)
}
