//go:build unix

package vpopmail

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// sqlRecords are the rows of a domain, under the locks of this package.
type sqlRecords struct {
	b       *SQL
	d       *Domain
	side    *fileRecords // the domain's directory: its notes and .dir_control_free
	ctx     context.Context
	conn    *sql.Conn
	unlock  func()
	table   *sqlTable
	known   map[string]*User // rows by name in lower case, as stored; nil: none
	whole   bool             // known has all rows
	asked   int
	err     error // of a look-up: nothing may be committed then
	changed map[string]*sqlChange
	order   []string // of changed
	before  DirControl
	counter *DirControl
	used    int
}

// A sqlChange is what becomes of one row.
type sqlChange struct {
	before *User // nil: no row
	after  *User // nil: no row
	made   bool  // his directory is made with the change
}

// askSingly is how many rows are looked up one by one before all are read.
const askSingly = 20

// Edit takes the locks and finishes or takes back what a change left that was
// cut short.
func (b *SQL) Edit(ctx context.Context, d *Domain) (Records, error) {
	if b.s == nil {
		return nil, ErrNotOpened
	}
	dir, err := b.s.openDomain(d)
	if err != nil {
		return nil, err
	}
	r := &sqlRecords{b: b, d: d, ctx: ctx, known: map[string]*User{}, changed: map[string]*sqlChange{}, unlock: func() {}}
	r.side = &fileRecords{s: b.s, d: d, dir: dir, own: b.s.owner(d.UID, d.GID)}
	if err := r.open(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *sqlRecords) open(ctx context.Context) error {
	if err := r.b.s.lockDir(ctx, r.side.dir); err != nil {
		return err
	}
	conn, err := r.b.db.Conn(ctx)
	if err != nil {
		return sqlError(err)
	}
	r.conn = conn
	unlock, err := r.b.lock(ctx, conn, r.d.Real)
	if err != nil {
		return err
	}
	r.unlock = unlock
	name, err := r.b.tableOf(r.d.Real)
	if err != nil {
		return err
	}
	if err := r.b.sameTable(ctx, conn, r.d.Real, name); err != nil {
		return err
	}
	if r.table, err = r.b.needTable(ctx, conn, name); err != nil {
		return err
	}
	// A note of a change is carried out by what the rows say: all are read, so
	// that no look-up can fail on the way.
	for _, note := range []string{intentName, afterName} {
		if there, err := exists(r.side.dir, note); err != nil {
			return err
		} else if there {
			r.load()
		}
	}
	if r.err != nil {
		return r.err
	}
	return r.recover(ctx, conn)
}

// Close lets go of the locks.
func (r *sqlRecords) Close() error {
	r.unlock()
	var err error
	if r.conn != nil {
		err = r.conn.Close()
		if errors.Is(err, sql.ErrConnDone) {
			err = nil
		}
	}
	return errors.Join(err, r.side.dir.Close())
}

// load reads all rows.
func (r *sqlRecords) load() {
	if r.whole {
		return
	}
	known := map[string]*User{}
	for u, err := range r.b.usersOf(r.ctx, r.conn, r.d.Real, "") {
		if err != nil {
			r.err = err
			return
		}
		known[lower(u.Name)] = &u
	}
	r.known, r.whole = known, true
}

// stored returns a row as the database has it; none is nil.
func (r *sqlRecords) stored(name string) *User {
	name = lower(name)
	if u, ok := r.known[name]; ok || r.whole {
		return u
	}
	if r.asked++; r.asked > askSingly {
		r.load()
		return r.known[name]
	}
	for u, err := range r.b.usersOf(r.ctx, r.conn, r.d.Real, " and pw_name = ?", name) {
		if err != nil {
			r.err = err
			return nil
		}
		if lower(u.Name) == name {
			r.known[name] = &u
			return &u
		}
	}
	r.known[name] = nil
	return nil
}

// Err is the error of the first look-up that failed.
func (r *sqlRecords) Err() error { return r.err }

// Get returns a row as it will be. A database that does not answer makes Put
// and Commit fail.
func (r *sqlRecords) Get(name string) (User, bool) {
	if c, ok := r.changed[lower(name)]; ok {
		if c.after == nil {
			return User{}, false
		}
		return *c.after, true
	}
	if u := r.stored(name); u != nil {
		return *u, true
	}
	return User{}, false
}

// change notes what becomes of a row.
func (r *sqlRecords) change(name string, after *User) {
	name = lower(name)
	c, ok := r.changed[name]
	if !ok {
		c = &sqlChange{before: r.stored(name)}
		r.changed[name] = c
		r.order = append(r.order, name)
	}
	c.after = after
}

// Put checks a record against the columns.
func (r *sqlRecords) Put(u User) error {
	if r.err != nil {
		return r.err
	}
	if err := checkRow(r.ctx, r.conn, r.table, r.d.Name, &u); err != nil {
		return err
	}
	r.change(u.Name, &u)
	return r.err
}

// Remove takes a row out.
func (r *sqlRecords) Remove(name string) bool {
	if _, ok := r.Get(name); !ok {
		return false
	}
	r.change(name, nil)
	return true
}

// Counter reads the domain's row of dir_control, and .dir_control_free.
func (r *sqlRecords) Counter() (DirControl, []string, error) {
	c, err := readCounter(r.ctx, r.conn, r.d.Real)
	if err != nil {
		return c, nil, err
	}
	r.before = c
	b, _, err := readFile(r.side.dir, freeName)
	return c, freeDirs(b), err
}

// SetCounter is carried out by Commit.
func (r *sqlRecords) SetCounter(c DirControl, used int) {
	r.counter, r.used = &c, used
}

// recoverWait is how long the repair of a failed change may ask the database.
const recoverWait = 10 * time.Second

// Commit makes the note, the directories, one sync for them, then changes the
// rows in one transaction, and takes the note away. When a step fails, what was
// done is taken back as far as that works; the next change does the same after
// a crash.
func (r *sqlRecords) Commit(ctx context.Context, steps CommitSteps) error {
	if r.err != nil {
		return r.err
	}
	if len(r.changed) == 0 && len(steps.Made) == 0 && r.counter == nil {
		return nil
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	err := r.commit(ctx, steps)
	if err == nil {
		return nil
	}
	// The connection may be the one that failed, and the context has perhaps
	// ended. Where the database does not answer the note stays.
	again, cancel := context.WithTimeout(context.WithoutCancel(ctx), recoverWait)
	defer cancel()
	return errors.Join(err, r.recover(again, r.b.db))
}

func (r *sqlRecords) commit(ctx context.Context, steps CommitSteps) error {
	for _, m := range steps.Made {
		if c := r.changed[lower(m.Name)]; c != nil {
			c.made = true
		}
	}
	tables, err := r.tables(ctx)
	if err != nil {
		return err
	}
	side, unlock, err := r.freeSide(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	noted := len(steps.Made) > 0 || len(side) > 0
	if noted {
		if err := r.note(steps, side); err != nil {
			return err
		}
	}
	if steps.Build != nil {
		if err := steps.Build(r.side.dir); err != nil {
			return err
		}
	}
	if len(steps.Made) > 0 {
		if err := syncMade(r.side.dir, steps.Made); err != nil {
			return err
		}
	}
	if err := r.write(ctx, tables); err != nil {
		return err
	}
	for _, f := range side {
		if err := r.side.writeSide(f.Name, &f.After, false); err != nil {
			return err
		}
	}
	if !noted {
		return nil
	}
	if err := r.side.dir.Remove(intentName); err != nil {
		return err
	}
	return r.side.dir.Sync()
}

func (r *sqlRecords) note(steps CommitSteps, side []sideFile) error {
	n := intent{Version: 2, Side: side}
	for _, m := range steps.Made {
		n.Users = append(n.Users, madeNote{text(m.Name), text(m.Dir)})
	}
	if r.counter != nil {
		n.Row = &counterRow{r.before, *r.counter}
	}
	b, err := noteBytes(&n)
	if err != nil {
		return err
	}
	return r.side.dir.WriteFile(intentName, safefs.Replacement{Mode: 0o600, Owner: r.side.own, Temp: tempIntent}, b)
}

// freeSide says what is left of .dir_control_free, and locks it as vpopmail
// does.
func (r *sqlRecords) freeSide(ctx context.Context) ([]sideFile, func(), error) {
	if r.counter == nil || r.used == 0 {
		return nil, func() {}, nil
	}
	unlock, err := r.b.s.lock(ctx, r.side.dir, freeName+".lock", safefs.Keep)
	if err != nil {
		return nil, nil, err
	}
	f, err := takeFree(r.side.dir, r.used)
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return []sideFile{f}, unlock, nil
}

// takeFree is .dir_control_free without its first used lines.
func takeFree(dir *safefs.Dir, n int) (sideFile, error) {
	old, ok, err := readFile(dir, freeName)
	left, used := strings.SplitAfter(string(old), "\n"), 0
	left = slices.DeleteFunc(left, func(l string) bool {
		if used == n || freeDir(strings.TrimSuffix(l, "\n")) == "" {
			return false
		}
		used++
		return true
	})
	return sideOf(freeName, old, ok, []byte(strings.Join(left, ""))), err
}

// recover completes or takes back a change that was cut short, by its note:
// the directories of users who have no row go, the counter follows.
func (r *sqlRecords) recover(ctx context.Context, q querier) error {
	b, ok, err := readFile(r.side.dir, intentName)
	if err != nil || !ok {
		return errors.Join(err, r.side.clean())
	}
	note, err := parseIntent(b, 2)
	if err != nil {
		return fmt.Errorf("%s/%s: %w", r.d.Dir, intentName, err)
	}
	// As they are now: the failed change may have been committed after all.
	in := map[string]bool{}
	for u, err := range r.b.usersOf(ctx, q, r.d.Real, "") {
		if err != nil {
			return err
		}
		in[lower(u.Name)] = true
	}
	done := len(note.Users) == 0
	for _, u := range note.Users {
		if in[string(u.Name)] {
			done = true
		} else if err := removeUserTree(r.side.dir, string(u.Dir)); err != nil {
			return err
		}
	}
	if err := settleCounter(ctx, q, r.d.Real, note.Row, done); err != nil {
		return err
	}
	for _, f := range note.Side {
		if err := r.side.settle(f, done); err != nil {
			return err
		}
	}
	if err := r.side.clean(); err != nil {
		return err
	}
	if err := r.side.dir.Sync(); err != nil {
		return err
	}
	return r.side.dir.Remove(intentName)
}
