package plesk

import (
	"errors"
	"fmt"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/passhash"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

var (
	// ErrNoKey says that a password of type sym cannot be opened, because the
	// key of its host is not at hand.
	ErrNoKey = errors.New("the source host's secret key is needed")
	// ErrNoPassword says that there is none, or an empty one. No mailbox may be
	// made with that.
	ErrNoPassword = errors.New("no password")
	// ErrPasswordType says that accounts.type is none of plain, crypt and sym.
	ErrPasswordType = errors.New("unknown type of password")
	// ErrHash says that what is kept under the type crypt is no hash of
	// crypt(3).
	ErrHash = errors.New("not a hash of crypt(3)")
)

// A Credential is a password that can be taken to another host: in clear, or
// as the hash that crypt(3) makes. Clear counts where both are set.
type Credential struct {
	Clear qmailkit.Secret
	Hash  qmailkit.Secret
}

// IsZero says that there is no password at all.
func (c Credential) IsZero() bool { return c.Clear == "" && c.Hash == "" }

// Credential opens a password of psa. The key is that of the host whose psa it
// is, and needed for the type sym only. An error wraps ErrNoPassword, ErrNoKey,
// ErrKey, ErrSym, ErrHash or ErrPasswordType and tells no password.
func (p Password) Credential(key *SecretKey) (Credential, error) {
	if p.Stored == "" {
		return Credential{}, ErrNoPassword
	}
	switch p.Type {
	case "plain":
		return Credential{Clear: p.Stored}, nil
	case "crypt":
		if !passhash.Classify(string(p.Stored)).Crypt() {
			return Credential{}, ErrHash
		}
		return Credential{Hash: p.Stored}, nil
	case "sym":
		if key == nil {
			return Credential{}, ErrNoKey
		}
		clear, err := key.Open(p.Stored)
		return Credential{Clear: clear}, err
	}
	return Credential{}, fmt.Errorf("%w: %q", ErrPasswordType, p.Type)
}

// PopCredential reads the password of a line of users/poppasswd. What stands
// there may be in clear or a hash; nothing but its form tells, which of DES says
// little: a Problem plesk.pop-form. A Problem plesk.pop-colon says that the line
// can be read in two ways: everything behind the first colon is then taken for
// the password. plesk.pop-cr says that the line ends in CRLF, which is not taken
// for a part of it.
func PopCredential(e users.PopEntry) (Credential, []qmailkit.Problem) {
	if p := strings.TrimRight(string(e.Password), "\r"); p != string(e.Password) {
		e.Password = qmailkit.Secret(p)
		c, probs := PopCredential(e)
		return c, append(probs, qmailkit.Problem{
			Code: "plesk.pop-cr", Severity: qmailkit.Warning, Path: "users/poppasswd", Line: e.Line, Offset: e.Offset,
			Err: fmt.Errorf("%q: the line ends in CRLF", e.Login),
			Fix: "compare with psa",
		})
	}
	first, _, more := e.Fields()
	switch {
	case first == "" && !more:
		return Credential{}, nil
	case e.Crypted():
		var probs []qmailkit.Problem
		if s := passhash.Classify(string(first)); s == passhash.DES || s == passhash.BigCrypt {
			probs = []qmailkit.Problem{{
				Code: "plesk.pop-form", Severity: qmailkit.Warning, Path: "users/poppasswd", Line: e.Line, Offset: e.Offset,
				Err: fmt.Errorf("%q: the password looks like a hash of DES, for which it is taken, and may be one in clear", e.Login),
				Fix: "compare with psa",
			}}
		}
		return Credential{Hash: first}, probs
	case more:
		return Credential{Clear: e.Password}, []qmailkit.Problem{{
			Code: "plesk.pop-colon", Severity: qmailkit.Warning, Path: "users/poppasswd", Line: e.Line, Offset: e.Offset,
			Err: fmt.Errorf("%q: a colon is part of the password, or more fields follow it", e.Login),
			Fix: "compare with psa, which has the password alone",
		}}
	}
	return Credential{Clear: first}, nil
}

// SetPop writes the login of a mailbox into users/poppasswd: the password in
// clear where it is known, which CRAM-MD5 needs, else its hash, which is a
// Problem plesk.pop-hash. Other lines stay as they are. A password that cannot
// stand there is an error that wraps users.ErrPop, and none ErrNoPassword.
func SetPop(p *users.Poppasswd, domain, name string, c Credential) ([]qmailkit.Problem, error) {
	login := name + "@" + domain
	problem := func(code, format string) []qmailkit.Problem {
		return []qmailkit.Problem{{Code: "plesk." + code, Severity: qmailkit.Warning, Path: "users/poppasswd", Err: fmt.Errorf(format, login)}}
	}
	switch {
	case c.Clear != "":
		if err := p.Set(login, c.Clear); err != nil {
			return nil, err
		}
		e := users.PopEntry{Login: login, Password: c.Clear} // as a reader sees it
		if got, _ := PopCredential(e); got.Clear != c.Clear || got.Hash != "" {
			return problem("pop-form", "the password of %s looks like a hash in users/poppasswd"), nil
		}
		if _, _, more := e.Fields(); more {
			return problem("pop-colon", "the password of %s holds a colon, which a reader of users/poppasswd may take for its end"), nil
		}
		return nil, nil
	case c.Hash != "":
		if err := p.Set(login, c.Hash); err != nil {
			return nil, err
		}
		return problem("pop-hash", "%s: only the hash of the password is known: CRAM-MD5 and APOP do not work, and programs that want users/poppasswd in clear refuse the login"), nil
	}
	return nil, fmt.Errorf("%s: %w", login, ErrNoPassword)
}
