//go:build unix

package qmailcontrol_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// dotBytes is a string of the golden files: one code point is one byte.
type dotBytes string

func (s *dotBytes) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	var raw []byte
	for _, r := range text {
		if r > 0xff {
			return errors.New("not a byte")
		}
		raw = append(raw, byte(r))
	}
	*s = dotBytes(raw)
	return nil
}

// dotCase is a home directory and what was done in it.
type dotCase struct {
	Case      string
	Home      string
	HomeMode  string
	Maildir   bool
	RootOwned []string `json:"root_owned"`
	Files     []struct {
		File, Content, To dotBytes
		Type, Mode        string
	}
	Runs []dotRun
}

type dotRun struct {
	Opts                                       []string
	Local, Dash, Ext, Host, Sender, AliasEmpty dotBytes
	RC                                         int
	Stdout, Stderr                             dotBytes
}

func dotCases(t testing.TB) []dotCase {
	t.Helper()
	b, err := os.ReadFile("testdata/dotqmail/cases.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var all []dotCase
	for line := range bytes.Lines(b) {
		var c dotCase
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	if len(all) < 22 {
		t.Fatalf("%d cases", len(all))
	}
	return all
}

// osMode turns the mode of a golden case into Go's.
func osMode(t testing.TB, text string) os.FileMode {
	t.Helper()
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil {
		t.Fatal(err)
	}
	mode := os.FileMode(n & 0o777)
	if n&0o1000 != 0 {
		mode |= os.ModeSticky
	}
	if n&0o2000 != 0 {
		mode |= os.ModeSetgid
	}
	return mode
}

// build makes the home below a new root, and says who its user is: joe for
// root, who can give files away, else whoever runs the test.
func (c *dotCase) build(t testing.TB) (qmailkit.Tree, *qmailcontrol.Owner) {
	t.Helper()
	dir := t.TempDir()
	home := filepath.Join(dir, c.Home)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.Chmod(dir, 0o755))
	check(os.MkdirAll(home, 0o755))
	who := &qmailcontrol.Owner{UID: os.Geteuid(), GID: os.Getegid()}
	if who.UID == 0 {
		who = &qmailcontrol.Owner{UID: 1201, GID: 1200}
	}
	if c.Maildir {
		for _, sub := range []string{"cur", "new", "tmp"} {
			check(os.MkdirAll(filepath.Join(home, "Maildir", sub), 0o700))
		}
	}
	for _, f := range c.Files {
		name := filepath.Join(home, string(f.File))
		switch f.Type {
		case "dir":
			check(os.Mkdir(name, 0o755))
		case "symlink":
			check(os.Symlink(string(f.To), name))
			continue
		default:
			check(os.WriteFile(name, []byte(f.Content), 0o600))
		}
		check(os.Chmod(name, osMode(t, f.Mode)))
	}
	if os.Geteuid() == 0 {
		check(filepath.Walk(home, func(name string, _ os.FileInfo, err error) error {
			for _, keep := range c.RootOwned {
				if name == filepath.Join(home, keep) {
					return err
				}
			}
			return errors.Join(err, os.Lchown(name, who.UID, who.GID))
		}))
		for _, f := range c.Files {
			if f.Mode != "" {
				// A change of the owner takes the set-group-id bit away.
				check(os.Chmod(filepath.Join(home, string(f.File)), osMode(t, f.Mode)))
			}
		}
	}
	check(os.Chmod(home, osMode(t, c.HomeMode)))
	root, err := os.OpenRoot(dir)
	check(err)
	t.Cleanup(func() { root.Close() })
	return qmailkit.NewTree(root), who
}

func (r *dotRun) call(home string, who *qmailcontrol.Owner) qmailcontrol.LocalDelivery {
	return qmailcontrol.LocalDelivery{
		User: "joe", Home: home, Local: string(r.Local), Dash: string(r.Dash), Ext: string(r.Ext), Host: string(r.Host),
		Sender: string(r.Sender), DefaultDelivery: string(r.AliasEmpty), Who: who,
	}
}

// Every output and exit code is that of qmail-local.
func TestDotQmailGolden(t *testing.T) {
	trials, done := 0, 0
	for _, c := range dotCases(t) {
		t.Run(c.Case, func(t *testing.T) {
			tree, who := c.build(t)
			for _, r := range c.Runs {
				if len(r.Opts) > 0 && r.Opts[0] == "-x" {
					continue // about qmail-local's own options
				}
				p, err := r.call(c.Home, who).Plan(context.Background(), tree)
				if err != nil {
					t.Errorf("%s: %v", r.Local, err)
					continue
				}
				if len(r.Opts) == 0 {
					done++
					r.do(t, p)
					continue
				}
				trials++
				stdout, stderr, rc := p.Trial()
				if stdout != string(r.Stdout) || stderr != string(r.Stderr) || rc != r.RC {
					t.Errorf("%s: %d %q %q, want %d %q %q", r.Local, rc, stdout, stderr, r.RC, r.Stdout, r.Stderr)
				}
			}
		})
	}
	if trials != 78 || done != 39 {
		t.Errorf("%d trials and %d deliveries", trials, done)
	}
}

var ufline = regexp.MustCompile(`UFLINE=\[From \S+ (.*)\n`)

// do compares a delivery that was really made: programs run as they would, and
// no file is written.
func (r *dotRun) do(t *testing.T, p *qmailcontrol.LocalPlan) {
	t.Helper()
	if no := p.Outcome(); no != nil {
		if no.Code != r.RC || no.Report+"\n" != string(r.Stderr) || r.Stdout != "" {
			t.Errorf("%s: %d %q, want %d %q", r.Local, no.Code, no.Report, r.RC, r.Stderr)
		}
		return
	}
	var now time.Time
	if m := ufline.FindStringSubmatch(string(r.Stdout)); m != nil {
		var err error
		if now, err = time.Parse(time.ANSIC, m[1]); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	files, forwards, programs := 0, 0, 0
	rc := 0
lines:
	for _, d := range p.Deliveries {
		switch d.Kind {
		case qmailcontrol.DotMaildir:
			if hasProblem(p, "dotqmail.no-maildir", d.Line) {
				rc = 111
				break lines
			}
			files++
		case qmailcontrol.DotMbox:
			files++
		case qmailcontrol.DotForward:
			forwards++
		case qmailcontrol.DotProgram:
			programs++
			result := qmailcontrol.ProgramDone
			if strings.HasPrefix(d.Arg, "cat") {
				break // it needs the message
			}
			result = shell(t, &out, d.Target(), p.Environ(now))
			switch result {
			case qmailcontrol.ProgramDoneLast:
				break lines
			case qmailcontrol.ProgramBounce:
				rc = 100
				break lines
			case qmailcontrol.ProgramDefer:
				rc = 111
				break lines
			}
		}
	}
	if rc == 0 {
		fmt.Fprintf(&out, "did %d+%d+%d\n", files, forwards, programs)
	}
	if rc != r.RC || out.String() != string(r.Stdout) {
		t.Errorf("%s: %d %q, want %d %q", r.Local, rc, out.String(), r.RC, r.Stdout)
	}
}

func hasProblem(p *qmailcontrol.LocalPlan, code string, line int) bool {
	for _, q := range p.Problems {
		if q.Code == code && q.Line == line {
			return true
		}
	}
	return false
}

func shell(t *testing.T, out *bytes.Buffer, command string, env []string) qmailcontrol.ProgramResult {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Stdout = out
	cmd.Env = env
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return qmailcontrol.ProgramExit(cmd.ProcessState.ExitCode())
}
