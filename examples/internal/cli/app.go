//go:build unix

package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// Env is what a command may read from and write to: machine-readable lines go
// to Stdout, words for people to Stderr.
type Env struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// Printf tells people something, on Stderr. Control bytes of foreign names are
// shown escaped.
func (e *Env) Printf(format string, args ...any) {
	io.WriteString(e.Stderr, Printable(fmt.Sprintf(format, args...)))
}

// An Action does a command's work with the arguments that are left behind its
// flags. Its error decides the exit code, see Code.
type Action func(ctx context.Context, env *Env, args []string) error

// A Command is a subcommand, or all of a program that has none.
type Command struct {
	Name  string // empty for App.Root
	Args  string // what follows the flags in the usage line: "SRC MAILDIR"
	Short string // one line: what it does
	Long  string // more for -h; may be empty
	Min   int    // least number of arguments
	Max   int    // greatest number of arguments; negative: any
	Like  string // help says "flags: as NAME" in place of the list
	// Setup declares the flags and returns what runs once they are parsed.
	Setup func(fs *flag.FlagSet) Action
}

// An App is a program's command line.
type App struct {
	Name     string
	Short    string     // one line: what it does
	Long     string     // more for -h, above the commands
	Root     *Command   // runs where no subcommand is named; nil: one must be
	Commands []*Command // in the order in which help lists them
	// Common declares the flags that many commands have: the help on all of
	// the program lists them once. Each command still declares its own.
	Common func(fs *flag.FlagSet)
}

// Run is the program without its process: arguments in, exit code out. It
// prints the error that a command returns.
func (a *App) Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	env := &Env{stdin, stdout, stderr}
	err := a.run(ctx, env, args)
	if err == nil {
		return Done
	}
	if e, ok := err.(*Exit); !ok || e.Err != nil {
		env.Printf("%s: %v\n", a.Name, err)
	}
	return Code(err)
}

func (a *App) run(ctx context.Context, env *Env, args []string) error {
	cmd := a.Root
	if len(args) > 0 {
		if c := a.command(args[0]); c != nil {
			cmd, args = c, args[1:]
		} else if len(a.Commands) > 0 && !strings.HasPrefix(args[0], "-") {
			return a.hint(nil, Usagef("unknown command %q", args[0]))
		}
	}
	if cmd == nil {
		cmd = &Command{Max: -1}
		if len(args) == 0 {
			return a.hint(nil, Usagef("a command is needed: %s", a.names()))
		}
	}
	fs, act := a.flags(cmd)
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		if cmd.Name == "" {
			a.help(env.Stdout)
		} else {
			a.helpOn(env.Stdout, cmd)
		}
		return nil
	case err != nil:
		return a.hint(cmd, &Exit{Usage, err})
	case act == nil:
		return a.hint(nil, Usagef("a command is needed: %s", a.names()))
	}
	if err := cmd.count(fs.Args()); err != nil {
		return a.hint(cmd, err)
	}
	err = act(ctx, env, fs.Args())
	if Code(err) == Usage {
		err = a.hint(cmd, err)
	}
	return err
}

// flags makes the command's flag set. Whatever package flag would print is
// printed here.
func (a *App) flags(cmd *Command) (*flag.FlagSet, Action) {
	fs := flag.NewFlagSet(a.Name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	if cmd.Setup == nil {
		return fs, nil
	}
	return fs, cmd.Setup(fs)
}

func (a *App) command(name string) *Command {
	for _, c := range a.Commands {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func (a *App) names() string {
	var names []string
	for _, c := range a.Commands {
		names = append(names, c.Name)
	}
	return strings.Join(names, ", ")
}

// hint says where to read on after a wrong command line.
func (a *App) hint(cmd *Command, err error) error {
	who := a.Name
	if cmd != nil && cmd.Name != "" {
		who += " " + cmd.Name
	}
	return &Exit{Usage, fmt.Errorf("%w\n%s -h tells more", err, who)}
}

// count checks the number of arguments behind the flags.
func (c *Command) count(args []string) error {
	want := c.Args
	if want == "" {
		want = "none"
	}
	switch {
	case len(args) < c.Min:
		return Usagef("arguments are missing; wanted: %s", want)
	case c.Max >= 0 && len(args) > c.Max:
		for _, arg := range args {
			if strings.HasPrefix(arg, "-") && arg != "-" {
				return Usagef("flags come before the arguments: %q", arg)
			}
		}
		return Usagef("too many arguments, from %q on; wanted: %s", args[c.Max], want)
	}
	return nil
}

// usage is the command's line in the help.
func (a *App) usage(c *Command) string {
	line := a.Name
	if c.Name != "" {
		line += " " + c.Name
	}
	n := 0
	fs, _ := a.flags(c)
	fs.VisitAll(func(*flag.Flag) { n++ })
	if n > 0 {
		line += " [flags]"
	}
	if c.Args != "" {
		line += " " + c.Args
	}
	return line
}

// all lists Root, if any, and the subcommands.
func (a *App) all() []*Command {
	if a.Root == nil {
		return a.Commands
	}
	return append([]*Command{a.Root}, a.Commands...)
}

// help says everything.
func (a *App) help(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n\nUsage:\n", a.Name, a.Short)
	for _, c := range a.all() {
		fmt.Fprintf(w, "  %s\n", a.usage(c))
		if c.Short != "" {
			fmt.Fprintf(w, "        %s\n", c.Short)
		}
	}
	paragraph(w, a.Long)
	for _, c := range a.all() {
		if c.Name != "" {
			fmt.Fprintf(w, "\n%s\n", c.Name)
		}
		a.body(w, c, a.common())
	}
	if common := a.common(); common != nil {
		fmt.Fprint(w, "\nCommon flags:\n")
		common.SetOutput(w)
		common.PrintDefaults()
	}
	fmt.Fprintf(w, "\n%s", codes)
}

// common is the set of the flags that many commands have; nil is none.
func (a *App) common() *flag.FlagSet {
	if a.Common == nil {
		return nil
	}
	fs := flag.NewFlagSet(a.Name, flag.ContinueOnError)
	a.Common(fs)
	return fs
}

// helpOn says everything about one subcommand.
func (a *App) helpOn(w io.Writer, c *Command) {
	fmt.Fprintf(w, "%s %s: %s\n\nUsage:\n  %s\n", a.Name, c.Name, c.Short, a.usage(c))
	seen := *c
	seen.Like = ""
	a.body(w, &seen, nil)
	fmt.Fprintf(w, "\n%s", codes)
}

// body is what help says of a command behind its usage. Flags that are listed
// as common are left out.
func (a *App) body(w io.Writer, c *Command, common *flag.FlagSet) {
	paragraph(w, c.Long)
	if c.Like != "" {
		fmt.Fprintf(w, "  flags: as %s\n", c.Like)
		return
	}
	var list strings.Builder
	fs, _ := a.flags(c)
	own := flag.NewFlagSet(a.Name, flag.ContinueOnError)
	own.SetOutput(&list)
	fs.VisitAll(func(f *flag.Flag) {
		if common != nil {
			if same := common.Lookup(f.Name); same != nil && same.Usage == f.Usage {
				return
			}
		}
		own.Var(f.Value, f.Name, f.Usage)
	})
	own.PrintDefaults()
	if list.Len() > 0 {
		fmt.Fprintf(w, "\nFlags:\n%s", list.String())
	}
}

func paragraph(w io.Writer, text string) {
	if text = strings.TrimSpace(text); text != "" {
		fmt.Fprintf(w, "\n%s\n", text)
	}
}
