package plesk

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
)

// Tables that WriteAccounts writes to: every psa has the first, and the others
// as far as it has autoresponders.
var (
	accountTables   = []string{"domains", "accounts", "mail", "mail_aliases", "mail_redir"}
	responderTables = []string{"mail_resp", "resp_attach", "resp_forward"}
)

// leaveResponders forgets the tables of autoresponders if rows of them need
// what this package does not know: accounts matter more.
func (w *writer) leaveResponders() {
	given := map[string][]string{"mail_resp": {"mn_id", "resp_name", "resp_on", "subject", "text"}, "resp_attach": {"rn_id", "filename"}, "resp_forward": {"rn_id", "address"}}
	for name, columns := range given {
		t := w.schema[name]
		if t == nil {
			continue
		}
		for _, c := range columns {
			if !t.has(c) {
				delete(w.schema, name)
			}
		}
		for _, c := range t.columns {
			low := strings.ToLower(c.name)
			if _, known := neutral(name, low); c.needs && !known && !slices.Contains(columns, low) {
				delete(w.schema, name)
			}
		}
	}
}

// answers are the autoresponders of a name that psa here has room for: all
// where it is of the time when a name had several with conditions, which has
// mail.redirect, else one without.
func (w *writer) answers(m *Mailname) []Responder {
	switch {
	case len(m.Responders) == 0 || w.schema["mail_resp"] == nil:
		return nil
	case w.schema["mail"].has("redirect"):
		return m.Responders
	}
	at := mainResponder(m.Responders)
	if r := &m.Responders[at]; r.conditional() {
		return nil
	}
	return m.Responders[at : at+1]
}

// mainResponder is the one that is kept where there is room for one: the first
// that is switched on.
func mainResponder(list []Responder) int {
	return max(0, slices.IndexFunc(list, func(r Responder) bool { return r.On }))
}

// conditional says that it answers certain messages only.
func (r *Responder) conditional() bool { return r.Key != "" && r.Where != "no" && r.Where != "" }

// ends is the day on which it is switched off; empty is never. ok is false for
// what is no day.
func (r *Responder) ends() (day string, ok bool) {
	if r.End == "" || strings.HasPrefix(r.End, "0000-00-00") {
		return "", true
	}
	day, _, _ = strings.Cut(strings.ReplaceAll(r.End, "T", " "), " ")
	_, err := time.Parse(time.DateOnly, day)
	return day, err == nil
}

// responders writes the rows of a name's autoresponders, and tells of those
// that there is no room for.
func (w *writer) responders(d *DomainPlan, a *Account, id int64) error {
	m := a.Mailname
	addr := m.Name + "@" + d.Domain.Name
	ours := w.answers(m)
	for i := range m.Responders {
		r := &m.Responders[i]
		if slices.ContainsFunc(ours, func(o Responder) bool { return o.ID == r.ID && o.Name == r.Name }) {
			if err := w.responder(addr, r, id); err != nil {
				return fmt.Errorf("autoresponder %q: %w", r.Name, err)
			}
			continue
		}
		why := "this psa has no table mail_resp that rows can be written to"
		switch {
		case w.schema["mail_resp"] == nil:
		case r.conditional():
			why = fmt.Sprintf("it answers only where %s holds %q, and this Plesk has no conditions", r.Where, r.Key)
		default:
			why = "this Plesk has one for each name"
		}
		w.done.Problems = append(w.done.Problems, qmailkit.Problem{Code: "plesk.responder-not-written", Severity: qmailkit.Error, Path: addr,
			Err: fmt.Errorf("%s: autoresponder %q is left out: %s", addr, r.Name, why), Fix: "make it by hand, once Plesk knows the name: " + r.call(addr)})
	}
	return nil
}

// call is how Plesk's tool makes it.
func (r *Responder) call(addr string) string {
	return ShellWords([]string{"autoresponder", "--update", "-mail", addr, "-status", "true", "-subject", r.Subject, "-text", r.Text})
}

// settings are the columns of mail_resp that a version may lack. What is empty
// is left to the column's default.
func (r *Responder) settings() map[string]any {
	set := map[string]any{}
	text := func(column, s string) {
		if s != "" {
			set[column] = s
		}
	}
	text("keystr", r.Key)
	text("key_where", r.Where)
	text("reply_to", r.ReplyTo)
	text("content_type", r.ContentType)
	text("charset", r.Charset)
	if day, ok := r.ends(); ok {
		text("enddate", day)
	}
	if r.Frequency != 0 {
		set["ans_freq"] = r.Frequency
	}
	if r.Store != 0 {
		set["mem_limit"] = r.Store
	}
	return set
}

// responder writes the rows of one.
func (w *writer) responder(addr string, r *Responder, id int64) error {
	row := map[string]any{"mn_id": id, "resp_name": r.Name, "resp_on": yesNo(r.On), "subject": r.Subject, "text": r.Text}
	set := r.settings()
	for _, column := range slices.Sorted(maps.Keys(set)) {
		v := set[column]
		if w.schema["mail_resp"].has(column) {
			row[column] = v
			continue
		}
		w.problem(addr, "no-column", qmailkit.Warning, "%s: autoresponder %q: %s %q is left out, for which this psa has no column", addr, r.Name, column, fmt.Sprint(v))
	}
	if _, ok := r.ends(); !ok {
		w.problem(addr, "responder-end", qmailkit.Warning, "%s: autoresponder %q ends on %q, which is no day", addr, r.Name, r.End)
	}
	rn, err := w.insert("mail_resp", row)
	if err != nil {
		return err
	}
	for _, more := range []struct {
		table, column string
		values        []string
	}{{"resp_attach", "filename", r.Attachments}, {"resp_forward", "address", r.Forwards}} {
		for _, v := range more.values {
			if w.schema[more.table] == nil {
				w.problem(addr, "no-table", qmailkit.Error, "%s: autoresponder %q: %s %q is left out, for which this psa has no table", addr, r.Name, more.column, v)
				continue
			}
			if _, err := w.insert(more.table, map[string]any{"rn_id": rn, more.column: v}); err != nil {
				return err
			}
		}
	}
	return nil
}

// answersDiffer names what is not as it was written.
func (w *writer) answersDiffer(m, got *Mailname) string {
	want := w.answers(m)
	if len(want) != len(got.Responders) || got.AutoRespond != (m.AutoRespond && len(want) > 0) {
		return "autoresponder"
	}
	for i := range want {
		r, g := &want[i], &got.Responders[i]
		have := g.settings()
		for column, v := range r.settings() {
			if w.schema["mail_resp"].has(column) && fmt.Sprint(have[column]) != fmt.Sprint(v) {
				return "autoresponder: " + column
			}
		}
		switch {
		case r.Name != g.Name || r.On != g.On || r.Subject != g.Subject || r.Text != g.Text:
			return "autoresponder"
		case w.schema["resp_attach"] != nil && !slices.Equal(r.Attachments, g.Attachments), w.schema["resp_forward"] != nil && !slices.Equal(r.Forwards, g.Forwards):
			return "autoresponder: what belongs to it"
		}
	}
	return ""
}
