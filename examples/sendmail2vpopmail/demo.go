package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/vpoptarget"
	"github.com/qmailkit/qmailkit/examples/sendmail2vpopmail/samplehost"
)

// setupDemo is the program without a subcommand.
func setupDemo(fs *flag.FlagSet) cli.Action {
	dir := fs.String("dir", "", "make everything in `DIR`, which must not exist (default: a new temporary directory)")
	return func(ctx context.Context, env *cli.Env, args []string) error {
		if len(args) > 0 {
			return cli.Usagef("%q is not a command", args[0])
		}
		return demo(ctx, env, *dir)
	}
}

// A demonstration is the sample host and where it goes.
type demonstration struct {
	dir string
	env *cli.Env
	man *samplehost.Manifest
	// tcpSMTP is the new host's file of that name.
	tcpSMTP string
}

// demo moves the sample host, proves it, and moves it again.
func demo(ctx context.Context, env *cli.Env, dir string) (err error) {
	if dir == "" {
		dir, err = os.MkdirTemp("", "qmailkit-sample-")
	} else {
		err = os.Mkdir(dir, 0o755)
	}
	if err != nil {
		return err
	}
	d := &demonstration{dir: dir, env: env}
	if err := d.build(); err != nil {
		return err
	}
	// As it stands on many a host, it lets the host itself relay.
	d.tcpSMTP = d.path("new/tcp.smtp")
	if err := os.WriteFile(d.tcpSMTP, []byte("127.:allow,RELAYCLIENT=\"\"\n:allow\n"), 0o644); err != nil {
		return err
	}
	env.Printf("A sample Sendmail host stands in %s:\n  %s, %s in %d domains.\n\n",
		d.path("old"), cli.Plural(int64(len(d.man.Accounts)+len(d.man.System)), "account"),
		cli.Plural(int64(d.man.Messages()), "message"), len(d.man.Domains))
	env.Printf("== sendmail2vpopmail run\n")
	if err := d.step(ctx, doRun, "run"); err != nil {
		return err
	}
	env.Printf("\n== sendmail2vpopmail verify\n")
	if err := d.step(ctx, doVerify, "verify"); err != nil {
		return err
	}
	if err := d.again(ctx); err != nil {
		return err
	}
	d.where()
	return nil
}

func (d *demonstration) path(parts ...string) string {
	return filepath.Join(append([]string{d.dir}, parts...)...)
}

// build makes the old host, and an empty new one beside it.
func (d *demonstration) build() (err error) {
	d.man, err = samplehost.Build(d.path("old"), &samplehost.Options{Owners: os.Geteuid() == 0})
	if err != nil {
		return err
	}
	for _, p := range []string{"new", "new/vpopmail", "new/qmail", "new/qmail/control", "new/qmail/users"} {
		if err := os.Mkdir(d.path(p), 0o755); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"me": "mail.example.com\n", "locals": "localhost\nmail.example.com\n", "rcpthosts": "localhost\nmail.example.com\n"} {
		if err := os.WriteFile(d.path("new/qmail/control", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (d *demonstration) config() *config {
	c := newConfig()
	c.source = d.path("old")
	c.tcpSMTP = d.tcpSMTP
	c.target = vpoptarget.Flags{Home: d.path("new/vpopmail"), Qmail: d.path("new/qmail"), State: d.path("state"), Profile: "auto", Hup: "none"}
	c.commit.Writers = 2
	return c
}

// step runs a command and writes its reports. That something was left behind
// is what the sample is made for.
func (d *demonstration) step(ctx context.Context, do action, name string) error {
	c := d.config()
	c.reports = []string{d.path(name + ".html"), d.path(name + ".json")}
	err := do(ctx, c, d.env)
	if exit := (*cli.Exit)(nil); errors.As(err, &exit) && exit.Code == cli.Partial && name != "verify" {
		return nil
	}
	if exit := (*cli.Exit)(nil); errors.As(err, &exit) && exit.Code == cli.Partial && !strings.HasPrefix(exit.Error(), "not all has arrived") {
		return nil
	}
	return err
}

// again runs the move a second time and compares the new host with what it was.
func (d *demonstration) again(ctx context.Context) error {
	before, err := d.snapshot()
	if err != nil {
		return err
	}
	d.env.Printf("\n== sendmail2vpopmail run, once more\n")
	c := d.config()
	c.quiet = true
	err = doRun(ctx, c, d.env)
	if exit := (*cli.Exit)(nil); err != nil && !(errors.As(err, &exit) && exit.Code == cli.Partial) {
		return err
	}
	after, err := d.snapshot()
	if err != nil {
		return err
	}
	if diff := difference(before, after); len(diff) > 0 {
		return fmt.Errorf("the second run changed something on the new host: %s", strings.Join(diff, ", "))
	}
	d.env.Printf("Nothing changed: all %s of the new host are as they were, byte for byte.\n", cli.Plural(int64(len(after)), "file"))
	return nil
}

// difference names the files that are not the same in both.
func difference(a, b map[string]string) []string {
	var names []string
	for name, x := range a {
		if b[name] != x {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// snapshot lists the new host: names, modes, times and contents.
func (d *demonstration) snapshot() (map[string]string, error) {
	list := map[string]string{}
	err := filepath.WalkDir(d.path("new"), func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, f); err != nil {
			return err
		}
		list[p] = fmt.Sprintf("%v %v %x", fi.Mode(), fi.ModTime().UnixNano(), sum.Sum(nil))
		return nil
	})
	return list, err
}

// where says what there is to look at.
func (d *demonstration) where() {
	e := d.env
	e.Printf("\nLook at:\n")
	e.Printf("  %-28s the report, for a browser; run.json is the same for programs\n", d.path("run.html"))
	e.Printf("  %-28s the old host; its passwords are in the table below\n", d.path("old"))
	e.Printf("  %-28s vpopmail's home, and qmail's control and users beside it\n", d.path("new/vpopmail"))
	e.Printf("  %-28s who may connect and relay, for tcprules\n", d.tcpSMTP)
	e.Printf("  %-28s what a later run or undo has to remember\n\n", d.path("state"))
	e.Printf("%-12s %-14s %-34s %s\n", "account", "hash", "address", "password")
	for _, a := range d.man.Accounts {
		pw := "(none works)"
		if a.Login {
			pw = string(a.Password)
		}
		e.Printf("%-12s %-14s %-34s %s\n", a.Name, a.Scheme, a.Target+"@"+d.man.Domains[0], pw)
	}
	e.Printf("\nAll of it is in %s, and nothing else was touched.\n", d.dir)
}
