//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/plesk"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// The files beside a Maildir: .qmail, the attachments of autoresponders, and on
// request SpamAssassin's. Each follows the source as long as nobody has changed
// it at the target.

// fileRecord is a file as it was brought.
type fileRecord struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	MTime  int64  `json:"mtime"` // at the source, in nanoseconds
	// Found: it stood here before, just as it is at the source.
	Found bool `json:"found,omitempty"`
	// Undone: undo is taking it away, so that a copy brings it again.
	Undone bool `json:"undone,omitempty"`
}

// partName is the file that one of them is written to first.
const partName = ".qmailkit-part"

// index lists what earlier passes have brought, by directory.
func (p *pass) index() {
	p.brought = map[string][]string{}
	for r := range p.t.files.All() {
		if i := strings.LastIndexByte(r.Key, '/') + 1; strings.HasPrefix(r.Key, "file ") && i > 0 {
			p.brought[r.Key[:i]] = append(p.brought[r.Key[:i]], r.Key[i:])
		}
	}
}

// A carrier brings the files of one directory.
type carrier struct {
	*pass
	key  string      // of the directory, in the state
	from string      // in the source's tree
	to   string      // at the target
	dir  *safefs.Dir // it, once it is needed
	seen map[string]bool
}

func (p *pass) carrier(from, to string) *carrier {
	return &carrier{pass: p, key: p.carrierKey(to), from: from, to: to, seen: map[string]bool{}}
}

// carrierKey begins the keys of a directory's files in the state.
func (m *move) carrierKey(to string) string {
	return "file " + strings.TrimPrefix(to, m.dst.mailnames+"/") + "/"
}

func (c *carrier) close() {
	if c.dir != nil {
		c.dir.Close()
	}
}

// open opens the target's directory, and makes it.
func (c *carrier) open() (err error) {
	if c.dir != nil {
		return nil
	}
	if c.dir, err = c.t.dir(c.dst.root, c.to); err != nil {
		return err
	}
	// A run that was killed may have left this one.
	if fi, err := c.dir.Lstat(partName); err == nil && fi.Mode.IsRegular() {
		return c.dir.Remove(partName)
	}
	return nil
}

// files brings those of a mail name.
func (p *pass) files(ctx context.Context, b *box) error {
	c := p.carrier(b.dir, p.targetDir(b))
	defer c.close()
	for e, err := range p.src.tree.ReadDir(ctx, b.dir) {
		if err != nil {
			p.lost("mailbox.unreadable", b.dir, err, readHint(err))
			return nil
		}
		switch {
		case e.Name == plesk.MaildirName || e.Name == plesk.UsageName:
		case strings.HasPrefix(e.Name, plesk.DotQmailName):
			if err := c.file(e.Name, dotQmailMode); err != nil {
				return err
			}
			p.programs(join(b.dir, e.Name))
		case e.Name == plesk.AttachmentsName, e.Name == plesk.SpamName && p.c.spam:
			if err := p.tree(ctx, join(b.dir, e.Name), join(c.to, e.Name)); err != nil {
				return err
			}
		case e.Name == plesk.SpamName:
		default:
			p.warn("mailbox.file", join(b.dir, e.Name), errors.New("is no file that Plesk keeps there, and is not carried"), "")
		}
	}
	return c.gone()
}

// tree brings a directory of files.
func (p *pass) tree(ctx context.Context, from, to string) error {
	c := p.carrier(from, to)
	defer c.close()
	for e, err := range p.src.tree.ReadDir(ctx, from) {
		if err != nil {
			p.lost("mailbox.unreadable", from, err, readHint(err))
			return nil
		}
		if err := c.file(e.Name, plainMode); err != nil {
			return err
		}
	}
	return c.gone()
}

// domainFiles brings what stands in the domain's own directory: .qmail-default,
// and the .qmail files of names that have no account, which qmail-local finds
// before it.
func (p *pass) domainFiles(ctx context.Context) error {
	c := p.carrier(p.sourceDir(), join(p.dst.mailnames, p.domain))
	defer c.close()
	for e, err := range p.src.tree.ReadDir(ctx, c.from) {
		if missing(err) {
			break
		}
		if err != nil {
			p.lost("domain.unreadable", c.from, err, "")
			return nil
		}
		if !strings.HasPrefix(e.Name, plesk.DotQmailName) {
			continue
		}
		if err := c.file(e.Name, dotQmailMode); err != nil {
			return p.unusable(c.to, err)
		}
		p.programs(join(c.from, e.Name))
	}
	if !c.seen[plesk.DefaultName] {
		p.warn("domain.no-default", join(c.from, plesk.DefaultName), errors.New("there is no "+plesk.DefaultName+": mail for unknown names is swallowed in silence"), "let Plesk repair the domain's mail at the target")
		c.seen[plesk.DefaultName] = true // the new host keeps its own
	}
	return p.unusable(c.to, c.gone())
}

// dotQmailMode leaves out the x bits, with which qmail-local forwards only and
// puts all else off, and write for others, with which it puts all off
// (dot-qmail(5)).
func dotQmailMode(m fs.FileMode) fs.FileMode { return m.Perm() &^ 0o133 }

func plainMode(m fs.FileMode) fs.FileMode { return m.Perm() &^ 0o022 }

// file brings one file, if the target's may be changed.
func (c *carrier) file(name string, mode func(fs.FileMode) fs.FileMode) error {
	path := join(c.from, name)
	c.seen[name] = true
	fi, err := c.src.tree.Lstat(path)
	if err == nil && !fi.Mode.IsRegular() {
		err = qmailkit.ErrNotPlain
		if fi.Mode.Type() == fs.ModeSymlink {
			err = qmailkit.ErrLink
		}
	}
	if missing(err) {
		return nil
	}
	if err != nil {
		c.lost("file.unreadable", path, plainErr(err), "")
		return nil
	}
	var was fileRecord
	known, err := c.t.files.Load(c.key+name, &was)
	if err != nil {
		return err
	}
	known = known && !was.Undone
	if known && was.Size == fi.Size && was.MTime == fi.ModTime.UnixNano() {
		return nil // as it was brought; what is here now is the target's doing
	}
	now := fileRecord{Size: fi.Size, MTime: fi.ModTime.UnixNano(), Found: was.Found}
	if now.SHA256, err = c.sourceSum(path); err != nil {
		c.lost("file.unreadable", path, plainErr(err), "")
		return nil
	}
	if err := c.open(); err != nil {
		return err
	}
	here, err := sumOf(c.dir, name)
	switch {
	case err != nil && !missing(err):
		c.lost("file.blocked", join(c.to, name), plainErr(err), "")
		return nil
	case err == nil && here == now.SHA256:
		now.Found = now.Found || !known && !was.Undone
	case known && was.SHA256 == now.SHA256:
	case known && err != nil:
		// It was taken away here, and stays away.
	case err == nil && here != was.SHA256:
		c.warn("file.kept", join(c.to, name), errors.New("is another one at the target than the source's, and stays"), "")
		if !known {
			return nil
		}
	default:
		ok, err := c.write(path, name, fi, mode(fi.Mode), now.SHA256)
		if err != nil || !ok {
			return err
		}
		now.Found = false
	}
	return c.note(name, &now)
}

func (c *carrier) note(name string, r *fileRecord) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return c.t.remember(state.Record{Key: c.key + name, Value: b})
}

// write copies the file; false is trouble with the source.
func (c *carrier) write(path, name string, fi qmailkit.FileInfo, mode fs.FileMode, want string) (bool, error) {
	f, err := c.src.tree.Open(path)
	if err != nil {
		c.lost("file.unreadable", path, plainErr(err), "")
		return false, nil
	}
	defer f.Close()
	var trouble error
	how := safefs.Replacement{Mode: mode, Owner: c.t.owner, Temp: partName, Time: fi.ModTime}
	err = c.dir.Replace(name, how, func(to *safefs.File) error {
		sum := sha256.New()
		src := &sourceReader{r: f}
		if _, err := io.Copy(to, io.TeeReader(src, sum)); err != nil {
			trouble = src.err
			return err
		}
		if hex.EncodeToString(sum.Sum(nil)) != want {
			trouble = errors.New("was changed while it was read")
		}
		return trouble
	})
	if trouble != nil {
		c.lost("file.unreadable", path, plainErr(trouble), "run again")
		return false, nil
	}
	if err == nil {
		c.mu.Lock()
		c.written++
		c.mu.Unlock()
	}
	return err == nil, err
}

// sourceReader tells trouble with the source from trouble with the target.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (c *carrier) sourceSum(path string) (string, error) {
	f, err := c.src.tree.Open(path)
	if err != nil {
		return "", err
	}
	return sumAll(f)
}

// sumOf is the digest of a plain file at the target.
func sumOf(dir *safefs.Dir, name string) (string, error) {
	f, err := dir.OpenPlain(name, safefs.Expect{})
	if err != nil {
		return "", err
	}
	return sumAll(f)
}

func sumAll(f io.ReadCloser) (string, error) {
	defer f.Close()
	sum := sha256.New()
	_, err := io.Copy(sum, f)
	return hex.EncodeToString(sum.Sum(nil)), err
}

// gone takes away what was brought and is no longer at the source, where it
// stands here as it was brought.
func (c *carrier) gone() error {
	if c.keepDeleted {
		return nil
	}
	for _, name := range c.brought[c.key] {
		if c.seen[name] {
			continue
		}
		var was fileRecord
		if _, err := c.t.files.Load(c.key+name, &was); err != nil {
			return err
		}
		if _, err := c.src.tree.Lstat(join(c.from, name)); !missing(err) {
			continue // it came back just now
		}
		if err := c.open(); err != nil {
			return err
		}
		here, err := sumOf(c.dir, name)
		switch {
		case missing(err):
		case err != nil || here != was.SHA256:
			c.warn("file.kept", join(c.to, name), errors.New("is gone at the source; it was changed at the target, and stays"), "")
		default:
			if err := errors.Join(c.dir.Remove(name), c.dir.Sync()); err != nil {
				return err
			}
			c.mu.Lock()
			c.written++
			c.mu.Unlock()
		}
		if err := c.t.remember(state.Record{Key: c.key + name}); err != nil {
			return err
		}
	}
	return nil
}

// maxDotQmail bounds a .qmail file that is read to be judged.
const maxDotQmail = 1 << 20

// knownPrograms are what Plesk itself writes into .qmail.
var knownPrograms = []string{"true", "/bin/true", "/usr/bin/deliverquota ./Maildir"}

// programs tells of lines in a .qmail file that need a program which the new
// host may not have, and of what qmail-local would not like.
func (m *move) programs(path string) {
	f, err := m.src.tree.Open(path)
	if err != nil {
		return // its carrying has told
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxDotQmail))
	if err != nil {
		return
	}
	q, err := qmailcontrol.ParseDotQmail(bytes.NewReader(b))
	if err != nil {
		return
	}
	for l := range q.Lines() {
		if l.Kind != qmailcontrol.DotProgram {
			continue
		}
		known := strings.HasPrefix(strings.TrimSpace(l.Target()), "bouncesaying ") // qmail's own
		for _, k := range knownPrograms {
			known = known || strings.TrimSpace(l.Target()) == k
		}
		if !known {
			m.problem(qmailkit.Problem{Code: "dotqmail.program", Severity: qmailkit.Warning, Path: path, Line: l.Line, Offset: l.Offset,
				Err: fmt.Errorf("calls a program: %q", l.Target()), Fix: "see that the new host has it, and that it works there"})
		}
	}
}
