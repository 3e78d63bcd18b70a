//go:build unix

// Package vpoptarget opens the vpopmail installation that a program's command
// line names: its home, qmail's directory, the files or the database that hold
// its accounts, and the place where replaced files are kept.
package vpoptarget

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// Flags are the part of a command line that says which installation is meant.
type Flags struct {
	Home, Qmail string // directories
	HomePath    string // vpopmail's home as files name it; empty: as they tell, else Home
	Profile     string // auto, 5.4 or 5.6
	Hup         string // a process, or none
	State       string // directory; empty is state.DefaultDir
	Configured  string // list of switches, see configuredUsage

	mounts cli.Strings
	sql    sqlFlags
}

// Declare declares the flags.
func (f *Flags) Declare(fs *flag.FlagSet) {
	fs.StringVar(&f.Home, "vpopmail", "/home/vpopmail", "vpopmail's `HOME` directory")
	fs.StringVar(&f.Qmail, "qmail", "/var/qmail", "qmail's `DIR`, with control and users in it")
	fs.StringVar(&f.HomePath, "vpopmail-path", "", "vpopmail's home as `PATH` in files, where HOME is mounted elsewhere (default: as its files tell, else HOME)")
	fs.Var(&f.mounts, "mount", "`PATH=DIR`: the directory that files call PATH, outside vpopmail's home, is DIR here; may be repeated (not needed on the host itself)")
	fs.StringVar(&f.Profile, "profile", "auto", "release of vpopmail: `auto|5.4|5.6`")
	fs.StringVar(&f.Configured, "configured", "", configuredUsage)
	f.sql.declare(fs)
	fs.StringVar(&f.Hup, "hup", "none", "send HUP to qmail-send, process `PID|none`, when it has to read its files again; none prints a reminder")
	fs.StringVar(&f.State, "state", "", "`DIR` for what must be remembered, replaced files among it (default: /var/lib/qmailkit for root, else the user's state directory)")
}

// Check finds what is wrong with the flags: a wrong usage.
func (f *Flags) Check() error {
	if f.Profile != "auto" && f.Profile != "5.4" && f.Profile != "5.6" {
		return cli.Usagef("-profile %q is none of auto, 5.4, 5.6", f.Profile)
	}
	for _, m := range f.mounts {
		if path, dir, ok := strings.Cut(m, "="); !ok || dir == "" || !filepath.IsAbs(path) {
			return cli.Usagef("-mount %q is not PATH=DIR with an absolute PATH", m)
		}
	}
	if _, err := f.hupPID(); err != nil {
		return err
	}
	if err := f.configure(&vpopmail.Profile{}); err != nil {
		return err
	}
	return f.sql.check()
}

// hupPID is the process that gets the HUP; 0 is none.
func (f *Flags) hupPID() (int, error) {
	if f.Hup == "none" || f.Hup == "" {
		return 0, nil
	}
	var pid int
	if n, err := fmt.Sscanf(f.Hup, "%d", &pid); n != 1 || err != nil || pid <= 1 || fmt.Sprint(pid) != f.Hup {
		return 0, cli.Usagef("-hup %q is neither a process number nor none", f.Hup)
	}
	return pid, nil
}

// HupFunc sends HUP to qmail-send, if the command line names its process, else
// it is nil.
func (f *Flags) HupFunc() (func(context.Context) error, error) {
	pid, err := f.hupPID()
	if pid == 0 || err != nil {
		return nil, err
	}
	return func(context.Context) error {
		p, err := os.FindProcess(pid)
		if err == nil {
			err = p.Signal(syscall.SIGHUP)
		}
		if err != nil {
			return fmt.Errorf("HUP to qmail-send, process %d: %w", pid, err)
		}
		return nil
	}, nil
}

// DefaultProfile is what an installation is taken for that is not there yet.
func (f *Flags) DefaultProfile() (vpopmail.Profile, error) {
	p := vpopmail.DefaultProfile54()
	if f.Profile == "5.6" {
		p = vpopmail.DefaultProfile56()
	}
	if err := f.configure(&p); err != nil {
		return p, err
	}
	p.Home = f.HomePath
	if p.Home != "" {
		return p, nil
	}
	var err error
	p.Home, err = filepath.Abs(f.Home)
	return p, err
}

// detect finds out what the installation is, from its files and the flags.
func (f *Flags) detect(home, qmail *os.Root) (*vpopmail.Detection, error) {
	d, err := vpopmail.DetectProfile(home, qmail)
	if err != nil {
		return nil, err
	}
	given, err := f.DefaultProfile()
	if err != nil {
		return nil, err
	}
	if f.HomePath == "" && told(d, "home") {
		given.Home = d.Profile.Home
	}
	if f.Profile != "" && f.Profile != auto {
		d.Profile = given
		d.Told = []string{"release: -profile"}
	}
	d.Profile.Home = given.Home
	return d, nil
}

// told says whether something is known about a part of a Profile.
func told(d *vpopmail.Detection, what string) bool {
	return slices.ContainsFunc(d.Told, func(s string) bool { return strings.HasPrefix(s, what+": ") })
}

// openMounts opens the directories outside vpopmail's home.
func (f *Flags) openMounts() (list []vpopmail.Mount, err error) {
	for _, m := range f.mounts {
		path, dir, _ := strings.Cut(m, "=")
		r, e := os.OpenRoot(dir)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("-mount: %w", e))
			continue
		}
		list = append(list, vpopmail.Mount{Path: filepath.Clean(path), Root: r})
	}
	return list, err
}

// openIfThere opens a directory; one that is missing is nil.
func openIfThere(path string) (*os.Root, error) {
	r, err := os.OpenRoot(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return r, err
}
