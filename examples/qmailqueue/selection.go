//go:build unix

package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-message/charset"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/queue"
)

// selection says which messages are meant.
type selection struct {
	ids                        cli.Strings
	senders, recipients        cli.Strings
	subjects, headers, bodies  cli.Strings
	states                     cli.Strings
	older, newer               time.Duration
	larger, smaller            int64
	local, remote, bounces     bool
	all, regexp, caseSensitive bool

	wanted    map[queue.ID]bool // of ids: whether it was seen
	sender    []matcher
	recipient []matcher
	subject   []matcher
	header    []headerMatcher
	body      []matcher
	state     map[queue.State]bool
}

// headerMatcher is a field and what it has to hold.
type headerMatcher struct {
	name string
	matcher
}

func (s *selection) flags(fs *flag.FlagSet) {
	fs.Var(&s.ids, "id", "the message of number `N`; may be repeated, as all of these may")
	fs.Var(&s.senders, "sender", "messages whose envelope sender is `ADDR`")
	fs.Var(&s.recipients, "recipient", "messages that have a recipient `ADDR`, done or not")
	fs.Var(&s.subjects, "subject", "messages whose decoded subject holds `TEXT`")
	fs.Var(&s.headers, "header", "messages that have a field with a text: `NAME:TEXT`")
	fs.Var(&s.bodies, "body", "messages whose bytes, header or body, hold `TEXT`")
	fs.Var(&s.states, "state", "messages in state `S2|S3|S4|S5|bad`")
	fs.Func("older", "messages older than `AGE`, such as 36h or 7d", durationTo(&s.older))
	fs.Func("newer", "messages not older than `AGE`", durationTo(&s.newer))
	fs.Func("larger", "messages of more than `SIZE` bytes, such as 10K or 5M", sizeTo(&s.larger))
	fs.Func("smaller", "messages of less than `SIZE` bytes", sizeTo(&s.smaller))
	fs.BoolVar(&s.local, "local", false, "messages with a local recipient that is not done")
	fs.BoolVar(&s.remote, "remote", false, "messages with a remote recipient that is not done")
	fs.BoolVar(&s.bounces, "bouncing", false, "messages of which the sender will be told failures")
	fs.BoolVar(&s.all, "all", false, "all messages")
	fs.BoolVar(&s.regexp, "regexp", false, "texts are regular expressions")
	fs.BoolVar(&s.caseSensitive, "case", false, "capitals matter")
}

func durationTo(to *time.Duration) func(string) error {
	return func(s string) error {
		mult := time.Duration(1)
		t := s
		if d, ok := strings.CutSuffix(s, "d"); ok {
			t, mult = d+"h", 24
		}
		d, err := time.ParseDuration(t)
		if err != nil || d <= 0 || d > (1<<62)/mult {
			return errors.New("want a time such as 90m, 36h or 7d")
		}
		*to = d * mult
		return nil
	}
}

func sizeTo(to *int64) func(string) error {
	return func(s string) error {
		mult := int64(1)
		for unit, m := range map[string]int64{"K": 1 << 10, "M": 1 << 20, "G": 1 << 30} {
			if t, ok := strings.CutSuffix(strings.ToUpper(s), unit); ok {
				s, mult = t, m
			}
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n <= 0 || n > (1<<62)/mult {
			return errors.New("want a number of bytes such as 500, 10K or 5M")
		}
		*to = n * mult
		return nil
	}
}

// given says whether anything was selected.
func (s *selection) given() bool {
	return s.all || s.bounces || s.local || s.remote || s.older > 0 || s.newer > 0 || s.larger > 0 || s.smaller > 0 ||
		len(s.ids)+len(s.senders)+len(s.recipients)+len(s.subjects)+len(s.headers)+len(s.bodies)+len(s.states) > 0
}

// ready checks the flags. args are further numbers.
func (s *selection) ready(args []string) (err error) {
	s.wanted = map[queue.ID]bool{}
	for _, a := range append(s.ids[:len(s.ids):len(s.ids)], args...) {
		id, err := queue.ParseID(a)
		if err != nil {
			return cli.Usagef("%q is not the number of a message", a)
		}
		s.wanted[id] = false
	}
	for _, l := range []struct {
		texts []string
		to    *[]matcher
		whole bool
	}{{s.senders, &s.sender, true}, {s.recipients, &s.recipient, true}, {s.subjects, &s.subject, false}, {s.bodies, &s.body, false}} {
		for _, t := range l.texts {
			m, err := s.matcher(t, l.whole)
			if err != nil {
				return err
			}
			*l.to = append(*l.to, m)
		}
	}
	for _, h := range s.headers {
		name, text, ok := strings.Cut(h, ":")
		if !ok || name == "" {
			return cli.Usagef("-header %q: want NAME:TEXT", h)
		}
		m, err := s.matcher(strings.TrimLeft(text, " "), false)
		if err != nil {
			return err
		}
		s.header = append(s.header, headerMatcher{name, m})
	}
	for _, name := range s.states {
		known := false
		for st := queue.Illegal; st <= queue.S5; st++ {
			if strings.EqualFold(st.String(), name) {
				if s.state == nil {
					s.state = map[queue.State]bool{}
				}
				s.state[st], known = true, true
			}
		}
		if !known {
			return cli.Usagef("-state %q is none of S2, S3, S4, S5, bad", name)
		}
	}
	return nil
}

// matcher is a text to be found.
type matcher struct {
	text  string
	re    *regexp.Regexp
	fold  bool
	whole bool // an address, not a part
}

func (s *selection) matcher(text string, whole bool) (matcher, error) {
	m := matcher{text: text, fold: !s.caseSensitive, whole: whole}
	if s.regexp {
		if m.fold {
			text = "(?i)" + text
		}
		re, err := regexp.Compile(text)
		if err != nil {
			return m, cli.Usagef("regular expression: %w", err)
		}
		m.re = re
		return m, nil
	}
	if whole && text == "<>" {
		m.text = ""
	}
	if m.fold {
		m.text = lower(m.text)
	}
	return m, nil
}

// lower folds ASCII, byte by byte: what is searched need not be UTF-8.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func (m matcher) match(s string) bool {
	if m.re != nil {
		return m.re.MatchString(s)
	}
	if m.fold {
		s = lower(s)
	}
	switch {
	case !m.whole:
		return strings.Contains(s, m.text)
	case strings.HasPrefix(m.text, "@") && len(m.text) > 1:
		return strings.HasSuffix(s, m.text)
	}
	return s == m.text
}

// address matches a recipient. One that virtualdomains put a prefix before is
// found without it too.
func (m matcher) address(r queue.Recipient) bool {
	return m.match(r.Address) || m.re == nil && r.Channel == queue.ToLocal && m.text != "" && m.text[0] != '@' && m.suffix(r.Address)
}

func (m matcher) suffix(s string) bool {
	if m.fold {
		s = lower(s)
	}
	return strings.HasSuffix(s, "-"+m.text)
}

// window is how much of a message is searched at a time.
const window = 64 << 10

// in searches a whole message. A literal text may lie across two windows.
func (m matcher) in(r io.Reader) (bool, error) {
	if m.re != nil {
		// MatchReader cannot tell an error from the end.
		er := &errReader{r: r}
		found := m.re.MatchReader(bufio.NewReaderSize(er, window))
		if found {
			return true, nil
		}
		return false, er.err
	}
	buf := make([]byte, 0, window+len(m.text))
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		if m.fold {
			part := buf[len(buf) : len(buf)+n]
			for i, c := range part {
				if c >= 'A' && c <= 'Z' {
					part[i] = c + 'a' - 'A'
				}
			}
		}
		buf = buf[:len(buf)+n]
		if bytes.Contains(buf, []byte(m.text)) {
			return true, nil
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if keep := len(m.text) - 1; len(buf) > keep && keep >= 0 {
			buf = buf[:copy(buf, buf[len(buf)-keep:])]
		}
	}
}

// errReader remembers the error that was not the end.
type errReader struct {
	r   io.Reader
	err error
}

func (e *errReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		e.err = err
	}
	return n, err
}

func anyOf(list []matcher, s string) bool {
	for _, m := range list {
		if m.match(s) {
			return true
		}
	}
	return len(list) == 0
}

// match says whether a message is meant. What costs least is asked first.
func (s *selection) match(m *queue.Message, now time.Time) (bool, error) {
	if len(s.wanted) > 0 {
		if _, ok := s.wanted[m.ID]; !ok {
			return false, nil
		}
		s.wanted[m.ID] = true
	}
	age := now.Sub(m.Birth)
	switch {
	case s.state != nil && !s.state[m.State],
		s.older > 0 && (m.Birth.IsZero() || age <= s.older), s.newer > 0 && (m.Birth.IsZero() || age > s.newer),
		s.larger > 0 && m.Size <= s.larger, s.smaller > 0 && (m.Size < 0 || m.Size >= s.smaller),
		s.bounces && m.BounceSize < 0,
		len(s.sender) > 0 && (!m.HasSender || !anyOf(s.sender, m.Sender)):
		return false, nil
	}
	if ok, err := s.matchRecipients(m); err != nil || !ok {
		return false, err
	}
	ok, err := s.matchText(m)
	if errors.Is(err, fs.ErrNotExist) { // delivered meanwhile
		return false, nil
	}
	return ok, err
}

func (s *selection) matchRecipients(m *queue.Message) (bool, error) {
	if len(s.recipient) == 0 && !s.local && !s.remote {
		return true, nil
	}
	address, channel := len(s.recipient) == 0, !s.local && !s.remote
	for r, err := range m.Recipients() {
		if err != nil {
			var bad *queue.RecordError
			if errors.As(err, &bad) {
				continue
			}
			return false, err
		}
		for _, want := range s.recipient {
			address = address || want.address(r)
		}
		channel = channel || !r.Done && (s.local && r.Channel == queue.ToLocal || s.remote && r.Channel == queue.ToRemote)
		if address && channel {
			return true, nil
		}
	}
	return false, nil
}

func (s *selection) matchText(m *queue.Message) (bool, error) {
	if len(s.subject)+len(s.header)+len(s.body) == 0 {
		return true, nil
	}
	if len(s.subject)+len(s.header) > 0 {
		h, err := m.Header()
		if err != nil {
			return false, err
		}
		if !anyOf(s.subject, h.Text("Subject", charset.Reader)) || !s.matchHeader(h) {
			return false, nil
		}
	}
	for _, want := range s.body {
		f, err := m.Open()
		if err != nil {
			return false, err
		}
		found, err := want.in(f)
		f.Close()
		if found || err != nil {
			return found, err
		}
	}
	return len(s.body) == 0, nil
}

func (s *selection) matchHeader(h *queue.Header) bool {
	for _, want := range s.header {
		for v := range h.Values(want.name) {
			if want.match(v) || want.match(queue.DecodeText(v, charset.Reader)) {
				return true
			}
		}
	}
	return len(s.header) == 0
}

// missing lists the numbers that were asked for and not found.
func (s *selection) missing() error {
	var list []error
	for id, seen := range s.wanted {
		if !seen {
			list = append(list, fmt.Errorf("message %v is not in the queue", id))
		}
	}
	return errors.Join(list...)
}
