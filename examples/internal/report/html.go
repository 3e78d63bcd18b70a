//go:build unix

package report

import (
	"cmp"
	_ "embed"
	"html/template"
	"io"
	"slices"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
)

//go:embed page.html
var pageText string

// What a page shows at most: beyond it browsers become slow, and nobody reads.
const (
	mostRows  = 10000 // mailboxes, accounts
	mostItems = 1000  // of one kind
	fewRows   = 25    // so many are shown without a click
)

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"name":        func(b jsonl.Bytes) string { return cli.Name(string(b)) },
	"words":       cli.Printable,
	"size":        cli.Size,
	"span":        cli.Span,
	"time":        func(t time.Time) string { return t.Format("Monday, 2 January 2006, 15:04:05 -0700") },
	"count":       cli.Count,
	"plural":      plural,
	"tone":        tone,
	"few":         func(m []Mailbox) bool { return len(m) <= fewRows },
	"long":        func(m []Mailbox) bool { return len(m) > fewRows },
	"fewAccounts": func(a []Account) bool { return len(a) <= fewRows },
	"fewItems":    func(i []Item) bool { return len(i) <= fewRows },
	"shown":       func(i []Item) []Item { return i[:min(len(i), mostItems)] },
	"hidden":      func(i []Item) int { return max(0, len(i)-mostItems) },
}).Parse(pageText))

// plural takes the integers that templates have.
func plural(n any, noun string) string {
	if i, ok := n.(int); ok {
		return cli.Plural(int64(i), noun)
	}
	return cli.Plural(n.(int64), noun)
}

// tone is the class of a severity.
func tone(severity string) string {
	return [...]string{"soft", "warn", "bad"}[weight(severity)]
}

// card is one of the totals.
type card struct {
	Label, Value string
	Exact        string // where Value is rounded
	Notes        []string
	Tone         string
}

// page is what the template reads.
type page struct {
	*Report
	Tone      string
	Cards     []card
	Left      []*kind // not carried
	Failed    []*kind // not proven
	Odd       []*kind
	Troubled  []Mailbox
	Boxes     []Mailbox
	MoreBoxes int
	Accts     []Account
	MoreAccts int
}

// WriteHTML writes the form for people: one page that needs nothing else.
func WriteHTML(w io.Writer, r *Report) error {
	out := *r
	out.Format = Format
	p := &page{Report: &out, Tone: out.tone(), Left: kinds(r.NotCarried), Odd: kinds(r.Oddities)}
	if r.Verification != nil {
		p.Failed = kinds(r.Verification.Failures)
	}
	p.Boxes = slices.Clone(r.Mailboxes)
	slices.SortStableFunc(p.Boxes, func(a, b Mailbox) int {
		return cmp.Or(
			cmp.Compare(string(a.Account), string(b.Account)),
			cmp.Compare(string(a.Folder), string(b.Folder)),
			cmp.Compare(string(a.Source), string(b.Source)),
		)
	})
	for _, m := range p.Boxes {
		if (m.Problems > 0 || m.Failed > 0) && len(p.Troubled) < mostItems {
			p.Troubled = append(p.Troubled, m)
		}
	}
	p.MoreBoxes = max(0, len(p.Boxes)-mostRows)
	p.Boxes = p.Boxes[:len(p.Boxes)-p.MoreBoxes]
	p.MoreAccts = max(0, len(r.Accounts)-mostRows)
	p.Accts = r.Accounts[:len(r.Accounts)-p.MoreAccts]
	p.Cards = p.cards()
	return pageTemplate.Execute(w, p)
}

// tone is the colour of the outcome.
func (r *Report) tone() string {
	switch {
	case r.Outcome == Stopped, r.Verification != nil && !r.Verification.Proven(), r.Needs != nil && !r.Needs.Enough():
		return "bad"
	case r.Outcome == Partial, r.Totals.NotCarried > 0:
		return "warn"
	}
	return "good"
}

// cards are the totals.
func (p *page) cards() []card {
	t := &p.Totals
	messages := card{Label: "Messages", Value: cli.Count(t.Messages)}
	if p.Outcome != Planned {
		messages.Notes = append(messages.Notes, cli.Count(t.Delivered)+" delivered now", cli.Count(t.AlreadyThere)+" already there")
	}
	if t.Failed > 0 {
		messages.Tone = "bad"
		messages.Notes = append(messages.Notes, cli.Count(t.Failed)+" failed")
	}
	bytes := card{Label: "Mail", Value: cli.Size(t.Bytes), Exact: cli.Count(t.Bytes) + " bytes"}
	bytes.Notes = append(bytes.Notes, "in "+cli.Plural(t.Mailboxes, "mailbox|mailboxes"))
	list := []card{messages, bytes}
	if t.Accounts > 0 {
		list = append(list, p.accountCard())
	}
	left := card{Label: "Not carried", Value: cli.Count(t.NotCarried), Tone: "good", Notes: []string{"nothing left behind"}}
	if t.NotCarried > 0 {
		left.Tone = "warn"
		left.Notes = []string{"for " + cli.Plural(int64(len(p.Left)), "reason")}
	}
	list = append(list, left)
	if v := p.Verification; v != nil {
		c := card{Label: "Verified", Value: cli.Count(v.Equal + v.EqualIdentity), Tone: "good", Notes: []string{"of " + cli.Plural(v.Messages, "message")}}
		if v.Hashes > 0 {
			c.Notes = append(c.Notes, cli.Count(v.HashesUnchanged)+" of "+cli.Plural(v.Hashes, "hash|hashes")+" unchanged")
		}
		if !v.Proven() {
			c.Tone = "bad"
		}
		list = append(list, c)
	}
	if n := p.Needs; n != nil {
		list = append(list, needsCards(n)...)
	}
	return list
}

func (p *page) accountCard() card {
	t := &p.Totals
	c := card{Label: "Accounts", Value: cli.Count(t.Accounts)}
	if p.Outcome != Planned {
		c.Notes = append(c.Notes, cli.Count(t.AccountsMade)+" made", cli.Count(t.AccountsThere)+" already there")
	}
	if t.AccountsSkipped > 0 {
		c.Notes = append(c.Notes, cli.Count(t.AccountsSkipped)+" skipped")
	}
	return c
}

// needsCards say what a plan takes.
func needsCards(n *Needs) []card {
	disk := card{Label: "Disk it needs", Value: cli.Size(n.Bytes), Exact: cli.Count(n.Bytes) + " bytes"}
	if n.FreeBytes >= 0 {
		disk.Notes = []string{cli.Size(n.FreeBytes) + " free"}
		if n.Bytes > n.FreeBytes {
			disk.Tone = "bad"
		}
	}
	inodes := card{Label: "Inodes it needs", Value: cli.Count(n.Inodes)}
	if n.FreeInodes >= 0 {
		inodes.Notes = []string{cli.Count(n.FreeInodes) + " free"}
		if n.Inodes > n.FreeInodes {
			inodes.Tone = "bad"
		}
	}
	return []card{disk, inodes, {Label: "Time it takes", Value: cli.Span(n.Duration()), Notes: []string{"about"}}}
}
