//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/plesk"
	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// A newQmail is the new host's qmail, and what is remembered of it.
type newQmail struct {
	dir   string // its absolute name
	root  *os.Root
	state *state.Dir
	mem   *state.Target
	notes *state.Store // what was written to users
}

// openQmail opens the new host's qmail.
func (m *move) openQmail(write bool) (q *newQmail, err error) {
	dir := m.c.accounts.qmail
	if dir == "" {
		if m.dst == nil {
			return nil, cli.Usagef("-target-root or -target-qmail is missing: the new host")
		}
		dir = filepath.Join(m.dst.name, "var/qmail")
	}
	q = &newQmail{}
	defer func() {
		if err != nil {
			q.close()
		}
	}()
	if q.dir, err = filepath.Abs(dir); err != nil {
		return q, err
	}
	if q.root, err = os.OpenRoot(dir); err != nil {
		return q, fmt.Errorf("the new host's qmail: %w", err)
	}
	if q.state, q.mem, err = m.c.openMemory("accounts "+q.dir, write); err != nil {
		return q, err
	}
	q.notes, err = q.mem.Store("users")
	return q, err
}

func (q *newQmail) close() {
	if q.root != nil {
		q.root.Close()
	}
	if q.mem != nil {
		q.mem.Close()
	}
	if q.state != nil {
		q.state.Close()
	}
}

// book is that of its control directory, which the caller closes.
func (q *newQmail) book(c *config, env *cli.Env, domain string) (*controlBook, error) {
	root, err := q.root.OpenRoot("control")
	if err != nil {
		return nil, err
	}
	store, err := q.mem.Store(planStore)
	if err != nil {
		root.Close()
		return nil, err
	}
	b := &controlBook{root: root, dir: filepath.Join(q.dir, "control"), mem: q.mem, store: store, key: planKey(domain), before: c.beforeChange}
	b.remind = func() {
		env.Printf("Now send HUP to the new host's qmail-send: it reads virtualdomains again.\n")
	}
	b.hup, err = c.hupFunc()
	return b, err
}

// update edits the files in users.
func (q *newQmail) update(edit func(f *plesk.UsersFiles) error) error {
	dir, err := q.root.OpenRoot("users")
	if err != nil {
		return err
	}
	defer dir.Close()
	backup := func(name string, old []byte) error {
		o := state.Original{Path: filepath.Join(q.dir, "users", name), Missing: old == nil, Mode: 0o600}
		_, err := q.mem.Backup(o, old)
		return err
	}
	return plesk.UpdateUsers(dir, &plesk.UsersOptions{Backup: backup}, edit)
}

// Keys of what was written to users, by domain. A line of users/assign is a key
// itself; a login has the digest of its line.
func assignKey(domain string) string { return "assign " + domain + " " }
func popKey(domain string) string    { return "pop " + domain + " " }

// popDigest tells whether a password is the one that was written, without
// telling it.
func popDigest(salt []byte, e users.PopEntry) string {
	sum := sha256.Sum256(append(append([]byte{}, salt...), e.Login+":"+string(e.Password)...))
	return hex.EncodeToString(salt) + "$" + hex.EncodeToString(sum[:])
}

// popSame says whether an entry is as it was written.
func popSame(digest string, e users.PopEntry) bool {
	salt, err := hex.DecodeString(digest[:max(0, strings.IndexByte(digest, '$'))])
	return err == nil && popDigest(salt, e) == digest
}

// direct writes the files of the new host's qmail, in an order in which nothing
// can bounce: who has an account, then that the domain is here.
func (m *making) direct(ctx context.Context) error {
	if m.dst == nil {
		return cli.Usagef("-target-root is missing: it tells whose the mail is to be")
	}
	if m.c.accounts.psa {
		if err := m.writePsa(ctx); err != nil {
			return err
		}
	} else {
		m.panel()
	}
	q, err := m.openQmail(true)
	if err != nil {
		return err
	}
	defer q.close()
	if err := m.users(q); err != nil {
		return err
	}
	return m.control(ctx, q)
}

// panel tells what -direct leaves out.
func (m *making) panel() {
	m.warn("accounts.psa", "", errors.New("qmail and POP3 know the names now, but Plesk and its panel do not"), "-write-psa, then mchk; or make them with -run or -script")
	for _, d := range m.plan.Domains {
		for _, a := range d.Accounts {
			if len(a.Mailname.Responders) > 0 && a.Action == plesk.AccountCreate {
				m.lost("accounts.responder", a.Mailname.Name+"@"+d.Domain.Name, errors.New("has an autoresponder, which stands in psa only and is not written"), "-write-psa, then mchk; or -run or -script")
			}
		}
	}
}

// users writes who has an account.
func (m *making) users(q *newQmail) error {
	uid, gid, err := plesk.FindPopUser(m.dst.tree)
	if m.c.owner.Given {
		uid, gid, err = m.c.owner.UID, m.c.owner.GID, nil
	}
	if err != nil {
		return fmt.Errorf("the new host: %w (-owner UID:GID)", err)
	}
	opts := &plesk.AssignOptions{User: "popuser", UID: uid, GID: gid, Mailnames: "/" + m.dst.mailnames}
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return err
	}
	return q.update(func(f *plesk.UsersFiles) error {
		var notes []state.Record
		for _, d := range m.plan.Domains {
			m.found(f.Assign, d)
			before := f.Assign.Len()
			probs, err := plesk.AddAssign(f.Assign, d.Domain, d.TargetID, opts)
			m.problem(probs...)
			if err != nil {
				return err
			}
			for i := before; i < f.Assign.Len(); i++ {
				notes = append(notes, state.Record{Key: assignKey(m.domain) + f.Assign.Text(i), Value: json.RawMessage("true")})
			}
			notes = append(notes, m.passwords(f.Poppasswd, d, salt)...)
		}
		// What is noted and not written is found missing by undo.
		return q.notes.Append(notes...)
	})
}

// found corrects the report where there was no psa to tell that a name is there
// already: users/assign does.
func (m *making) found(assign *users.Assign, d *plesk.DomainPlan) {
	here := map[string]bool{}
	for e := range assign.Entries() {
		here[plesk.DirName(e.Local)] = !e.Wildcard
	}
	for i := range m.rep.Accounts {
		a := &m.rep.Accounts[i]
		if a.State == report.Made && here[plesk.DirName(fmt.Sprintf("%d-%s", d.TargetID, a.Name))] {
			a.State = report.There
		}
	}
}

// passwords writes users/poppasswd, and returns what is to be noted of it.
func (m *making) passwords(pop *users.Poppasswd, d *plesk.DomainPlan, salt []byte) (notes []state.Record) {
	for _, a := range d.Accounts {
		login := a.Mailname.Name + "@" + d.Domain.Name
		_, there := pop.Lookup(login)
		if !a.Mailname.Mailbox || there || a.Action == plesk.AccountRefused || a.Password.IsZero() {
			continue // one that is there may have been changed since
		}
		probs, err := plesk.SetPop(pop, d.Domain.Name, a.Mailname.Name, a.Password)
		m.problem(probs...)
		if err != nil {
			m.lost("accounts.poppasswd", login, err, "")
			continue
		}
		if e, ok := pop.Lookup(login); ok {
			notes = append(notes, state.Record{Key: popKey(m.domain) + e.Login, Value: json.RawMessage(`"` + popDigest(salt, e) + `"`)})
		}
	}
	return notes
}

// control makes the domain known to the new host's qmail.
func (m *making) control(ctx context.Context, q *newQmail) error {
	book, err := q.book(m.c, m.env, m.domain)
	if err != nil {
		return err
	}
	defer book.root.Close()
	old, err := qmailcontrol.LoadConfig(ctx, book.root)
	if err != nil {
		return err
	}
	next := old.Clone()
	for _, d := range m.plan.Domains {
		probs, err := plesk.EditControl(next, d.Domain, d.TargetID)
		m.problem(probs...)
		if err != nil {
			return err
		}
	}
	plan := qmailcontrol.Diff(old, next)
	if len(plan) > 0 {
		m.env.Printf("In %s:\n\n%s\n", book.dir, plan)
	}
	return book.apply(ctx, plan)
}

// psaStore is where rows are noted that were written to psa.
const psaStore = "psa"

// psaNote is a plesk.WrittenAccount, whose names are bytes.
type psaNote struct {
	Domain jsonl.Bytes `json:"domain"`
	Name   jsonl.Bytes `json:"name"`
	ID     uint64      `json:"id"`
	Digest string      `json:"digest"`
}

// writePsa writes the rows of the new host's database.
func (m *making) writePsa(ctx context.Context) error {
	db, err := m.c.target.connect(ctx)
	if err != nil {
		return err
	}
	if db == nil {
		return cli.Usagef("-target-db is missing, which -write-psa needs")
	}
	defer db.Close()
	key, err := m.c.target.key()
	if err != nil {
		return err
	}
	d, mem, err := m.c.openMemory(toolsID(m.domain), true)
	if err != nil {
		return err
	}
	defer d.Close()
	defer mem.Close()
	notes, err := mem.Store(psaStore)
	if err != nil {
		return err
	}
	w, err := plesk.WriteAccounts(ctx, db, m.plan, &plesk.WriteOptions{Key: key, Note: func(made []plesk.WrittenAccount) error {
		var recs []state.Record
		for _, a := range made {
			b, err := json.Marshal(psaNote{jsonl.Bytes(a.Domain), jsonl.Bytes(a.Name), a.ID, a.Digest})
			if err != nil {
				return err
			}
			recs = append(recs, state.Record{Key: fmt.Sprintf("mail %d %s", a.ID, a.Digest), Value: b})
		}
		return notes.Append(recs...)
	}})
	if w != nil {
		m.problem(w.Problems...)
		if len(w.Created) > 0 {
			m.env.Printf("Plesk has to be told of the new rows, after copy: run mchk --with-spam (in admin/sbin), or plesk repair mail, on the new host.\n")
		}
	}
	return err
}
