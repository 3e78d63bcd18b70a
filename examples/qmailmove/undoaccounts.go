//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/plesk"
	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// psaRows takes back the rows of the new host's database.
func (u *undoing) psaRows(ctx context.Context) error {
	d, mem, err := u.c.openMemory(toolsID(u.domain), !u.c.dryRun)
	if err != nil {
		return err
	}
	defer d.Close()
	defer mem.Close()
	notes, err := mem.Store(psaStore)
	if err != nil || notes.Len() == 0 {
		return err
	}
	var list []plesk.WrittenAccount
	keys := map[uint64][]string{}
	for r := range notes.All() {
		var n psaNote
		if _, err := notes.Load(r.Key, &n); err != nil {
			return err
		}
		if u.stays(string(n.Name)) {
			continue
		}
		list = append(list, plesk.WrittenAccount{Domain: string(n.Domain), Name: string(n.Name), ID: n.ID, Digest: n.Digest})
		keys[n.ID] = append(keys[n.ID], r.Key)
	}
	db, err := u.c.target.connect(ctx)
	if err != nil {
		return err
	}
	if db == nil {
		return cli.Usagef("-target-db is missing: rows were written to the new host's psa")
	}
	defer db.Close()
	out, err := plesk.RemoveAccounts(ctx, db, list, &plesk.RemoveOptions{Rehearse: u.c.dryRun})
	if err != nil {
		return err
	}
	for _, p := range out.Problems {
		name, _, _ := strings.Cut(p.Path, "@")
		u.problem(p)
		u.keep(name, "its rows in psa were changed")
	}
	if u.c.dryRun {
		return nil
	}
	if len(out.Removed) > 0 {
		u.env.Printf("Plesk has to be told: run mchk --with-spam (in admin/sbin), or plesk repair mail, on the new host.\n")
	}
	var forget []state.Record
	for _, a := range append(out.Removed, out.Gone...) {
		for _, key := range keys[a.ID] {
			forget = append(forget, state.Record{Key: key})
		}
	}
	return notes.Append(forget...)
}

// control takes the domain from the new host's qmail, if no name of it stays.
func (u *undoing) control(ctx context.Context) error {
	if u.q == nil || !u.whole() {
		return nil
	}
	book, err := u.q.book(u.c, u.env, u.domain)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer book.root.Close()
	old, err := qmailcontrol.LoadConfig(ctx, book.root)
	if err != nil {
		return err
	}
	plan, found, err := book.reverse(old)
	if err != nil || !found {
		return err
	}
	if len(plan) > 0 {
		u.env.Printf("In %s:\n\n%s\n", book.dir, plan)
	}
	if u.c.dryRun {
		return nil
	}
	if err := book.change(ctx, plan); err != nil {
		return err
	}
	if _, err := book.reload(ctx); err != nil {
		return err
	}
	return book.forget()
}

// judgeUsers finds the names whose password or line has been changed, and those
// to which lines lead that accounts has not written.
func (u *undoing) judgeUsers(f *plesk.UsersFiles) {
	ours := map[string]bool{} // what a line is about, as it is noted
	for r := range u.q.notes.All() {
		if line, ok := strings.CutPrefix(r.Key, assignKey(u.domain)); ok {
			ours[aboutOf(line)] = true
		}
	}
	for e := range f.Assign.Entries() {
		l, ok := plesk.ParseAssignLine(e)
		if !ok || !strings.EqualFold(l.Domain, u.domain) {
			continue
		}
		_, noted := u.q.notes.Get(assignKey(u.domain) + e.Text())
		switch {
		case noted:
		case e.Wildcard:
		case ours[aboutOf(e.Text())]:
			u.keep(l.Directory, "its line in users/assign was changed")
		default:
			u.foreign[plesk.DirName(l.Directory)], u.others = true, true
		}
	}
	for e := range f.Poppasswd.Entries() {
		if digest, noted := u.popNote(e); noted && !popSame(digest, e) {
			name, _, _ := strings.Cut(e.Login, "@")
			u.keep(name, "its password was changed")
		}
	}
}

// aboutOf is the part of a line of users/assign that it is found by.
func aboutOf(line string) string {
	about, _, _ := strings.Cut(line, ":")
	return strings.ToLower(about)
}

// popNote is the digest that was noted of a login.
func (u *undoing) popNote(e users.PopEntry) (digest string, noted bool) {
	v, noted := u.q.notes.Get(popKey(u.domain) + e.Login)
	if noted {
		json.Unmarshal(v, &digest)
	}
	return digest, noted
}

// users takes back the lines of names that do not stay, and the domain's own
// when all go.
func (u *undoing) users() error {
	if u.q == nil || u.q.notes.Len() == 0 {
		return nil
	}
	assign := func(e users.Entry) bool {
		_, noted := u.q.notes.Get(assignKey(u.domain) + e.Text())
		l, _ := plesk.ParseAssignLine(e)
		if !noted || e.Wildcard && !u.whole() || u.stays(l.Directory) {
			return false
		}
		if !e.Wildcard {
			u.gone[plesk.DirName(l.Directory)] = true
		}
		return true
	}
	pop := func(e users.PopEntry) bool {
		digest, noted := u.popNote(e)
		name, _, _ := strings.Cut(e.Login, "@")
		if !noted || !popSame(digest, e) || u.stays(name) {
			return false
		}
		u.gone[plesk.DirName(name)] = true
		return true
	}
	edit := func(f *plesk.UsersFiles) error {
		f.Assign.RemoveFunc(assign)
		f.Poppasswd.RemoveFunc(pop)
		if u.c.dryRun {
			return errLook
		}
		return nil
	}
	if err := u.q.update(edit); err != nil {
		if errors.Is(err, errLook) {
			err = nil
		}
		return err
	}
	return u.forgetUsers()
}

// forgetUsers forgets the notes of what is not there any more.
func (u *undoing) forgetUsers() error {
	here := map[string]bool{}
	err := u.q.update(func(f *plesk.UsersFiles) error {
		for e := range f.Assign.Entries() {
			here[assignKey(u.domain)+aboutOf(e.Text())] = true
		}
		for e := range f.Poppasswd.Entries() {
			here[popKey(u.domain)+e.Login] = true
		}
		return errLook
	})
	if !errors.Is(err, errLook) {
		return err
	}
	var forget []state.Record
	for r := range u.q.notes.All() {
		key := r.Key
		if line, ok := strings.CutPrefix(key, assignKey(u.domain)); ok {
			key = assignKey(u.domain) + aboutOf(line) // a changed line is one that is there
		} else if !strings.HasPrefix(key, popKey(u.domain)) {
			continue
		}
		if !here[key] {
			forget = append(forget, state.Record{Key: r.Key})
		}
	}
	return u.q.notes.Append(forget...)
}

// errLook ends an edit that only looks.
var errLook = errors.New("nothing to change")

// judgePlesk finds the names that Plesk knows and that were not written to its
// psa by accounts.
func (u *undoing) judgePlesk(ctx context.Context) error {
	d, mem, err := u.c.openMemory(toolsID(u.domain), false)
	if err != nil {
		return err
	}
	defer d.Close()
	defer mem.Close()
	calls, err := mem.Store(commandStore)
	if err != nil {
		return err
	}
	foreign := func(name string) { u.foreign[plesk.DirName(name)], u.others = true, true }
	for r := range calls.All() {
		addr, tool, ok := madeBy(calls, r.Key)
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(addr, "@")
		foreign(name)
		u.problem(qmailkit.Problem{Code: "undo.tool", Severity: qmailkit.Warning, Path: addr,
			Err: errors.New("was made by Plesk's tool, which undo does not call"), Fix: plesk.ShellWords([]string{tool, "--remove", addr}) + ", if it is still there, and is to go with all its mail"})
	}
	rows, err := mem.Store(psaStore)
	if err != nil {
		return err
	}
	ours := map[string]bool{}
	for r := range rows.All() {
		var n psaNote
		if _, err := rows.Load(r.Key, &n); err != nil {
			return err
		}
		ours[plesk.DirName(string(n.Name))] = true
	}
	psa, err := u.c.target.read(ctx)
	if err != nil || psa == nil || psa.Domain(u.domain) == nil {
		return err
	}
	for _, m := range psa.Domain(u.domain).Mailnames {
		if !ours[plesk.DirName(m.Name)] {
			foreign(m.Name)
		}
	}
	return nil
}
