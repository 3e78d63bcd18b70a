//go:build unix

package vpopmail

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/qmailkit/qmailkit"
)

// SQLOptions of NewSQL. The zero value is right for most installations.
type SQLOptions struct {
	// NoCreate makes a missing table an error. Otherwise it is made with the
	// statement that vpopmail makes it with.
	NoCreate bool
	// NoServerLock leaves GET_LOCK out, for servers that do not have it, such
	// as clusters. Then only programs on one host exclude each other.
	NoServerLock bool
}

// SQL is the Backend of vpopmail's MySQL module: users, counters, logins, and
// where the Profile says so aliases, limits and alias domains in the tables of
// a MySQL or MariaDB database, in one table for all domains or one for each
// (Profile.TablePerDomain).
//
// # What is written
//
// The rows are those that vpopmail leaves. What vpopmail's statements would cut
// or fail on half-way is refused before anything is written, whatever the
// server's sql_mode: the widths are those of the columns, which a Store looks up
// once, not those of a release. Text that the server does not give back byte for
// byte (trailing blanks in a CHAR column, bytes from 128 on that the character
// sets of connection and column do not agree on) is ErrBadByte: each change is
// read back before it is committed. Bytes from 128 on mean what the connection's
// character set says, so let it be the one that vpopmail's own connection has.
//
// Only placeholders carry values, and identifiers are checked and in backticks:
// NO_BACKSLASH_ESCAPES and ANSI_QUOTES change nothing.
//
// # Locks and crashes
//
// vpopmail takes no lock where it has a database. The changes of this package
// exclude each other by a flock on the domain's directory and GET_LOCK on the
// server. A change of any number of users is one transaction where the engine
// has them (InnoDB). Where it has not (MyISAM), a change that fails is taken
// back row by row; a crash may then leave a part of a batch, but never an
// account without its directory: the note in the domain's directory is that of
// the file form, and the next change carries it out.
//
// A change holds one connection while the Store may need another: a sql.DB that
// is limited to one connection does not do.
type SQL struct {
	db *sql.DB
	o  SQLOptions
	s  *Store // nil until Open

	// tables are those that were looked up, by name. One that changes later is
	// noticed by what is read back.
	tables *sync.Map
}

// NewSQL makes a Backend of a database, which stays the caller's to close. Give
// it to Open as Options.Backend, with a Profile: what Open itself detects is
// what files tell, and Detect completes that. One SQL may serve several Stores.
func NewSQL(db *sql.DB, opts *SQLOptions) *SQL {
	b := &SQL{db: db}
	if opts != nil {
		b.o = *opts
	}
	return b
}

var _ interface {
	Backend
	AliasKeeper
	LimitsKeeper
	LoginKeeper
	DomainKeeper
} = (*SQL)(nil)

// bind is how Open makes the Backend of a Store.
func (b *SQL) bind(s *Store) Backend { return &SQL{b.db, b.o, s, new(sync.Map)} }

// ErrNotOpened says that a Backend was used that no Store has.
var ErrNotOpened = errors.New("vpopmail: this Backend was not given to Open")

// row is a record with its columns.
const rowColumns = "pw_name, pw_passwd, pw_uid, pw_gid, pw_gecos, pw_dir, pw_shell"

// clearColumn is there in installations with clear passwords only.
const clearColumn = "pw_clear_passwd"

// scanUser reads a row of "select *", whatever columns the table has and in
// whatever order.
func scanUser(rows *sql.Rows) (User, error) {
	names, err := rows.Columns()
	if err != nil {
		return User{}, err
	}
	text := map[string]*sql.NullString{}
	number := map[string]*sql.NullInt64{}
	into := make([]any, len(names))
	for i, n := range names {
		switch n = strings.ToLower(n); n {
		case "pw_uid", "pw_gid":
			number[n] = new(sql.NullInt64)
			into[i] = number[n]
		default:
			text[n] = new(sql.NullString)
			into[i] = text[n]
		}
	}
	if err := rows.Scan(into...); err != nil {
		return User{}, err
	}
	str := func(n string) string {
		if s := text[n]; s != nil {
			return s.String
		}
		return ""
	}
	num := func(n string) int64 {
		if v := number[n]; v != nil {
			return v.Int64
		}
		return 0
	}
	return User{
		Name: str("pw_name"), Hash: qmailkit.Secret(str("pw_passwd")), UID: int(num("pw_uid")), Flags: Flags(num("pw_gid")),
		Gecos: str("pw_gecos"), Dir: str("pw_dir"), Quota: str("pw_shell"), Clear: qmailkit.Secret(str(clearColumn)),
	}, nil
}

// where limits a statement to a domain; the arguments follow.
func (b *SQL) where(domain string) (string, []any) {
	if b.s.p.TablePerDomain {
		return "1 = 1", nil
	}
	return "pw_domain = ?", []any{domain}
}

// usersOf yields rows of a domain; more narrows or orders them.
func (b *SQL) usersOf(ctx context.Context, q querier, domain, more string, args ...any) iter.Seq2[User, error] {
	return func(yield func(User, error) bool) {
		table, err := b.tableOf(domain)
		if err != nil {
			yield(User{}, err)
			return
		}
		where, first := b.where(domain)
		rows, err := q.QueryContext(ctx, "select * from "+quoted(table)+" where "+where+more, append(first, args...)...)
		if err != nil {
			// A table that nobody needed yet is no users.
			if t, e := readTable(ctx, q, table); e != nil || t != nil {
				yield(User{}, sqlError(err))
			}
			return
		}
		defer rows.Close()
		for rows.Next() {
			u, err := scanUser(rows)
			if !yield(u, sqlError(err)) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(User{}, sqlError(err))
		}
	}
}

// User asks for one row. What the column's collation takes for equal, such as
// letters with accents or a blank behind the name, is not: the account found
// would be somebody else's.
func (b *SQL) User(ctx context.Context, d *Domain, name string) (User, error) {
	if b.s == nil {
		return User{}, ErrNotOpened
	}
	for u, err := range b.usersOf(ctx, b.db, d.Real, " and pw_name = ?", name) {
		if err != nil {
			return User{}, err
		}
		if lower(u.Name) == lower(name) {
			return u, nil
		}
	}
	return User{}, &Error{Domain: d.Name, User: name, Err: ErrNoUser}
}

// Users yields the rows of a domain, ordered by name as the column's collation
// has it.
func (b *SQL) Users(ctx context.Context, d *Domain) iter.Seq2[User, error] {
	return func(yield func(User, error) bool) {
		if b.s == nil {
			yield(User{}, qmailkit.Incomplete(ErrNotOpened))
			return
		}
		for u, err := range b.usersOf(ctx, b.db, d.Real, " order by pw_name") {
			if c := context.Cause(ctx); c != nil {
				err = c
			}
			if err != nil {
				yield(User{}, qmailkit.Incomplete(err))
				return
			}
			if !yield(u, nil) {
				return
			}
		}
	}
}

// checkRow refuses a record that its columns would not take whole, or not give
// back.
func checkRow(ctx context.Context, q querier, t *sqlTable, domain string, u *User) error {
	for _, c := range []struct{ column, field, text string }{
		{"pw_name", "user", u.Name}, {"pw_passwd", "password", string(u.Hash)}, {"pw_gecos", "gecos", u.Gecos},
		{"pw_dir", "dir", u.Dir}, {"pw_shell", "quota", u.Quota}, {clearColumn, "clear", string(u.Clear)},
	} {
		err := t.fits(c.column, c.text)
		if err == nil {
			err = t.comesBack(ctx, q, c.column, c.text)
		}
		if err != nil {
			return &Error{Domain: domain, User: u.Name, Field: c.field, Err: err}
		}
	}
	if u.Flags > math.MaxInt32 || u.UID > math.MaxInt32 || u.UID < math.MinInt32 {
		return &Error{Domain: domain, User: u.Name, Field: "flags", Err: fmt.Errorf("%w: an INT column takes 31 bits", ErrTooLong)}
	}
	return nil
}

// lock takes GET_LOCK on conn for a name; unlock gives it back. A connection
// that dies loses it, and its transaction.
func (b *SQL) lock(ctx context.Context, conn *sql.Conn, name string) (unlock func(), err error) {
	if b.o.NoServerLock {
		return func() {}, nil
	}
	// The names are the server's, of at most 64 bytes, for all databases.
	const key = "concat('qmailkit.', sha1(concat(coalesce(database(), ''), '/', ?)))"
	seconds := int64(math.Ceil(b.s.o.LockWait.Seconds()))
	var got sql.NullInt64
	if err := conn.QueryRowContext(ctx, "select get_lock("+key+", ?)", name, seconds).Scan(&got); err != nil {
		return nil, sqlError(err)
	}
	if got.Int64 != 1 {
		return nil, fmt.Errorf("vpopmail: domain %q: %w", name, ErrBusy)
	}
	return func() {
		// The caller's context may have ended; the lock must go all the same.
		ctx, cancel := context.WithTimeout(context.Background(), unlockWait)
		defer cancel()
		var gone sql.NullInt64
		if err := conn.QueryRowContext(ctx, "select release_lock("+key+")", name).Scan(&gone); err != nil {
			conn.Raw(func(any) error { return driver.ErrBadConn }) // drops the connection, and the lock with it
		}
	}, nil
}

// unlockWait is how long a lock may take to be given back before its connection
// is dropped.
const unlockWait = 5 * time.Second
