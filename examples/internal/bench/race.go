//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// A race lets several programs do the same work in turns.
type race struct {
	name     string // "small"
	what     string // in words
	messages int
	bytes    int64
	entrants []entrant
	goals    []goal
}

// An entrant is one way of doing the work.
type entrant struct {
	name string
	// durable says that all is on the disk when it exits.
	durable bool
	// prepare makes what the program wants to find in the fresh directory;
	// its time does not count. It may be nil.
	prepare func(dir string) error
	command func(ctx context.Context, dir string) *exec.Cmd
	// maildirs says where below dir the messages are afterwards; nil is dir.
	maildirs func(dir string) ([]string, error)
}

// A goal bounds the time of one entrant by that of another: at most Factor
// times it, or with faster at most one factor-th of it. With disk it is one for
// a disk only: in memory a sync costs nothing, and those who leave it out, or
// make too many, neither gain nor lose.
type goal struct {
	name, than   string
	factor       float64
	faster, disk bool
}

// A sample is one run.
type sample struct {
	wall, cpu time.Duration
	rss       int64 // bytes, at most
}

// run lets the entrants run in turns, each time in a fresh directory below
// dir. Nothing is deleted in between: ext4 takes its time over inodes that were
// freed a moment ago, and the next entrant would pay for it.
func (r *race) run(ctx context.Context, dir string, rounds int, seen func(entrant string)) (map[string][]sample, error) {
	samples := map[string][]sample{}
	for round := range rounds {
		for turn := range r.entrants {
			e := &r.entrants[(turn+round)%len(r.entrants)]
			fresh := filepath.Join(dir, fmt.Sprintf("%s-%d-%d", r.name, round, turn))
			s, err := e.run(ctx, fresh)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.name, err)
			}
			if err := e.check(fresh, r.messages); err != nil {
				return nil, fmt.Errorf("%s: %w", e.name, err)
			}
			samples[e.name] = append(samples[e.name], s)
			if seen != nil {
				seen(e.name)
			}
		}
	}
	return samples, nil
}

// run measures one process from its start to its end.
func (e *entrant) run(ctx context.Context, dir string) (sample, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return sample{}, err
	}
	if e.prepare != nil {
		if err := e.prepare(dir); err != nil {
			return sample{}, err
		}
	}
	cmd := e.command(ctx, dir)
	var said bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &said
	}
	cmd.Stderr = &said
	if err := syncAll(dir); err != nil {
		return sample{}, err
	}
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if c, ok := cmd.Stdin.(*os.File); ok {
		c.Close()
	}
	if err != nil {
		return sample{}, fmt.Errorf("%w\n%s", err, said.Bytes())
	}
	s := sample{wall: wall, cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.rss = int64(u.Maxrss)
		if runtime.GOOS != "darwin" { // which counts in bytes, others in KiB
			s.rss <<= 10
		}
	}
	return s, nil
}

// check sees to it that the messages are there: a program that stops half-way
// would win every race.
func (e *entrant) check(dir string, want int) error {
	dirs := []string{dir}
	if e.maildirs != nil {
		var err error
		if dirs, err = e.maildirs(dir); err != nil {
			return err
		}
	}
	got := 0
	for _, d := range dirs {
		for _, sub := range []string{"new", "cur"} {
			names, err := os.ReadDir(filepath.Join(d, sub))
			if err != nil {
				return err
			}
			got += len(names)
		}
	}
	if got != want {
		return fmt.Errorf("%d messages in %s, want %d", got, dir, want)
	}
	return nil
}

// A spread is the least, the median and the greatest of some numbers.
type spread struct{ min, median, max float64 }

func spreadOf(v []float64) spread {
	v = slices.Sorted(slices.Values(v))
	if len(v) == 0 {
		return spread{}
	}
	m := len(v) / 2
	s := spread{v[0], v[m], v[len(v)-1]}
	if len(v)%2 == 0 {
		s.median = (v[m-1] + v[m]) / 2
	}
	return s
}

func seconds(samples []sample, of func(sample) time.Duration) []float64 {
	var v []float64
	for _, s := range samples {
		v = append(v, of(s).Seconds())
	}
	return v
}

func wall(s sample) time.Duration { return s.wall }
func cpu(s sample) time.Duration  { return s.cpu }

// ratios divides round by round, so that what slows a whole round down, another
// program on the machine for one, does not count.
func ratios(a, b []sample, of func(sample) time.Duration) []float64 {
	var v []float64
	for i := range min(len(a), len(b)) {
		v = append(v, of(a[i]).Seconds()/of(b[i]).Seconds())
	}
	return v
}
