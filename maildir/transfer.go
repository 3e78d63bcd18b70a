package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync/atomic"
	"time"

	"github.com/qmailkit/qmailkit"
)

// TransferOptions of Importer.Transfer. The nil pointer is the zero value.
type TransferOptions struct {
	// Source is the key of the Maildir in the move: see Message.Source.
	Source string
	// Folder gives the directory name that a folder gets; nil keeps it. Two
	// folders that get the same name become one.
	Folder func(dir string) (string, error)
	// Done is called for each message, as Message.Done is, with its place at
	// the source.
	Done func(from Entry, r Result)
}

// A Transferred says what Transfer has found at the source.
type Transferred struct {
	Folders  []string // directory names at the source, "." first
	Messages int64    // handed over
	// Unfinished are the files under tmp/: deliveries that are under way, or
	// were broken off. They are not moved.
	Unfinished int64
	// Moved are the messages and folders that were met a second time, or no
	// longer, because their reader moved them meanwhile. They are for the next
	// run.
	Moved int64
	// Others are what stands in the Maildir itself beside messages and folders.
	Others []qmailkit.DirEntry
	// Problems are what stands in the Maildir and is neither message nor
	// folder, and what could not be read.
	Problems []qmailkit.Problem
}

// Transfer hands over every message of the Maildir name in from, with its
// folders. Names, times and flags are kept, so that clients of POP3 and IMAP do
// not notice. A message that was brought before is not read again; its flags,
// and the folder it lies in, follow the source's where nobody has changed them
// here, and one that was deleted here stays away. The files beside the messages
// are for CarrySide.
//
// The source may be in use: what its reader moves from new/ to cur/ meanwhile
// is found once, what moves between folders is left to the next run where it
// would be taken for two, and what goes while it is read is a Result whose Err
// wraps fs.ErrNotExist. Nothing of the source is changed. Transfer may be called for
// several Maildirs at once, but only once for each Source.
func (im *Importer) Transfer(ctx context.Context, from qmailkit.Tree, name string, opts *TransferOptions) (*Transferred, error) {
	t := &transfer{im: im, from: from, name: name, res: &Transferred{}}
	if opts != nil {
		t.o = *opts
	}
	if err := t.list(ctx); err != nil {
		return t.res, err
	}
	for _, dir := range t.res.Folders {
		if err := t.folder(ctx, dir); err != nil {
			return t.res, err
		}
	}
	return t.res, nil
}

// transfer is a Transfer on its way.
type transfer struct {
	im   *Importer
	from qmailkit.Tree
	name string
	o    TransferOptions
	res  *Transferred
	met  met
}

func (t *transfer) problem(code string, path string, err error) {
	t.res.Problems = append(t.res.Problems, qmailkit.Problem{Code: "maildir." + code, Severity: qmailkit.Error, Path: path, Err: err})
}

// path is where a folder lies at the source.
func (t *transfer) path(dir string) string { return sidePath(t.name, dir) }

func sidePath(name, dir string) string {
	switch {
	case dir == ".":
		return name
	case name == ".":
		return dir
	}
	return name + "/" + dir
}

// list finds the folders. The order is always the same, because it counts where
// two messages have the same base.
func (t *transfer) list(ctx context.Context) error {
	for e, err := range t.from.ReadDir(ctx, t.name) {
		if err != nil {
			return qmailkit.Incomplete(err)
		}
		if e.Type == fs.ModeIrregular {
			fi, err := t.from.Lstat(t.path(e.Name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			e.Type = fi.Mode.Type()
		}
		switch _, ok := FolderLevels(e.Name, UTF8); {
		case ok && e.Type.IsDir():
			t.res.Folders = append(t.res.Folders, e.Name)
		case ok && !e.Type.IsRegular():
			t.problem("not-plain", t.path(e.Name), fmt.Errorf("%w where a folder should be", qmailkit.ErrNotPlain))
		case e.Name != "new" && e.Name != "cur" && e.Name != "tmp":
			t.res.Others = append(t.res.Others, e)
		}
	}
	slices.Sort(t.res.Folders)
	t.res.Folders = slices.Insert(t.res.Folders, 0, ".")
	return nil
}

// folder hands over the messages of one folder. new/ is listed first and handed
// over last: what moves to cur/ meanwhile is found there, and counts once.
func (t *transfer) folder(ctx context.Context, dir string) error {
	to := dir
	if t.o.Folder != nil && dir != "." {
		var err error
		if to, err = t.o.Folder(dir); err != nil {
			t.problem("folder-name", t.path(dir), err)
			return nil
		}
	}
	arrived := &sourceDir{Entry: Entry{Folder: dir}, to: to}
	if err := t.open(arrived); err != nil {
		return t.odd(dir, err)
	}
	defer arrived.release()
	var names []Name
	waiting := map[string]int{} // by base
	err := t.each(ctx, arrived, func(n Name) error {
		waiting[n.Base()] = len(names)
		names = append(names, n)
		return nil
	})
	if err != nil {
		return t.odd(dir, err)
	}
	if err := t.im.carryFolder(ctx, t.from, t.path(dir), to); err != nil {
		if planted(err) {
			t.problem("folder", t.path(dir), err)
			return nil
		}
		return err
	}
	words, err := readKeywords(t.from, t.path(dir))
	if err != nil {
		t.problem("keywords", t.path(dir)+"/"+KeywordsName, err)
	}
	arrived.words = words
	seen := &sourceDir{Entry: Entry{Folder: dir, Cur: true}, to: to, words: words}
	if err := t.open(seen); err != nil {
		return t.odd(dir, err)
	}
	defer seen.release()
	moved := map[int]bool{}
	err = t.each(ctx, seen, func(n Name) error {
		if i, was := waiting[n.Base()]; was && arrived.lost(names[i]) {
			moved[i] = true
		}
		return t.add(ctx, seen, n)
	})
	if err != nil {
		return t.odd(dir, err)
	}
	for i, n := range names {
		if moved[i] {
			continue
		}
		if err := t.add(ctx, arrived, n); err != nil {
			return err
		}
	}
	return t.unfinished(ctx, dir)
}

// A sourceDir is new/ or cur/ of a folder at the source. It stays open while
// messages of it wait to be read.
type sourceDir struct {
	*qmailkit.TreeDir
	Entry // without a name
	to    string
	words *Keywords
	users atomic.Int32
}

func (t *transfer) open(s *sourceDir) (err error) {
	if s.TreeDir, err = qmailkit.OpenDir(t.from, t.path(s.Folder)+"/"+s.Sub()); err != nil {
		return qmailkit.Incomplete(&listError{err})
	}
	s.hold()
	return nil
}

func (s *sourceDir) hold() {
	if s != nil {
		s.users.Add(1)
	}
}

func (s *sourceDir) release() {
	if s != nil && s.users.Add(-1) == 0 {
		s.Close() // it was only read
	}
}

// lost says whether a message has left new/.
func (s *sourceDir) lost(n Name) bool {
	_, err := s.Lstat(n.String())
	return errors.Is(err, fs.ErrNotExist)
}

// odd tells trouble with one folder from that which ends the transfer.
func (t *transfer) odd(dir string, err error) error {
	var at *listError
	if dir == "." || !errors.As(err, &at) || !planted(err) {
		return err
	}
	if _, err := t.from.Lstat(t.path(dir)); errors.Is(err, fs.ErrNotExist) {
		t.res.Moved++ // under another name by now
		return nil
	}
	t.problem("folder", t.path(dir), err)
	return nil
}

// listError is trouble with reading a directory of the source.
type listError struct{ err error }

func (e *listError) Error() string { return e.err.Error() }
func (e *listError) Unwrap() error { return e.err }

// each goes through the messages of new/ or cur/.
func (t *transfer) each(ctx context.Context, s *sourceDir, do func(n Name) error) error {
	for e, err := range s.ReadDir(ctx) {
		if err != nil {
			return qmailkit.Incomplete(&listError{err})
		}
		if e.Name[0] == '.' {
			continue // nobody's message (maildir(5))
		}
		n, err := ParseName(e.Name)
		if err == nil && !e.Type.IsRegular() && e.Type != fs.ModeIrregular {
			err = qmailkit.ErrNotPlain
		}
		if err != nil {
			t.problem("not-plain", s.Path(e.Name), err)
			continue
		}
		if err := do(n); err != nil {
			return err
		}
	}
	return nil
}

// unfinished counts what lies under tmp/.
func (t *transfer) unfinished(ctx context.Context, dir string) error {
	for _, err := range t.from.ReadDir(ctx, t.path(dir)+"/tmp") {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return t.odd(dir, &listError{err})
		}
		t.res.Unfinished++
	}
	return nil
}

// add hands one message over.
func (t *transfer) add(ctx context.Context, s *sourceDir, n Name) error {
	if again, err := t.met.again(ctx, t, s.Folder, n.Base()); again || err != nil {
		return err
	}
	name := n.String()
	m := &Message{Folder: s.to, Source: t.o.Source, Name: n, Flags: n.Flags(), Cur: s.Cur, from: s}
	if s.words != nil {
		m.Keywords = s.words.Names(m.Flags)
		m.Flags &^= keywordFlags
	}
	m.Look = func() (int64, time.Time, error) {
		fi, err := s.Lstat(name)
		if err == nil && !fi.Mode.IsRegular() {
			err = &fs.PathError{Op: "open", Path: s.Path(name), Err: qmailkit.ErrNotPlain}
		}
		return fi.Size, fi.ModTime, err
	}
	m.Body = func() io.Reader { return &treeFile{from: s.TreeDir, name: name} }
	m.Size, _ = n.Size()
	if m.Size < 0 || m.Size > 1<<40 {
		m.Size = 0 // a guess for the size of groups, and a wild one
	}
	if t.o.Done != nil {
		e := s.Entry
		e.Name = n
		m.Done = func(r Result) { t.o.Done(e, r) }
	}
	t.res.Messages++
	return t.im.Add(ctx, m)
}

// treeFile opens a message when it is read.
type treeFile struct {
	from *qmailkit.TreeDir
	name string
	f    qmailkit.File
}

func (f *treeFile) Read(p []byte) (int, error) {
	if f.f == nil {
		var err error
		if f.f, err = f.from.Open(f.name); err != nil {
			return 0, err
		}
	}
	return f.f.Read(p)
}

// Close closes what was opened.
func (f *treeFile) Close() error {
	if f.f == nil {
		return nil
	}
	return f.f.Close()
}
