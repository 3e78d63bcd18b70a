//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	smallBytes = 90_000_000
	mixedBytes = 90_000_000
	hugeBytes  = 200_000_000

	manyBoxes = 4000
	manyEach  = 25
)

// A hall is a directory in which races are run, with what they need.
type hall struct {
	dir   string
	bin   string // directory of the programs
	self  string // this program, which is also the floor
	peers bool
	scale int64 // divides the input, for a first look and for tests
}

// newHall builds the programs.
func newHall(ctx context.Context, dir string, scale int64, peers bool) (*hall, error) {
	h := &hall{dir: dir, bin: filepath.Join(dir, "bin"), scale: scale, peers: peers}
	if err := os.MkdirAll(h.bin, 0o700); err != nil {
		return nil, err
	}
	var err error
	if h.self, err = os.Executable(); err != nil {
		return nil, err
	}
	for _, p := range []string{"mbox2maildir", "sendmail2vpopmail", "qmailmove"} {
		build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(h.bin, p), "github.com/qmailkit/qmailkit/examples/"+p)
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build %s: %w\n%s", p, err, out)
		}
	}
	return h, nil
}

// A raceMaker makes the input of a race.
type raceMaker struct {
	name string
	make func(h *hall) (*race, error)
}

// call runs this program once more. Making mail takes memory, and a process
// starts its life with the greatest size of the one that started it, as
// getrusage(2) counts.
func (h *hall) call(args ...string) error {
	if out, err := exec.Command(h.self, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("bench %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// races are all that there are.
var races = []raceMaker{
	{"small", func(h *hall) (*race, error) {
		return h.convert(small, smallBytes, []goal{
			{name: "mbox2maildir", than: "floor", factor: 1.25, disk: true},
			{name: "mbox2maildir", than: "mb2md", factor: 1.4, faster: true, disk: true},
			{name: "mbox2maildir", than: "mdeliver -M", factor: 3, faster: true, disk: true},
		})
	}},
	{"mixed", func(h *hall) (*race, error) {
		return h.convert(mixed, mixedBytes, []goal{{name: "mbox2maildir", than: "floor", factor: 1.5}})
	}},
	{"huge", func(h *hall) (*race, error) {
		return h.convert(huge, hugeBytes, []goal{{name: "mbox2maildir", than: "floor", factor: 1.5}})
	}},
	{"many", (*hall).many},
	{"move", (*hall).move},
	{"again", (*hall).again},
}

// convert is one mbox into one Maildir.
func (h *hall) convert(k kind, bytes int64, goals []goal) (*race, error) {
	src := filepath.Join(h.dir, string(k)+".mbox")
	if err := h.call("gen", "-kind", string(k), "-bytes", fmt.Sprint(bytes/h.scale), src); err != nil {
		return nil, err
	}
	spans, err := readSpans(src)
	if err != nil {
		return nil, err
	}
	fi, err := os.Stat(src)
	if err != nil {
		return nil, err
	}
	in := func(dir string) string { return filepath.Join(dir, "Maildir") }
	maildirs := func(dir string) ([]string, error) { return []string{in(dir)}, nil }
	r := &race{
		name: string(k), what: "one mbox into one Maildir",
		messages: len(spans), bytes: fi.Size(), goals: goals,
		entrants: []entrant{
			{name: "floor", durable: true, maildirs: maildirs, command: func(ctx context.Context, dir string) *exec.Cmd {
				return exec.CommandContext(ctx, h.self, "floor", src, in(dir))
			}},
			{name: "mbox2maildir", durable: true, maildirs: maildirs, command: func(ctx context.Context, dir string) *exec.Cmd {
				return exec.CommandContext(ctx, filepath.Join(h.bin, "mbox2maildir"), src, in(dir))
			}},
		},
	}
	if !h.peers {
		return r, nil
	}
	if mb2md, err := exec.LookPath("mb2md"); err == nil {
		r.entrants = append(r.entrants, entrant{name: "mb2md", maildirs: maildirs, command: func(ctx context.Context, dir string) *exec.Cmd {
			return exec.CommandContext(ctx, mb2md, "-s", src, "-d", in(dir))
		}})
	}
	if mdeliver, err := exec.LookPath("mdeliver"); err == nil {
		r.entrants = append(r.entrants, entrant{
			name: "mdeliver -M", durable: true, maildirs: maildirs,
			prepare: func(dir string) error { return makeDirs(in(dir), "tmp", "new", "cur") },
			command: func(ctx context.Context, dir string) *exec.Cmd {
				cmd := exec.CommandContext(ctx, mdeliver, "-M", in(dir))
				if f, err := os.Open(src); err == nil { // else it stops on an empty input, and check tells
					cmd.Stdin = f
				}
				return cmd
			},
		})
	}
	return r, nil
}

// many is a host of many small mailboxes against one with the same messages in
// a single mailbox.
func (h *hall) many() (*race, error) {
	boxes := int(manyBoxes / h.scale)
	r := &race{
		name: "many", what: "sendmail2vpopmail run", messages: boxes * manyEach,
		goals: []goal{{name: fmt.Sprintf("%d mailboxes", boxes), than: "one mailbox", factor: 1.5}},
	}
	for _, n := range []int{1, boxes} {
		host := filepath.Join(h.dir, fmt.Sprintf("host%d", n))
		if err := h.call("host", "-mailboxes", fmt.Sprint(n), "-messages", fmt.Sprint(boxes*manyEach/n), host); err != nil {
			return nil, err
		}
		name := "one mailbox"
		if n > 1 {
			name = fmt.Sprintf("%d mailboxes", n)
		}
		r.entrants = append(r.entrants, entrant{
			name: name, durable: true, prepare: makeTarget,
			command: func(ctx context.Context, dir string) *exec.Cmd {
				return exec.CommandContext(ctx, filepath.Join(h.bin, "sendmail2vpopmail"), "run", "-source", host,
					"-vpopmail", filepath.Join(dir, "vpopmail"), "-qmail", filepath.Join(dir, "qmail"),
					"-state", filepath.Join(dir, "state"), "-domain", benchDomain, "-lock-wait", "0")
			},
			maildirs: func(dir string) ([]string, error) { return userMaildirs(dir, n) },
		})
	}
	total, err := mailBytes(filepath.Join(h.dir, "host1"))
	r.bytes = total
	return r, err
}

const benchDomain = "bench.example.org"

// makeHost makes the file system of a Sendmail host whose spools hold each
// messages.
func makeHost(dir string, boxes, each int) error {
	if err := makeDirs(dir, "etc/mail", "var/mail", "home"); err != nil {
		return err
	}
	g, err := newGenerator(small, 7)
	if err != nil {
		return err
	}
	var passwd, shadow strings.Builder
	for i := range boxes {
		user := fmt.Sprintf("u%04d", i)
		fmt.Fprintf(&passwd, "%s:x:%d:1000:%s:/home/%s:/bin/sh\n", user, 1000+i, user, user)
		fmt.Fprintf(&shadow, "%s:$1$saltsalt$tTWg0JeO/sYmHvtKmZE8c.:12000:0:99999:7:::\n", user)
		if err := makeDirs(filepath.Join(dir, "home"), user); err != nil {
			return err
		}
		_, _, err := g.file(filepath.Join(dir, "var/mail", user), 0, each)
		if err != nil {
			return err
		}
		// The table is the floor's; on a host it would be somebody's mail.
		if err := os.Remove(filepath.Join(dir, "var/mail", user+spansSuffix)); err != nil {
			return err
		}
	}
	return writeFiles(dir, map[string]string{
		"etc/passwd": passwd.String(), "etc/shadow": shadow.String(), "etc/mail/local-host-names": benchDomain + "\n",
	})
}

// mailBytes adds up the spools of a host.
func mailBytes(host string) (total int64, err error) {
	spools, err := os.ReadDir(filepath.Join(host, "var/mail"))
	if err != nil {
		return 0, err
	}
	for _, e := range spools {
		fi, err := e.Info()
		if err != nil {
			return 0, err
		}
		total += fi.Size()
	}
	return total, nil
}

// makeTarget makes an empty vpopmail and an empty qmail.
func makeTarget(dir string) error {
	if err := makeDirs(dir, "vpopmail", "qmail/control", "qmail/users", "state"); err != nil {
		return err
	}
	return writeFiles(filepath.Join(dir, "qmail/control"), map[string]string{
		"me": "mail.example.org\n", "locals": "mail.example.org\n", "rcpthosts": "mail.example.org\n",
	})
}

// userMaildirs finds the Maildirs of want users: all but the postmaster's,
// which is empty.
func userMaildirs(dir string, want int) ([]string, error) {
	var found []string
	top := filepath.Join(dir, "vpopmail/domains", benchDomain)
	// Users stand in the domain, or in its hash directories of one character.
	for _, pattern := range []string{"u????/Maildir", "?/u????/Maildir", "?/?/u????/Maildir"} {
		names, err := filepath.Glob(filepath.Join(top, pattern))
		if err != nil {
			return nil, err
		}
		found = append(found, names...)
	}
	if len(found) != want {
		return nil, fmt.Errorf("%d Maildirs below %s, want %d", len(found), top, want)
	}
	return found, nil
}

func makeDirs(dir string, names ...string) error {
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func writeFiles(dir string, files map[string]string) error {
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
