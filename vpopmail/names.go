package vpopmail

import (
	"fmt"
	"strings"
)

// lower folds the capitals of ASCII and nothing else (vpopmail.c:lowerit).
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if b[i] >= 'A' && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// userBytes are the punctuation that is_username_valid lets pass, less the
// slash: with one the account's directory lies somewhere else.
const userBytes = "!#$&'*+-.=?^_`{|}~"

// ownNames are files that live beside the users in a domain's directory. An
// account of that name would take their place before they are first made.
var ownNames = []string{
	"vpasswd", "vpasswd.cdb", "cdb.tmp", ".vpasswd.lock",
	".dir-control", ".dir_control_free", ".dir_control_free.lock", ".dir_control_free.bak",
	".no-user.msg", ".over-quota.msg", ".quotawarn.msg", ".aliasdomains", intentName, afterName,
}

// ownPrefixes are the beginnings of more such names. qmail-local reads
// .qmail-NAME as instructions.
var ownPrefixes = []string{".qmail", "vpasswd.bak.", ".dir-control.", tempPrefix}

// User checks a user name as vpopmail does (vpopmail.c:is_username_valid) and
// returns it in lower case. Beyond vpopmail it refuses a slash, "." and "..",
// and the names of vpopmail's own files.
func (p *Profile) User(name string) (string, error) {
	fail := func(err error) (string, error) { return "", &Error{User: name, Field: "user", Err: err} }
	n := lower(name)
	switch {
	case n == "":
		return fail(fmt.Errorf("%w: it is empty", ErrBadUser))
	case len(n) > p.MaxUser:
		return fail(fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLong, len(n), p.MaxUser))
	case n == "." || n == "..":
		return fail(fmt.Errorf("%w: it is a directory", ErrBadUser))
	case p.BigDir && len(n) == 1:
		return fail(fmt.Errorf("%w: one character, as a hash directory", ErrBadUser))
	}
	for i := 0; i < len(n); i++ {
		if !alnum(n[i]) && strings.IndexByte(userBytes, n[i]) < 0 {
			return fail(fmt.Errorf("%w: byte %q", ErrBadUser, n[i:i+1]))
		}
	}
	if what := ownFile(n); what != "" {
		return fail(fmt.Errorf("%w: %s", ErrUserDir, what))
	}
	return n, nil
}

// ownFile says whose file a name in a domain's directory is; empty is nobody's.
func ownFile(name string) string {
	for _, own := range ownNames {
		if name == own {
			return "a file of vpopmail"
		}
	}
	for _, own := range ownPrefixes {
		if strings.HasPrefix(name, own) {
			return "a file of vpopmail or qmail"
		}
	}
	return ""
}

// oldUser checks the name of an account that exists, and returns it in lower
// case. Records made by vpopmail may have a slash in the name, and can be
// changed and removed.
func (p *Profile) oldUser(name string) (string, error) {
	n := lower(name)
	if n == "" {
		return "", &Error{User: name, Field: "user", Err: fmt.Errorf("%w: it is empty", ErrBadUser)}
	}
	for i := 0; i < len(n); i++ {
		if !alnum(n[i]) && n[i] != '/' && strings.IndexByte(userBytes, n[i]) < 0 {
			return "", &Error{User: name, Field: "user", Err: fmt.Errorf("%w: byte %q", ErrBadUser, n[i:i+1])}
		}
	}
	return n, nil
}

// domainBytes checks what vadddomain and vaddaliasdomain both check.
func (p *Profile) domainBytes(name string) (string, error) {
	fail := func(err error) (string, error) { return "", &Error{Domain: name, Field: "domain", Err: err} }
	n := lower(name)
	if len(n) > p.MaxDomain {
		return fail(fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLong, len(n), p.MaxDomain))
	}
	if n == "" {
		return fail(fmt.Errorf("%w: it is empty", ErrBadDomain))
	}
	for i := 0; i < len(n); i++ {
		if !alnum(n[i]) && n[i] != '.' && n[i] != '-' {
			return fail(fmt.Errorf("%w: byte %q", ErrBadDomain, n[i:i+1]))
		}
	}
	return n, nil
}

// Domain checks the name of a new domain as vadddomain does (vpopmail.c:
// is_domain_valid) and returns it in lower case. Whether its line fits into
// users/assign is checked where the line is made.
func (p *Profile) Domain(name string) (string, error) {
	n, err := p.domainBytes(name)
	if err != nil {
		return "", err
	}
	last := n[strings.LastIndexByte(n, '.')+1:]
	var why string
	switch {
	case len(n) < 3:
		why = "fewer than three characters"
	case n[0] == '-' || n[len(n)-1] == '-':
		why = "begins or ends with a hyphen"
	case n == ".dir-control":
		return "", &Error{Domain: name, Field: "domain", Err: ErrDomainDir}
	case p.Release == Release56 && !strings.Contains(n, "."):
		why = "no dot"
	case p.Release == Release56 && strings.Contains(n, ".."):
		why = "two dots together"
	case p.Release == Release56 && (len(last) < 2 || len(last) > 63):
		why = "last label is not 2 to 63 characters long"
	default:
		return n, nil
	}
	return "", &Error{Domain: name, Field: "domain", Err: fmt.Errorf("%w: %s", ErrBadDomain, why)}
}

// AliasDomain checks the name of an alias domain as vaddaliasdomain does, in
// 5.6 as in 5.4, which asks for less than vadddomain, and returns it in lower
// case.
func (p *Profile) AliasDomain(name string) (string, error) { return p.domainBytes(name) }

// SplitAddress takes USER@DOMAIN apart at the first '@' and lowers it, as
// vpopmail's parse_email does. An address without a domain is refused; neither
// part is checked.
func SplitAddress(addr string) (user, domain string, err error) {
	user, domain, ok := strings.Cut(lower(addr), "@")
	if !ok || domain == "" {
		return "", "", &Error{User: addr, Err: fmt.Errorf("%w: not a full address", ErrBadUser)}
	}
	return user, domain, nil
}
