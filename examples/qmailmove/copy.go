//go:build unix

package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/progress"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/plesk"
)

// A pass is one copying of all mailboxes.
type pass struct {
	*move
	t    *target
	show *progress.Progress
	com  *maildir.Committer
	side errgroup.Group // brings the files beside Maildirs
	// brought are the names of files that earlier passes have brought, by the
	// keys of their directories.
	brought map[string][]string
	written int64 // files beside the messages that were written or taken away
}

func doCopy(ctx context.Context, c *config, env *cli.Env) error {
	if c.dryRun {
		return doPlan(ctx, c, env)
	}
	started := c.now()
	m, err := c.survey(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	t, err := m.open(true)
	if err != nil {
		return err
	}
	defer t.close()
	p := &pass{move: m, t: t, show: progress.Start(progress.Options{Out: env.Stderr})}
	err = p.all(ctx)
	p.show.Stop()
	rep := m.report("copy", started, err)
	if err := errors.Join(err, c.emit(env, rep)); err != nil {
		return err
	}
	return leftBehind(rep)
}

// groupMessages is how many are made durable at once. A sync of the whole disk
// costs what others have written too, and here hardly anything else takes time.
const groupMessages = 4000

// sideWriters is how many files beside Maildirs are written at once. Each is
// synced by itself; syncs that come together cost the disk little more than one.
const sideWriters = 8

// all copies every mailbox with one committer. When it returns nil, what it has
// counted is on the disk.
func (p *pass) all(ctx context.Context) (err error) {
	p.problem(p.t.files.Problems()...)
	p.index()
	if err := p.noteMade(); err != nil {
		return err
	}
	p.show.Expect(int64(len(p.boxes)), 0, 0)
	commit := p.c.commit
	commit.Now = p.c.now
	commit.MaxMessages = groupMessages
	p.com = maildir.NewCommitter(&commit)
	p.side.SetLimit(sideWriters)
	defer func() { err = errors.Join(err, p.com.Close(), p.side.Wait(), p.t.flush()) }()
	for _, b := range p.boxes {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := p.box(ctx, b); err != nil {
			return err
		}
		p.show.Mailboxes(1)
	}
	return p.domainFiles(ctx)
}

// box copies one mail name.
func (p *pass) box(ctx context.Context, b *box) error {
	if !b.maildir && !(b.m != nil && b.m.Mailbox) {
		if !b.there {
			return nil // forwards that have no directory
		}
		return p.unusable(p.targetDir(b), p.files(ctx, b))
	}
	if b.there && !b.maildir && p.blocked(b) {
		return nil
	}
	// The mailbox first and by itself: a run that was killed between its making
	// and its owner has left it empty, and only so it is known for ours.
	home, err := p.t.dir(p.dst.root, p.targetDir(b))
	if err != nil {
		return p.unusable(p.targetDir(b), err)
	}
	home.Close()
	to := join(p.targetDir(b), plesk.MaildirName)
	im, err := p.com.Import(p.dst.root, to, &maildir.Options{Owner: (*maildir.Owner)(&p.t.owner), QuotaMode: quotaMode})
	if err != nil {
		return p.unusable(to, err)
	}
	p.problem(im.Problems()...)
	tr := &transfer{pass: p, b: b, im: im, seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}, from: join(b.dir, plesk.MaildirName)}
	if b.maildir {
		err = tr.run(ctx)
	}
	return errors.Join(err, im.Close(func(d *maildir.Dir) error { return tr.finish(ctx, d) }))
}

// blocked says whether something else stands in the Maildir's place, which the
// survey has told.
func (p *pass) blocked(b *box) bool {
	_, err := p.src.tree.Lstat(join(b.dir, plesk.MaildirName))
	return !missing(err)
}

// unusable reports what cannot be written by what stands there. What ails the
// file system ends the run.
func (p *pass) unusable(path string, err error) error {
	if err == nil {
		return nil
	}
	for _, e := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return err
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	p.lost("target.unusable", path, err, "")
	return nil
}

// A transfer is a mailbox on its way.
type transfer struct {
	*pass
	b    *box
	im   *maildir.Importer
	from string // Maildir in the source's tree
	res  *maildir.Transferred

	seed   maphash.Seed
	seen   map[uint64]struct{} // hashes of the bases at the source
	digest uint64              // of all that the target has of them
	whole  bool                // everything at the source was seen
	again  bool                // it was listed a second time
}

// run hands all messages over. Trouble with the source concerns this mailbox
// only.
func (t *transfer) run(ctx context.Context) error {
	var err error
	t.res, err = t.im.Transfer(ctx, t.src.tree, t.from, &maildir.TransferOptions{Source: t.domain + "/" + t.b.name, Folder: t.folder(), Done: t.done})
	t.problem(t.res.Problems...)
	switch {
	case err == nil:
		t.whole = len(t.res.Problems) == 0 && t.res.Moved == 0
		t.others(t.b, t.res.Others)
		if n := t.res.Unfinished; n > 0 {
			t.problem(qmailkit.Problem{Code: "mailbox.unfinished", Severity: qmailkit.Info, Path: t.from,
				Err: fmt.Errorf("%s under tmp/: deliveries under way or broken off, which are not moved", cli.Plural(n, "file"))})
		}
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	if dead := t.com.Flush(); dead != nil {
		return err // it was the target
	}
	t.lost("mailbox.unreadable", t.from, err, readHint(err))
	return nil
}

// done is called for one message after the other.
func (t *transfer) done(from maildir.Entry, r maildir.Result) {
	t.seen[maphash.String(t.seed, from.Name.Base())] = struct{}{}
	n := &t.b.res
	switch size, told := from.Name.Size(); {
	case r.Size > 0:
		n.bytes += r.Size
	case told && r.Outcome != maildir.Failed:
		n.bytes += size // it was not read again
	}
	switch r.Outcome {
	case maildir.Delivered:
		n.delivered++
		n.newBytes += r.Size
		t.show.Bytes(r.Size)
	case maildir.Present:
		n.present++
	case maildir.Updated:
		n.updated++
	case maildir.Kept:
		n.kept++
	default:
		t.failed(from, r.Err)
	}
	if r.Outcome != maildir.Failed {
		t.digest ^= binary.LittleEndian.Uint64(r.ID[:8])
	}
	if r.KeywordsLost > 0 {
		n.problems++
		t.warn("message.keywords", t.place(from), fmt.Errorf("%d keywords are not carried: a folder has letters for 26", r.KeywordsLost), "")
	}
	t.show.Messages(1)
}

func (t *transfer) place(e maildir.Entry) string {
	return join(t.from, e.Folder, e.Sub(), e.Name.String())
}

// failed tells a message that went meanwhile from one that could not be read.
func (t *transfer) failed(e maildir.Entry, err error) {
	n := &t.b.res
	if missing(err) {
		n.vanished++
		t.problem(qmailkit.Problem{Code: "message.vanished", Severity: qmailkit.Info, Path: t.place(e), Err: errors.New("was moved or deleted while it was read")})
		return
	}
	n.failed++
	n.problems++
	t.lost("message.failed", t.place(e), plainErr(err), "")
}

// readHint says what helps against an error of reading the source.
func readHint(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "run as a user that may read it, and run again"
	}
	return ""
}

// plainErr takes the path off an error; the Problem names it.
func plainErr(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// finish completes a mailbox when all of its messages are in their places.
func (t *transfer) finish(ctx context.Context, d *maildir.Dir) error {
	if t.res != nil {
		t.b.res.messages = t.res.Messages - t.b.res.vanished
		t.b.res.problems += int64(len(t.res.Problems))
		if t.b.res.moved = t.res.Moved; t.b.res.moved > 0 {
			t.problem(qmailkit.Problem{Code: "message.moved", Severity: qmailkit.Info, Path: t.from,
				Err: fmt.Errorf("%s to another folder while it was read: the next run follows", cli.Plural(t.res.Moved, "message or folder was moved|messages or folders were moved"))})
		}
		probs, err := t.im.CarrySide(ctx, t.src.tree, t.from, t.res.Folders, t.folder())
		t.problem(probs...)
		if err != nil {
			return err
		}
	}
	if err := t.withdraw(ctx); err != nil {
		return err
	}
	if err := t.quota(ctx, d); err != nil {
		if err := t.unusable(join(t.targetDir(t.b), plesk.MaildirName, maildir.QuotaName), err); err != nil {
			return err
		}
	}
	if t.b.there {
		t.side.Go(func() error { return t.unusable(t.targetDir(t.b), t.files(ctx, t.b)) })
	}
	return nil
}

// withdraw takes away what has been deleted at the source since it was copied.
// A message that moves from folder to folder while the source is listed can be
// missed there; so all is listed once more before anything goes, and what comes
// back at the source comes back here.
func (t *transfer) withdraw(ctx context.Context) error {
	if t.keepDeleted || !t.whole {
		return nil
	}
	var listed error
	n, err := t.im.Withdraw(ctx, func(e maildir.Entry) bool {
		key := maphash.String(t.seed, e.Name.Base())
		if _, here := t.seen[key]; here || listed != nil {
			return false
		}
		if !t.again {
			t.again = true
			listed = t.list(ctx)
		}
		_, here := t.seen[key]
		return !here && listed == nil
	})
	t.b.res.removed += int64(n)
	if err == nil && listed != nil {
		t.warn("mailbox.unlisted", t.from, fmt.Errorf("it could not be listed again, so nothing is taken away at the target: %w", listed), "run again")
	}
	return err
}

// list adds what stands at the source now to what was seen.
func (t *transfer) list(ctx context.Context) error {
	folders, _, err := t.sourceFolders(ctx, t.b)
	if err != nil {
		return err
	}
	for _, dir := range folders {
		for _, sub := range []string{"new", "cur"} {
			for e, err := range t.src.tree.ReadDir(ctx, join(t.from, dir, sub)) {
				if err != nil {
					return err
				}
				if n, err := maildir.ParseName(e.Name); err == nil {
					t.seen[maphash.String(t.seed, n.Base())] = struct{}{}
				}
			}
		}
	}
	return nil
}

// quotaRecord is what was written into maildirsize, and for which messages.
type quotaRecord struct {
	Limit  string `json:"limit"`
	Digest uint64 `json:"digest,string"`
}

// quotaMode is what Plesk's programs give a maildirsize.
const quotaMode = 0o644

// quota writes maildirsize, if anything has changed since it was written.
func (t *transfer) quota(ctx context.Context, d *maildir.Dir) error {
	now, err := d.QuotaLimit()
	if err != nil {
		return err
	}
	key := "quota " + t.domain + "/" + t.b.name
	var was quotaRecord
	known, err := t.t.files.Load(key, &was)
	if err != nil {
		return err
	}
	limit, err := t.limit()
	if err != nil {
		return err
	}
	if known && now != "" && now != was.Limit && now != limit {
		if limit != was.Limit {
			t.problem(qmailkit.Problem{Code: "mailbox.quota-kept", Severity: qmailkit.Info, Path: t.targetDir(t.b),
				Err: fmt.Errorf("its quota was changed at the target, to %s: that stays", now)})
		}
		limit = now
	}
	n := &t.b.res
	if known && was.Limit == limit && was.Digest == t.digest && now == limit && n.delivered+n.updated+n.removed == 0 {
		return nil
	}
	if limit == "" {
		return nil // neither psa nor the source say anything
	}
	if err := d.RebuildQuota(ctx, limit); err != nil {
		return err
	}
	b, err := json.Marshal(quotaRecord{limit, t.digest})
	if err != nil {
		return err
	}
	return t.t.remember(state.Record{Key: key, Value: b})
}

// limit is the quota of a mailbox as maildirsize has it on Plesk hosts, which
// write "0S" for none.
func (t *transfer) limit() (string, error) {
	if t.b.m != nil {
		return fmt.Sprintf("%dS,0C", max(t.dom.QuotaOf(t.b.m), 0)), nil
	}
	f, err := t.src.tree.Open(join(t.from, maildir.QuotaName))
	if missing(err) || errors.Is(err, qmailkit.ErrNotPlain) || errors.Is(err, os.ErrPermission) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	var line [256]byte
	n, err := f.ReadAt(line[:], 0)
	if n == 0 {
		return "", nil
	}
	text := string(line[:n])
	for i := range text {
		if text[i] == '\n' {
			text = text[:i]
			break
		}
	}
	if q := maildir.ParseQuota(text); q.Bytes == 0 && q.Messages == 0 && text != "0S,0C" && text != "0S" {
		return "", nil
	}
	_ = err // what was read is all that is needed
	return text, nil
}
