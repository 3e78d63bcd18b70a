package plesk

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
)

var (
	// ErrEngine says that a table cannot take part in a transaction, so that a
	// failure would leave half of an account.
	ErrEngine = errors.New("table is not transactional")
	// ErrColumn says that a table has a column that must be given a value, and
	// which this package does not know.
	ErrColumn = errors.New("column needs a value that is not known")
	// ErrWriteBack says that psa does not give back what was written: a value
	// was cut, or its characters were changed.
	ErrWriteBack = errors.New("psa does not give back what was written")
)

// WriteOptions of WriteAccounts. The nil pointer is the zero value.
type WriteOptions struct {
	// Key is the target's: passwords in clear are sealed with it and have the
	// type sym. Without it they have the type plain.
	Key *SecretKey
	// Random is where initialisation vectors come from; nil is crypto/rand.
	Random io.Reader
	// Note is called with what was written before it counts, if anything was,
	// and must have it on the disk when it returns: RemoveAccounts takes it
	// back. Its error stops WriteAccounts. Nil is nothing.
	Note func(made []WrittenAccount) error
}

// Written says what WriteAccounts has done.
type Written struct {
	Created []string // addresses
	Existed []string // addresses that were there already, and were not touched
	// Problems are what was left out: names that meet another one, passwords
	// that could not be sealed, and what this psa has no table or column for.
	Problems []qmailkit.Problem
}

// WriteAccounts writes the accounts of a plan whose Action is AccountCreate into
// the target's psa: rows of accounts, mail, mail_aliases, mail_redir and those
// of autoresponders, in the columns that its version has. It is for a target whose own tools cannot be
// used. Plesk learns of them by mchk or "plesk repair mail", which the caller
// has to run. A name that psa has is left alone, so that WriteAccounts may be
// repeated.
//
// It is one transaction: with an error nothing is changed, unless it is the
// answer to the last step that got lost; to run it again tells. Errors wrap
// ErrNoTable and ErrNoColumn; ErrColumn for a column without a default that
// this package does not know; ErrEngine; ErrNoDomainID where the number of the
// plan is not that of the domain here; and ErrWriteBack, because all is read
// back and compared before it counts.
func WriteAccounts(ctx context.Context, db *sql.DB, plan *AccountPlan, opts *WriteOptions) (*Written, error) {
	w := &writer{done: &Written{}}
	if opts != nil {
		w.o = *opts
	}
	if w.o.Random == nil {
		w.o.Random = rand.Reader
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("psa: %w", err)
	}
	defer tx.Rollback()
	w.ctx, w.tx = ctx, tx
	if err := w.all(plan); err != nil {
		return nil, fmt.Errorf("psa: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return nil, fmt.Errorf("psa: %w", err)
	}
	return w.done, nil
}

// writer is one transaction.
type writer struct {
	o      WriteOptions
	ctx    context.Context
	tx     *sql.Tx
	schema map[string]*tableSchema
	now    map[uint64]*nameIndex // psa before, and what is added, by domain
	made   []madeAccount
	done   *Written
}

// madeAccount is what must be found when psa is read back.
type madeAccount struct {
	domain uint64
	a      *Account
}

func (w *writer) all(plan *AccountPlan) (err error) {
	if w.schema, err = readSchema(w.ctx, w.tx, accountTables, responderTables); err != nil {
		return err
	}
	w.leaveResponders()
	for _, d := range plan.Domains {
		if err := w.lockDomain(d); err != nil {
			return err
		}
	}
	before, err := w.read()
	if err != nil {
		return err
	}
	w.now = map[uint64]*nameIndex{}
	for _, d := range plan.Domains {
		w.now[d.TargetID] = before.byID(d.TargetID).index()
		for _, a := range d.Accounts {
			if err := context.Cause(w.ctx); err != nil {
				return err
			}
			if a.Action != AccountCreate {
				continue
			}
			if err := w.account(d, a); err != nil {
				return fmt.Errorf("%s@%s: %w", a.Mailname.Name, d.Domain.Name, err)
			}
		}
	}
	return w.readBack()
}

// lockDomain holds the row of a domain, so that of two writers the second one
// waits, and looks whether the number is right.
func (w *writer) lockDomain(d *DomainPlan) error {
	t := w.schema["domains"]
	var name string
	err := w.tx.QueryRowContext(w.ctx, "SELECT name FROM `"+t.name+"` WHERE id = ? FOR UPDATE", d.TargetID).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !strings.EqualFold(name, d.Domain.Name) {
		return fmt.Errorf("%s: number %d: %w", d.Domain.Name, d.TargetID, ErrNoDomainID)
	}
	return err
}

func (w *writer) read() (*Server, error) {
	t, err := readWished(w.ctx, w.tx, isWanted)
	if err != nil {
		return nil, err
	}
	return interpret(t, "psa", false)
}

func (w *writer) problem(addr, code string, s qmailkit.Severity, format string, args ...any) {
	w.done.Problems = append(w.done.Problems, qmailkit.Problem{Code: "plesk." + code, Severity: s, Path: addr, Err: fmt.Errorf(format, args...)})
}

// byID finds a domain.
func (s *Server) byID(id uint64) *Domain {
	for _, d := range s.Domains {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// account writes the rows of one account.
func (w *writer) account(d *DomainPlan, a *Account) error {
	m := a.Mailname
	addr := m.Name + "@" + d.Domain.Name
	here := w.now[d.TargetID]
	if here.name(m.Name) != nil {
		w.done.Existed = append(w.done.Existed, addr)
		return nil
	}
	for _, name := range append([]string{m.Name}, m.Aliases...) {
		if here.taken(name) != nil {
			w.problem(addr, "alias-conflict", qmailkit.Error, "%s is left out: %q is somebody else's here", addr, name)
			return nil
		}
	}
	account, err := w.password(addr, a)
	if err != nil {
		return err
	}
	row, listed := w.mailRow(d, a, account)
	id, err := w.insert("mail", row)
	if err != nil {
		return err
	}
	for _, alias := range m.Aliases {
		if _, err := w.insert("mail_aliases", map[string]any{"mn_id": id, "alias": alias}); err != nil {
			return err
		}
	}
	for _, to := range listed {
		if _, err := w.insert("mail_redir", map[string]any{"mn_id": id, "address": to}); err != nil {
			return err
		}
	}
	if err := w.responders(d, a, id); err != nil {
		return err
	}
	here.add(m)
	w.made = append(w.made, madeAccount{d.TargetID, a})
	w.done.Created = append(w.done.Created, addr)
	return nil
}

// mailRow is the row of table mail, and the forwards that stand in another one.
func (w *writer) mailRow(d *DomainPlan, a *Account, account int64) (row map[string]any, listed []string) {
	m := a.Mailname
	addr := m.Name + "@" + d.Domain.Name
	group := m.Group
	row = map[string]any{"mail_name": m.Name, "postbox": yesNo(m.Mailbox), "account_id": account, "dom_id": d.TargetID, "autoresponder": yesNo(m.AutoRespond && len(w.answers(m)) > 0), "mbox_quota": m.Quota}
	listed = m.Forwards
	mail := w.schema["mail"]
	if mail.has("redirect") && mail.has("redir_addr") {
		row["redirect"] = "false"
		switch {
		case group:
		case len(m.Forwards) == 1:
			row["redirect"], row["redir_addr"] = "true", m.Forwards[0]
			listed = nil
		case len(m.Forwards) > 1: // there is room for one
			group = true
		}
	} else if len(m.Forwards) > 0 { // here it is the switch of all forwarding
		group = true
	}
	row["mail_group"] = yesNo(group)
	for _, c := range []struct {
		column, text string
	}{{"delivery", yesNo(!m.NoDelivery)}, {"description", m.Description}, {"externalemail", m.External}} {
		switch {
		case mail.has(c.column):
			row[c.column] = c.text
		case c.text != "" && c.text != "true":
			w.problem(addr, "no-column", qmailkit.Warning, "%s: %s %q is left out, for which this psa has no column", addr, c.column, c.text)
		}
	}
	return row, listed
}

// password writes the row of accounts and returns its id; 0 where there is no
// password, which only a name without a mailbox may have.
func (w *writer) password(addr string, a *Account) (int64, error) {
	kind, stored := "plain", a.Password.Clear
	switch {
	case a.Password.IsZero() && a.Mailname.Mailbox:
		return 0, ErrNoPassword
	case a.Password.IsZero():
		return 0, nil
	case a.Password.Clear == "":
		kind, stored = "crypt", a.Password.Hash
	case w.o.Key != nil:
		s, err := w.o.Key.Seal(w.o.Random, a.Password.Clear)
		if err != nil && !errors.Is(err, ErrSym) {
			return 0, err
		}
		if back, err := w.o.Key.Open(s); err == nil && back == a.Password.Clear {
			kind, stored = "sym", s
			break
		}
		w.problem(addr, "password-plain", qmailkit.Warning, "%s: the password holds bytes that the type sym does not give back: it is kept as plain", addr)
	}
	return w.insert("accounts", map[string]any{"type": kind, "password": string(stored)})
}

// readBack compares what psa now has with what was to be written.
func (w *writer) readBack() error {
	if len(w.made) == 0 {
		return nil
	}
	now, err := w.read()
	if err != nil {
		return err
	}
	var notes []WrittenAccount
	index := map[uint64]*nameIndex{}
	for _, made := range w.made {
		if index[made.domain] == nil {
			index[made.domain] = now.byID(made.domain).index()
		}
		name := made.a.Mailname.Name
		got := index[made.domain].name(name)
		if what := w.differsFrom(made.a, got); what != "" {
			return fmt.Errorf("%s: %w: %s", name, ErrWriteBack, what)
		}
		if w.o.Note == nil {
			continue
		}
		account, err := written(w.o.Random, now.byID(made.domain), got)
		if err != nil {
			return err
		}
		notes = append(notes, account)
	}
	if w.o.Note == nil {
		return nil
	}
	return w.o.Note(notes)
}

// differsFrom names what is not as it was written.
func (w *writer) differsFrom(a *Account, got *Mailname) string {
	m := a.Mailname
	same := func(x, y string) bool { return x == y }
	switch {
	case got == nil || got.Name != m.Name:
		return "mail_name"
	case got.Mailbox != m.Mailbox:
		return "postbox"
	case got.Quota != m.Quota:
		return "mbox_quota"
	case got.Group != m.Group && len(m.Forwards) == 0:
		return "mail_group"
	case len(missing(m.Aliases, got.Aliases, same)) > 0 || len(m.Aliases) != len(got.Aliases):
		return "aliases"
	case len(missing(m.Forwards, got.Forwards, same)) > 0 || len(slices.Compact(slices.Sorted(slices.Values(m.Forwards)))) != len(got.Forwards):
		return "forwards"
	}
	if what := w.answersDiffer(m, got); what != "" {
		return what
	}
	if a.Password.IsZero() {
		return ""
	}
	want := a.Password
	if want.Clear != "" {
		want.Hash = ""
	}
	if c, err := got.Password.Credential(w.o.Key); err != nil || c != want {
		return "password"
	}
	return ""
}
