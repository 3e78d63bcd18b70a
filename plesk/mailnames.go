package plesk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// DefaultMailnames is where Plesk keeps the mailboxes unless PLESK_MAILNAMES_D
// of psa.conf says something else.
const DefaultMailnames = "/var/qmail/mailnames"

// Names in the directory of a mail name.
const (
	MaildirName     = "Maildir"
	AttachmentsName = "@attachments"
	UsageName       = "@mbox.usage"
	SpamName        = ".spamassassin"
	DotQmailName    = ".qmail"
	DefaultName     = ".qmail-default" // in the directory of a domain
)

// maxDot is the largest .qmail that is read.
const maxDot = 1 << 20

// Fate is what a move does with an entry of a mail name's directory.
type Fate uint8

const (
	// FateMessages: a Maildir, whose messages maildir.Importer.Transfer takes
	// and whose other files CarrySide takes.
	FateMessages Fate = iota
	// FateCarry: carried as it is, with the owner of all mail.
	FateCarry
	// FateOptional: may be carried; it is learnt or made again otherwise.
	FateOptional
	// FateMake: written anew on the target from psa, or carried.
	FateMake
	// FateDrop: a cache, which is left behind.
	FateDrop
	// FateReport: nothing that Plesk is known to put there. It is left behind
	// and told.
	FateReport
)

// String returns "messages", "carry", "optional", "make", "drop" or "report".
func (f Fate) String() string {
	if names := [...]string{"messages", "carry", "optional", "make", "drop", "report"}; int(f) < len(names) {
		return names[f]
	}
	return fmt.Sprintf("fate(%d)", uint8(f))
}

// MarshalText gives the same words as String.
func (f Fate) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// An Item is an entry of a mail name's directory.
type Item struct {
	Path string // in the Tree
	Info qmailkit.FileInfo
	Fate Fate
	Why  string // for FateDrop and FateReport
}

// A Mailbox is the directory of a mail name, with or without a Maildir.
type Mailbox struct {
	Domain string // name of the directory above
	Name   string
	Path   string // in the Tree
	Info   qmailkit.FileInfo
	Items  []Item // in the order of their names
	// Dot is its .qmail; nil is none.
	Dot *MailboxDot
	// Problems are what stands there and cannot be read or carried.
	Problems []qmailkit.Problem
}

// Maildir says whether there is one, and where.
func (b *Mailbox) Maildir() (path string, ok bool) {
	for _, it := range b.Items {
		if it.Fate == FateMessages {
			return it.Path, true
		}
	}
	return "", false
}

// A DomainDir is the directory of a domain.
type DomainDir struct {
	Name string
	Path string // in the Tree
	Info qmailkit.FileInfo
	// Default is its .qmail-default; nil is none, and then mail for unknown
	// names gets lost where users/assign has Plesk's form.
	Default   *DefaultDot
	Mailboxes []*Mailbox // in the order of their names
	// Problems are those of the directory itself.
	Problems []qmailkit.Problem
}

// Mailbox returns the directory of a mail name, or nil.
func (d *DomainDir) Mailbox(name string) *Mailbox {
	for _, b := range d.Mailboxes {
		if DirName(b.Name) == DirName(name) {
			return b
		}
	}
	return nil
}

// ReadMailnames reads the directories of mail names below dir, one domain after
// the other in the order of their names; no message is looked at. What cannot
// be read in a mailbox is among its Problems, and a domain that cannot be read
// is an error about that domain alone. Symbolic links are not followed. Memory
// is that of one domain.
func ReadMailnames(ctx context.Context, tree qmailkit.Tree, dir string) iter.Seq2[*DomainDir, error] {
	return func(yield func(*DomainDir, error) bool) {
		names, err := listDir(ctx, tree, dir)
		if err != nil {
			yield(nil, qmailkit.Incomplete(err))
			return
		}
		for _, name := range names {
			if err := context.Cause(ctx); err != nil {
				yield(nil, qmailkit.Incomplete(err))
				return
			}
			fi, err := tree.Lstat(dir + "/" + name)
			if err == nil && !fi.Mode.IsDir() {
				continue // CheckTree tells
			}
			d := &DomainDir{Name: name, Path: dir + "/" + name, Info: fi}
			if err == nil {
				err = d.read(ctx, tree)
			}
			if !yield(d, err) {
				return
			}
		}
	}
}

// listDir are the names of a directory in their order.
func listDir(ctx context.Context, tree qmailkit.Tree, dir string) ([]string, error) {
	var names []string
	for e, err := range tree.ReadDir(ctx, dir) {
		if err != nil {
			return nil, err
		}
		names = append(names, e.Name)
	}
	slices.Sort(names)
	return names, nil
}

func (d *DomainDir) problem(code string, s qmailkit.Severity, path, fix, format string, args ...any) {
	d.Problems = append(d.Problems, qmailkit.Problem{Code: "plesk." + code, Severity: s, Path: path, Err: fmt.Errorf(format, args...), Fix: fix})
}

// read reads the directory of a domain.
func (d *DomainDir) read(ctx context.Context, tree qmailkit.Tree) error {
	names, err := listDir(ctx, tree, d.Path)
	if err != nil {
		return err
	}
	for _, name := range names {
		at := d.Path + "/" + name
		fi, err := tree.Lstat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist): // gone meanwhile
		case err != nil:
			d.problem("unreadable", qmailkit.Error, at, "", "%w", err)
		case name == DefaultName:
			if d.Default, err = readDot(tree, at, ParseDefaultDot); err != nil {
				d.problem("unreadable", qmailkit.Error, at, "", "%w", err)
			}
		case fi.Mode.IsDir() && name[0] != '.':
			b := &Mailbox{Domain: d.Name, Name: name, Path: at, Info: fi}
			if err := b.read(ctx, tree); err != nil {
				if cause := context.Cause(ctx); cause != nil {
					return qmailkit.Incomplete(cause)
				}
				b.problem("unreadable", qmailkit.Error, at, "%w", err)
			}
			d.Mailboxes = append(d.Mailboxes, b)
		default:
			d.problem("domain-entry", qmailkit.Warning, at, "carry it by hand, if it is needed", "%s in the directory of a domain is nothing of Plesk's", kindOf(fi.Mode))
		}
	}
	return nil
}

// kindOf is a word for what an entry is.
func kindOf(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "a file"
	case m.IsDir():
		return "a directory"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	}
	return "something that is no file"
}

func (b *Mailbox) problem(code string, s qmailkit.Severity, path, format string, args ...any) {
	b.Problems = append(b.Problems, qmailkit.Problem{Code: "plesk." + code, Severity: s, Path: path, Err: fmt.Errorf(format, args...)})
}

// read reads the directory of a mail name.
func (b *Mailbox) read(ctx context.Context, tree qmailkit.Tree) error {
	names, err := listDir(ctx, tree, b.Path)
	if err != nil {
		return err
	}
	for _, name := range names {
		at := b.Path + "/" + name
		fi, err := tree.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			b.problem("unreadable", qmailkit.Error, at, "%w", err)
			continue
		}
		it := Item{Path: at, Info: fi}
		it.Fate, it.Why = Classify(name, fi.Mode)
		b.Items = append(b.Items, it)
		if it.Fate == FateReport {
			b.problem("entry", qmailkit.Warning, at, "left behind: %s", it.Why)
		}
		if name == DotQmailName && fi.Mode.IsRegular() {
			if b.Dot, err = readDot(tree, at, ParseMailboxDot); err != nil {
				b.problem("unreadable", qmailkit.Error, at, "%w", err)
			}
		}
	}
	return nil
}

// Classify says what a move does with an entry of a mail name's directory, by
// its name and its kind, and why where it stays behind.
func Classify(name string, mode fs.FileMode) (f Fate, why string) {
	type rule struct {
		dir  bool
		fate Fate
		why  string
	}
	rules := map[string]rule{
		MaildirName:     {true, FateMessages, ""},
		AttachmentsName: {true, FateCarry, ""},
		SpamName:        {true, FateOptional, ""},
		DotQmailName:    {false, FateMake, ""},
		UsageName:       {false, FateDrop, "a cache of Plesk's"},
	}
	r, known := rules[name]
	switch {
	case mode&fs.ModeSymlink != 0:
		return FateReport, "a symbolic link is not followed"
	case known && (r.dir && mode.IsDir() || !r.dir && mode.IsRegular()):
		return r.fate, r.why
	case known:
		return FateReport, fmt.Sprintf("%s where Plesk has something else", kindOf(mode))
	case strings.HasPrefix(name, DotQmailName+"-"):
		return FateReport, "a .qmail file for an extension, to which no line of users/assign leads"
	case name == ".mailfilter" || name == ".procmailrc" || name == "sieve" || name == ".sieve" || name == ".dovecot.sieve":
		return FateReport, "a mail filter"
	}
	return FateReport, kindOf(mode) + " that is not Plesk's"
}

// readDot reads a small file whole and parses it.
func readDot[T any](tree qmailkit.Tree, name string, parse func(r io.Reader) (*T, error)) (*T, error) {
	f, err := tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Size() > maxDot {
		return nil, fmt.Errorf("%s: more than %d bytes", name, maxDot)
	}
	return parse(f)
}
