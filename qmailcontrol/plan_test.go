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
	"syscall"
	"testing"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
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

func TestApplyRefusesForeignEdits(t *testing.T) {
	dir, root := control(t, site)
	c := config(t, root)
	p := Diff(c, edited(t, c))
	write(t, filepath.Join(dir, "rcpthosts"), "somebody was here\n")
	before := content(t, dir)
	if undo, err := p.Apply(t.Context(), root, nil); !errors.Is(err, ErrChanged) || undo != nil {
		t.Errorf("%v, %v", undo, err)
	}
	sameContent(t, content(t, dir), before)
	// And while it works, too: what is done stays, and is told.
	write(t, filepath.Join(dir, "rcpthosts"), site["rcpthosts"])
	late := &ApplyOptions{Backup: func(_ context.Context, c Change) error {
		if c.Name == "virtualdomains" {
			return os.WriteFile(filepath.Join(dir, "rcpthosts"), []byte("now\n"), 0o644)
		}
		return nil
	}}
	undo, err := p.Apply(t.Context(), root, late)
	if !errors.Is(err, ErrChanged) || len(undo) != len(p)-1 {
		t.Errorf("%v, %v", undo, err)
	}
	if _, err := undo.Apply(t.Context(), root, nil); err != nil {
		t.Error(err)
	}
	if got := read(t, filepath.Join(dir, "locals")); got != site["locals"] {
		t.Errorf("locals after undo: %q", got)
	}
}

func TestApplyBackup(t *testing.T) {
	_, root := control(t, site)
	c := config(t, root)
	p := Diff(c, edited(t, c))
	kept := map[string]string{}
	opts := &ApplyOptions{Backup: func(_ context.Context, c Change) error {
		kept[c.Name] = string(c.Old.Text)
		return nil
	}}
	if _, err := p.Apply(t.Context(), root, opts); err != nil {
		t.Fatal(err)
	}
	for _, c := range p {
		if text, ok := kept[c.Name]; !ok || text != site[c.Name] {
			t.Errorf("%s: backup %q %t", c.Name, text, ok)
		}
	}
	full := errors.New("no room for backups")
	_, err := p.Reverse().Apply(t.Context(), root, &ApplyOptions{Backup: func(context.Context, Change) error { return full }})
	if !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	if left := Diff(config(t, root), edited(t, c)); len(left) > 0 {
		t.Errorf("changed without backup: %v", left)
	}
}

// Each step fails once, or is the last one before a kill: the same plan then
// finishes the job, or its reverse takes it back, and nothing is left over.
func TestApplyFaults(t *testing.T) {
	var steps []string
	dir, root := control(t, site)
	c := config(t, root)
	p := Diff(c, edited(t, c))
	before := content(t, dir)
	opts := &ApplyOptions{hook: func(op, name string) error { steps = append(steps, op); return nil }}
	if _, err := p.Apply(t.Context(), root, opts); err != nil {
		t.Fatal(err)
	}
	after := content(t, dir)
	if len(steps) < 6*len(p) || !slices.Contains(steps, "syncdir") {
		t.Fatalf("steps %q", steps)
	}
	for n, op := range steps {
		for _, kill := range []bool{false, true} {
			dir, root := control(t, site)
			left, fault := n, errors.New("no more "+op)
			opts := &ApplyOptions{hook: func(string, string) error {
				// Nothing works behind a kill, cleaning up neither.
				if left--; left == -1 || kill && left < 0 {
					return fault
				}
				return nil
			}}
			undo, err := p.Apply(t.Context(), root, opts)
			if !errors.Is(err, fault) && (op != "remove" || kill) {
				t.Errorf("%d %s: %v", n, op, err)
			}
			if n%2 == 0 {
				_, err = p.Apply(t.Context(), root, nil)
				sameContent(t, content(t, dir), after)
			} else if _, err = undo.Apply(t.Context(), root, nil); err == nil {
				_, err = p.Reverse().Apply(t.Context(), root, nil)
				sameContent(t, content(t, dir), before)
			}
			if err != nil {
				t.Errorf("%d %s: afterwards: %v", n, op, err)
			}
		}
	}
}

func TestApplyCancelled(t *testing.T) {
	dir, root := control(t, site)
	c := config(t, root)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	undo, err := Diff(c, edited(t, c)).Apply(ctx, root, &ApplyOptions{Backup: func(_ context.Context, c Change) error {
		if c.Name == "smtproutes" {
			cancel(stop)
		}
		return nil
	}})
	if !errors.Is(err, stop) || len(undo) != 3 {
		t.Errorf("%v, %v", undo, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "virtualdomains")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("went on: %v", err)
	}
}

func TestApplyOneAtATime(t *testing.T) {
	_, root := control(t, site)
	c := config(t, root)
	p := Diff(c, edited(t, c))
	d, err := safefs.OpenDir(root, ".", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.TryLock(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Apply(t.Context(), root, nil); !errors.Is(err, safefs.ErrLocked) {
		t.Errorf("%v", err)
	}
}

func TestApplyLinks(t *testing.T) {
	dir, root := control(t, map[string]string{"real": "a\n", "gone": "b\n"})
	for name, to := range map[string]string{"locals": "real", "rcpthosts": "gone"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	c := config(t, root)
	if e, _ := c.Entry("locals"); e.Link != "real" || e.Text != "a\n" {
		t.Errorf("%+v", e)
	}
	next := c.Clone()
	if err := next.SetText("locals", "c\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := Diff(c, next).Apply(t.Context(), root, nil); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(filepath.Join(dir, "locals")); err != nil || to != "real" || read(t, filepath.Join(dir, "real")) != "c\n" {
		t.Errorf("link %q, %v", to, err)
	}
	if _, err := next.Remove("rcpthosts"); err != nil {
		t.Fatal(err)
	}
	if _, err := Diff(config(t, root), next).Apply(t.Context(), root, nil); !errors.Is(err, qmailkit.ErrLink) {
		t.Errorf("removed a link: %v", err)
	}
}

func TestConfigRefuses(t *testing.T) {
	dir, root := control(t, site)
	for _, name := range []string{"big", "locals"} {
		if err := os.Truncate(filepath.Join(dir, "locals"), 0); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), "")
	}
	if err := os.Truncate(filepath.Join(dir, "big"), 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "badmailfrom")); err != nil {
		t.Fatal(err)
	}
	c := config(t, root)
	for name, want := range map[string]error{"big": ErrTooBig, "fifo": qmailkit.ErrNotPlain, "badmailfrom": qmailkit.ErrLink} {
		if e, found := c.Entry(name); !found || !errors.Is(e.Err, want) || e.Text != "" {
			t.Errorf("%s: %v", name, e.Err)
		}
		if err := c.SetText(name, ""); !errors.Is(err, want) {
			t.Errorf("%s set: %v", name, err)
		}
		if _, err := c.Remove(name); !errors.Is(err, want) {
			t.Errorf("%s removed: %v", name, err)
		}
	}
	if _, err := c.SMTPD(nil); !errors.Is(err, ErrControls) || !errors.Is(err, qmailkit.ErrLink) {
		t.Errorf("a link out of the tree passes: %v", err)
	}
	for _, name := range []string{"", ".", "..", "a/b", "a\x00", "a\n"} {
		if err := c.SetText(name, ""); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := (Plan{{Name: name, New: State{Exists: true}}}).Apply(t.Context(), root, nil); err == nil {
			t.Errorf("%q: applied", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := LoadConfig(ctx, root); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A whole host's file system: control is a link, as on many systems.
func TestReadConfigBehindLinks(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"var/qmail", "etc/qmail"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"var/qmail/control": "/etc/qmail", "etc/qmail/helohost": "../hostname", "etc/qmail/idhost": "/gone/away"} {
		if err := os.Symlink(to, filepath.Join(top, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(top, "etc/hostname"), "mx.example.com\n")
	write(t, filepath.Join(top, "etc/qmail/me"), "me.example.com\n")
	root, err := os.OpenRoot(top)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	c, err := ReadConfig(t.Context(), qmailkit.NewTree(root), "var/qmail/control")
	if err != nil {
		t.Fatal(err)
	}
	s := c.Settings()
	if s.HeloHost.Value != "mx.example.com" || s.Me.Value != "me.example.com" {
		t.Errorf("%+v %+v", s.HeloHost, s.Me)
	}
	if e, _ := c.Entry("helohost"); e.Link != "etc/hostname" {
		t.Errorf("%+v", e)
	}
	// qmail on that host may find it: it is not missing, me does not stand in.
	if !errors.Is(s.IDHost.Err, qmailkit.ErrLink) || s.IDHost.Value != "" {
		t.Errorf("%+v", s.IDHost)
	}
	if _, err := ReadConfig(t.Context(), qmailkit.NewTree(root), "no/control"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestConfigBounds(t *testing.T) {
	c := NewConfig()
	text := strings.Repeat("x", MaxSize)
	for i := range MaxConfig / MaxSize {
		if err := c.SetText(string(rune('a'+i)), text); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SetText("a", text); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if err := c.SetText("z", "x"); !errors.Is(err, ErrTooBig) {
		t.Errorf("one byte more: %v", err)
	}
	if ok, err := c.Remove("a"); !ok || err != nil {
		t.Error(ok, err)
	}
	if err := c.SetText("z", "x"); err != nil {
		t.Errorf("after Remove: %v", err)
	}
	if ok, err := c.Remove("a"); ok || err != nil {
		t.Error(ok, err)
	}
	if err := c.NewMRH(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no morercpthosts: %v", err)
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
