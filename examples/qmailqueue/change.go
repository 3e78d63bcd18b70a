//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/queue"
)

// change is a command that changes the queue.
type change struct {
	*job
	dry        bool
	quarantine string
}

func (c *change) flags(fs *flag.FlagSet) {
	c.job.flags(fs)
	fs.BoolVar(&c.dry, "n", false, "change nothing: show what would be done")
}

func (c *change) quarantineFlag(fs *flag.FlagSet) {
	fs.StringVar(&c.quarantine, "quarantine", "", "`DIR` that takes what leaves the queue, on the same file system and not in it (default: quarantine beside the queue)")
}

// quarantineDir is where it is.
func (c *change) quarantineDir() string {
	if c.quarantine != "" {
		return c.quarantine
	}
	dir := c.Dir
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return filepath.Join(filepath.Dir(dir), "quarantine")
}

// openQuarantine opens the quarantine, which it makes if it has to.
func (c *change) openQuarantine(make bool) (*queue.Quarantine, func() error, error) {
	dir := c.quarantineDir()
	if inside, err := below(dir, c.Dir); err != nil || inside {
		return nil, nil, errors.Join(err, cli.Usagef("quarantine %s: it lies in the queue, where the next repair would take it for something that does not belong there", cli.Name(dir)))
	}
	if make {
		if err := mkdir(dir, 0o700); err != nil {
			return nil, nil, err
		}
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("quarantine: %w", err)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !fi.IsDir() || fi.Mode().Perm()&0o022 != 0 || !ok || int(st.Uid) != os.Geteuid() {
		return nil, nil, fmt.Errorf("quarantine %s: want a directory of one's own that nobody else can write", cli.Name(dir))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	z, err := queue.OpenQuarantine(root, &queue.QuarantineOptions{Now: c.Now})
	if err != nil {
		root.Close()
		return nil, nil, err
	}
	return z, func() error { return errors.Join(z.Close(), root.Close()) }, nil
}

// mkdir makes a directory if it is missing, for good: what it will hold must not
// vanish with it when the power fails.
func mkdir(dir string, mode fs.FileMode) error {
	err := os.Mkdir(dir, mode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(filepath.Clean(dir)))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// below says whether the directory dir, or the one that it is to be made in, is
// top or lies in it.
func below(dir, top string) (bool, error) {
	want, err := os.Stat(top)
	if err != nil {
		return false, err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return false, err
	}
	if real, err := filepath.EvalSymlinks(filepath.Dir(dir)); err == nil {
		dir = filepath.Join(real, filepath.Base(dir))
	}
	for {
		if fi, err := os.Stat(dir); err == nil && os.SameFile(fi, want) {
			return true, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return false, nil
		}
		dir = up
	}
}

// locked calls do with the lock of qmail-send.
func (c *change) locked(ctx context.Context, do func(l *queue.Lock) error) error {
	if c.Inodes != "" {
		return cli.Usagef("-inodes is for reading a queue that was unpacked elsewhere: its files have other numbers here")
	}
	l, err := c.q.Lock(ctx)
	if errors.Is(err, queue.ErrRunning) {
		return fmt.Errorf("%w; stop qmail-send first", err)
	}
	if err != nil {
		return err
	}
	return errors.Join(do(l), l.Close())
}

// actionLine is a line of a plan with -json.
type actionLine struct {
	Op     string        `json:"op"`
	Path   jsonl.Bytes   `json:"path"`
	To     jsonl.Bytes   `json:"to,omitempty"`
	Files  []jsonl.Bytes `json:"files,omitempty"`
	ID     queue.ID      `json:"id,omitempty"`
	Reason string        `json:"reason_text"`
	Done   bool          `json:"done"`
	Error  string        `json:"error_text,omitempty"`
}

func (c *change) action(a queue.Action, done bool, err error) error {
	if !c.json {
		word := ""
		if err != nil {
			word = "failed: "
		}
		_, e := fmt.Fprintf(c.out, "%s%s\n", word, cli.Name(a.String()))
		return e
	}
	line := actionLine{Op: a.Op.String(), Path: jsonl.Bytes(a.Path), To: jsonl.Bytes(a.To), ID: a.ID, Reason: cli.Printable(a.Reason), Done: done && err == nil}
	for _, p := range a.Paths {
		line.Files = append(line.Files, jsonl.Bytes(p))
	}
	if err != nil {
		line.Error = cli.Printable(err.Error())
	}
	return c.enc.Encode(line)
}

// apply makes plans and carries them out until there is nothing to do: the plan
// that follows an interrupted change is to finish that, and a renamed message
// may show what was hidden. With -n it shows the first plan.
func (c *change) apply(ctx context.Context, plan func(ctx context.Context) (*queue.Plan, error)) error {
	if c.dry {
		p, err := plan(ctx)
		if err != nil {
			return err
		}
		return c.show(p)
	}
	return c.locked(ctx, func(l *queue.Lock) error {
		for round := 0; ; round++ {
			p, err := plan(ctx)
			if err != nil {
				return err
			}
			if p.Empty() {
				if round == 0 {
					c.env.Printf("nothing is to be done\n")
				}
				return nil
			}
			if round == maxRounds {
				return cli.Partialf("something is left to do after %d rounds; run it again", round)
			}
			if err := c.round(ctx, l, p); err != nil {
				return err
			}
		}
	})
}

// maxRounds is far more than any queue takes.
const maxRounds = 10

func (c *change) show(p *queue.Plan) error {
	if !c.json {
		_, err := c.out.WriteString(p.String())
		return err
	}
	for _, a := range p.Actions {
		if err := c.action(a, false, nil); err != nil {
			return err
		}
	}
	return nil
}

func (c *change) round(ctx context.Context, l *queue.Lock, p *queue.Plan) error {
	o := &queue.ApplyOptions{}
	if needsQuarantine(p) {
		z, closeIt, err := c.openQuarantine(true)
		if err != nil {
			return err
		}
		defer closeIt()
		o.Quarantine = z
	}
	if p.Moves() {
		c.env.Printf("files get other names or places: no mail should come in until this is done\n")
	}
	var out error
	o.Done = func(a queue.Action, err error) { out = errors.Join(out, c.action(a, true, err)) }
	return errors.Join(l.Apply(ctx, p, o), out)
}

func needsQuarantine(p *queue.Plan) bool {
	for _, a := range p.Actions {
		if a.Op == queue.OpQuarantine || a.Op == queue.OpFinish {
			return true
		}
	}
	return false
}

func repairCommand() *cli.Command {
	c := &change{job: &job{}}
	return &cli.Command{
		Name:  "repair",
		Short: "mend what check finds",
		Long: `Messages get the numbers, places, owners and modes that qmail wants; what cannot
be sent as it was meant is kept in the quarantine. -n shows the plan. It can be
interrupted and run again; until it is finished qmail-send does not start.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			c.flags(fs)
			c.quarantineFlag(fs)
			return c.job.action(func(ctx context.Context, args []string) error {
				// An interrupted conversion that is finished first leaves another
				// layout than was found, which holds from then on.
				layout := c.q.Layout()
				return c.apply(ctx, func(ctx context.Context) (*queue.Plan, error) {
					p, err := c.q.PlanConvert(ctx, layout)
					if err == nil {
						layout = p.Layout
					}
					return p, err
				})
			})
		},
	}
}

// layoutFlags declare how a queue is to be split.
func layoutFlags(fs *flag.FlagSet) (split *int, big *string, check func() error) {
	split = fs.Int("split", 0, "`N` directories, a prime: conf-split of the qmail that uses the queue (default 23, or as it is)")
	big = fs.String("bigtodo", "", "`yes|no`: whether todo and intd are split too (default no, or as it is)")
	odd := fs.Bool("any-split", false, "take a number that is no prime")
	return split, big, func() error {
		switch {
		case *big != "" && *big != "yes" && *big != "no":
			return cli.Usagef("-bigtodo %q is neither yes nor no", *big)
		case *split < 0 || *split > maxSplit:
			return cli.Usagef("-split %d: want 1 to %d", *split, maxSplit)
		case *split > 0 && !*odd && !prime(*split):
			return cli.Usagef("-split %d is not a prime: messages would lie unevenly; -any-split takes it", *split)
		}
		return nil
	}
}

// maxSplit is far beyond what anybody has compiled in.
const maxSplit = 100_003

func prime(n int) bool {
	for d := 2; d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return n > 1
}

func createCommand() *cli.Command {
	c := &change{job: &job{}}
	return &cli.Command{
		Name:  "create",
		Short: "make an empty queue",
		Long:  `The directory of -queue is made if it is missing; one that holds something else is refused.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			c.Declare(fs)
			fs.BoolVar(&c.dry, "n", false, "change nothing")
			split, big, check := layoutFlags(fs)
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if err := check(); err != nil {
					return err
				}
				o, err := c.Owners()
				if err != nil {
					return err
				}
				if os.Geteuid() == 0 && (o.Qmailq == 0 || o.Qmails == 0 || o.Qmailr == 0 || o.Group == 0) {
					return cli.Usagef("there are no users qmailq, qmails and qmailr and no group qmail here: say who owns the queue by -qmailq, -qmails, -qmailr and -qmail")
				}
				if c.dry {
					return nil
				}
				if err := mkdir(c.Dir, 0o750); err != nil {
					return err
				}
				root, err := os.OpenRoot(c.Dir)
				if err != nil {
					return err
				}
				defer root.Close()
				return queue.Create(ctx, root, &queue.CreateOptions{Layout: queue.Layout{Split: *split, BigTodo: *big == "yes"}, Owners: o})
			}
		},
	}
}

func convertCommand() *cli.Command {
	c := &change{job: &job{}}
	return &cli.Command{
		Name:  "convert",
		Short: "split the queue in another way",
		Long: `All programs of qmail have to be those that were built for the new split before
mail comes in again. What is damaged is mended on the way, as repair does it. It can be
interrupted and run again with the same flags.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			c.flags(fs)
			c.quarantineFlag(fs)
			split, big, check := layoutFlags(fs)
			return c.job.action(func(ctx context.Context, args []string) error {
				if err := check(); err != nil {
					return err
				}
				if *split == 0 && *big == "" {
					return cli.Usagef("-split or -bigtodo is missing")
				}
				layout := c.q.Layout()
				if *split > 0 {
					layout.Split = *split
				}
				if *big != "" {
					layout.BigTodo = *big == "yes"
				}
				return c.apply(ctx, func(ctx context.Context) (*queue.Plan, error) { return c.q.PlanConvert(ctx, layout) })
			})
		},
	}
}

// unjoin is the errors that errors.Join has put together, however deep; none for
// nil.
func unjoin(err error) (list []error) {
	many, ok := err.(interface{ Unwrap() []error })
	switch {
	case err == nil:
	case ok:
		for _, e := range many.Unwrap() {
			list = append(list, unjoin(e)...)
		}
	default:
		list = append(list, err)
	}
	return list
}

// partial turns the errors of single messages into a partial success; others
// stop the program.
func partial(err error) error {
	if err == nil {
		return nil
	}
	list := unjoin(err)
	var words []string
	for _, e := range list {
		var m *queue.MessageError
		if !errors.As(e, &m) || errors.Is(e, qmailkit.ErrIncomplete) {
			return err
		}
		words = append(words, e.Error())
	}
	return &cli.Exit{Code: cli.Partial, Err: fmt.Errorf("%s: %s", cli.Plural(int64(len(list)), "message was|messages were")+" not done", strings.Join(words, "; "))}
}
