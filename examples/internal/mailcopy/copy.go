// Package mailcopy is the way of messages from an mbox into a Maildir, and
// back again to prove that all arrived. It is where the formats meet: neither
// package mbox nor package maildir knows the other.
package mailcopy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/progress"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/mbox"
)

// Options say how mboxes are read.
type Options struct {
	Format mbox.Format
	// Strip leaves the mbox layer's own headers out of the messages.
	Strip bool
	// LockWait is how long a live spool is waited for; 0 takes no lock.
	LockWait time.Duration
	// LockMark is what tells dotlocks that a run of the same target has left
	// behind when it was killed; see mbox.LockOptions.
	LockMark string
	// UIDs keeps the UIDs and UIDLs that the messages have in the mbox.
	UIDs     bool
	Progress *progress.Progress
}

// A Box is an mbox and the folder that its messages go to.
type Box struct {
	Open   func() (qmailkit.File, error)
	Path   string // for messages
	Source string // its key: part of each message's identity
	Folder string // directory name of the Maildir++ folder
	// SpoolDir and SpoolName say where the mbox is, if it is a spool, whose
	// mailers lock it by a file beside it.
	SpoolDir  *os.Root
	SpoolName string
}

// A Result counts what became of a Box. It is complete when the importer has
// been closed and its finish function runs.
type Result struct {
	Box
	Messages  int64 // in the mbox, the pseudo message left out
	Bytes     int64 // of these messages
	Delivered int64
	Present   int64
	Updated   int64
	Kept      int64
	Failed    int64
	Pseudo    int64
	// NewBytes are the bytes delivered now.
	NewBytes int64
	Base     *mbox.IMAPBase
	UIDs     []UID
	Problems []qmailkit.Problem
	// Lost says that the box was not read to its end.
	Lost bool

	open sync.WaitGroup
	mu   sync.Mutex
}

// A UID is what mail clients knew a message by.
type UID struct {
	ID     maildir.ID
	UID    uint32
	UIDL   string
	Offset int64 // of the message in its mbox
}

func (r *Result) problem(p qmailkit.Problem) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.Path = r.Path
	r.Problems = append(r.Problems, p)
}

func (r *Result) lose(code string, err error) {
	r.Lost = true
	p := qmailkit.Problem{Code: code, Severity: qmailkit.Error, Err: plainErr(err)}
	var pe *mbox.ParseError
	if errors.As(err, &pe) {
		p.Line, p.Offset, p.Err = int(pe.Line), pe.Offset, pe.Err
	}
	r.problem(p)
}

// plainErr takes the path off an error; the Problem names it.
func plainErr(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// Copy adds the messages of a box to an import. Trouble with the box goes into
// its Result, and Copy returns nil, so that the other boxes go on; an error is
// one that ends the import.
func Copy(ctx context.Context, im *maildir.Importer, b Box, o *Options) (*Result, error) {
	r := &Result{Box: b}
	f, size, err := openBox(ctx, b, o, r)
	if err != nil {
		if ctx.Err() != nil {
			return r, context.Cause(ctx)
		}
		r.lose("mbox.unreadable", err)
		return r, nil
	}
	// The file is closed when the last of its messages has been dealt with.
	r.open.Add(1)
	go func() {
		r.open.Wait()
		f.Close()
	}()
	defer r.open.Done()
	var seen int64
	ix := mbox.NewIndexer(f, size, &mbox.Options{Format: o.Format, Prefix: true})
	for h, err := range ix.All(ctx) {
		if err != nil {
			if ctx.Err() != nil {
				return r, context.Cause(ctx)
			}
			r.loseIndex(err)
			break
		}
		o.Progress.Bytes(h.Offset + h.Length - seen)
		seen = h.Offset + h.Length
		if h.Base != nil && r.Base == nil {
			r.Base = h.Base
		}
		if h.Pseudo {
			r.Pseudo++
			continue
		}
		if err := add(ctx, im, f, h, r, o); err != nil {
			return r, err
		}
	}
	for _, p := range ix.Problems() {
		r.problem(p)
	}
	if r.Messages == 0 && !r.Lost && r.Folder != "." {
		if err := im.MakeFolder(r.Folder); err != nil {
			r.lose("folder.unusable", err)
		}
	}
	return r, nil
}

// add hands one message over.
func add(ctx context.Context, im *maildir.Importer, f qmailkit.File, h *mbox.Header, r *Result, o *Options) error {
	r.Messages++
	r.Bytes += h.Length
	at, _ := h.Arrival()
	m := &maildir.Message{
		Folder: r.Folder, Source: r.Source, Size: h.Length, Time: at,
		Flags: maildir.ParseFlags(h.Letters()), Cur: h.Cur(), Keywords: h.Keywords,
		Body: func() io.Reader { return body(f, h, o) },
	}
	offset, line, uid, uidl := h.FromOffset, h.Line, h.UID, h.UIDL
	r.open.Add(1)
	m.Done = func(res maildir.Result) {
		defer r.open.Done()
		r.count(res, offset, line)
		if o.UIDs && res.Err == nil {
			r.UIDs = append(r.UIDs, UID{res.ID, uid, uidl, offset})
		}
		o.Progress.Messages(1)
	}
	return im.Add(ctx, m)
}

// count is called by the committer, one message after the other.
func (r *Result) count(res maildir.Result, offset, line int64) {
	switch res.Outcome {
	case maildir.Delivered:
		r.Delivered++
		r.NewBytes += res.Size
	case maildir.Present:
		r.Present++
	case maildir.Updated:
		r.Updated++
	case maildir.Kept:
		r.Kept++
	default:
		r.Failed++
		r.problem(qmailkit.Problem{Code: "message.failed", Severity: qmailkit.Error, Line: int(line), Offset: offset, Err: plainErr(res.Err)})
	}
	if res.KeywordsLost > 0 {
		r.problem(qmailkit.Problem{Code: "message.keywords", Severity: qmailkit.Warning, Line: int(line), Offset: offset,
			Err: fmt.Errorf("%d keywords are not carried: a folder has letters for 26", res.KeywordsLost)})
	}
}

// body is the message as it is carried.
func body(f io.ReaderAt, h *mbox.Header, o *Options) io.Reader {
	var r io.Reader = mbox.Body(f, h, o.Format)
	if o.Strip {
		r = mbox.StripState(r)
	}
	return &steady{r: r, f: f, h: h}
}

var errMoved = errors.New("the mbox was rewritten while it was read; run again")

// steady fails where a mail program has rewritten the mbox under the reader.
// The message's From_ line must stand where it was, before and after, and the
// message must end where it did: one of its own may only have got a Status, or
// the message before it, with the same From_ line, have gone.
type steady struct {
	r       io.Reader
	f       io.ReaderAt
	h       *mbox.Header
	checked bool
}

func (s *steady) Read(p []byte) (int, error) {
	if !s.checked {
		if err := s.check(); err != nil {
			return 0, err
		}
		s.checked = true
	}
	n, err := s.r.Read(p)
	if err == io.EOF {
		if e := cmp.Or(s.check(), s.checkEnd()); e != nil {
			return n, e
		}
	}
	return n, err
}

func (s *steady) check() error {
	want := s.h.From.Raw
	var small [256]byte
	buf := small[:min(len(want), len(small))]
	if _, err := s.f.ReadAt(buf, s.h.FromOffset); err != nil && err != io.EOF {
		return err
	}
	if string(buf) != string(want[:len(buf)]) {
		return errMoved
	}
	return nil
}

// checkEnd looks for what must follow a message: a blank line, and the next
// From_ line or the end of the file.
func (s *steady) checkEnd() error {
	var buf [16]byte
	n, err := s.f.ReadAt(buf[:], s.h.Offset+s.h.Length)
	if err != nil && err != io.EOF {
		return err
	}
	rest := bytes.TrimLeft(buf[:n], "\r\n")
	if len(rest) == n && n > 0 && s.h.Length > 0 {
		// Then the last line of the message is its end.
		var last [1]byte
		if _, err := s.f.ReadAt(last[:], s.h.Offset+s.h.Length-1); err != nil || last[0] != '\n' {
			return cmp.Or(err, errMoved)
		}
	}
	if from := []byte("From "); !bytes.HasPrefix(from, rest[:min(len(rest), len(from))]) {
		return errMoved
	}
	return nil
}

// openBox opens the mbox and takes its length, under its mailers' lock where
// that can be had: no message is then half written.
func openBox(ctx context.Context, b Box, o *Options, r *Result) (qmailkit.File, int64, error) {
	f, err := b.Open()
	if err != nil {
		return nil, 0, err
	}
	unlock := func() error { return nil }
	if file, ok := f.(*os.File); ok && o.LockWait > 0 {
		lo := &mbox.LockOptions{Dir: b.SpoolDir, Name: b.SpoolName, Shared: true, Wait: o.LockWait, Mark: o.LockMark}
		if lo.Mark != "" {
			lo.Unique = path.Base(b.SpoolName) + ".lock.qmailkit"
		}
		held, err := mbox.Lock(ctx, file, lo)
		if err == nil {
			unlock = held.Unlock
		} else if ctx.Err() == nil {
			r.problem(qmailkit.Problem{Code: "mbox.lock", Severity: qmailkit.Warning,
				Err: fmt.Errorf("its lock could not be had (%w); a message that arrives just now may be cut: run again", plainErr(err))})
		}
	}
	fi, err := f.Stat()
	err = errors.Join(err, unlock())
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, fi.Size(), nil
}

// Count reads a box only, and says what it holds.
func Count(ctx context.Context, b Box, o *Options) (*Result, error) {
	r := &Result{Box: b}
	f, size, err := openBox(ctx, b, &Options{}, r)
	if err != nil {
		r.lose("mbox.unreadable", err)
		return r, nil
	}
	defer f.Close()
	ix := mbox.NewIndexer(f, size, &mbox.Options{Format: o.Format, Prefix: true})
	for h, err := range ix.All(ctx) {
		if err != nil {
			if ctx.Err() != nil {
				return r, context.Cause(ctx)
			}
			r.loseIndex(err)
			break
		}
		if h.Base != nil && r.Base == nil {
			r.Base = h.Base
		}
		if h.Pseudo {
			r.Pseudo++
			continue
		}
		r.Messages++
		r.Bytes += h.Length
		o.Progress.Messages(1)
		o.Progress.Bytes(h.Length)
	}
	for _, p := range ix.Problems() {
		r.problem(p)
	}
	return r, nil
}

// loseIndex notes why a box could not be read to its end.
func (r *Result) loseIndex(err error) {
	if errors.Is(err, mbox.ErrNotMbox) {
		r.lose("mbox.not-mbox", err)
		return
	}
	r.lose("mbox.incomplete", err)
}
