package vpopmail

import (
	"errors"
	"fmt"
	"strings"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// What vpopmail's programs refuse, and what this package refuses beyond them
// (see the table in the package documentation). Every error of this package
// that has such a reason matches one of these with errors.Is.
var (
	ErrBadDomain     = errors.New("invalid domain name")
	ErrDomainExists  = errors.New("domain already exists")
	ErrNoDomain      = errors.New("domain does not exist")
	ErrDomainDir     = errors.New("domain's directory already exists")
	ErrNeitherExists = errors.New("neither of the two domains exists")
	ErrBadUser       = errors.New("illegal user name")
	ErrUserExists    = errors.New("user already exists")
	ErrNoUser        = errors.New("user does not exist")
	ErrUserDir       = errors.New("user's directory already exists")
	ErrNoPassword    = errors.New("no password given")
	ErrTooLong       = errors.New("too long")
	ErrBadByte       = errors.New("byte that vpopmail's files cannot hold")
	ErrQuota         = errors.New("not a quota")
	ErrAssign        = errors.New("qmail-newu would refuse users/assign")
	ErrNotMounted    = errors.New("directory lies outside the given roots")
	ErrDirControl    = errors.New("damaged directory counter")
	ErrFewColons     = errors.New("fewer than six colons")
	ErrNotesDamaged  = errors.New("damaged notes of an interrupted change")
	ErrHasAliases    = errors.New("alias domains exist")
	ErrLimit         = errors.New("not a limit")
	ErrBadAlias      = errors.New("alias that mail would not survive")
	ErrAliasExists   = errors.New("alias already exists")
	ErrNoAlias       = errors.New("no aliases found")
	ErrSharedDir     = errors.New("directory is not this domain's alone")
	ErrLeaving       = errors.New("domain is being removed; DeleteDomain has to finish that first")
	ErrCatchAll      = errors.New("account gets the mail for unknown users")
	ErrPasswordFixed = errors.New("account may not change its password")
	ErrWrongPassword = errors.New("authentication failed")
	ErrBadDir        = errors.New("not an absolute path")
	ErrNotRoot       = errors.New("only root may give these flags")
	// ErrBusy says that a lock was not given within the time that
	// Options.LockWait allows. vpopmail says "File busy try again later!".
	ErrBusy = safefs.ErrLocked
)

// An Error says which domain, user and field a refusal speaks of. Secrets are
// never part of it.
type Error struct {
	Domain string // as the caller named it; may be empty
	User   string // may be empty
	Field  string // "user", "domain", "password", "gecos", "quota", "dir", "clear", "line"; may be empty
	Err    error
}

// Error puts the address before the reason.
func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.User != "" && e.Domain != "":
		fmt.Fprintf(&b, "%q@%q: ", e.User, e.Domain)
	case e.User != "":
		fmt.Fprintf(&b, "user %q: ", e.User)
	case e.Domain != "":
		fmt.Fprintf(&b, "domain %q: ", e.Domain)
	}
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// neitherError names the two domains of ErrNeitherExists.
type neitherError struct{ one, other string }

func (e *neitherError) Error() string {
	return fmt.Sprintf("%v: %q, %q", ErrNeitherExists, e.one, e.other)
}

func (e *neitherError) Is(target error) bool { return target == ErrNeitherExists }

// An AliasesError is ErrHasAliases with the names, in the order of users/assign.
type AliasesError struct {
	Domain  string
	Aliases []string
}

// Error names the domain and its aliases.
func (e *AliasesError) Error() string {
	return fmt.Sprintf("domain %q: %v: %q", e.Domain, ErrHasAliases, e.Aliases)
}

// Is makes it ErrHasAliases.
func (e *AliasesError) Is(target error) bool { return target == ErrHasAliases }

// longMessages are the words and statuses of vpopmail for a field that is too
// long.
var longMessages = map[string]struct {
	status int
	text   string
}{
	"user":     {231, "user name too long"},
	"domain":   {230, "domain name too long"},
	"password": {229, "password too long"},
	"gecos":    {228, "gecos too long"},
	"quota":    {227, "quota too long"},
	"dir":      {226, "dir too long"},
	"clear":    {225, "clear password too long"},
}

// ClassicStatus returns the exit status and the line on standard output that
// the vpopmail 5.4 program (argv[0], such as "vadduser") gives for the reason
// in err. A reason that the programs do not have is status 255 with err's own
// words; nil is 0. vpopmail 5.6 adds "(max=N)" to what is too long.
func ClassicStatus(program string, err error) (status int, stdout string) {
	if status, stdout, ok := infoStatus(program, err); ok {
		return status, stdout
	}
	if status, stdout, ok := userStatus(program, err); ok {
		return status, stdout
	}
	var e *Error
	var neither *neitherError
	var aliases *AliasesError
	var noAlias *noAliasError
	switch {
	case err == nil:
		return 0, ""
	case errors.Is(err, ErrAliasExists):
		return 255, "" // said on standard error
	case errors.As(err, &noAlias):
		return 255, noAlias.words + "\n"
	case errors.As(err, &aliases):
		return 0, "Warning: Alias domains exist:\n" + indented(aliases.Aliases) +
			"   use -f to force delete of domain and all aliases\n"
	case errors.Is(err, ErrBadUser):
		return 255, "Error: Illegal username\n"
	case errors.Is(err, ErrBadDomain):
		return 244, "Error: Invalid domain name\n"
	case errors.Is(err, ErrDomainExists) && program == "vaddaliasdomain":
		return 255, "Error: Both domains already exist, unable to create alias.\n"
	case errors.As(err, &neither):
		return 255, fmt.Sprintf("Error: Neither '%s' or '%s'  exist, unable to create alias.\n", neither.one, neither.other)
	case errors.Is(err, ErrDomainExists):
		return 243, "Error: Domain already exists\n"
	case errors.Is(err, ErrNoDomain) && program == "vadduser":
		return 255, "Error: Domain does not exist\n"
	case errors.Is(err, ErrNoDomain):
		return 245, "Error: Domain does not exist\n"
	case errors.Is(err, ErrUserExists):
		return 255, "Error: User already exists\n"
	case errors.Is(err, ErrNoUser):
		return 246, "Error: User does not exist\n"
	case errors.Is(err, ErrUserDir):
		return 249, "Error: User's directory already exists\n"
	case errors.Is(err, ErrNoPassword):
		return 255, "Error: No password entered\n"
	case errors.Is(err, ErrBadByte) && errors.As(err, &e) && e.Field == "gecos":
		return 236, "Error: bad character\n"
	case errors.Is(err, ErrTooLong) && errors.As(err, &e) && longMessages[e.Field].status != 0:
		m := longMessages[e.Field]
		return m.status, "Error: " + m.text + "\n"
	}
	return 255, "Error: " + err.Error() + "\n"
}
