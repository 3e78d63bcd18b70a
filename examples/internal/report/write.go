//go:build unix

package report

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

func sortKinds(list []*kind) {
	slices.SortStableFunc(list, func(a, b *kind) int {
		return cmp.Or(
			cmp.Compare(weight(b.Severity), weight(a.Severity)),
			cmp.Compare(len(b.Items), len(a.Items)),
			cmp.Compare(a.Code, b.Code),
		)
	})
}

// Files is the value of the flag -report, which may be given once for each
// form: FILE.json or FILE.html.
type Files []string

// String joins the names.
func (f *Files) String() string {
	if f == nil {
		return ""
	}
	return strings.Join(*f, ",")
}

// Set takes a name with one of the two suffixes.
func (f *Files) Set(name string) error {
	if writer(name) == nil {
		return fmt.Errorf("%q ends neither in .json nor in .html", name)
	}
	*f = append(*f, name)
	return nil
}

// writer picks the form by the file's suffix.
func writer(name string) func(io.Writer, *Report) error {
	switch filepath.Ext(name) {
	case ".json":
		return WriteJSON
	case ".html":
		return WriteHTML
	}
	return nil
}

// Save writes the report to each of the files. A file appears at once and
// whole, or not at all. Only its owner may read it: it names every account.
func (f Files) Save(r *Report) error {
	for _, name := range f {
		if err := save(name, r, nil); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}

func save(name string, r *Report, hook safefs.Hook) error {
	write := writer(name)
	if write == nil {
		return fmt.Errorf("%q ends neither in .json nor in .html", name)
	}
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer root.Close()
	dir, err := safefs.OpenDir(root, ".", hook)
	if err != nil {
		return err
	}
	defer dir.Close()
	how := safefs.Replacement{Mode: 0o600, Owner: safefs.Keep, Inherit: true}
	return dir.Replace(filepath.Base(name), how, func(f *safefs.File) error {
		w := bufio.NewWriterSize(f, 64<<10)
		if err := write(w, r); err != nil {
			return err
		}
		return w.Flush()
	})
}

// WriteJSON writes the form for programs: one object, indented.
func WriteJSON(w io.Writer, r *Report) error { return writeJSON(w, r, " ") }

// WriteLine writes the same object on one line.
func WriteLine(w io.Writer, r *Report) error { return writeJSON(w, r, "") }

func writeJSON(w io.Writer, r *Report, indent string) error {
	out := *r
	out.Format = Format
	// Empty lists are lists, not null.
	out.NotCarried = list(r.NotCarried)
	out.Oddities = list(r.Oddities)
	out.Notices = list(r.Notices)
	out.Mailboxes = list(r.Mailboxes)
	out.Accounts = list(r.Accounts)
	if r.Verification != nil {
		v := *r.Verification
		v.Failures = list(v.Failures)
		out.Verification = &v
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	return enc.Encode(&out)
}

func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// examples is how many items of a kind the terminal shows.
const examples = 3

// WriteText writes the summary for the terminal.
func WriteText(w io.Writer, r *Report) error {
	b := &strings.Builder{}
	t := &r.Totals
	fmt.Fprintf(b, "%s %s: %s\n", r.Program, r.Command, r.Headline())
	row := func(name, format string, args ...any) {
		fmt.Fprintf(b, "  %-13s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("from", "%s %s", r.Source.What, cli.Name(string(r.Source.Path)))
	row("to", "%s %s", r.Target.What, cli.Name(string(r.Target.Path)))
	row("mailboxes", "%s", cli.Count(t.Mailboxes))
	row("messages", "%s, %s", cli.Count(t.Messages), cli.Size(t.Bytes))
	if r.Outcome != Planned {
		row("", "%s", r.messages())
	}
	if t.Accounts > 0 {
		row("accounts", "%s", r.accounts())
	}
	if v := r.Verification; v != nil {
		row("verification", "%s", v.Summary())
	}
	if r.Needs != nil {
		row("it needs", "%s", r.Needs.Summary())
	}
	if r.Outcome != Planned {
		row("time", "%s", cli.Span(r.Took()))
	}
	textItems(b, "Not carried", r.NotCarried)
	if r.Verification != nil {
		textItems(b, "Not proven", r.Verification.Failures)
	}
	textItems(b, "Carried, but odd", r.Oddities)
	if len(r.Notices) > 0 {
		fmt.Fprintf(b, "\nWhat people will notice:\n")
	}
	for _, n := range r.Notices {
		fmt.Fprintf(b, "  %s\n", n.Title)
		if n.Words != "" {
			fmt.Fprintf(b, "        %s\n", n.Words)
		}
	}
	// Whatever names and words hold, the terminal gets text only.
	_, err := io.WriteString(w, cli.Printable(b.String()))
	return err
}

// textItems lists a few items of each kind.
func textItems(b *strings.Builder, title string, items []Item) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n", title)
	for _, k := range kinds(items) {
		fmt.Fprintf(b, "  %s (%s)\n", k.Code, cli.Count(int64(len(k.Items))))
		for _, it := range k.Items[:min(examples, len(k.Items))] {
			line := it.Words
			if p := it.Place(); p != "" {
				line = p + ": " + line
			}
			fmt.Fprintf(b, "    %s\n", line)
		}
		if more := len(k.Items) - examples; more > 0 {
			fmt.Fprintf(b, "    and %s more\n", cli.Count(int64(more)))
		}
		if k.Fix != "" {
			fmt.Fprintf(b, "    to do: %s\n", k.Fix)
		}
	}
}

// messages says what became of the messages.
func (r *Report) messages() string {
	t := &r.Totals
	s := fmt.Sprintf("%s delivered now (%s), %s already there", cli.Count(t.Delivered), cli.Size(t.DeliveredBytes), cli.Count(t.AlreadyThere))
	if t.Failed > 0 {
		s += fmt.Sprintf(", %s failed", cli.Count(t.Failed))
	}
	return s
}

// accounts says what became of the accounts.
func (r *Report) accounts() string {
	t := &r.Totals
	s := cli.Count(t.Accounts)
	if r.Outcome != Planned {
		s += fmt.Sprintf(": %s made, %s already there", cli.Count(t.AccountsMade), cli.Count(t.AccountsThere))
	}
	if t.AccountsSkipped > 0 {
		s += fmt.Sprintf(", %s skipped", cli.Count(t.AccountsSkipped))
	}
	return s
}

// Summary says in a line what was proven.
func (v *Verification) Summary() string {
	verdict := "NOT PROVEN: "
	if v.Proven() {
		verdict = "All equal: "
	}
	s := fmt.Sprintf("%s of %s messages equal in all bytes", cli.Count(v.Equal), cli.Count(v.Messages))
	for _, part := range []struct {
		n     int64
		words string
	}{
		{v.EqualIdentity, "equal but for headers that readers rewrite"},
		{v.GoneAtTarget, "moved or deleted at the target since"},
		{v.Missing, "missing"},
		{v.Extra, "at the target only"},
	} {
		if part.n > 0 {
			s += fmt.Sprintf(", %s %s", cli.Count(part.n), part.words)
		}
	}
	if v.Hashes > 0 {
		s += fmt.Sprintf("; %s of %s password hashes unchanged", cli.Count(v.HashesUnchanged), cli.Count(v.Hashes))
	}
	return verdict + s
}

// Summary says in a line what the run will take and whether there is room.
func (n *Needs) Summary() string {
	free := func(have int64, show func(int64) string) string {
		if have < 0 {
			return "free: not known"
		}
		return show(have) + " free"
	}
	s := fmt.Sprintf("%s of disk (%s), %s inodes (%s), about %s", cli.Size(n.Bytes), free(n.FreeBytes, cli.Size),
		cli.Count(n.Inodes), free(n.FreeInodes, cli.Count), cli.Span(n.Duration()))
	if !n.Enough() {
		s += ": NOT ENOUGH ROOM"
	}
	return s
}
