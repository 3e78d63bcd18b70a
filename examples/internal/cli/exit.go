//go:build unix

// Package cli holds the command-line conventions that the example programs
// share, because other programs call them: standard flags with subcommands, a
// -h that says everything, people's words on stderr and machine-readable lines
// on stdout, five exit codes, and a clean stop at the first signal.
package cli

import (
	"errors"
	"flag"
	"fmt"
)

// The exit codes of every program.
const (
	Done       = 0 // all that was asked is done
	Stopped    = 1 // it had to stop; what is done is done, and it can be run again
	Usage      = 2 // wrong usage; nothing was touched
	Partial    = 3 // the rest went on, but something was not carried: the report lists it
	CannotTell = 4 // neither yes nor no
)

// codes explains the exit codes in a program's help.
const codes = `Exit codes:
  0  done
  1  stopped: what is done is done, and it can be run again
  2  wrong usage: nothing was touched
  3  done, but something was not carried: the report lists it
  4  cannot tell
`

// An Exit is an error that ends the program with its own exit code.
type Exit struct {
	Code int
	Err  error // what to tell people; nil says nothing
}

// Error is the text of Err.
func (e *Exit) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap gives Err.
func (e *Exit) Unwrap() error { return e.Err }

// Usagef is the error of a wrong command line.
func Usagef(format string, args ...any) error {
	return &Exit{Usage, fmt.Errorf(format, args...)}
}

// Partialf is the error of a program that went on and left something behind.
func Partialf(format string, args ...any) error {
	return &Exit{Partial, fmt.Errorf(format, args...)}
}

// Code is the exit code that err stands for: Done for nil, that of an *Exit
// where there is one, Stopped for all others. Among errors that were joined
// the gravest one decides: a program that stopped did not merely leave
// something behind.
func Code(err error) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return Done
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return joined(many.Unwrap())
	}
	if e, ok := err.(*Exit); ok {
		return e.Code
	}
	if inner := errors.Unwrap(err); inner != nil {
		return Code(inner)
	}
	return Stopped
}

// joined finds the gravest code: stopped, wrong usage, cannot tell, partial.
func joined(errs []error) int {
	seen := map[int]bool{}
	worst := Done
	for _, err := range errs {
		worst = Code(err)
		seen[worst] = true
	}
	for _, c := range []int{Stopped, Usage, CannotTell, Partial} {
		if seen[c] {
			return c
		}
	}
	return worst
}
