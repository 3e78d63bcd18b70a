package plesk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// PsaConfName is where Plesk keeps its settings, from the top of the host.
const PsaConfName = "etc/psa/psa.conf"

// maxConf is more than any psa.conf needs.
const maxConf = 1 << 20

var (
	// ErrConf says that psa.conf is too large, or a path in it no path.
	ErrConf = errors.New("not understood as psa.conf")
)

// PsaConf is /etc/psa/psa.conf: lines of a name, blanks, and a value. Comments
// begin with '#'. What no host is known to have is taken too: '=' for the
// blanks, and quotes around the value.
type PsaConf struct {
	text  []byte
	lines []confLine
}

type confLine struct {
	name, value string
	line        int
}

// ParsePsaConf reads psa.conf. Any text is one; the error is that of r, or wraps
// ErrConf for more than a megabyte.
func ParsePsaConf(r io.Reader) (*PsaConf, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxConf+1))
	if err == nil && len(b) > maxConf {
		err = fmt.Errorf("%w: more than %d bytes", ErrConf, maxConf)
	}
	if err != nil {
		return nil, fmt.Errorf("psa.conf: %w", err)
	}
	c := &PsaConf{text: b}
	n := 0
	for line := range bytes.SplitSeq(b, []byte{'\n'}) {
		n++
		text := strings.Trim(string(line), " \t\r")
		if text == "" || text[0] == '#' {
			continue
		}
		name, value := text, ""
		if i := strings.IndexAny(text, " \t="); i >= 0 {
			name, value = text[:i], unquoted(strings.TrimLeft(text[i:], " \t="))
		}
		c.lines = append(c.lines, confLine{name, value, n})
	}
	return c, nil
}

// unquoted takes away the quotes around a value.
func unquoted(s string) string {
	if n := len(s); n > 1 && (s[0] == '"' || s[0] == '\'') && s[n-1] == s[0] {
		return s[1 : n-1]
	}
	return s
}

// ReadPsaConf reads PsaConfName of a host. A missing file wraps fs.ErrNotExist.
func ReadPsaConf(host qmailkit.Tree) (*PsaConf, error) {
	at, err := qmailkit.Resolve(host, PsaConfName)
	if err != nil {
		return nil, err
	}
	f, err := host.Open(at)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ParsePsaConf(f)
}

// Get returns a value. Where a name stands twice the last one counts.
func (c *PsaConf) Get(name string) (value string, ok bool) {
	for _, l := range c.lines {
		if l.name == name {
			value, ok = l.value, true
		}
	}
	return value, ok
}

// All yields names and values in their order.
func (c *PsaConf) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, l := range c.lines {
			if !yield(l.name, l.value) {
				return
			}
		}
	}
}

// Bytes returns the file as it was read.
func (c *PsaConf) Bytes() []byte { return bytes.Clone(c.text) }

// Check tells what counts in another way than it looks: a name that stands
// twice with two values (plesk.conf-twice), and one without a value
// (plesk.conf-empty).
func (c *PsaConf) Check() iter.Seq[qmailkit.Problem] {
	return func(yield func(qmailkit.Problem) bool) {
		seen := map[string]confLine{}
		for _, l := range c.lines {
			p := qmailkit.Problem{Severity: qmailkit.Warning, Path: PsaConfName, Line: l.line}
			old, twice := seen[l.name]
			seen[l.name] = l
			switch {
			case l.value == "":
				p.Code, p.Err = "plesk.conf-empty", fmt.Errorf("%q has no value", l.name)
			case twice && old.value != l.value:
				p.Code, p.Err = "plesk.conf-twice", fmt.Errorf("%q has another value on line %d; this one is taken", l.name, old.line)
			default:
				continue
			}
			if !yield(p) {
				return
			}
		}
	}
}

// path returns a setting that is an absolute path.
func (c *PsaConf) path(name, otherwise string) (string, error) {
	v, ok := c.Get(name)
	if !ok {
		return otherwise, nil
	}
	if !strings.HasPrefix(v, "/") || strings.IndexByte(v, 0) >= 0 {
		return "", fmt.Errorf("psa.conf: %s: %w: %q is no absolute path", name, ErrConf, v)
	}
	return path.Clean(v), nil
}

// Mailnames is PLESK_MAILNAMES_D, below which the mailboxes lie. An error wraps
// ErrConf.
func (c *PsaConf) Mailnames() (string, error) { return c.path("PLESK_MAILNAMES_D", DefaultMailnames) }

// ProductRoot is PRODUCT_ROOT_D: /usr/local/psa, or /opt/psa on systems of the
// Debian kind. Plesk's tools are in its directory bin.
func (c *PsaConf) ProductRoot() (string, error) { return c.path("PRODUCT_ROOT_D", "/usr/local/psa") }

// QmailRoot is QMAIL_ROOT_D, with control, users and queue; /var/qmail if it is
// not set.
func (c *PsaConf) QmailRoot() (string, error) { return c.path("QMAIL_ROOT_D", "/var/qmail") }

// LocateMailnames returns the directory of the mailboxes in a host's tree, as
// psa.conf says, links of the administrator resolved. Without psa.conf it is
// DefaultMailnames.
func LocateMailnames(host qmailkit.Tree) (string, error) {
	dir := DefaultMailnames
	c, err := ReadPsaConf(host)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", err
	default:
		if dir, err = c.Mailnames(); err != nil {
			return "", err
		}
	}
	return qmailkit.Resolve(host, strings.TrimPrefix(dir, "/"))
}
