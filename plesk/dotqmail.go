package plesk

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// ErrUnknownAction says that psa names an action for unknown names that this
// package cannot write.
var ErrUnknownAction = errors.New("unknown action for mail to unknown names")

// deliverquota is the program that Plesk delivers with.
const deliverquota = "/usr/bin/deliverquota"

// A MailboxDot is the .qmail of a mail name, in the forms that Plesk writes:
// "| true", then a pipe to deliverquota, then one forward a line. What else
// there is stands in Other.
type MailboxDot struct {
	File *qmailcontrol.DotQmail // as it was read
	// True says that it begins with the line "| true", by which a file without
	// any delivery is no empty one.
	True bool
	// Maildir says that a line delivers to the mailbox; Quota, that deliverquota
	// does it.
	Maildir, Quota bool
	Forwards       []string
	// Other are lines of no known form: somebody's own. Comments and blank
	// lines are not among them.
	Other []qmailcontrol.DotLine
}

// ParseMailboxDot reads a .qmail. Any bytes are one, so the error is that of r,
// or says that it is too large.
func ParseMailboxDot(r io.Reader) (*MailboxDot, error) {
	q, err := qmailcontrol.ParseDotQmail(r)
	if err != nil {
		return nil, err
	}
	d := &MailboxDot{File: q}
	for l := range q.Lines() {
		switch {
		case l.Kind == qmailcontrol.DotBlank || l.Kind == qmailcontrol.DotComment:
		case l.Kind == qmailcontrol.DotProgram && strings.TrimSpace(l.Target()) == "true" && !d.Maildir && len(d.Forwards) == 0 && len(d.Other) == 0:
			d.True = true
		case l.Kind == qmailcontrol.DotProgram && toMaildir(l.Target()):
			d.Maildir, d.Quota = true, true
		case l.Kind == qmailcontrol.DotMaildir && isMaildir(l.Target()):
			d.Maildir = true
		case l.Kind == qmailcontrol.DotForward:
			d.Forwards = append(d.Forwards, l.Target())
		default:
			d.Other = append(d.Other, l)
		}
	}
	return d, nil
}

// toMaildir says whether a command is deliverquota for the mailbox.
func toMaildir(command string) bool {
	w := strings.Fields(command)
	return len(w) > 1 && path.Base(w[0]) == "deliverquota" && isMaildir(w[len(w)-1]) && !strings.ContainsAny(command, ";|&<>$`")
}

func isMaildir(name string) bool {
	return !strings.HasPrefix(name, "/") && path.Clean(name) == MaildirName
}

// NewMailboxDot writes the .qmail of a mail name as Plesk does.
func NewMailboxDot(m *Mailname) (*qmailcontrol.DotQmail, error) {
	q := &qmailcontrol.DotQmail{}
	if err := q.Add(qmailcontrol.DotProgram, " true"); err != nil {
		return nil, err
	}
	if m.Mailbox && !m.NoDelivery {
		if err := q.Add(qmailcontrol.DotProgram, " "+deliverquota+" ./"+MaildirName); err != nil {
			return nil, err
		}
	}
	for _, a := range m.Forwards {
		if err := q.Add(qmailcontrol.DotForward, a); err != nil {
			return nil, fmt.Errorf("forward to %q: %w", a, err)
		}
	}
	return q, nil
}

// differs names what a .qmail does otherwise than psa says.
func (d *MailboxDot) differs(m *Mailname) []string {
	var out []string
	if want := m.Mailbox && !m.NoDelivery; want != d.Maildir {
		if want {
			out = append(out, "nothing is delivered to the mailbox")
		} else {
			out = append(out, "mail is delivered to a mailbox that psa does not have, or has switched off")
		}
	}
	for _, a := range m.Forwards {
		if !slices.Contains(d.Forwards, a) {
			out = append(out, fmt.Sprintf("no forward to %q", a))
		}
	}
	for _, a := range d.Forwards {
		if !slices.Contains(m.Forwards, a) {
			out = append(out, fmt.Sprintf("a forward to %q of its own", a))
		}
	}
	for _, l := range d.Other {
		out = append(out, fmt.Sprintf("a line of its own: %q", l.Text()))
	}
	return out
}

// A DefaultDot is the .qmail-default of a domain, which gets mail for unknown
// names.
type DefaultDot struct {
	File *qmailcontrol.DotQmail // as it was read
	// Bounce says that mail is sent back, with this text.
	Bounce bool
	Text   string
	// Catch are addresses that get it.
	Catch []string
	// Other are lines of no known form.
	Other []qmailcontrol.DotLine
}

// ParseDefaultDot reads a .qmail-default; errors are as for ParseMailboxDot.
func ParseDefaultDot(r io.Reader) (*DefaultDot, error) {
	q, err := qmailcontrol.ParseDotQmail(r)
	if err != nil {
		return nil, err
	}
	d := &DefaultDot{File: q}
	for l := range q.Lines() {
		text, bounce := bounceText(l)
		switch {
		case l.Kind == qmailcontrol.DotBlank || l.Kind == qmailcontrol.DotComment:
		case l.Kind == qmailcontrol.DotProgram && strings.TrimSpace(l.Target()) == "true":
		case bounce && !d.Bounce:
			d.Bounce, d.Text = true, text
		case l.Kind == qmailcontrol.DotForward:
			d.Catch = append(d.Catch, l.Target())
		default:
			d.Other = append(d.Other, l)
		}
	}
	return d, nil
}

// bounceText takes the text out of a line "| bouncesaying 'text'". One that has
// a condition behind the text does not always bounce, and is not meant.
func bounceText(l qmailcontrol.DotLine) (text string, ok bool) {
	if l.Kind != qmailcontrol.DotProgram {
		return "", false
	}
	w, ok := shellWords(l.Target())
	if !ok || len(w) != 2 || path.Base(w[0]) != "bouncesaying" {
		return "", false
	}
	return w[1], true
}

// shellWords parts a plain command of sh into its words. Anything that sh would
// do more with is not ok.
func shellWords(s string) (words []string, ok bool) {
	var w []byte
	open := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ' ' || c == '\t':
			if open {
				words = append(words, string(w))
			}
			w, open = w[:0], false
		case c == '\'':
			n := strings.IndexByte(s[i+1:], '\'')
			if n < 0 {
				return nil, false
			}
			w, open = append(w, s[i+1:i+1+n]...), true
			i += n + 1
		case c == '"':
			n := strings.IndexByte(s[i+1:], '"')
			if n < 0 || strings.ContainsAny(s[i+1:i+1+n], "$`\\") {
				return nil, false
			}
			w, open = append(w, s[i+1:i+1+n]...), true
			i += n + 1
		case c == '\\' && i+1 < len(s):
			i++
			w, open = append(w, s[i]), true
		case strings.IndexByte("|&;<>()$`\\*?[#~!{}", c) >= 0:
			return nil, false
		default:
			w, open = append(w, c), true
		}
	}
	if open {
		words = append(words, string(w))
	}
	return words, true
}

// bounceDefault is what Plesk says where psa has no text.
const bounceDefault = "This address no longer accepts mail."

// NewDefaultDot writes the .qmail-default for what psa says of unknown names:
// a bounce, also where they are to be refused in SMTP already, or the address
// that catches all. An error wraps ErrUnknownAction, or is that of an address
// that cannot stand there.
func NewDefaultDot(u Unknown) (*qmailcontrol.DotQmail, error) {
	q := &qmailcontrol.DotQmail{}
	switch u.Action {
	case "", "bounce", "reject":
		text := strings.TrimSpace(noControl(u.Text))
		if text == "" {
			text = bounceDefault
		}
		return q, q.Add(qmailcontrol.DotProgram, " /var/qmail/bin/bouncesaying "+singleQuoted(text))
	case "catch":
		if u.Address == "" {
			return nil, fmt.Errorf("%w: catch, without an address", ErrUnknownAction)
		}
		return q, q.Add(qmailcontrol.DotForward, u.Address)
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknownAction, u.Action)
}

// noControl makes blanks of control characters: it is one line.
func noControl(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = ' '
		}
	}
	return string(b)
}

func singleQuoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
