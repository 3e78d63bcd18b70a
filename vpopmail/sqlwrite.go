//go:build unix

package vpopmail

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// sqlTables are the tables beside the users' that a change writes to; nil is
// not at all.
type sqlTables struct{ login, log *sqlTable }

// tables finds them, and makes what is missing, before anything else is made:
// making a table ends a transaction.
func (r *sqlRecords) tables(ctx context.Context) (sqlTables, error) {
	var t sqlTables
	var err error
	if r.counter != nil {
		if _, err := r.b.needTable(ctx, r.conn, counterTable); err != nil {
			return t, err
		}
	}
	made, gone := false, false
	for _, c := range r.changed {
		made = made || c.made
		gone = gone || c.after == nil && c.before != nil
	}
	switch {
	case made && r.b.s.p.AuthLogging:
		t.login, err = r.b.needTable(ctx, r.conn, loginTable)
	case gone:
		t.login, err = r.b.table(ctx, r.conn, loginTable)
	}
	if err == nil && gone {
		t.log, err = r.b.table(ctx, r.conn, logTable)
	}
	return t, err
}

// atOnce is how many rows one statement carries.
const atOnce = 200

// write changes the rows in one transaction. Where the engine has none, what
// was done is taken back when a step fails.
func (r *sqlRecords) write(ctx context.Context, t sqlTables) error {
	tx, err := r.conn.BeginTx(ctx, nil)
	if err != nil {
		return sqlError(err)
	}
	w := &sqlWriter{r: r, q: tx, t: t, step: atOnce}
	if !r.table.atomic {
		w.step = 1
	}
	err = w.all(ctx)
	if err == nil {
		err = sqlError(tx.Commit())
	}
	if err == nil {
		return nil
	}
	tx.Rollback()
	if r.table.atomic {
		return err
	}
	again, cancel := context.WithTimeout(context.WithoutCancel(ctx), recoverWait)
	defer cancel()
	return errors.Join(err, w.takeBack(again))
}

// sqlWriter is a write on its way.
type sqlWriter struct {
	r    *sqlRecords
	q    querier
	t    sqlTables
	step int      // rows in one statement
	done []string // changes that are in the table
}

// all goes from what does least harm alone to what makes an account: the
// counter, removals, changes, new rows.
func (w *sqlWriter) all(ctx context.Context) error {
	if w.r.counter != nil {
		if err := writeCounter(ctx, w.q, w.r.d.Real, *w.r.counter); err != nil {
			return err
		}
	}
	var gone, changed, added, made, left []string
	for _, name := range w.r.order {
		c := w.r.changed[name]
		switch {
		case c.after == nil && c.before != nil:
			gone = append(gone, name)
		case c.after == nil || c.before != nil && *c.before == *c.after:
		case c.before != nil:
			changed = append(changed, name)
		default:
			added = append(added, name)
		}
		if c.after != nil {
			left = append(left, name)
		}
		if c.made {
			made = append(made, name)
		}
	}
	for _, part := range []struct {
		names []string
		step  int
		do    func(context.Context, []string) error
	}{
		{gone, w.step, w.remove}, {changed, 1, w.update}, {added, w.step, w.insert},
		{made, atOnce, w.logins}, {left, atOnce, w.verify},
	} {
		for names := part.names; len(names) > 0; {
			n := min(part.step, len(names))
			if err := part.do(ctx, names[:n]); err != nil {
				return err
			}
			names = names[n:]
		}
	}
	return nil
}

// key limits a statement to named rows of the domain.
func (w *sqlWriter) key(names []string) (string, []any) {
	where, args := w.r.b.where(w.r.d.Real)
	return where + " and pw_name in (" + marks(len(names)) + ")", appendNames(args, names)
}

func appendNames(args []any, names []string) []any {
	for _, n := range names {
		args = append(args, n)
	}
	return args
}

// remove takes rows out, and what is known of their logins (vmysql.c:
// vauth_deluser).
func (w *sqlWriter) remove(ctx context.Context, names []string) error {
	where, args := w.key(names)
	if _, err := w.q.ExecContext(ctx, "delete from "+quoted(w.r.table.name)+" where "+where, args...); err != nil {
		return sqlError(err)
	}
	w.done = append(w.done, names...)
	for _, t := range []*sqlTable{w.t.login, w.t.log} {
		if t == nil {
			continue
		}
		_, err := w.q.ExecContext(ctx, "delete from "+quoted(t.name)+" where `domain` = ? and `user` in ("+marks(len(names))+")",
			appendNames([]any{w.r.d.Real}, names)...)
		if err != nil {
			return sqlError(err)
		}
	}
	return nil
}

// columns are those of a row, and the values of one in their order.
func (w *sqlWriter) columns() []string {
	c := strings.Split(rowColumns, ", ")
	if w.r.table.has(clearColumn) {
		c = append(c, clearColumn)
	}
	return c
}

func (w *sqlWriter) values(u *User) []any {
	v := []any{u.Name, string(u.Hash), u.UID, int64(u.Flags), u.Gecos, u.Dir, u.Quota}
	if w.r.table.has(clearColumn) {
		v = append(v, string(u.Clear))
	}
	return v
}

func (w *sqlWriter) update(ctx context.Context, names []string) error {
	for _, name := range names {
		c := w.r.changed[name]
		if err := w.set(ctx, c.before.Name, c.after); err != nil {
			return err
		}
		w.done = append(w.done, name)
	}
	return nil
}

// set writes all columns of a row but its name (vmysql.c:vauth_setpw).
func (w *sqlWriter) set(ctx context.Context, stored string, u *User) error {
	where, args := w.key([]string{stored})
	_, err := w.q.ExecContext(ctx, "update "+quoted(w.r.table.name)+" set "+strings.Join(w.columns()[1:], " = ?, ")+" = ? where "+where,
		append(w.values(u)[1:], args...)...)
	return sqlError(err)
}

func (w *sqlWriter) insert(ctx context.Context, names []string) error {
	var users []*User
	for _, name := range names {
		users = append(users, w.r.changed[name].after)
	}
	if err := w.add(ctx, users); err != nil {
		return err
	}
	w.done = append(w.done, names...)
	return nil
}

func (w *sqlWriter) add(ctx context.Context, users []*User) error {
	columns, one := w.columns(), "("
	if !w.r.b.s.p.TablePerDomain {
		columns, one = append([]string{"pw_domain"}, columns...), "(?, "
	}
	one += marks(len(w.columns())) + ")"
	var args []any
	for _, u := range users {
		if !w.r.b.s.p.TablePerDomain {
			args = append(args, w.r.d.Real)
		}
		args = append(args, w.values(u)...)
	}
	_, err := w.q.ExecContext(ctx, "insert into "+quoted(w.r.table.name)+" ("+strings.Join(columns, ", ")+") values "+
		strings.TrimSuffix(strings.Repeat(one+", ", len(users)), ", "), args...)
	return sqlError(err)
}

// logins makes the rows that say that a new account has never been used. A name
// that the column does not take (vpopmail 5.6 has users of 64 bytes and 32
// there) has no such row, as with vpopmail; the account is made all the same.
func (w *sqlWriter) logins(ctx context.Context, names []string) error {
	if w.t.login == nil || !w.r.b.s.p.AuthLogging {
		return nil
	}
	now, args, n := w.r.b.s.o.Now().Unix(), []any(nil), 0
	for _, name := range names {
		if w.t.login.fits("user", name) == nil {
			args = append(args, name, w.r.d.Real, lastauthNever, now)
			n++
		}
	}
	if n == 0 {
		return nil
	}
	_, err := w.q.ExecContext(ctx, "replace into lastauth (`user`, `domain`, remote_ip, `timestamp`) values "+
		strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?), ", n), ", "), args...)
	return sqlError(err)
}

// verify reads back what was written. What a server that is not strict has cut
// or changed is not committed.
func (w *sqlWriter) verify(ctx context.Context, names []string) error {
	found := map[string]User{}
	for u, err := range w.r.b.usersOf(ctx, w.q, w.r.d.Real, " and pw_name in ("+marks(len(names))+")", appendNames(nil, names)...) {
		if err != nil {
			return err
		}
		found[lower(u.Name)] = u
	}
	for _, name := range names {
		want := *w.r.changed[name].after
		got, ok := found[name]
		switch fail := func(field, why string) error {
			return &Error{Domain: w.r.d.Name, User: name, Field: field, Err: fmt.Errorf("%w: %s", ErrBadByte, why)}
		}; {
		case !ok:
			return fail("", "the database does not give the row back: somebody has removed it, or its name is another there")
		case got.Hash != want.Hash:
			return fail("password", back)
		case got.Clear != want.Clear:
			return fail("clear", back)
		case got.Gecos != want.Gecos:
			return fail("gecos", back)
		case got.Dir != want.Dir:
			return fail("dir", back)
		case got.Quota != want.Quota:
			return fail("quota", back)
		case got.Flags != want.Flags || got.UID != want.UID:
			return fail("flags", back)
		}
	}
	return nil
}

const back = "the database gives something else back"

// takeBack undoes what is in a table whose engine has no transactions.
func (w *sqlWriter) takeBack(ctx context.Context) error {
	w.q = w.r.b.db
	var all error
	for i := len(w.done) - 1; i >= 0; i-- {
		name := w.done[i]
		c := w.r.changed[name]
		var err error
		switch {
		case c.before == nil:
			where, args := w.key([]string{name})
			_, err = w.q.ExecContext(ctx, "delete from "+quoted(w.r.table.name)+" where "+where, args...)
			if err == nil && c.made && w.t.login != nil {
				_, err = w.q.ExecContext(ctx, "delete from lastauth where `user` = ? and `domain` = ?", name, w.r.d.Real)
			}
			err = sqlError(err)
		case c.after == nil:
			err = w.add(ctx, []*User{c.before})
		default:
			err = w.set(ctx, c.before.Name, c.before)
		}
		all = errors.Join(all, err)
	}
	if w.r.counter != nil {
		all = errors.Join(all, settleCounter(ctx, w.q, w.r.d.Real, &counterRow{w.r.before, *w.r.counter}, false))
	}
	return all
}

var _ querier = (*sql.Conn)(nil)
