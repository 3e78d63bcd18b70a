//go:build unix

// Bench measures the programs as whole processes against the least that any
// durable converter must do (the floor) and against mb2md and mdeliver, in
// turns on one machine.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
)

func main() { cli.Main(run) }

const long = `Races: small, mixed and huge are one mbox into one Maildir, by mbox2maildir,
the floor, and where they are installed mb2md and mdeliver (of mblaze). many is
sendmail2vpopmail with 4,000 mailboxes of 25 messages, against one mailbox of
the same 100,000.

Each run gets a fresh directory, what the one before has left in memory is
written out first, and nothing is deleted before the end, because ext4 is slow
with inodes that were freed in the last minutes. For the same reason take a
file system on which nothing was deleted lately. Times are least, median and
greatest; ratios are taken round by round, of wall time and of the processor's
time (cpu). That a goal is missed does not change the exit code.`

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := cli.App{
		Name: "bench", Short: "measure the programs against others", Long: long,
		Root: &cli.Command{Short: "run the races", Setup: setupRaces},
		Commands: []*cli.Command{
			{Name: "gen", Args: "FILE", Short: "write a generated mbox, and FILE" + spansSuffix + " for the floor", Min: 1, Max: 1, Setup: setupGen},
			{Name: "plesk", Args: "DIR", Short: "write the file system of a Plesk host with generated mailboxes", Min: 1, Max: 1, Setup: setupPlesk},
			{Name: "host", Args: "DIR", Short: "write the file system of a Sendmail host with generated spools", Min: 1, Max: 1, Setup: setupHost},
			{Name: "floor", Args: "FILE MAILDIR", Short: "deliver a generated mbox with the least that is durable", Min: 2, Max: 2, Setup: setupFloor},
		},
	}
	return app.Run(ctx, args, stdin, stdout, stderr)
}

func setupFloor(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env, args []string) error {
		return runFloor(ctx, args[0], args[1])
	}
}

func setupGen(fs *flag.FlagSet) cli.Action {
	k := fs.String("kind", "small", "`small|mixed|huge`")
	limit := fs.Int64("bytes", smallBytes, "least size of the file")
	count := fs.Int("messages", 0, "how many messages, whatever their size")
	seed := fs.Uint64("seed", 7, "the same seed gives the same file")
	return func(ctx context.Context, env *cli.Env, args []string) error {
		g, err := newGenerator(kind(*k), *seed)
		if err != nil {
			return cli.Usagef("%v", err)
		}
		spans, size, err := g.file(args[0], *limit, *count)
		if err != nil {
			return err
		}
		env.Printf("%s: %s, %s bytes\n", args[0], cli.Plural(int64(len(spans)), "message"), cli.Count(size))
		return nil
	}
}

func setupPlesk(fs *flag.FlagSet) cli.Action {
	each := fs.Int("messages", moveEach, "messages in each of 40 mailboxes, `N`")
	return func(ctx context.Context, env *cli.Env, args []string) error {
		return makePlesk(args[0], *each)
	}
}

func setupHost(fs *flag.FlagSet) cli.Action {
	boxes := fs.Int("mailboxes", manyBoxes, "how many")
	each := fs.Int("messages", manyEach, "how many each of them holds")
	return func(ctx context.Context, env *cli.Env, args []string) error {
		if *boxes < 1 || *each < 1 {
			return cli.Usagef("-mailboxes and -messages must be 1 or more")
		}
		return makeHost(args[0], *boxes, *each)
	}
}

// options are the command line of the races.
type options struct {
	dirs   cli.Strings
	rounds int
	only   cli.Strings
	scale  int64
	peers  bool
	keep   bool
	json   bool
}

func setupRaces(fs *flag.FlagSet) cli.Action {
	o := &options{}
	fs.Var(&o.dirs, "dir", "make everything in a new directory below `DIR`; may be repeated (default: the temporary directory, and /dev/shm where there is one)")
	fs.IntVar(&o.rounds, "rounds", 5, "how often each runs")
	fs.Var(&o.only, "only", "run this `RACE` only; may be repeated")
	fs.Int64Var(&o.scale, "scale", 1, "divide the input by `N`, for a first look")
	fs.BoolVar(&o.peers, "peers", true, "run mb2md and mdeliver too, where they are installed")
	fs.BoolVar(&o.keep, "keep", false, "delete nothing at the end")
	fs.BoolVar(&o.json, "json", false, "print an object a line for each run on stdout")
	return func(ctx context.Context, env *cli.Env, args []string) error {
		if o.rounds < 1 || o.scale < 1 || o.scale > manyBoxes {
			return cli.Usagef("-rounds and -scale must be 1 or more, and -scale at most %d", manyBoxes)
		}
		for _, name := range o.only {
			if !slices.ContainsFunc(races, func(r raceMaker) bool { return r.name == name }) {
				return cli.Usagef("no race is called %q", name)
			}
		}
		if len(o.dirs) == 0 {
			o.dirs = cli.Strings{os.TempDir()}
			if fi, err := os.Stat("/dev/shm"); err == nil && fi.IsDir() {
				o.dirs = append(o.dirs, "/dev/shm")
			}
		}
		return o.run(ctx, env)
	}
}

func (o *options) run(ctx context.Context, env *cli.Env) (err error) {
	var made []string
	defer func() {
		if o.keep {
			return
		}
		for _, dir := range made {
			os.RemoveAll(dir)
		}
	}()
	for _, parent := range o.dirs {
		dir, err := os.MkdirTemp(parent, "qmailkit-bench-")
		if err != nil {
			return err
		}
		made = append(made, dir)
		if dir, err = filepath.Abs(dir); err != nil {
			return err
		}
		h, err := newHall(ctx, dir, o.scale, o.peers)
		if err != nil {
			return err
		}
		env.Printf("%s on %s%s\n", dir, fsName(dir), load())
		for _, m := range races {
			if len(o.only) > 0 && !slices.Contains(o.only, m.name) {
				continue
			}
			r, err := m.make(h)
			if err != nil {
				return err
			}
			samples, err := r.run(ctx, dir, o.rounds, nil)
			if err != nil {
				return err
			}
			if o.json {
				err = r.encode(env.Stdout, samples)
			} else {
				err = r.print(env.Stdout, samples, fsName(dir) != "tmpfs")
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// load tells how busy the machine is with other things, where it can.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return ", load " + strings.Join(strings.Fields(string(b))[:2], " ")
}

// print writes a race as a table. disk says that it was run on one.
func (r *race) print(w io.Writer, samples map[string][]sample, disk bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s: %s, %s, %.0f MB\n", r.name, r.what, cli.Plural(int64(r.messages), "message"), float64(r.bytes)/1e6)
	fmt.Fprintf(&b, "  %-16s %-24s %8s %8s %8s %8s\n", "", "seconds min-median-max", "cpu s", "msg/s", "MB/s", "RSS MB")
	for _, e := range r.entrants {
		s := samples[e.name]
		t := spreadOf(seconds(s, wall))
		var rss int64
		for _, x := range s {
			rss = max(rss, x.rss)
		}
		note := ""
		if !e.durable {
			note = "  not synced"
		}
		fmt.Fprintf(&b, "  %-16s %-24s %8.2f %8.0f %8.1f %8.1f%s\n", e.name, fmt.Sprintf("%.2f-%.2f-%.2f", t.min, t.median, t.max),
			spreadOf(seconds(s, cpu)).median, float64(r.messages)/t.median, float64(r.bytes)/1e6/t.median, float64(rss)/1e6, note)
	}
	for _, g := range r.goals {
		if len(samples[g.than]) == 0 {
			fmt.Fprintf(&b, "  %s is not installed: nothing to compare with\n", g.than)
			continue
		}
		words, s, cpuRatio, met := g.judge(samples)
		if g.disk && !disk {
			met = "(the goal is for a disk)"
		}
		fmt.Fprintf(&b, "  %s: %.2f (%.2f-%.2f), of cpu %.2f  %s\n", words, s.median, s.min, s.max, cpuRatio, met)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// judge compares the median of the ratios with the goal. The ratio of the
// processor's time is that to look at on a machine that was busy.
func (g goal) judge(samples map[string][]sample) (words string, s spread, cpuRatio float64, met string) {
	a, b := samples[g.name], samples[g.than]
	words = fmt.Sprintf("%s at most %g times the time of %s", g.name, g.factor, g.than)
	if g.faster {
		a, b = b, a
		words = fmt.Sprintf("%s at least %g times as fast as %s", g.name, g.factor, g.than)
	}
	s, cpuRatio = spreadOf(ratios(a, b, wall)), spreadOf(ratios(a, b, cpu)).median
	met = "missed"
	if g.faster && s.median >= g.factor || !g.faster && s.median <= g.factor {
		met = "met"
	}
	return words, s, cpuRatio, met
}

// encode writes a race as JSON lines, one for each run.
func (r *race) encode(w io.Writer, samples map[string][]sample) error {
	enc := json.NewEncoder(w)
	for _, e := range r.entrants {
		for _, s := range samples[e.name] {
			if err := enc.Encode(struct {
				Race     string  `json:"race"`
				Name     string  `json:"name"`
				Messages int     `json:"messages"`
				Bytes    int64   `json:"bytes"`
				Seconds  float64 `json:"seconds"`
				CPU      float64 `json:"cpu_seconds"`
				RSS      int64   `json:"rss_bytes"`
			}{r.name, e.name, r.messages, r.bytes, s.wall.Seconds(), s.cpu.Seconds(), s.rss}); err != nil {
				return err
			}
		}
	}
	return nil
}
