package plesk

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// A WrittenAccount is a mail name that WriteAccounts has written.
type WrittenAccount struct {
	Domain, Name string
	ID           uint64 // mail.id
	// Digest tells whether it is as it was written. It holds no password, and
	// is salted.
	Digest string
}

// saltSize is the salt of a digest in bytes.
const saltSize = 16

// written describes a name as psa gives it back.
func written(random io.Reader, d *Domain, m *Mailname) (WrittenAccount, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(random, salt); err != nil {
		return WrittenAccount{}, err
	}
	return WrittenAccount{d.Name, m.Name, m.ID, digest(hex.EncodeToString(salt), m)}, nil
}

// digest is that of all that psa says of a name; what Plesk counts itself, the
// space that is used, is no part of it.
func digest(salt string, m *Mailname) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %d %q %t %t %q %q %d %q %q %q %t %t %q %q %q %q", salt, m.ID, m.Name, m.Mailbox, m.NoDelivery, m.Password.Type, string(m.Password.Stored), m.Quota,
		slices.Sorted(slices.Values(m.Aliases)), slices.Sorted(slices.Values(m.Forwards)), slices.Sorted(slices.Values(m.Off)), m.Group, m.AutoRespond,
		m.SpamFilter, m.VirusFilter, m.Description, m.External)
	for _, r := range m.Responders {
		fmt.Fprintf(sum, " %+v", r) // which has no secrets
	}
	return salt + "$" + hex.EncodeToString(sum.Sum(nil))
}

// same says whether psa still has it as it was written.
func (a WrittenAccount) same(m *Mailname) bool {
	salt, _, ok := strings.Cut(a.Digest, "$")
	return ok && digest(salt, m) == a.Digest
}

// Removed says what RemoveAccounts has done.
type Removed struct {
	Removed []WrittenAccount
	Gone    []WrittenAccount // psa has them no more
	// Problems are those that stay, and why: plesk.account-stays.
	Problems []qmailkit.Problem
}

// RemoveOptions of RemoveAccounts. The nil pointer is the zero value.
type RemoveOptions struct {
	// Rehearse does all and lets nothing count.
	Rehearse bool
}

// RemoveAccounts takes back what WriteAccounts has written and nobody has
// changed since: rows of accounts, mail, and those that belong to them. A name
// that differs in anything, or of which Plesk keeps more in tables that
// WriteAccounts does not write, stays. It may be repeated. Plesk learns of it
// as it learns of WriteAccounts.
//
// It is one transaction: with an error nothing is changed. Errors wrap
// ErrNoTable, ErrNoColumn and ErrEngine, and ErrWriteBack where a row is still
// there afterwards.
func RemoveAccounts(ctx context.Context, db *sql.DB, accounts []WrittenAccount, opts *RemoveOptions) (*Removed, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("psa: %w", err)
	}
	defer tx.Rollback()
	r := &remover{writer: writer{ctx: ctx, tx: tx}, out: &Removed{}}
	if err := r.all(accounts); err != nil {
		return nil, fmt.Errorf("psa: %w", err)
	}
	if opts != nil && opts.Rehearse {
		return r.out, nil
	}
	if err := tx.Commit(); err != nil {
		return nil, fmt.Errorf("psa: %w", err)
	}
	return r.out, nil
}

// remover is one transaction.
type remover struct {
	writer
	out *Removed
	// more are the names of which other tables have rows: the table's name.
	more map[uint64]string
}

func (r *remover) all(accounts []WrittenAccount) (err error) {
	if r.schema, err = readSchema(r.ctx, r.tx, accountTables, responderTables); err != nil {
		return err
	}
	if err := r.lock(accounts); err != nil {
		return err
	}
	now, err := r.read()
	if err != nil {
		return err
	}
	if r.more, err = r.elsewhere(); err != nil {
		return err
	}
	here := map[uint64]*Mailname{}
	for _, d := range now.Domains {
		for _, m := range d.Mailnames {
			here[m.ID] = m
		}
	}
	for _, a := range accounts {
		if err := context.Cause(r.ctx); err != nil {
			return err
		}
		m := here[a.ID]
		switch {
		case m == nil:
			r.out.Gone = append(r.out.Gone, a)
		case !a.same(m):
			r.stays(a, "it has been changed")
		case r.more[a.ID] != "":
			r.stays(a, fmt.Sprintf("table %q has more of it", r.more[a.ID]))
		default:
			r.out.Removed = append(r.out.Removed, a)
		}
	}
	if len(r.out.Removed) == 0 {
		return nil
	}
	if err := r.remove(r.out.Removed); err != nil {
		return err
	}
	return r.readAgain()
}

func (r *remover) stays(a WrittenAccount, why string) {
	addr := a.Name + "@" + a.Domain
	r.out.Problems = append(r.out.Problems, qmailkit.Problem{Code: "plesk.account-stays", Severity: qmailkit.Warning, Path: addr,
		Err: fmt.Errorf("%s stays in psa: %s since it was written", addr, why), Fix: "mail --remove " + quote(addr) + ", if it is to go with all its mail"})
}

// lock holds the rows of the domains' names, so that nobody changes them
// between the look and the removal.
func (r *remover) lock(accounts []WrittenAccount) error {
	var names []string
	for _, a := range accounts {
		names = append(names, a.Domain)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		for _, q := range []string{
			"SELECT d.id FROM `" + r.schema["domains"].name + "` d WHERE d.name = ? FOR UPDATE",
			"SELECT m.id FROM `" + r.schema["mail"].name + "` m LEFT JOIN `" + r.schema["accounts"].name + "` a ON a.id = m.account_id" +
				" JOIN `" + r.schema["domains"].name + "` d ON d.id = m.dom_id WHERE d.name = ? FOR UPDATE",
		} {
			rows, err := r.tx.QueryContext(r.ctx, q, name)
			if err != nil {
				return err
			}
			for rows.Next() {
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				return err
			}
		}
	}
	return nil
}

// elsewhere finds the mail names that tables speak of which are not written
// here: their column mn_id, as all of psa calls it.
func (r *remover) elsewhere() (map[uint64]string, error) {
	tables, err := r.names("SELECT table_name FROM information_schema.columns WHERE table_schema = DATABASE() AND column_name = 'mn_id'")
	if err != nil {
		return nil, err
	}
	more := map[uint64]string{}
	for _, t := range tables {
		if low := strings.ToLower(t); slices.Contains(accountTables, low) || slices.Contains(responderTables, low) {
			continue
		}
		ids, err := r.names("SELECT DISTINCT mn_id FROM `" + strings.ReplaceAll(t, "`", "``") + "`")
		if err != nil {
			return nil, fmt.Errorf("table %q: %w", t, err)
		}
		for _, s := range ids {
			if id, ok := domainNumber(s); ok {
				more[id] = t
			}
		}
	}
	return more, nil
}

// names reads a column of texts.
func (r *remover) names(query string) (out []string, err error) {
	rows, err := r.tx.QueryContext(r.ctx, query)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var s sql.NullString
		if err := rows.Scan(&s); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		out = append(out, s.String)
	}
	return out, errors.Join(rows.Err(), rows.Close())
}

// removeBatch is how many names one statement takes away: tables may have no
// index on what their rows belong to.
const removeBatch = 500

// remove takes the rows of names away, those first that hang on others.
func (r *remover) remove(made []WrittenAccount) error {
	var ids []any
	for _, a := range made {
		ids = append(ids, a.ID)
	}
	accounts, err := r.accountsOf(made)
	if err != nil {
		return err
	}
	if resp := r.schema["mail_resp"]; resp != nil {
		for _, table := range responderTables[1:] {
			if t := r.schema[table]; t != nil {
				if err := r.exec("DELETE FROM `"+t.name+"` WHERE rn_id IN (SELECT id FROM `"+resp.name+"` WHERE mn_id IN (", "))", ids); err != nil {
					return err
				}
			}
		}
		if err := r.exec("DELETE FROM `"+resp.name+"` WHERE mn_id IN (", ")", ids); err != nil {
			return err
		}
	}
	for _, table := range []string{"mail_aliases", "mail_redir"} {
		if err := r.exec("DELETE FROM `"+r.schema[table].name+"` WHERE mn_id IN (", ")", ids); err != nil {
			return err
		}
	}
	if err := r.exec("DELETE FROM `"+r.schema["mail"].name+"` WHERE id IN (", ")", ids); err != nil {
		return err
	}
	return r.exec("DELETE FROM `"+r.schema["accounts"].name+"` WHERE id IN (", ")", accounts)
}

// accountsOf are the ids in accounts that belong to these names and to no other
// one.
func (r *remover) accountsOf(made []WrittenAccount) (ids []any, err error) {
	ours := map[uint64]bool{}
	for _, a := range made {
		ours[a.ID] = true
	}
	rows, err := r.tx.QueryContext(r.ctx, "SELECT id, account_id FROM `"+r.schema["mail"].name+"`")
	if err != nil {
		return nil, err
	}
	users, mine := map[int64]int{}, []int64{}
	for rows.Next() {
		var id uint64
		var account sql.NullInt64
		if err := rows.Scan(&id, &account); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		users[account.Int64]++
		if ours[id] {
			mine = append(mine, account.Int64)
		}
	}
	for _, id := range mine {
		if id != 0 && users[id] == 1 {
			ids = append(ids, id)
		}
	}
	return ids, errors.Join(rows.Err(), rows.Close())
}

// exec runs a statement for all ids, some at a time.
func (r *remover) exec(head, tail string, ids []any) error {
	for some := range slices.Chunk(ids, removeBatch) {
		if _, err := r.tx.ExecContext(r.ctx, head+strings.TrimSuffix(strings.Repeat("?,", len(some)), ",")+tail, some...); err != nil {
			return err
		}
	}
	return nil
}

// readAgain sees that all is gone that was removed.
func (r *remover) readAgain() error {
	now, err := r.read()
	if err != nil {
		return err
	}
	here := map[uint64]bool{}
	for _, d := range now.Domains {
		for _, m := range d.Mailnames {
			here[m.ID] = true
		}
	}
	for _, a := range r.out.Removed {
		if here[a.ID] {
			return fmt.Errorf("%s@%s: %w: it is still there", a.Name, a.Domain, ErrWriteBack)
		}
	}
	return nil
}
