package qmailcontrol

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/internal/cdbfile"
)

// ErrChanged says that a file is neither as a Plan wants to find it nor as it
// wants to leave it: somebody else has edited it.
var ErrChanged = errors.New("file has changed since the plan was made")

// State is a file at one moment, or that there is none.
type State struct {
	Exists bool
	Text   []byte
	// Mode and Owner of the file; the zero Mode and a nil Owner mean what Save
	// gives a file of that name. They count where the file has to be made.
	Mode  fs.FileMode
	Owner *Owner
}

// same says whether the content is the same.
func (s State) same(t State) bool { return s.Exists == t.Exists && bytes.Equal(s.Text, t.Text) }

// A Change is what is done to one file.
type Change struct {
	Name string
	Old  State
	New  State
}

// changeJSON is a Change whose name need not be UTF-8.
type changeJSON struct {
	Name []byte
	Old  State
	New  State
}

// MarshalJSON writes the name and the texts in base64, because they may hold
// any bytes.
func (c Change) MarshalJSON() ([]byte, error) {
	return json.Marshal(changeJSON{[]byte(c.Name), c.Old, c.New})
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (c *Change) UnmarshalJSON(b []byte) error {
	var j changeJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*c = Change{string(j.Name), j.Old, j.New}
	return nil
}

// A Plan is a list of changes to a control directory, in the order in which
// they are made. It is plain data: it can be kept as JSON, and Reverse makes
// the Plan that takes it back.
type Plan []Change

// Diff returns what turns old into new. Entries that cannot be read are the
// same as ever.
//
// The changes stand in an order in which mail does not bounce for their sake:
// first of all rcpthosts and morercpthosts.cdb where they only lose hosts, last
// of all where they win any, after locals and virtualdomains.
func Diff(old, new *Config) Plan {
	var p Plan
	names := slices.Concat(old.Names(), new.Names())
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		c := Change{name, old.state(name), new.state(name)}
		if e := old.entries[name]; e.Err == nil && !c.Old.same(c.New) {
			p = append(p, c)
		}
	}
	slices.SortStableFunc(p, func(a, b Change) int { return cmp.Compare(a.rank(), b.rank()) })
	return p
}

func (c *Config) state(name string) State {
	e, found := c.entries[name]
	if !found || e.Err != nil {
		return State{}
	}
	s := State{Exists: true, Text: []byte(e.Text)}
	if e.Info.Name != "" {
		s.Mode = e.Info.Mode.Perm()
		s.Owner = &Owner{e.Info.UID, e.Info.GID}
	}
	return s
}

// rank orders changes.
func (c Change) rank() int {
	switch c.Name {
	case "rcpthosts", "morercpthosts", "morercpthosts.cdb":
	default:
		return 1
	}
	// Without rcpthosts every host is accepted.
	switch {
	case c.Name == "rcpthosts" && !c.Old.Exists:
		return 0
	case c.Name == "rcpthosts" && !c.New.Exists:
		return 2
	}
	before, after := c.Old.hosts(c.Name), c.New.hosts(c.Name)
	for host := range after.in {
		if _, ok := before.in[host]; !ok {
			return 2
		}
	}
	return 0
}

// hosts is what a file lets in.
func (s State) hosts(name string) Set {
	if f, _ := FileNamed(name); f.Kind != KindCDB {
		return parseText(string(s.Text)).Set()
	}
	set := newSet(nil)
	r, err := cdbfile.Open(bytes.NewReader(s.Text), int64(len(s.Text)))
	if err != nil {
		return set
	}
	for rec, err := range r.Records() {
		if err != nil {
			break
		}
		set.in[string(rec.Key)] = struct{}{}
	}
	return set
}

// Reverse returns the Plan that takes p back, in the opposite order.
func (p Plan) Reverse() Plan {
	back := make(Plan, len(p))
	for i, c := range p {
		back[len(p)-1-i] = Change{c.Name, c.New, c.Old}
	}
	return back
}

// Reload is what a running qmail-send needs to see a change.
type Reload uint8

const (
	ReloadNothing Reload = iota // the file is read for each message or connection, or by nobody
	ReloadHUP                   // the signal HUP
	ReloadRestart               // it reads the file once, when it starts
)

// String returns "nothing", "HUP" or "restart".
func (r Reload) String() string {
	return [...]string{"nothing", "HUP", "restart", "unknown"}[min(r, ReloadRestart+1)]
}

// Reload says what qmail-send needs after the plan has been applied
// (qmail-send(8)).
func (p Plan) Reload() Reload {
	need := ReloadNothing
	for _, c := range p {
		f, _ := FileNamed(c.Name)
		switch {
		case c.Name == "locals" || c.Name == "virtualdomains":
			need = max(need, ReloadHUP)
		case c.Name == "me" || f.Readers == send:
			need = ReloadRestart
		}
	}
	return need
}

// An Edit is one line that a Change takes away or puts in.
type Edit struct {
	Added bool
	Line  int // of the old file, or if Added of the new one; from 1
	Text  string
	// Binary says that the file is not one of lines: it is replaced as a whole.
	Binary bool
}

// Edits yields the lines that differ, in the order of the file. A line that
// only wins or loses its newline at the end of the file counts as another.
func (c Change) Edits() iter.Seq[Edit] {
	return func(yield func(Edit) bool) {
		if f, ok := FileNamed(c.Name); ok && f.Kind == KindCDB {
			yield(Edit{Added: c.New.Exists, Binary: true})
			return
		}
		a, b := splitLines(c.Old.Text), splitLines(c.New.Text)
		start := 0
		for start < len(a) && start < len(b) && a[start] == b[start] {
			start++
		}
		end := 0
		for end < len(a)-start && end < len(b)-start && a[len(a)-1-end] == b[len(b)-1-end] {
			end++
		}
		i, j := start, start
		for _, both := range common(a[start:len(a)-end], b[start:len(b)-end]) {
			if !editsUntil(yield, a, b, &i, &j, start+both[0], start+both[1]) {
				return
			}
			i, j = i+1, j+1
		}
		editsUntil(yield, a, b, &i, &j, len(a)-end, len(b)-end)
	}
}

// editsUntil yields the lines of a from i and of b from j on.
func editsUntil(yield func(Edit) bool, a, b []string, i, j *int, endA, endB int) bool {
	for ; *i < endA; *i++ {
		if !yield(Edit{Line: *i + 1, Text: strings.TrimSuffix(a[*i], "\n")}) {
			return false
		}
	}
	for ; *j < endB; *j++ {
		if !yield(Edit{Added: true, Line: *j + 1, Text: strings.TrimSuffix(b[*j], "\n")}) {
			return false
		}
	}
	return true
}

func splitLines(text []byte) []string {
	return slices.Collect(strings.Lines(string(text)))
}

// maxCommon bounds the work of common: the product of both lengths.
const maxCommon = 4 << 20

// common returns the places of a longest common subsequence of a and b, or
// nothing where finding one would take too long: then all lines are told as
// replaced, which is as true.
func common(a, b []string) [][2]int {
	if len(a) == 0 || len(b) == 0 || len(a) > maxCommon/len(b) {
		return nil
	}
	wide := len(b) + 1
	best := make([]int32, (len(a)+1)*wide)
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				best[i*wide+j] = best[(i+1)*wide+j+1] + 1
			} else {
				best[i*wide+j] = max(best[(i+1)*wide+j], best[i*wide+j+1])
			}
		}
	}
	var pairs [][2]int
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] == b[j]:
			pairs = append(pairs, [2]int{i, j})
			i, j = i+1, j+1
		case best[(i+1)*wide+j] >= best[i*wide+j+1]:
			i++
		default:
			j++
		}
	}
	return pairs
}

// String shows the plan for reading: for each file what happens to it, and its
// lines with - and +, each with its number. Bytes that are no printable ASCII
// are escaped as Go does it.
func (p Plan) String() string {
	var b strings.Builder
	for _, c := range p {
		what := "changed"
		switch {
		case !c.Old.Exists:
			what = "made"
		case !c.New.Exists:
			what = "removed"
		}
		fmt.Fprintf(&b, "%s: %s\n", plainText(c.Name), what)
		for e := range c.Edits() {
			if e.Binary {
				fmt.Fprintf(&b, "  %d bytes, then %d\n", len(c.Old.Text), len(c.New.Text))
				continue
			}
			sign := '-'
			if e.Added {
				sign = '+'
			}
			fmt.Fprintf(&b, "  %c%d %s\n", sign, e.Line, plainText(e.Text))
		}
	}
	return b.String()
}

// plainText escapes what a terminal must not see.
func plainText(s string) string {
	q := fmt.Sprintf("%+q", s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
