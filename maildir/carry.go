package maildir

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// Names of further files beside the messages.
const (
	CourierSizes = "courierpop3dsizelist" // sizes and POP3 UIDLs, in the root
	CourierACL   = "courierimapacl"       // who may do what with the folder
	courierWords = "courierimapkeywords"  // a directory: a list, and a file for each message

	courierShared = "shared-maildirs" // names and places of others' folders
	courierFlags  = ".customflags"    // names of keywords, of an old patch
)

// sideFiles are carried as they are: of the root, then of every folder. What is
// not here is a cache that servers make anew (dovecot.index*, maildirsize,
// maildirfolder), or somebody else's.
var (
	sideFiles       = []string{CourierSizes, CourierSubscribed, DovecotSubscribed, courierShared, courierFlags}
	sideFolderFiles = []string{CourierUIDs, UIDListName, CourierACL}
)

// maxCarried bounds a file that is carried: one with the UIDs of some 400,000
// messages.
const maxCarried = 32 << 20

// keywordFlags are the small letters.
const keywordFlags = Flags((1<<26 - 1) << ('a' - 'A'))

// readKeywords reads Dovecot's table of a folder at the source; nil is none.
func readKeywords(from qmailkit.Tree, dir string) (*Keywords, error) {
	b, err := readSide(from, dir+"/"+KeywordsName, maxSideFile)
	if err != nil || b == nil {
		return nil, err
	}
	return ParseKeywords(b), nil
}

// readSide reads a file whole, if it has at most so many bytes; a missing one is
// nil.
func readSide(from qmailkit.Tree, path string, most int64) ([]byte, error) {
	f, err := from.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("more than %d bytes", most)
	}
	if err == nil && b == nil {
		b = []byte{}
	}
	return b, err
}

// carryFolder makes a folder and gives it the source's table of keywords,
// before any message needs a letter of it.
func (im *Importer) carryFolder(ctx context.Context, from qmailkit.Tree, path, to string) error {
	f, err := im.folder(to)
	if err != nil {
		return err
	}
	b, err := readSide(from, path+"/"+KeywordsName, maxSideFile)
	if err != nil || b == nil {
		return nil // Transfer reports it
	}
	if _, err := f.root.Lstat(KeywordsName); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.writeSide(KeywordsName, b, false)
}

// CarrySide brings the files beside the messages to d, the Maildir that
// Transfer has brought the messages of name to: UID lists, POP3 UIDLs,
// subscriptions, Courier's keywords and access lists. It is called when the
// messages are on the disk, by the function given to Importer.Close.
//
// A file that is missing here is made, and can be read by others if they can
// read it at the source; one that is as it was brought the last
// time follows the source's; one that a server has changed here since stays,
// and is a Problem. folders are those of Transferred, and folder is as in
// TransferOptions: where it changes names, subscriptions are written with the
// new ones. What was brought is noted in the journal.
func (im *Importer) CarrySide(ctx context.Context, from qmailkit.Tree, name string, folders []string, folder func(dir string) (string, error)) ([]qmailkit.Problem, error) {
	c := &carrier{im: im, from: from, folder: folder}
	for _, dir := range folders {
		if err := context.Cause(ctx); err != nil {
			return c.probs, err
		}
		to := dir
		if folder != nil && dir != "." {
			var err error
			if to, err = folder(dir); err != nil {
				continue // Transfer has reported it
			}
		}
		if err := c.dir(ctx, sidePath(name, dir), dir, to); err != nil {
			return c.probs, err
		}
	}
	if len(c.lines) == 0 {
		return c.probs, nil
	}
	if err := im.j.append(c.lines); err != nil {
		return c.probs, err
	}
	return c.probs, im.j.sync()
}

// carrier is a CarrySide on its way.
type carrier struct {
	im     *Importer
	from   qmailkit.Tree
	folder func(dir string) (string, error)
	lines  []byte
	probs  []qmailkit.Problem
}

func (c *carrier) problem(code, path string, err error) {
	c.probs = append(c.probs, qmailkit.Problem{Code: "maildir." + code, Severity: qmailkit.Warning, Path: path, Err: err})
}

func (c *carrier) dir(ctx context.Context, path, dir, to string) error {
	f, err := c.im.folder(to)
	if err != nil {
		if planted(err) {
			c.problem("folder", path, err)
			return nil
		}
		return err
	}
	names := sideFolderFiles
	if dir == "." {
		names = slices.Concat(sideFiles, names)
	}
	for _, name := range names {
		if err := c.file(f.Dir, path, name); err != nil {
			return err
		}
	}
	return c.words(ctx, f.Dir, path)
}

// file carries one file.
func (c *carrier) file(d *Dir, path, name string) error {
	b, err := readSide(c.from, path+"/"+name, maxCarried)
	if err != nil {
		c.problem("side-file", path+"/"+name, err)
		return nil
	}
	if b == nil {
		return nil
	}
	if c.folder != nil && (name == CourierSubscribed || name == DovecotSubscribed) {
		b = c.renamed(name, b)
	}
	was, known := c.im.j.sides[sideKey{d.folder, name}]
	have, err := d.root.ReadFile(name, maxCarried)
	switch sum := sideSum(b); {
	case known && was == sum:
		return nil // what is here now, if anything, is a server's doing
	case err == nil && bytes.Equal(have, b):
	case err == nil && (!known || sideSum(have) != was):
		c.problem("side-kept", path+"/"+name, errors.New("has changed on both sides; the one at the target stays"))
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		c.problem("side-file", d.root.Name()+"/"+name, err)
		return nil
	case err != nil && known:
		return nil // it was taken away here
	default:
		if err := d.writeSideMode(name, b, c.mode(d, path+"/"+name), false); err != nil {
			return err
		}
	}
	c.note(d.folder, name, b)
	return nil
}

// mode is that of the file at the source, if others can do no more with it
// than read it: programs that run as another user may have to.
func (c *carrier) mode(d *Dir, path string) fs.FileMode {
	fi, err := c.from.Lstat(path)
	if err != nil || !fi.Mode.IsRegular() {
		return d.opts.FileMode
	}
	return d.opts.FileMode | fi.Mode.Perm()&0o044
}

func (c *carrier) note(folder, name string, b []byte) {
	r := record{kind: 'S', folder: folder, side: name, id: sideSum(b)}
	c.lines = appendLine(c.lines, r.text())
	c.im.j.side(&r)
}

// sideKey is a file beside messages.
type sideKey struct{ folder, name string }

func sideSum(b []byte) ID {
	sum := sha256.Sum256(b)
	return ID(sum[:16])
}

// renamed writes subscriptions with the names that folders have here.
func (c *carrier) renamed(name string, b []byte) []byte {
	lines := strings.SplitAfter(string(b), "\n")
	for i, l := range lines {
		text := strings.TrimSuffix(l, "\n")
		var dir string
		switch rest, courier := strings.CutPrefix(text, "INBOX."); {
		case name == CourierSubscribed && courier:
			dir = "." + rest
		case name == DovecotSubscribed && text != "" && text != "INBOX" && !strings.HasPrefix(text, "V\t"):
			dir = "." + strings.ReplaceAll(text, "\t", ".")
		default:
			continue
		}
		to, err := c.folder(dir)
		if err != nil {
			continue
		}
		if name == CourierSubscribed {
			to = "INBOX" + to
		} else {
			to = strings.ReplaceAll(to[1:], ".", "\t")
		}
		lines[i] = to + l[len(text):]
	}
	return []byte(strings.Join(lines, ""))
}

// wordsTemp is the file that one of them is written to first.
const wordsTemp = ".qmailkit-words"

// words carries Courier's keywords: the list, and the files of changes that are
// not in it yet, some of which begin with a dot. What is there already stays.
func (c *carrier) words(ctx context.Context, d *Dir, path string) error {
	path += "/" + courierWords
	opened := false
	for e, err := range c.from.ReadDir(ctx, path) {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			c.problem("side-file", path, err)
			return nil
		}
		if strings.ContainsAny(e.Name, "/\x00") || e.Name == wordsTemp {
			continue
		}
		b, err := readSide(c.from, path+"/"+e.Name, maxSideFile)
		if err != nil || b == nil {
			if err != nil {
				c.problem("side-file", path+"/"+e.Name, err)
			}
			continue
		}
		if err := c.word(d, e.Name, b, &opened); err != nil {
			return err
		}
	}
	return nil
}

// word writes one file of them, if there is none.
func (c *carrier) word(d *Dir, name string, b []byte, opened *bool) error {
	dir, made, err := d.root.Mkdir(courierWords, d.opts.DirMode, d.opts.owner())
	if err != nil {
		if planted(err) {
			c.problem("side-file", d.root.Name()+"/"+courierWords, err)
			return nil
		}
		return err
	}
	defer dir.Close()
	if made && !*opened {
		*opened = true
		if err := d.root.Sync(); err != nil {
			return err
		}
	}
	if _, err := dir.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return dir.WriteFile(name, safefs.Replacement{Mode: d.opts.FileMode, Owner: d.opts.owner(), Temp: wordsTemp}, b)
}
