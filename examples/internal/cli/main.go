//go:build unix

package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// A Program is a whole program without its process, so that tests can call
// it. App.Run is one.
type Program func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int

// Interrupted is the cause with which a program's context ends when a signal
// arrives. It matches context.Canceled.
type Interrupted struct{ Signal os.Signal }

// Error names the signal.
func (e *Interrupted) Error() string { return "interrupted by a signal: " + e.Signal.String() }

// Is makes it match context.Canceled, as an ended context should.
func (e *Interrupted) Is(target error) bool { return target == context.Canceled }

// Main runs a program as this process and exits with its code. The first
// SIGINT, SIGTERM or SIGHUP ends the context with an *Interrupted as its cause
// and lets the program stop cleanly; the second kills it, as if it had no
// handler. SIGUSR1 never kills: package progress answers it while it counts.
func Main(run Program) {
	os.Exit(guarded(run, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// guarded runs the program between its signals.
func guarded(run Program, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)

	stops := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		// Under nohup(1) a lost terminal must not stop the run.
		stops = append(stops, syscall.SIGHUP)
	}
	sigs := make(chan os.Signal, 2)
	signal.Notify(sigs, stops...)
	defer signal.Stop(sigs)
	// Nobody reads this one: it keeps the signal's default, death, away.
	status := make(chan os.Signal, 1)
	signal.Notify(status, syscall.SIGUSR1)
	defer signal.Stop(status)

	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case s := <-sigs:
			fmt.Fprintf(stderr, "\n%v: stopping cleanly; once more stops at once\n", s)
			cancel(&Interrupted{s})
		case <-done:
			return
		}
		select {
		case s := <-sigs:
			die(s.(syscall.Signal))
		case <-done:
		}
	}()
	return run(ctx, args, stdin, stdout, stderr)
}

// die ends the process by the signal itself, so that its parent sees that.
func die(s syscall.Signal) {
	signal.Reset(s)
	syscall.Kill(os.Getpid(), s)
}
