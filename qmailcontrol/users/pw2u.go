package users

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// HomeRule says what PW2U makes of home directories.
type HomeRule uint8

const (
	// HomeOwned leaves out users whose home is missing or not their own (-o).
	HomeOwned HomeRule = iota
	// HomeExists stops at a missing home, and leaves out users whose home is
	// not their own (-h).
	HomeExists
	// HomeIgnored does not look at homes (-H).
	HomeIgnored
)

// What can stop PW2U. The error that wraps one of them is a *PW2UError.
// ErrNoAlias and ErrHome are others.
var (
	// ErrSubuser says that users/subusers names a user that got no entry.
	ErrSubuser = errors.New("no such user for a subuser")
	// ErrReadInput says that passwd, subusers or append cannot be read.
	ErrReadInput = errors.New("unable to read input")
	// ErrWriteOutput says that the entries cannot be written.
	ErrWriteOutput = errors.New("unable to write output")
)

// PW2U makes users/assign of a file in the format of passwd(5), as
// qmail-pw2u(8) does. The zero value is that program without options, on a
// host where all of users/include, exclude, mailnames, subusers and append are
// missing and every home is its user's own.
type PW2U struct {
	Home  HomeRule // -o, -h, -H
	Upper bool     // -u: users with capitals in their names too
	Slash bool     // -/: extensions are in .qmail-/ext, a directory
	// Break parts a user from an extension (-c); 0 means '-'. NoBreak leaves
	// the entries for extensions out (-C).
	Break   byte
	NoBreak bool
	// Alias is the user that gets the mail for nobody else; empty means "alias".
	Alias string
	// HomeOwner is as in Getpw. It is asked for the users that are left.
	HomeOwner func(home string) (uid uint32, ok bool, err error)

	// Include and Exclude look a name up in the files users/include and
	// users/exclude, Mailnames in users/mailnames, whose value is names parted
	// by colons. Nil says that there is no such file. They are read as control
	// files: qmailcontrol.Set.Has and qmailcontrol.Map.Lookup fit.
	Include, Exclude func(name string) bool
	Mailnames        func(name string) (names string, ok bool)
	// Subusers and Append are the files of these names; nil says that there is
	// none.
	Subusers, Append io.Reader
}

// PW2UError is what stops PW2U, and where.
type PW2UError struct {
	File   string // "passwd", "subusers", "append", or "assign" for the output
	Line   int    // from 1; 0 where there is none
	Err    error
	report string
}

// Error puts the place before the cause.
func (e *PW2UError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s: line %d: %v", e.File, e.Line, e.Err)
}

// Unwrap returns the cause.
func (e *PW2UError) Unwrap() error { return e.Err }

// Fatal returns the line, without its newline, that qmail-pw2u writes to
// standard error before it exits 111.
func (e *PW2UError) Fatal() string { return "qmail-pw2u: fatal: " + e.report }

// WriteAssign writes to w what qmail-pw2u writes of passwd. An error is a
// *PW2UError; w has then got as much as qmail-pw2u would have written, and
// what it has got is no users/assign, because the last line is missing.
//
// Fields are not checked, here as there: a mail name with a newline or a file
// append without one at its end makes a file that NewU refuses or cuts short.
// Memory: a line, and the entries of all users if there are subusers.
func (p PW2U) WriteAssign(w io.Writer, passwd io.Reader) error {
	// A buffer of its own, even over another one: what is in it when qmail-pw2u
	// stops is lost.
	run := pw2u{PW2U: p, out: bufio.NewWriterSize(struct{ io.Writer }{w}, outSize)}
	if run.Break == 0 {
		run.Break = '-'
	}
	if run.Alias == "" {
		run.Alias = "alias"
	}
	run.dash = "-:"
	if p.Slash {
		run.dash = "-/:"
	}
	if p.Subusers != nil {
		run.all = map[string]string{}
	}
	err := run.accounts(passwd)
	if err == nil && p.Subusers != nil {
		err = lines("subusers", p.Subusers, run.subuser)
	}
	if err == nil && p.Append != nil {
		err = lines("append", p.Append, func(line []byte) error { return run.write(line) })
	}
	if err == nil {
		if err = run.write([]byte(".\n")); err == nil {
			err = run.flush()
		}
	}
	return err
}

// outSize is the buffer of qmail-pw2u, which decides how much of the output
// there is when it stops.
const outSize = 8192

// pw2u is a run of PW2U.
type pw2u struct {
	PW2U
	out   *bufio.Writer
	dash  string
	alias bool              // was seen
	all   map[string]string // what stands between '=name' and dash, by name in lower case
	text  []byte
}

// accounts does passwd. The output is flushed before each read, as substdio's
// standard input and output are tied, so an error behind the last read leaves
// the whole of it.
func (p *pw2u) accounts(passwd io.Reader) error {
	tied := readerFunc(func(b []byte) (int, error) {
		if err := p.flush(); err != nil {
			return 0, err
		}
		return passwd.Read(b)
	})
	if err := lines("passwd", tied, p.account); err != nil {
		return err
	}
	if !p.alias {
		return &PW2UError{"passwd", 0, ErrNoAlias, "unable to find " + p.Alias + " user"}
	}
	return nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// lines calls do for each line of a file, newline and all. It puts the place
// into errors.
func lines(name string, r io.Reader, do func(line []byte) error) error {
	in := bufio.NewReaderSize(r, outSize)
	var long []byte
	for n := 1; ; n++ {
		b, err := in.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			b, err = readOn(in, append(long[:0], b...))
			long = b
		}
		var pe *PW2UError
		switch {
		case errors.As(err, &pe):
			return err
		case err != nil && err != io.EOF:
			return &PW2UError{name, n, fmt.Errorf("%w: %w", ErrReadInput, err), "unable to read input"}
		}
		if e := do(b); e != nil {
			if errors.As(e, &pe) && pe.File == "" {
				pe.File, pe.Line = name, n
			}
			return e
		}
		if err == io.EOF {
			return nil
		}
	}
}

// readOn goes on with a line that is longer than the buffer.
func readOn(in *bufio.Reader, line []byte) ([]byte, error) {
	for {
		b, err := in.ReadSlice('\n')
		line = append(line, b...)
		if len(line) > MaxLine {
			return line, fmt.Errorf("%w: a line of more than %d bytes", ErrTooBig, MaxLine)
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

func (p *pw2u) write(parts ...[]byte) error {
	for _, b := range parts {
		if _, err := p.out.Write(b); err != nil {
			return outputError(err)
		}
	}
	return nil
}

func (p *pw2u) flush() error {
	if err := p.out.Flush(); err != nil {
		return outputError(err)
	}
	return nil
}

func outputError(err error) error {
	return &PW2UError{"assign", 0, fmt.Errorf("%w: %w", ErrWriteOutput, err), "unable to write output"}
}

// account is qmail-pw2u.c:doaccount. A line counts if it has six colons and no
// NUL; its uid is the leading digits.
func (p *pw2u) account(line []byte) error {
	if bytes.IndexByte(line, 0) >= 0 {
		return nil
	}
	f := bytes.SplitN(line, []byte{':'}, 7)
	if len(f) < 7 {
		return nil
	}
	name, uidText, gidText, home := f[0], f[2], f[3], string(f[5])
	uid := digits64(uidText)
	if uid == 0 || !p.wanted(string(name)) {
		return nil
	}
	if own, err := p.owns(uid, home); err != nil || !own {
		return err
	}
	p.text = append(p.text[:0], ':')
	for _, field := range [...][]byte{name, uidText, gidText, f[5]} {
		p.text = append(append(p.text, field...), ':')
	}
	if p.all != nil {
		p.all[string(appendLower(nil, name))] = string(p.text)
	}
	if string(name) == p.Alias {
		p.alias = true
		if err := p.entry("+", nil, p.dash+":\n"); err != nil {
			return err
		}
	}
	names := string(name)
	if p.Mailnames != nil {
		if list, ok := p.Mailnames(names); ok {
			names = list
		}
	}
	return p.names(names)
}

// digits64 is scan_ulong on a machine of 64 bits.
func digits64(text []byte) (n uint64) {
	for _, c := range text {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

// wanted says whether name is of those who get entries.
func (p *pw2u) wanted(name string) bool {
	if !p.Upper {
		for i := range len(name) {
			if 'A' <= name[i] && name[i] <= 'Z' {
				return false
			}
		}
	}
	return (p.Include == nil || p.Include(name)) && (p.Exclude == nil || !p.Exclude(name))
}

// owns applies the HomeRule.
func (p *pw2u) owns(uid uint64, home string) (bool, error) {
	if p.Home == HomeIgnored || p.HomeOwner == nil {
		return true, nil
	}
	owner, ok, err := p.HomeOwner(home)
	if err == nil && !ok && p.Home == HomeExists {
		err = fmt.Errorf("%s does not exist", home)
	}
	if err != nil {
		return false, &PW2UError{Err: fmt.Errorf("%w: %w", ErrHome, err), report: "unable to stat " + home}
	}
	return ok && uint64(owner) == uid, nil
}

// names writes two entries for each mail name.
func (p *pw2u) names(list string) error {
	for name := range bytes.SplitSeq([]byte(list), []byte{':'}) {
		if len(name) == 0 {
			continue
		}
		if err := p.entry("=", name, "::\n"); err != nil {
			return err
		}
		if p.NoBreak {
			continue
		}
		if err := p.entry("+", append(bytes.Clone(name), p.Break), p.dash+":\n"); err != nil {
			return err
		}
	}
	return nil
}

// entry writes a line of the user at hand.
func (p *pw2u) entry(mark string, local []byte, tail string) error {
	return p.write([]byte(mark), local, p.text, []byte(tail))
}

// subuser is qmail-pw2u.c:dosubuser: "sub:user:ext:", and what follows the
// third colon is ignored, as is a line without it. An unknown user counts even
// if that colon is missing.
func (p *pw2u) subuser(line []byte) error {
	f := bytes.SplitN(line, []byte{':'}, 4)
	if len(f) < 3 {
		return nil
	}
	text, ok := p.all[string(appendLower(nil, f[1]))]
	if !ok {
		return &PW2UError{Err: fmt.Errorf("%w: %q", ErrSubuser, f[1]), report: fmt.Sprintf("unable to find %s user for subuser", f[1])}
	}
	if len(f) < 4 {
		return nil
	}
	p.text = append(p.text[:0], text...)
	if err := p.entry("=", f[0], p.dash+string(f[2])+":\n"); err != nil || p.NoBreak {
		return err
	}
	return p.entry("+", append(bytes.Clone(f[0]), p.Break), p.dash+string(f[2])+"-:\n")
}
