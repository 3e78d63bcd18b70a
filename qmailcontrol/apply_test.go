//go:build unix

package qmailcontrol

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

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

// A process that is killed at any step leaves each file as it was or as it
// should be, and the plan, which lies on the disk, does the rest.
func TestApplyKilled(t *testing.T) {
	if dir := os.Getenv("QMAILCONTROL_KILL_DIR"); dir != "" {
		applyAndDie(t, dir)
		return
	}
	if testing.Short() {
		t.Skip("starts processes")
	}
	for n := 0; ; n += 5 {
		top := t.TempDir()
		dir, root := control(t, site)
		c := config(t, root)
		p := Diff(c, edited(t, c))
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(top, "plan"), string(b))
		write(t, filepath.Join(top, "steps"), strconv.Itoa(n))
		cmd := exec.Command(os.Args[0], "-test.run=^TestApplyKilled$")
		cmd.Env = append(os.Environ(), "QMAILCONTROL_KILL_DIR="+dir, "QMAILCONTROL_KILL_PLAN="+top)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err == nil {
			if n < 5*len(p) {
				t.Fatalf("done after %d steps: %s", n, out)
			}
			return
		}
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%d steps: %v: %s", n, err, out)
		}
		for _, change := range p {
			if _, err := change.open(qmailkit.NewTree(root)); err != nil {
				t.Errorf("killed after %d steps: %v", n, err)
			}
		}
		if _, err := p.Apply(t.Context(), root, nil); err != nil {
			t.Errorf("killed after %d steps: %v", n, err)
		}
		want := edited(t, c)
		if left := Diff(config(t, root), want); len(left) > 0 {
			t.Errorf("killed after %d steps: left to do or left over: %v", n, left)
		}
	}
}

// applyAndDie is the process that is killed.
func applyAndDie(t *testing.T, dir string) {
	top := os.Getenv("QMAILCONTROL_KILL_PLAN")
	steps, err := strconv.Atoi(read(t, filepath.Join(top, "steps")))
	if err != nil {
		t.Fatal(err)
	}
	var p Plan
	if err := json.Unmarshal([]byte(read(t, filepath.Join(top, "plan"))), &p); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Apply(t.Context(), root, &ApplyOptions{hook: func(string, string) error {
		if steps--; steps < 0 {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
}
