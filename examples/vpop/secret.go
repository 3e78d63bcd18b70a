//go:build unix

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/term"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/vpoptarget"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// passwordFlags say where a password or a hash comes from: never from an
// argument, which every user of the machine can read.
type passwordFlags struct {
	clear, hash string // files; - is standard input
	random      randomFlag
	none        bool // no password
}

// declare declares them; e and clear are the letters that vpopmail's program
// has for a hash and for a clear password, if it has any.
func (p *passwordFlags) declare(fs *flag.FlagSet, e, clear string) {
	const which = "`FILE` whose first line is the %s; - is standard input"
	fs.StringVar(&p.clear, "password-file", "", fmt.Sprintf(which, "password"))
	fs.StringVar(&p.hash, "hash-file", "", fmt.Sprintf(which, "password's hash, stored as it is"))
	if e != "" {
		fs.StringVar(&p.hash, e, "", "the same as -hash-file `FILE`")
	}
	if clear != "" {
		fs.StringVar(&p.clear, clear, "", "the same as -password-file `FILE`")
	}
}

func (p *passwordFlags) declareRandom(fs *flag.FlagSet) {
	fs.Var(&p.random, "r", "make a random password of `LEN` characters (-r=LEN; default 8, with vpopmail 5.6 12) and print it")
}

// given says whether a flag says where the password is from.
func (p *passwordFlags) given() bool {
	return p.clear != "" || p.hash != "" || p.random.given || p.none
}

func (p *passwordFlags) check() error {
	n := 0
	for _, given := range []bool{p.clear != "", p.hash != "", p.random.given, p.none} {
		if given {
			n++
		}
	}
	if n > 1 {
		return cli.Usagef("only one flag can say what the password is")
	}
	return nil
}

// A password is what an account gets, in one of its forms.
type password struct {
	clear, hash qmailkit.Secret
	none        bool
	random      bool // clear was made here
}

// put says it in the form of the library.
func (w *password) put(n *vpopmail.NewUser) {
	n.Clear, n.Hash, n.NoPassword = w.clear, w.hash, w.none
}

// read gets the password. Without a flag it is the first line of standard
// input; on a terminal it is asked for twice, as vadduser asks.
func (p *passwordFlags) read(j *job, who string) (*password, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	w := &password{none: p.none}
	var err error
	switch {
	case p.none:
	case p.random.given:
		w.random = true
		w.clear, err = j.store.RandomPassword(p.random.length)
	case p.hash != "":
		w.hash, err = j.secretFrom(p.hash, "-hash-file")
	case p.clear != "":
		w.clear, err = j.secretFrom(p.clear, "-password-file")
	default:
		w.clear, err = j.ask(who, true)
	}
	return w, err
}

// secretFrom reads the first line of a file, or of standard input.
func (j *job) secretFrom(path, flag string) (qmailkit.Secret, error) {
	if path == "-" {
		return j.line(flag + " -")
	}
	s, err := vpoptarget.FirstLine(path)
	if err != nil {
		return "", cli.Usagef("%s takes a file, or - for standard input: %w", flag, err)
	}
	return s, nil
}

// maxLine bounds a line of standard input that holds one secret.
const maxLine = 64 << 10

// line reads one line of standard input, a byte at a time, so that the next
// reader finds the next line.
func (j *job) line(what string) (qmailkit.Secret, error) {
	j.input = true
	var b []byte
	var c [1]byte
	for len(b) <= maxLine {
		n, err := j.env.Stdin.Read(c[:])
		if n == 1 && c[0] == '\n' {
			break
		}
		b = append(b, c[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
	}
	switch {
	case len(b) > maxLine:
		return "", cli.Usagef("%s: the line is too long", what)
	case len(b) == 0:
		return "", cli.Usagef("%s: %w: standard input has none", what, vpopmail.ErrNoPassword)
	}
	return qmailkit.Secret(b), nil
}

// ask asks for a password on a terminal, twice for a new one, and reads a line
// elsewhere.
func (j *job) ask(who string, twice bool) (qmailkit.Secret, error) {
	f, ok := j.env.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return j.line(who)
	}
	prompts := []string{"Password for " + who + ": "}
	if twice {
		prompts = append(prompts, "Once more: ")
	}
	var got []qmailkit.Secret
	for _, p := range prompts {
		j.env.Printf("%s", p)
		b, err := term.ReadPassword(int(f.Fd()))
		j.env.Printf("\n")
		if err != nil {
			return "", err
		}
		got = append(got, qmailkit.Secret(b))
	}
	switch {
	case got[0] == "":
		return "", cli.Usagef("%s: %w", who, vpopmail.ErrNoPassword)
	case twice && got[0] != got[1]:
		return "", cli.Usagef("the passwords differ")
	}
	return got[0], nil
}

// randomFlag is -r, with or without a length.
type randomFlag struct {
	given  bool
	length int // 0: as the release has it
}

// IsBoolFlag lets -r stand alone.
func (r *randomFlag) IsBoolFlag() bool { return true }

// String gives the length, if one was given.
func (r *randomFlag) String() string {
	if r == nil || r.length == 0 {
		return ""
	}
	return strconv.Itoa(r.length)
}

// Set takes a length, or "true" where there is none.
func (r *randomFlag) Set(s string) error {
	r.given, r.length = true, 0
	if s == "true" {
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 128 {
		return errors.New("a length is a number from 1 to 128")
	}
	r.length = n
	return nil
}
