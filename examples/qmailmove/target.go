//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A target is the new host, locked for one run, and what is remembered of it.
type target struct {
	owner safefs.Owner
	lock  *safefs.Dir
	state *state.Dir
	mem   *state.Target
	files *state.Store // what was brought beside the messages

	mu      sync.Mutex
	pending []state.Record // of files
}

// openMemory opens the state of a target: any name of it that stays the same.
func (c *config) openMemory(id string, write bool) (*state.Dir, *state.Target, error) {
	dir := c.state
	var err error
	if dir == "" {
		if dir, err = state.DefaultDir(); err != nil {
			return nil, nil, err
		}
	}
	d, err := state.Open(dir, &state.Options{ReadOnly: !write, Now: c.now})
	if err != nil {
		return nil, nil, err
	}
	t, err := d.Target(program + " " + id)
	if err == nil && write {
		err = t.Lock()
	}
	if errors.Is(err, safefs.ErrLocked) {
		err = fmt.Errorf("another run is at work: %w", err)
	}
	if err != nil {
		if t != nil {
			t.Close()
		}
		d.Close()
		return nil, nil, err
	}
	return d, t, nil
}

// open locks the target and opens what is remembered.
func (m *move) open(write bool) (t *target, err error) {
	t = &target{}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if write {
		if t.lock, err = safefs.OpenDir(m.dst.root, ".", nil); err != nil {
			return t, err
		}
		if err = t.lock.TryLock(); err != nil {
			return t, fmt.Errorf("another run is at work: %w", err)
		}
		if t.owner, err = m.c.mailOwner(m.dst); err != nil {
			return t, err
		}
	}
	if t.state, t.mem, err = m.c.openMemory(m.dst.name, write); err != nil {
		return t, err
	}
	if t.files, err = t.mem.Store("files"); err != nil {
		return t, err
	}
	if err := m.sameFolders(t, write); err != nil {
		return t, err
	}
	return t, m.afterDrain(t, write)
}

// afterDrain keeps all that was copied once drain has been done: the old host is
// no longer used then, and what vanishes there was hardly deleted by its owner.
func (m *move) afterDrain(t *target, write bool) error {
	var done time.Time
	drained, err := t.files.Load(drainedKey(m.domain), &done)
	if m.keepDeleted = m.c.keepDeleted || drained && !m.c.followDeleted; write && m.keepDeleted && !m.c.keepDeleted {
		m.problem(qmailkit.Problem{Code: "source.drained", Severity: qmailkit.Info, Path: m.domain,
			Err: fmt.Errorf("drain was done at %s: what has been deleted at the source since it was copied stays at the target", done.Format(time.RFC3339)),
			Fix: "-follow-deleted takes it away"})
	}
	return err
}

// drainedKey is where a drain that is done is noted.
func drainedKey(domain string) string { return "drained " + domain }

// sameFolders refuses to go on with folder names of the other encoding: each
// folder would be there under both names.
func (m *move) sameFolders(t *target, write bool) error {
	key := "utf8-folders " + m.domain
	var was bool
	known, err := t.files.Load(key, &was)
	switch {
	case err != nil:
		return err
	case known && was && !m.c.utf8:
		return cli.Usagef("-utf8-folders is missing: the copies of %s before this one were made with it", m.domain)
	case known && !was && m.c.utf8:
		return cli.Usagef("-utf8-folders: the copies of %s before this one were made without it", m.domain)
	case known || !write:
		return nil
	}
	return t.files.Append(state.Record{Key: key, Value: []byte(fmt.Sprint(m.c.utf8))})
}

func (t *target) close() error {
	var errs []error
	if t.mem != nil {
		errs = append(errs, t.mem.Close())
	}
	if t.state != nil {
		errs = append(errs, t.state.Close())
	}
	if t.lock != nil {
		errs = append(errs, t.lock.Close())
	}
	return errors.Join(errs...)
}

// pendingMost is how many records of files wait for one sync. Those that a
// killed run loses are made again by comparing.
const pendingMost = 200

// remember notes what was brought.
func (t *target) remember(recs ...state.Record) error {
	t.mu.Lock()
	t.pending = append(t.pending, recs...)
	full := len(t.pending) >= pendingMost
	t.mu.Unlock()
	if full {
		return t.flush()
	}
	return nil
}

func (t *target) flush() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.files.Append(t.pending...)
	t.pending = nil
	return err
}

// dir opens a directory at the target and makes what is missing of it, with the
// owner and mode that a mailbox of Plesk has. Made names are on the disk.
func (t *target) dir(root *os.Root, path string) (*safefs.Dir, error) {
	d, err := safefs.OpenDir(root, ".", nil)
	if err != nil || path == "." {
		return d, err
	}
	for part := range strings.SplitSeq(path, "/") {
		sub, made, err := d.Mkdir(part, 0o700, t.owner)
		switch {
		case err == nil && made:
			err = d.Sync()
		case err == nil:
			err = t.adopt(sub)
		}
		d.Close()
		if err != nil {
			if sub != nil {
				sub.Close()
			}
			return nil, err
		}
		d = sub
	}
	return d, nil
}

// adopt gives a directory its owner where a run was killed between its making
// and that: it is empty then, and still whoever's who ran the program.
func (t *target) adopt(d *safefs.Dir) error {
	fi, err := d.Lstat(".")
	if err != nil || t.owner == safefs.Keep || fi.UID != os.Geteuid() || fi.UID == t.owner.UID {
		return err
	}
	for _, err := range d.Entries(context.Background()) {
		return err // not empty: somebody else's
	}
	return d.Own(0o700, t.owner)
}

// missing says whether an error is that of a file that is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
