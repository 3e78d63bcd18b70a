//go:build unix

package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// Owner is a flag value of the form UID:GID, both decimal numbers: names would
// mean one thing here and another on the host that the files are for.
type Owner struct {
	safefs.Owner      // meaningful only if Given
	Given        bool // the flag was used
}

// String gives the form that Set takes; empty where nothing was given.
func (o *Owner) String() string {
	if o == nil || !o.Given {
		return ""
	}
	return fmt.Sprintf("%d:%d", o.UID, o.GID)
}

// Set takes UID:GID.
func (o *Owner) Set(s string) error {
	u, g, ok := strings.Cut(s, ":")
	if !ok {
		return fmt.Errorf("want UID:GID")
	}
	uid, err := id(u)
	if err != nil {
		return err
	}
	gid, err := id(g)
	if err != nil {
		return err
	}
	o.Owner, o.Given = safefs.Owner{UID: uid, GID: gid}, true
	return nil
}

// Or is the owner that was given, else def.
func (o *Owner) Or(def safefs.Owner) safefs.Owner {
	if o.Given {
		return o.Owner
	}
	return def
}

// id takes a user or group number. The greatest, all ones, means "leave it" to
// chown(2) and is nobody's.
func id(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 1<<32-1 || s[0] == '+' {
		return 0, fmt.Errorf("%q is not the number of a user or group", s)
	}
	return int(n), nil
}

// Strings is a flag value that may be given many times.
type Strings []string

// String joins what was given.
func (s *Strings) String() string {
	if s == nil {
		return ""
	}
	return strings.Join(*s, ",")
}

// Set adds one.
func (s *Strings) Set(v string) error {
	*s = append(*s, v)
	return nil
}
