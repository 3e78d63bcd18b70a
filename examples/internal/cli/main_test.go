//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childEnv makes the test binary play a program under Main.
const childEnv = "QMAILKIT_CLI_TEST_CHILD"

func TestMain(m *testing.M) {
	if how := os.Getenv(childEnv); how != "" {
		Main(func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
			return child(ctx, how, stdin, stdout, stderr)
		})
	}
	if signal.Ignored(syscall.SIGHUP) {
		// Under nohup(1) children would be deaf to it as well; one that is
		// handled here is as usual for them.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	os.Exit(m.Run())
}

// child says that it is ready and then stops cleanly, or refuses to.
func child(ctx context.Context, how string, stdin io.Reader, stdout, stderr io.Writer) int {
	fmt.Fprintln(stdout, "ready")
	switch how {
	case "code":
		return CannotTell
	case "stubborn":
		<-ctx.Done()
		fmt.Fprintln(stdout, "again")
		io.Copy(io.Discard, stdin)
		return Done
	}
	<-ctx.Done()
	var why *Interrupted
	if err := context.Cause(ctx); !errors.As(err, &why) || !errors.Is(err, context.Canceled) {
		return CannotTell
	}
	fmt.Fprintln(stdout, "stopped by", why.Signal)
	return Code(context.Cause(ctx))
}

// start runs the child until it has said that it is ready. Its stdin stays
// open, so that only the signal ends it.
func start(t *testing.T, how string) (*exec.Cmd, *bufio.Reader, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+how)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	t.Cleanup(func() { stuck.Stop() })
	r := bufio.NewReader(stdout)
	expect(t, r, "ready")
	return cmd, r, &stderr
}

func expect(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	if line, err := r.ReadString('\n'); err != nil || strings.TrimSpace(line) != want {
		t.Fatalf("child said %q, %v; want %q", line, err, want)
	}
}

func TestFirstSignalStopsCleanly(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		cmd, r, stderr := start(t, "clean")
		cmd.Process.Signal(syscall.SIGUSR1) // a question for the progress, not a stop
		cmd.Process.Signal(sig)
		expect(t, r, "stopped by "+sig.String())
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != Stopped {
			t.Errorf("%v: exit %d, want %d", sig, code, Stopped)
		}
		if !strings.Contains(stderr.String(), "stopping cleanly") {
			t.Errorf("%v: stderr %q", sig, stderr)
		}
	}
}

func TestSecondSignalKills(t *testing.T) {
	cmd, r, _ := start(t, "stubborn")
	cmd.Process.Signal(syscall.SIGINT)
	expect(t, r, "again")
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ws.Signaled() || ws.Signal() != syscall.SIGTERM {
		t.Errorf("child ended with %v, want death by SIGTERM", cmd.ProcessState)
	}
}

func TestHangupUnderNohup(t *testing.T) {
	nohup, err := exec.LookPath("nohup")
	if err != nil {
		t.Skip("no nohup(1) here")
	}
	cmd := exec.Command(nohup, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=clean")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(stdout)
	expect(t, r, "ready")
	cmd.Process.Signal(syscall.SIGHUP)
	cmd.Process.Signal(syscall.SIGTERM)
	expect(t, r, "stopped by "+syscall.SIGTERM.String())
	cmd.Wait()
}

func TestMainExitCode(t *testing.T) {
	cmd, _, _ := start(t, "code")
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != CannotTell {
		t.Errorf("exit %d, want %d", code, CannotTell)
	}
}
