//go:build unix

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/progress"
	"github.com/qmailkit/qmailkit/examples/internal/report"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/plesk"
)

// A proof is a verification under way.
type proof struct {
	*move
	t    *target
	r    *report.Report
	v    *report.Verification
	show *progress.Progress
}

func doVerify(ctx context.Context, c *config, env *cli.Env) error {
	started := c.now()
	m, err := c.survey(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	t, err := m.open(false)
	if err != nil {
		return err
	}
	defer t.close()
	p := &proof{move: m, t: t, r: m.newReport("verify", started), show: progress.Start(progress.Options{Out: env.Stderr})}
	p.v = &report.Verification{Method: "every message of the source is read again at both ends: SHA-256 of its bytes, its name up to the flags (the UIDL of qmail-pop3d), its time, and the UIDs and UIDLs that Courier and Dovecot have noted"}
	p.r.Verification = p.v
	p.show.Expect(int64(len(m.boxes)), 0, 0)
	for _, b := range m.boxes {
		if err = p.box(ctx, b); err != nil {
			break
		}
		p.show.Mailboxes(1)
	}
	p.show.Stop()
	if err == nil {
		p.domainFiles(ctx)
		err = p.accounts(ctx)
	}
	m.fill(p.r)
	p.r.Outcome = report.Done
	if err != nil {
		p.r.Outcome, p.r.Why = report.Stopped, err.Error()
	} else if len(p.r.NotCarried) > 0 || !p.v.Proven() {
		p.r.Outcome = report.Partial
	}
	if err := errors.Join(err, c.emit(env, p.r)); err != nil {
		return err
	}
	if !p.v.Proven() {
		return cli.Partialf("not all has arrived as it was; the report lists what is missing")
	}
	return leftBehind(p.r)
}

func (p *proof) failure(code, path string, err error) {
	p.v.Failures = append(p.v.Failures, report.FromProblem(qmailkit.Problem{Code: "verify." + code, Severity: qmailkit.Error, Path: path, Err: err}))
}

// box compares one mail name.
func (p *proof) box(ctx context.Context, b *box) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if b.there {
		p.files(ctx, b)
	}
	if !b.maildir {
		if b.m != nil && b.m.Mailbox {
			p.open(b, nil)
		}
		return nil
	}
	p.v.Mailboxes++
	failures := len(p.v.Failures)
	h := &holding{proof: p, b: b, places: map[string]maildir.Entry{}}
	d := p.open(b, h)
	if d == nil {
		h.count = func() { p.v.Missing++ }
	} else {
		defer d.Close()
		if err := h.read(ctx, d); err != nil {
			return err
		}
		if h.hist != nil {
			defer h.hist.Close()
		}
	}
	if err := h.source(ctx, d); err != nil {
		return err
	}
	if d != nil {
		p.v.Extra += int64(len(h.places))
		h.sideFiles(ctx, d)
	}
	if len(p.v.Failures) == failures {
		p.v.MailboxesEqual++
	}
	p.boxDone(b)
	return nil
}

func (p *proof) boxDone(b *box) {
	row := p.boxRow(b)
	row.AlreadyThere, row.Verified = b.res.present, b.res.present
	p.r.Mailboxes = append(p.r.Mailboxes, row)
}

// open opens the target's Maildir; nil where there is none.
func (p *proof) open(b *box, h *holding) *maildir.Dir {
	path := join(p.targetDir(b), plesk.MaildirName)
	d, err := maildir.OpenRoot(p.dst.root, path, nil)
	if err != nil {
		p.failure("no-maildir", path, plainErr(err))
		return nil
	}
	if h == nil {
		d.Close()
	}
	return d
}

// A holding is what the target has of a mailbox.
type holding struct {
	*proof
	b      *box
	places map[string]maildir.Entry // by base and folder; taken out as they are found
	all    map[string]maildir.Entry // by base
	hist   *maildir.History
	known  map[string]bool // bases that were brought once
	count  func()          // in place of comparing, where there is no Maildir
	served map[string]bool // bases of messages that are at both ends
}

// placeKey is a base in its folder.
func placeKey(folder, base string) string { return folder + "/" + base }

func (h *holding) read(ctx context.Context, d *maildir.Dir) (err error) {
	h.all, h.known = map[string]maildir.Entry{}, map[string]bool{}
	dirs := []string{"."}
	for name, err := range d.Folders(ctx) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return err
		}
		if err == nil {
			dirs = append(dirs, name)
		}
	}
	for _, name := range dirs {
		if err := h.list(ctx, d, name); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			h.failure("unreadable", join(h.targetDir(h.b), plesk.MaildirName, name), plainErr(err))
		}
	}
	if h.hist, err = d.History(); err != nil {
		h.failure("unreadable", join(h.targetDir(h.b), plesk.MaildirName, maildir.JournalName), plainErr(err))
		return nil
	}
	for e, err := range h.hist.All() {
		if err != nil {
			h.failure("unreadable", join(h.targetDir(h.b), plesk.MaildirName, maildir.JournalName), plainErr(err))
			break
		}
		h.known[e.Name.Base()] = true
	}
	return nil
}

// list notes what a folder at the target has.
func (h *holding) list(ctx context.Context, d *maildir.Dir, name string) error {
	f, err := d.Folder(name)
	if err != nil {
		return err
	}
	defer f.Close()
	for e, err := range f.Messages(ctx) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return err
		}
		if err == nil {
			e.Folder = name
			h.places[placeKey(name, e.Name.Base())] = e
			h.all[e.Name.Base()] = e
		}
	}
	return nil
}

// source reads every message of the source and looks for it.
func (h *holding) source(ctx context.Context, d *maildir.Dir) error {
	h.served = map[string]bool{}
	from := join(h.b.dir, plesk.MaildirName)
	folders, others, err := h.sourceFolders(ctx, h.b)
	if err != nil {
		h.lost("mailbox.unreadable", from, err, readHint(err))
		h.v.Missing++
		return nil
	}
	h.others(h.b, others)
	rename := h.folder()
	for _, dir := range folders {
		to := dir
		if rename != nil && dir != "." {
			if to, err = rename(dir); err != nil {
				to = dir
			}
		}
		for _, sub := range []string{"new", "cur"} {
			at := join(from, dir, sub)
			for e, err := range h.src.tree.ReadDir(ctx, at) {
				if err != nil {
					if ctx.Err() != nil {
						return context.Cause(ctx)
					}
					if !missing(err) || dir == "." {
						h.failure("unreadable", at, plainErr(err))
					}
					break
				}
				n, err := maildir.ParseName(e.Name)
				if err != nil || !e.Type.IsRegular() && e.Type != fs.ModeIrregular {
					continue // copy has reported it
				}
				if err := h.message(d, at, to, n); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// message compares one message of the source.
func (h *holding) message(d *maildir.Dir, at, folder string, n maildir.Name) error {
	path := join(at, n.String())
	sum, fi, err := digest(func() (qmailkit.File, error) { return h.src.tree.Open(path) })
	if missing(err) {
		return nil // its owner has moved it just now
	}
	h.v.Messages++
	h.b.res.messages++
	if err != nil {
		h.v.Missing++
		h.failure("unreadable", path, plainErr(err))
		return nil
	}
	h.b.res.bytes += fi.Size()
	h.show.Messages(1)
	h.show.Bytes(fi.Size())
	if h.count != nil {
		h.count()
		return nil
	}
	e, here := h.places[placeKey(folder, n.Base())]
	if !here {
		e, here = h.all[n.Base()] // its reader has put it into another folder
	}
	delete(h.places, placeKey(e.Folder, e.Name.Base()))
	if !here {
		h.absent(path, n)
		return nil
	}
	got, there, err := digest(func() (qmailkit.File, error) { return openAt(d, e) })
	if missing(err) {
		h.absent(path, n)
		return nil
	}
	if err != nil {
		h.v.Missing++
		h.failure("unreadable", join(h.targetDir(h.b), plesk.MaildirName, e.Folder, e.Sub(), e.Name.String()), plainErr(err))
		return nil
	}
	if got != sum {
		h.v.Missing++
		h.failure("differs", path, fmt.Errorf("the message of that name at the target, %s, has other bytes", e.Name))
		return nil
	}
	h.v.Equal++
	h.b.res.present++
	h.served[n.Base()] = true
	if want := fi.ModTime().Truncate(time.Second); !there.ModTime().Truncate(time.Second).Equal(want) && want.Before(h.c.now()) {
		h.failure("time", path, fmt.Errorf("has another time at the target: programs show the day of the move, and POP3 another order"))
	}
	return nil
}

// openAt opens a message in whichever folder it stands.
func openAt(d *maildir.Dir, e maildir.Entry) (qmailkit.File, error) {
	f, err := d.Folder(e.Folder)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.OpenMessage(e)
}

// absent tells what was never brought from what has gone at the target since.
func (h *holding) absent(path string, n maildir.Name) {
	if h.known[n.Base()] {
		h.v.GoneAtTarget++
		h.b.res.present++
		return
	}
	h.v.Missing++
	h.failure("missing", path, errors.New("is not at the target"))
}

func digest(open func() (qmailkit.File, error)) (sum [sha256.Size]byte, fi fs.FileInfo, err error) {
	f, err := open()
	if err != nil {
		return sum, nil, err
	}
	defer f.Close()
	s := sha256.New()
	if _, err = io.Copy(s, f); err != nil {
		return sum, nil, err
	}
	fi, err = f.Stat()
	copy(sum[:], s.Sum(nil))
	return sum, fi, err
}

// maxSide bounds the files beside messages that are compared.
const maxSide = 256 << 20
