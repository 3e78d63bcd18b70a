package plesk

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// TestRoute follows mail through the files that this package writes, by the
// rules of qmail-lspawn and qmail-local: users/assign, and the .qmail files.
func TestRoute(t *testing.T) {
	d := &Domain{ID: 12, Name: "example.com", Unknown: Unknown{Action: "bounce", Text: "it's gone"}, Mailnames: []*Mailname{
		{Name: "anna", Mailbox: true, Aliases: []string{"a.nna"}, Forwards: []string{"copy@x.org"}},
		{Name: "team", Group: true, Forwards: []string{"a@x.org", "b@x.org"}},
		{Name: "held", Mailbox: true, NoDelivery: true},
	}}
	a := &users.Assign{}
	if _, err := AddAssign(a, d, 7, popOptions); err != nil {
		t.Fatal(err)
	}
	const top = "var/qmail/mailnames/example.com/"
	files := map[string]string{}
	for _, m := range d.Mailnames {
		q, err := NewMailboxDot(m)
		if err != nil {
			t.Fatal(err)
		}
		files[top+m.Name+"/.qmail"] = string(q.Bytes())
		files[top+m.Name+"/Maildir/new/"] = ""
	}
	q, err := NewDefaultDot(d.Unknown)
	if err != nil {
		t.Fatal(err)
	}
	files[top+".qmail-default"] = string(q.Bytes())

	const true1, box = "program true", "program /usr/bin/deliverquota ./Maildir"
	want := map[string][]string{
		"7-anna":        {true1, box, "forward copy@x.org"},
		"7-A.nna":       {true1, box, "forward copy@x.org"},
		"7-team":        {true1, "forward a@x.org", "forward b@x.org"},
		"7-held":        {true1},
		"7-unknown":     {`program /var/qmail/bin/bouncesaying 'it'\''s gone'`},
		"7-anna-x":      {`program /var/qmail/bin/bouncesaying 'it'\''s gone'`},
		"70-x":          {"mbox ./Mailbox"}, // the first trap: .qmail0-x, .qmail0-default and .qmaildefault are tried
		"12-anna":       nil,                // the source's number leads nowhere
		"unknown-local": nil,
	}
	for local, deliveries := range want {
		if d := cmp.Diff(deliveries, routed(t, files, a, local)); d != "" {
			t.Errorf("%s: %s", local, d)
		}
	}
	// The second trap: without .qmail-default nothing is refused. And with a
	// dash in the line, it is not found.
	swallowed := []string{"mbox ./Mailbox"}
	dashed := assignOf(t, strings.ReplaceAll(string(a.Bytes()), "+7:", "+7-:"))
	if got := routed(t, files, dashed, "7-unknown"); !slices.Equal(got, swallowed) {
		t.Errorf("with a dash: %q", got)
	}
	if !slices.Contains(codes(slices.Collect(CheckAssign(dashed, nil))), "plesk.assign-dash") {
		t.Error("nobody tells of the dash")
	}
	delete(files, top+".qmail-default")
	if got := routed(t, files, a, "7-unknown"); !slices.Equal(got, swallowed) {
		t.Errorf("without .qmail-default: %q", got)
	}
}

// routed is what qmail does for a local part; nil is that users/cdb does not know
// it.
func routed(t *testing.T, files map[string]string, a *users.Assign, local string) (out []string) {
	t.Helper()
	u, found, err := cdbOf(t, a).Lookup(local)
	if err != nil {
		t.Fatal(err)
	}
	if !found {
		return nil
	}
	_, tree := hostTree(t, files)
	plan, err := qmailcontrol.LocalDelivery{User: u.Name, Home: u.Home, Local: local, Dash: u.Dash, Ext: u.Ext, Host: "example.com", DefaultDelivery: "./Mailbox"}.Plan(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Outcome() != nil {
		return []string{"refused: " + plan.Outcome().Error()}
	}
	for _, d := range plan.Deliveries {
		out = append(out, d.Kind.String()+" "+strings.TrimSpace(d.Target()))
	}
	return out
}
