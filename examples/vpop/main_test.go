//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/qmailkit/qmailkit/examples/internal/vpoptarget"
	"github.com/qmailkit/qmailkit/internal/mariadbtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"vpop": main})
}

// newHost makes an empty host in dir.
func newHost(dir string) error {
	for _, d := range []string{"vpopmail/etc", "qmail/control", "qmail/users"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"me", "locals", "rcpthosts"} {
		if err := os.WriteFile(filepath.Join(dir, "qmail/control", name), []byte("mail.example.com\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// places are the flags that name the host in dir, and its database if it has
// one.
func places(dir, dsn string) []string {
	args := []string{"-vpopmail", filepath.Join(dir, "vpopmail"), "-qmail", filepath.Join(dir, "qmail"), "-state", filepath.Join(dir, "state")}
	if dsn != "" {
		args = append(args, "-dsn", dsn)
	}
	return args
}

// The commands of the scripts:
//
//	host                   makes an empty host
//	vp CODE CMD ARG...     runs CMD on it and compares the exit code
//	tree FILE              lists all files of the host and what is in them
//
// The condition [mysql] holds where the accounts are in a database, [root] for
// root, who alone can give files to the domain's owner.
var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"host": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(newHost(ts.MkAbs("."))) },
	"vp": func(ts *testscript.TestScript, _ bool, args []string) {
		want, err := strconv.Atoi(args[0])
		ts.Check(err)
		argv := append([]string{args[1]}, places(ts.MkAbs("."), ts.Getenv("DSN"))...)
		got := 0
		err = ts.Exec("vpop", append(argv, args[2:]...)...)
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			got = exit.ExitCode()
		} else {
			ts.Check(err)
		}
		if got != want {
			ts.Fatalf("exit code %d, want %d", got, want)
		}
	},
	"tree": func(ts *testscript.TestScript, _ bool, args []string) {
		text, err := listing(ts.MkAbs("."), "vpopmail", "qmail", "state")
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o666))
	},
}

// listing is everything below directories of root: kind, mode, content.
func listing(root string, dirs ...string) (string, error) {
	var b strings.Builder
	for _, d := range dirs {
		err := filepath.WalkDir(filepath.Join(root, d), func(p string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			fi, err := e.Info()
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(root, p)
			fmt.Fprintf(&b, "%s %v", rel, fi.Mode())
			if fi.Mode().IsRegular() {
				text, err := os.ReadFile(p)
				if err != nil {
					return err
				}
				fmt.Fprintf(&b, " %x", sha256.Sum256(text))
			}
			b.WriteByte('\n')
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func scripts(t *testing.T, mysql bool, database func() string) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", Cmds: scriptCommands, RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("DSN", database())
			e.Setenv(vpoptarget.DSNVariable, "")
			e.Setenv("TZ", "UTC")
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "mysql":
				return mysql, nil
			case "root":
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

func TestScripts(t *testing.T) {
	scripts(t, false, func() string { return "" })
}

// TestScriptsMySQL runs all scripts once more on a database.
func TestScriptsMySQL(t *testing.T) {
	server := mariadbtest.Start(t)
	scripts(t, true, func() string { return server.DSN(server.NewDatabase(t)) })
}

// A site is a host for tests in this process.
type site struct {
	t        *testing.T
	dir, dsn string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	if err := newHost(s.dir); err != nil {
		t.Fatal(err)
	}
	return s
}

// try runs a subcommand in this process.
func (s *site) try(stdin, cmd string, args ...string) (code int, stdout, stderr string) {
	var out, words bytes.Buffer
	argv := slices.Concat([]string{cmd}, places(s.dir, s.dsn), args)
	code = run(context.Background(), argv, strings.NewReader(stdin), &out, &words)
	return code, out.String(), words.String()
}

// must runs a subcommand that has to succeed and returns its standard output.
func (s *site) must(stdin, cmd string, args ...string) string {
	s.t.Helper()
	code, out, words := s.try(stdin, cmd, args...)
	if code != 0 {
		s.t.Fatalf("%s %q: exit code %d\n%s", cmd, args, code, words)
	}
	return out
}
