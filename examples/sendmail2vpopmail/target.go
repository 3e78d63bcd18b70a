package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// A target is the new host, and what is remembered of it.
type target struct {
	home, qmail *os.Root
	lock        *safefs.Dir
	store       *vpopmail.Store
	state       *state.Dir
	memory      *state.Target
	records     *state.Store
	mark        string // of the locks that a run takes on the old host
	problems    []qmailkit.Problem
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

// detect finds out what the target's installation is.
func (c *config) detect(home, qmail *os.Root) (vpopmail.Profile, error) {
	d, err := vpopmail.DetectProfile(home, qmail)
	if err != nil {
		return vpopmail.Profile{}, err
	}
	p := d.Profile
	switch c.profile {
	case "5.4":
		p = vpopmail.DefaultProfile54()
	case "5.6":
		p = vpopmail.DefaultProfile56()
	}
	switch {
	case c.homePath != "":
		p.Home = c.homePath
	case slices.ContainsFunc(d.Told, func(s string) bool { return strings.HasPrefix(s, "home:") }):
		p.Home = d.Profile.Home
	default:
		if p.Home, err = filepath.Abs(c.home); err != nil {
			return p, err
		}
	}
	return p, nil
}

// openTarget opens the new host. With write it takes the locks of a run.
func (c *config) openTarget(write bool) (t *target, err error) {
	t = &target{}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if t.home, err = os.OpenRoot(c.home); err != nil {
		return t, fmt.Errorf("vpopmail's home: %w", err)
	}
	if t.qmail, err = os.OpenRoot(c.qmail); err != nil {
		return t, fmt.Errorf("qmail's directory: %w", err)
	}
	// Better now than when all the mail is there.
	if _, err = t.qmail.Stat("control"); err != nil {
		return t, fmt.Errorf("qmail's directory: %w", err)
	}
	if write {
		if t.lock, err = safefs.OpenDir(t.home, ".", nil); err != nil {
			return t, err
		}
		if err = t.lock.TryLock(); err != nil {
			return t, fmt.Errorf("another run is at work: %w", err)
		}
	}
	p, err := c.detect(t.home, t.qmail)
	if err != nil {
		return t, err
	}
	if err = t.openState(c, write); err != nil {
		return t, err
	}
	t.store, err = vpopmail.Open(t.home, t.qmail, &vpopmail.Options{Profile: &p, Backup: t.backup})
	return t, err
}

func (t *target) openState(c *config, write bool) (err error) {
	dir := c.stateDir
	if dir == "" {
		if dir, err = state.DefaultDir(); err != nil {
			return err
		}
	}
	if t.state, err = state.Open(dir, &state.Options{ReadOnly: !write, Now: c.now}); err != nil {
		return err
	}
	id, err := filepath.Abs(c.home)
	if err != nil {
		return err
	}
	t.mark = " sendmail2vpopmail " + id
	if t.memory, err = t.state.Target("sendmail2vpopmail " + id); err != nil {
		return err
	}
	if write {
		if err = t.memory.Lock(); err != nil {
			return err
		}
	}
	if t.records, err = t.memory.Store("records"); err != nil {
		return err
	}
	t.problems = t.records.Problems()
	return nil
}

// backup keeps a file of qmail that is about to be replaced.
func (t *target) backup(name string, old []byte) error {
	o := state.Original{Path: name, Mode: 0o644}
	if fi, err := t.qmail.Lstat(name); err == nil {
		o.Mode = fi.Mode().Perm()
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			o.UID, o.GID = int(st.Uid), int(st.Gid)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err := t.memory.Backup(o, old)
	return err
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
	if t.memory != nil {
		t.memory.Close()
	}
	if t.state != nil {
		t.state.Close()
	}
	if t.lock != nil {
		t.lock.Close()
	}
	for _, r := range []*os.Root{t.home, t.qmail} {
		if r != nil {
			r.Close()
		}
	}
}

// hup sends HUP to qmail-send, if the command line names its process.
func (c *config) hupFunc() (func(context.Context) error, error) {
	pid, err := c.hupPID()
	if pid == 0 || err != nil {
		return nil, err
	}
	return func(context.Context) error {
		p, err := os.FindProcess(pid)
		if err == nil {
			err = p.Signal(syscall.SIGHUP)
		}
		if err != nil {
			return fmt.Errorf("HUP to qmail-send, process %d: %w", pid, err)
		}
		return nil
	}, nil
}
