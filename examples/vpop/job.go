//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os/exec"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/examples/internal/vpoptarget"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// A job is one call of a subcommand.
type job struct {
	vpoptarget.Flags
	json, plan, secrets bool
	onChange            string

	name    string // of the subcommand
	classic string // vpopmail's program for it
	env     *cli.Env
	t       *vpoptarget.Target
	store   *vpopmail.Store
	enc     *jsonl.Encoder
	input   bool // standard input was asked for a secret or a list
}

// work is what a subcommand does once the installation is open.
type work func(ctx context.Context, j *job, args []string) error

// declare declares the flags of every subcommand.
func (j *job) declare(fs *flag.FlagSet) {
	j.Declare(fs)
	fs.BoolVar(&j.json, "json", false, "print an object a line on stdout")
}

// changes declares the flags of subcommands that change something.
func (j *job) changes(fs *flag.FlagSet) {
	j.declare(fs)
	fs.BoolVar(&j.plan, "n", false, "change nothing: check what can be checked and say what would be done")
	fs.StringVar(&j.onChange, "onchange", "", "run `PROGRAM` after each change with the arguments that vpopmail gives etc/onchange")
}

// changing is the Setup of a subcommand that changes something; classic is
// vpopmail's own program for the job.
func changing(name, classic string, declare func(fs *flag.FlagSet) work) func(*flag.FlagSet) cli.Action {
	return func(fs *flag.FlagSet) cli.Action {
		j := &job{name: name, classic: classic}
		j.changes(fs)
		return j.action(declare(fs), true)
	}
}

// reading is the Setup of a subcommand that changes nothing.
func reading(name, classic string, declare func(fs *flag.FlagSet) work) func(*flag.FlagSet) cli.Action {
	return func(fs *flag.FlagSet) cli.Action {
		j := &job{name: name, classic: classic}
		j.declare(fs)
		fs.BoolVar(&j.secrets, "secrets", false, "show hashes and clear passwords, which are [redacted] else")
		return j.action(declare(fs), false)
	}
}

func (j *job) action(do work, write bool) cli.Action {
	return func(ctx context.Context, env *cli.Env, args []string) (err error) {
		j.env, j.enc = env, jsonl.NewEncoder(env.Stdout)
		if err := j.Check(); err != nil {
			return err
		}
		o := vpoptarget.Options{Program: "vpop", Write: write && !j.plan}
		if j.onChange != "" {
			o.OnChange = j.runOnChange
		}
		if j.t, err = j.Open(ctx, o); err != nil {
			return err
		}
		defer func() {
			if e := j.t.Close(); e != nil {
				err = errors.Join(err, e)
			}
		}()
		j.store = j.t.Store
		return do(ctx, j, args)
	}
}

// errOnChange says that a change is made, but not told to the program of
// -onchange.
var errOnChange = errors.New("-onchange")

// made says whether the change is made that err is about.
func made(err error) bool { return err == nil || errors.Is(err, errOnChange) }

// runOnChange tells the program of -onchange of a change that is done.
func (j *job) runOnChange(ctx context.Context, argv []string) error {
	cmd := exec.CommandContext(ctx, j.onChange, argv...)
	cmd.Stdout, cmd.Stderr = j.env.Stderr, j.env.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s: %w", errOnChange, j.onChange, err)
	}
	return nil
}

// A row tells of one thing that was done, or not.
type row struct {
	Job     string      `json:"job"`
	Item    jsonl.Bytes `json:"item"` // an address or a domain
	Outcome string      `json:"outcome"`
	Dir     jsonl.Bytes `json:"dir,omitempty"`
	// Password is one that was made at random.
	Password jsonl.Bytes `json:"password,omitempty"`
	Changes  []change    `json:"changes,omitempty"` // of qmail's files
	Detail   jsonl.Bytes `json:"detail,omitempty"`
	Error    jsonl.Bytes `json:"error,omitempty"`
	// Status and Message are what vpopmail's own program gives for the error.
	Status  int         `json:"status,omitempty"`
	Message jsonl.Bytes `json:"message,omitempty"`
}

// change is a line of one of qmail's files.
type change struct {
	File  string      `json:"file"`
	Line  jsonl.Bytes `json:"line"`
	Added bool        `json:"added"`
}

func changeRows(list []vpopmail.Change) (rows []change) {
	for _, c := range list {
		rows = append(rows, change{c.File, jsonl.Bytes(c.Line), c.Added})
	}
	return rows
}

// planned is the outcome of what -n leaves undone.
const planned = "planned"

// tell prints a row, for programs and for people.
func (j *job) tell(r row) error {
	r.Job = j.name
	verb := r.Outcome
	if r.Detail != "" {
		verb += ": " + string(r.Detail)
	}
	j.env.Printf("%s: %s\n", cli.Name(string(r.Item)), cli.Name(verb))
	for _, c := range r.Changes {
		sign := "-"
		if c.Added {
			sign = "+"
		}
		j.env.Printf("  %s %s %s\n", c.File, sign, cli.Name(string(c.Line)))
	}
	if r.Password != "" && !j.json {
		// The words of vadduser -r, on stdout because they are the result.
		fmt.Fprintf(j.env.Stdout, "Random password: %s\n", r.Password)
	}
	if !j.json {
		return nil
	}
	return j.enc.Encode(r)
}

// would tells what is not done because of -n.
func (j *job) would(item, format string, args ...any) error {
	return j.tell(row{Item: jsonl.Bytes(item), Outcome: planned, Detail: jsonl.Bytes("would " + fmt.Sprintf(format, args...))})
}

// problems tells of oddities.
func (j *job) problems(list ...qmailkit.Problem) error {
	for _, p := range list {
		j.env.Printf("%s\n", p.String())
		if j.json {
			if err := j.enc.Encode(jsonl.Problem(p)); err != nil {
				return err
			}
		}
	}
	return nil
}

// refusal is the row of something that was refused.
func (j *job) refusal(item string, err error) row {
	r := row{Item: jsonl.Bytes(item), Outcome: "refused", Error: jsonl.Bytes(err.Error())}
	status, message := vpopmail.ClassicStatus(j.classic, err)
	r.Status, r.Message = status, jsonl.Bytes(message)
	return r
}

// fail ends a job about item that was not done. A name or a word that no
// installation takes is a wrong usage; nothing was touched then.
func (j *job) fail(item string, err error) error {
	if err == nil {
		return nil
	}
	if made(err) {
		return errors.Join(err, j.tell(row{Item: jsonl.Bytes(item), Outcome: "done"}))
	}
	if j.json {
		r := j.refusal(item, err)
		r.Job = j.name
		if e := j.enc.Encode(r); e != nil {
			return errors.Join(err, e)
		}
	}
	for _, wrong := range []error{vpopmail.ErrBadDomain, vpopmail.ErrBadUser, vpopmail.ErrQuota, vpopmail.ErrTooLong, vpopmail.ErrBadByte, vpopmail.ErrNoPassword} {
		if errors.Is(err, wrong) {
			return &cli.Exit{Code: cli.Usage, Err: err}
		}
	}
	return err
}

// address takes the argument USER@DOMAIN.
func address(arg string) (user, domain string, err error) {
	user, domain, err = vpopmail.SplitAddress(arg)
	if err != nil {
		return "", "", cli.Usagef("%w", err)
	}
	return user, domain, nil
}
