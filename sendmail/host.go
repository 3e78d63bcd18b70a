package sendmail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// Options says how to read a host. Nil or the zero value reads it as its
// system left it. All paths are relative to the host's root, without a leading
// slash.
type Options struct {
	// Passwd is the account file; empty takes etc/master.passwd where it
	// stands and etc/shadow does not, else etc/passwd. A name that ends in
	// "master.passwd" has the ten fields of that file.
	Passwd string
	// Shadow is the file of hashes beside a passwd file; empty takes
	// etc/shadow where it exists.
	Shadow string
	// Spools are the directories of incoming mail; nil takes those of
	// var/mail, var/spool/mail, usr/spool/mail and usr/mail that exist.
	Spools []string
	// Folders are the names in each home directory that hold further mail: a
	// file is one folder, and a directory a tree of them, whose own name does
	// not count. Nil takes mbox, mail and Mail. UW-IMAP's own root, the whole
	// home directory, is ".".
	Folders []string
	// Now is the time that accounts expire by; nil is time.Now.
	Now func() time.Time

	MaxLine    int   // bytes in a line of a settings file; 0 is 64 KiB
	MaxFile    int64 // bytes read of a settings file; 0 is 1 GiB
	MaxEntries int   // directory entries looked at for one account; 0 is 200,000
	MaxDepth   int   // levels of folders; 0 is 20
	MaxMailbox int64 // bytes in one mailbox; 0 is 1 TiB
}

// withDefaults returns a copy in which every field has a meaning.
func (o *Options) withDefaults() Options {
	var d Options
	if o != nil {
		d = *o
	}
	if d.Folders == nil {
		d.Folders = []string{"mbox", "mail", "Mail"}
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	setDefault(&d.MaxLine, 64<<10)
	setDefault(&d.MaxFile, 1<<30)
	setDefault(&d.MaxEntries, 200_000)
	setDefault(&d.MaxDepth, 20)
	setDefault(&d.MaxMailbox, 1<<40)
	return d
}

func setDefault[T int | int64](to *T, value T) {
	if *to <= 0 {
		*to = value
	}
}

// A Layout is where a host keeps what this package reads. The paths have no
// symbolic links; an empty one was not found.
type Layout struct {
	Passwd string   // account file
	Master bool     // it has the ten fields of master.passwd
	Shadow string   // hashes, if they stand apart
	Spools []string // directories of incoming mail
	Config string   // sendmail.cf
}

// A Host is the file system of a Sendmail host. It is read when its methods
// are called and nothing of it is kept, so a Host may be used by several
// goroutines.
type Host struct {
	tree   qmailkit.Tree
	opts   Options
	layout Layout
}

// Open finds the files of a Sendmail host in its file system's root. It fails
// if there is no account file, or if one that is named does not exist.
func Open(t qmailkit.Tree, opts *Options) (*Host, error) {
	h := &Host{tree: t, opts: opts.withDefaults()}
	if err := h.findAccounts(); err != nil {
		return nil, fmt.Errorf("sendmail: %w", err)
	}
	if err := h.findSpools(); err != nil {
		return nil, fmt.Errorf("sendmail: %w", err)
	}
	var err error
	if h.layout.Config, err = h.findFile("etc/mail/sendmail.cf", "etc/sendmail.cf"); err != nil {
		return nil, fmt.Errorf("sendmail: %w", err)
	}
	return h, nil
}

// Layout says which files were found.
func (h *Host) Layout() Layout {
	l := h.layout
	l.Spools = append([]string(nil), l.Spools...)
	return l
}

func (h *Host) findAccounts() (err error) {
	l := &h.layout
	if h.opts.Shadow != "" {
		l.Shadow, err = h.mustFind(h.opts.Shadow)
	} else {
		l.Shadow, err = h.findFile("etc/shadow")
	}
	if err != nil {
		return err
	}
	switch {
	case h.opts.Passwd != "":
		l.Passwd, err = h.mustFind(h.opts.Passwd)
		l.Master = strings.HasSuffix(h.opts.Passwd, "master.passwd")
	case l.Shadow == "":
		if l.Passwd, err = h.findFile("etc/master.passwd"); l.Passwd != "" || err != nil {
			l.Master = true
			break
		}
		fallthrough
	default:
		l.Passwd, err = h.mustFind("etc/passwd")
	}
	if l.Master {
		l.Shadow = ""
	}
	return err
}

func (h *Host) findSpools() error {
	names, given := h.opts.Spools, h.opts.Spools != nil
	if !given {
		names = []string{"var/mail", "var/spool/mail", "usr/spool/mail", "usr/mail"}
	}
	seen := map[string]bool{}
	for _, name := range names {
		dir, fi, err := h.lookup(name)
		if errors.Is(err, fs.ErrNotExist) && !given {
			continue
		}
		if err == nil && !fi.Mode.IsDir() {
			err = &fs.PathError{Op: "open", Path: name, Err: errors.New("not a directory")}
		}
		if err != nil {
			return err
		}
		if !seen[dir] {
			seen[dir] = true
			h.layout.Spools = append(h.layout.Spools, dir)
		}
	}
	return nil
}

// lookup resolves the links in name that may be followed and describes what
// stands there.
func (h *Host) lookup(name string) (string, qmailkit.FileInfo, error) {
	if strings.IndexByte(name, 0) >= 0 {
		return "", qmailkit.FileInfo{}, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	at, err := qmailkit.Resolve(h.tree, strings.TrimPrefix(name, "/"))
	if err != nil {
		return "", qmailkit.FileInfo{}, err
	}
	fi, err := h.tree.Lstat(at)
	return at, fi, err
}

// findFile returns the first of names that exists, or nothing.
func (h *Host) findFile(names ...string) (string, error) {
	for _, name := range names {
		at, _, err := h.lookup(name)
		if err == nil {
			return at, nil
		}
		if !missing(err) {
			return "", err
		}
	}
	return "", nil
}

func (h *Host) mustFind(name string) (string, error) {
	at, _, err := h.lookup(name)
	return at, err
}

// lines yields the lines of a settings file. An error in opening it ends the
// sequence.
func (h *Host) lines(ctx context.Context, path string) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		f, err := h.tree.Open(path)
		if err != nil {
			yield(line{place: place{path: path}}, qmailkit.Incomplete(err))
			return
		}
		defer f.Close()
		readLines(ctx, bounded(f, h.opts.MaxFile), path, h.opts.MaxLine)(yield)
	}
}

// missing says that a name, or a directory on the way to it, does not exist.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// ErrForeign says that a file of several links belongs to somebody else than
// the account in whose directory it stands: a hard link can be made to any
// file, so reading it could give away what its owner keeps secret.
var ErrForeign = safefs.ErrForeign

// checkFile says whether a file in a directory of a user may be read for that
// user. Where the tree cannot count links, only the user's own file may.
func checkFile(fi qmailkit.FileInfo, uid int) error {
	switch {
	case fi.Mode.Type() == fs.ModeSymlink:
		return fmt.Errorf("%w: %w", qmailkit.ErrNotPlain, qmailkit.ErrLink)
	case fi.Mode.IsDir():
		return fmt.Errorf("%w: a directory", qmailkit.ErrNotPlain)
	case fi.Mode.Type() == fs.ModeNamedPipe:
		return fmt.Errorf("%w: a FIFO", qmailkit.ErrNotPlain)
	case !fi.Mode.IsRegular():
		return fmt.Errorf("%w: a device or socket", qmailkit.ErrNotPlain)
	case fi.Nlink != 1 && fi.UID != uid:
		return fmt.Errorf("%w: owner %d, %d links", ErrForeign, fi.UID, fi.Nlink)
	}
	return nil
}

// openOwned opens a file in a directory of the user uid, who may change the
// directory at any moment: so what was opened is judged, where that can be
// told, and not what stood there.
func (h *Host) openOwned(path string, uid int) (qmailkit.File, error) {
	f, err := h.tree.Open(path)
	if err != nil {
		return nil, err
	}
	var fi qmailkit.FileInfo
	if local, ok := f.(*os.File); ok {
		var now safefs.Info
		now, err = safefs.Stat(local)
		fi = qmailkit.FileInfo{Mode: now.Mode, UID: now.UID, Nlink: now.Nlink}
	} else {
		fi, err = h.tree.Lstat(path)
	}
	if err == nil {
		err = checkFile(fi, uid)
	}
	if err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return f, nil
}
