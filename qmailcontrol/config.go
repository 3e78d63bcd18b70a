package qmailcontrol

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// MaxConfig bounds the bytes of all files of a control directory together.
const MaxConfig = 4 * MaxSize

var (
	// ErrName says that a name is not that of a file in a control directory.
	ErrName = errors.New("not the name of a control file")
	// ErrControls is wrapped by the error of a program of qmail that stops at
	// its control files.
	ErrControls = errors.New("unable to read controls")
)

// A ControlsError tells at which file a program of qmail stops. It matches
// ErrControls.
type ControlsError struct {
	Program string // such as "qmail-send"
	File    string
	Err     error // wraps fs.ErrNotExist where the program needs a file that is missing
}

// Error puts program and file before the cause.
func (e *ControlsError) Error() string {
	return fmt.Sprintf("%s: %v: %s: %v", e.Program, ErrControls, e.File, e.Err)
}

// Unwrap returns the cause.
func (e *ControlsError) Unwrap() error { return e.Err }

// Is makes every ControlsError an ErrControls.
func (e *ControlsError) Is(target error) bool { return target == ErrControls }

// An Entry is one name in a control directory.
type Entry struct {
	Name string
	// Text is the content as it stands.
	Text string
	// Err says why the file cannot be read, and Text is then empty: it is a
	// directory, say, or a link that leads out of the tree. To qmail that is
	// another thing than a missing file.
	Err error
	// Link is where the file really lies in the tree, if Name is a symbolic
	// link.
	Link string
	// Info describes the file, behind a link the one that it leads to. It is
	// the zero value for an entry that Set has made.
	Info qmailkit.FileInfo
}

// Config is a control directory as it was when it was read: the files of qmail
// and all others. Files that are missing, empty and unreadable are told apart,
// because qmail does so.
//
// What qmail makes of it is asked of the values that RcptHosts, SMTPD, Send,
// Remote and Inject return; they do not follow later edits. Edit a Clone by
// Set and Remove and see Diff. A Config may be read, but not edited, by many
// goroutines at once.
type Config struct {
	entries map[string]Entry
	size    int64
}

// NewConfig returns an empty control directory.
func NewConfig() *Config { return &Config{entries: map[string]Entry{}} }

// ReadConfig reads the control directory dir of a tree. The error is about the
// directory; a file that cannot be read is told by its Entry. Links are
// followed as Load follows them.
func ReadConfig(ctx context.Context, tree qmailkit.Tree, dir string) (*Config, error) {
	at, err := qmailkit.Resolve(tree, dir)
	if err != nil {
		return nil, err
	}
	c := NewConfig()
	for e, err := range tree.ReadDir(ctx, at) {
		if err != nil {
			return nil, err
		}
		c.entries[e.Name] = Entry{Name: e.Name}
	}
	for _, name := range c.Names() {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		e, err := c.read(tree, path.Join(at, name), name)
		if errors.Is(err, fs.ErrNotExist) {
			delete(c.entries, name) // gone since
			continue
		}
		c.put(e)
	}
	return c, nil
}

// read reads one entry. Its error is that of the entry.
func (c *Config) read(tree qmailkit.Tree, full, name string) (Entry, error) {
	e := Entry{Name: name}
	e.Info, e.Err = tree.Lstat(full)
	if e.Err != nil {
		return e, e.Err
	}
	at := full
	if e.Info.Mode.Type() == fs.ModeSymlink {
		if at, e.Err = resolve(tree, full); e.Err != nil {
			return e, e.Err
		}
		e.Link = at
		info, err := tree.Lstat(at)
		if err != nil {
			e.Err = unmissed(tree, full, err)
			return e, e.Err
		}
		e.Info = info
	}
	f, err := tree.Open(at)
	if err != nil {
		e.Err = unmissed(tree, full, err)
		return e, e.Err
	}
	defer f.Close()
	limit := min(MaxSize, MaxConfig-c.size)
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		b = b[:limit]
		err = placed(b, fmt.Errorf("%w: more than %d bytes", ErrTooBig, limit))
	}
	if err != nil {
		e.Err = named(name, err)
		return e, e.Err
	}
	e.Text = string(b)
	return e, nil
}

func (c *Config) put(e Entry) {
	c.size += int64(len(e.Text)) - int64(len(c.entries[e.Name].Text))
	c.entries[e.Name] = e
}

// Names returns the names of all files, in alphabetical order.
func (c *Config) Names() []string { return slices.Sorted(maps.Keys(c.entries)) }

// Entries yields all files in alphabetical order.
func (c *Config) Entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for _, name := range c.Names() {
			if !yield(c.entries[name]) {
				return
			}
		}
	}
}

// Entry returns the file of that name; found is false if it is missing.
func (c *Config) Entry(name string) (e Entry, found bool) {
	e, found = c.entries[name]
	return e, found
}

// Lines returns a file for reading and editing; edits change the Config only
// through Set. The error of a missing file wraps fs.ErrNotExist.
func (c *Config) Lines(name string) (*Lines, error) {
	e, found := c.entries[name]
	if !found {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if e.Err != nil {
		return nil, e.Err
	}
	return parseText(e.Text), nil
}

// Set gives a file new content, or makes it. It refuses, with an error that
// wraps ErrName or ErrTooBig, what could not be a control file, and a file
// that could not be read, because it could not be put back.
func (c *Config) Set(name string, l *Lines) error { return c.SetText(name, string(l.Bytes())) }

// SetText is Set for a file that is not one of lines.
func (c *Config) SetText(name, text string) error {
	if err := checkName(name); err != nil {
		return err
	}
	e := c.entries[name]
	if e.Err != nil {
		return e.Err
	}
	if len(text) > MaxSize || c.size-int64(len(e.Text))+int64(len(text)) > MaxConfig {
		return fmt.Errorf("%s: %w", name, ErrTooBig)
	}
	e.Name, e.Text = name, text
	c.put(e)
	return nil
}

func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00\n") {
		return fmt.Errorf("%w: %q", ErrName, name)
	}
	return nil
}

// Remove takes a file away. It reports whether it was there; one that could
// not be read stays, with its error.
func (c *Config) Remove(name string) (bool, error) {
	e, found := c.entries[name]
	if e.Err != nil {
		return false, e.Err
	}
	c.size -= int64(len(e.Text))
	delete(c.entries, name)
	return found, nil
}

// Clone returns a copy that can be edited.
func (c *Config) Clone() *Config { return &Config{maps.Clone(c.entries), c.size} }

// NewMRH makes morercpthosts.cdb of morercpthosts, as qmail-newmrh(8) does.
// Where the text is missing the error wraps fs.ErrNotExist.
func (c *Config) NewMRH() error {
	cdb, err := c.makeMRH()
	if err != nil {
		return err
	}
	return c.SetText("morercpthosts.cdb", cdb)
}

// makeMRH is what morercpthosts.cdb should hold.
func (c *Config) makeMRH() (string, error) {
	e, found := c.entries["morercpthosts"]
	switch {
	case !found:
		return "", &fs.PathError{Op: "open", Path: "morercpthosts", Err: fs.ErrNotExist}
	case e.Err != nil:
		return "", e.Err
	}
	var b buffer
	if err := WriteMorercpthosts(&b, strings.NewReader(e.Text)); err != nil {
		return "", err
	}
	return string(b.data), nil
}

// buffer is a file in memory. What is written to it starts at most at its end,
// which is how package cdbfile writes.
type buffer struct{ data []byte }

func (b *buffer) WriteAt(p []byte, off int64) (int, error) {
	if gap := off + int64(len(p)) - int64(len(b.data)); gap > 0 {
		b.data = append(b.data, make([]byte, gap)...)
	}
	return copy(b.data[off:], p), nil
}
