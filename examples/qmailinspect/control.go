package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// controlFile is a line of the kind control: what the functions of qmail's
// control.c and constmap.c make of a file.
type controlFile struct {
	File     jsonl.Bytes `json:"file"`
	Readline struct {
		RC    int         `json:"rc"`
		Value jsonl.Bytes `json:"value"`
	} `json:"readline"`
	Readint struct {
		RC    int  `json:"rc"`
		Value *int `json:"value,omitempty"`
	} `json:"readint"`
	Readfile struct {
		RC      int           `json:"rc"`
		Entries []jsonl.Bytes `json:"entries"`
	} `json:"readfile"`
	Map []controlKey `json:"map"`
	// Kind is the way in which qmail reads the file; without it no program of
	// qmail does.
	Kind string `json:"kind,omitempty"`
}

type controlKey struct {
	Key    jsonl.Bytes `json:"key"`
	Answer jsonl.Bytes `json:"answer"`
}

func controlKind() *cli.Command {
	return &cli.Command{
		Name: "control", Args: "DIR", Min: 1, Max: 1,
		Short: "the files of a control directory, each as qmail's functions read it",
		Long: `DIR is qmail's control directory. Each file is shown in all ways in which qmail
reads files; kind is the one that counts. What cannot be read is told on
standard error. -check reports instead what in these files breaks mail.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			check := fs.Bool("check", false, "report what breaks mail, one problem a line")
			return printing(func(ctx context.Context, out *lines, args []string) error {
				c, err := readControl(ctx, args[0])
				if err != nil {
					return err
				}
				if *check {
					return checkControl(ctx, out, c)
				}
				for e := range c.Entries() {
					if err := printControl(out, c, e); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

// readControl reads a control directory.
func readControl(ctx context.Context, dir string) (*qmailcontrol.Config, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return qmailcontrol.LoadConfig(ctx, root)
}

func printControl(out *lines, c *qmailcontrol.Config, e qmailcontrol.Entry) error {
	if e.Link != "" {
		out.env.Printf("%s: a link to %s\n", e.Name, e.Link)
	}
	f, known := qmailcontrol.FileNamed(e.Name)
	l, err := c.Lines(e.Name)
	switch {
	case err != nil && e.Info.Mode.IsDir():
		out.env.Printf("%s: a directory\n", e.Name)
		return nil
	case err != nil:
		out.skip(e.Name, err)
		return nil
	case f.Kind == qmailcontrol.KindCDB:
		return nil
	}
	line := controlFile{File: jsonl.Bytes(e.Name)}
	if known {
		line.Kind = f.Kind.String()
	}
	line.Readline.RC, line.Readline.Value = 1, jsonl.Bytes(l.First())
	if n, ok := l.Int(); ok {
		line.Readint.RC, line.Readint.Value = 1, &n
	}
	line.Readfile.RC, line.Readfile.Entries = 1, []jsonl.Bytes{}
	line.Map = []controlKey{}
	m := l.Map()
	for _, v := range l.Values() {
		line.Readfile.Entries = append(line.Readfile.Entries, jsonl.Bytes(v))
		if key, _, ok := strings.Cut(v, ":"); ok {
			answer, _ := m.Lookup(key)
			line.Map = append(line.Map, controlKey{jsonl.Bytes(key), jsonl.Bytes(answer)})
		}
	}
	return out.print(line)
}

// stopped tells people at which file a program of qmail stops, and says
// whether that is what the error is about.
func stopped(out *lines, err error) bool {
	if !errors.Is(err, qmailcontrol.ErrControls) {
		return false
	}
	out.env.Printf("%v\n", err)
	return true
}

func checkControl(ctx context.Context, out *lines, c *qmailcontrol.Config) error {
	found := false
	for p, err := range c.Check(ctx, nil) {
		if err != nil {
			return err
		}
		found = found || p.Severity == qmailkit.Error
		if err := out.print(jsonl.Problem(p)); err != nil {
			return err
		}
	}
	if found {
		return &cli.Exit{Code: cli.Partial, Err: fmt.Errorf("mail breaks on the errors above")}
	}
	return nil
}
