//go:build unix

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childVar tells the test binary, run once more, what it is to be: the program
// itself, a qmail-send that waits for ALRM, or a qmail-queue.
const childVar = "QMAILQUEUE_TEST_CHILD"

func TestMain(m *testing.M) {
	what, rest, _ := strings.Cut(os.Getenv(childVar), "\n")
	switch what {
	case "":
		os.Exit(m.Run())
	case "program":
		os.Exit(run(context.Background(), strings.Split(rest, "\n"), os.Stdin, os.Stdout, os.Stderr))
	case "qmail-send":
		os.Exit(waitAlarm())
	case "qmail-queue":
		code, dir, _ := strings.Cut(rest, "\n")
		os.Exit(takeMail(code, dir))
	}
	os.Exit(125)
}

// waitAlarm says when it is ready and when the signal came.
func waitAlarm() int {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGALRM)
	fmt.Println("ready")
	select {
	case <-c:
		fmt.Println("alarm")
		return 0
	case <-time.After(time.Minute):
		return 1
	}
}

// takeMail reads as qmail-queue does, message first, and keeps what it got.
func takeMail(code, dir string) int {
	message, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 54
	}
	envelope, err := io.ReadAll(os.NewFile(1, "envelope"))
	if err != nil {
		return 54
	}
	n, err := strconv.Atoi(code)
	if err != nil {
		return 81
	}
	if n == 0 {
		name := filepath.Join(dir, strconv.Itoa(os.Getpid()))
		if os.WriteFile(name+".mess", message, 0o600) != nil || os.WriteFile(name+".envelope", envelope, 0o600) != nil {
			return 53
		}
	}
	return n
}

// mailDir lets -qmail-queue with this test binary keep what it gets in a
// directory, and end with code.
func mailDir(t *testing.T, code int) string {
	dir := t.TempDir()
	t.Setenv(childVar, fmt.Sprintf("qmail-queue\n%d\n%s", code, dir))
	return dir
}

// TestRestoreProgram brings a message back through a program.
func TestRestoreProgram(t *testing.T) {
	dir, q := sampleDir(t, "23")
	id := submit(t, q, "alice@example.com", "Subject: one\n\n\xff1\n", "bob@example.org")
	preprocess(t, dir, id, "alice@example.com", nil, []string{"Dsue@example.net", "Ttim@example.net", "T\xe4@example.net"})
	b, err := os.ReadFile(glob(t, dir, "mess/*/"+id)[0])
	if err != nil {
		t.Fatal(err)
	}
	must(t, 0, "", with("quarantine", q, id)...)
	back := func(want int, program string) string {
		t.Helper()
		code, out, errs := call(t, "", with("restore", q, "-all", "-qmail-queue", program)...)
		if code != want || (out == "") != (want != 0) {
			t.Fatalf("exit code %d, want %d\n%s%s", code, want, out, errs)
		}
		return errs
	}
	// Neither a program that is not there nor one that refuses leaves a doubt.
	if errs := back(3, "/nonexistent/qmail-queue"); !strings.Contains(errs, "120") {
		t.Errorf("%s", errs)
	}
	mailDir(t, 53)
	if errs := back(3, os.Args[0]); !strings.Contains(errs, "53") {
		t.Errorf("%s", errs)
	}
	got := mailDir(t, 0)
	back(0, os.Args[0])
	message, envelope := glob(t, got, "*.mess"), glob(t, got, "*.envelope")
	if len(message) != 1 || len(envelope) != 1 {
		t.Fatalf("it got %q and %q", message, envelope)
	}
	if have, err := os.ReadFile(message[0]); err != nil || string(have) != string(b) {
		t.Errorf("message %q, %v, want %q", have, err, b)
	}
	if have, err := os.ReadFile(envelope[0]); err != nil || string(have) != "Falice@example.com\x00Ttim@example.net\x00T\xe4@example.net\x00\x00" {
		t.Errorf("envelope %q, %v", have, err)
	}
	must(t, 0, "", with("restore", q, "-all", "-qmail-queue", os.Args[0])...) // nothing is left to bring back
	if n := len(glob(t, got, "*.mess")); n != 1 {
		t.Errorf("it was brought back %d times", n)
	}
}

// TestSubmitProgram queues through a program, whose refusal shows.
func TestSubmitProgram(t *testing.T) {
	got := mailDir(t, 0)
	must(t, 0, "Subject: x\n\nhello\n", "submit", "-qmail-queue", os.Args[0], "-sender", "a@b", "c@d", "e@f")
	if b, err := os.ReadFile(glob(t, got, "*.envelope")[0]); err != nil || string(b) != "Fa@b\x00Tc@d\x00Te@f\x00\x00" {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := os.ReadFile(glob(t, got, "*.mess")[0]); err != nil || string(b) != "Subject: x\n\nhello\n" {
		t.Errorf("%q, %v", b, err)
	}
	mailDir(t, 31)
	if code, _, errs := call(t, "x", "submit", "-qmail-queue", os.Args[0], "c@d"); code != 1 || !strings.Contains(errs, "#5.3.0") {
		t.Errorf("exit code %d, %s", code, errs)
	}
	if code, _, errs := call(t, "x", "submit", "-qmail-queue", "/nonexistent", "c@d"); code != 1 || !strings.Contains(errs, "120") {
		t.Errorf("exit code %d, %s", code, errs)
	}
}

// TestAlarm sends ALRM to a process that waits for it; where there is no such
// process the times are set all the same, and the exit code says it.
func TestAlarm(t *testing.T) {
	dir, q := sampleDir(t, "23")
	id := submit(t, q, "a@example.com", "Subject: a\n\n", "x@example.org")
	preprocess(t, dir, id, "a@example.com", nil, []string{"Tx@example.org"})
	for _, name := range []string{"retry", "expire"} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childVar+"=qmail-send")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := bufio.NewReader(out)
		if line, err := said.ReadString('\n'); err != nil || line != "ready\n" {
			t.Fatalf("%q, %v", line, err)
		}
		pid := strconv.Itoa(cmd.Process.Pid)
		must(t, 0, "", with(name, q, "-pid", pid, "-n", id)...) // tells nobody
		must(t, 3, "", with(name, q, "-pid", pid, "9999")...)   // nor does this
		must(t, 0, "", with(name, q, "-pid", pid, id)...)
		if line, err := said.ReadString('\n'); err != nil || line != "alarm\n" {
			t.Errorf("%s: %q, %v", name, line, err)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		code, told, errs := call(t, "", with(name, q, "-pid", pid, id)...)
		if code != 1 || told != name+" "+id+"\n" || !strings.Contains(errs, "ALRM") {
			t.Errorf("%s: a process that has ended: exit code %d, %s%s", name, code, told, errs)
		}
	}
}
