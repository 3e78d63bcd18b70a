package qmailcontrol

import (
	"fmt"
	"slices"
	"strings"
)

// InjectOptions are the environment variables of qmail-inject that stand in
// for control files. The nil pointer is the zero value.
type InjectOptions struct {
	DefaultDomain *string // QMAILDEFAULTDOMAIN
	DefaultHost   *string // QMAILDEFAULTHOST
	PlusDomain    *string // QMAILPLUSDOMAIN
	IDHost        *string // QMAILIDHOST
}

// Injecting completes addresses as qmail-inject does (qmail-inject.c).
type Injecting struct {
	IDHost string // of a Message-ID that it makes

	host, domain, plus []token
}

// Inject returns the decisions of the files that c holds now. The error is a
// *ControlsError, or wraps ErrHeader where a default is no part of an address:
// qmail-inject then sends nothing.
func (c *Config) Inject(opts *InjectOptions) (*Injecting, error) {
	if opts == nil {
		opts = &InjectOptions{}
	}
	s := controls{program: "qmail-inject"}
	set := c.Settings()
	take(&s, "me", set.Me)
	// The file is read though the environment has the last word.
	value := func(name string, file Setting[string], env *string) string {
		v := take(&s, name, file)
		if env != nil {
			v = *env
		}
		return v
	}
	domain := value("defaultdomain", set.DefaultDomain, opts.DefaultDomain)
	host := value("defaulthost", set.DefaultHost, opts.DefaultHost)
	plus := value("plusdomain", set.PlusDomain, opts.PlusDomain)
	j := &Injecting{IDHost: value("idhost", set.IDHost, opts.IDHost)}
	if s.err != nil {
		return nil, s.err
	}
	for _, part := range []struct {
		to   *[]token
		text string
	}{{&j.domain, "." + domain}, {&j.host, "@" + host}, {&j.plus, "." + plus}} {
		var err error
		if *part.to, err = parseTokens(part.text); err != nil {
			return nil, fmt.Errorf("%q: %w", part.text, err)
		}
	}
	return j, nil
}

// Complete completes the addresses in the body of a header field such as To.
// The text comes on one line, quoted as qmail-inject does it; where it folds
// lines it does nothing else. The recipients are in their order, as an envelope
// has them. An error wraps ErrHeader: qmail-inject leaves such a To, Cc or Bcc
// as it stands, and sends nothing if it is a From, Sender or Reply-To.
func (j *Injecting) Complete(field string) (text string, recips []string, err error) {
	// The newline is part of the field: a backslash in front quotes it.
	in, err := parseTokens(strings.TrimSuffix(field, "\n") + "\n")
	if err != nil {
		return "", nil, err
	}
	list := addressList{in: in, change: func(addr []token) []token {
		addr = j.complete(addr)
		recips = append(recips, envelopeForm(addr))
		return addr
	}}
	out, err := list.rewrite()
	if err != nil {
		return "", nil, err
	}
	slices.Reverse(recips)
	return formatTokens(out), recips, nil
}

// complete completes one address (qmail-inject.c:rwgeneric).
func (j *Injecting) complete(addr []token) []token {
	n := len(addr)
	if n == 0 || n >= 2 && addr[n-2].kind == '@' && addr[n-1] == (token{kind: literal}) {
		return addr // <> and <user@[]> mean something
	}
	if addr[0].kind == '@' { // a source route
		colon := slices.IndexFunc(addr, func(t token) bool { return t.kind == ':' })
		if colon < 0 {
			return nil
		}
		addr = addr[colon+1:]
	}
	for _, end := range []tokenKind{'.', '@'} {
		if len(addr) == 0 {
			return nil
		}
		if addr[len(addr)-1].kind == end {
			addr = addr[:len(addr)-1]
		}
	}
	if len(addr) == 0 {
		return nil
	}
	at := func(t token) bool { return t.kind == '@' }
	addr = slices.Clone(addr)
	if !slices.ContainsFunc(addr, at) {
		addr = append(addr, j.host...)
	}
	if last := &addr[len(addr)-1]; last.kind == atom && strings.HasSuffix(last.text, "+") {
		last.text = strings.TrimSuffix(last.text, "+")
		addr = append(addr, j.plus...)
	}
	for _, t := range slices.Backward(addr) {
		switch t.kind {
		case '@':
			return append(addr, j.domain...)
		case '.', literal:
			return addr
		}
	}
	return append(addr, j.domain...)
}
