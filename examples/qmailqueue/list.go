//go:build unix

package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-message/charset"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/queue"
)

// entry is a message of list -json.
type entry struct {
	ID          queue.ID      `json:"id"`
	State       string        `json:"state"`
	Size        int64         `json:"size"`
	Sender      *jsonl.Bytes  `json:"sender"`
	Birth       int64         `json:"birth,omitempty"`
	Next        int64         `json:"next,omitempty"`
	Local       []recipient   `json:"local,omitempty"`
	Remote      []recipient   `json:"remote,omitempty"`
	Unrouted    []recipient   `json:"todo,omitempty"`
	More        int64         `json:"more_recipients,omitempty"`
	Bouncing    bool          `json:"bouncing"`
	SubjectText string        `json:"subject_text"`
	Subject     *jsonl.Bytes  `json:"subject,omitempty"`
	From        *jsonl.Bytes  `json:"from,omitempty"`
	Files       []jsonl.Bytes `json:"files"`
}

type recipient struct {
	Address jsonl.Bytes `json:"addr"`
	Done    bool        `json:"done"`
}

// maxShown is how many recipients of one message are listed.
const maxShown = 1000

// lister prints messages.
type lister struct {
	j      *job
	sel    selection
	ids    bool
	qread  bool
	sort   string
	color  string
	most   int
	colors bool
	shown  int64
}

func listCommand() *cli.Command {
	l := &lister{j: &job{}}
	return &cli.Command{
		Name:  "list",
		Short: "list messages, one entry each",
		Long: `An entry shows the envelope (whose recipients may be others than the header's),
which recipients are done, the decoded subject, age and next try. -qread prints
what qmail-qread prints, byte for byte, of all messages.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			l.j.flags(fs)
			l.sel.flags(fs)
			fs.BoolVar(&l.ids, "ids", false, "print numbers only")
			fs.BoolVar(&l.qread, "qread", false, "print as qmail-qread does; takes no selection")
			fs.StringVar(&l.sort, "sort", "", "sort by `id|size|age|sender`; without, messages come as they are found, at once")
			fs.StringVar(&l.color, "color", "auto", "colours: `auto|always|never`")
			fs.IntVar(&l.most, "n", 0, "at most `N` messages (default: all)")
			return l.j.action(l.run)
		},
	}
}

// errEnough ends a list.
var errEnough = errors.New("enough")

func (l *lister) run(ctx context.Context, args []string) error {
	if l.qread {
		if l.sel.given() || l.j.json || l.ids {
			return cli.Usagef("-qread goes alone")
		}
		return l.j.q.WriteQread(ctx, l.j.out)
	}
	order, err := l.order()
	if err != nil {
		return err
	}
	if err := l.sel.ready(args); err != nil {
		return err
	}
	l.colors = l.j.colors(l.color)
	if order == nil {
		err = l.j.each(ctx, &l.sel, l.print)
	} else {
		err = l.sorted(ctx, order)
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	if err != nil {
		return err
	}
	return absent(l.sel.missing())
}

// key is what list sorts by, of one message: a list is not kept in memory as a
// whole.
type key struct {
	id     queue.ID
	size   int64
	birth  time.Time
	sender string
}

func (l *lister) order() (func(a, b key) int, error) {
	byID := func(a, b key) int { return cmp.Compare(a.id, b.id) }
	switch l.sort {
	case "":
		return nil, nil
	case "id":
		return byID, nil
	case "size":
		return func(a, b key) int { return cmp.Or(cmp.Compare(b.size, a.size), byID(a, b)) }, nil
	case "age":
		return func(a, b key) int { return cmp.Or(a.birth.Compare(b.birth), byID(a, b)) }, nil
	case "sender":
		return func(a, b key) int { return cmp.Or(cmp.Compare(a.sender, b.sender), byID(a, b)) }, nil
	}
	return nil, cli.Usagef("-sort %q is none of id, size, age, sender", l.sort)
}

func (l *lister) sorted(ctx context.Context, order func(a, b key) int) error {
	var keys []key
	err := l.j.each(ctx, &l.sel, func(m *queue.Message) error {
		k := key{id: m.ID, size: m.Size, birth: m.Birth}
		if l.sort == "sender" {
			k.sender = m.Sender
		}
		keys = append(keys, k)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(keys, order)
	for _, k := range keys {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		m, err := l.j.q.Message(k.id)
		if errors.Is(err, queue.ErrNoMessage) {
			continue
		}
		if err != nil {
			l.j.trouble(m, err)
		}
		if m != nil {
			if err := l.print(m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lister) print(m *queue.Message) error {
	if l.most > 0 && l.shown == int64(l.most) {
		return errEnough
	}
	l.shown++
	if l.ids {
		if l.j.json {
			return l.j.enc.Encode(struct {
				ID queue.ID `json:"id"`
			}{m.ID})
		}
		_, err := fmt.Fprintln(l.j.out, m.ID)
		return err
	}
	e := l.j.entry(m)
	if l.j.json {
		return l.j.enc.Encode(e)
	}
	l.words(m, e)
	return nil
}

// entry gathers what is shown of a message.
func (j *job) entry(m *queue.Message) *entry {
	e := &entry{ID: m.ID, State: m.State.String(), Size: m.Size, Bouncing: m.BounceSize >= 0}
	if m.HasSender {
		s := jsonl.Bytes(m.Sender)
		e.Sender = &s
	}
	if !m.Birth.IsZero() {
		e.Birth = m.Birth.Unix()
	}
	if n := m.Next(); !n.IsZero() {
		e.Next = n.Unix()
	}
	shown := 0
	for r, err := range m.Recipients() {
		if err != nil {
			j.trouble(m, err)
			continue
		}
		if shown++; shown > maxShown {
			e.More++
			continue
		}
		to := map[queue.Channel]*[]recipient{queue.ToLocal: &e.Local, queue.ToRemote: &e.Remote}[r.Channel]
		if to == nil {
			to = &e.Unrouted
		}
		*to = append(*to, recipient{jsonl.Bytes(r.Address), r.Done})
	}
	for p := queue.Mess; p <= queue.Intd; p++ {
		for _, path := range m.Paths(p) {
			e.Files = append(e.Files, jsonl.Bytes(path))
		}
	}
	h, err := m.Header()
	switch {
	case err == nil:
		e.SubjectText = h.Text("Subject", charset.Reader)
		if v, ok := h.Get("Subject"); ok {
			raw := jsonl.Bytes(v)
			e.Subject = &raw
		}
		if v, ok := h.Get("From"); ok {
			raw := jsonl.Bytes(v)
			e.From = &raw
		}
	case !errors.Is(err, fs.ErrNotExist):
		j.trouble(m, err)
	}
	return e
}

// Colours as qmHandle has them: labels bold and blue, odd things bold and red.
const (
	blue  = "\x1b[1;34m"
	red   = "\x1b[1;31m"
	reset = "\x1b[0m"
)

func (l *lister) paint(color, s string) string {
	if !l.colors {
		return s
	}
	return color + s + reset
}

// words prints an entry for people. Nothing of a message reaches a terminal
// unescaped.
func (l *lister) words(m *queue.Message, e *entry) {
	now := l.j.Now()
	head := []string{e.State}
	if e.Size >= 0 {
		head = append(head, cli.Size(e.Size))
	}
	if !m.Birth.IsZero() {
		head = append(head, cli.Span(now.Sub(m.Birth))+" old")
	}
	if n := m.Next(); !n.IsZero() {
		if wait := n.Sub(now); wait > 0 {
			head = append(head, "next try in "+cli.Span(wait))
		} else {
			head = append(head, "being tried, or due")
		}
	}
	where := ""
	if len(e.Files) > 0 {
		where = " (" + cli.Name(string(e.Files[0])) + ")"
	}
	fmt.Fprintf(l.j.out, "%s%s  %s", l.paint(blue, m.ID.String()), where, strings.Join(head, ", "))
	if m.State == queue.Illegal || m.Misplaced() {
		fmt.Fprint(l.j.out, "  ", l.paint(red, "damaged: see check"))
	}
	if e.Bouncing {
		fmt.Fprint(l.j.out, "  ", l.paint(red, "bouncing"))
	}
	fmt.Fprintln(l.j.out)
	sender := "unknown"
	if e.Sender != nil {
		sender = "<" + cli.Name(string(*e.Sender)) + ">"
	}
	l.line("sender", sender)
	for _, c := range []struct {
		label string
		list  []recipient
	}{{"local", e.Local}, {"remote", e.Remote}, {"to", e.Unrouted}} {
		for _, r := range c.list {
			done := ""
			if r.Done {
				done = "  (done)"
			}
			l.line(c.label, cli.Name(string(r.Address))+done)
		}
	}
	if e.More > 0 {
		l.line("", "and "+cli.Plural(e.More, "recipient")+" more")
	}
	if e.From != nil {
		l.line("from", cli.Name(queue.DecodeText(string(*e.From), charset.Reader)))
	}
	l.line("subject", cli.Name(e.SubjectText))
}

func (l *lister) line(label, text string) {
	if text == "" {
		return
	}
	if label != "" {
		label += ":"
	}
	fmt.Fprintf(l.j.out, "  %s %s\n", l.paint(blue, fmt.Sprintf("%-8s", label)), text)
}
