package users

import (
	"errors"
)

var (
	// ErrRoot says that the user is root, or that the uid is no number.
	ErrRoot = errors.New("no deliveries as root")
	// ErrBadID says that no process can have that uid or gid.
	ErrBadID = errors.New("impossible uid or gid")
	// ErrNoAlias says that the system has no user alias.
	ErrNoAlias = errors.New("no alias user")
	// ErrHome says that for the moment nobody can tell about a home directory.
	ErrHome = errors.New("trouble with a home directory")
)

// Check says whether qmail-lspawn delivers as that user. An error is ErrRoot
// or ErrBadID.
func (u User) Check() error {
	uid, gid := u.IDs()
	switch {
	case uid == 1<<32-1 || gid == 1<<32-1:
		return ErrBadID
	case uid == 0:
		return ErrRoot
	}
	return nil
}

// Report returns what qmail-lspawn reports where Lspawn.Find returns err,
// without the newline. They are all temporary failures.
func Report(err error) string {
	switch {
	case errors.Is(err, ErrRoot):
		return "Not allowed to perform deliveries as root."
	case errors.Is(err, ErrBadID), errors.Is(err, ErrRecord):
		return "Internal qmail-lspawn bug."
	case errors.Is(err, ErrNoAlias):
		return "Unable to find alias user!"
	case errors.Is(err, ErrHome):
		return "NFS failure in qmail-local."
	case errors.Is(err, ErrDB):
		return "Trouble reading users/cdb in qmail-lspawn."
	}
	return "Temporary failure in qmail-lspawn."
}

// Via tells where an answer came from.
type Via string

const (
	ViaNone  Via = "none"  // from nowhere: there was an error
	ViaCDB   Via = "cdb"   // from users/cdb
	ViaGetpw Via = "getpw" // from qmail-getpw
)

// An Answer says who gets the mail for a local part, and how qmail-lspawn
// comes to know it.
type Answer struct {
	Via    Via
	Key    string   // the key of users/cdb that matched, with its "!" and NUL
	Probes []string // every key that was looked up, in order
	User   User
	// Text is the answer as qmail-lspawn holds it: the six fields of User, each
	// with a NUL behind it. A bad record may have fewer.
	Text string
}

// Lspawn decides who gets the mail for a local part as qmail-lspawn does
// (qmail-lspawn.c:nughde_get).
type Lspawn struct {
	// DB is users/cdb; nil says that there is no such file.
	DB *DB
	// Getpw is asked where DB has no answer; see the type Getpw. Nil says that
	// the system has no accounts at all.
	Getpw func(local string) (User, error)
}

// Find returns who gets the mail for local. The Answer holds as much as is
// known when there is an error, for which Report has qmail-lspawn's words.
//
// For an empty local part the Answer is that of the look-up, but qmail-lspawn
// reports success and delivers nothing.
func (l Lspawn) Find(local string) (Answer, error) {
	a := Answer{Via: ViaNone, Probes: []string{}}
	if l.DB != nil {
		h, err := l.DB.find(local, func(key []byte) { a.Probes = append(a.Probes, string(key)) })
		if err != nil {
			return a, err
		}
		if h.found {
			a.Via, a.Key, a.Text = ViaCDB, string(h.key), h.text
			if a.User, err = parseUser(h.text); err == nil {
				err = a.User.Check()
			}
			return a, err
		}
	}
	if l.Getpw == nil {
		return a, ErrNoAlias
	}
	u, err := l.Getpw(local)
	if err != nil {
		return a, err
	}
	a.Via, a.User, a.Text = ViaGetpw, u, u.text()
	return a, u.Check()
}
