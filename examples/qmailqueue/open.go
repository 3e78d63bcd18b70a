//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"os"

	"golang.org/x/term"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/examples/internal/queuedir"
	"github.com/qmailkit/qmailkit/queue"
)

// job is a command at work on a queue.
type job struct {
	queuedir.Flags
	json bool

	env     *cli.Env
	q       *queuedir.Queue
	out     *bufio.Writer
	enc     *jsonl.Encoder
	skipped int64 // messages of which something could not be read
}

func (j *job) flags(fs *flag.FlagSet) {
	j.Declare(fs)
	fs.BoolVar(&j.json, "json", false, "print an object a line on stdout")
}

// action opens the queue around what a command does. Messages that could not be
// read make it a partial success.
func (j *job) action(do func(ctx context.Context, args []string) error) cli.Action {
	return func(ctx context.Context, env *cli.Env, args []string) (err error) {
		for _, a := range args {
			if len(a) > 1 && a[0] == '-' {
				return cli.Usagef("flags come before the arguments: %q", a)
			}
		}
		j.env, j.out = env, bufio.NewWriterSize(env.Stdout, 64<<10)
		j.enc = jsonl.NewEncoder(j.out)
		if j.q, err = j.Open(); err != nil {
			return err
		}
		err = do(ctx, args)
		err = errors.Join(err, j.out.Flush(), j.q.Close())
		if err == nil && j.skipped > 0 {
			err = cli.Partialf("%s not read in full; the lines above say which", cli.Plural(j.skipped, "message was|messages were"))
		}
		return err
	}
}

// trouble tells people what could not be read of a message.
func (j *job) trouble(m *queue.Message, err error) {
	j.skipped++
	if m != nil {
		j.env.Printf("message %v: %v\n", m.ID, err)
	} else {
		j.env.Printf("%v\n", err)
	}
}

// each calls do for the messages that are selected.
func (j *job) each(ctx context.Context, s *selection, do func(m *queue.Message) error) error {
	now := j.Now()
	for m, err := range j.q.Messages(ctx) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return err
		}
		if err != nil {
			j.trouble(m, err)
		}
		if m == nil {
			continue
		}
		ok, err := s.match(m, now)
		if err != nil {
			j.trouble(m, err)
			continue
		}
		if ok {
			if err := do(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// absent makes a partial success of numbers that were asked for and are not
// there.
func absent(err error) error {
	if err == nil {
		return nil
	}
	return &cli.Exit{Code: cli.Partial, Err: err}
}

// colors decides whether to colour the output.
func (j *job) colors(mode string) bool {
	switch mode {
	case "always":
		return true
	case "never":
		return false
	}
	f, ok := j.env.Stdout.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(f.Fd()))
}
