package sendmail

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrMalformed says that a line is not what its file's format asks for.
var ErrMalformed = errors.New("malformed line")

// Numbers of fields in a line, by passwd(5), shadow(5) and FreeBSD's passwd(5)
// for master.passwd.
const (
	passwdFields = 7
	shadowFields = 9
	masterFields = 10
)

// A passwdEntry is a line of passwd or master.passwd. The fields are kept as
// they stand, so that joining them gives the line again.
type passwdEntry struct {
	fields   []string
	uid, gid int
	change   int64 // master.passwd: seconds since 1970, 0 if none
	expire   int64 // master.passwd: seconds since 1970, 0 if none
}

func (e *passwdEntry) String() string   { return strings.Join(e.fields, ":") }
func (e *passwdEntry) name() string     { return e.fields[0] }
func (e *passwdEntry) password() string { return e.fields[1] }
func (e *passwdEntry) master() bool     { return len(e.fields) == masterFields }

// tail gives gecos, home and shell, the last three fields of either format.
func (e *passwdEntry) tail() (gecos, home, shell string) {
	f := e.fields[len(e.fields)-3:]
	return f[0], f[1], f[2]
}

// parsePasswd reads a line of passwd, or of master.passwd if fields says so.
func parsePasswd(text string, fields int) (*passwdEntry, error) {
	e := &passwdEntry{fields: strings.Split(text, ":")}
	if len(e.fields) != fields {
		return nil, fmt.Errorf("%w: %d fields, not %d", ErrMalformed, len(e.fields), fields)
	}
	if e.name() == "" {
		return nil, fmt.Errorf("%w: no user name", ErrMalformed)
	}
	var err error
	if e.uid, err = parseID(e.fields[2]); err != nil {
		return nil, fmt.Errorf("%w: user id %w", ErrMalformed, err)
	}
	if e.gid, err = parseID(e.fields[3]); err != nil {
		return nil, fmt.Errorf("%w: group id %w", ErrMalformed, err)
	}
	if fields != masterFields {
		return e, nil
	}
	if e.change, err = parseTime(e.fields[5], 0); err != nil {
		return nil, fmt.Errorf("%w: change time %w", ErrMalformed, err)
	}
	if e.expire, err = parseTime(e.fields[6], 0); err != nil {
		return nil, fmt.Errorf("%w: expire time %w", ErrMalformed, err)
	}
	return e, nil
}

// parseID reads a user or group number. Old systems write nobody as -2. The
// error does not show the field: in a line that lacks one it can be the hash.
func parseID(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < -1<<31 || n > 1<<32-1 {
		return 0, errors.New("is no number of 32 bits")
	}
	return int(n), nil
}

// parseTime reads a count of days or seconds; an empty field is none.
func parseTime(s string, none int64) (int64, error) {
	if s == "" {
		return none, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, errors.New("is no number")
	}
	return n, nil
}

// A shadowEntry is a line of shadow. Times are days since 1970, and -1 where
// the field is empty.
type shadowEntry struct {
	fields []string
	last   int64 // last change of the password
	max    int64 // days after which it must be changed
	grace  int64 // days after that in which it still works ("inactive")
	expire int64 // day on which the account ends
	place
}

func (e *shadowEntry) String() string { return strings.Join(e.fields, ":") }
func (e *shadowEntry) name() string   { return e.fields[0] }

// parseShadow reads a line of shadow. A line with a bad number is refused whole
// as the C library does, which lets nobody in by it.
func parseShadow(text string) (*shadowEntry, error) {
	e := &shadowEntry{fields: strings.Split(text, ":")}
	if len(e.fields) != shadowFields {
		return nil, fmt.Errorf("%w: %d fields, not %d", ErrMalformed, len(e.fields), shadowFields)
	}
	if e.name() == "" {
		return nil, fmt.Errorf("%w: no user name", ErrMalformed)
	}
	for i, to := range [6]*int64{&e.last, nil, &e.max, nil, &e.grace, &e.expire} {
		n, err := parseTime(e.fields[i+2], -1)
		if err != nil {
			return nil, fmt.Errorf("%w: field %d %w", ErrMalformed, i+3, err)
		}
		if to != nil {
			*to = n
		}
	}
	return e, nil
}

// skipped says that a line of these files holds nothing: it is blank, or a
// comment as the BSDs allow.
func skipped(text string) bool {
	return strings.HasPrefix(text, "#") || strings.Trim(text, " \t\r") == ""
}

// fromNIS says that a line of passwd or shadow refers to accounts of a network
// service: "+", "+name", "+@netgroup", "-name", "-@netgroup" (nsswitch.conf(5),
// compat mode).
func fromNIS(text string) bool {
	return strings.HasPrefix(text, "+") || strings.HasPrefix(text, "-")
}
