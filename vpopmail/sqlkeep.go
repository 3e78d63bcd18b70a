//go:build unix

package vpopmail

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
)

// Aliases reads table valias. The rows of a 5.4 table have no number; their
// order is the one in which the server gives them back.
func (b *SQL) Aliases(ctx context.Context, d *Domain) iter.Seq2[Alias, error] {
	return func(yield func(Alias, error) bool) {
		rows, err := b.aliasRows(ctx, b.db, d.Name, "")
		if err != nil {
			yield(Alias{}, qmailkit.Incomplete(err))
			return
		}
		slices.SortStableFunc(rows, func(a, c aliasRow) int { return strings.Compare(a.name, c.name) })
		for len(rows) > 0 {
			if err := context.Cause(ctx); err != nil {
				yield(Alias{}, qmailkit.Incomplete(err))
				return
			}
			a := Alias{Name: rows[0].name}
			for len(rows) > 0 && rows[0].name == a.Name {
				a.Lines = append(a.Lines, rows[0].line)
				rows = rows[1:]
			}
			if !yield(a, nil) {
				return
			}
		}
	}
}

// Alias reads the rows of one alias.
func (b *SQL) Alias(ctx context.Context, d *Domain, name string) ([]string, error) {
	rows, err := b.aliasRows(ctx, b.db, d.Name, name)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, r := range rows {
		lines = append(lines, r.line)
	}
	return lines, nil
}

type aliasRow struct{ name, line string }

// aliasRows are the rows of a domain, or of one name in it.
func (b *SQL) aliasRows(ctx context.Context, q querier, domain, name string) ([]aliasRow, error) {
	if b.s == nil {
		return nil, ErrNotOpened
	}
	t, err := b.table(ctx, q, aliasTable)
	if err != nil || t == nil {
		return nil, err
	}
	query, args := "select alias, valias_line from valias where `domain` = ?", []any{domain}
	if name != "" {
		query, args = query+" and alias = ?", append(args, name)
	}
	if t.has("id") {
		query += " order by id"
	}
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, sqlError(err)
	}
	defer rows.Close()
	var out []aliasRow
	for rows.Next() {
		var r aliasRow
		if err := rows.Scan(&r.name, &r.line); err != nil {
			return nil, sqlError(err)
		}
		// What the collation takes for equal is another alias.
		if r.name = lower(r.name); name == "" || r.name == lower(name) {
			out = append(out, r)
		}
	}
	return out, sqlError(rows.Err())
}

// RemoveAlias deletes the rows of an alias.
func (b *SQL) RemoveAlias(ctx context.Context, d *Domain, name string) (bool, error) {
	rows, err := b.aliasRows(ctx, b.db, d.Name, name)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	_, err = b.db.ExecContext(ctx, "delete from valias where alias = ? and `domain` = ?", name, d.Name)
	return err == nil, sqlError(err)
}

// LastLogin reads table lastauth.
func (b *SQL) LastLogin(ctx context.Context, d *Domain, u *User) (Login, bool, error) {
	if b.s == nil {
		return Login{}, false, ErrNotOpened
	}
	t, err := b.table(ctx, b.db, loginTable)
	if err != nil || t == nil {
		return Login{}, false, err
	}
	var ip sql.NullString
	var at sql.NullInt64
	err = b.db.QueryRowContext(ctx, "select remote_ip, `timestamp` from lastauth where `user` = ? and `domain` = ?", u.Name, d.Real).Scan(&ip, &at)
	if err == sql.ErrNoRows {
		return Login{}, false, nil
	}
	return Login{IP: ip.String, Time: time.Unix(at.Int64, 0)}, err == nil, sqlError(err)
}

// SetLastLogin replaces a row of lastauth. An address or a name that its column
// does not take is ErrTooLong: 18 bytes in 5.4, so most of IPv6.
func (b *SQL) SetLastLogin(ctx context.Context, d *Domain, u *User, l Login) error {
	if b.s == nil {
		return ErrNotOpened
	}
	t, err := b.needTable(ctx, b.db, loginTable)
	if err != nil {
		return err
	}
	for _, c := range []struct{ column, field, text string }{{"user", "user", u.Name}, {"domain", "domain", d.Real}, {"remote_ip", "ip", l.IP}} {
		err := t.fits(c.column, c.text)
		if err == nil && !ascii(c.text) {
			err = ErrBadByte
		}
		if err != nil {
			return &Error{Domain: d.Name, User: u.Name, Field: c.field, Err: err}
		}
	}
	_, err = b.db.ExecContext(ctx, "replace into lastauth (`user`, `domain`, remote_ip, `timestamp`) values (?, ?, ?, ?)", u.Name, d.Real, l.IP, l.Time.Unix())
	return sqlError(err)
}

// limitColumns are the columns of table limits behind the domain's name.
var limitColumns = []string{"maxpopaccounts", "maxaliases", "maxforwards", "maxautoresponders", "maxmailinglists",
	"diskquota", "maxmsgcount", "defaultquota", "defaultmaxmsgcount",
	"disable_pop", "disable_imap", "disable_dialup", "disable_passwordchanging", "disable_webmail", "disable_relay", "disable_smtp",
	"disable_spamassassin", "delete_spam", "disable_maildrop",
	"perm_account", "perm_alias", "perm_forward", "perm_autoresponder", "perm_maillist", "perm_quota", "perm_defaultquota"}

// limitFlags are the flags of the disable columns in their order.
var limitFlags = []Flags{NoPOP, NoIMAP, NoDialup, NoPasswordChange, NoWebmail, NoRelay, NoSMTP, NoSpamAssassin, DeleteSpam, NoMaildrop}

// limitsDDL are the columns of table limits (vlimits.h).
func limitsDDL(domain string) []string {
	c := []string{domain + " primary key"}
	for i, name := range limitColumns {
		kind, zero := "tinyint(2)", "0"
		switch {
		case i < 5:
			kind, zero = "int(10)", "-1"
		case i < 9:
			kind = "bigint unsigned"
		case i < 19:
			kind = "tinyint(1)"
		case name == "perm_maillist":
			kind = "tinyint(4)"
		}
		c = append(c, name+" "+kind+" not null default "+zero)
	}
	return c
}

func (l *Limits) maxima() []*int {
	return []*int{&l.MaxAccounts, &l.MaxAliases, &l.MaxForwards, &l.MaxResponders, &l.MaxLists}
}

func (l *Limits) sizes() []*uint64 {
	return []*uint64{&l.Quota, &l.MaxMessages, &l.DefaultQuota, &l.DefaultMaxMsg}
}

func (l *Limits) perms() []*uint16 {
	return []*uint16{&l.PermAccount, &l.PermAlias, &l.PermForward, &l.PermResponder, &l.PermLists, &l.PermQuota, &l.PermDefaultQuota}
}

// Limits reads the row of a domain in table limits.
func (b *SQL) Limits(ctx context.Context, d *Domain) (Limits, bool, error) {
	if b.s == nil {
		return Limits{}, false, ErrNotOpened
	}
	return limitsRow(ctx, b.db, d.Real)
}

func limitsRow(ctx context.Context, q querier, domain string) (l Limits, ok bool, err error) {
	l = NoLimits()
	rows, err := q.QueryContext(ctx, "select "+strings.Join(limitColumns, ", ")+" from `limits` where `domain` = ?", domain)
	if err != nil {
		if t, e := readTable(ctx, q, limitsTable); e != nil || t != nil {
			return l, false, sqlError(err)
		}
		return l, false, nil
	}
	defer rows.Close()
	if !rows.Next() {
		return l, false, sqlError(rows.Err())
	}
	disabled := make([]int, len(limitFlags))
	var into []any
	for _, p := range l.maxima() {
		into = append(into, p)
	}
	for _, p := range l.sizes() {
		into = append(into, p)
	}
	for i := range disabled {
		into = append(into, &disabled[i])
	}
	for _, p := range l.perms() {
		into = append(into, p)
	}
	if err := rows.Scan(into...); err != nil {
		return l, false, sqlError(err)
	}
	for i, on := range disabled {
		if on != 0 {
			l.Disabled |= limitFlags[i]
		}
	}
	return l, true, nil
}

// SetLimits replaces the row of a domain. Numbers that the columns do not take
// are ErrTooLong: the permissions are of seven bits, so that those of a mailing
// list's moderators (bits 6 to 8) mostly cannot be stored.
func (b *SQL) SetLimits(ctx context.Context, d *Domain, l Limits) error {
	if b.s == nil {
		return ErrNotOpened
	}
	if _, err := b.needTable(ctx, b.db, limitsTable); err != nil {
		return err
	}
	fail := func(format string, args ...any) error {
		return &Error{Domain: d.Name, Field: "limits", Err: fmt.Errorf("%w: "+format, append([]any{ErrTooLong}, args...)...)}
	}
	args := []any{d.Real}
	for _, p := range l.maxima() {
		if *p > math.MaxInt32 || *p < math.MinInt32 {
			return fail("%d in an INT column", *p)
		}
		args = append(args, *p)
	}
	for _, p := range l.sizes() {
		if *p > math.MaxInt64 {
			return fail("%d, the most is %d", *p, math.MaxInt64)
		}
		args = append(args, int64(*p))
	}
	rest := l.Disabled
	for _, f := range limitFlags {
		on := 0
		if l.Disabled&f != 0 {
			on = 1
		}
		rest &^= f
		args = append(args, on)
	}
	if rest != 0 {
		return &Error{Domain: d.Name, Field: "limits", Err: fmt.Errorf("%w: flags %#x cannot be disabled for a domain", ErrBadByte, uint32(rest))}
	}
	for _, p := range l.perms() {
		if *p > math.MaxInt8 {
			return fail("%d in a TINYINT column", *p)
		}
		args = append(args, *p)
	}
	_, err := b.db.ExecContext(ctx, "replace into `limits` (`domain`, "+strings.Join(limitColumns, ", ")+") values ("+marks(len(args))+")", args...)
	return sqlError(err)
}

// RemoveLimits deletes the row of a domain.
func (b *SQL) RemoveLimits(ctx context.Context, d *Domain) error {
	if b.s == nil {
		return ErrNotOpened
	}
	t, err := b.table(ctx, b.db, limitsTable)
	if err != nil || t == nil {
		return err
	}
	_, err = b.db.ExecContext(ctx, "delete from `limits` where `domain` = ?", d.Real)
	return sqlError(err)
}
