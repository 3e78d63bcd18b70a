package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/aliasmap"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// A dot is what run wrote for an address or into a user's directory, found as
// run left it.
type dot struct {
	key  string
	addr string // NAME@DOMAIN
	home bool   // in the user's own directory: the .qmail file
	text bool   // or, if home is set too, the vacation text
	path string // of the file, where it is one
	gone bool   // it is not there any more
}

// findDots looks for what run wrote. What was changed since stays.
func (u *undoing) findDots(ctx context.Context) error {
	for rec := range u.t.records.All() {
		d := dot{key: rec.Key}
		if addr, ok := strings.CutPrefix(rec.Key, aliasKey(u.domain, "")); ok {
			d.addr = addr
		} else if name, ok := strings.CutPrefix(rec.Key, homeKey(u.domain, "")); ok {
			d.addr, d.home = name+"@"+u.domain, true
		} else if name, ok := strings.CutPrefix(rec.Key, replyKey(u.domain, "")); ok {
			d.addr, d.home, d.text = name+"@"+u.domain, true, true
		} else {
			continue
		}
		if name, _, _ := strings.Cut(d.addr, "@"); d.home && !u.selected(name) {
			continue
		}
		u.dots = append(u.dots, d)
	}
	for i := range u.dots {
		if err := u.findDot(ctx, &u.dots[i]); err != nil {
			return err
		}
	}
	return nil
}

// findDot compares what stands there with what run wrote. Files are read as
// such: an undoing that was cut off may have taken their domain from qmail.
func (u *undoing) findDot(ctx context.Context, d *dot) error {
	var r dotRecord
	if _, err := u.t.records.Load(d.key, &r); err != nil {
		return err
	}
	var now []string
	var err error
	if p := u.t.Store.Profile(); !d.home && p.SQLAliases && u.t.Database() {
		now, err = u.t.Store.Alias(ctx, d.addr)
	} else {
		now, err = u.readDot(ctx, d)
	}
	switch {
	case errors.Is(err, vpopmail.ErrNoDomain) || err == nil && len(now) == 0:
		d.gone = true
	case ctx.Err() != nil:
		return err
	case err != nil || !r.ours(now):
		d.gone = true
		if err == nil {
			err = errors.New("they were changed on the new host")
		}
		u.report("undo.alias-stays", d.path, fmt.Errorf("the lines of %s stay: %w", d.addr, err))
	default:
		u.written[d.path] = true
	}
	return nil
}

// readDot reads the file of an address or of a user.
func (u *undoing) readDot(ctx context.Context, d *dot) ([]string, error) {
	name, domain, _ := strings.Cut(d.addr, "@")
	dir, file := "", ".qmail-"+strings.ReplaceAll(name, ".", ":")
	if d.home {
		file = dotQmail
		for _, r := range u.users {
			if string(r.User.Name) == name {
				dir = string(r.User.Dir)
			}
		}
		if user, err := u.t.Store.User(ctx, d.addr); err == nil {
			dir = user.Dir
		}
	} else if on, err := u.t.Store.Domain(ctx, domain); err == nil {
		dir = on.Dir
	} else if domain == u.domain {
		dir = string(u.made.Dir)
	} else {
		var r record
		if _, err := u.t.records.Load(separateKey(u.domain, domain), &r); err != nil {
			return nil, err
		}
		dir = string(r.Dir)
	}
	if dir == "" {
		return nil, nil
	}
	d.path = dir + "/" + file
	root, place, err := u.t.Store.Place(dir)
	if err != nil {
		return nil, err
	}
	in, err := safefs.OpenDir(root, place, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if d.text {
		d.path = dir + "/" + aliasmap.ReplyDir + "/" + aliasmap.ReplyFile
		return readReply(in)
	}
	b, err := in.ReadFile(file, maxDotQmail)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return vpopmail.ParseAliasLines(b), err
}

// takeDots removes what run wrote. The addresses of a domain that stays because
// its accounts are in use stay too.
func (u *undoing) takeDots(ctx context.Context, whole, off bool) error {
	var forget []state.Record
	stay := 0
	for _, d := range u.dots {
		name, domain, _ := strings.Cut(d.addr, "@")
		switch {
		case d.home && u.stay[name] != nil, !d.home && u.some:
			continue
		case !d.home && u.made.Made && !whole:
			stay++
			continue
		case d.gone:
		case whole, off && domain != u.domain: // goes with its domain
			u.late = append(u.late, state.Record{Key: d.key})
			continue
		case d.home:
			if err := u.removeDot(ctx, &d); err != nil {
				return err
			}
		default:
			if _, err := u.t.Store.RemoveAlias(ctx, d.addr); err != nil && !errors.Is(err, vpopmail.ErrNoDomain) {
				return err
			}
		}
		forget = append(forget, state.Record{Key: d.key})
	}
	for rec := range u.t.records.All() {
		if strings.HasPrefix(rec.Key, catchAllKey(u.domain, "")) && whole {
			forget = append(forget, state.Record{Key: rec.Key}) // goes with its domain
		}
	}
	if stay > 0 {
		u.report("undo.aliases-stay", u.domain, fmt.Errorf("%d addresses stay with their domain", stay))
	}
	if len(forget) == 0 {
		return nil
	}
	return u.t.records.Append(forget...)
}

func (u *undoing) removeDot(ctx context.Context, d *dot) error {
	home, err := u.t.openHome(ctx, d.addr)
	if err != nil || home == nil {
		return err
	}
	defer home.Close()
	if d.text {
		return removeReply(home)
	}
	if err := home.Remove(dotQmail); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return home.Sync()
}

// findSeparate finds the domains of addresses that run made. One that is in
// use holds the users' domain, which its addresses lead to.
func (u *undoing) findSeparate(ctx context.Context) error {
	for rec := range u.t.records.All() {
		if !strings.HasPrefix(rec.Key, separateKey(u.domain, "")) {
			continue
		}
		var r record
		if _, err := u.t.records.Load(rec.Key, &r); err != nil {
			return err
		}
		if r.Made {
			u.separate = append(u.separate, r)
		}
	}
	for i := range u.separate {
		r := &u.separate[i]
		d, err := u.t.Store.Domain(ctx, r.Domain)
		if errors.Is(err, vpopmail.ErrNoDomain) && r.Intent && !u.c.dryRun {
			// So that all of it stands in vpopmail's own files.
			if _, err = u.t.Store.PrepareDomain(ctx, vpopmail.DomainSpec{Name: r.Domain}); err == nil {
				d, err = u.t.Store.Domain(ctx, r.Domain)
			}
		}
		if errors.Is(err, vpopmail.ErrNoDomain) {
			continue
		}
		if err != nil {
			return err
		}
		r.Dir = []byte(d.Dir)
		if err := u.unusedSeparate(ctx, r); err != nil {
			if ctx.Err() != nil {
				return err
			}
			u.report("undo.domain-stays", d.Dir, fmt.Errorf("domain %s stays: %w", r.Domain, err))
			u.used = true
		}
	}
	return nil
}

// unusedSeparate says why a domain of addresses is in use.
func (u *undoing) unusedSeparate(ctx context.Context, r *record) error {
	for user, err := range u.t.Store.Users(ctx, r.Domain) {
		switch {
		case err != nil:
			return err
		case user.Name != "postmaster":
			return fmt.Errorf("it has an account %s", user.Name)
		case r.User != nil && user != *r.User.user():
			return errors.New("its postmaster was changed")
		}
	}
	dir := string(r.Dir)
	return u.strange(dir, func(p string) bool { return separateFile(p) || u.written[dir+"/"+p] })
}

// separateFile names the files of a domain that has nothing but a postmaster.
func separateFile(p string) bool {
	rest, ok := strings.CutPrefix(p, "postmaster/")
	return domainFile(p) || ok && accountFile(rest)
}

// takeSeparate removes the domains of addresses, which qmail knows no more.
func (u *undoing) takeSeparate(ctx context.Context, whole bool) error {
	for _, r := range u.separate {
		var users []vpopmail.User
		for user, err := range u.t.Store.Users(ctx, r.Domain) {
			if errors.Is(err, vpopmail.ErrNoDomain) {
				break
			}
			if err != nil {
				return err
			}
			users = append(users, user)
		}
		if _, err := u.t.Store.RemoveUsers(ctx, r.Domain, users); err != nil && !errors.Is(err, vpopmail.ErrNoDomain) {
			return err
		}
		if len(r.Dir) > 0 {
			dir := string(r.Dir)
			if err := u.takeDown(dir, func(p string) bool { return separateFile(p) || u.written[dir+"/"+p] }); err != nil {
				return err
			}
		}
		if err := u.t.Store.ForgetDomain(ctx, r.Domain); err != nil {
			return err
		}
		if err := u.t.records.Append(state.Record{Key: separateKey(u.domain, r.Domain)}); err != nil {
			return err
		}
	}
	if whole || len(u.late) == 0 {
		return nil
	}
	return u.t.records.Append(u.late...)
}
