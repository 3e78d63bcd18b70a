//go:build unix

package vpopmail

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/internal/cdbfile"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// fileRecords are the records of a domain in vpasswd, under .vpasswd.lock.
type fileRecords struct {
	s      *Store
	d      *Domain
	dir    *safefs.Dir
	own    safefs.Owner
	unlock func()

	v       *Vpasswd
	index   map[string]int  // lines of v
	added   map[string]User // not in v yet
	gone    map[int]bool    // lines of v to take out
	dirty   bool
	counter *DirControl
	used    int
}

// Edit takes vpopmail's lock and finishes or takes back what a change left
// that was cut short.
func (b files) Edit(ctx context.Context, d *Domain) (Records, error) {
	dir, err := b.s.openDomain(d)
	if err != nil {
		return nil, err
	}
	r := &fileRecords{s: b.s, d: d, dir: dir, own: b.s.owner(d.UID, d.GID), added: map[string]User{}, gone: map[int]bool{}}
	r.unlock, err = b.s.lock(ctx, dir, ".vpasswd.lock", r.own)
	if err != nil {
		dir.Close()
		return nil, err
	}
	loaded := false
	defer func() {
		if !loaded {
			r.Close()
		}
	}()
	if err := r.load(); err != nil {
		return nil, err
	}
	loaded = true
	return r, nil
}

func (r *fileRecords) load() error {
	if err := r.recover(); err != nil {
		return err
	}
	b, _, err := readFile(r.dir, "vpasswd")
	if err != nil {
		return err
	}
	r.v = ParseVpasswd(b)
	r.index = r.v.index()
	return nil
}

// Close lets go of the lock.
func (r *fileRecords) Close() error {
	r.unlock()
	return r.dir.Close()
}

// Get looks in what was put, then in the file. A line that is no account has a
// name all the same, and nobody else may take that.
func (r *fileRecords) Get(name string) (User, bool) {
	if u, ok := r.added[name]; ok {
		return u, true
	}
	i, ok := r.index[name]
	if !ok || r.gone[i] {
		return User{}, false
	}
	u, err := ParseLine(bytes.TrimSuffix(r.v.lines[i], []byte("\n")))
	if err != nil {
		return User{Name: name}, true
	}
	return u, true
}

// Put edits the line of a user in its place, or keeps a new one for Commit.
func (r *fileRecords) Put(u User) error {
	line := u.AppendLine(nil, r.s.p.ClearPasswords)
	if len(line) > r.s.p.LineBuffer {
		return &Error{Domain: r.d.Name, User: u.Name, Field: "line",
			Err: fmt.Errorf("%w: the vpasswd line has %d bytes, vpopmail reads %d", ErrTooLong, len(line), r.s.p.LineBuffer)}
	}
	r.dirty = true
	if i, ok := r.index[u.Name]; ok && !r.gone[i] {
		r.v.set(i, line)
		return nil
	}
	r.added[u.Name] = u
	return nil
}

// Remove takes a line out.
func (r *fileRecords) Remove(name string) bool {
	if _, ok := r.added[name]; ok {
		delete(r.added, name)
		return true
	}
	i, ok := r.index[name]
	if !ok || r.gone[i] {
		return false
	}
	r.gone[i], r.dirty = true, true
	return true
}

// Counter reads .dir-control and .dir_control_free.
func (r *fileRecords) Counter() (DirControl, []string, error) {
	c := NewDirControl()
	b, ok, err := readFile(r.dir, ".dir-control")
	if err != nil {
		return c, nil, err
	}
	if ok {
		if c, err = ParseDirControl(b); err != nil {
			return c, nil, fmt.Errorf("%s/.dir-control: %w", r.d.Dir, err)
		}
	}
	b, _, err = readFile(r.dir, ".dir_control_free")
	return c, freeDirs(b), err
}

// freeDirs reads .dir_control_free: a directory a line, comments from '#' on,
// blank lines. A line that leads elsewhere is passed over.
func freeDirs(b []byte) (free []string) {
	for _, l := range strings.Split(string(b), "\n") {
		if d := freeDir(l); d != "" {
			free = append(free, d)
		}
	}
	return free
}

func freeDir(l string) string {
	l, _, _ = strings.Cut(l, "#")
	l = strings.Trim(l, " \t\r")
	if !plainPath(l) || strings.ContainsAny(l, ":\n") {
		return ""
	}
	return l
}

// SetCounter is carried out by Commit.
func (r *fileRecords) SetCounter(c DirControl, used int) {
	r.counter, r.used = &c, used
}

const (
	tempVpasswd = tempPrefix + "_vpasswd"
	tempCDB     = tempPrefix + "_cdb"
	tempSide    = tempPrefix + "_side"
	tempIntent  = tempPrefix + "_change"
	tempAfter   = tempPrefix + "_after"
	tempFree    = tempPrefix + "_free"
)

// Commit writes vpasswd and vpasswd.cdb anew, once for any number of changes:
// the note, the directories, both files beside the old ones, the counter, one
// sync for all of it, two renames, the directory's sync. When a step fails,
// what was done is taken back as far as that works; the next change does the
// same after a crash.
func (r *fileRecords) Commit(ctx context.Context, steps CommitSteps) error {
	if !r.dirty && len(steps.Made) == 0 {
		return nil
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	var lines [][]byte
	for _, u := range r.added {
		lines = append(lines, append(u.AppendLine(nil, r.s.p.ClearPasswords), '\n'))
	}
	slices.SortFunc(lines, func(a, b []byte) int { return bytes.Compare(nameOf(a), nameOf(b)) })
	if len(r.gone) > 0 {
		r.v.remove(r.gone)
	}
	r.v.insert(lines)
	err := r.commit(ctx, steps)
	if err != nil {
		return errors.Join(err, r.recover())
	}
	return nil
}

func (r *fileRecords) commit(ctx context.Context, steps CommitSteps) error {
	side, unlock, err := r.sideFiles(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	sum := sha256.Sum256(r.v.Bytes())
	note := intent{Version: 1, After: hex.EncodeToString(sum[:]), Side: side}
	for _, m := range steps.Made {
		note.Users = append(note.Users, madeNote{text(m.Name), text(m.Dir)})
	}
	b, err := noteBytes(&note)
	if err != nil {
		return err
	}
	if err := r.dir.WriteFile(intentName, safefs.Replacement{Mode: 0o600, Owner: r.own, Temp: tempIntent}, b); err != nil {
		return err
	}
	if steps.Build != nil {
		if err := steps.Build(r.dir); err != nil {
			return err
		}
	}
	if err := r.stage(); err != nil {
		return err
	}
	for _, f := range side {
		if err := r.writeSide(f.Name, &f.After, true); err != nil {
			return err
		}
	}
	if err := syncMade(r.dir, steps.Made, tempVpasswd, tempCDB); err != nil {
		return err
	}
	if err := r.dir.Rename(tempVpasswd, r.dir, "vpasswd"); err != nil {
		return err
	}
	if err := r.dir.Rename(tempCDB, r.dir, "vpasswd.cdb"); err != nil {
		return err
	}
	if err := r.dir.Sync(); err != nil {
		return err
	}
	return r.dir.Remove(intentName)
}

// sideFiles says how the counter and the free directories change, and locks
// the latter as vpopmail does.
func (r *fileRecords) sideFiles(ctx context.Context) (side []sideFile, unlock func(), err error) {
	unlock = func() {}
	if r.counter == nil {
		return nil, unlock, nil
	}
	old, ok, err := readFile(r.dir, ".dir-control")
	if err != nil {
		return nil, nil, err
	}
	side = append(side, sideOf(".dir-control", old, ok, r.counter.Bytes()))
	if r.used == 0 {
		return side, unlock, nil
	}
	unlock, err = r.s.lock(ctx, r.dir, ".dir_control_free.lock", safefs.Keep)
	if err != nil {
		return nil, nil, err
	}
	free, err := takeFree(r.dir, r.used)
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return append(side, free), unlock, nil
}

func sideOf(name string, before []byte, had bool, after []byte) sideFile {
	f := sideFile{Name: text(name), After: text(after)}
	if had {
		b := text(before)
		f.Before = &b
	}
	return f
}

// writeSide puts a side file in place, or takes it away where to is nil.
// vpopmail leaves the counter to the domain's owner, the free directories to
// root.
func (r *fileRecords) writeSide(name text, to *text, undurable bool) error {
	if to == nil {
		err := r.dir.Remove(string(name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	rep := safefs.Replacement{Mode: 0o600, Owner: r.own, Temp: tempSide, Undurable: undurable}
	if name == ".dir_control_free" {
		rep.Mode, rep.Owner = 0o644, safefs.Keep
	}
	return r.dir.WriteFile(string(name), rep, []byte(*to))
}

// stage writes both files beside the old ones.
func (r *fileRecords) stage() error {
	err := r.stageFile(tempVpasswd, func(f *safefs.File) error {
		w := bufio.NewWriterSize(f, 256<<10)
		if _, err := r.v.WriteTo(w); err != nil {
			return err
		}
		return w.Flush()
	})
	if err != nil {
		return err
	}
	return r.stageFile(tempCDB, func(f *safefs.File) error { return writeCDB(f, r.v) })
}

// stageFile makes a new file of the domain's owner, 0600: vpopmail's other
// tools leave vpasswd readable to all, and it holds passwords.
func (r *fileRecords) stageFile(name string, write func(f *safefs.File) error) error {
	f, err := r.dir.Create(name, 0o600, r.own)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Abandon()
		return err
	}
	return f.Close()
}

// writeCDB makes vpasswd.cdb as make_vpasswd_cdb does (vcdb.c), except that a
// line longer than its buffer stays one record.
func writeCDB(w io.WriterAt, v *Vpasswd) error {
	c := cdbfile.NewWriter(w)
	for key, data := range v.records() {
		if err := c.Add(key, data); err != nil {
			return err
		}
	}
	return c.Finish()
}

// memFile is an io.WriterAt in memory.
type memFile struct{ b []byte }

func (m *memFile) WriteAt(p []byte, off int64) (int, error) {
	if end := int(off) + len(p); end > len(m.b) {
		m.b = append(m.b, make([]byte, end-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}
