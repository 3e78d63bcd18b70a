//go:build unix

package vpoptarget

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// Options say how a program works on the installation.
type Options struct {
	Program string // whose state it is
	Write   bool   // else nothing is changed or made, not even a state directory
	// Alone lets one run at a time work: vpopmail's home is locked, and the
	// state for as long as the Target is open. Without it programs run beside
	// each other as vpopmail's own do, and the state is opened and locked when
	// the first file is about to be replaced.
	Alone bool
	Now   func() time.Time // for the state; nil is time.Now
	// OnChange is vpopmail.Options.OnChange.
	OnChange func(ctx context.Context, argv []string) error
}

// A Target is an open installation.
type Target struct {
	Home, Qmail *os.Root
	Store       *vpopmail.Store
	ID          string // vpopmail's home, absolute: what state goes by

	flags  *Flags
	opts   Options
	lock   *safefs.Dir
	state  *state.Dir
	memory *state.Target
	mounts []vpopmail.Mount
	db     *sql.DB
	clear  *bool // what a database told As of clear passwords
}

// stateWait is how long another program's use of the state is waited for, as
// long as vpopmail waits for a lock.
const stateWait = 20 * time.Second

// Open opens the installation. The caller closes it.
func (f *Flags) Open(ctx context.Context, o Options) (t *Target, err error) {
	t = &Target{flags: f, opts: o}
	defer func() {
		if err != nil {
			t.Close()
			t = nil
		}
	}()
	if t.ID, err = filepath.Abs(f.Home); err != nil {
		return t, err
	}
	if err = t.openDirs(); err != nil {
		return t, err
	}
	if o.Alone {
		if err = t.lockHome(); err == nil {
			_, err = t.Memory()
		}
		if err != nil {
			return t, err
		}
	}
	d, err := f.detect(t.Home, t.Qmail)
	if err != nil {
		return t, err
	}
	if t.db, err = f.sql.connect(ctx, t.Home, d); err != nil {
		return t, err
	}
	if err = t.mountDomains(ctx, &d.Profile); err != nil {
		return t, err
	}
	vo := t.options(d)
	if t.db != nil {
		vo.Backend = vpopmail.NewSQL(t.db, nil)
	}
	if err = f.configure(&d.Profile); err != nil {
		return t, err
	}
	t.Store, err = vpopmail.Open(t.Home, t.Qmail, vo)
	return t, err
}

// options are those of vpopmail.Open for the file form.
func (t *Target) options(d *vpopmail.Detection) *vpopmail.Options {
	return &vpopmail.Options{Profile: &d.Profile, Backup: t.backup, Mounts: t.mounts, OnChange: t.opts.OnChange}
}

// inPlace says whether this is the host that the files speak of: vpopmail's home
// has the path by which they name it.
func (t *Target) inPlace(p *vpopmail.Profile) bool { return p.Home == t.ID }

// mountDomains opens the places of domains outside vpopmail's home (vadddomain
// -d, -u), as users/assign names them, on the host itself. One that cannot be
// opened is told when it is needed.
func (t *Target) mountDomains(ctx context.Context, p *vpopmail.Profile) error {
	if !t.inPlace(p) {
		return nil
	}
	s, err := vpopmail.Open(t.Home, t.Qmail, &vpopmail.Options{Profile: p})
	if err != nil {
		return err
	}
	for d, err := range s.Domains(ctx) {
		if err != nil {
			return err
		}
		i := strings.LastIndex(d.Dir, "/"+p.DomainsDir+"/")
		if i <= 0 || t.covered(p, d.Dir) {
			continue
		}
		if r, err := os.OpenRoot(d.Dir[:i]); err == nil {
			t.mounts = append(t.mounts, vpopmail.Mount{Path: d.Dir[:i], Root: r})
		}
	}
	return nil
}

// covered says whether a path lies where something is open.
func (t *Target) covered(p *vpopmail.Profile, path string) bool {
	below := func(top string) bool { return path == top || strings.HasPrefix(path, top+"/") }
	return below(p.Home) || slices.ContainsFunc(t.mounts, func(m vpopmail.Mount) bool { return below(m.Path) })
}

// Mount opens a directory outside vpopmail's home, if this is the host itself
// and it is not open yet. The Store is another afterwards.
func (t *Target) Mount(path string) error {
	p := t.Store.Profile()
	path = filepath.Clean(path)
	if !filepath.IsAbs(path) || !t.inPlace(&p) || t.covered(&p, path) {
		return nil
	}
	r, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	t.mounts = append(t.mounts, vpopmail.Mount{Path: path, Root: r})
	vo := t.options(&vpopmail.Detection{Profile: p})
	if t.db != nil {
		vo.Backend = vpopmail.NewSQL(t.db, nil)
	}
	t.Store, err = vpopmail.Open(t.Home, t.Qmail, vo)
	return err
}

func (t *Target) openDirs() (err error) {
	if t.Home, err = os.OpenRoot(t.flags.Home); err != nil {
		return fmt.Errorf("vpopmail's home: %w", err)
	}
	if t.Qmail, err = os.OpenRoot(t.flags.Qmail); err != nil {
		return fmt.Errorf("qmail's directory: %w", err)
	}
	// Better now than when half the work is done.
	if _, err = t.Qmail.Stat("control"); err != nil {
		return fmt.Errorf("qmail's directory: %w", err)
	}
	t.mounts, err = t.flags.openMounts()
	return err
}

func (t *Target) lockHome() (err error) {
	if !t.opts.Write {
		return nil
	}
	if t.lock, err = safefs.OpenDir(t.Home, ".", nil); err != nil {
		return err
	}
	if err = t.lock.TryLock(); err != nil {
		err = fmt.Errorf("another run is at work: %w", err)
	}
	return err
}

// Memory is the state that concerns this installation, opened at the first
// call and locked if this is a Target to write.
func (t *Target) Memory() (*state.Target, error) {
	if t.memory != nil {
		return t.memory, nil
	}
	dir := t.flags.State
	var err error
	if dir == "" {
		if dir, err = state.DefaultDir(); err != nil {
			return nil, err
		}
	}
	if t.state == nil {
		if t.state, err = state.Open(dir, &state.Options{ReadOnly: !t.opts.Write, Now: t.opts.Now}); err != nil {
			return nil, err
		}
	}
	m, err := t.state.Target(t.opts.Program + " " + t.ID)
	if err != nil {
		return nil, err
	}
	if t.opts.Write {
		if err := t.lockState(m); err != nil {
			m.Close()
			return nil, err
		}
	}
	t.memory = m
	return m, nil
}

func (t *Target) lockState(m *state.Target) error {
	for end := time.Now().Add(stateWait); ; time.Sleep(50 * time.Millisecond) {
		err := m.Lock()
		if t.opts.Alone || !errors.Is(err, safefs.ErrLocked) || time.Now().After(end) {
			return err
		}
	}
}

// backup keeps a file of qmail that is about to be replaced. A program that
// does not work alone gives the state back at once, so that others need not
// wait for it.
func (t *Target) backup(name string, old []byte) error {
	o := state.Original{Path: name, Mode: 0o644}
	if fi, err := t.Qmail.Lstat(name); err == nil {
		o.Mode = fi.Mode().Perm()
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			o.UID, o.GID = int(st.Uid), int(st.Gid)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m, err := t.Memory()
	if err != nil {
		return fmt.Errorf("the file that is to be replaced cannot be kept (-state): %w", err)
	}
	_, err = m.Backup(o, old)
	if !t.opts.Alone {
		t.memory = nil
		err = errors.Join(err, m.Close())
	}
	return err
}

// Close gives all of it back.
func (t *Target) Close() error {
	var errs []error
	if t.memory != nil {
		errs = append(errs, t.memory.Close())
	}
	if t.state != nil {
		errs = append(errs, t.state.Close())
	}
	if t.lock != nil {
		errs = append(errs, t.lock.Close())
	}
	if t.db != nil {
		errs = append(errs, t.db.Close())
	}
	for _, m := range t.mounts {
		errs = append(errs, m.Root.Close())
	}
	for _, r := range []*os.Root{t.Home, t.Qmail} {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	return errors.Join(errs...)
}

// Plan finds out what a run would find, where vpopmail or qmail need not be
// there yet. There is false for an installation that is missing.
func (f *Flags) Plan(ctx context.Context) (p vpopmail.Profile, there bool, err error) {
	home, err := openIfThere(f.Home)
	if err != nil {
		return p, false, err
	}
	if home != nil {
		defer home.Close()
	}
	qmail, err := openIfThere(f.Qmail)
	if err != nil {
		return p, false, err
	}
	if qmail != nil {
		defer qmail.Close()
	}
	if home != nil && qmail != nil {
		d, err := f.detect(home, qmail)
		if err != nil {
			return p, false, err
		}
		db, err := f.sql.connect(ctx, home, d)
		if db != nil {
			err = errors.Join(err, db.Close())
		}
		if err == nil {
			err = f.configure(&d.Profile)
		}
		return d.Profile, true, err
	}
	p, err = f.DefaultProfile()
	return p, false, err
}

// Database says whether the accounts are in a database.
func (t *Target) Database() bool { return t.db != nil }

// As opens the same installation with one of the backends, Files or SQL,
// whatever the flags say. New vpasswd files have clear passwords if the
// database has them.
func (t *Target) As(ctx context.Context, backend string) (*vpopmail.Store, error) {
	f := *t.flags
	f.sql.backend = backend
	d, err := f.detect(t.Home, t.Qmail)
	if err != nil {
		return nil, err
	}
	vo := t.options(d)
	switch {
	case backend == Files:
		if t.clear != nil && !told(d, "clear passwords") {
			d.Profile.ClearPasswords = *t.clear
		}
	case t.db == nil:
		t.db, err = f.sql.connect(ctx, t.Home, d)
	default:
		err = f.sql.learn(ctx, t.db, d)
	}
	if err == nil {
		err = f.configure(&d.Profile)
	}
	if err != nil {
		return nil, err
	}
	if backend == SQL {
		vo.Backend = vpopmail.NewSQL(t.db, nil)
		t.clear = &d.Profile.ClearPasswords
	}
	return vpopmail.Open(t.Home, t.Qmail, vo)
}
