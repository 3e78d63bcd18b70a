//go:build unix

// Package report is the one account that every program gives of its run: what
// was carried, what was not and why, what was proven, and what people will
// notice. It has a JSON form for programs, whose keys stay as they are, an
// HTML page for people, and a few lines for the terminal.
package report

import (
	"fmt"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
)

// Format is the version of the JSON form. It grows when a key changes its
// meaning; new keys may come without that.
const Format = 1

// Outcome says in a word how the run ended.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"    // all of it
	Partial Outcome = "partial" // something was not carried: it is listed
	Stopped Outcome = "stopped" // it had to stop; it can be run again
	Planned Outcome = "planned" // nothing was changed
)

// Report is one run. Names, addresses and paths are bytes.
type Report struct {
	Format   int       `json:"report_format"`
	Program  string    `json:"program"`
	Version  string    `json:"version,omitempty"`
	Command  string    `json:"command"` // "run", "plan"
	Outcome  Outcome   `json:"outcome"`
	Why      string    `json:"why,omitempty"` // it stopped
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Source   Place     `json:"source"`
	Target   Place     `json:"target"`
	Totals   Totals    `json:"totals"`
	Needs    *Needs    `json:"needs,omitempty"` // of a plan

	NotCarried   []Item        `json:"not_carried"`
	Oddities     []Item        `json:"oddities"` // carried, but worth knowing
	Notices      []Notice      `json:"notices"`
	Verification *Verification `json:"verification"` // null: nothing was verified
	Mailboxes    []Mailbox     `json:"mailboxes"`
	Accounts     []Account     `json:"accounts"`
}

// Place is one end of the way.
type Place struct {
	What string      `json:"what"` // "Sendmail host"
	Path jsonl.Bytes `json:"path"`
}

// Totals sum the report up; Sum computes them.
type Totals struct {
	Mailboxes       int64 `json:"mailboxes"`
	Messages        int64 `json:"messages"` // in the source
	Bytes           int64 `json:"bytes"`    // of these
	Delivered       int64 `json:"delivered"`
	DeliveredBytes  int64 `json:"delivered_bytes"`
	AlreadyThere    int64 `json:"already_there"`
	Failed          int64 `json:"failed"`
	Verified        int64 `json:"verified"`
	Accounts        int64 `json:"accounts"`
	AccountsMade    int64 `json:"accounts_made"`
	AccountsThere   int64 `json:"accounts_already_there"`
	AccountsSkipped int64 `json:"accounts_skipped"`
	NotCarried      int64 `json:"not_carried"`
	Oddities        int64 `json:"oddities"`
}

// Needs is what a planned run will take.
type Needs struct {
	Bytes      int64   `json:"bytes"`
	FreeBytes  int64   `json:"free_bytes"` // on the target's file system; negative: not known
	Inodes     int64   `json:"inodes"`
	FreeInodes int64   `json:"free_inodes"` // likewise
	Seconds    float64 `json:"seconds"`     // about
}

// Duration is Seconds, at most a year: it is an estimate.
func (n *Needs) Duration() time.Duration {
	const year = 365 * 24 * 3600
	return time.Duration(min(max(n.Seconds, 0), year) * float64(time.Second))
}

// Enough says whether the target has room, as far as that is known.
func (n *Needs) Enough() bool {
	return (n.FreeBytes < 0 || n.Bytes <= n.FreeBytes) && (n.FreeInodes < 0 || n.Inodes <= n.FreeInodes)
}

// Mailbox is what became of one mailbox of the source.
type Mailbox struct {
	Source         jsonl.Bytes `json:"source"`  // path
	Target         jsonl.Bytes `json:"target"`  // path of the Maildir
	Account        jsonl.Bytes `json:"account"` // address
	Folder         jsonl.Bytes `json:"folder"`  // empty: the inbox
	Messages       int64       `json:"messages"`
	Bytes          int64       `json:"bytes"`
	Delivered      int64       `json:"delivered"`
	DeliveredBytes int64       `json:"delivered_bytes"`
	AlreadyThere   int64       `json:"already_there"`
	Failed         int64       `json:"failed"`
	Verified       int64       `json:"verified"`
	Problems       int64       `json:"problems"` // entries of not_carried and oddities
}

// AccountState says what became of an account.
type AccountState string

// The states of an account.
const (
	Made    AccountState = "made"
	There   AccountState = "already there"
	Updated AccountState = "updated"            // the source had changed
	Kept    AccountState = "kept as it is here" // the target had changed
	Skipped AccountState = "skipped"
	ToMake  AccountState = "to be made" // in a plan
)

// Answer is yes, no, or that nobody looked.
type Answer string

// The answers.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "not checked"
)

// Account is what became of one account. It never holds a hash.
type Account struct {
	Name          jsonl.Bytes  `json:"name"`    // at the source
	Address       jsonl.Bytes  `json:"address"` // at the target
	State         AccountState `json:"state"`
	Scheme        string       `json:"hash_scheme"`
	HashUnchanged Answer       `json:"hash_unchanged"`
	Locked        bool         `json:"locked"`
	Why           string       `json:"why,omitempty"` // it was skipped, kept or locked
}

// Item is one thing that was not carried, or that is odd.
type Item struct {
	Code     string      `json:"code"`
	Severity string      `json:"severity"` // "info", "warning", "error"
	Path     jsonl.Bytes `json:"path"`
	Line     int         `json:"line"`   // 0: not known
	Offset   int64       `json:"offset"` // bytes; 0: the start, or not known
	Account  jsonl.Bytes `json:"account"`
	Words    string      `json:"words"` // what is wrong
	Fix      string      `json:"fix"`   // what to do; may be empty
}

// FromProblem makes an Item of a Problem. Control bytes and bytes that are not
// UTF-8 in its words become escapes; its path is kept as it is.
func FromProblem(p qmailkit.Problem) Item {
	it := Item{
		Code: p.Code, Severity: p.Severity.String(), Path: jsonl.Bytes(p.Path),
		Line: p.Line, Offset: p.Offset, Fix: cli.Printable(p.Fix),
	}
	if p.Err != nil {
		it.Words = cli.Printable(p.Err.Error())
	}
	return it
}

// Place is the item's file with line or offset, for people.
func (it Item) Place() string {
	s := cli.Name(string(it.Path))
	switch {
	case s == "":
	case it.Line > 0:
		s += fmt.Sprintf(":%d", it.Line)
	case it.Offset > 0:
		s += fmt.Sprintf(" at byte %s", cli.Count(it.Offset))
	}
	return s
}

// Notice is what people will notice, such as new POP3 UIDLs.
type Notice struct {
	Code  string `json:"code"`
	Title string `json:"title"` // one line
	Words string `json:"words"` // what it means and what to do
}

// Verification is what was proven by reading both ends again.
type Verification struct {
	Method          string `json:"method"`    // how, in words
	Mailboxes       int64  `json:"mailboxes"` // compared
	MailboxesEqual  int64  `json:"mailboxes_equal"`
	Messages        int64  `json:"messages"`
	Equal           int64  `json:"equal"`          // SHA-256 of all bytes
	EqualIdentity   int64  `json:"equal_identity"` // only headers that readers rewrite differ
	Missing         int64  `json:"missing"`        // no equal at the target, which nobody there took away
	GoneAtTarget    int64  `json:"gone_at_target"` // delivered once; moved or deleted there since
	Extra           int64  `json:"extra"`          // at the target only
	Hashes          int64  `json:"hashes"`
	HashesUnchanged int64  `json:"hashes_unchanged"`
	Failures        []Item `json:"failures"`
}

// Proven says whether everything that was compared is equal.
func (v *Verification) Proven() bool {
	return len(v.Failures) == 0 && v.Missing == 0 && v.Hashes == v.HashesUnchanged &&
		v.MailboxesEqual == v.Mailboxes && v.Equal+v.EqualIdentity+v.GoneAtTarget == v.Messages
}

// Sum computes the Totals.
func (r *Report) Sum() {
	t := Totals{
		Mailboxes: int64(len(r.Mailboxes)), Accounts: int64(len(r.Accounts)),
		NotCarried: int64(len(r.NotCarried)), Oddities: int64(len(r.Oddities)),
	}
	for _, m := range r.Mailboxes {
		t.Messages += m.Messages
		t.Bytes += m.Bytes
		t.Delivered += m.Delivered
		t.DeliveredBytes += m.DeliveredBytes
		t.AlreadyThere += m.AlreadyThere
		t.Failed += m.Failed
		t.Verified += m.Verified
	}
	for _, a := range r.Accounts {
		switch a.State {
		case Made:
			t.AccountsMade++
		case There, Updated, Kept:
			t.AccountsThere++
		case Skipped:
			t.AccountsSkipped++
		}
	}
	r.Totals = t
}

// Took is how long the run was.
func (r *Report) Took() time.Duration { return r.Finished.Sub(r.Started) }

// Headline is the outcome in one sentence.
func (r *Report) Headline() string {
	left := ""
	if n := r.Totals.NotCarried; n > 0 {
		left = "; " + cli.Plural(n, "thing was|things were") + " not carried"
	}
	if r.Verification != nil && !r.Verification.Proven() {
		left += "; the verification FAILED"
	}
	switch r.Outcome {
	case Done:
		return "Done" + left + "."
	case Partial:
		return "Done, but not all of it" + left + "."
	case Planned:
		if n := r.Totals.NotCarried; n > 0 {
			left = "; " + cli.Plural(n, "thing") + " would not be carried"
		}
		return "A plan: nothing was changed" + left + "."
	}
	s := "Stopped before the end; it can be run again" + left + "."
	if r.Why != "" {
		s += " It said: " + cli.Printable(r.Why)
	}
	return s
}

// kind is the items of one code, which have one cause and one remedy.
type kind struct {
	Code     string
	Severity string
	Fix      string // that of the first
	Items    []Item
}

// kinds groups items by code: errors first, then warnings, then by number.
func kinds(items []Item) []*kind {
	var list []*kind
	byCode := map[string]*kind{}
	for _, it := range items {
		k := byCode[it.Code]
		if k == nil {
			k = &kind{Code: it.Code, Severity: it.Severity, Fix: it.Fix}
			byCode[it.Code] = k
			list = append(list, k)
		}
		if weight(it.Severity) > weight(k.Severity) {
			k.Severity = it.Severity
		}
		k.Items = append(k.Items, it)
	}
	sortKinds(list)
	return list
}

func weight(severity string) int {
	switch severity {
	case "error":
		return 2
	case "warning":
		return 1
	}
	return 0
}
