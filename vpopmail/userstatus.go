package vpopmail

import (
	"errors"
	"fmt"
)

// userStatus is ClassicStatus for what only the programs for users say.
func userStatus(program string, err error) (status int, stdout string, ok bool) {
	missing := errors.Is(err, ErrNoUser) || errors.Is(err, ErrNoDomain)
	var e *Error
	switch {
	case errors.Is(err, ErrCatchAll):
		return 201, "Error: can't delete catchall account\n", true
	case errors.Is(err, ErrBadDomain) && takesAddress[program]:
		return 255, "Error: Illegal username\n", true
	case errors.Is(err, ErrPasswordFixed), missing && (program == "vpasswd" || program == "vchangepw"):
		return 255, "Error: Illegal username\n", true
	case errors.Is(err, ErrWrongPassword):
		return 3, "Error: authentication failed!\n", true
	case program == "vmoduser" && missing && errors.As(err, &e) && e.User != "":
		return 255, fmt.Sprintf("no such user %s@%s\n", e.User, e.Domain), true
	case program == "vmkpasswd" && errors.Is(err, ErrNoDomain):
		return 253, "", true
	}
	return 0, "", false
}

// takesAddress are the programs that read their argument as an address, for
// which a bad domain is a bad user (vpopmail.c:parse_email).
var takesAddress = map[string]bool{
	"vadduser": true, "vdeluser": true, "vmoduser": true, "vpasswd": true, "vchangepw": true, "vsetuserquota": true, "vuserinfo": true,
}
