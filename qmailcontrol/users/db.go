package users

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/qmailkit/qmailkit/internal/cdbfile"
)

var (
	// ErrDB says that users/cdb cannot be read or does not answer as one made
	// by qmail-newu does. To qmail-lspawn that is a temporary failure.
	ErrDB = errors.New("trouble reading users/cdb")
	// ErrRecord says that users/cdb holds too few fields for a local part.
	ErrRecord = errors.New("users/cdb: bad record")
)

// A User is what qmail-lspawn hands to qmail-local: who gets the mail.
type User struct {
	Name string
	// UID and GID are text, of which the leading digits count; see IDs.
	UID, GID string
	Home     string
	Dash     string
	// Ext has, for a wildcard, the rest of the local part at its end, in the
	// case in which it was asked for.
	Ext string
}

// IDs returns the numeric user and group as qmail-lspawn reads them: the
// leading digits, cut to 32 bits, and 0 where there are none.
func (u User) IDs() (uid, gid uint32) { return digits(u.UID), digits(u.GID) }

func digits(s string) uint32 {
	var n uint32
	for i := 0; i < len(s) && '0' <= s[i] && s[i] <= '9'; i++ {
		n = n*10 + uint32(s[i]-'0')
	}
	return n
}

// text is the six fields as they travel inside qmail-lspawn, each with a NUL
// behind it.
func (u User) text() string {
	return strings.Join([]string{u.Name, u.UID, u.GID, u.Home, u.Dash, u.Ext, ""}, "\x00")
}

// parseUser is the reverse of text. What follows the sixth NUL is ignored.
func parseUser(text string) (User, error) {
	var u User
	rest := text
	for i, to := range [...]*string{&u.Name, &u.UID, &u.GID, &u.Home, &u.Dash, &u.Ext} {
		field, after, ok := strings.Cut(rest, "\x00")
		if !ok {
			return u, fmt.Errorf("%w: %d fields", ErrRecord, i)
		}
		*to, rest = field, after
	}
	return u, nil
}

// A DB is an open users/cdb. Any number of goroutines may use it.
type DB struct {
	cdb  *cdbfile.Reader
	ends [256]bool // what a wildcard ends in
	err  error
}

// OpenDB opens a users/cdb of size bytes. With an error, which wraps ErrDB, the
// DB can be used all the same: it answers every question with that error, as
// qmail-lspawn would on that file.
func OpenDB(r io.ReaderAt, size int64) (*DB, error) {
	db := &DB{}
	db.err = db.open(r, size)
	return db, db.err
}

func (db *DB) open(r io.ReaderAt, size int64) error {
	var err error
	if db.cdb, err = cdbfile.Open(r, size); err != nil {
		return fmt.Errorf("%w: %w", ErrDB, err)
	}
	ends, found, err := db.cdb.Get(nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDB, err)
	}
	if !found {
		return fmt.Errorf("%w: the list of wildcard ends is missing", ErrDB)
	}
	for _, c := range ends {
		db.ends[c] = true
	}
	return nil
}

// Lookup returns who gets the mail for a local part, by the rules of
// qmail-lspawn: the exact entry, else that of the longest wildcard; of several
// equal ones the first. Case does not count, for ASCII letters. Without any
// found is false, and qmail would ask qmail-getpw.
//
// An error wraps ErrDB or ErrRecord. Whether qmail would deliver as that user
// is the question of User.Check. The time grows with the square of the length
// of local, which in qmail is under a thousand bytes.
func (db *DB) Lookup(local string) (u User, found bool, err error) {
	h, err := db.find(local, nil)
	if err != nil || !h.found {
		return User{}, false, err
	}
	u, err = parseUser(h.text)
	return u, err == nil, err
}

// A hit is what find finds.
type hit struct {
	found bool
	key   []byte
	text  string // as User.text gives it
}

// find is qmail-lspawn.c:nughde_get as far as users/cdb goes. Each key is given
// to probe before it is looked up.
func (db *DB) find(local string, probe func(key []byte)) (hit, error) {
	if probe == nil {
		probe = func([]byte) {}
	}
	probe(nil)
	if db.err != nil {
		return hit{}, db.err
	}
	// Local parts are C strings there.
	local, _, _ = strings.Cut(local, "\x00")
	key := make([]byte, 0, len(local)+2)
	key = append(appendLower(append(key, '!'), local), 0)
	for n := len(key); n > 0; n-- {
		exact := n == len(key)
		if !exact && n > 1 && !db.ends[key[n-1]] {
			continue
		}
		probe(key[:n])
		data, found, err := db.cdb.Get(key[:n])
		if err != nil {
			return hit{}, fmt.Errorf("%w: %w", ErrDB, err)
		}
		if found {
			var text strings.Builder
			text.Grow(len(data) + len(local) + 1)
			text.Write(data)
			if !exact {
				text.WriteString(local[n-1:])
			}
			text.WriteByte(0)
			return hit{true, bytes.Clone(key[:n]), text.String()}, nil
		}
	}
	return hit{}, nil
}
