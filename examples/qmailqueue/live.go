//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/queuedir"
	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/queue"
)

// live is expire or retry, which qmail-send need not be stopped for.
type live struct {
	change
	sel     selection
	pid     string
	at      time.Time
	control string
	expire  queue.ExpireOptions
}

func (v *live) flags(fs *flag.FlagSet) {
	v.change.flags(fs)
	v.sel.flags(fs)
	fs.StringVar(&v.pid, "pid", "none", "send ALRM to qmail-send, process `PID|none`, so that it tries all messages now")
}

// alarm sends ALRM; nil where no process was given.
func (v *live) alarm() (func() error, error) {
	if v.pid == "none" || v.pid == "" {
		return nil, nil
	}
	pid, err := strconv.Atoi(v.pid)
	if err != nil || pid <= 1 {
		return nil, cli.Usagef("-pid %q is neither a process number nor none", v.pid)
	}
	return func() error {
		if err := syscall.Kill(pid, syscall.SIGALRM); err != nil {
			return &alarmError{pid, err}
		}
		return nil
	}, nil
}

// alarmError says that the times were set and qmail-send not told.
type alarmError struct {
	pid int
	err error
}

func (e *alarmError) Error() string { return fmt.Sprintf("ALRM to process %d: %v", e.pid, e.err) }

func (e *alarmError) Unwrap() error { return e.err }

func (v *live) run(ctx context.Context, name string, args []string, do func(alarm func() error, ids []queue.ID) error) error {
	alarm, err := v.alarm()
	if err != nil {
		return err
	}
	ids, err := v.pick(ctx, &v.sel, args)
	if err != nil {
		return err
	}
	var failed error
	if !v.dry {
		failed = do(alarm, ids)
	}
	if alarm == nil && !v.dry && len(ids) > 0 {
		v.env.Printf("qmail-send was not told: it looks when it would have anyhow, or when it gets ALRM (-pid)\n")
	}
	return errors.Join(v.did(name, ids, failed), partial(failed), absent(v.sel.missing()))
}

func expireCommand() *cli.Command {
	v := &live{change: change{job: &job{}}}
	return &cli.Command{
		Name: "expire", Args: "[ID...]", Max: -1,
		Short: "make messages so old that qmail-send gives up on them and tells their senders",
		Long: `qmail-send may run, and does the rest. A message without sender, and one that came
from the network, whose sender may be forged, is passed over unless
-allow-empty or -allow-forged is given: quarantine takes such mail away and tells
nobody. Messages that qmail-send has not preprocessed cannot expire.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			v.flags(fs)
			fs.BoolVar(&v.expire.AllowEmpty, "allow-empty", false, "also messages without sender")
			fs.BoolVar(&v.expire.AllowForged, "allow-forged", false, "also messages from the network")
			fs.Func("lifetime", "how long qmail keeps trying, `AGE` (default: as control/queuelifetime says, else 7d)", durationTo(&v.expire.Lifetime))
			fs.StringVar(&v.control, "control", "", "`DIR` is qmail's control directory (default: control beside the queue)")
			return v.job.action(func(ctx context.Context, args []string) error {
				return v.run(ctx, "expire", args, func(alarm func() error, ids []queue.ID) error {
					o := v.expire
					o.Alarm = alarm
					if o.Lifetime == 0 {
						var err error
						if o.Lifetime, err = v.lifetime(ctx); err != nil {
							return err
						}
					}
					return v.q.Expire(ctx, &o, ids...)
				})
			})
		},
	}
}

// lifetime is control/queuelifetime.
func (v *live) lifetime(ctx context.Context) (time.Duration, error) {
	dir := v.control
	if dir == "" {
		abs, err := filepath.Abs(v.Dir)
		if err != nil {
			return 0, err
		}
		dir = filepath.Join(filepath.Dir(abs), "control")
		if _, err := os.Stat(dir); err != nil {
			return 0, nil // a queue on its own: the default
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	c, err := qmailcontrol.LoadConfig(ctx, root)
	if err != nil {
		return 0, err
	}
	s := c.Settings().QueueLifetime
	if s.Err != nil {
		return 0, s.Err
	}
	return time.Duration(s.Value) * time.Second, nil
}

func retryCommand() *cli.Command {
	v := &live{change: change{job: &job{}}}
	return &cli.Command{
		Name: "retry", Args: "[ID...]", Max: -1,
		Short: "set when messages are tried again",
		Long: `qmail-send may run, but reads the times only when it starts: while it runs, -pid
makes it try everything now.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			v.flags(fs)
			fs.Func("at", "try again at `TIME`, in seconds since 1970 or as 2006-01-02T15:04:05Z (default: now)", func(s string) (err error) {
				v.at, err = queuedir.ParseTime(s)
				return err
			})
			renew := fs.Bool("renew", false, "take messages for queued now, which undoes expire: they have their whole lifetime again")
			return v.job.action(func(ctx context.Context, args []string) error {
				return v.run(ctx, "retry", args, func(alarm func() error, ids []queue.ID) error {
					return v.q.Retry(ctx, &queue.RetryOptions{At: v.at, Renew: *renew, Alarm: alarm}, ids...)
				})
			})
		},
	}
}

// program is a Runner that starts qmail-queue.
func program(path string) queue.Runner {
	return func(ctx context.Context, message, envelope io.Reader) (int, error) {
		r, w, err := os.Pipe()
		if err != nil {
			return 0, err
		}
		cmd := exec.CommandContext(ctx, path)
		cmd.Stdin, cmd.Stdout = message, r
		err = cmd.Start()
		r.Close()
		if err != nil {
			// Nothing was queued, and whoever asks has to know that.
			w.Close()
			return 0, &queue.SubmitError{Code: queue.ExitExec, Err: err}
		}
		go func() {
			io.Copy(w, envelope) // a failure shows in the exit code
			w.Close()
		}()
		err = cmd.Wait()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
			return exit.ExitCode(), nil
		}
		return 0, err
	}
}

func submitCommand() *cli.Command {
	j := &job{}
	var sender, prog string
	return &cli.Command{
		Name: "submit", Args: "RECIPIENT...", Min: 1, Max: -1,
		Short: "queue the message on standard input",
		Long: `The message is queued as qmail-queue queues it: the same files, bytes, owners and
modes; qmail-send may run, and is woken. -qmail-queue lets that program do it.
What was refused for good ends with exit code 1; so does what may be tried again.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			j.flags(fs)
			fs.StringVar(&sender, "sender", "", "envelope sender `ADDR`; without, the message is a bounce, about which nobody is ever told anything")
			fs.StringVar(&prog, "qmail-queue", "", "queue through `PROGRAM`, such as /var/qmail/bin/qmail-queue (default: without)")
			e := func(args []string) queue.Envelope { return queue.Envelope{Sender: sender, Recipients: args} }
			open := j.action(func(ctx context.Context, args []string) error {
				return queue.Submit(ctx, j.q.Runner(nil), j.env.Stdin, e(args))
			})
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if prog != "" {
					return queue.Submit(ctx, program(prog), env.Stdin, e(args))
				}
				return open(ctx, env, args)
			}
		},
	}
}
