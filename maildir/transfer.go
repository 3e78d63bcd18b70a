package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
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
		if _, ok := FolderLevels(e.Name, UTF8); !ok || e.Name == "." {
			continue
		}
		kind := e.Type
		if kind == fs.ModeIrregular {
			fi, err := t.from.Lstat(t.path(e.Name))
			if err != nil {
				return err
			}
			kind = fi.Mode.Type()
		}
		switch {
		case kind.IsDir():
			t.res.Folders = append(t.res.Folders, e.Name)
		case !kind.IsRegular():
			t.problem("not-plain", t.path(e.Name), fmt.Errorf("%w where a folder should be", qmailkit.ErrNotPlain))
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
	arrived, err := t.names(ctx, dir, "new")
	if err != nil {
		return t.odd(dir, err)
	}
	waiting := make(map[string]int, len(arrived)) // by base
	for i, n := range arrived {
		waiting[n.Base()] = i
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
	moved := map[int]bool{}
	err = t.each(ctx, dir, "cur", func(n Name) error {
		if i, was := waiting[n.Base()]; was && t.gone(dir, arrived[i]) {
			moved[i] = true
		}
		return t.add(ctx, Entry{Folder: dir, Cur: true, Name: n}, to, words)
	})
	if err != nil {
		return t.odd(dir, err)
	}
	for i, n := range arrived {
		if moved[i] {
			continue
		}
		if err := t.add(ctx, Entry{Folder: dir, Name: n}, to, words); err != nil {
			return err
		}
	}
	return t.unfinished(ctx, dir)
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

// gone says whether a message has left new/.
func (t *transfer) gone(dir string, n Name) bool {
	_, err := t.from.Lstat(t.path(dir) + "/new/" + n.String())
	return errors.Is(err, fs.ErrNotExist)
}

// listError is trouble with reading a directory of the source.
type listError struct{ err error }

func (e *listError) Error() string { return e.err.Error() }
func (e *listError) Unwrap() error { return e.err }

// names lists the messages of new/.
func (t *transfer) names(ctx context.Context, dir, sub string) (list []Name, err error) {
	err = t.each(ctx, dir, sub, func(n Name) error {
		list = append(list, n)
		return nil
	})
	return list, err
}

func (t *transfer) each(ctx context.Context, dir, sub string, do func(n Name) error) error {
	path := t.path(dir) + "/" + sub
	for e, err := range t.from.ReadDir(ctx, path) {
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
			t.problem("not-plain", path+"/"+e.Name, err)
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
func (t *transfer) add(ctx context.Context, e Entry, to string, words *Keywords) error {
	if again, err := t.met.again(ctx, t, e.Folder, e.Name.Base()); again || err != nil {
		return err
	}
	path := t.path(e.Folder) + "/" + e.Sub() + "/" + e.Name.String()
	m := &Message{Folder: to, Source: t.o.Source, Name: e.Name, Flags: e.Name.Flags(), Cur: e.Cur}
	if words != nil {
		m.Keywords = words.Names(m.Flags)
		m.Flags &^= keywordFlags
	}
	m.Look = func() (int64, time.Time, error) {
		fi, err := t.from.Lstat(path)
		if err == nil && !fi.Mode.IsRegular() {
			err = &fs.PathError{Op: "open", Path: path, Err: qmailkit.ErrNotPlain}
		}
		return fi.Size, fi.ModTime, err
	}
	m.Body = func() io.Reader { return &treeFile{from: t.from, path: path} }
	m.Size, _ = e.Name.Size()
	if m.Size < 0 || m.Size > 1<<40 {
		m.Size = 0 // a guess for the size of groups, and a wild one
	}
	if t.o.Done != nil {
		m.Done = func(r Result) { t.o.Done(e, r) }
	}
	t.res.Messages++
	return t.im.Add(ctx, m)
}

// treeFile opens a message when it is read.
type treeFile struct {
	from qmailkit.Tree
	path string
	f    qmailkit.File
}

func (f *treeFile) Read(p []byte) (int, error) {
	if f.f == nil {
		var err error
		if f.f, err = f.from.Open(f.path); err != nil {
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
