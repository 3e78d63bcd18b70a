//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/maildir"
)

const (
	// quotaWarnPercent is how full a mailbox is when its user is warned
	// (configure's default), and quotaWarnPause how long he is left alone then.
	quotaWarnPercent = 90
	quotaWarnPause   = 24 * time.Hour

	quotaWarnName = "quotawarn"
)

// A box is a Maildir that a message goes into.
type box struct {
	x    *delivering
	path string
	dir  *safefs.Dir
	md   *maildir.Dir
	own  safefs.Owner
}

// openBox opens a Maildir of the domain. One of somebody else is refused: the
// path stands in a file that a user may have written, and root could deliver
// anywhere.
func (x *delivering) openBox(path string) (*box, error) {
	d := x.out.Plan.Domain
	root, name, err := x.s.place(path)
	if err != nil {
		return nil, err
	}
	b := &box{x: x, path: path, own: x.s.owner(d.UID, d.GID)}
	if b.dir, err = safefs.OpenDir(root, name, x.s.o.hook); err != nil {
		return nil, err
	}
	if err = ownDir(b.dir, b.own); err == nil {
		b.md, err = maildir.OpenRoot(root, name, &maildir.Options{
			Owner: &maildir.Owner{UID: b.own.UID, GID: b.own.GID}, Namer: x.o.Namer,
		})
	}
	if err != nil {
		b.dir.Close()
		return nil, err
	}
	return b, nil
}

func (b *box) close() {
	b.md.Close()
	b.dir.Close()
}

// maildir delivers to a Maildir, if the quota lets it.
func (x *delivering) maildir(ctx context.Context, st DeliveryStep) error {
	b, err := x.openBox(st.Arg)
	if err != nil {
		return err
	}
	defer b.close()
	limit := st.Quota
	if limit == "" {
		file, err := b.sums()
		if err != nil {
			return err
		}
		limit = file.limit
	}
	if quota := ClassicQuota(limit); quota != "" && !strings.HasPrefix(limit, "NO") {
		if err := b.checkQuota(ctx, st, quota); err != nil {
			return err
		}
	}
	_, err = b.store(ctx, st.Header, x.msg, false)
	return err
}

// checkQuota says whether the message fits, and warns.
func (b *box) checkQuota(ctx context.Context, st DeliveryStep, quota string) error {
	use, err := b.usage(ctx, quota, uint64(b.x.size), 1)
	if err != nil {
		return err
	}
	if use.Over {
		text, err := b.x.s.domainText(b.x.out.Plan.Domain, ".over-quota.msg", "user is over quota\n")
		if err != nil {
			return err
		}
		b.warn(ctx, st)
		return bounce(ErrOverQuota, text+"\n")
	}
	if use, err = b.usage(ctx, quota, 0, 0); err != nil {
		return err
	}
	if use.Percent >= quotaWarnPercent {
		b.warn(ctx, st)
	}
	return nil
}

func (b *box) sums() (maildirsize, error) { return readMaildirsize(b.dir, b.own.UID) }

// usage says how full the box would be with so much more. Where maildirsize is
// not believed the messages are counted and it is written anew (maildirquota.c:
// docheckquota).
func (b *box) usage(ctx context.Context, quota string, bytes, messages uint64) (Usage, error) {
	m, err := b.sums()
	if err != nil {
		return Usage{}, err
	}
	with := m
	with.bytes, with.messages = with.bytes+bytes, with.messages+messages
	if use, ok := with.believe(quota, b.x.s.o.Now()); ok && !m.negative() {
		return use, nil
	}
	has, count, err := b.md.Usage(ctx)
	if err != nil {
		return Usage{}, err
	}
	text := fmt.Appendf(nil, "%s\n%d %d\n", quota, has, count)
	// It can be counted again at any time, so it is not waited for.
	rep := safefs.Replacement{Mode: 0o600, Owner: b.own, Undurable: true, Time: b.x.s.o.Now()}
	if err := b.dir.WriteFile(maildir.QuotaName, rep, text); err != nil {
		return Usage{}, err
	}
	use := Usage{Bytes: uint64(has) + bytes, Messages: uint64(count) + messages, Counted: true}
	use.Percent, use.Over = quotaPercent(use.Bytes, use.Messages, quota)
	return use, nil
}

// store writes a message into the box and counts it where a maildirsize is.
func (b *box) store(ctx context.Context, header string, body io.Reader, warning bool) (maildir.Entry, error) {
	file, err := b.sums()
	if err != nil {
		return maildir.Entry{}, err
	}
	d, err := b.md.Deliver()
	if err != nil {
		return maildir.Entry{}, full(err)
	}
	if _, err = io.WriteString(d, header); err == nil {
		_, err = io.Copy(d, body)
	}
	if err != nil {
		d.Cancel()
		return maildir.Entry{}, full(err)
	}
	e, err := d.Commit(ctx, maildir.Arrival{})
	if err != nil {
		return maildir.Entry{}, full(err)
	}
	b.x.out.Boxes = append(b.x.out.Boxes, DeliveredBox{Dir: b.path, Entry: e, Warning: warning})
	if file.limit == "" {
		return e, nil
	}
	size, _ := e.Name.Size()
	if err := b.count(size); err != nil {
		// The message is there. Mail is not delivered twice for a count that
		// anybody makes anew in a quarter of an hour.
		b.problem("delivery.not-counted", err)
	}
	return e, nil
}

// full is the error of a disk quota in vpopmail's words.
func full(err error) error {
	if errors.Is(err, unix.EDQUOT) {
		return bounce(errors.Join(ErrOverQuota, err), "user is over quota\n")
	}
	return err
}

// count adds a line to maildirsize.
func (b *box) count(size int64) error {
	f, err := b.dir.OpenWrite(maildir.QuotaName, b.own.UID)
	if err != nil {
		return ignoreMissing(err)
	}
	defer f.Close()
	// Others add lines at the same time, and none may be written over.
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_SETFL, flags|unix.O_APPEND)
	}
	if err == nil {
		_, err = fmt.Fprintf(f, "%d 1\n", size)
	}
	return err
}

// warn puts the text for a mailbox that is nearly full into it, once a day. The
// message itself does not wait for that: a failure is a Problem.
func (b *box) warn(ctx context.Context, st DeliveryStep) {
	if err := b.tryWarn(ctx, st); err != nil {
		b.problem("delivery.no-warning", err)
	}
}

func (b *box) tryWarn(ctx context.Context, st DeliveryStep) error {
	now := b.x.s.o.Now()
	fi, err := b.dir.Lstat(quotaWarnName)
	if err == nil && fi.ModTime.Add(quotaWarnPause).After(now) {
		return nil
	}
	if ignoreMissing(err) != nil {
		return err
	}
	rep := safefs.Replacement{Mode: 0o600, Owner: b.own, Undurable: true, Time: now}
	if err := b.dir.WriteFile(quotaWarnName, rep, nil); err != nil {
		return err
	}
	text, err := b.x.s.domainText(b.x.out.Plan.Domain, ".quotawarn.msg", "")
	if err != nil || text == "" {
		return err
	}
	header := st.warning + now.UTC().Format("Date: Mon, 02 Jan 2006 15:04:05 +0000\n")
	_, err = b.store(ctx, header, strings.NewReader(text), true)
	return err
}

func (b *box) problem(code string, err error) {
	p := qmailkit.Problem{Code: code, Severity: qmailkit.Warning, Path: b.path, Err: err}
	b.x.out.Problems = append(b.x.out.Problems, p)
}

// makeHome makes the missing directory of a user with his Maildir, durably
// (vpopmail.c:vmake_maildir). It has to lie in the domain's own.
func (s *Store) makeHome(d *Domain, u *User) error {
	rel, ok := strings.CutPrefix(u.Dir, strings.TrimRight(d.Dir, "/")+"/")
	if !ok || !plainPath(rel) {
		return &Error{Domain: d.Name, User: u.Name, Field: "dir", Err: fmt.Errorf("%w: %q is not in the domain's directory", ErrNotMounted, u.Dir)}
	}
	top, err := s.openDomain(d)
	if err != nil {
		return err
	}
	defer top.Close()
	if err := ownDir(top, s.owner(d.UID, d.GID)); err != nil {
		return err
	}
	root, name, err := s.place(u.Dir + "/Maildir")
	if err != nil {
		return err
	}
	o := s.Owner(d.UID, d.GID)
	md, err := maildir.CreateRoot(root, name, &maildir.Options{Owner: &maildir.Owner{UID: o.UID, GID: o.GID}})
	if err != nil {
		return err
	}
	return md.Close()
}

// hasHome says whether a user's directory is there.
func (s *Store) hasHome(u *User) (bool, error) {
	dir, err := s.openPath(u.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, dir.Close()
}
