package main

import (
	"context"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/examples/internal/vpoptarget"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// A target is the new host, and what is remembered of it.
type target struct {
	*vpoptarget.Target
	records  *state.Store
	mark     string // of the locks that a run takes on the old host
	problems []qmailkit.Problem
	hook     safefs.Hook // makes single steps in users' directories fail, for tests
}

// record is what was stored for an account, or made of a domain, the last time.
type record struct {
	Domain  string            `json:"domain"`
	User    *storedUser       `json:"user,omitempty"`
	Changes []vpopmail.Change `json:"changes,omitempty"`
	// Made says that run made it; an account that was there already is not
	// undone.
	Made bool `json:"made"`
	// Intent says that it was about to be made when this was written, with
	// Hash as its password; an empty Hash is any.
	Intent bool   `json:"intent,omitempty"`
	Hash   []byte `json:"hash,omitempty"`
	// Subscribed are the folders of an account that run has subscribed; one
	// that its owner has unsubscribed since is not subscribed again.
	Subscribed []string `json:"subscribed,omitempty"`
	// Dir is a domain's directory, as text.
	Dir []byte `json:"dir,omitempty"`
}

// storedUser is vpopmail.User with its secrets in clear: the state directory
// is its owner's only.
type storedUser struct {
	Name, Hash, Gecos, Dir, Quota, Clear []byte
	UID                                  int
	Flags                                uint32
}

func store(u vpopmail.User) *storedUser {
	return &storedUser{[]byte(u.Name), []byte(string(u.Hash)), []byte(u.Gecos), []byte(u.Dir), []byte(u.Quota), []byte(string(u.Clear)), u.UID, uint32(u.Flags)}
}

func (s *storedUser) user() *vpopmail.User {
	return &vpopmail.User{
		Name: string(s.Name), Hash: qmailkit.Secret(s.Hash), UID: s.UID, Flags: vpopmail.Flags(s.Flags),
		Gecos: string(s.Gecos), Dir: string(s.Dir), Quota: string(s.Quota), Clear: qmailkit.Secret(s.Clear),
	}
}

func userKey(domain, name string) string { return "user " + name + "@" + domain }
func domainKey(domain string) string     { return "domain " + domain }

// openTarget opens the new host. With write it takes the locks of a run.
func (c *config) openTarget(ctx context.Context, write bool) (t *target, err error) {
	t = &target{hook: c.hook}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	t.Target, err = c.target.Open(ctx, vpoptarget.Options{Program: program, Write: write, Alone: true, Now: c.now})
	if err != nil {
		return t, err
	}
	t.mark = " " + program + " " + t.ID
	memory, err := t.Memory()
	if err != nil {
		return t, err
	}
	if t.records, err = memory.Store("records"); err != nil {
		return t, err
	}
	t.problems = t.records.Problems()
	return t, nil
}

// base is what was stored for an account the last time, or nil.
func (t *target) base(domain, name string) (*vpopmail.User, error) {
	var r record
	ok, err := t.records.Load(userKey(domain, name), &r)
	if err != nil || !ok || r.User == nil {
		return nil, err
	}
	return r.User.user(), nil
}

func (t *target) close() {
	if t.Target != nil {
		t.Close()
	}
}
