package vpopmail

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// dirAlphabet names the hash directories (bigdir.c).
const dirAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// perDir is how many accounts share a hash directory: the_dir moves on when
// the counter reaches a multiple of it.
const perDir = 100

// DirControl is the counter by which vpopmail spreads users over the hash
// directories of a domain, and domains over those of its home: the file
// .dir-control. The zero value is not valid; NewDirControl is the state before
// the first account.
type DirControl struct {
	Users    uint64 // accounts, more or less: nothing ever recounts them
	Level    int    // depth of Dir, less one
	MaxLevel int
	Start    [3]int
	End      [3]int
	Mod      [3]int // offsets in Dir of the character of each level
	Index    [3]int
	Dir      string // where new accounts go; empty is the top
}

// NewDirControl is the counter of a directory without accounts.
func NewDirControl() DirControl {
	return DirControl{MaxLevel: 3, End: [3]int{61, 61, 61}, Mod: [3]int{0, 2, 4}}
}

// ParseDirControl reads a .dir-control file as vpopmail does, which takes the
// third number of each row from the second place (vcdb.c:vread_dir_control).
// Only the bytes depend on it up to the 390,700th account. An error wraps
// ErrDirControl.
func ParseDirControl(b []byte) (DirControl, error) {
	var c DirControl
	lines := strings.Split(string(b), "\n")
	if len(lines) < 8 {
		return c, fmt.Errorf("%w: %d lines of 8", ErrDirControl, len(lines)-1)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(lines[0]), 10, 62)
	if err != nil {
		return c, fmt.Errorf("%w: line 1: %q is not a number of accounts", ErrDirControl, lines[0])
	}
	c.Users = n
	for i, to := range []*int{&c.Level, &c.MaxLevel} {
		if *to, err = strconv.Atoi(strings.TrimSpace(lines[1+i])); err != nil {
			return c, fmt.Errorf("%w: line %d: %q is not a number", ErrDirControl, 2+i, lines[1+i])
		}
	}
	for i, to := range []*[3]int{&c.Start, &c.End, &c.Mod, &c.Index} {
		f := strings.Fields(lines[3+i])
		if len(f) < 2 {
			return c, fmt.Errorf("%w: line %d: %q has fewer than two numbers", ErrDirControl, 4+i, lines[3+i])
		}
		for j, word := range []string{f[0], f[1], f[1]} {
			if to[j], err = strconv.Atoi(word); err != nil {
				return c, fmt.Errorf("%w: line %d: %q is not a number", ErrDirControl, 4+i, word)
			}
		}
	}
	c.Dir = lines[7]
	return c, c.check()
}

// check keeps the arithmetic of Next inside its arrays.
func (c *DirControl) check() error {
	bad := c.Level < 0 || c.Level > 2
	for i := range 3 {
		bad = bad || c.Start[i] < 0 || c.Start[i] >= len(dirAlphabet) || c.End[i] < 0 || c.End[i] >= len(dirAlphabet)
		bad = bad || c.Mod[i] < 0 || c.Mod[i] > 4
	}
	if bad || len(c.Dir) > 5 {
		return fmt.Errorf("%w: numbers out of range", ErrDirControl)
	}
	for i := 0; i < len(c.Dir); i++ {
		if !alnum(c.Dir[i]) && c.Dir[i] != '/' {
			return fmt.Errorf("%w: hash directory %q", ErrDirControl, c.Dir)
		}
	}
	return nil
}

// Bytes is the file's content.
func (c *DirControl) Bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d\n%d\n%d\n", c.Users, c.Level, c.MaxLevel)
	for _, row := range [][3]int{c.Start, c.End, c.Mod, c.Index} {
		fmt.Fprintf(&b, "%d %d %d\n", row[0], row[1], row[2])
	}
	b.WriteString(c.Dir + "\n")
	return b.Bytes()
}

// Next counts one account more and returns the hash directory that it goes
// into, empty for the top (bigdir.c:open_big_dir). One that is written to the
// file after every account, as vpopmail's cdb programs do, passes through the
// reader's defect in between; Reread does that in memory.
func (c *DirControl) Next() string {
	c.Users++
	if c.Users%perDir == 0 {
		c.advance()
	}
	return c.Dir
}

// Reread is what writing the file and reading it again does to the counter.
func (c *DirControl) Reread() {
	for _, row := range []*[3]int{&c.Start, &c.End, &c.Mod, &c.Index} {
		row[2] = row[1]
	}
}

// advance moves Dir on: the character of the deepest level that is not at its
// end becomes the next of the alphabet, those behind it start again; when all
// are at their end there is one level more. Index is counted beside and is not
// what decides, so on the second level it runs ahead by one at first.
func (c *DirControl) advance() {
	dir := []byte(c.Dir)
	if len(dir) == 0 {
		c.Dir = dirAlphabet[c.Start[0] : c.Start[0]+1]
		return
	}
	for l := c.Level; l >= 0; l-- {
		at := c.Mod[l]
		if at >= len(dir) {
			continue
		}
		if dir[at] != dirAlphabet[c.End[l]] {
			c.Index[l]++
			dir[at] = following(dir[at])
			c.Dir = string(dir)
			return
		}
		dir[at] = dirAlphabet[c.Start[l]]
		c.Index[l] = c.Start[l]
	}
	if c.Level == 2 {
		c.Dir = string(dir)
		return
	}
	c.Level++
	c.Index[c.Level]++
	dir = append(dir, '/')
	// With the third offset read from the second place the new character
	// lands on one that is there: "0/1/" instead of "0/0/0".
	if at := c.Mod[c.Level]; at < len(dir) {
		dir[at] = following(dir[at])
	} else {
		dir = append(dir, dirAlphabet[c.Start[c.Level]])
	}
	c.Dir = string(dir)
}

// following is the next character of the alphabet, the first after the last.
func following(ch byte) byte {
	i := strings.IndexByte(dirAlphabet, ch)
	return dirAlphabet[(i+1)%len(dirAlphabet)]
}
