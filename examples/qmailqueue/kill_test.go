//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runProgram starts this program in a process of its own and kills it after a
// while; no while is never. It returns the exit code, -1 where it was killed.
func runProgram(t *testing.T, while time.Duration, args ...string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"=program\n"+strings.Join(args, "\n"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if while > 0 {
		timer := time.AfterFunc(while, func() { cmd.Process.Kill() })
		defer timer.Stop()
	}
	cmd.Wait()
	st := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if code := st.ExitStatus(); code == 1 || code == 2 {
		t.Fatalf("%q: exit code %d: %s", args, code, out.String())
	}
	if st.Signaled() && st.Signal() == syscall.SIGKILL {
		return -1
	}
	return st.ExitStatus()
}

// inQueue are the messages in the queue by their subjects, with sender and
// recipients that are not done. A message that a killed program left half made
// or half removed is none.
func inQueue(t *testing.T, q []string) map[string]string {
	t.Helper()
	type rcpt struct {
		Addr string
		Done bool
	}
	all := map[string]string{}
	for line := range strings.Lines(must(t, 0, "", with("list", q, "-json")...)) {
		var m struct {
			State, Sender, Subject string
			Local, Remote, Todo    []rcpt
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if m.State == "S2" || m.State == "S3" {
			continue
		}
		if m.State != "S4" && m.State != "S5" {
			t.Errorf("state %s", m.State)
		}
		var to []string
		for _, r := range slices.Concat(m.Local, m.Remote, m.Todo) {
			if !r.Done {
				to = append(to, r.Addr)
			}
		}
		slices.Sort(to)
		if len(to) == 0 {
			continue // half removed; it is in the quarantine
		}
		if all[m.Subject] != "" {
			t.Errorf("message %q is there twice", m.Subject)
		}
		all[m.Subject] = m.Sender + " " + strings.Join(to, " ")
	}
	return all
}

func sameQueue(t *testing.T, got, want map[string]string) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("messages %q, want %q", got, want)
	}
}

// TestKill kills the program with SIGKILL at random moments, on a queue that was
// restored from a copy, so that every message has a wrong number. What is called
// again finishes the work, and no message is lost or doubled.
func TestKill(t *testing.T) {
	kills := 5
	if os.Getenv("QMAILKIT_LONG") != "" {
		kills = 50
	}
	dir, q := sampleDir(t, "7")
	for i := range 40 {
		sender := fmt.Sprintf("s%d@example.com", i)
		id := submit(t, q, sender, fmt.Sprintf("Subject: number %d\n\nbody\n", i), fmt.Sprintf("x%d@example.org", i))
		if i%2 == 0 {
			preprocess(t, dir, id, sender, []string{fmt.Sprintf("Tl%d@example.com", i)}, []string{"Dz@example.org", fmt.Sprintf("Tx%d@example.org", i)})
		}
	}
	want := inQueue(t, q)
	if len(want) != 40 {
		t.Fatalf("%d messages", len(want))
	}
	for _, args := range [][]string{
		{"repair"}, {"convert", "-split", "11", "-bigtodo", "yes"}, {"quarantine", "-all"}, {"restore", "-all"},
	} {
		t.Run(args[0], func(t *testing.T) {
			whole := time.Duration(0)
			killed := 0
			for n := 0; n <= kills; n++ {
				copied, flags := copyQueue(t, dir)
				name := args[0]
				if name == "quarantine" || name == "restore" {
					must(t, 0, "", with("repair", flags)...)
				}
				if name == "restore" {
					must(t, 0, "", with("quarantine", flags, "-all")...)
				}
				args := with(name, flags, args[1:]...)
				begun := time.Now()
				while := time.Duration(0)
				if n > 0 {
					while = time.Duration(1 + rand.Int64N(int64(whole)))
				}
				if runProgram(t, while, args...) < 0 {
					killed++
				}
				if n == 0 {
					whole = time.Since(begun)
				}
				runProgram(t, 0, args...) // 3 where something half removed is left to qmail
				if name == "quarantine" {
					for subject, env := range inQueue(t, flags) {
						t.Errorf("in the queue still: %s of %s", subject, env)
					}
					must(t, 0, "", with("restore", flags, "-all")...)
				}
				sameQueue(t, inQueue(t, flags), want)
				if code, out, errs := call(t, "", with("check", flags)...); code != 0 {
					t.Errorf("check: exit code %d, %s%s", code, out, errs)
				}
				if t.Failed() {
					t.Fatalf("killed after %v; the queue was %s", while, copied)
				}
			}
			t.Logf("killed %d times of %d within %v", killed, kills, whole)
		})
	}
}

// TestKillConvertRepair lets a repair finish a conversion that was killed: the
// layout is the old or the new one, and stays.
func TestKillConvertRepair(t *testing.T) {
	dir, q := sampleDir(t, "7")
	for i := range 30 {
		submit(t, q, fmt.Sprintf("s%d@example.com", i), fmt.Sprintf("Subject: %d\n\n", i), "x@example.org")
	}
	want := inQueue(t, q)
	begun := time.Now()
	_, flags := copyQueue(t, dir)
	runProgram(t, 0, with("convert", flags, "-split", "23")...)
	whole := time.Since(begun)
	for range 5 {
		copied, flags := copyQueue(t, dir)
		runProgram(t, time.Duration(1+rand.Int64N(int64(whole))), with("convert", flags, "-split", "23")...)
		_, err := os.Stat(filepath.Join(copied, "lock", "qmailkit", "journal"))
		must(t, 0, "", with("repair", flags)...)
		sameQueue(t, inQueue(t, flags), want)
		dirs := len(glob(t, copied, "mess/*"))
		if dirs != 23 && (dirs != 7 || err == nil) {
			t.Errorf("mess has %d directories; begun: %v", dirs, err == nil)
		}
	}
}

// copyQueue copies a queue, with its modes, owners and times, into a directory
// of its own beside which there is a control directory.
func copyQueue(t *testing.T, dir string) (copied string, flags []string) {
	t.Helper()
	top := tempDir(t)
	copied = filepath.Join(top, "queue")
	if out, err := exec.Command("cp", "-Rp", dir, copied).CombinedOutput(); err != nil {
		t.Skipf("cp: %v: %s", err, out)
	}
	control := filepath.Join(top, "control")
	if err := os.Mkdir(control, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(control, "me"), []byte("example.com\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return copied, []string{"-queue", copied}
}
