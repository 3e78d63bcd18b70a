//go:build unix

package qmailcontrol

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// site is a small server.
var site = map[string]string{
	"me":                "mx1.example.com\n",
	"locals":            "mx1.example.com\nold.example\n",
	"rcpthosts":         "mx1.example.com\nold.example\n",
	"morercpthosts":     "big.example\n",
	"smtproutes":        "# none",
	"unknown-to-anyone": "\x00\xff",
	"not-utf-8-\xff":    "",
}

func config(t testing.TB, root *os.Root) *Config {
	t.Helper()
	c, err := LoadConfig(context.Background(), root)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// edited is site with a domain moved, a file made and a file removed.
func edited(t testing.TB, c *Config) *Config {
	t.Helper()
	c = c.Clone()
	edit := func(name string, change func(l *Lines) error) {
		l, err := c.Lines(name)
		if errors.Is(err, fs.ErrNotExist) {
			l, err = &Lines{}, nil
		}
		if err == nil {
			err = change(l)
		}
		if err == nil {
			err = c.Set(name, l)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SetText("not-utf-8-\xff", "\xfe\n"); err != nil {
		t.Fatal(err)
	}
	edit("locals", func(l *Lines) error { l.Remove("old.example"); return nil })
	edit("virtualdomains", func(l *Lines) error { return l.Add("new.example:joe") })
	edit("rcpthosts", func(l *Lines) error { return l.Add("new.example") })
	if _, err := c.Remove("smtproutes"); err != nil {
		t.Fatal(err)
	}
	if err := c.NewMRH(); err != nil {
		t.Fatal(err)
	}
	return c
}

// content is what a directory holds, with modes.
func content(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fi, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = fi.Mode().String() + " " + string(b)
	}
	return all
}

func sameContent(t testing.TB, got, want map[string]string) {
	t.Helper()
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s: %q, want %q", name, got[name], want[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: should not be there", name)
		}
	}
}

func TestPlan(t *testing.T) {
	dir, root := control(t, site)
	if err := os.Chmod(filepath.Join(dir, "locals"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "smtproutes"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := content(t, dir)
	c := config(t, root)
	next := edited(t, c)
	p := Diff(c, next)
	want := `locals: changed
  -2 old.example
not-utf-8-\xff: changed
  +1 \xfe
smtproutes: removed
  -1 # none
virtualdomains: made
  +1 new.example:joe
morercpthosts.cdb: made
  0 bytes, then 2083
rcpthosts: changed
  +3 new.example
`
	if got := p.String(); got != want {
		t.Errorf("plan:\n%swant:\n%s", got, want)
	}
	undo, err := p.Apply(t.Context(), root, nil)
	if err != nil {
		t.Fatal(err)
	}
	after := content(t, dir)
	if after["locals"] != "-rw-r----- mx1.example.com\n" || after["rcpthosts"] != "-rw-r--r-- mx1.example.com\nold.example\nnew.example\n" || after["smtproutes"] != "" {
		t.Errorf("after: %q", after)
	}
	if left := Diff(config(t, root), next); len(left) > 0 {
		t.Errorf("still to do: %v", left)
	}
	// Once more changes nothing, and there is nothing to take back.
	if again, err := p.Apply(t.Context(), root, nil); err != nil || len(again) > 0 {
		t.Errorf("again: %v, %v", again, err)
	}
	sameContent(t, content(t, dir), after)
	// The way back goes through a file.
	b, err := json.Marshal(undo)
	if err != nil {
		t.Fatal(err)
	}
	var kept Plan
	if err := json.Unmarshal(b, &kept); err != nil {
		t.Fatal(err)
	}
	redo, err := kept.Apply(t.Context(), root, nil)
	if err != nil {
		t.Fatal(err)
	}
	sameContent(t, content(t, dir), before)
	if len(redo) != len(p) {
		t.Errorf("redo: %v", redo)
	}
}

// New hosts are accepted last, old ones refused first.
func TestPlanOrder(t *testing.T) {
	_, root := control(t, site)
	c := config(t, root)
	order := func(files map[string]string) string {
		next := c.Clone()
		for name, text := range files {
			if err := next.SetText(name, text); err != nil {
				t.Fatal(err)
			}
		}
		if files["morercpthosts"] != "" {
			if err := next.NewMRH(); err != nil {
				t.Fatal(err)
			}
		}
		var names []string
		for _, c := range Diff(c, next) {
			names = append(names, c.Name)
		}
		return strings.Join(names, " ")
	}
	if err := c.NewMRH(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		want  string
		files map[string]string
	}{
		{"locals rcpthosts", map[string]string{"rcpthosts": "mx1.example.com\nold.example\nx\n", "locals": ""}},
		{"rcpthosts locals", map[string]string{"rcpthosts": "old.example\n", "locals": ""}},
		{"locals morercpthosts morercpthosts.cdb", map[string]string{"morercpthosts": "big.example\nx\n", "locals": ""}},
		{"morercpthosts morercpthosts.cdb locals", map[string]string{"morercpthosts": "# none\n", "locals": ""}},
	} {
		if got := order(test.files); got != test.want {
			t.Errorf("%v: %s, want %s", test.files, got, test.want)
		}
	}
	open := c.Clone()
	if _, err := open.Remove("rcpthosts"); err != nil {
		t.Fatal(err)
	}
	if err := open.SetText("locals", ""); err != nil {
		t.Fatal(err)
	}
	if p := Diff(c, open); p[1].Name != "rcpthosts" {
		t.Errorf("removing rcpthosts opens the host: %v", p)
	}
	if p := Diff(open, c); p[0].Name != "rcpthosts" {
		t.Errorf("making rcpthosts closes the host: %v", p)
	}
}

func TestPlanReload(t *testing.T) {
	for want, names := range map[Reload][]string{
		ReloadNothing: {"rcpthosts", "smtproutes", "smtpgreeting", "somebody-elses"},
		ReloadHUP:     {"rcpthosts", "virtualdomains", "locals"},
		ReloadRestart: {"virtualdomains", "concurrencylocal", "locals"},
	} {
		var p Plan
		for _, name := range names {
			p = append(p, Change{Name: name})
		}
		if got := p.Reload(); got != want {
			t.Errorf("%q: %v, want %v", names, got, want)
		}
	}
	if got := (Plan{{Name: "me"}}).Reload(); got != ReloadRestart {
		t.Errorf("me: %v", got)
	}
}

func TestPlanEdits(t *testing.T) {
	for _, test := range []struct{ old, new, want string }{
		{"a\nb\nc\n", "a\nc\n", "-2b"},
		{"a\nc\n", "a\nb\nc\n", "+2b"},
		{"a\nb\nc\nd\n", "x\nb\nd\ne\n", "-1a +1x -3c +4e"},
		{"a\nb", "a\nb\n", "-2b +2b"},
		{"", "a", "+1a"},
		{"same\n", "same\n", ""},
	} {
		c := Change{"locals", State{true, []byte(test.old), 0, nil}, State{true, []byte(test.new), 0, nil}}
		var got []string
		for e := range c.Edits() {
			sign := "-"
			if e.Added {
				sign = "+"
			}
			got = append(got, sign+string(rune('0'+e.Line))+e.Text)
		}
		if s := strings.Join(got, " "); s != test.want {
			t.Errorf("%q to %q: %s, want %s", test.old, test.new, s, test.want)
		}
	}
	// Too long to compare well, but still a true account.
	a, b := strings.Repeat("x\n", 5000), strings.Repeat("y\n", 5000)
	n := 0
	for range (Change{"locals", State{true, []byte(a), 0, nil}, State{true, []byte(b), 0, nil}}).Edits() {
		n++
	}
	if n != 10000 {
		t.Errorf("%d edits", n)
	}
}

// Whatever becomes of a file, its plan leads there and its reverse back.
func FuzzPlan(f *testing.F) {
	f.Add("a\nb\n", "a\nc", true, true)
	f.Add("", "x\x00y\n\n", true, false)
	f.Add("", "\xff", false, true)
	if testing.Short() {
		f.Skip("writes files")
	}
	dir := f.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		f.Fatal(err)
	}
	defer root.Close()
	f.Fuzz(func(t *testing.T, old, new string, was, will bool) {
		name := filepath.Join(dir, "locals")
		os.Remove(name)
		if was {
			write(t, name, old)
		}
		c := config(t, root)
		next := c.Clone()
		if will {
			if err := next.SetText("locals", new); err != nil {
				t.Fatal(err)
			}
		} else if _, err := next.Remove("locals"); err != nil {
			t.Fatal(err)
		}
		before := content(t, dir)
		p := Diff(c, next)
		replay(t, p)
		undo, err := p.Apply(t.Context(), root, nil)
		if err != nil {
			t.Fatal(err)
		}
		if left := Diff(config(t, root), next); len(left) > 0 {
			t.Fatal(left)
		}
		if _, err := undo.Apply(t.Context(), root, nil); err != nil {
			t.Fatal(err)
		}
		sameContent(t, content(t, dir), before)
	})
}

// replay makes the new lines of each change from the old ones by its edits.
func replay(t *testing.T, p Plan) {
	t.Helper()
	for _, c := range p {
		lines := splitLines(c.Old.Text)
		var added []Edit
		for _, e := range slices.Backward(slices.Collect(c.Edits())) {
			if e.Added {
				added = append(added, e)
			} else {
				lines = slices.Delete(lines, e.Line-1, e.Line)
			}
		}
		for _, e := range slices.Backward(added) {
			lines = slices.Insert(lines, e.Line-1, e.Text+"\n")
		}
		got := strings.TrimSuffix(strings.Join(lines, ""), "\n")
		if want := strings.TrimSuffix(string(c.New.Text), "\n"); got != want {
			t.Fatalf("edits lead to %q, want %q", got, want)
		}
	}
}
