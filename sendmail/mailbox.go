package sendmail

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
)

// A Mailbox is one mbox file of an account.
type Mailbox struct {
	// Path is its name in the host's Tree, without any symbolic link.
	Path string
	// Folder is its place among the account's folders, one part for each
	// level, bytes as they stand in the file system; nil is the inbox.
	Folder  []string
	Size    int64 // bytes, when it was found
	ModTime time.Time
	UID     int
	GID     int
}

// Mailboxes yields the mail of an account: its files in the spool directories,
// then the folders below its home directory. Only real mbox files come without
// an error: those that begin with "From ", after blank lines or a byte order
// mark at most. Empty files and files of mail programs' own (names that begin
// with a dot, locks) are passed over.
//
// What cannot be taken is an ItemError, with as much of the Mailbox as is
// known, and the rest goes on:
//
//	sendmail.user-unsafe       a user name that is no file name
//	sendmail.spool-not-mbox    a spool file that does not begin as an mbox
//	sendmail.folder-not-mbox   the same for a file among the folders
//	sendmail.foreign-format    mbx, MMDF, Babyl, MH, Maildir, mix or dbox
//	sendmail.not-plain         a link, FIFO, directory or device
//	sendmail.foreign-file      a hard link to a file of somebody else
//	sendmail.unreadable        the system refuses to open it
//	sendmail.mailbox-too-big   larger than Options.MaxMailbox
//	sendmail.too-deep          folders below Options.MaxDepth levels
//	sendmail.folder-twice      (warning) a name that came before already
//	sendmail.mail-in-home      an mbox outside the folders of Options.Folders
//	sendmail.home-missing, sendmail.home-unsafe, sendmail.home-unreadable
//
// A folder may come twice, from ~/mail and ~/Mail or out of two spools: both
// have the same Folder, and the second carries the warning folder-twice with a
// Mailbox that is good to use. More than Options.MaxEntries names end the
// sequence with an error that wraps qmailkit.ErrIncomplete.
//
// The account's owner may change the files at any moment, so open them with
// OpenMailbox.
func (h *Host) Mailboxes(ctx context.Context, a *Account) iter.Seq2[Mailbox, error] {
	return func(yield func(Mailbox, error) bool) {
		w := &walker{host: h, ctx: ctx, account: a, yield: yield, left: h.opts.MaxEntries, seen: map[string]string{}}
		if !w.spools() {
			return
		}
		home, err := h.home(a)
		if err != nil {
			yield(Mailbox{}, homeError(a, err))
			return
		}
		w.home(home)
	}
}

// OpenMailbox opens a Mailbox for reading. It is judged again, because its
// owner may have put something else there.
func (h *Host) OpenMailbox(a *Account, m Mailbox) (qmailkit.File, error) {
	return h.openOwned(m.Path, a.UID)
}

// A walker finds the mailboxes of one account. Its methods return false once
// the sequence is over.
type walker struct {
	host    *Host
	ctx     context.Context
	account *Account
	yield   func(Mailbox, error) bool
	left    int               // names that may still be looked at
	sparse  bool              // the whole home is searched: most files are no mail
	seen    map[string]string // path of each folder, by its parts joined with "/"
}

// fail yields an error of one item.
func (w *walker) fail(m Mailbox, code, format string, args ...any) bool {
	return w.yield(m, place{path: m.Path}.item(code, format, args...))
}

// end yields the error that ends the sequence.
func (w *walker) end(err error) bool {
	w.yield(Mailbox{}, qmailkit.Incomplete(err))
	return false
}

// spools yields the account's files in the spool directories.
func (w *walker) spools() bool {
	a := w.account
	if !plainName(a.Name) {
		return w.yield(Mailbox{}, a.place().item("user-unsafe", "%w: user name %.80q cannot name a spool file", ErrUnsafe, a.Name))
	}
	for _, dir := range w.host.layout.Spools {
		if !w.spool(dir, a.Name) {
			return false
		}
		hashed := hashedNames(a.Name)
		if len(hashed) == 0 {
			continue
		}
		// Most hosts have no such layout: one look tells.
		if fi, err := w.host.tree.Lstat(join(dir, a.Name[:1])); missing(err) || err == nil && !fi.Mode.IsDir() {
			continue
		}
		for _, name := range hashed {
			if !w.spool(dir, name) {
				return false
			}
		}
	}
	return true
}

func (w *walker) spool(dir, name string) bool {
	m := Mailbox{Path: join(dir, name)}
	fi, err := w.host.tree.Lstat(m.Path)
	if missing(err) || errors.Is(err, qmailkit.ErrLink) && name != w.account.Name {
		return true
	}
	if err != nil {
		return w.fail(m, "unreadable", "%w", err)
	}
	if fi.Mode.IsDir() && len(name) == 1 {
		return true // of a hashed layout
	}
	return w.file(m, fi, "spool-not-mbox")
}

// home yields the folders of a home directory.
func (w *walker) home(home string) bool {
	for _, root := range w.host.opts.Folders {
		if root == "." {
			w.sparse = true
			return w.tree(home, nil)
		}
	}
	for _, root := range w.host.opts.Folders {
		path := join(home, root)
		fi, err := w.host.tree.Lstat(path)
		switch {
		case missing(err):
			continue
		case err != nil:
			if !w.fail(Mailbox{Path: path}, "unreadable", "%w", err) {
				return false
			}
		case fi.Mode.IsDir():
			if !w.tree(path, nil) {
				return false
			}
		default:
			m := Mailbox{Path: path, Folder: []string{root[strings.LastIndexByte(root, '/')+1:]}}
			if !w.file(m, fi, "folder-not-mbox") {
				return false
			}
		}
	}
	return w.besides(home)
}

// besides reports mail in the home directory that is in none of the folders.
func (w *walker) besides(home string) bool {
	names, ok := w.readDir(home)
	if !ok {
		return false
	}
	for _, e := range names {
		if passedOver(e.Name) || slices.Contains(w.host.opts.Folders, e.Name) {
			continue
		}
		m := Mailbox{Path: join(home, e.Name), Folder: []string{e.Name}}
		switch {
		case e.Type.IsDir():
			if e.Name == "Maildir" && !w.foreign(m, "Maildir") {
				return false
			}
		case e.Type.IsRegular() && !w.beside(m):
			return false
		}
	}
	return true
}

// beside reports a file in a home directory if it is an mbox. Links to files
// of others are no mail of the account.
func (w *walker) beside(m Mailbox) bool {
	fi, err := w.host.tree.Lstat(m.Path)
	if err == nil && (fi.Size == 0 || checkFile(fi, w.account.UID) != nil) {
		return true
	}
	kind := ""
	if err == nil {
		kind, err = w.host.sniff(m.Path, w.account.UID)
	}
	switch {
	case gone(err):
		return true
	case err != nil:
		return w.fail(m, "unreadable", "%w", err)
	case kind != mboxFile:
		return true
	}
	return w.fail(m, "mail-in-home", "this mailbox is in none of the folders %s of a home directory", strings.Join(w.host.opts.Folders, ", "))
}

// tree yields the folders in the directory path.
func (w *walker) tree(path string, folder []string) bool {
	names, ok := w.readDir(path)
	if !ok {
		return false
	}
	m := Mailbox{Path: path, Folder: folder}
	kind := dirKind(names)
	if kind != "" && !w.foreign(m, kind) {
		return false
	}
	if kind != "" && kind != mhFolder {
		return true
	}
	for _, e := range names {
		m := Mailbox{Path: join(path, e.Name), Folder: append(slices.Clip(folder), e.Name)}
		switch {
		case passedOver(e.Name), isLock(names, e.Name):
		case e.Type.IsDir() && len(m.Folder) >= w.host.opts.MaxDepth:
			ok = w.fail(m, "too-deep", "more than %d levels of folders", w.host.opts.MaxDepth)
		case e.Type.IsDir():
			ok = w.tree(m.Path, m.Folder)
		case e.Type.IsRegular() && numeric(e.Name):
			ok = w.number(m, Mailbox{Path: path, Folder: folder}, &kind)
		default:
			ok = w.folder(m)
		}
		if !ok {
			return false
		}
	}
	return true
}

// folder yields a file in a tree of folders.
func (w *walker) folder(m Mailbox) bool {
	fi, err := w.host.tree.Lstat(m.Path)
	switch {
	case gone(err):
		return true
	case err != nil:
		return w.fail(m, "unreadable", "%w", err)
	case w.sparse && !fi.Mode.IsRegular():
		return true
	}
	return w.file(m, fi, "folder-not-mbox")
}

// number yields a file whose name is a number: an mbox, which may have the name
// of a year, or a message of an MH folder. Such a folder is reported once, as
// kind notes.
func (w *walker) number(m, folder Mailbox, kind *string) bool {
	is, err := w.host.sniff(m.Path, w.account.UID)
	switch {
	case gone(err):
		return true
	case is != otherFile && err == nil, errors.Is(err, ErrForeign), errors.Is(err, qmailkit.ErrNotPlain):
		return w.folder(m)
	case err != nil:
		return w.fail(m, "unreadable", "%w", err)
	}
	if *kind == mhFolder {
		return true
	}
	*kind = mhFolder
	return w.foreign(folder, mhFolder)
}

func (w *walker) foreign(m Mailbox, kind string) bool {
	return w.fail(m, "foreign-format", "mail in the form of %s is not taken from here", kind)
}

// readDir returns the entries of a directory in the order of their names. A
// directory that cannot be read is an item's error, and counts as empty.
func (w *walker) readDir(path string) ([]qmailkit.DirEntry, bool) {
	var names []qmailkit.DirEntry
	for e, err := range w.host.tree.ReadDir(w.ctx, path) {
		if err != nil {
			if cause := context.Cause(w.ctx); cause != nil {
				return nil, w.end(cause)
			}
			return nil, w.fail(Mailbox{Path: path}, "unreadable", "%w", err)
		}
		if w.left--; w.left < 0 {
			return nil, w.end(place{path: path}.item("too-many-entries",
				"more than %d files and directories for one account", w.host.opts.MaxEntries))
		}
		names = append(names, e)
	}
	slices.SortFunc(names, func(a, b qmailkit.DirEntry) int { return strings.Compare(a.Name, b.Name) })
	return names, true
}

// file yields one file, with code as the error if it is no mbox.
func (w *walker) file(m Mailbox, fi qmailkit.FileInfo, code string) bool {
	m.Size, m.ModTime, m.UID, m.GID = fi.Size, fi.ModTime, fi.UID, fi.GID
	if err := checkFile(fi, w.account.UID); err != nil {
		if errors.Is(err, ErrForeign) {
			return w.fail(m, "foreign-file", "%w", err)
		}
		return w.fail(m, "not-plain", "%w", err)
	}
	if m.Size == 0 {
		return true
	}
	if m.Size > w.host.opts.MaxMailbox {
		return w.fail(m, "mailbox-too-big", "%d bytes, of which %d are allowed", m.Size, w.host.opts.MaxMailbox)
	}
	kind, err := w.host.sniff(m.Path, w.account.UID)
	switch {
	case gone(err):
		return true
	case err != nil:
		return w.fail(m, "unreadable", "%w", err)
	case kind == blankFile:
		return true
	case kind == otherFile && w.sparse && m.Folder != nil:
		return true
	case kind == otherFile:
		return w.fail(m, code, "does not begin with \"From \", so it is not taken for a mailbox")
	case kind != mboxFile:
		return w.foreign(m, kind)
	}
	key := strings.Join(m.Folder, "/")
	if first, twice := w.seen[key]; twice {
		what := "the inbox"
		if m.Folder != nil {
			what = fmt.Sprintf("folder %.200q", key)
		}
		return w.yield(m, &ItemError{place{path: m.Path}.problem(qmailkit.Warning, "folder-twice",
			"%s of user %.80q also comes from %s; the two become one", what, w.account.Name, first)})
	}
	w.seen[key] = m.Path
	return w.yield(m, nil)
}

// join puts a name behind a directory of the tree.
func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}
