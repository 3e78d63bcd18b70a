package users

import (
	"io"

	"github.com/qmailkit/qmailkit/internal/cdbfile"
)

// WriteCDB makes of the text of users/assign the users/cdb that qmail-newu(8)
// makes of it, byte for byte. An assign that qmail-newu refuses is a
// *ParseError that wraps ErrFormat.
//
// What w holds is a cdb only when the error is nil. Memory: one line, and about
// eight bytes for each.
func WriteCDB(w io.WriterAt, assign io.Reader) error {
	c := newCompiler(w)
	s := newScanner(assign)
	for {
		err := s.scan()
		if err == io.EOF {
			return c.finish()
		}
		if err == nil {
			err = c.add(&s.fields)
		}
		if err != nil {
			return err
		}
	}
}

// A compiler makes users/cdb (qmail-newu.c:main).
//
// The key is "!", the local part in lower case and, for a line that is no
// wildcard, a NUL. The data are the other six fields parted by NULs. The last
// record has an empty key; its data are the last bytes of the wildcards, each
// once, so that qmail-lspawn need not try every prefix. Those are not in lower
// case, which is why a wildcard that ends in a capital may never match.
type compiler struct {
	w         *cdbfile.Writer
	key, data []byte
	ends      []byte
	seen      [256]bool
}

func newCompiler(w io.WriterAt) *compiler { return &compiler{w: cdbfile.NewWriter(w)} }

func (c *compiler) add(f *fields) error {
	local := f.field[0]
	c.key = appendLower(append(c.key[:0], '!'), local)
	if !f.wildcard {
		c.key = append(c.key, 0)
	} else if n := len(local); n > 0 && !c.seen[local[n-1]] {
		c.seen[local[n-1]] = true
		c.ends = append(c.ends, local[n-1])
	}
	c.data = c.data[:0]
	for i, b := range f.field[1:] {
		if i > 0 {
			c.data = append(c.data, 0)
		}
		c.data = append(c.data, b...)
	}
	return c.w.Add(c.key, c.data)
}

func (c *compiler) finish() error {
	if err := c.w.Add(nil, c.ends); err != nil {
		return err
	}
	return c.w.Finish()
}

// appendLower is qmail's case_lowerb: ASCII letters only.
func appendLower[T string | []byte](b []byte, s T) []byte {
	b = append(b, s...)
	for i, c := range b[len(b)-len(s):] {
		if 'A' <= c && c <= 'Z' {
			b[len(b)-len(s)+i] = c + 'a' - 'A'
		}
	}
	return b
}
