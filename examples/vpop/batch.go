//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// A batch is a list of accounts, by domain.
type batch struct {
	domain  string // of names that have none
	domains []string
	lists   map[string][]entry

	accounts, refused int
	counts            map[vpopmail.Outcome]int
}

// An entry is an account with its line in the batch.
type entry struct {
	n    vpopmail.NewUser
	line int
}

// maxEntry is the longest line of a batch.
const maxEntry = 64 << 10

// read takes the file, or standard input. All of it is read before anything is
// done; a line that is no account is a wrong usage.
func (b *batch) read(j *job, path string) error {
	b.lists, b.counts = map[string][]entry{}, map[vpopmail.Outcome]int{}
	in := j.env.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	sc := bufio.NewScanner(in)
	sc.Buffer(make([]byte, 0, 4096), maxEntry)
	sc.Split(lines)
	line := 0
	for sc.Scan() {
		line++
		text := sc.Bytes()
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		domain, n, err := parseEntry(text)
		if err == nil && domain == "" {
			if domain = strings.ToLower(b.domain); domain == "" {
				err = errors.New("the name has no domain, and -domain is missing")
			}
		}
		if err != nil {
			return cli.Usagef("line %d: %w", line, err)
		}
		if b.lists[domain] == nil {
			b.domains = append(b.domains, domain)
		}
		b.lists[domain] = append(b.lists[domain], entry{n, line})
		b.accounts++
	}
	if errors.Is(sc.Err(), bufio.ErrTooLong) {
		return cli.Usagef("line %d is too long", line+1)
	}
	return sc.Err()
}

// lines splits at LF only: a CR is a byte of its line.
func lines(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// jsonEntry is a line in JSON.
type jsonEntry struct {
	Address    jsonl.Bytes `json:"address"`
	Hash       jsonl.Bytes `json:"hash"`
	Clear      jsonl.Bytes `json:"clear"`
	NoPassword bool        `json:"no_password"`
	Gecos      jsonl.Bytes `json:"gecos"`
	Quota      jsonl.Bytes `json:"quota"`
	Flags      string      `json:"flags"`
}

// parseEntry takes a line in one of its forms. The domain is empty where the
// name has none. Errors do not show the line: a secret is in it.
func parseEntry(text []byte) (domain string, n vpopmail.NewUser, err error) {
	switch {
	case text[0] == '{':
		n, err = parseJSON(text)
	case bytes.IndexByte(text, '\t') >= 0:
		n, err = parseTabs(string(text))
	default:
		n, err = parseColons(text)
	}
	if err == nil && strings.Contains(n.Name, "@") {
		n.Name, domain, err = vpopmail.SplitAddress(n.Name)
	}
	if err == nil && n.Name == "" {
		err = errors.New("the name is missing")
	}
	return domain, n, err
}

func parseJSON(text []byte) (vpopmail.NewUser, error) {
	var e jsonEntry
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		return vpopmail.NewUser{}, jsonError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return vpopmail.NewUser{}, errors.New("more than one JSON object")
	}
	flags, err := parseFlags(e.Flags)
	n := vpopmail.NewUser{
		Name: string(e.Address), Hash: qmailkit.Secret(e.Hash), Clear: qmailkit.Secret(e.Clear), NoPassword: e.NoPassword,
		Gecos: string(e.Gecos), Quota: string(e.Quota), Flags: flags,
	}
	return n, err
}

// jsonError keeps those words of an error that show nothing of the line but
// the names of its keys.
func jsonError(err error) error {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind):
		return fmt.Errorf("the JSON key %q cannot be a %s", kind.Field, kind.Value)
	case errors.As(err, &syntax):
		return fmt.Errorf("no JSON object, from byte %d on", syntax.Offset)
	case strings.HasPrefix(err.Error(), "json: unknown field "):
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	case errors.Is(err, jsonl.ErrBytes):
		return jsonl.ErrBytes
	}
	return errors.New("no JSON object")
}

// parseFlags takes vmoduser's letters.
func parseFlags(letters string) (f vpopmail.Flags, err error) {
	for _, c := range letters {
		bit := flagOf(string(c))
		if bit == 0 {
			return 0, fmt.Errorf("%q is no flag of vmoduser", c)
		}
		f |= bit
	}
	return f, nil
}

// flagOf is the flag that one of vmoduser's letters sets; 0 is none.
func flagOf(letter string) vpopmail.Flags {
	for bit := vpopmail.Flags(1); bit != 0; bit <<= 1 {
		if bit.Letters() == letter {
			return bit
		}
	}
	return 0
}

func parseTabs(text string) (n vpopmail.NewUser, err error) {
	f := strings.Split(text, "\t")
	if len(f) > 4 {
		return n, errors.New("more than four fields between tabs")
	}
	f = append(f, "", "")
	n.Name, n.Hash, n.Gecos, n.Quota = f[0], qmailkit.Secret(f[1]), f[2], f[3]
	return n, nil
}

// parseColons takes NAME:HASH, in which the hash may hold no colon, or a line
// of vpasswd.
func parseColons(text []byte) (n vpopmail.NewUser, err error) {
	switch bytes.Count(text, []byte(":")) {
	case 0:
		return n, errors.New("neither JSON nor fields between tabs or colons")
	case 1:
		name, hash, _ := strings.Cut(string(text), ":")
		n.Name, n.Hash = name, qmailkit.Secret(hash)
		return n, nil
	case 2, 3, 4, 5:
		return n, errors.New("neither NAME:HASH nor the seven or eight fields of vpasswd")
	}
	u, err := vpopmail.ParseLine(text)
	if err != nil {
		return n, err
	}
	// A clear password beside a hash need not be the same password.
	n = vpopmail.NewUser{Name: u.Name, Hash: u.Hash, Gecos: u.Gecos, Quota: u.Quota, Flags: u.Flags}
	if n.Hash == "" {
		n.Clear, n.NoPassword = u.Clear, u.Clear == ""
	}
	return n, nil
}
