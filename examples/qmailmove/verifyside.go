//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/plesk"
)

// sideFiles compares what POP3 and IMAP servers know the messages by.
func (h *holding) sideFiles(ctx context.Context, d *maildir.Dir) {
	from := join(h.b.dir, plesk.MaildirName)
	to := join(h.targetDir(h.b), plesk.MaildirName)
	before, after := h.side(from, to, maildir.CourierSizes)
	if before != nil {
		had, has := courierUIDLs(before), courierUIDLs(after)
		for _, base := range sortedKeys(had) {
			if h.served[base] && has[base] != had[base] {
				h.failure("uidl", join(from, maildir.CourierSizes), fmt.Errorf("%q had the UIDL %q and has %q: POP3 programs will fetch it again", base, had[base], has[base]))
			}
		}
	}
	folders, _, err := h.sourceFolders(ctx, h.b)
	if err != nil {
		return // source has told
	}
	rename := h.folder()
	for _, dir := range folders {
		at := dir
		if rename != nil && dir != "." {
			if name, err := rename(dir); err == nil {
				at = name
			}
		}
		for _, name := range []string{maildir.CourierUIDs, maildir.UIDListName} {
			before, after := h.side(join(from, dir), join(to, at), name)
			if before != nil {
				h.uids(join(from, dir, name), before, after)
			}
		}
	}
}

// side reads a file at both ends.
func (h *holding) side(from, to, name string) (before, after []byte) {
	before, err := h.src.read(join(from, name), maxSide)
	if err != nil {
		return nil, nil // copy has told, if it is there
	}
	dir, err := safefs.OpenDir(h.dst.root, to, nil)
	if err == nil {
		defer dir.Close()
		after, err = dir.ReadFile(name, maxSide)
	}
	if err != nil && !missing(err) {
		h.failure("side-file", join(to, name), plainErr(err))
	}
	return before, after
}

// uids compares two UID lists, as far as the messages are at both ends.
func (h *holding) uids(path string, before, after []byte) {
	had, err := maildir.ParseUIDList(before)
	if err != nil {
		return // a list that its server would not read either
	}
	has, err := maildir.ParseUIDList(after)
	if err != nil {
		h.failure("uid", path, fmt.Errorf("the list at the target: %w", err))
		return
	}
	if had.Validity != has.Validity {
		h.failure("uidvalidity", path, fmt.Errorf("UIDVALIDITY was %d and is %d: IMAP programs will fetch all again", had.Validity, has.Validity))
		return
	}
	now := map[string]uint32{}
	for _, r := range has.Records {
		now[r.Base] = r.UID
	}
	for _, r := range had.Records {
		if uid, ok := now[r.Base]; h.served[r.Base] && (!ok || uid != r.UID) {
			h.failure("uid", path, fmt.Errorf("%q had the UID %d and has %d", r.Base, r.UID, uid))
		}
	}
}

// files compares .qmail and what else was brought beside the Maildir.
func (p *proof) files(ctx context.Context, b *box) {
	for e, err := range p.src.tree.ReadDir(ctx, b.dir) {
		switch {
		case err != nil:
			p.failure("unreadable", b.dir, plainErr(err))
			return
		case strings.HasPrefix(e.Name, plesk.DotQmailName):
			p.file(b.dir, p.targetDir(b), e)
		case e.Name == plesk.AttachmentsName && e.Type.IsDir():
			for a, err := range p.src.tree.ReadDir(ctx, join(b.dir, e.Name)) {
				if err != nil {
					p.failure("unreadable", join(b.dir, e.Name), plainErr(err))
					break
				}
				p.file(join(b.dir, e.Name), join(p.targetDir(b), e.Name), a)
			}
		}
	}
}

// domainFiles compares those of the domain.
func (p *proof) domainFiles(ctx context.Context) {
	for e, err := range p.src.tree.ReadDir(ctx, p.sourceDir()) {
		if err == nil && strings.HasPrefix(e.Name, plesk.DotQmailName) {
			p.file(p.sourceDir(), join(p.dst.mailnames, p.domain), e)
		}
	}
}

// file compares one of them. What the target has changed since is as it should
// be.
func (p *proof) file(from, to string, e qmailkit.DirEntry) {
	if !e.Type.IsRegular() && e.Type != fs.ModeIrregular {
		return // copy has reported it
	}
	name := e.Name
	src, err := p.src.read(join(from, name), maxSide)
	if missing(err) {
		return // taken away just now
	}
	if err != nil {
		p.failure("unreadable", join(from, name), plainErr(err))
		return
	}
	dir, err := safefs.OpenDir(p.dst.root, to, nil)
	var here []byte
	if err == nil {
		defer dir.Close()
		here, err = dir.ReadFile(name, maxSide)
	}
	if err == nil && string(here) == string(src) {
		return
	}
	var was fileRecord
	known, lerr := p.t.files.Load(p.carrierKey(to)+name, &was)
	switch {
	case lerr == nil && known:
		p.problem(qmailkit.Problem{Code: "verify.file-changed", Severity: qmailkit.Info, Path: join(to, name),
			Err: errors.New("was brought, and has been changed at one end since")})
	case err == nil:
		p.warn("file.kept", join(to, name), errors.New("is another one at the target than the source's"), "")
	default:
		p.failure("file", join(to, name), plainErr(err))
	}
}
