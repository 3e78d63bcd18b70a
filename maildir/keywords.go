package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// KeywordsName is the file of a folder that says what its small letters mean.
const KeywordsName = "dovecot-keywords"

// maxSideFile bounds the side files that are read whole.
const maxSideFile = 4 << 20

// Keywords is Dovecot's table of a folder's keywords: letter a is the name at
// index 0, and so on to z. Names beyond 26 have no letter.
type Keywords struct{ names []string }

// ParseKeywords reads a dovecot-keywords file: "INDEX NAME" lines. Lines that
// are not of that form are left out.
func ParseKeywords(b []byte) *Keywords {
	k := &Keywords{}
	for line := range strings.SplitSeq(string(b), "\n") {
		num, name, ok := strings.Cut(line, " ")
		n, err := strconv.Atoi(num)
		if !ok || err != nil || n < 0 || n >= 1024 || name == "" {
			continue
		}
		for len(k.names) <= n {
			k.names = append(k.names, "")
		}
		k.names[n] = name
	}
	return k
}

// Bytes is the file again.
func (k *Keywords) Bytes() []byte {
	var b []byte
	for i, n := range k.names {
		if n != "" {
			b = fmt.Appendf(b, "%d %s\n", i, n)
		}
	}
	return b
}

// Names are the keywords of the small letters in f.
func (k *Keywords) Names(f Flags) []string {
	var out []string
	for i := range min(26, len(k.names)) {
		if f.Has(Keyword(i)) && k.names[i] != "" {
			out = append(out, k.names[i])
		}
	}
	return out
}

// Letter gives the flag of a keyword, adding it to the table if a letter is
// free. Names compare without case, as IMAP has it (RFC 3501 section 2.3.2).
func (k *Keywords) Letter(name string) (f Flags, added, ok bool) {
	if name == "" || strings.ContainsAny(name, " \n\x00") {
		return 0, false, false
	}
	for i, n := range k.names {
		if strings.EqualFold(n, name) {
			return Keyword(i), false, i < 26
		}
	}
	for i, n := range k.names {
		if n == "" && i < 26 {
			k.names[i] = name
			return Keyword(i), true, true
		}
	}
	if len(k.names) >= 26 {
		return 0, false, false
	}
	k.names = append(k.names, name)
	return Keyword(len(k.names) - 1), true, true
}

// Keywords reads the table of this folder; a missing file is an empty table.
func (d *Dir) Keywords() (*Keywords, error) {
	b, err := d.root.ReadFile(KeywordsName, maxSideFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return ParseKeywords(b), nil
}

// SetKeywords replaces the table of this folder, durably.
func (d *Dir) SetKeywords(k *Keywords) error {
	return d.writeSide(KeywordsName, k.Bytes(), false)
}

// writeSide replaces a side file. The name of its temporary file is fixed, so
// that the next run takes away what a killed one left.
func (d *Dir) writeSide(name string, b []byte, undurable bool) error {
	return d.writeSideMode(name, b, d.opts.FileMode, undurable)
}

// writeSideMode is writeSide with a mode for a file that is made.
func (d *Dir) writeSideMode(name string, b []byte, mode fs.FileMode, undurable bool) error {
	return d.root.WriteFile(name, safefs.Replacement{
		Mode: mode, Owner: d.opts.owner(), Inherit: true, Temp: "." + name + ".qmailkit", Undurable: undurable,
	}, b)
}

// letters gives the small letters of a message's keywords.
func (f *folder) letters(names []string) (flags Flags, lost int, err error) {
	if len(names) == 0 {
		return 0, 0, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keywords == nil {
		if f.keywords, err = f.Keywords(); err != nil {
			return 0, 0, err
		}
	}
	for _, n := range names {
		l, added, ok := f.keywords.Letter(n)
		flags |= l
		f.dirty = f.dirty || added
		if !ok {
			lost++
		}
	}
	return flags, lost, nil
}

// saveKeywords writes the tables that the group has added to, before a letter
// of it is seen or promised. A sync of the whole file system that follows, or
// that is not wanted, spares theirs.
func (c *Committer) saveKeywords(g *group, follows bool) error {
	undurable := c.opts.Sync == SyncNone || follows && !c.separately()
	for f := range g.folders {
		f.mu.Lock()
		var err error
		if f.dirty {
			err = f.writeSide(KeywordsName, f.keywords.Bytes(), undurable)
			f.dirty = err != nil
		}
		f.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}
